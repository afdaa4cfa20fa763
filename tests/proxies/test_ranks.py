"""Classes spread over two and three processes (gloo) against one process with all of them."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tests.processes import run_processes

from oclear.proxies import ProxyClassifier, ProxyConfig, ProxyState, RowAdagrad, SelectionConfig

DIM = 6
# Samples of each rank: a short last batch, and an empty one.
SIZES = ((5, 3, 0), (2, 4, 4))
PLACES = (3, 1, 2)


def config(kind: str = "all", **more: object) -> ProxyConfig:
    selection = {"rate": 0.5, "budget": 9, "neighbours": 3, "twin_similarity": 0.9}
    return ProxyConfig(
        margin="arcface",
        margin_size=0.3,
        scale=20,
        selection=SelectionConfig(kind=kind, **{**selection, **more}),  # type: ignore[arg-type]
    )


def make_batch(
    rank: int, size: int, num_classes: int, step: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings, labels, label weights and sample weights of a rank; one sample without labels."""
    random = torch.Generator().manual_seed(100 * step + rank)
    places = min(PLACES[rank], num_classes)
    order = torch.rand(size, num_classes, generator=random).argsort(dim=1)
    labels = order[:, :places]
    labels[torch.rand(size, places, generator=random) < 0.3] = -1
    return (
        torch.randn(size, DIM, generator=random),
        labels,
        torch.rand(size, places, generator=random) + 0.1,
        torch.rand(size, generator=random),
    )


