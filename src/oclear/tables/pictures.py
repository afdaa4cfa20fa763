"""The pictures of one side as a flat list, held in Arrow and numpy so that worker processes share it."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from oclear.errors import BadImageError, TableError
from oclear.tables.images import decode_image, read_image_bytes
from oclear.tables.schema import IMAGE, IMAGE_PATH, Side
from oclear.tables.skipped import NO_PICTURE
from oclear.tables.source import Source, show

_TRIED = 1000


@dataclass(frozen=True, eq=False)
class Pictures:
    """Every picture of a table, one after the other; made by ``Items.pictures`` and ``Queries.pictures``.

    A row without any picture has one entry too, which fails to load: what is missing gets counted.

    Args:
        side: ``query`` or ``document``.
        path: The table; picture paths are relative to its folder.
        row_keys: (rows,) the id of each table row.
        rows: (n,) int64, the table row of each picture.
        parts: (n,) int32, the number of the picture within its row, from 0.
        places: (n,) int64, where the picture is in ``paths`` and ``contents``; -1 for none.
        paths: Image paths as the table gives them, or None.
        contents: Image bytes, or None.
        boxes: (rows, 4) float32 in pixels, NaN for none; or None.
    """

    side: Side
    path: Path
    row_keys: pa.ChunkedArray
    rows: NDArray[np.int64]
    parts: NDArray[np.int32]
    places: NDArray[np.int64]
    paths: pa.ChunkedArray | None
    contents: pa.ChunkedArray | None
    boxes: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.rows)

    @cached_property
    def keys(self) -> NDArray[np.object_]:
        """(n,) the item or query id of each picture. Python objects: not for worker processes."""
        keys: NDArray[np.object_] = self.row_keys.take(pa.array(self.rows)).to_numpy()
        return keys.astype(object)

    def load(self, i: int, target_size: int | None = None) -> Image.Image:
        """Decodes picture ``i`` as RGB, cropped to its box.

        Args:
            i: From 0.
            target_size: The side length needed in the end; a larger JPEG is decoded at a
                fraction of its size, its short side at least twice this.

        Raises:
            BadImageError: Missing, damaged, too large, or the box is empty.
        """
        box = None
        if self.boxes is not None and not np.isnan(self.boxes[self.rows[i], 0]):
            x0, y0, x1, y1 = self.boxes[self.rows[i]].tolist()
            box = (x0, y0, x1, y1)
        return decode_image(self._data(i), target_size=target_size, box=box)

    def content_hash(self, i: int) -> str:
        """SHA-256 of the picture's bytes as stored, in hexadecimal; a box makes no difference.

        Raises:
            BadImageError: There are no bytes.
        """
        data = self._data(i)
        content = read_image_bytes(data) if isinstance(data, Path) else data
        return hashlib.sha256(content).hexdigest()

    def stamp(self, i: int) -> str:
        """What changes when picture ``i`` does, without reading files: path, size and time, or a sum of the bytes."""
        data = self._place(i)
        if isinstance(data, bytes):
            return f"{len(data)} {zlib.crc32(data)}"
        try:
            found = data.stat() if data is not None else None
        except OSError:
            found = None
        return f"{data} {found.st_size} {found.st_mtime_ns}" if found else "missing"

    def source(self, i: int) -> str:
        """Where picture ``i`` comes from, for messages: its path, or the row that holds its bytes."""
        data = self._place(i)
        return str(data) if isinstance(data, Path) else f"{self.path}, row {self.rows[i]}"

    def require_readable(self) -> None:
        """Refuses a table of which not one picture can be read, before any work starts.

        It stops at the first that can be. Of a large table it tries 1000, evenly spread.

        Raises:
            TableError: None of those tried can be decoded.
        """
        tried = np.unique(np.linspace(0, len(self) - 1, min(len(self), _TRIED)).astype(int))
        reasons = []
        for i in tried.tolist():
            try:
                self.load(i, target_size=32)
                return
            except BadImageError as error:
                reasons.append(error.reason)
        if not reasons:
            return
        path = None if self.paths is None or self.places[0] < 0 else self.paths[int(self.places[0])]
        named = f"{show(path)} of " if path is not None and path.is_valid else "that of "
        tries = f"{len(self):,}" if len(tried) == len(self) else f"{len(tried):,} tried"
        raise TableError(
            self.path,
            column=IMAGE_PATH if self.contents is None else IMAGE,
            found=f"not one readable picture among {tries}; "
            f"the first, {named}{show(self.row_keys[int(self.rows[0])])}: {reasons[0]}",
            expected="pictures that can be opened",
            hint="Look at the paths, which are relative to the folder of the table, and at the files.",
        )

    def select(self, indices: NDArray[Any]) -> Pictures:
        """Some of the pictures, by numbers or by a boolean mask; shares the underlying arrays."""
        return replace(
            self, rows=self.rows[indices], parts=self.parts[indices], places=self.places[indices]
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the objects of ``keys`` behind when a worker process is started."""
        return {name: value for name, value in self.__dict__.items() if name != "keys"}

    def _place(self, i: int) -> bytes | Path | None:
        place = int(self.places[i])
        if place < 0:
            return None
        content = self.contents[place].as_py() if self.contents is not None else None
        if content is not None:
            return bytes(content)
        assert self.paths is not None, "what has neither path nor bytes has no place"
        folder = self.path if self.path.is_dir() else self.path.parent
        return folder / str(self.paths[place].as_py())

    def _data(self, i: int) -> bytes | Path:
        data = self._place(i)
        if data is None:
            raise BadImageError(NO_PICTURE)
        return data


