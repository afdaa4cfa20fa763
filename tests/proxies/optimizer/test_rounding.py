"""Stochastic rounding is right on average, entry by entry, and exact where nothing has to be rounded."""

import torch

from oclear.proxies.optimizer.rounding import round_stochastically


def test_only_the_two_nearest_numbers_come_out() -> None:
    values = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    down = (values.view(torch.int32) & -0x10000).view(torch.float32)
    up = ((values.view(torch.int32) & -0x10000) + 0x10000).view(torch.float32)

    found = round_stochastically(values.clone(), torch.Generator().manual_seed(1)).float()

    assert ((found == down) | (found == up)).all()
    assert (found == down).any() and (found == up).any()


def test_every_entry_is_right_on_average() -> None:
    values = torch.tensor([[1.001, -1.001, 3e-20, 0.3], [1000.3, 7.77, -0.11, 1.0039]])
    random, mean = torch.Generator().manual_seed(0), torch.zeros(2, 4, dtype=torch.float64)
    for _ in range(4000):
        mean += round_stochastically(values.clone(), random).double() / 4000

    step = values.abs().double() * 2**-7
    assert ((mean - values.double()).abs() < 0.05 * step).all()


def test_bf16_numbers_stay() -> None:
    values = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).bfloat16()

    found = round_stochastically(values.float(), torch.Generator().manual_seed(1))

    assert torch.equal(found, values)


def test_entries_are_rounded_independently_of_each_other() -> None:
    values = torch.full((64, 64), 1 + 2**-9)  # up in a quarter of the cases

    up = round_stochastically(values, torch.Generator().manual_seed(0)).float() > 1
    share = up.float().mean()

    assert 0.2 < share < 0.3
    assert up.float().mean(dim=0).std() < 0.15
    assert up.float().mean(dim=1).std() < 0.15
