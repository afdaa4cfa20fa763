"""What a checkpoint holds: a resumed run is the same run, bit for bit."""

import copy

import pytest
import torch

from oclear.proxies import (
    ProxyClassifier,
    ProxyConfig,
    ProxyState,
    RowAdagrad,
    RowMomentum,
    SelectionConfig,
)

CLASSES, DIM = 600, 8


def make(kind: str, precision: str) -> tuple[ProxyClassifier, torch.optim.Optimizer]:
    selection = SelectionConfig(
        kind=kind,  # type: ignore[arg-type]
        budget=100,
        neighbours=5,
        twin_similarity=0.95,
        exact_up_to=0,
        refresh_share=0.5,
    )
    config = ProxyConfig(precision=precision, selection=selection)  # type: ignore[arg-type]
    classifier = ProxyClassifier(CLASSES, DIM, config, seed=4)
    optimizer = RowAdagrad if precision == "bf16" else RowMomentum
    return classifier, optimizer(classifier.parameters(), lr=0.1, seed=4)


def run(
    classifier: ProxyClassifier, optimizer: torch.optim.Optimizer, steps: range, batch: int = 32
) -> list[torch.Tensor]:
    losses = []
    for step in steps:
        random = torch.Generator().manual_seed(step)
        labels = torch.randint(CLASSES, (batch,), generator=random)
        output = classifier(torch.randn(batch, DIM, generator=random), labels)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        classifier.advance()
        losses.append(output.loss.detach())
    return losses


def saved(state: ProxyState) -> ProxyState:
    rows, rank = ({n: t.clone() for n, t in part.items()} for part in (state.rows, state.rank))
    return ProxyState(rows, rank, dict(state.plain))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["all", "uniform", "knn"])
def test_a_resumed_run_is_the_same_run(kind: str, precision: str) -> None:
    classifier, optimizer = make(kind, precision)
    run(classifier, optimizer, range(7), batch=320)
    kept, memory = saved(classifier.export_state()), copy.deepcopy(optimizer.state_dict())
    unbroken = run(classifier, optimizer, range(7, 150), batch=320)

    again, other = make(kind, precision)
    room = again.empty_state(kept.plain)
    for name in ("rows", "rank"):  # what a checkpoint loads in place
        assert getattr(room, name).keys() == getattr(kept, name).keys()
        for key, tensor in getattr(room, name).items():
            assert tensor.dtype == getattr(kept, name)[key].dtype
            tensor.copy_(getattr(kept, name)[key])
    again.import_state(room)
    other.load_state_dict(memory)
    resumed = run(again, other, range(7, 150), batch=320)

    assert torch.equal(torch.stack(resumed), torch.stack(unbroken))
    assert torch.equal(again.weight, classifier.weight)
    if kind == "knn":
        assert classifier.graph is not None and classifier.graph.rounds > 1
        before, after = classifier.export_state(), again.export_state()
        assert before.plain == after.plain
        for name, tensor in (before.rows | before.rank).items():
            assert torch.equal(tensor, (after.rows | after.rank)[name])


@pytest.mark.parametrize("other", [{"ranks": 3}, {"graph_lists": 5}])
def test_on_other_ranks_or_with_other_lists_proxies_and_neighbours_are_the_same(
    other: dict[str, int],
) -> None:
    classifier, optimizer = make("knn", "fp32")
    run(classifier, optimizer, range(7))
    kept = saved(classifier.export_state())
    plain = {**kept.plain, **other}

    again, _ = make("knn", "fp32")
    room = again.empty_state(plain)
    assert room.rank == {}
    for key, tensor in room.rows.items():
        tensor.copy_(kept.rows[key])
    again.import_state(room)

    assert again.step == 7
    assert again.graph is not None and classifier.graph is not None
    assert torch.equal(again.graph.neighbours, classifier.graph.neighbours)
    batch = torch.randn(5, DIM), torch.arange(5)
    assert torch.equal(again(*batch).loss, classifier(*batch).loss)
    again.advance()
    again.graph.refresh(again.graph.blocks)
    assert again.graph_recall() > 0.8


