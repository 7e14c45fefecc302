"""Perturbations of samples, applied to the embeddings of a text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dreamer.core.arguments import checked
from dreamer.perturbations.base import Perturbation, need_float, scaled
from dreamer.perturbations.noise import Noise


class Embedded:
    """Let a perturbation of samples, such as noise or mixup, act on the embeddings of a text.

    The learner reads ``E(x) + s (perturbed(E(x) / s) - E(x) / s)`` in place of E(x), the (B, T, D) embeddings of its
    tokens; ``s`` is their root mean square over the batch. So amounts are in units of the embeddings' own spread, which
    differs from network to network. Gradients reach the embeddings, as they are without a perturbation; ``s`` has none.
    Tokens stay as they are, and a teacher reads them clean. It is applied in the step that learns from them, behind all
    perturbations of samples and texts, in a learner that has a method ``embed`` (:class:`dreamer.networks.Embeds`).

    With :class:`dreamer.perturbations.Noise` it is near NEFTune (Jain et al. 2023, arXiv 2310.05914, section 2), whose
    noise is uniform in ``[-1, 1] alpha / sqrt(T D)``, of one strength for all texts, alpha 5 to 15; its standard
    deviation is ``alpha / sqrt(3 T D)``, in units of the embeddings themselves. Here it is normal, and every text draws
    its own strength.

    With :class:`dreamer.perturbations.Mixup` it is wordMixup (Guo et al. 2019, arXiv 1905.08941) for a model that
    predicts next tokens: the embeddings of two texts are mixed place by place, and the teacher's distributions at each
    place by the same weight. A place counts where it does in both texts. Next tokens themselves are not mixed: the
    objectives must learn from a teacher alone, and its distributions must be known whole.

    Args:
        part: a perturbation of samples of any shape, which needs no learner; None is ``Noise(clip=None)``.

    Attributes:
        mixes: True when the part mixes samples, and their labels alike.

    Raises:
        ValueError: when the part perturbs images or anything else than samples, needs the learner, or clips.

    >>> from dreamer.perturbations import Mixup
    >>> x, texts = torch.randn(2, 4, 8), torch.eye(2)
    >>> mixed, weights = Embedded(Mixup())(x, texts, torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(mixed, torch.einsum("ij,jtd->itd", weights, x), atol=1e-6))
    True
    """

    space: Literal["embedding"] = "embedding"
    amounts = ("part",)

    @checked
    def __init__(self, part: Perturbation | None = None):
        part = Noise(clip=None) if part is None else part
        name = type(part).__name__
        if part.space != "pixel" or hasattr(part, "bind_model"):
            other = "needs the learner's output" if part.space == "pixel" else f"is one of the space {part.space!r}"
            raise ValueError(f"expected a perturbation of samples alone, such as Noise or Mixup, but {name} {other}")
        clip = getattr(part, "clip", None)
        if clip is not None:
            raise ValueError(f"embeddings have no bounds: expected {name} with clip=None, got {clip}")
        self.part = part
        few = torch.eye(2)
        self.mixes = part(torch.zeros(2, 1, 1), few, torch.Generator().manual_seed(0))[1] is not few

    def scaled(self, strength: float) -> Embedded:
        """See :func:`dreamer.perturbations.scaled`; the part is scaled."""
        return Embedded(scaled(self.part, strength))

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, T, D) embeddings.

        Args:
            p: (B, K), as for all perturbations; a stage passes the (B, B) unit matrix, of which a part that mixes makes
                the weights of the texts.
        """
        need_float(x, "Embedded")
        scale = x.detach().square().mean().sqrt().clamp_min(torch.finfo(x.dtype).tiny)
        units = x / scale
        perturbed, p = self.part(units, p, rng)
        # what has no amount adds exactly nothing
        return x + scale * (perturbed - units), p
