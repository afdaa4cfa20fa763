"""Model folders: ``config.json``, ``model.safetensors``, tokenizer, model card. Never pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oclear import __version__
from oclear.errors import FormatError, InputError
from oclear.model.expectation import TextExpectation
from oclear.model.image_encoder import ImageEncoder
from oclear.model.preprocessing import ImagePreprocessing
from oclear.model.text_encoder import TextEncoder

if TYPE_CHECKING:
    from oclear.model.two_tower import TwoTowerModel

FORMAT_VERSION = 3
"""2 names pooling, fusion and concept; a folder of version 1 has the only ones there were, which are the defaults.
3 may have an expectation of texts."""

# By which sentence-transformers knows what to load the folder with (oclear.model.sentence_transformer).
_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "oclear.model.sentence_transformer.TwoTower"}
]


def save_model(model: TwoTowerModel, folder: Path) -> None:
    """Writes a model folder; see :meth:`TwoTowerModel.save_pretrained`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    if model.text_encoder is not None:
        model.text_encoder.tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "README.md").write_text(model_card(model))
    (folder / "modules.json").write_text(json.dumps(_MODULES, indent=2) + "\n")
    # The configuration comes last: a folder without it is not taken for a model.
    description = {"format_version": FORMAT_VERSION, "oclear": __version__, **model.description}
    (folder / "config.json").write_text(json.dumps(description, indent=2) + "\n")


def load_model(name: str | Path) -> TwoTowerModel:
    """Loads a model folder; see :meth:`TwoTowerModel.from_pretrained`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = find_model_folder(name)
    found = read_model_config(folder)
    tokenizer = _load_tokenizer(folder) if found.get("text_backbone") is not None else None
    try:
        model = _build_model(found, tokenizer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{folder / 'config.json'}: damaged, or made by another version: no model can be built from it",
            "Copy or train the model again.",
        ) from error
    try:
        state = load_file(folder / "model.safetensors")
        if "expectation.weight" in state and model.text_encoder is not None:
            width, dim = model.text_encoder.width, model.config.embedding_dim
            model.expectation = TextExpectation(width, dim)
        model.load_state_dict(state)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise FormatError(
            f"{folder / 'model.safetensors'}: the weights do not fit config.json or are damaged",
            "Copy or train the model again.",
        ) from error
    return model.eval()


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder / "tokenizer"), use_fast=True)
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{folder / 'tokenizer'}: the tokenizer is missing or damaged",
            "Copy or train the model again.",
        ) from error


def _build_model(description: dict[str, Any], tokenizer: Any) -> TwoTowerModel:
    """A model with random weights from :attr:`TwoTowerModel.description`."""
    from oclear.model.two_tower import ModelConfig, TwoTowerModel

    config = ModelConfig.model_validate(description["model"])
    text = description["text_backbone"]
    return TwoTowerModel(
        config,
        ImagePreprocessing.model_validate(description["preprocessing"]),
        ImageEncoder.from_config(description["image_backbone"], config.pooling),
        None if text is None else TextEncoder.from_config(text, tokenizer, config.max_tokens),
    )


def is_model_folder(folder: Path) -> bool:
    """Whether the folder is a model folder, or the output folder of ``train``."""
    return any((path / "config.json").is_file() for path in (folder, folder / "model"))


def find_model_folder(name: str | Path) -> Path:
    """The local folder of a model: itself, ``model/`` within the output of ``train``, or a hub download."""
    folder = Path(name)
    for candidate in (folder / "model", folder):
        if (candidate / "config.json").is_file():
            return candidate
    if folder.exists() or str(name).count("/") != 1:
        raise InputError(
            f"{name}: not a model folder (no config.json in it or in its folder 'model')",
            "Give the output folder of 'oclear train', a model folder, or a hub id.",
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name)))
    except Exception as error:  # the hub client raises many unrelated kinds
        raise InputError(
            f"{name}: there is no such folder, and no hub model of that name could be fetched",
            "Give the output folder of 'oclear train', a model folder, or a hub id.",
        ) from error


def read_model_config(folder: Path) -> dict[str, Any]:
    """The content of ``config.json``.

    Raises:
        FormatError: It is damaged, of another program, or of a newer format version.
    """
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as JSON") from error
    is_ours = isinstance(found, dict) and "image_backbone" in found
    version = found.get("format_version") if is_ours else None
    if not isinstance(version, int):
        raise FormatError(
            f"{path}: not an OCLEAR model", "Give the output folder of 'oclear train'."
        )
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{path}: format version {version}, this program reads up to {FORMAT_VERSION}",
            "Install a newer oclear.",
        )
    return dict(found)


def push_model(model: TwoTowerModel, repo_id: str, *, private: bool) -> None:
    """Publishes a model; see :meth:`TwoTowerModel.push_to_hub`."""
    import tempfile

    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder))
        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder)


def model_card(model: TwoTowerModel) -> str:
    """The text of the model's ``README.md``."""
    config = model.config
    size = model.preprocessing.size
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    text = config.text_encoder or "none"
    return f"""---
library_name: oclear
tags: [image-retrieval, multi-modal, two-tower]
---
# A two-tower model for photo search

Made by OCLEAR {__version__}. A query is one photo; a document is one picture with text. Embeddings have
{config.embedding_dim} dimensions and length 1; compare them by their product.

| | |
|---|---|
| model_id | `{model.model_id}` |
| image encoder | {config.image_encoder}, {size} x {size} px, {model.preprocessing.resize}, {model.preprocessing.fit} |
| document | fusion {config.fusion}, concept {config.concept}, pooling {config.pooling} |
| text encoder | {text}, columns {", ".join(config.text_columns)}, {config.max_tokens} tokens |
| parameters | {parameters:.1f} M |

```python
from PIL import Image
from oclear.model import TwoTowerModel

model = TwoTowerModel.from_pretrained("THIS FOLDER")
query = model.encode_query([Image.open("photo.jpg")])
document = model.encode_document([Image.open("item.jpg")], ["title. description"])
print(query @ document.T)
```

With `sentence-transformers`, where `oclear` is installed beside it:

```python
from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("THIS FOLDER", trust_remote_code=True)
query = model.encode_query([Image.open("photo.jpg")])
document = model.encode_document([{{"image": Image.open("item.jpg"), "text": "title. description"}}])
```
"""
