"""A compiled module: the compiler starts processes of its own."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

# Lightning's advice, and torch's on functions that are compiled again and again
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning", "ignore::UserWarning:torch")


def test_a_compiled_module_gives_the_same_run() -> None:
    stream = tiny_stream(2)
    plain, compiled = tiny_module(stream), tiny_module(stream)
    train(plain, stream)
    train(torch.compile(compiled, backend="eager"), stream)  # type: ignore[arg-type]
    assert plain.results()["accuracy_matrix"] == compiled.results()["accuracy_matrix"]
    assert all(map(torch.equal, plain.state_dict().values(), compiled.state_dict().values()))
