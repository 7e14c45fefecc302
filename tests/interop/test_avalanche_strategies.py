from __future__ import annotations

import copy
import functools
import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dreamer import metrics
from dreamer.config.binding import ConfigError
from dreamer.generators import VAE
from dreamer.interop.avalanche import accounting
from dreamer.interop.avalanche import strategies as avalanche_strategies
from dreamer.interop.avalanche.adapters import AvalancheVAE
from dreamer.interop.avalanche.options import UNSUPPORTED, available, verify
from dreamer.networks import MLP
from dreamer.networks.base import module_bytes
from dreamer.report.results import compose, read_results, write_results
from dreamer.streams.base import Stream, TensorSamples, make_stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_module, tiny_stream
from tests.helpers.tiny_runs import train as train_ours

SOLVER = importlib.util.find_spec("quadprog") is not None
PROMISED = [
    *("Naive", "Replay", "GenerativeReplay", "DER", "EWC", "GDumb", "ICaRL", "LwF", "SynapticIntelligence", "AGEM"),
    *("Cumulative", "JointTraining", "MAS", "MIR", "ER_ACE", "CWRStar", "FromScratchTraining"),
    pytest.param("GEM", marks=pytest.mark.skipif(not SOLVER, reason="needs quadprog")),
]
SMALL = {"generator": {"hidden": [8], "latent_dim": 3}}
STEPS, BATCH = 5, 6


def network(stream: Stream, seed: int = 0) -> MLP:
    torch.manual_seed(seed)
    return MLP(stream.sample_shape, stream.num_classes, hidden=(16,), dropout=0.1)


def trained(name: str, stream: Stream | None = None, options: dict[str, Any] | None = None, **changes: Any) -> Any:
    stream = tiny_stream() if stream is None else stream
    options = SMALL if name == "GenerativeReplay" and options is None else options
    given: dict[str, Any] = {"stream": stream, "batch_size": BATCH, "steps": STEPS}
    given["network"] = changes["network"] if "network" in changes else network(stream)
    given |= {"optimizer": functools.partial(torch.optim.Adam, lr=1e-2), "memory": 12}
    return avalanche_strategies.run(name, options, **(given | changes))


def numbers(record: dict[str, Any]) -> list[list[float]]:
    return [row["accuracy"] for row in record["accuracy_matrix"]["rows"]]


