"""How the samples of an experience are dealt out."""

from __future__ import annotations

import pytest
import torch

from dreamer.loop.batches import RankInfo, local_count, pass_order


@pytest.mark.parametrize(("count", "ranks"), [(18, 2), (17, 3), (2, 3), (1, 4)])
def test_every_process_gets_equally_many_and_owns_what_no_other_does(count: int, ranks: int) -> None:
    places = [RankInfo(0, torch.device("cpu"), rank, ranks) for rank in range(ranks)]
    orders = [pass_order(count, 0, 0, place) for place in places]
    assert {len(order) for order in orders} == {-(-count // ranks)}
    own = [order[: local_count(count, place)] for order, place in zip(orders, places, strict=True)]
    assert sorted(torch.cat(own).tolist()) == list(range(count))
