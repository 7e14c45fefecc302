"""Protocols of public tutorials sleep by at most three changed lines: ``tests/retold_scripts/README.md``."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
RETOLD = CHECKOUT / "tests" / "retold_scripts"
IMPORT = "from dreamer import NREM, SleepCallback; "
"""Before the first line that imports Lightning."""
NIGHTS = "SleepCallback([NREM(5)], schedule=1"

# what is put in the place of what, and the steps of a run as it is
CHANGES: dict[str, tuple[dict[str, str], int]] = {
    "text_classifier": (
        {
            "import lightning as L\n": f"{IMPORT}import lightning as L\n",
            "    max_epochs=2,\n": "    max_epochs=2, "
            f'callbacks={NIGHTS}, inputs=["input_ids", "attention_mask"], targets="labels"),\n',
        },
        12,
    ),
    "onecycle": (
        {
            "from lightning.pytorch import L": f"{IMPORT}from lightning.pytorch import L",
            'callbacks=[LearningRateMonitor(logging_interval="step")]': 'callbacks=[LearningRateMonitor("step"), '
            f"{NIGHTS})]",
            "steps = 2 * (640 // BATCH_SIZE)": "steps = self.trainer.estimated_stepping_batches",
        },
        20,
    ),
    "normalised": (
        {
            "import pytorch_lightning as pl\n": f"{IMPORT}import pytorch_lightning as pl\n",
            '        LearningRateMonitor("epoch"),\n': f'        LearningRateMonitor("epoch"), {NIGHTS}),\n',
        },
        16,
    ),
    "tabular": (
        {
            "import pytorch_lightning as pl\n": f"{IMPORT}import pytorch_lightning as pl\n",
            'ModelCheckpoint(monitor="val_loss")]': f'ModelCheckpoint(monitor="val_loss"), {NIGHTS})]',
        },
        24,
    ),
    "names": (
        {
            "import lightning as L\n": f"{IMPORT}import lightning as L\n",
            "L.Trainer(max_epochs=2,": f"L.Trainer(callbacks={NIGHTS}), max_epochs=2,",
        },
        16,
    ),
}
SAY = """
import json as _json
_sleep = [each.state for each in trainer.callbacks if type(each).__name__ == "SleepCallback"]
print(_json.dumps({"steps": trainer.global_step, "nights": [(each.nights, each.slept) for each in _sleep]}))
"""


def changed(name: str) -> str:
    text = (RETOLD / f"{name}.py").read_text(encoding="utf-8")
    for old, new in CHANGES[name][0].items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def run(text: str, folder: Path) -> dict[str, object]:
    script = folder / "script.py"
    script.write_text(text + SAY, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_script_is_changed_in_at_most_three_lines() -> None:
    assert sorted(path.stem for path in RETOLD.glob("*.py")) == sorted(CHANGES)
    for name in CHANGES:
        before = (RETOLD / f"{name}.py").read_text(encoding="utf-8").splitlines()
        delta = difflib.ndiff(before, changed(name).splitlines())
        assert 0 < sum(line.startswith("+ ") for line in delta) <= 3, name


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_it_runs_as_it_is_and_sleeps(name: str, tmp_path: Path) -> None:
    plain = run((RETOLD / f"{name}.py").read_text(encoding="utf-8"), tmp_path)
    assert plain == {"steps": CHANGES[name][1], "nights": []}
    slept = run(changed(name), tmp_path)
    epochs = 3 if name == "tabular" else 2
    assert slept == {"steps": CHANGES[name][1] + 5 * epochs, "nights": [[epochs, 5 * epochs]]}
