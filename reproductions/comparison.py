"""Arms on streams, paired by seed: the runs of a comparison on record, and their table.

Every run is a process of its own on one thread, so that its CPU time can be measured; runs that are on disk, or on
record, are not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer.metrics.significance import Paired, paired_differences, paired_tests
from reproductions import records


@dataclass(frozen=True)
class Protocol:
    """How a stream is run.

    Attributes:
        seeds: those of the runs; none of them was used to choose a setting.
        arms: arguments of ``dreamer run`` behind the name of the stream.
        within: folder of the data root that holds the stream's data.
    """

    seeds: tuple[int, ...]
    arms: Mapping[str, tuple[str, ...]]
    within: str = ""


@dataclass(frozen=True)
class Comparison:
    """Arms on streams.

    Attributes:
        record: file that holds the numbers.
        streams: their protocols, by name.
        ours: the arm that the others are subtracted from.
        apart: arms that are in the table, and not tested against it.
    """

    record: Path
    streams: Mapping[str, Protocol]
    ours: str
    apart: tuple[str, ...] = ()

    def make_as_typed(self, what: str, folders: Path) -> None:
        """Parse a script's command line, and make the runs that are missing where it names the data.

        Args:
            what: the script's help.
            folders: for the runs, unless the command line has another.
        """
        parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("data_root", nargs="?")
        parser.add_argument("--runs", type=Path, default=folders)
        parser.add_argument("--jobs", type=int, default=1)
        words = parser.parse_args()
        if words.data_root is not None:
            self.make(words.data_root, words.runs, words.jobs)

    def make(self, data_root: str, folders: Path, jobs: int) -> None:
        """Make the runs that are missing, or were made with another command."""
        commands = {which: self._command(*which) for which in self.wanted()}
        self.runs.drop(lambda one: commands.get(self.runs.which(one)) != one["command"])
        self.runs.make(self.wanted(), lambda *which: self._run(data_root, folders, *which), jobs)

    def wanted(self) -> list[tuple[str, str, int]]:
        """Stream, arm and seed of every run, seed by seed, so that what is there early is paired."""
        return [
            (stream, arm, seed)
            for stream, protocol in self.streams.items()
            for seed in protocol.seeds
            for arm in protocol.arms
        ]

    @property
    def runs(self) -> records.Runs:
        """The runs on record."""
        return records.Runs(self.record, ("stream", "arm", "seed"))

    @property
    def machines(self) -> records.Machines:
        """The machines that made them."""
        return records.Machines.of(self.runs.all())

    def of(self, stream: str, arm: str) -> list[dict[str, Any]]:
        """The recorded runs of an arm on a stream."""
        return self.runs.of(stream=stream, arm=arm)

    def contrasts(self, stream: str) -> dict[str, Paired]:
        """What each other arm is below ours, in percentage points, seed by seed."""
        arms = self.streams[stream].arms
        scores = {arm: {one["seed"]: 100 * one["average_accuracy"] for one in self.of(stream, arm)} for arm in arms}
        others = [arm for arm in scores if scores[arm] and arm != self.ours and arm not in self.apart]
        tested = paired_tests([paired_differences(scores[self.ours], scores[other]) for other in others])
        return dict(zip(others, tested, strict=True))

    def table(self, stream: str) -> str:
        """The table of a stream."""
        lines = [
            "| arm | average accuracy (%) | gain per night (points) | forgetting (%) | samples replayed | CPU seconds "
            f"| {self.ours}, minus this (points) |",
            "|---|---|---|---|---|---|---|",
        ]
        against, machines = self.contrasts(stream), self.machines
        for arm in self.streams[stream].arms:
            mine = self.of(stream, arm)
            if not mine:
                continue
            replayed = sum(count for kind, count in mine[0]["samples"].items() if kind != "wake")
            cells = [
                arm,
                records.spread([100 * one["average_accuracy"] for one in mine]),
                gain(mine, 1),
                records.spread([100 * one["forgetting"] for one in mine], 1),
                f"{replayed:,}",
                machines.seconds(mine),
                difference(against[arm]) if arm in against else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def _words(self, stream: str, arm: str, seed: int) -> list[str]:
        return [stream, *self.streams[stream].arms[arm], "--seed", str(seed)]

    def _command(self, stream: str, arm: str, seed: int) -> str:
        return f"dreamer run {' '.join(self._words(stream, arm, seed))}"

    def _run(self, data_root: str, folders: Path, stream: str, arm: str, seed: int) -> dict[str, Any]:
        """Make one run, unless it is there; what it scored and cost."""
        folder = folders / self.record.stem / stream / f"{arm.replace(' ', '_').replace(',', '')}_{seed}"
        record = folder / "record.json"
        there = records.read(record, {})
        if there.get("command") == self._command(stream, arm, seed):
            return there
        words = self._words(stream, arm, seed)
        root = Path(data_root) / self.streams[stream].within
        results, seconds = records.run_of([*words, f"data.root={root}", "--out", str(folder)], folder)
        measured = {
            "command": self._command(stream, arm, seed),
            "machine": records.machine(),
            **numbers(results),
            "cpu_seconds": round(seconds, 1),
        }
        record.write_text(json.dumps(measured), encoding="utf-8")
        return measured


def numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a run that tables and pictures need."""
    rows = [row for row in results["accuracy_matrix"]["rows"] if row["experience"] >= 0]
    return {
        "average_accuracy": results["metrics"]["average_accuracy"],
        "forgetting": results["metrics"]["forgetting"],
        "sleep_gain": results["metrics"]["sleep_gain"],
        "curve": [
            [row["experience"], row["after"], statistics.mean(row["accuracy"][: row["experience"] + 1])] for row in rows
        ],
        "samples": results["cost"]["samples"],
        "steps": sum(results["cost"]["optimizer_steps"].values()),
        "bytes": results["cost"]["bytes"],
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def gain(runs: Sequence[Mapping[str, Any]], digits: int) -> str:
    """What a night gained in some runs, in percentage points; empty where there was none."""
    gains = [100 * one["sleep_gain"] for one in runs if one["sleep_gain"] is not None]
    return records.spread(gains, digits) if gains else ""


def difference(paired: Paired) -> str:
    """A paired difference with its interval, in percentage points."""
    if paired.difference is None or paired.low is None or paired.high is None or paired.p_holm is None:
        return "too few seeds"
    return f"{paired.difference:+.2f} ({paired.low:+.2f} to {paired.high:+.2f}), p = {paired.p_holm:.3f}"


def means(curves: Sequence[Sequence[Sequence[Any]]]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Places along a stream, and mean, least and largest score in per cent there, of the ``curve`` of several runs."""
    places = [experience + (0.5 if after == "wake" else 1) for experience, after, _ in curves[0]]
    scores = list(zip(*([100 * row[2] for row in curve] for curve in curves), strict=True))
    return places, [statistics.mean(s) for s in scores], [min(s) for s in scores], [max(s) for s in scores]
