"""Try what becomes of runs that are killed, damaged, shared, or given nonsense::

    python -m benchmarks.trust                    # all of it; an hour or two on one core
    python -m benchmarks.trust --only kills,bits --budget 10 --json my.json

Begun again it makes what is missing from its record. ``--table`` writes what is on record into docs/trust.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from benchmarks.trust import table
from benchmarks.trust.child import warm_up
from benchmarks.trust.experiments import EXPERIMENTS
from benchmarks.trust.trial import NotAvailable, Trial


def main() -> int:
    """Make the experiments; 1 where something did not survive."""
    asked = _arguments()
    if asked.table:
        table.write(asked.json)
        return 0
    record = table.Tried(asked.json)
    until = time.monotonic() + 60 * asked.budget
    warm_up()
    scratch = Path(tempfile.mkdtemp(prefix="trust-"))
    try:
        for name in asked.only or EXPERIMENTS:
            _make(name, record, scratch, until, asked.again)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for line in record.wrong():
        print(line)
    return 1 if record.wrong() else 0


def _make(name: str, record: table.Tried, scratch: Path, until: float, again: bool) -> None:
    if again:
        record.forget(name)
    try:
        for trial in EXPERIMENTS[name](scratch / name):
            if time.monotonic() > until:
                return
            if not record.has(name, trial.name):
                record.add(name, trial, _tried(trial, scratch))
    except NotAvailable as reason:
        record.skip(name, str(reason))


def _tried(trial: Trial, scratch: Path) -> str:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    began = time.monotonic()
    try:
        wrong = trial.run(folder)
    except Exception as error:
        wrong = f"the experiment itself failed: {error!r}"
    print(f"{trial.kind}: {trial.name}: {wrong or 'survived'} ({time.monotonic() - began:.1f} s)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return wrong


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description="What becomes of runs.")
    parser.add_argument("--only", type=_names, help=f"some of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="MINUTES", help="begin nothing after it")
    parser.add_argument("--json", type=Path, default=table.RECORD, metavar="FILE", help="the record")
    parser.add_argument("--again", action="store_true", help="make again what did not survive")
    parser.add_argument("--table", action="store_true", help="write the record into docs/trust.md, and nothing else")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}")
    return names


if __name__ == "__main__":
    # Lightning's and matplotlib's remarks are not what this is about
    warnings.filterwarnings("ignore")
    sys.exit(main())
