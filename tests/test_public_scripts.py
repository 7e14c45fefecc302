"""Public Lightning scripts, taken as they are, sleep by a patch of a few lines: see ``tests/public/README.md``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PUBLIC = Path(__file__).parent / "public"
SCRIPTS = sorted(path.stem for path in PUBLIC.glob("*.py"))
SHORT = [f"--trainer.limit_{loop}_batches=3" for loop in ("train", "val", "test", "predict")]
CLI = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", *SHORT]
NIGHT = 200
"""Steps of a night that nobody described."""

RUNS = {
    "backbone_image_classifier": ([*CLI, "--trainer.max_epochs=1"], [*CLI, "--trainer.max_epochs=2"]),
    "autoencoder": ([*CLI, "--trainer.max_epochs=1"], [*CLI, "--trainer.max_epochs=2"]),
    # its own Trainer says max_epochs=10; two batches are a day of it
    "simsiam": (["PL_TRAINER_MAX_STEPS=4"], ["PL_TRAINER_MAX_STEPS=6"]),
}


def patched(name: str, folder: Path) -> Path:
    """A copy of the script, patched."""
    script = folder / f"{name}.py"
    script.write_bytes((PUBLIC / script.name).read_bytes())
    # without its limits, git would look for a repository around the folder
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    command = ["git", "apply", "--verbose", str(PUBLIC / f"{name}.patch")]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    assert script.read_bytes() != (PUBLIC / script.name).read_bytes()
    return script


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_patch_changes_at_most_five_lines(name: str) -> None:
    lines = (PUBLIC / f"{name}.patch").read_text().splitlines()
    changed = [line for line in lines if line[:1] in "+-" and line[:4] not in ("+++ ", "--- ")]
    assert 0 < len(changed) <= 5


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_sleeps_and_goes_on_from_its_checkpoint(name: str, tmp_path: Path) -> None:
    script = patched(name, tmp_path)
    first, second = RUNS[name]
    said = run(tmp_path, "-m", "tests.outside", str(script), json.dumps(first), json.dumps(second))
    before, after = json.loads(said.splitlines()[-1])
    print(before, after)
