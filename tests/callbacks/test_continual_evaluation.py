"""Evaluations within stages: the right numbers in the right places, and a run that comes out the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

import dreamer
from dreamer.callbacks import ContinualEvaluation, RunCheckpoint, RunFolder
from dreamer.config.binding import ConfigError
from dreamer.core.modes import evaluating
from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.memory import ClassBalanced
from dreamer.problems import Regression
from dreamer.report.results import metrics_of, read_results, write_results
from dreamer.stages import Wake
from dreamer.streams.base import TensorSamples, make_stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train


def trained(
    folder: Path | None = None, every: int = 2, stop: pl.Callback | None = None, **changes: Any
) -> tuple[Any, ContinualEvaluation]:
    stream = changes.pop("stream", None) or tiny_stream()
    ckpt, options = changes.pop("ckpt_path", None), changes.pop("options", {})
    watcher = ContinualEvaluation(every)
    module = tiny_module(stream, **changes)
    callbacks: list[pl.Callback] = [watcher]
    if folder is not None:
        # the checkpoint is written after the evaluation of its step, wherever it stands in the list
        callbacks = [RunCheckpoint(folder / "checkpoints", every_n_steps=1), RunFolder(folder), watcher]
        options["logger"] = ResumableCSVLogger(folder)
    train(module, stream, ckpt_path=ckpt, callbacks=[*callbacks, *([stop] if stop else [])], **options)
    return module, watcher


def numbers(rows: list[Any]) -> list[Any]:
    return json.loads(json.dumps(rows))


def test_a_run_with_it_is_the_same_run() -> None:
    alone = tiny_module(tiny_stream())
    train(alone, tiny_stream())
    torch.rand(3)
    seen, watcher = trained(every=1)
    assert len(watcher.rows) == sum(stage.steps for stage in seen.hypnogram if stage.experience)
    assert seen.results()["accuracy_matrix"] == alone.results()["accuracy_matrix"]
    assert seen.results()["cost"]["optimizer_steps"] == alone.results()["cost"]["optimizer_steps"]
    assert seen.results()["cost"]["samples"] == alone.results()["cost"]["samples"]
    for name, weight in seen.state_dict().items():
        assert torch.equal(weight, alone.state_dict()[name]), name


def test_rows_come_every_n_steps_of_each_stage_from_the_second_experience_on() -> None:
    module, watcher = trained(every=2)
    begins, due = 0, []
    for stage in module.hypnogram:
        if stage.experience:
            due += [(stage.index, begins + step) for step in range(2, stage.steps + 1, 2)]
        begins += stage.steps
    assert [(row["stage"], row["global_step"]) for row in watcher.rows] == due
    assert {row["after"] for row in watcher.rows} == {"step"}
    for row in watcher.rows:
        held = row["validation"]
        assert all(value is not None for value in held[: row["experience"] + 1])
        assert set(held[row["experience"] + 1 :]) <= {None}
        assert set(row["accuracy"]) == {None}, "test data are not read"


class Probe(pl.Callback):
    """Scores the network by itself at a step."""

    def __init__(self, step: int):
        self.step = step
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if trainer.global_step != self.step:
            return
        for experience in module.stream.experiences[:2]:
            (batch,) = experience.validation.batches([torch.arange(len(experience.validation))])
            with evaluating(module.network), torch.no_grad():
                predicted = module.network(batch.x).argmax(dim=1)
            self.found.append(float((predicted == batch.y).double().mean()))
            if experience.index == 0:
                recent = torch.tensor(module.stream.experiences[1].classes)
                self.bias = float(torch.isin(predicted, recent).double().mean())


def test_a_row_holds_what_the_network_scores_at_that_step() -> None:
    module, _ = trained()
    step = sum(stage.steps for stage in module.hypnogram if stage.experience == 0) + 4
    probe = Probe(step)
    _, watcher = trained(stop=probe)
    (row,) = (row for row in watcher.rows if row["global_step"] == step)
    assert row["validation"][:2] == pytest.approx(probe.found)
    assert row["recency_bias"] == pytest.approx(probe.bias)


class Stop(pl.Callback):
    """Raises at a step, as a bug or a full disk would."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("broken off")


