"""Runs many jobs and says what is missing: the loop that comparisons, studies and tuning have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dreamer.core.errors import ConfigError, Diverged
from dreamer.core.lock import locked
from dreamer.jobs import manifest, pool
from dreamer.jobs.display import Display
from dreamer.jobs.job import DIVERGED, LOG, REFUSED, last_word
from dreamer.jobs.manifest import Program, completed
from dreamer.jobs.watchdog import die_with_parent

_PATIENCE_SECONDS = 10.0
NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Resources:
    """What jobs run on; but for the rounding of sums, none of it changes a number.

    Attributes:
        kind: ``local`` worker processes, or a ``ray`` cluster.
        threads: of each job. One by default: sums are rounded in another order with more.
        devices: GPUs that are dealt out to the workers; None lets all see all.
        address: of the Ray cluster; None starts one here.
    """

    kind: Literal["local", "ray"] = "local"
    workers: int = 1
    threads: int = 1
    devices: Sequence[str] | None = None
    address: str | None = None
    retries: int = 1


@dataclass(frozen=True)
class Missing:
    """A job without results.

    Attributes:
        stream: the stream, or data set, that it belongs to.
        reason: why, in one line: it failed, or has not been run yet.
        diverged: whether it came upon a loss or a weight that was no number.
    """

    arm: str
    stream: str
    seed: int
    reason: str
    diverged: bool = False


def write_down(jobs: Mapping[Path, Mapping[str, Any]], program: Program, mix: bool = False) -> None:
    """Write the manifest of every job, after checking that all of them may be written.

    Raises:
        ConfigError: when a folder holds another job, or one that another version of dreamer ran.
    """
    code = program.fingerprint()
    for folder, content in jobs.items():
        manifest.is_written(content, folder, code, mix)
    for folder, content in jobs.items():
        manifest.write(content, folder, code, mix)


def run_missing(
    folders: Sequence[Path], program: Program, resources: Resources, display: Display | None = None
) -> dict[Path, str]:
    """Run the jobs that are not completed.

    Returns:
        Why jobs failed, by their folders.

    Raises:
        dreamer.jobs.job.Interrupted: when it was stopped by hand.
    """
    left = [folder for folder in folders if not completed(folder)]
    if not left:
        return {}
    if display is None:
        with Display(left, len(folders) - len(left)) as display:
            return run_missing(left, program, resources, display)
    options: dict[str, Any] = {"threads": resources.threads, "retries": resources.retries, "watch": display}
    if resources.kind == "ray":
        from dreamer.jobs.ray import run_jobs_on_ray

        gpus = float(resources.devices is not None)
        outcomes = run_jobs_on_ray(left, program, address=resources.address, gpus=gpus, **options)
    else:
        outcomes = pool.run_jobs(left, program, workers=resources.workers, devices=resources.devices, **options)
    return {outcome.folder: outcome.reason for outcome in outcomes if not outcome.done}


def why_missing(folder: Path, reasons: Mapping[Path, str] | None = None) -> str:
    """Why a job has no results, in one line; ``reasons`` are what :func:`run_missing` returned."""
    logged = last_word(folder / LOG) if (folder / LOG).is_file() else ""
    return (reasons or {}).get(folder) or logged or NOT_RUN


def main(run: Callable[[Path], object]) -> int:
    """The main function of a job's process: run the job of the folder that the command line names.

    Returns:
        The exit code, see :class:`dreamer.jobs.manifest.Program`.
    """
    die_with_parent()
    folder = Path(sys.argv[1])
    beside = int(os.environ.get("LOCAL_RANK", 0))  # a process that Lightning started beside the first one
    try:
        # an orphan of a killed runner may not have noticed yet
        with nullcontext() if beside else locked(folder, _PATIENCE_SECONDS):
            run(folder)
    except ConfigError as error:
        print(f"dreamer: {error}", file=sys.stderr)
        return REFUSED
    except Diverged as error:
        print(f"dreamer: {error}", file=sys.stderr)
        return DIVERGED
    except KeyboardInterrupt:
        return 130
    return 0
