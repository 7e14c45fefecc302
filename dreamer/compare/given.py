"""What a configuration gives a run, in a few words for each matter, so that two of them can be compared.

A part is written as ``name (option value, ...)`` with the options that are not its defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dreamer.config import registry
from dreamer.config.binding import parameters

Facts = dict[str, str]
"""What is said of each matter."""
_NONE = "none"
_UNCHOSEN = "latent mixing of codes, or noise where there are none"
_ELSEWHERE = ("seed", "root", "workers")
"""Settings of a stream that do not change what is seen of it; seeds are paired."""


def data(config: Mapping[str, Any]) -> Facts:
    """Which data the learner sees: the stream with its settings, and how much of it a wake stage has."""
    stream = _part("streams", config.get("stream"), _ELSEWHERE)
    limits = {key: value for key, value in (config.get("trainer") or {}).items() if key == "limit_train_batches"}
    wake = _wake(config)
    return {
        "the stream": stream,
        "the data of wake stages": str(wake.get("data", wake["name"] if wake["name"] != "wake" else "experience")),
        "the limit of batches": _options(limits) or _NONE,
    }


def augmentation(config: Mapping[str, Any]) -> Facts:
    """The perturbations of real samples, of samples replayed awake, and of those of every kind of night stage."""
    wake = _wake(config)
    replays = bool(wake.get("replay")) or wake.get("source") == "day"
    replayed = _perturbations(wake.get("replay_perturbations") or ()) if replays else "nothing is replayed"
    found = {
        "the augmentation of real samples": _perturbations(wake.get("perturbations") or ()),
        "the augmentation of samples replayed awake": replayed,
    }
    for kind in dict.fromkeys(stage["name"] for stage in _night(config)):
        stages = [_stage_augmentation(stage) for stage in _night(config) if stage["name"] == kind]
        found[f"the augmentation of samples replayed in {kind} stages"] = ", then ".join(stages)
    return found


def plan(config: Mapping[str, Any]) -> Facts:
    """The steps, the replay and the parts that a run is going to have."""
    wake = _wake(config)
    length = {key: wake[key] for key in ("steps", "epochs", "batch_size") if wake.get(key) is not None}
    replay = {key: wake[key] for key in ("replay", "source") if wake.get(key) is not None}
    nights = [
        f"{stage['name']} {_options({key: stage[key] for key in ('steps', 'batch_size', 'source') if key in stage})}"
        for stage in _night(config)
    ]
    cycles = {key: config[key] for key in ("cycles",) if config.get(key, 1) != 1}
    return {
        "the planned length of wake stages": _options(length) or "one pass",
        "the planned replay awake": _options(replay) if replay.get("replay") else _NONE,
        "the planned nights": ", ".join([*(night.strip() for night in nights), *filter(None, [_options(cycles)])])
        or _NONE,
        "the schedule": _part("schedules", config.get("schedule")),
        "the memory": _part("memory", config.get("memory")),
        "the generator": _part("generators", config.get("generator")),
    }


def _wake(config: Mapping[str, Any]) -> dict[str, Any]:
    return _node(config.get("wake") or "wake", "wake")


def _night(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stages of a night; where none are named those that a run has by itself."""
    stages = config.get("night")
    if stages is None:
        stages = ("nrem", "rem") if config.get("memory") or config.get("generator") else ()
    return [_node(stage, "stage") for stage in stages]


def _stage_augmentation(stage: Mapping[str, Any]) -> str:
    chosen = stage.get("perturbations")
    written = _perturbations(chosen or ())
    if chosen is None and stage["name"] == "rem":
        written = _UNCHOSEN
    strength = stage.get("strength", 1.0)
    return written if strength == 1.0 or written == _NONE else f"{written}, strength {strength}"


def _perturbations(nodes: Sequence[Any]) -> str:
    return " and ".join(_part("perturbations", node) for node in nodes) or _NONE


def _part(family: str, node: Any, skip: Sequence[str] = ()) -> str:
    """A part by its name, with its options that differ from their defaults."""
    if not node:
        return _NONE
    options = _node(node, _NONE)
    name = options.pop("name")
    defaults = _defaults(family, name)
    odd = {
        key: value
        for key, value in sorted(options.items())
        if key not in skip and not (key in defaults and defaults[key] == value)
    }
    return f"{name} ({_options(odd)})" if odd else name


def _defaults(family: str, name: str) -> dict[str, Any]:
    try:
        found = parameters(registry.resolve(family, name))
    except (registry.UnknownPart, KeyError):  # a stream, or somebody's own part that is not at hand
        return {}
    return {key: parameter.default for key, parameter in found.items()}


def _node(node: Any, name: str) -> dict[str, Any]:
    return {"name": node} if isinstance(node, str) else {"name": name, **node}


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in options.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_options(value)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
