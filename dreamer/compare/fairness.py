"""Where runs that are compared differ in what they were given or took, in plain sentences.

What was given comes from the configurations, what was taken from the costs of the results. Arms that have no run yet
are compared by what their configurations plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dreamer.compare.analysis import NEAR, costs, mean_costs
from dreamer.compare.cells import Cell
from dreamer.compare.given import augmentation, data, plan
from dreamer.compare.results import CompletedRun

_OF_FOLDERS = ("folder", "hugging_face", "text", "table")
"""Streams of a user's own folder or file: others of one name are of the same data."""
_AMOUNTS = (
    ("optimiser steps", "steps", "; --match steps makes them equal where it can"),
    ("optimiser steps asleep", "steps_asleep", ""),
    ("real samples seen awake", "samples_real", ""),
    ("samples replayed awake", "samples_replayed", ""),
    ("samples replayed asleep", "samples_dreamt", ""),
    ("bytes kept beside the network", "bytes_kept", "; --match bytes makes them equal where it can"),
    ("bytes of memory", "bytes_memory", ""),
    ("bytes of the generator", "bytes_generator", ""),
    ("bytes of teachers", "bytes_teachers", ""),
)


@dataclass(frozen=True)
class _Arm:
    """An arm on one stream: its name, its configuration where it is known, and its runs."""

    name: str
    config: Mapping[str, Any] | None
    runs: list[CompletedRun]


def differences(runs: Iterable[CompletedRun], planned: Iterable[Cell] = ()) -> list[str]:
    """What a reader should know before believing a table, by stream.

    From the configurations: the data, and the augmentation of real samples, of samples replayed awake and of those of
    every kind of night stage. From the costs of the runs, means over seeds that differ by more than 1 %
    (:data:`dreamer.compare.analysis.NEAR`): optimiser steps, real samples, samples replayed awake and asleep, bytes
    kept beside the network and by memory, generator and teachers. Where an arm has no run yet, steps, replay and parts
    are compared as planned. Besides: class order, test and training data and first accuracies of each seed, and the
    versions of software.

    Args:
        runs: of one comparison.
        planned: the cells of its grid, run or not.
    """
    by_stream: dict[str, dict[str, _Arm]] = {}
    for cell in planned:
        by_stream.setdefault(cell.stream, {}).setdefault(cell.arm, _Arm(cell.arm, cell.config, []))
    for run in runs:
        there = by_stream.setdefault(run.stream, {})
        there.setdefault(run.arm, _Arm(run.arm, run.results.get("config"), [])).runs.append(run)
    found = []
    for stream, by_name in by_stream.items():
        arms, every = list(by_name.values()), [run for arm in by_name.values() for run in arm.runs]
        lines = [*_amounts(arms), *_given(arms), *other_data(every), *_pairing(every), *_versions(every)]
        found += [f"{stream}: {line}" if len(by_stream) > 1 else line for line in lines]
    return found


def _amounts(arms: list[_Arm]) -> list[str]:
    """Measured costs that are not alike, and which arms do not say theirs."""
    found = []
    means = {arm.name: mean_costs([costs(run.results) for run in arm.runs]) for arm in arms if arm.runs}
    for what, key, advice in _AMOUNTS:
        spent = {arm: getattr(mean, key) for arm, mean in means.items()}
        said = {arm: value for arm, value in spent.items() if value is not None}
        silent = [arm for arm in spent if arm not in said]
        if said and max(said.values()) > (1 + NEAR) * min(said.values()):
            listed = ", ".join(f"{arm} {value:,.0f}" for arm, value in said.items())
            unknown = f"; not said by {', '.join(silent)}" if silent else ""
            found.append(f"arms differ in {what} ({listed}{unknown}){advice}")
        elif said and silent:
            found.append(f"arms may differ in {what}: {', '.join(silent)} does not say")
    return found


def other_data(runs: Iterable[CompletedRun]) -> list[str]:
    """That what is called one stream was read from different folders or tables of a user's own; else nothing."""
    places: dict[str, list[str]] = {}
    for run in runs:
        config = run.results.get("config") or {}
        stream, there = config.get("stream"), (config.get("data") or {}).get("root")
        node = stream if isinstance(stream, Mapping) else {"name": stream}
        if node.get("name") in _OF_FOLDERS:
            places.setdefault(str(node.get("file", node.get("root", there))), []).append(run.arm)
    if len(places) < 2:
        return []
    listed = "; ".join(f"{place}: {', '.join(dict.fromkeys(arms))}" for place, arms in places.items())
    return [f"runs are not of one stream, but of different folders ({listed}): no difference says which arm is better"]


def _given(arms: list[_Arm]) -> list[str]:
    """Differences of the configurations; what is planned counts where an arm has no run that says what it took."""
    found = []
    configs = {arm.name: arm.config for arm in arms if arm.config is not None}
    parts = [data, augmentation] if all(arm.runs for arm in arms) else [data, augmentation, plan]
    for part in parts:
        found_by_arm = {name: part(config) for name, config in configs.items()}
        for what in dict.fromkeys(key for facts in found_by_arm.values() for key in facts):
            kinds: dict[str, list[str]] = {}
            for name, facts in found_by_arm.items():
                kinds.setdefault(facts.get(what, "no such stage"), []).append(name)
            if len(kinds) > 1:
                listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
                found.append(f"arms differ in {what} ({listed})")
    return found


def _pairing(runs: list[CompletedRun]) -> list[str]:
    """Runs of one seed must have seen the same classes in the same order, and begun with the same weights."""
    found = []
    for what, of in (
        ("order of classes", _order),
        ("training data", _training),
        ("test data", _tests),
        ("accuracies before training", _initial),
    ):
        odd = [seed for seed in dict.fromkeys(run.seed for run in runs) if _differs(runs, seed, of)]
        if odd:
            found.append(f"not paired: runs with seed {', '.join(map(str, odd))} differ in their {what}")
    return found


def _versions(runs: list[CompletedRun]) -> list[str]:
    kinds = {tuple(sorted((run.results.get("versions") or {}).items(), key=str)) for run in runs}
    return ["runs were made with different versions, machines or numbers of threads"] if len(kinds) > 1 else []


def _differs(runs: list[CompletedRun], seed: int, of: Callable[[Mapping[str, Any]], Any]) -> bool:
    seen = [of(run.results) for run in runs if run.seed == seed]
    known = [value for value in seen if value is not None]
    return any(value != known[0] for value in known)


def _order(results: Mapping[str, Any]) -> Any:
    return results["protocol"].get("class_order")


def _training(results: Mapping[str, Any]) -> Any:
    protocol = results["protocol"]
    return None if "train_samples" not in protocol else [protocol["train_samples"], protocol.get("validation_samples")]


def _tests(results: Mapping[str, Any]) -> Any:
    return results["protocol"].get("test_samples")


def _initial(results: Mapping[str, Any]) -> Any:
    rows = results["accuracy_matrix"]["rows"]
    return rows[0]["accuracy"] if rows and rows[0]["stage"] < 0 else None
