"""Completed runs, read from disk: the cells of a comparison, any run folders, W&B's folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from dreamer.compare.fairness import differences, other_data
from dreamer.compare.grid import Grid
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.config.binding import ConfigError
from dreamer.core.text import plural
from dreamer.jobs.manifest import completed
from dreamer.jobs.runner import Missing, why_missing
from dreamer.report.results import FILE_NAME, read_results, results_in
from dreamer.report.score import Score


def of_grid(grid: Grid, folder: Path, command: str = "", reasons: dict[Path, str] | None = None) -> Comparison:
    """The comparison of a grid, as far as it has been run."""
    runs: list[CompletedRun] = []
    missing: list[Missing] = []
    for cell in grid.cells:
        place = folder / cell.folder
        if completed(place):
            runs.append(CompletedRun(cell.arm, cell.stream, cell.seed, read_results(place), place))
        else:
            diverged = "diverged" in results_in(place)
            missing.append(Missing(cell.arm, cell.stream, cell.seed, why_missing(place, reasons), diverged))
    warnings = (*grid.warnings, *differences(runs, grid.cells))
    return Comparison(grid.title, tuple(runs), tuple(missing), grid.reference, tuple(dict.fromkeys(warnings)), command)


def of_folders(folders: Sequence[Path], reference: str | None = None, command: str = "") -> Comparison:
    """The comparison of whatever runs lie in some folders.

    A cell of a comparison is called as it was there; any other run by its name, without that of its stream. A run
    folder and the copy of its results among W&B's files count once.

    Args:
        reference: an arm; by default the first.

    Raises:
        ConfigError: when there is none, or two different runs of the same arm, stream and seed.
    """
    found: dict[tuple[str, str, int], CompletedRun] = {}
    for path in _results(folders):
        run = _any_run(path)
        key = (run.stream, run.arm, run.seed)
        twin = found.get(key)
        if twin is not None and twin.results != run.results:
            why = "".join(f"; {line}" for line in other_data([twin, run]))
            raise ConfigError(
                f"{run.arm} on {run.stream} with seed {run.seed} was run twice, "
                f"in {twin.folder} and {run.folder}: leave one out{why}"
            )
        # the run folder, which comes first, has pictures that W&B's copy has not
        found.setdefault(key, run)
    runs = [found[key] for key in sorted(found)]
    _check_scores(runs)
    if not runs:
        raise ConfigError(f"there are no completed runs in {', '.join(str(folder) for folder in folders)}")
    arms = list(dict.fromkeys(run.arm for run in runs))
    if reference is not None and reference not in arms:
        raise ConfigError(f"reference: {reference!r} is none of the arms found: {', '.join(arms)}")
    title = f"{plural(len(arms), 'strategy')} on {', '.join(dict.fromkeys(run.stream for run in runs))}"
    return Comparison(title, tuple(runs), (), reference or arms[0], tuple(differences(runs)), command)


def _check_scores(runs: Iterable[CompletedRun]) -> None:
    """Refuse runs that are scored otherwise than others on the same stream."""
    first: dict[str, CompletedRun] = {}
    for run in runs:
        other = first.setdefault(run.stream, run)
        one, two = (Score.of(each.results).name for each in (other, run))
        if one != two:
            raise ConfigError(
                f"expected one score for all runs on {run.stream}, got {one} in {other.folder} and {two} in "
                f"{run.folder}"
            )


def _results(folders: Sequence[Path]) -> Iterable[Path]:
    """The ``results.json`` of completed runs, run folders before W&B's copies of them."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"expected a folder with runs at {str(folder)!r}, found none")
    paths = {path for folder in folders for path in folder.rglob(FILE_NAME)}
    for path in sorted(paths, key=lambda path: (_of_wandb(path), str(path))):
        try:
            results = read_results(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the run in {path}: {error}") from error
        # that of a comparison itself describes many runs
        if results.get("complete") and "accuracy_matrix" in results:
            yield path


def _of_wandb(path: Path) -> bool:
    return path.parent.name == "files"


def _any_run(path: Path) -> CompletedRun:
    results = read_results(path)
    folder = path.parent
    # W&B keeps its copy in wandb/RUN/files of the run folder
    home = folder.parents[2] if _of_wandb(path) and len(folder.parents) > 2 else folder
    try:
        cell = json.loads((home / "cell.json").read_text(encoding="utf-8"))
        return CompletedRun(cell["arm"], cell["stream"], cell["seed"], results, folder)
    except (OSError, ValueError, KeyError):
        pass
    stream = str(results["protocol"]["stream"])
    name = str(results["name"])
    arm = name.removeprefix(stream).lstrip("-_") or name
    return CompletedRun(arm, stream, int(results["seed"]), results, folder)
