"""``oclear categories sweep`` on the tiny generated shop."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

from oclear.commands.categories.sweep_page import write_sweep_page

POINTS = ["methods=[dbscan,kmeans]", "radii=[0.3,0.05]", "clusters_shares=[0.5]", "epochs=1"]


@pytest.fixture(scope="session")
def swept(
    oclear: Callable[..., Any], demo: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """``swept(...)``: a sweep over three points of the shop, with more arguments."""

    def run(*more: object) -> Path:
        out = tmp_path_factory.mktemp("sweep") / "out"
        model = [o for o in demo.overrides if o.startswith("model.")]
        found = oclear(
            *("categories", "sweep", "--items", demo.shop, "--queries", demo.shop),
            *("--exposures", demo.log, "--out", out, "--json", *POINTS, *model, *more),
        )
        assert found.json["out"] == str(out)
        return out

    return run


@pytest.fixture(scope="session")
def trained(swept: Callable[..., Path], demo: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        # Every training ends with an expectation of texts, as it does in larger shops.
        patch.setattr("oclear.training.text_regression._FEWEST", 5)
        patch.setattr("oclear.training.text_regression._LEAST_SHARE", -9.0)
        return swept("--truth", demo.shop)


def test_each_point_is_measured(trained: Path) -> None:
    rows = pq.ParquetFile(trained / "sweep.parquet").read().to_pylist()
    assert [(r["method"], r["radius"], r["clusters_share"]) for r in rows] == [
        ("dbscan", 0.05, None),
        ("dbscan", 0.3, None),
        ("kmeans", 0.3, 0.5),
    ]
    assert rows[0]["category_ids"] > rows[1]["category_ids"]
    assert rows[0]["pair_recall"] < rows[1]["pair_recall"]
    for row in rows:
        assert 0 <= row["identical_at_1_low"] <= row["identical_at_1"] <= row["identical_at_1_high"]
        assert 0 < row["bcubed_f1"] <= 1
    data = json.loads((trained / "sweep.json").read_text())
    assert data["points"] == rows
    assert data["evidence"] == ["looks"] and data["simulated"] is True
    assert data["products"] == 14 and data["epochs"] == 1


def test_nothing_else_is_left_behind(trained: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "config.yaml",
        "run.json",
        "sweep.html",
        "sweep.json",
        "sweep.parquet",
    ]


def test_the_same_again_gives_the_same(
    trained: Path, swept: Callable[..., Path], demo: Any
) -> None:
    again = swept("--truth", demo.shop)
    assert (again / "sweep.json").read_text() == (trained / "sweep.json").read_text()


def plots(page: Path) -> dict[str, Any]:
    """The plots by title, as parsed XML."""
    figures = re.findall(r"<figure>.*?</figure>", page.read_text(), re.DOTALL)
    trees = [ElementTree.fromstring(figure) for figure in figures]
    return {tree.findtext(".//h3") or "": tree for tree in trees}


def test_the_page_draws_every_point_of_every_measure(trained: Path) -> None:
    found = plots(trained / "sweep.html")
    assert [name.split()[0] for name in found] == [
        "Identical@1",
        "B-cubed",
        "Pair",
        "Pair",
        "Estimated",
    ]
    for figure in found.values():
        lines = figure.findall(".//polyline")
        assert len(lines) == 2, "one line a method"
        drawn = [pair.split(",") for line in lines for pair in line.get("points", "").split()]
        known = len(figure.findall(".//title"))
        assert len(drawn) == known
        for x, y in drawn:
            assert 0 <= float(x) <= 520 and 0 <= float(y) <= 300
    text = (trained / "sweep.html").read_text()
    assert "The clicks are simulated" in text
    assert "<script" not in text and "http://" not in text and "https://" not in text


def test_without_training_and_truth(swept: Callable[..., Path]) -> None:
    out = swept("--no-train", "evidence=configured")
    rows = pq.ParquetFile(out / "sweep.parquet").read().to_pylist()
    assert {row["identical_at_1"] for row in rows} == {None}
    assert {row["pair_f1"] for row in rows} == {None}
    assert list(plots(out / "sweep.html")) == ["Estimated purity"]
    data = json.loads((out / "sweep.json").read_text())
    assert data["evidence"] == ["identity", "looks", "behaviour"] and data["epochs"] is None


def test_without_a_log_nothing_is_trained(
    oclear: Callable[..., Any], demo: Any, tmp_path: Path
) -> None:
    model = [o for o in demo.overrides if o.startswith("model.")]
    found = oclear(
        *("categories", "sweep", "--items", demo.shop, "--queries", demo.shop),
        *("--out", tmp_path / "out", "--json", *POINTS, *model),
    )
    assert found.json["validation_photos"] is None
    assert "nothing is trained: there is no --exposures" in found.stderr


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("radii=[0.1,1.5]", "radii.1: Input should be less than 1"),
        ("radii=[]", "radii: Tuple should have at least 1 item"),
        ("methods=[optics]", "methods.0: Input should be 'dbscan', 'hdbscan' or 'kmeans'"),
    ],
)
def test_wrong_points_are_refused(
    oclear: Callable[..., Any], demo: Any, tmp_path: Path, override: str, words: str
) -> None:
    tables = ("--items", demo.shop, "--queries", demo.shop)
    found = oclear("categories", "sweep", *tables, "--out", tmp_path / "out", override)
    assert found.code == 2 and words in found.stderr
    assert not (tmp_path / "out").exists()


def test_the_truth_of_another_catalogue_is_refused(
    oclear: Callable[..., Any], demo: Any, tmp_path: Path
) -> None:
    (tmp_path / "products.csv").write_text("item_id,product_id\nelsewhere,p\n")
    tables = ("--items", demo.shop, "--queries", demo.shop, "--truth", tmp_path / "products.csv")
    found = oclear("categories", "sweep", *tables, "--out", tmp_path / "out")
    assert found.code == 2 and "Is it of another catalogue?" in found.stderr
    assert not (tmp_path / "out").exists()


def test_one_point_and_names_with_markup_make_a_page(tmp_path: Path) -> None:
    """An axis of one value has a width, and what the user typed cannot change the page."""
    names = ("identical_at_1", "bcubed_f1", "pair_precision", "pair_recall")
    row: dict[str, Any] = dict.fromkeys(names)
    row |= {"method": "dbscan", "radius": 0.1, "clusters_share": None, "category_ids": 3}
    row |= {"ids_per_item": 1.0, "largest_id_items": 1, "queries_in": 0, "estimated_purity": 1.0}
    data: dict[str, Any] = {"evidence": ["looks"], "items": 3, "points": [row], "simulated": False}
    data |= dict.fromkeys(("products", "true_ids_per_item", "validation_photos", "epochs"))
    write_sweep_page(tmp_path / "sweep.html", data, "oclear '<script>alert(1)</script>'")
    assert "<script>" not in (tmp_path / "sweep.html").read_text()
    (figure,) = plots(tmp_path / "sweep.html").values()
    assert len(figure.findall(".//circle")) == 1
