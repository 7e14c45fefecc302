"""What is searched when a recipe is tuned: ranges and choices, under dotted keys of its configuration."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.config.binding import ConfigError, check, join
from dreamer.core.suggest import one_of

FIXED = ("seed", "stream", "data", "out", "name", "logger", "trainer")
"""Keys that say on what a run is measured, and how it is carried out; they are not searched."""
_OPTIONS = ("low", "high", "log", "step")
_RATE, _WEIGHT, _TEMPERATURE = 10.0, 4.0, 2.0


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds.

    Attributes:
        low: the smallest; whole numbers are drawn where both bounds are whole.
        high: the largest.
        log: drawn alike between 1 and 10 and between 10 and 100.
        step: distance between the numbers that are drawn, from ``low``; None draws them all.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """True when whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)

    @property
    def ends(self) -> list[Any]:
        """Values that a configuration must take if it is to take all."""
        return [self.low, self.high]

    @property
    def plain(self) -> dict[str, Any]:
        """As it stands in a YAML."""
        options = {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return {key: value for key, value in options.items() if value not in (None, False)}

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.low <= value <= self.high and (self.step is None or _divides(self.step, value - self.low))


@dataclass(frozen=True)
class Choices:
    """One of several values.

    Attributes:
        values: numbers, texts, true or false, or null.
    """

    values: tuple[Any, ...]

    @property
    def ends(self) -> list[Any]:
        return list(self.values)

    @property
    def plain(self) -> list[Any]:
        return list(self.values)

    def __contains__(self, value: object) -> bool:
        return any(value == one and type(value) is type(one) for one in self.values)


Space = Mapping[str, Range | Choices]


def read(path: Path) -> Space:
    """Read the YAML of a search space: dotted keys with ``low`` and ``high`` (and ``log`` or ``step``), or a list.

    Raises:
        ConfigError: when it cannot be read, or an entry makes no sense. Whether the keys exist is not checked here.
    """
    if not path.is_file():
        raise ConfigError(f"--space: expected a YAML file at {str(path)!r}, found none")
    space = {key: _entry(entry, key) for key, entry in config.load(path).items()}
    if not space:
        raise ConfigError(f"--space: expected keys to search in {path}, got none")
    return space


def derive(plain: Mapping[str, Any]) -> Space:
    """The default search space of a recipe: the options that it sets, around its values.

    - ``optimizer.lr`` and ``generator_lr``: from a tenth to ten times the value, logarithmically;
    - the ``weight`` of every objective that is given one, and ``wake.replay_weight`` where it is a number: from a
      quarter to four times, logarithmically. Where every replayed objective has a weight, it would only multiply
      them once more, so it stays;
    - ``generator.temperature``: from half to twice, logarithmically.

    Steps, batch sizes, capacities and the sizes of networks are budget, and stay.
    """
    factors = {"optimizer.lr": _RATE, "generator_lr": _RATE, "generator.temperature": _TEMPERATURE}
    factors |= dict.fromkeys(_weights(plain), _WEIGHT)
    wake = plain.get("wake")
    again = wake.get("replay_objectives") if isinstance(wake, Mapping) else None
    if not again or not all(_positive(_at(one, "weight")) for one in again):
        factors["wake.replay_weight"] = _WEIGHT
    found = {}
    for key, factor in factors.items():
        value = _at(plain, key)
        if _positive(value):
            found[key] = Range(float(value) / factor, float(value) * factor, log=True)
    return found


def own(space: Space, plain: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values that a configuration has itself under the keys of a space; None when one of them lies outside."""
    values = {key: _at(plain, key) for key in space}
    return values if all(value in space[key] for key, value in values.items()) else None


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under dotted keys as a configuration that can be laid over another; a number reaches into a list."""
    branches = [
        functools.reduce(lambda tree, part: {part: tree}, reversed(key.split(".")), values[key])
        for key in sorted(values)
    ]
    return functools.reduce(config.merge, branches, {})


def _entry(entry: Any, key: str) -> Range | Choices:
    if key.partition(".")[0] in FIXED:
        raise ConfigError(f"{key}: is not searched, because it decides on what runs are measured")
    if isinstance(entry, list):
        return _choices(entry, key)
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{key}: expected low and high, or a list of choices, got {entry!r}")
    for option in entry:
        if option not in _OPTIONS:
            raise ConfigError(f"{join(key, option)}: unknown key of a range; {one_of(str(option), _OPTIONS)}")
    low, high = (check(entry.get(end), int | float, join(key, end)) for end in ("low", "high"))
    log = check(entry.get("log", False), bool, join(key, "log"))
    step = check(entry.get("step"), int | float | None, join(key, "step"))
    if low >= high:
        raise ConfigError(f"{key}: expected low below high, got {low} and {high}")
    if log and (low <= 0 or step is not None):
        raise ConfigError(f"{key}: with log, expected low above 0 and no step, got {low} and step {step}")
    if step is not None and not (step > 0 and _divides(step, high - low)):
        raise ConfigError(f"{join(key, 'step')}: expected a step above 0 that leads from low to high, got {step}")
    return Range(low, high, log, step)


def _divides(step: float, distance: float) -> bool:
    return abs(distance / step - round(distance / step)) < 1e-9


def _choices(entry: Sequence[Any], key: str) -> Choices:
    if not entry or not all(one is None or isinstance(one, bool | int | float | str) for one in entry):
        raise ConfigError(f"{key}: expected a list of numbers, texts, true or false, or null, got {entry!r}")
    return Choices(tuple(entry))


def _weights(plain: Mapping[str, Any]) -> Iterator[str]:
    """The keys of the weights of all objectives that may have one."""
    nights = plain.get("night") or ()
    stages = {"wake": plain.get("wake")} | {f"night.{index}": stage for index, stage in enumerate(nights)}
    for where, stage in stages.items():
        for name in ("objectives", "replay_objectives"):
            listed = _at(stage, name)
            for index in range(len(listed) if isinstance(listed, list) else 0):
                yield f"{where}.{name}.{index}.weight"


def _at(plain: Any, key: str) -> Any:
    """The value under a dotted key, or None."""
    for part in key.split("."):
        if isinstance(plain, Mapping):
            plain = plain.get(part)
        elif isinstance(plain, list) and part.isdigit() and int(part) < len(plain):
            plain = plain[int(part)]
        else:
            return None
    return plain


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
