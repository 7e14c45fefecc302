"""How much a decoder of three sizes keeps of five domains of text by its own words, and the table of docs/language.md.

    python -m reproductions.capacity DATA_ROOT [--runs DIR] [--jobs N]

The stream, its steps and its arms are those of ``reproductions.domains``, whose runs are the widest decoder's. Every
other run is recorded in ``docs/measurements/capacity.json`` when it is over; one that was stopped is resumed. Without
DATA_ROOT it only writes the table.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproductions import domains, records

RUNS = records.Runs(records.MEASUREMENTS / "capacity.json", ("width", "arm", "seed"))
PAGE = records.DOCS / "language.md"
WIDEST = 128
WIDTHS = (32, 64)
ARMS = ("fine-tuning", "its own words by day, no nights")
"""Those of the published curve."""


def main() -> None:
    """Parse the command line, run what is missing, write numbers and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs/capacity"))
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    if words.data_root is not None:
        RUNS.make(wanted(), lambda *which: run(words.data_root, words.runs, *which), words.jobs)
    records.write_between(PAGE, "capacity", table(every()))
    print(table(every()))


def wanted() -> list[tuple[int, str, int]]:
    """Width, arm and seed of every run, seed by seed, so that what is there early is paired."""
    return [(width, arm, seed) for seed in domains.SEEDS for width in WIDTHS for arm in ARMS]


def run(data_root: str, folders: Path, width: int, arm: str, seed: int) -> dict[str, Any]:
    """Make one run, or resume it; its numbers."""
    return domains.run(data_root, folders / f"width_{width}", arm, seed, [f"network.width={width}"])


def every() -> list[dict[str, Any]]:
    """The runs of all widths, narrow ones first."""
    widest = [one for arm in ARMS for one in domains.of(domains.RUNS.all(), arm)]
    return [*RUNS.all(), *({"width": WIDEST, **one} for one in widest)]


def table(measured: Sequence[Mapping[str, Any]]) -> str:
    """Bits per byte just learnt and at the end, a row for each width and arm."""
    lines = [
        "Bits per byte of held-out text, less is better, mean over the domains:",
        "",
        "| weights | arm | seeds | just learnt | at the end | lost since learnt, mean of all but the last |",
        "|---|---|---|---|---|---|",
    ]
    for width in (*WIDTHS, WIDEST):
        for arm in ARMS:
            mine = [one for one in measured if (one["width"], one["arm"]) == (width, arm)]
            if not mine:
                continue
            cells = [
                f"{mine[0]['bytes']['network'] / 4:,.0f}",
                arm,
                ", ".join(str(one["seed"]) for one in mine),
                records.spread([learnt(one) for one in mine]),
                records.spread([statistics.mean(domains.final(one)) for one in mine]),
                records.spread([statistics.mean(domains.lost(one)) for one in mine]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def learnt(one: Mapping[str, Any]) -> float:
    """Bits per byte of every domain at the end of its own day, mean over the domains."""
    return statistics.mean(domains.at(one, "wake", domain)[domain] for domain in range(len(domains.DOMAINS)))


if __name__ == "__main__":
    main()
