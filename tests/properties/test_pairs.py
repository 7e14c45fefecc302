"""Parts combine by being passed: every pair of them trains in a short run, or is refused with a reason given here.

Parts are found by their files, so a new one is paired with all others without a word here.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from dreamer.config import registry
from dreamer.config.binding import parameters
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP
from dreamer.objectives import CrossEntropy, Distillation, LogitMatching
from dreamer.perturbations import Affine, LatentMixing
from dreamer.perturbations.base import OF_SAMPLES
from dreamer.plasticity import MovingAverage
from dreamer.stages import NREM, REM, Absorb, Hebbian, Wake
from dreamer.streams import Stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_stream, train

# whether a night of dreams without labels is a good idea is another question
pytestmark = pytest.mark.filterwarnings("ignore:.*have no labels, and the learner that names them")
STREAM = tiny_stream(experiences=2, validation=0.0)
# whatever a part calls its sizes, here they are small
SMALL = {
    "latent_dim": 3, "hidden": (8,), "channels": (8,), "width": 8, "components": 2, "iterations": 2, "batch_size": 8,
    "features": 12, "capacity": 10, "ticks": 20, "thresholds": 0.1, "steps": 2, "n": 3, "night_steps": 2,
    "check_every": 1, "least": 0, "most": 4, "patience": 1, "warmup": 2, "model": nn.Flatten(),
}  # fmt: skip
SPLITTING = ("continual", "space", "to")
"""Options that lead a part to another contract: each of their values is paired."""
FURTHER: dict[str, list[dict[str, Any]]] = {
    "brain_inspired": [{"prior": "standard"}, {"gating": 0.3}],
    "model_inversion": [{"conditional": False}],
}

OF_TEXT = ("causal_lm", "decoder", "own_words")
"""Parts that read and write tokens, which the learner and the samples here are not; see test_language_runs.py."""

ENTERED_BEHIND = "what is replayed there enters behind them"
ARE_FEATURES = "what is replayed there are features of the learner"
NOT_KEPT = r"matches the logits that were kept with a sample: .*logits=True"
NO_CODES = "what is replayed there has none"
OF_TEXTS = ("token", "embedding")
NO_TEXTS = "perturbs texts, but the samples of .* are none|needs a network that writes token by token"


def names(family: str) -> list[str]:
    """Every part of a family that is for samples of any kind."""
    return [name for name in registry.names(family) if name not in OF_TEXT]


def kinds(family: str, splitting: Sequence[str] = SPLITTING) -> list[tuple[str, dict[str, Any]]]:
    """Every part of a family, in each of its kinds."""
    found = []
    for name in names(family):
        choices = {
            option: get_args(parameter.annotation)
            for option, parameter in parameters(registry.resolve(family, name)).items()
            if option in splitting and get_origin(parameter.annotation) is Literal
        }
        found += [(name, dict(zip(choices, values, strict=True))) for values in itertools.product(*choices.values())]
        found += [(name, options) for options in FURTHER.get(name, [])]
    return found


def named(kind: tuple[str, dict[str, Any]] | str) -> str:
    name, options = (kind, {}) if isinstance(kind, str) else kind
    return "-".join([name, *map(str, options.values())])


def make(family: str, name: str, **options: Any) -> Any:
    """A part of small sizes."""
    part = registry.resolve(family, name)
    shapes = {"sample_shape": STREAM.sample_shape, "num_classes": STREAM.num_classes, "outputs": STREAM.num_classes}
    given = SMALL | shapes | options
    torch.manual_seed(0)
    return part(**{key: value for key, value in given.items() if key in inspect.signature(part).parameters})


GENERATORS = pytest.mark.parametrize("generator", kinds("generators"), ids=named)
# how a generator goes on learning does not change how it dreams
DREAMERS = pytest.mark.parametrize("generator", kinds("generators", ("space",)), ids=named)
MEMORIES = pytest.mark.parametrize("memory", kinds("memory"), ids=named)
OBJECTIVES = pytest.mark.parametrize("objective", kinds("objectives"), ids=named)
STAGES = [
    "wake",
    *(name for name in registry.names("stages") if not issubclass(registry.resolve("stages", name), Wake)),
]


def learner(seed: int = 0) -> MLP:
    """A learner that has features, and whose dropout draws from the global random state."""
    torch.manual_seed(seed)
    return MLP(STREAM.sample_shape, STREAM.num_classes, (12,), dropout=0.1)


def replaying(stage: str, **options: Any) -> dict[str, Any]:
    """Options of a run that replays in one kind of stage alone."""
    if stage == "wake":
        replay = {"replay_objectives": options.pop("objectives", (CrossEntropy(),))}
        replay["replay_perturbations"] = options.pop("perturbations", ())
        return {"wake": Wake(steps=2, batch_size=9, replay=8, **replay, **options), "night": ()}
    return {"wake": Wake(steps=2, batch_size=9), "night": [make("stages", stage, steps_per_dream=2, **options)]}


class Losses(pl.Callback):
    """Notes the loss of every step that has one."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if isinstance(outputs, dict) and outputs.get("loss") is not None:
            self.seen.append(outputs["loss"].detach())


