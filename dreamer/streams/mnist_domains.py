"""MNIST in several looks: the same ten digits, permuted or rotated anew in every experience."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamer.core.arguments import checked
from dreamer.streams import native
from dreamer.streams.base import Scenario, Stream, TensorSamples, make_stream
from dreamer.streams.sources import locate
from dreamer.streams.split import check_scenario, separate


@checked
def permuted_mnist(
    *,
    root: str | Path | None = None,
    experiences: int = 10,
    seed: int = 0,
    scenario: Scenario = "domain",
    validation: float = 0.1,
    split_seed: int = 0,
    download: bool = True,
) -> Stream:
    """MNIST under another fixed permutation of its pixels in every experience (Goodfellow et al. 2013).

    Args:
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        experiences: how many permutations; each is drawn as Avalanche draws it, the first included.
        seed: decides the permutations.
        scenario: ``domain``: ten labels; ``class`` and ``task``: ten labels of its own for each experience.
        validation: fraction of each experience's training data that is held out, in [0, 1); the same images in each.
        split_seed: decides which samples are held out.
        download: False never uses the network.

    Returns:
        Samples of shape (1, 28, 28), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
    """
    _check_count("permuted_mnist", experiences)
    pair = native.read_mnist(locate(native.MNIST, root, download) / "MNIST" / "raw")
    draws = np.random.RandomState(seed % 2**32)
    orders = [torch.from_numpy(draws.permutation(784)) for _ in range(experiences)]
    pairs = [tuple(_permuted(part, order) for part in pair) for order in orders]
    return _looks("permuted_mnist", pairs, scenario, validation, split_seed)


@checked
def rotated_mnist(
    *,
    root: str | Path | None = None,
    experiences: int = 5,
    angles: Sequence[int] | None = None,
    seed: int = 0,
    scenario: Scenario = "domain",
    validation: float = 0.1,
    split_seed: int = 0,
    download: bool = True,
) -> Stream:
    """MNIST rotated by another fixed angle in every experience.

    Args:
        root: the data root; None means ``DREAMER_DATA``, else where Avalanche keeps its data.
        experiences: how many angles.
        angles: the angles, in degrees from -180 to 180, one per experience; None draws them as Avalanche does.
        seed: decides the angles when they are drawn.
        scenario: ``domain``: ten labels; ``class`` and ``task``: ten labels of its own for each experience.
        validation: fraction of each experience's training data that is held out, in [0, 1); the same images in each.
        split_seed: decides which samples are held out.
        download: False never uses the network.

    Returns:
        Samples of shape (1, 28, 28), float32 pixels in [0, 1].

    Raises:
        DataNotFound: when the data set is absent and cannot be downloaded.
        ValueError: when the angles are not as many as the experiences.
    """
    _check_count("rotated_mnist", experiences)
    if angles is not None and len(angles) != experiences:
        raise ValueError(
            f"stream 'rotated_mnist': expected {experiences} angles, one per experience, got {len(angles)}"
        )
    pair = native.read_mnist(locate(native.MNIST, root, download) / "MNIST" / "raw")
    draws = np.random.RandomState(seed % 2**32)
    turns = [draws.randint(-180, 181) for _ in range(experiences)] if angles is None else angles
    pairs = [tuple(_rotated(part, float(angle)) for part in pair) for angle in turns]
    return _looks("rotated_mnist", pairs, scenario, validation, split_seed)


def _looks(name: str, pairs: Sequence[Any], scenario: Scenario, validation: float, split_seed: int) -> Stream:
    """The same ten digits in new looks; each look has labels of its own unless the scenario is ``domain``."""
    check_scenario(scenario)
    if scenario != "domain":
        pairs = separate(pairs, range(len(pairs)))
    return make_stream(name, pairs, validation=validation, split_seed=split_seed, scenario=scenario)


def _check_count(name: str, experiences: int) -> None:
    if experiences < 1:
        raise ValueError(f"stream {name!r}: expected at least one experience, got {experiences}")


def _permuted(samples: TensorSamples, order: torch.Tensor) -> TensorSamples:
    x = samples.x.flatten(1).index_select(1, order).view_as(samples.x)
    return TensorSamples(x, samples.y, samples.scale)


def _rotated(samples: TensorSamples, angle: float) -> TensorSamples:
    from torchvision.transforms.functional import rotate

    # the chunks bound the memory of the float copies that the rotation works on
    x = torch.cat([rotate(chunk, angle) for chunk in samples.x.split(4096)])
    return TensorSamples(x, samples.y, samples.scale)
