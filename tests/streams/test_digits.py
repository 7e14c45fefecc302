from __future__ import annotations

import pytest
import torch

from dreamer.streams import Stream, digits
from tests.helpers.stream_contract import check_stream, everything, same


@pytest.mark.parametrize("scenario", ["class", "domain", "task"])
@pytest.mark.parametrize("experiences", [1, 3, 5, 10])
def test_digits_fulfil_the_contract(experiences: int, scenario: str):
    stream = digits(experiences=experiences, scenario=scenario)
    check_stream(stream)
    assert len(stream) == experiences and stream.sample_shape == (1, 8, 8) and stream.scenario == scenario
    total = sum(len(e.train) + len(e.test) + len(e.validation) for e in stream.experiences)
    assert total == 1797


def test_seeds_decide_the_class_order_and_nothing_else(digits_stream: Stream):
    assert same(digits_stream, digits(seed=0))
    other = digits(seed=1)
    assert other.class_order != digits_stream.class_order

    def of_class(stream: Stream, part: str, label: int) -> torch.Tensor:
        experience = next(e for e in stream.experiences if label in e.classes)
        x, y = everything(getattr(experience, part))
        return x[y == label]

    for part in ("train", "test", "validation"):
        for label in range(10):
            assert torch.equal(of_class(other, part, label), of_class(digits_stream, part, label))


def test_split_seed_decides_what_is_tested(digits_stream: Stream):
    other = digits(split_seed=1)
    assert other.class_order == digits_stream.class_order and not same(other, digits_stream)


def test_the_order_can_be_given():
    assert digits(shuffle=False).class_order == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    order = [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]
    assert digits(class_order=order).class_order == ((0, 9), (1, 8), (2, 7), (3, 6), (4, 5))
    domain = digits(class_order=order, scenario="domain")
    assert domain.num_classes == 2
    nines = everything(digits(class_order=order).experiences[0].test)
    relabelled = everything(domain.experiences[0].test)
    assert torch.equal(relabelled[1], (nines[1] == 0).long())


def test_validation_can_be_switched_off():
    assert all(e.validation is None for e in digits(validation=0.0).experiences)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experiences": 11}, "between 1 and 10 experiences"),
        ({"experiences": 0}, "between 1 and 10 experiences"),
        ({"scenario": "tasks"}, "'class', 'domain', 'task', got 'tasks'"),
        ({"class_order": [0, 1, 2]}, "name each class of"),
        ({"validation": 1.0}, r"fraction in \[0, 1\), got 1.0"),
        ({"test": 0.0}, r"test data in \(0, 1\), got 0.0"),
    ],
)
def test_impossible_options_are_one_sentence(options: dict, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        digits(**options)
    assert "\n" not in str(caught.value)
