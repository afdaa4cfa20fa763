"""Small sets of classes out of very many: always distinct, in order, and the same for the same seed and step."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.proxies.draws import distinct, fill_up, first_distinct, generator

CPU = torch.device("cpu")
values = st.lists(st.integers(0, 40), max_size=60).map(lambda x: torch.tensor(x, dtype=torch.int64))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(found=values)
def test_distinct_is_the_sorted_set(found: torch.Tensor) -> None:
    assert distinct(found).tolist() == sorted(set(found.tolist()))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(found=values, most=st.integers(0, 50))
def test_first_distinct_keeps_what_came_first(found: torch.Tensor, most: int) -> None:
    expected = list(dict.fromkeys(found.tolist()))[:most]

    assert first_distinct(found, most).tolist() == sorted(expected)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(taken=values, count=st.integers(0, 60), seed=st.integers(0, 100))
def test_filling_up_keeps_what_is_taken(taken: torch.Tensor, count: int, seed: int) -> None:
    taken = distinct(taken)

    found = fill_up(taken, count, 41, generator(seed, 0, CPU))

    assert set(taken.tolist()) <= set(found.tolist())
    assert len(found) == max(len(taken), min(count, 41))
    assert found.tolist() == sorted(set(found.tolist()))
    assert found.numel() == 0 or found.max() < 41


def test_every_class_is_drawn_equally_often() -> None:
    counts = torch.zeros(50)
    for step in range(2000):
        counts[fill_up(torch.tensor([7]), 11, 50, generator(3, step, CPU))] += 1

    assert counts[7] == 2000
    others = counts[
        torch.arange(50) != 7
    ]  # 10 of 49 in each of 2,000 steps: 408 on average, deviation 18
    assert others.min() > 320
    assert others.max() < 500


def test_nearly_all_classes_are_drawn_equally_often_too() -> None:
    counts = torch.zeros(50)
    for step in range(2000):
        counts[fill_up(torch.tensor([7]), 41, 50, generator(3, step, CPU))] += 1

    others = 2000 - counts[torch.arange(50) != 7]  # 9 of 49 are left out of each of 2,000 steps
    assert counts[7] == 2000
    assert others.min() > 280
    assert others.max() < 460


def test_draws_depend_on_seed_and_step_alone() -> None:
    def draw(seed: int, step: int) -> list[int]:
        random = generator(seed, step, CPU)
        return fill_up(torch.tensor([1, 2]), 20, 10**8, random).tolist()

    assert draw(0, 5) == draw(0, 5)
    assert draw(0, 5) != draw(0, 6)
    assert draw(0, 5) != draw(1, 5)
    assert draw(2, 1) != draw(1, 2)
