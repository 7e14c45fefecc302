"""Every objective keeps the same promises, and the formulas give the values of other code."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import cosine
from scipy.special import log_softmax, softmax
from sklearn.metrics import mean_squared_error
from torch import Tensor
from torch.nn import functional

from dreamer.config import registry
from dreamer.core.types import Dream, Output
from dreamer.objectives import (
    AsymmetricCrossEntropy,
    CrossEntropy,
    Distillation,
    FeatureDistillation,
    LogitMatching,
    Objective,
    RectifiedSquares,
    total_loss,
)

# every objective as it is by default, and those whose options lead elsewhere
CASES = [pytest.param(name, {}, id=name) for name in registry.names("objectives")] + [
    pytest.param("feature_distillation", {"distance": "cosine"}, id="feature_distillation-cosine"),
    pytest.param("logit_matching", {"to": "teacher"}, id="logit_matching-teacher"),
]
EVERY = pytest.mark.parametrize(("name", "options"), CASES)


def make(name: str, **options: object) -> Objective:
    return registry.resolve("objectives", name)(**options)


def batch() -> tuple[Output, Dream]:
    """An output, and a dream that carries whatever an objective may need."""
    rng = torch.Generator().manual_seed(0)
    logits, teacher, stored = (torch.randn(16, 5, generator=rng, dtype=torch.float64) for _ in range(3))
    features, taught = (torch.randn(16, 7, generator=rng, dtype=torch.float64) for _ in range(2))
    dream = Dream(torch.zeros(16, 1), torch.arange(16) % 3, None, teacher, taught, stored)
    return Output(logits.requires_grad_(), features.requires_grad_()), dream


def gradients(loss: Tensor, output: Output) -> tuple[Tensor, Tensor]:
    """The gradients of logits and features, zero where nothing leads there."""
    found = torch.autograd.grad(loss, (output.logits, output.features), allow_unused=True)
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(output, found, strict=True))


@EVERY
def test_contract(name: str, options: dict) -> None:
    objective = make(name, **options)
    output, dream = batch()
    before = [x.detach().clone() for x in (*output, dream.teacher, dream.teacher_features, dream.logits)]
    loss = objective(output, dream, None)
    assert loss.shape == () and torch.isfinite(loss) and loss > 0
    found = gradients(loss, output)
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert any((gradient != 0).any() for gradient in found)
    after = (*output, dream.teacher, dream.teacher_features, dream.logits)
    assert all(torch.equal(old, new.detach()) for old, new in zip(before, after, strict=True))
    doubled = make(name, **options, weight=2.0)(output, dream, None)
    assert torch.isclose(doubled, 2 * loss)
    assert torch.autograd.gradcheck(lambda *given: objective(Output(*given), dream, None), tuple(output))


@EVERY
def test_inactive_outputs_get_no_gradient(name: str, options: dict) -> None:
    output, dream = batch()
    dream = dream._replace(teacher=dream.teacher.clone().index_fill(1, torch.tensor([3, 4]), -torch.inf))
    active = torch.tensor([True, True, True, False, False]).expand(16, 5)
    loss = make(name, **options)(output, dream, active)
    logits, features = gradients(loss, output)
    assert torch.isfinite(loss) and torch.isfinite(logits).all()
    assert (logits[:, 3:] == 0).all() and ((logits[:, :3] != 0).any() or (features != 0).any())


@EVERY
def test_only_the_fields_that_an_objective_names_are_needed(name: str, options: dict) -> None:
    objective = make(name, **options)
    output, dream = batch()
    needs = {
        "teacher": objective.needs_teacher,
        "teacher_features": objective.needs_teacher and objective.needs_features,
        "logits": objective.needs_logits,
    }
    scarce = dream._replace(**{field: None for field, needed in needs.items() if not needed})
    seen = output if objective.needs_features else Output(output.logits)
    assert torch.equal(objective(seen, scarce, None), objective(output, dream, None))
    required = [field for field, needed in needs.items() if needed]
    if required:
        with pytest.raises(ValueError, match="needs"):
            objective(seen, scarce._replace(**dict.fromkeys(required)), None)
    if objective.needs_features:
        with pytest.raises(ValueError, match="needs features"):
            objective(Output(output.logits), dream, None)


@EVERY
def test_a_teacher_who_knows_no_active_output_leaves_the_loss_finite(name: str, options: dict) -> None:
    output, dream = batch()
    dream = dream._replace(teacher=dream.teacher.clone().index_fill(1, torch.tensor([0, 1, 2]), -torch.inf))
    active = torch.tensor([True, True, True, False, False]).expand(16, 5)
    loss = make(name, **options)(output, dream, active)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(loss, output))


@EVERY
def test_mixed_labels_and_half_precision_outputs_are_served(name: str, options: dict) -> None:
    output, dream = batch()
    p = functional.one_hot(dream.y, 5).float() * 0.75 + 0.05
    dream = dream._replace(
        p=p, teacher=dream.teacher.float(), teacher_features=dream.teacher_features.float(), logits=dream.logits.float()
    )
    half = Output(*(x.detach().to(torch.bfloat16).requires_grad_() for x in output))
    loss = make(name, **options)(half, dream, None)
    exact = make(name, **options)(output, dream, None)
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.05)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(loss, half))


def value(loss: Tensor) -> float:
    return float(loss.detach())


def test_cross_entropy_equals_its_formula() -> None:
    output, dream = batch()
    logits = output.logits.detach().numpy()
    expected = -log_softmax(logits, axis=1)[range(16), dream.y.numpy()].mean()
    assert value(CrossEntropy()(output, dream, None)) == pytest.approx(expected, rel=1e-12)
    p = functional.one_hot(dream.y, 5).double() * 0.75 + 0.05
    expected = -(p.numpy() * log_softmax(logits, axis=1)).sum(axis=1).mean()
    assert value(CrossEntropy()(output, dream._replace(p=p), None)) == pytest.approx(expected, rel=1e-12)


def test_asymmetric_cross_entropy_is_cross_entropy_among_the_classes_present() -> None:
    output, dream = batch()
    logits = output.logits.detach().numpy()
    expected = -log_softmax(logits[:, :3], axis=1)[range(16), dream.y.numpy()].mean()
    loss = AsymmetricCrossEntropy()(output, dream, None)
    assert value(loss) == pytest.approx(expected, rel=1e-12)
    absent = gradients(loss, output)[0][:, 3:]
    assert (absent == 0).all()


def test_asymmetric_cross_entropy_keeps_to_the_active_outputs() -> None:
    output, dream = batch()
    dream = dream._replace(y=torch.tensor([0, 3]).repeat(8))
    tasks = torch.tensor([[True, True, True, False, False], [False, False, False, True, True]]).repeat(8, 1)
    # each sample's class is the only one that is present and active
    assert value(AsymmetricCrossEntropy()(output, dream, tasks)) == pytest.approx(0, abs=1e-12)


def test_asymmetric_cross_entropy_counts_a_class_that_is_mixed_in_as_present() -> None:
    output, dream = batch()
    p = functional.one_hot(dream.y, 5).double()
    p[0] = torch.tensor([0.6, 0, 0, 0.4, 0], dtype=torch.float64)
    logits = output.logits.detach().numpy()[:, :4]
    expected = -(p.numpy()[:, :4] * log_softmax(logits, axis=1)).sum(axis=1).mean()
    assert value(AsymmetricCrossEntropy()(output, dream._replace(p=p), None)) == pytest.approx(expected, rel=1e-12)


def test_distillation_equals_its_formula() -> None:
    output, dream = batch()
    logits, taught = output.logits.detach().numpy(), dream.teacher.numpy()
    expected = 9 * (softmax(taught / 3, axis=1) * (log_softmax(taught / 3, axis=1) - log_softmax(logits / 3, axis=1)))
    assert value(Distillation(3.0)(output, dream, None)) == pytest.approx(expected.sum(axis=1).mean(), rel=1e-10)


def test_distillation_per_output_is_the_official_loss_of_2018() -> None:
    # GMvandeVen/continual-learning at 39301f9, utils.loss_fn_kd: T^2 times the mean over samples and active outputs
    output, dream = batch()
    dream = dream._replace(teacher=dream.teacher.clone().index_fill_(1, torch.tensor([2, 3, 4]), -torch.inf))
    groups = torch.tensor([True, True, True, True, False]).expand(16, 5)
    log_q = functional.log_softmax(output.logits[:, :4] / 2, dim=1)
    p = functional.pad(functional.softmax(dream.teacher[:, :2] / 2, dim=1), (0, 2))
    official = gradients(4 * (-p * log_q).mean(), output)[0]
    ours = gradients(Distillation(per_output=True)(output, dream, groups), output)[0]
    torch.testing.assert_close(ours, official)
    all_outputs = Distillation(per_output=True)(output, batch()[1], None)
    assert torch.isclose(all_outputs, Distillation()(output, batch()[1], None) / 5)


def test_classes_that_the_teacher_has_not_seen_are_unlearnt() -> None:
    output = Output(torch.zeros(1, 3, requires_grad=True), torch.zeros(1, 1, requires_grad=True))
    dream = Dream(torch.zeros(1, 1), torch.tensor([0]), teacher=torch.tensor([[1.0, 1.0, -torch.inf]]))
    logits, _ = gradients(Distillation(1.0)(output, dream, None), output)
    assert torch.allclose(logits, torch.tensor([[1 / 3 - 0.5, 1 / 3 - 0.5, 1 / 3]]))


def test_a_sample_of_which_the_teacher_knows_nothing_adds_nothing_to_distillation() -> None:
    output, dream = batch()
    teacher = dream.teacher.clone()
    teacher[:8] = -torch.inf
    loss = Distillation()(output, dream._replace(teacher=teacher), None)
    taught = Distillation()(Output(output.logits[8:]), dream._replace(teacher=teacher[8:]), None)
    assert torch.isclose(loss, taught / 2)
    assert (gradients(loss, output)[0][:8] == 0).all()


def test_feature_distillation_equals_its_formulas() -> None:
    output, dream = batch()
    features, taught = output.features.detach().numpy(), dream.teacher_features.numpy()
    squared = value(FeatureDistillation()(output, dream, None))
    assert squared == pytest.approx(mean_squared_error(taught, features), rel=1e-12)
    apart = sum(cosine(f, g) for f, g in zip(features, taught, strict=True)) / 16
    assert value(FeatureDistillation("cosine")(output, dream, None)) == pytest.approx(apart, rel=1e-12)


def test_the_cosine_of_features_does_not_look_at_their_length() -> None:
    output, dream = batch()
    longer = dream._replace(teacher_features=3 * output.features.detach())
    assert value(FeatureDistillation("cosine")(output, longer, None)) == pytest.approx(0, abs=1e-12)
    assert value(FeatureDistillation()(output, longer, None)) > 1


def test_feature_distillation_refuses_dreams_that_enter_behind_the_features() -> None:
    output, dream = batch()
    with pytest.raises(ValueError, match="behind the features"):
        FeatureDistillation()(output, dream._replace(is_features=True), None)


def test_logit_matching_equals_its_formula() -> None:
    output, dream = batch()
    logits = output.logits.detach().numpy()
    stored = value(LogitMatching()(output, dream, None))
    assert stored == pytest.approx(mean_squared_error(dream.logits.numpy(), logits), rel=1e-12)
    taught = value(LogitMatching("teacher")(output, dream, None))
    assert taught == pytest.approx(mean_squared_error(dream.teacher.numpy(), logits), rel=1e-12)


def test_logit_matching_sums_stored_and_active_logits_and_means_over_all() -> None:
    output, dream = batch()
    teacher = dream.teacher.clone().index_fill(1, torch.tensor([4]), -torch.inf)
    active = torch.tensor([True, False, True, True, True]).expand(16, 5)
    loss = LogitMatching("teacher")(output, dream._replace(teacher=teacher), active)
    expected = mean_squared_error(teacher.numpy()[:, [0, 2, 3]], output.logits.detach().numpy()[:, [0, 2, 3]])
    assert value(loss) == pytest.approx(3 / 5 * expected, rel=1e-12)
    assert (gradients(loss, output)[0][:, [1, 4]] == 0).all()


def test_logit_matching_says_whose_logits_it_needs() -> None:
    stored, taught = LogitMatching(), LogitMatching("teacher")
    assert (stored.needs_logits, stored.needs_teacher) == (True, False)
    assert (taught.needs_logits, taught.needs_teacher) == (False, True)


def test_rectified_squares_equal_half_the_squared_error_where_outputs_are_positive() -> None:
    output, dream = batch()
    hot = functional.one_hot(dream.y, 5).double()
    loss = RectifiedSquares()(output, dream, None)
    assert torch.allclose(gradients(loss, output)[0], (output.logits.relu() - hot) / 16)
    positive = output.logits.detach().abs()
    expected = 5 / 2 * mean_squared_error(hot.numpy(), positive.numpy())
    assert value(RectifiedSquares()(Output(positive), dream, None)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "objective",
    [Distillation(), FeatureDistillation(), LogitMatching(), LogitMatching("teacher")],
    ids=["distillation", "feature_distillation", "logit_matching", "logit_matching-teacher"],
)
def test_a_learner_that_equals_its_teacher_has_nothing_to_learn(objective: Objective) -> None:
    output, dream = batch()
    own = output.logits.detach()
    same = dream._replace(teacher=own, logits=own, teacher_features=output.features.detach())
    assert value(objective(output, same, None)) == pytest.approx(0, abs=1e-12)


def test_objectives_are_added() -> None:
    output, dream = batch()
    both = total_loss([CrossEntropy(), Distillation(weight=0.5)], output, dream, None)
    apart = CrossEntropy()(output, dream, None) + 0.5 * Distillation()(output, dream, None)
    assert both is not None and torch.isclose(both, apart)
    assert total_loss([], output, dream, None) is None


def test_a_temperature_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature above 0"):
        Distillation(0.0)
