"""The graph against brute force, its lists, its freshness, and its life through a checkpoint."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oclear.proxies.graph import NeighbourGraph
from oclear.proxies.graph.kmeans import compared_with
from oclear.proxies.graph.lists import InvertedLists
from oclear.proxies.shards import Shards


def clustered(classes: int, dim: int = 16, each: int = 10, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(-(-classes // each), dim, generator=random)
    vectors = centres.repeat_interleave(each, dim=0)[:classes]
    vectors = vectors + 0.4 * torch.randn(classes, dim, generator=random)
    return vectors[torch.randperm(classes, generator=random)] * 3


def make(weight: torch.Tensor, k: int = 6, **more: object) -> NeighbourGraph:
    graph = NeighbourGraph(Shards(len(weight), None), weight, k, **more)  # type: ignore[arg-type]
    graph.build()
    return graph


def brute_force(weight: torch.Tensor, k: int) -> np.ndarray:
    vectors = F.normalize(weight.double(), dim=1).numpy()
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -9)
    return np.argsort(-cosines, axis=1)[:, :k]


def test_the_exact_graph_is_that_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oclear.proxies.graph.exact._CPU_COLUMNS", 70)  # several blocks each way
    monkeypatch.setattr("oclear.proxies.graph.neighbours._CPU_BLOCK", 32)
    weight = clustered(230)

    graph = make(weight)

    assert graph.neighbours.dtype == torch.int32
    assert graph.neighbours.tolist() == brute_force(weight, 6).tolist()
    assert graph.recall(100, 0) == 1


def test_few_classes_have_few_neighbours() -> None:
    assert make(clustered(4)).neighbours.shape == (4, 3)
    assert make(clustered(1)).neighbours.shape == (1, 0)


def test_lists_find_nearly_all() -> None:
    weight = clustered(3000)

    graph = make(weight, exact_up_to=0)

    expected = brute_force(weight, 6)
    found = [len(set(a) & set(b)) for a, b in zip(graph.neighbours.tolist(), expected, strict=True)]
    assert sum(found) / expected.size > 0.95
    assert graph.search.compared < 0.3 * len(weight)
    assert graph.recall(500, 0) == pytest.approx(sum(found) / expected.size, abs=0.02)


def test_many_lists_are_found_by_way_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oclear.proxies.graph.kmeans._ALL", 50)  # there are 187 lists, in 14 groups
    monkeypatch.setattr("oclear.proxies.graph.kmeans._GROUPS", 4)

    graph = make(clustered(3000), exact_up_to=0)

    assert compared_with(graph.num_lists) < graph.num_lists / 3
    assert graph.recall(3000, 0) > 0.9


def test_after_a_round_centres_are_the_means_of_their_rows() -> None:
    weight = clustered(3000)
    lists = make(weight, exact_up_to=0).search

    assert isinstance(lists, InvertedLists)
    rows = F.normalize(weight, dim=1)
    for number in lists.members.unique().tolist():
        mean = rows[lists.members == number].mean(dim=0)
        assert torch.allclose(lists.centres[number], F.normalize(mean, dim=0), atol=1e-5)
        begin = int(lists.ends[number - 1]) if number else 0
        assert (lists.members[lists.order[begin : lists.ends[number]].long()] == number).all()


def test_bf16_rows_are_searched_in_bf16() -> None:
    weight = clustered(500).bfloat16()

    graph = make(weight, exact_up_to=100)

    expected = brute_force(weight, 6)
    found = [len(set(a) & set(b)) for a, b in zip(graph.neighbours.tolist(), expected, strict=True)]
    assert sum(found) / expected.size > 0.85


def test_twins_are_the_neighbours_past_the_gate() -> None:
    weight = clustered(300)
    vectors = F.normalize(weight, dim=1)
    cosines = vectors @ vectors.T

    graph = make(weight, twin_similarity=0.9)

    expected = (cosines >= 0.9).sum(dim=1) - 1
    assert expected.max() > 2
    assert torch.equal(graph.twins.long(), expected.clamp(max=6))


@pytest.mark.parametrize("exact_up_to", [None, 0])
def test_a_stale_graph_shows_in_its_recall_and_a_round_makes_it_fresh(
    exact_up_to: int | None,
) -> None:
    weight = clustered(2000)
    graph = make(weight, exact_up_to=exact_up_to)
    fresh = graph.recall(300, 0)

    weight.copy_(clustered(2000, seed=1))
    stale = graph.recall(300, 0)
    for _ in range(3):  # lists follow their rows from round to round
        graph.refresh(graph.blocks)

    assert fresh > 0.95
    assert stale < 0.1
    assert graph.recall(300, 0) > 0.9
    assert graph.rounds == 4


def test_a_part_of_a_round_refreshes_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oclear.proxies.graph.neighbours._CPU_BLOCK", 10)
    weight = clustered(100)
    graph = make(weight)
    before = graph.neighbours.clone()

    weight.copy_(clustered(100, seed=1))
    graph.refresh(3)

    assert graph.neighbours[:30].tolist() == brute_force(weight, 6)[:30].tolist()
    assert torch.equal(graph.neighbours[30:], before[30:])
    assert (graph.cursor, graph.blocks, graph.rounds) == (3, 10, 1)


def test_a_restored_graph_goes_on_as_if_nothing_had_happened() -> None:
    weight = clustered(2000)
    graph = make(weight, exact_up_to=0)
    weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))
    graph.refresh(graph.blocks // 3)
    rows, rank = ({name: t.clone() for name, t in part.items()} for part in graph.state())
    cursor, rounds = graph.cursor, graph.rounds

    again = NeighbourGraph(Shards(2000, None), weight, 6, exact_up_to=0)
    for own, saved in zip(again.state(), (rows, rank), strict=True):
        assert own.keys() == saved.keys()
        for name, tensor in own.items():
            tensor.copy_(saved[name])
    again.restore(cursor, rounds)
    for each in (graph, again):
        each.refresh(2 * each.blocks)

    assert torch.equal(graph.neighbours, again.neighbours)
    for mine, other in zip(graph.state(), again.state(), strict=True):
        assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_rows_that_are_all_alike_cost_no_more_than_a_search_may() -> None:
    # Collapsed proxies: one list has all rows. The graph is of no use then, but must not take the run down.
    weight = torch.ones(3000, 8) + 1e-3 * torch.randn(
        3000, 8, generator=torch.Generator().manual_seed(0)
    )

    graph = make(weight, exact_up_to=0)

    assert graph.search.compared < 1000
    assert (graph.neighbours >= 0).all()
    assert (graph.neighbours != torch.arange(3000).unsqueeze(1)).all()
