"""Every perturbation keeps the same promises."""

from __future__ import annotations

import functools
import itertools

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import functional as vision

from dreamer.config import registry
from dreamer.core.tokens import IGNORED, Tokens
from dreamer.networks import Decoder
from dreamer.perturbations import (
    Adversarial,
    Affine,
    Colour,
    CropFlip,
    CutMix,
    Embedded,
    InfillSpans,
    LatentJitter,
    LatentMixing,
    MaskSpans,
    MixPrompts,
    Mixup,
    Noise,
    Occlusion,
    Perturbation,
    RecombineSegments,
    ShuffleSegments,
    SwapOpening,
    Temperature,
    bound,
    perturb,
    scaled,
)
from dreamer.perturbations.adversarial import margin
from dreamer.perturbations.base import beta, partners
from dreamer.perturbations.colour import adjust

NAMES = registry.names("perturbations")
IMAGE = (3, 12, 10)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Something with a mode and statistics of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = nn.Flatten(), nn.Linear(3 * 12 * 10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)
        return nn.Sequential(*layers, nn.Linear(16, 5)).to(dtype)


def texts(count: int = 32) -> tuple[Tensor, Tensor]:
    """(count, 14) tokens of a vocabulary of 20 and what follows on them: openings of two tokens, some texts shorter."""
    block = torch.randint(4, 20, (count, 15), generator=rng(5))
    block[:, 0], block[:, 1] = torch.arange(count) % 4, 3
    y = block[:, 1:].clone()
    y[:, 0] = y[1::3, 10:] = IGNORED
    return block[:, :-1], y


def writer() -> Decoder:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Decoder((14,), 20, width=8, layers=1, heads=2)


def made(name: str, dtype: torch.dtype = torch.float32) -> Perturbation:
    """A part with its own defaults, shown the learner when it must look at it."""
    kind = registry.resolve("perturbations", name)
    (part,) = bound([kind()], writer() if kind.space == "token" else learner(dtype))
    return part


def samples(part: Perturbation, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    if part.space == "token":
        return texts()
    draw = torch.rand if part.space == "pixel" else torch.randn
    shape = {"pixel": IMAGE, "embedding": (7, 6)}.get(part.space, (6,))
    x = draw(32, *shape, generator=rng(5), dtype=dtype)
    return x, functional.one_hot(torch.arange(32) % 4, 5).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, dtype: torch.dtype) -> None:
    part = made(name, dtype)
    assert part.space in ("pixel", "token", "embedding", "latent", "noise") and isinstance(part, Perturbation)
    x, p = samples(part, dtype)
    kept, kept_p = x.clone(), p.clone()
    with torch.no_grad():
        perturbed, perturbed_p = part(x, p, rng())
        again, again_p = part(x, p, rng())
        other, _ = part(x, p, rng(1))
    for before, after in ((x, perturbed), (p, perturbed_p)):
        assert after.shape == before.shape and after.dtype == before.dtype and after.device == before.device
        assert torch.isfinite(after).all() and not after.requires_grad
    assert torch.equal(x, kept) and torch.equal(p, kept_p), "never in place"
    if part.space == "token":
        assert torch.equal(perturbed_p == IGNORED, p == IGNORED), "what does not count goes on not counting"
    else:
        assert torch.allclose(perturbed_p.sum(dim=1), torch.ones(32, dtype=dtype)) and (perturbed_p >= 0).all()
    assert torch.equal(perturbed, again) and torch.equal(perturbed_p, again_p), "the same randoms give the same result"
    assert not torch.equal(perturbed, other)
    assert not torch.equal(perturbed, x)


# two openings can be exchanged in two ways only, and one with itself not at all
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("swap_opening", "mix_prompts")])
def test_parameters_are_drawn_per_sample(name: str) -> None:
    part = made(name)
    # two samples of one class, sixteen times: equal parameters would make at most four different results of them
    every, targets = samples(part)
    x = every[:8:4].repeat(16, *[1] * (every.ndim - 1))
    p = targets[:8:4].repeat(16, 1) if part.space == "token" else torch.eye(5)[:1].expand(32, 5)
    perturbed, _ = part(x, p, rng())
    assert len(perturbed.flatten(1).unique(dim=0)) > 8


