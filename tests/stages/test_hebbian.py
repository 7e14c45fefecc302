"""Hebbian sleep: the spiking dynamics against plain Python, the rule, and what the stage promises to its module."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dreamer.core.types import Dream, Losses, Output, SleepContext, Step
from dreamer.networks import MLP, SmallConv
from dreamer.objectives import RectifiedSquares
from dreamer.stages.hebbian import Hebbian, Neurons, Rule, gains, linear_layers, noise, tick

K = 3
RULE = Rule(increase=0.05, decrease=0.01, decay=0.9)


class Album:
    """A memory of given samples."""

    is_features = False

    def __init__(self, x: Tensor):
        self.x = x

    def draw(self, count: int, rng: torch.Generator) -> Dream:
        index = torch.randint(len(self.x), (count,), generator=rng)
        return Dream(self.x[index], index % K, is_features=self.is_features)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(**options: object) -> MLP:
    torch.manual_seed(0)
    return MLP((1, 6, 6), K, hidden=(8, 8), **options)


def context(network: nn.Module, x: Tensor | None = None, night: int = 0) -> SleepContext:
    x = torch.rand(20, 1, 6, 6, generator=rng(5)) if x is None else x
    old, new = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    return SleepContext(network, None, None, (), Album(x), None, old, new, None, 2, night)


def light_sleep(**options: object) -> Hebbian:
    return Hebbian(**{"steps": 2, "ticks": 60, "batch_size": 10, "rate": 0.8, "thresholds": 0.3, "window": 4} | options)


def sleep(stage: Hebbian, one: SleepContext, seed: int = 0) -> Losses:
    return stage.losses(one, Step(1, 0, None, stage.dream(one, 1, rng(seed))), rng(seed + 1))


# ---------------------------------------------------------------- dynamics


def slow(
    weights: list[list[list[float]]], gain: list[float], limits: list[float], trains: list[list[float]], rule: Rule
) -> tuple[list[list[float]], int]:
    """The same sleep, one neuron and one synapse after the other; changes the weights in place."""
    charges = [[0.0] * len(rows) for rows in weights]
    count = 0
    for spikes in trains:
        for layer, rows in enumerate(weights):
            fired = []
            for post, row in enumerate(rows):
                arrived = sum(w * s for w, s in zip(row, spikes, strict=True))
                charges[layer][post] = rule.decay * charges[layer][post] + gain[layer] * arrived
                fired.append(1.0 if charges[layer][post] >= limits[layer] else 0.0)
                if fired[post]:
                    charges[layer][post] = 0.0
                    for pre, w in enumerate(row):
                        gate = 2 * (1 - 1 / (1 + math.exp(min(-w / 0.001, 700))))
                        row[pre] = w + rule.increase * gate if spikes[pre] else w - rule.decrease * gate
            count += int(sum(fired))
            spikes = fired
    return charges, count


def test_spiking_equals_plain_python_on_a_3_2_2_network() -> None:
    first = torch.tensor([[0.6, -0.2, 0.5], [-0.1, 0.7, -0.05]], dtype=torch.float64)
    second = torch.tensor([[0.5, -0.3], [-0.2, 0.6]], dtype=torch.float64)
    trains = (torch.rand(200, 3, generator=rng(3)) < 0.4).double()
    gain, limits = [1.5, 2.5], [0.5, 0.7]
    weights = [first.tolist(), second.tolist()]
    charges, count = slow(weights, gain, limits, trains.tolist(), RULE)
    neurons = [
        Neurons(weight.clone(), torch.zeros(2, dtype=torch.float64), g, limit)
        for weight, g, limit in zip((first, second), gain, limits, strict=True)
    ]
    spiked = sum(int(tick(neurons, spikes, RULE)) for spikes in trains)
    assert spiked == count > 50
    for group, weight, charge, before in zip(neurons, weights, charges, (first, second), strict=True):
        torch.testing.assert_close(group.weight, torch.tensor(weight, dtype=torch.float64))
        torch.testing.assert_close(group.charge, torch.tensor(charge, dtype=torch.float64))
        assert (group.weight - before).abs().max() > 1e-3


def test_a_neuron_charges_spikes_and_empties() -> None:
    neurons = Neurons(torch.tensor([[1.0]]), torch.zeros(1), gain=1.0, threshold=2.0)
    still = Rule(increase=0.0, decrease=0.0, decay=0.5)
    spikes = [float(neurons.tick(torch.ones(1), still)) for _ in range(3)]
    assert spikes == [0, 0, 0] and float(neurons.charge) == 1.75  # 1, 1.5, 1.75: below its limit of 2
    assert float(neurons.tick(torch.zeros(1), still)) == 0 and float(neurons.charge) == 0.875
    hasty = Neurons(torch.tensor([[1.0]]), torch.zeros(1), gain=2.0, threshold=2.0)
    assert float(hasty.tick(torch.ones(1), still)) == 1 and float(hasty.charge) == 0


# ---------------------------------------------------------------- the rule


def test_the_rule_has_the_signs_and_the_gate_of_the_paper() -> None:
    # the third input carries all neurons over their threshold; of the others one has spiked and one was silent
    weight = torch.tensor([[-0.1, -0.1, 9.0], [0.0, 0.0, 9.0], [0.1, 0.1, 9.0]])
    neurons = Neurons(weight.clone(), torch.zeros(3), gain=1.0, threshold=1.0)
    assert neurons.tick(torch.tensor([1.0, 0.0, 1.0]), RULE).tolist() == [1, 1, 1]
    change = neurons.weight - weight
    expected = torch.tensor([[2 * 0.05, -2 * 0.01, 0.0], [0.05, -0.01, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(change, expected, atol=1e-6, rtol=0)


def test_a_silent_neuron_keeps_its_weights() -> None:
    weight = torch.tensor([[-0.1, 5.0], [-0.1, 0.1]])
    neurons = Neurons(weight.clone(), torch.zeros(2), gain=1.0, threshold=1.0)
    assert neurons.tick(torch.ones(2), RULE).tolist() == [1, 0]
    assert torch.equal(neurons.weight[1], weight[1]) and not torch.equal(neurons.weight[0], weight[0])


# ---------------------------------------------------------------- inputs and scales


def test_inputs_spike_as_often_as_they_should_within_a_window_that_jumps() -> None:
    chance = torch.full((2, 6, 5), 0.5)
    trains = torch.stack(list(noise(chance, 3, 4000, rng()))).view(-1, 2, 6, 5)
    for spikes in trains[:50]:
        rows, columns = spikes.sum(dim=(0, 2)).nonzero(), spikes.sum(dim=(0, 1)).nonzero()
        assert rows.max() - rows.min() < 3 and columns.max() - columns.min() < 3
    # four places for the window down, three across: a corner is seen from one of twelve, the middle from nine
    assert trains[:, :, 0, 0].mean() == pytest.approx(0.5 / 12, abs=0.01)
    assert trains[:, :, 2, 2].mean() == pytest.approx(0.5 * 9 / 12, abs=0.02)


@pytest.mark.parametrize("window", [None, 99])
def test_without_a_window_all_inputs_are_seen(window: int | None) -> None:
    chance = torch.tensor([0.0, 0.2, 1.0, -0.5])
    mean = torch.stack(list(noise(chance, window, 3000, rng()))).mean(dim=0)
    torch.testing.assert_close(mean, torch.tensor([0.0, 0.2, 1.0, 0.0]), atol=0.03, rtol=0)


def test_gains_are_those_of_diehl() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, 0.5]]))
        network[2].weight.copy_(torch.tensor([[0.5, 8.0]]))
    x = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    # largest activations 2 and 4.5, largest weights 1 and 8; each factor is relative to the factor before it
    assert gains(network, linear_layers(network), x) == pytest.approx([1 / 2, 2 / 8])


def test_gains_see_activations_as_the_next_layer_does() -> None:
    network = learner(bias=False, dropout=0.25, rescale="evaluation", spread=0.5)
    x = torch.rand(20, 1, 6, 6, generator=rng(5))
    first, second, last = layers = linear_layers(network)
    with torch.no_grad():
        h1 = 0.75 * torch.relu(first(x.flatten(1)))
        h2 = 0.75 * torch.relu(second(h1))
        factors, before = [], 1.0
        for h, layer in zip((h1, h2, torch.relu(last(h2))), layers, strict=True):
            before = float(torch.maximum(h.max(), layer.weight.max())) / before
            factors.append(1 / before)
    assert h1.max() > first.weight.max(), "or nothing is tested"
    assert gains(network, layers, x) == pytest.approx(factors, rel=1e-5)


# ---------------------------------------------------------------- the stage


def test_it_says_what_would_change_and_changes_nothing() -> None:
    network = learner(dropout=0.5).requires_grad_()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    losses = sleep(light_sleep(), context(network))
    assert losses.total is None and losses.outputs is None and losses.parts["spikes"] > 0
    assert network.training and all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    assert [change.weight is weight for change, weight in zip(losses.changes, weights, strict=True)] == [True] * 3
    assert all(
        change.delta.shape == change.weight.shape and not change.delta.requires_grad for change in losses.changes
    )
    assert any(change.delta.abs().max() > 0 for change in losses.changes)


def test_without_spikes_nothing_changes() -> None:
    losses = sleep(light_sleep(thresholds=1e9), context(learner()))
    assert losses.parts["spikes"] == 0
    assert all((change.delta == 0).all() for change in losses.changes)


def test_the_same_randoms_give_the_same_changes() -> None:
    first, again, other = (sleep(light_sleep(), context(learner()), seed).changes for seed in (0, 0, 7))
    assert all(torch.equal(a.delta, b.delta) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.delta, b.delta) for a, b in zip(first, other, strict=True))


def test_a_frozen_layer_is_left_alone() -> None:
    network = learner()
    network.head.requires_grad_(False)
    changes = sleep(light_sleep(), context(network)).changes
    assert len(changes) == 2 and all(change.weight is not network.head.weight for change in changes)


def test_nights_grow_longer() -> None:
    stage = light_sleep(ticks=[20, 40])
    network = learner()
    short, long, still = (sleep(stage, context(network, night=night)) for night in (0, 1, 9))
    assert torch.equal(long.changes[0].delta, still.changes[0].delta)
    assert not torch.equal(short.changes[0].delta, long.changes[0].delta)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_serves_other_precisions(dtype: torch.dtype) -> None:
    losses = sleep(light_sleep(), context(learner().to(dtype)))
    assert {change.delta.dtype for change in losses.changes} == {dtype}


def test_flat_samples_and_plain_sequences_serve_too() -> None:
    network = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, K), nn.ReLU())
    losses = sleep(light_sleep(thresholds=[0.1, 0.1]), context(network, torch.rand(20, 7, generator=rng(1))))
    assert len(losses.changes) == 2 and losses.parts["spikes"] > 0


def test_the_module_finds_what_it_looks_for() -> None:
    stage, one = Hebbian(), context(learner())
    assert (stage.kind, stage.steps, stage.stride(one)) == ("nrem", 5, 1)
    assert not stage.needs_teacher and not stage.from_scratch and stage.anneal == 1 and stage.objectives == ()
    assert stage.steps * stage.ticks[0] == 15000 and stage.steps * stage.ticks[4] == 35000
    assert len(light_sleep().dream(one, 2, rng()).y) == 20


# ---------------------------------------------------------------- refusals


class Skipping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(36, 36), nn.ReLU(), nn.Linear(36, K)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        return self.last(self.relu(self.first(h)) + h)


class Swapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.relu, self.first = nn.Linear(8, K), nn.ReLU(), nn.Linear(36, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.relu(self.first(x.flatten(1))))


def flat(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (SmallConv((1, 8, 8), K), "Conv2d"),
        (flat(nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, K)), "'2' is Tanh"),
        (flat(nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, K)), "'2' is BatchNorm1d"),
        (flat(nn.Linear(36, 8), nn.Linear(8, K)), "linear layer '2' has no nn.ReLU before it"),
        (flat(), "no linear layer"),
        (Skipping(), "is not that of its linear layers in a row"),
        (Swapped(), "follows one of 36 outputs"),
    ],
)
def test_other_networks_are_refused_by_name(network: nn.Module, named: str) -> None:
    with pytest.raises(ValueError, match=r"expected a learner of nn\.Linear layers") as caught:
        sleep(light_sleep(), context(network))
    assert named in str(caught.value)


def test_thresholds_must_fit_the_layers() -> None:
    with pytest.raises(ValueError, match="each of the 3 linear layers of MLP, got 2"):
        light_sleep(thresholds=[0.1, 0.2]).layers(learner())


def test_features_are_refused() -> None:
    one = context(learner())
    one.memory.is_features = True
    with pytest.raises(ValueError, match="features of the learner"):
        sleep(light_sleep(), one)


def test_a_run_without_memory_or_generator_is_refused() -> None:
    one = replace(context(learner()), memory=None)
    with pytest.raises(ValueError, match="needs a memory or a generator"):
        light_sleep().dream(one, 1, rng())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps of at least 1"),
        ({"ticks": 0}, "ticks of at least 1"),
        ({"ticks": []}, "ticks of at least 1"),
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"window": 0}, "window of at least 1"),
        ({"rate": -0.1}, "rate of at least 0"),
        ({"increase": -0.1}, "increase of at least 0"),
        ({"decrease": -0.1}, "decrease of at least 0"),
        ({"thresholds": [0.1, 0.0]}, "thresholds above 0"),
        ({"decay": 1.1}, r"decay in \[0, 1\]"),
        ({"source": "day"}, "replays the real samples of a wake step"),
    ],
)
def test_nonsense_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Hebbian(**options)


def test_an_mlp_can_do_without_biases_and_with_dropout() -> None:
    network = learner(bias=False, dropout=0.5)
    assert all(module.bias is None for module in network.modules() if isinstance(module, nn.Linear))
    x = torch.rand(4, 1, 6, 6, generator=rng())
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network.classify(network.features(x)))
    with pytest.raises(ValueError, match=r"dropout in \[0, 1\)"):
        learner(dropout=1.0)


def test_a_day_before_sleep_is_the_official_one() -> None:
    # NN/nnff.m, nnbp.m and nnapplygrads.m, by hand: what dropout leaves is not enlarged, and evaluation shrinks it
    network = learner(bias=False, dropout=0.25, rescale="evaluation", spread=0.5)
    layers = linear_layers(network)
    weights = [layer.weight.detach().clone() for layer in layers]
    speeds = [torch.zeros_like(weight) for weight in weights]
    kept: list[Tensor] = []
    for part in network.modules():
        if isinstance(part, nn.Dropout):
            part.register_forward_hook(lambda _, given, left: kept.append((left != 0) | (given[0] == 0)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.5)
    x, y = torch.rand(10, 1, 6, 6, generator=rng(5)), torch.arange(10) % K
    for _ in range(3):
        kept.clear()
        optimizer.zero_grad()
        output = Output(network(x), torch.empty(0))
        RectifiedSquares()(output, Dream(x, y), None).backward()
        optimizer.step()
        a1 = torch.relu(x.flatten(1) @ weights[0].T) * kept[0]
        a2 = torch.relu(a1 @ weights[1].T) * kept[1]
        d3 = torch.relu(a2 @ weights[2].T) - nn.functional.one_hot(y, K)
        d2 = (d3 @ weights[2]) * (a2 > 0)
        d1 = (d2 @ weights[1]) * (a1 > 0)
        for number, (d, a) in enumerate(((d1, x.flatten(1)), (d2, a1), (d3, a2))):
            speeds[number] = 0.5 * speeds[number] + 0.1 * d.T @ a / len(x)
            weights[number] = weights[number] - speeds[number]
    for layer, weight in zip(layers, weights, strict=True):
        torch.testing.assert_close(layer.weight, weight)
    assert not all(kept[0].flatten()), "or nothing was dropped"
    a1 = 0.75 * torch.relu(x.flatten(1) @ weights[0].T)
    torch.testing.assert_close(network.eval()(x), 0.75 * torch.relu(a1 @ weights[1].T) @ weights[2].T)


def test_dropout_is_made_up_for_in_training_or_in_evaluation() -> None:
    with pytest.raises(ValueError, match="rescale to be one of 'training', 'evaluation', got 'never'"):
        learner(dropout=0.5, rescale="never")
