"""Evaluation mode for a while."""

from __future__ import annotations

import pytest
from torch import nn

from dreamer.core.modes import evaluating


def test_every_submodule_is_in_its_own_mode_again_also_after_an_error() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2).eval())
    before = [part.training for part in network.modules()]
    with pytest.raises(RuntimeError, match="on purpose"), evaluating(network):
        assert not any(part.training for part in network.modules())
        raise RuntimeError("on purpose")
    assert [part.training for part in network.modules()] == before == [True, True, True, False]
