"""Items that show the same picture file."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.errors import BadImageError
from oclear.governance.evidence.edges import Edges, chain_edges, make_edges
from oclear.tables import Pictures, SkippedImages

_HASHED_AT_ONCE = 256
SAME_FILE = "same image file"


def image_hash_edges(
    pictures: Pictures,
    count: int,
    most: int,
    skipped: SkippedImages,
    forbidden: Sequence[NDArray[np.int64]] = (),
) -> Edges:
    """Ties items that show the very same file.

    Args:
        pictures: Of the items.
        count: Number of items.
        most: A file that more items than this show is a placeholder, and says nothing.
        skipped: Collects pictures without bytes.
        forbidden: See :func:`~oclear.governance.evidence.chain_edges`.
    """
    encoded = pa.array(_hashes(pictures, skipped), pa.string()).dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = codes >= 0
    shown, items = np.divmod(np.unique(codes[known] * count + pictures.rows[known]), count)
    rare = np.bincount(shown, minlength=1)[shown] <= most
    # An item has several pictures, so the chains run over (picture, item) pairs.
    values = [column[items] for column in forbidden]
    edges = chain_edges("image_hash", np.where(rare, shown, -1), SAME_FILE, values)
    return make_edges("image_hash", items[edges.a], items[edges.b], 1.0, edges.reason)


def _hashes(pictures: Pictures, skipped: SkippedImages) -> list[str | None]:
    """The hash of each picture, None for those without bytes; reading and hashing release the interpreter's lock."""

    def hash_some(start: int) -> list[str | BadImageError]:
        found: list[str | BadImageError] = []
        for i in range(start, min(start + _HASHED_AT_ONCE, len(pictures))):
            try:
                found.append(pictures.content_hash(i))
            except BadImageError as error:
                found.append(error)
        return found

    hashes: list[str | None] = []
    with ThreadPoolExecutor() as pool:
        for some in pool.map(hash_some, range(0, len(pictures), _HASHED_AT_ONCE)):
            for found in some:
                if isinstance(found, BadImageError):
                    i = len(hashes)
                    key, part = str(pictures.keys[i]), int(pictures.parts[i])
                    skipped.add("document", key, part, pictures.source(i), found.reason)
                hashes.append(None if isinstance(found, BadImageError) else found)
    return hashes
