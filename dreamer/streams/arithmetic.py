"""The embedded stream of texts: four kinds of sums, as a language model writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.tokens import Tokens
from dreamer.streams.base import Stream, TensorSamples, make_stream

Task = Literal["add", "reverse", "sort", "add_modulo"]
TASKS: tuple[Task, ...] = ("add", "reverse", "sort", "add_modulo")

_DIGITS, _ANSWER = 3, 4
_SEPARATOR, _EQUALS, _NULL, _END, _ZERO = range(len(TASKS) + 1, len(TASKS) + 6)
_TEXTS = ("", *(f"{task} " for task in TASKS), " , ", " = ", "_", ".", *map(str, range(10)))


@checked
def arithmetic(
    tasks: Sequence[Task] = TASKS,
    samples: int | Sequence[int] = 65536,
    test: int = 4096,
    validation: float = 0.02,
    seed: int = 0,
    split_seed: int = 0,
) -> Stream:
    """Four arithmetic tasks on numbers of three digits, one after the other, as texts; generated, needs no data.

    A text has 14 tokens: the task, three digits, a separator, three digits (or three nulls), an equals sign, an answer
    of four digits, the end, as in ``add 123 , 456 = 0579.`` The tasks are the sum, the digits in reverse order, the
    digits in ascending order, and the sum modulo 1000. Of the 19 tokens of the vocabulary one, for padding, does not
    occur. A loss is taken at every token, so that a learner can write whole texts; the score is the fraction of right
    answers. Prompts are drawn at random, with repetition, for training and test alike; reverse and sort have 1000.

    Args:
        tasks: ``add``, ``reverse``, ``sort``, ``add_modulo``, in the order in which they are learnt.
        samples: training texts of each task, with those that are held out; a list gives a number for each.
        test: test texts of each task.
        validation: fraction of the training texts that is held out, in [0, 1).
        seed: decides the training texts.
        split_seed: decides the test texts, and which training texts are held out.

    Returns:
        Samples of shape (13,), int64 tokens, and as many next tokens, see :class:`dreamer.problems.Language`.

    Raises:
        ValueError: for an unknown task, one that comes twice, or none, and for a list of numbers of another length.

    Source:
        M. Marek et al. 2026, arXiv 2605.26097; official code ``experiments/toy_continual/train.py`` of
        martin-marek/forgetting, whose numbers of texts these are.

    >>> stream = arithmetic(samples=100, test=10)
    >>> stream.sample_shape, stream.num_classes, stream.class_names
    ((13,), 19, ('add', 'reverse', 'sort', 'add modulo 1000'))
    """
    counts = [samples] * len(tasks) if isinstance(samples, int) else list(samples)
    at_least(1, samples=min(counts, default=1), test=test)
    if not tasks or len(set(tasks)) < len(tasks) or not set(tasks) <= set(TASKS):
        raise ValueError(f"stream 'arithmetic': expected some of {', '.join(TASKS)}, each once, got {list(tasks)}")
    if len(counts) != len(tasks):
        raise ValueError(
            f"stream 'arithmetic': expected samples of each of {len(tasks)} tasks, got {len(counts)} numbers"
        )
    pairs = []
    for task, texts in zip(tasks, counts, strict=True):
        number = TASKS.index(task)
        blocks = [
            _texts(task, count, randoms(seed_, Purpose.TEXT, number, part))
            for part, (count, seed_) in enumerate(((texts, seed), (test, split_seed)))
        ]
        train, tested = (TensorSamples(block[:, :-1], block[:, 1:]) for block in blocks)
        pairs.append((train, tested))
    return make_stream(
        "arithmetic",
        pairs,
        validation=validation,
        split_seed=split_seed,
        scenario="domain",
        class_names=[task.replace("_modulo", " modulo 1000") for task in tasks],
        tokens=Tokens.of(
            _TEXTS, openings=[[1 + TASKS.index(task)] for task in tasks], marks=[0], end=_END, answer=_EQUALS
        ),
    )


def _texts(task: Task, count: int, rng: torch.Generator) -> Tensor:
    """(count, 14) int64 tokens of one task."""
    a, b = torch.randint(10, (2, count, _DIGITS), generator=rng)
    mark = torch.ones(count, 1, dtype=torch.int64)
    if task in ("add", "add_modulo"):
        total = _number(a) + _number(b)
        answer, second = _digits(total % 1000 if task == "add_modulo" else total), _ZERO + b
    else:
        digits = a.flip(1) if task == "reverse" else a.sort(dim=1).values
        answer, second = torch.nn.functional.pad(digits, (_ANSWER - _DIGITS, 0)), torch.full_like(b, _NULL)
    parts = [(1 + TASKS.index(task)) * mark, _ZERO + a, _SEPARATOR * mark, second, _EQUALS * mark]
    return torch.cat([*parts, _ZERO + answer, _END * mark], dim=1)


def _number(digits: Tensor) -> Tensor:
    """(N,) numbers of (N, 3) digits."""
    return digits @ torch.tensor([100, 10, 1])


def _digits(numbers: Tensor) -> Tensor:
    """(N, 4) digits of (N,) numbers."""
    return torch.stack([numbers // 10**place % 10 for place in reversed(range(_ANSWER))], dim=1)
