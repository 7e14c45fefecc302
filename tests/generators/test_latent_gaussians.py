"""Gaussians of the classes, held against formulas by hand and against scikit-learn."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from dreamer.core.types import Batch, Perturbations
from dreamer.generators.latent_gaussians import LatentGaussians, principal_axes
from dreamer.networks import MLP


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def day(classes: Sequence[int], shape: Sequence[int] = (6,), count: int = 300) -> Batch:
    """Classes of different means and different, correlated spreads."""
    parts = []
    for label in classes:
        mix = torch.randn(6, 6, generator=rng(label))
        parts.append(3 * label + torch.randn(count, 6, generator=rng(50 + label)) @ mix.T)
    return Batch(torch.cat(parts).view(-1, *shape), torch.tensor(list(classes)).repeat_interleave(count))


def trained(days: Sequence[Sequence[int]], shape: Sequence[int] = (6,), **options: object) -> LatentGaussians:
    generator = LatentGaussians(shape, 8, **options)
    for number, classes in enumerate(days):
        batch = day(classes, shape)
        generator.end_experience(
            [Batch(batch.x[:100], batch.y[:100]), Batch(batch.x[100:], batch.y[100:])], number, rng(1)
        )
    return generator


def dreams(generator: LatentGaussians, label: int, count: int = 20_000) -> Tensor:
    return generator.dream(torch.full((count,), label), rng(2)).x


def attached(**options: object) -> tuple[LatentGaussians, MLP]:
    torch.manual_seed(0)
    learner = MLP((6,), 8, hidden=(12, 5))
    generator = LatentGaussians((6,), 8, space="features", **options)
    generator.attach(learner)
    return generator, learner


@pytest.mark.parametrize("count", [200, 9])
def test_axes_are_the_principal_components(count: int) -> None:
    x = torch.randn(count, 12, generator=rng()) @ torch.randn(12, 12, generator=rng(1))
    x = x - x.mean(dim=0)
    axes = principal_axes(x, 4)
    expected = torch.from_numpy(PCA(4).fit(x.numpy()).components_)
    assert torch.allclose((axes @ expected.T).abs(), torch.eye(4), atol=1e-3)


def test_axes_without_variance_are_empty() -> None:
    x = torch.zeros(5, 8)
    x[:, 3] = torch.arange(5.0) - 2
    axes = principal_axes(x, 7)
    assert torch.allclose(axes[0].abs(), torch.eye(8)[3]) and not axes[1:].any()
    assert not principal_axes(torch.zeros(3, 4), 2).any()


def test_full_covariance_gives_each_class_its_own_mean_and_covariance() -> None:
    generator = trained([(0, 1)], clip=False)
    x, y = day((0, 1))[:2]
    for label in (0, 1):
        made = dreams(generator, label)
        covariance = x[y == label].T.cov()
        assert torch.allclose(made.mean(dim=0), x[y == label].mean(dim=0), atol=0.1)
        assert torch.allclose(made.T.cov(), covariance, atol=0.06 * float(covariance.diagonal().max()))


def test_a_shared_covariance_is_that_of_discriminant_analysis() -> None:
    generator = trained([(0, 1, 2)], covariance="shared")
    x, y = day((0, 1, 2))[:2]
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(x.numpy(), y.numpy())
    held = generator.snapshots[0]
    within = held.axes.T @ held.spread[0, 0] @ held.spread[0, 0].T @ held.axes
    assert torch.allclose(within.double(), torch.from_numpy(reference.covariance_).double(), atol=0.05)
    means = held.mean[:, 0] @ held.axes + held.centre
    assert torch.allclose(means.double(), torch.from_numpy(reference.means_).double(), atol=1e-3)


def test_few_axes_leave_their_residual_as_noise() -> None:
    generator = trained([(0,)], latent_dim=2, clip=False)
    x = day((0,)).x
    assert torch.allclose(dreams(generator, 0).var(dim=0), x.var(dim=0), rtol=0.06)
    held = generator.snapshots[0]
    centred = x - x.mean(dim=0)
    expected = torch.from_numpy(PCA(2).fit(x.numpy()).inverse_transform(PCA(2).fit_transform(x.numpy()))).float()
    assert torch.allclose(held.residual.square(), (centred + x.mean(dim=0) - expected).square().mean(dim=0), atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"covariance": "diagonal"}, {"covariance": "shared"}, {"components": 3}])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3)])
def test_any_shape_and_spread_dreams_the_requested_class(options: dict[str, object], shape: tuple) -> None:
    generator = trained([(0, 4), (2, 6)], shape, **options)
    y = torch.tensor([6, 0, 2, 4] * 500)
    made = generator.dream(y, rng()).x
    assert made.shape == (2000, *shape) and made.dtype == torch.float32
    for label in (0, 2, 4, 6):
        assert (made[y == label].mean() - 3 * label).abs() < 0.7
    low, high = day((0, 4)).x.amin(dim=0), day((0, 4)).x.amax(dim=0)
    flat = made[y == 4].flatten(1)
    assert (flat >= low - 1e-6).all() and (flat <= high + 1e-6).all()


def test_a_mixture_keeps_apart_what_a_gaussian_blurs() -> None:
    x = torch.cat([torch.randn(200, 3, generator=rng()) - 8, torch.randn(200, 3, generator=rng(1)) + 8])
    one, two = (LatentGaussians((3,), 1, components=count) for count in (1, 2))
    for generator in (one, two):
        generator.end_experience([Batch(x, torch.zeros(400, dtype=torch.int64))], 0, rng())
    between = [(dreams(each, 0, 2000).abs() < 4).all(dim=1).float().mean() for each in (one, two)]
    assert between[0] > 0.1 and between[1] == 0


def test_temperature_zero_dreams_the_means() -> None:
    generator = trained([(0, 1)], temperature=0.0)
    x, y = day((0, 1))[:2]
    assert torch.allclose(dreams(generator, 1, 3), x[y == 1].mean(dim=0).expand(3, -1), atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"covariance": "diagonal", "store": "float16"}, {"covariance": "shared"}])
def test_bytes_are_as_planned_and_nothing_is_learnt_step_by_step(options: dict[str, object]) -> None:
    generator = trained([(0, 1), (2, 3)], **options)
    assert generator.nbytes == LatentGaussians((6,), 8, **options).planned_bytes([[0, 1], [2, 3]])
    assert not list(generator.parameters()) and generator.loss(*day((0,))[:2], rng()) is None


def test_codes_can_be_perturbed() -> None:
    generator = trained([(0, 4)])
    y = torch.tensor([0, 4] * 50)
    halfway = Perturbations(latent=lambda z, p, _: ((z + z.flip(0)) / 2, (p + p.flip(0)) / 2))
    perturbed = generator.dream(y, rng(), halfway)
    assert perturbed.p is not None and torch.equal(perturbed.p[:, [0, 4]], torch.full((100, 2), 0.5))
    assert torch.allclose(perturbed.x.mean(dim=1), torch.tensor(6.0), atol=4) and (perturbed.x.mean() - 6).abs() < 0.5
    still = generator.dream(y, rng(), Perturbations(noise=lambda noise, p, _: (0 * noise, p))).x
    assert (still[y == 0].std(dim=0) < generator.dream(y, rng()).x[y == 0].std(dim=0)).all()


def test_features_of_the_learner_are_dreamt_and_the_learner_is_left_alone() -> None:
    generator, learner = attached(clip=False)
    learner.trunk[1].eval()
    before, modes = copy.deepcopy(learner.state_dict()), [module.training for module in learner.modules()]
    generator.end_experience([day((0, 1))], 0, rng())
    assert all(torch.equal(value, before[key]) for key, value in learner.state_dict().items())
    assert modes == [module.training for module in learner.modules()]
    dream = generator.dream(torch.tensor([1] * 4000), rng())
    seen = learner.features(day((1,)).x)
    assert dream.is_features and dream.x.shape == (4000, 5)
    assert torch.allclose(dream.x.mean(dim=0), seen.mean(dim=0), atol=0.05)
    assert generator.nbytes < 5000 and not list(generator.parameters()), "the learner is no part of it"


def test_features_age_as_the_learner_moves() -> None:
    generator, learner = attached()
    generator.end_experience([day((0,))], 0, rng())
    young = dreams(generator, 0, 10)
    nn.init.zeros_(learner.trunk[1].weight)
    assert torch.equal(young, dreams(generator, 0, 10))


def test_rehearsing_features_keeps_one_dreamer_of_all_classes() -> None:
    generator, learner = attached(continual="rehearse", clip=False)
    for number, classes in enumerate([(0, 1), (2, 3)]):
        generator.end_experience([day(classes)], number, rng(number))
    assert len(generator.snapshots) == 1 and generator.dreamable[:4].all()
    for label in range(4):
        assert torch.allclose(
            dreams(generator, label).mean(dim=0), learner.features(day((label,)).x).mean(dim=0), atol=0.15
        )


def test_state_goes_into_a_fresh_generator() -> None:
    generator, _ = attached()
    generator.end_experience([day((0, 3))], 0, rng())
    fresh, _ = attached()
    fresh.load_state_dict(generator.state_dict())
    assert torch.equal(dreams(generator, 3, 5), dreams(fresh, 3, 5)) and fresh.nbytes == generator.nbytes


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="components=1 with a shared covariance, got 2"):
        LatentGaussians((6,), 8, components=2, covariance="shared")
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        LatentGaussians((6,), 8, latent_dim=0)
    with pytest.raises(ValueError, match="features\\(x\\) and classify\\(h\\)"):
        LatentGaussians((6,), 8, space="features").attach(nn.Linear(6, 8))
    with pytest.raises(ValueError, match="attach"):
        LatentGaussians((6,), 8, space="features").end_experience([day((0,))], 0, rng())
    with pytest.raises(ValueError, match="attach"):
        LatentGaussians((6,), 8, space="features").planned_bytes([[0]])


@pytest.mark.parametrize("pooled", [0.25, 1.0])
def test_covariances_are_mixed_with_that_within_all_classes(pooled: float) -> None:
    options = {"latent_dim": 6, "clip": False}
    own = [torch.cov(dreams(trained([[0, 1]], **options), label).T) for label in (0, 1)]
    mixed = trained([[0, 1]], pooled=pooled, **options)
    assert (own[0] - own[1]).abs().max() > 1
    for label in (0, 1):
        expected = (1 - pooled) * own[label] + pooled * (own[0] + own[1]) / 2
        found = dreams(mixed, label)
        assert torch.allclose(torch.cov(found.T), expected, atol=0.08 * float(expected.diagonal().max()))
        assert torch.allclose(found.mean(dim=0), day([label]).x.mean(dim=0), atol=0.2)


def test_what_has_nothing_to_be_mixed_with_is_refused() -> None:
    for options in ({"covariance": "shared"}, {"covariance": "diagonal"}, {"components": 2}):
        with pytest.raises(ValueError, match=r"pooled=0.5 needs covariance='full' and components=1"):
            LatentGaussians((6,), 8, pooled=0.5, **options)
    with pytest.raises(ValueError, match=r"expected pooled in \[0, 1\], got 2"):
        LatentGaussians((6,), 8, pooled=2)
