"""A model as a folder that runs without torch: two ONNX files, what they expect, and a page on their use."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from oclear import __version__
from oclear.errors import InputError, MissingExtraError
from oclear.model import standalone
from oclear.model.onnx import DocumentTower, QueryTower, document_onnx, query_onnx
from oclear.model.precision import full_precision
from oclear.model.two_tower import TwoTowerModel

FORMAT_VERSION = 1
MOST_DIFFERENCE = 1e-3
"""In any number of a vector, between ONNX Runtime and torch; more is refused."""

_TEXTS = ("a red mug", "", "Tea, 20 bags. Keep dry. " * 40, "x")


class Parity(NamedTuple):
    """How alike two runtimes are on probes.

    Attributes:
        cosine: The least of a vector of one and its other.
        difference: The largest of any two numbers.
    """

    cosine: float
    difference: float


def export_model(model: TwoTowerModel, folder: Path) -> dict[str, Parity]:
    """Writes ``query.onnx``, ``document.onnx``, ``manifest.json``, ``tokenizer/``, ``usage.py`` and ``README.md``.

    Args:
        model: On the CPU.
        folder: Where to; must be there.

    Returns:
        Parity with torch by tower, on batches of one and of several.

    Raises:
        InputError: A tower cannot be converted, or its vectors differ from the model's.
        MissingExtraError: ONNX or ONNX Runtime is not installed.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "export", "to export")
    parity = {}
    for name, convert in (("query", query_onnx), ("document", document_onnx)):
        try:
            (folder / f"{name}.onnx").write_bytes(convert(model))
        except Exception as error:  # whatever a converter makes of somebody's encoder
            raise InputError(
                f"the {name} tower cannot be converted to ONNX: {_first_line(error)}",
                f"Its encoders are {model.config.image_encoder} and {model.config.text_encoder}.",
            ) from error
        parity[name] = _parity(model, folder / f"{name}.onnx", name)
        if not parity[name].difference <= MOST_DIFFERENCE:
            raise InputError(
                f"the {name} tower gives other vectors in ONNX Runtime: they differ by up to "
                f"{parity[name].difference:.2g}, allowed are {MOST_DIFFERENCE:g}",
                "Nothing was written.",
            )
    if model.text_encoder is not None:
        model.text_encoder.tokenizer.save_pretrained(folder / "tokenizer")
    shutil.copyfile(standalone.__file__, folder / "usage.py")
    manifest = _manifest(model, parity)
    (folder / "README.md").write_text(_page(model, parity))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return parity


def _parity(model: TwoTowerModel, file: Path, name: str) -> Parity:
    """Compares ONNX Runtime with torch in fp32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    tower = QueryTower(model) if name == "query" else DocumentTower(model)
    least, most = 1.0, 0.0
    for texts in (_TEXTS[:1], _TEXTS):
        probes: dict[str, NDArray[Any]] = {
            "pixels": _blurred_noise(len(texts), model.preprocessing.size)
        }
        if name == "document" and model.text_encoder is not None:
            tokens = model.text_encoder.tokenize(texts)
            probes |= {"ids": tokens.ids.numpy(), "mask": tokens.mask.numpy()}
        with torch.inference_mode(), full_precision():
            expected = tower(*(torch.from_numpy(probe) for probe in probes.values())).numpy()
        found = session.run(None, probes)[0]
        # A vector that is not a number agrees with nothing.
        least = min(least, float(np.nan_to_num((found * expected).sum(axis=1), nan=-1).min()))
        most = max(most, float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max()))
    return Parity(least, most)


def _blurred_noise(count: int, size: int) -> NDArray[np.uint8]:
    """Which is more like photos than noise, (count, 3, size, size)."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 3, -(-size // 8), -(-size // 8)), np.uint8)
    return np.kron(coarse, np.ones((1, 1, 8, 8), np.uint8))[:, :, :size, :size].copy()


def _manifest(model: TwoTowerModel, parity: dict[str, Parity]) -> dict[str, Any]:
    text = None
    if model.text_encoder is not None:
        tokenizer = model.text_encoder.tokenizer
        text = {
            "columns": model.config.text_columns,
            "joined_by": ". ",
            "max_tokens": model.config.max_tokens,
            "pad_id": tokenizer.pad_token_id,
            "pad_token": tokenizer.pad_token,
        }
    return {
        "kind": "onnx towers",
        "format_version": FORMAT_VERSION,
        "oclear": __version__,
        "model_id": model.model_id,
        "dim": model.config.embedding_dim,
        "preprocessing": {
            **model.preprocessing.model_dump(mode="json"),
            "normalised_inside": True,
            "pixels": "uint8 (batch, 3, size, size), RGB",
        },
        "text": text,
        "parity": {name: found._asdict() for name, found in parity.items()},
    }


def _page(model: TwoTowerModel, parity: dict[str, Parity]) -> str:
    how, dim = model.preprocessing, model.config.embedding_dim
    reads = model.text_encoder is not None
    text = (
        "| `document.onnx` | `pixels`, `ids` int64 (B, T), `mask` int64 (B, T): 1 for text, 0 for padding, all 0 for "
        "no text |"
        if reads
        else "| `document.onnx` | `pixels` |"
    )
    rows = "\n".join(
        f"| {name} | {found.cosine:.7f} | {found.difference:.1e} |"
        for name, found in parity.items()
    )
    texts = '["title. description"]' if reads else '[""]'
    return f"""# Two towers for photo search, in ONNX

Made by OCLEAR {__version__} from model `{model.model_id}`. Each gives `vectors`, float32 (B, {dim}) of
length 1: the product of a photo's and a document's is their cosine.

| file | takes |
|---|---|
| `query.onnx` | `pixels` uint8 (B, 3, {how.size}, {how.size}), RGB, {how.resize}, {how.fit}; normalised inside |
{text}

`manifest.json` says the same for programs. `usage.py` does all of it with onnxruntime, numpy, Pillow and tokenizers:

```python
from PIL import Image
from usage import Towers

towers = Towers(".")
query = towers.encode_query([Image.open("photo.jpg")])
document = towers.encode_document([Image.open("item.jpg")], {texts})
print(query @ document.T)
```

Compared with torch when it was made:

| tower | least cosine | largest difference |
|---|---|---|
{rows}
"""


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__