def trained(stream: Stream = STREAM, network: nn.Module | None = None, **parts: Any) -> WakeSleepModule:
    """Train a run to its end, and check that it is complete."""
    module = WakeSleepModule(learner() if network is None else network, **parts)
    losses = Losses()
    trainer = train(module, stream, callbacks=[losses])
    results, steps = module.results(), module.hypnogram.steps()
    assert results["complete"]
    assert results["cost"]["optimizer_steps"] == steps and trainer.global_step == sum(steps.values())
    # neither infinite nor as large as what switches an output off
    assert all(float(loss) < 1e6 for loss in losses.seen)
    assert losses.seen or not module.wake.objectives
    assert all(torch.isfinite(weight).all() for weight in module.parameters())
    return module


def trains_or_is_refused(reason: str | None, **parts: Any) -> None:
    """The run is trained to its end; or, with a reason, it is refused when it is planned."""
    if reason is None:
        trained(**parts)
        return
    with pytest.raises(ValueError, match=reason):
        WakeSleepModule(learner(), **parts).plan(STREAM)


@pytest.mark.parametrize("stage", STAGES)
@GENERATORS
def test_every_generator_dreams_in_every_stage(generator: tuple[str, dict], stage: str) -> None:
    name, options = generator
    part = make("generators", name, **options)
    reason = ARE_FEATURES if part.is_features and stage == "hebbian" else None
    trains_or_is_refused(reason, generator=part, **replaying(stage))


@pytest.mark.parametrize("stage", STAGES)
@MEMORIES
def test_every_memory_is_replayed_in_every_stage(memory: tuple[str, dict], stage: str) -> None:
    name, options = memory
    part = make("memory", name, **options)
    reason = ARE_FEATURES if part.is_features and stage == "hebbian" else None
    trains_or_is_refused(reason, memory=part, **replaying(stage))


@pytest.mark.parametrize("perturbation", registry.names("perturbations"))
@DREAMERS
def test_every_generator_takes_every_perturbation_that_fits_its_space(
    generator: tuple[str, dict], perturbation: str
) -> None:
    name, options = generator
    part, perturbing = make("generators", name, **options), make("perturbations", perturbation)
    if perturbing.space in OF_SAMPLES:
        reason = ARE_FEATURES if part.is_features else NO_TEXTS if perturbing.space in OF_TEXTS else None
    else:
        reason = None if perturbing.space in part.spaces else NO_CODES
    parts = {"perturbations": (perturbing,), "strength": (1.0, 0.5)}
    trains_or_is_refused(reason, generator=part, **replaying("rem", **parts))


@pytest.mark.parametrize("perturbation", registry.names("perturbations"))
@MEMORIES
def test_every_memory_takes_every_perturbation_that_fits_its_space(memory: tuple[str, dict], perturbation: str) -> None:
    name, options = memory
    part, perturbing = make("memory", name, **options), make("perturbations", perturbation)
    if perturbing.space in OF_SAMPLES:
        reason = ARE_FEATURES if part.is_features else NO_TEXTS if perturbing.space in OF_TEXTS else None
    else:
        reason = None if perturbing.space == "latent" and part.is_features else NO_CODES
    trains_or_is_refused(reason, memory=part, **replaying("wake", perturbations=(perturbing,)))


