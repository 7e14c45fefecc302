"""Every plasticity part keeps the same promises, and the rules give the values that one works out by hand."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamer.config import registry
from dreamer.core.types import KINDS
from dreamer.networks.base import module_bytes
from dreamer.plasticity import Downscaling, MovingAverage, Plasticity, SynapticIntelligence

# every part as it is by default, and those whose options lead elsewhere
CASES = [pytest.param(name, {}, id=name) for name in registry.names("plasticity")] + [
    pytest.param("downscaling", {"rate": 0.1, "protect": 0.3, "during": "both"}, id="downscaling-protect"),
    pytest.param("moving_average", {"rate": 0.4, "decay": 0.9}, id="moving_average-rare"),
    pytest.param("synaptic_intelligence", {"c": 10.0, "epsilon": 0.001}, id="synaptic_intelligence-strong"),
]
EVERY = pytest.mark.parametrize(("name", "options"), CASES)

# a night cuts the first experience
EVENTS = [
    *("dawn", "wake", "wake", "dusk", "nrem", "rem", "wake", "wake", "dusk", "nrem", "nrem", "rem"),
    *("dawn", "wake", "wake", "wake", "dusk", "nrem", "rem", "rem"),
]


class Learner(nn.Module):
    """A learner with statistics, a frozen layer, and one that is never called."""

    def __init__(self):
        super().__init__()
        self.into = nn.Linear(6, 8)
        self.statistics = nn.BatchNorm1d(8)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.out = nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.frozen(self.statistics(self.into(x)).relu()))


def make(name: str, **options: object) -> Plasticity:
    return registry.resolve("plasticity", name)(**options)


def randoms(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def initialised() -> Learner:
    network, rng = Learner(), randoms(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=rng))
    return network


def prepared(name: str, **options: object) -> tuple[Learner, Plasticity]:
    network, part = initialised(), make(name, **options)
    part.prepare(network)
    return network, part


def train(part: Plasticity, network: nn.Module, start: int = 0, end: int = len(EVENTS)) -> None:
    """Train through some of the EVENTS; what happens at an event depends on its place alone."""
    optimiser = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.3)
    for place in range(start, end):
        event = EVENTS[place]
        if event not in KINDS:
            getattr(part, event)(network)
            continue
        x = torch.randn(16, 6, generator=randoms(place))
        loss = functional.cross_entropy(network(x), torch.arange(16) % 3)
        penalty = part.penalty(network, event)
        optimiser.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        optimiser.step()
        part.after_step(network, event, randoms(1000 + place))


def everything(*modules: nn.Module) -> list[Tensor]:
    return [tensor.clone() for module in modules for tensor in module.state_dict().values()]


def equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@EVERY
def test_a_part_stays_finite_trains_nothing_and_keeps_its_size(name: str, options: dict) -> None:
    network, part = prepared(name, **options)
    assert isinstance(part, Plasticity)
    assert equal(everything(network), everything(initialised())), "prepare changed the learner"
    keys, nbytes = list(part.state_dict()), part.nbytes
    assert nbytes == module_bytes(part) > 0
    train(part, network)
    assert list(part.state_dict()) == keys and part.nbytes == nbytes
    assert not any(weight.requires_grad for weight in part.parameters())
    assert all(torch.isfinite(tensor).all() for tensor in everything(network, part))
    assert equal(everything(network.frozen), everything(initialised().frozen))


@EVERY
@pytest.mark.parametrize("kind", KINDS)
def test_a_penalty_is_a_scalar_that_only_looks(name: str, options: dict, kind: str) -> None:
    network, part = prepared(name, **options)
    train(part, network, end=14)
    before = everything(network, part)
    penalty, again = part.penalty(network, kind), part.penalty(network, kind)
    assert equal(before, everything(network, part))
    if penalty is None:
        assert again is None
        return
    assert penalty.shape == () and torch.isfinite(penalty) and torch.equal(penalty, again)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    found = torch.autograd.grad(penalty, weights, allow_unused=True)
    assert all(gradient is None or torch.isfinite(gradient).all() for gradient in found)


@EVERY
def test_dawn_and_dusk_leave_the_learner_alone(name: str, options: dict) -> None:
    network, part = prepared(name, **options)
    train(part, network, end=14)
    before = everything(network)
    part.dusk(network)
    part.dawn(network)
    assert equal(before, everything(network))


@EVERY
def test_the_same_randoms_give_the_same_run_and_global_ones_are_left_alone(name: str, options: dict) -> None:
    state = torch.get_rng_state()
    network, part = prepared(name, **options)
    twin, other = prepared(name, **options)
    torch.manual_seed(7)
    drawn = torch.get_rng_state()
    train(part, network)
    assert torch.equal(drawn, torch.get_rng_state())
    train(other, twin)
    assert equal(everything(network, part), everything(twin, other))
    torch.set_rng_state(state)


@EVERY
def test_a_run_that_is_killed_anywhere_resumes_as_if_nothing_had_happened(name: str, options: dict) -> None:
    network, part = prepared(name, **options)
    train(part, network)
    expected = everything(network, part)
    for killed in range(1, len(EVENTS)):
        network, part = prepared(name, **options)
        train(part, network, end=killed)
        file = io.BytesIO()
        torch.save([network.state_dict(), part.state_dict()], file)
        file.seek(0)
        network, part = prepared(name, **options)
        for module, state in zip((network, part), torch.load(file, weights_only=True), strict=True):
            module.load_state_dict(state)
        train(part, network, start=killed)
        assert equal(expected, everything(network, part)), f"killed before event {killed}, {EVENTS[killed]}"


@EVERY
def test_an_average_has_outputs_of_its_own(name: str, options: dict) -> None:
    network, part = prepared(name, **options)
    train(part, network)
    if part.average is None:
        return
    x = torch.randn(4, 6, generator=randoms(0))
    output = part.average(x)
    assert output.shape == (4, 3) and not output.requires_grad and torch.isfinite(output).all()
    with torch.no_grad():
        network.into.weight.zero_()
    assert torch.equal(part.average(x), output)


def one_weight(value: float) -> tuple[nn.Module, nn.Parameter]:
    network = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(network.weight, value)
    return network, network.weight


def descend(part: Plasticity, network: nn.Module, centre: float, steps: int, lr: float, kind: str = "wake") -> None:
    """Gradient descent on ``2 (weight - centre)^2`` and the penalty."""
    optimiser = torch.optim.SGD(network.parameters(), lr=lr)
    for step in range(steps):
        penalty = part.penalty(network, kind)
        loss = 2 * (network.weight - centre).square().sum()
        optimiser.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        optimiser.step()
        part.after_step(network, kind, randoms(step))


def test_importance_is_the_path_integral_worked_out_by_hand() -> None:
    network, weight = one_weight(1.0)
    part = SynapticIntelligence(c=0.7, epsilon=0.2)
    part.prepare(network)
    theta, importance, reference = 1.0, 0.0, 1.0
    for centre in (3.0, -1.0):
        part.dawn(network)
        descend(part, network, centre, steps=5, lr=0.05)
        part.dusk(network)
        path = 0.0
        for _ in range(5):
            gradient = 4 * (theta - centre) + 2 * 0.7 * importance * (theta - reference)
            path += 0.05 * gradient**2
            theta -= 0.05 * gradient
        importance += path / ((theta - reference) ** 2 + 0.2)
        reference = theta
        assert float(weight.detach()) == pytest.approx(theta, rel=1e-12)
        assert float(part.get_buffer("importance__weight")) == pytest.approx(importance, rel=1e-12)
    with torch.no_grad():
        weight.add_(0.25)
    penalty = part.penalty(network, "wake")
    assert penalty is not None and float(penalty.detach()) == pytest.approx(0.7 * importance * 0.0625, rel=1e-12)


def test_the_path_adds_up_to_the_fall_of_the_loss() -> None:
    network, weight = one_weight(1.0)
    part = SynapticIntelligence()
    part.prepare(network)
    part.dawn(network)
    descend(part, network, 3.0, steps=2000, lr=1e-4)
    fall = 2 * (1.0 - 3.0) ** 2 - 2 * (float(weight.detach()) - 3.0) ** 2
    assert float(part.get_buffer("path__weight")) == pytest.approx(fall, rel=1e-3)


@pytest.mark.parametrize("kind", ["nrem", "rem"])
def test_synaptic_intelligence_rests_in_sleep_and_holds_to_what_sleep_left(kind: str) -> None:
    network, weight = one_weight(1.0)
    part = SynapticIntelligence()
    part.prepare(network)
    part.dawn(network)
    descend(part, network, 3.0, steps=5, lr=0.05)
    part.dusk(network)
    learnt = part.get_buffer("importance__weight").clone()
    assert part.penalty(network, kind) is None
    descend(part, network, 2.0, steps=5, lr=0.05, kind=kind)
    assert torch.equal(part.get_buffer("importance__weight"), learnt)
    assert float(part.get_buffer("path__weight")) == 0
    # even where no dawn follows, because the night cut an experience
    assert float(part.penalty(network, "wake").detach()) == 0
    before = float(weight.detach())
    descend(part, network, 0.0, steps=1, lr=0.05)
    assert float(part.get_buffer("path__weight")) == pytest.approx(4 * before * (before - float(weight.detach())))


def test_synaptic_intelligence_leaves_frozen_and_unused_weights_out() -> None:
    network, part = prepared("synaptic_intelligence")
    train(part, network)
    assert (part.get_buffer("importance__into__weight") != 0).any()
    assert (part.get_buffer("importance__unused__weight") == 0).all()
    assert not any("frozen" in key for key in part.state_dict())


def test_a_step_that_was_skipped_for_its_infinite_gradients_leaves_no_trace() -> None:
    network, weight = one_weight(1.0)
    part = SynapticIntelligence()
    part.prepare(network)
    part.dawn(network)
    weight.grad = torch.full_like(weight, torch.inf)
    part.after_step(network, "wake", randoms(0))
    assert float(part.get_buffer("path__weight")) == 0


def walk(part: Plasticity, network: nn.Module, steps: int) -> list[Tensor]:
    """Move the weights at random; gives them as they were from the start on."""
    places = [network.weight.detach().clone()]
    for step in range(steps):
        with torch.no_grad():
            network.weight.add_(torch.randn(network.weight.shape, generator=randoms(step), dtype=torch.float64))
        part.after_step(network, "wake", randoms(1000 + step))
        places.append(network.weight.detach().clone())
    return places


def average_weight(part: MovingAverage) -> Tensor:
    assert part.average is not None
    return next(part.average.parameters())


def test_a_young_average_is_the_mean_of_all_weights_so_far() -> None:
    network, _ = one_weight(1.0)
    part = MovingAverage(rate=1.0, decay=0.999)
    part.prepare(network)
    places = walk(part, network, 20)
    assert torch.allclose(average_weight(part), torch.stack(places).mean(dim=0), rtol=1e-5)


def test_an_average_forgets_with_its_decay() -> None:
    network, _ = one_weight(1.0)
    part = MovingAverage(rate=1.0, decay=0.5)
    part.prepare(network)
    places = walk(part, network, 12)
    expected = 0.5**12 * places[0] + sum(0.5 ** (13 - i) * places[i] for i in range(1, 13))
    assert torch.allclose(average_weight(part), expected, rtol=1e-5)


def test_an_average_is_updated_at_its_rate() -> None:
    network, _ = one_weight(1.0)
    part = MovingAverage(rate=0.3, decay=0.5)
    part.prepare(network)
    updates = 0
    for step in range(1000):
        before = average_weight(part).clone()
        with torch.no_grad():
            network.weight.add_(1.0)
        part.after_step(network, "wake", randoms(step))
        updates += int(not torch.equal(before, average_weight(part)))
    assert 250 < updates < 350
    assert int(part.get_buffer("steps")) == 1000


def test_two_averages_that_draw_from_the_same_randoms_do_not_disturb_each_other() -> None:
    stable = {}
    for rate in (0.2, 1.0):
        network, _ = one_weight(1.0)
        pair = MovingAverage(rate=rate), MovingAverage(rate=0.5)
        for part in pair:
            part.prepare(network)
        for step in range(20):
            with torch.no_grad():
                network.weight.add_(1.0)
            rng = randoms(step)
            for part in pair:
                part.after_step(network, "wake", rng)
        stable[rate] = average_weight(pair[1])
    assert torch.equal(stable[0.2], stable[1.0])


def test_an_average_takes_over_the_statistics_of_batch_normalisation() -> None:
    network, part = prepared("moving_average", rate=1.0)
    train(part, network)
    copied = part.average.network
    assert torch.equal(copied.statistics.running_mean, network.statistics.running_mean)
    assert not torch.equal(copied.into.weight, network.into.weight)


def scaled(part: Downscaling, dawn: list, dusk: list, kind: str = "nrem", steps: int = 1) -> Tensor:
    """Weights after sleep, given those at dawn and at dusk."""
    network = nn.Linear(len(dawn[0]), len(dawn), dtype=torch.float64)
    part.prepare(network)
    with torch.no_grad():
        network.weight.copy_(torch.tensor(dawn, dtype=torch.float64))
        network.bias.fill_(5.0)
        part.dawn(network)
        network.weight.copy_(torch.tensor(dusk, dtype=torch.float64))
    for step in range(steps):
        part.after_step(network, kind, randoms(step))
    assert (network.bias == 5).all()
    return network.weight.detach()


def test_each_neuron_falls_back_by_the_rate_or_by_what_is_missing() -> None:
    # norms at dawn 5, 5, 5; at dusk 10 (the rate), 5.2 (what is missing) and 2.5 (nothing)
    weight = scaled(Downscaling(rate=0.1), [[3.0, 4.0]] * 3, [[6.0, 8.0], [3.12, 4.16], [1.5, 2.0]])
    expected = torch.tensor([[5.4, 7.2], [3.0, 4.0], [1.5, 2.0]], dtype=torch.float64)
    assert torch.allclose(weight, expected, rtol=1e-12)


def test_the_strongest_weights_of_a_neuron_can_be_spared() -> None:
    weight = scaled(Downscaling(rate=0.1, protect=0.5), [[1.0, 1.0, 1.0, 1.0]], [[3.0, -2.0, 1.0, -1.0]])
    assert torch.allclose(weight, torch.tensor([[3.0, -2.0, 0.9, -0.9]], dtype=torch.float64), rtol=1e-12)
    # norm 4 at dawn, sqrt(18) at dusk: sparing 4, the other weight must vanish, but loses no more than the rate
    weight = scaled(Downscaling(rate=0.1, protect=0.5), [[4.0, 0.0]], [[4.0, -1.0]], steps=3)
    assert torch.allclose(weight, torch.tensor([[4.0, -(0.9**3)]], dtype=torch.float64), rtol=1e-12)


def test_no_night_is_so_long_that_a_network_falls_silent() -> None:
    dawn = torch.randn(4, 6, generator=randoms(0), dtype=torch.float64)
    weight = scaled(Downscaling(rate=0.01), dawn.tolist(), (3 * dawn).tolist(), steps=2000)
    assert torch.allclose(weight, dawn, rtol=1e-9)


@pytest.mark.parametrize(
    ("during", "kinds"), [("nrem", {"nrem"}), ("rem", {"rem"}), ("both", {"nrem", "rem"})], ids=["nrem", "rem", "both"]
)
def test_downscaling_happens_in_its_kind_of_sleep(during: str, kinds: set[str]) -> None:
    changed = {kind for kind in KINDS if scaled(Downscaling(0.1, during=during), [[1.0]], [[2.0]], kind)[0, 0] != 2}
    assert changed == kinds


def test_downscaling_scales_the_filters_of_a_convolution() -> None:
    network = nn.Conv2d(2, 3, 3)
    part = Downscaling(rate=0.5)
    part.prepare(network)
    before = network.weight.detach().clone()
    with torch.no_grad():
        network.weight[1] *= 1.5
    part.after_step(network, "nrem", randoms(0))
    assert torch.allclose(network.weight, before, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("downscaling", {"rate": 1.0}, r"rate in \[0, 1\), got 1.0"),
        ("downscaling", {"protect": -0.1}, r"protect in \[0, 1\), got -0.1"),
        ("moving_average", {"rate": 0.0}, r"rate in \(0, 1\], got 0.0"),
        ("moving_average", {"decay": 1.0}, r"decay in \[0, 1\), got 1.0"),
        ("synaptic_intelligence", {"c": -1.0}, "c of at least 0, got -1.0"),
        ("synaptic_intelligence", {"epsilon": 0.0}, "epsilon above 0, got 0.0"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, **options)
