"""What is compared: strategies x streams x seeds, each cell a whole configuration, written down before it is run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dreamer import config
from dreamer.compare.budget import Limits, equalise
from dreamer.compare.cells import AVALANCHE, Cell
from dreamer.config import registry
from dreamer.config.binding import ConfigError, at, bind, check, parameters
from dreamer.core.suggest import one_of
from dreamer.core.text import plural
from dreamer.interop.avalanche import options as avalanche_options
from dreamer.jobs import manifest
from dreamer.jobs.manifest import Program, slug
from dreamer.report.score import Score
from dreamer.streams import registry as streams

OURS = "ours"
"""The arm that runs a stream's own configuration as it stands."""
KEYS = ("title", "arms", "streams", "seeds", "set", "reference", "augment", "budget", "match", "wandb")
OWN = "own"
PROGRAM = Program("dreamer.compare.cell", ("compare/cell.py",))
"""What runs the cells of a comparison."""
TUNING = "tuning.json"
"""What lies beside a recipe that was tuned, and says how."""


@dataclass(frozen=True)
class Arm:
    """One strategy that is compared.

    Attributes:
        label: how tables call it.
        recipes: configurations laid over that of the stream, left to right.
        avalanche: the strategy of Avalanche that runs instead of ours, or None.
    """

    label: str
    recipes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    avalanche: str | None = None


@dataclass(frozen=True)
class Grid:
    """All cells, and the request that they come from.

    Attributes:
        cells: by stream, then arm, then seed.
        reference: the label of the arm that all others are compared with.
        warnings: where arms differ although they should not, one sentence each.
    """

    title: str
    cells: tuple[Cell, ...]
    reference: str
    warnings: tuple[str, ...]
    asked: Mapping[str, Any]
    wandb: bool = False


def read(asked: Mapping[str, Any]) -> Grid:
    """Make a grid from a request.

    Args:
        asked: plain values:

            - ``arms``: names of recipes (``er``), several laid over each other (``dreams+augment``), with settings
              (``er memory.capacity=500``), ``ours`` (the stream's configuration as it stands), strategies of Avalanche
              (``avalanche:Replay mem_size=500``); or mappings with ``recipe``, ``name`` and ``set``.
            - ``streams``: names of configurations (``split_mnist``), or mappings with ``name``, ``config`` and ``set``.
            - ``seeds``: how many (1, 2, ...), or a list.
            - ``set``: settings of all arms, a list of ``key=value`` or a mapping of such keys.
            - ``reference``: an arm; by default the first.
            - ``augment``: names of the perturbations of the real samples of every arm, of the experience and replayed
              from a memory while awake; none by default. ``own`` leaves each recipe its own.
            - ``budget``: ``steps`` and ``bytes`` of every run; ``match``: ``steps``, ``bytes`` or ``flops``, those of
              the reference. See :mod:`dreamer.compare.budget`.
            - ``wandb``: log to W&B.
            - ``title``.

    Raises:
        ConfigError: when something is not there, or makes no sense.
    """
    for key in asked:
        if key not in KEYS:
            raise ConfigError(f"{key}: unknown key of a grid; {one_of(str(key), KEYS)}")
    arms = [_arm(entry) for entry in _several(asked.get("arms"), "arms")]
    places = [_stream(entry) for entry in _several(asked.get("streams"), "streams")]
    _once("arms", [slug(arm.label) for arm in arms])
    _once("streams", [slug(label) for label, *_ in places])
    seeds = _seeds(asked.get("seeds", 3))
    reference = str(asked.get("reference") or arms[0].label)
    if reference not in [arm.label for arm in arms]:
        raise ConfigError(f"reference: {reference!r} is no arm; {one_of(reference, [arm.label for arm in arms])}")
    words = _words(asked.get("set"), "set")
    limits = Limits.read(asked.get("budget"), asked.get("match"), reference)
    augment = asked.get("augment") or ()
    cells: list[Cell] = []
    warnings: list[str] = []
    for label, items, own in places:
        chosen = {
            arm.label: _cell(arm, label, items, (*words, *own), augment, seeds[0], bool(asked.get("wandb")))
            for arm in arms
        }
        _check_scores(chosen.values())
        equal, remarks = equalise(chosen, limits)
        warnings += [f"{label}: {remark}" if len(places) > 1 else remark for remark in remarks]
        cells += [_seeded(cell, seed) for cell in equal.values() for seed in seeds]
    trials = {arm.label: sum(map(_trials, arm.recipes)) for arm in arms}
    if len(set(trials.values())) > 1:
        listed = ", ".join(f"{label} {count}" for label, count in trials.items())
        warnings.append(f"arms differ in how many trials their settings were chosen from ({listed})")
    others = [arm.label for arm in arms if arm.avalanche is not None]
    if augment and augment != OWN and others:
        warnings.append(f"Avalanche's arms get no augmentation, unlike ours: {', '.join(others)}")
    if augment == OWN and len({arm.recipes for arm in arms}) > 1:
        warnings.append("every recipe keeps its own augmentation of real samples, so arms may differ in it")
    title = str(asked.get("title") or f"{plural(len(arms), 'strategy')} on {', '.join(label for label, *_ in places)}")
    return Grid(title, tuple(cells), reference, tuple(warnings), dict(asked), bool(asked.get("wandb")))