@pytest.mark.parametrize("name", NAMES)
def test_randoms_come_from_the_passed_generator_alone(name: str) -> None:
    part = made(name)
    x, p = samples(part)
    state = torch.get_rng_state()
    part(x, p, rng())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_is_perturbed_too(name: str) -> None:
    part = made(name)
    x, p = samples(part)
    perturbed, perturbed_p = part(x[:1], p[:1], rng())
    assert perturbed.shape == x[:1].shape and torch.isfinite(perturbed).all()
    assert torch.equal(perturbed_p, p[:1]) or part.space == "token", "nobody to mix with"


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_perturbs_nothing_and_strength_1_is_the_part(name: str) -> None:
    part = made(name)
    x, p = samples(part)
    before = {key: getattr(part, key) for key in part.amounts}
    assert before, "amounts say how strongly it perturbs"
    still, still_p = scaled(part, 0.0)(x, p, rng())
    assert torch.allclose(still, x, atol=1e-5) and torch.equal(still_p, p)
    for mine, theirs in zip(scaled(part, 1)(x, p, rng()), part(x, p, rng()), strict=True):
        assert torch.equal(mine, theirs)
    assert {key: getattr(part, key) for key in part.amounts} == before, "the part itself stays"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_scaled_is_a_possible_part(name: str) -> None:
    kind = registry.resolve("perturbations", name)
    weak, part, strong = scaled(kind(), 0.5), made(name), scaled(kind(), 50.0)
    # constructors refuse impossible amounts
    kind(**{key: getattr(strong, key) for key in kind.amounts})
    assert all(type(getattr(strong, key)) is type(getattr(part, key)) for key in kind.amounts)
    x, p = samples(part)
    network = writer() if part.space == "token" else learner()
    moved = [
        (bound([perturbed], network)[0](x, p, rng())[0] - x).abs().float().mean() for perturbed in (weak, part, strong)
    ]
    assert 0 < moved[0] < moved[1] <= moved[2], "some are at their strongest already"


@pytest.mark.parametrize("name", NAMES)
def test_facing_binds_a_copy_and_a_part_that_is_not_bound_refuses(name: str) -> None:
    part = registry.resolve("perturbations", name)()
    network = writer() if part.space == "token" else learner()
    (part_bound,) = bound((part,), network)
    assert (part_bound is part) == (not hasattr(part, "bind_model"))
    x, p = samples(part)
    if part_bound is part:
        part(x, p, rng())
    else:
        with pytest.raises(RuntimeError, match=r"bind it with bind_model\(network\)"):
            part(x, p, rng())
        first, _ = scaled(part, 0.5).bind_model(network)(x, p, rng())
        assert torch.equal(first, scaled(part_bound, 0.5)(x, p, rng())[0]), "in either order"


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_stay_are_the_very_same_tensor(name: str) -> None:
    part = made(name)
    x, p = samples(part)
    _, perturbed_p = part(x, p, rng())
    # mixing within a class changes labels only where something else has mixed them before
    assert perturbed_p is p or isinstance(part, LatentMixing) or not torch.equal(perturbed_p, p)
    assert perturbed_p is p or part.space != "token" or part.rewrites


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_impossible_strengths_are_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=f"expected a finite strength of at least 0, got {strength}"):
        scaled(Temperature(), strength)


def test_a_part_that_does_not_say_what_makes_it_strong_cannot_be_scaled() -> None:
    class Mirror:
        space = "pixel"

        def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
            return x.flip(-1), p

    assert isinstance(Mirror(), Perturbation)
    with pytest.raises(ValueError, match="expected Mirror to name in 'amounts'"):
        scaled(Mirror(), 0.5)


