"""From text to tokens: bytes, a tokeniser of Hugging Face, or one that is trained on the first domain."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dreamer.core import transformers
from dreamer.core.tokens import as_text

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SAID = "What was said."
"""Stands for a turn's content in a chat template."""
_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))


class Tokeniser(Protocol):
    """What turns text into tokens.

    Attributes:
        texts: what each of the V tokens stands for, see :class:`dreamer.core.tokens.Tokens`.
        marks: tokens that stand for no text, such as one for the beginning.
        beginning: the token with which every text begins; None where there is none.
        end: the token that ends a document; None where there is none.
    """

    texts: tuple[str, ...]
    marks: frozenset[int]
    beginning: int | None
    end: int | None

    def encode(self, text: str) -> Tensor:
        """(N,) int64 tokens, without beginning and end."""
        ...


class Bytes:
    """The 256 bytes of UTF-8: nothing to learn, and no text that it lacks.

    >>> Bytes().encode("né").tolist()
    [110, 195, 169]
    """

    texts = tuple(as_text(bytes([byte])) for byte in range(256))
    marks: frozenset[int] = frozenset()
    beginning: int | None = None
    end: int | None = None

    def encode(self, text: str) -> Tensor:
        raw = text.encode("utf-8", "surrogateescape")
        return torch.frombuffer(bytearray(raw), dtype=torch.uint8).long() if raw else torch.zeros(0, dtype=torch.int64)


class BytePairs:
    """Byte-level pairs, trained on a text by the library ``tokenizers``: ``pip install 'dreamer[language]'``.

    Args:
        text: what it is trained on; only that, so that later domains stay unknown to it.
        size: tokens of the vocabulary, at least the 256 bytes.

    Raises:
        ValueError: when the vocabulary is too small.
    """

    marks: frozenset[int] = frozenset()
    beginning: int | None = None
    end: int | None = None

    def __init__(self, text: str, size: int):
        if size < 256:
            raise ValueError(f"expected a vocabulary of at least the 256 bytes, got {size}")
        # a line at a time: pairs do not reach over lines
        self._pairs = transformers.byte_pairs(text.splitlines(keepends=True), size)
        numbers = self._pairs.get_vocab()
        self.texts = tuple(_of_bytes(name) for name in sorted(numbers, key=numbers.__getitem__))

    def encode(self, text: str) -> Tensor:
        return torch.tensor(self._pairs.encode(text).ids, dtype=torch.int64)


class HuggingFace:
    """A tokeniser of ``transformers``, with its marks for beginning and end.

    Args:
        tokeniser: a ``PreTrainedTokenizerBase``.

    Raises:
        TypeError: when it is none.
    """

    def __init__(self, tokeniser: Any):
        if not callable(getattr(tokeniser, "convert_ids_to_tokens", None)):
            raise TypeError(f"expected a tokeniser of transformers, got {type(tokeniser).__name__}")
        self.tokeniser = tokeniser
        self.marks = frozenset(tokeniser.all_special_ids)
        self.end = tokeniser.eos_token_id
        self.beginning = self.end if tokeniser.bos_token_id is None else tokeniser.bos_token_id
        names = tokeniser.convert_ids_to_tokens(list(range(len(tokeniser))))
        read = _of_bytes if _is_byte_level(names, self.marks) else _of_pieces
        self.texts = tuple(name if token in self.marks else read(name) for token, name in enumerate(names))

    def encode(self, text: str) -> Tensor:
        found = self.tokeniser(text, add_special_tokens=False, verbose=False)["input_ids"]
        return torch.tensor(found, dtype=torch.int64)

    def conversation(self, turns: Sequence[tuple[str, str]], opened: bool) -> str | None:
        """Turns of who speaks and what is said as the chat template writes them; None without one.

        Args:
            opened: end with the mark behind which the assistant begins to speak.

        Raises:
            ValueError: when the template refuses them.
        """
        if not getattr(self.tokeniser, "chat_template", None):
            return None
        return transformers.chat(self.tokeniser, turns, opened)

    @functools.cached_property
    def turn(self) -> str:
        """What the chat template writes up to where a user begins to speak; empty without one."""
        before, found, _ = (self.conversation([("user", _SAID)], False) or "").partition(_SAID)
        return before if found else ""

    def empty_turn(self) -> list[int]:
        """Its tokens."""
        return self.encode(self.turn).tolist()


def tokeniser_of(given: str | Any, first: str) -> Tokeniser:
    """The tokeniser that a stream was given.

    Args:
        given: ``bytes``; ``pairs:SIZE``, trained on the first domain; a folder or a name of a tokeniser of
            ``transformers``, or one itself; or a :class:`Tokeniser`.
        first: the training text of the first domain.

    Raises:
        ValueError: when it names nothing.
    """
    if not isinstance(given, (str, Path)):
        return given if hasattr(given, "texts") else HuggingFace(given)
    if given == "bytes":
        return Bytes()
    kind, _, size = str(given).partition(":")
    if kind == "pairs":
        if not size.isdigit():
            raise ValueError(f"expected pairs:SIZE, such as pairs:1024, got {given!r}")
        return BytePairs(first, int(size))
    return HuggingFace(transformers.tokeniser(str(given)))


def _is_byte_level(names: Iterable[str], marks: frozenset[int]) -> bool:
    table = _table()
    return all(token in marks or all(letter in table for letter in name) for token, name in enumerate(names))


def _of_bytes(name: str) -> str:
    """The text of a byte-level token."""
    table = _table()
    return as_text(bytes(table[letter] for letter in name))


def _of_pieces(name: str) -> str:
    """The text of a token of SentencePiece, whose spaces are underlines and whose rare bytes are named."""
    byte = _BYTE.fullmatch(name)
    return as_text(bytes([int(byte[1], 16)])) if byte else name.replace("\u2581", " ")


@functools.cache
def _table() -> dict[str, int]:
    """The byte of each letter in which byte-level tokens are written (Radford et al. 2019, ``bytes_to_unicode``)."""
    others = (byte for byte in range(256) if byte not in _PRINTABLE)
    return {**{chr(byte): byte for byte in _PRINTABLE}, **{chr(256 + place): byte for place, byte in enumerate(others)}}
