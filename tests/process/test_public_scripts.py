"""Public Lightning scripts, taken as they are, sleep by a patch of a few lines: ``tests/public_scripts/README.md``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PUBLIC = CHECKOUT / "tests" / "public_scripts"
SCRIPTS = sorted(path.stem for path in PUBLIC.glob("*.py"))
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
SHORT = [*QUIET, *(f"--trainer.limit_{loop}_batches=3" for loop in ("train", "val", "test", "predict"))]
EPOCHS = [[*SHORT, "--trainer.max_epochs=1"], [*SHORT, "--trainer.max_epochs=2"]]
TWO_NIGHTS = [{"steps": 203 * n, "epochs": n, "nights": n, "slept": 200 * n} for n in (1, 2)]

# how each script is run, and gone on with; and what its checkpoints say then
RUNS = {
    "backbone_image_classifier": (EPOCHS, TWO_NIGHTS),
    "autoencoder": (EPOCHS, TWO_NIGHTS),
    # its Trainer is written out; two batches are a day of it, and it is stopped in the first night
    "simsiam": (
        [["PL_TRAINER_MAX_STEPS=3"], ["PL_TRAINER_MAX_STEPS=5"]],
        [{"steps": 2 + n, "epochs": 1, "nights": 1, "slept": n} for n in (1, 3)],
    ),
}

CONFIG = """
trainer:
  callbacks:
    - class_path: dreamer.SleepCallback
      init_args:
        schedule: 1
        memory: {class_path: dreamer.memory.ClassBalanced, init_args: {capacity: 100}}
        stages:
          - {class_path: dreamer.NREM, init_args: {steps: 4, objectives: []}}
          - class_path: dreamer.REM
            init_args: {steps: 3, objectives: [], perturbations: [{class_path: dreamer.perturbations.Affine}]}
"""


def changes(name: str) -> list[str]:
    """The lines that a patch takes away and puts in."""
    lines = (PUBLIC / f"{name}.patch").read_text().splitlines()
    return [line for line in lines if line[:1] in ("+", "-") and line[:4] not in ("+++ ", "--- ")]


def run_twice(script: Path, first: list[str], second: list[str]) -> list[dict[str, int]]:
    """What the checkpoints say after a run and after a second one that goes on from the first."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.helpers.public_script",
            str(script),
            json.dumps(first),
            json.dumps(second),
        ],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_patch_changes_at_most_five_lines_and_the_page_shows_them(name: str) -> None:
    assert 0 < len(changes(name)) <= 5
    page = (CHECKOUT / "docs" / "callback.md").read_text(encoding="utf-8").splitlines()
    assert set(changes(name)) <= set(page)


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_sleeps_and_goes_on_from_its_checkpoint(name: str, tmp_path: Path) -> None:
    script = tmp_path / f"{name}.py"
    script.write_bytes((PUBLIC / script.name).read_bytes())
    subprocess.run(["git", "apply", str(PUBLIC / f"{name}.patch")], cwd=tmp_path, check=True)
    arguments, said = RUNS[name]
    assert run_twice(script, *arguments) == said
    if name == "autoencoder":
        # its own callback has its turn as before
        assert {path.name for path in tmp_path.glob("*.png")} >= {"grid_ori_0.png", "grid_generated_1.png"}


def test_a_command_line_of_lightning_needs_no_patch(tmp_path: Path) -> None:
    """The configuration that was saved by the first run is read by the second."""
    script = tmp_path / "script.py"
    script.write_bytes((PUBLIC / "backbone_image_classifier.py").read_bytes())
    (tmp_path / "sleep.yaml").write_text(CONFIG)
    first = ["--config=sleep.yaml", *SHORT, "--trainer.max_epochs=1"]
    second = ["--config=lightning_logs/version_0/config.yaml", "--trainer.max_epochs=2"]
    assert run_twice(script, first, second) == [
        {"steps": 10 * n, "epochs": n, "nights": n, "slept": 7 * n} for n in (1, 2)
    ]
