"""A night after every experience."""

from __future__ import annotations

from dreamer.hypnogram import Stretch


class Boundary:
    """Sleep at every boundary between experiences, and after the last one.

    The schedule of nearly all replay methods that know where an experience ends (e.g. van de Ven et al. 2020).
    """

    def cut(self, steps: int, lived: int, last: bool) -> list[Stretch]:
        """Cut one experience.

        Args:
            steps: wake steps of the experience, at least 1.
            lived: wake steps of all experiences before it.
            last: True for the last experience of the stream.

        Returns:
            One stretch with a night behind it.
        """
        return [Stretch(steps, sleep=True)]
