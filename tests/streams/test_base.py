from __future__ import annotations

import pytest
import torch

from dreamer.streams import Samples, TensorSamples, hold_out, make_stream, split_by_class
from dreamer.streams.split import chain_stream
from tests.helpers.stream_contract import everything


def samples(n: int = 20, k: int = 4) -> TensorSamples:
    return TensorSamples(torch.arange(n).float().div(n).unsqueeze(1), torch.arange(n) % k)


def test_tensor_samples_are_samples_and_read_in_any_order():
    one = samples()
    assert isinstance(one, Samples) and one.nbytes == 80 and one.sample_shape == (1,)
    (batch,) = one.batches([torch.tensor([5, 1, 5])])
    assert batch.x.flatten().tolist() == pytest.approx([0.25, 0.05, 0.25]) and batch.y.tolist() == [1, 1, 1]
    assert one.with_labels(one.y + 1).y.tolist() == [label + 1 for label in one.y.tolist()]


def test_hold_out_is_stratified_and_complete():
    train, held = hold_out(samples(), 0.4, seed=2)
    assert held.y.bincount().tolist() == [2, 2, 2, 2] and train.y.bincount().tolist() == [3, 3, 3, 3]
    both = torch.cat([everything(train)[0], everything(held)[0]]).flatten().sort().values
    assert torch.equal(both, everything(samples())[0].flatten())
    assert hold_out(samples(), 0.0, seed=2)[1] is None
    assert hold_out(samples(), 0.01, seed=2)[1] is None
    assert hold_out(samples(), 0.01, seed=2, least=1)[1].y.bincount().tolist() == [1, 1, 1, 1]


def test_classes_are_dealt_out_as_evenly_as_possible():
    parts = split_by_class(samples(30, 5), samples(10, 5), 3, range(5))
    assert [classes for classes, _, _ in parts] == [(0, 1), (2, 3), (4,)]
    parts = split_by_class(samples(30, 5), samples(10, 5), 3, [4, 0, 3, 1, 2])
    assert [classes for classes, _, _ in parts] == [(0, 4), (1, 3), (2,)]
    with pytest.raises(ValueError, match="between 1 and 5 experiences"):
        split_by_class(samples(30, 5), samples(10, 5), 6, range(5))


def test_streams_refuse_what_does_not_fit_together():
    with pytest.raises(ValueError, match="at least one experience"):
        make_stream("s", [])
    with pytest.raises(ValueError, match="one sample shape"):
        make_stream("s", [(samples(), TensorSamples(torch.zeros(2, 3), torch.zeros(2)))])
    empty = samples().subset(torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match="experience 1 has no training samples"):
        make_stream("s", [(samples(), samples()), (empty, samples())])


def test_experiences_without_test_samples_are_refused():
    empty = samples().subset(torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match="experience 1 has no test samples"):
        chain_stream("s", [(samples(), samples()), (samples(), empty)], [0, 1])


def test_tasks_get_outputs_of_their_own_only_where_labels_coincide():
    apart = [(samples(8, 2), samples(4, 2)), (samples(8, 2).with_labels(torch.arange(8) % 2 + 2), samples(4, 2))]
    assert chain_stream("s", apart, [0, 1], scenario="task").class_order == ((0, 1), (2, 3))
    pieces = [(samples(8, 2), samples(4, 2))] * 3
    assert chain_stream("s", pieces, [0, 1, 0], scenario="task").class_order == ((0, 1), (2, 3), (0, 1))
    assert chain_stream("s", pieces, [0, 0, 0]).scenario == "domain"