@pytest.mark.parametrize(
    "part",
    [
        Affine(0, 0, 0, 0),
        Colour(0, 0, 0, 0),
        CropFlip(0, 0),
        CropFlip(0.0, 0),
        CutMix(rate=0),
        Embedded(Noise(0.0, clip=None)),
        Embedded(Mixup(strength=0)),
        LatentJitter(0.0),
        LatentMixing(0.0),
        Mixup(strength=0),
        Noise(0.0),
        Occlusion(0.0),
        MaskSpans(0.0),
        InfillSpans(0.0).bind_model(writer()),
        MixPrompts(0.0).bind_model(writer()),
        ShuffleSegments(0.0),
        RecombineSegments(0.0),
        SwapOpening(0.0),
        Temperature(1, 1),
        Adversarial(0.0).bind_model(learner()),
    ],
    ids=lambda part: type(part).__name__,
)
def test_no_amount_leaves_samples_alone(part: Perturbation) -> None:
    x, p = samples(part)
    perturbed, perturbed_p = part(x, p, rng())
    assert torch.allclose(perturbed, x, atol=1e-5) and torch.equal(perturbed_p, p)


@pytest.mark.parametrize("name", [name for name in NAMES if registry.resolve("perturbations", name).space == "pixel"])
def test_pixels_stay_in_range(name: str) -> None:
    part = scaled(made(name), 10)
    perturbed, _ = part(*samples(part), rng())
    assert perturbed.min() >= 0 and perturbed.max() <= 1


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


@pytest.mark.parametrize("alpha", [0.001, 0.2, 1.0, 8.0])
def test_beta_is_that_of_scipy(alpha: float) -> None:
    drawn = beta(20_000, alpha, torch.device("cpu"), rng())
    expected = scipy.stats.beta(alpha, alpha)
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert abs(drawn.mean() - expected.mean()) < 5 * expected.std() / 20_000**0.5
    assert abs(drawn.var() / expected.var() - 1) < 0.05
    for fraction in (0.1, 0.5, 0.8):
        assert abs((drawn <= fraction).float().mean() - expected.cdf(fraction)) < 5 * 0.5 / 20_000**0.5


def test_mixup_mixes_samples_and_labels_by_the_same_fraction() -> None:
    # samples that are their own labels: whatever the partner, both must be mixed alike
    p = torch.eye(64)
    perturbed, perturbed_p = Mixup(alpha=1.0)(p.view(64, 8, 8), p, rng())
    assert torch.allclose(perturbed.flatten(1), perturbed_p)
    assert ((perturbed_p > 0).sum(dim=1) == 2).all(), "everybody has one partner, never itself"
    assert ((perturbed_p > 0).sum(dim=0) == 2).all(), "and is the partner of one"
    # own weights of Beta(1, 1) are uniform
    assert scipy.stats.kstest(perturbed_p.diagonal().numpy(), "uniform").pvalue > 1e-3
    weak, _ = Mixup(strength=0.25)(p, p, rng())
    assert torch.allclose(1 - weak.diagonal(), 0.25 * (1 - perturbed_p.diagonal()), atol=1e-6)


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


def test_latent_mixing_stays_between_two_codes_of_one_class() -> None:
    z = torch.eye(6).repeat(2, 1) + torch.arange(2.0).repeat_interleave(6)[:, None] * 10
    label = torch.tensor([0] * 6 + [1] * 6)
    p = functional.one_hot(label, 3).float()
    perturbed, perturbed_p = LatentMixing(1.0)(z, p, rng())
    assert torch.equal(perturbed_p, p)
    assert ((perturbed.mean(dim=1) > 5) == (label == 1)).all(), "never mixed across classes"
    across, across_p = LatentMixing(1.0, within_class=False)(z, p, rng())
    assert ((across_p > 0).sum(dim=1) == 2).any()
    fraction = (across.mean(dim=1) - across[label == 0].mean(dim=1).min()) / 10
    assert torch.allclose(across_p[:, 1], (across.mean(dim=1) - 1 / 6) / 10, atol=1e-5), fraction


def test_partners_have_the_same_label_and_are_another_sample() -> None:
    label = torch.tensor([0, 1, 2, 0, 1, 0, 3])
    partner = partners(label, rng())
    assert torch.equal(label[partner], label)
    assert torch.equal(partner.sort().values, torch.arange(7))
    alone = torch.tensor([False, False, True, False, False, False, True])
    assert torch.equal(partner == torch.arange(7), alone)


