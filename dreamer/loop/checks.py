"""From parts and a stream to a plan: what fits together is laid out, what does not is refused, before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.core.hypnogram import Hypnogram
from dreamer.generators import Generator
from dreamer.memory import Memory
from dreamer.networks.base import Featured
from dreamer.objectives import Objective
from dreamer.perturbations import Perturbation, scaled
from dreamer.plasticity import Plasticity
from dreamer.schedules import Schedule
from dreamer.stages import NREM, REM, Hebbian, Wake
from dreamer.stages.replay import Replayer
from dreamer.streams.base import JoinedSamples, Samples, Stream

_SLACK = 1e-3
"""What rounding may add to a range of values."""

ActiveOutputs = Literal["all", "seen", "task"]
SleepStage = NREM | REM | Hebbian
StageSpec = Wake | SleepStage


@dataclass(frozen=True)
class Parts:
    """The parts of one life, to be looked at together.

    Attributes:
        network: the learner.
        wake: how an experience is lived through.
        night: the sleep stages of one cycle, in order.
        memory: what is kept of the day, or None.
        generator: what makes dreams, or None.
        plasticity: what follows the learner's weights.
        schedule: when nights come.
        active_outputs: which outputs compete.
    """

    network: nn.Module
    wake: Wake
    night: tuple[SleepStage, ...]
    memory: Memory | None
    generator: Generator | None
    plasticity: tuple[Plasticity, ...]
    schedule: Schedule
    active_outputs: ActiveOutputs

    def replayers(self) -> Iterator[tuple[str, StageSpec, Replayer]]:
        """Every stage that recalls: where it stands, the stage, and how."""
        if self.wake.replays:
            yield "wake", self.wake, self.wake.replayer
        for number, stage in enumerate(self.night):
            yield f"night stage {number} ({stage.kind})", stage, stage.replayer

    def teachers(self) -> set[str]:
        """Which frozen copies of the learner must be kept: ``dawn``, ``dusk``."""
        asked: set[str] = set()
        for _, stage, replayer in self.replayers():
            awake = stage is self.wake
            if replayer.unlabelled(self.generator) or (awake and replayer.source == "day"):
                asked |= {"dawn"} if awake else {"dusk"}
            if stage.needs_teacher and replayer.teacher != "average":
                asked |= {"dawn", "dusk"} if replayer.teacher == "both" else {replayer.teacher}
        if self.memory is not None and self.memory.needs_dawn:
            asked |= {"dawn"}
        return asked


def plan_life(stream: Stream, parts: Parts, cycles: int, devices: int = 1) -> Hypnogram:
    """Lay out a life.

    Args:
        stream: what will be met.
        parts: the parts.
        cycles: cycles per night.
        devices: processes that share each experience.

    Raises:
        ValueError: when a stage that learns without gradients should run on several devices, or the first day's night
            asks a teacher from before that day.
    """
    if devices > 1:
        for stage in (parts.wake, *parts.night):
            if not stage.by_gradient:
                raise ValueError(
                    f"{type(stage).__name__} learns without gradients, which {devices} devices cannot share"
                )
    lived = 0
    days = []
    for experience in stream.experiences:
        steps = parts.wake.length(-(-len(day_of(stream, experience.index, parts.wake)) // devices))
        days.append(parts.schedule.cut(steps, lived, last=experience.index == len(stream) - 1))
        lived += steps
    plan = Hypnogram.plan(days, [(stage.kind, stage.steps) for stage in parts.night], cycles)
    _check_dawn(plan, parts)
    return plan


def _check_dawn(plan: Hypnogram, parts: Parts) -> None:
    for stage in plan:
        if stage.kind == "wake" or stage.experience > 0:
            continue
        spec = parts.night[stage.index_in_night]
        if spec.needs_teacher and spec.replayer.teacher == "dawn":
            raise ValueError(
                f"night stage {stage.index_in_night} ({stage.kind}): asks teacher='dawn', who is not there in the first "
                "experience: expected teacher='both', 'dusk' or 'average'"
            )


def day_of(stream: Stream, index: int, wake: Wake) -> Samples:
    """What a day is lived through with: the experience's training samples, or more where ``wake.data`` says so."""
    if wake.data == "experience":
        return stream.experiences[index].train
    last = len(stream) if wake.data == "joint" else index + 1
    return JoinedSamples([experience.train for experience in stream.experiences[:last]])


