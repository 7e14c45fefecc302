"""Which parts and sleep stages suit a user's own module."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor

from dreamer.callbacks.sleep.batch_fields import Place
from dreamer.generators import Generator
from dreamer.memory import ClassBalanced, Memory
from dreamer.memory.base import Buffer
from dreamer.schedules import Schedule
from dreamer.stages import NREM, REM
from dreamer.stages.base import DEFAULT_OBJECTIVES

DreamStage = NREM | REM


def without_objectives(stages: Sequence[DreamStage], generator: Generator | None) -> tuple[DreamStage, ...]:
    """The stages without objectives: the module's own ``training_step`` computes the loss of dreams.

    Raises:
        ValueError: when there is none, or one needs what a user's own module cannot give.
    """
    if not stages:
        raise ValueError("expected at least one sleep stage, got stages=[]; a schedule decides when there is no night")
    return tuple(_without_objectives(number, stage, generator) for number, stage in enumerate(stages))


def needs_model(stage: DreamStage) -> bool:
    """True when a perturbation of the stage needs the learner's outputs."""
    return any(hasattr(part, "bind_model") for part in stage.replayer.perturbations or ())


def perturbs(stage: DreamStage) -> bool:
    """True when the stage changes what it replays."""
    return stage.replayer.perturbations is None or bool(stage.replayer.perturbations)


def check_schedule(schedule: Schedule | int | None, targets: Place | None) -> None:
    """Raise a ValueError when a schedule cannot work with what the callback sees."""
    if schedule is None and targets is None:
        raise ValueError("the default schedule watches classes: with targets=None say when to sleep, e.g. schedule=1")
    if isinstance(schedule, bool) or (isinstance(schedule, int) and schedule < 1):
        raise ValueError(f"expected a night after every n-th epoch with n of at least 1, got schedule={schedule}")
    if isinstance(schedule, Schedule) and schedule.wants_features:
        raise ValueError(
            f"{type(schedule).__name__} watches features, which a module of your own does not give: watch the loss"
        )


def check_parts(memory: Memory, generator: Generator | None) -> None:
    """Raise a ValueError when memory or generator needs the learner itself."""
    chooses = isinstance(memory, Buffer) and type(memory).end_experience is Buffer.end_experience
    if not chooses or memory.is_features or memory.logits:
        what = "one that keeps the learner's logits" if memory.logits else type(memory).__name__
        raise ValueError(
            f"expected a memory that chooses samples while awake (ClassBalanced, Reservoir, Ring or Greedy), got {what}"
        )
    if generator is not None and generator.is_features:
        raise ValueError(
            f"{type(generator).__name__} dreams features of the learner, which a training_step of your own cannot take"
        )


def check_classless(
    y: Tensor,
    schedule: Schedule | int | None,
    memory: Memory,
    generator: Generator | None,
    stages: Sequence[DreamStage],
) -> None:
    """Raise a ValueError when a part needs classes, and the targets are none."""
    needs = {
        "the schedule, which by default watches classes": schedule is None,
        "ClassBalanced": isinstance(memory, ClassBalanced),
        "the generator": generator is not None,
        "a stage that perturbs its dreams": any(map(perturbs, stages)),
    }
    for what, needed in needs.items():
        if needed:
            raise ValueError(
                f"{what} needs (B,) whole numbers as targets, got {y.dtype} of shape {tuple(y.shape)}: say where "
                "classes are with targets=, or choose another part"
            )


def _without_objectives(number: int, stage: DreamStage, generator: Generator | None) -> DreamStage:
    where = f"night stage {number}"
    if not isinstance(stage, NREM | REM):
        raise ValueError(f"{where}: expected NREM or REM, got {type(stage).__name__}")
    where, replayer = f"{where} ({stage.kind})", stage.replayer
    given = [part for part in stage.objectives or () if not any(part is usual for usual in DEFAULT_OBJECTIVES)]
    if given or replayer.teacher != "both" or replayer.teacher_sees_perturbed:
        what = f"{type(given[0]).__name__} as an objective" if given else "a teacher of its own"
        raise ValueError(
            f"{where}: has {what}, but here the module's own training_step computes the dreams' loss, from labels: "
            "leave objectives, teacher and teacher_sees_perturbed out, or use WakeSleepModule"
        )
    if stage.from_scratch or stage.from_dawn or stage.anneal < 1 or stage.warmup or stage.lr_scale != 1:
        raise ValueError(
            f"{where}: from_scratch, from_dawn, anneal, warmup and lr_scale change weights and learning rate, which "
            "are the module's own here"
        )
    if replayer.source in ("generator", "both") and generator is None:
        raise ValueError(f"{where}: source={replayer.source!r} needs a generator, but SleepCallback has none")
    _check_spaces(where, stage, generator)
    stage = copy.copy(stage)
    stage.objectives = ()
    return stage


def _check_spaces(where: str, stage: DreamStage, generator: Generator | None) -> None:
    generates = generator is not None and stage.replayer.source != "memory"
    spaces: set[str] = {"pixel", *(generator.spaces if generates and generator is not None else ())}
    # a generator whose texts are their own targets
    spaces |= {"token", "embedding"} if generator is not None and generator.own_targets else set()
    for part in stage.replayer.perturbations or ():
        if part.space not in spaces:
            what = "embeddings of texts" if part.space == "embedding" else f"a generator's {part.space} numbers"
            raise ValueError(
                f"{where}: {type(part).__name__} perturbs {what}, but nothing that is replayed there has any"
            )
        if getattr(part, "mixes", False):
            raise ValueError(
                f"{where}: {type(part).__name__} mixes whole distributions, but OwnText keeps the most likely tokens "
                "alone: expected a part that mixes no texts, or WakeSleepModule"
            )
