"""A run in Weights & Biases, and a sweep over many.

    python examples/wandb_run.py
    wandb sweep configs/sweeps/digits.yaml       # prints the line that starts an agent: wandb agent ENTITY/PROJECT/ID

Without a key, or without a network, a run is written to disk and `wandb sync` sends it later; a sweep needs both. A
sweep's agent calls `dreamer run digits logger=wandb` with the keys that it varies. Expect a short run, logged twice:

    logged to W&B, and to the csv file beside it: True
    the night has an axis of its own: True
    average accuracy > 0.7
"""

from __future__ import annotations

from pathlib import Path

import dreamer

# the nights are longer than the days: nothing is replayed by day, so a night must bring back what the day took
SHORT = {"wake": {"steps": 50}, "night": [{"name": "nrem", "steps": 50}, {"name": "rem", "steps": 100}]}

if __name__ == "__main__":
    results = dreamer.run("digits", SHORT, logger={"name": "wandb", "project": "dreamer"}, seed=1, out="runs/wandb")
    header = Path("runs/wandb/metrics.csv").read_text(encoding="utf-8").partition("\n")[0].split(",")
    logged = list(Path("runs/wandb/wandb").glob("*run-*/*.wandb"))
    print(f"logged to W&B, and to the csv file beside it: {len(logged) == 1 and 'wake/loss' in header}")
    print(f"the night has an axis of its own: {'sleep/night' in header}")
    print(f"average accuracy {results['metrics']['average_accuracy']:.3f}")
