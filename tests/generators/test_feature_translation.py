"""Translated samples, held against the formula by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamer.core.types import Batch
from dreamer.generators import FeatureTranslation, LatentGaussians
from dreamer.loop.plan import stored
from dreamer.memory import ClassStatistics
from dreamer.stages import Wake

OLD = Batch(torch.tensor([[1.0, 1.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 5.0]]), torch.tensor([0, 0, 1]))
# class 2 lies along class 0, class 3 along class 1
NEW = Batch(
    torch.tensor([[4.0, 2.0, 0.0], [8.0, 4.0, 1.0], [0.0, 1.0, 9.0], [0.0, 0.0, 7.0]]), torch.tensor([2, 2, 3, 3])
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(*days: Batch, capacity: int = 100) -> FeatureTranslation:
    generator = FeatureTranslation((3,), 4, capacity)
    for number, day in enumerate(days):
        generator.end_experience([day], number, rng())
    return generator


def dreams(generator: FeatureTranslation, label: int) -> Tensor:
    """The different dreams of a class, sorted."""
    return generator.dream(torch.full((200,), label), rng(1)).x.unique(dim=0)


def test_an_old_class_is_the_most_similar_new_one_with_its_own_mean() -> None:
    generator = trained(OLD, NEW)
    # mean of class 0: (2, 1, 0), of class 2: (6, 3, 0.5); of class 1: (0, 0, 5), of class 3: (0, 0.5, 8)
    assert torch.allclose(dreams(generator, 0), torch.tensor([[0.0, 0.0, -0.5], [4.0, 2.0, 0.5]]))
    assert torch.allclose(dreams(generator, 1), torch.tensor([[0.0, -0.5, 4.0], [0.0, 0.5, 6.0]]))


def test_a_new_class_is_itself() -> None:
    generator = trained(OLD, NEW)
    assert torch.equal(dreams(generator, 2), NEW.x[:2])
    assert torch.equal(dreams(generator, 3), NEW.x[[3, 2]])


def test_the_mean_of_an_old_class_stays_as_it_was() -> None:
    generator = trained(OLD, NEW, Batch(torch.rand(4, 3, generator=rng()), torch.tensor([2, 2, 2, 2])))
    assert torch.allclose(dreams(generator, 0).mean(dim=0), torch.tensor([2.0, 1.0, 0.0]), atol=1e-5)


def test_it_keeps_no_more_samples_than_its_capacity_and_none_of_earlier_experiences() -> None:
    generator = trained(OLD, NEW, capacity=2)
    (snapshot,) = generator.snapshots
    assert snapshot.kept.shape == (2, 3)
    assert all(any(torch.equal(kept, new) for new in NEW.x) for kept in snapshot.kept)


def test_a_run_with_it_is_said_to_store_real_samples() -> None:
    assert stored(None, trained(OLD), Wake()) == "samples"
    assert stored(None, LatentGaussians((3,), 4), Wake()) == "nothing"
    assert stored(ClassStatistics(), None, Wake()) == "statistics"
    assert stored(None, None, Wake(data="cumulative")) == "samples"
