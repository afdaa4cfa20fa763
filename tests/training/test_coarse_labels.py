"""The catalogue's groups as further classes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from oclear.training import Trainer, TrainingData
from oclear.training.coarse_labels import add_coarse_labels, coarse_of_ids
from oclear.training.learner import alignment_losses
from oclear.training.sampler import BalancedSampler
from oclear.training.samples import SampleSet

GROUPS = ["warm", "cold", "cold", "warm", "cold", "cold", None, None]
"""Of the world's items: red, green, blue, yellow, violet, cyan, brown, white."""


@pytest.fixture
def groups() -> pa.Table:
    return pa.table({"coarse_label": GROUPS})


@pytest.fixture
def coarse_data(world: Any, groups: pa.Table) -> TrainingData:
    data = world.data()
    samples = add_coarse_labels(data.samples, groups, data.documents, 0.25)
    return replace(data, samples=samples)


def samples_of(labels: list[list[int]], weights: list[list[float]]) -> SampleSet:
    """Photos with these labels, and a document for each of four IDs, all of weight 1."""
    photos, ids = len(labels), 4
    wide = np.full((photos + ids, len(labels[0])), -1)
    wide[:photos], wide[photos:, 0] = labels, range(ids)
    weighed = np.zeros(wide.shape, np.float32)
    weighed[:photos], weighed[photos:, 0] = weights, 1
    return SampleSet(
        np.arange(ids),
        is_document=np.arange(photos + ids) >= photos,
        picture=np.r_[range(photos), range(ids)],
        labels=wide,
        label_weights=weighed,
        purity=np.ones(ids, np.float32),
    )


def test_each_sample_has_the_coarse_labels_of_its_ids() -> None:
    """In proportion to its IDs, each once; IDs stay as they are."""
    before = samples_of([[0, 1], [0, 2], [3, -1]], [[0.5, 0.4], [0.6, 0.2], [0.9, 0.0]])
    after = before.with_coarse_labels(np.array([0, 1, 0, -1]), ("fruit", "milk"), 0.2)

    assert (after.num_ids, after.num_classes) == (4, 6)
    assert np.array_equal(after.labels[:, :2], before.labels)
    assert np.array_equal(after.label_weights[:, :2], before.label_weights)
    assert after.labels[:, 2:].tolist() == [
        *([4, 5], [4, -1], [-1, -1]),
        *([4, -1], [5, -1], [4, -1], [-1, -1]),
    ]
    quarter = after.label_weights[:, 2:] / 0.25
    assert quarter[:3] == pytest.approx(np.array([[0.5, 0.4], [0.8, 0], [0, 0]]))
    shares = after.label_weights[:, 2:].sum(axis=1) / after.label_weights.sum(axis=1)
    assert shares == pytest.approx([0.2, 0.2, 0, 0.2, 0.2, 0.2, 0])


def test_renamed_labels_are_other_samples() -> None:
    plain = samples_of([[0]], [[1.0]])
    names = (("fruit", "milk"), ("fruit", "tea"))
    found = {plain.with_coarse_labels(np.array([0, 1, 0, 1]), n, 0.2).fingerprint() for n in names}
    assert len(found | {plain.fingerprint()}) == 3


def test_ids_are_drawn_and_coarse_labels_are_not(world, coarse_data: TrainingData) -> None:
    before, after = world.data().samples, coarse_data.samples
    for document in (False, True):
        plain, found = before.members(document), after.members(document)
        assert np.array_equal(plain.starts, found.starts)
        assert np.array_equal(plain.rows, found.rows)
    samplers = [BalancedSampler(samples, 16, 0.25, 3) for samples in (before, after)]
    assert samplers[0].num_classes == samplers[1].num_classes
    assert np.array_equal(samplers[0].draw(5), samplers[1].draw(5))
    plain, found = before.medium(0.5), after.medium(0.5)
    assert np.array_equal(plain.is_document, found.is_document)
    assert np.array_equal(plain.picture, found.picture)
    assert found.coarse_labels == after.coarse_labels


