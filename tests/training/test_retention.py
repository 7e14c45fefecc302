"""Before and after a training: what was lost beyond a margin, with paired intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from dreamer.cli.main import app
from dreamer.config.binding import ConfigError
from dreamer.problems import Classification, Language, Regression
from dreamer.streams import TensorSamples
from dreamer.streams.text import held_out
from dreamer.training.retention import retention, retention_table

TEXT = "the cat sat on the mat and the dog lay by the door. " * 60


class Says(nn.Module):
    """Gives the class that a sample names in its first number, or another in some of them."""

    def __init__(self, wrong: float = 0.0):
        super().__init__()
        self.wrong = wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mistaken = x[:, 1] < self.wrong
        return nn.functional.one_hot((x[:, 0].long() + mistaken) % 3, 3).float()


def pictures(count: int = 200, seed: int = 0) -> TensorSamples:
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (count,), generator=rng)
    return TensorSamples(torch.stack([y.float(), torch.rand(count, generator=rng)], dim=1), y)


def test_the_loss_is_that_of_the_accuracies_and_its_interval_holds_it() -> None:
    (found,) = retention(Says(0.1), Says(0.3), {"spots": pictures()}, Classification())
    wrong = pictures().x[:, 1]
    assert found.before == pytest.approx(1 - float((wrong < 0.1).float().mean()))
    assert found.loss == pytest.approx(float(((wrong >= 0.1) & (wrong < 0.3)).float().mean()))
    assert found.low < found.loss < found.high
    # of a paired difference of 0 or 1
    p = found.loss
    assert found.high - found.loss == pytest.approx(1.972 * (p * (1 - p) / 199) ** 0.5, rel=1e-3)


@pytest.mark.parametrize(("margin", "verdict"), [(0.0, "lost"), (0.1, "lost"), (0.2, "open"), (0.4, "kept")])
def test_the_verdict_is_that_of_the_whole_interval(margin: float, verdict: str) -> None:
    (found,) = retention(Says(0.0), Says(0.2), {"spots": pictures()}, Classification(), margin)
    assert found.verdict == verdict
    (better,) = retention(Says(0.2), Says(0.0), {"spots": pictures()}, Classification(), margin)
    assert better.verdict == "kept" and better.loss < 0


def test_bits_per_byte_are_those_of_the_whole_set(tmp_path: Path) -> None:
    (tmp_path / "cats.txt").write_text(TEXT)
    sets, tokens = held_out(tmp_path, block=16)

    class Uniform(nn.Module):
        def __init__(self, bits: float):
            super().__init__()
            self.bits = bits

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(*x.shape, tokens.size)
            logits[..., : int(2**self.bits)] = 50.0
            return logits

    (found,) = retention(Uniform(8), Uniform(7), sets, Language(tokens=tokens))
    assert found.before == pytest.approx(8) and found.loss == pytest.approx(-1)
    assert "bits per byte, lower is better" in retention_table([found], Language(), 0.0)
    few, _ = held_out(tmp_path, block=16, most=3)
    assert len(few["cats"]) == 3


def test_of_conversations_the_responses_are_scored(tmp_path: Path) -> None:
    rows = [{"prompt": "how many?", "response": f"{number} cats"} for number in range(5)]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sets, tokens = held_out(tmp_path, block=24)
    (batch,) = sets["talks"].batches([torch.arange(5)])
    assert [tokens.write(row.tolist()) for row in batch.y] == [f"{number} cats\n" for number in range(5)]


def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path) -> None:
    for problem in (Language("perplexity"), Classification(average="classes")):
        samples = (
            pictures()
            if isinstance(problem, Classification)
            else TensorSamples(torch.zeros(2, 4).long(), torch.zeros(2, 4).long())
        )
        model = Says() if isinstance(problem, Classification) else nn.Embedding(3, 3)
        with pytest.raises(ValueError, match="retention compares scores that are means"):
            retention(model, model, {"a": samples}, problem)
    with pytest.raises(ValueError, match="expected held-out samples in 'none'"):
        retention(Says(), Says(), {"none": pictures(0)}, Classification())
    with pytest.raises(ValueError, match=r"expected a folder with <name>\.txt"):
        held_out(tmp_path)


@pytest.mark.slow
def test_the_command_line_compares_two_models_of_a_folder_and_fails_on_request(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.helpers.tiny_llama import llama, tokeniser

    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "cats.txt").write_text(TEXT)
    model: Any = llama()
    for name in ("before", "after"):
        model.save_pretrained(tmp_path / name)
        tokeniser().save_pretrained(tmp_path / name)
        with torch.no_grad():
            model.lm_head.weight.mul_(40)
    words = ["retention", str(tmp_path / "before"), str(tmp_path / "after"), "--texts", str(texts), "--block", "16"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "lost beyond a margin of 0: cats" in shown.output
    assert CliRunner().invoke(app, [*words, "--fail"]).exit_code == 1
    forgiven = CliRunner().invoke(app, [*words, "--fail", "--margin", "1000", "--json"])
    assert forgiven.exit_code == 0
    (cats,) = json.loads(forgiven.stdout)["sets"]
    assert cats["verdict"] == "kept" and cats["loss"] > 0 and cats["samples"] > 10


@pytest.mark.slow
def test_two_run_folders_of_a_stream_are_compared_on_its_test_data(tmp_path: Path) -> None:
    from dreamer.runs.run import run

    small = ["digits", "fine_tune", "wake.epochs=1", "stream.experiences=2"]
    for number, epochs in enumerate((1, 2)):
        run(*small, f"wake.epochs={epochs}", out=str(tmp_path / str(number)))
    shown = CliRunner().invoke(app, ["retention", str(tmp_path / "0"), str(tmp_path / "1"), "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    results = json.loads((tmp_path / "0" / "results.json").read_text())["accuracy_matrix"]["rows"][-1]["accuracy"]
    assert [one["before"] for one in found["sets"]] == pytest.approx(results)


def test_two_run_folders_of_different_streams_are_refused(tmp_path: Path) -> None:
    from dreamer.runs.run import run

    run("digits", "fine_tune", "wake.steps=2", "stream.experiences=2", out=str(tmp_path / "digits"))
    words = ["stream.samples=20", "stream.test=5", "wake.epochs=1", "stream.tasks=[sort]", "network.width=16"]
    run("arithmetic", "fine_tune", *words, out=str(tmp_path / "sums"))
    for one, two in (("digits", "sums"), ("sums", "digits")):
        shown = CliRunner().invoke(app, ["retention", str(tmp_path / one), str(tmp_path / two)])
        assert isinstance(shown.exception, (SystemExit, ConfigError)) and shown.exit_code != 0
        assert "expected two runs of one stream, got" in f"{shown.output}{shown.exception}"


@pytest.mark.parametrize("problem", [Classification(), Regression()])
def test_where_nothing_changed_a_loss_of_zero_has_no_sign(problem: Any) -> None:
    samples = pictures()
    if isinstance(problem, Regression):
        samples = TensorSamples(samples.x, samples.x[:, :1].expand(-1, 3).clone())
    found = retention(Says(0.3), Says(0.3), {"pictures": samples}, problem)
    shown = retention_table(found, problem, 0.0)
    assert "-0.000" not in shown and "0.000 (+0.000 to +0.000)  kept" in shown
