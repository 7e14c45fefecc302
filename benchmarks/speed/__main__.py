"""Measure how fast things are, beside references that do the same work::

    python -m benchmarks.speed                         # all of it; a quarter of an hour on one idle core
    python -m benchmarks.speed --quick                 # two rounds of each
    python -m benchmarks.speed --only wake,rem_affine --json my.json

Begun again it measures what is missing from its record. ``--table`` writes what is on record into docs/performance.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import torch

from benchmarks.speed import many, parts, profiles, runs, steps, table
from benchmarks.speed.pair import Case, measure, ratios

_QUICK = 2


def main() -> int:
    """Measure what is missing."""
    asked = _arguments()
    if asked.table:
        table.write(asked.json)
        return 0
    torch.set_num_threads(1)
    # as `dreamer run` does; for the references too, which would otherwise slow down by what their moments happen to be
    torch.set_flush_denormal(True)
    # the display asks for it whether it is in a terminal that can draw
    os.environ.setdefault("TERM", "xterm")
    record = table.Measured(asked.json)
    for case in _cases():
        if asked.again or not record.has(case.name):
            if any(case.name.startswith(name) for name in asked.only or [case.name]):
                _measured(case, record, asked.quick)
    if "profile" in (asked.only or ["profile"]) and (asked.again or not record.content["profiles"]):
        record.add_profiles(profiles.profiles())
    return 0


def _cases() -> list[Case]:
    return list(itertools.chain(steps.cases(), parts.cases(), runs.cases(), many.cases()))


def _measured(case: Case, record: table.Measured, quick: bool) -> None:
    began = time.monotonic()
    rounds = measure(case, _QUICK if quick else None)
    record.add(case, rounds)
    found = ratios(rounds)
    speed = f"speed {statistics.median(found):.3f}, " if found else ""
    ours = table.amount(statistics.median(pair["ours"][0] for pair in rounds), case.unit)
    print(f"{case.name}: {speed}{ours} ({time.monotonic() - began:.0f} s)", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="How fast things are.")
    parser.add_argument("--only", type=_names, help="beginnings of names; profile is one too")
    parser.add_argument("--json", type=Path, default=table.RECORD, metavar="FILE", help="the record")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} rounds of each")
    parser.add_argument("--again", action="store_true", help="measure again what is on record")
    parser.add_argument("--table", action="store_true", help="write the record into docs/performance.md, no more")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    known = [*(case.name for case in _cases()), "profile"]
    unknown = [name for name in names if not any(other.startswith(name) for other in known)]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}: expected beginnings of {', '.join(known)}")
    return names


if __name__ == "__main__":
    # Lightning's, Avalanche's and transformers' remarks are not what this is about
    warnings.filterwarnings("ignore")
    sys.exit(main())