def taught() -> Iterator[tuple[tuple[str, dict], str]]:
    """Every objective, with every kind of teacher if it needs one."""
    for kind in kinds("objectives"):
        yield kind, "copies"
        if make("objectives", kind[0], **kind[1]).needs_teacher:
            yield kind, "average"


@pytest.mark.parametrize(("objective", "teacher"), list(taught()), ids=named)
@MEMORIES
def test_every_memory_serves_every_objective(
    memory: tuple[str, dict], objective: tuple[str, dict], teacher: str
) -> None:
    """The same objective awake and asleep; the memory keeps logits where it is to."""
    objecting = make("objectives", objective[0], **objective[1])
    name, options = memory
    part = make("memory", name, logits=objecting.needs_logits, **options)
    if objecting.needs_features and part.is_features:
        reason = ENTERED_BEHIND
    else:
        reason = NOT_KEPT if objecting.needs_logits and not part.logits else None
    speaks = {"teacher": "average"} if teacher == "average" else {}
    night = [NREM(2, 8, objectives=(objecting,), **speaks)]
    wake = Wake(steps=2, batch_size=9, replay=8, replay_objectives=(objecting,), **speaks)
    plasticity = [MovingAverage(rate=1.0), MovingAverage()] if teacher == "average" else []
    trains_or_is_refused(reason, memory=part, wake=wake, night=night, plasticity=plasticity)


@OBJECTIVES
@DREAMERS
def test_every_generator_serves_every_objective(generator: tuple[str, dict], objective: tuple[str, dict]) -> None:
    objecting = make("objectives", objective[0], **objective[1])
    part = make("generators", generator[0], **generator[1])
    if objecting.needs_features and part.is_features:
        reason = ENTERED_BEHIND
    else:
        reason = NOT_KEPT if objecting.needs_logits else None
    wake = Wake(steps=2, batch_size=9, replay=8, replay_objectives=(objecting,))
    trains_or_is_refused(reason, generator=part, wake=wake, night=[NREM(2, 8, objectives=(objecting,))])


def test_features_that_a_memory_keeps_are_mixed_by_default() -> None:
    context = SimpleNamespace(memory=make("memory", "latent_codes"), generator=None, network=learner(), night=0)
    (perturbing,) = REM(1).replayer.perturbations_at(context)
    assert isinstance(perturbing, LatentMixing)


@pytest.mark.parametrize("memory", ["class_balanced", "latent_codes"])
@DREAMERS
def test_every_generator_is_replayed_beside_a_memory_that_keeps_the_same(
    generator: tuple[str, dict], memory: str
) -> None:
    part, kept = make("generators", generator[0], **generator[1]), make("memory", memory)
    reason = None if part.is_features == kept.is_features else "memory and generator cannot be replayed together"
    both = {"source": "both", "objectives": (CrossEntropy(), Distillation())}
    trains_or_is_refused(reason, generator=part, memory=kept, **replaying("nrem", **both))


@OBJECTIVES
@pytest.mark.parametrize("active_outputs", ["all", "seen", "task"])
def test_every_objective_trains_on_real_samples_under_all_active_outputs(
    objective: tuple[str, dict], active_outputs: Literal["all", "seen", "task"]
) -> None:
    objecting = make("objectives", objective[0], **objective[1])
    reason = "an objective on real samples" if objecting.needs_teacher or objecting.needs_logits else None
    wake = Wake(steps=2, batch_size=9, objectives=(objecting,), perturbations=(Affine(),))
    trains_or_is_refused(reason, wake=wake, active_outputs=active_outputs)


@pytest.mark.parametrize("perturbation", registry.names("perturbations"))
@pytest.mark.parametrize("active_outputs", ["seen", "task"])
def test_every_perturbation_serves_real_and_replayed_samples_under_all_active_outputs(
    perturbation: str, active_outputs: Literal["seen", "task"]
) -> None:
    """Labels that are mixed over experiences make the outputs of both compete."""
    perturbing = make("perturbations", perturbation)
    awake = {"replay": 8, "replay_objectives": (CrossEntropy(), Distillation()), "replay_perturbations": (perturbing,)}
    wake = Wake(steps=2, batch_size=9, perturbations=(perturbing,), **awake)
    reason = {"pixel": None, "token": NO_TEXTS, "embedding": NO_TEXTS}.get(
        perturbing.space, f"{perturbing.space} perturbation, which cannot perturb real samples"
    )
    trains_or_is_refused(reason, memory=ClassBalanced(10), wake=wake, night=(), active_outputs=active_outputs)


