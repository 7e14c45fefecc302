"""What the package offers."""

from __future__ import annotations

import pytest

import dreamer


def test_public_names_are_listed_and_others_refused():
    assert set(dreamer.__all__) <= set(dir(dreamer))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dreamer.nothing
