"""Steps of every kind of stage, against loops that do the same arithmetic."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import bench
from benchmarks.speed.loops import SKIPPED, Learner, Turns, fit, ours, sleep_loop, wake_loop
from benchmarks.speed.pair import Case, Goal, Rounds, Spent, Watch
from dreamer import perturbations as all_perturbations
from dreamer.core.types import Perturbations
from dreamer.generators import ClassConditionalVAE
from dreamer.memory import ClassBalanced
from dreamer.networks import MLP, Decoder, ResNet18, SmallConv
from dreamer.perturbations import LatentMixing, Noise, Perturbation, perturb
from dreamer.problems import Language
from dreamer.stages import NREM, REM, Wake
from dreamer.stages.base import Sleep
from dreamer.stages.replay import balanced_labels
from dreamer.streams import arithmetic
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.training.module import WakeSleepModule

_STEPS = 40
"""Steps that are counted."""
_SLEEP = Goal(0.9, "at least 0.9 of the bare loop")
Make = Callable[[Stream], nn.Module]


def cases() -> Iterator[Case]:
    """All of them; data and networks are made when they are measured."""
    yield from _wake_cases()
    yield from _sleep_cases()
    yield from _perturbation_cases()
    yield from _language_cases()


@functools.cache
def pictures(shape: tuple[int, ...] = (1, 28, 28), classes: int = 10, per_class: int = 400) -> Stream:
    """One experience of patterns in noise."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(classes).repeat(per_class)
    x = torch.rand(classes, *shape, generator=rng)[y] * 0.5 + 0.5 * torch.rand(len(y), *shape, generator=rng)
    return make_stream("pictures", [(TensorSamples(x, y), TensorSamples(x[:100], y[:100]))], validation=0)


def training_samples(stream: Stream) -> TensorSamples:
    """Those of the first experience."""
    samples = stream.experiences[0].train
    assert isinstance(samples, TensorSamples)
    return samples


def learner(make: Make, stream: Stream, **options: Any) -> Learner:
    """A network, the same each time, and Adam."""
    torch.manual_seed(0)
    network = make(stream)
    return Learner(network, torch.optim.Adam(network.parameters(), **options))


def mlp(stream: Stream) -> nn.Module:
    """The network 784-400-400-10."""
    return MLP(stream.sample_shape, stream.num_classes)


def _conv(stream: Stream) -> nn.Module:
    return SmallConv(stream.sample_shape, stream.num_classes)


def _resnet(stream: Stream) -> nn.Module:
    return ResNet18(stream.sample_shape, stream.num_classes)


# ---------------------------------------------------------------- wake


def _wake_cases() -> Iterator[Case]:
    goal = Goal(0.95, "at least 0.95 of the bare loop")
    yield _wake("wake_mlp", "wake, MLP 784-400-400-10, batch of 128", mlp, (1, 28, 28), 128, 10, goal=goal, rounds=40)
    yield _wake("wake_conv", "wake, small convolutional network, batch of 32", _conv, (3, 32, 32), 32, 4, rounds=20)
    resnet = Goal(0.98, "at least 0.98 of the bare loop")
    yield _wake("wake_resnet", "wake, ResNet-18, batch of 8", _resnet, (3, 32, 32), 8, 2, goal=resnet, rounds=30)
    yield Case("wake_lightning", "the same MLP", "step", "bare Lightning, without display and logger",
               _our_wake, _lightning_loop)  # fmt: skip
    fused = functools.partial(_our_wake, fused=True)
    yield Case("wake_fused", "the same MLP, `optimizer.fused=true`", "step", "ours as it is", fused, _our_wake)


def _wake(name: str, what: str, make: Make, shape: tuple[int, ...], batch: int, each: int, **more: Any) -> Case:
    def together(rounds: int) -> Rounds:
        stream = pictures(shape)
        turns = Turns("wake", lambda module: wake_loop(learner(make, stream), training_samples(stream), batch), each)
        wake = Wake(steps=(rounds + 1) * each, batch_size=batch)
        fit(WakeSleepModule(learner(make, stream).network, wake), stream, turns)
        return turns.rounds

    return Case(name, what, "step", "a bare loop", together=together, **more)


def _our_wake(fused: bool | None = None) -> Spent:
    stream = pictures()
    wake = Wake(steps=_STEPS + SKIPPED, batch_size=128)
    adam = functools.partial(torch.optim.Adam, fused=fused)
    return ours(WakeSleepModule(learner(mlp, stream).network, wake, optimizer=adam), stream)


