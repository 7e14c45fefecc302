"""The live display: what it says in a terminal and outside one, and that it costs next to nothing."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
import pytorch_lightning as pl
import torch

from dreamer.callbacks import progress as progress_module
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.progress import Pace, RunProgress
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Something that rich takes for a terminal, wide enough for one line."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


class Clock:
    """Every look at it finds it half a second later; work takes no time of the processor."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 0.5
        return self.now

    def process_time(self):
        return 0.0


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_a_stage_that_was_stopped_within_says_so():
    stream, out = tiny_stream(), io.StringIO()
    module = tiny_module(stream)
    whole = tiny_module(stream).plan(stream)[0].steps
    train(module, stream, callbacks=[RunProgress(file=out)], enable_progress_bar=True, max_steps=whole + 1)
    first, second = out.getvalue().splitlines()
    assert f"{whole:,} steps in " in first and "stopped" not in first
    assert re.search(rf"1 step in [\d.]+ s, stopped at step 1 of {module.hypnogram[1].steps}\b", second)


def test_outside_a_terminal_every_finished_stage_is_one_line():
    stream, out = tiny_stream(), io.StringIO()
    module = tiny_module(stream)
    train(module, stream, callbacks=[RunProgress(file=out)], enable_progress_bar=True)
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert len(lines) == len(module.hypnogram) == 9
    for stage, line in zip(module.hypnogram, lines, strict=True):
        night = f"night {stage.night + 1} of 3, " if stage.night >= 0 else ""
        begin = f"{stage.kind}, {night}experience {stage.experience + 1} of 3, stage {stage.index + 1} of 9, "
        assert line.startswith(begin + f"{stage.steps} steps in ")
    final = sum(module.ledger.rows[-1]["accuracy"]) / 3
    assert lines[-1].endswith(f"accuracy so far {final:.1%}, 0:00:00 left")


def shown(terminal, monkeypatch):
    """A module that was trained, and all that was drawn meanwhile."""
    monkeypatch.setattr(progress_module, "time", Clock())
    stream = tiny_stream()
    module = tiny_module(stream)
    train(module, stream, callbacks=[RunProgress(file=terminal)], enable_progress_bar=True)
    return module, plain(terminal.getvalue())


def test_in_a_terminal_it_shows_stage_step_accuracy_and_time(terminal, monkeypatch):
    module, text = shown(terminal, monkeypatch)
    for stage in module.hypnogram:
        where = f"experience {stage.experience + 1} of 3, stage {stage.index + 1} of 9"
        assert re.search(rf"{stage.kind} +.*{where}.*step {stage.steps} of {stage.steps}", text), stage
    assert "evaluating the untrained network" in text and "evaluating" in text.split("stage 1 of 9")[-1]
    assert f"accuracy so far {sum(module.ledger.rows[-1]['accuracy']) / 3:.1%}" in text
    assert re.search(r"\d:\d\d:\d\d left", text)


