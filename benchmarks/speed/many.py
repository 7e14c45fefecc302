"""Many runs: the seeds of one strategy as one vectorised step, and the workers of a comparison."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from benchmarks.speed.pair import Case, Goal, Spent, Watch
from benchmarks.speed.runs import ENVIRONMENT, ROOT
from dreamer.networks import MLP

_SEEDS = 5
_STEPS = 20
SIZES: dict[str, tuple[int, tuple[int, ...], int]] = {
    "mlp": (784, (400, 400), 128),
    "digits": (64, (200, 200), 64),
    "tiny": (64, (32,), 16),
}
"""Inputs, hidden units and batch of a network."""


def cases() -> Iterator[Case]:
    """All of them."""
    goal = Goal(1 / 2, "at most twice as long as one seed")
    for name, (inputs, hidden, batch) in SIZES.items():
        sizes = "-".join(map(str, (inputs, *hidden, 10)))
        what = f"the arithmetic of {_SEEDS} seeds as one vectorised step, MLP {sizes}, batch of {batch}"
        yield Case(f"seeds_{name}", what, "step", "one seed's", functools.partial(_timed, together, name),
                   functools.partial(_timed, alone, name), goal, rounds=15)  # fmt: skip
    yield Case("workers", "`dreamer compare er --seeds 6 --workers 2`", "comparison", "`--workers 1`",
               functools.partial(_comparison, 2), functools.partial(_comparison, 1),
               Goal(1.8, "at least 1.8 times as fast"), rounds=3, warm_up=False)  # fmt: skip


# ---------------------------------------------------------------- seeds as one step


def networks(name: str) -> list[nn.Module]:
    """The networks of all seeds."""
    inputs, hidden, _ = SIZES[name]
    return [_seeded(seed, inputs, hidden) for seed in range(_SEEDS)]


def _seeded(seed: int, inputs: int, hidden: Sequence[int]) -> nn.Module:
    torch.manual_seed(seed)
    return MLP((inputs,), 10, hidden)


def batches(name: str) -> tuple[Tensor, Tensor]:
    """A batch of each seed: samples (seeds, batch, inputs) and labels (seeds, batch)."""
    inputs, _, batch = SIZES[name]
    rng = torch.Generator().manual_seed(0)
    return torch.rand(_SEEDS, batch, inputs, generator=rng), torch.randint(10, (_SEEDS, batch), generator=rng)


def together(name: str) -> Callable[[], dict[str, Tensor]]:
    """A step of Adam of all networks at once; gives their weights, stacked."""
    each = networks(name)
    stacked, buffers = stack_module_state(each)
    weights = {key: nn.Parameter(weight.detach()) for key, weight in stacked.items()}
    optimizer = torch.optim.Adam(weights.values())
    x, y = batches(name)

    def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(each[0], (weights, buffers), (x,)), y)

    losses = vmap(loss)

    def step() -> dict[str, Tensor]:
        optimizer.zero_grad()
        losses(weights, buffers, x, y).sum().backward()
        optimizer.step()
        return dict(weights)

    return step


def alone(name: str, seed: int = 0) -> Callable[[], dict[str, Tensor]]:
    """A step of Adam of one network; gives its weights."""
    network = networks(name)[seed]
    optimizer = torch.optim.Adam(network.parameters())
    x, y = (rows[seed] for rows in batches(name))

    def step() -> dict[str, Tensor]:
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
        return dict(network.named_parameters())

    return step


def _timed(way: Callable[[str], Callable[[], dict[str, Tensor]]], name: str) -> Spent:
    step = way(name)
    step()
    watch = Watch()
    for _ in range(_STEPS):
        step()
    return watch.spent(_STEPS)


# ---------------------------------------------------------------- workers


def _comparison(workers: int) -> Spent:
    """What a comparison takes by the wall clock: two workers are two processes, and CPU seconds say nothing."""
    words = ["compare", "er", "--seeds", "6", "--workers", str(workers)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "dreamer", *words, "--out", f"{folder}/compare"],
            cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - began
    return Spent(seconds, seconds)
