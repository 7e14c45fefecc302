"""Noise and mixup in the embeddings of texts: how much, under which targets, and with gradients."""

from __future__ import annotations

from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.tokens import IGNORED, NAMED
from dreamer.core.types import Dream, SleepContext, Step
from dreamer.memory import ClassBalanced
from dreamer.networks import Decoder
from dreamer.objectives import SoftTargets
from dreamer.perturbations import Adversarial, Affine, Embedded, LatentJitter, MaskSpans, Mixup, Noise
from dreamer.problems import Classification, Language
from dreamer.stages import REM, Wake
from dreamer.stages.replay import for_problem
from dreamer.streams import arithmetic
from dreamer.training.module import WakeSleepModule

T, V, B = 8, 11, 6


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(**options: Any) -> Decoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Decoder((T,), V, width=16, layers=1, heads=2, **options)


def dream() -> Dream:
    """Texts with a teacher's logits; the last two places of the first do not count."""
    block = torch.randint(V, (B, T + 1), generator=rng(1))
    y = block[:, 1:].clone()
    y[0, -2:] = IGNORED
    return Dream(block[:, :-1], y, teacher=3 * torch.randn(B, T, V, generator=rng(2)), group=torch.zeros(B).long())


def context(network: nn.Module) -> SleepContext:
    seen = torch.ones(1, dtype=torch.bool)
    return SleepContext(network, None, None, (), None, None, seen, seen, None, 1, night=0)


def loss(network: nn.Module, *parts: Embedded, strength: float = 1.0) -> Tensor:
    stage = for_problem(
        REM(perturbations=parts, strength=strength, objectives=[SoftTargets()]), Language(temperature=1.0)
    )
    total = stage.losses(context(network), Step(0, 0, None, dream()), rng(4)).total
    assert total is not None
    return total


@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_noise_is_measured_in_the_spread_of_the_embeddings(size: float) -> None:
    x = size * torch.randn(200, 20, 100, generator=rng(1))
    shift = Embedded(Noise(0.5, clip=None))(x, torch.eye(200), rng())[0] - x
    # each text's standard deviation is uniform in [0, 0.5]
    assert scipy.stats.kstest(shift.flatten(1).std(dim=1).numpy() / (0.5 * size), "uniform").pvalue > 1e-3
    assert Embedded()(0 * x, torch.eye(200), rng())[0].isfinite().all(), "embeddings of 0 have no spread"


def test_mixup_mixes_embeddings_by_the_weights_that_it_returns() -> None:
    x = torch.randn(B, T, 4, generator=rng(1))
    mixed, weights = Embedded(Mixup())(x, torch.eye(B), rng())
    assert torch.allclose(mixed, torch.einsum("ij,jtd->itd", weights, x), atol=1e-6)
    assert ((weights > 0).sum(dim=1) == 2).all()
    assert Embedded(Mixup()).mixes and not Embedded(Noise(clip=None)).mixes


def test_a_stage_learns_the_teachers_distributions_from_the_perturbed_embeddings() -> None:
    network, seen = learner(), dream()
    x, _ = Embedded(Noise(0.5, clip=None))(network.embed(seen.x), torch.eye(B), rng(4))
    counted = seen.y != IGNORED
    expected = functional.kl_div(
        network(x)[counted].log_softmax(-1), seen.teacher[counted].softmax(-1), reduction="batchmean"
    )
    torch.testing.assert_close(loss(network, Embedded(Noise(0.5, clip=None))), expected)
    assert (expected - loss(network)).abs() > 1e-3


def test_mixed_texts_are_taught_by_distributions_that_are_mixed_alike() -> None:
    network, seen = learner(), dream()
    x, weights = Embedded(Mixup())(network.embed(seen.x), torch.eye(B), rng(4))
    said = network(x).log_softmax(-1)
    losses = []
    for own in range(B):
        partner = int((weights[own] * (1 - torch.eye(B)[own])).argmax())
        share = weights[own, partner]
        wanted = torch.lerp(seen.teacher[own].softmax(-1), seen.teacher[partner].softmax(-1), share)
        both = (seen.y[own] != IGNORED) & (seen.y[partner] != IGNORED)
        losses.append((wanted * (wanted.log() - said[own])).sum(dim=-1)[both])
    assert sum(map(len, losses)) == B * T - 4, "what does not count in one does not in the other"
    torch.testing.assert_close(loss(network, Embedded(Mixup())), torch.cat(losses).mean())


