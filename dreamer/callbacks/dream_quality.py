"""How good the dreams of every night are, measured without changing the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from dreamer import metrics
from dreamer.core.arguments import checked
from dreamer.core.limits import at_least
from dreamer.core.modes import evaluating
from dreamer.core.randomness import Purpose, randoms
from dreamer.core.types import Batch
from dreamer.loggers.pictures import log_pictures
from dreamer.metrics import dreams as measures
from dreamer.networks.base import Featured, forward
from dreamer.report.pictures import draw_neighbours
from dreamer.streams.base import Samples, joined
from dreamer.streams.embedded import PicturedFeatures

if TYPE_CHECKING:
    from dreamer.training.module import WakeSleepModule

MEASURES = ("frechet", "precision", "recall", "fidelity", "coverage", "balance", "diversity", "novelty")
"""What is measured of a night's dreams; all but ``frechet``, ``diversity`` and ``novelty`` are fractions of 1."""
_NEIGHBOURS = 5
_BATCH = 500
_TEXTS = 32
"""Texts that are read at once: they have an output for each token of the vocabulary at each position."""


class DreamQuality(Callback):
    """Compares the dreams of each night with real data that nothing is trained on.

    When a night is over, the generator makes dreams of all classes that it knows (or, where the run has none, the
    memory gives what it keeps), unperturbed. They are compared with the held-out data of the experiences seen so far. A
    run without held-out data is not measured. The random numbers are the callback's own and the network is called in
    evaluation mode: the run comes out the same with it and without it.

    In the features of the learner as the night left it (its logits, where it has no features; of texts, how likely each
    token is on average):

    - ``frechet``: Fréchet distance of dreams to held-out data, over the total variance of the latter; 0 is best.
    - ``precision``, ``recall``: dreams among held-out data, held-out data among dreams (5 nearest neighbours).
    - ``fidelity``: the fraction of dreams that the learner assigns to the class that they were made for.
    - ``coverage``, ``balance``: the fraction of the held-out classes that make up at least half of their even part of
      the dreams, and the entropy of the dreams' classes; classes are those that the learner assigns.
    - ``diversity``: mean distance of two dreams of a class, over that of two held-out samples of a class.

    In the samples themselves:

    - ``novelty``: median distance of a dream to its nearest held-out sample, over that of a held-out sample to its
      nearest other one. Far below 1 dreams lie closer to real data than these to each other (averages of a class do);
      far above 1 they have left them.

    The learner's features change from night to night, so its numbers say how dreams look to it, and not whether one
    generator is better than another's; :mod:`dreamer.studies` measures in fixed features.

    Args:
        directory: the run folder; pictures go to ``dream_quality/night_00.png`` in it, None draws none.
        samples: how many dreams and held-out samples are compared at most; the same number of both.
        every: measure the first night, and every n-th after it.

    Attributes:
        rows: one for each night that was measured: ``night``, ``stage``, ``global_step``, ``samples`` (of each side)
            and :data:`MEASURES`, None where there were too few samples, and all of them, with a warning, where
            dreams or outputs are NaN or infinite.

    Raises:
        ValueError: when a number is below its least.
    """

    @checked
    def __init__(self, directory: str | Path | None = None, samples: int = 500, every: int = 1):
        at_least(1, samples=samples, every=every)
        self.directory = None if directory is None else Path(directory)
        self.samples = samples
        self.every = every
        self.rows: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows so far: a resumed run has those of all its nights."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the checkpoint."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Measure the night that a killed process had finished but not closed."""
        if not pl_module.ledger.stage:
            self.rows = []
        self._measure(trainer, pl_module, pl_module.ledger.saved_at)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: WakeSleepModule) -> None:  # type: ignore[override]
        """Measure a night that is over."""
        self._measure(trainer, pl_module, trainer.global_step)

    def _measure(self, trainer: pl.Trainer, module: WakeSleepModule, step: int) -> None:
        ledger = module.ledger
        if not (trainer.is_global_zero and ledger.finished):
            return
        stage = module.hypnogram[ledger.stage]
        measured = any(row["night"] == stage.night for row in self.rows)
        if measured or not module.hypnogram.closes_night(stage) or stage.night % self.every:
            return
        held = _held_out(module, stage.experience, self.samples)
        if held is None:
            return
        real = _read(held)
        seen = module.gallery(-(-len(real.y) // len(real.groups.unique())))
        if seen is None:
            return
        rng = randoms(module.seed, Purpose.DREAM_QUALITY, stage.index)
        # the surplus is left out at random, not from the last class alone
        dreams = _sample(Batch(seen.x, seen.y), len(real.y), rng)
        row = {"night": stage.night, "stage": stage.index, "global_step": step, "samples": len(dreams.y)}
        # measuring must not move the global random state
        with evaluating(module.network), torch.random.fork_rng():
            found, logits = _measured(module, dreams, real)
        self.rows.append(row | found)
        named = {f"dreams/{name}": value for name, value in found.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics({**named, "sleep/night": float(stage.night)}, step=step)
        if self.directory is None or not len(logits):
            return
        sure = logits.softmax(dim=1).gather(1, dreams.y[:, None])[:, 0]
        path = self.directory / "dream_quality" / f"night_{stage.night:02d}.png"
        names, picture_of = module.stream.class_names, _picture_of(held)
        if draw_neighbours(dreams, sure, real, path, names, picture_of) is not None:
            log_pictures(trainer.loggers, {"dreams/neighbours": path}, step, {"sleep/night": stage.night})


def _measured(module: WakeSleepModule, dreams: Batch, real: Batch) -> tuple[dict[str, float | None], Tensor]:
    """All measures, and the (N, K) logits of the dreams."""
    (logits, h), (_, held) = (_outputs(module, x) for x in (dreams.x, real.x))
    found: dict[str, float | None] = dict.fromkeys(MEASURES)
    if not all(values.isfinite().all() for values in (dreams.x, logits, h, held)):
        rank_zero_warn("this night's dreams are not measured: they, or the learner's outputs, are NaN or infinite")
        return found, logits
    variance = float(held.double().var(dim=0).sum()) if len(held) > 1 else 0.0
    if variance > 0 and len(h) > 1:
        found["frechet"] = measures.frechet_distance(h, held) / variance
    if min(len(h), len(held)) > _NEIGHBOURS:
        found["precision"], found["recall"] = measures.precision_recall(h, held, _NEIGHBOURS)
    if _has_classes(module):
        labels = logits.argmax(dim=1)
        found["fidelity"] = metrics.accuracy(labels, dreams.y)
        fractions = measures.class_frequencies(labels, logits.shape[1])[real.y.unique()]
        found["coverage"] = measures.covered_classes(fractions)
        found["balance"] = measures.balance(fractions)
    apart, usual = measures.diversity(h, dreams.y), measures.diversity(held, real.groups)
    if apart is not None and usual:
        found["diversity"] = apart / usual
    if len(real.x) > 1:
        found["novelty"] = _novelty(dreams.x, real.x)
    return found, logits


def _has_classes(module: WakeSleepModule) -> bool:
    return module.problem.groups == "class"


def _novelty(dreams: Tensor, real: Tensor) -> float | None:
    # of tokens, which are names and no amounts, by how many of them two texts differ
    norm = 2.0 if real.is_floating_point() else 0.0
    dreams, real = dreams.flatten(1).double(), real.flatten(1).double()
    others = torch.cdist(real, real, p=norm).fill_diagonal_(float("inf")).amin(dim=1).median()
    return float(torch.cdist(dreams, real, p=norm).amin(dim=1).median() / others) if others > 0 else None


def _held_out(module: WakeSleepModule, experience: int, most: int) -> list[Samples] | None:
    """Some held-out samples of the experiences seen so far, experience by experience; None where there are none."""
    held = [each.validation for each in module.stream.experiences[: experience + 1]]
    places = [(part, row) for part, samples in enumerate(held) if samples is not None for row in range(len(samples))]
    if not places:
        return None
    rng = randoms(module.seed, Purpose.DREAM_QUALITY, experience, 1)
    chosen = [places[index] for index in torch.randperm(len(places), generator=rng)[:most].tolist()]
    found = []
    for part, samples in enumerate(held):
        rows = torch.tensor(sorted(row for owner, row in chosen if owner == part), dtype=torch.int64)
        if samples is not None and len(rows):
            found.append(samples.to("cpu").subset(rows))
    return found


def _read(held: Sequence[Samples]) -> Batch:
    """The samples in one batch, on the CPU."""
    found = [batch for part in held for batch in part.batches(torch.arange(len(part)).split(_BATCH))]
    domains = [batch.group for batch in found if batch.group is not None]
    x, y = torch.cat([batch.x for batch in found]), torch.cat([batch.y for batch in found])
    return Batch(x, y, torch.cat(domains) if domains else None)


def _picture_of(held: Sequence[Samples]) -> Callable[[int], Tensor] | None:
    """Gives the pixels behind a held-out sample, where samples are features of pictures."""
    shown = [part.of for part in held if isinstance(part, PicturedFeatures)]
    if len(shown) < len(held):
        return None
    whole = joined(shown)
    return lambda row: next(iter(whole.batches([torch.tensor([row])]))).x[0]


def _sample(batch: Batch, count: int, rng: torch.Generator) -> Batch:
    index = torch.randperm(len(batch.y), generator=rng)[:count].sort().values
    return Batch(batch.x[index], batch.y[index])


@torch.no_grad()
def _outputs(module: WakeSleepModule, x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, K) logits, empty where there are no classes, and (N, H) features of (N, *S) samples, on the CPU."""
    network, problem, featured = module.network, module.problem, isinstance(module.network, Featured)
    logits, features = [], []
    for part in x.split(_BATCH if x.is_floating_point() else _TEXTS):
        output = forward(network, part.to(module.device), features=featured)
        h = problem.signature(output.logits) if output.features is None else output.features.flatten(1)
        features.append(h.cpu())
        if _has_classes(module):
            logits.append(output.logits.cpu())
    return torch.cat(logits) if logits else torch.empty(0), torch.cat(features)