def read_cell(folder: Path) -> Cell:
    """The cell of a run folder; a ``ConfigError`` when there is none."""
    there = manifest.read(folder)
    try:
        return Cell(there["arm"], there["stream"], there["seed"], there["config"], there["avalanche"])
    except KeyError as error:
        raise ConfigError(f"expected the cell of a comparison in {folder}, found none of its {error}") from error


def _arm(entry: Any) -> Arm:
    if isinstance(entry, str) and entry.strip():
        name, *settings = entry.split()
        return _named(entry, name, tuple(settings))
    if not isinstance(entry, Mapping) or "recipe" not in entry or set(entry) - {"recipe", "name", "set"}:
        raise ConfigError(f"arms: expected the name of a recipe, or recipe, name and set, got {entry!r}")
    words = _words(entry.get("set"), "arms.set")
    name = str(entry["recipe"])
    return _named(str(entry.get("name") or " ".join([name, *words])), name, words)


def _named(label: str, name: str, words: tuple[str, ...]) -> Arm:
    for word in words:
        if "=" not in word:
            raise ConfigError(f"arms: expected key=value after {name!r}, got {word!r}")
    if name.startswith(AVALANCHE):
        return Arm(label, (), words, name.removeprefix(AVALANCHE))
    return Arm(label, () if name == OURS else tuple(name.split("+")), words)