@pytest.mark.parametrize("part", [Embedded(Noise(clip=None)), Embedded(Mixup())], ids=["noise", "mixup"])
def test_gradients_reach_the_embeddings_of_all_tokens(part: Embedded) -> None:
    network = learner()
    plain, perturbed = (
        torch.autograd.grad(loss(network, *parts), network.embedding.weight)[0] for parts in ((), (part,))
    )
    used = dream().x.unique()
    assert (perturbed[used].abs().sum(dim=1) > 0).all()
    assert not torch.allclose(plain, perturbed)


@pytest.mark.parametrize("part", [Embedded(Noise(clip=None)), Embedded(Mixup())], ids=["noise", "mixup"])
def test_no_strength_changes_no_bit_of_the_loss_and_its_gradient(part: Embedded) -> None:
    network = learner()
    plain, still = (loss(network), loss(network, part, strength=0.0))
    assert torch.equal(plain, still)
    weights = list(network.parameters())
    for one, other in zip(torch.autograd.grad(plain, weights), torch.autograd.grad(still, weights), strict=True):
        assert torch.equal(one, other)


def test_only_a_teacher_who_is_known_whole_can_be_mixed() -> None:
    weights = torch.eye(B).roll(1, dims=0)
    swapped = Language().mixed(dream(), weights)
    torch.testing.assert_close(swapped.teacher.softmax(-1), dream().teacher.softmax(-1).roll(1, dims=0))
    certain = dream()._replace(teacher=torch.full((B, T, V), -torch.inf).index_fill(2, torch.tensor([0]), 0.0))
    assert Language().mixed(certain, weights).teacher.isfinite().all(), "a divergence in reverse stays finite"
    for unknown in (dream()._replace(teacher=None), dream()._replace(fields={NAMED: torch.zeros(B, T, V).long()})):
        with pytest.raises(ValueError, match="texts are mixed under a teacher's distributions alone"):
            Language().mixed(unknown, weights)
    with pytest.raises(ValueError, match="Classification has no samples with embeddings"):
        Classification().mixed(dream(), weights)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Embedded(Noise()), r"expected Noise with clip=None, got \(0.0, 1.0\)"),
        (lambda: Embedded(Affine()), r"Affine perturbs images of shape .* got samples of shape \(2, 1, 1\)"),
        (lambda: Embedded(Adversarial(clip=None)), "but Adversarial needs the learner's output"),
        (lambda: Embedded(LatentJitter()), "but LatentJitter is one of the space 'latent'"),
        (lambda: Embedded(MaskSpans()), "but MaskSpans is one of the space 'token'"),
        (lambda: Embedded(Embedded()), "but Embedded is one of the space 'embedding'"),
        (lambda: Embedded("noise"), "expected part to be a Perturbation or None, got 'noise'"),
    ],
)
def test_parts_that_cannot_act_on_embeddings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


class Blind(nn.Module):
    """A language model that takes tokens alone."""

    def __init__(self, inner: Decoder):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Doubled(Decoder):
    """One whose embeddings are not what enters it."""

    def embed(self, x: Tensor) -> Tensor:
        return 2 * super().embed(x)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.is_floating_point() else self.embedding(x))


def test_a_network_that_takes_no_embeddings_or_others_is_refused_at_the_start() -> None:
    stream = arithmetic(tasks=("reverse", "sort"), samples=60, test=20, validation=0.1)
    sizes = {"width": 16, "layers": 1, "heads": 2}
    decoder = Decoder(stream.sample_shape, stream.num_classes, **sizes)
    awake, asleep = Wake(steps=2, perturbations=[Embedded()]), REM(2, 8, perturbations=[Embedded()])
    for parts in ({"wake": awake, "night": []}, {"night": [asleep], "memory": ClassBalanced(9)}):
        run = WakeSleepModule(Blind(decoder), problem=Language(tokens=stream.tokens), **parts)
        with pytest.raises(ValueError, match=r"Embedded perturbs embeddings: expected .* embed\(x\), .* got Blind"):
            run.plan(stream)
    doubled = Doubled(stream.sample_shape, stream.num_classes, **sizes)
    run = WakeSleepModule(doubled, problem=Language(tokens=stream.tokens), wake=awake, night=[])
    with pytest.raises(ValueError, match="expected Doubled to map embeddings to what it maps their tokens to"):
        run.plan(stream)
