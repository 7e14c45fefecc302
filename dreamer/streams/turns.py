"""Conversations as samples: of a prompt and its response, the response alone counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamer.core.tokens import IGNORED
from dreamer.streams.openings import Opened
from dreamer.streams.tokenisers import Tokeniser

TEXT = "text"
"""The column of a document."""
Turn = tuple[str, str]
"""Who speaks, and what is said."""
USER, ASSISTANT = "user", "assistant"
"""Who asks, and whose turns count."""


class Layout(NamedTuple):
    """How a conversation lies in a row.

    Attributes:
        speakers: who speaks in which column; None where a column is a list of turns that say so themselves.
        optional: columns that a row may lack, or leave empty.
    """

    speakers: Mapping[str, str | None]
    optional: frozenset[str] = frozenset()

    @property
    def needed(self) -> list[str]:
        """The columns by which it is known."""
        return [column for column in self.speakers if column not in self.optional]

    @property
    def name(self) -> str:
        """These, for messages."""
        return " and ".join(self.needed)


LAYOUTS = (
    Layout({"prompt": USER, "response": ASSISTANT}),
    Layout({"prompt": USER, "completion": ASSISTANT}),  # TRL
    Layout({"instruction": USER, "input": USER, "output": ASSISTANT}, frozenset({"input"})),  # Alpaca
    Layout({"messages": None}),
    Layout({"conversations": None}),  # ShareGPT
)
"""Those that are read."""
KNOWN = f"{', '.join(layout.name for layout in LAYOUTS[:-1])}, or {LAYOUTS[-1].name}"
"""Their columns, for messages."""
_IN_A_LIST = (("role", "content"), ("from", "value"))
"""What a turn of a list has: who speaks, and what is said."""
_SPEAKERS = {"human": USER, "gpt": ASSISTANT, "system": "system", USER: USER, ASSISTANT: ASSISTANT}
"""Who speaks, by what ``from`` calls them; a ``role`` is what it says."""


def is_conversation(row: Any) -> bool:
    """Whether a row is one, in any of the :data:`LAYOUTS`; a column without a value is as good as none."""
    return bool(_layouts(row))


def turns_of(row: Any, domain: str) -> list[Turn]:
    r"""The turns of a row.

    Args:
        row: a mapping in one of the :data:`LAYOUTS`.
        domain: where it is from, for messages.

    Raises:
        ValueError: when it is no conversation, or could be several, or nobody answers in it.

    >>> turns_of({"instruction": "Add.", "input": "1, 2", "output": "3"}, "sums")
    [('user', 'Add.\n1, 2'), ('assistant', '3')]
    """
    where = f"stream 'text': domain {domain!r}"
    found = _layouts(row)
    ways = [layout.name for layout in found]
    if not found:
        raise ValueError(f"{where}: expected rows with {KNOWN}, like the first, got {named(row)}")
    ways += [TEXT] if _has(row, TEXT) else []
    if len(ways) > 1:
        raise ValueError(
            f"{where}: expected one text or conversation in a row, got {' beside '.join(ways)}: leave all but one out, "
            "or say column=... to take a column as it is"
        )
    turns: list[Turn] = []
    for column, speaker in found[0].speakers.items():
        said = row.get(column)
        if column in found[0].optional and not said:
            continue
        if speaker is None:
            turns += _listed(said, column, where)
        elif turns and turns[-1][0] == speaker:
            turns[-1] = (speaker, f"{_said(turns[-1][1], where)}\n{_said(said, where)}")
        else:
            turns.append((speaker, _said(said, where)))
    if not any(role == ASSISTANT and said for role, said in turns):
        raise ValueError(f"{where}: expected a response in every conversation, got {turns}")
    return turns


def _layouts(row: Any) -> list[Layout]:
    return [layout for layout in LAYOUTS if all(_has(row, column) for column in layout.needed)]


def _listed(turns: Any, column: str, where: str) -> list[Turn]:
    """The turns of a list, each with its speaker."""
    known = " or ".join(" and ".join(keys) for keys in _IN_A_LIST)
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise ValueError(f"{where}: expected {column} to be a list, each with {known}, got {turns!r:.80}")
    made = []
    for turn in turns:
        keys = [(who, what) for who, what in _IN_A_LIST if _has(turn, who) and what in turn]
        if len(keys) != 1:
            raise ValueError(f"{where}: expected {column} to be a list, each with {known}, got {turn!r:.80}")
        role, said = (_said(turn[key], where) for key in keys[0])
        if keys[0][0] == "from":
            if role not in _SPEAKERS:
                raise ValueError(f"{where}: expected turns from {', '.join(_SPEAKERS)}, got one from {role!r}")
            role = _SPEAKERS[role]
        made.append((role, said))
    return made


def _has(row: Any, column: str) -> bool:
    """Whether a row has a value there: data sets that were joined have all columns, and none in those of others."""
    return isinstance(row, Mapping) and row.get(column) is not None


def _said(said: Any, where: str) -> str:
    if not isinstance(said, str):
        raise ValueError(f"{where}: expected strings in a conversation, got {type(said).__name__} {said!r:.60}")
    return said


def named(row: Any) -> str:
    """What a row is, for messages: the columns that have a value."""
    if not isinstance(row, Mapping):
        return type(row).__name__
    return f"one with {', '.join(repr(column) for column in row if _has(row, column)) or 'nothing'}"


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
    chosen: Tokeniser, conversations: Sequence[Sequence[Turn]], opening: Opened, block: int
) -> tuple[Tensor, Tensor]:
    """Conversations in blocks, each from the beginning of a block; one that is longer goes on in the next.

    Args:
        opening: with which each block begins; what the chat template writes of it by itself is not there twice.

    Returns:
        (N, block) int64 tokens and as many next tokens; blocks in which nothing counts are left out.
    """
    blocks, wanted = [], []
    for turns in conversations:
        (first, first_counts), *others = pieces(chosen, turns)
        lead, first = opening.before(first)
        parts = [(chosen.encode(piece), counts) for piece, counts in ((first, first_counts), *others)]
        if chosen.end is not None and not bool((parts[-1][0] == chosen.end).any()):
            parts.append((torch.tensor([chosen.end]), parts[-1][1]))
        tokens = torch.cat([tokens for tokens, _ in parts])
        counted = torch.cat([torch.full((len(tokens),), counts) for tokens, counts in parts])
        done = 0
        while done < len(tokens):
            start = torch.tensor(opening.tokens if done else lead, dtype=torch.int64)
            until = done + block + 1 - len(start)
            text, counts = tokens[done:until], counted[done:until]
            done = until
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
