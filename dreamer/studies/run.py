"""From a study to its report: write the cells down, live those that are missing, judge, write what was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.jobs import manifest
from dreamer.jobs.display import Display
from dreamer.jobs.lock import locked
from dreamer.jobs.pool import live_all
from dreamer.jobs.tracker import finished
from dreamer.studies import cell
from dreamer.studies.findings import Findings, find
from dreamer.studies.page import write_page
from dreamer.studies.study import Study
from dreamer.studies.tables import write_tables

STUDY = "study.yaml"


@dataclass(frozen=True)
class Resources:
    """With what the cells are lived; but for the rounding of sums, none of it changes a number.

    Attributes:
        workers: cells at once.
        threads: of each.
        retries: how many more tries a cell gets that dies.
    """

    workers: int = 1
    threads: int = 1
    retries: int = 1


def conduct(
    study: Study, folder: Path, means: Resources | None = None, mix: bool = False, command: str = ""
) -> Findings:
    """Live a study, as far as it has not been lived, and write its report.

    Args:
        study: what is asked.
        folder: that of the study; one that is there already is gone on with.
        means: with what.
        mix: go on with cells that another version of the code lived.
        command: what was typed.

    Returns:
        What was found; cells that failed are among its missing ones.

    Raises:
        ConfigError: when it cannot be lived as configured; no cell has been lived then.
        dreamer.jobs.tracker.Interrupted: when it was stopped by hand.
    """
    with locked(folder):
        code = manifest.fingerprint("studies/cell.py", "studies/experiments")
        places = {folder / each.folder: each.plain() for each in study.cells}
        for place, plain in places.items():
            manifest.settled(plain, place, code, mix)
        for place, plain in places.items():
            manifest.write_down(plain, place, code, mix)
        config.save(study.asked, folder / STUDY)
        left = [place for place in places if not finished(place)]
        reasons = _live(left, len(places) - len(left), means or Resources())
        findings = find(study, folder, command, reasons)
        report(findings, folder)
    return findings


def report(findings: Findings, folder: Path) -> None:
    """Write tables and page into the folder of a study.

    Raises:
        ConfigError: when the folder cannot be written to.
    """
    try:
        write_tables(findings, folder)
        write_page(findings, folder)
    except OSError as error:
        raise ConfigError(f"cannot write the report to {folder}: {error.strerror}") from error


def _live(left: list[Path], before: int, means: Resources) -> dict[Path, str]:
    if not left:
        return {}
    with Display(left, before) as display:
        outcomes = live_all(
            left,
            workers=means.workers,
            retries=means.retries,
            threads=means.threads,
            command=cell.command,
            watch=display,
        )
    return {outcome.folder: outcome.reason for outcome in outcomes if not outcome.done}
