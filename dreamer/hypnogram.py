"""The plan of a whole life: every stage in order, known and printed before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, overload

from dreamer.types import KINDS, Kind, Stage


class Stretch(NamedTuple):
    """A stretch of wake steps without a night in it.

    Attributes:
        steps: its length, at least 1.
        sleep: True when a night follows.
    """

    steps: int
    sleep: bool


class Hypnogram(Sequence[Stage]):
    """The ordered stages of a life; stage i is Lightning's epoch i.

    Args:
        stages: in order, numbered from 0, each with at least one step.

    Raises:
        ValueError: when there is no stage, a stage has no step, or the numbering has gaps.
    """

    def __init__(self, stages: Sequence[Stage]):
        if not stages:
            raise ValueError("a life needs at least one stage, got none")
        for position, stage in enumerate(stages):
            if stage.index != position:
                raise ValueError(
                    f"expected stage {position} at position {position} of the hypnogram, got {stage.index}"
                )
            if stage.steps < 1:
                raise ValueError(f"stage {position} ({stage.kind}) needs at least one step, got {stage.steps}")
        self._stages = tuple(stages)

    @classmethod
    def plan(cls, days: Sequence[Sequence[Stretch]], night: Sequence[tuple[Kind, int]], cycles: int = 1) -> Hypnogram:
        """Lay out a life.

        Args:
            days: the wake stretches of each experience, in order.
            night: kind and steps of each sleep stage of one cycle; empty for a life without sleep.
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
            lived = 0
            for stretch in stretches:
                stages.append(
                    Stage(
                        len(stages),
                        "wake",
                        experience,
                        stretch.steps,
                        first_step=lived,
                        opens=lived == 0,
                        examined=True,
                    )
                )
                lived += stretch.steps
                if stretch.sleep and night:
                    stages += _one_night(len(stages), experience, nights, night, cycles)
                    nights += 1
        return cls(stages)

    def sampled(self, steps: int) -> Hypnogram:
        """The shortest life that shows every kind of stage of this one: the first wake stage and the first night.

        Args:
            steps: steps of each stage.
        """
        kinds: dict[str, Stage] = {}
        for stage in self:
            kinds.setdefault(stage.kind, stage)
        chosen = sorted(kinds.values(), key=lambda stage: stage.index)
        last = len(chosen) - 1
        return Hypnogram(
            [
                replace(stage, index=i, experience=0, steps=steps, examined=stage.kind == "wake" or i == last)
                for i, stage in enumerate(chosen)
            ]
        )

    @overload
    def __getitem__(self, index: int) -> Stage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Stage]: ...
    def __getitem__(self, index: int | slice) -> Stage | Sequence[Stage]:
        return self._stages[index]

    def __len__(self) -> int:
        return len(self._stages)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hypnogram) and self._stages == other._stages

    def __hash__(self) -> int:
        return hash(self._stages)

    @property
    def nights(self) -> int:
        """Number of nights."""
        return 1 + max(stage.night for stage in self)

    def steps(self) -> dict[str, int]:
        """Planned steps of each kind of stage."""
        return {kind: sum(stage.steps for stage in self if stage.kind == kind) for kind in KINDS}

    def closes_night(self, stage: Stage) -> bool:
        """True for the last stage of a night."""
        following = stage.index + 1
        return stage.night >= 0 and (following == len(self) or self[following].night != stage.night)

    def as_records(self) -> list[dict[str, Any]]:
        """The stages as plain dictionaries, for ``results.json``."""
        return [asdict(stage) | {"label": stage.label} for stage in self]

    def __str__(self) -> str:
        lines = [f"{'stage':>5}  {'kind':<4}  {'experience':>10}  {'night':>5}  {'cycle':>5}  {'steps':>7}"]
        for stage in self:
            night, cycle = ("-", "-") if stage.night < 0 else (str(stage.night), str(stage.cycle))
            lines.append(
                f"{stage.index:>5}  {stage.kind:<4}  {stage.experience:>10}  {night:>5}  {cycle:>5}  {stage.steps:>7}"
            )
        total = ", ".join(f"{kind} {steps}" for kind, steps in self.steps().items())
        return "\n".join([*lines, f"steps: {total}"])


def _one_night(first: int, experience: int, night: int, recipe: Sequence[tuple[Kind, int]], cycles: int) -> list[Stage]:
    total = cycles * len(recipe)
    return [
        Stage(
            first + i,
            recipe[i % len(recipe)][0],
            experience,
            recipe[i % len(recipe)][1],
            night=night,
            cycle=i // len(recipe),
            part=i % len(recipe),
            examined=i == total - 1,
        )
        for i in range(total)
    ]
