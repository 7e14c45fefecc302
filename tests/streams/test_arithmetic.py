"""The embedded stream of texts: what its tokens say is true, and seeds decide what they should."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from dreamer.core.tokens import IGNORED
from dreamer.problems import Classification, Language, Regression
from dreamer.streams import Stream, arithmetic
from tests.helpers.stream_contract import everything, same

STREAM = arithmetic(samples=300, test=200, validation=0.1)
TRUE = {
    "add": lambda a, b: a + b,
    "add_modulo": lambda a, b: (a + b) % 1000,
    "reverse": lambda a, _: int(f"{a:03d}"[::-1]),
    "sort": lambda a, _: int("".join(sorted(f"{a:03d}"))),
}


def texts(stream: Stream, part: str = "test") -> list[list[str]]:
    """The whole texts of each experience."""
    found = []
    for experience in stream.experiences:
        x, y = everything(getattr(experience, part))
        blocks = torch.cat([x, y[:, -1:]], dim=1)
        assert torch.equal(x[:, 1:], y[:, :-1]), "the target of a token is the next one"
        found.append([stream.tokens.write(block.tolist()) for block in blocks])
    return found


@pytest.mark.parametrize("part", ["train", "test", "validation"])
def test_every_answer_is_right(part: str) -> None:
    for task, lines in zip(TRUE, sorted(texts(STREAM, part)), strict=True):
        for line in lines:
            name, a, b, answer = re.fullmatch(r"(\w+) (\d{3}) , (\d{3}|___) = (\d{4})\.", line).groups()
            assert name == task and int(answer) == TRUE[task](int(a), 0 if b == "___" else int(b)), line


def test_its_samples_are_those_of_the_paper() -> None:
    stream = arithmetic()
    assert (stream.num_classes, stream.num_groups, stream.sample_shape) == (19, 4, (13,))
    assert stream.class_names == ("add", "reverse", "sort", "add modulo 1000") and stream.class_order[2] == (2,)
    for experience in stream.experiences:
        assert len(experience.train) + len(experience.validation) == 65536 and len(experience.test) == 4096
        (batch,) = experience.test.batches([torch.arange(20)])
        assert batch.x.dtype == batch.y.dtype == torch.int64 and (batch.y != IGNORED).all()
        assert torch.equal(batch.groups, torch.full((20,), experience.index))
        assert (batch.x[:, 0] == stream.tokens.openings[experience.index][0]).all()


def test_seeds_decide_what_is_trained_on_and_split_seeds_what_is_tested() -> None:
    same_words = {"samples": 300, "test": 200, "validation": 0.1}
    assert same(STREAM, arithmetic(**same_words))
    other, split = arithmetic(seed=1, **same_words), arithmetic(split_seed=1, **same_words)
    assert texts(other) == texts(STREAM) and texts(other, "train") != texts(STREAM, "train")
    assert texts(split) != texts(STREAM)


def test_tasks_can_be_chosen_and_ordered() -> None:
    stream = arithmetic(tasks=["sort", "add"], samples=20, test=10)
    assert stream.class_names == ("sort", "add") and len(stream.tokens.openings) == 2
    assert all(line.startswith("sort ") for line in texts(stream)[0])


def test_a_task_can_have_more_texts_than_another() -> None:
    stream = arithmetic(tasks=["sort", "add"], samples=[20, 40], test=10, validation=0.1)
    assert [len(experience.train) for experience in stream.experiences] == [18, 36]


@pytest.mark.parametrize(
    "wrong",
    [{"tasks": []}, {"tasks": ["add", "add"]}, {"tasks": ["divide"]}, {"samples": 0}, {"samples": [9, 0, 9, 9]},
     {"samples": [9, 9]}],
)  # fmt: skip
def test_what_it_cannot_be_is_one_sentence(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        arithmetic(**wrong)


def test_it_is_for_language_alone() -> None:
    Language(tokens=STREAM.tokens).check(STREAM)
    for other in (Classification(), Regression()):
        with pytest.raises(ValueError, match=r"targets .* tokens|those of arithmetic are tokens"):
            other.check(STREAM)
