"""Every perturbation keeps the same promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dreamer import parts
from dreamer.perturbations import Affine, LatentMixing, Noise, Occlusion, Perturbation, bend

NAMES = parts.names("perturbations")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(part: Perturbation) -> tuple[Tensor, Tensor]:
    generator = rng(5)
    x = (
        torch.randn(32, 6, generator=generator)
        if part.space == "latent"
        else torch.rand(32, 3, 12, 10, generator=generator)
    )
    return x, functional.one_hot(torch.arange(32) % 4, 5).float()


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    part = parts.resolve("perturbations", name)()
    assert part.space in ("pixel", "latent") and isinstance(part, Perturbation)
    x, p = samples(part)
    kept, kept_p = x.clone(), p.clone()
    bent, bent_p = part(x, p, rng())
    assert bent.shape == x.shape and bent.dtype == x.dtype and bent.device == x.device
    assert torch.isfinite(bent).all()
    assert torch.equal(x, kept) and torch.equal(p, kept_p), "never in place"
    assert torch.allclose(bent_p.sum(dim=1), torch.ones(32)) and (bent_p >= 0).all()
    again, _ = part(x, p, rng())
    other, _ = part(x, p, rng(1))
    assert torch.equal(bent, again) and not torch.equal(bent, other)
    assert not torch.equal(bent, x)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_drawn_per_sample(name: str) -> None:
    part = parts.resolve("perturbations", name)()
    x, p = samples(part)
    if part.space == "latent":
        # two halves with equal codes: equal shares would bend them equally
        x, p = x[:2].repeat(16, 1), torch.ones(32, 1)
    else:
        x = x[:1].repeat(32, 1, 1, 1)
    bent, _ = part(x, p, rng())
    assert len(bent.flatten(1).unique(dim=0)) > 8


@pytest.mark.parametrize("part", [Affine(0, 0, 0, 0), Noise(0.0), Occlusion(0.0), LatentMixing(0.0)])
def test_no_strength_leaves_samples_alone(part: Perturbation) -> None:
    x, p = samples(part)
    bent, bent_p = part(x, p, rng())
    assert torch.allclose(bent, x, atol=1e-5) and torch.equal(bent_p, p)


def test_pixels_stay_in_range() -> None:
    for part in (Affine(), Noise(1.0), Occlusion()):
        bent, _ = part(*samples(part), rng())
        assert bent.min() >= 0 and bent.max() <= 1


def test_affine_turns_by_the_angle_it_drew() -> None:
    # a bright pixel east of the centre, turned by up to 90 degrees, keeps its distance to the centre
    x = torch.zeros(64, 1, 21, 21)
    x[:, 0, 10, 17] = 1.0
    bent, _ = Affine(degrees=90, shift=0, zoom=0, shear=0)(x, torch.ones(64, 1), rng())
    mass = bent[:, 0] / bent.sum(dim=(1, 2, 3))[:, None, None]
    grid = torch.arange(21.0) - 10
    down, right = (mass.sum(dim=2) * grid).sum(dim=1), (mass.sum(dim=1) * grid).sum(dim=1)
    assert torch.allclose(torch.hypot(down, right), torch.full((64,), 7.0), atol=0.35)
    angles = torch.rad2deg(torch.atan2(down, right))
    assert angles.min() < -60 and angles.max() > 60 and angles.abs().max() <= 92


def test_affine_shifts_by_a_share_of_the_side() -> None:
    x = torch.zeros(256, 1, 20, 20)
    x[:, 0, 9:11, 9:11] = 1.0
    bent, _ = Affine(degrees=0, shift=0.2, zoom=0, shear=0)(x, torch.ones(256, 1), rng())
    column = (bent[:, 0].sum(dim=1) * torch.arange(20.0)).sum(dim=1) / bent.sum(dim=(1, 2, 3)) - 9.5
    assert 3.5 < column.abs().max() <= 4.01, "0.2 of 20 pixels"


def test_occlusion_darkens_whole_tiles_at_the_rate_it_drew() -> None:
    x = torch.ones(400, 2, 16, 16)
    bent, _ = Occlusion(rate=1.0, tile=1)(x, torch.ones(400, 1), rng())
    assert torch.equal(bent[:, 0], bent[:, 1]), "all channels of a tile"
    # the rate is uniform in [0, 1], so the mean share is 1/2 with sd 1 / sqrt(12 * 400) = 0.0144
    assert abs((bent == 0).float().mean() - 0.5) < 5 * 0.0144
    tiles, _ = Occlusion(rate=0.5, tile=4)(torch.ones(50, 1, 16, 16), torch.ones(50, 1), rng())
    flips = (tiles[:, :, :, 1:] != tiles[:, :, :, :-1]).float().mean()
    pixels, _ = Occlusion(rate=0.5, tile=1)(torch.ones(50, 1, 16, 16), torch.ones(50, 1), rng())
    assert flips < 0.7 * (pixels[:, :, :, 1:] != pixels[:, :, :, :-1]).float().mean(), "tiles are larger than pixels"


def test_latent_mixing_stays_between_two_codes_of_one_class() -> None:
    z = torch.eye(6).repeat(2, 1) + torch.arange(2.0).repeat_interleave(6)[:, None] * 10
    label = torch.tensor([0] * 6 + [1] * 6)
    p = functional.one_hot(label, 3).float()
    bent, bent_p = LatentMixing(1.0)(z, p, rng())
    assert torch.equal(bent_p, p)
    assert ((bent.mean(dim=1) > 5) == (label == 1)).all(), "never mixed across classes"
    across, across_p = LatentMixing(1.0, within_class=False)(z, p, rng())
    assert ((across_p > 0).sum(dim=1) == 2).any()
    share = (across.mean(dim=1) - across[label == 0].mean(dim=1).min()) / 10
    assert torch.allclose(across_p[:, 1], (across.mean(dim=1) - 1 / 6) / 10, atol=1e-5), share


def test_perturbations_are_applied_in_order() -> None:
    x, p = samples(Noise())
    dark_first, _ = bend([Occlusion(1.0), Noise(1.0)], x, p, rng())
    noise_first, _ = bend([Noise(1.0), Occlusion(1.0)], x, p, rng())
    assert (noise_first == 0).float().mean() > (dark_first == 0).float().mean()


@pytest.mark.parametrize("part", [Affine(), Occlusion()])
def test_what_is_no_image_is_refused(part: Perturbation) -> None:
    with pytest.raises(ValueError, match=r"bends images of shape .* got samples of shape \(3, 8\)"):
        part(torch.rand(3, 8), torch.ones(3, 1), rng())


@pytest.mark.parametrize("part", [Affine(), Noise()])
def test_integers_are_refused(part: Perturbation) -> None:
    with pytest.raises(ValueError, match="floating-point"):
        part(torch.ones(2, 1, 4, 4, dtype=torch.int64), torch.ones(2, 1), rng())


@pytest.mark.parametrize(
    ("part", "options"),
    [
        (Affine, {"degrees": -1}),
        (Noise, {"std": -0.1}),
        (Occlusion, {"rate": 2}),
        (Occlusion, {"tile": 0}),
        (LatentMixing, {"strength": 2}),
    ],
)
def test_impossible_amounts_are_refused(part: type, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"expected .*got {next(iter(options.values()))}"):
        part(**options)
