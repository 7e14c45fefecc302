"""Texts that the learner did not write: random ones, and those of another model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dreamer.core.types import Batch, Dream, Perturbations
from dreamer.generators.base import Generator, GeneratorSnapshot
from dreamer.networks.decoder import Decoder
from dreamer.streams.base import Samples, Stream
from dreamer.studies.experiments.decoders import train_decoder, write
from dreamer.studies.experiments.real_data import tensors
from dreamer.studies.experiments.training import initialise


class GivenTexts(Generator):
    """Dreams are drawn from a file of texts, whoever wrote them; a teacher may say what comes next in them.

    Args:
        sample_shape: (T,), the tokens of a sample.
        num_classes: G, domains of the stream.
        path: of (G, N, T + 1) int64 tokens that ``torch.save`` wrote, N texts of each domain.
    """

    own_targets = True

    def __init__(self, sample_shape: Sequence[int], num_classes: int, path: str):
        super().__init__(sample_shape, num_classes, "grow")
        self.texts: Tensor = torch.load(path, weights_only=True)
        if self.texts.shape[::2] != (num_classes, sample_shape[0] + 1):
            wanted = f"{num_classes} domains and {sample_shape[0] + 1} tokens"
            raise ValueError(f"expected texts of {wanted}, got {tuple(self.texts.shape)}")

    def fit(self, seen: Dream, rng: torch.Generator) -> None:
        """Nothing: the texts are there."""
        return None

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Domains(classes, self)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        """Nothing: a snapshot has the numbers of its domains."""

    @torch.no_grad()
    def dream(self, y: Tensor, rng: torch.Generator, perturbations: Perturbations | None = None) -> Dream:
        """Texts of the (B,) int64 domains, with their next tokens."""
        self.refuse_unknown(y)
        texts = self.texts[y, torch.randint(self.texts.shape[1], y.shape, generator=rng)]
        return Dream(texts[:, :-1], texts[:, 1:], group=y)


class _Domains(GeneratorSnapshot):
    """The numbers of the domains of an experience."""

    def __init__(self, classes: Tensor, generator: GivenTexts):
        super().__init__(classes)
        # in a tuple, so that it is no submodule of its own snapshot
        self._generator = (generator,)

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        """Texts of them."""
        return self._generator[0].dream(y, rng).x, p


def random_texts(stream: Stream, count: int, rng: torch.Generator) -> Tensor:
    """(G, count, T + 1) legal texts: at each place any token, all alike, that some text of the domain has there."""
    domains = []
    for experience in stream.experiences:
        texts = blocks(experience.train)
        places = []
        for column in texts.T:
            legal = column.unique()
            places.append(legal[torch.randint(len(legal), (count,), generator=rng)])
        domains.append(torch.stack(places, dim=1))
    return torch.stack(domains)


def foreign_texts(
    stream: Stream, count: int, steps: int, batch_size: int, lr: float, seed: int, rng: torch.Generator
) -> Tensor:
    """(G, count, T + 1) texts by another decoder, which has learnt all domains side by side for so many steps."""
    texts = torch.cat([blocks(experience.train) for experience in stream.experiences])
    assert stream.tokens is not None
    other = initialise(
        Decoder, seed, 1, sample_shape=stream.sample_shape, outputs=stream.tokens.size, heads=8, positions="learned"
    )

    def draw(step: int) -> Tensor:
        return texts[torch.randint(len(texts), (batch_size,), generator=rng)]

    train_decoder(other, draw, steps, lr)
    openings = [torch.tensor(opening) for opening in stream.tokens.openings]
    return torch.stack([write(other, row.expand(count, -1), texts.shape[1] - len(row), rng) for row in openings])


def blocks(samples: Samples) -> Tensor:
    """(N, T + 1) tokens of samples and their next tokens."""
    batch = tensors(samples)
    return torch.cat([batch.x, batch.y[:, -1:]], dim=1)


def save(texts: Tensor, folder: Path) -> Path:
    """Write texts where :class:`GivenTexts` finds them."""
    path = folder / "texts.pt"
    torch.save(texts, path)
    return path
