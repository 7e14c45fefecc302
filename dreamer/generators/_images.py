"""The sides of an image on its way from fine to coarse."""

from __future__ import annotations

from collections.abc import Sequence


def halved(sample_shape: Sequence[int], times: int) -> list[tuple[int, int]]:
    """Height and width of an image, then those of it halved again and again, rounded up.

    Raises:
        ValueError: when samples are not images, or too small to be halved that often.
    """
    if len(sample_shape) != 3:
        raise ValueError(f"expected images of shape (C, H, W), got samples of shape {tuple(sample_shape)}")
    sides = [(sample_shape[1], sample_shape[2])]
    for _ in range(times):
        height, width = sides[-1]
        if min(height, width) < 2:
            raise ValueError(f"expected images that can be halved {times} times, got {tuple(sample_shape)}")
        sides.append(((height + 1) // 2, (width + 1) // 2))
    return sides
