"""Runs whose losses, weights or data are no numbers: each has to end, say where, and leave no score."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.trust.child import dreamer
from benchmarks.trust.recipes import RECIPES
from benchmarks.trust.trial import Trial

_LIMIT = 400  # letters
_SGD = "optimizer={name: sgd, lr: 1e30}"
RATES: dict[str, tuple[str, ...]] = {
    **{f"{recipe}, lr=1e30": (*RECIPES[recipe], "optimizer.lr=1e30") for recipe in RECIPES},
    **{f"{recipe}, lr=1e38": (*RECIPES[recipe], "optimizer.lr=1e38") for recipe in ("dreams", "derpp", "arithmetic")},
    **{f"{recipe}, sgd, lr=1e30": (*RECIPES[recipe], _SGD) for recipe in ("dreams", "bir", "arithmetic")},
    "the generator's rate": (*RECIPES["dreams"], "generator_lr=1e30"),
    "asleep alone": (*RECIPES["dreams"], "night.0.lr_scale=1e32", "optimizer={name: sgd, lr: 0.1}"),
}
LOSSES: dict[str, tuple[str, ...]] = {
    "a weight of 1e38": (*RECIPES["dreams"], "wake.objectives=[{name: cross_entropy, weight: 1e38}]", _SGD),
    "a weight of 1e38 on what is replayed": (
        *RECIPES["derpp"],
        "wake.replay_objectives=[{name: logit_matching, weight: 1e38}]",
        "optimizer={name: sgd, lr: 10}",
    ),
    "a penalty": (
        *RECIPES["derpp"],
        "plasticity=[{name: synaptic_intelligence, c: 1e38}]",
        "optimizer={name: sgd, lr: 1}",
    ),
    "beta": (*RECIPES["dreams"], "generator.beta=1e38", "generator_lr=10"),
    "a loss of one's own, at its first step": (*RECIPES["derpp"], "wake.objectives=[own.First]"),
    "a loss of one's own, at its tenth step": (*RECIPES["derpp"], "wake.objectives=[own.Tenth]"),
    "a loss of one's own, infinite": (*RECIPES["derpp"], "wake.objectives=[own.Infinite]"),
    "weights of one's own network": (*RECIPES["derpp"][:-2], "network=own.Broken"),
}
DATA: dict[str, tuple[str, ...]] = {
    f"{value} in {where}": ("derpp", f"stream={{name: own.stream, value: '{value}', where: {where}}}", "network=mlp")
    for value in ("nan", "inf", "-inf")
    for where in ("the first row", "the last row", "test data")
}
OWN = """
import torch
from torch import nn
from dreamer.objectives import CrossEntropy
from dreamer.streams import Stream, from_tensors

class First(CrossEntropy):
    at, value = 0, float("nan")
    calls = 0
    def __call__(self, *args, **kwargs):
        loss = super().__call__(*args, **kwargs)
        self.calls += 1
        return loss * self.value if self.calls > self.at else loss

class Tenth(First):
    at = 9

class Infinite(First):
    value = float("inf")

class Broken(nn.Sequential):
    def __init__(self, num_classes: int):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))
        with torch.no_grad():
            self[1].weight[0, 0] = float("nan")

def stream(value: str, where: str, seed: int = 0) -> Stream:
    x, y = torch.rand(80, 1, 8, 8), torch.arange(80) % 4
    test = torch.rand(40, 1, 8, 8)
    rows = test if where == "test data" else x
    rows[-1 if where == "the last row" else 0, 0, 3, 3] = float(value)
    return from_tensors(x, y, test, torch.arange(40) % 4, experiences=2, seed=seed)
"""


def trials(scratch: Path) -> Iterator[Trial]:
    """All of them."""
    for kind, cases in (("learning rates", RATES), ("losses and weights", LOSSES), ("data", DATA)):
        for name, words in cases.items():
            yield Trial(kind, name, functools.partial(_diverges, list(words), kind))


def _diverges(words: list[str], kind: str, folder: Path) -> str:
    (folder / "own.py").write_text(OWN)
    ending = dreamer(["run", *words, "--out", "run", "--quiet"], folder)
    if ending.code not in (1, 2):
        return ending.words
    lines = [line for line in ending.said.splitlines() if line.strip()]
    if len(lines) != 1 or not lines[0].startswith("dreamer: ") or len(lines[0]) > _LIMIT or "finite" not in lines[0]:
        return f"expected one sentence, got {ending.said[-300:]!r}"
    results = folder / "run" / "results.json"
    if kind == "data":
        return "something was written" if results.exists() else ""
    if results.exists() and json.loads(results.read_text())["complete"] is not False:
        return "it is complete"
    return "; ".join(_not_finite(folder / "run" / "checkpoints"))


def _not_finite(folder: Path) -> list[str]:
    return [
        f"{path.name} holds {name}, which is not finite"
        for path in folder.glob("*.ckpt")
        for name, value in torch.load(path, weights_only=True)["state_dict"].items()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
