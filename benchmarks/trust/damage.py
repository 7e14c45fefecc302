"""Files that are not what was written: flipped bits, and files of somebody who wants to run code."""

from __future__ import annotations

import functools
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.trust.child import Ending, dreamer
from benchmarks.trust.folders import differences
from benchmarks.trust.kills import References, begin
from benchmarks.trust.places import Visits
from benchmarks.trust.recipes import RECIPES
from benchmarks.trust.trial import Trial

RECIPE = "derpp"
EVERY = 3
BITS = 40
_ALSO_CONTINUED = 4
"""After every so many flipped bits the run is continued from the checkpoint before."""


class Stopped:
    """A run that was stopped in its second experience, made once; and what it would have become."""

    def __init__(self, scratch: Path):
        self._scratch = scratch
        self.references = References(scratch)

    def copy(self, folder: Path) -> Path:
        """Its run folder, copied to ``folder / "run"``."""
        place = self._scratch / "stopped"
        if not place.exists():
            place.mkdir(parents=True)

            def stop() -> None:
                os.kill(os.getpid(), signal.SIGINT)

            ending = dreamer(begin(RECIPE), place, Visits(place / "run", "wake", 13, stop, EVERY).watch)
            assert ending.code == 130, ending.words
        shutil.copytree(place / "run", folder / "run")
        return folder / "run"

    @property
    def whole(self) -> Path:
        """The folder of the same run, left alone."""
        return self.references.folder(RECIPE, EVERY)


def refused(ending: Ending, says: str) -> list[str]:
    """What is wrong with a refusal: it has to be one sentence and exit code 2."""
    said = ending.said
    if ending.code == 2 and said.startswith("dreamer: ") and said.count("\n") == 1 and says in said:
        return []
    return [f"expected one sentence with {says!r} and exit code 2, got {ending.code} and {said[-300:]!r}"]


def bits(scratch: Path) -> Iterator[Trial]:
    """Flipped bits, spread over the file."""
    stopped, drawn = Stopped(scratch), random.Random(3)
    for index in range(BITS):
        yield Trial("a bit is flipped", f"bit {index}", functools.partial(_flipped, stopped, drawn.random(), index))


def _flipped(stopped: Stopped, where: float, index: int, folder: Path) -> str:
    run = stopped.copy(folder)
    file, results = run / "checkpoints" / "last.ckpt", (run / "results.json").read_bytes()
    content = bytearray(file.read_bytes())
    bit = int(where * 8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    wrong = refused(dreamer(["run", "--resume", "run", "--quiet"], folder), "continue from it with --previous")
    if (run / "results.json").read_bytes() != results:
        wrong.append("results.json was overwritten")
    if not wrong and index % _ALSO_CONTINUED == 0:
        again = dreamer(["run", "--resume", "run", "--previous", "--quiet"], folder)
        wrong += differences(run, stopped.whole) if again.code == 0 else [again.words]
    return "; ".join(wrong)


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        self._call = function, args

    def __reduce__(self) -> Any:
        return self._call


def _sealed(content: Any, path: Path) -> None:
    from dreamer.core.sealed import write_sealed

    write_sealed(content, path)


def _pickled(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "with a checksum": _sealed,
    "of torch": lambda content, path: torch.save(content, path),
    "of torch before 1.6": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "of pickle": _pickled,
}
CALLS: dict[str, Callable[[Path], Runs]] = {
    "os.mkdir": lambda mark: Runs(os.mkdir, str(mark)),
    "eval": lambda mark: Runs(eval, f"__import__('os').mkdir({str(mark)!r})"),
    "subprocess.call": lambda mark: Runs(subprocess.call, ["mkdir", str(mark)]),
}
KEYS = ("network", "memory", "generator", "problem", "schedule", "optimizer", "stream")
NAMES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "os.mkdir": lambda mark: {"name": "os.mkdir", "path": str(mark)},
    "subprocess.Popen": lambda mark: {"name": "subprocess.Popen", "args": ["mkdir", str(mark)]},
    "pathlib.Path": lambda mark: {"name": "pathlib.Path", "args": str(mark)},
}


def malice(scratch: Path) -> Iterator[Trial]:
    """Checkpoints and configurations of somebody who wants to run code."""
    stopped = Stopped(scratch)
    for how, write in WRITERS.items():
        for call, made in CALLS.items():
            run = functools.partial(_checkpoint, stopped, write, made)
            yield Trial("a malicious checkpoint is resumed", f"{call} in a file {how}", run)
    for key in KEYS:
        for name, written in NAMES.items():
            for command in ("plan", "run"):
                run = functools.partial(_configuration, key, written, command)
                yield Trial("a malicious configuration is planned or run", f"{command}: {name} as {key}", run)
        yield Trial("a malicious run folder is resumed", f"os.mkdir as {key}", functools.partial(_folder, stopped, key))
    yield Trial("a stray file lies where the command is typed", "random.py, yaml.py, numpy.py, torch.py", _stray)


def _checkpoint(
    stopped: Stopped, write: Callable[[Any, Path], None], made: Callable[[Path], Runs], folder: Path
) -> str:
    file = stopped.copy(folder) / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    write({**content, "more": made(folder / "mark")}, file)
    wrong = refused(dreamer(["run", "--resume", "run", "--quiet"], folder), "last.ckpt is ")
    return "; ".join([*wrong, *(["the code was run"] if (folder / "mark").exists() else [])])


def _configuration(key: str, written: Callable[[Path], dict[str, Any]], command: str, folder: Path) -> str:
    (folder / "theirs.yaml").write_text(yaml.safe_dump({key: written(folder / "mark")}))
    wrong = refused(dreamer([command, "digits", "theirs.yaml"], folder), "--allow")
    return "; ".join([*wrong, *(["the code was run"] if (folder / "mark").exists() else [])])


def _folder(stopped: Stopped, key: str, folder: Path) -> str:
    config = stopped.copy(folder) / "config.yaml"
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**content, key: NAMES["os.mkdir"](folder / "mark")}))
    wrong = refused(dreamer(["run", "--resume", "run", "--quiet"], folder), "--allow")
    return "; ".join([*wrong, *(["the code was run"] if (folder / "mark").exists() else [])])


def _stray(folder: Path) -> str:
    """In a process of its own, started as the installed command is: by a script that lies elsewhere."""
    here, script = folder / "here", folder / "bin" / "dreamer"
    here.mkdir()
    script.parent.mkdir()
    script.write_text("from dreamer.cli.main import main\nmain()\n")
    for name in ("random", "yaml", "numpy", "torch"):
        (here / f"{name}.py").write_text(f"import pathlib\npathlib.Path({str(folder / 'mark')!r}).touch()\n")
    command = [sys.executable, str(script), "plan", *RECIPES[RECIPE]]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    wrong = [] if done.returncode == 0 else [f"exit code {done.returncode}: {done.stderr[-300:]}"]
    return "; ".join([*wrong, *(["the code was run"] if (folder / "mark").exists() else [])])
