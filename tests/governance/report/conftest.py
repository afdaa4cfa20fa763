"""A categorize folder of ten items, small enough to be worked out by hand."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from oclear.governance.categories import SAMPLES_SCHEMA
from oclear.governance.report import open_categories
from oclear.tables import Items, Queries

# Item, ID, barcode, price, belief. Of a, two sellers are alike, and the third is like the second.
ROWS = [
    ("a1", 1, "111", 2.0, 0.8),
    ("a2", 1, None, 3.5, 0.9),
    ("a3", 1, None, None, 0.7),
    ("b1", 2, "222", None, 1.0),
    ("c1", 3, "333", None, 1.0),
    ('c2"><i>', 3, "333", None, 0.9),
    ("d1", 4, None, None, 0.75),
    ("e1", 5, None, None, 0.75),
    ("f1", 6, None, None, 1.0),
    ("h1", 7, None, None, 1.0),
]
TITLES = {
    "a1": "red <script>alert(1)</script> mug 34 cm",
    "a2": "Red & round mug, 52cm",
    "a3": "mug round red",
}
# Photos, their IDs and weights.
PHOTOS = [("q1", 1, 0.9), ("q2", 1, 0.7), ("q3", 3, 0.1)]
# ID, purity, item purity, photos with clicks, those that show something else.
IDS = [
    (1, 0.8, 0.8, 4, 2),
    (2, 1.0, 1.0, 0, 0),
    (3, 0.5, 0.95, 1, 0),
    (4, 0.75, 0.75, 0, 0),
    (5, 0.75, 0.75, 0, 0),
    (6, 1.0, 1.0, 0, 0),
    (7, 1.0, 1.0, 0, 0),
]
EVIDENCE = {
    "identity": [("c1", 'c2"><i>', 1.0, "same barcode")],
    "title": [
        ("a1", "a2", 0.92, "nearly the same title"),
        ("a1", "b1", 0.95, "nearly the same title"),
    ],
    "looks": [("a2", "a3", 0.95, "look alike"), ("a1", "d1", 0.9, "look alike")],
    "behaviour": [("a1", "a2", 0.8, "clicked for the same photos")],
}
# Pairs and their scores, whose words are found to suit; of the first the prices are known, too.
JUDGED = [
    ("a1", "a2", 1.0),
    ("a1", "a3", -0.5),
    ("a2", "a3", 2.0),
    ("a1", "d1", -1.5),
    ("a2", "d1", 0.75),
    ("a1", "f1", 1.0),
    ("a2", "f1", 1.0),
    ("c1", "h1", 0.5),
]
MATCHER = {
    "names": ["shared words", "column price"],
    "mean": [0.5, 1.0],
    "scale": [0.5, 2.0],
    "weight": [2.0, -1.0],
    "unknown": [0.0, -0.25],
    "intercept": -1.0,
}
MARGIN = 0.5


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(buffer, "PNG")
    return buffer.getvalue()


def summary(learned: bool) -> dict[str, Any]:
    outcome = [
        ("identity", "same barcode", 1, 1, 0, 0),
        ("title", "nearly the same title", 2, 1, 1, 0),
        ("looks", "look alike", 2, 1, 0, 1),
        ("behaviour", "clicked for the same photos", 1, 1, 0, 0),
    ]
    names = ("kind", "reason", "pairs", "in_one_id", "refused_by_cannot_link", "outweighed")
    matching: dict[str, Any] = {"learned": learned}
    if learned:
        matching |= {
            "pairs_judged": 40,
            "pairs_with_equal_keys": 21,
            "pairs_with_differing_keys": 32,
            "margin": MARGIN,
            "estimated_pair_precision": 0.9876,
            "estimated_pair_recall": 0.875,
            "matcher": MATCHER,
        }
    return {
        "labels": "log",
        "simulated": True,
        "exposures": 1234,
        "clicks": 56,
        "examination_by_position": [1.0, 0.517, 0.25],
        "examination_compared": "item",
        "items_seen_at_several_positions": 17,
        "noise_share": 0.1234,
        "held_out_for_validation": 1,
        "items": 10,
        "category_ids": 7,
        "ids_with_queries": 2,
        "ids_with_several_items": 2,
        "largest_id_items": 3,
        "estimated_purity": 0.8345,
        "evidence_outcome": [dict(zip(names, row, strict=True)) for row in outcome],
        "matching": matching,
        "queries": 5,
        "queries_in": 3,
        "queries_in_by": {"click": 2, "neighbours": 1},
        "queries_left_out": {"no click, and nothing near enough": 2},
    }


def write_folder(
    folder: Path,
    *,
    learned: bool = True,
    most_items: int = 3,
    ids: list[Any] = IDS,
    photos: list[Any] = PHOTOS,
) -> None:
    (folder / "evidence").mkdir(parents=True)
    samples = [("document", row[0], row[1], row[4], "catalogue") for row in ROWS]
    samples += [("query", *photo, "click") for photo in photos]
    samples = [(n, s, k, 0, c, w, e) for n, (s, k, c, w, e) in enumerate(samples)]
    columns = zip(SAMPLES_SCHEMA.names, zip(*samples, strict=True), strict=True)
    pq.write_table(
        pa.table({n: list(c) for n, c in columns}, SAMPLES_SCHEMA), folder / "samples.parquet"
    )
    number = [row[0] for row in ids]
    table = {
        "category_id": number,
        "items": [sum(row[1] == n for row in ROWS) for n in number],
        "queries": [sum(photo[1] == n for photo in photos) for n in number],
        "purity": pa.array([row[1] for row in ids], pa.float32()),
        "item_purity": pa.array([row[2] for row in ids], pa.float32()),
        "clicked_photos": [row[3] for row in ids],
        "clicked_photos_elsewhere": [row[4] for row in ids],
    }
    pq.write_table(pa.table(table), folder / "categories.parquet")
    links = {
        "id_a": [1, 1],
        "id_b": [4, 6],
        "kind": ["look_alike"] * 2,
        "weight": pa.array([0.85, 0.93], pa.float32()),
    }
    pq.write_table(pa.table(links), folder / "links.parquet")
    for kind, rows in EVIDENCE.items():
        a, b, weight, reason = (list(c) for c in zip(*rows, strict=True))
        pq.write_table(
            pa.table(
                {
                    "item_a": a,
                    "item_b": b,
                    "weight": pa.array(weight, pa.float32()),
                    "reason": reason,
                }
            ),
            folder / "evidence" / f"{kind}.parquet",
        )
    if learned:
        a, b, score = (list(c) for c in zip(*JUDGED, strict=True))
        # One of the shared words adds 4; equal prices add 0.5, unknown ones -0.25.
        price = [0.0, *[None] * (len(a) - 1)]
        says = [0.5 if p is not None else -0.25 for p in price]
        words = [0.5 + (s + 1 + MARGIN - plus) / 4 for s, plus in zip(score, says, strict=True)]
        pq.write_table(
            pa.table(
                {
                    "item_a": a,
                    "item_b": b,
                    "score": pa.array(score, pa.float32()),
                    "shared words": pa.array(words, pa.float32()),
                    "column price": pa.array(price, pa.float32()),
                }
            ),
            folder / "evidence" / "matches.parquet",
        )
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"governance": {"most_items": most_items}, "max_bad_images": 0.05})
    )
    skipped = {"side": ["query"], "key": ["q9"], "reason": ["missing file"]}
    pq.write_table(pa.table(skipped), folder / "skipped.parquet")
    manifest = {"format_version": 1, "next_category_id": 8, "summary": summary(learned)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def catalogue() -> Items:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": png((20 * n, 90, 200)), "path": None} for n in range(len(ROWS))]
    images[5] = {"bytes": b"no picture at all", "path": None}
    return Items(
        Path("items of a test"),
        pa.table(
            {
                "item_id": [row[0] for row in ROWS],
                "image": pa.array(images, kind),
                "title": [TITLES.get(row[0], f"title of {row[0]}") for row in ROWS],
                "barcode": pa.array([row[2] for row in ROWS], pa.string()),
                "price": pa.array([row[3] for row in ROWS], pa.float64()),
            }
        ),
    )


def queries() -> Queries:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    ids = ["q1", "q2", "q3", "q4", "q5"]
    images = [{"bytes": png((200, 40 * n, 20)), "path": None} for n in range(len(ids))]
    return Queries(
        Path("queries of a test"), pa.table({"query_id": ids, "image": pa.array(images, kind)})
    )


@pytest.fixture
def open_tiny(tmp_path: Path) -> Callable[..., Any]:
    """``open_tiny(learned=..., most_items=...)``: writes the folder and opens it."""

    def opener(**changes: Any) -> Any:
        folder = tmp_path / "categories"
        write_folder(folder, **changes)
        return open_categories(folder, catalogue(), queries())

    return opener


@pytest.fixture
def tiny(open_tiny: Callable[..., Any]) -> Any:
    return open_tiny()


@pytest.fixture
def parts() -> SimpleNamespace:
    return SimpleNamespace(items=catalogue(), queries=queries(), write=write_folder)
