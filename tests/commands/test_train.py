"""Training from the command line: what it writes, and what a kill costs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from oclear.commands.shared.device import denormals_flushed
from oclear.commands.train import _locked
from oclear.model import TwoTowerModel
from oclear.proxies import ProxyClassifier
from oclear.training import Trainer
from oclear.training.checkpoint import Checkpoints

SETTINGS = [
    "model.image_size=32",
    "model.embedding_dim=32",
    "model.text_encoder=null",
    "training.stages.0.max_steps=12",
    "training.stages.0.batch_size=16",
    "training.stages.1.max_steps=6",
    "training.stages.1.batch_size=16",
    "training.validations=2",
    "training.checkpoint_minutes=0",
]


class Killed(BaseException):
    """Stands for SIGKILL."""


def command(demo: Any, out: Path, *extra: object, categories: Path | None = None) -> list[str]:
    """The command line; no state but the output folder."""
    samples = categories or demo.out / "categories"
    tables = ("--samples", samples, "--items", demo.shop, "--queries", demo.shop)
    words = ("train", *tables, "--out", out, "--json", *SETTINGS, *extra)
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def unbroken(
    oclear: Callable[..., Any], demo: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A training that nobody killed: its folder and its JSON."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    return out, oclear(*command(demo, out)).json


def assert_same(out: Path, data: dict[str, Any], unbroken: Any) -> None:
    """Same result, weights equal to the bit, and every metrics line once."""
    expected_out, expected = unbroken
    assert {**data, "out": ""} == {**expected, "out": ""}
    for file in ("model/model.safetensors", "proxies/proxies.safetensors"):
        found, wanted = load_file(out / file), load_file(expected_out / file)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert torch.equal(found[name], value), f"{file}: {name}"
    # The weights after the last step too: those of the best one may be the untrained start.
    found, wanted = (last_tensors(folder) for folder in (out, expected_out))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), f"last {name}"
    assert (out / "metrics.jsonl").read_text() == (expected_out / "metrics.jsonl").read_text()
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in expected_out.iterdir())


def last_tensors(out: Path) -> dict[str, torch.Tensor]:
    """All that the last checkpoint holds."""
    last = Checkpoints(out / "checkpoints").last()
    assert last is not None
    tensors = {name: torch.empty(shape, dtype=kind) for name, (shape, kind) in last.layouts.items()}
    last.read(tensors)
    return tensors


def test_everything_is_where_it_should_be(unbroken, demo, read_json):
    out, data = unbroken

    assert {path.name for path in out.iterdir()} == {
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "model",
        "proxies",
        "readable.npz",
        "run.json",
        "settled.json",
        "skipped.parquet",
    }
    model = TwoTowerModel.from_pretrained(out)
    assert model.model_id == data["model_id"]
    assert not any("prox" in name for name in model.state_dict())
    assert data["steps"] == 18
    assert data["validation_on"] == "truth"
    last = last_tensors(out)
    start = TwoTowerModel.from_encoders(model.config).state_dict()
    moved = {n.split(".")[0] for n in start if not torch.equal(last[f"model/{n}"], start[n])}
    assert moved == {"image_encoder", "heads"}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert data["final_loss"] == [line["loss"] for line in lines if "loss" in line][-1]
    scores = [x for line in lines if (x := line.get("validation_identical_at_1")) is not None]
    assert data["validation_identical@1"] == max(scores)
    classes = pq.read_table(out / "proxies" / "classes.parquet").to_pydict()
    known = pq.read_table(demo.out / "categories" / "categories.parquet").to_pylist()
    searched = [row["category_id"] for row in known if row["queries"]]
    assert sorted(classes["category_id"]) == sorted(searched)
    assert classes["class_index"] == list(range(data["classes"]))
    weight = load_file(out / "proxies" / "proxies.safetensors")["weight"]
    assert weight.shape == (data["classes"], 32)
    assert read_json(out / "proxies" / "config.json")["margin"] == "cosface"


@pytest.mark.parametrize(("name", "nth"), [("_train_step", 15), ("_save", 13)])
def test_a_killed_training_ends_like_the_unbroken_one(
    oclear, demo, unbroken, tmp_path, monkeypatch, name, nth
):
    method, calls = getattr(Trainer, name), []

    def killing(*args: Any) -> None:
        calls.append(None)
        if len(calls) == nth:
            raise Killed
        method(*args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, name, killing)
        oclear(*command(demo, tmp_path / "out"))

    data = oclear(*command(demo, tmp_path / "out"), "--resume").json
    assert_same(tmp_path / "out", data, unbroken)


@pytest.mark.parametrize(
    "done", [14, pytest.param(0, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_killed_process_ends_like_the_unbroken_one(oclear, demo, unbroken, tmp_path, done):
    out = tmp_path / "out"
    # The processor's own half precision is off in these tests, so it is in the process too.
    script = (
        "import sys, torch, oclear.model.precision as p; p.has_fast_bf16 = lambda device_type: False;"
        # Sums depend on how many threads share them.
        f"torch.set_num_threads({torch.get_num_threads()});"
        "from oclear import cli; sys.exit(cli.parse_and_run())"
    )
    arguments = [sys.executable, "-c", script, *command(demo, out)]
    log = (tmp_path / "stderr").open("w+")
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=log)
    try:
        end = time.monotonic() + 60
        while steps_done(out) < done and time.monotonic() < end:
            assert process.poll() is None, f"it ended by itself: {log.seek(0) or log.read()}"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
        log.close()
    assert not (out / "model").exists()

    data = oclear(*command(demo, out), "--resume").json
    assert_same(out, data, unbroken)


def ended(words: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """A program and what it said; all its processes are ended, and the test fails, where it takes longer."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, start_new_session=True, **pipes) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"hung for {seconds:.0f} s: {process.communicate()}")
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def steps_done(out: Path) -> int:
    """Of the last checkpoint; 0 before the first, -1 before anything is written."""
    if not (out / "run.json").is_file():
        return -1
    for folder in ("last", ".last.old"):
        try:
            progress = json.loads((out / "checkpoints" / folder / "progress.json").read_text())
        except (OSError, ValueError):
            continue
        return int(progress["total_step"])
    return 0


