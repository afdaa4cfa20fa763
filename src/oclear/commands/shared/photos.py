"""Photos that are searched for: files named on the command line, or a queries table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oclear.commands.shared.device import place
from oclear.errors import BadImageError, FormatError, InputError
from oclear.model import TwoTowerModel
from oclear.store import DocumentStore, model_folder, require_model
from oclear.store import open_index as open_store
from oclear.tables import decode_image


def open_index(folder: Path, model: str | None) -> tuple[DocumentStore, TwoTowerModel]:
    """An index with the model that made it.

    Args:
        folder: The index folder.
        model: Another place where the very same model is; the index's own copy where None.

    Raises:
        FormatError: Not an index, or its model is missing.
        ModelMismatchError: The model is another one.
    """
    index = open_store(folder)
    own = model_folder(folder)
    if model is None and not own.is_dir():
        raise FormatError(
            f"{folder}: the index has no model in it", "Run 'oclear index' again, it puts it back."
        )
    loaded = place(TwoTowerModel.from_pretrained(model or own))
    require_model(index, loaded.model_id, folder)
    return index, loaded


def encode_files(model: TwoTowerModel, files: Sequence[Path]) -> NDArray[np.float32]:
    """Embeds photo files, (n, dim).

    Raises:
        InputError: One of them cannot be read.
    """
    images = [decode_photo(path, model.preprocessing.size) for path in files]
    vectors: NDArray[np.float32] = model.encode_query(images).numpy()
    return vectors


def decode_photo(path: Path, size: int) -> Image.Image:
    """One photo file as an RGB picture, for a model that looks at ``size`` pixels.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return decode_image(path, target_size=size)
    except BadImageError as error:
        raise InputError(
            f"{path}: cannot be used as a photo: {error.reason}",
            "Give JPEG, PNG, WebP or another common picture file.",
        ) from error