def _stream(entry: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(label, configurations, settings)."""
    if isinstance(entry, str) and entry.strip():
        name, *settings = entry.split()
        return entry, (name,), tuple(settings)
    if not isinstance(entry, Mapping) or "config" not in entry or set(entry) - {"config", "name", "set"}:
        raise ConfigError(f"streams: expected the name of a configuration, or config, name and set, got {entry!r}")
    words = _words(entry.get("set"), "streams.set")
    name = str(entry["config"])
    return str(entry.get("name") or " ".join([name, *words])), (name,), words


def _cell(
    arm: Arm, label: str, items: Sequence[str], words: Sequence[str], augment: Any, seed: int, wandb: bool
) -> Cell:
    """The cell of one seed."""
    try:
        if arm.avalanche is None:
            plain = config.read(*items, *arm.recipes, *words, *arm.words, seed=seed)
        else:
            plain = config.read(*items, "fine_tune", *words, seed=seed)
    except ConfigError as error:
        raise ConfigError(at(arm.label, str(error))) from None
    if not (plain.get("stream") or {}).get("name"):
        raise ConfigError(f"streams: {label!r} names no stream; {one_of(label, streams.available())}")
    if augment != OWN:
        _augment(plain, _several(augment, "augment") if augment else [])
    plain.pop("out", None)
    if wandb:
        plain["logger"] = [{**_wandb_options(plain.get("logger")), "group": arm.label, "job_type": label}]
    # parts are built in the order in which they stand; the network comes first, so that one seed gives all arms the
    # same initial weights whatever else they build
    plain = {"network": plain.pop("network", {"name": "mlp"}), **plain, "name": slug(f"{label}-{arm.label}")}
    if arm.avalanche is None:
        return Cell(arm.label, label, seed, plain)
    options = dict(_pair(word) for word in arm.words)
    avalanche_options.verify(arm.avalanche, options)
    return Cell(arm.label, label, seed, plain, {"name": arm.avalanche, "options": options})


def _wandb_options(node: Any) -> dict[str, Any]:
    """What the configuration says of its logger, such as ``logger.entity=me``."""
    named = dict(node) if isinstance(node, Mapping) else {}
    return {"name": "wandb", **named} if named.get("name", "wandb") == "wandb" else {"name": "wandb"}


def _check_scores(cells: Iterable[Cell]) -> None:
    """Refuse arms that are scored otherwise than others on the same stream."""
    first: dict[str, tuple[str, str]] = {}
    for cell in cells:
        name = score_of(cell.config).name
        arm, found = first.setdefault(cell.stream, (cell.arm, name))
        if found != name:
            raise ConfigError(
                f"problem: expected one score for all arms on {cell.stream}, got {found} of {arm} and {name} of "
                f"{cell.arm}"
            )


def score_of(plain: Mapping[str, Any]) -> Score:
    """By what the run of a configuration is scored; a ``ConfigError`` when its problem makes no sense."""
    node = plain.get("problem") or "classification"
    options = {"name": node} if isinstance(node, str) else dict(node)
    name = str(options.pop("name", "classification"))
    try:
        kind = registry.resolve("problems", name)
    except registry.UnknownPart as error:
        raise ConfigError(f"problem.name: {error}") from None
    # a problem may be scored in one of several ways
    problem = bind(kind, options, "problem").build()
    return Score(problem.score, problem.unit, problem.higher_is_better)


def _augment(plain: dict[str, Any], names: Sequence[Any]) -> None:
    """Perturb the real samples of every arm alike; perturbations of dreams are the strategy's own."""
    wake = dict(plain.get("wake") or {})
    # a wake stage in closed form sees every sample once, as it is
    if not _perturbs(str(wake.get("name", "wake"))):
        return
    wake["perturbations"] = list(names)
    if wake.get("replay", 0) and wake.get("source", "memory") == "memory":
        wake["replay_perturbations"] = list(names)
    plain["wake"] = wake


def _trials(recipe: str) -> int:
    """How many trials a recipe that was tuned took; the file beside it says so."""
    path = Path(recipe).with_name(TUNING)
    if not (recipe.endswith((".yaml", ".yml")) and path.is_file()):
        return 0
    return int(json.loads(path.read_text(encoding="utf-8"))["tuning"]["trials"])


def _perturbs(stage: str) -> bool:
    try:
        return "perturbations" in parameters(registry.resolve("stages", stage))
    except registry.UnknownPart:
        return True  # one's own, or none, which is refused when it is planned


def _seeded(cell: Cell, seed: int) -> Cell:
    return replace(cell, seed=seed, config={**cell.config, "seed": seed})


def _pair(word: str) -> tuple[str, Any]:
    found = dict(config.read({}, word))
    found.pop("name", None)
    return next(iter(found.items()))


def _several(value: Any, path: str) -> list[Any]:
    found = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if not found:
        raise ConfigError(f"{path}: expected at least one, got none")
    return list(found)


def _seeds(value: Any) -> list[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ConfigError(f"seeds: expected at least 1, got {value}")
        return list(range(1, value + 1))
    found = [check(seed, int, "seeds") for seed in _several(value, "seeds")]
    _once("seeds", [str(seed) for seed in found])
    return found


def _words(value: Any, path: str) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(f"{key}={json.dumps(entry)}" for key, entry in value.items())
    for word in value or ():
        if not isinstance(word, str) or "=" not in word:
            raise ConfigError(f"{path}: expected key=value, got {word!r}")
    return tuple(value or ())


def _once(path: str, names: Sequence[str]) -> None:
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise ConfigError(f"{path}: expected each once, got {', '.join(twice)} twice")
