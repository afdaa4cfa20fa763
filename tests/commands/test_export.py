"""A trained model leaves as ONNX."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oclear.model import TwoTowerModel, export
from oclear.model.export import Parity


def refused(found: Any, message: str) -> None:
    assert found.code == 2, found.stderr
    assert message in found.stderr
    assert len(found.stderr.splitlines()) <= 3


def test_both_towers_are_written_and_compared(
    oclear: Callable[..., Any], demo: Any, tmp_path: Path
) -> None:
    ask = ("export", "--model", demo.out / "training", "--out", tmp_path / "onnx")
    data = oclear(*ask, "--json").json

    model = TwoTowerModel.from_pretrained(demo.out / "training")
    assert data["model_id"] == model.model_id
    for name in ("query", "document"):
        assert data["parity"][name]["difference"] < 1e-4
        assert (tmp_path / "onnx" / f"{name}.onnx").stat().st_size == data["bytes"][name]
    said = json.loads((tmp_path / "onnx" / "manifest.json").read_text())
    assert said["model_id"] == model.model_id

    refused(oclear(*ask), "--overwrite")
    assert "largest difference" in oclear(*ask, "--overwrite").stdout


def test_towers_that_differ_leave_nothing_behind(
    oclear: Callable[..., Any], demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_parity", lambda *given: Parity(0.9, 0.01))
    out = tmp_path / "new" / "onnx"
    found = oclear("export", "--model", demo.out / "training", "--out", out)
    refused(found, "other vectors")
    assert not (tmp_path / "new").exists()
