"""Runs of the authors' own code of brain-inspired replay, beside which ours stands.

    python -m reproductions.official CODE CHECKOUT DATA_ROOT [--seeds 11 12 13]

CODE is ``brain-inspired-replay`` (of 2020) or ``continual-learning`` (of 2022), CHECKOUT a copy of that repository of
https://github.com/GMvandeVen at the commit below, DATA_ROOT the folder that holds ``MNIST/raw``. Each seed is run on
one thread with the words that its README gives for Split MNIST, class-incremental, and recorded with accuracy, CPU
seconds of the whole process and machine in ``docs/measurements/official.json``; on another machine, whose seconds do
not compare, it is run again. Nothing of that code is part of this repository.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproductions import records

RECORD = records.MEASUREMENTS / "official.json"
_COMMON = ("--experiment=splitMNIST", "--scenario=class", "--brain-inspired")


@dataclass(frozen=True)
class Code:
    """A repository of the authors: its commit, its script, and what is typed."""

    commit: str
    script: str
    words: tuple[str, ...]
    mnist: str


CODES = {
    "brain-inspired-replay": Code(
        "1a030f75666c656416e1ca02466758ca32cf2fe4", "main_cl.py", (*_COMMON, "--replay=generative"), "mnist"
    ),
    "continual-learning": Code("e6d795aa81b9cef742b8de76cb71222d4d1ce00b", "main.py", _COMMON, "MNIST"),
}
# it imports a plotting server that this experiment never talks to
_NO_VISDOM = "import sys, types; m = types.ModuleType('visdom'); m.Visdom = object; sys.modules['visdom'] = m; "
_RUN = _NO_VISDOM + "import runpy; sys.argv.pop(0); sys.path.insert(0, '.'); "
_RUN += "runpy.run_path(sys.argv[0], run_name='__main__')"


def main() -> None:
    """Parse the command line, run what is missing, record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", choices=CODES)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13])
    words = parser.parse_args()
    _place_data(words.checkout, words.data_root, CODES[words.code].mnist)
    for seed in words.seeds:
        found = recorded()
        which = (words.code, seed, records.machine())
        if not any((run["code"], run["seed"], run["machine"]) == which for run in found):
            found.append(run(words.code, words.checkout, seed))
            records.write(RECORD, sorted(found, key=lambda each: (each["code"], each["seed"])))


def recorded() -> list[dict[str, Any]]:
    """The runs on record."""
    return records.read(RECORD, [])


def run(code: str, checkout: Path, seed: int) -> dict[str, Any]:
    """Run one seed on one thread.

    Raises:
        RuntimeError: when it ends without an accuracy.
    """
    import torch

    official = CODES[code]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", _RUN, official.script, *official.words, f"--seed={seed}", "--no-gpus", "--no-save"],
        cwd=checkout,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = re.search(r"average accuracy over all \d+ \w+: ([\d.]+)", done.stdout, re.I)
    if done.returncode or not printed:
        raise RuntimeError(f"seed {seed} of {checkout} ended with {done.returncode}: {done.stderr[-2000:]}")
    return {
        "code": code,
        "commit": official.commit,
        "words": " ".join(official.words),
        "seed": seed,
        "average_accuracy": float(printed[1]),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "machine": records.machine(),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }


def _place_data(checkout: Path, data_root: Path, name: str) -> None:
    """Show the code MNIST where it looks for it, so that it downloads nothing."""
    place = checkout / "store" / "datasets" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(data_root.resolve(), target_is_directory=True)
    for folder in ("models", "results", "plots"):
        (checkout / "store" / folder).mkdir(exist_ok=True)


if __name__ == "__main__":
    main()