def stored(*shapes: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> Stream:
    """A stream of two classes an experience, its samples stored in a type of their own."""
    parts = []
    for index, shape in enumerate(shapes):
        y = torch.tensor([2 * index, 2 * index + 1]).repeat(shape[0] // 2)
        x = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(index))
        x = x.to(dtype)
        parts.append([TensorSamples(x, y, 1 / 255), TensorSamples(x[:4], y[:4], 1 / 255)])
    return make_stream("stored", parts, validation=0.0)


def layers(vae: VAE) -> int:
    return module_bytes(vae.encoder) + module_bytes(vae.decoder)


# ------------------------------------------------------------------ what there is


def test_the_promised_strategies_are_there_and_say_what_they_are():
    found = available()
    names = [getattr(name, "values", (name,))[0] for name in PROMISED]
    assert set(found) == set(names) - (set() if SOLVER else {"GEM"})
    assert all(found.values())
    assert not set(found) & set(UNSUPPORTED)


@pytest.mark.parametrize("name", PROMISED)
def test_every_strategy_trains_on_a_stream_and_leaves_results(name: str, tmp_path: Path):
    record = trained(name)
    ours = tiny_module(tiny_stream())
    train_ours(ours, tiny_stream())
    same_keys(record, ours.results(), but=("avalanche", "cost.generator_steps"))
    rows = record["accuracy_matrix"]["rows"]
    assert [(row["after"], row["experience"]) for row in rows] == [("birth", -1), *(("wake", i) for i in range(3))]
    assert [row["global_step"] for row in rows] == [0, STEPS, 2 * STEPS, 3 * STEPS]
    assert record["cost"]["optimizer_steps"] == {"wake": 3 * STEPS, "nrem": 0, "rem": 0}
    assert record["cost"]["samples"]["wake"] > 0
    assert [(stage["kind"], stage["steps"]) for stage in record["hypnogram"]] == [("wake", STEPS)] * 3
    assert record["metrics"] == metrics.summarise(rows)
    assert record["metrics"]["average_accuracy"] == pytest.approx(sum(rows[-1]["accuracy"]) / 3)
    whole = compose(record, name=name, config={}, complete=True)
    write_results(whole, tmp_path)
    assert read_results(tmp_path)["avalanche"]["strategy"] == name
    json.dumps(record["avalanche"])


def same_keys(one: Any, other: Any, but: tuple[str, ...], path: str = "") -> None:
    if isinstance(one, dict) and isinstance(other, dict):
        paths = {f"{path}.{key}".strip("."): key for key in one}
        assert {key for where, key in paths.items() if where not in but} == set(other), path
        for where, key in paths.items():
            if key in other:
                same_keys(one[key], other[key], but, where)
    elif isinstance(one, list) and one and other:
        same_keys(one[0], other[0], but, path)


# ------------------------------------------------------------------ the same for everybody


def test_the_untrained_network_scores_as_in_a_run_of_ours_and_is_not_changed():
    stream = tiny_stream()
    learner = network(stream)
    before = copy.deepcopy(learner.state_dict())
    ours = WakeSleepModule(copy.deepcopy(learner))
    train_ours(ours, stream)
    mine, theirs = ours.results()["accuracy_matrix"]["rows"][0], trained("Naive", stream, network=learner)
    assert theirs["accuracy_matrix"]["rows"][0] == mine
    assert theirs["protocol"] == ours.results()["protocol"]
    assert all(torch.equal(value, before[key]) for key, value in learner.state_dict().items())
    assert learner.training


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Copies of the networks that were evaluated, in order."""
    seen: list[nn.Module] = []

    def spy(candidate: nn.Module, *rest: Any) -> Any:
        seen.append(copy.deepcopy(candidate).eval())
        return evaluate(candidate, *rest)

    evaluate = accounting.evaluate
    monkeypatch.setattr(accounting, "evaluate", spy)
    return seen


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("name", ["Naive", "ICaRL", "GDumb", "JointTraining"])
def test_scores_are_those_of_the_predictions(name: str, evaluated: list[nn.Module]):
    stream = tiny_stream()
    rows = numbers(trained(name, stream))
    assert len(rows) == len(evaluated) == 4
    for row, candidate in zip(rows, evaluated, strict=True):
        for score, experience in zip(row, stream.experiences, strict=True):
            with torch.no_grad():
                predicted = candidate(experience.test.x).argmax(dim=1)
            assert score == metrics.accuracy(predicted, experience.test.y)


@pytest.mark.parametrize("name", ["Replay", "AGEM", "GDumb", "GenerativeReplay"])
def test_the_seed_decides_everything_and_the_global_generators_are_put_back(name: str, evaluated: list[nn.Module]):
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    learner = network(tiny_stream())
    torch.manual_seed(3)
    one = trained(name, network=learner, seed=1)
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    again, other = trained(name, network=learner, seed=1), trained(name, network=learner, seed=2)
    assert numbers(one) == numbers(again)
    assert one["cost"]["samples"] == again["cost"]["samples"]
    ends = [weights(network) for network in evaluated[3::4]]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    assert other["seed"] == 2


def test_passes_are_turned_into_the_steps_that_a_run_of_ours_takes():
    stream = stored((10, 1, 2, 2), (26, 1, 2, 2))
    for name in ("Naive", "Cumulative", "JointTraining", "GDumb"):
        record = trained(name, stream, steps=None, epochs=3)
        assert [row["global_step"] for row in record["accuracy_matrix"]["rows"]] == [0, 6, 6 + 15]
        assert [stage["steps"] for stage in record["hypnogram"]] == [6, 15]
    assert trained("Naive", stream, steps=None, epochs=3)["cost"]["samples"]["wake"] == 3 * (10 + 26)


def test_nothing_is_printed_or_written(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    square = stored((8, 1, 28, 28), (8, 1, 28, 28))
    trained("GenerativeReplay", square, {"generator": "default"})
    trained("ER_ACE"), trained("EWC")
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_a_stream_whose_experiences_have_classes_in_common_can_be_trained_on():
    rng = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(2):
        data = TensorSamples(torch.rand(12, 1, 4, 4, generator=rng), torch.arange(12) % 3)
        parts.append([data, data])
    stream = make_stream("looks", parts, scenario="domain")
    for name in ("Replay", "DER", "GDumb", "LwF"):
        record = trained(name, stream)
        last = record["accuracy_matrix"]["rows"][-1]["accuracy"]
        assert record["metrics"]["average_accuracy"] == pytest.approx(sum(last) / 2)
    with pytest.raises(ConfigError, match="ICaRL needs experiences with classes of their own"):
        trained("ICaRL", stream)


# ------------------------------------------------------------------ what they replay and hold


def test_replay_shows_as_many_old_samples_as_new_ones():
    for name in ("Replay", "DER", "GenerativeReplay"):
        samples = trained(name)["cost"]["samples"]
        assert samples == {"wake": 3 * STEPS * BATCH, "replayed": 2 * STEPS * BATCH, "nrem": 0, "rem": 0}, name
    for name in ("Naive", "LwF", "EWC", "Cumulative", "JointTraining"):
        assert trained(name)["cost"]["samples"]["replayed"] == 0, name


@pytest.mark.parametrize(
    ("name", "each"),
    [("Replay", 8 + 16), ("GDumb", 8 + 16), ("DER", 8 + 16 + 4 * 6), ("ICaRL", 8 + 4 * 16)],
)
def test_bytes_of_a_memory_are_those_of_its_samples(name: str, each: int):
    stream = stored(*[(20, 1, 4, 4)] * 3)
    held = trained(name, stream)["cost"]["bytes"]
    assert held["memory"] == 12 * each
    assert held["generator"] == 0


def test_memories_hold_the_given_size_or_what_avalanche_would_keep():
    stream = stored((300, 1, 4, 4))
    each = 16 + 8
    assert trained("Replay", stream)["cost"]["bytes"]["memory"] == 12 * each
    assert trained("Replay", stream, memory=None)["cost"]["bytes"]["memory"] == 200 * each
    assert trained("Replay", stream, {"mem_size": 30})["cost"]["bytes"]["memory"] == 30 * each
    assert trained("Cumulative", stream)["cost"]["bytes"]["memory"] == 300 * each
    assert trained("JointTraining", stream)["cost"]["bytes"]["memory"] == 300 * each
    assert trained("AGEM", stored((20, 1, 4, 4), (20, 1, 4, 4)))["cost"]["bytes"]["memory"] == 2 * 6 * each


def test_bytes_of_copies_importances_and_generators():
    stream = tiny_stream()
    own = module_bytes(network(stream))
    nothing = {"memory": 0, "generator": 0, "teacher": 0, "plasticity": 0}
    held = {name: trained(name, stream)["cost"]["bytes"] for name in ("Naive", "LwF", "EWC", "MAS", "GenerativeReplay")}
    assert held["Naive"] == {"network": own, **nothing}
    assert held["LwF"] == {"network": own, **nothing, "teacher": own}
    # weights and importances of each of three experiences
    assert held["EWC"] == {"network": own, **nothing, "plasticity": 3 * 2 * own}
    assert held["MAS"] == {"network": own, **nothing, "plasticity": 2 * own}
    vae = layers(VAE(stream.sample_shape, 6, latent_dim=3, hidden=(8,)))
    # the one that learns, its copy that teaches the learner, and its copy that teaches itself
    assert held["GenerativeReplay"] == {"network": own, **nothing, "generator": 3 * vae, "teacher": own}


# ------------------------------------------------------------------ generators


def test_a_generator_like_ours_learns_what_ours_learns():
    vae = VAE((1, 4, 4), 6, latent_dim=3, hidden=(8,))
    behind = AvalancheVAE(vae)
    x = torch.rand(5, 1, 4, 4)
    torch.manual_seed(4)
    theirs = behind.bound(x, behind(x))
    batch = type("Seen", (), {"x": x})
    assert torch.allclose(theirs, vae.fit(batch, torch.Generator().manual_seed(4)))
    assert behind.generate(7).shape == (7, 1, 4, 4)
    assert behind.generate().shape == (1, 4, 4)
    assert behind.generate(7).min() >= 0 and behind.generate(7).max() <= 1


def test_generators_take_as_many_steps_as_the_learner():
    square = stored((8, 1, 28, 28), (8, 1, 28, 28))
    for generator in ("default", {"hidden": [8], "latent_dim": 2}):
        record = trained("GenerativeReplay", square, {"generator": generator})
        assert record["cost"]["generator_steps"] == record["cost"]["optimizer_steps"]["wake"] == 2 * STEPS
        assert record["avalanche"]["options"].get("replay_size") == (None if generator == "default" else BATCH)
    assert trained("Naive")["cost"]["generator_steps"] == 0


def test_a_generator_like_ours_is_ours():
    stream = tiny_stream()
    record = trained("GenerativeReplay", stream, {})
    assert record["avalanche"]["options"] == {"generator": "like_ours", "replay_size": BATCH}
    assert record["cost"]["bytes"]["generator"] == 3 * layers(VAE(stream.sample_shape, stream.num_classes))


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Replai", {}, "no strategy 'Replai'.*did you mean 'Replay'"),
        ("Replay", {"mem_sise": 3}, r"avalanche:Replay.mem_sise: unknown option; did you mean 'mem_size'"),
        ("Replay", {"mem_size": "many"}, r"avalanche:Replay.mem_size: expected a whole number"),
        ("Replay", {"train_epochs": 3}, "cannot be configured, because the run sets it itself"),
        ("Replay", {"generator": "default"}, "unknown option"),
        ("GenerativeReplay", {"generator": "theirs"}, "expected like_ours, default or options of the VAE"),
        ("GenerativeReplay", {"generator": {"latent": 3}}, "did you mean 'latent_dim'"),
        ("PNNStrategy", {}, "avalanche:PNNStrategy cannot run here: it needs a network of its own kind"),
    ],
)
def test_unknown_names_and_options_are_refused(name: str, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        verify(name, options)
    with pytest.raises(ConfigError, match=message):
        trained(name, options=options)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("Naive", {"active_outputs": "seen"}, "expected active_outputs='all'"),
        ("Naive", {"steps": 0}, "expected steps of at least 1, got 0"),
        ("Replay", {"memory": 0}, "expected memory of at least 1, got 0"),
        ("EWC", {"options": {"mode": "offline"}}, "avalanche:EWC: .*separate or online"),
        ("GenerativeReplay", {"options": {"generator": "default"}}, r"makes samples of shape \(1, 28, 28\)"),
        ("ICaRL", {"network": nn.Sequential(nn.Flatten(), nn.Linear(16, 6))}, r"features\(x\) and classify\(h\)"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        trained(name, **changes)


# ------------------------------------------------------------------ Avalanche's quirks


def test_synaptic_intelligence_on_a_cpu_learns_as_naive_does(evaluated: list[nn.Module]):
    for name in ("Naive", "SynapticIntelligence", "EWC"):
        trained(name, steps=12)
    naive, synaptic, elastic = (weights(network) for network in evaluated[3::4])
    assert torch.equal(naive, synaptic)
    assert not torch.equal(naive, elastic)


@pytest.mark.slow
def test_replay_and_joint_training_learn_the_digits(digits_stream: Stream):
    scores = {}
    for name in ("Naive", "Replay", "GDumb", "ICaRL", "JointTraining"):
        torch.manual_seed(0)
        learner = MLP(digits_stream.sample_shape, digits_stream.num_classes, hidden=(100,))
        optimizer = functools.partial(torch.optim.Adam, lr=2e-3)
        record = avalanche_strategies.run(
            name, stream=digits_stream, network=learner, optimizer=optimizer, batch_size=32, steps=60, memory=200
        )
        scores[name] = record["metrics"]["average_accuracy"]
    assert scores["Naive"] < 0.4
    assert all(scores[name] > 0.7 for name in scores if name != "Naive"), scores
