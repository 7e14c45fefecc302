"""Which numbers belong to a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.types import Dream, Output
from dreamer.problems.base import Groups, Problem, Tally

if TYPE_CHECKING:
    from dreamer.streams.base import Stream


class Regression(Problem):
    """Predict K numbers of a sample; scored by mean squared error, of which less is better.

    A target is one floating number, (B,) in a batch, or K of them, (B, K); an output has K numbers. The loss
    against targets and teachers is the mean squared error. A replay is balanced by domain, the experience in which a
    sample was seen. Only a teacher can give a dream its target, so a generator's dreams need one.

    Args:
        unit: in what the squared error is counted, to be written beside the scores.

    >>> Regression().tally(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0]), None).value
    2.0
    """

    groups: Groups = "domain"
    score = "mean squared error"
    higher_is_better = False

    @checked
    def __init__(self, unit: str = "squared units of the target"):
        self.unit = unit

    def check(self, stream: Stream) -> None:
        if stream.targets != "numbers":
            raise ValueError(
                f"regression needs targets that are floating numbers, but those of {stream.name} are {stream.targets}"
            )

    def output_shape(self, stream: Stream) -> tuple[int, ...]:
        return (stream.num_classes,)

    def soft_targets(self, samples: Dream, groups: int) -> Tensor:
        return samples.y.reshape(len(samples.y), -1) if samples.p is None else samples.p

    def hard_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        wanted = target.y if target.p is None else target.p
        return functional.mse_loss(output.logits, wanted.reshape(output.logits.shape))

    def soft_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        assert target.teacher is not None
        return functional.mse_loss(output.logits, target.teacher.to(output.logits.dtype))

    def restrict(self, outputs: Tensor, groups: Tensor) -> Tensor:
        """All of it: a teacher says a number of any sample."""
        return outputs.float()

    def name(self, outputs: Tensor, candidates: Tensor) -> Tensor:
        """The teacher's own numbers."""
        return outputs.squeeze(1) if outputs.shape[1] == 1 else outputs

    def sureness(self, outputs: Tensor, y: Tensor) -> Tensor:
        return -(outputs.float() - y.reshape(outputs.shape)).square().mean(dim=1)

    def tally(self, outputs: Tensor, y: Tensor, active: Tensor | None) -> Tally:
        """Squared errors, summed in double precision where there is one, over samples and numbers."""
        kind = torch.float32 if outputs.device.type == "mps" else torch.float64
        error = outputs.to(kind) - y.reshape(outputs.shape).to(kind)
        return Tally(float(error.square().sum()), error.numel())