def test_in_a_narrow_terminal_the_bar_gives_way_and_not_the_steps(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    module, text = shown(terminal, monkeypatch)
    for stage in module.hypnogram:
        assert re.search(rf"stage {stage.index + 1} of 9 .*step {stage.steps} of {stage.steps}\b", text), stage


def test_between_two_refreshes_nothing_is_formatted(terminal, monkeypatch):
    class Frozen:
        def monotonic(self):
            return 1.0

        process_time = monotonic

    monkeypatch.setattr(progress_module, "time", Frozen())
    drawn = []
    monkeypatch.setattr(RunProgress, "_picture", lambda self, module, console: drawn.append(self._step) or "picture")
    stream = tiny_stream(per_class=60)
    module = tiny_module(stream)
    train(module, stream, callbacks=[RunProgress(file=terminal)], enable_progress_bar=True)
    steps = sum(module.hypnogram.steps().values())
    # the start, the end of every stage that is evaluated, and of the run; no step while the clock stands
    assert len(drawn) == 2 + sum(stage.evaluated for stage in module.hypnogram) < steps


@pytest.mark.parametrize(("stop", "stage"), [(3, 1), (4, 2), (8, 3)], ids=["awake", "at a last step", "in a night"])
def test_a_run_resumed_within_a_stage_shows_that_stage(terminal, tmp_path, stop, stage):
    stream, pipe = tiny_stream(), io.StringIO()
    train(tiny_module(stream), stream, callbacks=[RunCheckpoint(tmp_path, every_n_steps=1)], max_steps=stop)
    for out in (terminal, pipe):
        bar = RunProgress(file=out)
        train(tiny_module(stream), stream, str(tmp_path / "last.ckpt"), callbacks=[bar], enable_progress_bar=True)
    assert f"stage {stage} of 9" in pipe.getvalue().splitlines()[0]
    assert len(pipe.getvalue().splitlines()) == 10 - stage
    assert "untrained" not in terminal.getvalue() and "stage 9 of 9" in terminal.getvalue()


def test_refresh_rate_and_disable(terminal):
    stream = tiny_stream()
    silent = RunProgress(refresh_rate=0, file=terminal)
    silent.enable()
    train(tiny_module(stream), stream, callbacks=[silent], enable_progress_bar=True)
    disabled = RunProgress(file=terminal)
    disabled.disable()
    train(tiny_module(stream), stream, callbacks=[disabled], enable_progress_bar=True)
    assert terminal.getvalue() == ""
    disabled.enable()
    train(tiny_module(stream), stream, callbacks=[disabled], enable_progress_bar=True)
    assert terminal.getvalue() != ""


def test_it_is_the_trainers_own_bar():
    bar = RunProgress(file=io.StringIO())
    trainer = pl.Trainer(callbacks=[bar], logger=False, enable_checkpointing=False, accelerator="cpu")
    assert trainer.progress_bar_callback is bar


def test_the_display_changes_no_number(terminal):
    stream = tiny_stream()
    seen, unseen = tiny_module(stream), tiny_module(stream)
    train(seen, stream, callbacks=[RunProgress(file=terminal)], enable_progress_bar=True)
    train(unseen, stream)
    assert [row["accuracy"] for row in seen.ledger.rows] == [row["accuracy"] for row in unseen.ledger.rows]
    for a, b in zip(seen.state_dict().values(), unseen.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_an_exception_gives_the_terminal_back(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler(terminal)
    logger = logging.getLogger("pytorch_lightning")
    logger.addHandler(handler)

    class Trouble(pl.Callback):
        def on_train_batch_end(self, *_):
            assert handler.stream is sys.stderr is not terminal
            raise RuntimeError("trouble")

    stream = tiny_stream()
    try:
        with pytest.raises(RuntimeError, match="trouble"):
            train(tiny_module(stream), stream, callbacks=[RunProgress(), Trouble()], enable_progress_bar=True)
    finally:
        logger.removeHandler(handler)
    assert sys.stderr is terminal and handler.stream is terminal
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_a_module_without_a_hypnogram_is_refused():
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    with pytest.raises(TypeError, match="LightningModule has no hypnogram"):
        RunProgress().setup(trainer, pl.LightningModule(), "fit")


def test_pace_by_hand():
    pace = Pace()
    ahead = {"wake": 10, "nrem": 4, "rem": 2}
    assert pace.left(ahead, 3) is None
    pace.add("wake", 5, 10.0)
    assert pace.left(ahead, 3) == pytest.approx(16 * 2.0), "kinds not seen yet go as fast as the others"
    pace.add("nrem", 5, 5.0)
    pace.add("evaluation", 2, 1.0)
    assert pace.left(ahead, 3) == pytest.approx(10 * 2.0 + 4 * 1.0 + 2 * 1.5 + 3 * 0.5)


def test_time_left_heeds_the_limits_of_the_trainer(terminal):
    stream = tiny_stream(per_class=60)
    bars = [RunProgress(file=terminal) for _ in range(3)]
    seen = {}

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            if trainer.global_step == 2:
                seen[trainer.progress_bar_callback] = trainer.progress_bar_callback._ahead(module)

    for bar, options in zip(bars, ({}, {"limit_train_batches": 3}, {"max_steps": 7}), strict=True):
        train(tiny_module(stream), stream, callbacks=[bar, Look()], enable_progress_bar=True, **options)
    plan = tiny_module(stream).plan(stream)
    whole = plan.steps()
    assert seen[bars[0]][0] == whole | {"wake": whole["wake"] - 2}
    assert seen[bars[0]][1] == sum(stage.evaluated for stage in plan)
    assert seen[bars[1]][0] == {"wake": 3 * 3 - 2, "nrem": 3 * 2, "rem": 3 * 3}
    assert seen[bars[2]][0] == {"wake": 5, "nrem": 0, "rem": 0}
