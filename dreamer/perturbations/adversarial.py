"""Adversarial perturbation: samples move towards the learner's decision boundary."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.modes import evaluating
from dreamer.perturbations.base import along, need_float, uniform


class Adversarial:
    """Move every sample towards the learner's decision boundary, by its own distance at most.

    A few steps of gradient descent on the margin ``logit of the labelled class - largest other logit``, which is
    ``f_6`` of Carlini and Wagner (2017, arXiv 1608.04644, section V.A) away from a class instead of towards one. The
    steps are those of Kurakin et al. (2017, arXiv 1607.02533, section 2.2; a single one with ``linf`` is the fast
    gradient sign of Goodfellow et al. 2015, arXiv 1412.6572), each of length ``epsilon / steps``, so that no sample
    leaves its ball and nothing has to be projected. A sample that crosses the boundary goes on: ``epsilon`` says how
    far a label holds.

    It needs the learner: bind it with :meth:`bind_model`. The learner is called in evaluation mode (no dropout, no
    change of running statistics), gets no gradients, and is left in the mode in which it was found.

    Args:
        epsilon: the largest distance; a sample's own is uniform in [0, epsilon]. ``linf``: of any element; ``l2``: root
            mean square over the elements, so that one number suits both and samples of any size (a Euclidean
            distance d is ``d / sqrt(elements)``). 8 / 255 is usual on CIFAR-10 (Madry et al. 2018, arXiv 1706.06083,
            section 5), where MNIST takes 0.3.
        steps: gradient steps, at least 1; each costs a forward and a backward pass.
        norm: ``linf`` goes along the sign of the gradient, ``l2`` along the gradient itself.
        clip: range into which every step is clipped, (low, high); None leaves it as it is.

    Raises:
        ValueError: when ``epsilon`` is negative, ``steps`` is below 1, or there is no such norm.
    """

    space: Literal["pixel"] = "pixel"
    amounts = ("epsilon",)
    needs_classes = True

    @checked
    def __init__(
        self,
        epsilon: float = 8 / 255,
        steps: int = 3,
        norm: Literal["linf", "l2"] = "linf",
        clip: Sequence[float] | None = (0.0, 1.0),
    ):
        at_least(0, epsilon=epsilon)
        if steps < 1:
            raise ValueError(f"expected at least 1 step, got {steps}")
        if norm not in ("linf", "l2"):
            raise ValueError(f"expected norm to be 'linf' or 'l2', got {norm!r}")
        self.epsilon = epsilon
        self.steps = steps
        self.norm = norm
        self.clip = clip
        self.network: nn.Module | None = None

    def bind_model(self, network: nn.Module) -> Adversarial:
        """A copy that is bound to the given learner, which maps (B, *S) samples to (B, K) logits."""
        bound = copy.copy(self)
        bound.network = network
        return bound

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, *S) samples away from the likeliest class of their label distribution; labels stay.

        Raises:
            RuntimeError: when it is bound to no learner.
            ValueError: when there is only one class.
        """
        if self.network is None:
            raise RuntimeError("Adversarial needs the learner: bind it with bind_model(network) before calling it")
        need_float(x, "Adversarial")
        if p.shape[1] < 2:
            raise ValueError(f"Adversarial needs at least 2 classes, got label distributions of shape {tuple(p.shape)}")
        stride = along(uniform(len(x), 0.0, self.epsilon, x, rng) / self.steps, x)
        moved = x.detach()
        # dreams are made without gradients
        with torch.inference_mode(False), torch.enable_grad(), evaluating(self.network):
            label = p.argmax(dim=1, keepdim=True)
            for _ in range(self.steps):
                moved = moved - stride * self._uphill(self.network, moved, label)
                moved = moved if self.clip is None else moved.clamp(*self.clip)
        return moved, p

    def _uphill(self, network: nn.Module, x: Tensor, label: Tensor) -> Tensor:
        """(B, *S) directions, of length 1 in the norm, in which the margin grows; 0 where the learner does not move."""
        # a clone, because a tensor that was made in inference mode takes no gradient
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margin(network(x), label).sum(), x)
        if self.norm == "linf":
            return gradient.sign()
        length = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
        return gradient / along(length, x) * x.shape[1:].numel() ** 0.5


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """(B,) logit of the labelled class less the largest other one: below 0 on the wrong side of the boundary.

    Args:
        logits: (B, K).
        label: (B, 1) int64.
    """
    largest_other = logits.scatter(1, label, -torch.inf).amax(dim=1)
    return logits.gather(1, label).squeeze(1) - largest_other
