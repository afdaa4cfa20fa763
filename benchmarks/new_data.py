"""The default configuration, untouched, on data it has never met: logos as other hands draw them, simulated photos.

Beside it what frozen encoders find without any training: features centred on each side, nearest document and nearest
training photo. Many test photos show brands that were never trained on.

    npm pack @iconify-json/logos ...       (see _logos.py for the sets)
    pip install resvg_py
    python benchmarks/new_data.py --packages DIR [--work DIR] [--json]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from _logos import make_folder
from _report import print_figures

from oclear.commands.demo import PRESETS, DemoConfig, demo
from oclear.commands.trials.bench import Bench
from oclear.commands.trials.config import TrialsConfig
from oclear.commands.trials.data import TrialData
from oclear.config import build_config
from oclear.evaluation import Measures
from oclear.output import atomic_folder
from oclear.progress import Reporter
from oclear.runtime import prepare_process

_CUT = 10
_MEASURE = "identical@1"


def frozen(data: Path, given: DemoConfig, work: Path, reporter: Reporter) -> dict[str, Measures]:
    """What the demo's encoders find untrained; the nearest photo by clicks as wrong as those the demo learns from."""
    config = TrialsConfig(simulation=given.simulation, model=given.model)
    tables = TrialData(data, config, work, reporter)
    bench = Bench(tables)
    features = bench.frozen()
    rankings = {
        "frozen_document": features.by_document(_CUT),
        "frozen_photo": features.by_photo(tables.pairs("log", 0), _CUT),
    }
    return {name: bench.measures(found, features.rows) for name, found in rankings.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--packages", type=Path, required=True, help="archives of npm pack")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    data = arguments.work / "logos"
    if not data.is_dir():
        with atomic_folder(data, overwrite=False) as folder:
            make_folder(arguments.packages, folder)
    config = build_config(DemoConfig, None, [], PRESETS["fast"])
    with Reporter() as reporter:
        out = arguments.work / "logos-demo"
        command = "benchmarks/new_data.py"
        result = demo(
            str(data), "log", "fast", out, config, reporter, command=command, overwrite=True
        )
        untrained = frozen(data, config, arguments.work / "logos-frozen", reporter)
    figures: dict[str, Any] = {
        "default": result.data["measures"][_MEASURE],
        "default_interval": result.data["intervals"][_MEASURE],
        "minutes": round(result.data["total_seconds"] / 60, 1),
        "queries": result.data["queries"],
        "gallery": result.data["gallery"],
    }
    for name, measures in untrained.items():
        found = measures.summary()[_MEASURE]
        figures |= {name: found["value"], f"{name}_interval": [found["low"], found["high"]]}
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    prepare_process()
    main()
