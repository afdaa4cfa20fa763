"""What benchmarks have in common: how they begin, and their last line with figures, machine and commit."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oclear.cli.errors import report_error
from oclear.runtime import prepare_process


def run_benchmark(main: Callable[[], None]) -> None:
    """Runs a benchmark on a user's data as the program runs a command: what is wrong with them is said in a line."""
    prepare_process()
    try:
        main()
    except Exception as error:
        sys.exit(report_error(error))


def print_figures(figures: dict[str, Any], as_json: bool) -> None:
    """Prints the figures: one JSON object on the last line, or one figure a line for people.

    Args:
        figures: By name; numbers, texts, and lists or dictionaries of these. Numpy numbers count as numbers.
        as_json: Whether to print ``{"figures": ..., "machine": ..., "commit": ...}``.

    Raises:
        ValueError: A figure is NaN or infinite, which JSON cannot say.
    """
    plain = _plain(figures)
    if as_json:
        line = {"figures": plain, "machine": machine(), "commit": commit()}
        print(json.dumps(line, allow_nan=False), flush=True)
        return
    width = max((len(name) for name in plain), default=0)
    for name, value in plain.items():
        print(f"{name:<{width}}  {value}")
    print(f"{'machine':<{width}}  {machine()}\n{'commit':<{width}}  {commit()}", flush=True)


def machine() -> str:
    """Processor, usable cores and memory; never a name or a path.

    Example:
        >>> "cores" in machine()
        True
    """
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        name = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), name)
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count()
    text = f"{name}, {cores} cores"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        text += f", {memory / 2**30:.0f} GiB"
    return text


def commit() -> str:
    """The short commit of the code that ran, with ``+`` where tracked files were changed; ``unknown`` without git."""
    here = Path(__file__).parent
    try:
        name = _git(here, "rev-parse", "--short", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}+" if changed else name


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _plain(value: Any) -> Any:
    """Numpy numbers and arrays as Python's; NaN refused."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a figure is {value}")
    return value