def test_resuming_a_finished_training_changes_nothing(oclear, demo, unbroken, tmp_path):
    out = shutil.copytree(unbroken[0], tmp_path / "out")

    data = oclear(*command(demo, out), "--resume").json

    assert_same(out, data, unbroken)


def test_resuming_where_nothing_was_begun_is_a_new_training(oclear, demo, unbroken, tmp_path):
    data = oclear(*command(demo, tmp_path / "out"), "--resume").json

    assert_same(tmp_path / "out", data, unbroken)


def refused(found: Any, *messages: str) -> None:
    assert found.code == 2, found.stderr
    error = found.stderr[found.stderr.index("error: ") :]
    for message in messages:
        assert message in error
    assert len(error.splitlines()) <= 3
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["training.seed=1"], "training.seed was 0, is 1"),
        (["training.stages.1.name=last"], 'training.stages.1.name was "finetune", is "last"'),
        (["training.seed=1", "model.image_size=64"], "model.image_size was 32, is 64 and 1 more"),
        (["--from", "elsewhere"], "from = elsewhere; the run was begun with None"),
    ],
)
def test_resuming_with_another_configuration_is_refused(
    oclear, demo, unbroken, tree, extra, message
):
    out, _ = unbroken
    before = tree(out)

    refused(oclear(*command(demo, out), "--resume", *extra), message, "--overwrite")
    assert tree(out) == before


def test_a_run_begun_before_there_were_some_keys_goes_on(oclear, demo, unbroken, tmp_path):
    out = Path(shutil.copytree(unbroken[0], tmp_path / "out"))
    file = out / "config.yaml"
    config = yaml.safe_load(file.read_text())
    del config["training"]["max_bad_images"], config["training"]["augmentation"]["hue"]
    for stage in config["training"]["stages"]:
        del stage["averaging"], stage["image_size"]
    file.write_text(yaml.safe_dump(config))

    refused(
        oclear(*command(demo, out), "--resume", "training.stages.1.averaging=0.9"),
        "training.stages.1.averaging was 0.0, is 0.9",
    )
    data = oclear(*command(demo, out), "--resume").json
    assert_same(out, data, unbroken)


