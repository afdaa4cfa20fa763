"""Ours beside the methods that people would use instead: ``oclear compare`` on each data folder.

Each set's name maps every method to its mean Identical@1 on the log (40 % wrong clicks, simulated), with the suffix
``_truth`` on the true labels; ours is ``ours``. Intervals, differences with p, and minutes are beside them. A run that
was killed goes on.

    python benchmarks/comparison.py --data FOLDER [FOLDER ...] [--seeds 3] [--wrong 0.4] [--work DIR] [--quick]
        [--json] [KEY.SUB=VALUE ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from _report import print_figures, run_benchmark

from oclear.commands.compare import PRESETS, CompareConfig, compare
from oclear.config import build_config
from oclear.progress import Reporter

SUFFIXES = {"log": "", "truth": "_truth"}


def figures_of(name: str, arms: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What ``results.json`` says of each condition, by the names of figures."""
    found: dict[str, dict[str, Any]] = {}
    for condition, suffix in SUFFIXES.items():
        for method, arm in arms[condition].items():
            against = arm["against_reference"].get("identical@1")
            parts = {
                "": arm["measures"]["identical@1"],
                "_interval": arm["intervals"]["identical@1"],
                "_against_ours": against,
                "_minutes": arm["minutes"],
            }
            for part, value in parts.items():
                if value is not None:
                    found.setdefault(f"{name}{suffix}{part}", {})[method] = value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="with true items")
    parser.add_argument("--seeds", type=int, default=3, help="of log and training")
    parser.add_argument("--wrong", type=float, default=0.4, help="share of wrong clicks")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--quick", action="store_true", help="heads on cached features only")
    parser.add_argument("--json", action="store_true")
    arguments, overrides = parser.parse_known_args()
    given = [f"seeds={arguments.seeds}", f"simulation.wrong={arguments.wrong}", *overrides]
    config = build_config(CompareConfig, None, given, PRESETS[arguments.quick])
    figures: dict[str, Any] = {"seeds": arguments.seeds, "quick": arguments.quick}
    with Reporter() as reporter:
        for data in arguments.data:
            kind = "quick" if arguments.quick else "full"
            out = arguments.work / f"comparison-{kind}-{data.name}"
            command = f"benchmarks/comparison.py --data {data.name}"
            found = compare(data, "both", out, config, reporter, command=command, resume=True)
            reporter.show(found.view)
            figures |= figures_of(data.name, found.data["arms"])
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    run_benchmark(main)
