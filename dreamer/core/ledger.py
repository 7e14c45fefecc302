"""The running record of a life: where it stands, what it scored, what it cost, in plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from dreamer.core.types import KINDS


@dataclass
class Ledger:
    """Written by the module of the life alone.

    Attributes:
        stage: index of the stage that is lived now, or comes next.
        step: batches of it that are done.
        finished: True when its last batch is done but it is not closed yet: dusk and examination are pending.
        ahead: steps by which the samples of the experience are ahead of its steps, since the number of devices changed.
        opened_at: global step at which it began.
        saved_at: global step when the ledger was saved last.
        optimizer_steps: per kind of stage, of all closed stages.
        samples: ``wake`` real ones, ``replayed`` while awake, ``nrem`` and ``rem`` dreamt ones.
        seconds: per kind of stage, and for ``examination``.
        rows: the rows of the accuracy matrix (see ``WakeSleepModule.results``).
    """

    stage: int = 0
    step: int = 0
    finished: bool = False
    ahead: int = 0
    opened_at: int = 0
    saved_at: int = 0
    optimizer_steps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    samples: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("wake", "replayed", "nrem", "rem"), 0))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*KINDS, "examination"), 0.0))
    rows: list[Any] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ledger:
        """The ledger that :meth:`state_dict` described."""
        return cls(**state)
