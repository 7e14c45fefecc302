"""What a process of its own does for a measurement: train adapters, with so many teachers, and say what it held::

python -m benchmarks.teachers.child MODEL 2
"""

from __future__ import annotations

import json
import resource
import sys

import torch
from torch.nn import functional

from dreamer.core import transformers
from dreamer.networks import CausalLM
from dreamer.networks.base import Frozen, module_bytes

BATCH, BLOCK, RANK, STEPS, KEPT = 4, 128, 16, 3, 64


def main() -> None:
    """Train on random tokens; before each step every teacher says what it holds likely of these."""
    model, teachers = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = len(transformers.tokeniser(model))
    learner = CausalLM((BLOCK,), size, model, lora=RANK)
    loaded = _peak()
    optimizer = torch.optim.AdamW([weight for weight in learner.parameters() if weight.requires_grad], lr=1e-3)
    copies: list[Frozen] = []
    for _ in range(STEPS):
        if len(copies) < teachers:
            copies.append(Frozen(learner))
        tokens = torch.randint(size, (BATCH, BLOCK + 1))
        with torch.no_grad():
            said = [copy(tokens[:, :-1]).log_softmax(dim=2).topk(KEPT, dim=2) for copy in copies]
        assert all(values.shape == (BATCH, BLOCK, KEPT) for values, _ in said)
        optimizer.zero_grad()
        functional.cross_entropy(learner(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    found = {"loaded": loaded, "peak": _peak(), "model": module_bytes(learner), "each": [one.nbytes for one in copies]}
    print(json.dumps(found))


def _peak() -> int:
    """The most bytes that this process has held so far."""
    # Linux counts in units of 1024 bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