def test_a_run_of_a_version_with_other_keys_is_refused(oclear, demo, unbroken, tmp_path):
    out = Path(shutil.copytree(unbroken[0], tmp_path / "out"))
    with (out / "config.yaml").open("a") as file:
        file.write("telepathy: 1\n")

    refused(oclear(*command(demo, out), "--resume"), "telepathy was 1, is null", "--overwrite")


def test_resuming_on_other_samples_is_refused(oclear, demo, unbroken, tree, tmp_path):
    out, _ = unbroken
    tables = ("--items", demo.shop, "--queries", demo.shop, "--labels", "truth")
    oclear("categorize", *tables, "--out", tmp_path / "other", *SETTINGS[:3])
    weights = (out / "model" / "model.safetensors").stat().st_mtime_ns

    found = oclear(*command(demo, out, categories=tmp_path / "other"), "--resume")

    refused(found, "began with other samples", "--overwrite")
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == weights


def test_a_folder_that_holds_something_is_refused(oclear, demo, unbroken, tree, tmp_path):
    out, _ = unbroken
    before = tree(out)
    refused(oclear(*command(demo, out)), "not empty", "--resume")
    assert tree(out) == before

    place = tmp_path / "other"
    place.mkdir()
    (place / "thesis.txt").write_text("dear")
    refused(oclear(*command(demo, place), "--resume"), "not empty")
    (place / "run.json").write_text('{"command": "index"}')
    refused(oclear(*command(demo, place), "--resume"), "holds the output of 'oclear index'")
    (place / "run.json").write_text('{"comm')
    refused(oclear(*command(demo, place), "--resume"), "run.json: damaged")
    file = tmp_path / "file"
    file.write_text("dear")
    refused(oclear(*command(demo, file)), "file: is a file")


def test_a_refusal_does_not_cost_the_output_that_was_to_be_replaced(
    oclear, demo, unbroken, tree, monkeypatch
):
    out, _ = unbroken
    before = tree(out)

    refused(oclear(*command(demo, out), "--overwrite", "--from", "nowhere"), "not a model folder")
    refused(
        oclear(*command(demo, out, categories=demo.shop), "--overwrite"), "not a categorize folder"
    )
    with monkeypatch.context() as patch:
        patch.setattr("oclear.commands.train.room_for_a_process", lambda _: 10**6)
        refused(oclear(*command(demo, out), "--overwrite"), "GB a process and may have")

    assert tree(out) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stages.0.image_size=128", "training.stages.0: image_size is for stages that train the"),
        (
            "stages.0.proxies_optimizer=adamw training.proxies.precision=bf16",
            "stage 'heads': proxi",
        ),
    ],
)
def test_a_wrong_stage_does_not_cost_the_output_that_was_to_be_replaced(
    oclear, demo, unbroken, tree, setting, message
):
    out, _ = unbroken
    before = tree(out)

    refused(oclear(*command(demo, out, *f"training.{setting}".split()), "--overwrite"), message)

    assert tree(out) == before