def test_latent_jitter_is_measured_in_the_spread_of_each_dimension() -> None:
    z = torch.randn(20_000, 3, generator=rng(1)) * torch.tensor([10.0, 1.0, 0.0]) + 5
    noise = LatentJitter(0.6)(z, torch.ones(20_000, 1), rng())[0] - z
    # the strength is uniform in [0, 0.6], so the mean square is 0.36 / 3
    assert torch.allclose(noise.std(dim=0), torch.tensor([10.0, 1.0, 0.0]) * 0.12**0.5, rtol=0.03)
    absolute = LatentJitter(0.6, relative=False)(z, torch.ones(20_000, 1), rng())[0] - z
    assert torch.allclose(absolute.std(dim=0), torch.full((3,), 0.12**0.5), rtol=0.03)
    # codes of many dimensions show the strength that each of them drew
    wide = LatentJitter(0.6, relative=False)(torch.zeros(200, 2000), torch.ones(200, 1), rng())[0].std(dim=1)
    assert scipy.stats.kstest(wide.numpy() / 0.6, "uniform").pvalue > 1e-3


def test_temperature_multiplies_the_noise_by_one_factor_per_dream() -> None:
    z = torch.randn(300, 4, generator=rng(1))
    factor = Temperature(0.5, 2.0)(z, torch.ones(300, 1), rng())[0] / z
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), rtol=1e-4)
    assert scipy.stats.kstest((factor[:, 0].numpy() - 0.5) / 1.5, "uniform").pvalue > 1e-3
    part = scaled(Temperature(0.8, 1.4), 0.5)
    assert (part.low, part.high) == pytest.approx((0.9, 1.2))
    assert (scaled(Temperature(0.8, 1.4), 10).low, scaled(Temperature(0.8, 1.4), 1).high) == (0.0, 1.4)


