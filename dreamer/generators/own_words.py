"""Text that the learner itself writes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.modes import evaluating
from dreamer.core.tokens import IGNORED, Tokens
from dreamer.core.types import Batch, Dream, Perturb, Perturbations
from dreamer.generators._sampling import next_tokens
from dreamer.generators.base import Generator, GeneratorSnapshot, Teachers
from dreamer.networks.base import Frozen, Writer


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
            pass of the teacher; False spares V numbers for each token.

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
        logits: bool = True,
    ):
        super().__init__(sample_shape, num_classes, "grow")
        if tokens is None or len(sample_shape) != 1:
            raise ValueError(
                f"OwnWords writes tokens, but samples have the shape {tuple(sample_shape)}: expected a stream of text, "
                "and tokens=stream.tokens"
            )
        at_least(0, temperature=temperature)
        at_least(1, top_k=top_k, length=length, at_once=at_once)
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"expected top_p in (0, 1], got {top_p}")
        longest = max(map(len, tokens.openings))
        if longest > sample_shape[0]:
            raise ValueError(f"expected openings of at most {sample_shape[0]} tokens, got one of {longest}")
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
        places, blocks, logits = [], [], []
        for writer, rows in zip(self._writers, (by_first, ~by_first), strict=False):
            for where in rows.nonzero().flatten().split(self.at_once):
                if len(where):
                    block, said = self._written(writer, y[where], rng, noise)
                    places.append(where)
                    blocks.append(block)
                    logits.append(said)
        order = torch.cat(places).argsort()
        block = torch.cat(blocks)[order]
        teacher = torch.cat(logits)[order] if self.logits else None
        return Dream(block[:, :-1], self._targets(block, y), teacher=teacher, group=y)

    def _written(
        self, writer: nn.Module, domains: Tensor, rng: torch.Generator, noise: Perturb | None
    ) -> tuple[Tensor, Tensor]:
        """(B, T + 1) tokens by one writer, and its (B, T, V) logits of all but the first, (B, 0) where not kept."""
        network = writer.network if isinstance(writer, Frozen) else writer
        assert isinstance(network, nn.Module) and isinstance(network, Writer)
        count, total = len(domains), self.sample_shape[0] + 1
        block = self._openings(domains, total)
        temperature = torch.full((count, 1), float(self.temperature), device=domains.device)
        if noise is not None:
            temperature = temperature * noise(torch.ones_like(temperature), temperature, rng)[0]
        said = []
        with evaluating(network):
            cache = network.new_cache(count, total - 1)
            for place in range(1, total):
                logits = network.extend(block[:, place - 1 : place], cache)
                drawn = next_tokens(logits, temperature, self.top_k, self.top_p, rng)
                given = block[:, place]
                block[:, place] = torch.where(given == IGNORED, drawn, given)
                said += [logits.float()] if self.logits else []
        return block, torch.stack(said, dim=1) if said else temperature[:, :0]

    def _openings(self, domains: Tensor, total: int) -> Tensor:
        """(B, total) int64, each domain's opening, and behind it what is to be written."""
        table = torch.full((self.num_classes, total), IGNORED, dtype=torch.int64)
        for domain, opening in enumerate(self.tokens.openings):
            table[domain, : len(opening)] = torch.tensor(opening)
        return table.to(domains.device)[domains]

    def _targets(self, block: Tensor, domains: Tensor) -> Tensor:
        """(B, T) next tokens of (B, T + 1) tokens; behind the end of a text nothing counts."""
        wanted = block[:, 1:].clone()
        if self.tokens.end is not None:
            ended = wanted == self.tokens.end
            wanted[ended.cumsum(dim=1) - ended.long() > 0] = IGNORED
        if self.length is not None:
            opened = torch.tensor([len(opening) for opening in self.tokens.openings], device=domains.device)[domains]
            places = torch.arange(1, block.shape[1], device=domains.device)
            wanted[places >= (opened + self.length)[:, None]] = IGNORED
        return wanted


class _Domains(GeneratorSnapshot):
    """The names of the domains of an experience."""

    def __init__(self, classes: Tensor, generator: OwnWords):
        super().__init__(classes)
        self._generator = (generator,)

    def sample(self, y: Tensor, p: Tensor, rng: torch.Generator, perturbations: Perturbations) -> tuple[Tensor, Tensor]:
        """What the learner writes of them."""
        return self._generator[0].write(y, rng, perturbations.noise).x, p
