"""Run somebody else's tests three times, and compare: ``python -m benchmarks.upstream lightning FOLDER``.

The folder is a checkout of the tests for the installed version: the released archives have none. One process, one
after the other; a test may take 60 seconds of a processor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

SUITES = {
    "lightning": (
        "tests",
        [f"tests_pytorch/{part}" for part in ("callbacks", "tuner", "trainer", "loops", "checkpointing")]
        + ["tests_pytorch/models/test_hooks.py", "--ignore=tests_pytorch/checkpointing/test_legacy_checkpoints.py"],
        "not ddp and not spawn and not fork and not rich and not tqdm and not legacy and not pruning",
    ),
    "avalanche": (
        ".",
        [f"tests/training/test_{part}.py" for part in ("strategies", "plugins", "replay", "regularization")],
        "not expertgate",
    ),
}
"""Of each suite: where it is run, what, and which tests are left out: they start processes or load files."""


def tested(suite: str, folder: Path, mode: str, log: Path) -> dict[str, Any]:
    """The outcome of every test, and what its fits left."""
    within, paths, chosen = SUITES[suite]
    given = {"DREAMER_UPSTREAM": mode, "DREAMER_UPSTREAM_SUITE": suite, "DREAMER_UPSTREAM_LOG": str(log)}
    given |= {"PYTHONPATH": str(Path(__file__).parents[2]), "FAST_TEST": "true"}
    options = ["-q", "-p", "benchmarks.upstream.injected", "-p", "no:cacheprovider", "-o", "addopts="]
    command = [sys.executable, "-m", "pytest", *options, "-k", chosen, *paths]
    subprocess.run(command, cwd=folder / within, env=os.environ | given, check=False)
    found: dict[str, Any] = json.loads(log.read_text(encoding="utf-8"))
    return found


def main(suite: str, folder: str) -> None:
    """Print counts for each mode, and every test that passes plain and not, or with other values, otherwise."""
    with tempfile.TemporaryDirectory() as place:
        found = {
            mode: tested(suite, Path(folder), mode, Path(place) / f"{mode}.json")
            for mode in ("plain", "quiet", "nights")
        }
    for mode, tests in found.items():
        print(mode, dict(Counter(test["outcome"] for test in tests.values())))
    passing = {name: test for name, test in found["plain"].items() if test["outcome"] == "passed"}
    for name, test in passing.items():
        other = found["quiet"].get(name, {"outcome": "missing", "why": "", "fits": []})
        if other["outcome"] != "passed":
            print(f"{name}: {other['outcome']}, {other['why']}")
        elif other["fits"] != test["fits"]:
            print(f"{name}: other values, {test['fits']} and {other['fits']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
