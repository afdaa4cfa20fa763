"""A catalogue some of whose items have no picture: they are found by their texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from oclear.commands.trials import bench
from oclear.model import TwoTowerModel
from oclear.model.expectation import TextExpectation


@pytest.fixture(autouse=True)
def _telling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that say something: a dozen made by a random encoder would not."""

    def fitted(sums: Any, strength: float) -> tuple[TextExpectation, float]:
        torch.manual_seed(1)
        expectation = TextExpectation(*sums[0].products.shape)
        expectation.weight.normal_()
        expectation.average.normal_()
        expectation.strength.fill_(strength)
        return expectation, 0.5

    monkeypatch.setattr("oclear.training.text_expectation.fitted_expectation", fitted)


@pytest.fixture
def bare(shop: Path, change: Callable[..., None]) -> Path:
    """The shop, every third item without its pictures; and the first of these without a text too."""
    change(
        shop / "items.parquet",
        image_path=lambda rows: [v if i % 3 else None for i, v in enumerate(rows)],
        title=lambda rows: ["", *rows[1:]],
        description=lambda rows: ["", *rows[1:]],
    )
    return shop


def test_they_are_indexed_with_the_others(
    oclear: Callable[..., Any], demo: Any, bare: Path, tmp_path: Path
) -> None:
    overrides = [o for o in demo.overrides if not o.startswith("shop.")]
    oclear("demo", "--data", bare, "--out", tmp_path / "out", "--json", *overrides)

    model = TwoTowerModel.from_pretrained(tmp_path / "out" / "training")
    assert model.embeds_text_alone
    index = ("--index", tmp_path / "out" / "index")
    table = pq.read_table(bare / "items.parquet")
    photo = next(bare.glob("images/queries/*/*.jpg"))
    found = oclear("search", *index, photo, "-k", 500, "--json").json["results"][0]
    listed = {hit["item_id"] for hit in found["hits"]}
    assert listed == set(table["item_id"].to_pylist()[1:]), (
        "all but the one that nothing is known of"
    )
    assert table["image_path"].null_count > 3


def test_trials_measure_them_too(
    oclear: Callable[..., Any],
    demo: Any,
    bare: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ranked: list[np.ndarray] = []

    def rank(queries: Any, documents: Any, items: np.ndarray, k: int) -> Any:
        ranked.append(items)
        return plain(queries, documents, items, k)

    plain = bench.rank
    monkeypatch.setattr(bench, "rank", rank)
    overrides = [o for o in demo.overrides if o.startswith("model.")]
    oclear(
        *("ablate", "--data", bare, "--out", tmp_path / "out", "--labels", "truth", "--quick"),
        *("--parts", "text", "--json", "seeds=1", *overrides),
    )

    table = pq.read_table(bare / "items.parquet")
    has_picture = np.flatnonzero(table["image_path"].is_valid().to_numpy())
    whole, image_only = ranked
    assert set(whole) == set(range(1, len(table)))
    assert set(image_only) == set(has_picture)