def test_lists_of_earlier_versions_are_made_anew() -> None:
    """They kept sums in the place of groups."""
    classifier, optimizer = make("knn", "fp32")
    run(classifier, optimizer, range(7))
    kept = saved(classifier.export_state())
    plain = {name: value for name, value in kept.plain.items() if name != "graph_blocks"}

    again, _ = make("knn", "fp32")
    assert again.empty_state(plain).rank == {}, "nothing is asked of the checkpoint that it lacks"
    again.import_state(ProxyState(kept.rows, {}, plain))

    assert again.graph is not None and classifier.graph is not None
    assert torch.equal(again.graph.neighbours, classifier.graph.neighbours)
    again.graph.refresh(again.graph.blocks)
    assert again.graph_recall() > 0.8


def test_where_blocks_are_others_a_graph_begins_its_round_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a run goes on on another device, or in a later version."""
    monkeypatch.setattr("oclear.proxies.graph.neighbours._CPU_BLOCK", 4)
    classifier, optimizer = make("knn", "fp32")
    run(classifier, optimizer, range(7), batch=320)
    assert classifier.graph is not None
    classifier.graph.refresh(60)
    kept = saved(classifier.export_state())

    monkeypatch.setattr("oclear.proxies.graph.neighbours._CPU_BLOCK", 512)
    again, other = make("knn", "fp32")
    again.import_state(kept)

    assert again.graph is not None and again.graph.blocks < 60, "where it stood is no place there"
    assert again.graph.cursor == 0
    run(again, other, range(7, 12), batch=320)
    assert again.graph.cursor > 0


def test_moving_and_new_starts_drop_the_graph() -> None:
    classifier, optimizer = make("knn", "fp32")
    batch = torch.randn(5, DIM), torch.arange(5)
    selection = classifier.config.selection
    others = [
        selection.model_copy(update=change)
        for change in (
            {"kind": "all"},
            {"neighbours": 3},
            {"twin_similarity": 0.9},
            {"exact_up_to": None},
            {"refresh_share": 0.0},  # it would stay as it is for good
        )
    ]
    for change in (
        lambda: classifier.to("cpu"),
        lambda: classifier.start_at_random(1),
        lambda: classifier.start_from_means([]),
        *(lambda other=other: classifier.set_selection(other) for other in others),
    ):
        classifier.set_selection(selection)
        classifier(*batch)
        assert classifier.graph is not None
        change()
        assert classifier.graph is None
        assert classifier.graph_recall() == 1
    assert optimizer.param_groups[0]["params"][0] is classifier.weight


def test_a_new_stage_goes_on_with_the_graph_of_the_one_before() -> None:
    classifier, optimizer = make("knn", "fp32")
    run(classifier, optimizer, range(7), batch=320)
    graph, rate = classifier.graph, classifier.export_state().plain["refresh_rate"]

    smaller = classifier.config.selection.model_copy(update={"budget": 50})
    classifier.set_selection(smaller)

    assert classifier.graph is graph
    run(classifier, optimizer, range(7, 9), batch=160)
    assert classifier.export_state().plain["refresh_rate"] != rate, "a step's work is another"
    again, other = make("knn", "fp32")
    again.set_selection(smaller)
    again.import_state(saved(classifier.export_state()))
    other.load_state_dict(optimizer.state_dict())
    losses = run(classifier, optimizer, range(9, 12)), run(again, other, range(9, 12))
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))


def test_the_graph_keeps_up_with_the_proxies_at_a_tenth_of_the_work() -> None:
    classifier, optimizer = make("knn", "fp32")
    run(classifier, optimizer, range(3))
    graph = classifier.graph
    assert graph is not None
    rate = classifier.export_state().plain["refresh_rate"]
    assert rate is not None
    logits = 32 * 100

    # Half of a step's work, as this test's configuration has it, at 2.5 logits a comparison.
    assert rate * graph.block_cost * 2.5 == pytest.approx(0.5 * logits)
    before = graph.rounds * graph.blocks + graph.cursor
    run(classifier, optimizer, range(3, 203))
    assert graph.rounds * graph.blocks + graph.cursor - before == pytest.approx(
        200 * rate, abs=1.01
    )
