"""Each generation is trained on what the settings say, and measured on data that none was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dreamer.config.binding import ConfigError
from dreamer.core.types import Batch
from dreamer.streams.base import TensorSamples
from dreamer.studies.experiments import base, snake, training
from dreamer.studies.experiments.judge import MEASURES
from dreamer.studies.experiments.real_data import real_data, tensors
from dreamer.studies.experiments.snake import Snake

SMALL: dict[str, Any] = {
    "stream": {"name": "digits"},
    "generator": {"name": "class_conditional_vae", "latent_dim": 4, "hidden": [16], "components": 1},
    "network": {"name": "mlp", "hidden": [16]},
    "generations": 2,
    "samples": 200,
    "steps": 20,
    "classifier_steps": 20,
    "lr": 0.01,
}


def built(**changes: Any) -> Snake:
    experiment = base.of({"name": "dreamer.studies.experiments.snake.Snake", **SMALL, **changes})
    assert isinstance(experiment, Snake)
    return experiment


def eaten(monkeypatch: pytest.MonkeyPatch, folder: Path, seed: int = 1, **changes: Any) -> list[Batch]:
    """What each generation learnt."""
    seen: list[Batch] = []

    def spy(generator: Any, training_data: Batch, *rest: Any) -> Any:
        seen.append(training_data)
        return training.train_generator(generator, training_data, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(snake, "train_generator", spy)
        built(**changes).run(seed, folder)
    return seen


def shared(training_data: Batch, real: Batch) -> int:
    """How many samples of the training_data are real ones."""
    known = {tuple(x.flatten().tolist()) for x in real.x}
    return sum(tuple(x.flatten().tolist()) in known for x in training_data.x)


def test_a_generation_replaces_accumulates_or_keeps_a_fraction_that_is_real(tmp_path, monkeypatch) -> None:
    real, second = eaten(monkeypatch, tmp_path)
    assert (len(real.y), len(second.y), shared(second, real)) == (200, 200, 0)
    _, second = eaten(monkeypatch, tmp_path, real=0.1)
    assert (len(second.y), shared(second, real)) == (200, 20)
    _, second = eaten(monkeypatch, tmp_path, real=1.0)
    assert (len(second.y), shared(second, real)) == (200, 200)
    _, second, third = eaten(monkeypatch, tmp_path, training_data="accumulate", generations=3)
    assert [len(second.y), len(third.y)] == [400, 600]
    assert shared(second, real) == shared(third, real) == 200


def test_a_memory_gives_the_same_few_images_of_each_class_again_and_again(tmp_path, monkeypatch) -> None:
    real, second, third = eaten(monkeypatch, tmp_path, real=0.5, memory=2, generations=3)
    for training_data in (second, third):
        assert (len(training_data.y), shared(training_data, real)) == (200, 100)
    found = {tuple(x.flatten().tolist()) for training_data in (second, third) for x in training_data.x} & {
        tuple(x.flatten().tolist()) for x in real.x
    }
    assert len(found) == 20


def test_all_arms_have_the_same_first_generation_and_part_at_the_second(tmp_path) -> None:
    arms = [{}, {"real": 0.5}, {"training_data": "accumulate"}, {"perturbations": [{"name": "latent_jitter"}]}]
    arms += [{"perturbations": [{"name": "affine"}]}]
    courses = [built(**arm).run(3, tmp_path)["curves"]["frechet"] for arm in arms]
    assert len({course[0] for course in courses}) == 1
    assert len({course[1] for course in courses}) == len(arms)


def test_what_is_measured_is_not_perturbed_and_what_is_trained_on_is(tmp_path, monkeypatch) -> None:
    plain = eaten(monkeypatch, tmp_path, seed=3)[1]
    perturbed = eaten(monkeypatch, tmp_path, seed=3, perturbations=[{"name": "noise", "std": 0.5}])[1]
    apart = [(training_data.x[training_data.y == 0].std(dim=0)).mean() for training_data in (plain, perturbed)]
    assert apart[1] > 1.2 * apart[0]


def test_the_same_seed_gives_the_same_results_whatever_was_drawn_before(tmp_path) -> None:
    torch.manual_seed(1)
    first = built(keep=0.5).run(2, tmp_path)
    torch.manual_seed(2)
    assert built(keep=0.5).run(2, tmp_path) == first
    assert built(keep=0.5).run(4, tmp_path) != first


def test_nothing_is_trained_on_what_is_measured(tmp_path, monkeypatch) -> None:
    """Unseen samples are marked; yardstick, teacher, new classifiers and generators never see a mark."""
    taught: list[float] = []

    def marked(*given: Any) -> Any:
        whole, seen, unseen, classes = real_data(*given)
        return whole, seen, TensorSamples(tensors(unseen).x + 5, unseen.y), classes

    def spying(train: Any) -> Any:
        def spy(module: Any, seen: Batch, *rest: Any) -> Any:
            taught.append(float(seen.x.max()))
            return train(module, seen, *rest)

        return spy

    monkeypatch.setattr(snake, "real_data", marked)
    for name in ("train_classifier", "train_generator"):
        monkeypatch.setattr(snake, name, spying(getattr(training, name)))
    built(keep=0.5).run(1, tmp_path)
    assert len(taught) == 1 + 1 + 2 + 2 + 1  # yardstick, teacher, generations, their classifiers, the yardstick's
    assert max(taught) <= 1


def test_the_teacher_keeps_of_each_class_what_it_trusts_most() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, -1.0], [5.0, 0.0]])
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    assert sorted(snake._trusted(logits, y, 1).tolist()) == [2, 3]
    assert sorted(snake._trusted(logits, y, 2).tolist()) == [0, 2, 3, 4]


def test_the_first_generation_learns(tmp_path) -> None:
    options = {"generator": {"name": "class_conditional_vae", "latent_dim": 16, "hidden": [128], "beta": 0.1}}
    results = built(
        generations=1, samples=None, steps=300, classifier_steps=200, network={"name": "mlp"}, **options
    ).run(1001, tmp_path)
    assert set(results["outcomes"]) == set(MEASURES)
    assert results["outcomes"]["accuracy"] > 0.75 and results["outcomes"]["fidelity"] > 0.9
    assert results["yardsticks"]["accuracy"] > 0.9 and results["yardsticks"]["recall"] > 0.8
    assert results["outcomes"]["frechet"] > results["yardsticks"]["frechet"]
    with Image.open(tmp_path / results["picture"]) as picture:
        assert picture.size == (2 * 3 * 8, 2 * 10 * 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"real": 1.5}, r"expected real in \[0, 1\] and keep in \(0, 1\], got 1.5 and 1.0"),
        ({"keep": 0}, r"expected real in \[0, 1\] and keep in \(0, 1\]"),
        ({"memory": 5}, "expected a memory of at least 1 and a fraction of real samples"),
        ({"training_data": "accumulate", "real": 0.1}, "expected real and memory with training_data='replace' alone"),
        ({"training_data": "replaces"}, "training_data: expected one of replace, accumulate, got 'replaces'"),
        ({"steps": 0}, "of at least 1"),
        ({"generator": {"name": "vae"}}, "expected a conditional generator"),
        ({"generator": {"name": "class_conditional_va"}}, "did you mean 'class_conditional_vae'"),
        ({"generator": {"name": "class_conditional_vae", "latents": 3}}, r"generator\.latents: unknown key"),
        ({"stream": {"name": "digit"}}, "there is no stream 'digit'; did you mean 'digits'"),
        ({"perturbations": [{"name": "afine"}]}, "did you mean 'affine'"),
    ],
)
def test_impossible_settings_are_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(**changes)
