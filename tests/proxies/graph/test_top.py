"""The largest entries, on rows narrow and wide."""

import pytest
import torch

from oclear.proxies.graph.top import largest


@pytest.mark.parametrize("width", [3, 100, 1535, 1536, 1600, 4099])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_topk(width: int, dtype: torch.dtype) -> None:
    scores = torch.randn(5, width, generator=torch.Generator().manual_seed(width)).to(dtype)

    values, columns = largest(scores, 3)

    assert torch.equal(values, scores.topk(3, dim=1).values)
    assert torch.equal(scores.gather(1, columns), values)
    assert all(len(set(row)) == 3 for row in columns.tolist())


def test_ties_are_counted_each() -> None:
    scores = torch.zeros(2, 2048)
    scores[:, ::2] = 1

    values, columns = largest(scores, 3)

    assert values.eq(1).all()
    assert (columns % 2 == 0).all()
    assert all(len(set(row)) == 3 for row in columns.tolist())
