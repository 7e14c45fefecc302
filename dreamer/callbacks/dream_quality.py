"""How good the dreams of every night are, seen by an observer that gives nothing back to the life."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from dreamer import metrics
from dreamer.core.modes import evaluating
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch
from dreamer.loggers.pictures import log_pictures
from dreamer.metrics import dreams as measures
from dreamer.networks.base import Featured, forward
from dreamer.report.neighbours import draw_neighbours

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule

MEASURES = ("frechet", "precision", "recall", "fidelity", "coverage", "balance", "diversity", "novelty")
"""What is measured of a night's dreams; all but ``frechet``, ``diversity`` and ``novelty`` are shares of 1."""
_NEIGHBOURS = 5
_BATCH = 500


class DreamQuality(Callback):
    """Holds the dreams of each night against real data that nobody learns from.

    When a night is over, the generator is asked for dreams of all classes that it knows (or, where the life has none,
    the memory for what it keeps), as they are before anything bends them. They are compared with the held-out data of
    the experiences met so far. A life without held-out data is not measured. Random numbers are the observer's own, the
    network is asked in evaluation mode: a life that is looked at is the same life.

    In the features of the learner as the night left it (its logits, where it has no features):

    - ``frechet``: Fréchet distance of dreams to held-out data, over the total variance of the latter; 0 is best.
    - ``precision``, ``recall``: dreams among held-out data, held-out data among dreams (5 nearest neighbours).
    - ``fidelity``: the share of dreams that the learner takes for the class that was asked for.
    - ``coverage``, ``balance``: the share of the held-out classes that are dreamt of at half of their fair share at
      least, and the entropy of the dreams' classes; the learner says what they are.
    - ``diversity``: mean distance of two dreams of a class, over that of two held-out samples of a class.

    In the samples themselves:

    - ``novelty``: median distance of a dream to its nearest held-out sample, over that of a held-out sample to its
      nearest other one. Far below 1 dreams lie closer to real data than these to each other (averages of a class do);
      far above 1 they have left them.

    The learner's features change from night to night, so its numbers tell how dreams look to it, and not whether one
    generator is better than another's; :mod:`dreamer.studies` measures in fixed features.

    Args:
        directory: the run folder; pictures go to ``health/night_00.png`` in it, None draws none.
        samples: how many dreams and held-out samples are compared at most; the same number of both.
        every: measure the first night, and every n-th after it.

    Attributes:
        rows: one for each night that was measured: ``night``, ``stage``, ``global_step``, ``samples`` (of each side)
            and :data:`MEASURES`, None where there were too few samples.

    Raises:
        ValueError: when a number is below its least.
    """

    def __init__(self, directory: str | Path | None = None, samples: int = 500, every: int = 1):
        for name, number in (("samples", samples), ("every", every)):
            if number < 1:
                raise ValueError(f"expected {name} of at least 1, got {number}")
        self.directory = None if directory is None else Path(directory)
        self.samples = samples
        self.every = every
        self.rows: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows so far: a resumed life has those of all its nights."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the checkpoint."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Look at the night that a killed process had lived through but not closed."""
        if not pl_module.ledger.stage:
            self.rows = []
        self._look(trainer, pl_module, pl_module.ledger.saved_at)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Look at a night that is over."""
        self._look(trainer, pl_module, trainer.global_step)

    def _look(self, trainer: pl.Trainer, module: WakeSleepModule, step: int) -> None:
        ledger = module.ledger
        if not (trainer.is_global_zero and ledger.finished):
            return
        stage = module.hypnogram[ledger.stage]
        known = any(row["night"] == stage.night for row in self.rows)
        if known or not module.hypnogram.closes_night(stage) or stage.night % self.every:
            return
        real = _held_out(module, stage.experience, self.samples)
        if real is None or not len(real.y):
            return
        classes = real.y.unique()
        seen = module.gallery(-(-len(real.y) // len(classes)))
        if seen is None:
            return
        rng = randoms(module.seed, Purpose.HEALTH, stage.index)
        # what is left over is left out class by class, not from the last class alone
        dreams = _some(Batch(seen.x, seen.y), len(real.y), rng)
        row = {"night": stage.night, "stage": stage.index, "global_step": step, "samples": len(dreams.y)}
        # measuring must not move the global random state
        with evaluating(module.network), torch.random.fork_rng():
            told, logits = _measured(module, dreams, real)
        self.rows.append(row | told)
        named = {f"dreams/{name}": value for name, value in told.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics({**named, "sleep/night": float(stage.night)}, step=step)
        if self.directory is None:
            return
        sure = logits.softmax(dim=1).gather(1, dreams.y[:, None])[:, 0]
        path = self.directory / "health" / f"night_{stage.night:02d}.png"
        if draw_neighbours(dreams, sure, real, path, module.stream.class_names) is not None:
            log_pictures(trainer.loggers, {"dreams/neighbours": path}, step, {"sleep/night": stage.night})


def _measured(module: WakeSleepModule, dreams: Batch, real: Batch) -> tuple[dict[str, float | None], Tensor]:
    """All measures, and the (N, K) logits of the dreams."""
    (logits, h), (_, held) = (_asked(module.network, x, module.device) for x in (dreams.x, real.x))
    told: dict[str, float | None] = dict.fromkeys(MEASURES)
    variance = float(held.double().var(dim=0).sum()) if len(held) > 1 else 0.0
    if variance > 0 and len(h) > 1:
        told["frechet"] = measures.frechet_distance(h, held) / variance
    if min(len(h), len(held)) > _NEIGHBOURS:
        told["precision"], told["recall"] = measures.precision_recall(h, held, _NEIGHBOURS)
    labels, classes = logits.argmax(dim=1), real.y.unique()
    told["fidelity"] = metrics.accuracy(labels, dreams.y)
    shares = measures.class_shares(labels, logits.shape[1])[classes]
    told["coverage"] = measures.covered_classes(shares)
    told["balance"] = measures.balance(shares)
    apart, usual = measures.diversity(h, dreams.y), measures.diversity(held, real.y)
    if apart is not None and usual:
        told["diversity"] = apart / usual
    if len(real.x) > 1:
        told["novelty"] = _novelty(dreams.x, real.x)
    return told, logits


def _novelty(dreams: Tensor, real: Tensor) -> float | None:
    dreams, real = dreams.flatten(1).double(), real.flatten(1).double()
    others = torch.cdist(real, real).fill_diagonal_(float("inf")).amin(dim=1).median()
    return float(torch.cdist(dreams, real).amin(dim=1).median() / others) if others > 0 else None


def _held_out(module: WakeSleepModule, experience: int, most: int) -> Batch | None:
    """Held-out samples of the experiences met so far, on the CPU; None where there are none."""
    held = [each.validation for each in module.stream.experiences[: experience + 1]]
    places = [(part, row) for part, samples in enumerate(held) if samples is not None for row in range(len(samples))]
    if not places:
        return None
    rng = randoms(module.seed, Purpose.HEALTH, experience, 1)
    chosen = [places[index] for index in torch.randperm(len(places), generator=rng)[:most].tolist()]
    found: list[Batch] = []
    for part, samples in enumerate(held):
        rows = torch.tensor(sorted(row for owner, row in chosen if owner == part), dtype=torch.int64)
        if samples is not None and len(rows):
            found += [Batch(batch.x.cpu(), batch.y.cpu()) for batch in samples.batches(rows.split(_BATCH))]
    return Batch(torch.cat([batch.x for batch in found]), torch.cat([batch.y for batch in found]))


def _some(batch: Batch, count: int, rng: torch.Generator) -> Batch:
    index = torch.randperm(len(batch.y), generator=rng)[:count].sort().values
    return Batch(batch.x[index], batch.y[index])


@torch.no_grad()
def _asked(network: nn.Module, x: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """(N, K) logits and (N, H) features of (N, *S) samples, on the CPU."""
    answers = [forward(network, part.to(device), features=isinstance(network, Featured)) for part in x.split(_BATCH)]
    logits = torch.cat([answer.logits.cpu() for answer in answers])
    features = [answer.logits if answer.features is None else answer.features for answer in answers]
    return logits, torch.cat([part.cpu() for part in features]).flatten(1)
