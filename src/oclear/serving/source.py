"""Where a server's model and store come from."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from oclear.model import TwoTowerModel
from oclear.store.confidence import Confidence
from oclear.store.contract import DocumentStore


class Loaded(NamedTuple):
    """A model with the store of the vectors that it made, and how sure that is; None where it is not calibrated."""

    model: TwoTowerModel
    store: DocumentStore
    confidence: Confidence | None = None


class Source(Protocol):
    """What a server serves."""

    def active(self) -> str:
        """Name of the store's table that is to be served now; cheap, asked again and again."""
        ...

    def load(self) -> Loaded:
        """Loads what :meth:`active` names; may take a minute."""
        ...