def test_overwriting_starts_anew(oclear, demo, unbroken, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("not so dear")

    data = oclear(*command(demo, out), "--overwrite").json
    assert_same(out, data, unbroken)


HEADS_ONLY = ["training.stages=[{name: h, trains: heads, max_steps: 2, batch_size: 8}]"]


def from_demo(demo: Any, out: Path, *extra: object) -> list[str]:
    """The command line to start from the demo's model, and nothing said of the model itself."""
    words = [word for word in command(demo, out) if not word.startswith(("model.", "training."))]
    return [str(w) for w in (*words, "--from", demo.out / "training", *HEADS_ONLY, *extra)]


def demo_text(demo: Any) -> str:
    """The text encoder of the demo's model."""
    config: dict[str, Any] = yaml.safe_load((demo.out / "config.yaml").read_text())
    return str(config["model"]["text_encoder"])


def test_starting_from_a_model_keeps_its_encoders_and_text(oclear, demo, tmp_path):
    out = tmp_path / "out"
    start = TwoTowerModel.from_pretrained(demo.out / "training")

    found = oclear(*from_demo(demo, out, "training.stages.0.heads_lr=0.1")).json

    assert found["steps"] == 2
    model = TwoTowerModel.from_pretrained(out)
    assert model.config == start.config
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert written["model"] == start.config.model_dump(mode="json")
    assert written["model"]["embedding_dim"] == 32, "which is not the default"
    before, after = start.state_dict(), model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed <= {"heads"}
    centred = [name for name in before if name.endswith("_mean") and name.startswith("heads")]
    assert all(torch.equal(before[name], after[name]) for name in centred)


def test_starting_from_a_model_takes_its_pictures_at_another_size(oclear, demo, tmp_path):
    out, same = tmp_path / "out", f"model.text_encoder={demo_text(demo)}"

    oclear(*from_demo(demo, out, "model.image_size=48", same)).json  # noqa: B018

    model = TwoTowerModel.from_pretrained(out)
    assert (model.preprocessing.size, model.config.image_size) == (48, 48)
    assert yaml.safe_load((out / "config.yaml").read_text())["model"]["image_size"] == 48
    refused(oclear(*from_demo(demo, out, "--resume")), "model.image_size was 48, is 32")
    assert oclear(*from_demo(demo, out, "--resume", "model.image_size=48")).code == 0
    # What the hint advises: all that was written down, given again.
    assert oclear(*from_demo(demo, out, "--resume", "--config", out / "config.yaml")).code == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.embedding_dim=64", "model.embedding_dim 64: the model of --from has 32"),
        ("model.embedding_dim=256", "model.embedding_dim 256: the model of --from has 32"),
        ("model.preset=paper", 'model.image_encoder "microsoft/resnet-50": the model of --from'),
        ("model.text_columns=[title]", 'the model of --from has ["title", "description"]'),
    ],
)
def test_a_model_to_start_from_is_not_made_another(oclear, demo, unbroken, tree, setting, message):
    out, _ = unbroken
    before = tree(out)

    found = oclear(*from_demo(demo, out, "--overwrite", setting))

    refused(found, message, "model.image_size and model.text_strength may be others")
    assert tree(out) == before


def test_without_truth_training_is_validated_on_held_out_clicks(
    oclear, demo, without_truth, tmp_path
):
    tables = ("--items", without_truth, "--queries", without_truth)
    share = "governance.holdout_share=0.2"
    oclear(
        *("categorize", *tables, "--exposures", demo.log, "--out", tmp_path / "categories", share),
        *SETTINGS[:3],
    )

    data = oclear(
        *("train", "--samples", tmp_path / "categories", *tables, "--out", tmp_path / "out"),
        *("--json", *SETTINGS),
    ).json

    assert data["validation_on"] == "held-out clicks"
    assert 0 <= data["validation_identical@1"] <= 1
    held = pq.read_table(tmp_path / "categories" / "validation.parquet", partitioning=None)
    samples = pq.read_table(tmp_path / "categories" / "samples.parquet", partitioning=None)
    assert not set(held["query_id"].to_pylist()) & set(samples["key"].to_pylist())


def test_unreadable_pictures_are_skipped_counted_and_listed(oclear, demo, shop, tmp_path):
    samples = pq.read_table(demo.out / "categories" / "samples.parquet").to_pylist()
    known = {row["key"] for row in samples if row["side"] == "query"}
    queries = pq.read_table(shop / "queries.parquet").to_pylist()
    photo = next(row for row in queries if row["query_id"] in known)
    (shop / photo["image_path"]).write_bytes(b"GIF89a nothing")
    categories = demo.out / "categories"
    arguments = ("train", "--samples", categories, "--items", shop, "--queries", shop, "--out")

    data = oclear(*arguments, tmp_path / "out", "--json", *SETTINGS).json

    assert data["skipped"] == 1
    (row,) = pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()
    assert (row["side"], row["key"]) == ("query", photo["query_id"])
    assert np.isfinite(data["final_loss"])

    for path in sorted((shop / "images").rglob("*.jpg"))[::4]:
        path.write_bytes(b"")
    found = oclear(*arguments, tmp_path / "deep" / "second", *SETTINGS)
    refused(found, "more than the allowed share of 0.05")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "shop"]


