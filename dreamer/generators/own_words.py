"""Text that the learner itself writes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.modes import evaluating
from dreamer.core.sampling import Writer, next_tokens
from dreamer.core.tokens import IGNORED, NAMED, Tokens
from dreamer.core.types import Batch, Dream, Perturb, Perturbations
from dreamer.generators.base import Generator, GeneratorSnapshot, Teachers
from dreamer.networks.base import Frozen


class OwnWords(Generator):
    """A frozen copy of the learner writes, from the token that names the domain; it has nothing to train or to keep.

    Self-generated replay of language models (Marek et al. 2026, arXiv 2605.26097; before them LAMOL, Sun et al. 2020,
    arXiv 1909.03329, and, with an empty turn of the user for the opening, Magpie, Xu et al. 2024, arXiv 2406.08464).
    The writers are the teachers that the run has anyway: dawn writes of the old domains, before a new one can overwrite
    them, dusk of the new one (a stage with a single teacher lets that one write everything). Outside a stage, as for
    the dreams that a run folder keeps, the learner as it is writes.

    A text begins with the opening of its domain (:class:`dreamer.core.tokens.Tokens`), which is given, and is its own
    target: the same layout as the stream's samples, see :class:`dreamer.problems.Language`. The texts of many steps are
    written at once, token by token, with a cache of keys and values. What is drawn depends on seed, stage and step
    alone, so a resumed night writes the same words.

    Where a stream has prompts, short stored texts, one of those of its domain is drawn for each text instead, and given
    as the opening is; their bytes count as the generator's.

    A perturbation of noise changes the temperature of each text: it gets ones and returns factors.

    Args:
        sample_shape: (T,), the tokens of a sample.
        num_classes: domains of the stream.
        tokens: its vocabulary, with the openings of its domains.
        temperature: divides the logits before a token is drawn; 0 takes the most likely one.
        top_k: draw among so many most likely tokens; None among all.
        top_p: draw among the most likely tokens whose probabilities first add up to so much, in (0, 1]; None among all.
        length: tokens that are written, the opening not counted; None fills the sample.
        at_once: texts that are written together at most.
        logits: keep the writer's logits with the words, so that a stage that wants its distributions needs no further
            pass of the teacher; False spares V numbers for each token. A number keeps the log-probabilities of so many
            most likely tokens: for vocabularies of tens of thousands.

    Raises:
        ValueError: when a number is out of its range, or there are no tokens.
    """

    spaces = frozenset({"noise"})
    by_teachers = True
    own_targets = True

    @checked
    def __init__(
        self,
        sample_shape: Sequence[int],
        num_classes: int,
        tokens: Tokens | None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        length: int | None = None,
        at_once: int = 2048,
        logits: bool | int = True,
    ):
        super().__init__(sample_shape, num_classes, "grow")
        if tokens is None or len(sample_shape) != 1:
            raise ValueError(
                f"OwnWords writes tokens, but samples have the shape {tuple(sample_shape)}: expected a stream of text, "
                "and tokens=stream.tokens"
            )
        at_least(0, temperature=temperature)
        at_least(1, top_k=top_k, length=length, at_once=at_once, logits=logits if logits else None)
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"expected top_p in (0, 1], got {top_p}")
        longest = max(len(begun) for each in tokens.beginnings for begun in each)
        if longest > sample_shape[0]:
            raise ValueError(f"expected openings and prompts of at most {sample_shape[0]} tokens, got one of {longest}")
        self.tokens = tokens
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.length = length
        self.at_once = at_once
        self.logits = logits
        # in a tuple: the learner and its copies must not become parts of the generator
        self._writers: tuple[nn.Module, ...] = ()
        self._by_first: Tensor | None = None

    # ---------------------------------------------------------------- who writes

    def attach(self, learner: nn.Module) -> None:
        """Take the learner; a ``ValueError`` when it cannot write."""
        if not isinstance(learner, Writer):
            raise ValueError(
                "OwnWords needs a network that writes token by token, with the methods new_cache(count, length) and "
                f"extend(tokens, cache), as dreamer.networks.Decoder has them, got {type(learner).__name__}"
            )
        self._writers = (learner,)

    def written_by(self, teachers: Teachers) -> OwnWords:
        """A copy whose words are the teachers', each of its own domains; it shares everything else with this one."""
        bound = copy.copy(self)
        present = tuple(teacher for teacher in (teachers.dawn, teachers.dusk) if teacher is not None)
        bound._writers = present
        bound._by_first = teachers.old if len(present) == 2 else None
        return bound

    # ---------------------------------------------------------------- what a dusk keeps: names of domains

    def fit(self, seen: Dream, rng: torch.Generator) -> None:
        """Nothing: the learner learns."""
        return None

    def new_snapshot(self, classes: Tensor) -> GeneratorSnapshot:
        return _Domains(classes, self)

    def fill_snapshot(self, snapshot: GeneratorSnapshot, day: Iterable[Batch], rng: torch.Generator) -> None:
        """Nothing: a snapshot has the names of its domains, and the learner writes."""

    @property
    def nbytes(self) -> int:
        """Bytes of all that it keeps: a few numbers, and the text of prompts."""
        return super().nbytes + self.tokens.prompt_bytes

    def planned_bytes(self, class_order: Sequence[Sequence[int]]) -> int:
        """Bytes at the end of a stream."""
        return super().planned_bytes(class_order) + self.tokens.prompt_bytes

    # ---------------------------------------------------------------- writing

    @torch.no_grad()
    def dream(self, y: Tensor, rng: torch.Generator, perturbations: Perturbations | None = None) -> Dream:
        """Write of the given domains.

        Args:
            y: (B,) int64 domains.

        Returns:
            B blocks with their next tokens and domains, in the order of ``y``.

        Raises:
            UntrainedError: when a domain has not been learnt.
        """
        self.refuse_unknown(y)
        return self.write(y, rng, None if perturbations is None else perturbations.noise)

    def write(self, y: Tensor, rng: torch.Generator, noise: Perturb | None = None) -> Dream:
        """The same, of domains that may be unknown to the writers."""
        if not self._writers:
            raise ValueError("OwnWords needs somebody who writes: expected attach(learner) to come first")
        by_first = torch.ones_like(y, dtype=torch.bool) if self._by_first is None else self._by_first[y]
        places, blocks, targets, said = [], [], [], []
        for writer, rows in zip(self._writers, (by_first, ~by_first), strict=False):
            for where in rows.nonzero().flatten().split(self.at_once):
                if len(where):
                    block, wanted, logits = self._written(writer, y[where], rng, noise)
                    places.append(where)
                    blocks.append(block)
                    targets.append(wanted)
                    said.append(logits)
        order = torch.cat(places).argsort()
        block = torch.cat(blocks)[order]
        # logits, and the tokens that they belong to where these are not all
        teacher = [torch.cat(each)[order] for each in zip(*said, strict=True)]
        return Dream(
            block[:, :-1],
            torch.cat(targets)[order],
            teacher=teacher[0] if teacher else None,
            group=y,
            fields={NAMED: teacher[1]} if len(teacher) > 1 else None,
        )

    def _written(
        self, writer: nn.Module, domains: Tensor, rng: torch.Generator, noise: Perturb | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """(B, T + 1) tokens by one writer, (B, T) targets, and what is kept of its logits of all but the first."""
        network = writer.network if isinstance(writer, Frozen) else writer
        assert isinstance(network, nn.Module) and isinstance(network, Writer)
        count, total = len(domains), self.sample_shape[0] + 1
        block = self._openings(domains, total, rng)
        given = block != IGNORED
        temperature = torch.full((count, 1), float(self.temperature), device=domains.device)
        if noise is not None:
            temperature = temperature * noise(torch.ones_like(temperature), temperature, rng)[0]
        said: list[tuple[Tensor, ...]] = []
        with evaluating(network):
            cache = network.new_cache(count, total - 1)
            for place in range(1, total):
                logits = network.extend(block[:, place - 1 : place], cache)
                drawn = next_tokens(logits, temperature, self.top_k, self.top_p, rng)
                block[:, place] = torch.where(given[:, place], block[:, place], drawn)
                said.append(self._kept(logits.float()))
        return block, self._targets(block, given), tuple(torch.stack(each, dim=1) for each in zip(*said, strict=True))

    def _kept(self, logits: Tensor) -> tuple[Tensor, ...]:
        """What is kept of (B, V) logits: nothing, all, or the log-probabilities and names of the most likely tokens."""
        if self.logits is True or self.logits >= logits.shape[1]:
            return (logits,)
        return tuple(logits.log_softmax(dim=1).topk(self.logits, dim=1)) if self.logits else ()

    def _openings(self, domains: Tensor, total: int, rng: torch.Generator) -> Tensor:
        """(B, total) int64, what each text begins with, and behind it what is to be written."""
        begun = self.tokens.beginnings
        table = torch.full((sum(map(len, begun)), total), IGNORED, dtype=torch.int64)
        for row, given in enumerate(itertools.chain(*begun)):
            table[row, : len(given)] = torch.tensor(given)
        counts = torch.tensor([len(each) for each in begun], device=domains.device)
        rows = (counts.cumsum(0) - counts)[domains]
        if self.tokens.prompts:
            drawn = torch.rand(len(domains), generator=rng, device=domains.device)
            rows = rows + (drawn * counts[domains]).long()
        return table.to(domains.device)[rows]

    def _targets(self, block: Tensor, given: Tensor) -> Tensor:
        """(B, T) next tokens of (B, T + 1) tokens; what was given does not count, nor what is behind a text's end."""
        wanted = block[:, 1:].masked_fill(given[:, 1:], IGNORED)
        if self.tokens.end is not None:
            ended = wanted == self.tokens.end
            wanted[ended.cumsum(dim=1) - ended.long() > 0] = IGNORED
        if self.length is not None:
            wanted[(~given).cumsum(dim=1)[:, 1:] > self.length] = IGNORED
        return wanted


class _Domains(GeneratorSnapshot):
    """The names of the domains of an experience."""

    def __init__(self, classes: Tensor, generator: OwnWords):
        super().__init__(classes)
        self._generator = (generator,)

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        """What the learner writes of them."""
        return self._generator[0].write(y, rng, perturbations.noise).x, p
