"""Which teacher says what of which dream."""

from __future__ import annotations

import statistics
import warnings
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from dreamer import config
from dreamer.core.types import Batch, Dream, SleepContext
from dreamer.generators import VAE
from dreamer.networks.base import Frozen
from dreamer.runs.run_config import run_config
from dreamer.stages import NREM
from dreamer.streams import digits
from tests.helpers.tiny_runs import train

OLD = torch.tensor([True, True, False, False])


class Counting(nn.Module):
    """A network that counts what it is shown, and refuses an empty batch."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(3, 4)
        self.shown: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if not len(x):
            raise RuntimeError("an empty batch")
        self.shown.append(len(x))
        return self.layer(x)


def second_night(dawn: Frozen, dusk: Frozen, new: Tensor, generator: VAE | None = None) -> SleepContext:
    """What a stage is told in the night after the second experience."""
    return SleepContext(
        network=nn.Identity(),
        dawn=dawn,
        dusk=dusk,
        averages=(),
        memory=None,
        generator=generator,
        old_classes=OLD,
        new_classes=new,
        active=None,
        experiences_seen=2,
        night=1,
    )


def taught(y: list[int], new: Tensor = ~OLD) -> tuple[Dream, Tensor, Frozen, Frozen]:
    """Dreams of classes as a night's teachers see them; what each teacher's network says of all of them."""
    with torch.random.fork_rng():
        dawn, dusk = Frozen(Counting(1)), Frozen(Counting(2))
    x = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(0))
    context = second_night(dawn, dusk, new)
    dream = NREM().teach(context, Dream(x, torch.tensor(y)))
    assert dream.teacher is not None
    return dream, x, dawn, dusk


def test_dawn_names_the_old_classes_and_dusk_the_new_ones_each_among_its_own() -> None:
    dream, x, dawn, dusk = taught([0, 3, 1, 2, 2])
    old, new = dawn.network.layer(x), dusk.network.layer(x)
    none = float("-inf")
    for row, label in enumerate(dream.y.tolist()):
        expected = (
            torch.stack([*old[row, :2], *torch.full((2,), none)])
            if label < 2
            else torch.stack([*torch.full((2,), none), *new[row, 2:]])
        )
        assert torch.allclose(dream.teacher[row], expected, atol=1e-6)


@pytest.mark.parametrize(("y", "by_dawn", "by_dusk"), [([0, 3, 1, 2, 2], [2], [3]), ([0, 1], [2], []), ([3], [], [1])])
def test_each_teacher_is_shown_its_own_dreams_alone(y: list[int], by_dawn: list[int], by_dusk: list[int]) -> None:
    _, _, dawn, dusk = taught(y)
    assert (dawn.network.shown, dusk.network.shown) == (by_dawn, by_dusk)


def test_of_a_class_that_came_back_the_teacher_speaks_who_is_surer_of_it() -> None:
    new = torch.tensor([False, True, True, True])
    dream, x, dawn, dusk = taught([0, 1] * 10, new=new)
    old, recent = dawn.network.layer(x), dusk.network.layer(x)
    by_dawn = old.softmax(1)[:, 1] > recent.softmax(1)[:, 1]
    assert 0 < by_dawn[1::2].sum() < 10
    for row, label in enumerate(dream.y.tolist()):
        outputs, seen = (old, OLD) if label == 0 or by_dawn[row] else (recent, new)
        assert torch.allclose(dream.teacher[row], outputs[row].masked_fill(~seen, -torch.inf), atol=1e-6)


class Teacher(nn.Module):
    """A network that gives every sample the same logits."""

    def __init__(self, *logits: float):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize("teacher", ["both", "dusk"])  # who teaches does not decide who names
@pytest.mark.parametrize(
    ("continual", "new", "named"),
    [
        ("grow", ~OLD, [1, 1, 3, 3]),  # of an old snapshot by dawn, of the last by dusk
        ("grow", torch.tensor([True, False, True, True]), [3, 1, 3, 3]),  # class 0 came back: by the surer one
        ("rehearse", ~OLD, [3, 3, 3, 3]),  # one snapshot of all: nobody knows, and dusk saw all of them
    ],
)
def test_dreams_without_labels_are_named_by_whoever_has_not_forgotten(
    teacher: Literal["both", "dusk"], continual: Literal["grow", "rehearse"], new: Tensor, named: list[int]
) -> None:
    generator, rng = VAE((3,), 4, latent_dim=2, hidden=(4,), continual=continual), torch.Generator().manual_seed(0)
    for experience, labels in enumerate(([0, 1], [2, 3])):
        generator.end_experience([Batch(torch.rand(2, 3), torch.tensor(labels))], experience, rng)
    if not torch.equal(new, ~OLD):
        generator.snapshots[-1].classes = torch.tensor([0, 2, 3])
    context = second_night(Frozen(Teacher(0.0, 2.0, 0.0, 0.0)), Frozen(Teacher(0.0, 0.0, 0.0, 9.0)), new, generator)
    drawn = torch.arange(4)
    dream = generator.dream(drawn, rng)
    stage = NREM(1, perturbations=[], teacher=teacher)
    only = [torch.zeros(4, dtype=torch.bool).index_fill(0, label, True) for label in drawn[:, None]]
    assert dream.y.tolist() == [-1] * 4
    assert [int(stage.replayer(context, classes, 1, rng).y) for classes in only] == named


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        ((), True),
        (("generator.continual=grow",), False),
        (("wake.replay=8",), False),
        (("stream.experiences=1",), False),
    ],
)
def test_a_night_is_warned_of_whose_dreams_nobody_can_name(words: tuple[str, ...], warned: bool) -> None:
    settings = config.read("digits", "generator={name: vae}", *words, seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stream = digits(experiences=int(settings["stream"].get("experiences", 5)))
        run_config(settings).build_module(stream).plan(stream)
    assert any("dreams of VAE have no labels" in str(each.message) for each in caught) is warned


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nights_recover_old_classes_of_dreams_without_labels(seed: int) -> None:
    vae = "generator={name: vae, continual: grow, latent_dim: 16, hidden: [200]}"
    words = (vae, "stream.experiences=2", "wake.steps=300", "night.1.steps=[10,200]")
    torch.manual_seed(seed)
    stream = digits(experiences=2)
    module = run_config(config.read("digits", *words, seed=seed)).build_module(stream)
    train(module, stream)
    evening, morning = (
        statistics.mean(row["accuracy"][:2]) for row in module.results()["accuracy_matrix"]["rows"][-2:]
    )
    assert morning > evening + 0.2 and morning > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nights_recover_old_domains_of_the_same_classes(seed: int) -> None:
    """Odd or even, of two other digits every day: what dusk has forgotten dawn teaches."""
    words = ("stream.scenario=domain", "stream.experiences=3", "wake.steps=200", "night.1.steps=[10,150,300]")
    torch.manual_seed(seed)
    stream = digits(scenario="domain", experiences=3)
    module = run_config(config.read("digits", *words, seed=seed)).build_module(stream)
    train(module, stream)
    evening, morning = (
        statistics.mean(row["accuracy"][:2]) for row in module.results()["accuracy_matrix"]["rows"][-2:]
    )
    assert morning > evening + 0.2 and morning > 0.9
