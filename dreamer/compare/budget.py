"""Equal budgets: the same optimiser steps, bytes or arithmetic for every arm.

Steps are made equal by the length of the wake stages, nights staying as their strategy has them; bytes by the capacity
of the memory, which is the only part whose size can be chosen freely. What cannot be made equal is reported.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from torch.utils.flop_counter import FlopCounterMode

from dreamer import config
from dreamer.compare.cells import Cell
from dreamer.config.binding import ConfigError, at, check
from dreamer.core.suggest import one_of
from dreamer.core.types import Stage
from dreamer.loop.plan import Stored, stored
from dreamer.runs import run as runs
from dreamer.runs import summary
from dreamer.training.module import WakeSleepModule

MATCHES = ("steps", "bytes", "flops")
_SAMPLE = 16
"""Steps of each stage over which arithmetic is counted: dreams are made for several steps at once."""


@dataclass(frozen=True)
class Limits:
    """What every run may spend.

    Attributes:
        steps: optimiser steps of a whole run, wake and sleep, or None.
        nbytes: bytes kept beside the network, at the end of a run, or None.
        match: the reference arm's own ``steps``, ``bytes`` or ``flops`` are the limit, or None.
    """

    steps: int | None = None
    nbytes: int | None = None
    match: Literal["steps", "bytes", "flops"] | None = None
    reference: str = ""

    @classmethod
    def read(cls, budget: Any, match: Any, reference: str) -> Limits:
        """Check the request."""
        if match is not None and match not in MATCHES:
            raise ConfigError(f"match: there is no {match!r}; {one_of(str(match), MATCHES)}")
        given = budget or {}
        if not isinstance(given, Mapping) or set(given) - {"steps", "bytes"}:
            raise ConfigError(f"budget: expected steps and bytes, got {budget!r}")
        if (match in ("steps", "flops") and "steps" in given) or (match == "bytes" and "bytes" in given):
            raise ConfigError(f"budget and match: both say how much every arm may spend ({match})")
        numbers = {key: check(value, int, f"budget.{key}") for key, value in given.items()}
        for key, value in numbers.items():
            if value < 1:
                raise ConfigError(f"budget.{key}: expected at least 1, got {value}")
        return cls(numbers.get("steps"), numbers.get("bytes"), match, reference)


@dataclass(frozen=True)
class Plan:
    """What a run will spend.

    Attributes:
        stages: kind and optimiser steps of every stage; an upper bound where nights are open.
        experiences: length of the stream.
        sample_size: numbers in one sample.
        memory: bytes of the memory at the end.
        others: bytes of generator, teachers and plasticity.
        open: nights are decided during the run.
        replayed: samples replayed awake and asleep; an upper bound where nights are open.
        stores: what is kept of training data.
    """

    stages: tuple[tuple[str, int], ...]
    experiences: int
    sample_size: int
    memory: int
    others: int
    open: bool
    replayed: int
    stores: Stored

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return sum(steps for _, steps in self.stages)

    @property
    def wake(self) -> int:
        """Optimiser steps of all wake stages."""
        return sum(steps for kind, steps in self.stages if kind == "wake")

    @property
    def nbytes(self) -> int:
        """Bytes kept beside the network."""
        return self.memory + self.others


def equalise(cells: Mapping[str, Cell], limits: Limits) -> tuple[dict[str, Cell], list[str]]:
    """Give the arms of one stream equal budgets.

    Returns:
        The cells with changed wake steps and capacities, and what could not be made equal.

    Raises:
        ConfigError: when a cell cannot be run as configured, or its nights alone are beyond the limit.
    """
    reference = plan_cell(cells[limits.reference])
    if limits.match in ("bytes", "flops") and cells[limits.reference].avalanche is not None:
        raise ConfigError(
            f"match: nobody can plan the {limits.match} of {limits.reference!r}; choose another reference"
        )
    steps = reference.steps if limits.match == "steps" else limits.steps
    nbytes = reference.nbytes if limits.match == "bytes" else limits.nbytes
    warnings: list[str] = []
    equal = _with_equal_memories(cells, limits.reference)
    if nbytes is not None:
        for label, cell in equal.items():
            equal[label], said = _with_bytes(cell, nbytes)
            warnings += said
    if steps is not None:
        equal = {label: _with_steps(cell, steps) for label, cell in equal.items()}
    if limits.match == "flops":
        total = sum(_flops(cells[limits.reference]).values())
        equal = {label: _with_flops(cell, total) for label, cell in equal.items()}
    open_nights = [label for label, cell in equal.items() if plan_cell(cell).open]
    warnings += [
        f"{label} decides about its nights during the run, so its steps are not fixed" for label in open_nights
    ]
    return equal, warnings


def _prepared(cell: Cell) -> runs.Run:
    try:
        return runs.prepare({**cell.config, "out": None, "logger": None})
    except ConfigError as error:
        raise ConfigError(at(cell.arm, str(error))) from None


def plan_cell(cell: Cell) -> Plan:
    """Plan the run of a cell; a ``ConfigError`` when it cannot be run as configured."""
    prepared = _prepared(cell)
    module = prepared.module
    sizes = summary.budget(prepared.stream, module)
    return Plan(
        stages=tuple((stage.kind, stage.steps) for stage in prepared.hypnogram),
        experiences=len(prepared.stream),
        sample_size=math.prod(prepared.stream.sample_shape),
        memory=sizes["memory"],
        others=sum(size for name, size in sizes.items() if name not in ("network", "memory")),
        open=any(stage.tentative for stage in prepared.hypnogram),
        replayed=sum(stage.steps * _replayed(module, stage) for stage in prepared.hypnogram),
        stores=stored(module.memory, module.generator, module.wake),
    )


def _replayed(module: WakeSleepModule, stage: Stage) -> int:
    """Samples replayed in each step of a stage; the first experience has nothing to replay awake."""
    if stage.kind != "wake":
        return module.night[stage.index_in_night].batch_size
    return module.wake.replay if stage.experience and module.wake.replayer.source != "day" else 0


def _with_equal_memories(cells: Mapping[str, Cell], reference: str) -> dict[str, Cell]:
    """Avalanche's memories hold as many samples as the reference's, or as the first of ours that has one."""
    ours = sorted((cell for cell in cells.values() if cell.avalanche is None), key=lambda cell: cell.arm != reference)
    capacities = [cell.config["memory"]["capacity"] for cell in ours if _has_capacity(cell)]
    if not capacities:
        return dict(cells)
    return {
        label: cell if cell.avalanche is None else _avalanche_memory(cell, capacities[0])
        for label, cell in cells.items()
    }


def _with_steps(cell: Cell, steps: int) -> Cell:
    """Shorten or lengthen the wake stages; a schedule may then sleep more or less often, so it is planned again."""
    for _ in range(4):
        plan = plan_cell(cell)
        asleep = plan.steps - plan.wake
        each = (steps - asleep) // plan.experiences
        if each < 1:
            raise ConfigError(
                f"{cell.arm}: its nights take {asleep:,} optimiser steps, which leaves no wake step of {steps:,}"
            )
        if each * plan.experiences == plan.wake:
            break
        cell = _set_steps(cell, each)
    return cell


def _with_bytes(cell: Cell, nbytes: int) -> tuple[Cell, list[str]]:
    plan = plan_cell(cell)
    if cell.avalanche is not None:
        # as Avalanche keeps them: float32 values and an int64 label
        return _avalanche_memory(cell, max(1, nbytes // (4 * plan.sample_size + 8))), []
    if plan.memory == 0 or not _has_capacity(cell):
        said = f"{cell.arm} keeps {plan.nbytes:,} bytes, more than the {nbytes:,} allowed: its parts have a fixed size"
        return cell, [said] if plan.nbytes > nbytes else []
    memory = cell.config["memory"]
    capacity = int(memory["capacity"] * (nbytes - plan.others) / plan.memory)
    if capacity < 1:
        raise ConfigError(
            f"{cell.arm}: {nbytes:,} bytes leave no room for a sample beside {plan.others:,} bytes of parts"
        )
    return replace(cell, config={**cell.config, "memory": {**memory, "capacity": capacity}}), []


def _with_flops(cell: Cell, total: float) -> Cell:
    if cell.avalanche is not None:
        raise ConfigError(f"{cell.arm}: --match flops counts the arithmetic of our stages; leave Avalanche's arms out")
    spent, plan = _flops(cell), plan_cell(cell)
    asleep = sum(spent.values()) - spent["wake"]
    each = round((total - asleep) / (spent["wake"] / plan.wake) / plan.experiences) if spent["wake"] else 0
    if each < 1:
        raise ConfigError(f"{cell.arm}: its nights alone take more arithmetic than the reference's whole run")
    return _set_steps(cell, each)


def _flops(cell: Cell) -> dict[str, float]:
    """Floating point operations of a run's optimiser steps, by kind of stage, from the first steps of every stage.

    What happens between stages (fitting mixtures, inverting) and evaluations are not counted.
    """
    counter = _Counter()
    with tempfile.TemporaryDirectory() as folder:
        short = config.merge(dict(cell.config), {"trainer": {"limit_train_batches": _SAMPLE}})
        prepared = runs.prepare({**short, "logger": None}, Path(folder) / "run")
        prepared.trainer.callbacks.insert(0, counter)  # type: ignore[attr-defined]  # a Lightning connector sets it
        runs.execute(prepared)
    total = {"wake": 0.0}
    for (kind, steps), each in zip(plan_cell(cell).stages, counter.each, strict=False):
        total[kind] = total.get(kind, 0.0) + steps * each
    return total


class _Counter(pl.Callback):
    """Operations per step of every stage, with those for dreams, which the loader makes."""

    def __init__(self) -> None:
        self.each: list[float] = []
        self._mode: FlopCounterMode | None = None
        self._before = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._before = trainer.global_step
        self._mode = FlopCounterMode(display=False)
        self._mode.__enter__()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._mode is not None
        self._mode.__exit__(None, None, None)
        self.each.append(self._mode.get_total_flops() / max(1, trainer.global_step - self._before))


def _has_capacity(cell: Cell) -> bool:
    memory = cell.config.get("memory")
    return isinstance(memory, Mapping) and "capacity" in memory


def _avalanche_memory(cell: Cell, samples: int) -> Cell:
    return replace(cell, avalanche={**(cell.avalanche or {}), "memory": samples})


def _set_steps(cell: Cell, steps: int) -> Cell:
    wake = {**(cell.config.get("wake") or {}), "steps": steps}
    return replace(cell, config={**cell.config, "wake": wake})
