"""Every problem that is found keeps the same promises, in the smallest run that each of them can have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.config import registry
from dreamer.core.tokens import Tokens
from dreamer.core.types import Dream, Output
from dreamer.objectives import HardTargets, SoftTargets
from dreamer.problems import Classification, Language, Problem, Tally
from dreamer.streams import Stream, TensorSamples, make_stream

EVERY = pytest.mark.parametrize("name", registry.names("problems"))


def make(name: str) -> Problem:
    return registry.resolve("problems", name)()


TOKENS = Tokens.of("abcde", openings=[[0], [1], [2]])


def stream(problem: Problem) -> Stream:
    """Three experiences with targets of the problem: labels, numbers, or the next tokens."""
    rng = torch.Generator().manual_seed(0)
    text = isinstance(problem, Language)
    parts = []
    for index in range(3):
        x = torch.randint(5, (12, 4), generator=rng) if text else torch.randn(12, 4, generator=rng)
        y = x.roll(-1, dims=1) if text else x.sum(dim=1)
        if problem.groups == "class":
            y = torch.arange(12) % 2 + 2 * index
        parts.append((TensorSamples(x[:8], y[:8]), TensorSamples(x[8:], y[8:])))
    return make_stream("made up", parts, validation=0.25, tokens=TOKENS if text else None)


def batch(problem: Problem) -> tuple[Tensor, Dream]:
    """Outputs for six samples, and the samples with a teacher's outputs."""
    source = stream(problem)
    rng = torch.Generator().manual_seed(1)
    samples = next(iter(source.experiences[1].train.batches([torch.arange(6)])))
    shape = (6, *problem.output_shape(source))
    outputs, teacher = (torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(2))
    return outputs, Dream(samples.x, samples.y, teacher=teacher, group=samples.group)


def perfect(problem: Problem, outputs: Tensor, y: Tensor) -> Tensor:
    """The outputs that deserve the best score."""
    exact = torch.zeros_like(outputs)
    if isinstance(problem, Language):
        return exact.scatter_(2, y[:, :, None], 9.0)
    return exact.scatter_(1, y[:, None], 9.0) if problem.groups == "class" else exact + y.reshape(outputs.shape)


@EVERY
def test_it_says_what_it_is_scored_by(name: str) -> None:
    problem = make(name)
    assert problem.score and isinstance(problem.unit, str) and problem.key.isidentifier()
    assert isinstance(problem.higher_is_better, bool) and problem.groups in ("class", "domain")


@EVERY
def test_it_takes_its_own_streams_and_refuses_others(name: str) -> None:
    problem = make(name)
    problem.check(stream(problem))
    for other in map(make, registry.names("problems")):
        if type(other) is not type(problem):
            with pytest.raises(ValueError, match="targets"):
                problem.check(stream(other))


@EVERY
def test_losses_are_scalars_with_gradients_and_objectives_use_them(name: str) -> None:
    problem = make(name)
    outputs, dream = batch(problem)
    outputs.requires_grad_()
    for objective, loss in (
        (HardTargets(weight=2.0), problem.hard_loss(Output(outputs), dream, None)),
        (SoftTargets(weight=2.0), problem.soft_loss(Output(outputs), dream, None)),
    ):
        assert loss.shape == () and loss > 0
        (gradient,) = torch.autograd.grad(loss, outputs, retain_graph=True)
        assert torch.isfinite(gradient).all() and gradient.any()
        assert torch.equal(objective.for_problem(problem)(Output(outputs), dream, None), 2 * loss)
    taught = problem.soft_loss(Output(dream.teacher), dream, None)
    assert abs(float(taught)) < 1e-6, "a learner that agrees with its teacher has nothing to learn"


@EVERY
def test_mixed_targets_have_the_loss_of_plain_ones_where_nothing_is_mixed(name: str) -> None:
    problem = make(name)
    outputs, dream = batch(problem)
    soft = problem.soft_targets(dream, stream(problem).num_groups)
    if isinstance(problem, Language):
        assert torch.equal(soft, dream.y), "tokens are not mixed"
    else:
        assert soft.shape == outputs.shape and soft.is_floating_point()
    assert problem.soft_targets(dream._replace(p=soft), 1) is soft
    plain = problem.hard_loss(Output(outputs), dream, None)
    mixed = problem.hard_loss(
        Output(outputs), dream._replace(p=soft.double() if soft.is_floating_point() else soft), None
    )
    torch.testing.assert_close(plain, mixed)


@EVERY
def test_a_score_is_counted_over_batches_of_any_size(name: str) -> None:
    problem = make(name)
    outputs, dream = batch(problem)
    whole = problem.tally(outputs, dream.y, None)
    parts = Tally()
    for index in (slice(0, 1), slice(1, 6)):
        parts += problem.tally(outputs[index], dream.y[index], None)
    assert parts.value == pytest.approx(whole.value) and parts.weight == whole.weight
    assert Tally().value is None
    best = problem.tally(perfect(problem, outputs, dream.y), dream.y, None).value
    assert (best > whole.value) == problem.higher_is_better


@EVERY
def test_what_a_teacher_says_can_be_a_target(name: str) -> None:
    problem = make(name)
    outputs, dream = batch(problem)
    source = stream(problem)
    every = torch.ones(6, source.num_groups, dtype=torch.bool)
    named = problem.name(problem.restrict(perfect(problem, outputs, dream.y), every[0]), every)
    torch.testing.assert_close(named.to(dream.y.dtype), dream.y)
    assert named.shape == dream.y.shape
    twice = torch.cat([dream.y, dream.y])
    sure = problem.sureness(torch.cat([perfect(problem, outputs, dream.y), outputs]), twice)
    assert (sure[:6] > sure[6:]).all()


@EVERY
def test_all_outputs_are_active_where_nothing_says_otherwise(name: str) -> None:
    problem = make(name)
    assert problem.active(None, batch(problem)[1]) is None


@EVERY
def test_losses_do_not_change_what_they_look_at(name: str) -> None:
    problem = make(name)
    outputs, dream = batch(problem)
    before: list[Any] = [outputs.clone(), dream.y.clone(), dream.teacher.clone()]
    problem.hard_loss(Output(outputs), dream, None)
    problem.soft_loss(Output(outputs), dream, None)
    problem.tally(outputs, dream.y, None)
    assert all(torch.equal(a, b) for a, b in zip(before, (outputs, dream.y, dream.teacher), strict=True))


def test_classes_can_count_alike_however_many_samples_they_have() -> None:
    logits = torch.eye(3)[[0, 0, 0, 1, 2, 2]]
    y = torch.tensor([0, 0, 0, 0, 1, 2])
    batches = [slice(0, 2), slice(2, 5), slice(5, 6)]

    def counted(problem: Problem) -> float | None:
        return sum((problem.tally(logits[rows], y[rows], None) for rows in batches), Tally()).value

    # three of four, none of one, one of one
    assert counted(Classification(average="classes")) == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert counted(Classification()) == pytest.approx(4 / 6)
    assert sum([], Tally()).value is None