class Plane(nn.Module):
    """Logits that are linear in the sample, so that the margin falls by a known amount."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0, 0.5, 0.0], [0.0, 1.0, 0.5, -1.0], [-9.0, 0.0, 0.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_adversarial_steps_have_the_length_and_the_direction_of_the_formula(norm: str, steps: int) -> None:
    x = torch.rand(300, 1, 2, 2, generator=rng(1)) + 1
    p = functional.one_hot(torch.zeros(300, dtype=torch.int64), 3).float()
    perturbed, perturbed_p = Adversarial(0.1, steps, norm, clip=None).bind_model(Plane())(x, p, rng())
    assert perturbed_p is p
    # class 1 is the closest other class everywhere here, so the margin falls along the difference of their weights
    fall = torch.tensor([1.0, -3.0, 0.0, 1.0])
    direction = fall.sign() if norm == "linf" else 2 * fall / fall.norm()
    moved = (x - perturbed).flatten(1)
    own = (moved @ direction) / (direction @ direction)
    assert torch.allclose(moved, own[:, None] * direction, atol=1e-6)
    # own distances are uniform: the largest element, or the root mean square
    assert scipy.stats.kstest(own.numpy() / 0.1, "uniform").pvalue > 1e-3
    largest = moved.abs().amax(dim=1) if norm == "linf" else moved.square().mean(dim=1).sqrt()
    assert torch.allclose(largest, own, atol=1e-6) and largest.max() <= 0.1


def test_adversarial_lowers_the_margin_of_a_learner_where_it_can() -> None:
    network = learner().eval()
    x, p = samples(Adversarial())
    label = p.argmax(dim=1, keepdim=True)
    before = margin(network(x), label)
    for part in (Adversarial(0.05), Adversarial(0.05, norm="l2")):
        after = margin(network(part.bind_model(network)(x, p, rng())[0]), label)
        assert (after <= before + 1e-6).all() and (after < before).float().mean() > 0.9
    assert margin(torch.tensor([[1.0, 4.0, 3.0]] * 2), torch.tensor([[1], [0]])).tolist() == [1.0, -3.0]


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_adversarial_leaves_the_learner_as_it_found_it(guard: type) -> None:
    network = learner()
    network[2].eval()  # a frozen normalisation within a network that trains
    state = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    part = Adversarial().bind_model(network)
    x, p = samples(part)
    reference, _ = part(x, p, rng())
    with guard():
        x, p = samples(part)
        perturbed, _ = part(x, p, rng())
        assert torch.is_grad_enabled() == (guard is torch.enable_grad)
    assert torch.equal(perturbed, reference) and not perturbed.requires_grad
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_adversarial_gives_the_mode_back_when_the_learner_fails() -> None:
    network = learner()
    with pytest.raises(RuntimeError):
        Adversarial().bind_model(network)(torch.rand(2, 1, 3, 3), torch.eye(5)[:2], rng())
    assert all(module.training for module in network.modules())
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        Adversarial().bind_model(network)(torch.rand(2, *IMAGE), torch.ones(2, 1), rng())


def block(x: Tensor, y: Tensor) -> Tensor:
    """(B, T) next tokens, those that do not count too."""
    return torch.cat([x[:, 1:], y[:, -1:]], dim=1)


@pytest.mark.parametrize(
    "part", [InfillSpans(1.0), MixPrompts(1.0), RecombineSegments(1.0), ShuffleSegments(1.0), SwapOpening(1.0)]
)
def test_a_text_that_was_rewritten_is_followed_by_its_own_tokens(part: Perturbation) -> None:
    (part,) = bound([part], writer())
    x, y = texts()
    perturbed, targets = part(x, y, rng())
    counts = y != IGNORED
    assert torch.equal(block(perturbed, targets)[counts], targets[counts])
    assert torch.equal(block(perturbed, targets)[~counts][1:], block(x, y)[~counts][1:]) or isinstance(
        part, SwapOpening
    )


def test_masked_spans_hide_the_wanted_fraction_and_leave_what_is_wanted() -> None:
    x = torch.arange(4000)[:, None] * 40 + torch.arange(40)
    y = x + 1
    perturbed, targets = MaskSpans(rate=0.4, span=3)(x, y, rng())
    changed = perturbed != x
    assert targets is y and not changed[:, 0].any(), "an opening stays"
    # rates are uniform in [0, 0.4]; what is drawn is hardly ever the token itself
    assert abs(changed[:, 3:].float().mean() - 0.2) < 0.01
    assert torch.isin(perturbed[:, 1:], y).all(), "tokens of the batch"
    follows = (changed[:, 5:] & changed[:, 4:-1]).float().mean() / changed[:, 4:-1].float().mean()
    assert follows > 0.4, "spans, not single tokens"


def test_an_infilled_span_is_what_the_model_writes_behind_the_text_before_it() -> None:
    x, y = texts()
    part = InfillSpans(1.0, temperature=0.0).bind_model(writer())
    perturbed, targets = part(x, y, rng())
    changed = targets != y
    assert 0.1 < changed.float().mean() < 0.7
    with torch.no_grad():
        likely = writer().eval()(perturbed).argmax(dim=-1)
    assert torch.equal(likely[changed], targets[changed]), "the most likely ones at temperature 0"
    with pytest.raises(ValueError, match="InfillSpans needs a network that writes token by token"):
        InfillSpans().bind_model(learner())


def test_shuffled_segments_are_the_same_tokens_cut_where_they_may_be() -> None:
    x, y = texts(200)
    _, targets = ShuffleSegments(1.0, segments=3)(x, y, rng())
    assert torch.equal(targets.sort(dim=1).values, y.sort(dim=1).values)
    assert (targets != y).any(dim=1).float().mean() > 0.6
    tokens = Tokens.of(["a", "b", ". ", "c"], openings=[[0]])
    y = torch.tensor([[1, 2, 1, 3, 2, 3, 3, 1]]).repeat(200, 1)
    _, targets = ShuffleSegments(1.0, segments=3, ends=[". "], tokens=tokens)(torch.zeros_like(y), y, rng())
    orders = {tokens.write(row) for row in targets.tolist()}
    assert orders <= {"".join(each) for each in itertools.permutations(["b. ", "bc. ", "ccb"])} and len(orders) == 6
    with pytest.raises(ValueError, match=r"expected ends that some token ends with, got \['!'\]"):
        ShuffleSegments(ends=["!"], tokens=tokens)


def test_recombined_segments_come_from_one_other_text_of_the_domain() -> None:
    domain = torch.arange(60) % 3
    y = (torch.arange(60)[:, None] * 20 + torch.arange(20)) * 3 + domain[:, None]
    _, targets = RecombineSegments(1.0, segments=4)(domain[:, None].expand(60, 20), y, rng())
    sources = torch.div(targets, 60, rounding_mode="floor")
    assert torch.equal(targets % 3, domain[:, None].expand(60, 20))
    assert torch.equal(torch.div(targets, 3, rounding_mode="floor") % 20, torch.arange(20).expand(60, 20)), "in place"
    assert all(len(row.unique()) == 2 for row in sources)


def test_openings_are_swapped_where_they_are_as_long() -> None:
    x, y = texts(60)
    y[::2, 1] = IGNORED
    perturbed, targets = SwapOpening(1.0)(x, y, rng())
    assert targets is y
    longer = torch.arange(60) % 2 == 0
    assert torch.equal(perturbed[~longer, 2:], x[~longer, 2:]) and torch.equal(perturbed[longer, 3:], x[longer, 3:])
    assert 0.2 < (perturbed[:, 0] != x[:, 0]).float().mean() < 0.8
    third = {int(token) for token in x[longer, 2]}
    assert {int(token) for token in perturbed[longer, 2]} <= third


class Parrot(nn.Module):
    """Writes 10 or 11, as likely as each other, behind the opening 0, and likewise 12 or 13 behind 1."""

    def new_cache(self, count: int, length: int) -> list[Tensor]:
        return []

    def extend(self, tokens: Tensor, cache: list[Tensor]) -> Tensor:
        cache.append(tokens)
        logits = torch.full((len(tokens), 14), -torch.inf)
        for opening in (0, 1):
            logits[cache[0][:, 0] == opening, 10 + 2 * opening : 12 + 2 * opening] = 0.0
        return logits


def test_mixed_prompts_draw_each_token_from_both_by_a_weight_of_the_texts_own() -> None:
    x = torch.full((600, 300), 10)
    x[:, 0] = torch.arange(600) % 2
    y = torch.cat([x[:, 1:], x[:, 1:2]], dim=1)
    perturbed, targets = MixPrompts(1.0).bind_model(Parrot())(x, y, rng())
    assert torch.equal(perturbed[:, 0], x[:, 0]) and torch.equal(perturbed[:, 1:], targets[:, :-1])
    changed = (targets != y).any(dim=1)
    assert 0.4 < changed.float().mean() < 0.6, "whose partner begins otherwise"
    texts = targets[changed]
    odd = (texts % 2 == 1).float().mean(dim=1)
    assert ((odd - 0.5).abs() < 5 * 0.5 / 300**0.5).all(), "each opening's own distribution"
    others = ((texts >= 12) != (x[changed, :1] == 1)).float().mean(dim=1)
    assert scipy.stats.kstest(others.numpy(), "uniform").pvalue > 1e-3
    half, _ = MixPrompts(0.5).bind_model(Parrot())(x, y, rng())
    assert 0.2 < (half != x).any(dim=1).float().mean() < 0.3


def test_mixed_prompts_are_what_one_model_says_behind_either() -> None:
    x, y = texts()
    model = writer().eval()
    perturbed, targets = MixPrompts(1.0, temperature=0.0).bind_model(model)(x, y, rng())
    weights = torch.linspace(0, 1, 500)[:, None, None]
    written = (targets != y).any(dim=1).nonzero().flatten().tolist()
    assert len(written) > 8
    for row in written:
        behind = perturbed[row].repeat(4, 1)
        behind[:, 0] = torch.arange(4)
        with torch.no_grad():
            said = model(behind).softmax(dim=-1)
        counts = y[row] != IGNORED
        explained = [
            (torch.lerp(said[x[row, 0]], said[other], weights).argmax(dim=-1) == targets[row])[:, counts].all(dim=1)
            for other in range(4)
            if other != x[row, 0]
        ]
        assert torch.stack(explained).any(), "one other opening and one weight for the whole text"


def test_prompts_of_another_length_are_not_mixed() -> None:
    x, y = texts(8)
    y[::2, 1] = IGNORED
    # among the even texts openings are equal, too
    x[::2, :3] = x[0, :3]
    perturbed, targets = MixPrompts(1.0).bind_model(writer())(x, y, rng())
    assert torch.equal(perturbed[::2], x[::2]) and torch.equal(targets[::2], y[::2])
    assert not torch.equal(targets[1::2], y[1::2])
    same, same_targets = MixPrompts(1.0).bind_model(writer())(x[::2], y[::2], rng())
    assert torch.equal(same, x[::2]) and torch.equal(same_targets, y[::2])
    with pytest.raises(ValueError, match="MixPrompts needs a network that writes token by token"):
        MixPrompts().bind_model(learner())


def test_perturbations_are_applied_in_order() -> None:
    x, p = samples(Noise())
    dark_first, _ = perturb([Occlusion(1.0), Noise(1.0)], x, p, rng())
    noise_first, _ = perturb([Noise(1.0), Occlusion(1.0)], x, p, rng())
    assert (noise_first == 0).float().mean() > (dark_first == 0).float().mean()


@pytest.mark.parametrize("part", [Affine(), Colour(), CropFlip(), CutMix(), Occlusion()])
def test_what_is_no_image_is_refused(part: Perturbation) -> None:
    with pytest.raises(ValueError, match=r"perturbs images of shape .* got samples of shape \(3, 8\)"):
        part(torch.rand(3, 8), torch.ones(3, 1), rng())


@pytest.mark.parametrize(
    "part",
    [
        Adversarial().bind_model(learner()),
        Affine(),
        Colour(),
        Embedded(),
        LatentJitter(),
        Mixup(),
        Noise(),
        Temperature(),
    ],
    ids=lambda part: type(part).__name__,
)
def test_integers_are_refused(part: Perturbation) -> None:
    with pytest.raises(ValueError, match="floating-point"):
        part(torch.ones(2, 1, 4, 4, dtype=torch.int64), torch.ones(2, 1), rng())


@pytest.mark.parametrize(
    ("part", "options"),
    [
        (Adversarial, {"epsilon": -1}),
        (Adversarial, {"steps": 0}),
        (Adversarial, {"norm": "l1"}),
        (Affine, {"degrees": -1}),
        (Colour, {"contrast": -1}),
        (Colour, {"hue": 0.6}),
        (CropFlip, {"padding": -1}),
        (CropFlip, {"padding": 1.5}),
        (CropFlip, {"flip": 1.5}),
        (CutMix, {"alpha": 0}),
        (CutMix, {"rate": 2}),
        (LatentJitter, {"std": -0.1}),
        (LatentMixing, {"strength": 2}),
        (Mixup, {"alpha": 0}),
        (Mixup, {"strength": 2}),
        (Noise, {"std": -0.1}),
        (Occlusion, {"rate": 2}),
        (Occlusion, {"tile": 0}),
        (InfillSpans, {"rate": 2}),
        (InfillSpans, {"temperature": -1}),
        (InfillSpans, {"top_p": 0}),
        (MaskSpans, {"rate": -1}),
        (MixPrompts, {"rate": 2}),
        (MixPrompts, {"top_k": 0}),
        (MaskSpans, {"span": 0}),
        (RecombineSegments, {"segments": 1}),
        (ShuffleSegments, {"rate": 2}),
        (ShuffleSegments, {"segments": 1}),
        (SwapOpening, {"rate": 2}),
        (Temperature, {"low": -1}),
        (Temperature, {"low": 2}),
    ],
)
def test_impossible_amounts_are_refused(part: type, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"expected .*got '?{next(iter(options.values()))}"):
        part(**options)
