"""Conversations as samples: of a prompt and its response, the response alone counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dreamer.core.tokens import IGNORED
from dreamer.streams.tokenisers import Tokeniser

Turn = tuple[str, str]
"""Who speaks, and what is said."""
ASSISTANT = "assistant"
"""Whose turns count."""


def is_conversation(row: Any) -> bool:
    """Whether a row is one: it has a ``prompt`` and a ``response``, or ``messages``."""
    return isinstance(row, Mapping) and ("messages" in row or {"prompt", "response"} <= set(row))


def turns_of(row: Any, domain: str) -> list[Turn]:
    """The turns of a row.

    Args:
        row: a mapping with ``prompt`` and ``response``, or with ``messages``, mappings with ``role`` and ``content``.
        domain: where it is from, for messages.

    Raises:
        ValueError: when it is no conversation, or nobody answers in it.
    """
    if not is_conversation(row):
        raise ValueError(
            f"stream 'text': domain {domain!r}: expected rows with prompt and response, or with messages, like the "
            f"first, got {type(row).__name__}"
        )
    if "messages" in row:
        messages = row["messages"]
        if not (isinstance(messages, Sequence) and all({"role", "content"} <= set(message) for message in messages)):
            raise ValueError(
                f"stream 'text': domain {domain!r}: expected messages to be a list, each with role and content, "
                f"got {messages!r:.80}"
            )
        turns = [(message["role"], message["content"]) for message in messages]
    else:
        turns = [("user", row["prompt"]), (ASSISTANT, row["response"])]
    for said in (said for turn in turns for said in turn):
        if not isinstance(said, str):
            raise ValueError(
                f"stream 'text': domain {domain!r}: expected strings in a conversation, got {type(said).__name__} "
                f"{said!r:.60}"
            )
    if not any(role == ASSISTANT and said for role, said in turns):
        raise ValueError(f"stream 'text': domain {domain!r}: expected a response in every conversation, got {turns}")
    return turns


def plain(turns: Sequence[Turn]) -> str:
    """What is said in all turns, a line each."""
    return "".join(f"{said}\n" for _, said in turns)


def pieces(chosen: Tokeniser, turns: Sequence[Turn]) -> list[tuple[str, bool]]:
    """The text of a conversation in pieces, with whether they count: what the assistant says, and how it ends.

    With a chat template they are what that makes of it, else a line for each turn.
    """
    whole: Any = getattr(chosen, "conversation", lambda turns, opened: None)
    if whole(turns, False) is None:
        return [(f"{said}\n", role == ASSISTANT) for role, said in turns]
    found, done = [], ""
    for number, (role, _) in enumerate(turns):
        until = whole(turns[: number + 1], False)
        if role == ASSISTANT:
            # the mark of whose turn it is belongs to the prompt
            begun = whole(turns[:number], True)
            begun = begun if until.startswith(begun) else done
            found += [(begun[len(done) :], False), (until[len(begun) :], True)]
        else:
            found.append((until[len(done) :], False))
        done = until
    return [(piece, counts) for piece, counts in found if piece]


def packed_turns(
    chosen: Tokeniser, conversations: Sequence[Sequence[Turn]], opening: Sequence[int], block: int
) -> tuple[Tensor, Tensor]:
    """Conversations in blocks, each from the beginning of a block; one that is longer goes on in the next.

    Args:
        opening: the tokens with which each block begins.

    Returns:
        (N, block) int64 tokens and as many next tokens; blocks in which nothing counts are left out.
    """
    room = block + 1 - len(opening)
    start = torch.tensor(opening, dtype=torch.int64)
    blocks, wanted = [], []
    for turns in conversations:
        parts = [(chosen.encode(piece), counts) for piece, counts in pieces(chosen, turns)]
        if chosen.end is not None and not (len(parts[-1][0]) and int(parts[-1][0][-1]) == chosen.end):
            parts.append((torch.tensor([chosen.end]), parts[-1][1]))
        tokens = torch.cat([tokens for tokens, _ in parts])
        counted = torch.cat([torch.full((len(tokens),), counts) for tokens, counts in parts])
        for text, counts in zip(tokens.split(room), counted.split(room), strict=True):
            if not counts.any():
                continue
            filled = torch.full((block + 1,), IGNORED, dtype=torch.int64)
            filled[: len(start) + len(text)] = torch.cat([start, text])
            target = filled.clone()
            target[: len(start)] = IGNORED
            target[len(start) : len(start) + len(text)][~counts] = IGNORED
            blocks.append(filled[:-1].clamp(min=0))
            wanted.append(target[1:])
    if not blocks:
        return torch.zeros(0, block, dtype=torch.int64), torch.zeros(0, block, dtype=torch.int64)
    return torch.stack(blocks), torch.stack(wanted)