def test_a_loss_that_is_not_finite_ends_in_clear_lines(oclear, demo, tmp_path):
    wild = ["training.stages.0.heads_lr=.inf"]

    found = oclear(*command(demo, tmp_path / "out"), *wild)

    refused(found, "the loss is nan at step", "of stage 'heads'", "Lower the learning rates")


def test_look_alike_ids_are_handed_to_the_proxies(oclear, demo, tmp_path, monkeypatch):
    categories = Path(shutil.copytree(demo.out / "categories", tmp_path / "categories"))
    known = pq.read_table(categories / "categories.parquet").to_pylist()
    searched = sorted(row["category_id"] for row in known if row["queries"])
    alone = next(row["category_id"] for row in known if not row["queries"])
    pairs = [(searched[0], searched[2]), (searched[1], alone)]
    links = pa.table({"id_a": [a for a, _ in pairs], "id_b": [b for _, b in pairs]})
    pq.write_table(links, categories / "links.parquet")
    given = []
    start = ProxyClassifier.__init__

    def watch(self: Any, *arguments: Any, **options: Any) -> None:
        given.append(options["links"].tolist())
        start(self, *arguments, **options)

    monkeypatch.setattr(ProxyClassifier, "__init__", watch)
    stage = "name: h, trains: heads, max_steps: 2, batch_size: 8, selection: "
    few, all_of_them = ([f"training.stages=[{{{stage}{{kind: {k}}}}}]"] for k in ("knn", "all"))
    oclear(*command(demo, tmp_path / "out", *few, categories=categories))
    assert given == [[[0, 2]]], "an ID without photos is no class"
    oclear(*command(demo, tmp_path / "all", *all_of_them, categories=categories))
    assert given[1] == [], "full softmax tells look-alikes apart"

    (categories / "links.parquet").unlink()
    refused(
        oclear(*command(demo, tmp_path / "again", *few, categories=categories)), "links.parquet"
    )


_STAGE = {"name": "heads", "trains": "heads", "max_steps": 2, "batch_size": 16}
_ONE_STAGE = f"training.stages={json.dumps([_STAGE])}"


def test_coarse_labels_are_classes_where_items_have_some(oclear, demo, tmp_path):
    weighted = (_ONE_STAGE, "training.coarse_weight=0.3")
    words = [word for word in command(demo, tmp_path / "out") if ".stages." not in word]
    data = oclear(*words, *weighted).json
    classes = pq.read_table(tmp_path / "out" / "proxies" / "classes.parquet").to_pylist()
    labels = pq.read_table(demo.shop / "items.parquet", columns=["coarse_label"])["coarse_label"]
    named = [row["coarse_label"] for row in classes if row["category_id"] is None]
    assert named == sorted(named) and set(named) <= set(labels.to_pylist()) and len(named) > 1
    assert [row["class_index"] for row in classes] == list(range(data["classes"]))
    assert all(row["coarse_label"] is None for row in classes[: -len(named)])

    bare = tmp_path / "bare"
    shutil.copytree(demo.shop, bare)
    items = pq.read_table(bare / "items.parquet")
    pq.write_table(items.drop_columns("coarse_label"), bare / "items.parquet")
    words[words.index(str(demo.shop))] = str(bare)
    words[words.index(str(tmp_path / "out"))] = str(tmp_path / "out of bare")
    found = oclear(*words, *weighted)
    assert "coarse_weight does nothing: no ID that is learned" in found.stderr
    assert found.json["classes"] == data["classes"] - len(named)


def test_what_does_not_fit_is_refused_before_anything_is_done(oclear, demo, tmp_path, monkeypatch):
    monkeypatch.setattr("oclear.commands.train.room_for_a_process", lambda _: 10**6)
    found = oclear(*command(demo, tmp_path / "out"))
    refused(found, "GB a process and may have 0.0009")
    assert not (tmp_path / "out").exists()


