"""Run folders: which one a new run takes, and what an earlier one may have left there."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dreamer.config.binding import ConfigError
from dreamer.core.lock import HOLDER, locked
from dreamer.loggers.csv import FILE_NAME as METRICS
from dreamer.report.results import FILE_NAME as RESULTS

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
PICTURES = ("hypnogram.png", "matrix.png")


def free_folder(out: str | None, name: str, seed: int) -> Path:
    """The first folder that a new run may take.

    Args:
        out: the configured run folder, or None to choose one below ``runs``.

    Raises:
        ConfigError: when ``out`` holds a run.
    """
    return next(folder for folder in folders(out, name, seed) if not holds_run(folder))


def folders(out: str | None, name: str, seed: int) -> Iterator[Path]:
    """The folders that a new run may try, in turn; the arguments and errors are those of :func:`free_folder`."""
    if out is None:
        base = Path("runs") / name / f"seed{seed}"
        yield base
        yield from (base.with_name(f"{base.name}-{number}") for number in itertools.count(2))
        return
    yield Path(out)
    if (Path(out) / HOLDER).exists():
        with locked(Path(out)):  # says who is at work there
            pass
    raise ConfigError(
        f"out: {out!r} holds another run, which is not overwritten: choose another folder, "
        f"or continue it with dreamer run --resume {out}"
    )


def holds_run(directory: Path) -> bool:
    """Whether a folder holds a run."""
    return any((directory / name).exists() for name in (CONFIG, RESULTS, CHECKPOINTS))


def clear(directory: Path) -> None:
    """Remove what a run has written that failed before its first step, so that it is in nobody's way."""
    for name in (CONFIG, RESULTS, METRICS, *PICTURES):
        (directory / name).unlink(missing_ok=True)
    for part in (directory / "logs").glob("part_*"):
        shutil.rmtree(part, ignore_errors=True)
    for name in ("logs", CHECKPOINTS):
        with suppress(OSError):  # it is not there, or somebody else's files are in it
            (directory / name).rmdir()
