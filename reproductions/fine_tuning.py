"""A pretrained language model fine-tuned on French, hard or less hard, with own words and without.

    python -m reproductions.fine_tuning MODEL TEXTS [--runs DIR] [--jobs N]

MODEL and TEXTS are those of ``examples/fine_tune_language_model.py``, which makes every run, in a process of its own on
one thread. A run is recorded in ``docs/measurements/fine_tuning.json`` when it is over: started again, the script
continues with those that are missing. Without MODEL it only writes the tables of ``docs/fine_tuning.md``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproductions import records

RUNS = records.Runs(records.MEASUREMENTS / "fine_tuning.json", ("strength", "replay"))
PAGE = records.DOCS / "fine_tuning.md"
EXAMPLE = records.DOCS.parent / "examples" / "fine_tune_language_model.py"
STRENGTHS: dict[str, float] = {"mild": 3e-4, "as the example": 1e-3, "hard": 3e-3}
"""Learning rates of AdamW."""
STEPS = 60
REPLAY = 4
TRAINED = "french"


def main() -> None:
    """Parse the command line, run what is missing, write numbers and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("texts", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs/fine_tuning"))
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    if words.texts is not None:
        wanted = [(strength, replay) for strength in reversed(STRENGTHS) for replay in (0, REPLAY)]
        RUNS.make(wanted, lambda *which: run(words.model, words.texts, words.runs, *which), words.jobs)
    records.write_between(PAGE, "fine_tuning", tables(RUNS.all()))
    print(tables(RUNS.all()))


def run(model: str, texts: str, folder: Path, strength: str, replay: int) -> dict[str, Any]:
    """Make one run; its numbers."""
    log = folder / f"{strength.replace(' ', '_')}_{replay}.log"
    options = ["--steps", str(STEPS), "--lr", str(STRENGTHS[strength]), "--replay", str(replay)]
    code, _ = records.timed([sys.executable, str(EXAMPLE), model, texts, *options], log)
    if code:
        raise SystemExit(f"the run failed: see {log}")
    return {
        "command": f"python examples/{EXAMPLE.name} MODEL TEXTS {' '.join(options)}",
        "model": Path(model).name,
        **printed(log.read_text(encoding="utf-8")),
    }


def printed(text: str) -> dict[str, Any]:
    """The numbers that the example prints.

    >>> printed("60 steps in 99 CPU seconds; at most 4.3 GiB of memory")
    {'cpu_seconds': 99, 'gib': 4.3, 'sets': []}
    """
    cost = re.search(r"steps in (\d+) CPU seconds; at most ([\d.]+) GiB", text)
    assert cost is not None, "it ends with what it took"
    row = re.compile(r"^(\w+) +(\d+) +([\d.]+) +([\d.]+) +(-?[\d.]+) \(([+-][\d.]+) to ([+-][\d.]+)\)", re.MULTILINE)
    keys = ("before", "after", "loss", "low", "high")
    sets = [
        {"name": found[1], "blocks": int(found[2])} | dict(zip(keys, map(float, found.groups()[2:]), strict=True))
        for found in row.finditer(text)
    ]
    return {"cpu_seconds": int(cost[1]), "gib": float(cost[2]), "sets": sets}


def tables(measured: Sequence[Mapping[str, Any]]) -> str:
    """By how much each set became worse, and what that took."""
    if not measured:
        return "Not yet run."
    names = [one["name"] for one in measured[0]["sets"]]
    machines = records.Machines.of(measured)
    lines = [
        f"`{measured[0]['model']}`, {STEPS} steps. Change in bits per byte of held-out text, below 0 is better, with "
        "95 % intervals over its blocks:",
        "",
        f"| learning rate | own texts a batch | {' | '.join(names)} | CPU seconds | GiB |",
        "|---" * (len(names) + 4) + "|",
    ]
    for strength, rate in STRENGTHS.items():
        for one in sorted((one for one in measured if one["strength"] == strength), key=lambda one: one["replay"]):
            lost = {each["name"]: each for each in one["sets"]}
            cells = [_change(lost[name]) for name in names]
            lines.append(
                f"| {rate:g} ({strength}) | {one['replay'] or 'none'} | {' | '.join(cells)} "
                f"| {machines.seconds([one])} | {one['gib']:.1f} |"
            )
    before = ", ".join(f"{one['name']} {one['before']:.2f}" for one in measured[0]["sets"])
    lines += ["", f"Before: {before} bits per byte. The model is trained on {TRAINED} alone.", ""]
    return "\n".join([*lines, machines.legend])


def _change(one: Mapping[str, Any]) -> str:
    return f"{one['loss']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"


if __name__ == "__main__":
    main()
