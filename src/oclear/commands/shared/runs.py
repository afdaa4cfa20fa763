"""Output folders of runs that go on after a kill: ``train``, ``index`` and ``demo``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from oclear.errors import ConfigError, FormatError, InputError, OclearError
from oclear.output import atomic_folder
from oclear.tables import find_table


@contextmanager
def run_folder(path: Path, is_worth_keeping: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """A folder to work in, which a kill leaves to go on with, and what the user has to mend does not.

    Args:
        path: Made with its parents where it is not there; a new one is removed on an :class:`OclearError`.
        is_worth_keeping: Asked then; a folder in which hours of work lie stays.

    Raises:
        InputError: ``path`` is a file, or cannot be written.
    """
    is_new = not path.is_dir() or not any(path.iterdir())
    made = [folder for folder in path.absolute().parents if not folder.exists()]
    with atomic_folder(path, resume=True) as folder:
        try:
            yield folder
        except OclearError:
            if is_new and not is_worth_keeping():
                shutil.rmtree(path, ignore_errors=True)
                for parent in made:
                    if not any(parent.iterdir()):
                        parent.rmdir()
            raise


def refuse_overwriting(out: Path, *inputs: str | Path | None) -> None:
    """Refuses an output that is, or holds, one of the inputs: ``--overwrite`` would remove it.

    Args:
        out: The file or folder to write.
        inputs: Files and folders that are read; names that are no path are passed over.

    Raises:
        InputError: One of them would be lost.
    """
    for given in inputs:
        if given is not None and Path(given).resolve().is_relative_to(out.resolve()):
            raise InputError(
                f"{out}: is, or holds, the input {given}", "Give another place for the output."
            )


def state_of(folder: Path) -> str:
    """What changes when a data folder's tables do: their names, sizes and times."""
    tables = [find_table(folder, name) for name in ("items", "queries", "truth", "exposures")]
    found = [(path.name, path.stat()) for path in tables if path is not None]
    return "; ".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found)


def is_begun(path: Path, command: str) -> bool:
    """Whether a run of this command was begun in a folder.

    Raises:
        InputError: Another command wrote the folder.
        FormatError: Its ``run.json`` is damaged.
    """
    record = _record(path)
    if record is not None and record.get("command") != command:
        raise InputError(
            f"{path}: holds the output of 'oclear {record.get('command')}', not of 'oclear {command}'",
            "Give --resume with the folder that the stopped run was writing.",
        )
    return record is not None and (path / "config.yaml").is_file()


def refuse_other_run(path: Path, config: BaseModel, inputs: Mapping[str, Any]) -> None:
    """Refuses to go on with another configuration, or with other inputs, than a run was begun with.

    Args:
        path: The run's folder.
        config: Of now.
        inputs: Of now, by name; compared with those of ``run.json``.

    Raises:
        InputError: They differ.
        FormatError: ``config.yaml`` or ``run.json`` are damaged.
    """
    refuse_other_config(path, config)
    refuse_other_inputs(path, inputs)


def refuse_other_config(path: Path, config: BaseModel) -> None:
    """The half of :func:`refuse_other_run` that compares configurations."""
    try:
        before = yaml.safe_load((path / "config.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FormatError(
            f"{path / 'config.yaml'}: cannot be read", "Start again with --overwrite."
        ) from error
    before = _completed(before, type(config))
    changed = list(_differences(before, config.model_dump(mode="json")))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise InputError(
            f"{path}: --resume with another configuration than the run was begun with: {changed[0]}{more}",
            f"Give --config {path / 'config.yaml'} and no overrides, or start again with --overwrite.",
        )


def refuse_other_inputs(path: Path, inputs: Mapping[str, Any]) -> None:
    """The half of :func:`refuse_other_run` that compares inputs."""
    known = (_record(path) or {}).get("inputs", {})
    for name, value in inputs.items():
        now = None if value is None else str(value)
        if known.get(name) != now:
            raise InputError(
                f"{path}: --resume with {name} = {now}; the run was begun with {known.get(name)}",
                "Give what it was begun with, or start again with --overwrite.",
            )


def _record(path: Path) -> dict[str, Any] | None:
    file = path / "run.json"
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise FormatError(f"{file}: damaged", "Start again with --overwrite.") from error
    return found if isinstance(found, dict) else {}


def _completed(before: Any, kind: type[BaseModel]) -> Any:
    """A configuration that was written down, with the keys that are new since then at their defaults.

    A new key's default is what was done before there was the key. What cannot be read any more stays as it is.
    """
    try:
        return kind.model_validate(before).model_dump(mode="json")
    except (ValidationError, ConfigError):
        return before


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Where two configurations differ, as ``key.sub was 1, is 2``."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = dict(enumerate(before)), dict(enumerate(now))
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(name for name in now if name not in before)]:
            below = f"{key}.{name}" if key else str(name)
            yield from _differences(before.get(name), now.get(name), below)
    elif before != now:
        yield f"{key} was {_brief(before)}, is {_brief(now)}"


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
