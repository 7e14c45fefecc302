"""Which sleep stages a module of somebody else's can live through."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from dreamer.generators import Generator
from dreamer.memory import Memory
from dreamer.stages import NREM, REM
from dreamer.stages._sleep import USUAL

Asleep = NREM | REM


def willing(stages: Sequence[Asleep], memory: Memory, generator: Generator | None) -> tuple[Asleep, ...]:
    """The stages without objectives: what a dream teaches is said by the module's own ``training_step``.

    Raises:
        ValueError: when there is none, or one asks for what a module of somebody else's cannot give.
    """
    if not stages:
        raise ValueError("expected at least one sleep stage, got stages=[]; a schedule decides when there is no night")
    return tuple(_willing(number, stage, memory, generator) for number, stage in enumerate(stages))


def looks(stage: Asleep) -> bool:
    """True when a perturbation of the stage looks at the learner."""
    return any(hasattr(part, "facing") for part in stage.recall.perturbations or ())


def bends(stage: Asleep) -> bool:
    """True when the stage changes what it recalls."""
    return stage.recall.perturbations is None or bool(stage.recall.perturbations)


def _willing(number: int, stage: Asleep, memory: Memory, generator: Generator | None) -> Asleep:
    where = f"night stage {number}"
    if not isinstance(stage, NREM | REM):
        raise ValueError(f"{where}: expected NREM or REM, got {type(stage).__name__}")
    where = f"{where} ({stage.kind})"
    asked = [part for part in stage.objectives if not any(part is usual for usual in USUAL)]
    if asked or stage.recall.teacher != "both" or stage.recall.label_bent:
        what = f"{type(asked[0]).__name__} as an objective" if asked else "a teacher of its own"
        raise ValueError(
            f"{where}: asks for {what}, but here the module's own training_step judges the dreams, by their labels: "
            "leave objectives, teacher and label_bent out, or build the life with WakeSleepModule"
        )
    if stage.fresh or stage.anneal < 1:
        raise ValueError(f"{where}: fresh and anneal change weights and learning rate, which are the module's own here")
    if stage.recall.source in ("generator", "both") and generator is None:
        raise ValueError(f"{where}: source={stage.recall.source!r} needs a generator, but SleepCallback has none")
    _check_spaces(where, stage, generator)
    stage = copy.copy(stage)
    stage.objectives = ()
    return stage


def _check_spaces(where: str, stage: Asleep, generator: Generator | None) -> None:
    invents = generator is not None and stage.recall.source != "memory"
    spaces = {"pixel", *(generator.spaces if invents and generator is not None else ())}
    for part in stage.recall.perturbations or ():
        if part.space not in spaces:
            raise ValueError(
                f"{where}: {type(part).__name__} bends a generator's {part.space} numbers, "
                "but nothing that is recalled there has any"
            )
