"""Hyper-parameters with Optuna, chosen on held-out training data; test data play no part in the choice."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreamer import config
from dreamer.compare import grid
from dreamer.compare.cells import Cell
from dreamer.compare.tuning.results import BEST, TRIALS, Task, Trial, Tuned, write
from dreamer.compare.tuning.space import Range, Space, derive, nested, own
from dreamer.config.binding import ConfigError, at
from dreamer.core.files import write_text
from dreamer.core.lock import locked
from dreamer.core.randomness import mix
from dreamer.jobs import runner
from dreamer.jobs.display import Display
from dreamer.jobs.manifest import completed
from dreamer.jobs.runner import Resources
from dreamer.report.results import read_results
from dreamer.report.score import Score
from dreamer.runs import run as runs
from dreamer.runs.run_config import run_config

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["BEST", "TRIALS", "Task", "Trial", "Tuned", "tune", "validation_accuracy"]

JOURNAL = "study.journal"
"""Optuna's journal of the study, in the folder of the tuning."""
PARAMETERS = "parameters.json"


def tune(
    task: Task,
    folder: Path,
    space: Space | None = None,
    trials: int = 20,
    resources: Resources | None = None,
    mix_code: bool = False,
    watch: Callable[[Trial], None] | None = None,
) -> Tuned:
    """Choose hyper-parameters on held-out training data. Re-running resumes unfinished trials.

    The first trial has the recipe's own values where the space holds them. The others are drawn by Optuna's
    tree-structured Parzen estimator (Bergstra et al. 2011), each from random numbers of its own, so a tuning that was
    killed draws what it would have drawn. Each trial is one run for every seed, in
    ``FOLDER/trials/<number>/seed<seed>``; its value is the mean over seeds and experiences of the accuracy, or other
    score, on held-out training data at the end of the run.

    Args:
        space: what is searched; by default what :func:`dreamer.compare.tuning.space.derive` finds in the recipe.
        trials: how many there are to be in all; one that fails counts, and does not end the others.
        resources: what it runs on. With more workers than seeds, several trials are drawn before either is run.

    Raises:
        ConfigError: when it cannot be run as configured, or nothing is held out to choose by.
        dreamer.jobs.job.Interrupted: when it was stopped by hand.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("tune: optuna is not installed: pip install 'dreamer[tune]'")
    if trials < 1:
        raise ConfigError(f"trials: expected at least 1, got {trials}")
    cells = _cells(task)
    base, space = _searchable(task, cells[0], space)
    score = grid.score_of(cells[0].config)
    resources = resources or Resources()
    code = grid.PROGRAM.fingerprint()
    with locked(folder):
        study = _Study(folder / JOURNAL, _asked(task, space, base, code), space, task.seeds[0], mix_code, score)
        begun = range(len(study.trials), trials)
        left = [_place(folder, number, cell.seed) for number in begun for cell in cells]
        with Display(left, begun.start * len(cells)) as display:
            for numbers in _batches(begun, max(1, resources.workers // len(cells))):
                drawn = {number: _drawn(folder, number, study, base) for number in numbers}
                for trial in _run(drawn, folder, cells, mix_code, resources, display):
                    study.add(trial)
                    if watch is not None:
                        watch(trial)
        tuned = Tuned(task, space, tuple(study.trials), _augmentation(task, cells[0]), code)
        try:
            write(tuned, folder)
        except OSError as error:
            raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error
    return tuned


def validation_accuracy(results: Mapping[str, Any]) -> float | None:
    """The mean over all experiences of the accuracy, or other score, on held-out data at the end of a run.

    Returns:
        None when an experience has no held-out data, or it was not evaluated.
    """
    held = results["accuracy_matrix"]["rows"][-1]["validation"]
    return None if not held or None in held else sum(held) / len(held)


def _cells(task: Task) -> list[Cell]:
    """One cell for every seed, before anything is drawn."""
    for key, name in (("strategy", task.strategy), ("stream", task.stream)):
        if not name.strip():
            raise ConfigError(f"{key}: expected the name of a configuration, got {name!r}")
    wanted = grid.read(
        {
            "arms": [task.strategy],
            "streams": [task.stream],
            "seeds": list(task.seeds),
            "set": list(task.words),
            "augment": task.augment if task.augment in (None, grid.OWN) else list(task.augment),
        }
    )
    if wanted.cells[0].avalanche is not None:
        raise ConfigError(
            f"tune: {task.strategy!r} is Avalanche's own, which has no recipe to be tuned; give one of ours"
        )
    return list(wanted.cells)


def _searchable(task: Task, cell: Cell, space: Space | None) -> tuple[dict[str, Any], Space]:
    """The configuration with its learning rate written out, and a space that it takes."""
    prepared = runs.prepare({**cell.config, "out": None, "logger": None})
    if any(experience.validation is None for experience in prepared.stream.experiences):
        raise ConfigError(
            "stream.validation: tuning chooses on held-out training data, never on test data, and this stream holds "
            "none out; give a fraction, such as stream.validation=0.1"
        )
    base = dict(cell.config)
    rate = _rate(prepared)
    if rate is not None:
        base = config.merge(base, {"optimizer": {"lr": rate}})
    given = {word.partition("=")[0] for word in task.settings}
    if space is None:
        found = {key: entry for key, entry in derive(base).items() if key not in given}
        if not found:
            raise ConfigError(
                f"tune: {task.strategy!r} sets nothing that is searched by default; say what: --space YAML"
            )
        return base, found
    for key in space:
        if key in given:
            raise ConfigError(f"{key}: is both set and searched; leave one out")
    _accepted(space, base)
    return base, space


def _rate(prepared: runs.Run) -> float | None:
    """The learning rate that the recipe has; None where nothing learns by gradients."""
    module = prepared.module
    if not any(stage.by_gradient for stage in (module.wake, *module.night)):
        return None
    factory = module.optimizer
    given = getattr(factory, "keywords", {})
    known = inspect.signature(getattr(factory, "func", factory)).parameters
    found = given.get("lr", known["lr"].default if "lr" in known else None)
    return found if isinstance(found, float | int) else None


def _accepted(space: Space, base: Mapping[str, Any]) -> None:
    """Every end of every range, and every choice, is a value that the configuration takes."""
    middle = {key: entry.ends[0] for key, entry in space.items()}
    for key, entry in space.items():
        for end in entry.ends:
            run_config(config.merge(base, nested({**middle, key: end})))
    runs.prepare({**config.merge(base, nested(middle)), "out": None, "logger": None})


def _asked(task: Task, space: Space, base: Mapping[str, Any], code: str) -> dict[str, Any]:
    """What must be the same for a study to be resumed, as JSON has it."""
    asked = {
        "strategy": task.strategy,
        "stream": task.stream,
        "seeds": list(task.seeds),
        "space": {key: entry.plain for key, entry in space.items()},
        "config": dict(base),
        "code": code,
    }
    return json.loads(json.dumps(asked))


def _drawn(folder: Path, number: int, study: _Study, base: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a trial: those written down when it was begun, else new ones."""
    path = folder / "trials" / str(number) / PARAMETERS
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    parameters = (own(study.space, base) if number == 0 else None) or study.draw(number)
    try:
        write_text(path, json.dumps(parameters, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {path.parent}: {error.strerror}") from error
    return parameters


def _run(
    drawn: Mapping[int, Mapping[str, Any]],
    folder: Path,
    cells: Sequence[Cell],
    mix_code: bool,
    resources: Resources,
    display: Display,
) -> Iterator[Trial]:
    """Run the trials of a batch, as far as they are not completed."""
    jobs = {
        _place(folder, number, cell.seed): replace(
            cell, config=config.merge(dict(cell.config), nested(parameters))
        ).plain()
        for number, parameters in drawn.items()
        for cell in cells
    }
    runner.write_down(jobs, grid.PROGRAM, mix_code)
    reasons = runner.run_missing([*jobs], grid.PROGRAM, resources, display)
    score = grid.score_of(cells[0].config)
    for number, parameters in drawn.items():
        places = {cell.seed: _place(folder, number, cell.seed) for cell in cells}
        yield _trial(number, parameters, places, reasons, score)


def _trial(
    number: int, parameters: Mapping[str, Any], places: Mapping[int, Path], reasons: Mapping[Path, str], score: Score
) -> Trial:
    accuracies = {
        seed: validation_accuracy(read_results(place)) if completed(place) else None for seed, place in places.items()
    }
    reason = ""
    for seed in [seed for seed, accuracy in accuracies.items() if accuracy is None][:1]:
        unknown = "held-out data were not evaluated, so there is nothing to choose by"
        reason = at(f"seed{seed}", reasons.get(places[seed], unknown))
    return Trial(number, parameters, accuracies, reason, score)


def _place(folder: Path, number: int, seed: int) -> Path:
    """The run folder of one of a trial's seeds."""
    return folder / "trials" / str(number) / f"seed{seed}"


def _batches(numbers: range, at_once: int) -> Iterator[range]:
    """Trials that are drawn before either is run; begun in the middle of a batch, it is ended first."""
    start = numbers.start
    while start < numbers.stop:
        end = min((start // at_once + 1) * at_once, numbers.stop)
        yield range(start, end)
        start = end


def _augmentation(task: Task, cell: Cell) -> dict[str, Any]:
    """What the augmentation of the runs has that is not the recipe's own."""
    recipe = config.read(task.stream.split()[0], *task.recipes, *task.settings).get("wake") or {}
    wake = cell.config.get("wake") or {}
    keys = ("perturbations", "replay_perturbations")
    return {key: wake[key] for key in keys if (wake.get(key) or []) != (recipe.get(key) or [])}


class _Study:
    """Optuna's study in a journal file.

    Parameters are drawn beside the journal, and a trial is added when it is over, in one line: Optuna's ``tell`` leaves
    half a trial behind when the process is killed on the way, and number later ones differently.

    Args:
        asked: what must be the same as when it was begun.

    Raises:
        ConfigError: when the journal is that of another study.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any], space: Space, seed: int, mix_code: bool, score: Score):
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        _mend(path)
        self.space = space
        self.score = score
        self._direction: Literal["maximize", "minimize"] = "maximize" if score.higher_is_better else "minimize"
        self._seed = seed
        self._distributions = {key: _distribution(entry) for key, entry in space.items()}
        self._study = optuna.create_study(
            study_name="tune",
            storage=JournalStorage(JournalFileBackend(str(path))),
            direction=self._direction,
            load_if_exists=True,
        )
        there = self._study.user_attrs.get("asked")
        if there is None:
            self._study.set_user_attr("asked", dict(asked))
            return
        differing = [key for key in asked if there.get(key) != asked[key] and not (key == "code" and mix_code)]
        if differing == ["code"]:
            raise ConfigError(
                f"{path.parent} was tuned by dreamer {there['code']}, and this is {asked['code']}: choose another "
                "--out, or reuse it with --mix"
            )
        if differing:
            raise ConfigError(f"{path.parent} was begun with another {' and '.join(differing)}: choose another --out")

    @property
    def trials(self) -> list[Trial]:
        """All trials that are over, in order."""
        return [
            Trial(
                trial.number,
                trial.params,
                {int(seed): value for seed, value in trial.user_attrs["accuracies"].items()},
                trial.user_attrs["reason"],
                self.score,
            )
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def draw(self, number: int) -> dict[str, Any]:
        """Parameters for a trial, given those that are over."""
        import optuna

        sampler = optuna.samplers.TPESampler(seed=mix(self._seed, number) % 2**32)
        beside = optuna.create_study(direction=self._direction, sampler=sampler)
        beside.add_trials(self._study.get_trials(deepcopy=False))
        return beside.ask(self._distributions).params

    def add(self, trial: Trial) -> None:
        """Write down a trial that is over."""
        import optuna

        failed = trial.value is None
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
                value=trial.value,
                params=dict(trial.parameters),
                distributions=self._distributions,
                user_attrs={"accuracies": dict(trial.accuracies), "reason": trial.reason},
            )
        )


def _distribution(entry: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(entry, Range):
        return CategoricalDistribution(entry.values)
    if entry.whole:
        return IntDistribution(int(entry.low), int(entry.high), entry.log, int(entry.step or 1))
    return FloatDistribution(float(entry.low), float(entry.high), entry.log, entry.step)


def _mend(path: Path) -> None:
    """Take away what a killed process may leave: Optuna's own lock (the folder is locked already), and half a line."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.is_file():
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            write_text(path, text[:whole].decode())
