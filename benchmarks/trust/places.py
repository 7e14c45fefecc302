"""Places in a run at which it can be stopped: which one, and the how-manieth time that it comes there."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

WITHIN = ("wake", "nrem", "rem")
"""Before a step of a stage of that kind."""
BETWEEN = "between stages"
EVALUATION = "in an evaluation"
CHECKPOINT = "in the write of a checkpoint"
DREAMS = "while dreams are written"
OPERATION = "before a file operation"
PLACES = (*WITHIN, BETWEEN, EVALUATION, CHECKPOINT, DREAMS, OPERATION)
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_DREAM_FOLDERS = ("dreams", "dream_quality")


class Visits:
    """Counts how often a run comes to each place, and does something at one of them.

    Args:
        folder: the run folder, whose file operations count.
        place: the place to wait for; None counts alone.
        number: of the visit, from 0.
        act: what is done there.
        every_n_steps: steps between two checkpoints within a stage; None leaves them to the stages' ends.
    """

    def __init__(
        self,
        folder: Path,
        place: str | None = None,
        number: int = 0,
        act: Callable[[], None] = lambda: None,
        every_n_steps: int | None = None,
    ):
        self.folder = str(folder.resolve())
        self.place, self.number, self.act = place, number, act
        self.every_n_steps = every_n_steps
        self.counted: Counter[str] = Counter()

    def at(self, place: str) -> None:
        """The run is there."""
        number = self.counted[place]
        self.counted[place] += 1
        if (place, number) == (self.place, self.number):
            self.act()

    def watch(self) -> None:
        """Begin to count, in this process; there is no way back."""
        self._watch_training()
        self._watch_evaluations()
        self._watch_checkpoints()
        self._watch_files()

    def report(self, file: Path) -> None:
        """Write down at the end how often the run was where."""
        execute = self._runs().execute

        def counted(*args: Any, **kwargs: Any) -> Any:
            found = execute(*args, **kwargs)
            file.write_text(json.dumps(self.counted))
            return found

        self._runs().execute = counted

    @staticmethod
    def _runs() -> Any:
        from dreamer.runs import run

        return run

    def _watch_training(self) -> None:
        import pytorch_lightning as pl

        visits, runs = self, self._runs()
        execute = runs.execute

        class Watch(pl.Callback):
            def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
                visits.at(module.hypnogram[batch.stage].kind)

            def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
                visits.at(BETWEEN)

        def watched(prepared: Any, resume: bool = False) -> Any:
            prepared.trainer.callbacks.insert(0, Watch())
            if visits.every_n_steps is not None:
                prepared.checkpoint.every_n_steps = visits.every_n_steps
            return execute(prepared, resume)

        runs.execute = watched

    def _watch_evaluations(self) -> None:
        from dreamer.training import evaluation

        score = evaluation.score

        def scored(*args: Any) -> Any:
            self.at(EVALUATION)
            return score(*args)

        evaluation.score = scored

    def _watch_checkpoints(self) -> None:
        import torch

        save = torch.save

        def saved(content: Any, file: Any, **options: Any) -> None:
            save(content, _Watched(file, lambda: self.at(CHECKPOINT)), **options)

        torch.save = saved

    def _watch_files(self) -> None:
        def heard(event: str, args: tuple[Any, ...]) -> None:
            opened = event == "open" and isinstance(args[2], int) and args[2] & _WRITES
            if (opened or event in _CHANGES) and isinstance(args[0], str | os.PathLike):
                path = os.path.abspath(args[0])
                if path.startswith(self.folder):
                    self.at(OPERATION)
                    if opened and Path(path).parent.name in _DREAM_FOLDERS:
                        # a moment later the file is half there
                        threading.Timer(0.0005, lambda: self.at(DREAMS)).start()

        sys.addaudithook(heard)
        fsync = os.fsync

        def synced(file: int) -> None:
            self.at(OPERATION)
            fsync(file)

        os.fsync = synced


class _Watched:
    """A file to write to that tells of every write before it is made."""

    def __init__(self, file: Any, told: Callable[[], None]):
        self._file = file
        self._told = told
        self.flush = file.flush

    def write(self, data: Any) -> int:
        self._told()
        written: int = self._file.write(data)
        return written
