"""The folder of a run of trials, which a kill leaves to go on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oclear.commands.shared.runs import is_begun, refuse_other_run, run_folder, state_of
from oclear.commands.trials.config import TrialsConfig
from oclear.config import write_run_record
from oclear.output import atomic_folder, refuse_non_empty


@contextmanager
def trial_folder(
    out: Path,
    command: str,
    config: TrialsConfig,
    data: Path,
    labels: str,
    *,
    overwrite: bool,
    resume: bool,
) -> Iterator[Path]:
    """Begins a run, or goes on with one; features that frozen encoders gave are kept until its end.

    Raises:
        InputError: The folder holds something else, or a run with other inputs.
    """
    inputs = {"data": data, "labels": labels, "tables": state_of(data)}
    if resume and is_begun(out, command):
        refuse_other_run(out, config, inputs)
    elif overwrite and out.is_dir():
        with atomic_folder(out, overwrite=True):
            pass
    else:
        refuse_non_empty(out)
    with run_folder(out, lambda: (out / "trials").is_dir()) as folder:
        write_run_record(folder, command, config, inputs)
        yield folder
        shutil.rmtree(folder / "cache", ignore_errors=True)
