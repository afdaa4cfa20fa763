"""``oclear export``: a model as ONNX files that run without torch."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table

from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.model import TwoTowerModel
from oclear.model.export import export_model
from oclear.output import atomic_folder
from oclear.progress import Reporter


def export(model: str, out: Path, reporter: Reporter, *, overwrite: bool = False) -> CommandResult:
    """Writes both towers as ONNX, with what they expect and a page on their use, and compares them with torch.

    Args:
        model: A model folder, the output of ``oclear train``, or a hub id.
        out: The folder.
        reporter: Says what happens.
        overwrite: Replace ``out``.

    Raises:
        InputError: The model cannot be converted, or ONNX Runtime gives other vectors; nothing is written then.
        MissingExtraError: ONNX or ONNX Runtime is not installed.
    """
    refuse_overwriting(out, model)
    # On the CPU, whatever there is: what is converted must not depend on where.
    loaded = TwoTowerModel.from_pretrained(model)
    with atomic_folder(out, overwrite=overwrite) as folder:
        parity = export_model(loaded, folder)
        sizes = {name: (folder / f"{name}.onnx").stat().st_size for name in parity}
    table = Table("tower", "least cosine", "largest difference", "size", box=None)
    for name, found in parity.items():
        table.add_row(
            name,
            f"{found.cosine:.7f}",
            f"{found.difference:.1e}",
            f"{sizes[name] / 2**20:,.1f} MiB",
        )
    data = {
        "model_id": loaded.model_id,
        "parity": {name: found._asdict() for name, found in parity.items()},
        "bytes": sizes,
        "out": str(out),
    }
    return CommandResult(data, Group(table, f"written to {out}; its README.md says how to use it"))