@pytest.mark.parametrize("into", [1, 2, 3])
@pytest.mark.slow
def test_a_run_that_is_resumed_within_a_stage_has_all_rows(into: int, tmp_path: Path) -> None:
    whole, watcher = trained(tmp_path / "whole")
    step = sum(stage.steps for stage in whole.hypnogram if stage.experience == 0) + into
    with pytest.raises(RuntimeError, match="broken off"):
        trained(tmp_path / "cut", stop=Stop(step))
    saved = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    resumed, again = trained(tmp_path / "cut", ckpt_path=str(saved))
    assert numbers(again.rows) == numbers(watcher.rows)
    results = [read_results(tmp_path / name) for name in ("cut", "whole")]
    assert results[0]["continual"]["rows"] == results[1]["continual"]["rows"]
    assert results[0]["metrics"] == results[1]["metrics"]
    for name, weight in resumed.state_dict().items():
        assert torch.equal(weight, whole.state_dict()[name]), name
    logged = [logged_rows(tmp_path / name) for name in ("cut", "whole")]
    assert logged[0] == logged[1] and len(logged[0]) == len(watcher.rows)


def logged_rows(folder: Path) -> list[tuple[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [(line["step"], line["continual/old_accuracy"]) for line in lines if line["continual/old_accuracy"]]


def test_results_hold_rows_cost_and_metrics_that_can_be_computed_anew(tmp_path: Path) -> None:
    module, watcher = trained(tmp_path)
    results = read_results(tmp_path)
    assert results["continual"]["every_n_steps"] == 2
    assert results["continual"]["rows"] == numbers(watcher.rows)
    cost = results["continual"]["cost"]
    assert (cost["evaluations"], cost["optimizer_steps"]) == (len(watcher.rows), 0)
    assert 0 < cost["seconds"] <= results["cost"]["seconds"]["examination"]
    found = watcher.stability(module)
    assert all(value is not None for value in found.values())
    assert {name: results["metrics"][name] for name in found} == pytest.approx(found)
    assert metrics_of(results) == pytest.approx(results["metrics"])
    last = results["accuracy_matrix"]["rows"][-1]
    assert results["metrics"]["recency_bias"] == last["recency_bias"]
    assert 0 <= last["recency_bias"] <= 1
    # a run folder from before the key
    for row in results["accuracy_matrix"]["rows"]:
        del row["recency_bias"]
    write_results(results, tmp_path)
    assert metrics_of(read_results(tmp_path))["recency_bias"] is None


def test_where_less_is_better_the_worst_error_is_found(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(1)

    def samples(count: int, shift: float) -> TensorSamples:
        x = torch.randn(count, 5, generator=rng)
        return TensorSamples(x, x[:, 0] + shift)

    stream = make_stream("lines", [(samples(16, shift), samples(8, shift)) for shift in (0.0, 3.0)], validation=0.25)
    wake, memory = Wake(steps=6, batch_size=4, replay=4), ClassBalanced(8)
    module = WakeSleepModule(torch.nn.Linear(5, 1), wake, night=(), memory=memory, problem=Regression())
    watcher = ContinualEvaluation(1)
    train(module, stream, callbacks=[watcher, RunFolder(tmp_path)])
    errors = [row["validation"][0] for row in watcher.rows]
    before = module.ledger.rows[1]["validation"][0]
    found = read_results(tmp_path)["metrics"]
    assert found["min_accuracy"] == pytest.approx(max(errors))
    assert found["stability_gap"] == pytest.approx(max(errors) - before)
    assert found["recency_bias"] is None


def test_without_held_out_data_nothing_is_measured_and_it_is_said() -> None:
    with pytest.warns(UserWarning, match="no held-out data"):
        _, watcher = trained(stream=tiny_stream(validation=0.0))
    assert watcher.rows == []


def test_with_accumulation_no_batch_is_counted_twice() -> None:
    _, watcher = trained(options={"accumulate_grad_batches": 2})
    assert len({(row["stage"], row["global_step"]) for row in watcher.rows}) == len(watcher.rows)


def test_it_is_off_by_default_and_a_key_of_the_configuration(tmp_path: Path) -> None:
    words = ["digits", "er", "stream.experiences=2", "wake.steps=4", "memory.capacity=20"]
    off = dreamer.run(*words, out=str(tmp_path / "off"))
    assert "continual" not in off and "stability_gap" not in off["metrics"]
    on = dreamer.run(*words, "continual_evaluation.every_n_steps=2", out=str(tmp_path / "on"))
    assert on["continual"]["cost"]["evaluations"] == 2
    assert on["accuracy_matrix"] == off["accuracy_matrix"]
    for wrong, said in (("every_n_steps=0", "at least 1"), ("every=3", "every_n_steps")):
        with pytest.raises(ConfigError, match=said):
            dreamer.run(*words, f"continual_evaluation.{wrong}", out=str(tmp_path / "never"))
