"""A study: one YAML with the question, arms, seeds, contrasts and margins before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.config.binding import ConfigError, bind
from dreamer.core.suggest import one_of
from dreamer.jobs.manifest import slug
from dreamer.metrics.significance import pairs_needed
from dreamer.studies.experiments import base
from dreamer.studies.experiments.base import Experiment, Measure

KEYS = ("title", "question", "experiment", "data", "arms", "primary", "exploratory", "limits", "quick")
_ENTRY = {"data": ("about", "seeds", "set", "arms"), "arms": ("about", "set")}


@dataclass(frozen=True)
class Contrast:
    """Two arms that are compared, seed by seed.

    Attributes:
        against: the one that it is compared with.
        outcome: the measure that decides.
        margin: the smallest difference that matters, in units of the outcome, above 0.
    """

    data: str
    arm: str
    against: str
    outcome: str
    margin: float


@dataclass(frozen=True)
class Cell:
    """One arm on one data set with one seed, and all settings of its experiment."""

    data: str
    arm: str
    seed: int
    settings: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where it lies within the folder of the study."""
        return Path("cells") / slug(self.data) / slug(self.arm) / f"seed{self.seed}"

    def plain(self) -> dict[str, Any]:
        """The content of its ``cell.json``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Study:
    """Everything that is fixed before the first cell is run.

    Attributes:
        data: what each data set is, by name.
        arms: what each arm does, by name; those that are run anywhere.
        axis: the x axis of curves.
        pictured: what pictures show.
        primary: the contrasts that the study is for.
        exploratory: all others.
        limits: what it cannot show, a sentence each.
        asked: the whole request, as plain values.
    """

    name: str
    title: str
    question: str
    data: Mapping[str, str]
    arms: Mapping[str, str]
    measures: Mapping[str, Measure]
    axis: str
    pictured: str
    primary: tuple[Contrast, ...]
    exploratory: tuple[Contrast, ...]
    limits: tuple[str, ...]
    cells: tuple[Cell, ...]
    asked: Mapping[str, Any]

    def arms_on(self, data: str) -> list[str]:
        """The arms that are run on some data, in order."""
        return list(dict.fromkeys(cell.arm for cell in self.cells if cell.data == data))


def catalog() -> dict[str, Path]:
    """The studies that can be called by name."""
    return {path.stem: path for path in sorted((config.folder() / "studies").glob("*.yaml"))}


def short_of_seeds(study: Study) -> str:
    """Why its primary contrasts cannot conclude anything, whatever is found; nothing where they can."""
    tests = len(study.primary)
    enough = pairs_needed(tests)
    for contrast in study.primary:
        seeds = len({cell.seed for cell in study.cells if cell.data == contrast.data})
        if seeds < enough:
            return (
                f"{seeds} seed{'s' * (seeds != 1)} on {contrast.data}: too few to conclude anything from {tests} "
                f"primary contrast{'s' * (tests > 1)}, expected {enough}"
            )
    return ""


def load(name: str, words: Sequence[str] = (), quick: bool = False) -> Study:
    """Read a study.

    Raises:
        ConfigError: when there is none, or it makes no sense.
    """
    path = catalog().get(name, Path(name))
    if not path.is_file():
        raise ConfigError(f"there is no study {name!r}; {one_of(name, catalog())}")
    for word in words:
        if "=" not in word:
            raise ConfigError(f"study: expected one study and then key=value, got {word!r}")
    asked = config.load(path)
    faster = asked.pop("quick", None) or {}
    asked = config.read(asked, *([faster] if quick else []), *words)
    asked.pop("name", None)
    return read(path.stem, asked)


def read(name: str, asked: Mapping[str, Any]) -> Study:
    """Make a study of plain values.

    Args:
        asked: plain values:

            - ``title``, ``question``, and ``limits``, a list of sentences.
            - ``experiment``: ``name``, the dotted path of an :class:`Experiment`, and settings of all cells.
            - ``data``: by name, each with ``seeds`` (a list), ``set`` (settings laid over the experiment's), ``arms``
              (a list, where not all of them are run there) and ``about``, what it is.
            - ``arms``: by name, each with ``set`` and ``about``. What is null is left out.
            - ``primary``: contrasts (see :class:`Contrast`) that are tested by themselves; ``data`` may be left out
              where there is one.
            - ``exploratory``: contrasts too, in which ``data`` and ``arm`` may be left out or be lists: all of them.

    Raises:
        ConfigError: when a key is unknown, or something is not there.
    """
    for key in asked:
        if key not in KEYS:
            raise ConfigError(f"{key}: unknown key of a study; {one_of(str(key), KEYS)}")
    data, arms = (_entries(asked.get(key), key) for key in ("data", "arms"))
    cells, built = [], None
    chosen = {place: _some(entry.get("arms"), arms, f"data.{place}.arms") for place, entry in data.items()}
    for place, where in data.items():
        for arm in chosen[place]:
            what = arms[arm]
            settings = asked.get("experiment") or {}
            for key, entry in ((f"data.{place}.set", where), (f"arms.{arm}.set", what)):
                settings = config.merge(settings, _mapping(entry.get("set"), key))
            built = base.of(settings, "experiment")
            cells += [Cell(place, arm, seed, settings) for seed in _seeds(where.get("seeds"), f"data.{place}.seeds")]
    assert built is not None
    primary = _contrasts(asked.get("primary"), "primary", data, arms, built)
    exploratory = _contrasts(asked.get("exploratory"), "exploratory", data, arms, built)
    for contrast in primary:
        for arm in (contrast.arm, contrast.against):
            if arm not in chosen[contrast.data]:
                raise ConfigError(
                    f"primary: {arm!r} is not run on {contrast.data}; {one_of(arm, chosen[contrast.data])}"
                )
    exploratory = tuple(each for each in exploratory if {each.arm, each.against} <= set(chosen[each.data]))
    return Study(
        name=name,
        title=str(asked.get("title") or name),
        question=" ".join(str(asked.get("question") or "").split()),
        data={place: str(entry.get("about") or "") for place, entry in data.items()},
        arms={
            arm: str(entry.get("about") or "")
            for arm, entry in arms.items()
            if any(arm in on for on in chosen.values())
        },
        measures=built.measures,
        axis=built.axis,
        pictured=built.pictured,
        primary=primary,
        exploratory=tuple(contrast for contrast in exploratory if not _same(contrast, primary)),
        limits=tuple(" ".join(str(limit).split()) for limit in asked.get("limits") or ()),
        cells=tuple(cells),
        asked=dict(asked),
    )


def _entries(value: Any, path: str) -> dict[str, Mapping[str, Any]]:
    found = {}
    for name, entry in _mapping(value, path).items():
        if entry is None:
            continue
        found[str(name)] = _mapping(entry, f"{path}.{name}")
        for key in entry:
            if key not in _ENTRY[path]:
                raise ConfigError(f"{path}.{name}.{key}: unknown key; {one_of(str(key), _ENTRY[path])}")
    if not found:
        raise ConfigError(f"{path}: expected at least one, got none")
    return found


def _some(value: Any, arms: Mapping[str, Any], path: str) -> list[str]:
    """The arms that are listed; all where none is."""
    listed = list(arms) if value is None else [str(name) for name in _list(value)]
    for name in listed:
        if name not in arms:
            raise ConfigError(f"{path}: there is no {name!r}; {one_of(name, arms)}")
    return listed


def _contrasts(
    value: Any, path: str, data: Mapping[str, Any], arms: Mapping[str, Any], experiment: Experiment
) -> tuple[Contrast, ...]:
    """Every contrast that the entries stand for."""
    found: list[Contrast] = []
    for number, entry in enumerate(value or ()):
        here = f"{path}.{number}"
        entry = dict(_mapping(entry, here))
        against, outcome = str(entry.get("against")), str(entry.get("outcome"))
        selected = {}
        for key, names in (("data", data), ("arm", arms)):
            given = entry.get(key)
            if given is None and path == "primary" and len(names) > 1:
                raise ConfigError(f"{here}.{key}: missing; {one_of('', names)}")
            selected[key] = list(names) if given is None else [str(name) for name in _list(given)]
        named: tuple[tuple[str, list[str], Mapping[str, Any]], ...] = (
            ("data", selected["data"], data),
            ("arm", selected["arm"], arms),
            ("against", [against], arms),
            ("outcome", [outcome], experiment.measures),
        )
        for key, picked, options in named:
            for name in picked:
                if name not in options:
                    raise ConfigError(f"{here}.{key}: there is no {name!r}; {one_of(name, options)}")
        if not experiment.measures[outcome].better:
            raise ConfigError(f"{here}.outcome: of {outcome!r} neither more nor less is better")
        for place in selected["data"]:
            for arm in selected["arm"]:
                if arm != against:
                    options = {**entry, "data": place, "arm": arm}
                    contrast: Contrast = bind(Contrast, options, here).build()
                    if contrast.margin <= 0:
                        raise ConfigError(f"{here}.margin: expected a margin above 0, got {contrast.margin}")
                    found.append(contrast)
    return tuple(dict.fromkeys(found))


def _same(contrast: Contrast, others: Sequence[Contrast]) -> bool:
    """Whether the same two arms are compared in the same outcome already, whichever way round."""
    return any(
        (contrast.data, contrast.outcome, {contrast.arm, contrast.against})
        == (other.data, other.outcome, {other.arm, other.against})
        for other in others
    )


def _seeds(value: Any, path: str) -> list[int]:
    seeds = value if isinstance(value, list) else []
    if not seeds or not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"{path}: expected a list of different whole numbers, got {value!r}")
    return seeds


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping | None):
        raise ConfigError(f"{path}: expected keys with values, got {value!r}")
    return value or {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
