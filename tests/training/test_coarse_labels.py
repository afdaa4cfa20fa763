"""The catalogue's groups as further classes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from oclear.training import TrainingData
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


def test_each_sample_has_the_coarse_label_of_its_id(world, coarse_data: TrainingData) -> None:
    before, after = world.data().samples, coarse_data.samples
    assert after.coarse_labels == ("cold", "warm")
    assert (after.num_ids, after.num_classes) == (before.num_classes, before.num_classes + 2)
    names = [str(name) for name in coarse_data.documents.keys]
    group_of_id = {}
    for sample in np.flatnonzero(after.is_document):
        name = names[after.picture[sample]]
        group_of_id[int(after.labels[sample, 0])] = dict(zip(names, GROUPS, strict=True))[name]
    for labels, weights, plain in zip(
        after.labels, after.label_weights, before.label_weights, strict=True
    ):
        strongest = int(labels[np.argmax(plain)])
        group = group_of_id[strongest]
        assert weights.sum() == pytest.approx(plain.sum()), "a sample counts as much as before"
        if group is None:
            assert labels[-1] == -1 and np.array_equal(weights[:-1], plain)
        else:
            assert labels[-1] == after.num_ids + after.coarse_labels.index(group)
            assert weights[-1] == pytest.approx(0.25 * plain.sum())


def test_ids_are_drawn_and_coarse_labels_are_not(world, coarse_data: TrainingData) -> None:
    before, after = world.data().samples, coarse_data.samples
    for document in (False, True):
        plain, found = before.members(document), after.members(document)
        assert np.array_equal(plain.starts, found.starts)
        assert np.array_equal(plain.rows, found.rows)
    samplers = [BalancedSampler(samples, 16, 0.25, 3) for samples in (before, after)]
    assert samplers[0].num_classes == samplers[1].num_classes
    assert np.array_equal(samplers[0].draw(5), samplers[1].draw(5))
    assert len(before.medium(0.5)) == len(after.medium(0.5))
    assert after.medium(0.5).coarse_labels == after.coarse_labels


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
    coarse, names = coarse_of_ids(samples, documents, pa.chunked_array([["b", "a", None]]))
    assert names == ("a", "b")
    # Documents 0 and 3 are of item 0 (b), 1, 2 and 4 of item 1 (a).
    assert coarse.tolist() == [0, 0, -1, -1]


@pytest.mark.parametrize("columns", [{}, {"coarse_label": pa.nulls(8, pa.string())}])
def test_without_any_label_nothing_changes(world, columns: dict[str, Any]) -> None:
    data = world.data()
    items = pa.table({"item_id": list("abcdefgh"), **columns})
    assert add_coarse_labels(data.samples, items, data.documents, 0.25) is data.samples


def test_alignment_knows_ids_alone(
    make_trainer: Callable[..., Any], coarse_data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.Tensor] = []

    def watching(*arguments: Any, **options: Any) -> Any:
        asked.extend((arguments[2], arguments[4]))
        return alignment_losses(*arguments, **options)

    monkeypatch.setattr("oclear.training.learner.alignment_losses", watching)
    stage = {"name": "heads", "trains": "heads", "alignment": 0.5, "epochs": 1}
    make_trainer([stage], data=coarse_data).run()
    labels = torch.cat(asked)
    assert len(asked) > 1 and (labels >= 0).any()
    assert labels.max() < coarse_data.samples.num_ids


def test_a_group_lies_nearer_together(
    make_trainer: Callable[..., Any], world: Any, groups: pa.Table
) -> None:
    """Cosines of documents of one group less those of two, with and without coarse labels."""
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