def test_a_run_keeps_to_what_it_took(oclear, demo, unbroken, tmp_path, monkeypatch):
    """Begun where nearest classes fit and all did not, and gone on with where all would."""
    out, wanted = tmp_path / "out", ["--resume", "training.stages.1.max_steps=2"]

    def tight(found: Any, room: int) -> Any:
        return found[1].config, f"{found[1].name}: said to fit"

    with monkeypatch.context() as patch:
        patch.setattr("oclear.commands.train.choose", tight)
        patch.setattr(Trainer, "_validate", kill)
        with pytest.raises(Killed):
            oclear(*command(demo, out, *wanted))
    found = oclear(*command(demo, out, *wanted))

    assert found.code == 0
    assert "memory: nearest classes in fp32: " in found.stderr


def kill(*_: Any) -> None:
    raise Killed


def test_two_trainings_do_not_write_into_one_folder(oclear, demo, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with _locked(out):
        for option in ("--overwrite", "--resume"):
            refused(oclear(*command(demo, out), option), "another process is training here")
    oclear(*command(demo, out, "--overwrite", "training.stages.1.max_steps=1")).json  # noqa: B018


def test_a_checkpoint_of_an_older_version_is_refused_with_the_reason(
    oclear, demo, unbroken, tmp_path
):
    out = Path(shutil.copytree(unbroken[0], tmp_path / "out"))
    file = out / "checkpoints" / "last" / "progress.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format_version": 1}))

    refused(oclear(*command(demo, out), "--resume"), "checkpoint format 1, this program reads 2")


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does(demo, oclear, tmp_path):
    """Two processes, one of them killed on the way, then three that go on."""
    plain = [f"training.stages.{n}.dropout=0" for n in (0, 1)]
    alone = oclear(*command(demo, tmp_path / "alone", *plain)).json
    out = tmp_path / "out"

    def torchrun(count: int, *options: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "fp32.py"  # the processor's own half precision is off in these tests
        script.write_text(
            "import sys, oclear.model.precision as p\n"
            "p.has_fast_bf16 = lambda device_type: False\n"
            "from oclear import cli\n"
            "cli.main()\n"
        )
        program = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
        words = [*program, str(script), *command(demo, out, *plain, *options)]
        return ended(words, seconds=900)

    # Validation comes between two steps: there it stops as a user's mistake does.
    stopped = torchrun(2, "training.stages.1.heads_lr=.inf")
    assert stopped.returncode != 0
    assert stopped.stderr.count("error: ") == 1, stopped.stderr
    assert "the loss is nan" in stopped.stderr
    first = torchrun(2, "--overwrite")
    assert first.returncode == 0, first.stderr
    data = json.loads(first.stdout.splitlines()[-1])
    assert data["final_loss"] == pytest.approx(alone["final_loss"], rel=1e-3)
    assert len(first.stdout.splitlines()) == 1, "one process speaks"
    assert sorted(file.name for file in (out / "proxies").glob("*.safetensors")) == [
        "proxies-00001-of-00002.safetensors",
        "proxies-00002-of-00002.safetensors",
    ]
    again = torchrun(3, "--resume")
    assert json.loads(again.stdout.splitlines()[-1])["steps"] == alone["steps"]


def test_samples_without_photos_are_refused(oclear, demo, tmp_path):
    tables = ("--items", demo.shop, "--out", tmp_path / "categories")
    assert oclear("categorize", *tables, *SETTINGS[:3]).code == 0

    found = oclear(*command(demo, tmp_path / "out", categories=tmp_path / "categories"))

    refused(found, "no category ID has a query photo")
    assert not (tmp_path / "out").exists()


def test_training_leaves_arithmetic_as_it_was():
    """Flushed denormals are a setting of the whole thread, and once broke measures that came after."""
    with denormals_flushed():
        assert np.float32(1e-30) * np.float32(1e-10) == 0
    assert np.float32(1e-30) * np.float32(1e-10) != 0
