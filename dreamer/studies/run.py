"""From a study to its report: write the cells down, run those that are missing, compute the verdicts."""

from __future__ import annotations

from pathlib import Path

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.core.lock import locked
from dreamer.jobs import runner
from dreamer.jobs.manifest import Program
from dreamer.jobs.runner import Resources
from dreamer.studies.findings import Findings, find
from dreamer.studies.page import write_page
from dreamer.studies.study import Study
from dreamer.studies.tables import write_tables

STUDY = "study.yaml"
PROGRAM = Program("dreamer.studies.cell", ("studies/cell.py", "studies/experiments"))
"""What runs the cells of a study."""


def conduct(
    study: Study, folder: Path, resources: Resources | None = None, mix: bool = False, command: str = ""
) -> Findings:
    """Run a pre-registered experiment and compute its verdict. Re-running resumes unfinished cells.

    Returns:
        What was found; cells that failed are among its missing ones.

    Raises:
        ConfigError: when it cannot be run as configured; nothing has been run then.
        dreamer.jobs.job.Interrupted: when it was stopped by hand.
    """
    with locked(folder):
        runner.write_down({folder / cell.folder: cell.plain() for cell in study.cells}, PROGRAM, mix)
        config.save(study.asked, folder / STUDY)
        folders = [folder / cell.folder for cell in study.cells]
        reasons = runner.run_missing(folders, PROGRAM, resources or Resources())
        findings = find(study, folder, command, reasons)
        report(findings, folder)
    return findings


def report(findings: Findings, folder: Path) -> None:
    """Write tables and page into the folder of a study, or say why not."""
    try:
        write_tables(findings, folder)
        write_page(findings, folder)
    except OSError as error:
        raise ConfigError(f"cannot write the report to {folder}: {error.strerror}") from error
