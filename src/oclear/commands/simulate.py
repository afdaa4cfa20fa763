"""``oclear simulate``: an exposure log with known truth."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.datasets import SimulationConfig, simulate_exposures
from oclear.errors import InputError, OutputNotEmptyError
from oclear.progress import Reporter
from oclear.tables import find_table, need_truth, read_items, read_queries, write_table


class SimulateConfig(BaseModel):
    """Configuration of ``oclear simulate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    simulation: SimulationConfig = SimulationConfig()


def simulate(
    data: Path, out: Path, config: SimulateConfig, reporter: Reporter, *, overwrite: bool = False
) -> CommandResult:
    """Writes a simulated exposure log for the training photos of a folder with known truth.

    Args:
        data: A folder with items and queries; the queries have their true items.
        out: The Parquet file to write.
        config: The visitors' behaviour.
        reporter: Says what happens.
        overwrite: Replace ``out``.

    Raises:
        InputError: No truth, or the file is there already.
    """
    if out.suffix != ".parquet":
        raise InputError(
            f"{out}: the log is written as Parquet", "Give a name that ends with .parquet."
        )
    refuse_overwriting(out, *(find_table(data, name) for name in ("items", "queries", "truth")))
    if out.exists() and not overwrite:
        raise InputError(
            f"{out}: is there already", "Give --overwrite to replace it, or another --out."
        )
    if out.is_dir():
        raise OutputNotEmptyError(out)
    items, queries = read_items(data), read_queries(data)
    truth = need_truth(data, "A log can only be simulated where the true items are known.")
    log = simulate_exposures(items, queries, truth, config.simulation)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: its folder cannot be made ({error.strerror})") from error
    write_table(log, out)
    counts = json.loads(log.schema.metadata[b"simulation_counts"])
    data_out = {"simulated": True, **counts, "exposures": log.num_rows, "out": str(out)}
    share = counts["wrong"] / max(1, counts["clicks"])
    view = (
        f"simulated log written to {out}: {counts['searches']:,} searches, {log.num_rows:,} exposures, "
        f"{counts['clicks']:,} clicks, {100 * share:.1f} % of them wrong"
    )
    return CommandResult(data_out, view)
