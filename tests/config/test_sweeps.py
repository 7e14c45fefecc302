"""The W&B sweep files: their commands, as the agent would call them, are runs that log the metric of the sweep."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamer import config
from dreamer.config.binding import ConfigError
from dreamer.runs import run as runs
from dreamer.runs.run_config import run_config

SWEEPS = sorted((config.folder() / "sweeps").glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def values(sweep: dict[str, Any], last: bool = False) -> dict[str, Any]:
    """The first choice or the lowest value of each parameter; or the last, or the highest."""
    return {
        key: entry["value"] if "value" in entry else ends(entry)[-last] for key, entry in sweep["parameters"].items()
    }


def ends(entry: dict[str, Any]) -> list[Any]:
    return entry["values"] if "values" in entry else [entry["min"], entry["max"]]


def expanded(sweep: dict[str, Any], chosen: dict[str, Any]) -> list[str]:
    """The command of a run, as the agent of W&B puts it together."""
    macros = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [sweep["program"]],
        "${args_no_hyphens}": [f"{key}={value}" for key, value in chosen.items()],
    }
    return [word for part in sweep["command"] for word in macros.get(part, [part])]


def words(sweep: dict[str, Any], chosen: dict[str, Any]) -> list[str]:
    """What ``dreamer run`` is given."""
    command = expanded(sweep, chosen)
    assert command[:5] == ["/usr/bin/env", "python", "-m", "dreamer", "run"]
    assert not [word for word in command[5:] if word.startswith("-") or "$" in word]
    return command[5:]


def test_there_are_sweeps_and_none_is_called_by_name():
    assert {"split_mnist", "digits"} <= {path.stem for path in SWEEPS}
    assert not set(SWEEPS) & set(config.catalog().values())


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_command_is_a_run_that_logs_to_wandb(path, last):
    sweep = load(path)
    chosen = values(sweep, last)
    plan = run_config(config.read(*words(sweep, chosen)))
    assert any(component.target.__name__ == "wandb_logger" for component in plan.loggers)
    assert plan.seed == chosen["seed"]
    for key, value in chosen.items():
        assert at(plan.plain, key) == value


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_parameter_exists_and_only_seeds_are_new(path):
    """A parameter changes what the recipe sets, so none of them slips in unseen."""
    sweep = load(path)
    named = [word for word in words(sweep, {}) if "=" not in word]
    plain = config.read(*named)
    for key in sweep["parameters"]:
        assert key in ("seed", "optimizer.lr") or at(plain, key) is not None, key
        with pytest.raises(ConfigError, match="unknown key"):
            run_config(config.read(*named, f"{key}x=1"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_seeds_lie_outside_those_of_comparisons(path):
    entry = load(path)["parameters"]["seed"]
    assert min(entry.get("values") or [entry["value"]]) >= 1001


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_header_says_how_to_call_it(path):
    assert path.read_text(encoding="utf-8").startswith(f"# wandb sweep configs/sweeps/{path.name}\n")


@pytest.mark.slow
def test_a_run_of_a_sweep_logs_its_metric(tmp_path):
    sweep = load(config.folder() / "sweeps" / "digits.yaml")
    short = ["wake.steps=2", "night.0.steps=1", "night.1.steps=1", "stream.experiences=2", "logger=null"]
    results = runs.run(*words(sweep, values(sweep)), *short, out=str(tmp_path / "run"))
    with open(tmp_path / "run" / "metrics.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    held = results["accuracy_matrix"]["rows"][-1]["validation"]
    for path in SWEEPS:
        metric = load(path)["metric"]
        assert metric["goal"] == "maximize"
        logged = [float(row[metric["name"]]) for row in rows if row.get(metric["name"])]
        assert logged[-1] == pytest.approx(sum(held) / len(held), abs=1e-6)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_agent_of_wandb_puts_the_same_command_together(path):
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils", reason="this version of wandb keeps it elsewhere")
    sweep = load(path)
    chosen = values(sweep)
    macros = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    said: list[str] = []
    for part in utils.create_sweep_command(list(sweep["command"])):
        said += macros.get(part[2:-1], []) if part.startswith("${") else [part]
    assert said == expanded(sweep, chosen)


def at(plain: Any, key: str) -> Any:
    for part in key.split("."):
        plain = plain[int(part)] if isinstance(plain, list) else plain.get(part)
    return plain
