"""What kills cost: trainings shot down at random moments and taken up again, against one that nobody touched.

Each kill is a SIGKILL, at a moment drawn evenly over the time that a whole training takes. Data, curriculum and encoder
are small, so that it is mostly starts and stops; proxies learn by KNN softmax, and the neighbour graph is refreshed
while they do. A checkpoint is saved in every step, unless told otherwise.

    python benchmarks/training_kills.py [--kills 20] [--minutes 0] [--seed 0] [--work DIR] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import print_figures

from oclear.commands.categorize import CategorizeConfig, categorize
from oclear.datasets import ShopConfig, generate_shop
from oclear.model import ModelConfig
from oclear.progress import Reporter

MODEL = {"image_size": 32, "embedding_dim": 32, "text_encoder": None}
KNN = "{kind: knn, budget: 8, neighbours: 3, refresh_share: 0.5}"
# Many photos a step, so that the graph, which is in lists there, goes through many rounds.
IN_LISTS = "{kind: knn, exact_up_to: 0, budget: 48, neighbours: 3, refresh_share: 0.5}"
PROXIES = "trains: proxies, batch_size: 256, epochs: 80, max_steps: 80, proxies_start: class_means"
STAGES = [
    "{name: medium, trains: encoder, samples: medium, batch_size: 16, max_steps: 25, proxies_start: class_means}",
    f"{{name: proxies, {PROXIES}, selection: {IN_LISTS}}}",
    f"{{name: everything, trains: encoder, batch_size: 16, max_steps: 40, selection: {KNN}}}",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=0.0, help="between two checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--quick", action="store_true", help="5 kills")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kills = 5 if options.quick else options.kills
    with tempfile.TemporaryDirectory() as made:
        folder = options.work or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(folder, kills, options.minutes, random.Random(options.seed))
    print_figures(figures, options.json)


def measure(folder: Path, kills: int, minutes: float, moments: random.Random) -> dict[str, Any]:
    """Trains once undisturbed, then again and again under fire until there were enough kills."""
    command = prepared(folder, minutes)
    began = time.monotonic()
    run(command, folder / "unbroken")
    seconds = time.monotonic() - began
    say(f"unbroken: {seconds:.0f} s")

    shot, trainings, backwards, equal, losses = 0, 0, 0, 0, []
    while shot < kills:
        trainings += 1
        out = folder / f"training-{trainings}"
        while shot < kills:
            before = saved_steps(out)
            if not killed_after(moments.uniform(0, seconds), command, out):
                break
            shot += 1
            now = saved_steps(out)
            backwards += now < before
            losses.append(steps_logged(out) - now)
            say(f"kill {shot}: {before} -> {now} steps saved")
        run([*command, "--resume"], out)
        equal += same(folder / "unbroken", out)
    return {
        "kills": shot,
        "trainings": trainings,
        "seconds_unbroken": round(seconds, 1),
        "checkpoints_gone_backwards": backwards,
        "most_logged_steps_done_again": max(losses),
        "ended_bit_equal": equal,
        "not_equal": trainings - equal,
    }


def prepared(folder: Path, minutes: float) -> list[str]:
    """A small shop with category IDs, and the command that trains on it, all but its output folder."""
    shop, categories = folder / "shop", folder / "categories"
    quiet = Reporter(quiet=True)
    if not categories.is_dir():
        shutil.rmtree(shop, ignore_errors=True)
        generate_shop(shop, ShopConfig(products=60, picture_size=40, workers=1))
        categorize(
            items=shop,
            queries=shop,
            exposures=None,
            features=None,
            model=None,
            previous=None,
            labels="truth",
            out=categories,
            config=CategorizeConfig(model=ModelConfig(**MODEL)),
            reporter=quiet,
        )
    settings = [f"model.{name}={json.dumps(value)}" for name, value in MODEL.items()]
    settings += [f"training.stages=[{', '.join(STAGES)}]", f"training.checkpoint_minutes={minutes}"]
    tables = ["--samples", categories, "--items", shop, "--queries", shop]
    return [str(word) for word in [sys.executable, "-m", "oclear", "train", *tables, *settings]]


def run(command: list[str], out: Path) -> None:
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)


def killed_after(seconds: float, command: list[str], out: Path) -> bool:
    """Begins or goes on, and kills it after some time; False where it had ended by then."""
    process = subprocess.Popen(
        [*command, "--out", str(out), "--resume"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    assert process.returncode == 0, "it ended by itself, and badly"
    return False


def saved_steps(out: Path) -> int:
    """Steps of all stages in the last checkpoint, 0 before the first."""
    for name in ("last", ".last.old"):  # the second where a kill fell between two renames
        file = out / "checkpoints" / name / "progress.json"
        if file.is_file():
            return int(json.loads(file.read_text())["total_step"])
    return 0


def steps_logged(out: Path) -> int:
    """Steps that the metrics know of: some of those that the run had done."""
    file = out / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    whole = [json.loads(line)["total_step"] for line in lines if line.endswith("\n")]
    return max(whole, default=0)


def same(one: Path, other: Path) -> bool:
    """Whether two trainings ended with the same metrics and weights, to the bit."""
    files = ["metrics.jsonl", "model/model.safetensors"]
    files += [f"proxies/{file.name}" for file in (one / "proxies").glob("*.safetensors")]
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
