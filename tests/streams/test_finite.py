"""NaN and infinity in data are refused, with their place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dreamer.streams.base import TensorSamples, make_stream
from dreamer.streams.tensors import from_tensors

Y = torch.arange(4).repeat_interleave(5)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_row_and_column_are_named(wrong: float) -> None:
    x = torch.rand(20, 3)
    x[7, 2] = wrong
    with pytest.raises(ValueError, match=rf"x: expected finite numbers, got {wrong} in row 7, column 2"):
        from_tensors(x, Y, experiences=2)


def test_the_column_of_a_frame_is_named() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame(np.ones((20, 2)), columns=["height", "weight"])
    frame.loc[11, "weight"] = np.nan
    with pytest.raises(ValueError, match="got nan in row 11, column 'weight'"):
        from_tensors(frame, Y, experiences=2)


def test_the_place_in_a_picture_is_named_and_later_rows_are_looked_at() -> None:
    x = torch.zeros(70_000, 1, 2, 2)
    x[69_999, 0, 1, 0] = math.nan
    samples = TensorSamples(x, torch.arange(70_000) % 2)
    with pytest.raises(ValueError, match=r"the test samples of experience 0: .* row 69999 at \(0, 1, 0\)"):
        make_stream("pictures", [(TensorSamples(x[:100], Y.new_ones(100)), samples)])


def test_targets_and_labels_too() -> None:
    y = torch.rand(20)
    y[3] = math.nan
    samples = TensorSamples(torch.rand(20, 3), y)
    with pytest.raises(ValueError, match=r"the training targets of experience 0: .* got nan in row 3"):
        make_stream("numbers", [(samples, samples)])
    with pytest.raises(ValueError, match="got nan in row 3"):
        from_tensors(torch.rand(20, 3), y.numpy(), experiences=2)
