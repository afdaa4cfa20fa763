"""An index on a Milvus server."""

from oclear.store.milvus.index import MilvusIndex, connect

__all__ = ["MilvusIndex", "connect"]
