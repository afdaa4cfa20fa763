"""Tables that are written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from oclear.output import atomic_file


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a Parquet file that is there as a whole or not at all; an older one is replaced."""
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=1 << 17)
