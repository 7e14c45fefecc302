"""With what the texts of a domain begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from dreamer.streams.tokenisers import Tokeniser

Opening = Literal["mark", "beginning", "turn", "name"]


class Opened(NamedTuple):
    """The opening of a domain's texts.

    Attributes:
        tokens: its tokens.
        template: what a chat template writes of it by itself; empty where it writes none of it.
        optional: whether a conversation that the template begins in another way does without it.
    """

    tokens: tuple[int, ...]
    template: str = ""
    optional: bool = False

    def before(self, conversation: str) -> tuple[tuple[int, ...], str]:
        """The tokens that come first, and what is left of a conversation as it is written: nothing is there twice.

        >>> Opened((3,), "<start>").before("<start>user: hello")
        ((3,), 'user: hello')
        """
        left_out = self.optional and not conversation.startswith(self.template)
        return () if left_out else self.tokens, conversation.removeprefix(self.template)


class Openings(NamedTuple):
    """The openings of some domains, and the vocabulary with what they add.

    Attributes:
        each: that of each domain.
        texts: what the V tokens stand for.
        marks: those of them that stand for no text.
    """

    each: list[Opened]
    texts: tuple[str, ...]
    marks: frozenset[int]


def openings_of(chosen: Tokeniser, names: Sequence[str], opening: Opening) -> Openings:
    """The openings of domains by their names.

    Raises:
        ValueError: when the tokeniser lacks what it needs; or an opening has no tokens.
    """
    texts, marks, size = chosen.texts, chosen.marks, len(chosen.texts)
    turn: str = getattr(chosen, "turn", "")
    if opening == "mark":
        added = range(size, size + len(names))
        each = [Opened((token,)) for token in added]
        return Openings(each, (*texts, *map("<{}>".format, names)), marks.union(added))
    if opening == "name":
        return Openings([Opened(tuple(chosen.encode(f"{name}\n").tolist())) for name in names], texts, marks)
    if opening == "turn":
        if not turn:
            raise ValueError(
                "stream 'text': opening='turn' needs a tokeniser with a chat template that says how a user begins to "
                f"speak, expected opening='mark', 'beginning' or 'name' with {type(chosen).__name__}"
            )
        return Openings([Opened(tuple(chosen.encode(turn).tolist()), turn, optional=True)] * len(names), texts, marks)
    if chosen.beginning is None:
        raise ValueError(
            "stream 'text': opening='beginning' needs a tokeniser with a mark of beginning or end, expected "
            f"opening='mark' or 'name' with {type(chosen).__name__}"
        )
    mark = texts[chosen.beginning]
    return Openings([Opened((chosen.beginning,), mark if turn.startswith(mark) else "")] * len(names), texts, marks)
