"""Which of K classes a sample is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.arguments import checked
from dreamer.core.limits import above
from dreamer.core.types import Dream, Output
from dreamer.problems.base import GroupedTally, Groups, Problem, Tally
from dreamer.problems.softmax import cross_entropy, softened_divergence

if TYPE_CHECKING:
    from dreamer.streams.base import Stream


class Classification(Problem):
    """Name the class of a sample; scored by accuracy.

    A target is an int64 label in [0, K), an output K logits. The loss against labels is the cross-entropy, against a
    teacher's logits distillation (Hinton et al. 2015, arXiv 1503.02531). A replay is balanced by class. Outputs that
    are not active take no part in the softmax, and are never predicted.

    Args:
        temperature: of the distillation; 2 as in learning without forgetting and in van de Ven et al. (2020).
        average: of what the accuracy is the mean: of all ``samples``, or of the accuracies of the ``classes``, however
            many samples each of them has.

    Raises:
        ValueError: when the temperature is not positive.

    >>> Classification().tally(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]), None).value
    0.5
    """

    groups: Groups = "class"
    score = "accuracy"
    unit = "%"
    higher_is_better = True

    @checked
    def __init__(self, temperature: float = 2.0, average: Literal["samples", "classes"] = "samples"):
        above(0, temperature=temperature)
        self.temperature = temperature
        self.average = average

    def check(self, stream: Stream) -> None:
        if stream.targets != "labels":
            raise ValueError(
                f"classification needs integer labels, but the targets of {stream.name} are {stream.targets}"
            )

    def output_shape(self, stream: Stream) -> tuple[int, ...]:
        return (stream.num_classes,)

    def soft_targets(self, samples: Dream, groups: int) -> Tensor:
        return functional.one_hot(samples.y, groups).to(torch.float32) if samples.p is None else samples.p

    def hard_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        return cross_entropy(output.logits, target.y if target.p is None else target.p, active)

    def soft_loss(self, output: Output, target: Dream, active: Tensor | None) -> Tensor:
        assert target.teacher is not None
        divergence = softened_divergence(output.logits, target.teacher, active, self.temperature)
        return self.temperature**2 * divergence

    def active(self, table: Tensor | None, samples: Dream) -> Tensor | None:
        """Of a sample with mixed labels those that are active for any of its classes."""
        if table is None or samples.p is None:
            return None if table is None else table[samples.y]
        return (samples.p > 0).to(torch.float32) @ table.to(torch.float32) > 0

    def restrict(self, outputs: Tensor, groups: Tensor) -> Tensor:
        return outputs.float().masked_fill(~groups, -torch.inf)

    def name(self, outputs: Tensor, candidates: Tensor) -> Tensor:
        return outputs.masked_fill(~candidates, -torch.inf).argmax(dim=1)

    def sureness(self, outputs: Tensor, y: Tensor) -> Tensor:
        return functional.softmax(outputs.float(), dim=1).gather(1, y[:, None]).squeeze(1)

    def tally(self, outputs: Tensor, y: Tensor, active: Tensor | None) -> Tally:
        """How many samples have the largest logit at their class."""
        if active is not None:
            outputs = outputs.masked_fill(~active, -torch.inf)
        right = outputs.argmax(dim=1) == y
        if self.average == "samples":
            return Tally(int(right.sum()), len(y))
        members = {label: right[y == label] for label in y.unique().tolist()}
        return GroupedTally({label: Tally(int(own.sum()), len(own)) for label, own in members.items()})

    def taken_for(self, outputs: Tensor, y: Tensor, active: Tensor | None, classes: Tensor) -> Tally:
        """How many samples of other classes have their largest logit at one of some classes."""
        if active is not None:
            outputs = outputs.masked_fill(~active, -torch.inf)
        others = ~classes[y]
        return Tally(int((classes[outputs.argmax(dim=1)] & others).sum()), int(others.sum()))