def test_an_id_has_the_label_of_most_of_its_documents() -> None:
    # ID 0: two of b, one of a. ID 1: one each, the first by name. ID 2: its only document has none. ID 3: a photo.
    item_of = [0, 1, 1, 0, 1, 2]
    samples = SampleSet(
        np.arange(4),
        is_document=np.array([True] * 6 + [False]),
        picture=np.array([0, 1, 2, 3, 4, 5, 0]),
        labels=np.array([[0], [0], [0], [1], [1], [2], [3]]),
        label_weights=np.ones((7, 1), np.float32),
        purity=np.ones(4, np.float32),
    )
    documents: Any = type("Documents", (), {"rows": np.array(item_of)})()
    # Item 0 is of b, item 1 of a, item 2 of none, and item 3, of z, is learned by no ID.
    coarse, names = coarse_of_ids(samples, documents, pa.chunked_array([["b", "a", None, "z"]]))
    assert names == ("a",), "no class without samples"
    assert coarse.tolist() == [0, 0, -1, -1]


@pytest.mark.parametrize("columns", [{}, {"coarse_label": pa.nulls(8, pa.string())}])
def test_without_any_label_nothing_changes(world, columns: dict[str, Any]) -> None:
    data = world.data()
    items = pa.table({"item_id": list("abcdefgh"), **columns})
    assert add_coarse_labels(data.samples, items, data.documents, 0.25) is data.samples


def test_alignment_knows_ids_alone(
    make_trainer: Callable[..., Any],
    world: Any,
    coarse_data: TrainingData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def watching(*arguments: Any, **options: Any) -> Any:
        found = alignment_losses(*arguments, **options)
        asked.append((arguments[2], arguments[4], found[1]))
        return found

    monkeypatch.setattr("oclear.training.learner.alignment_losses", watching)
    stage = {"name": "heads", "trains": "heads", "alignment": 0.5, "max_steps": 3}
    make_trainer([stage], "coarse", data=coarse_data).run()
    with_coarse, asked[:] = list(asked), []
    make_trainer([stage], "plain", data=world.data()).run()
    for (photos, documents, weights), plain in zip(with_coarse, asked, strict=True):
        assert (photos >= 0).any() and photos.max() < coarse_data.samples.num_ids
        assert documents.max() < coarse_data.samples.num_ids
        assert torch.equal(weights, plain[2])


NEAREST = {"kind": "knn", "budget": 6, "neighbours": 2}


@pytest.mark.parametrize("selection", [{"kind": "all"}, NEAREST, {"kind": "uniform", "rate": 0.5}])
def test_a_killed_run_goes_on_with_coarse_labels(
    make_trainer: Callable[..., Any],
    coarse_data: TrainingData,
    monkeypatch: pytest.MonkeyPatch,
    selection: dict[str, Any],
) -> None:
    stage = {"name": "heads", "trains": "heads", "proxies_start": "class_means", "alignment": 0.5}
    stages = [{**stage, "selection": selection, "max_steps": 8}]
    expected = make_trainer(stages, "unbroken", data=coarse_data)
    expected.run()
    step = Trainer._train_step
    calls: list[None] = []

    def killed(self: Trainer, *arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_train_step", killed)
        make_trainer(stages, data=coarse_data, checkpoint_minutes=0.0).run()
    again = make_trainer(stages, data=coarse_data, checkpoint_minutes=0.0)
    again.run()
    assert torch.equal(again.proxies.weight, expected.proxies.weight)
    assert len(again.proxies.weight) == coarse_data.samples.num_classes


def test_a_group_lies_nearer_together(
    make_trainer: Callable[..., Any], world: Any, groups: pa.Table
) -> None:
    """Cosines of proxies of one group less those of two, with and without coarse labels."""
    stage = {"name": "heads", "trains": "heads", "epochs": 30, "heads_lr": 0.01}
    found = []
    for weight in (0.0, 0.6):
        data = world.data()
        if weight:
            samples = add_coarse_labels(data.samples, groups, data.documents, weight)
            data = replace(data, samples=samples)
        trainer = make_trainer([stage], f"weight {weight}", data=data, validation=None)
        trainer.run()
        proxies = torch.nn.functional.normalize(trainer.proxies.weight[:8])
        names = [str(world.items.ids[row]) for row in range(8)]
        order = sorted(range(8), key=lambda row: world_category(world, names[row]))
        group = np.array([GROUPS[row] for row in order], object)
        cosines = (proxies @ proxies.T).detach().numpy()
        known = np.array([label is not None for label in group])
        same = (group[:, None] == group) & known[:, None] & known & ~np.eye(8, dtype=bool)
        other = (group[:, None] != group) & known[:, None] & known
        found.append(cosines[same].mean() - cosines[other].mean())
    assert found[1] > found[0]


def world_category(world: Any, name: str) -> int:
    rows = world.samples.to_pylist()
    return next(
        row["category_id"] for row in rows if row["side"] == "document" and row["key"] == name
    )
