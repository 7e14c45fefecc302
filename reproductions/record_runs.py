"""The runs behind docs/records.md: make those that are missing, then write the page's tables anew.

    python -m reproductions.record_runs DATA_ROOT [--runs DIR] [--jobs N]

Records are configurations in ``configs/records`` that keep no real sample. Every run is a process of its own on one
thread. Started again, the script continues with the runs that are missing. Without DATA_ROOT it only writes the tables
of what ``docs/measurements/records.json`` holds, and of the official code's runs, which ``reproductions.official``
makes.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from reproductions import official, records
from reproductions.comparison import Comparison, Protocol, difference, gain

PAGE = records.DOCS / "records.md"
SEEDS = (21, 22, 23, 24, 25)
"""None of them was used to choose a setting."""
OURS = "dreams perturbed"
CLEAN = "dreams as they are"
BY_DAY = "dreams by day too"
ALONE = "nights alone"
BOTH = {OURS: (), CLEAN: ("night.1.perturbations=[]",)}
SMALL_MAPS = "[{name: affine, degrees: 4, shift: 0.03, zoom: 0.05, shear: 3}]"
"""The perturbation of ``records/split_fmnist``."""
# as many samples in all, so those by day are taken off the nights
DIGITS_BY_DAY = ("wake.replay=256", "night.1.steps=1160")
CLOTHES_BY_DAY = ("wake.replay=128", f"wake.replay_perturbations={SMALL_MAPS}", "night.1.steps=500")
QUICK_BY_DAY = ("wake.replay=128", "night.1.steps=250")
CONSTANT_BY_DAY = ("wake.replay=128", "night.1.steps=700")
# as many samples in all, so those by day are put on the nights
LONG_REM = "night.1.steps=[300,660,1320,1980,2640,3300,3960,4620,5280,5940]"
STREAMS = {
    "records/split_mnist": Protocol(SEEDS, {**BOTH, BY_DAY: DIGITS_BY_DAY}),
    "records/split_mnist_quick": Protocol(SEEDS, {**BOTH, BY_DAY: QUICK_BY_DAY}),
    "records/split_mnist_constant": Protocol(SEEDS, {**BOTH, BY_DAY: CONSTANT_BY_DAY}),
    "records/split_fmnist": Protocol(SEEDS, {**BOTH, BY_DAY: CLOTHES_BY_DAY}),
    "records/permuted_mnist": Protocol(SEEDS, {**BOTH, ALONE: ("wake.replay=0", LONG_REM)}),
}
RECORDS = Comparison(records.MEASUREMENTS / "records.json", STREAMS, OURS)


def main() -> None:
    """Parse the command line, run, write numbers and tables."""
    RECORDS.make_as_typed(__doc__, Path("runs/records"))
    records.write_between(PAGE, "record_runs", page())
    print(page())


def page() -> str:
    """The page's tables: every record and arm with all that it keeps at its end, and the official code."""
    machines = records.Machines.of([*RECORDS.runs.all(), *official.recorded()])
    return "\n".join([*ours(machines), "", *theirs(machines), "", machines.legend])


def ours(machines: records.Machines) -> list[str]:
    """The lines of the table of the records."""
    lines = [
        "| configuration | arm | average accuracy (%) | seeds | dreams perturbed, minus this (points) "
        "| gain per night (points) | CPU seconds | MB kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stream, protocol in STREAMS.items():
        against = RECORDS.contrasts(stream)
        for arm in protocol.arms:
            mine = RECORDS.of(stream, arm)
            if not mine:
                continue
            found = against.get(arm)
            cells = [
                f"`{stream}`",
                arm,
                records.spread([100 * one["average_accuracy"] for one in mine]),
                ", ".join(str(one["seed"]) for one in mine),
                "" if found is None else difference(found),
                gain(mine, 2),
                machines.seconds(mine),
                f"{statistics.mean(sum(one['bytes'].values()) for one in mine) / 1e6:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def theirs(machines: records.Machines) -> list[str]:
    """The lines of the table of the official code, a row for each run."""
    lines = [
        "| official code of brain-inspired replay | average accuracy (%) | seed | CPU seconds |",
        "|---|---|---|---|",
    ]
    for one in official.recorded():
        cells = [f"`{one['code']}`", f"{100 * one['average_accuracy']:.2f}", str(one["seed"]), machines.seconds([one])]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
