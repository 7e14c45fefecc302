"""Nights on samples that do not lie in [0, 1], as most vision scripts normalise them."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from dreamer import NREM, REM, SleepCallback
from dreamer.generators import ClassConditionalVAE
from dreamer.memory import ClassBalanced
from dreamer.perturbations import Colour, Noise
from tests.callbacks.test_sleep import fit, make_module, samples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


def normalised(x: torch.Tensor) -> torch.Tensor:
    return (x - 0.3) / 0.3


def data(scale: Any = normalised) -> DataLoader:
    x, y = samples(range(4)).tensors
    return DataLoader(TensorDataset(scale(x), y), batch_size=32)


def dreams(callback: SleepCallback, loader: DataLoader, **options: Any) -> torch.Tensor:
    module = fit(pl, callback, data=loader, **{"max_epochs": 1, **options})
    return torch.cat([x for _, asleep, _, x in module.seen if asleep])


def sleep(*perturbations: Any, **options: Any) -> SleepCallback:
    night = [REM(3, batch_size=32, perturbations=list(perturbations))]
    return SleepCallback(night, schedule=1, **options)


@pytest.mark.parametrize("part", [Noise(0.2), Colour()])
def test_dreams_of_normalised_images_are_those_of_the_images(part: Any) -> None:
    raw, scaled = dreams(sleep(part), data(lambda x: x)), dreams(sleep(part), data())
    assert torch.allclose(scaled, normalised(raw), atol=1e-4)
    assert float(scaled.min()) == pytest.approx(-1.0, abs=1e-4) and float(scaled.max()) > 2.0


def test_a_generator_dreams_of_normalised_images_as_of_the_images() -> None:
    def made(scale: Any) -> torch.Tensor:
        torch.manual_seed(0)
        generator = ClassConditionalVAE((1, 8, 8), 10, latent_dim=4, hidden=[32])
        night = [NREM(3, source="generator", batch_size=32)]
        return dreams(SleepCallback(night, generator=generator, schedule=1), data(scale))

    assert torch.allclose(made(normalised), normalised(made(lambda x: x)), atol=1e-4)


def test_the_range_of_the_first_batch_is_kept_and_saved(tmp_path: Any) -> None:
    first = sleep(Noise(0.2))
    module = fit(pl, first, data=data(), max_epochs=1)
    module.trainer.save_checkpoint(tmp_path / "one.ckpt")
    torch.load(tmp_path / "one.ckpt", weights_only=True)
    # what comes later may be wider: its dreams are not
    second = sleep(Noise(0.2))
    wide = data(lambda x: 3 * normalised(x))
    resumed = make_module(pl)
    fit(pl, second, resumed, wide, max_epochs=2, ckpt_path=tmp_path / "one.ckpt")
    made = torch.cat([x for _, asleep, _, x in resumed.seen if asleep])
    assert float(made.min()) >= -1.001 and float(made.max()) <= 7 / 3 + 0.001


def test_pixels_are_left_alone() -> None:
    callback = sleep(Noise(0.2))
    dreams(callback, data(lambda x: x))
    assert callback.state.values is None


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (sleep(Noise(clip=(0, 2))), r"Noise clips to \[0, 2\], the day has -1 to 2\.\d+: expected clip=None"),
        (sleep(Noise(), memory=ClassBalanced(9, store="uint8")), r"ClassBalanced is for .* expected store='float32'"),
    ],
)
def test_what_cannot_be_fitted_is_refused_at_the_first_batch(callback: SleepCallback, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(pl, callback, data=data())


def test_a_perturbation_of_other_samples_is_refused_at_the_first_batch() -> None:
    x, y = samples(range(4)).tensors
    with pytest.raises(ValueError, match=r"night stage 0.*Colour perturbs images"):
        fit(pl, sleep(Colour()), data=DataLoader(TensorDataset(x.flatten(1), y), batch_size=32))


def test_a_batch_of_one_sample_before_batch_norm_is_named() -> None:
    x, y = samples(range(4)).tensors
    module = make_module(pl)
    module.body.append(torch.nn.BatchNorm1d(64))
    loader = DataLoader(TensorDataset(x[:33], y[:33]), batch_size=32)
    with (
        pytest.warns(UserWarning, match=r"batch 1 of the loader has one sample.*drop_last=True"),
        pytest.raises(ValueError, match="more than 1 value per channel"),
    ):
        fit(pl, sleep(), module, loader)
