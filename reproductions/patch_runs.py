"""The runs of ``patch_dreams`` behind docs/records.md: make those that are missing, then write the page's tables anew.

    python -m reproductions.patch_runs DATA_ROOT [--runs DIR] [--jobs N]

DATA_ROOT holds Fashion-MNIST, and in ``cifar10`` CIFAR-10 as pictures, ``train/<class>/*`` and ``test/<class>/*``.
Every run is a process of its own on one thread, and computes its features itself. Started again, the script continues
with the runs that are missing. Without DATA_ROOT it only writes the tables of what
``docs/measurements/patch_runs.json`` holds.
"""

from __future__ import annotations

from pathlib import Path

from reproductions import records
from reproductions.comparison import Comparison, Protocol

PAGE = records.DOCS / "records.md"
SEEDS = (21, 22, 23, 24, 25)
"""None of them was used to choose a setting."""
OURS = "dreams perturbed"
CLEAN = "dreams as they are"
STATISTICS = "statistics alone"
CLOSED_FORM = ("patch_dreams", "slda", "network.shrinkage=0.01")
PICTURES = ("stream.experiences=5", "stream.size=32")
"""What makes Split CIFAR-10 of a folder."""
STREAMS = {
    "folder": Protocol(
        SEEDS,
        {
            OURS: ("patch_dreams", *PICTURES),
            CLEAN: ("patch_dreams", *PICTURES, "night.1.perturbations=[]"),
            STATISTICS: (*CLOSED_FORM, *PICTURES),
        },
        within="cifar10",
    ),
    "split_fmnist": Protocol(
        SEEDS,
        {
            OURS: ("patch_dreams",),
            CLEAN: ("patch_dreams", "night.1.perturbations=[]"),
            STATISTICS: CLOSED_FORM,
        },
    ),
}
RUNS = Comparison(records.MEASUREMENTS / "patch_runs.json", STREAMS, OURS)


def main() -> None:
    """Parse the command line, run, write numbers and tables."""
    RUNS.make_as_typed(__doc__, Path("runs/patches"))
    for stream in STREAMS:
        records.write_between(PAGE, "patch_runs", table(stream), stream)
        print(table(stream))


def table(stream: str) -> str:
    """The table of a stream, and the machines of its runs."""
    return f"{RUNS.table(stream)}\n\n{RUNS.machines.legend}"


if __name__ == "__main__":
    main()
