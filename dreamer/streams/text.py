"""Text files, folders and lists of strings as a stream of domains for a language model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least, fractions
from dreamer.core.tokens import IGNORED, Tokens
from dreamer.streams.base import Samples, Stream, TensorSamples, make_stream
from dreamer.streams.openings import Opened, Opening, openings_of
from dreamer.streams.sources import own_folder
from dreamer.streams.text_files import rows_of, text_files
from dreamer.streams.tokenisers import Tokeniser, tokeniser_of
from dreamer.streams.turns import KNOWN, TEXT, is_conversation, named, packed_turns, plain, turns_of

_STRAY = 0.01
"""Fraction of the bytes that a tokeniser may lose or add before bits per byte mean nothing."""


@checked
def text(
    root: str | Path | None = None,
    domains: Sequence[str] | None = None,
    tokeniser: str = "bytes",
    block: int = 128,
    opening: Opening = "mark",
    test: float = 0.05,
    validation: float = 0.05,
    split_seed: int = 0,
    column: str | None = None,
    prompts: Mapping[str, Sequence[str]] | None = None,
) -> Stream:
    """A folder of texts, a domain for each ``<domain>.txt`` or each folder ``<domain>/`` of such files.

    A ``.jsonl`` file has a document or a conversation in each line: a string, a mapping with ``text``, or one of the
    layouts of a conversation. See :func:`from_texts` for these, how texts become samples, and what is held out.

    Args:
        root: the folder; None means the environment variable ``DREAMER_DATA``.
        domains: names, in the order in which they are learnt; None takes all in the order of their names.
        tokeniser: ``bytes``; ``pairs:SIZE``, byte pairs trained on the first domain; or a folder, a ``.gguf`` file or a
            name of a tokeniser of ``transformers``.
        block: T, the tokens that a network reads of a sample.
        opening: what a text of a domain begins with: a ``mark`` of its own, the tokeniser's mark of ``beginning``, an
            empty ``turn`` of the user, or its ``name``.
        test: fraction of each domain that is test data, in (0, 1).
        validation: fraction of the training blocks that is held out, in [0, 1).
        split_seed: decides which.
        column: that of the texts in lines of JSON, whatever else they have; None takes conversations, or ``text``.
        prompts: short texts of a domain, by its name, with which :class:`dreamer.generators.OwnWords` begins.

    Raises:
        DataNotFound: when there is no such folder.
        ValueError: when it holds no text, a domain is missing, or a file is no text, or has a line that is no JSON.
    """
    place = own_folder("text", "texts", root)
    found = text_files(place)
    chosen = list(found) if domains is None else list(domains)
    for name in chosen:
        if name not in found:
            raise ValueError(f"stream 'text': {place} has no domain {name!r}, only {', '.join(found) or 'none'}")
    if domains is not None and not chosen:
        raise ValueError("stream 'text': expected at least one domain, got none")
    if not chosen:
        raise ValueError(
            f"stream 'text': expected <domain>.txt, <domain>.jsonl or <domain>/* with such files in {place}, found none"
        )
    texts = {name: [row for path in found[name] for row in rows_of(path)] for name in chosen}
    return from_texts(
        texts,
        tokeniser=tokeniser,
        block=block,
        opening=opening,
        test=test,
        validation=validation,
        split_seed=split_seed,
        column=column,
        prompts=prompts,
    )


@checked
def from_texts(
    domains: Mapping[str, str | Iterable[Any]],
    tokeniser: str | Any = "bytes",
    block: int = 128,
    opening: Opening = "mark",
    test: float = 0.05,
    validation: float = 0.05,
    split_seed: int = 0,
    column: str | None = None,
    prompts: Mapping[str, Sequence[str]] | None = None,
) -> Stream:
    """Texts by domain, each domain an experience; packed into blocks, every token predicted once.

    Rows with ``prompt`` and ``response`` or ``completion``, with ``instruction``, maybe ``input``, and ``output``, or
    with ``messages`` or ``conversations``, lists of ``role`` and ``content`` or ``from`` and ``value``, are
    conversations: the assistant's words alone count, in the tokeniser's chat template where it has one. Each begins a
    block.

    The documents of a domain are joined, by the tokeniser's mark of end where it has one, and cut into blocks. A block
    begins with the opening of its domain, which is given: no loss is taken there. The last block is filled up, and what
    fills it does not count. Test data are the documents in the middle or, of a domain with too few of them, the
    characters in the middle of each. Some training blocks are held out for validation.

    Args:
        domains: the texts by name: one string, an iterable of strings or of conversations, or a data set of Hugging
            Face.
        tokeniser: ``bytes``; ``pairs:SIZE``, byte pairs trained on the first domain; a folder or a name of a tokeniser
            of ``transformers``, or one itself.
        block: T, the tokens that a network reads of a sample.
        opening: ``mark`` adds a token to the vocabulary for each domain. ``beginning`` opens all with the tokeniser's
            mark of beginning and adds nothing, as a pretrained model needs it. ``turn`` opens all with the tokeniser's
            chat template, up to where the user's words begin (Magpie, Xu et al. 2024, arXiv 2406.08464). ``name``
            opens with the tokens of the domain's name and the end of a line. What the template itself writes of an
            opening is not written twice; a conversation that it begins with another turn has no ``turn`` before it.
        test: fraction of each domain that is test data, in (0, 1); with fewer than 1 / (2 * test) documents, of each.
        validation: fraction of the training blocks that is held out, in [0, 1).
        split_seed: decides which.
        column: that of the texts, in a data set, whatever else a row has; None takes conversations, or ``text``.
        prompts: short texts of a domain, by its name, with one of which, behind the opening, a generator that writes
            begins each of its texts; None stores none. Samples do not change.

    Returns:
        Samples of shape (block,), int64 tokens, and as many next tokens: see :class:`dreamer.problems.Language`.

    Raises:
        ValueError: when a domain has no text, or too little of it, or the tokeniser lacks what the opening needs or
            loses bytes; when a document holds zero bytes; when a row could be read in several ways.

    >>> stream = from_texts({"cats": "miaow " * 100, "dogs": "wow " * 200}, block=16)
    >>> stream.sample_shape, stream.num_classes, stream.class_names
    ((16,), 258, ('cats', 'dogs'))
    """
    at_least(1, block=block)
    fractions(test=test, validation=validation)
    if not domains:
        raise ValueError("stream 'text': expected at least one domain, got none")
    rows = {name: [given] if isinstance(given, str) else list(given) for name, given in domains.items()}
    spoken = {
        name: _held_out([turns_of(row, name) for row in given], test)
        for name, given in rows.items()
        if column is None and given and is_conversation(given[0])
    }
    parts = {name: _divided(_documents(name, rows[name], column), test) for name in rows if name not in spoken}
    first = next(iter(rows))
    learnt_first = map(plain, spoken[first][0]) if first in spoken else (piece for piece, _ in parts[first][0])
    chosen = tokeniser_of(tokeniser, "".join(learnt_first))
    openings, vocabulary, marks = openings_of(chosen, list(domains), opening)
    stored = () if prompts is None else _prompts(chosen, list(domains), openings, prompts)
    tokens = Tokens.of(vocabulary, [start.tokens for start in openings], marks, prompts=stored)
    longest = max(map(len, tokens.openings))
    if longest > block:
        raise ValueError(f"stream 'text': expected blocks longer than the opening of {longest} tokens, got {block}")
    pairs: list[tuple[Samples, Samples]] = []
    for name, start in zip(rows, openings, strict=True):
        if name in spoken:
            learnt, tested = (TensorSamples(*packed_turns(chosen, part, start, block)) for part in spoken[name])
        else:
            joined = [_joined(chosen, tokens, pieces, name) for pieces in parts[name]]
            learnt, tested = (_packed(part, start.tokens, block) for part in joined)
        if not len(learnt) or not len(tested):
            raise ValueError(f"stream 'text': domain {name!r} has too little text to hold {test:.0%} of it out")
        pairs.append((learnt, tested))
    return make_stream(
        "text",
        pairs,
        validation=validation,
        split_seed=split_seed,
        scenario="domain",
        class_names=list(domains),
        tokens=tokens,
    )


def held_out(
    root: str | Path, tokeniser: str | Any = "bytes", block: int = 128, most: int | None = None
) -> tuple[dict[str, Samples], Tokens]:
    """All text of a folder as blocks to be scored, a set for each ``<name>.txt`` or each folder ``<name>/`` of files.

    Of conversations in a ``<name>.jsonl`` the responses are scored.

    Args:
        tokeniser: as for :func:`from_texts`. Texts open with its mark of beginning, or, without any, with the end of a
            line.
        block: T, the tokens that a model reads of a sample.
        most: blocks of each set, evenly spread over its text; None takes all.

    Raises:
        ValueError: when there is no text, or the tokeniser loses bytes.
    """
    place = Path(root)
    found = text_files(place) if place.is_dir() else {}
    if not found:
        raise ValueError(f"expected a folder with <name>.txt or <name>/*.txt at {str(place)!r}, found none")
    given = {name: [row for path in found[name] for row in rows_of(path)] for name in found}
    chosen = tokeniser_of(tokeniser, "")
    begun = chosen.beginning is not None
    opening = openings_of(chosen, [""], "beginning").each[0] if begun else Opened(tuple(chosen.encode("\n").tolist()))
    tokens = Tokens.of(chosen.texts, [opening.tokens] * len(given), chosen.marks)
    sets: dict[str, Samples] = {}
    for name, rows_given in given.items():
        if rows_given and is_conversation(rows_given[0]):
            turns = [turns_of(row, name) for row in rows_given]
            packed = TensorSamples(*packed_turns(chosen, turns, opening, block))
        else:
            pieces = [(document, True) for document in _documents(name, rows_given, None)]
            packed = _packed(_joined(chosen, tokens, pieces, name), opening.tokens, block)
        count = len(packed) if most is None else min(most, len(packed))
        rows = torch.linspace(0, len(packed) - 1, count).round().long()
        sets[name] = TensorSamples(packed.x[rows], packed.y[rows])
    return sets, tokens


# ---------------------------------------------------------------- reading


def _documents(name: str, given: str | Iterable[Any], column: str | None) -> list[str]:
    if isinstance(given, str):
        documents = [given]
    else:
        documents = [_document(name, row, column) for row in given]
    if not any(document.strip() for document in documents):
        raise ValueError(f"stream 'text': domain {name!r} has no text")
    if any("\0" in document for document in documents):
        raise ValueError(f"stream 'text': domain {name!r} has a document that is no text: it holds zero bytes")
    return documents


def _document(name: str, row: Any, column: str | None) -> str:
    wanted = TEXT if column is None else column
    found = row[wanted] if isinstance(row, Mapping) and row.get(wanted) is not None else row
    if not isinstance(found, str):
        raise ValueError(
            f"stream 'text': domain {name!r}: expected strings, or rows with a column {wanted!r}, or with {KNOWN}, got "
            f"{named(found)}"
        )
    return found


# ---------------------------------------------------------------- packing


Piece = tuple[str, bool]
"""A text, and whether a document ends with it."""


def _divided(documents: Sequence[str], test: float) -> tuple[list[Piece], list[Piece]]:
    """The texts for training and those for the test, from the middle: whole documents where there are enough."""
    count = round(len(documents) * test)
    if count:
        start = (len(documents) - count) // 2
        pieces = [(document, True) for document in documents]
        return [*pieces[:start], *pieces[start + count :]], pieces[start : start + count]
    learnt, tested = [], []
    for document in documents:
        length = round(len(document) * test)
        start = (len(document) - length) // 2
        learnt += [(document[:start], False), (document[start + length :], True)]
        tested.append((document[start : start + length], False))
    return learnt, tested


def _held_out(conversations: Sequence[Any], test: float) -> tuple[Sequence[Any], Sequence[Any]]:
    """The conversations for training and those for the test, from the middle: at least one of several."""
    count = max(1, round(len(conversations) * test)) if test and len(conversations) > 1 else 0
    start = (len(conversations) - count) // 2
    return [*conversations[:start], *conversations[start + count :]], conversations[start : start + count]


def _prompts(
    chosen: Tokeniser, names: Sequence[str], openings: Sequence[Opened], given: Mapping[str, Sequence[str]]
) -> list[list[tuple[int, ...]]]:
    """The prompts of each domain, behind its opening."""
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"stream 'text': there are prompts of {unknown[0]!r}, but only the domains {', '.join(names)}")
    for name, texts in given.items():
        if isinstance(texts, str) or not texts or not all(texts):
            raise ValueError(
                f"stream 'text': domain {name!r}: expected a list of prompts, each a text that is not empty, got "
                f"{texts!r:.60}"
            )
    return [
        [(*start.tokens, *chosen.encode(prompt).tolist()) for prompt in given.get(name, ())]
        for name, start in zip(names, openings, strict=True)
    ]


def _joined(chosen: Tokeniser, tokens: Tokens, pieces: Iterable[Piece], name: str) -> Tensor:
    """(N,) tokens of the pieces, with the mark of end behind each document."""
    end = torch.tensor([] if chosen.end is None else [chosen.end], dtype=torch.int64)
    texts = [(piece, ends) for piece, ends in pieces if piece]
    encoded = [chosen.encode(piece) for piece, _ in texts]
    if not encoded:
        return end[:0]
    held = int(torch.tensor(tokens.sizes)[torch.cat(encoded)].sum())
    written = sum(len(piece.encode()) for piece, _ in texts)
    if abs(held - written) > _STRAY * written:
        raise ValueError(
            f"stream 'text': domain {name!r} has {written} bytes, and its tokens stand for {held}: bits per byte need "
            "a tokeniser that keeps every byte"
        )
    return torch.cat([torch.cat([part, end[:ends]]) for part, (_, ends) in zip(encoded, texts, strict=True)])


def _packed(tokens: Tensor, opening: Sequence[int], block: int) -> TensorSamples:
    """Blocks in which every token is predicted once, behind the opening.

    Args:
        tokens: (N,).

    Returns:
        Samples of shape (block,) with as many next tokens.
    """
    room = block + 1 - len(opening)
    count = -(-len(tokens) // room)
    text = torch.full((count * room,), IGNORED, dtype=torch.int64)
    text[: len(tokens)] = tokens
    start = torch.tensor(opening, dtype=torch.int64).expand(count, -1)
    blocks = torch.cat([start, text.view(count, room)], dim=1)
    targets = blocks[:, 1:].clone()
    targets[:, : len(opening) - 1] = IGNORED
    # what a filled-up place holds is not seen by what counts
    return TensorSamples(blocks[:, :-1].clamp(min=0), targets)
