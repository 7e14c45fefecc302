"""The one record of where a run stands, what it scored and what it cost, in plain numbers."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dreamer.core.types import KINDS


@dataclass
class Ledger:
    """Written by the :class:`dreamer.loop.sleeper.Sleeper` and by whoever drives it; saved with every checkpoint.

    Attributes:
        stage: index of the current stage, or of the next one.
        step: batches of it that are done.
        finished: True when its last batch is done but it is not closed yet: dusk and evaluation are pending.
        experience: the experience that was trained on last, from 0; -1 before the first step.
        nights: nights so far.
        ahead: steps by which the samples of the experience are ahead of its steps, since the number of devices changed.
        opened_at: global step at which the stage began.
        saved_at: global step when the ledger was saved last.
        optimizer_steps: per kind of stage, of all closed stages.
        samples: ``wake`` real ones, ``replayed`` while awake, ``nrem`` and ``rem`` dreams.
        seconds: per kind of stage; evaluations under the key ``examination``.
        rows: the rows of the accuracy matrix (see ``WakeSleepModule.results``).
    """

    stage: int = 0
    step: int = 0
    finished: bool = False
    experience: int = -1
    nights: int = 0
    ahead: int = 0
    opened_at: int = 0
    saved_at: int = 0
    optimizer_steps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    samples: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("wake", "replayed", "nrem", "rem"), 0))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*KINDS, "examination"), 0.0))
    rows: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clock = time.perf_counter()

    def tick(self, what: str | None = None) -> None:
        """Add the seconds since the last tick to one of :attr:`seconds`; None leaves them out."""
        now = time.perf_counter()
        if what is not None:
            self.seconds[what] += now - self._clock
        self._clock = now

    def close(self, kind: str, optimizer_steps: int) -> None:
        """The current stage is over; the next one is to come."""
        self.optimizer_steps[kind] += optimizer_steps
        self.stage, self.step, self.finished = self.stage + 1, 0, False
        self.tick()

    def spent(self, kind: str, global_step: int) -> dict[str, dict[str, Any]]:
        """What the run has cost so far: optimiser steps, also of a current stage of that kind, samples and seconds."""
        steps = dict(self.optimizer_steps)
        if self.step:
            steps[kind] += global_step - self.opened_at
        return {"optimizer_steps": steps, "samples": dict(self.samples), "seconds": dict(self.seconds)}

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        for entry in fields(self):
            setattr(self, entry.name, copy.deepcopy(state[entry.name]))
