"""Where lives that are compared differ in what they were given or took, in plain sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dreamer.compare.analysis import costs, mean_costs
from dreamer.compare.results import Lived

_NEAR = 0.01
"""Share by which two amounts may differ and still count as equal."""


def differences(lives: Iterable[Lived]) -> list[str]:
    """What a reader should know before believing a table, by stream.

    Looked at are optimiser steps, samples of the day, bytes kept beside the network, the augmentation of real samples,
    the class order, test data and first accuracies of each seed, and the versions of what was lived with.

    Args:
        lives: of one comparison.
    """
    by_stream: dict[str, list[Lived]] = {}
    for life in lives:
        by_stream.setdefault(life.stream, []).append(life)
    found = []
    for stream, group in by_stream.items():
        said = [*_amounts(group), *_augmentation(group), *_pairing(group), *_versions(group)]
        found += [f"{stream}: {line}" if len(by_stream) > 1 else line for line in said]
    return found


def _amounts(lives: list[Lived]) -> list[str]:
    found = []
    arms = list(dict.fromkeys(life.arm for life in lives))
    means = {arm: mean_costs([costs(life.results) for life in lives if life.arm == arm]) for arm in arms}
    for what, key, advice in (
        ("optimiser steps", "steps", "; --match steps makes them equal where it can"),
        ("samples of the day that were met", "samples_real", ""),
        ("bytes kept beside the network", "bytes_kept", "; --match bytes makes them equal where it can"),
    ):
        spent = {arm: getattr(mean, key) for arm, mean in means.items() if getattr(mean, key) is not None}
        if spent and max(spent.values()) > (1 + _NEAR) * min(spent.values()):
            listed = ", ".join(f"{arm} {value:,.0f}" for arm, value in spent.items())
            found.append(f"arms differ in {what} ({listed}){advice}")
    return found


def _augmentation(lives: list[Lived]) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for life in lives:
        wake = life.results.get("config", {}).get("wake") or {}
        names = [entry if isinstance(entry, str) else entry.get("name") for entry in wake.get("perturbations") or ()]
        kinds.setdefault(" and ".join(map(str, names)) or "none", []).append(life.arm)
    if len(kinds) < 2:
        return []
    listed = "; ".join(f"{kind}: {', '.join(dict.fromkeys(arms))}" for kind, arms in kinds.items())
    return [f"arms differ in the augmentation of the day's samples ({listed})"]


def _pairing(lives: list[Lived]) -> list[str]:
    """Lives of one seed must have met the same classes in the same order, and begun with the same weights."""
    found = []
    for what, of in (("order of classes", _order), ("test data", _tests), ("accuracies at birth", _birth)):
        odd = [seed for seed in dict.fromkeys(life.seed for life in lives) if _differs(lives, seed, of)]
        if odd:
            found.append(f"not paired: lives with seed {', '.join(map(str, odd))} differ in their {what}")
    return found


def _versions(lives: list[Lived]) -> list[str]:
    kinds = {tuple(sorted((life.results.get("versions") or {}).items(), key=str)) for life in lives}
    return ["lives were lived with different versions, machines or numbers of threads"] if len(kinds) > 1 else []


def _differs(lives: list[Lived], seed: int, of: Callable[[Mapping[str, Any]], Any]) -> bool:
    seen = [of(life.results) for life in lives if life.seed == seed]
    known = [value for value in seen if value is not None]
    return any(value != known[0] for value in known)


def _order(results: Mapping[str, Any]) -> Any:
    return results["protocol"].get("class_order")


def _tests(results: Mapping[str, Any]) -> Any:
    return results["protocol"].get("test_samples")


def _birth(results: Mapping[str, Any]) -> Any:
    rows = results["accuracy_matrix"]["rows"]
    return rows[0]["accuracy"] if rows and rows[0]["after"] == "birth" else None
