"""What each perturbation of images does to pixels."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import functional as vision

from dreamer.perturbations import Affine, Colour, CropFlip, CutMix, Occlusion, scaled
from dreamer.perturbations.affine import sampled_at
from dreamer.perturbations.colour import adjust
from tests.helpers.perturbed import IMAGE, rng


@pytest.mark.parametrize(("height", "width"), [(1, 1), (28, 28), (12, 9)])
def test_affine_looks_where_that_of_torch_does(height: int, width: int) -> None:
    theta = torch.randn(5, 2, 3, generator=rng(), dtype=torch.float64)
    expected = functional.affine_grid(theta, [5, 1, height, width], align_corners=False)
    assert torch.allclose(sampled_at(theta, height, width), expected, atol=1e-12)


def test_affine_turns_by_the_angle_it_drew() -> None:
    # a bright pixel east of the centre, turned by up to 90 degrees, keeps its distance to the centre
    x = torch.zeros(64, 1, 21, 21)
    x[:, 0, 10, 17] = 1.0
    perturbed, _ = Affine(degrees=90, shift=0, zoom=0, shear=0)(x, torch.ones(64, 1), rng())
    mass = perturbed[:, 0] / perturbed.sum(dim=(1, 2, 3))[:, None, None]
    grid = torch.arange(21.0) - 10
    down, right = (mass.sum(dim=2) * grid).sum(dim=1), (mass.sum(dim=1) * grid).sum(dim=1)
    assert torch.allclose(torch.hypot(down, right), torch.full((64,), 7.0), atol=0.35)
    angles = torch.rad2deg(torch.atan2(down, right))
    assert angles.min() < -60 and angles.max() > 60 and angles.abs().max() <= 92


def test_affine_shifts_by_a_fraction_of_the_side() -> None:
    x = torch.zeros(256, 1, 20, 20)
    x[:, 0, 9:11, 9:11] = 1.0
    perturbed, _ = Affine(degrees=0, shift=0.2, zoom=0, shear=0)(x, torch.ones(256, 1), rng())
    column = (perturbed[:, 0].sum(dim=1) * torch.arange(20.0)).sum(dim=1) / perturbed.sum(dim=(1, 2, 3)) - 9.5
    assert 3.5 < column.abs().max() <= 4.01, "0.2 of 20 pixels"


def test_occlusion_darkens_whole_tiles_at_the_rate_it_drew() -> None:
    x = torch.ones(400, 2, 16, 16)
    perturbed, _ = Occlusion(rate=1.0, tile=1)(x, torch.ones(400, 1), rng())
    assert torch.equal(perturbed[:, 0], perturbed[:, 1]), "all channels of a tile"
    # the rate is uniform in [0, 1], so the mean fraction is 1/2 with sd 1 / sqrt(12 * 400) = 0.0144
    assert abs((perturbed == 0).float().mean() - 0.5) < 5 * 0.0144
    tiles, _ = Occlusion(rate=0.5, tile=4)(torch.ones(50, 1, 16, 16), torch.ones(50, 1), rng())
    flips = (tiles[:, :, :, 1:] != tiles[:, :, :, :-1]).float().mean()
    pixels, _ = Occlusion(rate=0.5, tile=1)(torch.ones(50, 1, 16, 16), torch.ones(50, 1), rng())
    assert flips < 0.7 * (pixels[:, :, :, 1:] != pixels[:, :, :, :-1]).float().mean(), "tiles are larger than pixels"


def windows(image: Tensor, above: int, left: int) -> dict[tuple[int, int, bool], Tensor]:
    """All that torchvision can cut out of a padded image, plain and mirrored."""
    _, height, width = image.shape
    padded = vision.pad(image, [left, above])
    found = {}
    for top in range(2 * above + 1):
        for start in range(2 * left + 1):
            found[top, start, False] = vision.crop(padded, top, start, height, width)
            found[top, start, True] = vision.hflip(found[top, start, False])
    return found


@pytest.mark.parametrize(("padding", "above", "left"), [(2, 2, 2), (0.25, 3, 2)])
def test_crop_flip_cuts_the_windows_of_torchvision(padding: int | float, above: int, left: int) -> None:
    image = torch.rand(*IMAGE, generator=rng(1))
    perturbed, _ = CropFlip(padding)(image.expand(2000, *IMAGE), torch.ones(2000, 1), rng())
    counts = {}
    for key, window in windows(image, above, left).items():
        counts[key] = int((perturbed == window).all(dim=(1, 2, 3)).sum())
    assert sum(counts.values()) == 2000, "each is one of the windows"
    # chi-square of a uniform draw; five standard deviations above its mean
    expected, free = 2000 / len(counts), len(counts) - 1
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < free + 5 * (2 * free) ** 0.5


def test_crop_flip_takes_any_dtype_and_scales_in_whole_pixels() -> None:
    perturbed, _ = CropFlip()(torch.randint(0, 255, (4, *IMAGE), dtype=torch.uint8), torch.ones(4, 1), rng())
    assert perturbed.dtype == torch.uint8
    half, double = scaled(CropFlip(4, 0.5), 0.5), scaled(CropFlip(4, 0.8), 2)
    assert (half.padding, half.flip) == (2, 0.25) and (double.padding, double.flip) == (8, 1.0)
    assert isinstance(half.padding, int)
    assert scaled(CropFlip(0.75), 2).padding == 1.0, "a fraction of at most the whole side"


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_does_to_pixels_what_torchvision_does(channels: int) -> None:
    x = torch.rand(8, channels, 6, 5, generator=rng())
    # a black, a white and a grey image, and two channels that are both the largest
    x[0], x[1], x[2], x[3, :2] = 0.0, 1.0, 0.4, 0.9
    factors = torch.rand(3, 8, generator=rng(1)) * 2
    hue = torch.rand(8, generator=rng(2)) - 0.5
    perturbed = adjust(x, *factors, hue)
    names = vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue
    for image, result, *own in zip(x, perturbed, *factors, hue, strict=True):
        expected = functools.reduce(lambda y, step: step[0](y, float(step[1])), zip(names, own, strict=True), image)
        assert torch.allclose(result, expected, atol=1e-5)


def test_colour_draws_every_factor_in_its_own_range() -> None:
    x = torch.full((500, 1, 2, 2), 0.4)
    perturbed, _ = Colour(brightness=0.5, contrast=0, saturation=0, hue=0)(x, torch.ones(500, 1), rng())
    factor = perturbed[:, 0, 0, 0] / 0.4
    assert 0.5 <= factor.min() < 0.52 and 1.48 < factor.max() <= 1.5
    x[..., 0] = 0.5
    perturbed, _ = Colour(brightness=0, contrast=5.0)(x, torch.ones(500, 1), rng())
    assert (perturbed[..., 0] >= perturbed[..., 1]).all(), "a factor is never negative"
    with pytest.raises(
        ValueError, match=r"Colour perturbs images of 1 or 3 channels, got samples of shape \(2, 4, 3, 3\)"
    ):
        Colour()(torch.rand(2, 4, 3, 3), torch.ones(2, 1), rng())


def test_cut_mix_pastes_one_box_and_counts_its_pixels() -> None:
    count, height, width = 200, 16, 12
    x = torch.arange(count)[:, None, None, None].expand(count, 1, height, width)
    perturbed, perturbed_p = CutMix(rate=1.0)(x, torch.eye(count), rng())
    assert perturbed.dtype == torch.int64
    areas = []
    for own, (image, label) in enumerate(zip(perturbed[:, 0], perturbed_p, strict=True)):
        pasted = image != own
        rows, columns = pasted.any(dim=1), pasted.any(dim=0)
        assert torch.equal(pasted, rows[:, None] & columns), "a box"
        assert rows.diff().sum() <= 2 and columns.diff().sum() <= 2, "in one piece"
        assert len(image[pasted].unique()) <= 1, "of one partner"
        areas.append(float(pasted.float().mean()))
        assert label[own] == pytest.approx(1 - areas[-1], abs=1e-6)
        if areas[-1]:
            assert label[image[pasted][0]] == pytest.approx(areas[-1], abs=1e-6)
    assert min(areas) < 0.01 and max(areas) > 0.7


def test_cut_mix_has_the_mean_area_of_the_formula() -> None:
    # sides h = floor(16 s) with s = sqrt(u), u uniform, around a centre that is uniform in 0 ... 15, cut at the borders
    expected = 0.0
    for length in range(16):
        chance = ((length + 1) / 16) ** 2 - (length / 16) ** 2
        inside = [min(c - length // 2 + length, 16) - max(c - length // 2, 0) for c in range(16)]
        expected += chance * (sum(inside) / 16 / 16) ** 2
    x = torch.arange(4000)[:, None, None, None].expand(4000, 1, 16, 16)
    perturbed, _ = CutMix(rate=1.0)(x, torch.ones(4000, 1), rng())
    area = (perturbed != x).float().mean(dim=(1, 2, 3))
    assert abs(area.mean() - expected) < 5 * area.std() / 4000**0.5
    rare, _ = CutMix(rate=0.25)(x, torch.ones(4000, 1), rng())
    boxes = (rare != x).any(dim=(1, 2, 3)).float().mean() / (perturbed != x).any(dim=(1, 2, 3)).float().mean()
    assert abs(boxes - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
