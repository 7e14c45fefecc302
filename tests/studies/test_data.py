"""The real data of an experiment: drawn by the seed, and evaluated on what it says."""

from __future__ import annotations

import pytest
import torch

from dreamer.studies.experiments.real_data import real_data, tensors


def test_settings_are_chosen_on_held_out_data_and_not_on_test_data() -> None:
    test, held = (real_data({"name": "digits"}, 1, None, part) for part in ("test", "validation"))
    assert torch.equal(tensors(test[1]).x, tensors(held[1]).x)
    assert len(test[2].y) == 359 and len(held[2].y) < 200
    with pytest.raises(ValueError, match="nothing is held out"):
        real_data({"name": "digits", "validation": 0.0}, 1, None, "validation")


def test_some_of_the_training_data_are_drawn_by_the_seed() -> None:
    whole, training, _, classes = real_data({"name": "digits", "validation": 0.0}, 1, 200, "test")
    rows = {tuple(x.flatten().tolist()) for x in tensors(whole).x}
    assert len(training) == 200 and classes == 10
    assert all(tuple(x.flatten().tolist()) in rows for x in tensors(training).x)
    assert torch.equal(
        tensors(training).x, tensors(real_data({"name": "digits", "validation": 0.0}, 1, 200, "test")[1]).x
    )
    assert not torch.equal(training.y, real_data({"name": "digits", "validation": 0.0}, 2, 200, "test")[1].y)
