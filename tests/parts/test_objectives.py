"""Every objective keeps the same promises, and the formulas give the values of other code."""

from __future__ import annotations

import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.nn import functional

from dreamer import parts
from dreamer.objectives import CrossEntropy, Distillation, judge
from dreamer.types import Dream

NAMES = parts.names("objectives")


def batch() -> tuple[torch.Tensor, Dream]:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(16, 5, generator=rng, dtype=torch.float64)
    teacher = torch.randn(16, 5, generator=rng, dtype=torch.float64)
    y = torch.arange(16) % 3
    return logits, Dream(torch.zeros(16, 1), y, None, teacher)


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    objective = parts.resolve("objectives", name)()
    logits, dream = batch()
    logits.requires_grad_()
    before = logits.detach().clone()
    loss = objective(logits, dream, None)
    assert loss.shape == () and torch.isfinite(loss) and loss > 0
    loss.backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert torch.equal(before, logits.detach())
    doubled = parts.resolve("objectives", name)(weight=2.0)(logits, dream, None)
    assert torch.isclose(doubled, 2 * loss)
    assert torch.autograd.gradcheck(lambda x: objective(x, dream, None), logits)


@pytest.mark.parametrize("name", NAMES)
def test_inactive_outputs_get_no_gradient(name: str) -> None:
    logits, dream = batch()
    dream = dream._replace(teacher=dream.teacher.clone().index_fill(1, torch.tensor([3, 4]), -torch.inf))
    active = torch.tensor([True, True, True, False, False]).expand(16, 5)
    logits.requires_grad_()
    loss = parts.resolve("objectives", name)()(logits, dream, active)
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None
    assert (logits.grad[:, 3:] == 0).all() and (logits.grad[:, :3] != 0).any()


def test_cross_entropy_equals_its_formula() -> None:
    logits, dream = batch()
    expected = -log_softmax(logits.numpy(), axis=1)[range(16), dream.y.numpy()].mean()
    assert float(CrossEntropy()(logits, dream, None)) == pytest.approx(expected, rel=1e-12)
    p = functional.one_hot(dream.y, 5).double() * 0.75 + 0.05
    expected = -(p.numpy() * log_softmax(logits.numpy(), axis=1)).sum(axis=1).mean()
    assert float(CrossEntropy()(logits, dream._replace(p=p), None)) == pytest.approx(expected, rel=1e-12)


def test_distillation_equals_its_formula() -> None:
    logits, dream = batch()
    assert dream.teacher is not None
    target = softmax(dream.teacher.numpy() / 3, axis=1)
    expected = 9 * (target * (log_softmax(dream.teacher.numpy() / 3, axis=1) - log_softmax(logits.numpy() / 3, axis=1)))
    assert float(Distillation(3.0)(logits, dream, None)) == pytest.approx(expected.sum(axis=1).mean(), rel=1e-10)


def test_a_learner_that_equals_its_teacher_has_nothing_to_learn() -> None:
    logits, dream = batch()
    assert float(Distillation()(logits, dream._replace(teacher=logits), None)) == pytest.approx(0, abs=1e-12)


def test_classes_that_the_teacher_never_met_are_unlearnt() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    teacher = torch.tensor([[1.0, 1.0, -torch.inf]])
    Distillation(1.0)(logits, Dream(torch.zeros(1, 1), torch.tensor([0]), None, teacher), None).backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, torch.tensor([[1 / 3 - 0.5, 1 / 3 - 0.5, 1 / 3]]))


def test_objectives_are_added() -> None:
    logits, dream = batch()
    both = judge([CrossEntropy(), Distillation(weight=0.5)], logits, dream, None)
    apart = CrossEntropy()(logits, dream, None) + 0.5 * Distillation()(logits, dream, None)
    assert torch.isclose(both, apart)


def test_distillation_without_a_teacher_is_refused() -> None:
    logits, dream = batch()
    with pytest.raises(ValueError, match="teacher"):
        Distillation()(logits, dream._replace(teacher=None), None)
    with pytest.raises(ValueError, match="temperature above 0"):
        Distillation(0.0)
