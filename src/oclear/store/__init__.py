"""Items and their vectors on disk and in memory, and search in them, with filters."""

from oclear.store.contract import Counts, DocumentStore, StoredItem, StoredVectors
from oclear.store.hits import Hit
from oclear.store.index import Index
from oclear.store.memory import MemoryIndex
from oclear.store.models import active_model, activate, model_folder, model_ids, remove_model

__all__ = [
    "Counts",
    "DocumentStore",
    "Hit",
    "Index",
    "MemoryIndex",
    "StoredItem",
    "StoredVectors",
    "activate",
    "active_model",
    "model_folder",
    "model_ids",
    "remove_model",
]
