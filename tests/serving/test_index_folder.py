"""An index folder is loaded with the very model that made it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oclear.errors import FormatError, ModelMismatchError
from oclear.model import TwoTowerModel
from oclear.serving.index_folder import IndexFolder
from oclear.store import Index, activate, model_folder

from .conftest import SCHEMA, fill


@pytest.fixture
def folder(index: Index, model: TwoTowerModel, tmp_path: Path) -> Path:
    """An index folder as 'oclear index' leaves it."""
    model.save_pretrained(model_folder(tmp_path / "index"))
    return tmp_path / "index"


def test_a_folder_is_served_with_its_own_model(folder: Path, model: TwoTowerModel) -> None:
    source = IndexFolder(folder)

    loaded = source.load()

    assert loaded.model.model_id == loaded.store.model_id == model.model_id
    assert source.active() == loaded.store.table
    assert loaded.store.count().items == 5


def test_another_model_is_served_when_it_is_made_active(
    folder: Path, make_model: Callable[..., TwoTowerModel]
) -> None:
    other = make_model(seed=3)
    made = Index.create(folder, model_id=other.model_id, dim=8, items_schema=SCHEMA)
    fill(made, other).optimize()
    other.save_pretrained(model_folder(folder, other.model_id))
    source = IndexFolder(folder)
    before = source.active()

    activate(folder, other.model_id)

    assert before != source.active() == source.load().store.table
    assert source.load().model.model_id == other.model_id


def test_a_missing_or_another_model_is_refused(
    folder: Path, make_model: Callable[..., TwoTowerModel], tmp_path: Path
) -> None:
    make_model(seed=3).save_pretrained(tmp_path / "another")
    with pytest.raises(ModelMismatchError, match="this index was made by model"):
        IndexFolder(folder, str(tmp_path / "another")).load()
    place = model_folder(folder)
    place.rename(tmp_path / "moved")
    with pytest.raises(FormatError, match="no model in it"):
        IndexFolder(folder).load()
    assert IndexFolder(folder, str(tmp_path / "moved")).load().store.count().items == 5
