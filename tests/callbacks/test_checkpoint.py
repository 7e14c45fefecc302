"""A checkpoint is whole or refused, and the one before it is kept."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
import torch

import dreamer
from dreamer import config
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.core import sealed
from dreamer.core.sealed import Damaged, check_sealed, read_sealed, write_sealed
from dreamer.report.results import read_results
from dreamer.runs import run as runs
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

CONTENT = {"weights": torch.arange(3000.0), "plain": {"list": [1, "two", None]}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_sealed(CONTENT, tmp_path / "file.ckpt")
    return tmp_path / "file.ckpt"


def test_what_was_written_is_read_and_is_a_file_of_torch(file: Path) -> None:
    for content in (read_sealed(file), torch.load(file, weights_only=True)):
        assert torch.equal(content["weights"], CONTENT["weights"]) and content["plain"] == CONTENT["plain"]


def test_forty_flipped_bits_are_noticed(file: Path) -> None:
    whole, drawn = file.read_bytes(), random.Random(5)
    for bit in drawn.sample(range(8 * len(whole)), 40):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        with pytest.raises(Damaged, match=r"file\.ckpt is damaged: "):
            read_sealed(file)
    file.write_bytes(whole)
    check_sealed(file)


@pytest.mark.parametrize("cut", [0, 1, 80, 1000, -1])
def test_a_cut_or_empty_file_is_refused(cut: int, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(Damaged, match="it is empty" if cut == 0 else "it was cut"):
        read_sealed(file)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    write_sealed({"weights": Malicious()}, tmp_path / "file.ckpt")
    with pytest.raises(Damaged, match="it holds more than tensors and plain values"):
        read_sealed(tmp_path / "file.ckpt")
    assert not (tmp_path / "run").exists()


def test_file_and_folder_reach_the_disk_before_the_old_one_is_gone(tmp_path: Path, monkeypatch) -> None:
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(sealed.os, "fsync", lambda file: (done.append("fsync"), fsync(file)))
    monkeypatch.setattr(sealed.os, "replace", lambda *paths: (done.append(Path(paths[1]).name), replace(*paths)))
    stream = tiny_stream()
    train(tiny_module(stream), stream, callbacks=[RunCheckpoint(tmp_path)])
    once = ["fsync", "last.ckpt", "fsync"]
    assert done[:3] == once and done[3:7] == ["fsync", "previous.ckpt", "last.ckpt", "fsync"]


def test_nothing_is_written_to_the_systems_temporary_folder(tmp_path: Path, monkeypatch) -> None:
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    seen = []
    for name in ("mkstemp", "NamedTemporaryFile", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, lambda *_, **__: seen.append(1))
    stream = tiny_stream()
    train(tiny_module(stream), stream, callbacks=[RunCheckpoint(tmp_path / "run")])
    assert not seen and not list(elsewhere.iterdir())


SHORT = ("digits", "fine_tune", "wake.steps=2", "stream.experiences=3")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A run that failed in its third experience, its results with the rows of two."""
    prepared = runs.prepare(config.read(*SHORT, out=str(tmp_path / "run")))

    def fail(*_: object) -> None:
        if prepared.module.ledger.stage == 2:
            raise RuntimeError("broken off")

    prepared.module.on_train_batch_start = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="broken off"):
        runs.execute(prepared)
    assert len(read_results(tmp_path / "run")["accuracy_matrix"]["rows"]) == 3
    return tmp_path / "run"


def harm(path: Path, how: str) -> None:
    if how == "flipped":
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 4
        path.write_bytes(whole)
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:999], "garbage": os.urandom(999)}[how])


@pytest.mark.parametrize("how", ["flipped", "empty", "cut", "garbage"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_offered(how: str, broken: Path, tmp_path: Path) -> None:
    whole = dreamer.run(*SHORT, out=str(tmp_path / "whole"))
    harm(broken / "checkpoints" / "last.ckpt", how)
    before = (broken / "results.json").read_bytes()
    with pytest.raises(dreamer.ConfigError, match=r"last\.ckpt is damaged: .*continue from it with --previous"):
        runs.resume(broken)
    assert (broken / "results.json").read_bytes() == before
    results = runs.execute(runs.resume(broken, previous=True), resume=True)
    assert results["complete"] and results["accuracy_matrix"] == whole["accuracy_matrix"]


def test_where_both_are_damaged_none_is_offered(broken: Path) -> None:
    for path in (broken / "checkpoints").glob("*.ckpt"):
        harm(path, "flipped")
    with pytest.raises(dreamer.ConfigError, match="there is no other one"):
        runs.resume(broken)
    with pytest.raises(dreamer.ConfigError, match=r"previous\.ckpt is damaged"):
        runs.resume(broken, previous=True)


def test_a_process_killed_between_two_moves_leaves_the_one_before(broken: Path) -> None:
    (broken / "checkpoints" / "last.ckpt").unlink()
    assert runs.execute(runs.resume(broken), resume=True)["complete"]


def test_a_resume_that_fails_leaves_the_results_alone(broken: Path) -> None:
    before = (broken / "results.json").read_bytes()
    prepared = runs.resume(broken)

    def fail(*_: object) -> None:
        raise RuntimeError("not the same")

    prepared.module.on_load_checkpoint = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="not the same"):
        runs.execute(prepared, resume=True)
    assert (broken / "results.json").read_bytes() == before
