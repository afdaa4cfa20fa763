"""``oclear index``: model + items -> an index that can be searched."""

from __future__ import annotations

import shutil
from pathlib import Path

from oclear.commands.shared.device import place
from oclear.commands.shared.indexing import IndexConfig, bring_up_to_date, read_given
from oclear.commands.shared.learned_photos import learn_photos
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting, run_folder
from oclear.config import write_run_record
from oclear.errors import InputError, ModelMismatchError
from oclear.model import TwoTowerModel
from oclear.model.files import find_model_folder
from oclear.output import atomic_folder
from oclear.progress import Reporter
from oclear.store import (
    DocumentStore,
    activate,
    active_model,
    create_index,
    drop_from_server,
    model_folder,
    model_ids,
    open_index,
)
from oclear.store.manifest import is_unfinished
from oclear.store.photos import read_photos
from oclear.tables import Items, read_items


def index(
    model: str,
    items: Path,
    vectors: Path | None,
    out: Path,
    config: IndexConfig,
    reporter: Reporter,
    *,
    samples: Path | None = None,
    queries: Path | None = None,
    server: str | None = None,
    swap: bool = False,
    overwrite: bool = False,
) -> CommandResult:
    """Makes the index of a catalogue, or brings it up to date.

    A folder that this model indexed before goes on by itself: items whose pictures and texts did not change are not
    encoded again, items that are gone are removed, and a killed run continues where it was.

    Args:
        model: A model folder, the output of ``oclear train``, or a hub id.
        items: The catalogue.
        vectors: Document vectors made elsewhere by this very model, as a features folder; nothing is encoded then.
        out: The index folder. It gets a copy of the model, so that it can be searched on its own.
        config: Batch size and limits.
        reporter: Says what happens.
        samples: The folder of ``oclear categorize``: items learn from the photos that it matched to their ID, and are
            found by these too. Without it, those of an earlier run stay.
        queries: These photos.
        server: Address of a Milvus server that is to hold the vectors; where None, they lie in ``out``.
        swap: Let another model take over an index: its vectors are made beside those of the active model, which
            searches go on with, and it becomes the active one when all are there.
        overwrite: Make the index anew.

    Raises:
        ModelMismatchError: ``out`` was made by another model (and no ``swap``), or ``vectors`` were.
        InputError: Too many pictures are bad, or samples come without queries.
    """
    refuse_overwriting(out, model, items, vectors, samples, queries)
    if (samples is None) != (queries is None):
        raise InputError(
            "items learn from photos of --samples and --queries: one of the two is missing",
            "Give the folder of 'oclear categorize', and the photos that it was given.",
        )
    item_table = read_items(items)
    weights = find_model_folder(model)
    loaded = place(TwoTowerModel.from_pretrained(weights))
    given = read_given(vectors, loaded, item_table)
    if overwrite and out.is_dir():
        drop_from_server(out)
        with atomic_folder(out, overwrite=True):
            pass
    with run_folder(out) as folder:
        target = _open(folder, loaded, weights, item_table, server, swap=swap)
        if samples is not None and queries is not None:
            learn_photos(
                *(folder, samples, queries, item_table, loaded),
                config.photos,
                config.max_bad_images,
                reporter,
            )
        encoded, skipped = bring_up_to_date(
            target, folder, item_table, loaded, given, config, reporter
        )
        gone = set(target.content_hashes()) - set(item_table.ids.tolist())
        removed = target.delete(gone)
        target.optimize()
        if active_model(folder) != target.model_id:
            activate(folder, target.model_id)
            reporter.say(f"searches now use model {target.model_id}")
        photos = len(read_photos(folder, loaded.model_id, target.dim))
        inputs = {"model": model, "items": items, "vectors": vectors}
        inputs |= {"samples": samples, "queries": queries}
        write_run_record(folder, "index", config, inputs)
    count = target.count()
    data = {
        "items": count.items,
        "vectors": count.vectors,
        "photos": photos,
        "encoded": encoded,
        "removed": removed,
        "skipped": len(skipped),
        "model_id": loaded.model_id,
        "out": str(out),
    }
    of_photos = f", {photos:,} of them means of photos" if photos else ""
    view = (
        f"index {out}: {count.items:,} items, {count.vectors:,} vectors{of_photos} "
        f"({encoded:,} items encoded, {removed:,} removed, {len(skipped):,} pictures skipped)"
    )
    return CommandResult(data, view)


def _open(
    out: Path,
    model: TwoTowerModel,
    weights: Path,
    items: Items,
    server: str | None,
    *,
    swap: bool,
) -> DocumentStore:
    """Opens the index to go on with, or makes an empty one with a copy of the model."""
    is_index = out.is_dir() and any(out.iterdir()) and not is_unfinished(out)
    if is_index and active_model(out) != model.model_id and not swap:
        raise ModelMismatchError(
            f"{out}: this index was made by model {active_model(out)}, not by {model.model_id}",
            "Use that model, let this one take over with --swap, or begin anew with --overwrite.",
        )
    if is_index and model.model_id in model_ids(out):
        target: DocumentStore = open_index(out, model.model_id)
    else:
        target = create_index(
            out,
            model_id=model.model_id,
            dim=model.config.embedding_dim,
            items_schema=items.table.schema,
            server=server,
        )
    own = model_folder(out, model.model_id)
    if not own.is_dir():
        with atomic_folder(own) as copy:
            shutil.copytree(weights, copy, dirs_exist_ok=True)
    return target
