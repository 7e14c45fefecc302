"""One run on several devices: processes on the CPU, started as torchrun starts them, with a time limit."""

from __future__ import annotations

import functools
import io
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.sleep.callback import SleepCallback
from dreamer.generators import ClassConditionalVAE
from dreamer.memory import ClassBalanced, Herding, LatentCodes, Reservoir, Ring
from dreamer.networks import MLP
from dreamer.objectives import CrossEntropy
from dreamer.plasticity import MovingAverage, SynapticIntelligence
from dreamer.schedules import EveryNSteps
from dreamer.stages import NREM, REM, Wake
from dreamer.streams import base as streams
from dreamer.streams.base import Stream, TensorSamples
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule
from tests.callbacks.test_sleep import make_module, make_stream
from tests.helpers.tiny_runs import quiet_trainer, tiny_module, tiny_network, tiny_stream

LIMIT = 300.0
"""Seconds after which processes count as deadlocked; far more than they need, even where many run on one machine."""

Build = Callable[[Stream], WakeSleepModule]

# Lightning's advice on loaders and workers is meant for a reader of the terminal
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


# -------------------------------------------------------------------- several processes


def together(ranks: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """What a function gives on each of several processes that find each other; none survives the time limit."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes, processes = [], []
    for rank in range(ranks):
        ours, theirs = context.Pipe(duplex=False)
        processes.append(context.Process(target=_one, args=(rank, ranks, port, theirs, work, args), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)
    until = time.monotonic() + LIMIT
    try:
        received = []
        for rank, pipe in enumerate(pipes):
            assert pipe.poll(max(0.0, until - time.monotonic())), f"rank {rank} of {ranks} waits for ever"
            try:
                received.append(torch.load(io.BytesIO(pipe.recv_bytes()), weights_only=True))
            except EOFError:
                pytest.fail(f"rank {rank} of {ranks} died")
        return received
    finally:
        for process in processes:
            process.kill()
            process.join()


def _one(rank: int, ranks: int, port: int, pipe: Any, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    # what torchrun tells its processes
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    torch.set_num_threads(1)
    buffer = io.BytesIO()
    torch.save(work(ranks, *args), buffer)
    pipe.send_bytes(buffer.getvalue())


# -------------------------------------------------------------------- runs


class Watch(pl.Callback):
    """Looks at the memory when training begins, and lets one process stop."""

    def __init__(self, checkpoint: RunCheckpoint | None = None, stop_at: int = -1):
        self.begun: Any = None
        self.checkpoint, self.stop_at = checkpoint, stop_at

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.begun = None if pl_module.memory is None else pl_module.memory.state_dict()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if self.checkpoint is not None and trainer.global_step == self.stop_at and trainer.global_rank == 1:
            self.checkpoint.stop()


def trained(
    ranks: int,
    stream: Callable[[], Stream],
    build: Build,
    directory: Path | None = None,
    resume: bool = False,
    stop_at: int = -1,
    **options: Any,
) -> dict[str, Any]:
    """Train a run on some devices; gives what it left on this one."""
    checkpoint = None if directory is None else RunCheckpoint(directory, every_n_steps=1)
    watch = Watch(checkpoint, stop_at)
    source = stream()
    module = build(source)
    several = {"devices": ranks, "strategy": "ddp"} if ranks > 1 else {}
    callbacks = [watch] if checkpoint is None else [watch, checkpoint]
    trainer = quiet_trainer(callbacks=callbacks, **several, **options)
    saved = directory / "last.ckpt" if directory is not None and resume else None
    trainer.fit(module, datamodule=StreamDataModule(source), ckpt_path=saved)
    results = module.results()
    return {
        "weights": dict(module.state_dict()),
        "memory": None if module.memory is None else module.memory.state_dict(),
        "begun": watch.begun,
        "nbytes": 0 if module.memory is None else module.memory.nbytes,
        "rows": results["accuracy_matrix"]["rows"],
        "complete": results["complete"],
        "samples": results["cost"]["samples"],
        "bytes": results["cost"]["bytes"]["memory"],
        "steps": trainer.global_step,
    }


def memory_module(stream: Stream, batch: int = 6, steps: int | None = None, memory: int = 10) -> WakeSleepModule:
    wake = Wake(epochs=2, steps=steps, batch_size=batch, replay=4)
    night = [NREM(2, 4), REM(1, 4)]
    network = tiny_network(stream, dropout=0.1)
    return WakeSleepModule(network, wake=wake, night=night, memory=ClassBalanced(memory))


def same_state(one: Any, two: Any) -> bool:
    leaves = [torch.utils._pytree.tree_leaves(state) for state in (one, two)]
    return len(leaves[0]) == len(leaves[1]) and all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(*leaves, strict=True)
    )


def same_weights(reports: list[dict[str, Any]]) -> bool:
    return all(same_state(report["weights"], reports[0]["weights"]) for report in reports)


def held(states: list[dict[str, Any]]) -> list[list[float]]:
    """All samples of some memories, sorted."""
    return sorted(row for state in states if state["size"] for row in state["held"]["x"].flatten(1).tolist())


def once(rows: list[list[float]]) -> bool:
    return len(set(map(tuple, rows))) == len(rows)


# -------------------------------------------------------------------- one run


def plain_module(stream: Stream, ranks: int) -> WakeSleepModule:
    """Resources over batches, and nothing that is drawn for each process: the night dreams of all that is held."""
    return WakeSleepModule(
        tiny_network(stream, dropout=0.0),
        wake=Wake(epochs=2, batch_size=6 // ranks),
        night=[NREM(3, 54 // ranks, perturbations=(), steps_per_dream=1)],
        memory=Reservoir(54),
        plasticity=[SynapticIntelligence(), MovingAverage(rate=0.5)],
        schedule=EveryNSteps(10**9),
        optimizer=functools.partial(torch.optim.SGD, lr=0.3),
    )


def test_the_same_global_batches_give_the_same_weights() -> None:
    alone = trained(1, tiny_stream, functools.partial(plain_module, ranks=1))
    pair = together(2, trained, tiny_stream, functools.partial(plain_module, ranks=2))
    assert same_weights(pair)
    assert pair[0]["samples"] == alone["samples"] and pair[0]["steps"] == alone["steps"] == 3 * 6 + 3
    for name, value in alone["weights"].items():
        torch.testing.assert_close(pair[0]["weights"][name], value, rtol=1e-5, atol=1e-6)
    assert pair[0]["rows"] == alone["rows"]
    assert held([report["memory"] for report in pair]) == held([alone["memory"]])


def test_weights_are_equal_after_nights_and_memories_are_not() -> None:
    """With memory, a generator that rests at night, teachers and dropout, and no strategy but plain ddp."""
    pair = together(2, trained, tiny_stream, tiny_module)
    assert all(report["complete"] for report in pair)
    assert same_weights(pair) and pair[0]["rows"] == pair[1]["rows"]
    memories = [report["memory"] for report in pair]
    assert [memory["size"] for memory in memories] == [5, 5]
    assert not same_state(*memories) and once(held(memories))
    assert sum(memory["offered"] for memory in memories) == 54
    assert {report["bytes"] for report in pair} == {sum(report["nbytes"] for report in pair)} == {10 * (16 * 4 + 8)}


# -------------------------------------------------------------------- going on


@pytest.mark.parametrize("at", [2, 4, 7])
def test_resumed_on_as_many_it_ends_as_if_unbroken(tmp_path: Path, at: int) -> None:
    whole = together(2, trained, tiny_stream, memory_module)
    together(2, trained, tiny_stream, memory_module, tmp_path, False, at)
    again = together(2, trained, tiny_stream, memory_module, tmp_path, True)
    for one, two in zip(whole, again, strict=True):
        assert one["complete"] and two["complete"] and one["steps"] == two["steps"] == 3 * (4 + 3)
        assert same_state(one["weights"], two["weights"]) and one["rows"] == two["rows"]
        assert same_state(one["memory"], two["memory"]) and one["samples"] == two["samples"]


@pytest.mark.parametrize(
    ("before", "now", "at", "steps"), [(2, 1, 3, None), (1, 2, 3, None), (2, 3, 12, None), (1, 2, 3, 7), (3, 2, 15, 7)]
)
def test_on_another_number_of_devices_memories_are_dealt_out(
    tmp_path: Path, before: int, now: int, at: int, steps: int | None
) -> None:
    build = functools.partial(memory_module, batch=3, steps=steps)
    together(before, trained, tiny_stream, build, tmp_path, False, at) if before > 1 else trained(
        1, tiny_stream, build, tmp_path, max_steps=at
    )
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["dreamer"]
    assert saved["devices"] == len(saved["memory"]) == before
    reports = together(now, trained, tiny_stream, build, tmp_path, True)
    begun = [report["begun"] for report in reports]
    assert held(begun) == held(saved["memory"]) and once(held(begun))
    assert max(state["size"] for state in begun) - min(state["size"] for state in begun) <= 1
    assert sum(state["offered"] for state in begun) == sum(state["offered"] for state in saved["memory"])
    ends = [report["memory"] for report in reports]
    assert all(report["complete"] for report in reports) and same_weights(reports)
    assert len(held(ends)) == 10 and once(held(ends))
    # less than a step of the day that was interrupted is not offered again
    assert 54 - 3 * now < sum(state["offered"] for state in ends) <= 54


def cut_module(stream: Stream) -> WakeSleepModule:
    module = memory_module(stream, batch=3)
    module.schedule = EveryNSteps(5)
    return module


def refusal(ranks: int, *args: Any, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        trained(ranks, *args, **options)
    return str(caught.value)


def test_a_run_that_is_cut_otherwise_is_refused(tmp_path: Path) -> None:
    together(2, trained, tiny_stream, cut_module, tmp_path, False, 3)
    said = refusal(1, tiny_stream, cut_module, tmp_path, resume=True)
    assert said.startswith("the checkpoint was written on 2 devices, and on 1 this run has other stages: continue on 2")


def test_a_process_that_stops_stops_all_at_the_same_step(tmp_path: Path) -> None:
    pair = together(2, trained, tiny_stream, memory_module, tmp_path, False, 5)
    assert [report["steps"] for report in pair] in ([5, 5], [6, 6])
    assert not any(report["complete"] for report in pair)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == pair[0]["steps"]


# -------------------------------------------------------------------- a module of one's own


class Look(pl.Callback):
    """Notes what the nights' memory and ledger hold when training begins."""

    def __init__(self, nights: SleepCallback):
        self.nights = nights
        self.begun: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.begun = {"memory": self.nights.memory.state_dict(), "seen": list(self.nights.state.seen)}


def own_fit(ranks: int, directory: Path, epochs: int, resume: bool = False) -> dict[str, Any]:
    """Some days of a module that knows nothing of nights; their end is saved."""
    module, nights = make_module(pl), SleepCallback([NREM(3, batch_size=8)], memory=ClassBalanced(12))
    look = Look(nights)
    several = {"devices": ranks, "strategy": "ddp"} if ranks > 1 else {}
    trainer = quiet_trainer(
        callbacks=[nights, look],
        max_epochs=epochs,
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=True,
        default_root_dir=directory,
        **several,
    )
    saved = directory / "own.ckpt"
    trainer.fit(module, datamodule=make_stream(pl, batch_size=4), ckpt_path=saved if resume else None)
    if not resume:
        trainer.save_checkpoint(saved)
    return {"weights": dict(module.state_dict()), "memory": nights.memory.state_dict(), "begun": look.begun}


def test_nights_of_ones_own_module_go_on_on_any_number_of_devices(tmp_path: Path) -> None:
    whole = together(2, own_fit, tmp_path, 3)
    half = together(2, own_fit, tmp_path, 2)
    assert [report["memory"]["size"] for report in half] == [6, 6] and once(held([report["memory"] for report in half]))
    for ranks in (2, 3):
        reports = together(ranks, own_fit, tmp_path, 3, True)
        begun = [report["begun"]["memory"] for report in reports]
        assert held(begun) == held([report["memory"] for report in half])
        assert all(report["begun"]["seen"] == [0, 1, 2, 3] for report in reports)
        assert [state["size"] for state in begun] == [12 // ranks] * ranks
        assert same_weights(reports)
        if ranks == 2:
            assert same_state(reports[0]["weights"], whole[0]["weights"])
            assert same_state([report["memory"] for report in reports], [report["memory"] for report in whole])
    alone = own_fit(1, tmp_path, 3, True)
    assert held([alone["begun"]["memory"]]) == held([report["memory"] for report in half])


# -------------------------------------------------------------------- nobody waits for ever


def uneven_stream(classes: tuple[tuple[int, ...], ...], counts: tuple[int, ...]) -> Stream:
    """Experiences of the given classes, with so many samples of each class."""
    rng = torch.Generator().manual_seed(3)

    def samples(labels: tuple[int, ...], each: list[int]) -> TensorSamples:
        y = torch.tensor(labels).repeat_interleave(torch.tensor(each))
        x = 0.3 * torch.rand(len(y), 1, 4, 4, generator=rng)
        x.flatten(1)[torch.arange(len(y)), y] = 1.0
        return TensorSamples(x, y)

    return streams.make_stream(
        "uneven",
        [(samples(part, [counts[label] for label in part]), samples(part, [4] * len(part))) for part in classes],
    )


def changed(stream: Stream, **changes: Any) -> WakeSleepModule:
    torch.manual_seed(0)
    network = MLP(stream.sample_shape, stream.num_classes, hidden=(16,))
    parts = {"wake": Wake(batch_size=2, replay=2), "night": [NREM(2, 4)], "memory": ClassBalanced(6)}
    return WakeSleepModule(network, **(parts | changes))


def dreaming(stream: Stream, **changes: Any) -> WakeSleepModule:
    generator = ClassConditionalVAE(stream.sample_shape, stream.num_classes, 3, (8,), components=2)
    return changed(stream, memory=None, generator=generator, **changes)


PAIRS = ((0, 1), (2, 3))
CASES: dict[str, tuple[int, tuple[tuple[int, ...], ...], tuple[int, ...], Build]] = {
    "an uneven last batch": (2, PAIRS, (5, 4, 3, 2), changed),
    "fewer samples than processes, later": (3, PAIRS, (4, 4, 1, 1), changed),
    "fewer samples than processes, later, chosen at dusk": (
        3,
        PAIRS,
        (4, 4, 1, 1),
        functools.partial(changed, memory=Herding(6)),
    ),
    "a memory that is empty on one process": (
        2,
        ((0, 2), (1, 3)),
        (4, 4, 4, 4),
        functools.partial(changed, memory=Ring(4, num_classes=4)),
    ),
    "no night": (2, PAIRS, (3, 3, 3, 3), functools.partial(changed, night=[])),
    "a night that never comes": (
        2,
        PAIRS,
        (3, 3, 3, 3),
        functools.partial(changed, schedule=EveryNSteps(10**9, at_end=False)),
    ),
    "replay behind the features": (2, PAIRS, (4, 4, 4, 4), functools.partial(changed, memory=LatentCodes(6))),
    "a learner that rests awake": (
        2,
        PAIRS,
        (4, 4, 4, 4),
        functools.partial(
            dreaming, wake=Wake(batch_size=2, objectives=()), night=[NREM(2, 4, objectives=(CrossEntropy(),))]
        ),
    ),
    "a generator that rests asleep": (2, PAIRS, (4, 4, 4, 3), dreaming),
}


@pytest.mark.parametrize("case", CASES)
def test_nobody_waits_for_ever(case: str) -> None:
    ranks, classes, counts, build = CASES[case]
    reports = together(ranks, trained, functools.partial(uneven_stream, classes, counts), build)
    assert all(report["complete"] for report in reports) and same_weights(reports)
    memories = [report["memory"] for report in reports if report["memory"] is not None]
    if memories:
        assert all(memory["size"] for memory in memories)
        assert once(held(memories))


def test_less_than_a_sample_for_each_is_refused_by_all() -> None:
    stream = functools.partial(uneven_stream, PAIRS, (1, 1, 4, 4))
    expected = "expected a memory with something to replay on each of 3 devices, got 2 in all"
    assert together(3, refusal, stream, changed) == [expected] * 3
