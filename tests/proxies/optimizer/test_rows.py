"""Row optimisers against the same by hand, and what they leave alone."""

import copy

import pytest
import torch

from oclear.proxies.optimizer import RowAdagrad, RowMomentum

ROWS, DIM = 20, 6


def sparse(rows: list[int], values: torch.Tensor) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.tensor([rows]), values, (ROWS, DIM), check_invariants=True, is_coalesced=True
    )


def values(seed: int, count: int) -> torch.Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))


def make(kind: str, weight: torch.Tensor, **more: float) -> RowAdagrad | RowMomentum:
    weight.requires_grad_()
    return (
        RowAdagrad([weight], lr=0.1, **more)
        if kind == "adagrad"
        else RowMomentum([weight], lr=0.1, **more)
    )


def test_momentum_by_hand() -> None:
    weight = values(0, ROWS)
    expected, momentum = weight.double().clone(), torch.zeros(ROWS, DIM, dtype=torch.float64)
    optimizer = make("momentum", weight)
    for step, rows in enumerate([[1, 4, 7], [4], [4, 19]]):
        gradient = values(step, len(rows))
        weight.grad = sparse(rows, gradient)
        optimizer.step()
        momentum[rows] = 0.9 * momentum[rows] + gradient
        expected[rows] -= 0.1 * momentum[rows]

    torch.testing.assert_close(weight.detach().double(), expected)


def test_adagrad_by_hand() -> None:
    weight = values(0, ROWS)
    expected, sums = weight.double().clone(), torch.zeros(ROWS, dtype=torch.float64)
    optimizer = make("adagrad", weight)
    for step, rows in enumerate([[1, 4, 7], [4], [4, 19]]):
        gradient = values(step, len(rows))
        weight.grad = sparse(rows, gradient)
        optimizer.step()
        for row, of_row in zip(rows, gradient.double(), strict=True):
            sums[row] += (of_row**2).mean()
            expected[row] -= 0.1 * of_row / sums[row].sqrt()

    torch.testing.assert_close(weight.detach().double(), expected)
    assert optimizer.state[weight]["squares"].numel() == ROWS  # 4 bytes a class


@pytest.mark.parametrize("kind", ["adagrad", "momentum"])
def test_sparse_and_dense_gradients_do_the_same_to_active_rows(kind: str) -> None:
    rows = [2, 3, 11]
    a, b = values(0, ROWS), values(0, ROWS)
    optimizers = make(kind, a), make(kind, b)
    for step in range(4):
        gradient = values(step, 3)
        a.grad = sparse(rows, gradient)
        b.grad = a.grad.to_dense()
        for optimizer in optimizers:
            optimizer.step()

    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["adagrad", "momentum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_rows_are_neither_written_nor_read(kind: str, dtype: torch.dtype) -> None:
    weight = values(0, ROWS).to(dtype)
    weight[5:] = float("nan")  # would spread if anything read it
    optimizer = make(kind, weight)
    for _ in range(2):
        weight.grad = sparse([0, 3], values(1, 2).to(dtype).float()).to(dtype)
        optimizer.step()
    state = next(value for name, value in optimizer.state[weight].items() if name != "step")

    assert weight[:5].isfinite().all()
    assert weight[5:].isnan().all()
    assert state[[1, 2, *range(4, ROWS)]].eq(0).all()
    assert state[[0, 3]].ne(0).any()


@pytest.mark.parametrize("kind", ["adagrad", "momentum"])
def test_bf16_rows_follow_fp32_ones_on_average(kind: str) -> None:
    # Changes far below the resolution of bf16: rounding to the nearest would lose every one of them.
    coarse, fine = (torch.ones(ROWS, DIM, dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    optimizers = make(kind, coarse), make(kind, fine)
    for optimizer in optimizers:
        optimizer.param_groups[0]["lr"] = 1e-4
    for _ in range(300):
        for weight in (coarse, fine):
            weight.grad = torch.ones_like(weight)
        for optimizer in optimizers:
            optimizer.step()

    moved = 1 - fine.detach()
    assert moved.min() > 1e-3
    assert (1 - coarse.detach().float()).mean().item() == pytest.approx(
        moved.mean().item(), rel=0.1
    )


@pytest.mark.parametrize("kind", ["adagrad", "momentum"])
def test_a_resumed_run_is_the_same_run(kind: str) -> None:
    def run(weight: torch.Tensor, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            weight.grad = sparse([step, step + 1], values(step, 2)).bfloat16()
            optimizer.step()

    whole = values(0, ROWS).bfloat16()
    optimizer = make(kind, whole)
    run(whole, optimizer, range(4))
    resumed = whole.detach().clone()
    again = make(kind, resumed)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(whole, optimizer, range(4, 9))
    run(resumed, again, range(4, 9))

    assert torch.equal(whole, resumed)
    assert again.state[resumed]["step"] == 9


def test_the_seed_decides_how_bf16_rows_are_rounded() -> None:
    results = []
    for seed in (0, 0, 1):
        weight = torch.ones(ROWS, DIM, dtype=torch.bfloat16)
        optimizer = make("momentum", weight, seed=seed)
        weight.grad = torch.full_like(weight, 0.01)
        optimizer.step()
        results.append(weight.detach())

    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
