"""The command line: its shape is frozen, and it starts quickly."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import typer

from oclear import __version__
from oclear.cli import app

# Every name that users type, with defaults ("!" where it must be given). A change here breaks their scripts: keep the
# old name working, or say it in CHANGELOG.md.
PUBLIC = {
    "demo": {
        "OVERRIDES": None,
        "--data": None,
        "--labels": "log",
        "--preset": "fast",
        "--out": None,
        "--config": None,
        "--json": False,
        "--overwrite": False,
        "--resume": False,
    },
    "simulate": {
        "OVERRIDES": None,
        "--data": "!",
        "--out": "!",
        "--wrong": None,
        "--config": None,
        "--json": False,
        "--overwrite": False,
    },
    "embed": {
        "OVERRIDES": None,
        "--model": "!",
        "--out": "!",
        "--items": None,
        "--queries": None,
        "--config": None,
        "--json": False,
        "--overwrite": False,
    },
    "categorize": {
        "OVERRIDES": None,
        "--items": "!",
        "--out": "!",
        "--queries": None,
        "--exposures": None,
        "--features": None,
        "--model": None,
        "--previous": None,
        "--labels": "log",
        "--config": None,
        "--json": False,
        "--overwrite": False,
    },
    "train": {
        "OVERRIDES": None,
        "--samples": "!",
        "--items": "!",
        "--queries": "!",
        "--out": "!",
        "--from": None,
        "--config": None,
        "--json": False,
        "--overwrite": False,
        "--resume": False,
    },
    "estimate": {
        "OVERRIDES": None,
        "--classes": None,
        "--samples": None,
        "--dim": None,
        "--ranks": 1,
        "--room": None,
        "--config": None,
        "--json": False,
    },
    "index": {
        "OVERRIDES": None,
        "--model": "!",
        "--items": "!",
        "--out": "!",
        "--vectors": None,
        "--samples": None,
        "--queries": None,
        "--server": None,
        "--swap": False,
        "--config": None,
        "--json": False,
        "--overwrite": False,
    },
    "search": {
        "PHOTOS": "!",
        "--index": "!",
        "-k": None,
        "--where": None,
        "--model": None,
        "--config": None,
        "--json": False,
    },
    "explain": {
        "PHOTO": "!",
        "--index": "!",
        "--item": "!",
        "--items": None,
        "--out": None,
        "--model": None,
        "--json": False,
        "--overwrite": False,
    },
    "evaluate": {
        "OVERRIDES": None,
        "--index": "!",
        "--queries": "!",
        "--split": "test",
        "--model": None,
        "--trec": None,
        "--exposures": None,
        "--absent": None,
        "--config": None,
        "--json": False,
        "--overwrite": False,
    },
    "calibrate": {
        "OVERRIDES": None,
        "--index": "!",
        "--queries": "!",
        "--split": "val",
        "--absent": None,
        "--model": None,
        "--config": None,
        "--json": False,
    },
    "export": {"--model": "!", "--out": "!", "--json": False, "--overwrite": False},
    "compare": {
        "OVERRIDES": None,
        "--data": "!",
        "--out": "!",
        "--labels": "both",
        "--wrong": None,
        "--seeds": None,
        "--quick": False,
        "--config": None,
        "--json": False,
        "--overwrite": False,
        "--resume": False,
    },
    "ablate": {
        "OVERRIDES": None,
        "--data": "!",
        "--out": "!",
        "--parts": None,
        "--arm": None,
        "--labels": "log",
        "--wrong": None,
        "--seeds": None,
        "--quick": False,
        "--config": None,
        "--json": False,
        "--overwrite": False,
        "--resume": False,
    },
    "serve": {
        "OVERRIDES": None,
        "--index": "!",
        "--host": None,
        "--port": None,
        "--log": None,
        "--keys": None,
        "--model": None,
        "--config": None,
        "--json": False,
    },
    "log compact": {"--log": "!", "--json": False},
    "log erase": {"--log": "!", "--session": "!", "--json": False},
    "keys add": {"NAME": "!", "--keys": "!", "--may": None, "--json": False},
    "keys remove": {"NAME": "!", "--keys": "!", "--json": False},
    "keys list": {"--keys": "!", "--json": False},
    "categories evaluate": {
        "--categories": "!",
        "--truth": None,
        "--queries": None,
        "--exposures": None,
        "--items": None,
        "--json": False,
    },
    "categories explain": {
        "--categories": "!",
        "--items": "!",
        "--id": None,
        "--item": None,
        "--queries": None,
        "--json": False,
    },
    "store add": {
        "OVERRIDES": None,
        "--index": "!",
        "--items": "!",
        "--vectors": None,
        "--config": None,
        "--json": False,
    },
    "store delete": {
        "ITEM_IDS": None,
        "--index": "!",
        "--items": None,
        "--model-id": None,
        "--json": False,
    },
    "store optimize": {"--index": "!", "--json": False},
    "store stats": {"--index": "!", "--json": False},
    "store verify": {"--index": "!", "--json": False},
    "categories sweep": {
        "OVERRIDES": None,
        "--items": "!",
        "--queries": "!",
        "--exposures": None,
        "--truth": None,
        "--features": None,
        "--out": "!",
        "--train": True,
        "--config": None,
        "--json": False,
        "--overwrite": False,
    },
}


def test_the_public_command_line_is_frozen() -> None:
    commands: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        commands |= (
            {name: command} if inner is None else {f"{name} {n}": c for n, c in inner.items()}
        )

    found = {
        name: {
            (p.opts[0] if p.param_type_name == "option" else p.name.upper()): (
                "!" if p.required else getattr(p.default, "value", p.default)
            )
            for p in command.params
            if p.name != "help"
        }
        for name, command in commands.items()
    }

    assert found == PUBLIC


@pytest.mark.parametrize("command", ["", "categories", *PUBLIC])
def test_help_is_there_and_quick(oclear: Callable[..., Any], command: str) -> None:
    began = time.monotonic()
    found = oclear(*command.split(), "--help")

    assert found.code == 0
    assert found.stdout.startswith("Usage:")
    # Of a group of commands, the next word of each of its commands.
    below = [
        name.removeprefix(command).split()[0]
        for name in PUBLIC
        if name.startswith(command) and name != command
    ]
    names = PUBLIC.get(command, below)
    assert all(name in found.stdout for name in names if name.startswith("-"))
    assert time.monotonic() - began < 2


def test_without_a_command_the_help_is_shown(oclear: Callable[..., Any]) -> None:
    assert oclear().stdout == oclear("--help").stdout != ""


def test_the_version_is_printed(oclear: Callable[..., Any]) -> None:
    assert oclear("--version").stdout.strip() == __version__


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from oclear import cli; sys.argv = ['oclear', 'train', '--help']; cli.parse_and_run();"
        "print(sorted(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    )
    began = time.monotonic()
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert found.returncode == 0, found.stderr
    loaded = set(found.stderr.strip("[]\n").replace("'", "").split(", "))
    heavy = {"torch", "transformers", "lancedb", "pyarrow", "numpy", "PIL", "scipy"}
    assert {"oclear", "typer"} <= loaded
    assert not loaded & (heavy | {"sklearn", "faiss", "duckdb", "ibis", "yaml", "safetensors"})
    assert time.monotonic() - began < 5


def test_the_installed_program_ends_with_the_right_codes() -> None:
    program = [sys.executable, "-m", "oclear"]

    wrong = subprocess.run([*program, "train", "--nonsense"], capture_output=True, text=True)
    right = subprocess.run([*program, "--version"], capture_output=True, text=True)

    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: ")
    assert (right.returncode, right.stdout.strip(), right.stderr) == (0, __version__, "")
