"""``oclear store verify``: is an index whole?"""

from __future__ import annotations

from pathlib import Path

from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError
from oclear.progress import Reporter
from oclear.store import Index, model_ids
from oclear.store.verify import find_faults


def verify(index: Path, reporter: Reporter) -> CommandResult:
    """Reads all rows of all models, checks them, and compares searches in memory with exact ones.

    Args:
        index: The index folder.
        reporter: Says what happens.

    Raises:
        FormatError: Not an index.
        InputError: Something is wrong; the message names the first two faults, the reporter all of them.
    """
    checked = {}
    faults = []
    for model in model_ids(index):
        opened = Index.open(index, model)
        if not (index / opened.model.weights).is_dir():
            faults.append(f"model {model}: its copy is missing in {opened.model.weights}")
        faults += [f"model {model}: {fault}" for fault in find_faults(opened)]
        checked[model] = opened.count_vectors()
    if faults:
        for fault in faults:
            reporter.say(fault)
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(
            f"{index}: {faults[0]}{more}",
            "Run 'oclear index' on it again, with --overwrite if that does not help.",
        )
    vectors = sum(checked.values())
    return CommandResult(
        {"index": str(index), "faults": [], "vectors": vectors, "models": list(checked)},
        f"index {index}: {vectors:,} vectors of {len(checked)} models, nothing wrong",
    )
