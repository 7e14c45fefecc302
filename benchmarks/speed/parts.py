"""What a run does beside its steps: evaluations, writes, a night's texts, a report."""

from __future__ import annotations

import copy
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import bench
from benchmarks.speed.loops import fit
from benchmarks.speed.pair import Case, Spent, Watch
from benchmarks.speed.steps import learner, mlp, pictures
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.core.tokens import Tokens
from dreamer.generators import OwnWords
from dreamer.memory import ClassBalanced
from dreamer.networks import CausalLM
from dreamer.problems import Classification
from dreamer.stages import Wake
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.training.data import StreamDataModule
from dreamer.training.evaluation import evaluate
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import quiet_trainer

_CELLS = (10, 20)
"""Arms and seeds of the comparison."""
_BATCHES = 40


def cases() -> Iterator[Case]:
    """All of them."""
    yield Case("sampling", "a night's texts: 64 of 64 tokens, GPT-2 of 4 layers", "token",
               "`transformers.generate`", _our_texts, _their_texts, rounds=5)  # fmt: skip
    yield Case("evaluation", "an evaluation on 5 x 2,000 pictures, MLP", "evaluation", "a bare loop, batch of 1,000",
               _our_evaluation, _bare_evaluation)  # fmt: skip
    yield Case("memory_write", "128 pictures offered to a full `ClassBalanced(1000)`", "batch",
               "a bare reservoir, as one indexed write", _our_memory, _bare_memory)  # fmt: skip
    written = _Checkpoints()
    yield Case("checkpoint", "a checkpoint of the MLP, sealed and on the disk", "checkpoint",
               "`torch.save` of the same content", written.ours, written.reference)  # fmt: skip
    yield Case("report", f"the report of a comparison of {_CELLS[0] * _CELLS[1]} cells", "report", "",
               _report, rounds=3)  # fmt: skip


# ---------------------------------------------------------------- texts


@functools.cache
def _writer(long: int = 64, vocabulary: int = 512) -> CausalLM:
    torch.manual_seed(0)
    sizes = {"n_layer": 4, "n_embd": 128, "n_head": 4, "n_positions": long + 1, "vocab_size": vocabulary}
    return CausalLM((long,), vocabulary, {"model_type": "gpt2", **sizes}).eval()


def _our_texts(count: int = 64, long: int = 64) -> Spent:
    network = _writer()
    tokens = Tokens.of([chr(0x100 + token) for token in range(network.vocabulary)], openings=[[0]])
    generator = OwnWords((long,), 1, tokens, logits=False)
    generator.attach(network)
    watch = Watch()
    with torch.no_grad():
        generator.write(torch.zeros(count, dtype=torch.int64), torch.Generator().manual_seed(0))
    return watch.spent(count * long)


def _their_texts(count: int = 64, long: int = 64) -> Spent:
    network: Any = _writer()
    begin = torch.zeros(count, 1, dtype=torch.int64)
    how = {"do_sample": True, "top_k": 0, "eos_token_id": None, "pad_token_id": 0}
    watch = Watch()
    network.model.generate(begin, attention_mask=torch.ones_like(begin), max_new_tokens=long, **how)
    return watch.spent(count * long)


# ---------------------------------------------------------------- evaluation


@functools.cache
def _tests() -> Stream:
    rng = torch.Generator().manual_seed(0)

    def samples(count: int, experience: int) -> TensorSamples:
        y = torch.randint(2, (count,), generator=rng) + 2 * experience
        return TensorSamples(torch.rand(count, 1, 28, 28, generator=rng), y)

    return make_stream("tests", [(samples(10, number), samples(2000, number)) for number in range(5)], validation=0)


def _our_evaluation() -> Spent:
    stream = _tests()
    data, network = StreamDataModule(stream), learner(mlp, stream).network
    with bench.quiet():
        data.trainer = quiet_trainer()
    watch = Watch()
    evaluate(network, data, Classification(), "all", 4, torch.device("cpu"))
    return watch.spent()