def pictures_of(side: Side, path: Path, table: pa.Table, key: str) -> Pictures:
    """The pictures of a checked table: column ``image`` where there is one, else ``image_path``."""
    flat, rows, parts, places = _flat(table[_image_column(table)])
    boxes = None
    if "box" in table.column_names:
        whole = pa.scalar([np.nan] * 4, table["box"].type)
        boxes = pc.list_flatten(pc.fill_null(table["box"], whole)).to_numpy().reshape(-1, 4)
    is_path = not pa.types.is_struct(flat.type)
    paths = flat if is_path else pc.struct_field(flat, "path")
    contents = None if is_path else pc.struct_field(flat, "bytes")
    is_none = pc.fill_null(pc.equal(paths, ""), True)
    if contents is not None:
        is_none = pc.and_(is_none, pc.is_null(contents))
    is_given = ~is_none.to_numpy()
    places = np.where((places >= 0) & is_given[places], places, -1) if len(flat) else places
    return Pictures(
        side,
        path,
        table[key],
        rows,
        parts,
        places,
        paths=paths,
        contents=contents,
        boxes=boxes,
    )


def check_pictures(source: Source, *, most: int | None = None) -> None:
    """Refuses an image column of another form, more than ``most`` pictures a row, and web addresses."""
    name = _image_column(source.table)
    source.require(name)
    column = source.table[name]
    kind = column.type.value_type if _is_list(column.type) else column.type
    expected = (
        "a path or a list of paths" if name == IMAGE_PATH else "{bytes, path} or a list of them"
    )
    fields = {kind.field(i).name for i in range(kind.num_fields)}
    if not (pa.types.is_string(kind) if name == IMAGE_PATH else fields >= {"bytes", "path"}):
        raise source.error(name, None, found=f"{column.type} values", expected=expected)
    if most is not None and _is_list(column.type):
        lengths = pc.list_value_length(column)
        source.refuse_where(pc.greater(lengths, most), name, expected=f"at most {most} picture")
    if name == IMAGE:
        return
    paths, rows, _, places = _flat(column)
    address = pc.match_substring_regex(paths, r"^[A-Za-z][A-Za-z0-9+.-]+://")
    place = pc.index(address, pa.scalar(True)).as_py()
    if place >= 0:
        raise source.error(
            name,
            int(rows[places == place][0]),
            found=show(paths[place]),
            expected="a file",
            hint="Download the pictures first and give paths relative to the table.",
        )


def _image_column(table: pa.Table) -> str:
    return IMAGE if IMAGE in table.column_names else IMAGE_PATH


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _flat(
    column: pa.ChunkedArray,
) -> tuple[pa.ChunkedArray, NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """An image column as one picture after the other: values, which may be null, and rows, parts, places of each."""
    if not _is_list(column.type):
        rows = np.arange(len(column))
        return column, rows, np.zeros(len(column), np.int32), rows
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    counts = np.maximum(lengths, 1)
    rows = np.repeat(np.arange(len(lengths)), counts)
    parts = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.repeat(np.cumsum(lengths) - lengths, counts) + parts
    places[np.repeat(lengths == 0, counts)] = -1
    return pc.list_flatten(column), rows, parts.astype(np.int32), places
