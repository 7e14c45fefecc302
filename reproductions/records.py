"""What the scripts beside the package have in common: where numbers are recorded, how they are written, the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import string
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
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

    Raises:
        SystemExit: when it fails; names the log, which lies beside the folder.
    """
    log = folder.with_suffix(".log")
    code, seconds = timed([sys.executable, "-m", "dreamer.cli", "run", "--quiet", *words], log)
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


def lettered(measured: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A letter for each machine of some runs, whose seconds do not compare with those of another.

    >>> lettered([{"machine": "two cores"}, {"machine": "a laptop"}, {"machine": "two cores"}])
    {'two cores': 'A', 'a laptop': 'B'}
    """
    return dict(zip(dict.fromkeys(one["machine"] for one in measured), string.ascii_uppercase, strict=False))


def legend(machines: Mapping[str, str]) -> str:
    """What the letters of :func:`lettered` stand for.

    >>> legend({"two cores": "A", "a laptop": "B"})
    'Machines: A, two cores; B, a laptop.'
    """
    return f"Machines: {'; '.join(f'{letter}, {name}' for name, letter in machines.items())}."
