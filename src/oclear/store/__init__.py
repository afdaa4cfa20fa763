"""Items and their vectors on disk, in memory or on a server, and search in them, with filters."""

from oclear.store.contract import Counts, DocumentStore, StoredItem, StoredVectors
from oclear.store.hits import Hit
from oclear.store.index import Index
from oclear.store.memory import MemoryIndex
from oclear.store.models import (
    activate,
    active_model,
    active_table,
    drop_from_server,
    model_folder,
    model_ids,
    remove_model,
)
from oclear.store.opening import (
    columns_not_kept,
    create_index,
    open_for_serving,
    open_index,
    require_model,
)

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
    "active_table",
    "columns_not_kept",
    "create_index",
    "drop_from_server",
    "model_folder",
    "model_ids",
    "open_for_serving",
    "open_index",
    "remove_model",
    "require_model",
]
