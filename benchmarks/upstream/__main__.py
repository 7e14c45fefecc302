"""Run somebody else's tests three times, and compare: ``python -m benchmarks.upstream lightning FOLDER [PATH ...]``.

The folder is a checkout of the tests for the installed version: the released archives have none. One process, one
after the other; a test may take 60 seconds of a processor. Paths that are not given stay on record as they are. With
``--logs`` the outcomes are kept, and what is found there is not run again; ``--again`` runs the tests that differ.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.upstream.page import PAGE, RECORD, page

MODES = ("plain", "quiet", "nights")


class Suite(NamedTuple):
    """Somebody else's tests.

    Attributes:
        package: whose installed version they belong to.
        within: folder of the checkout in which they are run.
        paths: what is run there.
        chosen: expression for pytest; what it leaves out starts processes or loads files that a checkout lacks.
    """

    package: str
    within: str
    paths: tuple[str, ...]
    chosen: str


SUITES = {
    "lightning": Suite(
        "lightning",
        "tests",
        (
            *(f"tests_pytorch/{part}" for part in ("callbacks", "checkpointing", "loops", "trainer", "tuner")),
            "tests_pytorch/models/test_hooks.py",
        ),
        "not ddp and not spawn and not fork and not legacy and not (spike and (0-2- or 1-2-))",
    ),
    "avalanche": Suite(
        "avalanche-lib",
        ".",
        tuple(f"tests/training/test_{part}.py" for part in ("strategies", "plugins", "replay", "regularization")),
        "not expertgate",
    ),
}
IGNORED = ("tests_pytorch/checkpointing/test_legacy_checkpoints.py",)
"""Files that cannot even be read without what a checkout lacks."""


def tested(suite: str, paths: list[str], folder: Path, mode: str, log: Path) -> dict[str, Any]:
    """The outcome of every test, and what its fits left."""
    within, chosen = SUITES[suite].within, SUITES[suite].chosen
    given = {"DREAMER_UPSTREAM": mode, "DREAMER_UPSTREAM_SUITE": suite, "DREAMER_UPSTREAM_LOG": str(log)}
    given |= {"PYTHONPATH": str(Path(__file__).parents[2]), "FAST_TEST": "true"}
    options = ["-q", "-p", "benchmarks.upstream.injected", "-p", "no:cacheprovider", "-o", "addopts="]
    options += ["--disable-pytest-warnings", "--tb=short", "-k", chosen]
    options += [f"--ignore={name}" for name in IGNORED]
    command, began = [sys.executable, "-m", "pytest", *options, *paths], time.monotonic()
    subprocess.run(command, cwd=folder / within, env=os.environ | given, check=False)
    print(f"{paths[0]}, {mode}: {time.monotonic() - began:.0f} s", flush=True)
    found: dict[str, Any] = json.loads(log.read_text(encoding="utf-8"))
    return found


def tested_in_all_modes(suite: str, path: str, folder: Path, logs: Path, again: bool) -> dict[str, dict[str, Any]]:
    """Outcomes in each mode; what has a log is not run, but, on request, the tests that differ."""
    found: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        log = logs / f"{path.replace('/', '.')}-{mode}.json"
        if not log.is_file():
            found[mode] = tested(suite, [path], folder, mode, log)
            continue
        found[mode] = json.loads(log.read_text(encoding="utf-8"))
        names = list(compared({"plain": found["plain"], mode: found[mode]})["differ"])
        if again and names:
            ids = [name.removeprefix(f"{SUITES[suite].within}/") for name in names]
            found[mode] |= tested(suite, ids, folder, mode, logs / "again.json")
            log.write_text(json.dumps(found[mode], indent=1), encoding="utf-8")
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


def keep(suite: str, path: str, found: dict[str, Any]) -> None:
    """Put what was found of a path on record, and write the page anew."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    section = record.setdefault(suite, {"groups": {}})
    section["version"] = importlib.metadata.version(SUITES[suite].package)
    section["groups"][path] = found
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    RECORD.write_text(text, encoding="utf-8")
    PAGE.write_text(page(json.loads(text)), encoding="utf-8")


def main() -> None:
    """Run a suite, or some of its paths, in each mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--logs", type=Path, help="folder in which the outcomes are kept")
    parser.add_argument("--again", action="store_true", help="of what is kept, run the tests that differ once more")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        logs = (asked.logs or Path(place)).resolve()
        logs.mkdir(parents=True, exist_ok=True)
        for path in asked.paths or SUITES[asked.suite].paths:
            found = tested_in_all_modes(asked.suite, path, asked.folder, logs, asked.again)
            keep(asked.suite, path, compared(found))


if __name__ == "__main__":
    main()
