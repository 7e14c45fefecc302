"""A cell of a comparison: one arm on one stream with one seed, as a whole configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer.config.environment import unresolved
from dreamer.jobs.manifest import slug

AVALANCHE = "avalanche:"
"""What the names of Avalanche's strategies begin with."""


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        avalanche: None, or ``name`` and ``options`` of the strategy of Avalanche that runs on this configuration's
            stream, network, optimizer, batch size and steps.
    """

    arm: str
    stream: str
    seed: int
    config: Mapping[str, Any]
    avalanche: Mapping[str, Any] | None = None

    @property
    def folder(self) -> Path:
        """Where its run folder lies within that of the comparison."""
        return Path("cells") / slug(self.stream) / slug(self.arm) / f"seed{self.seed}"

    def plain(self) -> dict[str, Any]:
        """The content of its ``cell.json``."""
        return {
            "arm": self.arm,
            "stream": self.stream,
            "seed": self.seed,
            "config": unresolved(self.config),
            "avalanche": unresolved(self.avalanche),
        }