class Plain(pl.LightningModule):
    """What a Lightning user writes."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return functional.cross_entropy(self.network(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters())


class Loader:
    """Shuffled batches, so many."""

    def __init__(self, samples: TensorSamples, batch: int, steps: int):
        self._samples = samples
        self._batch = batch
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        done = 0
        while done < self._steps:
            for index in torch.randperm(len(self._samples)).split(self._batch)[: self._steps - done]:
                yield self._samples.x.index_select(0, index), self._samples.y.index_select(0, index)
                done += 1


class _Times(pl.Callback):
    def __init__(self, skipped: int):
        self.skipped = skipped
        self.watch = Watch()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == self.skipped:
            self.watch.restart()


def _lightning_loop() -> Spent:
    stream = pictures()
    times = _Times(SKIPPED)
    with bench.quiet():
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", enable_checkpointing=False, enable_model_summary=False, logger=False,
            enable_progress_bar=False, callbacks=[times],
        )  # fmt: skip
        trainer.fit(Plain(learner(mlp, stream).network), Loader(training_samples(stream), 128, _STEPS + SKIPPED))
    return times.watch.spent(_STEPS)


# ---------------------------------------------------------------- sleep


def _sleep_cases() -> Iterator[Case]:
    for kind, what in ((NREM, "NREM"), (REM, "REM, with its own perturbation")):
        for source in ("memory", "generator"):
            together = functools.partial(_night, kind, source)
            name = f"{kind.__name__.lower()}_{source}"
            reference = "a bare loop that draws from the same"
            yield Case(name, f"{what}, from a {source}", "step", reference, together=together, goal=_SLEEP, rounds=20)


def _night(kind: type[Sleep], source: str, rounds: int) -> Rounds:
    """A night of one stage; each turn is as long as dreams are made for at once."""
    stream = pictures()
    turns = Turns(kind.kind, functools.partial(_bare_night, kind, source), 16)
    stage: Any = kind
    module = WakeSleepModule(
        learner(mlp, stream).network,
        Wake(steps=8, batch_size=128),
        [stage(steps=16 * (rounds + 1), batch_size=128, source=source)],
        memory=ClassBalanced(500) if source == "memory" else None,
        generator=_vae(stream) if source == "generator" else None,
    )
    fit(module, stream, turns)
    return turns.rounds


def _vae(stream: Stream) -> ClassConditionalVAE:
    return ClassConditionalVAE(stream.sample_shape, stream.num_classes, components=2)


def _bare_night(kind: type[Sleep], source: str, run: WakeSleepModule) -> Iterator[None]:
    """A bare loop with the memory or the generator of a run."""
    stream = pictures()
    rng, classes = torch.Generator().manual_seed(0), torch.ones(stream.num_classes, dtype=torch.bool)
    noise: list[Perturbation] = [Noise(clip=None)] if kind is REM else []
    mixing = Perturbations(latent=functools.partial(perturb, [LatentMixing()]) if kind is REM else None)

    def remember(count: int) -> tuple[Tensor, Tensor, Tensor]:
        assert run.memory is not None
        drawn = run.memory.draw(count, rng)
        one_hot = functional.one_hot(drawn.y, stream.num_classes).float()
        return perturb(noise, drawn.x, one_hot, rng)[0], drawn.x, drawn.y

    def dream(count: int) -> tuple[Tensor, Tensor, Tensor]:
        assert run.generator is not None
        made = run.generator.dream(balanced_labels(classes, count, rng), rng, mixing)
        return made.x, made.x, made.y if made.p is None else made.p

    teacher = learner(mlp, stream).network.eval()
    return sleep_loop(learner(mlp, stream), teacher, remember if source == "memory" else dream, 128)


# ---------------------------------------------------------------- perturbations

_OF_PICTURES = ("Affine", "Colour", "CropFlip", "CutMix", "Mixup", "Noise", "Occlusion", "Adversarial")
_OF_CODES = ("LatentJitter", "LatentMixing")


def _perturbation_cases() -> Iterator[Case]:
    for names, source in ((_OF_PICTURES, "memory"), (_OF_CODES, "generator")):
        plain = functools.partial(_rem, source, ())
        for name in names:
            way = functools.partial(_rem, source, (name,))
            what = f"REM from a {source}, `{name}`"
            yield Case(f"rem_{name.lower()}", what, "step", "REM without a perturbation", way, plain, rounds=5)


def _rem(source: str, names: Sequence[str]) -> Spent:
    stream = pictures((3, 16, 16))
    parts = tuple(getattr(all_perturbations, name)() for name in names)
    module = WakeSleepModule(
        learner(mlp, stream).network,
        Wake(steps=8, batch_size=128),
        [REM(steps=32, batch_size=128, source=source, perturbations=parts)],  # type: ignore[arg-type]
        memory=ClassBalanced(500) if source == "memory" else None,
        generator=_vae(stream) if source == "generator" else None,
    )
    return ours(module, stream, "rem", skipped=16)


# ---------------------------------------------------------------- language


def _language_cases() -> Iterator[Case]:
    yield Case("language_step", "wake, decoder of 0.6 million weights, 128 texts of 13 tokens", "step", "a bare loop",
               together=_sentences, rounds=12)  # fmt: skip


def _decoder(stream: Stream) -> nn.Module:
    return Decoder(stream.sample_shape, stream.num_classes)


@functools.cache
def _texts() -> Stream:
    return arithmetic(tasks=["add"], samples=2048, test=16, validation=0)


def _sentences(rounds: int, each: int = 4) -> Rounds:
    stream = _texts()
    turns = Turns("wake", lambda module: wake_loop(learner(_decoder, stream), training_samples(stream), 128), each)
    wake = Wake(steps=(rounds + 1) * each, batch_size=128)
    fit(WakeSleepModule(learner(_decoder, stream).network, wake, problem=Language()), stream, turns)
    return turns.rounds
