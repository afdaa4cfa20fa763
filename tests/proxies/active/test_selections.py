"""Which classes a step compares with."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.proxies.active import AllClasses, NearestClasses, Selection, UniformClasses
from oclear.proxies.active.links import Links
from oclear.proxies.graph import NeighbourGraph
from oclear.proxies.shards import Shards
from oclear.proxies.unit import unit

CLASSES, DIM = 60, 8
NO_LINKS = Links(None)


def make_graph(k: int = 5, twin_similarity: float | None = None) -> NeighbourGraph:
    weight = torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(0))
    weight[31] = weight[30] + 0.01  # twins
    graph = NeighbourGraph(Shards(CLASSES, None), weight, k, twin_similarity=twin_similarity)
    graph.build()
    return graph


def make(kind: str, links: Links = NO_LINKS, graph: NeighbourGraph | None = None) -> Selection:
    shards = Shards(CLASSES, None)
    if kind == "all":
        return AllClasses(shards, links)
    if kind == "uniform":
        return UniformClasses(shards, 12, links, seed=0)
    return NearestClasses(shards, graph or make_graph(), 20, 0.25, links, seed=0)


KINDS = ("all", "uniform", "knn")
labels_of = st.lists(
    st.lists(st.integers(-1, CLASSES - 1), min_size=3, max_size=3).filter(
        lambda row: len({c for c in row if c >= 0}) == sum(c >= 0 for c in row)
    ),
    min_size=0,
    max_size=5,
).map(lambda rows: torch.tensor(rows, dtype=torch.int64).view(-1, 3))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(labels=labels_of, step=st.integers(0, 100))
def test_every_label_is_active_and_found(kind: str, labels: torch.Tensor, step: int) -> None:
    active = make(kind).choose(labels, step)

    rows = torch.arange(CLASSES) if active.rows is None else active.rows
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(rows) == active.total
    assert torch.equal(active.places >= 0, labels >= 0)
    assert torch.equal(rows[active.places[labels >= 0]], labels[labels >= 0])


@pytest.mark.parametrize(
    ("budget", "share", "own", "drawn"),
    [
        (200, 0.2, 32, 84),  # half of what the batch leaves
        (400, 0.2, 32, 128),
        (1000, 0.2, 64, 200),
        (100, 0.2, 90, 20),  # what the batch leaves is less than that
        (100, 0.0, 10, 0),
    ],
)
def test_enough_are_drawn_to_stand_for_all_others(
    budget: int, share: float, own: int, drawn: int
) -> None:
    selection = NearestClasses(Shards(CLASSES, None), make_graph(), budget, share, NO_LINKS, seed=0)
    assert selection.to_draw(own) == drawn


def test_a_drawn_class_never_stands_for_less_than_itself() -> None:
    # All are active, most of them the batch's own: fewer are left than the budget asks to draw.
    selection = NearestClasses(Shards(CLASSES, None), make_graph(), CLASSES, 0.5, NO_LINKS, seed=0)
    active = selection.choose(torch.arange(CLASSES - 10).unsqueeze(1), 0)
    assert active.total == CLASSES
    assert active.log_weights is None or (active.log_weights == 0).all()


def test_all_copies_nothing() -> None:
    assert make("all").choose(torch.tensor([[1]]), 0).rows is None


@pytest.mark.parametrize(("kind", "budget"), [("uniform", 12), ("knn", 20)])
def test_the_budget_is_kept_until_the_batch_itself_has_more(kind: str, budget: int) -> None:
    few, many = torch.tensor([[3], [8]]), torch.arange(25).unsqueeze(1)

    assert make(kind).choose(few, 0).total == budget
    assert make(kind).choose(many, 0).total == 25


def test_knn_takes_the_nearest_first() -> None:
    graph = make_graph()
    labels = torch.tensor([[3], [50], [-1], [17]])

    active = make("knn", graph=graph).choose(labels, 4)

    assert active.rows is not None
    # 12 of 20 places, as 8 are drawn: 3 labels, then the nearest of each, the second nearest and so on.
    wanted = [3, 50, 17] + [
        int(graph.neighbours[label, column]) for column in range(5) for label in (3, 17, 50)
    ]
    assert set(list(dict.fromkeys(wanted))[:12]) <= set(active.rows.tolist())


def test_the_rest_of_knn_is_uniform_and_differs_from_step_to_step() -> None:
    selection, labels = make("knn"), torch.tensor([[3]])
    counts = torch.zeros(CLASSES)
    for step in range(300):
        rows = selection.choose(labels, step).rows
        assert rows is not None
        counts[rows] += 1

    assert (counts == 300).sum() == 6  # the label and its 5 neighbours
    others = counts[counts < 300]  # 14 of 54: 78 on average, deviation 8
    assert others.min() > 45
    assert others.max() < 115


def test_what_is_drawn_stands_for_all_that_are_not_near() -> None:
    graph, labels = make_graph(), torch.tensor([[3]])
    selection = make("knn", graph=graph)
    near = {3, *graph.neighbours[3].tolist()}
    values = torch.rand(CLASSES, generator=torch.Generator().manual_seed(2))
    sums = []
    for step in range(400):
        active = selection.choose(labels, step)
        assert active.rows is not None and active.log_weights is not None
        weights = active.log_weights.exp()
        assert all(
            weight == 1
            for row, weight in zip(active.rows.tolist(), weights.tolist(), strict=True)
            if row in near
        )
        assert float(weights.sum()) == pytest.approx(CLASSES, rel=1e-5)
        sums.append(float((weights * values[active.rows]).sum()))

    assert np.mean(sums) == pytest.approx(float(values.sum()), rel=0.01)
    assert make("knn").choose(torch.arange(25).unsqueeze(1), 0).log_weights is None
    filled = make("knn").choose(torch.arange(18).unsqueeze(1), 0).log_weights
    # Two drawn where five were asked for: not more than a fifth of the 42 others each.
    assert filled is not None and float(filled.max()) == pytest.approx(np.log(42 / 5), rel=1e-5)
    alone = NearestClasses(Shards(CLASSES, None), graph, 20, 0.0, NO_LINKS, seed=0)
    assert alone.choose(labels, 0).log_weights is None, "none were asked for"
    assert make("uniform").choose(labels, 0).log_weights is None, "as Partial FC does"


def test_twins_are_not_chosen_for_each_other_nor_compared() -> None:
    graph = make_graph(twin_similarity=0.99)
    alone, with_another = torch.tensor([[30]]), torch.tensor([[30], [31], [4]])

    rows = make("knn", graph=graph).choose(alone, 0).rows
    near = graph.neighbours[30, 1:].tolist()
    active = make("knn", graph=graph).choose(with_another, 0)

    assert graph.neighbours[30, 0] == 31 and graph.twins[30] == 1
    assert rows is not None and set(near) <= set(rows.tolist())
    assert active.rows is not None
    left_out = [(int(s), int(active.rows[p])) for s, p in active.left_out.T]
    assert left_out == [(0, 31), (1, 30)]


def test_a_twin_that_is_drawn_by_chance_is_not_compared_either() -> None:
    selection = make("knn", graph=make_graph(twin_similarity=0.99))
    labels, drawn = torch.tensor([[4], [30]]), 0
    for step in range(60):
        active = selection.choose(labels, step)
        assert active.rows is not None
        place = (active.rows == 31).nonzero().flatten().tolist()
        assert active.left_out.tolist() == [[1] * len(place), place]
        drawn += len(place)

    assert 0 < drawn < 60


@pytest.mark.parametrize("kind", KINDS)
def test_links_are_left_out_wherever_they_are_active(kind: str) -> None:
    links = Links(torch.tensor([[5, 9], [9, 5], [9, 30], [7, 7]]))
    labels = torch.tensor([[5, -1], [2, 9], [30, 1]])

    active = make(kind, links).choose(labels, 0)

    rows = torch.arange(CLASSES) if active.rows is None else active.rows
    left_out = {(int(s), int(rows[p])) for s, p in active.left_out.T}
    assert left_out == {(0, 9), (1, 5), (1, 30), (2, 9)}
    assert active.left_out[0].tolist() == sorted(active.left_out[0].tolist())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(labels=labels_of, seed=st.integers(0, 1000))
def test_links_by_brute_force(labels: torch.Tensor, seed: int) -> None:
    pairs = np.random.default_rng(seed).integers(0, CLASSES, (40, 2))
    tied = {(a, b) for a, b in pairs.tolist() if a != b} | {
        (b, a) for a, b in pairs.tolist() if a != b
    }

    found = Links(torch.from_numpy(pairs)).apart(labels)

    expected = [
        (i, other)
        for i, row in enumerate(labels.tolist())
        for label in row
        for other in sorted(b for a, b in tied if a == label)
    ]
    assert [tuple(pair) for pair in found.T.tolist()] == expected


class Largest(torch.overrides.TorchFunctionMode):
    """The largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return result


def test_a_step_of_knn_makes_nothing_of_the_size_of_all_classes() -> None:
    classes = 50_000
    weight = unit(torch.randn(classes, 4, generator=torch.Generator().manual_seed(0)))
    shards = Shards(classes, None)
    graph = NeighbourGraph(shards, weight, 8, exact_up_to=0)
    graph.neighbours.random_(classes)
    selection = NearestClasses(shards, graph, 2000, 0.5, NO_LINKS, seed=0)
    labels = torch.randint(classes, (128, 1), generator=torch.Generator().manual_seed(1))

    with Largest() as largest:
        active = selection.choose(labels, 0)

    assert active.total == 2000
    assert 0 < largest.size < 5000
