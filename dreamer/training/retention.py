"""What a model kept and what it lost: before and after, on held-out sets, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dreamer.core.limits import at_least
from dreamer.core.modes import evaluating
from dreamer.metrics.significance import summarise
from dreamer.problems import Problem, Tally
from dreamer.streams.base import Samples

Verdict = Literal["lost", "kept", "open"]


@dataclass(frozen=True)
class Retained:
    """What became of one held-out set.

    Attributes:
        samples: of the set.
        before, after: scores.
        loss: by how much the score became worse; negative where it became better.
        low, high: ends of the 95 % t interval of the loss over the set's samples, which are paired; None of one sample.
        verdict: ``lost`` where the whole interval lies beyond the margin, ``kept`` where it ends within it, else
            ``open``: too few samples to tell.
    """

    name: str
    samples: int
    before: float
    after: float
    loss: float
    low: float | None
    high: float | None
    verdict: Verdict

    def plain(self) -> dict[str, Any]:
        """As plain numbers."""
        return asdict(self)


def retention(
    before: nn.Module,
    after: nn.Module,
    sets: Mapping[str, Samples],
    problem: Problem,
    margin: float = 0.0,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
) -> list[Retained]:
    """Score two models on the same held-out sets, sample by sample.

    Args:
        before: maps (B, *S) to outputs; the model as it was.
        after: the same model after a training.
        sets: held-out samples by name.
        problem: how an output is scored: a score that is a mean, such as accuracy and bits per byte.
        margin: the loss that is let pass, in the score's own unit.

    Raises:
        ValueError: when a set is empty, or the score is no mean over samples.
    """
    at_least(0, margin=margin)
    at_least(1, batch_size=batch_size)
    found = []
    for name, samples in sets.items():
        if not len(samples):
            raise ValueError(f"expected held-out samples in {name!r}, got none")
        old, new = (_scores(model, samples, problem, batch_size, torch.device(device)) for model in (before, after))
        found.append(_compared(name, old, new, problem, margin))
    return found


@torch.no_grad()
def _scores(model: nn.Module, samples: Samples, problem: Problem, batch_size: int, device: torch.device) -> Tensor:
    """(N, 2) float64: of each sample what it adds to the score, and over how much."""
    rows = []
    model.to(device)
    with evaluating(model):
        for batch in samples.batches(torch.arange(len(samples)).split(batch_size)):
            moved = batch._replace(x=batch.x.to(device), y=batch.y.to(device))
            outputs = model(moved.x)
            for row in range(len(moved.y)):
                counted = problem.tally(outputs[row : row + 1], moved.y[row : row + 1], None)
                if type(counted) is not Tally:
                    raise ValueError(
                        f"retention compares scores that are means over samples, and {problem.score} is none: expected "
                        "accuracy, a mean squared error or bits per byte"
                    )
                rows.append((counted.total, counted.weight))
    return torch.tensor(rows, dtype=torch.float64)


def _compared(name: str, old: Tensor, new: Tensor, problem: Problem, margin: float) -> Retained:
    weight = float(old[:, 1].sum())
    if not weight:
        raise ValueError(f"nothing in {name!r} counts towards the score")
    sign = -1 if problem.higher_is_better else 1
    # the mean over what counts; its parts are paired, sample by sample
    # zero has no sign
    each = sign * (new[:, 0] - old[:, 0]) * len(old) / weight + 0.0
    summary = summarise(each.tolist())
    assert summary.mean is not None
    low, high = summary.low, summary.high
    verdict: Verdict = "open"
    if low is not None and high is not None:
        verdict = "lost" if low > margin else "kept" if high <= margin else "open"
    return Retained(
        name,
        len(old),
        float(old[:, 0].sum()) / weight,
        float(new[:, 0].sum()) / weight,
        summary.mean,
        low,
        high,
        verdict,
    )


def retention_table(found: list[Retained], problem: Problem, margin: float) -> str:
    """A plain table, and a sentence on what was lost."""
    factor, unit = (100, " %") if problem.unit == "%" else (1, "")
    width = max(len(one.name) for one in found)
    lines = [f"{'set':<{width}}  samples   before    after  loss (95 % interval)"]
    for one in found:
        before, after, loss = (f"{factor * value:8.3f}" for value in (one.before, one.after, one.loss))
        ends = "" if one.low is None or one.high is None else f" ({factor * one.low:+.3f} to {factor * one.high:+.3f})"
        lines.append(f"{one.name:<{width}}  {one.samples:>7} {before} {after} {loss}{ends}  {one.verdict}")
    lost = [one.name for one in found if one.verdict == "lost"]
    better = "higher" if problem.higher_is_better else "lower"
    lines.append(f"{problem.score}{unit}, {better} is better")
    lines.append(f"lost beyond a margin of {factor * margin:g}: {', '.join(lost) or 'nothing'}")
    return "\n".join(lines)
