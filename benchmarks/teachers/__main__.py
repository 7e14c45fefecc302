"""Measure what two teachers of a language model with adapters take of a process's memory::

    python -m benchmarks.teachers MODEL      # a folder, a .gguf file or a name of the hub; some minutes
    python -m benchmarks.teachers            # only writes the sentence of docs/fine_tuning.md

Every measurement is a process of its own: it reads the model and trains adapters, without teachers or beside two. Begun
again it makes those that are missing from ``docs/measurements/teachers.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.teachers.child import BATCH, BLOCK, RANK
from reproductions import records

RUNS = records.Runs(records.MEASUREMENTS / "teachers.json", ("teachers", "round"))
PAGE = records.DOCS / "fine_tuning.md"
TEACHERS, ROUNDS = (0, 2), 3
_BEGIN, _END = "<!-- written by python -m benchmarks.teachers -->", "<!-- until here -->"


def main() -> int:
    """Parse the command line, measure what is missing, write the sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teachers", description="The memory of two teachers.")
    parser.add_argument("model", nargs="?")
    model = parser.parse_args().model
    if model is not None:
        wanted = [(count, number) for number in range(ROUNDS) for count in TEACHERS]
        RUNS.make(wanted, lambda count, number: measured(model, count))
    before, rest = PAGE.read_text(encoding="utf-8").split(_BEGIN)
    said = sentence(RUNS.all())
    PAGE.write_text(f"{before}{_BEGIN}\n{said}\n{_END}{rest.split(_END, 1)[1]}", encoding="utf-8")
    print(said)
    return 0


def measured(model: str, teachers: int) -> dict[str, Any]:
    """What a process with so many teachers held, in bytes."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.teachers.child", model, str(teachers)]
    quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    ended = subprocess.run(command, check=True, text=True, cwd=records.DOCS.parent, **quiet)
    return {"name": Path(model).name, "bytes": json.loads(ended.stdout.splitlines()[-1])}


def peak(runs: Sequence[Mapping[str, Any]], teachers: int) -> float:
    """The most that a process held, in MiB: the median of the rounds."""
    return statistics.median(one["bytes"]["peak"] for one in runs if one["teachers"] == teachers) / 2**20


def sentence(runs: Sequence[Mapping[str, Any]]) -> str:
    """What two teachers take, in words."""
    if {one["teachers"] for one in runs} != set(TEACHERS):
        return "Not yet measured."
    without, beside = (peak(runs, count) for count in TEACHERS)
    last = next(one for one in runs if one["teachers"])
    each, model = last["bytes"]["each"][0] / 1e6, last["bytes"]["model"] / 1e6
    rounds = len({one["round"] for one in runs})
    return (
        f"`{last['name']}`, {model:.0f} MB with adapters of rank {RANK}: a process that trains these, on {BATCH} "
        f"blocks of\n{BLOCK} tokens, holds {without:.0f} MiB at most; beside two teachers, of {each:.1f} MB each, "
        f"{beside:.0f} MiB, {beside / without:.2f} times as much\n(medians of {rounds} processes each). "
        f"{records.Machines([one['machine'] for one in runs]).legend}"
    )


if __name__ == "__main__":
    sys.exit(main())
