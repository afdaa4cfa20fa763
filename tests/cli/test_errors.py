"""Bad input is refused in a few clear lines, and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def write(path: Path, **columns: list[Any]) -> None:
    pq.write_table(pa.table(columns), path)


def change(path: Path, **columns: list[Any] | None) -> None:
    """Sets columns of a table, or drops those that are None."""
    table = {
        n: c for n, c in pq.read_table(path).to_pydict().items() if columns.get(n, 1) is not None
    }
    write(path, **{**table, **{name: c for name, c in columns.items() if c is not None}})


def tree(folder: Path) -> list[str]:
    """All files, and what is in them by size and date."""
    return sorted(
        f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}"
        if path.is_file()
        else str(path.relative_to(folder))
        for path in folder.rglob("*")
    )


CATEGORIZE = (
    "categorize --items {shop} --queries {shop} --exposures {shop}/exposures.parquet --out {out}"
)
TRAIN = "train --samples {tmp}/categories --items {shop} --queries {shop} --out {out}"
DEMO = "demo --data {shop} --out {out}"


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("frobnicate", ["No such command 'frobnicate'"]),
        (
            "train --items {shop} --queries {shop} --out {out}",
            ["Missing option '--samples'", "--help"],
        ),
        ("search --index {tmp}", ["Missing argument 'PHOTO...'"]),
        ("simulate --data {shop} --out {out}", ["name that ends with .parquet"]),
        ("demo --nonsense", ["No such option", "--nonsense"]),
        ("demo --labels guess", ["'guess'", "'log', 'truth'"]),
        ("simulate --data {shop} --out {out} --wrong some", ["'--wrong'", "number"]),
        (
            "simulate --data {shop} --out {out} --wrong 2",
            ["simulation.wrong", "less than or equal to 1"],
        ),
        (
            DEMO + " trainig.seed=1",
            ["unknown configuration key 'trainig'", "Did you mean 'training'?"],
        ),
        (DEMO + " training.sed=1", ["unknown configuration key 'training.sed'", "'seed'"]),
        (DEMO + " training.stages.0.epoch=1", ["'training.stages.0.epoch'", "'epochs'"]),
        (DEMO + " training.seed=many", ["training.seed", "integer", "'many'"]),
        (DEMO + " seed", ["'seed' is not understood", "key.sub=value"]),
        (DEMO + " --config {tmp}/none.yaml", ["none.yaml: cannot be read"]),
        (DEMO + " --config {tmp}", ["cannot be read"]),
        (
            "demo --data {tmp}/nowhere --out {out}",
            ["nowhere: there is no such folder", "'grocery'"],
        ),
        ("categorize --items {tmp}/nowhere --out {out}", ["nowhere"]),
        ("categorize --items {tmp} --out {out}", ["items.parquet"]),
        ("embed --model mobilenet_v2 --out {out}", ["nothing to embed", "--items, --queries"]),
        ("embed --model mobilnet --items {shop} --out {out}", ["mobilnet", "mobilenet_v2"]),
        ("embed --model {shop} --items {shop} --out {out}", ["not a model folder"]),
        ("index --model {shop} --items {shop} --out {out}", ["not a model folder", "oclear train"]),
        ("search --index {shop} {shop}/red.png", ["no index here", "oclear index"]),
        ("evaluate --index {tmp}/nowhere --queries {shop}", ["no index here"]),
        ("categories evaluat", ["No such command 'evaluat'", "categories --help"]),
        ("categories evaluate --categories {tmp}", ["give --truth, --queries, or both"]),
        (
            "categories evaluate --categories {tmp} --truth {shop}",
            ["not a categorize folder", "oclear categorize"],
        ),
        (
            "categories explain --categories {tmp} --items {shop}",
            ["what to explain?", "--item X --item Y", "One --item"],
        ),
        (
            "categories explain --categories {tmp} --items {shop} --id 1",
            ["not a categorize folder", "oclear categorize"],
        ),
        (TRAIN, ["categories: not a categorize folder", "oclear categorize"]),
        (
            "categorize --items {shop} --exposures {shop}/exposures.parquet --out {out}",
            ["without --queries"],
        ),
        (CATEGORIZE + " --previous {shop}", ["not a categorize folder"]),
        (CATEGORIZE + " --features {shop}", ["no features"]),
        (CATEGORIZE + " governance.identity_columns=[barcod]", ["barcod"]),
        (CATEGORIZE + " model.image_size=8", ["model.image_size", "greater than or equal to 16"]),
    ],
)
def test_a_wrong_command_line_is_refused(oclear, shop, tmp_path, line, messages) -> None:
    refused(oclear, shop, tmp_path, line, messages)


def refused(
    oclear: Callable[..., Any], shop: Path, tmp_path: Path, line: str, messages: list[str]
) -> None:
    before = tree(tmp_path)
    out = tmp_path / "deep" / "out"

    words = [word.format(shop=shop, out=out, tmp=tmp_path) for word in line.split()]
    found = oclear(*words, "--json")

    assert found.code == 2, found.stderr
    assert found.stdout == ""
    text = found.stderr[found.stderr.index("error: ") :]
    assert 1 <= len(text.splitlines()) <= 3
    assert "Traceback" not in found.stderr
    for message in messages:
        assert message in text
    assert tree(tmp_path) == before, "something was left behind"


def drop_ids(shop: Path) -> None:
    table = pq.read_table(shop / "items.parquet").to_pydict()
    write(
        shop / "items.parquet", **{"itemid" if n == "item_id" else n: c for n, c in table.items()}
    )


def empty_items(shop: Path) -> None:
    pq.write_table(pq.read_table(shop / "items.parquet").slice(0, 0), shop / "items.parquet")


FAULTS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "missing column": (drop_ids, ["items.parquet", "item_id", "'itemid'"]),
    "no picture column": (
        lambda shop: change(shop / "items.parquet", image_path=None),
        ["items.parquet", "image_path"],
    ),
    "duplicate ids": (
        lambda shop: change(shop / "items.parquet", item_id=["red", "red"]),
        ["items.parquet, column 'item_id', row 1", "'red'", "unique ids"],
    ),
    "empty table": (empty_items, ["items.parquet", "expected"]),
    "most items of the log unknown": (
        lambda shop: change(shop / "exposures.parquet", item_id=["red", "green", "pink", "grey"]),
        ["exposures.parquet, column 'item_id', row 1", "'green'"],
    ),
    "unknown query in the log": (
        lambda shop: change(shop / "exposures.parquet", query_id=["r1", "r1", "b1", "b9"]),
        ["exposures.parquet, column 'query_id', row 3", "'b9'"],
    ),
    "clicks that are text": (
        lambda shop: change(shop / "exposures.parquet", clicked=["yes", "no", "no", "yes"]),
        ["exposures.parquet, column 'clicked'", "expected"],
    ),
    "no training query": (
        lambda shop: change(shop / "queries.parquet", split=["test"] * 4),
        ["no query has split = 'train'"],
    ),
    "every picture missing": (
        lambda shop: [path.unlink() for path in shop.glob("*.png")],
        ["items.parquet, column 'image_path'", "pictures that can be opened"],
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("line", [CATEGORIZE, DEMO], ids=["categorize", "demo"])
def test_a_wrong_table_is_refused(oclear, shop, tmp_path, line, fault) -> None:
    spoil, messages = FAULTS[fault]
    spoil(shop)

    refused(oclear, shop, tmp_path, line, messages)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"split": ["train"] * 4}, "no query has split = 'test'"),
        ({"item_id": None}, "no column 'item_id'"),
        ({"item_id": ["red", None, "blue", None]}, "no query with split = 'test' has a true item"),
        ({"item_id": ["red", "x", "blue", "y"]}, "'x'"),
    ],
)
def test_the_demo_refuses_what_it_could_not_measure(
    oclear, shop, tmp_path, columns, message
) -> None:
    change(shop / "queries.parquet", **columns)

    refused(oclear, shop, tmp_path, DEMO, [message])


def test_labels_without_truth_are_refused(oclear, shop, tmp_path) -> None:
    change(shop / "queries.parquet", item_id=None)

    refused(
        oclear, shop, tmp_path, CATEGORIZE + " --labels truth", ["--labels truth", "--labels log"]
    )
    refused(
        oclear,
        shop,
        tmp_path,
        "simulate --data {shop} --out {out}.parquet",
        ["no column 'item_id'"],
    )


@pytest.mark.parametrize(
    "line",
    [
        CATEGORIZE,
        DEMO,
        "embed --model mobilenet_v2 --items {shop} --out {out}",
    ],
    ids=["categorize", "demo", "embed"],
)
def test_an_output_that_is_there_is_not_touched(oclear, shop, tmp_path, line) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("dear")

    refused(oclear, shop, tmp_path, line, ["--overwrite"])
    if line == DEMO:
        refused(oclear, shop, tmp_path, line + " --resume", ["not empty"])


@pytest.mark.parametrize("line", [CATEGORIZE, DEMO], ids=["categorize", "demo"])
def test_an_output_that_is_a_file_is_not_touched(oclear, shop, tmp_path, line) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "out").write_text("dear")

    refused(oclear, shop, tmp_path, line, ["out: is a file"])


@pytest.mark.parametrize(
    "line",
    [
        "categorize --items {shop} --out {shop}",
        "categorize --items {shop}/items.parquet --out {shop}",
        "demo --data {shop} --out {tmp}",
        "embed --model mobilenet_v2 --items {shop} --out {shop}",
        "simulate --data {shop} --out {shop}/items.parquet",
    ],
)
def test_an_input_is_never_overwritten(oclear, shop, tmp_path, line) -> None:
    refused(oclear, shop, tmp_path, line + " --overwrite", ["the input", "another place"])


def test_a_log_that_is_there_is_not_touched(oclear, shop, tmp_path) -> None:
    line = "simulate --data {shop} --out {shop}/exposures.parquet"

    refused(oclear, shop, tmp_path, line, ["is there already", "--overwrite"])


def test_a_defect_of_ours_is_told_from_bad_input(oclear, shop, tmp_path, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("oclear.commands.simulate.write_table", broken)
    found = oclear("simulate", "--data", shop, "--out", tmp_path / "log.parquet")

    assert found.code == 1
    assert "ZeroDivisionError" in found.stderr
    assert "defect of oclear" in found.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(OSError(28, "No space left on device"), 2), (KeyboardInterrupt(), 130)]
)
def test_a_full_disk_and_a_stop_need_no_traceback(oclear, shop, tmp_path, monkeypatch, error, code):
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("oclear.commands.simulate.write_table", broken)
    found = oclear("simulate", "--data", shop, "--out", tmp_path / "log.parquet")

    assert found.code == code
    assert "Traceback" not in found.stderr
    assert len(found.stderr.splitlines()) == 1
