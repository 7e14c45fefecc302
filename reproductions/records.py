"""What the scripts beside the package have in common: where numbers are recorded, how they are written, the machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
MEASUREMENTS = DOCS / "measurements"


def read(path: Path, empty: Any) -> Any:
    """What is on record in a file; ``empty`` where there is no such file yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty


def write(path: Path, record: Any) -> None:
    """Record in a file."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def timed(command: Sequence[str], log: Path, minutes: float | None = None) -> tuple[int, float]:
    """The exit code of a command on one thread, and the CPU seconds that it took, however many run beside it.

    Args:
        log: gets what it prints.
        minutes: after so many it is interrupted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as out:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        alarm = threading.Timer(threading.TIMEOUT_MAX if minutes is None else 60 * minutes, child.send_signal, [SIGINT])
        alarm.start()
        _, status, usage = os.wait4(child.pid, 0)
        alarm.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_utime + usage.ru_stime


def run_of(words: Sequence[str], folder: Path) -> tuple[dict[str, Any], float]:
    """The results of ``dreamer run`` with these words, in a process of its own, and its CPU seconds.

    A new run (``--out``) begins anew where an attempt was stopped before: the seconds of that one are not known.

    Raises:
        SystemExit: when it fails; names the log, which lies beside the folder.
    """
    log = folder.with_suffix(".log")
    if "--out" in words:
        shutil.rmtree(folder, ignore_errors=True)
    code, seconds = timed([sys.executable, "-m", "dreamer", "run", "--quiet", *words], log)
    if code:
        raise SystemExit(f"the run failed: dreamer run {' '.join(words)}; see {log}")
    return json.loads((folder / "results.json").read_text(encoding="utf-8")), seconds


def write_between(page: Path, script: str, text: str, which: str = "") -> None:
    """Write into a page what stands between the two comments that name a script, and which of its tables it is."""
    begin, end = f"<!-- written by reproductions/{script}.py{which and ': '}{which} -->", "<!-- until here -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def save_svg(figure: Figure, path: Path) -> None:
    """Write a picture; the same numbers give the same file."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "dreamer"}):
        figure.savefig(path, metadata={"Date": None})


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and, of several values, standard deviation (n - 1)."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def machine() -> str:
    """What seconds were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, one thread"


@dataclass(frozen=True)
class Runs:
    """Runs on record in a file, ``{"runs": [...]}`` and what else it holds, each with the machine that made it.

    Args:
        path: the file; there need be none yet.
        keys: the fields whose values say which run it is.
    """

    path: Path
    keys: tuple[str, ...]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def all(self) -> list[dict[str, Any]]:
        """Every run on record."""
        return read(self.path, {"runs": []})["runs"]

    def of(self, **fields: Any) -> list[dict[str, Any]]:
        """The runs on record of which these fields have these values."""
        return [one for one in self.all() if all(one[name] == value for name, value in fields.items())]

    def which(self, one: Mapping[str, Any]) -> tuple[Any, ...]:
        """Which run it is."""
        return tuple(one[key] for key in self.keys)

    def named(self, which: tuple[Any, ...], numbers: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers of a run with its keys, and this machine unless they name another."""
        return {**dict(zip(self.keys, which, strict=True)), "machine": machine(), **numbers}

    def make(
        self,
        wanted: Sequence[tuple[Any, ...]],
        run: Callable[..., dict[str, Any]],
        jobs: int = 1,
        order: Sequence[tuple[Any, ...]] | None = None,
    ) -> None:
        """Make those runs that are not on record; each is there as soon as it is over.

        Args:
            wanted: the keys of the runs, in the order in which they are made.
            run: gets the keys of one, and returns its numbers.
            jobs: so many at once, in threads. One alone runs in the thread of the caller, as Lightning wants.
            order: the keys of all runs, in the order in which they are written; ``wanted`` by default.
        """
        done = {self.which(one) for one in self.all()}
        missing = [which for which in wanted if which not in done]
        places = {which: place for place, which in enumerate(wanted if order is None else order)}

        def make_one(which: tuple[Any, ...]) -> None:
            one = self.named(which, run(*which))
            with self._lock:
                runs = sorted([*self.all(), one], key=lambda each: places.get(self.which(each), len(places)))
                write(self.path, {**read(self.path, {}), "runs": runs})

        if jobs == 1:
            for which in missing:
                make_one(which)
            return
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(make_one, missing))

    def drop(self, stale: Callable[[Mapping[str, Any]], bool]) -> None:
        """Take off the record what is not true any more."""
        runs = self.all()
        if any(map(stale, runs)):
            write(self.path, {**read(self.path, {}), "runs": [one for one in runs if not stale(one)]})


@dataclass(frozen=True)
class Machines:
    """The machines that made some runs, a letter for each where there are several: their seconds do not compare.

    >>> several = Machines(["two cores", "a laptop", "two cores"])
    >>> several.seconds([{"machine": "two cores", "cpu_seconds": 9}, {"machine": "a laptop", "cpu_seconds": 4}])
    '9 (A), 4 (B)'
    >>> several.legend
    'Machines: A, two cores; B, a laptop.'
    """

    names: Sequence[str]

    @classmethod
    def of(cls, runs: Iterable[Mapping[str, Any]]) -> Machines:
        """Those of the runs whose seconds are known, in the order in which they come."""
        return cls([one["machine"] for one in runs if one["cpu_seconds"] is not None])

    @property
    def letters(self) -> dict[str, str]:
        """The letter of each."""
        return dict(zip(dict.fromkeys(self.names), string.ascii_uppercase, strict=False))

    @property
    def legend(self) -> str:
        """What the letters stand for; of one machine, its name."""
        if len(self.letters) == 1:
            return f"Machine: {self.names[0]}."
        return f"Machines: {'; '.join(f'{letter}, {name}' for name, letter in self.letters.items())}."

    def seconds(self, runs: Iterable[Mapping[str, Any]]) -> str:
        """Mean and standard deviation of the CPU seconds of some runs, machine by machine."""
        known = [one for one in runs if one["cpu_seconds"] is not None]
        several = len(self.letters) > 1
        return ", ".join(
            spread([one["cpu_seconds"] for one in known if one["machine"] == name], 0)
            + (f" ({letter})" if several else "")
            for name, letter in self.letters.items()
            if any(one["machine"] == name for one in known)
        )
