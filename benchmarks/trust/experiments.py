"""The experiments by their names, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.trust import damage, diverging, inputs, kills, limits, many, on_ray, pairs
from benchmarks.trust.trial import Trial

EXPERIMENTS: dict[str, Callable[[Path], Iterator[Trial]]] = {
    "kills": kills.trials,
    "bits": damage.bits,
    "malice": damage.malice,
    "pairs": pairs.trials,
    "inputs": inputs.trials,
    "nan": diverging.trials,
    "disk": limits.full,
    "folder": limits.deleted,
    "many": many.trials,
    "ray": on_ray.trials,
}
"""Each is given an empty folder for what its trials have in common."""
