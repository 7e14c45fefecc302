"""The epochs of a language model that sleeps on its own words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.callbacks.sleep.epochs import Epochs, SleepOptions
from dreamer.callbacks.sleep.own_text import Copies, OwnText
from dreamer.callbacks.sleep.report import Score, TokenLoss
from dreamer.callbacks.sleep.state import SleepState
from dreamer.core.modes import evaluating
from dreamer.core.tokens import IGNORED
from dreamer.core.types import Batch, Classes, Dream, Stage, Step
from dreamer.loop.plan import Parts
from dreamer.loop.sleeper import Sleeper
from dreamer.networks import CausalLM
from dreamer.schedules import Boundary
from dreamer.stages import NREM, Wake

_ENDLESS = 1 << 40
"""Steps of a stage that lasts as long as the day."""


class TextEpochs(Epochs):
    """As :class:`Epochs`, but the night's loss, and that of what is replayed by day, is computed here.

    The batches of the night have the tokens of the dreams in the structure of the day's, for whoever looks at them; the
    module's ``training_step`` is not called for them.

    Args:
        own: what is written, and how.
        copies: dawn and dusk; they outlive the fit, so that checkpoints have them.
    """

    def __init__(
        self, options: SleepOptions, state: SleepState, trainer: Any, module: Any, own: OwnText, copies: Copies
    ):
        super().__init__(options, state, trainer, module)
        self.own = own
        self.copies = copies
        self._pending: dict[int, tuple[Stage, Step]] = {}
        self._replayed: tuple[int, Iterator[Step]] | None = None

    def _device(self) -> torch.device:
        device: torch.device = self.trainer.strategy.root_device
        return device

    def score(self) -> Score:
        """What validation data are looked at by."""
        return TokenLoss(self.module, language_model(self.module, self.own.model))

    # ---------------------------------------------------------------- the fit

    def prepare(self, nights: bool) -> None:
        """Find the model, copy it, and let the module's ``training_step`` come after what is done here.

        Raises:
            ValueError: when there is no language model, it does not fit the tokeniser, or optimises by itself.
        """
        module, own = self.module, self.own
        if not module.automatic_optimization:
            raise ValueError(
                "OwnText adds a loss to that of training_step: expected a module with automatic_optimization"
            )
        found = language_model(module, own.model)
        # the modes are the module's own
        with evaluating(found):
            network = CausalLM(own.writer.sample_shape, own.tokens.size, found)
        stages = tuple(map(own.stage, self.options.stages or (NREM(),)))
        awake = own.stage(NREM(batch_size=max(1, own.replay), teacher="dawn"))
        parts = Parts(network, Wake(), (*stages, awake), own.memory, own.writer, (), Boundary(), problem=own.problem)
        self.sleeper = Sleeper(parts, self.sleeper.info, self.state)
        self.sleeper.attach()
        self.copies.make(network, nights)
        self.sleeper.dawn, self.sleeper.dusk = self.copies.dawn, self.copies.dusk
        module.training_step = self._training_step(module.training_step)

    def leave(self) -> None:
        """Give the module its own ``training_step`` back."""
        vars(self.module).pop("training_step", None)

    def _training_step(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def training_step(*args: Any, **kwargs: Any) -> Any:
            if self.state.asleep:
                return self._loss(*self._pending.pop(self.state.trained - self.state.awake))
            return self._beside(own(*args, **kwargs)) if self.own.replay else own(*args, **kwargs)

        return training_step

    def _loss(self, stage: Stage, step: Step) -> Tensor:
        if getattr(self.sleeper, "stage", None) != stage:
            self._enter(stage)
        total = self.sleeper.losses(step).total
        assert total is not None
        return total

    def _enter(self, stage: Stage) -> None:
        """Begin a stage: dawn writes of what was known before, dusk of the day, where something of it is kept."""
        device = self.sleeper.info.device
        old = torch.tensor([True, False], device=device)
        new = ~old if self.copies.dusk is not None and len(self.own.memory) else torch.zeros_like(old)
        awake = stage.index_in_night == len(self.sleeper.parts.night) - 1
        self.sleeper.enter(stage, Classes(old, torch.zeros_like(old) if awake else new))

    # ---------------------------------------------------------------- the day

    def _learn(self, batch: Any) -> None:
        """Keep the openings of some samples."""
        state, own = self.state, self.own
        openings = own.openings_of(batch).to(self.sleeper.info.device)
        if own.opening and len(openings):
            nothing = torch.zeros(len(openings), dtype=torch.int64, device=openings.device)
            self.sleeper.offer(Step(state.epochs, state.awake, Batch(openings, nothing), None), len(openings))
        self._like = batch
        state.largest = max(state.largest, len(batch["input_ids"]))
        state.awake += 1
        state.drawn += 1

    def _beside(self, result: Any) -> Any:
        """What the module's step returned, with the loss of what dawn writes beside it."""
        epoch = self.trainer.current_epoch
        stage = Stage(-1 - epoch, "nrem", 1, _ENDLESS, index_in_night=len(self.sleeper.parts.night) - 1)
        if self._replayed is None or self._replayed[0] != epoch:
            self._enter(stage)
            self._replayed = epoch, self.sleeper.steps(done=self.state.trained)
        loss = self._loss(stage, next(self._replayed[1]))
        if isinstance(result, Mapping):
            return {**result, "loss": result["loss"] + loss}
        return loss if result is None else result + loss

    # ---------------------------------------------------------------- the night

    def _night_steps(self, day: int) -> list[int]:
        if self.options.stages is None:
            most = int(self.trainer.fast_dev_run)
            return [min(max(day, 1), most) if most else max(day, 1)]
        return super()._night_steps(day)

    def _night(self) -> Iterator[Any]:
        """Batches of the night, from where it stands."""
        state, sleeper = self.state, self.sleeper
        night, done = state.nights - 1, max(0, state.trained - state.awake)
        if not done and sleeper.dusk is not None:
            sleeper.dusk.copy_from(sleeper.parts.network)
        stages = sleeper.parts.night[:-1]
        if self.options.stages is None:
            stages = (self.own.stage(NREM(batch_size=state.largest)),)
            sleeper.parts = replace(sleeper.parts, night=(*stages, sleeper.parts.night[-1]))
        position = done
        for number, (spec, steps) in enumerate(zip(stages, state.night, strict=True)):
            stage = Stage(night * len(stages) + number, spec.kind, 1, steps, night=night, index_in_night=number)
            self._enter(stage)
            start, done = min(done, steps), max(0, done - steps)
            for step in sleeper.steps(done=start):
                assert step.dream is not None
                self._pending[position] = stage, step
                position += 1
                yield self._shown(step.dream)

    def _shown(self, dream: Dream) -> Any:
        """A batch like those of the day, with the tokens of a dream."""
        tokens = dream.x
        made = self.options.fields.rebuild(self._like, tokens, torch.zeros_like(tokens[:, 0]))
        labels = torch.cat([torch.full_like(tokens[:, :1], IGNORED), dream.y[:, :-1]], dim=1)
        for name, new in (("attention_mask", torch.ones_like(tokens)), ("labels", labels)):
            if name in made:
                made[name] = new.to(made[name].device)
        return made


def language_model(module: nn.Module, name: str | None) -> nn.Module:
    """The causal language model of a module; a ``ValueError`` when there is none.

    Args:
        name: of the attribute that it is; None finds it.
    """
    if name is not None:
        if not isinstance(getattr(module, name, None), nn.Module):
            raise ValueError(f"OwnText: {type(module).__name__} has no module {name!r}")
        return getattr(module, name)
    for child in module.modules():
        if hasattr(child, "generate") and hasattr(getattr(child, "config", None), "vocab_size"):
            return child
    raise ValueError(
        f"OwnText: found no causal language model of transformers in {type(module).__name__}: say with model= which "
        "attribute it is"
    )
