"""Which sleep stages a module of somebody else's can live through."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from dreamer.generators import Generator
from dreamer.memory import Memory
from dreamer.stages import NREM, REM
from dreamer.stages.base import USUAL

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
    return any(hasattr(part, "bind_model") for part in stage.replayer.perturbations or ())


def perturbs(stage: Asleep) -> bool:
    """True when the stage changes what it recalls."""
    return stage.replayer.perturbations is None or bool(stage.replayer.perturbations)


def _willing(number: int, stage: Asleep, memory: Memory, generator: Generator | None) -> Asleep:
    where = f"night stage {number}"
    if not isinstance(stage, NREM | REM):
        raise ValueError(f"{where}: expected NREM or REM, got {type(stage).__name__}")
    where = f"{where} ({stage.kind})"
    asked = [part for part in stage.objectives if not any(part is usual for usual in USUAL)]
    if asked or stage.replayer.teacher != "both" or stage.replayer.teacher_sees_perturbed:
        what = f"{type(asked[0]).__name__} as an objective" if asked else "a teacher of its own"
        raise ValueError(
            f"{where}: asks for {what}, but here the module's own training_step judges the dreams, by their labels: "
            "leave objectives, teacher and teacher_sees_perturbed out, or build the life with WakeSleepModule"
        )
    if stage.from_scratch or stage.anneal < 1:
        raise ValueError(
            f"{where}: from_scratch and anneal change weights and learning rate, which are the module's own here"
        )
    if stage.replayer.source in ("generator", "both") and generator is None:
        raise ValueError(f"{where}: source={stage.replayer.source!r} needs a generator, but SleepCallback has none")
    _check_spaces(where, stage, generator)
    stage = copy.copy(stage)
    stage.objectives = ()
    return stage


def _check_spaces(where: str, stage: Asleep, generator: Generator | None) -> None:
    invents = generator is not None and stage.replayer.source != "memory"
    spaces = {"pixel", *(generator.spaces if invents and generator is not None else ())}
    for part in stage.replayer.perturbations or ():
        if part.space not in spaces:
            raise ValueError(
                f"{where}: {type(part).__name__} bends a generator's {part.space} numbers, "
                "but nothing that is recalled there has any"
            )