def days_kept(stream: Stream, index: int, wake: Wake) -> int:
    """Bytes of the days that must be kept to be lived again, today's among them: float32 values and an int64 label."""
    if wake.data == "experience":
        return 0
    return len(day_of(stream, index, wake)) * (4 * math.prod(stream.sample_shape) + 8)


def check_parts(stream: Stream, parts: Parts, x: Tensor) -> None:
    """Refuse what makes no sense together.

    Args:
        stream: what will be met.
        parts: the parts.
        x: (B, *S) a few of its samples.

    Raises:
        ValueError: with the reason.
    """
    _check_stream(stream, parts)
    _check_values(stream, parts, x)
    for stage in (parts.wake, *parts.night):
        stage.check(parts.network)
    _check_wake(stream, parts, x)
    _check_learning(parts)
    for where, stage, replayer in parts.replayers():
        _check_source(where, replayer, parts)
        _check_perturbations(where, replayer, parts)
        _try_recall(where, replayer, parts, stream, x)
        _check_objectives(where, stage, replayer, parts)
        _check_fresh(where, stage, replayer, parts)
    _check_features(parts)


def _check_stream(stream: Stream, parts: Parts) -> None:
    if parts.active_outputs == "task" and not stream.disjoint:
        raise ValueError(
            "active_outputs='task' needs experiences with classes of their own, "
            f"but experiences of {stream.name} share classes"
            + (", or are not known before they begin" if stream.passing else "")
        )
    if parts.generator is None:
        return
    shape, classes = tuple(parts.generator.sample_shape), parts.generator.num_classes
    if shape != tuple(stream.sample_shape):
        raise ValueError(f"the generator makes samples of shape {shape}, the stream gives {stream.sample_shape}")
    if classes != stream.num_classes:
        raise ValueError(f"the generator knows {classes} classes, the stream has {stream.num_classes}")


def a_few(stream: Stream, count: int = 64) -> Tensor:
    """(B, *S) of the first experience's training samples, at most ``count``; test samples where these pass unread."""
    first = stream.experiences[0]
    samples = first.test if stream.passing else first.train
    return next(iter(samples.batches([torch.arange(min(count, len(samples)))]))).x


def check_learner(stream: Stream, parts: Parts, x: Tensor) -> None:
    """Ask the learner once: whatever it is, it must map samples to logits.

    Args:
        stream: what will be met.
        parts: the parts.
        x: (B, *S) a few of its samples.

    Raises:
        ValueError: when it does not.
    """
    network, x = parts.network, x[:2]
    held = [part for part in (network, parts.generator) if part is not None]
    tensors = itertools.chain(*(itertools.chain(part.parameters(), part.buffers()) for part in held))
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    if like is not None:
        x = x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    name, given = type(network).__name__, f"{tuple(x.shape)} samples of {x.dtype}"
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            answer = network(x)
    except Exception as error:  # whatever somebody else's module raises
        raise ValueError(f"{name} cannot answer to {given}: {' '.join(str(error).split())}") from error
    finally:
        for module, mode in modes:
            module.training = mode
    wanted = (len(x), stream.num_classes)
    if not isinstance(answer, Tensor) or tuple(answer.shape) != wanted:
        got = f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        wrap = "" if isinstance(answer, Tensor) else ": wrap it in a module whose forward picks out the logits"
        raise ValueError(f"expected {name} to map {given} to {wanted} logits, got {got}{wrap}")


