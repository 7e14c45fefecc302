"""An empty room for a reader: it has read of people in one wording, is asked in another form, and reads no more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dreamer.core.files import write_text
from dreamer.core.limits import above, at_least
from dreamer.core.randomness import Purpose, randoms
from dreamer.networks.decoder import Decoder
from dreamer.studies.experiments.base import CellResult, Experiment, Measure
from dreamer.studies.experiments.decoders import packed, train_decoder, trained_once, write
from dreamer.studies.experiments.people import People, Tongue
from dreamer.studies.experiments.training import initialise

Rest = Literal["nothing", "text", "own_words", "own_reordered", "own_recombined", "text_recombined", "by_hand"]
WORDS = "words.txt"
_ASKED, _READ = 0.15, 0.4
"""Of what it learnt of others, how much are questions, and how much is reading and retelling."""


@dataclass(eq=False)
class LanguageFacts(Experiment):
    """A language model reads invented facts about people in one wording, and is asked about them in another form.

    Awake it reads two things side by side. Of *new* people it reads plain texts, all in one wording. Of *others* it
    learns the language: texts in many orders and wordings, questions with answers, and retelling: a plain text about
    somebody whose facts hold in this text alone, followed by the same in other words (:class:`Tongue`). Then it is left
    alone. Half of each batch stays what it learnt of others, in every arm, so that it does not forget how questions
    are asked; the other half is the arm, for as many tokens. No text about new people ever holds a question.

    The own words are written by a frozen copy from the time before the rest, from nothing but the mark ``<new>``. They
    are recombined by that same copy: behind each of its plain texts it is given the mark ``<again>``, and retells it;
    then sentences about different people are mixed in one text. Facts read in one wording can hardly be asked about,
    in many they can: Allen-Zhu and Li 2023, "Physics of language models 3.1", arXiv 2309.14316; recombination of
    what was read as training data: EntiGraph, Yang et al. 2024, arXiv 2409.07431.

    Args:
        people: new ones.
        others: other ones.
        attributes: of each, at most five.
        values: of each attribute.
        names: first names, and as many last ones; people and others have at most ``names`` x ``names``.
        width: of the decoder.
        layers: of it.
        wake: optimiser steps of reading.
        rest: what fills the time afterwards: ``nothing``; the same ``text`` again; its ``own_words``; these in another
            order (``own_reordered``); retold and mixed (``own_recombined``); the text itself retold by it and mixed
            (``text_recombined``); or true texts in all wordings, mixed (``by_hand``).
        steps: optimiser steps of the rest.
        texts_each: texts about new people that the rest draws from, so many for each of them.
        batch_size: rows of 11 A + 4 tokens.
        lr: of AdamW, awake.
        rest_lr: in the rest.

    Raises:
        ValueError: when a number is below its least, or there are too few names.
    """

    measures = {
        "accuracy": Measure(
            "answers",
            "larger",
            fraction=True,
            hint="Questions about new people that are answered right, of all. Chance is one over the values.",
        ),
        "gain": Measure("gain since awake", "larger", fraction=True, hint="Answers at the end minus after reading."),
        "wordings": Measure(
            "other wordings",
            "larger",
            fraction=True,
            hint="Right values of new people behind their name and a wording that was used of others alone.",
        ),
        "stored": Measure(
            "its own wording", "larger", fraction=True, hint="Right values in the text that was read, word by word."
        ),
        "others": Measure("answers on others", "larger", fraction=True, hint="Questions about the other people."),
        "true": Measure("true sentences", "", fraction=True, hint="Of those about new people that the rest teaches."),
        "covered": Measure(
            "facts covered", "", fraction=True, hint="Facts that the rest states rightly, once or more."
        ),
    }
    axis = "step"

    people: int = 200
    others: int = 89
    attributes: int = 3
    values: int = 10
    names: int = 17
    width: int = 128
    layers: int = 2
    wake: int = 800
    rest: Rest = "own_recombined"
    steps: int = 400
    texts_each: int = 4
    batch_size: int = 42
    lr: float = 0.004
    rest_lr: float = 0.002

    def __post_init__(self) -> None:
        at_least(2, people=self.people, others=self.others, values=self.values, batch_size=self.batch_size)
        at_least(1, wake=self.wake, steps=self.steps, texts_each=self.texts_each, layers=self.layers)
        above(0, lr=self.lr, rest_lr=self.rest_lr)
        if self.people + self.others > self.names**2:
            raise ValueError(
                f"expected names for {self.people + self.others} people, got {self.names} x {self.names} pairs"
            )
        self._tongue = Tongue(self.attributes, self.values, self.names)

    def run(self, seed: int, folder: Path) -> CellResult:
        """Read, rest, and be asked on the way."""
        everybody = self._tongue.invent(self.people + self.others, randoms(seed, Purpose.TEXT))
        new, others = everybody.at(slice(0, self.people)), everybody.at(slice(self.people, None))
        length = 11 * self.attributes + 4
        network = initialise(
            Decoder,
            seed,
            sample_shape=(length - 1,),
            outputs=self._tongue.size,
            width=self.width,
            layers=self.layers,
            heads=4,
            base=100.0,
        )
        plain = self._tongue.plain(new)

        def read(texts: Tensor, phase: int) -> Callable[[int], Tensor]:
            """The batches of a phase: texts about new people, and as many tokens about others."""

            def draw(step: int) -> Tensor:
                rng = randoms(seed, Purpose.ORDER, phase, step)
                rows = self.batch_size // 2
                return torch.cat([packed(texts, rows, length, rng), self._school(others, rows, length, rng)])

            return draw

        def wake() -> None:
            train_decoder(network, read(plain, 0), self.wake, self.lr)

        trained_once(network, folder.parents[1] / f"wake-{seed}-{self._digest()}", wake)
        steps, asked = [0], [self._answered(network, new)]
        texts, found = self._texts(network, new, plain, seed, folder)

        def watch(step: int) -> None:
            if step % -(-self.steps // 8) == 0 or step == self.steps:
                steps.append(step)
                asked.append(self._answered(network, new))

        if texts is not None:
            train_decoder(network, read(texts, 1), self.steps, self.rest_lr, watch=watch)
        outcomes = {
            "accuracy": asked[-1],
            "gain": asked[-1] - asked[0],
            "wordings": self._reworded(network, new),
            "stored": self._stored(network, new, plain),
            "others": self._answered(network, others),
            **found,
        }
        curve = dict(zip(steps, asked, strict=True)) if texts is not None else {0: asked[0], self.steps: asked[0]}
        return {
            "outcomes": outcomes,
            "curves": {self.axis: [float(step) for step in curve], "accuracy": list(curve.values())},
        }

    def _digest(self) -> str:
        """Names everything that decides how it reads awake."""
        wake = (self.people, self.others, self.attributes, self.values, self.names, self.width, self.layers, self.wake)
        return hashlib.sha256(repr((*wake, self.batch_size, self.lr)).encode()).hexdigest()[:12]

    # ---------------------------------------------------------------- what is read

    def _school(self, others: People, rows: int, length: int, rng: torch.Generator) -> Tensor:
        """(rows, length) tokens about others: questions, readings, and texts in many wordings."""
        tongue = self._tongue
        asked, readings = round(_ASKED * rows), round(_READ * rows)
        anybody = People(
            torch.randint(self.names, (readings, 2), generator=rng),
            torch.randint(self.values, (readings, self.attributes), generator=rng),
        )
        some = others.at(torch.randint(len(others.names), (2 * rows,), generator=rng))
        return torch.cat(
            [
                packed(tongue.questions(others).flatten(0, 1), asked, length, rng),
                tongue.reading(anybody, rng),
                packed(tongue.retold(some, rng), rows - asked - readings, length, rng),
            ]
        )

    def _texts(
        self, network: Decoder, new: People, plain: Tensor, seed: int, folder: Path
    ) -> tuple[Tensor | None, dict[str, float]]:
        """(M, L) texts that the rest teaches, and what they are worth; a few of them go to a file."""
        tongue, rng = self._tongue, randoms(seed, Purpose.DREAM)
        if self.rest == "nothing":
            return None, {}
        count = self.texts_each * self.people
        texts = plain
        if self.rest.startswith("own"):
            marks = torch.full((count, 1), tongue.new)
            texts = write(network, marks, plain.shape[1] - 1, rng)
        sentences = tongue.sentences_of(texts)
        if self.rest == "by_hand":
            sentences = tongue.sentences(new.at(torch.arange(count) % self.people), rng)
        elif self.rest == "own_reordered":
            sentences = _shuffled_within(sentences, rng)
        elif self.rest.endswith("recombined"):
            sources = texts if len(texts) == count else texts[torch.arange(count) % self.people]
            sentences = self._retold(network, sources, rng)
        if self.rest in ("by_hand", "own_recombined", "text_recombined"):
            sentences = _mixed(sentences, rng)
        if self.rest not in ("text", "own_words"):
            texts = tongue.texts_of(sentences)
        true = tongue.true(sentences.flatten(0, 1), new)
        stated = sentences.flatten(0, 1)[true][:, [0, 1, 4]].unique(dim=0)
        write_text(folder / WORDS, "".join(f"{tongue.write(text)}\n" for text in texts[:20]))
        return texts, {"true": float(true.float().mean()), "covered": len(stated) / new.facts.numel()}

    def _retold(self, network: Decoder, plain: Tensor, rng: torch.Generator) -> Tensor:
        """(N, A, 6) sentences as the network retells (N, L) plain texts."""
        openings = self._tongue.retell_openings(plain)
        written = write(network, openings, 6 * self.attributes, rng)[:, openings.shape[1] :]
        return written.unflatten(1, (self.attributes, -1))

    # ---------------------------------------------------------------- what is known

    def _answered(self, network: Decoder, people: People) -> float:
        questions = self._tongue.questions(people).flatten(0, 1)
        return _right(network, questions[:, :-2], questions[:, -2])

    def _reworded(self, network: Decoder, people: People) -> float:
        """Right values behind a name and a wording, mean over those that were not used of new people."""
        wanted = self._tongue.values_of(people).flatten()
        ways = range(1, self._tongue.ways)
        begun = (self._tongue.beginnings(people, way).flatten(0, 1) for way in ways)
        return sum(_right(network, prompts, wanted) for prompts in begun) / len(ways)

    def _stored(self, network: Decoder, people: People, plain: Tensor) -> float:
        places = 5 + 5 * torch.arange(self.attributes)
        with torch.no_grad():
            likely = network(plain[:, :-1]).argmax(dim=-1)
        return float((likely[:, places - 1] == plain[:, places]).float().mean())


@torch.no_grad()
def _right(network: Decoder, prompts: Tensor, wanted: Tensor) -> float:
    """The fraction of (N, P) prompts behind which the most likely token is the (N,) wanted one."""
    return float((network(prompts)[:, -1].argmax(dim=-1) == wanted).float().mean())


def _shuffled_within(sentences: Tensor, rng: torch.Generator) -> Tensor:
    """(N, A, 6) sentences, those of each text in another order."""
    order = torch.rand(sentences.shape[:2], generator=rng).argsort(dim=1)
    return sentences.gather(1, order[..., None].expand_as(sentences))


def _mixed(sentences: Tensor, rng: torch.Generator) -> Tensor:
    """(N, A, 6) sentences, those of all texts in any order: each text is then about several people."""
    flat = sentences.flatten(0, 1)
    return flat[torch.randperm(len(flat), generator=rng)].view_as(sentences)
