"""What every store of documents can do, whatever holds it: a folder, memory, or a Milvus server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oclear.store.hits import Hit


class Counts(NamedTuple):
    """How much a store holds.

    Attributes:
        items: Items with at least one vector.
        vectors: Their vectors, one per picture and those that they learned from photos.
    """

    items: int
    vectors: int


class StoredVectors(NamedTuple):
    """All vectors of a store, ordered by item id, then part.

    Attributes:
        vectors: ``(N, dim)`` float32, of length 1.
        item_ids: ``(N,)`` str objects.
        parts: ``(N,)`` int32, the picture's number within the item; below zero for what the item learned from
            photos (:mod:`oclear.store.photos`).
    """

    vectors: npt.NDArray[np.float32]
    item_ids: npt.NDArray[np.object_]
    parts: npt.NDArray[np.int32]


@dataclass(frozen=True)
class StoredItem:
    """One item as it is stored.

    Attributes:
        item_id: The item.
        parts: Numbers of its pictures that have a vector, rising; below zero what it learned from photos.
        content_hash: Of whatever its vectors were made from.
        attributes: Its attribute columns, as Python values.
    """

    item_id: str
    parts: tuple[int, ...]
    content_hash: str
    attributes: Mapping[str, Any]


class DocumentStore(Protocol):
    """The vectors and attributes of a catalogue's items, all made by one model.

    Reading is safe from many threads at once, also while one of them writes; writes wait for each other.
    A write is durable when it returns, and this object's own searches see it from then on. What others
    wrote is seen after :meth:`refresh`.
    """

    @property
    def model_id(self) -> str:
        """Hash of the weights and the preprocessing that made the vectors."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def table(self) -> str:
        """Name of the table that holds the vectors; an index that is made anew has another one."""
        ...

    @property
    def version(self) -> int:
        """Rises with every change that this object sees; equal versions mean equal contents."""
        ...

    def attributes(self) -> dict[str, pa.DataType]:
        """The attributes' names as the user has them, and their types."""
        ...

    def upsert(
        self,
        items: pa.Table,
        *,
        item_row: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int32],
        vectors: npt.NDArray[np.float32],
        content_hashes: Sequence[str],
    ) -> None:
        """Add items or replace them, all at once or not at all.

        Afterwards the store holds exactly the given parts of these items: parts that are stored but not
        given are dropped, and with them an item that comes without any vector.

        Args:
            items: ``item_id`` and attributes, one row per item. Attributes that the store does not
                have are not stored; those that are missing become null.
            item_row: ``(n,)``, the row of ``items`` that each vector belongs to.
            parts: ``(n,)``, the number of each picture within its item.
            vectors: ``(n, dim)`` float32; brought to length 1 here.
            content_hashes: One per row of ``items``: of whatever the vectors were made from.

        Raises:
            InputError: An attribute does not fit the type that the store has for it.
            StoreBusyError: Another writer holds the store for too long.
            StoreFullError: No room is left on the device; nothing was changed.
            StoreReplacedError: The index was made anew since it was opened; nothing was changed.
            StoreUnreachableError: The server that holds it does not answer; every other method may raise it, too.
            ValueError: Shapes that do not fit, an item or part given twice, a vector that is not finite
                or zero.
        """
        ...

    def update_attributes(self, items: pa.Table) -> None:
        """Set the attributes of items that are stored already, leaving their vectors as they are.

        Args:
            items: ``item_id`` and attributes. Items that are not stored are passed over, and attributes
                that are not in the table are left as they are.

        Raises:
            InputError: An attribute does not fit the type that the store has for it.
            StoreBusyError, StoreFullError, StoreReplacedError: As for :meth:`upsert`.
        """
        ...

    def delete(self, item_ids: Iterable[str]) -> int:
        """Remove items with all their parts; ids that are not there are passed over.

        Returns:
            How many items were removed.
        """
        ...

    def search(
        self, vectors: npt.NDArray[np.float32], k: int, where: str | None = None
    ) -> list[list[Hit]]:
        """The k nearest items of each query by cosine; one hit per item, the best of its pictures.

        Args:
            vectors: ``(Q, dim)``, of any length but zero.
            k: How many items; fewer come back only where no more pass the filter.
            where: A filter over ``item_id`` and the attributes, as in :mod:`oclear.store.filters`.

        Returns:
            For each query its hits, best first; equal scores in the order of item ids.

        Raises:
            InputError: The filter is refused.
            ValueError: k below 1, vectors of another length or that are zero or not finite.
        """
        ...

    def get(self, item_ids: Iterable[str]) -> dict[str, StoredItem]:
        """These items as they are stored, by id; those that are not there are left out."""
        ...

    def items(self) -> pa.Table:
        """``item_id`` and the attributes, one row per item, in the order of item ids."""
        ...

    def vectors(self) -> StoredVectors:
        """All vectors, for evaluation; takes twice their size in memory for a moment."""
        ...

    def content_hashes(self) -> dict[str, str]:
        """The content hash of every item, by item id."""
        ...

    def count(self) -> Counts:
        """How many items and vectors the store holds now."""
        ...

    def count_vectors(self) -> int:
        """How many vectors the store holds now, without reading any."""
        ...

    def refresh(self) -> bool:
        """See what other writers, also of other processes, committed; whether there was any."""
        ...

    def optimize(self) -> None:
        """Tidy up what many small writes left behind; changes no answer."""
        ...