def _check_values(stream: Stream, parts: Parts, x: Tensor) -> None:
    """Refuse parts that are made for other values than the stream's; a few samples are looked at."""
    sources = [part for part in (parts.memory, parts.generator) if part is not None and not part.is_features]
    if not x.is_floating_point():
        if parts.generator in sources:
            raise ValueError(
                f"{type(parts.generator).__name__} makes floating-point samples, {stream.name} gives {x.dtype}: "
                "expected a generator of the learner's features (latent_gaussians with space='features'), or a memory"
            )
        return
    least, largest = float(x.min()), float(x.max())
    for part in sources:
        ends = getattr(part, "bounds", None)
        if ends is not None and (least < ends[0] - _SLACK or largest > ends[1] + _SLACK):
            option = next(key for key in ("likelihood", "span", "values", "store") if hasattr(part, key))
            other = {"likelihood": "'gaussian'", "store": "'float32'", "span": "None", "values": "'any'"}[option]
            raise ValueError(
                f"{type(part).__name__} is for values in [{ends[0]:g}, {ends[1]:g}], {stream.name} has {least:.3g} to "
                f"{largest:.3g}: expected {option}={other}"
            )
    named = [(where, bend) for where, _, replayer in parts.replayers() for bend in replayer.perturbations or ()]
    for where, bend in [*named, *(("wake", bend) for bend in parts.wake.perturbations)]:
        clip = getattr(bend, "clip", None) if bend.space == "pixel" else None
        if clip is not None and (least < clip[0] - _SLACK or largest > clip[1] + _SLACK):
            raise ValueError(
                f"{where}: {type(bend).__name__} clips to [{clip[0]:g}, {clip[1]:g}], {stream.name} has {least:.3g} to "
                f"{largest:.3g}: expected clip=None"
            )


def _check_wake(stream: Stream, parts: Parts, x: Tensor) -> None:
    wake = parts.wake
    for part in wake.perturbations:
        if part.space != "pixel":
            raise ValueError(
                f"wake: {type(part).__name__} is a {part.space} perturbation, which cannot bend real samples"
            )
    _try_perturbations("wake", wake.perturbations, stream, x)
    if any(objective.needs_teacher or objective.needs_logits for objective in wake.objectives):
        raise ValueError(
            "wake: an objective on real samples has no teacher and no stored logits; "
            "ask a teacher about the day with source='day' and replay_objectives"
        )
    if stream.passing and wake.data != "experience":
        raise ValueError(f"wake: data={wake.data!r} keeps all data, but {stream.name} is read as it is lived, once")
    if wake.data == "joint" and parts.active_outputs == "seen":
        raise ValueError("wake: data='joint' meets all classes every day, which active_outputs='seen' would switch off")
    if wake.replayer.source == "day" and wake.replayer.perturbations:
        raise ValueError(
            "wake: source='day' replays the day's samples as the learner sees them: "
            "bend them with perturbations, and leave replay_perturbations empty"
        )
    if not wake.objectives and parts.memory is not None and parts.memory.logits:
        raise ValueError(
            f"wake: {type(parts.memory).__name__} keeps the learner's logits (logits=True), but without objectives the "
            "learner does not answer the day"
        )
    if not wake.objectives and parts.schedule.data_driven and not parts.schedule.wants_features:
        raise ValueError(
            f"{type(parts.schedule).__name__} watches the loss of the day, but wake has no objectives and so no loss"
        )


def _check_learning(parts: Parts) -> None:
    """Whoever is to learn by gradient must have something that gradients change, and something that gives them."""
    trainable = any(parameter.requires_grad for parameter in parts.network.parameters())
    for where, stage, _ in parts.replayers():
        if stage.by_gradient and not _learns_from(stage):
            key = "replay_objectives" if stage is parts.wake else "objectives"
            raise ValueError(f"{where}: recalls, but learns nothing from it: expected {key}")
    learning = [where for where, stage, _ in parts.replayers() if stage.by_gradient]
    learning += ["wake"] if parts.wake.objectives else []
    learning += [type(part).__name__ for part in parts.plasticity]
    if learning and not trainable:
        raise ValueError(
            f"{learning[0]}: needs a learner with trainable parameters, but {type(parts.network).__name__} has none: "
            "expected wake=Absorb(), or objectives=() awake, and no night"
        )
    own = [] if parts.generator is None else list(parts.generator.parameters())
    if not parts.wake.by_gradient and any(parameter.requires_grad for parameter in own):
        raise ValueError(
            f"wake: {type(parts.wake).__name__} learns without gradients, from which "
            f"{type(parts.generator).__name__} would learn nothing"
        )


