"""A resumed run is the same run: what has changed is refused and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import dreamer
from dreamer import config
from dreamer.callbacks import run_origin
from dreamer.core.sealed import read_sealed, write_sealed
from dreamer.runs import run as runs
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.streams.fingerprint import changes, fingerprint

SHORT = ("digits", "er", "memory.capacity=20", "wake.steps=2", "stream.experiences=3")


def stop(prepared: runs.Run, stage: int = 2) -> Path:
    """Run until a stage begins, and break off."""

    def fail(*_: object) -> None:
        if prepared.module.ledger.stage == stage:
            raise RuntimeError("broken off")

    prepared.module.on_train_batch_start = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="broken off"):
        runs.execute(prepared)
    return prepared.directory


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stop(runs.prepare(config.read(*SHORT, out=str(tmp_path_factory.mktemp("stopped") / "run"))))


@pytest.fixture
def broken(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def edit(folder: Path, *words: str) -> None:
    config.save(config.read(folder / "config.yaml", *words), folder / "config.yaml")


def test_nothing_has_changed(broken: Path) -> None:
    prepared = runs.resume(broken)
    assert prepared.notes == ()
    results = runs.execute(prepared, resume=True)
    assert results["complete"] and "forced" not in results


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("memory.capacity=30", "memory.capacity: 20 there, 30 now"),
        ("wake.replay=7", "wake.replay: "),
        ("stream.validation=0.2", "stream.validation: "),
        ("seed=9", "seed: 0 there, 9 now"),
        ("night=[nrem]", "night: "),
    ],
)
def test_an_edited_configuration_is_refused(word: str, named: str, broken: Path) -> None:
    edit(broken, word)
    before = (broken / "results.json").read_bytes()
    with pytest.raises(dreamer.ConfigError, match="belongs to another run") as raised:
        runs.resume(broken)
    assert named in str(raised.value) and "--force" in str(raised.value)
    assert (broken / "results.json").read_bytes() == before


def test_another_learning_rate_cannot_be_forced(broken: Path) -> None:
    edit(broken, "optimizer.lr=0.5")
    with pytest.raises(dreamer.ConfigError, match=r"optimizer\.lr: .* there, 0\.5 now.*: set it back"):
        runs.resume(broken, force=True)


def test_the_checkpoint_of_another_recipe_is_refused(broken: Path, tmp_path: Path) -> None:
    other = stop(
        runs.prepare(config.read(*SHORT, "memory={name: reservoir, capacity: 20}", out=str(tmp_path / "other")))
    )
    shutil.copy(other / "checkpoints" / "last.ckpt", broken / "checkpoints" / "last.ckpt")
    with pytest.raises(dreamer.ConfigError, match=r"memory.*'reservoir'"):
        runs.resume(broken)


def test_what_is_forced_is_on_record_also_after_another_resume(broken: Path) -> None:
    edit(broken, "wake.replay=7")
    prepared = runs.resume(broken, force=True)
    forced = prepared.origin.forced
    assert [each["step"] for each in forced] == [4] and "wake.replay" in forced[0]["differences"][0]
    results = runs.execute(prepared, resume=True)
    assert results["complete"] and results["forced"] == forced
    saved = read_sealed(broken / "checkpoints" / "last.ckpt")
    assert saved[run_origin.KEY]["forced"] == forced


def test_another_version_of_the_code_is_refused(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "code_fingerprint", lambda: "0.9+0123")
    with pytest.raises(dreamer.ConfigError, match=r"code: '0\.1\.0\+.*' there, '0\.9\+0123' now"):
        runs.resume(broken)


def test_another_machine_is_said(broken: Path) -> None:
    path = broken / "checkpoints" / "last.ckpt"
    saved = read_sealed(path)
    saved[run_origin.KEY]["machine"]["threads"] = 77
    write_sealed(saved, path)
    (note,) = runs.resume(broken).notes
    assert note == f"threads: 77 there, {torch.get_num_threads()} now"


def test_a_damaged_results_file_does_not_end_a_resume(broken: Path) -> None:
    (broken / "results.json").write_text('{"complete": tr')
    assert runs.finished(broken) is None
    assert runs.execute(runs.resume(broken), resume=True)["complete"]
    assert json.loads((broken / "results.json").read_text())["complete"]


def stream(**changed: object) -> Stream:
    given = {"names": ("a", "b"), "shift": 0, "drop": 0, "brighter": 0.0, "noise": 0.0} | changed
    x = torch.rand(24, 1, 3, 3, generator=torch.Generator().manual_seed(1)) + given["brighter"]
    x = x + given["noise"] * torch.rand(x.shape)
    y = (torch.arange(24) + given["shift"]) % 2
    kept = slice(given["drop"], None)
    samples = TensorSamples(x[kept], y[kept])
    return make_stream("toy", [(samples, samples)], class_names=given["names"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"names": ("a", "c")}, "class_names"),
        ({"shift": 1}, "labels"),
        ({"drop": 1}, "samples"),
        ({"brighter": 0.1}, "contents"),
    ],
)
def test_a_stream_is_known_by_labels_counts_names_and_contents(changed: dict[str, object], named: str) -> None:
    there = fingerprint(stream())
    assert changes(there, fingerprint(stream())) == []
    assert any(named in change for change in changes(there, fingerprint(stream(**changed))))


def test_last_digits_are_no_difference() -> None:
    assert changes(fingerprint(stream()), fingerprint(stream(noise=1e-5))) == []


def test_a_set_that_is_augmented_as_it_is_read_has_no_contents_to_compare() -> None:
    class Random(TensorSamples):
        def batches(self, indices):
            return (batch._replace(x=torch.rand_like(batch.x)) for batch in super().batches(indices))

    samples = Random(torch.rand(20, 1, 3, 3), torch.arange(20) % 2)
    made = make_stream("toy", [(samples, samples)], validation=0.0)
    assert changes(fingerprint(made), fingerprint(made)) == []
    assert fingerprint(made)["experience_0"]["test"]["contents"] is None
