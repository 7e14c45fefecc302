"""A network that lives through a stream and sleeps on it, as one LightningModule and one ``Trainer.fit``."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dreamer import metrics
from dreamer.data import StreamDataModule
from dreamer.examination import examine
from dreamer.generators import Generator
from dreamer.hypnogram import Hypnogram
from dreamer.ledger import Ledger
from dreamer.loader import Place, StageLoader, stage_steps
from dreamer.memory import Memory
from dreamer.networks.base import Frozen, module_bytes
from dreamer.planning import ActiveOutputs, Schedule, check_parts, class_mask, competitors, plan_life
from dreamer.randomness import Purpose, mix, randoms
from dreamer.resume import align_loops
from dreamer.schedules import Boundary
from dreamer.stages import NREM, REM, Wake
from dreamer.streams.base import Stream
from dreamer.types import Batch, Dream, Mind, Stage, Step

OptimizerFactory = Callable[..., torch.optim.Optimizer]


class WakeSleepModule(pl.LightningModule):
    """Alternates wake stages on the stream's experiences with nights.

    One life is one ``Trainer.fit`` with a :class:`dreamer.data.StreamDataModule`; one Lightning epoch is one stage.
    Sleep batches come through the loader and :meth:`training_step` like any other, so steps, logs, clipping,
    accumulation, precision and checkpoints are the Trainer's own. Killed and resumed with ``ckpt_path``, a life ends
    as if it had not been.

    Args:
        network: the learner; maps (B, *S) to (B, K) logits.
        wake: how an experience is lived through; by default one pass.
        night: the sleep stages of one cycle, in order, empty for no sleep; by default NREM and REM where there is a
            memory or a generator.
        memory: what is kept of the day, or None.
        generator: what makes dreams, or None.
        schedule: when nights come; by default after every experience.
        cycles: how often a night repeats its stages.
        optimizer: called with two parameter groups (learner; generator, where there is one); gives the one optimiser.
        generator_lr: learning rate of the generator where it differs from the learner's.
        active_outputs: the softmax runs over ``all`` outputs, those of classes ``seen`` so far, or those of the
            sample's own ``task`` (which must then be known at test time).
        seed: of everything that is drawn in this life.

    Raises:
        ValueError: (in ``setup``) when parts make no sense together, with the reason.
    """

    def __init__(
        self,
        network: nn.Module,
        wake: Wake | None = None,
        night: Sequence[NREM | REM] | None = None,
        memory: Memory | None = None,
        generator: Generator | None = None,
        schedule: Schedule | None = None,
        cycles: int = 1,
        optimizer: OptimizerFactory = functools.partial(torch.optim.Adam, lr=1e-3),
        generator_lr: float | None = None,
        active_outputs: ActiveOutputs = "all",
        seed: int = 0,
    ):
        super().__init__()
        sleeps = memory is not None or generator is not None
        self.network = network
        self.wake = Wake() if wake is None else wake
        self.night = tuple(night) if night is not None else (NREM(), REM()) if sleeps else ()
        self.memory = memory
        self.generator = generator
        self.schedule = Boundary() if schedule is None else schedule
        self.cycles = cycles
        self.optimizer = optimizer
        self.generator_lr = generator_lr
        self.active_outputs = active_outputs
        self.seed = seed
        asked = {stage.recall.teacher for stage in self.night if stage.needs_teacher}
        asked |= {"dawn"} if self.wake.needs_teacher else set()
        self.dawn = Frozen(network) if asked & {"dawn", "both"} else None
        self.dusk = Frozen(network) if asked & {"dusk", "both"} else None
        self.ledger = Ledger()
        self._hypnogram: Hypnogram | None = None
        self._mind: tuple[int, Mind] | None = None
        self._last_row: dict[str, Any] | None = None
        self._clock = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the running hook on the module some forty times a step; torch would search every registry
        # each time
        if name in self.__dict__ and not isinstance(value, (Tensor, nn.Module)):
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) logits."""
        return self.network(x)

    # ---------------------------------------------------------------- the plan

    @property
    def hypnogram(self) -> Hypnogram:
        """The plan of the life.

        Raises:
            RuntimeError: before the Trainer has set the module up.
        """
        if self._hypnogram is None:
            raise RuntimeError(
                "the life is planned when Trainer.fit sets the module up; call plan(stream) to see it before"
            )
        return self._hypnogram

    @property
    def stream(self) -> Stream:
        """What this life meets."""
        return self._data.stream

    def plan(self, stream: Stream, devices: int = 1) -> Hypnogram:
        """Lay out a life on a stream, or refuse it.

        Args:
            stream: what will be met.
            devices: processes that share each experience.

        Raises:
            ValueError: when parts make no sense together, with the reason.
        """
        check_parts(stream, self.wake, self.night, self.memory, self.generator, self.active_outputs)
        return plan_life(stream, self.wake, self.night, self.schedule, self.cycles, devices)

    def setup(self, stage: str) -> None:
        """Plan the life and tell the Trainer how many stages it has."""
        if stage != "fit":
            return
        if not isinstance(getattr(self.trainer, "datamodule", None), StreamDataModule):
            raise ValueError(
                "a life needs its stream: call trainer.fit(module, datamodule=StreamDataModule(stream)), "
                f"got datamodule={getattr(self.trainer, 'datamodule', None)!r}"
            )
        plan = self.plan(self.stream, self.trainer.world_size)
        loop = self.trainer.fit_loop
        if self.trainer.fast_dev_run:
            plan = plan.sampled(int(self.trainer.fast_dev_run))
            # the Trainer asked for one epoch; the shortest life that shows every kind of stage has up to three
            loop.max_epochs, loop.epoch_loop.max_steps = len(plan), -1
        elif loop.max_epochs is None or loop.max_epochs < 0 or loop.max_epochs >= len(plan):
            loop.max_epochs = len(plan)
        else:
            warnings.warn(
                f"Trainer(max_epochs={loop.max_epochs}) ends the life early: its plan has {len(plan)} stages "
                "(one epoch is one stage)",
                stacklevel=2,
            )
        self._hypnogram = plan
        # a fit is a life of its own; a checkpoint, where there is one, is loaded after this hook and brings its record
        self.ledger, self._mind, self._last_row = Ledger(), None, None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser; learner and generator are groups whose losses lie on disjoint graphs."""
        groups: list[dict[str, Any]] = [{"params": [p for p in self.network.parameters() if p.requires_grad]}]
        if self.generator is not None:
            own = [p for p in self.generator.parameters() if p.requires_grad]
            groups.append({"params": own} | ({} if self.generator_lr is None else {"lr": self.generator_lr}))
        return self.optimizer([group for group in groups if group["params"]])

    # ---------------------------------------------------------------- one batch

    def stage_loader(self, index: int) -> StageLoader:
        """The loader of one stage."""
        stage = self.hypnogram[index]

        def steps() -> Iterator[Step]:
            # asked for at the first batch, when a checkpoint has been loaded: the ledger says where to begin
            done = self.ledger.step if self.ledger.stage == stage.index else 0
            day = self._data.experience(stage.experience, self.device).train
            place = Place(self.seed, self.device, self.global_rank, self.trainer.world_size)
            return stage_steps(stage, self._recipe(stage), self._mind_at(stage), day, place, done)

        return StageLoader(stage, steps)

    def training_step(self, batch: Step, batch_idx: int) -> Tensor:
        """Let the stage judge the batch; Lightning calls backward."""
        stage = self.hypnogram[batch.stage]
        where = (stage.index, batch.step, self.global_rank)
        self._seed_network(mix(self.seed, Purpose.NETWORK, *where))
        rng = randoms(self.seed, Purpose.PERTURB, *where, device=self.device)
        losses = self._recipe(stage).losses(self._mind_at(stage), batch, rng)
        if self.memory is not None and batch.day is not None and self._first_pass(stage, batch.step):
            self.memory.add(*batch.day, randoms(self.seed, Purpose.MEMORY, *where))
        self._account(stage, batch)
        if (self.trainer.fit_loop.total_batch_idx + 1) % self.trainer.log_every_n_steps == 0:
            named = {f"{stage.kind}/{name}": value for name, value in losses.parts.items()}
            self.log_dict(named | {f"{stage.kind}/loss": losses.total.detach()}, batch_size=1)
        return losses.total

    def _first_pass(self, stage: Stage, step: int) -> bool:
        """True in the first pass over an experience: each of its samples is offered to the memory once."""
        share = -(-len(self.stream.experiences[stage.experience].train) // self.trainer.world_size)
        return (stage.first_step + step) * self.wake.batch_size < share

    def _account(self, stage: Stage, batch: Step) -> None:
        ledger, ranks = self.ledger, self.trainer.world_size
        if batch.day is not None:
            ledger.samples["wake"] += ranks * len(batch.day.y)
        if batch.dream is not None:
            ledger.samples["replayed" if stage.kind == "wake" else stage.kind] += ranks * len(batch.dream.y)
        ledger.step = batch.step + 1
        ledger.finished = self.trainer.is_last_batch
        now = time.perf_counter()
        ledger.seconds[stage.kind] += now - self._clock
        self._clock = now

    def _recipe(self, stage: Stage) -> Wake | NREM | REM:
        return self.wake if stage.kind == "wake" else self.night[stage.part]

    def _mind_at(self, stage: Stage) -> Mind:
        if self._mind is None or self._mind[0] != stage.index:
            active = competitors(self.stream, stage.experience, self.active_outputs)
            awake = stage.kind == "wake"
            mind = Mind(
                self.network,
                self.dawn if stage.experience > 0 else None,
                None if awake else self.dusk,
                self.memory,
                self.generator,
                class_mask(self.stream, range(stage.experience)).to(self.device),
                class_mask(self.stream, [stage.experience]).to(self.device),
                None if active is None else active.to(self.device),
                stage.experience + 1,
            )
            self._mind = (stage.index, mind)
        return self._mind[1]

    def _seed_network(self, seed: int) -> None:
        # dropout and the like draw from the global generators; seeding them per step makes them resumable
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    # ---------------------------------------------------------------- between stages

    def on_fit_start(self) -> None:
        """Examine the newborn network, or finish what a killed process left pending.

        No later hook would do: Lightning leaves a fit whose epochs are all counted without calling any.
        """
        if self.memory is not None:
            self.memory.to(self.device)
        self._clock = time.perf_counter()
        if not self.ledger.rows:
            self.ledger.rows.append(self._row("birth", -1, -1, -1, 0))
        if self.ledger.finished:
            self._close(self.hypnogram[self.ledger.stage], self.ledger.saved_at)

    def on_train_epoch_start(self) -> None:
        """Dawn: the teacher of the old classes is copied before the day overwrites them."""
        stage = self.hypnogram[self.current_epoch]
        # older Lightning calls this hook again when it resumes within an epoch
        if self.ledger.step == 0:
            self.ledger.opened_at = self.global_step
            if stage.opens and stage.experience > 0 and self.dawn is not None:
                self.dawn.copy_from(self.network)
        self._clock = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Close the stage, unless the Trainer stopped it half-way."""
        if self.ledger.finished:
            self._close(self.hypnogram[self.ledger.stage], self.global_step)
            held = self._seen(self.ledger.rows[-1], "validation")
            if held is not None:
                # only held-out training data may steer callbacks; test accuracies go to the loggers alone
                self.log("val/accuracy", held, batch_size=1)

    def on_train_end(self) -> None:
        """Examine a life that was stopped between two examinations, so that its results say where it got."""
        if self.ledger.rows[-1]["global_step"] != self.global_step:
            stage = self.hypnogram[self.ledger.stage - (self.ledger.step == 0)]
            after = "wake" if stage.kind == "wake" else "night"
            self._last_row = self._row(after, stage.experience, stage.night, stage.index, self.global_step)

    def _close(self, stage: Stage, global_step: int) -> None:
        ledger = self.ledger
        if stage.kind == "wake":
            self._dusk(stage)
        if stage.examined:
            after = "wake" if stage.kind == "wake" else "night"
            ledger.rows.append(self._row(after, stage.experience, stage.night, stage.index, global_step))
            self._log_row(ledger.rows[-1])
        ledger.optimizer_steps[stage.kind] += global_step - ledger.opened_at
        ledger.stage, ledger.step, ledger.finished, ledger.opened_at = stage.index + 1, 0, False, global_step
        self._clock = time.perf_counter()

    def _dusk(self, stage: Stage) -> None:
        """Copy the teacher of the day's own classes, and let the generator keep what it needs to dream of them."""
        if self.dusk is not None:
            self.dusk.copy_from(self.network)
        if self.generator is not None:
            samples = self._data.experience(stage.experience, self.device).train
            index = torch.arange(len(samples))
            if self.trainer.fast_dev_run:
                few = self.wake.batch_size * int(self.trainer.fast_dev_run)
                y = samples.y.cpu()
                index = torch.cat([(y == label).nonzero().flatten()[:few] for label in y.unique()])
            rng = randoms(self.seed, Purpose.SETTLE, stage.index, device=self.device)
            read = samples.batches(index.split(1024))
            day = (self.trainer.strategy.batch_to_device(batch, self.device) for batch in read)
            self.generator.settle(day, stage.experience, rng)
        self.ledger.seconds["wake"] += time.perf_counter() - self._clock

    # ---------------------------------------------------------------- examinations

    def _row(self, after: str, experience: int, night: int, stage: int, global_step: int) -> dict[str, Any]:
        """Examine the network on every experience: one row of the accuracy matrix."""
        started = time.perf_counter()
        tested, held = examine(self.network, self._data, self.active_outputs, experience, self.device)
        self.ledger.seconds["examination"] += time.perf_counter() - started
        return {
            "after": after,
            "experience": experience,
            "night": night,
            "stage": stage,
            "global_step": global_step,
            "accuracy": tested,
            "validation": held or None,
        }

    def _log_row(self, row: dict[str, Any]) -> None:
        named = {f"test/accuracy/experience_{index}": value for index, value in enumerate(row["accuracy"])}
        named |= {"stream/experience": row["experience"], "stream/average_accuracy": self._seen(row, "accuracy")}
        if row["night"] >= 0:
            named |= {"sleep/night": row["night"], "sleep/gain": metrics.night_gains(self.ledger.rows)[-1]}
        present = {name: float(value) for name, value in named.items() if value is not None}
        for logger in self.loggers:
            logger.log_metrics(present, step=row["global_step"])

    def _seen(self, row: dict[str, Any], split: Literal["accuracy", "validation"]) -> float | None:
        """Average over the experiences met so far; None where nothing was measured."""
        return None if row[split] is None else metrics.average_seen(row[split], row["experience"])

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """For ``trainer.validate``: accuracy on held-out training data per experience."""
        self._log_accuracy("val", batch, dataloader_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """For ``trainer.test``: accuracy on test data per experience."""
        self._log_accuracy("test", batch, dataloader_idx)

    def _log_accuracy(self, split: str, batch: Batch, index: int) -> None:
        logits = self.network(batch.x)
        if self.active_outputs == "task":
            classes = class_mask(self.stream, [index]).to(logits.device)
            logits = logits.masked_fill(~classes, -torch.inf)
        share = (logits.argmax(dim=1) == batch.y).float().mean()
        name = f"{split}/accuracy/experience_{index}"
        self.log(name, share, on_epoch=True, add_dataloader_idx=False, batch_size=len(batch.y))

    # ---------------------------------------------------------------- what it leaves

    def gallery(self, per_class: int) -> Dream | None:
        """Dreams (or, without a generator, memories) to look at, on the CPU; None when there is nothing to show yet.

        Drawn with random numbers of their own: looking changes nothing.

        Args:
            per_class: how many of each class.
        """
        rng = randoms(self.seed, Purpose.GALLERY, self.ledger.stage, device=self.device)
        if self.generator is not None and self.generator.dreamable.any():
            y = self.generator.dreamable.nonzero().flatten().repeat_interleave(per_class)
            dream = self.generator.dream(y, rng)
            return Dream(dream.x.cpu(), dream.y.cpu())
        if self.memory is None or not len(self.memory):
            return None
        x, y = self.memory.draw(len(self.memory), rng)
        chosen = torch.cat([(y == label).nonzero().flatten()[:per_class] for label in y.unique()])
        return Dream(x[chosen].cpu(), y[chosen].cpu())

    def results(self) -> dict[str, Any]:
        """The life so far as plain numbers: protocol, hypnogram, accuracy matrix, metrics and cost.

        Accuracies are fractions of 1. A row of the matrix holds, after one wake or one night, the test accuracy on
        every experience, met or not; ``birth`` is the network before its first step.
        """
        ledger = self.ledger
        rows = [*ledger.rows, *([] if self._last_row is None else [self._last_row])]
        steps = dict(ledger.optimizer_steps)
        if ledger.step:
            steps[self.hypnogram[ledger.stage].kind] += self.global_step - ledger.opened_at
        held = [experience.validation for experience in self.stream.experiences]
        return {
            "complete": ledger.stage == len(self.hypnogram),
            "seed": self.seed,
            "protocol": {
                "stream": self.stream.name,
                "scenario": self.stream.scenario,
                "experiences": len(self.stream),
                "class_order": [list(classes) for classes in self.stream.class_order],
                "active_outputs": self.active_outputs,
                "train_samples": [len(experience.train) for experience in self.stream.experiences],
                "validation_samples": [0 if samples is None else len(samples) for samples in held],
                "test_samples": [len(experience.test) for experience in self.stream.experiences],
                "sample_shape": list(self.stream.sample_shape),
                "num_classes": self.stream.num_classes,
            },
            "hypnogram": self.hypnogram.as_records(),
            "accuracy_matrix": {"rows": rows},
            "metrics": dict(metrics.summarise(rows)),
            "cost": {
                "optimizer_steps": steps,
                "samples": dict(ledger.samples),
                "seconds": dict(ledger.seconds),
                "bytes": self.bytes(),
            },
        }

    def bytes(self) -> dict[str, int]:
        """Bytes held now: network, memory, generator, teachers."""
        teachers = [teacher for teacher in (self.dawn, self.dusk) if teacher is not None]
        return {
            "network": module_bytes(self.network),
            "memory": 0 if self.memory is None else self.memory.nbytes,
            "generator": 0 if self.generator is None else self.generator.nbytes,
            "teacher": sum(teacher.nbytes for teacher in teachers),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add ledger, plan and memory: plain containers and tensors, so that safe loading takes them."""
        self.ledger.saved_at = self.global_step
        checkpoint["dreamer"] = {
            "ledger": self.ledger.state_dict(),
            "hypnogram": None if self._hypnogram is None else self._hypnogram.as_records(),
            "memory": None if self.memory is None else self.memory.state_dict(),
            "seed": self.seed,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back, and bring Lightning's counters in line with the ledger.

        Raises:
            ValueError: when the checkpoint belongs to a life with another plan or seed.
        """
        saved = checkpoint["dreamer"]
        mine = None if self._hypnogram is None else (self._hypnogram.as_records(), self.seed)
        if mine is not None and mine != (saved["hypnogram"], saved["seed"]):
            raise ValueError(
                "the checkpoint belongs to another life: "
                f"expected seed {self.seed} and the {len(mine[0])} stages of this plan, "
                f"got seed {saved['seed']} and {len(saved['hypnogram'] or [])} stages"
            )
        self.ledger = Ledger.from_state(saved["ledger"])
        self._mind = None
        if self.memory is not None and saved["memory"] is not None:
            self.memory.load_state_dict(saved["memory"])
        if "loops" in checkpoint:
            ledger = self.ledger
            position = (ledger.stage + 1, 0) if ledger.finished else (ledger.stage, ledger.step)
            align_loops(checkpoint["loops"]["fit_loop"], *position)

    @property
    def _data(self) -> StreamDataModule:
        return self.trainer.datamodule  # type: ignore[attr-defined, no-any-return]
