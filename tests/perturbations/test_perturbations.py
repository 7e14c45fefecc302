"""Every perturbation keeps the same promises."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.config import registry
from dreamer.core.tokens import IGNORED
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
from tests.helpers.perturbed import IMAGE, learner, rng, texts, writer

NAMES = registry.names("perturbations")


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
