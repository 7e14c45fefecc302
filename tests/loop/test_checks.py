"""What makes no sense together is refused when the run is planned, with the reason, and nothing is run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dreamer.generators import ClassConditionalVAE, Generator
from dreamer.generators.brain_inspired import BrainInspired
from dreamer.generators.latent_gaussians import LatentGaussians
from dreamer.generators.model_inversion import ModelInversion
from dreamer.generators.vae_per_class import VAEPerClass
from dreamer.memory import ClassBalanced, ClassStatistics, Herding, LatentCodes, Memory, Reservoir
from dreamer.networks import MLP, LikelihoodClassifier, RandomFourierLDA
from dreamer.objectives import (
    CrossEntropy,
    Distillation,
    FeatureDistillation,
    LogitMatching,
)
from dreamer.perturbations import (
    Adversarial,
    Affine,
    Colour,
    CropFlip,
    LatentJitter,
    LatentMixing,
    Noise,
    Temperature,
)
from dreamer.plasticity import Downscaling, MovingAverage, SynapticIntelligence
from dreamer.schedules import Drift, EveryNSteps, Plateau
from dreamer.stages import NREM, REM, Absorb, Hebbian, Wake
from dreamer.streams import Stream
from dreamer.streams.base import TensorSamples, make_stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_network, tiny_stream

SHAPE, K = (1, 4, 4), 6
STREAM = tiny_stream()


def common_classes() -> Stream:
    """The same two classes in both experiences, as flat samples."""
    samples = TensorSamples(torch.rand(12, 8), torch.arange(12) % 2)
    return make_stream("looks", [(samples, samples)] * 2, scenario="domain")


def two_channels() -> Stream:
    samples = TensorSamples(torch.rand(12, 2, 4, 4), torch.arange(12) % 2)
    return make_stream("pairs of images", [(samples, samples)] * 2, scenario="domain")


def mlp(**options: Any) -> MLP:
    return MLP(SHAPE, K, (8,), **options)


def closed_form() -> nn.Module:
    """A learner without gradients."""
    return RandomFourierLDA(SHAPE, K, 9)


def plain() -> nn.Module:
    """A learner without features."""
    return tiny_network(STREAM)


def vae(shape: tuple[int, ...] = SHAPE, classes: int = K) -> Generator:
    return ClassConditionalVAE(shape, classes, 3, (8,), components=2)


def features_generator() -> Generator:
    return LatentGaussians(SHAPE, K, space="features")


class Codeless(ClassConditionalVAE):
    """A generator that takes nothing on the way of its dreams."""

    spaces = frozenset()


def codeless() -> Generator:
    return Codeless(SHAPE, K, 3, (8,), components=2)


class Unscaled:
    """A user's own perturbation, which does not say what makes it strong."""

    space = "pixel"

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return 1 - x, p


class Mirror:
    """A user's own perturbation that perturbs codes and needs the learner."""

    space = "latent"
    amounts = ()

    def bind_model(self, network: nn.Module) -> Mirror:
        return self

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return -x, p