@DREAMERS
def test_every_generator_dreams_of_given_tasks(generator: tuple[str, dict]) -> None:
    part = make("generators", generator[0], **generator[1])
    objectives = (CrossEntropy(), Distillation(), LogitMatching(to="teacher"))
    wake = Wake(steps=2, batch_size=9, replay=8, replay_objectives=objectives)
    trained(generator=part, wake=wake, night=[NREM(2, 8)], active_outputs="task")


@pytest.mark.parametrize("objective", [Distillation(), LogitMatching(to="teacher"), CrossEntropy()])
@pytest.mark.parametrize("teacher", ["dawn", "average"])
def test_the_day_is_shown_to_every_teacher(objective: Any, teacher: Literal["dawn", "average"]) -> None:
    wake = Wake(steps=2, batch_size=9, source="day", teacher=teacher, replay_objectives=(objective,))
    trained(wake=wake, plasticity=[MovingAverage()])


@pytest.mark.parametrize("name", registry.names("schedules"))
def test_every_schedule_brings_nights(name: str) -> None:
    parts = {"memory": ClassBalanced(10), "wake": Wake(steps=7, batch_size=9, replay=4), "night": [NREM(2, 8)]}
    module = trained(schedule=make("schedules", name), cycles=2, **parts)
    assert module.hypnogram.nights >= 1


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("plasticity", registry.names("plasticity"))
def test_every_plasticity_follows_every_stage(plasticity: str, stage: str) -> None:
    trained(plasticity=[make("plasticity", plasticity)], memory=ClassBalanced(10), **replaying(stage))


def wakes() -> Iterator[tuple[str, Wake]]:
    yield "learning", Wake(steps=2, batch_size=9)
    yield "idle", Wake(steps=2, batch_size=9, objectives=())
    yield "absorbing", Absorb(batch_size=9)


@pytest.mark.parametrize(("kind", "wake"), [pytest.param(*each, id=each[0]) for each in wakes()])
@pytest.mark.parametrize("name", names("networks"))
def test_every_network_trains_in_a_wake_stage_that_serves_it(name: str, kind: str, wake: Wake) -> None:
    network = make("networks", name)
    calls_generator = hasattr(network, "attach")
    parts = {
        "network": network,
        "wake": wake,
        "generator": make("generators", "vae_per_class") if calls_generator else None,
    }
    reason = None
    if kind == "learning" and not list(network.parameters()):
        reason = "needs a learner with trainable parameters"
    elif kind == "absorbing" and not hasattr(network, "absorb"):
        reason = r"expects a network with the method absorb"
    if reason is None:
        trained(**parts, night=())
    else:
        with pytest.raises(ValueError, match=reason):
            WakeSleepModule(**parts, night=()).plan(STREAM)


@pytest.mark.parametrize("generator", names("generators"))
def test_the_same_seed_gives_the_same_run(generator: str) -> None:
    def numbers(seed: int) -> tuple[list[list[float]], list[torch.Tensor]]:
        torch.rand(seed + 3)  # the global random state before a run does not matter
        module = trained(
            network=learner(),
            generator=make("generators", generator),
            memory=ClassBalanced(10),
            plasticity=[MovingAverage()],
            wake=Wake(steps=3, batch_size=9, replay=8),
            night=[make("stages", stage, steps=2) for stage in STAGES[1:]],
            seed=seed,
        )
        rows = module.results()["accuracy_matrix"]["rows"]
        return [row["accuracy"] for row in rows], [weight.detach() for weight in module.parameters()]

    one, two, other = numbers(0), numbers(0), numbers(1)
    assert one[0] == two[0]
    assert all(torch.equal(left, right) for left, right in zip(one[1], two[1], strict=True))
    assert not all(torch.equal(left, right) for left, right in zip(one[1], other[1], strict=True))


def test_every_sleep_stage_is_paired() -> None:
    assert set(STAGES) >= {"wake", "nrem", "rem", "hebbian"}
    assert isinstance(make("stages", "hebbian"), Hebbian)
