"""The snake of language: generation after generation of a language model that learns what its predecessor wrote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dreamer.core.files import write_text
from dreamer.core.limits import above, at_least
from dreamer.core.modes import evaluating
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.tokens import IGNORED
from dreamer.networks.decoder import Decoder
from dreamer.perturbations.base import Perturbation, perturb
from dreamer.studies.experiments.base import CellResult, Experiment, Measure
from dreamer.studies.experiments.decoders import surprise, train_decoder, write
from dreamer.studies.experiments.human_text import DOCUMENTATION, HumanText, distinct, human_text, longest_copied
from dreamer.studies.experiments.training import initialise

TrainingData = Literal["replace", "beside", "accumulate"]
WORDS = "words.txt"


@dataclass(eq=False)
class LanguageSnake(Experiment):
    """The first generation learns human text; every other one, from the same base, what its predecessor wrote.

    The protocol of Drayson, Yilmaz and Lampos (EMNLP 2025, GeorgeDrayson/model_collapse), in small: a text is a prompt
    of human words and what the model writes behind it, and only that is learnt. Their base is a pretrained GPT-2;
    here it is a decoder with random weights, the same in every generation. Texts are measured before they are
    perturbed.

    Args:
        text: ``documentation``, which every Python has, or the path of a text file.
        vocabulary: V, the most frequent words and one mark for all others.
        block: words of a text.
        prompt: human words with which each begins.
        texts: N, of human ones and of those of each generation.
        generations: how many, the first included.
        training_data: ``replace``: the last texts; ``beside``: these and all human ones; ``accumulate``: human
            ones and all that were written so far.
        temperature: at which texts are written; 0 takes the most likely word.
        top_k: write with so many most likely words; None with all.
        keep: the fraction of the written texts that is kept, those at which the first generation is surprised least;
            in (0, 1], 1 keeps all.
        perturbations: of the texts that are learnt; those that rewrite texts.
        width: of the decoder.
        layers: of it.
        steps: of each generation.
        batch_size: texts of a step.
        lr: of AdamW.

    Raises:
        ValueError: for numbers out of range.
    """

    measures = {
        "perplexity": Measure(
            "perplexity", "smaller", log=True, hint="Of held-out human text, for words behind the prompt."
        ),
        "distinct_3": Measure(
            "distinct triples", "", fraction=True, hint="Of all threes of words in a row that are written."
        ),
        "rare": Measure(
            "rare words",
            "",
            fraction=True,
            hint="Of what is written; the rarest, a tenth of the human text.",
        ),
        "copied": Measure(
            "longest copied span", "", hint="Words in a row from the human training text, mean over what is written."
        ),
    }
    axis = "generation"

    text: str = DOCUMENTATION
    vocabulary: int = 600
    block: int = 32
    prompt: int = 8
    texts: int = 800
    generations: int = 10
    training_data: TrainingData = "replace"
    temperature: float = 1.0
    top_k: int | None = None
    keep: float = 1.0
    perturbations: Sequence[Perturbation] = ()
    width: int = 48
    layers: int = 2
    steps: int = 50
    batch_size: int = 64
    lr: float = 0.01

    def __post_init__(self) -> None:
        at_least(1, prompt=self.prompt, texts=self.texts, steps=self.steps, batch_size=self.batch_size)
        at_least(1, generations=self.generations, layers=self.layers, top_k=self.top_k)
        at_least(0, temperature=self.temperature)
        at_least(2, vocabulary=self.vocabulary)
        at_least(self.prompt + 3, block=self.block)
        above(0, lr=self.lr)
        if not 0 < self.keep <= 1:
            raise ValueError(f"expected keep in (0, 1], got {self.keep}")
        for part in self.perturbations:
            if not getattr(part, "rewrites", False):
                raise ValueError(f"expected perturbations that rewrite texts, got {type(part).__name__}")

    def run(self, seed: int, folder: Path) -> CellResult:
        """Train one generation after another."""
        human = human_text(self.text, self.vocabulary, self.block, self.texts, randoms(seed, Purpose.TEXT))
        learnt, rows, shown, first = human.train, [], [], None
        for generation in range(1, self.generations + 1):
            network = self._trained(learnt, seed, generation)
            first = network if first is None else first
            written = self._written(network, first, human, seed, generation)
            rows.append(self._measured(network, written, human))
            shown.append(f"generation {generation}: {human.write(written[0])}\n")
            learnt = self._next(learnt, self._perturbed(written, seed, generation), human)
        write_text(folder / WORDS, "".join(shown))
        new = human.test[:, self.prompt :]
        curves: dict[str, list[float | None]] = {name: [row[name] for row in rows] for name in self.measures}
        return {
            "outcomes": rows[-1],
            "curves": {self.axis: [float(t) for t in range(1, self.generations + 1)], **curves},
            "yardsticks": self._of_texts(new, human),
        }

    def _trained(self, texts: Tensor, seed: int, generation: int) -> Decoder:
        """The base, trained anew."""
        network = initialise(
            Decoder,
            seed,
            sample_shape=(self.block - 1,),
            outputs=self.vocabulary,
            width=self.width,
            layers=self.layers,
            heads=4,
            tied=True,
        )

        def draw(step: int) -> Tensor:
            rng = randoms(seed, Purpose.ORDER, generation, step)
            return texts[torch.randint(len(texts), (self.batch_size,), generator=rng)]

        train_decoder(network, draw, self.steps, self.lr, self.steps // 8 + 1, self.prompt)
        return network.eval().requires_grad_(False)

    def _written(self, network: Decoder, first: Decoder, human: HumanText, seed: int, generation: int) -> Tensor:
        """(N, T) texts behind human prompts; of several where some are left out."""
        rng = randoms(seed, Purpose.DREAM, generation)
        count = round(len(human.train) / self.keep)
        prompts = human.train[torch.arange(count) % len(human.train), : self.prompt]
        written = write(network, prompts, self.block - self.prompt, rng, self.temperature, self.top_k)
        if self.keep == 1:
            return written
        with torch.no_grad():
            surprised = surprise(first, written, self.prompt).mean(dim=1)
        return written[surprised.argsort()[: len(human.train)]]

    def _perturbed(self, written: Tensor, seed: int, generation: int) -> Tensor:
        if not self.perturbations:
            return written
        # as a stream of one domain has them: behind an opening, and no loss at the prompt
        behind = torch.cat([torch.zeros_like(written[:, :1]), written[:, :-1]], dim=1)
        follows = written.clone()
        follows[:, : self.prompt] = IGNORED
        _, changed = perturb(self.perturbations, behind, follows, randoms(seed, Purpose.PERTURB, generation))
        return torch.cat([written[:, : self.prompt], changed[:, self.prompt :]], dim=1)

    def _next(self, learnt: Tensor, written: Tensor, human: HumanText) -> Tensor:
        """What the next generation learns."""
        if self.training_data == "replace":
            return written
        return torch.cat([learnt if self.training_data == "accumulate" else human.train, written])

    # ---------------------------------------------------------------- what is measured

    @torch.no_grad()
    def _measured(self, network: Decoder, written: Tensor, human: HumanText) -> dict[str, float]:
        with evaluating(network):
            nats = float(surprise(network, human.test, self.prompt).mean())
        return {"perplexity": math.exp(nats), **self._of_texts(written[:, self.prompt :], human)}

    def _of_texts(self, new: Tensor, human: HumanText) -> dict[str, float]:
        """Of (N, L) words that were written behind a prompt."""
        return {
            "distinct_3": distinct(new, 3),
            "rare": float(human.rare[new].float().mean()),
            "copied": float(longest_copied(new, human.train).float().mean()),
        }