def together(batches: list[tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
    """The batches of all ranks as one process sees them."""
    widest = max(batch[1].shape[1] for batch in batches)
    pad = torch.nn.functional.pad
    parts = [
        (
            vectors,
            pad(labels, (0, widest - labels.shape[1]), value=-1),
            pad(weights, (0, widest - labels.shape[1])),
            of_samples,
        )
        for vectors, labels, weights, of_samples in batches
    ]
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def same_as_one_process(
    group: dist.ProcessGroup, num_classes: int, sizes: tuple[int, ...], chosen: ProxyConfig
) -> None:
    """Loss, and all gradients."""
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    links = torch.tensor([[0, 1]])
    sharded = ProxyClassifier(num_classes, DIM, chosen, group=group, links=links)
    single = ProxyClassifier(num_classes, DIM, chosen, links=links)
    own = slice(sharded.classes.start, sharded.classes.stop)
    assert torch.equal(sharded.weight, single.weight[own])
    batches = [make_batch(r, sizes[r], num_classes) for r in range(ranks)]
    mine, whole = list(batches[rank]), together(batches)
    mine[0].requires_grad_()
    whole[0].requires_grad_()

    found, expected = sharded(*mine), single(*whole)
    found.loss.backward()
    expected.loss.backward()

    samples = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    near = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(found.loss, expected.loss, **near)
    torch.testing.assert_close(found.sample_losses, expected.sample_losses[samples], **near)
    assert mine[0].grad is not None and whole[0].grad is not None
    torch.testing.assert_close(mine[0].grad, whole[0].grad[samples], **near)
    assert sharded.weight.grad is not None and single.weight.grad is not None
    gradients = sharded.weight.grad.to_dense(), single.weight.grad.to_dense()[own]
    torch.testing.assert_close(*gradients, **near)


def same_training(group: dist.ProcessGroup, kind: str) -> None:
    """Eight steps with the row-sparse optimiser, then the state moved to one process and one step more."""
    rank, ranks, num_classes = dist.get_rank(group), dist.get_world_size(group), 17
    chosen = config(kind, refresh_share=0.0)
    sharded = ProxyClassifier(num_classes, DIM, chosen, group=group)
    single = ProxyClassifier(num_classes, DIM, chosen)
    optimizers = [RowAdagrad(part.parameters(), lr=0.1) for part in (sharded, single)]
    for step in range(8):
        batches = [make_batch(r, 4, num_classes, step) for r in range(ranks)]
        losses = [sharded(*batches[rank]).loss, single(*together(batches)).loss]
        torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
        for classifier, loss, optimizer in zip((sharded, single), losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            classifier.advance()

    parts: list[ProxyState | None] = [None] * ranks
    dist.all_gather_object(parts, sharded.export_state(), group)
    states = [part for part in parts if part is not None]
    rows = {name: torch.cat([s.rows[name] for s in states]) for name in states[0].rows}
    moved = ProxyClassifier(num_classes, DIM, chosen, seed=0)
    moved.import_state(ProxyState(rows, {}, states[0].plain))
    whole = together([make_batch(r, 4, num_classes, 9) for r in range(ranks)])
    torch.testing.assert_close(moved(*whole).loss, single(*whole).loss, rtol=1e-5, atol=1e-5)


def same_graph(group: dist.ProcessGroup) -> None:
    """Exact: as in one process. In lists, each rank with its own: nearly all of it, and kept fresh."""
    exact, lists = config("knn"), config("knn", exact_up_to=0, refresh_share=0.5)
    sharded = ProxyClassifier(40, DIM, exact, group=group)
    single = ProxyClassifier(40, DIM, exact)
    batch = make_batch(0, 4, 40)
    sharded(*batch)
    single(*batch)
    assert sharded.graph is not None and single.graph is not None
    own = slice(sharded.classes.start, sharded.classes.stop)
    assert torch.equal(sharded.graph.neighbours, single.graph.neighbours[own])
    assert torch.equal(sharded.graph.twins, single.graph.twins[own])
    assert sharded.graph_recall() == 1

    in_lists = ProxyClassifier(300, DIM, lists, group=group)
    in_lists(*make_batch(0, 4, 300))
    assert in_lists.graph is not None and in_lists.graph.rounds == 1
    assert in_lists.graph_recall() > 0.9

    state = in_lists.export_state()
    again = ProxyClassifier(300, DIM, lists, group=group, seed=7)
    room = again.empty_state(state.plain)
    for own_part, saved_part in ((room.rows, state.rows), (room.rank, state.rank)):
        for name, tensor in own_part.items():
            tensor.copy_(saved_part[name])
    again.import_state(room)
    assert again.graph is not None and "middles" in room.rank
    for graph in (in_lists.graph, again.graph):
        graph.refresh(2 * graph.blocks + 1)
    assert torch.equal(in_lists.graph.neighbours, again.graph.neighbours)

    in_lists.start_at_random(5)
    in_lists(*make_batch(0, 4, 300))
    assert in_lists.graph_recall() > 0.9


def averaged_encoders(group: dist.ProcessGroup) -> None:
    """The mean over the ranks of what DDP averages is the gradient of the loss."""
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    classifier = ProxyClassifier(17, DIM, config(), group=group, encoders_average=True)
    single = ProxyClassifier(17, DIM, config())
    batches = [make_batch(r, 4, 17) for r in range(ranks)]
    encoders = [torch.eye(DIM, requires_grad=True) for _ in range(2)]

    classifier(batches[rank][0] @ encoders[0], *batches[rank][1:]).loss.backward()
    whole = together(batches)
    single(whole[0] @ encoders[1], *whole[1:]).loss.backward()

    assert encoders[0].grad is not None
    average = encoders[0].grad / ranks
    dist.all_reduce(average, group=group)
    torch.testing.assert_close(average, encoders[1].grad, rtol=1e-5, atol=1e-5)


def work(rank: int, ranks: int, file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=ranks)
    group = dist.group.WORLD
    assert group is not None
    for num_classes in (17, 2):  # uneven shards; with two classes, the third rank has none
        for sizes in SIZES:
            for kind in ("all", "uniform", "knn"):
                same_as_one_process(group, num_classes, sizes, config(kind))
    for kind in ("all", "knn"):
        same_training(group, kind)
    same_graph(group)
    averaged_encoders(group)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_do_what_one_process_does(ranks: int, tmp_path: Path) -> None:
    run_processes(work, ranks, tmp_path / "processes", ranks, str(tmp_path / "rendezvous"))
