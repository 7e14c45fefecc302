"""Perturbed and adversarial dreaming: each phase teaches whom it should, and all arms take as many steps."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dreamer.config.binding import ConfigError
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch
from dreamer.perturbations import Occlusion
from dreamer.studies import study
from dreamer.studies.experiments import base, pad
from dreamer.studies.experiments.pad import Decoder, Encoder, PerturbedAdversarialDreaming

SHAPE = (3, 16, 16)
SMALL: dict[str, Any] = {
    "stream": {"name": "digits"},
    "steps": 12,
    "filters": 4,
    "latent_dim": 6,
    "batch_size": 16,
    "looks": 2,
}


def built(**changes: Any) -> PerturbedAdversarialDreaming:
    name = "dreamer.studies.experiments.pad.PerturbedAdversarialDreaming"
    experiment = base.of({"name": name, **SMALL, **changes})
    assert isinstance(experiment, PerturbedAdversarialDreaming)
    return experiment


@pytest.fixture
def pair() -> tuple[Encoder, Decoder]:
    """An encoder and a decoder with weights of a size at which everything matters."""
    torch.manual_seed(1)
    both = Encoder(SHAPE, 4, 6), Decoder(SHAPE, 4, 6)
    for network in both:
        for weight in network.parameters():
            nn.init.normal_(weight, 0.0, 0.2)
    return both


def images(count: int = 8) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(2)) * 2 - 1


def taught(network: nn.Module) -> set[str]:
    """Which parts of a network have a gradient."""
    return {name.split(".")[0] for name, weight in network.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize(("side", "halvings"), [(8, 1), (16, 2), (32, 3)])
def test_codes_become_images_of_the_shape_they_come_from(side: int, halvings: int) -> None:
    encoder, decoder = Encoder((1, side, side), 4, 6), Decoder((1, side, side), 4, 6)
    codes, real = encoder(torch.rand(5, 1, side, side))
    assert codes.shape == (5, 6) and real.shape == (5,)
    assert decoder(codes).shape == (5, 1, side, side)
    assert decoder(100 * codes).abs().max() <= 1
    assert sum(isinstance(layer, nn.Conv2d) for layer in encoder.trunk) == halvings


def test_networks_of_the_paper_have_as_many_weights() -> None:
    # network.py of the official code with nz = 256, nf = 64 and three channels, added up by hand
    encoder = (3 * 64 + 64 * 128 + 128 * 256 + 256 * 256 + 256) * 16 + 64 + 128 + 256 + 256 + 1
    decoder = (256 * 256 + 256 * 128 + 128 * 64 + 64 * 3) * 16 + 256 + 128 + 64 + 3
    for network, expected in (
        (Encoder((3, 32, 32), 64, 256), encoder),
        (Decoder((3, 32, 32), 64, 256), decoder),
    ):
        assert sum(weight.numel() for weight in network.parameters()) == expected


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 16), (1, 4, 4), (64,)])
def test_images_that_cannot_be_halved_down_to_four_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a side of 8, 16, 32"):
        Encoder(shape, 4, 6)


def test_spread_is_the_divergence_of_a_normal_distribution_of_the_same_moments() -> None:
    codes = 1.5 * torch.randn(50, 3) + torch.tensor([0.0, 1.0, -2.0])
    fitted = torch.distributions.Normal(codes.mean(dim=0), codes.std(dim=0))
    standard = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    expected = torch.distributions.kl_divergence(fitted, standard).mean()
    assert torch.allclose(pad.spread(codes), expected, atol=1e-5)


def test_awake_both_learn_and_what_is_real_only_where_there_are_dreams(pair) -> None:
    encoder, decoder = pair
    x, noise = images(), torch.zeros(8, 6)
    quiet, codes = pad.wake(encoder, decoder, x, noise, discriminate=False)
    quiet.backward()
    assert taught(encoder) == {"trunk", "code"} and taught(decoder)
    telling, again = pad.wake(encoder, decoder, x, noise, discriminate=True)
    assert torch.equal(codes, again) and not codes.requires_grad
    # -log sigmoid, by hand
    assert torch.allclose(telling - quiet, torch.log1p((-encoder(x)[1]).exp()).mean(), atol=1e-5)
    expected = (decoder(codes) - x).square().mean() + pad.spread(codes)
    assert torch.allclose(quiet, expected, atol=1e-5)


def test_in_nrem_the_encoder_alone_learns_to_see_through_occlusion(pair) -> None:
    encoder, decoder = pair
    codes = torch.randn(8, 6)
    clear = pad.nrem(encoder, decoder, codes, Occlusion(rate=0.0, tile=1), randoms(1, Purpose.PERTURB))
    assert torch.allclose(clear, (encoder(decoder(codes))[0] - codes).square().mean())
    hidden = pad.nrem(encoder, decoder, codes, Occlusion(rate=1.0, tile=8), randoms(1, Purpose.PERTURB))
    assert not torch.isclose(hidden, clear)
    hidden.backward()
    assert taught(encoder) == {"trunk", "code"} and not taught(decoder)


def test_in_rem_encoder_and_decoder_want_opposite_things(pair) -> None:
    encoder, decoder = pair
    codes = torch.randn(8, 6)

    def seen_through() -> Tensor:
        return -torch.log1p(-encoder(decoder(codes))[1].sigmoid()).mean()

    loss = pad.rem(encoder, decoder, codes)
    assert torch.allclose(loss, seen_through(), atol=1e-5)
    loss.backward()
    assert taught(encoder) == {"trunk", "real"}
    found = [
        weight.grad.clone()
        for network in (encoder, decoder)
        for weight in network.parameters()
        if weight.grad is not None
    ]
    weights = [*encoder.trunk.parameters(), *encoder.real.parameters(), *decoder.parameters()]
    plain = torch.autograd.grad(seen_through(), weights)
    signs = [1.0] * (len(weights) - len(list(decoder.parameters()))) + [-1.0] * len(list(decoder.parameters()))
    assert len(found) == len(plain)
    for mine, gradient, sign in zip(found, plain, signs, strict=True):
        assert torch.allclose(mine, sign * gradient, atol=1e-5)


def test_what_is_dreamt_of_is_two_memories_and_noise() -> None:
    one, two, noise = torch.randn(3, 4000, 2)
    assert torch.allclose(pad.combined(one, two, noise), 0.25 * one + 0.25 * two + 0.5 * noise)
    assert math.isclose(float(pad.combined(one, two, noise).var()), 2 / 16 + 1 / 4, rel_tol=0.1)


def turns(
    monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any
) -> tuple[list[str], list[Tensor], base.CellResult]:
    """The phases of a run in their order, the images of its wake phases, and its results."""
    order: list[str] = []
    seen: list[Tensor] = []

    def spy(name: str, phase: Any, encoder: Any, decoder: Any, x: Tensor, *rest: Any, **by: Any) -> Any:
        order.append(name)
        if name == "wake":
            seen.append(x.clone())
        return phase(encoder, decoder, x, *rest, **by)

    with monkeypatch.context() as patch:
        for name in ("wake", "nrem", "rem"):
            patch.setattr(pad, name, partial(spy, name, getattr(pad, name)))
        results = built(**changes).run(1, folder)
    return order, seen, results


@pytest.mark.slow
def test_every_arm_takes_as_many_steps_and_begins_alike(tmp_path, monkeypatch) -> None:
    order, seen, results = turns(monkeypatch, tmp_path)
    assert order == ["wake", "nrem", "rem"] * 4
    without, more, other = turns(monkeypatch, tmp_path, phases=["wake", "nrem"])
    assert without == ["wake", "nrem"] * 6
    assert all(torch.equal(one, two) for one, two in zip(seen, more, strict=False))
    first, second = ({name: values[0] for name, values in each["curves"].items()} for each in (results, other))
    assert first == second
    assert results["curves"]["step"] == [0.0, 6.0, 12.0]
    assert results["outcomes"] != other["outcomes"]


def test_an_epoch_shows_every_image_once() -> None:
    batches = pad._batches(10, 3, randoms(1, Purpose.ORDER))
    epochs = [torch.cat([next(batches) for _ in range(3)]) for _ in range(2)]
    assert all(len(set(epoch.tolist())) == 9 for epoch in epochs)
    assert not torch.equal(*epochs)


def test_the_published_probe_reads_what_is_linear_in_codes() -> None:
    codes = torch.randn(600, 5, generator=torch.Generator().manual_seed(1))
    y = codes[:, :3].argmax(dim=1)
    reader = pad.gradient_probe(codes[:400], y[:400], 64, randoms(1, Purpose.EVALUATION))
    assert (reader(codes[400:]).argmax(dim=1) == y[400:]).float().mean() > 0.9
    blind = pad.gradient_probe(codes[:400, 3:], y[:400], 64, randoms(1, Purpose.EVALUATION))
    assert (blind(codes[400:, 3:]).argmax(dim=1) == y[400:]).float().mean() < 0.5


@pytest.mark.slow
def test_a_run_is_repeatable_and_draws_what_it_saw(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first = built().run(3, tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert first == built().run(3, tmp_path)
    with Image.open(tmp_path / first["picture"]) as picture:
        assert picture.height == 2 * 10 * 8
    assert set(first["outcomes"]) == set(PerturbedAdversarialDreaming.measures)
    assert 0.1 < first["outcomes"]["occluded"] < first["outcomes"]["accuracy"] < 1


def test_pictures_show_all_classes_where_images_lie_in_order() -> None:
    shape = (1, 8, 8)
    unseen = Batch(torch.zeros(5000, *shape), torch.arange(5000) // 500)
    shown = built()._pictures(Encoder(shape, 4, 6), Decoder(shape, 4, 6), unseen, 1)
    assert len(shown) == 4
    for group in shown:
        assert set(group.y.tolist()) == set(range(10)) and 0 <= group.x.min() <= group.x.max() <= 1


@pytest.mark.slow
def test_a_decoder_learns_to_make_images_again(tmp_path: Path) -> None:
    results = built(steps=300, lr=0.002, filters=8, latent_dim=16).run(1, tmp_path)
    first, *_, last = results["curves"]["error"]
    assert last < 0.6 * first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": ["nrem"]}, "phases that begin with wake"),
        ({"phases": ["wake", "rem", "rem"]}, "each once"),
        ({"phases": ["wake", "dusk"]}, "dusk"),
        ({"steps": 0}, "at least 1"),
        ({"batch_size": 1}, "at least 2"),
        ({"latent_noise": -1.0}, "at least 0"),
        ({"stream": {"name": "digit"}}, "did you mean 'digits'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        built(**changes)


def test_a_day_of_less_than_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one batch of 16"):
        built(samples=5).run(1, tmp_path)


def test_the_study_holds_all_phases_against_no_rem() -> None:
    loaded = study.load("pad")
    (primary, *_) = loaded.primary
    assert (primary.arm, primary.against, primary.outcome) == ("full", "without_rem", "accuracy")
    assert len({cell.settings["steps"] for cell in loaded.cells if cell.data == primary.data}) == 1
