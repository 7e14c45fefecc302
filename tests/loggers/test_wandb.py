"""Weights & Biases: offline by itself, everything on disk, no prompt and no network."""

from __future__ import annotations

import json
import os
import socket
import time
from types import SimpleNamespace

import pytest

from dreamer.callbacks.run_folder import RunFolder
from dreamer.compare import grid
from dreamer.compare.analysis import analyse
from dreamer.compare.run import log_to_wandb
from dreamer.loggers import wandb as door
from dreamer.report.results import read_results
from dreamer.runs.run import run
from tests.compare.test_page import compared
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train
from tests.helpers.wandb_file import written

SHORT = ["er", "stream.experiences=2", "wake.steps=3", "dream_quality=null"]


@pytest.fixture(autouse=True)
def stranger(monkeypatch, tmp_path):
    """A user whom W&B does not know, in an empty folder."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings-of-the-user"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **_):
        raise AssertionError(f"the network was touched: {arguments}")

    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def server():
    """A host that accepts connections, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed():
    """An address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    return address


@pytest.fixture
def messages(capsys):
    """Gives the lines on being offline that were printed since the last time, whatever else was."""
    return lambda: [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B is offline")]


def history_with(history, names) -> bytes:
    """What a run has written; its service, a process of its own, may on a busy machine still be at it for a while."""
    for _ in range(600):
        content = history.read_bytes()
        if all(name.encode() in content for name in names):
            break
        time.sleep(0.1)
    return content


@pytest.mark.process
def test_an_offline_run_is_complete_on_disk(tmp_path, no_network, messages):
    out = tmp_path / "run"
    logger = door.wandb_logger(out, group="seeds", job_type="train", name="first", config={"marker": {"deep": "k4711"}})
    stream = tiny_stream()
    try:
        train(tiny_module(stream), stream, callbacks=[RunFolder(out, {"marker": 1}, "tiny")], logger=logger)
        summary = dict(logger.experiment.summary)
    finally:
        door.finish(logger)
    (folder,) = (out / "wandb").glob("offline-run-*")
    assert messages() == [f"W&B is offline (no API key for api.wandb.ai); to upload the run later: wandb sync {folder}"]
    assert "WANDB_MODE" not in os.environ, "the next run of this process decides for itself"
    (history,) = folder.glob("run-*.wandb")
    names = ("k4711", "seeds", "wake/loss", "rem/loss", "sleep/gain", "test/accuracy/experience_2", "results.json")
    content = history_with(history, names)
    for name in names:
        assert name.encode() in content, name
    assert (folder / "files" / "results.json").read_bytes() == (out / "results.json").read_bytes()
    media = folder / "files" / "media" / "images"
    assert len(list(media.glob("sleep/dreams_*.png"))) == 3
    assert len(list(media.glob("stream/hypnogram_*.png"))) == len(list(media.glob("stream/accuracy_matrix_*.png"))) == 1
    assert summary["complete"] is True
    assert summary["stream/average_accuracy"] == pytest.approx(read_results(out)["metrics"]["average_accuracy"])
    assert {"stream/forgetting", "stream/backward_transfer", "stream/forward_transfer"} <= set(summary)


@pytest.mark.process
def test_what_is_asked_of_wandb_is_written(tmp_path, no_network, messages):
    out = tmp_path / "run"
    logger = {
        "name": "wandb",
        "entity": "me",
        "project": "nights",
        "tags": ["a", "b"],
        "notes": "why",
        "log_model": True,
    }
    results = run("digits", *SHORT, logger=logger, seed=1, out=str(out))
    assert len(messages()) == 1, "said, although dreamer keeps Lightning quiet"
    (folder,) = (out / "wandb").glob("offline-run-*")
    found = written(folder)
    assert (found["run"].entity, found["run"].project, found["run"].notes) == ("me", "nights", "why")
    assert list(found["run"].tags) == ["a", "b"] and len(found["artifacts"]["model"]) == 1
    summary = found["summary"]
    assert summary["cost/bytes/memory"] == results["cost"]["bytes"]["memory"] > 0
    assert summary["cost/optimizer_steps/wake"] == 6 and summary["cost/stores"] == "samples"
    assert summary["protocol/stream"] == "digits" and summary["protocol/experiences"] == 2
    assert summary["stream/nights"] == 0
    (table,) = (folder / "files" / "media" / "table" / "stream").glob("accuracy_table_*.json")
    content = json.loads(table.read_text())
    assert content["columns"][-2:] == ["accuracy on experience 0", "accuracy on experience 1"]
    rows = results["accuracy_matrix"]["rows"]
    assert [row[0] for row in content["data"]] == ["untrained", "wake", "wake"]
    assert [row[-2:] for row in content["data"]] == [row["accuracy"] for row in rows]


@pytest.mark.process
def test_a_comparison_is_one_run_with_means_over_its_seeds(tmp_path, no_network, messages):
    comparison = compared(seeds=3)
    analysis = analyse(comparison)
    log_to_wandb(comparison, analysis, tmp_path, {"name": "wandb", "entity": "me", "group": "er", "job_type": "digits"})
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    found = written(folder)
    assert (found["run"].entity, found["run"].job_type, found["run"].run_group) == ("me", "comparison", "")
    for arm in comparison.arms:
        accuracy = analysis.of(arm, "digits").accuracy
        summary = {key: found["summary"][f"digits/{arm}/average_accuracy/{key}"] for key in ("mean", "std", "n")}
        assert summary == pytest.approx({"mean": accuracy.mean, "std": accuracy.std, "n": 3})
    tables = {
        path.name.split("_")[0]: json.loads(path.read_text()) for path in (folder / "files").rglob("*.table.json")
    }
    assert len(tables["comparison"]["data"]) == 9
    over = [dict(zip(tables["over seeds"]["columns"], row, strict=True)) for row in tables["over seeds"]["data"]]
    assert [row["n"] for row in over] == [3, 3, 3] and all(row["average_accuracy std"] > 0 for row in over)


def test_options_of_the_logger_reach_every_cell_of_a_comparison():
    asked = {
        "arms": ["er"],
        "seeds": 1,
        "streams": ["digits"],
        "wandb": True,
        "set": ["logger.entity=me", "wake.steps=3"],
    }
    (cell,) = grid.read(asked).cells
    assert cell.config["logger"] == [{"name": "wandb", "entity": "me", "group": "er", "job_type": "digits"}]


def test_without_a_key_the_host_is_not_even_contacted(no_network):
    assert door.why_offline() == "no API key for api.wandb.ai"


def test_a_host_that_does_not_respond(monkeypatch, closed):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://{closed}")
    assert door.why_offline().startswith("127.0.0.1 cannot be reached: ")


def test_a_silent_host_is_waited_for_no_longer_than_the_timeout(monkeypatch):
    waited = []

    def silent(address, timeout):
        waited.append((address, timeout))
        raise TimeoutError("timed out")

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(socket, "create_connection", silent)
    assert door.why_offline() == "api.wandb.ai cannot be reached: timed out"
    assert waited == [(("api.wandb.ai", 443), 3.0)]


def test_key_and_host_mean_online(monkeypatch, server):
    monkeypatch.setenv("WANDB_BASE_URL", f"http://{server}")
    assert door.why_offline() == "no API key for 127.0.0.1"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert door.why_offline() is None


def test_keys_are_found_where_wandb_keeps_them(monkeypatch, tmp_path, server):
    folder = tmp_path / "settings-of-the-user"
    folder.mkdir()
    (folder / "settings").write_text(f"[default]\nbase_url = http://{server}\n")
    assert door.why_offline() == "no API key for 127.0.0.1"
    (tmp_path / "netrc").write_text(f"machine elsewhere login user password {'1' * 40}\n")
    assert door.why_offline() == "no API key for 127.0.0.1"
    (tmp_path / "netrc").write_text(f"machine {server} login user password {'1' * 40}\n")
    assert door.why_offline() is None
    (tmp_path / "netrc").write_text("machine without anything that makes sense\n")
    assert door.why_offline() == "no API key for 127.0.0.1"
    (folder / "settings").write_text("this is no settings file")
    assert door.why_offline() == "no API key for api.wandb.ai"


class FakeLogger:
    """Takes the arguments of WandbLogger and begins no run."""

    def __init__(self, **arguments):
        self.arguments = arguments
        self.axes = {}
        self.experiment = SimpleNamespace(
            dir="folder/files", define_metric=lambda name, step_metric=None: self.axes.update({name: step_metric})
        )


@pytest.mark.parametrize(
    ("mode", "key", "reachable", "decided"),
    [
        (None, True, True, "online"),
        (None, True, False, "offline"),
        (None, False, True, "offline"),
        ("online", True, True, "online"),
        ("online", False, False, "offline"),
        ("offline", True, True, "offline"),
        ("dryrun", True, True, "offline"),
        ("disabled", True, True, "disabled"),
        ("disabled", False, False, "disabled"),
    ],
)
def test_the_mode_is_decided_beforehand(monkeypatch, tmp_path, server, closed, messages, mode, key, reachable, decided):
    monkeypatch.setattr("pytorch_lightning.loggers.WandbLogger", FakeLogger)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://{server if reachable else closed}")
    if key:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    logger = door.wandb_logger(tmp_path / "new", name="x", config={"a": 1})
    assert logger.arguments["mode"] == decided
    assert len(messages()) == (decided == "offline")
    assert logger.arguments["project"] == "dreamer" and logger.arguments["config"] == {"a": 1}
    assert logger.arguments["save_dir"] == tmp_path / "new"


def test_own_axes(monkeypatch, tmp_path, no_network, messages):
    monkeypatch.setattr("pytorch_lightning.loggers.WandbLogger", FakeLogger)
    axes = door.wandb_logger(tmp_path).axes
    assert axes["stream/*"] == axes["stream/average_accuracy"] == "stream/experience"
    assert axes["sleep/*"] == axes["sleep/gain"] == axes["sleep/dreams"] == "sleep/night"
    assert axes["stream/experience"] is axes["sleep/night"] is None


@pytest.mark.process
def test_disabled_writes_nothing_and_disturbs_nothing(monkeypatch, tmp_path, no_network, messages):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    out = tmp_path / "run"
    logger = door.wandb_logger(out)
    stream = tiny_stream()
    train(tiny_module(stream), stream, callbacks=[RunFolder(out)], logger=logger)
    door.finish(logger)
    assert messages() == [] and (out / "results.json").is_file()
    assert not list(out.glob("wandb/*run-*"))


def test_each_logger_of_a_process_is_a_run_of_its_own(no_network, tmp_path):
    stream = tiny_stream(1)
    runs = []
    for seed in range(3):
        logger = door.wandb_logger(tmp_path / "here", name=f"seed{seed}")
        train(tiny_module(stream, seed, night=[]), stream, logger=logger)
        runs.append((logger.experiment.id, logger.experiment.name))
    door.finish(logger)
    assert [name for _, name in runs] == ["seed0", "seed1", "seed2"]
    assert len({run for run, _ in runs}) == 3
    assert len(list((tmp_path / "here" / "wandb").glob("offline-run-*"))) == 3
