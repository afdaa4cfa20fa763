"""The estimate against what is really there."""

import pytest
import torch

from oclear.proxies import (
    ProxyClassifier,
    ProxyConfig,
    RowAdagrad,
    RowMomentum,
    SelectionConfig,
    proxy_memory,
)

CLASSES, DIM = 3000, 32


def size(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("optimizer", ["adagrad", "momentum"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("exact_up_to", [None, 0])
def test_what_stays_is_known_to_the_byte(
    optimizer: str, precision: str, exact_up_to: int | None
) -> None:
    selection = SelectionConfig(kind="knn", budget=200, exact_up_to=exact_up_to)
    config = ProxyConfig(precision=precision, selection=selection)
    classifier = ProxyClassifier(CLASSES, DIM, config)
    kind = RowAdagrad if optimizer == "adagrad" else RowMomentum
    learns = kind(classifier.parameters(), lr=0.1)
    classifier(torch.randn(8, DIM), torch.arange(8)).loss.backward()
    learns.step()

    found = proxy_memory(CLASSES, DIM, config, batch=8, optimizer=optimizer)  # type: ignore[arg-type]

    state = classifier.export_state()
    kept = [t for name, t in (state.rows | state.rank).items() if name not in ("weight", "ends")]
    remembered = [t for n, t in learns.state[classifier.weight].items() if n != "step"]
    assert found.weight == size([classifier.weight])
    assert found.optimizer == size(remembered)
    assert found.graph == size(kept)


def test_adamw_remembers_two_numbers_for_each() -> None:
    found = proxy_memory(CLASSES, DIM, ProxyConfig(), batch=8)

    assert found.optimizer == 2 * found.weight
    assert found.graph == 0
    assert found.total == found.weight + max(found.start, found.optimizer + found.step)


def test_knn_needs_a_step_that_does_not_grow_with_the_classes() -> None:
    config = ProxyConfig(selection=SelectionConfig(kind="knn", budget=10_000))
    steps = {
        proxy_memory(n, 256, config, batch=512, optimizer="adagrad").step for n in (10**6, 10**8)
    }

    assert len(steps) == 1  # and what sorting the lists takes once a round stands beside it
    assert steps.pop() < proxy_memory(10**6, 256, ProxyConfig(), batch=512).step / 10


def test_ranks_share_the_classes() -> None:
    config = ProxyConfig(precision="bf16", selection=SelectionConfig(kind="knn"))
    one, four = (
        proxy_memory(10**7, 256, config, batch=512, ranks=ranks, optimizer="adagrad")
        for ranks in (1, 4)
    )

    assert four.weight * 4 == one.weight == 10**7 * 256 * 2
    assert four.optimizer * 4 == one.optimizer == 4 * 10**7
