"""Samples that do not lie in [0, 1], under parts that are made for pixels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dreamer.core.types import Batch
from dreamer.generators import GAN, VAE, BrainInspired, ClassConditionalVAE
from dreamer.loop.values import Values, generator_for, stage_for
from dreamer.perturbations import Adversarial, Affine, Colour, Noise, scaled
from dreamer.stages import REM

MEAN = torch.tensor([0.49, 0.48, 0.44]).view(3, 1, 1)
STD = torch.tensor([0.25, 0.24, 0.26]).view(3, 1, 1)


def images() -> torch.Tensor:
    x = torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x[0], x[1] = 0.0, 1.0
    return x


def normalised(x: torch.Tensor) -> torch.Tensor:
    return (x - MEAN) / STD


def applied(part: Any, x: torch.Tensor) -> torch.Tensor:
    p = torch.eye(3)[torch.arange(len(x)) % 3]
    return part(x, p, torch.Generator().manual_seed(1))[0]


def test_pixels_and_whole_numbers_have_no_range_of_their_own() -> None:
    assert Values.of(images()) is None
    assert Values.of(images() + 1e-4) is None
    assert Values.of((255 * images()).to(torch.uint8)) is None


def test_images_have_a_range_for_each_channel_and_other_samples_one() -> None:
    found = Values.of(normalised(images()))
    assert found is not None
    assert torch.allclose(found.low, -MEAN / STD) and torch.allclose(found.high, (1 - MEAN) / STD)
    table = Values.of(torch.tensor([[-1.0, 3.0], [0.0, 1.0]]))
    assert table is not None and (float(table.low), float(table.high)) == (-1.0, 3.0)


@pytest.mark.parametrize("part", [Noise(0.2), Colour(), scaled(Noise(0.2), 2)])
def test_normalised_images_are_perturbed_as_the_images_that_they_were(part: Any) -> None:
    values = Values.of(normalised(images()))
    (fitted,) = stage_for(REM(perturbations=[part]), values).replayer.perturbations or ()
    assert torch.allclose(applied(fitted, normalised(images())), normalised(applied(part, images())), atol=1e-5)
    halved = applied(scaled(fitted, 0.5), normalised(images()))
    assert torch.allclose(halved, normalised(applied(scaled(part, 0.5), images())), atol=1e-5)


def test_the_learner_sees_its_own_range() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    on_pixels = nn.Sequential(_Normalise(), network)
    part = Adversarial(0.2)
    (fitted,) = stage_for(REM(perturbations=[part]), Values.of(normalised(images()))).replayer.perturbations or ()
    got = applied(fitted.bind_model(network), normalised(images()))  # type: ignore[attr-defined]
    wanted = normalised(applied(part.bind_model(on_pixels), images()))
    assert torch.allclose(got, wanted, atol=1e-4)
    assert not torch.allclose(got, normalised(images()), atol=1e-2)


class _Normalise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return normalised(x)


def test_what_needs_no_pixels_and_ranges_of_ones_own_stay() -> None:
    values, own = Values.of(normalised(images())), [Noise(clip=None), Noise(clip=(-3, 3)), Affine()]
    assert stage_for(REM(perturbations=own), values).replayer.perturbations == tuple(own)
    stage = REM(perturbations=[Noise()])
    assert stage_for(stage, None) is stage


@pytest.mark.parametrize("kind", [VAE, ClassConditionalVAE, GAN])
def test_a_generator_of_pixels_dreams_in_the_range(kind: type) -> None:
    torch.manual_seed(0)
    shape, options = (3, 8, 8), {"latent_dim": 4} if kind is not GAN else {}
    x = normalised(torch.rand(24, *shape))
    values = Values.of(x)
    assert values is not None
    generator = kind(shape, 2, **options)
    fitted = generator_for(generator, values)
    rng, y = torch.Generator().manual_seed(0), torch.arange(24) % 2
    wanted = generator.loss(values.enter(x), y, torch.Generator().manual_seed(0))
    assert torch.equal(fitted.loss(x, y, rng), wanted)
    fitted.end_experience([Batch(x, y)], 0, rng)
    dream = fitted.dream(torch.tensor([0, 1, 1]), rng)
    assert fitted.dreamable.all() and fitted.num_classes == 2
    assert bool((dream.x >= values.low - 1e-4).all()) and bool((dream.x <= values.high + 1e-4).all())
    assert float(dream.x.min()) < 0.0


def test_a_generator_that_works_with_the_learner_stays_as_it_is() -> None:
    generator = BrainInspired((1, 8, 8), 2)
    assert generator_for(generator, Values(torch.tensor(-1.0), torch.tensor(1.0))) is generator
    gaussian = VAE((4,), 2, likelihood="gaussian")
    assert generator_for(gaussian, Values(torch.tensor(-1.0), torch.tensor(1.0))) is gaussian
