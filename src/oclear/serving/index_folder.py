"""An index folder as what a server serves; its active model may change meanwhile."""

from __future__ import annotations

from pathlib import Path

import torch

from oclear.errors import FormatError, ModelMismatchError
from oclear.model import TwoTowerModel
from oclear.serving.source import Loaded
from oclear.store import active_table, model_folder, open_for_serving
from oclear.store.confidence import read_confidence


class IndexFolder:
    """An index folder as a :class:`~oclear.serving.source.Source`.

    Args:
        folder: What ``oclear index`` wrote.
        model: Another place where the very model of the index is; the index's own copy where None.
    """

    def __init__(self, folder: Path, model: str | None = None) -> None:
        self._folder, self._model = folder, model

    def active(self) -> str:
        """See :class:`~oclear.serving.source.Source`."""
        return active_table(self._folder)

    def load(self) -> Loaded:
        """See :class:`~oclear.serving.source.Source`.

        Raises:
            FormatError: Not an index, or its model is missing.
            ModelMismatchError: The model given is another one.
        """
        store = open_for_serving(self._folder)
        place = self._model or model_folder(self._folder, store.model_id)
        if self._model is None and not Path(place).is_dir():
            raise FormatError(
                f"{self._folder}: the index has no model in it",
                "Run 'oclear index' again, it puts it back.",
            )
        model = TwoTowerModel.from_pretrained(place)
        if model.model_id != store.model_id:
            raise ModelMismatchError(
                f"{self._folder}: this index was made by model {store.model_id}, not by {model.model_id}",
                "Use that model, or make an index with this one.",
            )
        confidence = read_confidence(self._folder, store.model_id)
        return Loaded(model.cuda() if torch.cuda.is_available() else model, store, confidence)
