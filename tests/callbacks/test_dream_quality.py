"""The dreams of every night beside held-out data: right numbers, in the right places, the run unchanged."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

import dreamer
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.dream_quality import MEASURES, DreamQuality, _measured
from dreamer.callbacks.run_folder import RunFolder
from dreamer.config.binding import ConfigError
from dreamer.core.types import Batch
from dreamer.generators import VAE
from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.memory import ClassBalanced
from dreamer.problems import Classification
from dreamer.report.pictures import draw_neighbours
from dreamer.report.results import read_results
from dreamer.stages import NREM
from dreamer.streams import from_tensors
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

FRACTIONS = ("precision", "recall", "fidelity", "coverage", "balance")


class Knowing(nn.Module):
    """Its features are the sample; the class is where the sample is largest."""

    def features(self, x: Tensor) -> Tensor:
        return x

    def classify(self, h: Tensor) -> Tensor:
        return 10 * h

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))


def batch(count: int, seed: int, classes: int = 3) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    return Batch(nn.functional.one_hot(y, classes) + 0.2 * torch.rand(count, classes, generator=rng), y)


def measured(dreams: Batch, real: Batch) -> dict[str, Any]:
    module: Any = SimpleNamespace(network=Knowing(), problem=Classification(), device=torch.device("cpu"))
    return _measured(module, dreams, real)[0]


def test_dreams_that_are_the_real_data_are_perfect_and_nothing_new() -> None:
    real = batch(60, 1)
    found = measured(real, real)
    assert {name: found[name] for name in FRACTIONS} == pytest.approx(dict.fromkeys(FRACTIONS, 1.0))
    assert (found["frechet"], found["diversity"], found["novelty"]) == pytest.approx((0.0, 1.0, 0.0), abs=1e-9)


def test_other_real_data_are_as_new_as_real_data_are_to_each_other() -> None:
    found = measured(batch(300, 2), batch(300, 1))
    assert found["novelty"] == pytest.approx(1.0, abs=0.15)
    assert found["diversity"] == pytest.approx(1.0, abs=0.05)
    assert found["frechet"] < 0.02


def test_a_generator_that_always_says_the_same_shows() -> None:
    real = batch(60, 1)
    same = Batch(real.x[:1].expand(60, -1), real.y)
    found = measured(same, real)
    assert found["coverage"] == pytest.approx(1 / 3)
    assert found["balance"] == found["diversity"] == 0.0
    assert found["fidelity"] == pytest.approx(1 / 3)
    assert found["precision"] == 1.0 and found["recall"] < 0.1


def test_dreams_that_are_no_numbers_are_not_measured_and_it_is_said() -> None:
    dreams, real = batch(60, 1), batch(60, 2)
    dreams.x[3, 0] = torch.nan
    with pytest.warns(UserWarning, match="NaN or infinite"):
        assert measured(dreams, real) == dict.fromkeys(MEASURES)


def test_few_samples_leave_out_what_they_cannot_measure() -> None:
    found = measured(batch(1, 2), batch(1, 1))
    assert {name for name in MEASURES if found[name] is None} == {
        "frechet", "precision", "recall", "diversity", "novelty",
    }  # fmt: skip


def trained(folder: Path | None, stop: pl.Callback | None = None, **changes: Any) -> tuple[Any, DreamQuality]:
    stream = changes.pop("stream", None) or tiny_stream()
    ckpt = changes.pop("ckpt_path", None)
    quality = DreamQuality(folder, **changes.pop("quality", {}))
    module = tiny_module(stream, **changes)
    callbacks = [quality] if folder is None else [RunFolder(folder), quality, RunCheckpoint(folder / "checkpoints")]
    logger = False if folder is None else ResumableCSVLogger(folder)
    train(module, stream, ckpt_path=ckpt, callbacks=[*callbacks, *([stop] if stop else [])], logger=logger)
    return module, quality


def test_a_run_that_is_measured_is_the_same_run() -> None:
    alone = tiny_module(tiny_stream())
    train(alone, tiny_stream())
    torch.rand(3)
    seen, quality = trained(None)
    assert len(quality.rows) == 3
    assert seen.results()["accuracy_matrix"] == alone.results()["accuracy_matrix"]
    for name, weight in seen.state_dict().items():
        assert torch.equal(weight, alone.state_dict()[name]), name


def test_every_night_is_in_the_results_the_log_and_a_picture(tmp_path: Path) -> None:
    _, quality = trained(tmp_path)
    rows = read_results(tmp_path)["dreams"]
    assert [row["night"] for row in rows] == [0, 1, 2]
    # a quarter of twelve samples of two more classes each night
    assert [row["samples"] for row in rows] == [6, 12, 18]
    assert rows == quality.rows
    for row in rows:
        assert all(0 <= row[name] <= 1 for name in FRACTIONS)
        assert (tmp_path / "dream_quality" / f"night_{row['night']:02d}.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        logged = [line for line in csv.DictReader(file) if line["dreams/recall"]]
    assert [(float(line["sleep/night"]), int(line["step"])) for line in logged] == [
        (row["night"], row["global_step"]) for row in rows
    ]
    assert [float(line["dreams/novelty"]) for line in logged] == [row["novelty"] for row in rows]


class Stop(pl.Callback):
    """Raises at a step, as a bug or a full disk would."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("broken off")


