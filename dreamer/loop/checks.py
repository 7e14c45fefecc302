"""Refuse parts, streams and learners that make no sense together, before anything runs, with the reason."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from dreamer.core.hypnogram import Hypnogram
from dreamer.core.modes import evaluating
from dreamer.loop.plan import Parts, StageSpec, few_samples, plan_run
from dreamer.loop.values import within
from dreamer.networks.base import Featured, embeds
from dreamer.networks.heads import grows
from dreamer.objectives import Objective
from dreamer.perturbations import Perturbation, bound, scaled
from dreamer.perturbations.base import OF_SAMPLES
from dreamer.stages import Hebbian, Wake
from dreamer.stages.replay import Replayer
from dreamer.streams.base import Stream


def checked_plan(stream: Stream, parts: Parts, cycles: int, devices: int = 1) -> Hypnogram:
    """Check parts and stream, and lay the run out; arguments as for :func:`dreamer.loop.plan.plan_run`.

    Raises:
        ValueError: when parts make no sense together, with the reason.
    """
    few = few_samples(stream)
    check_parts(stream, parts, few)
    check_learner(stream, parts, few)
    return plan_run(stream, parts, cycles, devices)


def check_unused(parts: Parts, trained: bool) -> None:
    """Refuse to begin a run with what another one has left in its parts.

    Args:
        trained: whether the module has been trained already.

    Raises:
        ValueError: when a part holds samples, or was trained, or the module was.
    """
    if trained:
        raise ValueError(
            "this module has been trained already, and another fit would begin a new record of it: expected a new "
            "module, or ckpt_path=... to continue its run"
        )
    if parts.memory is not None and len(parts.memory):
        raise ValueError(
            f"memory: {type(parts.memory).__name__} holds {len(parts.memory)} samples of another run: expected an "
            "empty one, of this run alone"
        )
    if parts.generator is not None and int(parts.generator.experience) >= 0:
        raise ValueError(
            f"generator: {type(parts.generator).__name__} was trained in another run: expected a new one, of this run "
            "alone"
        )


def check_parts(stream: Stream, parts: Parts, x: Tensor) -> None:
    """Refuse what makes no sense together.

    Args:
        x: (B, *S) a few of the stream's samples.

    Raises:
        ValueError: with the reason.
    """
    _check_stream(stream, parts)
    for stage in (parts.wake, *parts.night):
        stage.check(parts.network)
    _check_wake(stream, parts, x)
    check_replay(stream, parts, x)
    if len(stream.experiences) > 1:
        _check_names(parts)
    _check_learning(parts)
    _check_embedded("wake", parts.wake.perturbations, parts.wake.objectives, parts)
    for where, stage, replayer in parts.replayers():
        _check_objectives(where, stage, replayer, parts)
        _check_beginning(where, stage, replayer, parts)
        _check_embedded(where, replayer.perturbations or (), _learns_from(stage), parts, replayer)
    _check_features(parts)


def check_replay(stream: Stream, parts: Parts, x: Tensor) -> None:
    """Refuse what cannot be kept, dreamt or perturbed, whoever computes the losses; arguments as for check_parts.

    Raises:
        ValueError: with the reason.
    """
    _check_values(stream, parts, x)
    for where, _, replayer in parts.replayers():
        _check_source(where, replayer, parts)
        _check_perturbations(where, replayer, parts)
        _try_replay(where, replayer, parts, stream, x)


def _check_stream(stream: Stream, parts: Parts) -> None:
    parts.problem.check(stream)
    if parts.problem.groups != "class":
        _check_classless(parts)
    if parts.active_outputs == "task" and not stream.disjoint:
        raise ValueError(
            "active_outputs='task' needs experiences with classes of their own, "
            f"but experiences of {stream.name} have classes in common"
            + (", or are not known before they begin" if stream.passing else "")
        )
    if parts.generator is None:
        return
    shape, groups = tuple(parts.generator.sample_shape), parts.generator.num_classes
    if shape != tuple(stream.sample_shape):
        raise ValueError(f"the generator makes samples of shape {shape}, the stream gives {stream.sample_shape}")
    if groups != stream.num_groups:
        what = "classes" if stream.groups == "class" else "domains"
        raise ValueError(f"the generator has {groups} {what}, the stream has {stream.num_groups}")


def _check_classless(parts: Parts) -> None:
    """Refuse what needs classes, where targets are none."""
    problem = type(parts.problem).__name__
    if parts.active_outputs != "all":
        raise ValueError(f"{problem} has no classes: expected active_outputs='all', got {parts.active_outputs!r}")
    if grows(parts.network):
        raise ValueError(f"{problem} has no classes as which outputs could grow: expected growing=False")
    used: list[object] = [parts.network, parts.memory, parts.generator]
    for stage in (parts.wake, *parts.night):
        used += [*(stage.objectives or ()), *(stage.replayer.perturbations or ())]
    used += [*parts.wake.replay_objectives, *parts.wake.perturbations]
    for part in used:
        if getattr(part, "needs_classes", False):
            raise ValueError(f"{type(part).__name__} needs classes, but {problem} has none")


def check_learner(stream: Stream, parts: Parts, x: Tensor) -> None:
    """Call the learner once: whatever it is, it must map samples to logits; what looks like a softmax is warned of.

    Args:
        x: (B, *S) a few of the stream's samples.
    """
    network, x = parts.network, x[:2]
    modules = [part for part in (network, parts.generator) if part is not None]
    tensors = itertools.chain(*(itertools.chain(part.parameters(), part.buffers()) for part in modules))
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    if like is not None:
        x = x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)
    name, given = type(network).__name__, f"{tuple(x.shape)} samples of {x.dtype}"
    try:
        with evaluating(network), torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network(x)
            entered = network(embeds(network).embed(x)) if _perturbs_embeddings(parts) else output
    except Exception as error:  # whatever somebody else's module raises
        raise ValueError(f"{name} cannot take {given}: {' '.join(str(error).split())}") from error
    wanted = (len(x), *parts.problem.output_shape(stream))
    if not isinstance(output, Tensor) or tuple(output.shape) != wanted:
        got = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        wrap = "" if isinstance(output, Tensor) else ": wrap it in a module whose forward picks out the logits"
        raise ValueError(f"expected {name} to map {given} to {wanted} logits, got {got}{wrap}")
    if entered is not output and not torch.allclose(entered, output, rtol=1e-3, atol=1e-4):
        raise ValueError(f"expected {name} to map embeddings to what it maps their tokens to, got other logits")
    if parts.wake.objectives and _is_softmax(output):
        warnings.warn(
            f"the outputs of {name} lie in [0, 1] and sum to 1, as those of a softmax do, but its losses expect logits "
            "and take the softmax themselves: leave out the last softmax",
            stacklevel=2,
        )


def _perturbs_embeddings(parts: Parts) -> bool:
    used = [*parts.wake.perturbations]
    used += [part for _, _, replayer in parts.replayers() for part in replayer.perturbations or ()]
    return any(part.space == "embedding" for part in used)


def _is_softmax(outputs: Tensor) -> bool:
    """Whether (..., K) outputs are probabilities, of several classes."""
    if outputs.shape[-1] < 2 or not outputs.is_floating_point() or bool((outputs < 0).any()):
        return False
    sums = outputs.float().sum(dim=-1)
    return torch.allclose(sums, torch.ones_like(sums), atol=1e-3)


def _check_values(stream: Stream, parts: Parts, x: Tensor) -> None:
    """Refuse parts that are made for other values than those of a few samples of the stream."""
    sources = [part for part in (parts.memory, parts.generator) if part is not None and not part.is_features]
    writes = parts.generator is not None and parts.generator.own_targets
    if writes and stream.targets != "tokens":
        raise ValueError(
            f"{type(parts.generator).__name__} writes tokens, but the targets of {stream.name} are {stream.targets}"
        )
    if not x.is_floating_point():
        store = getattr(parts.memory, "store", "float32") if parts.memory in sources else "float32"
        if store != "float32":
            raise ValueError(
                f"{type(parts.memory).__name__} has store={store!r}, which keeps floating-point samples, but "
                f"{stream.name} gives {x.dtype}: expected store='float32', which keeps whole numbers as they come"
            )
        if parts.generator in sources and not writes:
            raise ValueError(
                f"{type(parts.generator).__name__} makes floating-point samples, {stream.name} gives {x.dtype}: "
                "expected a generator of the learner's features (latent_gaussians with space='features'), or a memory"
            )
        return
    has = f"{stream.name} has {float(x.min()):.3g} to {float(x.max()):.3g}"
    for part in sources:
        ends = getattr(part, "bounds", None)
        if ends is not None and not within(x, ends):
            option = next(key for key in ("likelihood", "span", "values", "store") if hasattr(part, key))
            other = {"likelihood": "'gaussian'", "store": "'float32'", "span": "None", "values": "'any'"}[option]
            raise ValueError(
                f"{type(part).__name__} is for values in [{ends[0]:g}, {ends[1]:g}], {has}: expected {option}={other}"
            )
    named = [
        (where, perturbation)
        for where, _, replayer in parts.replayers()
        for perturbation in replayer.perturbations or ()
    ]
    for where, perturbation in [*named, *(("wake", perturbation) for perturbation in parts.wake.perturbations)]:
        clip = getattr(perturbation, "clip", None) if perturbation.space == "pixel" else None
        if clip is not None and not within(x, clip):
            name = type(perturbation).__name__
            can = "clip" in inspect.signature(type(perturbation)).parameters
            raise ValueError(
                f"{where}: {name} clips to [{clip[0]:g}, {clip[1]:g}], {has}: expected "
                + ("clip=None" if can else "pixels in [0, 1], normalised within the network, or another perturbation")
            )


def _check_wake(stream: Stream, parts: Parts, x: Tensor) -> None:
    wake = parts.wake
    for part in wake.perturbations:
        if part.space not in OF_SAMPLES:
            raise ValueError(
                f"wake: {type(part).__name__} is a {part.space} perturbation, which cannot perturb real samples"
            )
    _try_perturbations("wake", wake.perturbations, stream, x)
    if any(objective.needs_teacher or objective.needs_logits for objective in wake.objectives):
        raise ValueError(
            "wake: an objective on real samples has no teacher and no stored logits; "
            "a teacher labels real samples with source='day' and replay_objectives"
        )
    if stream.passing and wake.data != "experience":
        raise ValueError(
            f"wake: data={wake.data!r} keeps all data, but {stream.name} is read only once, while it is trained on"
        )
    if wake.data == "joint" and parts.active_outputs == "seen":
        raise ValueError(
            "wake: data='joint' trains on all classes in every experience, which active_outputs='seen' would switch off"
        )
    if wake.replayer.source == "day" and wake.replayer.perturbations:
        raise ValueError(
            "wake: source='day' replays the real samples as the learner sees them: "
            "perturb them with perturbations, and leave replay_perturbations empty"
        )
    if not wake.objectives and parts.memory is not None and parts.memory.logits:
        raise ValueError(
            f"wake: {type(parts.memory).__name__} keeps the learner's logits (logits=True), but without objectives the "
            "learner is not called on real samples"
        )
    if not wake.objectives and parts.schedule.data_driven and not parts.schedule.wants_features:
        raise ValueError(
            f"{type(parts.schedule).__name__} watches the loss on real samples, but wake has no objectives"
        )


def _check_learning(parts: Parts) -> None:
    """What learns by gradient must have something that gradients change, and something that gives them."""
    trainable = any(parameter.requires_grad for parameter in parts.network.parameters())
    for where, stage, _ in parts.replayers():
        if stage.by_gradient and not _learns_from(stage):
            key = "replay_objectives" if stage is parts.wake else "objectives"
            raise ValueError(f"{where}: replays, but learns nothing from it: expected {key}")
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
    """What a stage learns from what it replays."""
    return stage.replay_objectives if isinstance(stage, Wake) else stage.objectives or ()


def _check_source(where: str, replayer: Replayer, parts: Parts) -> None:
    memory, generator = parts.memory, parts.generator
    if replayer.source == "auto" and memory is None and generator is None:
        raise ValueError(f"{where}: replays, but there is neither a memory nor a generator")
    for name, part in (("memory", memory), ("generator", generator)):
        if replayer.source in (name, "both") and part is None:
            raise ValueError(f"{where}: source={replayer.source!r} needs a {name}, but there is none")
    if replayer.source in ("auto", "both") and memory is not None and generator is not None:
        if memory.is_features != generator.is_features:
            raise ValueError(
                f"{where}: memory and generator cannot be replayed together, "
                "because one gives samples and the other features of the learner"
            )


def _check_names(parts: Parts) -> None:
    """Warn of nights whose dreams the learner names when it has just forgotten what they are of."""
    generator = parts.generator
    if generator is None or generator.tells_apart or (parts.wake.replays and parts.wake.replayer.source != "day"):
        return
    for where, stage, replayer in parts.replayers():
        if stage is not parts.wake and replayer.unlabelled(generator):
            name = type(generator).__name__
            warnings.warn(
                f"{where}: dreams of {name} have no labels, and the learner that names them has forgotten old classes, "
                "because nothing is replayed by day: expected wake.replay above 0, generator.continual='grow', or a "
                "generator that knows classes",
                stacklevel=2,
            )
            return


def _check_perturbations(where: str, replayer: Replayer, parts: Parts) -> None:
    from_memory, from_generator = _sources(replayer, parts)
    uses_features = _uses_features(replayer, parts)
    codes = set(parts.generator.spaces) if from_generator and parts.generator is not None else set()
    codes |= {"latent"} if from_memory and uses_features else set()
    for part in replayer.perturbations or ():
        name = type(part).__name__
        if part.space not in OF_SAMPLES | codes:
            what = "latent codes" if part.space == "latent" else "the noise from which codes are drawn"
            raise ValueError(f"{where}: {name} perturbs {what}, but what is replayed there has none")
        if part.space in OF_SAMPLES and uses_features:
            raise ValueError(
                f"{where}: {name} perturbs samples, but what is replayed there are features of the learner"
            )
        if part.space == "token":
            bound([part], parts.network)
        if hasattr(part, "bind_model") and uses_features:
            raise ValueError(f"{where}: {name} needs the learner's output for samples, which are not replayed there")


def _try_replay(where: str, replayer: Replayer, parts: Parts, stream: Stream, x: Tensor) -> None:
    """Try the perturbations of a stage, also where they are left to the stage."""
    from_generator = _sources(replayer, parts)[1]
    codes = _uses_features(replayer, parts) or (
        from_generator and parts.generator is not None and "latent" in parts.generator.spaces
    )
    try:
        _try_perturbations(where, replayer.chosen(codes), stream, x, replayer.strength)
    except ValueError as error:
        hint = "; perturbations=[] replays it as it was" if replayer.perturbations is None else ""
        raise ValueError(f"{error}{hint}") from error


def _try_perturbations(
    where: str, parts: Sequence[Perturbation], stream: Stream, x: Tensor, strengths: Sequence[float] = (1.0,)
) -> None:
    """Perturb two blank samples, as strongly as each night will: a perturbation of other samples raises now."""
    x = torch.zeros(2, *stream.sample_shape, dtype=x.dtype)
    p = (
        torch.zeros_like(x)
        if stream.targets == "tokens"
        else torch.full((2, stream.num_classes), 1 / stream.num_classes)
    )
    for part in parts:
        try:
            for strength in strengths:
                perturb = part if strength == 1 else scaled(part, strength)
                if part.space in ("token", "embedding") and stream.targets != "tokens":
                    raise ValueError(f"{type(part).__name__} perturbs texts, but the samples of {stream.name} are none")
                if part.space in ("pixel", "token") and not hasattr(part, "bind_model"):
                    perturb(x, p, torch.Generator().manual_seed(0))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def _check_objectives(where: str, stage: StageSpec, replayer: Replayer, parts: Parts) -> None:
    from_memory, from_generator = _sources(replayer, parts)
    uses_features = _uses_features(replayer, parts)
    if uses_features and isinstance(stage, Hebbian):
        raise ValueError(f"{where}: Hebbian needs samples, but what is replayed there are features of the learner")
    for objective in _learns_from(stage):
        name = type(objective).__name__
        if objective.needs_features and uses_features:
            raise ValueError(
                f"{where}: {name} needs features of the learner, but what is replayed there enters behind them"
            )
        kept = from_memory and not from_generator and parts.memory is not None and parts.memory.logits
        if objective.needs_logits and not kept:
            raise ValueError(
                f"{where}: {name} matches the logits that were kept with a sample: "
                "replay from a memory alone, one that keeps them (logits=True)"
            )
        if objective.needs_teacher and replayer.teacher == "average" and not parts.averages:
            raise ValueError(f"{where}: {name} needs teacher='average', but no plasticity part keeps one")


def _check_embedded(
    where: str,
    perturbations: Sequence[Perturbation],
    objectives: Sequence[Objective],
    parts: Parts,
    replayer: Replayer | None = None,
) -> None:
    """Refuse what acts on embeddings where the learner gives none, or where what it mixes has no targets.

    Args:
        replayer: of what is replayed; None for real samples.
    """
    for part in perturbations:
        if part.space != "embedding":
            continue
        name = type(part).__name__
        try:
            embeds(parts.network)
        except ValueError as error:
            raise ValueError(f"{where}: {name} perturbs embeddings: {error}") from error
        if replayer is not None and replayer.teacher_sees_perturbed:
            raise ValueError(
                f"{where}: {name} perturbs the learner's own embeddings, which no teacher can be shown: expected "
                "teacher_sees_perturbed=False"
            )
        if not getattr(part, "mixes", False):
            continue
        if replayer is None:
            raise ValueError(
                f"{where}: {name} mixes texts, whose next tokens cannot be mixed, and real texts have no teacher: "
                "expected a part that mixes none, such as noise"
            )
        by_label = next((objective for objective in objectives if not objective.needs_teacher), None)
        if by_label is not None:
            raise ValueError(
                f"{where}: {name} mixes texts, whose next tokens cannot be mixed, but {type(by_label).__name__} learns "
                "from these: expected objectives that learn from a teacher's distributions alone (soft_targets)"
            )
        named = getattr(parts.generator, "logits", True)
        if _sources(replayer, parts)[1] and type(named) is int and named:
            raise ValueError(
                f"{where}: {name} mixes whole distributions, but {type(parts.generator).__name__} keeps the {named} "
                "most likely tokens alone: expected logits=True"
            )


def _check_beginning(where: str, stage: StageSpec, replayer: Replayer, parts: Parts) -> None:
    if not stage.from_scratch:
        return
    if parts.plasticity:
        names = ", ".join(type(part).__name__ for part in parts.plasticity)
        raise ValueError(f"{where}: from_scratch=True re-initialises the learner, but {names} follows its old weights")
    if _uses_features(replayer, parts):
        raise ValueError(
            f"{where}: from_scratch=True re-initialises the learner, but features of its old weights are replayed"
        )


def _check_features(parts: Parts) -> None:
    needing: list[object] = [parts.memory] if parts.memory is not None and parts.memory.is_features else []
    needing += [parts.generator] if parts.generator is not None and parts.generator.is_features else []
    stages = (parts.wake, *parts.night)
    objectives = [o for stage in stages for o in stage.objectives or () if o.needs_features]
    objectives += [o for o in parts.wake.replay_objectives if parts.wake.replays and o.needs_features]
    watching = [parts.schedule] if parts.schedule.wants_features else []
    for part in (*needing, *objectives, *watching):
        if not isinstance(parts.network, Featured):
            raise ValueError(
                f"{type(part).__name__} needs the learner's features, but {type(parts.network).__name__} has no "
                "features(x) and classify(h)"
            )


def _sources(replayer: Replayer, parts: Parts) -> tuple[bool, bool]:
    from_memory = parts.memory is not None and replayer.source in ("auto", "memory", "both")
    return from_memory, parts.generator is not None and replayer.source in ("auto", "generator", "both")


def _uses_features(replayer: Replayer, parts: Parts) -> bool:
    """True when features of the learner are replayed rather than samples."""
    sources = zip((parts.memory, parts.generator), _sources(replayer, parts), strict=True)
    return any(part.is_features for part, used in sources if used and part is not None)
