"""``oclear embed``: vectors of pictures and texts, written as a features folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from oclear.commands.shared.features import compute_features, open_eye, write_eye_features
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.config import write_run_record
from oclear.errors import InputError
from oclear.model import ModelConfig
from oclear.output import atomic_folder
from oclear.progress import Reporter
from oclear.tables import SkippedImages, read_items, read_queries


class EmbedConfig(BaseModel):
    """Configuration of ``oclear embed``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelConfig = ModelConfig()
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")


def embed(
    model: str,
    items: Path | None,
    queries: Path | None,
    out: Path,
    config: EmbedConfig,
    reporter: Reporter,
    *,
    overwrite: bool = False,
) -> CommandResult:
    """Embeds the pictures of items, of queries, or of both.

    Both in one run is what ``categorize --features`` wants: a bare encoder takes its directions from all pictures it
    is given, so vectors of two runs do not compare.

    Raises:
        InputError: Neither items nor queries are given, or too many pictures are bad.
    """
    if items is None and queries is None:
        raise InputError("nothing to embed", "Give --items, --queries, or both.")
    refuse_overwriting(out, items, queries, model)
    item_table = read_items(items) if items is not None else None
    query_table = read_queries(queries) if queries is not None else None
    eye = open_eye(model, config.model)
    skipped = SkippedImages()
    with atomic_folder(out, overwrite=overwrite) as folder:
        cache = folder / "cache"
        features = compute_features(eye, item_table, query_table, cache, skipped, reporter)
        shutil.rmtree(cache, ignore_errors=True)
        skipped.check(len(features[0]) + len(skipped), config.max_bad_images)
        write_eye_features(folder, features)
        skipped.write(folder / "skipped.parquet")
        inputs = {"model": model, "items": items, "queries": queries}
        write_run_record(folder, "embed", config, inputs)
    data = {
        "vectors": len(features[0]),
        "dim": int(features[0].vectors.shape[1]),
        "texts": len(features[1]) if features[1] is not None else 0,
        "skipped": len(skipped),
        "encoder": features[0].manifest["encoder"],
        "out": str(out),
    }
    view = f"{len(features[0]):,} vectors written to {out} ({len(skipped):,} pictures skipped)"
    return CommandResult(data, view)
