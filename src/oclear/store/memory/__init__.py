"""An index held in memory: built from the store, disposable, and quick."""

from oclear.store.memory.index import MemoryIndex

__all__ = ["MemoryIndex"]
