"""``oclear compare`` and ``oclear ablate`` on the tiny generated shop."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oclear.commands.trials.bench import Bench

QUICK = [
    "--quick",
    "--seeds",
    1,
    "training.stages.0.epochs=2",
    "training.stages.0.batch_size=16",
    "training.stages.0.heads_lr=0.01",
    "training.validations=1",
]
METHODS = ["frozen_document", "frozen_photo", "clip", "ours"]
CHOICE = ["rates=[1]", "choosing=2", f"methods=[{','.join(METHODS)}]"]
OUTPUTS = {"report.html", "table.md", "plot.png", "results.json", "trials", "logs", "config.yaml"}


@pytest.fixture(scope="session")
def model(demo: Any) -> list[str]:
    return [o for o in demo.overrides if o.startswith("model.")]


@pytest.fixture(scope="session")
def compared(
    oclear: Callable[..., Any], demo: Any, model: list[str], tmp_path_factory: Any
) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("compare") / "out"
    line = ("compare", "--data", demo.shop, "--labels", "log", "--out", out, "--json", *QUICK)
    return oclear(*line, *model, *CHOICE).json


def test_every_method_is_measured_on_the_same_photos(compared: dict[str, Any]) -> None:
    arms = compared["arms"]["log"]
    assert list(arms) == METHODS and compared["reference"] == "ours"
    for name, arm in arms.items():
        low, high = arm["intervals"]["identical@1"]
        assert 0 <= low <= arm["measures"]["identical@1"] <= high <= 1
        assert ("identical@1" in arm["against_reference"]) == (name != "ours")
    assert arms["clip"]["facts"]["steps"] == arms["ours"]["facts"]["steps"] > 0
    assert arms["clip"]["facts"]["cosines_an_epoch"] > 0
    assert set(arms["clip"]["facts"]["chosen"]) == {"rate", "temperature"}
    assert "40 % of them wrong" in compared["simulated"]


def test_the_folder_holds_what_it_says(compared: dict[str, Any]) -> None:
    out = Path(compared["out"])
    found = {path.name for path in out.iterdir()}
    assert found >= OUTPUTS and "cache" not in found
    assert not [name for name in found if name.startswith(".")], "nothing half done is left"
    assert len(list(out.rglob("seed-0.parquet"))) == len(METHODS) + 1, "and the log"
    for method, candidates in (("clip", 2), ("ours", 2)):
        assert len(list((out / "choices" / "log" / method).iterdir())) == candidates * 2
    assert "The clicks are simulated" in (out / "report.html").read_text()
    assert (out / "table.md").read_text().count("\n| ") == len(METHODS) + 1
    written = json.loads((out / "results.json").read_text())
    assert written["arms"] == compared["arms"]


def test_a_killed_run_goes_on_and_repeats_nothing(
    oclear: Callable[..., Any],
    demo: Any,
    model: list[str],
    compared: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = Path(shutil.copytree(compared["out"], tmp_path / "out"))
    before = json.loads((out / "results.json").read_text())["arms"]
    shutil.rmtree(out / "trials" / "log" / "clip")
    (out / "choices" / "log" / "clip" / "1-seed-1.json").unlink()
    trained: list[int] = []
    train = Bench.train

    def counting(self: Bench, *arguments: Any, **options: Any) -> Any:
        trained.append(options["seed"])
        return train(self, *arguments, **options)

    monkeypatch.setattr(Bench, "train", counting)
    line = ("compare", "--data", demo.shop, "--labels", "log", "--out", out, "--json", *QUICK)
    line = (*line, *model, *CHOICE)
    assert oclear(*line).code == 2, "the folder is not empty"
    after = oclear(*line, "--resume").json["arms"]

    assert trained == [1001, 0], "the candidate's second training and the trial that were missing"
    for name in METHODS:
        for key in ("measures", "intervals", "against_reference"):
            assert after["log"][name][key] == before["log"][name][key]
    found = oclear(*line, "--resume", "rates=[1,3]")
    assert found.code == 2 and "another configuration" in found.stderr
    # The one that was chosen may be among today's candidates, and another one in the place of the rest.
    other = ({"alignment": 0.0}, {"alignment": 0.3}, {"alignment": 7.0})
    monkeypatch.setattr("oclear.commands.compare._OUR_SETTINGS", other)
    shutil.rmtree(out / "trials" / "log" / "clip")
    trained.clear()
    found = oclear(*line, "--resume")
    assert found.code == 2 and "'ours' was chosen there among other candidates" in found.stderr
    assert not trained, "refused before anything is trained"


def test_parts_are_taken_out(
    oclear: Callable[..., Any], demo: Any, model: list[str], tmp_path: Path
) -> None:
    found = oclear(
        *("ablate", "--data", demo.shop, "--out", tmp_path / "out", "--json", *QUICK, *model),
        *("--parts", "governance,sampler,second_round,stages"),
        *("--arm", "narrow: model.embedding_dim=8"),
    ).json

    arms = found["arms"]["log"]
    names = ["clicks as labels", "photos as they come", "with a second round", "narrow"]
    assert list(arms) == ["whole", *names]
    assert {arm["facts"]["steps"] for arm in arms.values()} == {arms["whole"]["facts"]["steps"]}
    assert arms["narrow"]["facts"]["differing"] == ["model.embedding_dim=8"]
    assert found["notes"]["Left out"] == ["stages: there is a single stage to train."]
    assert any(
        "x" in line and "All pairs" in line
        for line in found["notes"]["What is compared in an epoch"]
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} >= OUTPUTS


def test_the_first_experiments(
    oclear: Callable[..., Any], demo: Any, model: list[str], tmp_path: Path
) -> None:
    line = ("ablate", "first-experiments", "--data", demo.shop, "--out", tmp_path / "out", "--json")
    found = oclear(*line, "--labels", "truth", *QUICK, *model).json

    assert list(found["arms"]) == ["truth"]
    assert list(found["arms"]["truth"])[:2] == ["whole", "image only and proxies"]
    assert found["simulated"] is None
    assert any(line.startswith("K = 16:") for line in found["notes"]["Left out"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("compare methods=[clip]", "expected 'ours'"),
        ("compare methods=[ours,clipp]", "expected 'ours'"),
        ("ablate --parts margn", "margin"),
        ("compare --out {shop}", "the input"),
        ("ablate model.widht=3", "unknown configuration key"),
    ],
)
def test_wrong_options_are_refused(
    oclear: Callable[..., Any], demo: Any, tmp_path: Path, line: str, words: str
) -> None:
    command, *options = line.format(shop=demo.shop).split()
    found = oclear(command, "--data", demo.shop, "--out", tmp_path / "out", *options)
    assert found.code == 2 and words in found.stderr
    assert not (tmp_path / "out").exists()


def test_data_without_truth_or_without_a_split_is_refused(
    oclear: Callable[..., Any], shop: Path, change: Callable[..., None], tmp_path: Path
) -> None:
    line = ("compare", "--data", shop, "--out", tmp_path / "out", "--quick")
    change(
        shop / "queries.parquet", split=lambda rows: ["train" if r == "val" else r for r in rows]
    )
    found = oclear(*line)
    assert found.code == 2 and "all three splits" in found.stderr
    change(shop / "queries.parquet", item_id=None)
    found = oclear(*line)
    assert found.code == 2 and len(found.stderr.splitlines()) <= 3
    assert not (tmp_path / "out").exists()
