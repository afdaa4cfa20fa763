"""Exported towers give the model's own vectors, without torch, and nothing else is ever written."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oclear.errors import InputError, MissingExtraError
from oclear.model import TwoTowerModel, export
from oclear.model.export import Parity, export_model


@pytest.fixture
def pictures() -> list[Image.Image]:
    """Of several shapes."""
    rng = np.random.default_rng(0)
    shapes = [(40, 60, 3), (32, 32, 3), (90, 20, 3)]
    return [Image.fromarray(rng.integers(0, 256, shape, np.uint8)) for shape in shapes]


TEXTS = ["red mug", "", "a cup of tea, the blue shirt, the red mug of the green tea " * 3]


def towers(folder: Path) -> Any:
    """The file that lies beside the towers, run as it lies there."""
    return runpy.run_path(str(folder / "usage.py"))["Towers"](folder)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_the_towers_give_the_model_s_vectors(
    make_model: Callable[..., TwoTowerModel], pictures: list[Image.Image], tmp_path: Path, fit: Any
) -> None:
    model = make_model(gate=1.0)
    model.preprocessing = model.preprocessing.model_copy(update={"fit": fit})
    parity = export_model(model, tmp_path)

    assert set(parity) == {"query", "document"}
    assert all(found.cosine > 1 - 1e-5 and found.difference < 1e-4 for found in parity.values())
    found = towers(tmp_path)
    for some in (slice(0, 1), slice(0, 3)):
        np.testing.assert_allclose(
            found.encode_query(pictures[some]), model.encode_query(pictures[some]), atol=1e-5
        )
        np.testing.assert_allclose(
            found.encode_document(pictures[some], TEXTS[some]),
            model.encode_document(pictures[some], TEXTS[some]),
            atol=1e-5,
        )
    # The text makes a difference, so that the comparison above says something.
    other = model.encode_document(pictures, ["green shirt"] * 3)
    assert np.abs(found.encode_document(pictures, TEXTS) - other.numpy()).max() > 1e-2


def test_documents_drawn_to_their_texts_are_exported_so(
    make_model: Callable[..., TwoTowerModel],
    expecting: Callable[..., TwoTowerModel],
    pictures: list[Image.Image],
    tmp_path: Path,
) -> None:
    before = make_model().encode_document(pictures, TEXTS)
    model = expecting(make_model())
    export_model(model, tmp_path)

    found = towers(tmp_path).encode_document(pictures, TEXTS)

    np.testing.assert_allclose(found, model.encode_document(pictures, TEXTS), atol=1e-5)
    moved = np.abs(found - before.numpy()).max(axis=1) > 1e-2
    assert moved.tolist() == [True, False, True]


def test_a_model_that_reads_no_text(
    make_model: Callable[..., TwoTowerModel], pictures: list[Image.Image], tmp_path: Path
) -> None:
    model = make_model(text=False)
    export_model(model, tmp_path)

    found = towers(tmp_path).encode_document(pictures, TEXTS)
    np.testing.assert_allclose(found, model.encode_document(pictures, TEXTS), atol=1e-5)
    assert not (tmp_path / "tokenizer").exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["text"] is None


def test_the_manifest_says_what_is_expected(reading_model: TwoTowerModel, tmp_path: Path) -> None:
    export_model(reading_model, tmp_path)
    said = json.loads((tmp_path / "manifest.json").read_text())

    assert said["model_id"] == reading_model.model_id
    assert said["dim"] == reading_model.config.embedding_dim
    assert said["preprocessing"]["size"] == reading_model.preprocessing.size
    assert said["text"]["max_tokens"] == reading_model.config.max_tokens
    assert said["text"]["columns"] == ["title", "description"]


def test_the_page_s_example_runs_without_torch(
    reading_model: TwoTowerModel, pictures: list[Image.Image], tmp_path: Path
) -> None:
    export_model(reading_model, tmp_path)
    pictures[0].save(tmp_path / "photo.jpg")
    pictures[1].save(tmp_path / "item.jpg")
    example = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    check = "\nimport sys\nassert not {'torch', 'oclear', 'transformers'} & set(sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", example + check],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert -1 <= float(ran.stdout.strip().strip("[]")) <= 1


def test_towers_that_differ_are_refused(
    model: TwoTowerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_parity", lambda *given: Parity(0.99, 2e-3))
    with pytest.raises(InputError, match="other vectors"):
        export_model(model, tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_parity_sees_another_model(
    make_model: Callable[..., TwoTowerModel], tmp_path: Path
) -> None:
    export_model(make_model(), tmp_path)
    other = make_model()
    other.heads.shared.weight.data.mul_(-1)
    for name in ("query", "document"):
        assert export._parity(other, tmp_path / f"{name}.onnx", name).difference > 0.01


def test_a_missing_package_is_named(
    model: TwoTowerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="onnx"):
        export_model(model, tmp_path)
