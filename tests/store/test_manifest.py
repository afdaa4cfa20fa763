import json

import pyarrow as pa
import pytest

from oclear.errors import FormatError, ModelMismatchError, OutputNotEmptyError
from oclear.store import Index, manifest, require_model

SCHEMA = pa.schema([("item_id", pa.string()), ("price", pa.float64())])


def create(folder, **options):
    return Index.create(folder, model_id="m1", dim=4, items_schema=SCHEMA, **options)


def change(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_open_gives_back_what_create_was_told(tmp_path):
    create(tmp_path / "index", metadata={"model": "../model", "sizes": [1, 2]})
    index = Index.open(tmp_path / "index")
    assert (index.model_id, index.dim, index.count()) == ("m1", 4, (0, 0))
    assert index.model.metadata == {"model": "../model", "sizes": [1, 2]}
    found = manifest.read_manifest(tmp_path / "index")
    assert (found.active, found.kind, found.format_version) == ("m1", "index", 3)


def test_an_index_from_before_photos_is_read_and_becomes_a_present_one(tmp_path):
    create(tmp_path / "index")
    change(tmp_path / "index", format_version=2)
    index = Index.open(tmp_path / "index")
    assert manifest.read_manifest(tmp_path / "index").format_version == 2
    # The first change is what an older program must not take for its own.
    index.optimize()
    assert manifest.read_manifest(tmp_path / "index").format_version == 3


def test_another_model_is_refused_with_both_names(tmp_path):
    index = create(tmp_path / "index")
    require_model(index, "m1", tmp_path)
    with pytest.raises(ModelMismatchError, match=r"m1.*m2"):
        require_model(index, "m2", tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format_version": 4}, "format version 4"),
        ({"format_version": None}, "format version None"),
        ({"kind": "features"}, "'features'"),
        ({"models": {"m1": {"model_id": "m1", "dim": 4}}}, "store cannot be opened"),
        ({"models": {"m1": {"model_id": "m1", "dim": "5"}}}, "dim an integer"),
        ({"models": {"m1": {"model_id": "m1"}}}, "dim"),
        ({"models": ["m1"]}, "other keys"),
        ({"active": "m2"}, "vectors of m1, expected some of model m2"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_refuses_what_it_would_misread(tmp_path, values, words):
    create(tmp_path)
    change(tmp_path, **values)
    with pytest.raises(FormatError, match=words):
        Index.open(tmp_path)


def test_refuses_vectors_of_another_length(tmp_path):
    model = {"model_id": "m1", "dim": 5, "table": create(tmp_path).table}
    change(tmp_path, models={"m1": model})
    with pytest.raises(FormatError, match="vectors of 4 numbers, the manifest says 5"):
        Index.open(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_refuses_a_manifest_that_is_none(tmp_path, text):
    create(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match=r"manifest\.json"):
        Index.open(tmp_path)


def test_refuses_a_folder_that_is_no_index(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(FormatError, match="no index here"):
            Index.open(folder)
    assert not (tmp_path / "nothing").exists()


def test_refuses_a_manifest_without_its_store(tmp_path):
    made = create(tmp_path / "index")
    (tmp_path / "index" / f"{made.table}.lance").rename(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="store cannot be opened"):
        Index.open(tmp_path / "index")


def test_create_refuses_a_folder_that_holds_something(tmp_path):
    create(tmp_path / "index")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    for folder in ("index", "mine"):
        with pytest.raises(OutputNotEmptyError):
            create(tmp_path / folder)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("step", ["create_table", "finish_creation"])
def test_a_creation_that_was_cut_short_is_named_and_gone_on_with(tmp_path, monkeypatch, step):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"oclear.store.index.{step}", crash)
        with pytest.raises(KeyboardInterrupt):
            create(tmp_path / "index")
    with pytest.raises(FormatError, match="interrupted"):
        Index.open(tmp_path / "index")
    made = create(tmp_path / "index")
    assert Index.open(tmp_path / "index").count().items == 0
    assert [path.stem for path in (tmp_path / "index").glob("*.lance")] == [made.table]


def test_a_crash_while_the_manifest_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    create(tmp_path)
    old = manifest.read_manifest(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        manifest.write_manifest(
            tmp_path, manifest.Manifest("m9", {"m9": manifest.StoredModel("m9", 9)})
        )
    assert manifest.read_manifest(tmp_path) == old
