"""What a run leaves on disk: when it completes, when it is interrupted, and when it is resumed."""

from __future__ import annotations

import csv

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from dreamer.callbacks import run_folder
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.run_folder import RunFolder
from dreamer.core.sealed import read_sealed
from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.report.results import read_results, write_results
from dreamer.training import evaluation
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

PICTURES = ["hypnogram.png", "matrix.png", "dreams/night_00.png", "dreams/night_01.png", "dreams/night_02.png"]


class Stop(pl.Callback):
    """Raises at a step, as a bug or a full disk would."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise RuntimeError("broken off")


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_complete_run_leaves_everything(tmp_path):
    stream = tiny_stream()
    module = tiny_module(stream)
    train(module, stream, callbacks=[RunFolder(tmp_path, {"a": {"b": 1}}, "tiny")], logger=ResumableCSVLogger(tmp_path))
    results = read_results(tmp_path)
    assert results["complete"] and results["name"] == "tiny" and results["config"] == {"a": {"b": 1}}
    assert results["accuracy_matrix"]["rows"] == module.results()["accuracy_matrix"]["rows"]
    assert set(results["metrics"]) >= {"average_accuracy", "forgetting", "backward_transfer", "forward_transfer"}
    for picture in PICTURES:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    rows = rows_of(tmp_path)
    steps = module.hypnogram.steps()
    for kind in ("wake", "nrem", "rem"):
        assert sum(bool(row[f"{kind}/loss"]) for row in rows) == steps[kind]
    assert sum(bool(row["stream/average_accuracy"]) for row in rows) == 6
    assert sum(bool(row["sleep/night"]) for row in rows) == 3


def test_an_interrupted_run_leaves_what_there_is(tmp_path):
    stream = tiny_stream()
    with pytest.raises(RuntimeError, match="broken off"):
        train(
            tiny_module(stream), stream, callbacks=[RunFolder(tmp_path), Stop(12)], logger=ResumableCSVLogger(tmp_path)
        )
    results = read_results(tmp_path)
    assert results["complete"] is False and results["name"] == tmp_path.name
    assert [row["after"] for row in results["accuracy_matrix"]["rows"]] == ["birth", "wake", "night"]
    assert results["metrics"]["average_accuracy"] is None
    assert max(int(row["step"]) for row in rows_of(tmp_path)) >= 10
    assert all((tmp_path / picture).is_file() for picture in PICTURES[:3]) and not (tmp_path / PICTURES[3]).exists()


def test_a_folder_that_cannot_be_written_does_not_hide_the_reason(tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr("dreamer.callbacks.run_folder.rank_zero_warn", warned.append)
    (tmp_path / "file").write_text("")
    stream = tiny_stream()
    with pytest.raises(RuntimeError, match="broken off"):
        train(tiny_module(stream), stream, callbacks=[RunFolder(tmp_path / "file", dreams_per_class=0), Stop(2)])
    assert len(warned) == 1 and "could not write" in warned[0]


@pytest.mark.slow
def test_a_resumed_run_leaves_the_same_files(tmp_path):
    stream = tiny_stream()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(tiny_module(stream), stream, callbacks=[RunFolder(whole, name="x")], logger=ResumableCSVLogger(whole))
    checkpoint = None
    for step in (7, 12, 20):
        saving = RunCheckpoint(broken, every_n_steps=3)
        with pytest.raises(RuntimeError, match="broken off"):
            watchers = [RunFolder(broken, name="x"), Stop(step), saving]
            train(tiny_module(stream), stream, checkpoint, callbacks=watchers, logger=ResumableCSVLogger(broken))
        checkpoint = str(saving.path)
    train(
        tiny_module(stream),
        stream,
        checkpoint,
        callbacks=[RunFolder(broken, name="x")],
        logger=ResumableCSVLogger(broken),
    )
    one, other = read_results(whole), read_results(broken)
    for part in ("name", "complete", "protocol", "hypnogram", "accuracy_matrix", "metrics"):
        assert one[part] == other[part]
    assert rows_of(whole) == rows_of(broken)
    for picture in PICTURES:
        assert (whole / picture).read_bytes() == (broken / picture).read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder, stream = tmp_path_factory.mktemp("undisturbed"), tiny_stream()
    watchers = [RunFolder(folder, name="x"), RunCheckpoint(folder / "checkpoints", every_n_steps=1)]
    train(tiny_module(stream), stream, callbacks=watchers, logger=ResumableCSVLogger(folder))
    return folder


@pytest.fixture
def found_by_results(tmp_path, monkeypatch):
    """The content of every file of the folder, when the results were about to be written."""
    found = {}

    def write(results, folder):
        found.update({path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()})
        return write_results(results, folder)

    monkeypatch.setattr(run_folder, "write_results", write)
    return found


def assert_results_are_last(folder, found):
    now = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    assert {path for path, content in now.items() if found.get(path) != content} == {folder / "results.json"}


def test_results_are_written_when_nothing_else_is_left_to_write(tmp_path, found_by_results):
    stream = tiny_stream()
    watchers = [RunFolder(tmp_path), RunCheckpoint(tmp_path / "checkpoints")]
    train(tiny_module(stream), stream, callbacks=watchers, logger=ResumableCSVLogger(tmp_path))
    assert_results_are_last(tmp_path, found_by_results)


# the first evaluation scores six sets; then come a wake and a night of each of three experiences, also of six each
@pytest.mark.parametrize("scored", [7, 13, 20, 26, 31, 37, 41])
@pytest.mark.slow
def test_killed_in_an_evaluation_a_run_leaves_the_same_metrics_and_last_checkpoint(
    scored, undisturbed, tmp_path, monkeypatch, found_by_results
):
    def watched():
        watchers = [RunFolder(tmp_path, name="x"), RunCheckpoint(tmp_path / "checkpoints", every_n_steps=1)]
        return {"callbacks": watchers, "logger": ResumableCSVLogger(tmp_path)}

    score, left = evaluation.score, [scored]

    def dying(*args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return score(*args)

    stream = tiny_stream()
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(evaluation, "score", dying)
        train(tiny_module(stream), stream, **watched())
    train(tiny_module(stream), stream, str(tmp_path / "checkpoints" / "last.ckpt"), **watched())
    assert_results_are_last(tmp_path, found_by_results)
    assert rows_of(tmp_path) == rows_of(undisturbed)
    ours, theirs = (read_sealed(folder / "checkpoints" / "last.ckpt") for folder in (tmp_path, undisturbed))
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in theirs["state_dict"].items())
    assert ours["dreamer"]["ledger"]["stage"] == theirs["dreamer"]["ledger"]["stage"]
    assert ours["dreamer"]["ledger"]["rows"] == theirs["dreamer"]["ledger"]["rows"]


@pytest.mark.slow
def test_a_night_that_was_completed_but_not_closed_is_drawn_on_resume(tmp_path):
    class StopBeforeTheMorning(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            if module.hypnogram.closes_night(module.hypnogram[trainer.current_epoch]):
                raise RuntimeError("broken off")

    stream = tiny_stream()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(tiny_module(stream), stream, callbacks=[RunFolder(whole)])
    saving = RunCheckpoint(broken, every_n_steps=1)
    with pytest.raises(RuntimeError, match="broken off"):
        train(tiny_module(stream), stream, callbacks=[StopBeforeTheMorning(), saving])
    train(tiny_module(stream), stream, str(saving.path), callbacks=[RunFolder(broken)])
    assert (whole / PICTURES[2]).read_bytes() == (broken / PICTURES[2]).read_bytes()


def test_the_shortest_run_leaves_everything(tmp_path):
    stream = tiny_stream()
    train(tiny_module(stream), stream, callbacks=[RunFolder(tmp_path)], fast_dev_run=True)
    assert (tmp_path / "dreams" / "night_00.png").is_file() and read_results(tmp_path)["cost"]["bytes"]["network"] > 0


def test_looking_changes_no_number(tmp_path):
    stream = tiny_stream()
    seen, unseen = tiny_module(stream), tiny_module(stream)
    train(seen, stream, callbacks=[RunFolder(tmp_path)])
    train(unseen, stream)
    for a, b in zip(seen.state_dict().values(), unseen.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_run_without_sleep_has_no_dreams(tmp_path):
    stream = tiny_stream()
    train(tiny_module(stream, night=[]), stream, callbacks=[RunFolder(tmp_path)])
    assert not (tmp_path / "dreams").exists() and not (tmp_path / "metrics.csv").exists()
    assert read_results(tmp_path)["metrics"]["sleep_gain"] is None


def test_pictures_go_to_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stream = tiny_stream()
    logger = TensorBoardLogger(tmp_path / "board")
    train(tiny_module(stream), stream, callbacks=[RunFolder(tmp_path)], logger=logger)
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0}).Reload()
    assert len(events.Images("sleep/dreams")) == 3
    assert len(events.Images("stream/hypnogram")) == len(events.Images("stream/accuracy_matrix")) == 1
    assert {"wake/loss", "stream/average_accuracy"} <= set(events.Tags()["scalars"])
