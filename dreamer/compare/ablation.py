"""`dreamer study ablation`: a recipe against itself without each part of its nights, as a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreamer import config
from dreamer.compare.grid import OURS, OWN
from dreamer.config.binding import ComponentSpec, ConfigError
from dreamer.objectives import Objective
from dreamer.perturbations import Perturbation
from dreamer.runs.run_config import run_config

FULL = "full"
"""The arm that the others are compared with: the recipe as it stands."""
SEEDS = tuple(range(11, 21))
"""Recipes may have been chosen on the first few seeds."""
QUICK_SEEDS = SEEDS[:2]
QUICK = ("stream.experiences=2", "wake.steps=100")
"""Settings of a quick ablation."""


def asked(
    strategy: str, stream: str = "digits", seeds: int | Sequence[int] = SEEDS, words: Sequence[str] = ()
) -> dict[str, Any]:
    """The grid in which a recipe is compared with itself without each part of its nights.

    Every arm makes as many optimiser steps as the whole recipe: what a stage would have taken, the wake stages take.

    Args:
        strategy: names of recipes, laid over each other (``dreams+augment``); ``ours`` is the stream's own.

    Raises:
        ConfigError: when there is no such recipe, or it has no nights.
    """
    whole = config.read(stream, *([] if strategy == OURS else strategy.split("+")), *words)
    arms = [{"recipe": strategy, "name": name, "set": changes} for name, changes in variants(whole)]
    if not arms:
        raise ConfigError(f"ablation: expected a recipe with nights, got {strategy!r}, which has none on {stream}")
    return {
        "title": f"Ablation of the nights of {strategy} on {stream}",
        "arms": [{"recipe": strategy, "name": FULL}, *arms],
        "streams": [stream],
        "seeds": seeds if isinstance(seeds, int) else list(seeds),
        "set": list(words),
        "reference": FULL,
        "match": "steps",
        # wake is no part of the night: all arms perturb real samples as the recipe does
        "augment": OWN,
    }


def variants(whole: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A recipe without each part of its nights: the arm's name, and the keys that are set.

    Without any night, without each kind of stage, without each perturbation and without all, without teachers (dreams
    are learnt from their labels), and without a schedule of its own (nights come at the boundaries of experiences).
    """
    night = _stages(whole)
    if not night:
        return
    yield "without nights", {"night": []}
    names = list(dict.fromkeys(stage.name for stage in night))
    if len(names) > 1:
        for name in names:
            yield f"without {name}", {"night": [stage.node for stage in night if stage.name != name]}
    perturbations = list(dict.fromkeys(name for stage in night for name in stage.perturbations))
    if len(perturbations) > 1:
        for perturbation in perturbations:
            yield f"without {perturbation}", {"night": [stage.without(perturbation) for stage in night]}
    if any(stage.perturbed for stage in night):
        unperturbed = [{**stage.node, "perturbations": []} if stage.perturbed else stage.node for stage in night]
        yield "without perturbations", {"night": unperturbed}
    if any(stage.taught for stage in night):
        yield "without teachers", {"night": [stage.by_labels() for stage in night]}
    schedule = _node(whole.get("schedule") or "boundary")
    if schedule["name"] != "boundary":
        yield "without its schedule", {"schedule": {"name": "boundary"}}


@dataclass(frozen=True)
class _Stage:
    """One stage of a night.

    Attributes:
        node: as its configuration has it, with a name.
        perturbations: names of the perturbations that are configured.
        perturbed: dreams are perturbed, by those or by the stage's usual ones.
        objectives: whether each one needs a teacher, in order.
    """

    node: dict[str, Any]
    perturbations: tuple[str, ...]
    perturbed: bool
    objectives: tuple[bool, ...]

    @property
    def name(self) -> str:
        return str(self.node["name"])

    @property
    def taught(self) -> bool:
        return any(self.objectives)

    def without(self, perturbation: str) -> dict[str, Any]:
        if perturbation not in self.perturbations:
            return self.node
        kept = [
            node
            for node, name in zip(self.node["perturbations"], self.perturbations, strict=True)
            if name != perturbation
        ]
        return {**self.node, "perturbations": kept}

    def by_labels(self) -> dict[str, Any]:
        if not self.taught:
            return self.node
        nodes = self.node.get("objectives") or []
        kept = [node for node, needs in zip(nodes, self.objectives, strict=False) if not needs]
        return {**self.node, "objectives": kept or [{"name": "cross_entropy"}]}


def _stages(whole: Mapping[str, Any]) -> list[_Stage]:
    """The stages of a night, as they are configured and as they are once built."""
    found = []
    for node, component in zip(
        whole.get("night") or (), run_config(whole).module.options.get("night") or (), strict=True
    ):
        assert isinstance(component, ComponentSpec)
        stage = component.build()
        objectives: Sequence[Objective] = getattr(stage, "objectives", ())
        perturbations: Sequence[Perturbation] | None = getattr(getattr(stage, "replayer", None), "perturbations", ())
        configured = _node(node)
        names = tuple(str(_node(perturbation)["name"]) for perturbation in configured.get("perturbations") or ())
        needs = tuple(bool(objective.needs_teacher) for objective in objectives)
        found.append(_Stage(configured, names, perturbations is None or bool(perturbations), needs))
    return found


def _node(part: Any) -> dict[str, Any]:
    return {"name": part} if isinstance(part, str) else dict(part)
