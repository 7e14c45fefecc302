"""A compiled module: the compiler starts processes of its own."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.tiny_runs import live, tiny_life, tiny_stream

# Lightning's advice, and torch's on functions that are compiled again and again
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning", "ignore::UserWarning:torch")


def test_a_compiled_module_lives_the_same_life() -> None:
    stream = tiny_stream(2)
    plain, compiled = tiny_life(stream), tiny_life(stream)
    live(plain, stream)
    live(torch.compile(compiled, backend="eager"), stream)  # type: ignore[arg-type]
    assert plain.results()["accuracy_matrix"] == compiled.results()["accuracy_matrix"]
    assert all(map(torch.equal, plain.state_dict().values(), compiled.state_dict().values()))
