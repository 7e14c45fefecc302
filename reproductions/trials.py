"""Whole runs of streams with other settings, scored on held-out training images: what settings are chosen by."""

from __future__ import annotations

import argparse
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproductions import records


@dataclass(frozen=True)
class Trials:
    """Trials of one stream, each a run per seed, on record with its held-out score alone: test scores are not read.

    Attributes:
        script: which makes them.
        record: file that holds the numbers.
        page: where their table is, between the comments that name the script and which of its tables it is.
        stream: the configuration that they change.
        seeds: those of the runs, others than those of any table of results.
        settings: words of ``dreamer run`` behind the stream, by the name of the trial; the first one is the reference.
        within: folder of the data root that holds the stream's data.
        title: which of the page's tables it is; by default the name of the stream.
    """

    script: str
    record: Path
    page: Path
    stream: str
    seeds: tuple[int, ...]
    settings: Mapping[str, tuple[str, ...]]
    within: str = ""
    title: str = ""

    @property
    def which(self) -> str:
        """Which of the page's tables it is."""
        return self.title or self.stream

    @property
    def runs(self) -> records.Runs:
        """The runs on record."""
        return records.Runs(self.record, ("trial", "seed"))

    def make(self, data_root: str, folders: Path, trials: Sequence[str]) -> None:
        """Make those of these trials that are missing, or were made with other words."""
        self.runs.drop(lambda one: self.command(one["trial"], one["seed"]) != one["command"])
        self.runs.make(
            [(trial, seed) for seed in self.seeds for trial in self.settings if trial in trials],
            lambda *which: self._run(data_root, folders, *which),
            order=[(trial, seed) for seed in self.seeds for trial in self.settings],
        )

    def command(self, trial: str, seed: int) -> str:
        """What is typed for a run, but for the data."""
        return shlex.join(["dreamer", "run", self.stream, *self.settings.get(trial, ()), "--seed", str(seed)])

    def table(self) -> str:
        """A line for each trial on record: its score, and what it is above the reference, mean and range over seeds."""
        found, (reference, *_) = self.runs.all(), self.settings
        if not found:
            return "No trial is on record yet."
        machines = records.Machines.of(found)
        score = {self.runs.which(one): 100 * one["held_out"] for one in found}
        lines = [
            f"| trial | held-out accuracy (%) | minus {reference} (points) | seeds | CPU seconds |",
            "|---|---|---|---|---|",
        ]
        for trial in self.settings:
            mine = self.runs.of(trial=trial)
            if not mine:
                continue
            above = [
                score[trial, seed] - score[reference, seed]
                for seed in self.seeds
                if {(trial, seed), (reference, seed)} <= score.keys()
            ]
            spread = f" ({min(above):+.2f} to {max(above):+.2f})" if len(above) > 1 else ""
            cells = [
                trial,
                records.spread([score[trial, one["seed"]] for one in mine]),
                f"{statistics.mean(above):+.2f}{spread}" if above and trial != reference else "",
                ", ".join(str(one["seed"]) for one in mine),
                machines.seconds(mine),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", machines.legend])

    def _run(self, data_root: str, folders: Path, trial: str, seed: int) -> dict[str, Any]:
        folder = folders / self.which / f"{list(self.settings).index(trial)}_{seed}"
        words = [self.stream, *self.settings[trial], "--seed", str(seed), f"data.root={Path(data_root) / self.within}"]
        results, seconds = records.run_of([*words, "--out", str(folder)], folder)
        held = statistics.mean(results["accuracy_matrix"]["rows"][-1]["validation"])
        return {"command": self.command(trial, seed), "held_out": held, "cpu_seconds": round(seconds, 1)}


def make_as_typed(what: str, *streams: Trials) -> None:
    """Parse a script's command line, make the runs that are missing where it names the data, write the tables.

    Args:
        what: the script's help.
        streams: the trials of each stream.
    """
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys(trial for each in streams for trial in each.settings))
    parser.add_argument("data_root", nargs="?")
    parser.add_argument("--runs", type=Path, default=Path("runs") / streams[0].script)
    parser.add_argument("--streams", nargs="*", choices=[each.which for each in streams])
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    words = parser.parse_args()
    for each in streams:
        if words.data_root is not None and (words.streams is None or each.which in words.streams):
            each.make(words.data_root, words.runs, words.only)
        records.write_between(each.page, each.script, each.table(), each.which)
        print(each.table())
