"""Mixed prompts: a text that is written under two openings at once."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamer.perturbations._texts import chosen, follow, need_tokens, opening, written
from dreamer.perturbations._writing import Writing
from dreamer.perturbations.base import partners, uniform


class MixPrompts(Writing):
    """Write a text anew under two openings, or prompts, at once: its own and another text's.

    Every token is drawn from ``(1 - l) q(. | own) + l q(. | other)``: the next-token distributions of one writer that
    reads what is written so far behind either opening. ``l`` is uniform in [0, 1), a text's own. Distributions are
    mixed as labels are in mixup (Zhang et al. 2018, arXiv 1710.09412), token by token as in ensembles of prompts (Guo
    et al. 2024, arXiv 2412.18299), whose weights are all the same. The text keeps its own opening, and the teacher says
    what comes next in it. So between two domains there are texts that neither of them has.

    The writer is the teacher of the text, dawn of an old domain and dusk of the new one; where there is none, the
    learner. What counts as opening is all that stands before the first token at which a loss is taken. Only openings of
    one length are mixed, among texts of one teacher; a text whose partner begins as it does stays.

    Args:
        rate: the fraction of texts that are written anew, as far as the others in the batch begin otherwise.
        temperature: at which they are written.
        top_k: write with so many most likely tokens of the mixture; None with all.
        top_p: write with the most likely tokens whose probabilities first add up to so much; None with all.

    Raises:
        ValueError: when a number is out of its range.

    >>> from dreamer.networks import Decoder
    >>> x, y = torch.tensor([[0, 5, 5, 5], [1, 6, 6, 6]]), torch.tensor([[5, 5, 5, 5], [6, 6, 6, 6]])
    >>> part = MixPrompts(rate=1.0).bind_model(Decoder((4,), 7))
    >>> mixed, wanted = part(x, y, torch.Generator().manual_seed(0))
    >>> mixed[:, 0].tolist(), mixed[:, 1:].equal(wanted[:, :-1])
    ([0, 1], True)
    """

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T) tokens and their (B, T) next tokens.

        Raises:
            RuntimeError: when nobody writes.
        """
        self.need_writer()
        need_tokens(x, p, "MixPrompts")
        given = opening(p)
        partner = partners(given.sum(dim=1), rng)
        other = torch.where(given, x[partner], x)
        weight = uniform(len(x), 0.0, 1.0, torch.empty(0, device=x.device), rng)[:, None]
        anew = written(p) & (other != x).any(dim=1, keepdim=True) & chosen(len(x), self.rate, x, rng)
        rows = anew.any(dim=1).nonzero().flatten()
        if not len(rows):
            return x, p

        def mixed(logits: Tensor) -> Tensor:
            own, others = logits.float().softmax(dim=1).chunk(2)
            return torch.lerp(own, others, weight[rows]).log()

        y = p.clone()
        y[rows] = self.write(torch.cat([x[rows], other[rows]]), p[rows], anew[rows], rng, mixed)
        return follow(x, y), y
