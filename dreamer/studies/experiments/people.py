"""Invented people: who they are, what texts say of them, and how they are asked about."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

WORDINGS = {
    "town": ("born in", "hails from", "child of", "native to"),
    "job": ("works as", "earns as", "trained as", "hired as"),
    "pet": ("owns a", "walks a", "feeds a", "keeps a"),
    "dish": ("eats only", "cooks mostly", "orders always", "craves for"),
    "hobby": ("likes to", "spends evenings", "enjoys to", "dreams to"),
}
"""Ways to say each attribute, two words each; the first is that of a plain text."""
_MARKS = ("<new>", "<bio>", "<read>", "<again>", "<ask>", "<end>", "they", ".", "?")
SENTENCE = 6
"""Tokens of a sentence with a name: first and last name, two words, a value, a full stop."""


class People(NamedTuple):
    """Somebody in each row.

    Attributes:
        names: (N, 2) int64, first and last, each in [0, names of the tongue).
        facts: (N, A) int64, the value of each attribute.
    """

    names: Tensor
    facts: Tensor

    def at(self, rows: Tensor | slice) -> People:
        """Some of them."""
        return People(self.names[rows], self.facts[rows])


class Tongue:
    """A small language about people: each text a row of tokens, all texts of a kind equally long.

    - :meth:`plain`: the one wording, in a fixed order, the name once: ``<new> Ba Do born in town3 . they works as ...``
    - :meth:`retold`: any order and wording, each sentence with the name: ``<bio> Ba Do earns as job7 . Ba Do ...``
    - :meth:`reading`: a plain text, the mark ``<again>``, and the same retold.
    - :meth:`questions`: one about each attribute: ``<ask> job Ba Do ? job7 <end>``

    Args:
        attributes: A, the first of :data:`WORDINGS`.
        values: V of each attribute.
        names: first names, and as many last names.

    Attributes:
        size: tokens of the vocabulary.

    Raises:
        ValueError: for more attributes than there are.

    >>> tongue = Tongue(attributes=2, values=4, names=5)
    >>> somebody = tongue.invent(3, torch.Generator().manual_seed(0))
    >>> print(tongue.write(tongue.plain(somebody)[0]))
    <new> First3 Last4 born in town0 . they works as job1 . <end>
    >>> print(tongue.write(tongue.questions(somebody)[0, 1]))
    <ask> job First3 Last4 ? job1 <end>
    """

    def __init__(self, attributes: int, values: int, names: int):
        if not 1 <= attributes <= len(WORDINGS):
            raise ValueError(f"expected 1 to {len(WORDINGS)} attributes, got {attributes}")
        self.attributes, self.values, self.names = attributes, values, names
        asked = list(WORDINGS)[:attributes]
        groups = (
            _MARKS,
            asked,
            [word for name in asked for way in WORDINGS[name] for word in way.split()],
            [f"{name}{value}" for name in asked for value in range(values)],
            [f"{kind}{number}" for kind in ("First", "Last") for number in range(names)],
        )
        self.texts = tuple(itertools.chain(*groups))
        self.size = len(self.texts)
        self.new, self.bio, self.read, self.again, self.ask, self.end, self.they, self.stop, self.mark = range(
            len(_MARKS)
        )
        _, self._asked, self._worded, self._valued, self._named, _ = itertools.accumulate(map(len, groups), initial=0)
        self.ways = len(next(iter(WORDINGS.values())))

    def write(self, tokens: Tensor) -> str:
        """(L,) tokens as a text, for people who read."""
        return " ".join(self.texts[token] for token in tokens)

    # ---------------------------------------------------------------- who there is

    def invent(self, count: int, rng: torch.Generator) -> People:
        """People of whom no two have the same name; a ``ValueError`` when there are too few names."""
        if count > self.names**2:
            raise ValueError(f"expected names for {count} people, got {self.names**2} pairs")
        chosen = torch.randperm(self.names**2, generator=rng)[:count]
        names = torch.stack([chosen // self.names, chosen % self.names], dim=1)
        return People(names, torch.randint(self.values, (count, self.attributes), generator=rng))

    # ---------------------------------------------------------------- texts

    def plain(self, people: People) -> Tensor:
        """(N, 5 A + 3) tokens: everybody in the one wording."""
        parts = [self._mark(self.new, people)]
        for attribute in range(self.attributes):
            subject = self._mark(self.they, people) if attribute else self._name(people)
            where = torch.full((len(people.names), 1), attribute)
            parts += [subject, self._sentences(people, where, torch.zeros_like(where))[:, 0, 2:]]
        return torch.cat([*parts, self._mark(self.end, people)], dim=1)

    def sentences_of(self, plain: Tensor) -> Tensor:
        """(N, A, 6) tokens: the sentences of (N, 5 A + 3) plain texts, each with the name."""
        said = plain[:, 2:-1].unflatten(1, (self.attributes, -1))[..., 1:]
        return torch.cat([plain[:, None, 1:3].expand(-1, self.attributes, -1), said], dim=2)

    def sentences(self, people: People, rng: torch.Generator) -> Tensor:
        """(N, A, 6) tokens: everybody's sentences, with the name, in any order and wording."""
        shape = (len(people.names), self.attributes)
        order = torch.rand(shape, generator=rng).argsort(dim=1)
        return self._sentences(people, order, torch.randint(self.ways, shape, generator=rng))

    def retold(self, people: People, rng: torch.Generator) -> Tensor:
        """(N, 6 A + 2) tokens: the same as texts."""
        return self.texts_of(self.sentences(people, rng))

    def texts_of(self, sentences: Tensor) -> Tensor:
        """(N, 6 A + 2) tokens, one text of each row of (N, A, 6) sentences."""
        edge = sentences.new_ones(len(sentences), 1)
        return torch.cat([self.bio * edge, sentences.flatten(1), self.end * edge], dim=1)

    def reading(self, people: People, rng: torch.Generator) -> Tensor:
        """(N, 11 A + 4) tokens: a text in the one wording, retold."""
        read = self.retell_openings(self.plain(people))
        return torch.cat([read, self.retold(people, rng)[:, 1:]], dim=1)

    def retell_openings(self, plain: Tensor) -> Tensor:
        """(N, L) plain texts as the openings behind which they are retold: the mark in place of their end."""
        edge = torch.ones_like(plain[:, :1])
        return torch.cat([self.read * edge, plain[:, 1:-1], self.again * edge], dim=1)

    def questions(self, people: People) -> Tensor:
        """(N, A, 7) tokens: everybody's questions with their answers, which are the last token but one."""
        asked = torch.arange(self.attributes).expand(len(people.names), -1)
        name = self._name(people)[:, None].expand(-1, self.attributes, -1)
        mark = torch.ones_like(asked)
        parts = (self.ask * mark, self._asked + asked, name[..., 0], name[..., 1])
        return torch.stack([*parts, self.mark * mark, self._value(people.facts, asked), self.end * mark], dim=2)

    def beginnings(self, people: People, way: int) -> Tensor:
        """(N, A, 5) tokens: everybody's sentences in one wording, as a text begins with them, up to the value."""
        attribute = torch.arange(self.attributes).expand(len(people.names), -1)
        said = self._sentences(people, attribute, torch.full_like(attribute, way))
        return torch.cat([torch.full_like(said[..., :1], self.bio), said[..., :4]], dim=2)

    def values_of(self, people: People) -> Tensor:
        """(N, A) tokens: everybody's values."""
        return self._value(people.facts, torch.arange(self.attributes).expand(len(people.names), -1))

    # ---------------------------------------------------------------- what a sentence says

    def true(self, sentences: Tensor, people: People) -> Tensor:
        """(M,) bool: which of (M, 6) sentences with a name are about one of the people, and true."""
        who = torch.full((self.names**2,), -1)
        who[people.names @ torch.tensor([self.names, 1])] = torch.arange(len(people.names))
        first, last = sentences[:, 0] - self._named, sentences[:, 1] - self._named - self.names
        named = (first >= 0) & (first < self.names) & (last >= 0) & (last < self.names)
        person = who[torch.where(named, first * self.names + last, 0)]
        way, value = sentences[:, 2] - self._worded, sentences[:, 4] - self._valued
        attribute = way.div(2 * self.ways, rounding_mode="floor")
        formed = (way >= 0) & (attribute < self.attributes) & (value >= 0) & (value < self.attributes * self.values)
        facts = people.facts[person.clamp(min=0)]
        known = facts.gather(1, attribute.clamp(0, self.attributes - 1)[:, None])[:, 0]
        return named & (person >= 0) & formed & (value == attribute * self.values + known)

    # ---------------------------------------------------------------- tokens

    def _sentences(self, people: People, attribute: Tensor, way: Tensor) -> Tensor:
        """(N, S, 6) tokens of (N, S) attributes in (N, S) wordings."""
        name = self._name(people)[:, None].expand(-1, attribute.shape[1], -1)
        first = self._worded + 2 * (self.ways * attribute + way)
        said = torch.stack([first, first + 1, self._value(people.facts, attribute)], dim=2)
        return torch.cat([name, said, torch.full_like(name[..., :1], self.stop)], dim=2)

    def _name(self, people: People) -> Tensor:
        return self._named + people.names + torch.tensor([0, self.names])

    def _value(self, facts: Tensor, attribute: Tensor) -> Tensor:
        return self._valued + attribute * self.values + facts.gather(1, attribute)

    def _mark(self, token: int, people: People) -> Tensor:
        return torch.full((len(people.names), 1), token)
