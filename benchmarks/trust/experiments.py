"""The experiments by their names, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.trust import kills
from benchmarks.trust.trial import Trial

EXPERIMENTS: dict[str, Callable[[Path], Iterator[Trial]]] = {
    "kills": kills.trials,
}
"""Each is given an empty folder for what its trials have in common."""
