"""Where runs that are compared differ in what they were given or took, in plain sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dreamer.compare.analysis import costs, mean_costs
from dreamer.compare.results import CompletedRun

_NEAR = 0.01
"""Fraction by which two amounts may differ and still count as equal."""


def differences(runs: Iterable[CompletedRun]) -> list[str]:
    """What a reader should know before believing a table, by stream.

    It looks at optimiser steps, real samples, bytes kept beside the network, the augmentation of real samples, the
    class order, test data and first accuracies of each seed, and the versions of software.
    """
    by_stream: dict[str, list[CompletedRun]] = {}
    for run in runs:
        by_stream.setdefault(run.stream, []).append(run)
    found = []
    for stream, group in by_stream.items():
        lines = [*_amounts(group), *_augmentation(group), *_pairing(group), *_versions(group)]
        found += [f"{stream}: {line}" if len(by_stream) > 1 else line for line in lines]
    return found


def _amounts(runs: list[CompletedRun]) -> list[str]:
    found = []
    arms = list(dict.fromkeys(run.arm for run in runs))
    means = {arm: mean_costs([costs(run.results) for run in runs if run.arm == arm]) for arm in arms}
    for what, key, advice in (
        ("optimiser steps", "steps", "; --match steps makes them equal where it can"),
        ("real samples seen awake", "samples_real", ""),
        ("bytes kept beside the network", "bytes_kept", "; --match bytes makes them equal where it can"),
    ):
        spent = {arm: getattr(mean, key) for arm, mean in means.items() if getattr(mean, key) is not None}
        if spent and max(spent.values()) > (1 + _NEAR) * min(spent.values()):
            listed = ", ".join(f"{arm} {value:,.0f}" for arm, value in spent.items())
            found.append(f"arms differ in {what} ({listed}){advice}")
    return found


def _augmentation(runs: list[CompletedRun]) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for run in runs:
        wake = run.results.get("config", {}).get("wake") or {}
        names = [entry if isinstance(entry, str) else entry.get("name") for entry in wake.get("perturbations") or ()]
        kinds.setdefault(" and ".join(map(str, names)) or "none", []).append(run.arm)
    if len(kinds) < 2:
        return []
    listed = "; ".join(f"{kind}: {', '.join(dict.fromkeys(arms))}" for kind, arms in kinds.items())
    return [f"arms differ in the augmentation of real samples ({listed})"]


def _pairing(runs: list[CompletedRun]) -> list[str]:
    """Runs of one seed must have seen the same classes in the same order, and begun with the same weights."""
    found = []
    for what, of in (("order of classes", _order), ("test data", _tests), ("accuracies before training", _initial)):
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


def _tests(results: Mapping[str, Any]) -> Any:
    return results["protocol"].get("test_samples")


def _initial(results: Mapping[str, Any]) -> Any:
    rows = results["accuracy_matrix"]["rows"]
    return rows[0]["accuracy"] if rows and rows[0]["stage"] < 0 else None
