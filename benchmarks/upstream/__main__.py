"""Run somebody else's tests three times, and compare: ``python -m benchmarks.upstream lightning FOLDER [PATH ...]``.

The folder is a checkout of the tests for the installed version: the released archives have none. One process, one
after the other; a test may take 60 seconds of a processor.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.upstream.page import PAGE, RECORD, page

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


def compared(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Counts for each mode, and the tests that pass plain and come to something else otherwise, each with the reason.

    Other values count only where no night ever comes: a night is meant to change them.
    """
    differ: dict[str, dict[str, str]] = {}
    for mode in (mode for mode in found if mode != "plain"):
        for name, test in found["plain"].items():
            other = found[mode].get(name, {"outcome": "missing", "why": "", "fits": []})
            if test["outcome"] != "passed":
                continue
            if other["outcome"] != "passed":
                differ.setdefault(name, {})[mode] = other["why"] or other["outcome"]
            elif mode == "quiet" and other["fits"] != test["fits"]:
                differ.setdefault(name, {})[mode] = "other values"
    outcomes = {mode: dict(Counter(test["outcome"] for test in tests.values())) for mode, tests in found.items()}
    return {"outcomes": outcomes, "differ": differ}


def main(suite: str, folder: str, *paths: str) -> None:
    """Run a suite, or some of its paths, in each mode; keep what was found, and write the page anew."""
    where, every, chosen = SUITES[suite]
    SUITES[suite] = (where, list(paths) or every, chosen)
    with tempfile.TemporaryDirectory() as place:
        found = {
            mode: tested(suite, Path(folder), mode, Path(place) / f"{mode}.json")
            for mode in ("plain", "quiet", "nights")
        }
    version = importlib.metadata.version({"lightning": "lightning", "avalanche": "avalanche-lib"}[suite])
    kept = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    kept[suite] = {"version": version, "tests": SUITES[suite][1], **compared(found)}
    RECORD.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(kept), encoding="utf-8")
    print(json.dumps(kept[suite], indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
