"""What the tokens of a stream of text are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

IGNORED = -100
"""The target at a position where no loss is taken; torch's cross-entropy leaves it out by default."""

NAMED = "teacher_tokens"
"""The field of a dream that names, where a teacher gives the log-probabilities of its most likely tokens alone, these.

Both are (B, T, k); see :class:`dreamer.problems.Language`.
"""


@dataclass(frozen=True)
class Tokens:
    """The vocabulary of a stream of text, and how its texts begin and end.

    Attributes:
        texts: V texts, what each token stands for, as :func:`as_text` gives them; dreams are written with them.
        sizes: V numbers, the bytes of text that each token stands for; 0 for marks such as a domain's.
        openings: for each domain the tokens with which its texts begin, at least one: what a model is given when it
            writes of the domain. The name of the domain, or a mark of beginning that all of them have in common.
        end: the token with which a text ends, behind which nothing counts; None where texts have no end.
        answer: the token behind which an answer begins; None where texts are no questions with answers.
        prompts: for each domain stored beginnings of texts, opening included, one of which a model is given instead of
            the opening alone; none for a domain that has none, and empty where no domain has any.

    Raises:
        ValueError: when a token lies outside the vocabulary, a domain has no opening, or prompts are of other domains.

    >>> tokens = Tokens.of("ab", openings=[[0]])
    >>> tokens.size, tokens.sizes, tokens.write([1, 0, -100])
    (2, (1, 1), 'ba')
    """

    texts: tuple[str, ...]
    sizes: tuple[int, ...]
    openings: tuple[tuple[int, ...], ...]
    end: int | None = None
    answer: int | None = None
    prompts: tuple[tuple[tuple[int, ...], ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.sizes):
            raise ValueError(f"expected a size for each of {len(self.texts)} tokens, got {len(self.sizes)}")
        if not self.openings or not all(self.openings):
            raise ValueError("expected at least one token with which the texts of each domain begin, got none")
        if len(self.prompts) not in (0, len(self.openings)):
            raise ValueError(f"expected prompts for each of {len(self.openings)} domains, got {len(self.prompts)}")
        named = [token for begun in self.beginnings for opening in begun for token in opening]
        for token in (*named, *(mark for mark in (self.end, self.answer) if mark is not None)):
            if not 0 <= token < self.size:
                raise ValueError(f"expected tokens in [0, {self.size}), got {token}")

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        openings: Sequence[Sequence[int]],
        marks: Iterable[int] = (),
        end: int | None = None,
        answer: int | None = None,
        prompts: Sequence[Sequence[Sequence[int]]] = (),
    ) -> Tokens:
        """Tokens whose sizes are those of their texts in UTF-8.

        Args:
            marks: tokens that stand for no text at all.
        """
        empty = frozenset(marks)
        sizes = tuple(0 if token in empty else len(_raw(text)) for token, text in enumerate(texts))
        stored = tuple(tuple(map(tuple, each)) for each in prompts)
        return cls(tuple(texts), sizes, tuple(map(tuple, openings)), end, answer, stored)

    @property
    def size(self) -> int:
        """V."""
        return len(self.texts)

    @property
    def beginnings(self) -> list[tuple[tuple[int, ...], ...]]:
        """For each domain all that a model may be given to begin with: its prompts, or its opening."""
        stored = self.prompts or ((),) * len(self.openings)
        return [each or (opening,) for each, opening in zip(stored, self.openings, strict=True)]

    @property
    def prompt_bytes(self) -> int:
        """Bytes of text that are stored in prompts."""
        return sum(self.sizes[token] for each in self.prompts for prompt in each for token in prompt)

    def write(self, tokens: Iterable[int]) -> str:
        """The text of tokens; positions that do not count are left out."""
        joined = "".join(self.texts[token] for token in tokens if token != IGNORED)
        return _raw(joined).decode("utf-8", "replace")


def as_text(raw: bytes) -> str:
    """Bytes as a text, also those that are a part of a letter; texts that are joined give the letter back."""
    return raw.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
