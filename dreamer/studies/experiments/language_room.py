"""The empty room of a language model: it learns one task after another, and of the old ones has its own words alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dreamer.config import merge
from dreamer.core.limits import at_least
from dreamer.core.randomness import Purpose, mix, randoms
from dreamer.runs.run import quiet_lightning
from dreamer.runs.run_config import run_config
from dreamer.streams.base import Stream
from dreamer.studies.experiments.base import CellResult, Experiment, Measure
from dreamer.studies.experiments.given_texts import GivenTexts, foreign_texts, random_texts, save
from dreamer.studies.experiments.runs import train

Words = Literal["own", "random", "foreign"]
_TEXTS = 4096
"""Texts of each domain that are not the learner's own."""


@dataclass(eq=False)
class LanguageRoom(Experiment):
    """A small language model learns tasks one after the other; the arm is its recipe.

    The experiment of Marek et al. 2026 (arXiv 2605.26097): what is replayed of the old tasks are real texts, the
    learner's own words, or words of somebody else; learnt by their next tokens or under the distributions that a
    frozen copy of the learner gives for them.

    Args:
        config: a configuration, as ``dreamer run`` takes it, of a stream of texts
            such as ``arithmetic``.
        words: in place of the generator's: ``random`` legal texts, at each place any token that some text of the task
            has there, or ``foreign`` ones, by another model, which learnt all tasks side by side for a while; ``own``
            leaves the configuration as it is.
        foreign_steps: optimiser steps of that other model.
        foreign_lr: its learning rate.

    Raises:
        ValueError: when a number is below its least, or words take the place of no generator.
    """

    measures = {
        "kept": Measure(
            "old tasks", "larger", fraction=True, hint="Right answers at the end, mean over all tasks but the last."
        ),
        "learnt": Measure("new task", "larger", fraction=True, hint="Right answers at the end to the last task."),
        "accuracy": Measure(
            "all tasks", "larger", fraction=True, hint="Right answers at the end, mean over all tasks."
        ),
        "before": Measure(
            "old tasks when learnt", "larger", fraction=True, hint="Right answers right after the day of each old task."
        ),
        "texts": Measure("thousand texts", "", hint="That were learnt from, real ones and others, in all stages."),
    }
    axis = "step"

    config: Mapping[str, Any]
    words: Words = "own"
    foreign_steps: int = 100
    foreign_lr: float = 0.006

    def __post_init__(self) -> None:
        at_least(1, foreign_steps=self.foreign_steps)
        run_config(self._plain(0))
        if self.words != "own" and not self.config.get("generator"):
            raise ValueError(f"expected a generator in whose place {self.words} words are, got none")

    def run(self, seed: int, folder: Path) -> CellResult:
        """Train on all tasks, and evaluate each after every day and night."""
        quiet_lightning()
        plain = self._plain(seed)
        stream = run_config(plain).stream.build()
        if self.words != "own":
            name = f"{GivenTexts.__module__}.{GivenTexts.__qualname__}"
            plain["generator"] = {"name": name, "path": str(save(self._given(stream, seed), folder))}
        torch.manual_seed(seed)
        module = run_config(plain).build_module(stream)
        train(module, stream)
        rows = module.results()["accuracy_matrix"]["rows"]
        final = rows[-1]["accuracy"]
        days = [row for row in rows if row["after"] == "wake"]
        before = [row["accuracy"][task] for task, row in enumerate(days[:-1])]
        return {
            "outcomes": {
                "kept": sum(final[:-1]) / len(final[:-1]),
                "learnt": final[-1],
                "accuracy": sum(final) / len(final),
                "before": sum(before) / len(before),
                "texts": sum(module.ledger.samples.values()) / 1000,
            },
            "curves": {
                self.axis: [float(row["global_step"]) for row in rows],
                "kept": [sum(row["accuracy"][:-1]) / len(final[:-1]) for row in rows],
                "learnt": [row["accuracy"][-1] for row in rows],
            },
        }

    def _given(self, stream: Stream, seed: int) -> Tensor:
        """(G, N, T + 1) texts that are not the learner's own."""
        rng = randoms(seed, Purpose.DREAM)
        if self.words == "random":
            return random_texts(stream, _TEXTS, rng)
        return foreign_texts(stream, _TEXTS, self.foreign_steps, 128, self.foreign_lr, mix(seed, 1), rng)

    def _plain(self, seed: int) -> dict[str, Any]:
        return merge(dict(self.config), {"seed": seed})