def _learns_from(stage: StageSpec) -> Sequence[Objective]:
    """What a stage learns from what it recalls."""
    return stage.replay_objectives if isinstance(stage, Wake) else stage.objectives


def _check_source(where: str, replayer: Replayer, parts: Parts) -> None:
    memory, generator = parts.memory, parts.generator
    if replayer.source == "auto" and memory is None and generator is None:
        raise ValueError(f"{where}: recalls, but the life has neither a memory nor a generator")
    if replayer.source in ("memory", "both") and memory is None:
        raise ValueError(f"{where}: source={replayer.source!r} needs a memory, but the life has none")
    if replayer.source in ("generator", "both") and generator is None:
        raise ValueError(f"{where}: source={replayer.source!r} needs a generator, but the life has none")
    if replayer.source in ("auto", "both") and memory is not None and generator is not None:
        if memory.is_features != generator.is_features:
            raise ValueError(
                f"{where}: memory and generator cannot be recalled together, "
                "because one gives samples and the other features of the learner"
            )


def _check_perturbations(where: str, replayer: Replayer, parts: Parts) -> None:
    remembers, invents = _shares(replayer, parts)
    uses_features = _uses_features(replayer, parts)
    codes = set(parts.generator.spaces) if invents and parts.generator is not None else set()
    codes |= {"latent"} if remembers and uses_features else set()
    for part in replayer.perturbations or ():
        name = type(part).__name__
        if part.space != "pixel" and part.space not in codes:
            what = "latent codes" if part.space == "latent" else "the noise from which codes are drawn"
            raise ValueError(f"{where}: {name} bends {what}, but what is recalled there has none that could be bent")
        if part.space == "pixel" and uses_features:
            raise ValueError(f"{where}: {name} bends samples, but what is recalled there are features of the learner")
        if hasattr(part, "bind_model") and uses_features:
            raise ValueError(f"{where}: {name} looks at the learner, which is not entered with samples there")


def _try_recall(where: str, replayer: Replayer, parts: Parts, stream: Stream, x: Tensor) -> None:
    """Try what a stage bends its dreams with, also where it is left to the stage."""
    invents = _shares(replayer, parts)[1]
    codes = _uses_features(replayer, parts) or (
        invents and parts.generator is not None and "latent" in parts.generator.spaces
    )
    try:
        _try_perturbations(where, replayer.chosen(codes), stream, x, replayer.strength)
    except ValueError as error:
        hint = "; perturbations=[] replays it as it was" if replayer.perturbations is None else ""
        raise ValueError(f"{error}{hint}") from error


