"""The embedded stream: the 1 797 handwritten digits that scikit-learn ships."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dreamer.core.arguments import checked
from dreamer.streams.base import Scenario, Stream, TensorSamples, hold_out
from dreamer.streams.split import split_stream


@checked
def digits(
    experiences: int = 5,
    seed: int = 0,
    shuffle: bool = True,
    class_order: Sequence[int] | None = None,
    scenario: Scenario = "class",
    validation: float = 0.1,
    split_seed: int = 0,
    test: float = 0.2,
) -> Stream:
    """1 797 real handwritten digits of 8 x 8 pixels, ten classes; needs no download.

    The test set depends on ``split_seed`` alone, so it is the same for every ``seed``.

    Args:
        experiences: how many, from 1 to 10.
        seed: decides the order of the classes.
        shuffle: False keeps the order 0, 1, 2 ...
        class_order: the order itself; overrides ``seed`` and ``shuffle``.
        scenario: ``class``, ``task`` or ``domain`` (a digit's label is then its position within its experience).
        validation: fraction of each experience's training data that is held out, in [0, 1).
        split_seed: decides which samples are test and which are validation.
        test: fraction of each class that is test data, in (0, 1).

    Returns:
        Samples of shape (1, 8, 8), float32 pixels in [0, 1].

    Source:
        E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, through scikit-learn's
        ``load_digits``.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # ink is counted from 0 to 16 in every 4 x 4 block of the scanned bitmap
    x = torch.from_numpy(bunch.images).to(torch.float32).div_(16).unsqueeze(1)
    whole = TensorSamples(x, torch.from_numpy(bunch.target))
    train, held = hold_out(whole, test, split_seed)
    if held is None:
        raise ValueError(f"stream 'digits': expected a fraction of test data in (0, 1), got {test}")
    return split_stream(
        "digits",
        train,
        held,
        experiences=experiences,
        seed=seed,
        shuffle=shuffle,
        class_order=class_order,
        scenario=scenario,
        validation=validation,
        split_seed=split_seed,
        class_names=[str(digit) for digit in range(10)],
    )
