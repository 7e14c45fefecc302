"""The contract of an experiment: its settings are its constructor, one cell is one call of ``run``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict

from dreamer.config.binding import ConfigError, at, bind, join
from dreamer.config.registry import UnknownPart, dotted


@dataclass(frozen=True)
class Measure:
    """Something that an experiment measures.

    Attributes:
        label: how tables and axes call it.
        better: which of two values is the better one; empty where neither is.
        fraction: it is a fraction of 1, and shown in per cent.
        log: its curve is drawn with equal factors, not equal differences, equally far apart; all values above 0.
        hint: what it means, in a sentence.
    """

    label: str
    better: Literal["larger", "smaller", ""] = ""
    fraction: bool = False
    log: bool = False
    hint: str = ""


class CellResult(TypedDict, total=False):
    """What one cell finds; whatever it has none of is left out.

    Attributes:
        outcomes: one number for each measure, at the end; contrasts are made of these.
        curves: the values of the x axis under the experiment's :attr:`Experiment.axis`, and for each measure that was
            followed on the way as many numbers (None where there is none).
        expected: for some measures of the curves what theory says, in the same places.
        errors: for the same measures the standard error of what was measured, in the same places.
        yardsticks: for some measures the number that real data themselves have.
        picture: the file name of a picture in the folder of the cell.
    """

    outcomes: Mapping[str, float | None]
    curves: Mapping[str, list[float | None]]
    expected: Mapping[str, list[float | None]]
    errors: Mapping[str, list[float | None]]
    yardsticks: Mapping[str, float]
    picture: str


class Experiment(ABC):
    """What a study runs in each of its cells.

    A child's constructor takes the settings that a YAML gives (:func:`dreamer.config.binding.bind` checks them), and
    refuses what makes no sense with a ``ValueError``, before anything is run.

    Attributes:
        measures: by name, in the order in which pages show them; the first is the principal one.
        axis: the name of the x axis of its curves.
        pictured: what the picture of a cell shows, for its caption.
    """

    measures: ClassVar[Mapping[str, Measure]]
    axis: ClassVar[str] = "generation"
    pictured: ClassVar[str] = ""

    @abstractmethod
    def run(self, seed: int, folder: Path) -> CellResult:
        """Run one cell.

        Args:
            seed: of everything that is drawn; the same seed means the same data and first weights for every arm.
            folder: of the cell, for pictures; ``results.json`` in it is written by whoever calls. An experiment
                that writes a run folder writes it into a folder below.
        """


def of(settings: Mapping[str, Any], path: str = "") -> Experiment:
    """Build the experiment that settings describe, or raise a ``ConfigError``."""
    options = dict(settings)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{join(path, 'name')}: expected the dotted path of an experiment, got {name!r}")
    try:
        kind = dotted(name)
    except UnknownPart as error:
        raise ConfigError(at(join(path, "name"), str(error))) from None
    if not issubclass(kind, Experiment):
        raise ConfigError(f"{join(path, 'name')}: expected an Experiment, got {name!r}")
    experiment: Experiment = bind(kind, options, path).build()
    return experiment
