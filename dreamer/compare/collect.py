"""Lives that have been lived, found again: the cells of a comparison, any run folders, W&B's folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from dreamer.compare.fairness import differences
from dreamer.compare.grid import Cell, Grid
from dreamer.compare.results import Comparison, Lived, Missing
from dreamer.config.binding import ConfigError
from dreamer.jobs.job import LOG, last_word
from dreamer.report.results import FILE_NAME, read_results

_UNLIVED = "not lived yet"


def of_grid(grid: Grid, folder: Path, command: str = "", reasons: dict[Path, str] | None = None) -> Comparison:
    """The comparison that a grid asks for, as far as it has been lived.

    Args:
        grid: what was asked for.
        folder: that of the comparison.
        command: what was typed.
        reasons: why cells failed, by their run folders.
    """
    lives: list[Lived] = []
    missing: list[Missing] = []
    for cell in grid.cells:
        place = folder / cell.folder
        life = _lived(cell, place)
        if life is not None:
            lives.append(life)
        else:
            said = last_word(place / LOG) if (place / LOG).is_file() else ""
            reason = (reasons or {}).get(place) or said or _UNLIVED
            missing.append(Missing(cell.arm, cell.stream, cell.seed, reason))
    warnings = (*grid.warnings, *differences(lives))
    return Comparison(grid.title, tuple(lives), tuple(missing), grid.reference, tuple(dict.fromkeys(warnings)), command)


def of_folders(folders: Sequence[Path], reference: str | None = None, command: str = "") -> Comparison:
    """The comparison of whatever lives lie in some folders.

    A life that a comparison lived is called as it was there; any other by its name, without that of its stream. A run
    folder and the copy of its results among W&B's files count once.

    Args:
        folders: run folders, or folders that hold some at any depth, W&B's offline and online run folders included.
        reference: an arm; by default the first.
        command: what was typed.

    Raises:
        ConfigError: when there is none, or two different lives of the same arm, stream and seed.
    """
    found: dict[tuple[str, str, int], Lived] = {}
    for path in _results(folders):
        life = _any_life(path)
        key = (life.stream, life.arm, life.seed)
        twin = found.get(key)
        if twin is not None and twin.results != life.results:
            raise ConfigError(
                f"{life.arm} on {life.stream} with seed {life.seed} was lived twice, "
                f"in {twin.folder} and {life.folder}: leave one out"
            )
        # the run folder, which is met first, has pictures that W&B's copy has not
        found.setdefault(key, life)
    lives = [found[key] for key in sorted(found)]
    if not lives:
        raise ConfigError(f"there are no complete lives in {', '.join(str(folder) for folder in folders)}")
    arms = list(dict.fromkeys(life.arm for life in lives))
    if reference is not None and reference not in arms:
        raise ConfigError(f"reference: {reference!r} is none of the arms found: {', '.join(arms)}")
    title = f"{len(arms)} strategies on {', '.join(dict.fromkeys(life.stream for life in lives))}"
    return Comparison(title, tuple(lives), (), reference or arms[0], tuple(differences(lives)), command)


def _lived(cell: Cell, folder: Path) -> Lived | None:
    try:
        results = read_results(folder)
    except (OSError, ValueError):
        return None
    return Lived(cell.arm, cell.stream, cell.seed, results, folder) if results.get("complete") else None


def _results(folders: Sequence[Path]) -> Iterable[Path]:
    """The ``results.json`` of complete lives, run folders before W&B's copies of them."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"expected a folder with lives at {str(folder)!r}, found none")
    paths = {path for folder in folders for path in folder.rglob(FILE_NAME)}
    for path in sorted(paths, key=lambda path: (_of_wandb(path), str(path))):
        try:
            results = read_results(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the life in {path}: {error}") from error
        # that of a comparison itself tells of many lives
        if results.get("complete") and "accuracy_matrix" in results:
            yield path


def _of_wandb(path: Path) -> bool:
    return path.parent.name == "files"


def _any_life(path: Path) -> Lived:
    results = read_results(path)
    folder = path.parent
    # W&B keeps its copy in wandb/RUN/files of the run folder
    home = folder.parents[2] if _of_wandb(path) and len(folder.parents) > 2 else folder
    try:
        cell = json.loads((home / "cell.json").read_text(encoding="utf-8"))
        return Lived(cell["arm"], cell["stream"], cell["seed"], results, folder)
    except (OSError, ValueError, KeyError):
        pass
    stream = str(results["protocol"]["stream"])
    name = str(results["name"])
    arm = name.removeprefix(stream).lstrip("-_") or name
    return Lived(arm, stream, int(results["seed"]), results, folder)
