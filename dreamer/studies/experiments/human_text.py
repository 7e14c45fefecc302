"""Text that people wrote, as blocks of words, and how much of it comes back in other texts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dreamer.streams.base import DataNotFound

DOCUMENTATION = "documentation"
_TEST = 0.1
_BASE = 1_000_003
"""Of the polynomial by which spans are numbered; sums wrap around at 64 bits."""


class HumanText(NamedTuple):
    """Blocks of words.

    Attributes:
        words: V, what each token is; the first stands for all that are rarer.
        train: (N, T) int64.
        test: (M, T) int64, from the middle of the text.
        rare: (V,) bool, the rarer words, which are one in ten of those that were written.
    """

    words: tuple[str, ...]
    train: Tensor
    test: Tensor
    rare: Tensor

    def write(self, tokens: Tensor) -> str:
        """(T,) tokens as a text."""
        return " ".join(self.words[token] for token in tokens)


def human_text(name: str, vocabulary: int, block: int, texts: int, rng: torch.Generator) -> HumanText:
    """Read a text, and cut it into blocks of words.

    Args:
        name: the path of a text file, or ``documentation``: the topics of Python's own help, some 70 000 words of
            English and code that every Python has.
        vocabulary: V, the most frequent words of the training text, and one mark for all others.
        block: T.
        texts: N blocks at most, drawn from the training text.
        rng: draws them.

    Raises:
        DataNotFound: when there is no such text.
    """
    found = re.findall(r"\w+|[^\w\s]", _read(name))
    length = round(len(found) * _TEST)
    start = (len(found) - length) // 2
    learnt = found[:start] + found[start + length :]
    words = ("\N{WHITE SQUARE}", *(word for word, _ in Counter(learnt).most_common(vocabulary - 1)))
    numbers = {word: number for number, word in enumerate(words)}

    def blocks(part: list[str]) -> Tensor:
        tokens = torch.tensor([numbers.get(word, 0) for word in part])
        return tokens[: len(tokens) // block * block].view(-1, block)

    train, test = blocks(learnt), blocks(found[start : start + length])
    if not len(train) or not len(test):
        raise DataNotFound(f"{name}: too short for blocks of {block} words")
    train = train[torch.randperm(len(train), generator=rng)[:texts]]
    counts = torch.bincount(train.flatten(), minlength=len(words))
    order = counts.argsort(stable=True)
    rare = torch.zeros(len(words), dtype=torch.bool)
    rare[order] = counts[order].cumsum(0) <= counts.sum() / 10
    return HumanText(words, train, test, rare)


def _read(name: str) -> str:
    if name != DOCUMENTATION:
        try:
            return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataNotFound(f"{name}: cannot be read as a text: {error}") from error
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataNotFound("this Python comes without its help topics (pydoc_data)") from error
    paragraphs = [part for topic in sorted(topics) for part in topics[topic].split("\n\n")]
    # some topics are parts of others
    return "\n\n".join(dict.fromkeys(paragraphs))


def distinct(texts: Tensor, n: int) -> float:
    """The fraction of the spans of n tokens in (N, T) texts that differ (distinct-n, Li et al. 2016, arXiv 1510.03055).

    >>> distinct(torch.tensor([[1, 2, 1, 2]]), 2)
    0.6666666865348816
    """
    spans = _spans(texts, n)
    return float(torch.tensor(spans.unique().numel() / spans.numel()))


def longest_copied(texts: Tensor, source: Tensor) -> Tensor:
    """(N,) tokens of the longest span of each of (N, T) texts that stands in one of the (M, T) source texts.

    >>> longest_copied(torch.tensor([[1, 2, 3, 9], [7, 7, 7, 7]]), torch.tensor([[0, 1, 2, 3]])).tolist()
    [3, 0]
    """
    longest = torch.zeros(len(texts), dtype=torch.int64)
    for n in range(1, texts.shape[1] + 1):
        found = torch.isin(_spans(texts, n), _spans(source, n)).any(dim=1)
        longest[found] = n
        if not found.any():
            break
    return longest


def _spans(texts: Tensor, n: int) -> Tensor:
    """(N, T - n + 1) numbers of the spans of n tokens; two spans have the same one when they are the same."""
    count = texts.shape[1] - n + 1
    numbers = torch.zeros(len(texts), count, dtype=torch.int64)
    for place in range(n):
        numbers = numbers * _BASE + texts[:, place : place + count] + 1
    return numbers
