"""What is inverted out of a learner, and every term of the loss by hand, by SciPy or by torch's own distributions."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import entropy
from torch import nn
from torch.nn import functional

from dreamer.core.types import UNLABELLED, Batch, Perturbations
from dreamer.generators._activations import Activations, Moments, pooled
from dreamer.generators.model_inversion import ModelInversion, imbalance, roughness, sameness
from dreamer.networks import MLP, SmallConv

SHAPE = (1, 4, 4)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def day(classes: Sequence[int], count: int = 60, seed: int = 3) -> Batch:
    """Dim noise with one bright pixel, whose place is the class."""
    y = torch.tensor(list(classes)).repeat(count)
    x = 0.3 * torch.rand(len(y), *SHAPE, generator=rng(seed))
    x.flatten(1)[torch.arange(len(y)), 2 * y] += 0.7
    return Batch(x, y)


def normed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 6))


def train(network: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int = 80) -> nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network


@functools.cache
def _taught(kind: str) -> nn.Module:
    torch.manual_seed(0)
    network = MLP(SHAPE, 6, hidden=(40, 40)) if kind == "mlp" else normed()
    return train(network, *day(range(6))[:2])


def taught(kind: str = "mlp") -> nn.Module:
    return copy.deepcopy(_taught(kind))


def inverted(learner: nn.Module, days: Sequence[Sequence[int]], **options: object) -> ModelInversion:
    generator = ModelInversion(SHAPE, 6, **({"width": 64, "latent_dim": 8, "iterations": 3} | options))
    generator.attach(learner)
    for number, classes in enumerate(days):
        batch = day(classes)
        generator.end_experience(
            [Batch(batch.x[:50], batch.y[:50]), Batch(batch.x[50:], batch.y[50:])], number, rng(number)
        )
    return generator


@pytest.mark.parametrize("kind", ["mlp", "normed"])
def test_the_learner_and_a_network_trained_on_dreams_both_classify(kind: str) -> None:
    learner = taught(kind)
    generator = inverted(learner, [(0, 1, 2, 3, 4, 5)], iterations=200)
    y = torch.arange(6).repeat(100)
    dream = generator.dream(y, rng())
    assert dream.x.shape == (600, *SHAPE) and torch.equal(dream.y, y) and not dream.x.requires_grad
    assert dream.x.min() >= 0 and dream.x.max() <= 1
    learner.eval()
    assert (learner(dream.x).argmax(dim=1) == y).float().mean() > 0.95
    torch.manual_seed(1)
    other = train(MLP(SHAPE, 6, hidden=(40,)), dream.x, dream.y)
    real = day(range(6), seed=9)
    assert (other(real.x).argmax(dim=1) == real.y).float().mean() > 0.8


def test_dreams_of_a_class_differ_where_diversity_counts() -> None:
    spread = []
    for weight in (0.0, 1.0):
        generator = inverted(taught(), [(0, 1, 2)], iterations=80, diversity=weight)
        spread.append(generator.dream(torch.zeros(200, dtype=torch.int64), rng()).x.var(dim=0).mean())
    assert spread[1] > 1.5 * spread[0]


def test_without_statistics_dreams_leave_the_moments_of_the_day() -> None:
    learner = taught()
    observed = Activations(copy.deepcopy(learner)).over([day((0, 1, 2)).x])
    apart = []
    for weight in (0.0, 10.0):
        generator = inverted(learner, [(0, 1, 2)], iterations=80, statistics=weight)
        watch = Activations(copy.deepcopy(learner))
        dreamt = watch.over([generator.dream(torch.arange(3).repeat(100), rng()).x])
        apart.append(float(watch.divergence(dreamt, observed)))
    assert apart[1] < 0.2 * apart[0]


@pytest.mark.parametrize("kind", ["mlp", "normed"])
def test_the_learner_and_the_global_randomness_are_left_as_they_were(kind: str) -> None:
    learner = taught(kind).requires_grad_(True)
    list(learner.modules())[1].eval()
    before = copy.deepcopy(learner.state_dict())
    modes = [module.training for module in learner.modules()]
    for parameter in learner.parameters():
        parameter.grad = None
    state = torch.get_rng_state()
    generator = inverted(learner, [(0, 1)])
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in learner.state_dict().items())
    assert modes == [module.training for module in learner.modules()]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in learner.parameters())
    assert not any(module._forward_hooks for module in learner.modules())
    own = {id(parameter) for parameter in generator.parameters()}
    assert not own & {id(parameter) for parameter in learner.parameters()}
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_only_the_newest_network_is_kept_and_serves_all_classes_seen() -> None:
    generator = inverted(taught(), [(0, 1), (2, 3), (4,)])
    assert len(generator.snapshots) == 1 and generator.dreamable.tolist() == [True] * 5 + [False]
    promised = ModelInversion(SHAPE, 6, width=64, latent_dim=8)
    promised.attach(taught())
    assert generator.nbytes == promised.planned_bytes([(0, 1), (2, 3), (4,)])
    assert int(generator.iterated) == 9 and generator.loss(*day((0,))[:2], rng()) is None


def test_a_dusk_goes_on_from_the_network_of_the_one_before() -> None:
    first = inverted(taught(), [(0, 1)], iterations=60)
    weight = first.snapshots[0].network[0].weight.clone()
    first.iterations = 1
    first.end_experience([day((2,))], 1, rng())
    assert (first.snapshots[0].network[0].weight - weight).abs().max() < 0.011


def test_the_same_randoms_give_the_same_network() -> None:
    y = torch.tensor([0, 1, 1])
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(inverted(taught(), [(0, 1)]).dream(y, rng()).x)
    assert torch.equal(*made)


def test_state_goes_into_a_fresh_generator_which_goes_on_alike() -> None:
    generator, fresh = inverted(taught(), [(0, 1), (2, 3)]), inverted(taught(), [])
    fresh.load_state_dict(generator.state_dict())
    y = torch.tensor([0, 3, 2])
    for each in (generator, fresh):
        each.end_experience([day((4,))], 2, rng(5))
    assert torch.equal(generator.dream(y, rng()).x, fresh.dream(y, rng()).x)
    assert torch.equal(generator.kept, fresh.kept) and int(fresh.iterated) == 9


def test_moments_of_days_are_pooled_by_their_classes_and_a_day_seen_again_replaces_itself() -> None:
    learner = taught()
    generator = inverted(learner, [(0, 1), (2,), (3, 4, 5)])
    generator.end_experience([day((3, 4, 5))], 2, rng())
    assert generator.mass.tolist() == [3.0, 3.0]
    kept = pooled([Moments(*part) for part in generator.kept], generator.mass)
    whole = [day(classes) for classes in ((0, 1), (2,), (3, 4, 5))]
    # days of equally many samples of each class: pooling them is watching all samples at once
    expected = Activations(copy.deepcopy(learner)).over([torch.cat([batch.x for batch in whole])])
    assert torch.allclose(kept.mean, expected.mean, atol=1e-4)
    assert torch.allclose(kept.variance, expected.variance, rtol=1e-3)


def test_batch_normalisation_is_believed_and_nothing_is_measured() -> None:
    learner = taught("normed")
    generator = inverted(learner, [(0, 1)])
    assert generator.kept.numel() == 0 and not generator.mass.any()
    watch = Activations(copy.deepcopy(learner))
    assert torch.equal(watch.running().mean, learner[1].running_mean)
    assert torch.equal(watch.running().variance, learner[1].running_var)
    x = day((0, 1)).x
    seen = learner[0](x)
    moments = watch(x)[1]
    assert torch.allclose(moments.mean, seen.mean(dim=(0, 2, 3)), atol=1e-6)
    assert torch.allclose(moments.variance, seen.var(dim=(0, 2, 3), unbiased=False), rtol=1e-4)


def test_linear_and_convolutional_outputs_are_watched_without_it() -> None:
    torch.manual_seed(0)
    learner = SmallConv((1, 4, 4), 6, (8,))
    watch = Activations(copy.deepcopy(learner))
    x = day((0, 1)).x
    logits, moments = watch(x)
    conv = learner.trunk[0](x - 0.5)
    assert torch.equal(logits, learner(x)) and moments.mean.shape == (14,)
    assert torch.allclose(moments.mean, torch.cat([conv.mean(dim=(0, 2, 3)), logits.mean(dim=0)]), atol=1e-6)
    batches = watch.over(x.split(50))
    assert torch.allclose(batches.mean, moments.mean, atol=1e-6)
    assert torch.allclose(batches.variance, moments.variance, rtol=1e-4)


def test_divergence_is_that_of_gaussians() -> None:
    watch = Activations(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    dreamt, observed = (
        Moments(torch.randn(6, generator=rng(k)), torch.rand(6, generator=rng(9 + k)) + 0.1) for k in (0, 1)
    )
    each = torch.distributions.kl_divergence(
        torch.distributions.Normal(observed.mean, observed.variance.sqrt()),
        torch.distributions.Normal(dreamt.mean, dreamt.variance.sqrt()),
    )
    assert torch.isclose(watch.divergence(dreamt, observed), (each[:4].mean() + each[4:].mean()) / 2, rtol=1e-4)
    assert watch.divergence(observed, observed).abs() < 1e-6


def test_roughness_is_the_distance_from_a_blurred_image() -> None:
    x = torch.rand(2, 3, 9, 7, generator=rng())
    # truncate: two pixels to either side
    blurred = gaussian_filter(x.double().numpy(), (0, 0, 2**0.5, 2**0.5), mode="mirror", truncate=1.2)
    assert torch.isclose(roughness(x).double(), (x.double() - torch.from_numpy(blurred)).square().mean(), rtol=1e-5)
    assert roughness(torch.ones(1, 1, 5, 5)) < 1e-12


def test_imbalance_is_what_the_entropy_lacks() -> None:
    logits = torch.randn(5, 4, generator=rng())
    average = logits.softmax(dim=1).mean(dim=0)
    assert torch.isclose(imbalance(logits), torch.tensor(1 - entropy(average.numpy(), base=4)), atol=1e-6)
    assert torch.isclose(imbalance(99 * torch.eye(4)), torch.tensor(0.0), atol=1e-6)
    assert imbalance(torch.tensor([[99.0, 0.0]]).repeat(3, 1)) == 1 and imbalance(torch.ones(3, 1)) == 0


def test_sameness_grows_as_dreams_approach_each_other() -> None:
    code, x = torch.randn(6, 3, generator=rng()), torch.rand(6, 2, 2, generator=rng(1))
    by_hand = (code[:3] - code[3:]).abs().mean() / (x[:3] - x[3:]).abs().mean()
    assert torch.isclose(sameness(code, x), by_hand, rtol=1e-3)
    assert torch.isfinite(sameness(code, x[:3].repeat(2, 1, 1))) and sameness(code, x / 2) > 1.9 * by_hand


def test_an_unconditional_inversion_leaves_naming_to_the_teacher() -> None:
    learner = taught()
    generator = inverted(learner, [(0, 1, 2)], iterations=150, conditional=False)
    dream = generator.dream(torch.zeros(300, dtype=torch.int64), rng())
    assert not generator.conditional and (dream.y == UNLABELLED).all()
    named = learner(dream.x)[:, :3].argmax(dim=1)
    assert named.bincount(minlength=3).min() > 30, "balanced, although the labels are free"


def test_noise_and_codes_can_be_perturbed() -> None:
    generator = inverted(taught(), [(0, 1)])
    y = torch.tensor([0, 1] * 4)
    still = generator.dream(y, rng(), Perturbations(noise=lambda z, p, _: (0 * z, p))).x
    assert torch.allclose(still[0::2], still[0].expand(4, *SHAPE)) and not torch.allclose(still[0], still[1])
    perturbed = generator.dream(y, rng(), Perturbations(latent=lambda z, p, _: (z, (p + p.flip(0)) / 2)))
    assert perturbed.p is not None and torch.equal(perturbed.p[:, :2], torch.full((8, 2), 0.5))


def test_samples_of_any_shape_and_range() -> None:
    torch.manual_seed(0)
    generator = ModelInversion((5,), 2, values="any", width=32, iterations=150)
    learner = MLP((5,), 2, hidden=(20,))
    x, y = torch.randn(200, 5, generator=rng()) + 20, torch.arange(2).repeat(100)
    generator.attach(learner)
    generator.end_experience([Batch(x, y)], 0, rng())
    assert generator.dream(y, rng()).x.shape == (200, 5) and generator.dream(y, rng()).x.max() > 1


def test_convolutions_make_images() -> None:
    generator = ModelInversion((3, 8, 12), 2, network="conv", width=6, iterations=2)
    generator.attach(SmallConv((3, 8, 12), 2, (8,)))
    generator.end_experience([Batch(torch.rand(9, 3, 8, 12, generator=rng()), torch.arange(9) % 2)], 0, rng())
    assert generator.dream(torch.tensor([1]), rng()).x.shape == (1, 3, 8, 12)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="sides divisible by 4"):
        ModelInversion((1, 6, 8), 2, network="conv")
    with pytest.raises(ValueError, match="batch_size of at least 2"):
        ModelInversion(SHAPE, 2, batch_size=1)
    with pytest.raises(ValueError, match="weights of at least 0"):
        ModelInversion(SHAPE, 2, balance=-1.0)
    with pytest.raises(ValueError, match="temperature and lr above 0, got 0"):
        ModelInversion(SHAPE, 2, temperature=0.0)
    with pytest.raises(ValueError, match="got Flatten"):
        ModelInversion(SHAPE, 2).attach(nn.Flatten())
    with pytest.raises(ValueError, match="attach"):
        ModelInversion(SHAPE, 6).end_experience([day((0,))], 0, rng())
