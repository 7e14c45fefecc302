"""The range of values in which samples lie, and the one in which networks make them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class Span:
    """Maps a range of values to [-1, 1] and back; without a range values stay as they are.

    Args:
        ends: lowest and highest value of a sample's elements, or None for values without bounds.

    Raises:
        ValueError: unless there are two ends, in order.
    """

    def __init__(self, ends: Sequence[float] | None):
        if ends is not None and not (len(ends) == 2 and ends[0] < ends[1]):
            raise ValueError(f"expected a span of a lowest and a highest value, got {list(ends)}")
        self.bounded = ends is not None
        self.middle = 0.0 if ends is None else (ends[0] + ends[1]) / 2
        self.radius = 1.0 if ends is None else (ends[1] - ends[0]) / 2

    def enter(self, x: Tensor) -> Tensor:
        """Samples as networks see them."""
        return (x - self.middle) / self.radius

    def keep(self, x: Tensor) -> Tensor:
        """What networks make, brought into the range; gradients pass as if it had not been.

        A squashing function would let no gradient through at the ends, where most pixels of a drawing lie.
        """
        return x + (x.clamp(-1, 1) - x).detach() if self.bounded else x

    def leave(self, x: Tensor) -> Tensor:
        """What networks make as samples; what lies outside the range is brought to its nearest end."""
        return (x.clamp(-1, 1) if self.bounded else x) * self.radius + self.middle