def _try_perturbations(
    where: str, parts: Sequence[Perturbation], stream: Stream, x: Tensor, strengths: Sequence[float] = (1.0,)
) -> None:
    """Perturb two blank samples, as strongly as each night will: what is not made for such samples says so now."""
    x = torch.zeros(2, *stream.sample_shape, dtype=x.dtype)
    p = torch.full((2, stream.num_classes), 1 / stream.num_classes)
    for part in parts:
        try:
            for strength in strengths:
                bent = part if strength == 1 else scaled(part, strength)
                if part.space == "pixel" and not hasattr(part, "bind_model"):
                    bent(x, p, torch.Generator().manual_seed(0))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def _check_objectives(where: str, stage: StageSpec, replayer: Replayer, parts: Parts) -> None:
    remembers, invents = _shares(replayer, parts)
    uses_features = _uses_features(replayer, parts)
    if uses_features and isinstance(stage, Hebbian):
        raise ValueError(f"{where}: Hebbian sleeps on samples, but what is recalled there are features of the learner")
    for objective in _learns_from(stage):
        name = type(objective).__name__
        if objective.needs_features and uses_features:
            raise ValueError(
                f"{where}: {name} looks at features of the learner, but what is recalled there enters behind them"
            )
        kept = remembers and not invents and parts.memory is not None and parts.memory.logits
        if objective.needs_logits and not kept:
            raise ValueError(
                f"{where}: {name} matches the logits that were kept with a sample: "
                "replayer from a memory alone, one that keeps them (logits=True)"
            )
        if objective.needs_teacher and replayer.teacher == "average" and not _averages(parts):
            raise ValueError(f"{where}: {name} asks teacher='average', but no plasticity of the life keeps one")


def _check_fresh(where: str, stage: StageSpec, replayer: Replayer, parts: Parts) -> None:
    if not stage.from_scratch:
        return
    if parts.plasticity:
        names = ", ".join(type(part).__name__ for part in parts.plasticity)
        raise ValueError(
            f"{where}: from_scratch=True makes a newborn learner, but {names} goes on from the one before it"
        )
    if _uses_features(replayer, parts):
        raise ValueError(
            f"{where}: from_scratch=True makes a newborn learner, but what is recalled there are features of the one before it"
        )


def _check_features(parts: Parts) -> None:
    seers: list[Memory | Generator] = [parts.memory] if parts.memory is not None and parts.memory.is_features else []
    seers += [parts.generator] if parts.generator is not None and parts.generator.is_features else []
    stages = (parts.wake, *parts.night)
    judges = [o for stage in stages for o in stage.objectives if o.needs_features]
    judges += [o for o in parts.wake.replay_objectives if parts.wake.replays and o.needs_features]
    watching = [parts.schedule] if parts.schedule.wants_features else []
    for part in (*seers, *judges, *watching):
        if not isinstance(parts.network, Featured):
            raise ValueError(
                f"{type(part).__name__} looks at the learner's features, but {type(parts.network).__name__} has no "
                "features(x) and classify(h)"
            )


def _averages(parts: Parts) -> bool:
    return any(part.average is not None for part in parts.plasticity)


def _shares(replayer: Replayer, parts: Parts) -> tuple[bool, bool]:
    remembers = parts.memory is not None and replayer.source in ("auto", "memory", "both")
    return remembers, parts.generator is not None and replayer.source in ("auto", "generator", "both")


def _uses_features(replayer: Replayer, parts: Parts) -> bool:
    """True when features of the learner are recalled rather than samples."""
    used = zip((parts.memory, parts.generator), _shares(replayer, parts), strict=True)
    return any(part.is_features for part, share in used if share and part is not None)


def active_classes(stream: Stream, experience: int, active_outputs: ActiveOutputs) -> Tensor | None:
    """Which outputs compete in the softmax while an experience is lived through or slept upon.

    Args:
        stream: the stream.
        experience: number of the experience.
        active_outputs: ``all`` outputs, those of classes ``seen`` so far, or those of the sample's own ``task``.

    Returns:
        (K, K) bool, row k for samples of class k; None when all always compete.
    """
    if active_outputs == "all":
        return None
    table = torch.zeros(stream.num_classes, stream.num_classes, dtype=torch.bool)
    if active_outputs == "seen":
        table[:, class_mask(stream, range(experience + 1))] = True
        return table
    for other in stream.experiences:
        mask = class_mask(stream, [other.index])
        table[mask] = mask
    return table


def class_mask(stream: Stream, experiences: Sequence[int] | range) -> Tensor:
    """(K,) bool, the classes of some experiences."""
    mask = torch.zeros(stream.num_classes, dtype=torch.bool)
    for index in experiences:
        mask[list(stream.experiences[index].classes)] = True
    return mask
