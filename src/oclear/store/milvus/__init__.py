"""An index on a Milvus server."""

from oclear.store.milvus.client import connect
from oclear.store.milvus.index import MilvusIndex

__all__ = ["MilvusIndex", "connect"]
