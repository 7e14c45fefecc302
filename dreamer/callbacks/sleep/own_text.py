"""The words of a user's own language model: what it writes at night, and who writes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.callbacks.sleep.stages import DreamStage
from dreamer.core.limits import above, at_least
from dreamer.core.tokens import IGNORED, Tokens
from dreamer.generators import OwnWords
from dreamer.memory import Memory, Reservoir
from dreamer.networks.base import Frozen
from dreamer.objectives import SoftTargets
from dreamer.perturbations import Temperature
from dreamer.problems import Language
from dreamer.problems.language import Divergence
from dreamer.stages.replay import for_problem
from dreamer.streams.tokenisers import HuggingFace

BEFORE, DAY = 0, 1
"""The two domains: what the model knew before the training, and what it learns in it."""
_KEPT = 64
"""Openings of the day that are kept."""


class OwnText:
    """Lets a language model sleep on its own words, in a LightningModule of a user's own.

    ``SleepCallback(generator=OwnText(tokeniser))`` is all that a script needs whose module has a causal language model
    of ``transformers``, whole or with adapters of ``peft``, and whose batches are mappings with ``input_ids``. A frozen
    copy of the model from before the training, dawn, and one from after each day, dusk, write texts, and the model
    learns their distributions token by token (KL divergence, token-weighted). Weights that are frozen anyway are in
    memory once. The day's batches go to the module's own ``training_step``, unchanged.

    Args:
        tokeniser: of the model, of ``transformers``.
        prompts: texts with which dawn begins; stored, so their bytes are counted. None stores nothing: the mark of
            beginning, and, where the tokeniser has a chat template, an empty turn of the user (Magpie, Xu et al. 2024,
            arXiv 2406.08464).
        length: tokens of a text, its opening included.
        replay: texts of dawn beside each batch of the day. Nights then come only where a schedule says so.
        opening: tokens at the beginning of a sample with which dusk begins; those of 64 samples are kept, and counted.
            0 keeps none: dawn alone writes.
        weight: factor of the loss.
        temperature: at which texts are written.
        top_k: write with so many most likely tokens; None with all.
        top_p: write with the most likely tokens whose probabilities first add up to so much; None with all.
        at_once: texts that are written together at most.
        logits: most likely tokens of the writer's distributions that are kept.
        model: the module's attribute that is the language model; None finds it.
        divergence: ``forward`` or ``reverse``, see :class:`dreamer.problems.Language`.

    Raises:
        ValueError: when a number is out of its range, or the tokeniser has nothing to begin with.
    """

    def __init__(
        self,
        tokeniser: Any,
        prompts: Sequence[str] | None = None,
        length: int = 128,
        replay: int = 0,
        opening: int = 8,
        weight: float = 1.0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        at_once: int = 64,
        logits: int = 64,
        model: str | None = None,
        divergence: Divergence = "forward",
    ):
        at_least(0, replay=replay, opening=opening)
        at_least(1, logits=logits)
        above(0, weight=weight)
        read = HuggingFace(tokeniser)
        openings = _openings(read, prompts)
        self.pad = getattr(tokeniser, "pad_token_id", None)
        self.replay = replay
        self.opening = opening
        self.objectives = (SoftTargets(weight),)
        self.model = model
        self.prompts = () if prompts is None else tuple(prompts)
        self.tokens = Tokens.of(read.texts, openings, read.marks)
        self.problem = Language(tokens=self.tokens, divergence=divergence)
        self.memory: Memory = Reservoir(_KEPT)
        self.writer = _Prompted(
            (length,),
            2,
            tokens=self.tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            at_once=at_once,
            logits=logits,
        )
        self.writer.day = (self.memory,)
        if opening >= length:
            raise ValueError(f"expected a length of more than the {opening} tokens of an opening, got {length}")

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored of texts: the prompts, and openings of the day."""
        return sum(len(prompt.encode()) for prompt in self.prompts) + self.memory.nbytes

    def stage(self, given: DreamStage) -> DreamStage:
        """A stage that replays what the model's copies write; without perturbations of its own, REM varies how hot."""
        made = copy.copy(given)
        chosen = made.replayer.perturbations
        perturbations = (Temperature(0.8, 1.5),) if chosen is None else chosen
        made.replayer = replace(made.replayer, source="generator", perturbations=perturbations)
        made.objectives = self.objectives
        return for_problem(made, self.problem)

    def openings_of(self, batch: Any) -> Tensor:
        """(B, opening) first tokens of those samples of a batch that have as many; padding on either side is left out.

        Raises:
            ValueError: when the batch has no tokens, others than the tokeniser, or padding without a mask.
        """
        if not isinstance(batch, Mapping) or not isinstance(batch.get("input_ids"), Tensor):
            found = f"the keys {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
            raise ValueError(f"OwnText expects batches with input_ids, as tokenisers give them, got {found}")
        tokens = batch["input_ids"].detach()
        if not tokens.numel() or int(tokens.max()) >= self.tokens.size:
            raise ValueError(
                f"OwnText: the batch has token {int(tokens.max()) if tokens.numel() else 'none'}, the tokeniser "
                f"{self.tokens.size}: expected the tokeniser of the model"
            )
        mask = batch.get("attention_mask")
        if mask is None and self.pad is not None and self._padded(tokens):
            raise ValueError(
                "OwnText: texts are padded, and the batch has no attention_mask to say where: expected one, as "
                "tokenisers give it"
            )
        seen = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.bool()
        long = seen.sum(dim=1) >= self.opening
        first = seen.int().argmax(dim=1, keepdim=True) + torch.arange(self.opening, device=tokens.device)
        return tokens[long].gather(1, first[long])

    def _padded(self, tokens: Tensor) -> bool:
        """Whether a sample begins or ends with two marks of padding; a single one may be its beginning or its end."""
        assert self.pad is not None
        padding = torch.eq(tokens, self.pad)
        return any(bool(ends.all(dim=1).any()) for ends in (padding[:, :2], padding[:, -2:]))


