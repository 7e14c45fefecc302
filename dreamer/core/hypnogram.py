"""The plan of a whole run: every stage in order, printed before anything runs.

With a data-driven schedule some nights are open: the plan holds them as stages that may still be dropped, so it is an
upper bound until the last of them is decided.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

from dreamer.core.sequences import nth_or_last
from dreamer.core.types import KINDS, Kind, Stage

_KEYS = {"index_in_night": "part", "evaluated": "examined", "tentative": "perhaps"}
"""Keys of ``results.json`` that differ from the attribute; scripts read them, so they stay."""
_ATTRIBUTES = {key: name for name, key in _KEYS.items()}

_MOST_ROWS = 40
"""Stages that are printed of a plan with open nights, of which there may be thousands."""


class Stretch(NamedTuple):
    """A stretch of wake steps without a night in it.

    Attributes:
        steps: its length, at least 1.
        sleep: True when a night follows, False when none does; None leaves it open: whether a night follows is decided
            when the stretch is completed.
    """

    steps: int
    sleep: bool | None


class Hypnogram(Sequence[Stage]):
    """The ordered stages of a run; stage i is Lightning's epoch i.

    Args:
        stages: in order, numbered from 0, each with at least one step.

    Raises:
        ValueError: when there is no stage, a stage has no step, or the numbering has gaps.
    """

    def __init__(self, stages: Sequence[Stage]):
        if not stages:
            raise ValueError("a run needs at least one stage, got none")
        for position, stage in enumerate(stages):
            if stage.index != position:
                raise ValueError(
                    f"expected stage {position} at position {position} of the hypnogram, got {stage.index}"
                )
            if stage.steps < 1:
                raise ValueError(f"stage {position} ({stage.kind}) needs at least one step, got {stage.steps}")
        self._stages = tuple(stages)
        # stages from _stale_from on still carry their numbers from before _fewer nights were dropped: to renumber all
        # of them for each night would make every decision of a long run slower than those of a short one
        self._stale_from, self._fewer = len(stages), 0

    @classmethod
    def plan(
        cls, days: Sequence[Sequence[Stretch]], night: Sequence[tuple[Kind, int | Sequence[int]]], cycles: int = 1
    ) -> Hypnogram:
        """Lay out the stages of a run.

        A wake stage is evaluated unless the night after it is open and its experience goes on: evaluating all of them
        would cost more than training.

        Args:
            days: the wake stretches of each experience, in order.
            night: kind and steps of each sleep stage of one cycle; empty for a run without sleep. Several numbers of
                steps are those of one experience each, the last of all further ones.
            cycles: how often a night repeats them, at least 1.

        Raises:
            ValueError: when an experience has no stretch, or ``cycles`` is below 1.
        """
        if cycles < 1:
            raise ValueError(f"a night needs at least one cycle, got cycles={cycles}")
        stages: list[Stage] = []
        nights = 0
        for experience, stretches in enumerate(days):
            if not stretches:
                raise ValueError(f"experience {experience} needs at least one wake stretch, got none")
            completed = 0
            for number, stretch in enumerate(stretches, start=1):
                stages.append(
                    Stage(
                        len(stages),
                        "wake",
                        experience,
                        stretch.steps,
                        first_step=completed,
                        opens=completed == 0,
                        evaluated=stretch.sleep is not None or number == len(stretches),
                    )
                )
                completed += stretch.steps
                if stretch.sleep is not False and night:
                    tonight = [(kind, nth_or_last(steps, experience)) for kind, steps in night]
                    stages += _one_night(len(stages), experience, nights, tonight, cycles, stretch.sleep is None)
                    nights += 1
        return cls(stages)

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]]) -> Hypnogram:
        """The hypnogram that :meth:`as_records` described."""
        named = [{_ATTRIBUTES.get(key, key): value for key, value in record.items()} for record in records]
        return cls([Stage(**{key: value for key, value in stage.items() if key != "label"}) for stage in named])

    def is_first_night(self, stage: Stage) -> bool:
        """Whether no other night of its experience comes before that of a stage."""
        for index in range(stage.index - 1, -1, -1):
            earlier = self[index]
            if earlier.experience != stage.experience:
                break
            if earlier.kind != "wake" and earlier.night != stage.night:
                return False
        return True

    def granted(self, night: int) -> Hypnogram:
        """The plan in which an open night is certain, and evaluated before; a ``ValueError`` when it is not open."""
        first, end = self._open_night(night)
        head = self._numbered(end)
        head[first - 1] = replace(head[first - 1], evaluated=True)
        head[first:] = [replace(stage, tentative=False) for stage in head[first:]]
        return self._joined(head, self._stages[end:], self._fewer)

    def dropped(self, night: int) -> Hypnogram:
        """The plan without an open night, stages and nights after it moved up; a ``ValueError`` when it is not open."""
        first, end = self._open_night(night)
        return self._joined(self._numbered(first), self._stages[end:], self._fewer + 1)

    def _open_night(self, night: int) -> tuple[int, int]:
        """First stage of an open night, and the stage after its last one."""
        # the next open night mostly lies where the last one was decided
        for first in itertools.chain(range(self._stale_from, len(self)), range(self._stale_from)):
            if self._stages[first].tentative and self[first].night == night:
                break
        else:
            raise ValueError(f"expected the number of a night that is still open, got {night}")
        end = first + 1
        while end < len(self) and self[end].night == night:
            end += 1
        if first < self._stale_from:
            self._all()
        return first, end

    def _numbered(self, end: int) -> list[Stage]:
        """The stages before ``end``, with their present numbers."""
        certain = self._stages[: min(end, self._stale_from)]
        return [*certain, *(self[place] for place in range(len(certain), end))]

    def _all(self) -> tuple[Stage, ...]:
        """All stages, with their present numbers."""
        if self._stale_from < len(self):
            stages = tuple(self._numbered(len(self)))
            self._stages, self._stale_from, self._fewer = stages, len(stages), 0
        return self._stages

    @classmethod
    def _joined(cls, head: list[Stage], rest: tuple[Stage, ...], fewer: int) -> Hypnogram:
        plan = cls.__new__(cls)
        plan._stages, plan._stale_from, plan._fewer = (*head, *rest), len(head), fewer if rest else 0
        return plan

    def sampled(self, steps: int) -> Hypnogram:
        """The shortest plan with every kind of stage of this one: the first wake stage and the first night.

        Its night is certain, even where it is open in this plan.
        """
        kinds: dict[str, Stage] = {}
        for stage in self:
            kinds.setdefault(stage.kind, stage)
        chosen = sorted(kinds.values(), key=lambda stage: stage.index)
        last = len(chosen) - 1
        return Hypnogram(
            [
                replace(
                    stage,
                    index=i,
                    experience=0,
                    steps=steps,
                    evaluated=stage.kind == "wake" or i == last,
                    tentative=False,
                )
                for i, stage in enumerate(chosen)
            ]
        )

    @overload
    def __getitem__(self, index: int) -> Stage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Stage]: ...
    def __getitem__(self, index: int | slice) -> Stage | Sequence[Stage]:
        if isinstance(index, slice):
            return self._all()[index]
        place = range(len(self))[index]
        stage = self._stages[place]
        if place < self._stale_from:
            return stage
        return replace(stage, index=place, night=stage.night if stage.night < 0 else stage.night - self._fewer)

    def __len__(self) -> int:
        return len(self._stages)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hypnogram) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    @property
    def nights(self) -> int:
        """Number of nights, open ones included."""
        return 1 + max(stage.night for stage in self)

    def steps(self) -> dict[str, int]:
        """Planned steps of each kind of stage, at most: open nights are included."""
        return {kind: sum(stage.steps for stage in self if stage.kind == kind) for kind in KINDS}

    def bounds(self) -> tuple[int, int]:
        """The least and the most steps of the whole run: without, and with, every open night."""
        certain = sum(stage.steps for stage in self if not stage.tentative)
        return certain, sum(stage.steps for stage in self)

    def ends_day(self, stage: Stage) -> bool:
        """True for a wake stage behind which comes a night, another experience, or nothing."""
        following = stage.index + 1
        return following == len(self) or self[following].first_step == 0

    def closes_night(self, stage: Stage) -> bool:
        """True for the last stage of a night."""
        following = stage.index + 1
        return stage.night >= 0 and (following == len(self) or self[following].night != stage.night)

    def as_records(self) -> list[dict[str, Any]]:
        """The stages as plain dictionaries, for ``results.json``."""
        records = [vars(stage) | {"label": stage.label} for stage in self]
        return [{_KEYS.get(name, name): value for name, value in record.items()} for record in records]

    def __str__(self) -> str:
        rows = [_row(stage) for stage in self]
        if len(rows) > _MOST_ROWS and any(stage.tentative for stage in self):
            head, tail = _MOST_ROWS * 3 // 4, _MOST_ROWS // 4
            rows = [*rows[:head], f"{'...':>5}  {len(rows) - head - tail} stages not shown", *rows[-tail:]]
        titles = f"{'stage':>5}  {'kind':<4}  {'experience':>10}  {'night':>5}  {'cycle':>5}  {'steps':>7}"
        return "\n".join([titles, *rows, f"steps: {', '.join(map(self._total, KINDS))}"])

    def _total(self, kind: Kind) -> str:
        most = self.steps()[kind]
        least = most - sum(stage.steps for stage in self if stage.kind == kind and stage.tentative)
        return f"{kind} {most}" if least == most else f"{kind} {least} to {most}"


def _row(stage: Stage) -> str:
    night, cycle = ("-", "-") if stage.night < 0 else (f"{stage.night}{'?' * stage.tentative}", str(stage.cycle))
    return f"{stage.index:>5}  {stage.kind:<4}  {stage.experience:>10}  {night:>5}  {cycle:>5}  {stage.steps:>7}"


def _one_night(
    first: int, experience: int, night: int, stages: Sequence[tuple[Kind, int]], cycles: int, tentative: bool
) -> list[Stage]:
    total = cycles * len(stages)
    return [
        Stage(
            first + i,
            stages[i % len(stages)][0],
            experience,
            stages[i % len(stages)][1],
            night=night,
            cycle=i // len(stages),
            index_in_night=i % len(stages),
            evaluated=i == total - 1,
            tentative=tentative,
        )
        for i in range(total)
    ]
