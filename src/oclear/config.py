"""Configuration: strict classes, filled from YAML and ``key.sub=value``, written beside every output."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from oclear import __version__
from oclear.errors import ConfigError, nearest_name
from oclear.output import atomic_file

Config = TypeVar("Config", bound=BaseModel)

_VERSIONED = ("torch", "transformers", "numpy", "pyarrow", "lancedb", "pillow", "faiss-cpu")


def build_config(
    kind: type[Config],
    file: Path | None = None,
    overrides: Sequence[str] = (),
    preset: Mapping[str, Any] | None = None,
) -> Config:
    """A configuration: defaults, then the preset, then the file, then the overrides.

    Args:
        kind: The class to fill.
        file: YAML.
        overrides: ``key.sub=value``; values are YAML, numbers reach into lists (``stages.0.epochs=3``).
        preset: Values between defaults and file.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), a value out of range, a damaged file.
    """
    values: dict[str, Any] = {}
    _merge(values, preset or {})
    if file is not None:
        _merge(values, _read_yaml(file))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(
                f"'{override}' is not understood", "Overrides have the form key.sub=value."
            )
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{key}: the value {text!r} is not valid YAML") from error
        _set(values, kind, key.split("."), value, key)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _first_fault(kind, error) from error


def write_run_record(
    folder: Path, command: str, config: BaseModel, inputs: Mapping[str, Any]
) -> None:
    """Writes ``config.yaml``, which ``--config`` takes again, and ``run.json``: command, inputs and versions."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    with atomic_file(folder / "config.yaml") as file:
        file.write_text(text)
    record = {
        "command": command,
        "inputs": {name: str(value) for name, value in inputs.items() if value is not None},
        "versions": versions(),
    }
    with atomic_file(folder / "run.json") as file:
        file.write_text(json.dumps(record, indent=2) + "\n")


def versions() -> dict[str, str]:
    """The versions of Python, this program and what its results depend on."""
    found = {"oclear": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read", "Give a YAML file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: not valid YAML") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: found a {type(found).__name__}, expected keys with values")
    return found


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            # A copy: an override writes into it, and a preset must not change.
            into[key] = copy.deepcopy(dict(value) if isinstance(value, Mapping) else value)


def _set(
    values: dict[str, Any], kind: type[BaseModel], path: list[str], value: Any, key: str
) -> None:
    """Sets one value; lists not given so far are filled from the defaults first."""
    place: Any = values
    defaults: Any = kind.model_construct().model_dump(mode="json")
    for i, name in enumerate(path):
        last = i == len(path) - 1
        if isinstance(place, list):
            if not name.isdigit() or int(name) >= len(place):
                raise ConfigError(
                    f"{key}: '{name}' is no place in a list of {len(place)}",
                    f"Places are 0 to {len(place) - 1}.",
                )
            at: Any = int(name)
            default = None
        else:
            at = name
            default = defaults.get(name) if isinstance(defaults, dict) else None
        if last:
            place[at] = value
            return
        if isinstance(place, dict) and not isinstance(place.get(at), (dict, list)):
            place[at] = default if isinstance(default, list) else {}
        if not isinstance(place[at], (dict, list)):
            raise ConfigError(f"{key}: '{name}' has a single value and nothing below it")
        place, defaults = place[at], default


def _first_fault(kind: type[BaseModel], error: ValidationError) -> ConfigError:
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path) or kind.__name__
    if fault["type"] == "extra_forbidden":
        return ConfigError(
            f"unknown configuration key '{key}'", nearest_name(path[-1], _known(kind, path[:-1]))
        )
    message, _, hint = fault["msg"].removeprefix("Value error, ").partition("\n")
    # Of values that do not go together, the message names those; all of their section would hide them.
    found = "" if isinstance(fault["input"], Mapping) else f" (found {fault['input']!r})"
    return ConfigError(f"{key}: {message}{found}", hint or None)


def _known(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys that are known at a place, found by following the defaults' classes."""
    place: Any = kind
    for name in path:
        if name.isdigit():  # a place in a list
            continue
        if isinstance(place, type) and issubclass(place, BaseModel):
            field = place.model_fields.get(name)
            place = None if field is None else _model_in(field.annotation)
    if isinstance(place, type) and issubclass(place, BaseModel):
        return list(place.model_fields)
    return []


def _model_in(annotation: Any) -> Any:
    """The configuration class in an annotation such as ``tuple[Stage, ...]`` or ``Stage | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _model_in(argument)) is not None:
            return found
    return None