@torch.no_grad()
def _bare_evaluation() -> Spent:
    stream = _tests()
    network, scores = learner(mlp, stream).network, []
    watch = Watch()
    network.eval()
    for experience in stream.experiences:
        test: Any = experience.test
        right = sum(
            int((network(x).argmax(dim=1) == y).sum())
            for x, y in zip(test.x.split(1000), test.y.split(1000), strict=True)
        )
        scores.append(right / len(test))
    network.train()
    return watch.spent()


# ---------------------------------------------------------------- memory


def _pictures(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.rand(128, 1, 28, 28, generator=rng), torch.randint(10, (128,), generator=rng)


def _our_memory() -> Spent:
    rng = torch.Generator().manual_seed(0)
    memory = ClassBalanced(1000)
    batches = [_pictures(rng) for _ in range(8)]
    for _ in range(2):
        for x, y in batches:
            memory.add(x, y, rng)
    watch = Watch()
    for number in range(_BATCHES):
        memory.add(*batches[number % 8], rng)
    return watch.spent(_BATCHES)


def _bare_memory() -> Spent:
    rng = torch.Generator().manual_seed(0)
    held_x, held_y, seen = torch.empty(1000, 1, 28, 28), torch.empty(1000, dtype=torch.int64), 2048
    batches = [_pictures(rng) for _ in range(8)]
    watch = Watch()
    for number in range(_BATCHES):
        x, y = batches[number % 8]
        slots = (torch.rand(128, generator=rng) * torch.arange(seen + 1, seen + 129)).long()
        kept = slots < 1000
        held_x[slots[kept]], held_y[slots[kept]] = x[kept], y[kept]
        seen += 128
    return watch.spent(_BATCHES)


# ---------------------------------------------------------------- files


class _Checkpoints:
    """Checkpoints of a run that is over, and the same content by ``torch.save``."""

    def __init__(self) -> None:
        self._trainer: Any = None

    def _run(self) -> Any:
        if self._trainer is None:
            stream = pictures()
            module = WakeSleepModule(learner(mlp, stream).network, Wake(steps=2), memory=ClassBalanced(200), night=[])
            fit(module, stream)
            self._trainer = module.trainer
        return self._trainer

    def ours(self) -> Spent:
        """As a run writes it."""
        trainer = self._run()
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = RunCheckpoint(folder)
            checkpoint.setup(trainer, trainer.lightning_module, "fit")
            watch = Watch()
            checkpoint.save(trainer)
            return watch.spent()

    def reference(self) -> Spent:
        """As a script writes it."""
        trainer = self._run()
        module = trainer.lightning_module
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "last.ckpt").open("wb") as file:
            watch = Watch()
            content = {
                "weights": module.state_dict(),
                "optimizer": trainer.optimizers[0].state_dict(),
                "memory": module.memory.state_dict(),
            }
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
            return watch.spent()


@functools.cache
def _results() -> dict[str, Any]:
    from dreamer.runs.run import run

    with tempfile.TemporaryDirectory() as folder, bench.quiet():
        return run("digits", "fine_tune", "wake.steps=2", out=f"{folder}/run")


def _report() -> Spent:
    """Reading the cells, statistics, tables and the page; the results are those of one run, changed a little."""
    from dreamer.compare.analysis import analyse
    from dreamer.compare.page import write_page
    from dreamer.compare.results import Comparison, CompletedRun
    from dreamer.compare.tables import write_tables

    rng = torch.Generator().manual_seed(0)
    arms, seeds = _CELLS
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for arm in range(arms):
            for seed in range(seeds):
                results = copy.deepcopy(_results())
                results["metrics"]["average_accuracy"] = 0.5 + 0.03 * arm + 0.02 * float(torch.rand((), generator=rng))
                runs.append(CompletedRun(f"arm {arm}", "digits", seed, results, Path(folder) / f"{arm}_{seed}"))
        comparison = Comparison("a trial", tuple(runs), (), "arm 0")
        watch = Watch()
        analysis = analyse(comparison)
        write_tables(comparison, analysis, Path(folder))
        write_page(comparison, analysis, folder)
        return watch.spent()