@pytest.mark.slow
def test_a_resumed_run_has_the_rows_of_all_its_nights(tmp_path: Path) -> None:
    whole, quality = trained(tmp_path / "whole")
    second = whole.hypnogram[5]
    with pytest.raises(RuntimeError, match="broken off"):
        trained(tmp_path / "cut", stop=Stop(second.first_step + second.steps + 2))
    saved = next((tmp_path / "cut" / "checkpoints").glob("*.ckpt"))
    _, resumed = trained(tmp_path / "cut", ckpt_path=str(saved))
    assert resumed.rows == quality.rows
    assert read_results(tmp_path / "cut")["dreams"] == read_results(tmp_path / "whole")["dreams"]


def test_without_held_out_data_or_dreams_nothing_is_measured(tmp_path: Path) -> None:
    _, quality = trained(tmp_path / "none", stream=tiny_stream(validation=0.0))
    assert quality.rows == [] and not (tmp_path / "none" / "dream_quality").exists()
    assert read_results(tmp_path / "none")["dreams"] == []
    _, quality = trained(tmp_path / "days", night=[])
    assert quality.rows == []


def test_every_other_night_and_fewer_samples(tmp_path: Path) -> None:
    _, quality = trained(tmp_path, quality={"every": 2, "samples": 7})
    assert [(row["night"], row["samples"]) for row in quality.rows] == [(0, 6), (2, 7)]


def test_a_memory_keeps_real_samples() -> None:
    _, quality = trained(None, generator=None, memory=ClassBalanced(100), night=[NREM(2, 8)])
    assert len(quality.rows) == 3
    # real samples, so as far from the held-out ones as these from each other
    assert all(row["precision"] > 0.8 and 0.5 < row["novelty"] < 1.5 for row in quality.rows)


def test_samples_that_are_no_images_have_numbers_and_no_picture(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(3)
    y = torch.arange(240) % 4
    x = torch.randn(240, 2, 3, 2, 2, generator=rng) + y.view(-1, 1, 1, 1, 1)
    stream = from_tensors(x[:160], y[:160], x[160:], y[160:], experiences=2, validation=0.25)
    generator = VAE(stream.sample_shape, 4, 2, (8,), likelihood="gaussian")
    _, quality = trained(tmp_path, stream=stream, generator=generator, night=[NREM(2, 8)])
    assert len(quality.rows) == 2 and all(row["recall"] is not None for row in quality.rows)
    assert not (tmp_path / "dream_quality").exists()


def test_neighbours_are_the_nearest_ones_and_rows_the_classes(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(5)
    real = Batch(torch.rand(12, 1, 5, 5, generator=rng), torch.arange(12) % 3)
    dreams = Batch(real.x + 0.01, real.y)
    path = draw_neighbours(dreams, torch.rand(12, generator=rng), real, tmp_path / "a.png", ["ant", "bee"])
    assert path is not None and path.read_bytes().startswith(b"\x89PNG")
    few = Batch(dreams.x[:1], dreams.y[:1])
    assert draw_neighbours(few, torch.ones(1), real, tmp_path / "b.png") is not None
    unseen = Batch(torch.rand(3, 2, 2, 2, 2), torch.zeros(3, dtype=torch.int64))
    assert draw_neighbours(unseen, torch.ones(3), unseen, tmp_path / "c.png") is None


def test_the_picture_nearest_to_dreamt_features_is_shown(tmp_path: Path) -> None:
    real = Batch(torch.tensor([[0.0, 0.0], [9.0, 9.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    dreams = Batch(torch.tensor([[8.0, 8.0], [0.9, 0.0]]), torch.tensor([0, 1]))
    asked = []

    def picture_of(row: int) -> torch.Tensor:
        asked.append(row)
        return torch.full((3, 4, 4), row / 3)

    path = draw_neighbours(dreams, torch.ones(2), real, tmp_path / "a.png", ["ant", "bee"], picture_of)
    assert path is not None and path.is_file()
    # of each class its held-out samples, then the one that is nearest to its dream
    assert asked == [0, 1, 1, 2, 2]


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"every": 0}])
def test_numbers_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="of at least 1, got 0"):
        DreamQuality(**wrong)


SHORT = ["digits", "stream.experiences=2", "wake.steps=5", "night.0.steps=2", "night.1.steps=2"]


def test_it_is_on_by_default_where_possible_and_can_be_switched_off(tmp_path: Path) -> None:
    found = dreamer.run(*SHORT, "dream_quality.samples=20", out=str(tmp_path / "on"))
    assert [row["samples"] for row in found["dreams"]] == [20, 20]
    found = dreamer.run(*SHORT, "dream_quality=null", out=str(tmp_path / "off"))
    assert "dreams" not in found
    with pytest.raises(ConfigError, match=r"dream_quality\.sample: unknown .*did you mean 'samples'"):
        dreamer.run(*SHORT, "dream_quality.sample=3", out=str(tmp_path / "wrong"))
