"""Hyper-parameters chosen on held-out data: made-up runs where the choice is tested, real ones at the end."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dreamer import config
from dreamer.cli import main as cli
from dreamer.cli.compare import requested
from dreamer.compare import grid
from dreamer.compare.cell import run_cell
from dreamer.compare.tuning import results as tuned
from dreamer.compare.tuning import space
from dreamer.compare.tuning import tune as tuning
from dreamer.compare.tuning.results import Task
from dreamer.compare.tuning.space import Choices, Range
from dreamer.config.binding import ConfigError
from dreamer.jobs import pool
from dreamer.jobs.job import Interrupted, Outcome
from dreamer.jobs.manifest import Program
from dreamer.jobs.runner import Resources
from dreamer.runs.run_config import run_config

pytest.importorskip("optuna", reason="needs Optuna: pip install 'dreamer[tune]'")

SHORT = ("wake.steps=3", "stream.experiences=2")
ER = Task("er", "digits", SHORT, (1001,))
RATE = {"optimizer.lr": Range(1e-4, 1e-2, log=True)}


class FakeJobs:
    """Stands in for the engine: the best learning rate is 0.003, on held-out data; on test data it is the worst.

    Args:
        act: is called with the folder of every cell before it runs; what it raises is the cell's reason to fail.
    """

    def __init__(self, act: Callable[[Path], None] = lambda folder: None):
        self.started: list[str] = []
        self.act = act

    def __call__(self, folders: Sequence[Path], program: Program, **options: Any) -> list[Outcome]:
        return [self.train(folder) for folder in folders]

    def train(self, folder: Path) -> Outcome:
        self.started.append("/".join(folder.parts[-2:]))
        try:
            self.act(folder)
        except RuntimeError as error:
            return Outcome(folder, False, 2, 0.0, str(error))
        cell = grid.read_cell(folder)
        held = 0.9 - abs(math.log10(cell.config["optimizer"]["lr"] / 0.003)) / 10 + 0.01 * (cell.seed - 1001)
        row = {"validation": [held - 0.05, held + 0.05], "accuracy": [1 - held, 1 - held]}
        results = {"complete": True, "accuracy_matrix": {"rows": [{"validation": [0.0, 0.0]}, row]}}
        (folder / "results.json").write_text(json.dumps(results))
        return Outcome(folder, True, 1, 0.0)


@pytest.fixture
def fake(monkeypatch) -> FakeJobs:
    fake = FakeJobs()
    monkeypatch.setattr(pool, "run_jobs", fake)
    return fake


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / tuned.TRIALS, encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestTheSpace:
    def test_of_a_recipe_is_what_it_sets_itself(self):
        assert space.derive({"optimizer": {"name": "sgd", "lr": 0.1}, "memory": {"name": "ring", "capacity": 5}}) == {
            "optimizer.lr": Range(pytest.approx(0.01), 1.0, log=True)
        }
        found = space.derive(config.read("split_mnist", "dreams"))
        assert set(found) == {
            "generator.temperature",
            "wake.replay_objectives.0.weight",
            "wake.replay_objectives.1.weight",
            "night.0.objectives.0.weight",
            "night.0.objectives.1.weight",
            "night.1.objectives.0.weight",
            "night.1.objectives.1.weight",
        }
        assert found["wake.replay_objectives.0.weight"] == Range(0.125, 2.0, log=True)
        assert found["generator.temperature"] == Range(0.6, 2.4, log=True)

    def test_has_the_strength_where_it_is_a_weight_of_its_own(self):
        assert "wake.replay_weight" in space.derive(config.read("split_cifar10", "abd"))
        assert "wake.replay_weight" not in space.derive(
            config.read("split_cifar10", "derpp")
        )  # all its terms have weights
        assert "wake.replay_weight" not in space.derive(config.read("split_mnist", "er"))  # "equal"

    def test_never_holds_a_budget(self):
        names = [name for name, path in config.catalog().items() if path.parent.name == "strategies"]
        for name in names:
            assert {key.rpartition(".")[2] for key in space.derive(config.read("split_mnist", name))} <= {
                "lr",
                "generator_lr",
                "weight",
                "replay_weight",
                "temperature",
            }

    def test_is_read_from_a_yaml(self, tmp_path):
        path = tmp_path / "space.yaml"
        path.write_text(
            "optimizer.lr: {low: 1e-4, high: 0.1, log: true}\n"
            "memory.capacity: {low: 100, high: 500, step: 100}\n"
            "optimizer.name: [adam, sgd]\n"
        )
        assert space.read(path) == {
            "optimizer.lr": Range(1e-4, 0.1, log=True),
            "memory.capacity": Range(100, 500, step=100),
            "optimizer.name": Choices(("adam", "sgd")),
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: {low: 1, hi: 2}", r"^a\.hi: unknown key of a range; did you mean 'high'\?"),
            ("a: {low: 1}", r"^a\.high: expected a number, got None"),
            ("a: {low: 2, high: 1}", "^a: expected low below high, got 2 and 1"),
            ("a: {low: 0, high: 1, log: true}", "^a: with log, expected low above 0"),
            ("a: {low: 0, high: 1, step: 0.3}", r"^a\.step: expected a step above 0 that leads from low to high"),
            ("a: 3", "^a: expected low and high, or a list of choices, got 3"),
            ("a: []", "^a: expected a list of numbers, texts, true or false, or null"),
            ("a: [[1], [2]]", "^a: expected a list of numbers, texts, true or false, or null"),
            ("stream.validation: [0.1]", r"^stream\.validation: is not searched"),
            ("seed: [1, 2]", "^seed: is not searched"),
            ("{}", "^--space: expected keys to search in"),
        ],
    )
    def test_that_makes_no_sense_is_refused(self, tmp_path, text, message):
        path = tmp_path / "space.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            space.read(path)

    def test_knows_what_it_holds(self):
        assert 3 in Range(1, 9, step=2) and 4 not in Range(1, 9, step=2)
        assert 0.3 in Range(0.1, 0.9, step=0.1) and True not in Range(0, 2) and 1.5 not in Range(1, 2)
        assert 1 in Choices((1, "a")) and 1.0 not in Choices((1, "a")) and None in Choices((None,))

    def test_values_become_a_configuration_that_reaches_into_lists(self):
        values = {"night.1.steps": 7, "generator.temperature": 2.0, "generator": "vae"}
        laid = config.merge({"night": [{"name": "nrem"}, {"name": "rem"}]}, space.nested(values))
        assert laid == {
            "night": [{"name": "nrem"}, {"name": "rem", "steps": 7}],
            "generator": {"name": "vae", "temperature": 2.0},
        }


class TestTheChoice:
    def test_follows_held_out_data_whatever_the_test_data_say(self, tmp_path, fake):
        found = tuning.tune(ER, tmp_path, RATE, trials=6)
        rates = [trial.parameters["optimizer.lr"] for trial in found.trials]
        nearest = min(rates, key=lambda rate: abs(math.log(rate / 0.003)))
        assert found.best is not None and found.best.parameters["optimizer.lr"] == nearest
        assert len(set(rates)) == 6 and all(1e-4 <= rate <= 1e-2 for rate in rates)

    def test_is_the_mean_over_experiences_and_seeds(self, tmp_path, fake):
        found = tuning.tune(Task("er", "digits", SHORT, (1001, 1002)), tmp_path, RATE, trials=1)
        held = 0.9 - math.log10(3) / 10  # the recipe's own 0.001 comes first
        assert found.trials[0].parameters == {"optimizer.lr": 0.001}
        assert found.trials[0].accuracies == {1001: pytest.approx(held), 1002: pytest.approx(held + 0.01)}
        assert found.trials[0].value == pytest.approx(held + 0.005)
        assert fake.started == ["0/seed1001", "0/seed1002"]

    def test_learns_from_the_trials_before(self, tmp_path, fake):
        found = tuning.tune(ER, tmp_path, RATE, trials=25)
        distance = [abs(math.log10(trial.parameters["optimizer.lr"] / 0.003)) for trial in found.trials]
        assert sum(distance[15:]) / 10 < sum(distance[:10]) / 10

    def test_may_be_among_names_and_whole_numbers(self, tmp_path, fake):
        searched = {
            "optimizer.lr": Choices((0.001, 0.003)),
            "memory.capacity": Range(100, 500, step=100),
            "wake.replay_weight": Choices(("equal", 0.5)),
        }
        found = tuning.tune(ER, tmp_path, searched, trials=5)
        assert {trial.parameters["memory.capacity"] for trial in found.trials} <= {100, 200, 300, 400, 500}
        for trial in found.trials:
            plain = grid.read_cell(tmp_path / "trials" / str(trial.number) / "seed1001").config
            assert plain["memory"]["capacity"] == trial.parameters["memory.capacity"]
            assert plain["wake"]["replay_weight"] == trial.parameters["wake.replay_weight"]
        again = tuning.tune(ER, tmp_path, searched, trials=5)
        assert again.trials == found.trials

    def test_draws_nothing_that_a_word_has_set(self, tmp_path, fake):
        with pytest.raises(ConfigError, match=r"^optimizer\.lr: is both set and searched"):
            tuning.tune(Task("er", "digits", (*SHORT, "optimizer.lr=0.1")), tmp_path, RATE)
        with pytest.raises(ConfigError, match="'er' sets nothing that is searched by default"):
            tuning.tune(Task("er", "digits", (*SHORT, "optimizer.lr=0.1")), tmp_path)


class TestWhatItLeaves:
    def test_the_winner_is_a_recipe(self, tmp_path, fake):
        found = tuning.tune(ER, tmp_path, RATE, trials=3)
        assert found.best is not None
        best = tmp_path / tuned.BEST
        plain = config.read("digits", "er", str(best), *SHORT)
        assert run_config(plain).plain["optimizer"]["lr"] == found.best.parameters["optimizer.lr"]
        lines = best.read_text().splitlines()
        assert lines[0] == f"# dreamer run digits er {best} wake.steps=3 stream.experiences=2"
        assert lines[1] == "# er on digits, tuned: the best of 3 trials."
        assert "seeds 1001: validation accuracy" in lines[2]

    def test_the_winner_is_an_arm_of_a_comparison(self, tmp_path, fake, monkeypatch):
        searched = {**RATE, "night.1.objectives.0.weight": Range(0.1, 0.4)}
        words = ("wake.steps=3", "night.0.steps=1", "night.1.steps=1")
        found = tuning.tune(Task("dreams", "digits", words, (1001,)), tmp_path, searched, trials=2)
        assert found.best is not None
        arm = f"dreams+{tmp_path / tuned.BEST}"
        request = requested(["dreams", arm, *words], None, "1", None, None, None, None, False)
        recipe, winner = grid.read(request).cells
        assert winner.config["optimizer"]["lr"] == found.best.parameters["optimizer.lr"]
        weight = winner.config["night"][1]["objectives"][0]["weight"]
        assert weight == found.best.parameters["night.1.objectives.0.weight"] != 0.5
        assert winner.config["night"][0] == recipe.config["night"][0]
        assert winner.config["night"][1]["perturbations"] == recipe.config["night"][1]["perturbations"]

    def test_the_winner_carries_the_augmentation_it_was_chosen_with(self, tmp_path, fake):
        words = ("wake.steps=3",)
        tuning.tune(Task("memories", "digits", words, (1001,)), tmp_path / "none", RATE, trials=1)
        tuning.tune(Task("memories", "digits", words, (1001,), "own"), tmp_path / "own", RATE, trials=1)
        for name, own in (("none", []), ("own", [{"name": "affine"}])):
            wake = config.read("digits", "memories", str(tmp_path / name / tuned.BEST))["wake"]
            assert wake["perturbations"] == own
            assert wake["replay_perturbations"] == own

    def test_of_a_score_of_which_less_is_better_the_least_wins(self, tmp_path, fake):
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        words = ("problem.score=bits_per_byte", "stream.samples=40", "stream.test=10", "stream.validation=0.2")
        found = tuning.tune(Task("fine_tune", "arithmetic", words, (1001,)), tmp_path, RATE, trials=4)
        values = [trial.value for trial in found.trials]
        assert found.best is not None and found.best.value == min(values) < max(values)
        assert [float(row["validation_bits_per_byte"]) for row in table(tmp_path)] == values
        assert f"validation bits per byte {min(values):.4g}." in (tmp_path / tuned.BEST).read_text()
        storage = JournalStorage(JournalFileBackend(str(tmp_path / tuning.JOURNAL)))
        study = optuna.load_study(study_name="tune", storage=storage)
        assert study.direction.name == "MINIMIZE" and study.best_value == min(values)

    def test_numbers_for_comparisons_and_a_table(self, tmp_path, fake):
        def fails(folder: Path) -> None:
            if folder.parent.name == "1":
                raise RuntimeError("killed by SIGKILL: no memory")

        fake.act = fails
        found = tuning.tune(Task("er", "digits", SHORT, (1001, 1002)), tmp_path, RATE, trials=3)
        assert found.best is not None
        summary = json.loads((tmp_path / tuned.TUNING).read_text())
        assert summary["tuning"] == {"trials": 3, "seeds": [1001, 1002]}
        assert summary["failed"] == 1
        assert summary["best"]["parameters"] == found.best.parameters
        assert summary["best"]["validation_accuracy"] == found.best.value
        rows = table(tmp_path)
        assert [row["state"] for row in rows] == ["done", "failed", "done"]
        assert rows[1]["reason"] == "seed1001: killed by SIGKILL: no memory" and rows[1]["validation_accuracy"] == ""
        assert float(rows[2]["validation_accuracy_seed1002"]) == found.trials[2].accuracies[1002]
        assert "of 3 trials, 1 of which failed" in (tmp_path / tuned.BEST).read_text()
        # a failed trial is over: it is neither run again nor lost
        fake.act = lambda folder: None
        again = tuning.tune(Task("er", "digits", SHORT, (1001, 1002)), tmp_path, RATE, trials=3)
        assert again.trials == found.trials and fake.started.count("1/seed1001") == 1

    def test_nothing_wins_where_all_failed(self, tmp_path, fake):
        def fails(folder: Path) -> None:
            raise RuntimeError("no")

        fake.act = fails
        found = tuning.tune(ER, tmp_path, RATE, trials=2)
        assert found.best is None and found.failed == 2
        assert json.loads((tmp_path / tuned.TUNING).read_text())["best"] is None
        assert not (tmp_path / tuned.BEST).exists()

    def test_a_run_that_was_not_evaluated_on_held_out_data_is_no_trial(self):
        rows = [{"validation": [0.5]}, {"validation": None}]
        assert tuning.validation_accuracy({"accuracy_matrix": {"rows": rows}}) is None
        assert tuning.validation_accuracy({"accuracy_matrix": {"rows": rows[:1]}}) == 0.5
        assert tuning.validation_accuracy({"accuracy_matrix": {"rows": [{"validation": [0.5, None]}]}}) is None


class TestGoingOn:
    @pytest.mark.parametrize("workers", [1, 3])
    @pytest.mark.slow
    def test_a_tuning_that_was_stopped_ends_as_if_it_had_not_been(self, tmp_path, fake, workers):
        undisturbed = tuning.tune(ER, tmp_path / "a", RATE, trials=14, resources=Resources(workers=workers))

        def stops(folder: Path) -> None:
            if folder.parent.name in ("0", "12") and not (tmp_path / folder.parent.name).exists():
                (tmp_path / folder.parent.name).touch()
                raise Interrupted

        fake.started.clear()
        fake.act = stops
        for _ in range(2):
            with pytest.raises(Interrupted):
                tuning.tune(ER, tmp_path / "b", RATE, trials=14, resources=Resources(workers=workers))
        continued = tuning.tune(ER, tmp_path / "b", RATE, trials=14, resources=Resources(workers=workers))
        assert continued.trials == undisturbed.trials
        assert all(fake.started.count(f"{number}/seed1001") == 1 for number in (1, 5, 11, 13))
        assert table(tmp_path / "a") == table(tmp_path / "b")

    def test_more_trials_may_be_added_later(self, tmp_path, fake):
        all_at_once = tuning.tune(ER, tmp_path / "a", RATE, trials=5)
        tuning.tune(ER, tmp_path / "b", RATE, trials=2)
        assert tuning.tune(ER, tmp_path / "b", RATE, trials=5).trials == all_at_once.trials
        assert json.loads((tmp_path / "b" / tuned.TUNING).read_text())["tuning"]["trials"] == 5

    def test_what_a_killed_process_leaves_is_mended(self, tmp_path, fake):
        before = tuning.tune(ER, tmp_path, RATE, trials=2)
        journal = tmp_path / tuning.JOURNAL
        with open(journal, "ab") as file:
            file.write(b'{"op_code":4,"worker_id":"half a li')
        os.symlink(journal, f"{journal}.lock")
        after = tuning.tune(ER, tmp_path, RATE, trials=3)
        assert after.trials[:2] == before.trials and len(after.trials) == 3
        assert tuning.tune(ER, tmp_path, RATE, trials=3).trials == after.trials

    def test_another_study_is_not_gone_on_with(self, tmp_path, fake, monkeypatch):
        tuning.tune(ER, tmp_path, RATE, trials=1)
        with pytest.raises(ConfigError, match="was begun with another space: choose another --out"):
            tuning.tune(ER, tmp_path, {"optimizer.lr": Range(1e-3, 1e-2)}, trials=2)
        with pytest.raises(ConfigError, match="was begun with another seeds"):
            tuning.tune(Task("er", "digits", SHORT, (1003,)), tmp_path, RATE, trials=2)
        monkeypatch.setattr(Program, "fingerprint", lambda self: "0.0+other")
        with pytest.raises(ConfigError, match=r"was tuned by dreamer .*--mix"):
            tuning.tune(ER, tmp_path, RATE, trials=2)
        assert len(tuning.tune(ER, tmp_path, RATE, trials=2, mix_code=True).trials) == 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("task", "searched", "message"),
        [
            (Task("er", "digits", ("stream.validation=0",)), None, r"^stream\.validation: tuning chooses on held-out"),
            (Task("er", "digits", SHORT, ()), None, "^seeds: expected at least one, got none"),
            (Task("er", "digits", SHORT, (1001, 1001)), None, "^seeds: expected each once"),
            (Task("err", "digits"), None, "no configuration called 'err'; did you mean 'er'"),
            (Task("", "digits"), None, "^strategy: expected the name of a configuration, got ''"),
            (Task("er", "fine_tune"), None, "names no stream"),
            (Task("avalanche:Replay", "digits", SHORT), None, "Avalanche's own, which has no recipe to be tuned"),
            (ER, {"wake.shar": Range(0.1, 1.0)}, r"^wake\.shar: unknown key of Wake"),
            (ER, {"optimiser.lr": Range(0.1, 1.0)}, "^optimiser: unknown key; did you mean 'optimizer'"),
            (ER, {"optimizer.name": Choices(("adam", "adm"))}, r"^optimizer\.name: there is no 'adm' here"),
            (ER, {"night.3.steps": Range(1, 2)}, r"^night\.3"),
            (ER, {"memory.capacity": Range(0, 9)}, "capacity"),
        ],
    )
    def test_are_one_sentence_before_anything_is_written(self, tmp_path, fake, task, searched, message):
        with pytest.raises(ConfigError, match=message) as caught:
            tuning.tune(task, tmp_path / "out", searched)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists() and not fake.started

    def test_without_optuna(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(ConfigError, match=r"optuna is not installed: pip install 'dreamer\[tune\]'"):
            tuning.tune(ER, tmp_path)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["er", "derpp"], "expected one strategy and then key=value, got 'derpp'"),
            (["er", "--seeds", "1001,x"], "--seeds: expected a list such as 1001,1002, got '1001,x'"),
            (["er", "--seeds", ""], "seeds: expected at least one, got none"),
            (["er", "--space", "no.yaml"], "--space: expected a YAML file at 'no.yaml', found none"),
        ],
    )
    def test_of_the_command_end_with_exit_code_2(self, tmp_path, monkeypatch, capsys, words, message):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["dreamer", "tune", *words])
        monkeypatch.setattr(sys, "path", [*sys.path])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_real_runs_are_trained_and_no_test_accuracy_is_printed(tmp_path, monkeypatch, capsys):
    def run_here(folders: Sequence[Path], program: Program, **options: Any) -> list[Outcome]:
        for folder in folders:
            run_cell(folder)
        return [Outcome(folder, True, 1, 0.0) for folder in folders]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "run_jobs", run_here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    words = ["er", *SHORT, "--trials", "2", "--seeds", "1001", "--out", "out"]
    monkeypatch.setattr(sys, "argv", ["dreamer", "tune", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr().out
    assert not left.value.code
    rows = [json.loads((tmp_path / f"out/trials/{n}/seed1001/results.json").read_text()) for n in range(2)]
    held = [sum(row["accuracy_matrix"]["rows"][-1]["validation"]) / 2 for row in rows]
    assert [float(row["validation_accuracy"]) for row in table(tmp_path / "out")] == held
    assert f"the best of 2 trials is trial {held.index(max(held))}, validation accuracy {100 * max(held):.2f} %" in said
    assert "dreamer run digits er out/best.yaml wake.steps=3 stream.experiences=2" in said
    for row in rows:
        accuracy = f"{100 * row['metrics']['average_accuracy']:.2f}"
        assert accuracy not in said or accuracy in [f"{100 * value:.2f}" for value in held]
    assert "test" not in said
