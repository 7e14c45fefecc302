"""Which token comes next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import above
from dreamer.core.tokens import IGNORED, NAMED, Tokens
from dreamer.core.types import Dream, Output
from dreamer.problems.base import Groups, Problem, Tally
from dreamer.problems.softmax import softened_divergence

if TYPE_CHECKING:
    from dreamer.streams.base import Stream

_LEAST = 1e-6
"""What is left, at least, for all tokens that are not named."""
By = Literal["bits_per_byte", "perplexity", "answers"]
Divergence = Literal["forward", "reverse"]
_SCORES: dict[By, tuple[str, str, bool]] = {
    "bits_per_byte": ("bits per byte", "", False),
    "perplexity": ("perplexity", "", False),
    "answers": ("accuracy", "%", True),
}
"""Name, unit and direction of each score."""


class PerplexityTally(Tally):
    """Nats over tokens while they are being counted; the value is the exponential of their mean.

    >>> round((Tally() + PerplexityTally(math.log(2), 1) + PerplexityTally(math.log(8), 1)).value, 6)
    4.0
    """

    def __add__(self, other: Tally) -> PerplexityTally:
        return PerplexityTally(self.total + other.total, self.weight + other.weight)

    __radd__ = __add__

    @property
    def value(self) -> float | None:
        """The perplexity; None of nothing."""
        return math.exp(self.total / self.weight) if self.weight else None


class Language(Problem):
    """Predict the next token of a text; scored in bits per byte, of which less is better.

    The layout of a sample: a block of T + 1 tokens b is the sample ``x = b[:T]``, (T,) int64, and its target
    ``y = b[1:]``, (T,) int64, with -100 wherever no loss is taken: at the positions of a prompt, and of whatever fills
    a short text up. What ``x`` holds at positions that fill up does not matter, because nothing before them sees it.
    A batch is (B, T), an output (B, T, V) logits, a teacher's likewise. A replay is balanced by domain. The losses are
    means over the tokens that count, not over sequences: cross-entropy against the next tokens, distillation against a
    teacher's distributions. Text is its own target: a text that a model writes (own_words) needs no teacher to name it.

    A teacher may give its k most likely tokens alone: (B, T, k) log-probabilities, with their names in the dream's
    field ``teacher_tokens``. The loss is then the divergence of k + 1 events, the last being that it is none of them.

    The distillation is the divergence KL(teacher || learner), which asks the learner for all that the teacher may say,
    or, ``reverse``, KL(learner || teacher), which asks it for nothing that the teacher would not say (Gu et al. 2024,
    arXiv 2306.08543; theirs is over texts that the learner writes).

    The scores:

    - ``bits_per_byte``: the cross-entropy of the tokens that count in bits, over the bytes of text that they stand for,
      so that tokenisers can be compared.
    - ``perplexity``: the exponential of the mean cross-entropy per token; depends on the tokeniser.
    - ``answers``: the fraction of texts whose whole answer is the most likely one: under greedy decoding a model writes
      it, and nothing else. An answer is what lies behind the token ``tokens.answer``, or, where there is none, every
      token that counts. One pass over the text decides, because greedy decoding leaves it at the first token that is
      not the most likely one.

    Args:
        score: ``bits_per_byte``, ``perplexity`` or ``answers``.
        temperature: of the distillation; 1 compares distributions as they are (Marek et al. 2026, arXiv 2605.26097).
        tokens: the stream's vocabulary, with the bytes of each token and the mark of answers; None counts each token as
            one byte and all that counts as answer. A run from a configuration takes it from its stream.
        divergence: that of the distillation, ``forward`` or ``reverse``.

    Raises:
        ValueError: when the temperature is not positive.

    >>> sure = 50.0 * functional.one_hot(torch.tensor([[1, 2, 0]]), 3)
    >>> Language(score="answers").tally(sure, torch.tensor([[1, 2, -100]]), None).value
    1.0
    """

    groups: Groups = "domain"

    @checked
    def __init__(
        self,
        score: By = "bits_per_byte",
        temperature: float = 1.0,
        tokens: Tokens | None = None,
        divergence: Divergence = "forward",
    ):
        above(0, temperature=temperature)
        self.by: By = score
        self.score, self.unit, self.higher_is_better = _SCORES[score]
        self.temperature = temperature
        self.tokens = tokens
        self.divergence: Divergence = divergence

    def check(self, stream: Stream) -> None:
        if stream.targets != "tokens":
            raise ValueError(f"language needs blocks of tokens, but the targets of {stream.name} are {stream.targets}")
        if self.tokens is not None and self.tokens != stream.tokens:
            raise ValueError(
                f"language was given other tokens than those of {stream.name}: expected tokens=stream.tokens"
            )

    def output_shape(self, stream: Stream) -> tuple[int, ...]:
        return (*stream.sample_shape, stream.num_classes)

    def soft_targets(self, samples: Dream, groups: int) -> Tensor:
        """The next tokens themselves: tokens are not mixed."""
        return samples.y if samples.p is None else samples.p

    def mixed(self, samples: Dream, weights: Tensor) -> Dream:
        """Texts with the teacher's distributions mixed, token by token; a place counts where it does in all of them.

        Next tokens are not mixed: they stay, for the places that count.
        """
        if samples.teacher is None or NAMED in (samples.fields or {}):
            raise ValueError(
                "language: texts are mixed under a teacher's distributions alone, all of whose probabilities are known"
            )
        # half precision would be too coarse for probabilities
        with torch.autocast(weights.device.type, enabled=False):
            said = functional.softmax(samples.teacher.float(), dim=-1)
            mixture = (weights.float() @ said.flatten(1)).view_as(said)
            y = self.soft_targets(samples, 0)
            left_out = (weights > 0).float() @ (y == IGNORED).float() > 0
        teacher = mixture.clamp_min(torch.finfo(mixture.dtype).tiny).log()
        return samples._replace(y=y.masked_fill(left_out, IGNORED), p=None, teacher=teacher)

    def hard_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        wanted = target.y if target.p is None else target.p
        total = functional.cross_entropy(_by_token(output.logits), wanted.flatten(), reduction="sum")
        # a batch in which nothing counts has nothing to teach; the mean of nothing would be NaN
        return total / (wanted != IGNORED).sum().clamp(min=1)

    def soft_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        assert target.teacher is not None
        counted = (target.y if target.p is None else target.p) != IGNORED
        if not counted.any():
            return 0 * output.logits.sum()
        named = (target.fields or {}).get(NAMED)
        if named is not None:
            return self._divergence_of_likely(output.logits[counted], target.teacher[counted], named[counted])
        logits, taught = output.logits[counted], target.teacher[counted]
        if self.divergence == "reverse":
            said, wanted = (functional.log_softmax(z / self.temperature, dim=1) for z in (logits, taught.to(logits)))
            divergence = functional.kl_div(wanted, said, reduction="batchmean", log_target=True)
        else:
            divergence = softened_divergence(logits, taught, None, self.temperature)
        return self.temperature**2 * divergence

    def _divergence_of_likely(self, logits: Tensor, taught: Tensor, named: Tensor) -> Tensor:
        """The divergence of (N, V) logits and a teacher of whom (N, k) log-probabilities of named tokens are known."""
        if self.temperature != 1:
            raise ValueError(
                "language: a teacher whose most likely tokens alone are known has no other temperature: expected "
                f"temperature=1, or logits=True of OwnWords, got {self.temperature}"
            )
        said = functional.log_softmax(logits, dim=1).gather(1, named)
        likely = taught.to(said.dtype)
        others, wanted = (torch.log1p(-p.exp().sum(dim=1).clamp(max=1 - _LEAST)) for p in (said, likely))
        if self.divergence == "reverse":
            said, likely, others, wanted = likely, said, wanted, others
        return ((likely.exp() * (likely - said)).sum(dim=1) + wanted.exp() * (wanted - others)).mean()

    def restrict(self, outputs: Tensor, groups: Tensor) -> Tensor:
        """All of it: a teacher says what comes next in any text."""
        return outputs.float()

    def name(self, outputs: Tensor, candidates: Tensor) -> Tensor:
        """The most likely next tokens."""
        return outputs.argmax(dim=-1)

    def sureness(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mean log-likelihood of each text's next tokens."""
        counted = (y != IGNORED).sum(dim=1).clamp(min=1)
        return -_nats(outputs, y).sum(dim=1) / counted

    def signature(self, outputs: Tensor) -> Tensor:
        """(B, V): how likely each token is, on average over the positions."""
        return functional.softmax(outputs.float(), dim=-1).mean(dim=1)

    def tally(self, outputs: Tensor, y: Tensor, active: Tensor | None) -> Tally:
        """Bits over bytes, nats over tokens, or right answers over texts with an answer."""
        if self.by == "answers":
            asked = self._in_answer(y)
            right = ((outputs.argmax(dim=-1) == y) | ~asked).all(dim=1)
            has_answer = asked.any(dim=1)
            return Tally(int((right & has_answer).sum()), int(has_answer.sum()))
        nats, counted = float(_nats(outputs, y).sum(dtype=_wide(outputs))), y != IGNORED
        if self.by == "perplexity":
            return PerplexityTally(nats, int(counted.sum()))
        return Tally(nats / math.log(2), self._bytes(y[counted]))

    def _in_answer(self, y: Tensor) -> Tensor:
        """(B, T) bool, the targets that belong to an answer."""
        counted = y != IGNORED
        if self.tokens is None or self.tokens.answer is None:
            return counted
        mark = y == self.tokens.answer
        return counted & (mark.cumsum(dim=1) - mark.long() > 0)

    def _bytes(self, tokens: Tensor) -> int:
        """The bytes of text that (N,) tokens stand for."""
        if self.tokens is None:
            return len(tokens)
        return int(torch.tensor(self.tokens.sizes, device=tokens.device)[tokens].sum())


def _by_token(outputs: Tensor) -> Tensor:
    """(B * T, V) of (B, T, V)."""
    return outputs.flatten(0, 1)


def _nats(outputs: Tensor, y: Tensor) -> Tensor:
    """(B, T) cross-entropies of next tokens, 0 where they do not count."""
    losses = functional.cross_entropy(_by_token(outputs.float()), y.flatten(), reduction="none")
    return losses.view(y.shape)


def _wide(outputs: Tensor) -> torch.dtype:
    """The type in which numbers of many tokens are summed: MPS has no float64."""
    return torch.float32 if outputs.device.type == "mps" else torch.float64
