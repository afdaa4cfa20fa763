"""Who has which class."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.proxies.shards import Shards


@settings(deadline=None, derandomize=True)
@given(num_classes=st.integers(1, 200), ranks=st.integers(1, 9))
def test_the_split_is_that_of_torch_chunk(num_classes: int, ranks: int) -> None:
    shards = Shards(num_classes, None)
    shards.ranks = ranks

    ranges = [shards.range_of(rank) for rank in range(ranks)]

    chunks = [chunk.tolist() for chunk in torch.arange(num_classes).chunk(ranks)]
    assert [list(classes) for classes in ranges if len(classes)] == chunks
    assert [c for classes in ranges for c in classes] == list(range(num_classes))
    assert max(len(classes) for classes in ranges) == shards.most


def test_one_process_sends_and_copies_nothing() -> None:
    shards, rows = Shards(5, None), torch.ones(3, 2)

    assert shards.gather(rows) is rows
    assert shards.exchange(rows) is rows
    assert shards.total(rows) is rows
    assert shards.maximum(rows) is rows
    assert shards.start_reduce_scatter(rows) == (rows, None)