class Copies:
    """Dawn and dusk, and what a checkpoint says of them until they are made."""

    def __init__(self) -> None:
        self.dawn: Frozen | None = None
        self.dusk: Frozen | None = None
        self._saved: Mapping[str, Any] | None = None

    def make(self, network: nn.Module, nights: bool) -> None:
        """Copy the model as it is, or take what was saved."""
        self.dawn = Frozen(network)
        self.dusk = Frozen(network) if nights else None
        for name, state in (self._saved or {}).items():
            made = getattr(self, name)
            if made is not None and state is not None:
                made.network.load_state_dict(state)
        self._saved = None

    def state_dict(self) -> dict[str, Any]:
        """The weights of both, but for those that they have in common with the model."""
        both = {"dawn": self.dawn, "dusk": self.dusk}
        return {name: None if made is None else made.network.state_dict() for name, made in both.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep what :meth:`state_dict` gave until the copies are made."""
        self._saved = state


class _Prompted(OwnWords):
    """Own words of two domains, each with several openings."""

    day: tuple[Memory, ...] = ()
    """What keeps the openings of the day; in a tuple as the learner."""

    @property
    def dreamable(self) -> Tensor:
        """(2,) bool: what was known before always, the day when something of it is kept."""
        return torch.tensor([True, bool(self.day and len(self.day[0]))], device=self.experience.device)

    def _openings(self, domains: Tensor, total: int, rng: torch.Generator) -> Tensor:
        """(B, total) int64, for each text one of its domain's openings, and behind it what is to be written."""
        block = torch.full((len(domains), total), IGNORED, device=domains.device)
        given = torch.full((len(self.tokens.openings), total), IGNORED)
        for row, opening in enumerate(self.tokens.openings):
            given[row, : len(opening)] = torch.tensor(opening)
        drawn = torch.randint(len(given), (len(domains),), generator=rng, device=domains.device)
        block[:] = given.to(domains.device)[drawn]
        if self.day and len(self.day[0]) and bool((domains == DAY).any()):
            kept = self.day[0].draw(len(domains), rng).x.to(domains.device)
            begins = nn.functional.pad(kept, (0, total - kept.shape[1]), value=IGNORED)
            block = torch.where((domains == DAY)[:, None], begins, block)
        return block


def _openings(read: HuggingFace, prompts: Sequence[str] | None) -> list[list[int]]:
    """The tokens with which dawn begins."""
    start = [] if read.beginning is None else [read.beginning]
    if prompts is not None:
        found = [[*start, *read.encode(prompt).tolist()] for prompt in prompts]
        if not found or not all(found):
            raise ValueError("OwnText: expected prompts with at least one token each, or none for an empty beginning")
        return found
    found = [start] if start else []
    turn = read.empty_turn()
    found += [turn] if turn else []
    if not found:
        raise ValueError(
            "OwnText: the tokeniser has neither a mark of beginning or end nor a chat template: expected prompts"
        )
    return found
