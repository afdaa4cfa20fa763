"""Model folders: what is saved is what is loaded, and nothing else is taken for a model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from oclear.errors import FormatError, InputError
from oclear.model import TwoTowerModel
from oclear.model.files import find_model_folder, is_model_folder

MakeModel = Callable[..., TwoTowerModel]


@pytest.fixture
def folder(reading_model: TwoTowerModel, tmp_path: Path) -> Path:
    reading_model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("text", [True, False])
def test_embeddings_are_bit_equal_after_saving_and_loading(
    make_model: MakeModel, text: bool, tmp_path: Path, pictures: list[Image.Image]
) -> None:
    settings = {} if text else {"text_encoder": None}
    model = make_model(text=text, gate=0.7, text_columns=("title", "brand"), **settings)
    model.preprocessing = model.preprocessing.model_copy(update={"fit": "crop", "size": 40})
    features = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    model.heads.fit_start(features, features + 1)
    texts = ["red mug", "", "tea"] * 2

    model.save_pretrained(tmp_path / "model")
    again = TwoTowerModel.from_pretrained(tmp_path / "model")

    assert again.config == model.config
    assert again.preprocessing == model.preprocessing
    assert again.model_id == model.model_id
    assert not again.training
    assert torch.equal(again.encode_query(pictures), model.encode_query(pictures))
    assert torch.equal(
        again.encode_document(pictures, texts), model.encode_document(pictures, texts)
    )


def test_the_output_folder_of_train_is_taken_too(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "model")

    assert find_model_folder(tmp_path) == tmp_path / "model"
    assert is_model_folder(tmp_path)
    assert TwoTowerModel.from_pretrained(tmp_path).model_id


def test_nothing_in_a_model_folder_is_pickle_and_its_card_names_it(
    folder: Path, reading_model: TwoTowerModel
) -> None:
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}

    assert suffixes <= {".json", ".safetensors", ".md", ".txt"}
    card = (folder / "README.md").read_text()
    assert reading_model.model_id in card
    assert "32 x 32 px" in card


def test_a_changed_weight_or_preprocessing_is_another_model(
    folder: Path, reading_model: TwoTowerModel
) -> None:
    rewrite(folder / "config.json", lambda c: c["preprocessing"].update(resize="lanczos"))
    other = TwoTowerModel.from_pretrained(folder).model_id
    weights = load_file(folder / "model.safetensors")
    weights["heads.query_mean"][0] += 1e-3
    save_file(weights, folder / "model.safetensors")
    another = TwoTowerModel.from_pretrained(folder).model_id

    assert len({reading_model.model_id, other, another}) == 3


def test_a_newer_format_is_refused_with_the_reason(folder: Path) -> None:
    rewrite(folder / "config.json", lambda c: c.update(format_version=99))

    with pytest.raises(FormatError, match=r"format version 99[^\n]*up to 3\n.*newer oclear"):
        TwoTowerModel.from_pretrained(folder)


def test_a_model_of_another_program_is_refused(text_folder: Path) -> None:
    with pytest.raises(FormatError, match="not an OCLEAR model"):
        TwoTowerModel.from_pretrained(text_folder)


@pytest.mark.parametrize("content", ["{", "[]", '"text"', ""])
def test_a_damaged_config_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)

    with pytest.raises(FormatError, match=r"config\.json"):
        TwoTowerModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("model"),
        lambda c: c.pop("preprocessing"),
        lambda c: c.pop("text_backbone"),
        lambda c: c["model"].update(embedding_dim="many"),
        lambda c: c["model"].update(unheard_of=1),
        lambda c: c["image_backbone"].update(model_type="unheard_of"),
        lambda c: c.update(image_backbone=None),
    ],
)
def test_a_config_that_describes_no_model_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(folder / "config.json", change)

    with pytest.raises(FormatError, match=r"config\.json"):
        TwoTowerModel.from_pretrained(folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def overwrite(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lose_a_weight(path: Path) -> None:
    weights = load_file(path)
    del weights["heads.shared.weight"]
    save_file(weights, path)


def reshape(path: Path) -> None:
    weights = load_file(path)
    weights["heads.shared.weight"] = weights["heads.shared.weight"][:4].clone()
    save_file(weights, path)


@pytest.mark.parametrize("damage", [cut, overwrite, empty, lose_a_weight, reshape, Path.unlink])
def test_damaged_weights_are_refused(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder / "model.safetensors")

    with pytest.raises(FormatError) as error:
        TwoTowerModel.from_pretrained(folder)
    assert "model.safetensors" in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_a_missing_tokenizer_is_refused(folder: Path) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.unlink()

    with pytest.raises(FormatError, match="tokenizer"):
        TwoTowerModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", ""])
def test_no_folder_is_refused_without_the_network(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name: pytest.fail("network"))

    with pytest.raises(InputError, match="not a model folder"):
        TwoTowerModel.from_pretrained(name)


def test_an_interrupted_save_is_not_taken_for_a_model(
    model: TwoTowerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError):
        model.save_pretrained(tmp_path)

    assert not is_model_folder(tmp_path)