class Unresettable(nn.Module):
    """A learner with a parameter that nobody can draw anew."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(K))
        self.layers = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.layers(x)


def refused(reason: str, stream: Stream = STREAM, devices: int = 1, **parts: Any) -> None:
    module = WakeSleepModule(**{"network": mlp(), **parts})
    with pytest.raises(ValueError, match=reason):
        module.plan(stream, devices)


def planned(stream: Stream = STREAM, **parts: Any) -> None:
    """What a refusal is held against: the same run without what is wrong with it."""
    assert len(WakeSleepModule(**{"network": mlp(), **parts}).plan(stream))


def replay(**options: Any) -> Wake:
    return Wake(replay=4, **{"replay_objectives": (CrossEntropy(),), **options})


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"wake": replay()}, "^wake: replays, but there is neither a memory nor a generator"),
        ({"night": [NREM()]}, "^night stage 0 .nrem.: replays, but there is neither"),
        ({"night": [Hebbian(thresholds=0.1)]}, "^night stage 0 .nrem.: replays, but there is neither"),
        ({"night": [REM(source="memory")], "generator": vae()}, "source='memory' needs a memory"),
        ({"night": [NREM(), REM(source="both")], "memory": Reservoir(5)}, "1 .rem.: source='both' needs a gen"),
        ({"wake": replay(source="generator"), "memory": Reservoir(5)}, "^wake: source='generator' needs a generator"),
        ({"wake": replay(source="both"), "generator": vae()}, "^wake: source='both' needs a memory"),
    ],
)
def test_a_source_that_is_not_there(parts: dict[str, Any], reason: str) -> None:
    refused(reason, **parts)


@pytest.mark.parametrize("source", ["auto", "both"])
def test_samples_and_features_are_not_replayed_together(source: Any) -> None:
    reason = "memory and generator cannot be replayed together, because one gives samples and the other features"
    refused(reason, memory=LatentCodes(5), generator=vae(), wake=replay(source=source), night=())
    refused(reason, memory=Reservoir(5), generator=features_generator(), night=[NREM(source=source)])
    planned(memory=LatentCodes(5), generator=features_generator(), night=[NREM(source=source)])
    planned(memory=Reservoir(5), generator=features_generator(), night=[NREM(source="memory")])


def test_a_generator_is_made_for_the_stream() -> None:
    refused(r"makes samples of shape \(1, 5, 5\), the stream gives \(1, 4, 4\)", generator=vae((1, 5, 5)))
    refused("the generator has 4 classes, the stream has 6", generator=vae(classes=4))


# ---------------------------------------------------------------- perturbations


@pytest.mark.parametrize("part", [LatentMixing(), LatentJitter()])
@pytest.mark.parametrize(
    "parts", [{"memory": Reservoir(5)}, {"generator": codeless()}, {"memory": ClassStatistics(space="samples")}]
)
def test_codes_are_perturbed_where_there_are_some(parts: dict[str, Any], part: Any) -> None:
    reason = f"{type(part).__name__} perturbs latent codes, but what is replayed there has none"
    refused(f"^night stage 0 .rem.: {reason}", night=[REM(perturbations=(part,))], **parts)
    refused(f"^wake: {reason}", wake=replay(replay_perturbations=(part,)), night=(), **parts)
    planned(night=[REM(perturbations=(part,))], memory=LatentCodes(5))
    planned(night=[REM(perturbations=(part,))], memory=Reservoir(5), generator=vae())


@pytest.mark.parametrize("parts", [{"memory": Reservoir(5)}, {"generator": codeless()}, {"memory": LatentCodes(5)}])
def test_noise_is_perturbed_where_a_generator_draws_some(parts: dict[str, Any]) -> None:
    reason = "Temperature perturbs the noise from which codes are drawn, but what is replayed there has none"
    refused(reason, night=[REM(perturbations=(Temperature(),))], **parts)
    planned(night=[REM(perturbations=(Temperature(),))], generator=vae())


@pytest.mark.parametrize("part", [Affine(), Noise(), Adversarial()])
@pytest.mark.parametrize(
    "parts", [{"memory": LatentCodes(5)}, {"memory": ClassStatistics()}, {"generator": features_generator()}]
)
def test_features_are_not_perturbed_as_samples(parts: dict[str, Any], part: Any) -> None:
    reason = f"{type(part).__name__} perturbs samples, but what is replayed there are features of the learner"
    refused(reason, night=[REM(perturbations=(part,))], **parts)
    refused(reason, wake=replay(replay_perturbations=(part,)), night=(), **parts)


def test_replayed_features_do_not_show_the_learner_samples() -> None:
    night = [REM(perturbations=(Mirror(),))]
    refused(
        "Mirror needs the learner's output for samples, which are not replayed there",
        night=night,
        memory=LatentCodes(5),
    )
    planned(night=night, generator=vae())


@pytest.mark.parametrize("part", [LatentMixing(), Temperature()])
def test_real_samples_have_neither_codes_nor_noise(part: Any) -> None:
    reason = f"{type(part).__name__} is a {part.space} perturbation, which cannot perturb real samples"
    refused(f"^wake: {reason}", wake=Wake(perturbations=(part,)))


def test_samples_that_a_perturbation_does_not_take() -> None:
    flat = {"network": MLP((8,), 2, (8,)), "stream": common_classes()}
    images = {"network": MLP((2, 4, 4), 2, (8,)), "stream": two_channels(), "memory": Reservoir(5)}
    crop = Wake(perturbations=(CropFlip(),))
    refused("^wake: CropFlip perturbs images of shape .* got samples of shape", wake=crop, **flat)
    refused("^night stage 0 .rem.: Colour perturbs images of 1 or 3", night=[REM(perturbations=(Colour(),))], **images)
    planned(night=[REM(perturbations=(CropFlip(),))], **images)


def test_a_strength_needs_a_part_that_can_be_scaled() -> None:
    reason = "^night stage 0 .rem.: expected Unscaled to name in 'amounts'"
    refused(reason, night=[REM(perturbations=(Unscaled(),), strength=(1, 0.5))], memory=Reservoir(5))
    planned(night=[REM(perturbations=(Unscaled(),))], memory=Reservoir(5))


def test_real_samples_under_a_teacher_are_perturbed_once() -> None:
    refused("leave replay_perturbations empty", wake=Wake(source="day", replay_perturbations=(Affine(),)))
    planned(wake=Wake(source="day", perturbations=(Affine(),)))


# ---------------------------------------------------------------- objectives and teachers


@pytest.mark.parametrize("parts", [{"memory": LatentCodes(5)}, {"generator": features_generator()}])
def test_nothing_can_be_learnt_about_features_behind_them(parts: dict[str, Any]) -> None:
    reason = "FeatureDistillation needs features of the learner, but what is replayed there enters behind them"
    refused(f"^night stage 0 .nrem.: {reason}", night=[NREM(objectives=(FeatureDistillation(),))], **parts)
    refused(f"^wake: {reason}", wake=replay(replay_objectives=(FeatureDistillation(),)), night=(), **parts)


@pytest.mark.parametrize(
    "parts",
    [
        {"memory": Reservoir(5)},
        {"memory": ClassStatistics(space="samples")},
        {"generator": vae()},
        {"memory": Reservoir(5, logits=True), "generator": vae()},
    ],
)
def test_stored_logits_have_to_be_stored(parts: dict[str, Any]) -> None:
    reason = "LogitMatching matches the logits that were kept with a sample: replay from a memory alone, .*logits=True"
    refused(f"^wake: {reason}", wake=replay(replay_objectives=(LogitMatching(),)), night=(), **parts)
    refused(f"^night stage 0 .nrem.: {reason}", night=[NREM(objectives=(LogitMatching(),))], **parts)
    planned(night=[NREM(source="memory", objectives=(LogitMatching(),))], memory=Reservoir(5, logits=True))


@pytest.mark.parametrize("memory", [Reservoir(5, logits=True), Herding(5, logits=True)])
@pytest.mark.parametrize(("network", "wake"), [(mlp, Wake(objectives=())), (lambda: closed_form(), Absorb())])
def test_logits_are_kept_where_the_learner_is_called(
    network: Callable[[], nn.Module], wake: Wake, memory: Memory
) -> None:
    reason = rf"{type(memory).__name__} keeps the learner's logits \(logits=True\), but without objectives"
    refused(reason, network=network(), wake=wake, memory=memory, night=())


@pytest.mark.parametrize(
    "objective", [Distillation(), FeatureDistillation(), LogitMatching(), LogitMatching(to="teacher")]
)
def test_real_samples_have_no_teacher_unless_they_are_replayed(objective: Any) -> None:
    refused("an objective on real samples has no teacher and no stored logits", wake=Wake(objectives=(objective,)))


def test_an_average_teaches_where_one_is_kept() -> None:
    reason = "needs teacher='average', but no plasticity part keeps one"
    asleep = {"memory": Reservoir(5), "night": [NREM(teacher="average")]}
    awake = {
        "memory": Reservoir(5),
        "wake": replay(teacher="average", replay_objectives=(Distillation(),)),
        "night": (),
    }
    for parts in (asleep, awake):
        refused(f"(SoftTargets|Distillation) {reason}", plasticity=[SynapticIntelligence()], **parts)
        planned(plasticity=[MovingAverage()], **parts)


def test_an_average_is_evaluated_where_one_is_kept() -> None:
    with pytest.raises(ValueError, match="evaluated='average' needs a plasticity part that keeps a moving average"):
        WakeSleepModule(mlp(), evaluated="average")


def test_the_first_night_has_no_teacher_from_before_the_first_day() -> None:
    parts = {"memory": Reservoir(5), "night": [NREM(3, teacher="dawn")]}
    refused("^night stage 0 .nrem.: has teacher='dawn', which the first experience does not have", **parts)
    planned(schedule=EveryNSteps(2), wake=Wake(steps=1), **parts)
    planned(memory=Reservoir(5), night=[NREM(teacher="dawn", objectives=(CrossEntropy(),))])


def test_what_is_replayed_has_to_be_learnt_from() -> None:
    parts = {"memory": Reservoir(5)}
    refused(
        "^wake: replays, but learns nothing from it: expected replay_objectives",
        wake=replay(replay_objectives=()),
        **parts,
    )
    refused(
        "stage 0 .rem.: replays, but learns nothing from it: expected objectives", night=[REM(objectives=())], **parts
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"memory": LatentCodes(5)},
        {"memory": ClassStatistics()},
        {"memory": Reservoir(5), "night": [NREM(objectives=(FeatureDistillation(),))]},
        {"memory": Reservoir(5), "wake": replay(replay_objectives=(FeatureDistillation(),)), "night": ()},
        {"schedule": Drift(watch="features")},
    ],
)
def test_features_need_a_learner_that_has_them(parts: dict[str, Any]) -> None:
    refused("needs the learner's features, but Sequential has no features", network=plain(), **parts)
    planned(**parts)


@pytest.mark.parametrize("generator", [features_generator, lambda: BrainInspired(SHAPE, K)])
def test_generators_that_need_features_refuse_a_learner_without(generator: Callable[[], Generator]) -> None:
    with pytest.raises(ValueError, match=r"expected a network with the methods features\(x\) .* got Sequential"):
        WakeSleepModule(plain(), generator=generator())


# ---------------------------------------------------------------- active classes


def test_tasks_have_classes_of_their_own() -> None:
    reason = "active_outputs='task' needs experiences with classes of their own, but experiences of looks have"
    refused(reason, common_classes(), network=MLP((8,), 2, (8,)), active_outputs="task")


def test_joint_training_has_seen_all_classes() -> None:
    refused("data='joint' trains on all classes in every experience", wake=Wake(data="joint"), active_outputs="seen")
    planned(wake=Wake(data="cumulative"), active_outputs="seen")


# ---------------------------------------------------------------- learners


@pytest.mark.parametrize("plasticity", [Downscaling(), MovingAverage(), SynapticIntelligence()])
def test_a_learner_from_scratch_has_no_past(plasticity: Any) -> None:
    parts = {"memory": ClassBalanced(5), "night": [NREM(objectives=(CrossEntropy(),), from_scratch=True)]}
    name = type(plasticity).__name__
    refused(
        f"from_scratch=True re-initialises the learner, but {name} follows its old weights",
        plasticity=[plasticity],
        **parts,
    )
    planned(**parts)


@pytest.mark.parametrize("parts", [{"memory": LatentCodes(5)}, {"generator": features_generator()}])
def test_a_learner_from_scratch_does_not_know_old_features(parts: dict[str, Any]) -> None:
    reason = "from_scratch=True re-initialises the learner, but features of its old weights are replayed"
    refused(reason, night=[REM(perturbations=(), from_scratch=True)], **parts)


def test_a_learner_that_cannot_be_reset() -> None:
    parts = {"memory": Reservoir(5), "night": [NREM(from_scratch=True)]}
    refused(
        r"a learner that is trained from scratch needs reset_parameters\(\) in every layer, Unresettable",
        network=Unresettable(),
        **parts,
    )


def test_a_learner_that_cannot_absorb() -> None:
    refused(r"Absorb expects a network with the method absorb\(x, y\), .* got MLP", wake=Absorb())


def test_a_generator_beside_a_learner_that_absorbs_learns_nothing() -> None:
    parts = {"network": closed_form(), "wake": Absorb(), "night": ()}
    refused(
        "Absorb learns without gradients, from which ClassConditionalVAE would learn nothing", generator=vae(), **parts
    )
    planned(generator=LatentGaussians(SHAPE, K), **parts)


@pytest.mark.parametrize(
    ("parts", "who"),
    [
        ({}, "wake"),
        ({"wake": Absorb(), "memory": Reservoir(5), "night": [NREM()]}, "night stage 0 .nrem."),
        ({"wake": Absorb(), "plasticity": [MovingAverage()]}, "MovingAverage"),
    ],
)
def test_gradients_need_something_to_change(parts: dict[str, Any], who: str) -> None:
    reason = f"^{who}: needs a learner with trainable parameters, but RandomFourierLDA has none"
    refused(reason, network=closed_form(), **parts)


def test_a_learner_that_classifies_with_its_generator_needs_a_fitting_one() -> None:
    for parts, reason in [
        ({}, "LikelihoodClassifier classifies with a generator, but the run has none"),
        ({"generator": vae()}, "expects a generator with log_likelihood"),
        ({"generator": VAEPerClass((1, 5, 5), K)}, r"expects a generator of samples \(1, 4, 4\) and 6 classes"),
    ]:
        with pytest.raises(ValueError, match=reason):
            WakeSleepModule(LikelihoodClassifier(SHAPE, K), **parts)


def test_a_learner_without_layers_cannot_be_inverted() -> None:
    with pytest.raises(ValueError, match="expected a learner with linear, convolutional or batch normalisation layers"):
        WakeSleepModule(closed_form(), generator=ModelInversion(SHAPE, K))


# ---------------------------------------------------------------- Hebbian sleep


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, K), nn.Sigmoid()), "its layer '2' is Sigmoid"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, K)), "linear layer '2' has no nn.ReLU before it"),
        (closed_form(), "its layer '' is RandomFourierLDA|it has no linear layer"),
    ],
)
def test_a_learner_that_cannot_spike(network: nn.Module, reason: str) -> None:
    refused(reason, network=network, memory=Reservoir(5), night=[Hebbian(thresholds=0.1)])


def test_a_threshold_for_every_layer_that_spikes() -> None:
    refused("one for each of the 2 linear layers of MLP, got 3", memory=Reservoir(5), night=[Hebbian()])


@pytest.mark.parametrize("parts", [{"memory": LatentCodes(5)}, {"generator": features_generator()}])
def test_spikes_enter_with_samples(parts: dict[str, Any]) -> None:
    reason = "^night stage 0 .nrem.: Hebbian needs samples, but what is replayed there are features"
    refused(reason, night=[Hebbian(thresholds=0.1)], **parts)


# ---------------------------------------------------------------- when, and where


@pytest.mark.parametrize("schedule", [Plateau(), Drift()])
def test_a_schedule_that_watches_the_loss_needs_one(schedule: Any) -> None:
    reason = f"{type(schedule).__name__} watches the loss on real samples, but wake has no objectives"
    refused(reason, wake=Wake(objectives=()), memory=Reservoir(5), schedule=schedule)
    planned(wake=Wake(objectives=()), memory=Reservoir(5), schedule=Drift(watch="features"))


def test_what_learns_without_gradients_stays_on_one_device() -> None:
    absorbs = {"network": closed_form(), "wake": Absorb()}
    refused("Absorb learns without gradients, which 2 devices cannot average", devices=2, **absorbs)
    sleeps = {"memory": Reservoir(5), "night": [Hebbian(thresholds=0.1)]}
    refused("Hebbian learns without gradients, which 2 devices cannot average", devices=2, **sleeps)
    planned(**absorbs), planned(**sleeps)


def test_a_night_has_a_cycle() -> None:
    refused("a night needs at least one cycle, got cycles=0", memory=Reservoir(5), cycles=0)


@pytest.mark.parametrize(("last", "warned"), [(nn.Softmax(dim=1), True), (nn.LogSoftmax(dim=1), False), (None, False)])
def test_a_softmax_at_the_end_of_the_learner_is_noticed(last: nn.Module | None, warned: bool) -> None:
    stream = tiny_stream()
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, stream.num_classes), *([] if last is None else [last]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WakeSleepModule(network).plan(stream)
    assert ["expect logits" in str(warning.message) for warning in caught] == [True] * warned
