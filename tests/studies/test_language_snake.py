"""Each generation learns what the settings say, from the same base, and is measured on text that none has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer.config.binding import ConfigError
from dreamer.streams.base import DataNotFound
from dreamer.studies.experiments import base, decoders, language_snake
from dreamer.studies.experiments.human_text import distinct, human_text, longest_copied
from dreamer.studies.experiments.language_snake import LanguageSnake

SMALL: dict[str, Any] = {
    "vocabulary": 40, "block": 12, "prompt": 3, "texts": 30, "generations": 2, "width": 16, "layers": 1,
    "steps": 3, "batch_size": 8,
}  # fmt: skip


def built(**changes: Any) -> LanguageSnake:
    experiment = base.of({"name": "dreamer.studies.experiments.language_snake.LanguageSnake", **SMALL, **changes})
    assert isinstance(experiment, LanguageSnake)
    return experiment


def learnt(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any) -> tuple[list[torch.Tensor], list[Any]]:
    """What each generation learnt, and the weights with which it began."""
    seen: list[torch.Tensor] = []
    bases: list[Any] = []
    real = LanguageSnake._trained

    def spy(self: LanguageSnake, texts: torch.Tensor, seed: int, generation: int) -> Any:
        seen.append(texts)
        return real(self, texts, seed, generation)

    def begun(network: Any, *rest: Any, **options: Any) -> None:
        bases.append([weight.clone() for weight in network.parameters()])
        decoders.train_decoder(network, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageSnake, "_trained", spy)
        patch.setattr(language_snake, "train_decoder", begun)
        built(**changes).run(1, folder)
    return seen, bases


def among(texts: torch.Tensor, others: torch.Tensor) -> int:
    known = set(map(tuple, others.tolist()))
    return sum(tuple(text) in known for text in texts.tolist())


def test_a_generation_learns_the_last_texts_these_beside_human_ones_or_all(tmp_path, monkeypatch) -> None:
    (human, second, third), _ = learnt(monkeypatch, tmp_path, generations=3)
    assert len(human) == len(second) == len(third) == 30 and not among(third, human)
    (_, second, third), _ = learnt(monkeypatch, tmp_path, generations=3, training_data="beside")
    assert len(second) == len(third) == 60 and among(third, human) == 30
    (_, second, third), _ = learnt(monkeypatch, tmp_path, generations=3, training_data="accumulate")
    assert [len(second), len(third)] == [60, 90] and among(third, second) == 60


def test_every_generation_begins_with_the_same_base(tmp_path, monkeypatch) -> None:
    _, bases = learnt(monkeypatch, tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(*bases, strict=True))


@pytest.mark.parametrize("changes", [{}, {"keep": 0.5}, {"perturbations": [{"name": "recombine_segments", "rate": 1}]}])
def test_prompts_are_human_in_every_arm(tmp_path, monkeypatch, changes) -> None:
    (human, second), _ = learnt(monkeypatch, tmp_path, **changes)
    assert len(second) == 30 and among(second[:, :3], human[:, :3]) == 30


def test_all_arms_have_the_same_first_generation_and_part_at_the_second(tmp_path) -> None:
    arms: list[dict[str, Any]] = [{}, {"training_data": "beside"}, {"keep": 0.5}, {"temperature": 0}, {"top_k": 3}]
    arms.append({"perturbations": [{"name": "shuffle_segments", "rate": 1}]})
    curves = [built(**arm).run(3, tmp_path)["curves"]["perplexity"] for arm in arms]
    assert len({curve[0] for curve in curves}) == 1
    assert len({curve[1] for curve in curves}) == len(arms)


def test_the_filter_keeps_what_surprises_least(tmp_path, monkeypatch) -> None:
    written: list[torch.Tensor] = []
    real = decoders.write

    def spy(*given: Any) -> torch.Tensor:
        written.append(real(*given))
        return written[-1]

    monkeypatch.setattr(language_snake, "write", spy)
    (_, second), _ = learnt(monkeypatch, tmp_path, keep=0.5)
    assert len(written[0]) == 60 and among(second, written[0]) == 30


def test_the_same_seed_gives_the_same_results_whatever_was_drawn_before(tmp_path) -> None:
    torch.manual_seed(1)
    first = built().run(2, tmp_path)
    torch.manual_seed(2)
    assert built().run(2, tmp_path) == first
    assert built().run(4, tmp_path) != first


def test_what_is_held_out_is_in_no_training_text(tmp_path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text(" ".join(map(str, range(1000))))
    human = human_text(str(path), 1001, 10, 90, torch.Generator())
    words = {human.words[token] for token in human.train.flatten()}
    # a word that is held out is none of the vocabulary
    assert human.test.eq(0).all() and human.test.shape == (10, 10) and "500" not in words and "1" in words
    with pytest.raises(DataNotFound, match="too short for blocks of 2000 words"):
        human_text(str(path), 100, 2000, 90, torch.Generator())
    with pytest.raises(DataNotFound, match="cannot be read as a text"):
        human_text(str(tmp_path / "none.txt"), 100, 20, 90, torch.Generator())


def test_rare_words_are_a_tenth_of_the_text_at_most(tmp_path) -> None:
    human = human_text("documentation", 300, 20, 500, torch.Generator().manual_seed(0))
    assert 0.05 < human.rare[human.train].float().mean() <= 0.1
    assert human.rare.float().mean() > 0.3


def test_spans_that_are_copied_are_found_wherever_they_stand() -> None:
    source = torch.tensor([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    texts = torch.tensor([[0, 2, 3, 4, 0], [5, 9, 9, 9, 9], [9, 8, 7, 6, 5], [0, 0, 0, 0, 0]])
    # a span does not go on from one source text to the next
    assert longest_copied(texts, source).tolist() == [3, 1, 5, 0]
    assert distinct(torch.ones(4, 6, dtype=torch.int64), 3) == pytest.approx(1 / 16)


@pytest.mark.slow
def test_a_generation_learns_human_text_and_its_heirs_lose_it(tmp_path) -> None:
    size = {"vocabulary": 600, "block": 32, "prompt": 8, "texts": 800, "width": 48, "layers": 2, "batch_size": 64}
    curve = built(**size, steps=50, generations=3, temperature=0).run(1, tmp_path)["curves"]["perplexity"]
    assert curve[0] < 100 < curve[1] < curve[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 0}, r"expected keep in \(0, 1\], got 0"),
        ({"block": 5}, "expected block of at least 6, got 5"),
        ({"top_k": 0}, "expected top_k of at least 1, got 0"),
        ({"perturbations": [{"name": "mask_spans"}]}, "expected perturbations that rewrite texts, got MaskSpans"),
        ({"perturbations": [{"name": "noise"}]}, "expected perturbations that rewrite texts, got Noise"),
        ({"training_data": "besides"}, "training_data: expected one of replace, beside, accumulate"),
    ],
)
def test_impossible_settings_are_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(**changes)
