"""The loop: it learns, it freezes what it should, it chooses the best, it goes on after a kill."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from oclear.errors import InputError, OclearError
from oclear.model import TwoTowerModel
from oclear.proxies import ProxyClassifier
from oclear.training import StageConfig, Trainer
from oclear.training.checkpoint import Checkpoints
from oclear.training.learner import Learner

Stage = dict[str, Any]
CURRICULUM: list[Stage] = [
    {"name": "medium", "trains": "encoder", "samples": "medium", "document_share": 0.25},
    {"name": "proxies", "trains": "proxies", "proxies_start": "class_means"},
    {"name": "finetune", "trains": "encoder", "document_share": 0.25},
]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def lines(trainer: Trainer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trainer.metrics.path.read_text().splitlines()]


def assert_equal_state(one: torch.nn.Module, other: torch.nn.Module) -> None:
    expected = other.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, expected[name]), name


def changed_parts(before: dict[str, torch.Tensor], model: TwoTowerModel) -> set[str]:
    after = model.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


# Learning


@pytest.mark.parametrize("trains", ["heads", "fusion", "encoder"])
def test_the_loss_falls_and_validation_rises(make_trainer, trains):
    epochs = 15 if trains == "encoder" else 30
    stage = {"trains": trains, "heads_lr": 1e-2, "proxies_start": "class_means", "margin_ramp": 0}
    trainer = make_trainer([{**stage, "epochs": epochs}])

    result = trainer.run()

    losses = [line["loss"] for line in lines(trainer) if "loss" in line]
    scores = [
        x for line in lines(trainer) if (x := line.get("validation_identical_at_1")) is not None
    ]
    assert losses[-1] < 0.6 * losses[0]
    assert result.final_loss == losses[-1]
    assert scores[0] <= 0.5
    assert result.best_score == max(scores) >= scores[0] + 0.25


@pytest.mark.parametrize(
    ("trains", "parts"),
    [
        ("proxies", set()),
        ("heads", {"heads"}),
        ("fusion", {"heads", "fusion", "concept"}),
        ("encoder", {"heads", "fusion", "concept", "image_encoder"}),
    ],
)
def test_what_is_frozen_stays_equal_to_the_bit(make_trainer, make_model, weights, trains, parts):
    model = make_model(gate=0.7)
    before = weights(model)
    trainer = make_trainer(
        [{"trains": trains, "epochs": 1}], model=model, new_heads=False, validation=None
    )
    proxies = weights(trainer.proxies)["weight"]

    result = trainer.run()

    assert changed_parts(before, model) == parts
    assert not torch.equal(trainer.proxies.weight, proxies)
    assert result.best_score is None
    assert np.isfinite(result.final_loss)


def test_three_stages_in_one_curriculum(make_trainer, make_model, weights, monkeypatch):
    model = make_model(gate=0.7)
    states = {"": weights(model)}
    run_stage = Trainer._run_stage

    def remember(self: Trainer, stage: Any, saved: Any) -> None:
        run_stage(self, stage, saved)
        states[stage.name] = weights(self.model)
        states[f"{stage.name} proxies"] = weights(self.proxies)

    monkeypatch.setattr(Trainer, "_run_stage", remember)
    trainer = make_trainer(CURRICULUM, model=model, medium_share=0.5)

    result = trainer.run()

    def changed(before: str, after: str) -> set[str]:
        one, other = states[before], states[after]
        return {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])}

    everything = {"image_encoder", "heads", "fusion", "concept"}
    assert changed("", "medium") == everything
    assert changed("medium", "proxies") == set()
    assert changed("proxies", "finetune") == everything
    assert changed("medium proxies", "proxies proxies") == {"weight"}
    assert [line["stage"] for line in lines(trainer) if line.get("step") == 1] == [
        "medium",
        "proxies",
        "finetune",
    ]
    assert (
        result.steps == trainer.progress.total_step == max(x["total_step"] for x in lines(trainer))
    )
    assert result.best_stage in ("start", "medium", "proxies", "finetune")


def test_the_medium_stage_learns_from_the_purest_ids_only(make_trainer, monkeypatch):
    trainer = make_trainer([CURRICULUM[0]], medium_share=0.5, validation=None)
    seen: set[int] = set()
    step = Learner.train_step

    def watch(self: Learner, done: int, all_done: int, rows: Any, inputs: Any) -> float:
        samples = self.data.samples
        seen.update(samples.category_ids[samples.labels[rows, 0]].tolist())
        return step(self, done, all_done, rows, inputs)

    monkeypatch.setattr(Learner, "train_step", watch)
    trainer.run()
    # Of the seven IDs with photos four are taken; 100 is the purest and has no photo.
    assert seen == {93, 86, 79, 72}


def test_a_stage_ends_at_its_step_limit(make_trainer):
    assert make_trainer([{"epochs": 50, "max_steps": 3}], validation=None).run().steps == 3


def test_heads_start_from_the_training_pictures_once(make_trainer, monkeypatch):
    starts = []
    heads = type(make_trainer([{}]).model.heads)
    fit = heads.fit_start

    def count(self: Any, *features: torch.Tensor) -> None:
        starts.append([len(part) for part in features])
        fit(self, *features)

    monkeypatch.setattr(heads, "fit_start", count)
    make_trainer([{"epochs": 1}, {"epochs": 1, "trains": "encoder"}], "new").run()
    assert starts == [[48, 8]], "all training photos and documents, at the start of the first stage"
    make_trainer([{"epochs": 1}], "old", new_heads=False).run()
    assert len(starts) == 1


def test_embeddings_cached_for_frozen_heads_are_of_the_started_heads(make_trainer):
    trainer = make_trainer([{"trains": "proxies", "epochs": 1, "proxies_start": "class_means"}])
    trainer.run()

    data = trainer.opener.open(trainer.config.stages[0], 0)
    rows = np.flatnonzero(~data.samples.is_document)[:5]
    pictures = [trainer.data.queries.load(int(row)) for row in data.samples.picture[rows]]
    live = trainer.model.encode_query(pictures)
    cached = data.source.samples(rows).queries.float()
    torch.testing.assert_close(cached, live, atol=4e-3, rtol=0)


# The best checkpoint


def test_the_best_weights_remain(make_trainer, weights, monkeypatch):
    scores = iter([0.1, 0.4, 0.9, 0.3, 0.2])
    monkeypatch.setattr(
        "oclear.training.ValidationSet.identical_at_1", lambda *_, **__: next(scores)
    )
    best: dict[str, dict[str, torch.Tensor]] = {}
    save = Checkpoints.save_best

    def remember(self: Checkpoints, progress: Any, tensors: Any) -> None:
        best.update(model=weights(trainer.model), proxies=weights(trainer.proxies))
        save(self, progress, tensors)

    monkeypatch.setattr(Checkpoints, "save_best", remember)
    trainer = make_trainer([{"name": "one"}, {"name": "two"}])

    result = trainer.run()

    assert (result.best_score, result.best_stage) == (0.9, "one")
    for name, value in best["model"].items():
        assert torch.equal(trainer.model.state_dict()[name], value), name
    assert torch.equal(trainer.proxies.weight, best["proxies"]["weight"])
    last = torch.zeros_like(trainer.proxies.weight)
    trainer.checkpoints.last().read({"proxies/weight": last})
    assert not torch.equal(last, best["proxies"]["weight"])


def test_a_training_that_only_harms_gives_the_start_back(make_trainer, monkeypatch):
    scores = iter([0.5, 0.4, 0.5])  # an equal score is no better
    monkeypatch.setattr(
        "oclear.training.ValidationSet.identical_at_1", lambda *_, **__: next(scores)
    )
    trainer = make_trainer([{"trains": "encoder"}])

    result = trainer.run()

    assert (result.best_score, result.best_stage) == (0.5, "start")
    fresh = make_trainer([{"trains": "encoder"}], "fresh")
    assert torch.equal(
        next(trainer.model.image_encoder.parameters()), next(fresh.model.image_encoder.parameters())
    )


# What goes wrong


def test_a_loss_that_is_not_finite_names_step_and_stage(make_trainer, monkeypatch):
    forward, calls = ProxyClassifier.forward, []

    def broken(self: ProxyClassifier, *args: Any, **options: Any) -> Any:
        output = forward(self, *args, **options)
        calls.append(None)
        if len(calls) == 4:
            output.loss.data.fill_(float("nan"))
            output.sample_losses[2] = float("inf")
        return output

    monkeypatch.setattr(ProxyClassifier, "forward", broken)
    trainer = make_trainer([{"name": "warm", "max_steps": 2}, {"name": "hot"}])

    with pytest.raises(OclearError) as error:
        trainer.run()
    data = trainer.opener.open(trainer.config.stages[1], 1)
    row = int(data.sampler.draw(1)[2])
    name = f"query {data.queries.keys[data.samples.picture[row]]}/0"
    assert f"the loss is nan at step 1 of stage 'hot' (1 of 14 samples; {name})" in str(error.value)
    assert len(str(error.value).splitlines()) == 2
    assert all(np.isfinite(line["loss"]) for line in lines(trainer) if "loss" in line)
    assert lines(trainer)[-1]["not_finite"] == [name]
    assert trainer.checkpoints.last().progress.stage == 1, "the last checkpoint is kept"


def test_unreadable_pictures_are_left_out_and_listed(make_trainer, world, monkeypatch):
    queries = world.with_broken("blue-1")
    drawn: set[int] = set()
    step = Learner.train_step

    def watch(self: Learner, done: int, all_done: int, rows: Any, inputs: Any) -> float:
        samples = self.data.samples
        drawn.update(samples.picture[rows][~samples.is_document[rows]].tolist())
        return step(self, done, all_done, rows, inputs)

    monkeypatch.setattr(Learner, "train_step", watch)
    stages = [{"epochs": 6}, {"trains": "encoder", "epochs": 6}]
    trainer = make_trainer(stages, data=world.data(queries=queries))

    trainer.run()

    assert [row["key"] for row in trainer.opener.skipped.table().to_pylist()] == ["blue-1"]
    assert (trainer.folder / "skipped.parquet").is_file()
    bad = trainer.data.queries.keys.tolist().index("blue-1")
    assert bad not in drawn
    assert len(drawn) > 30


@pytest.mark.parametrize("trains", ["fusion", "encoder"])
def test_too_many_unreadable_pictures_stop_the_run(make_trainer, world, trains):
    queries = world.with_broken("blue-1", "blue-2", "cyan-3", "cyan-4")
    data = world.data(queries=queries)

    with pytest.raises(InputError, match="4 of 56 pictures cannot be used"):
        make_trainer([{"trains": trains}], data=data).run()
    make_trainer([{"trains": trains}], "again", data=data, max_bad_images=0.1).run()


# Going on after a kill


RESUMED: list[Stage] = [
    {"name": "heads", "trains": "fusion", "proxies_start": "class_means", "dropout": 0.3},
    {
        "name": "fine",
        "trains": "encoder",
        "document_share": 0.25,
        "dropout": 0.3,
        "encoder_lr_decay": 0.3,
        "frozen_share": 0.2,
        "alignment": 0.5,
        "averaging": 0.9,
        "augmentation": {"background": 0.5, "erase": 0.5, "shrink": 0.5},
    },
]


NEAREST = {
    "kind": "knn",
    "budget": 4,
    "neighbours": 2,
    "uniform_share": 0.3,
    "exact_up_to": 0,
    "refresh_share": 0.5,
}
GRAPHS: list[Stage] = [
    {"name": "a", "trains": "heads", "proxies_start": "class_means", "selection": NEAREST},
    {"name": "b", "trains": "heads", "selection": {**NEAREST, "budget": 3}},
    {"name": "c", "trains": "heads", "selection": {**NEAREST, "exact_up_to": None}},
]
"""The second stage goes on with the graph of the first, the third has its own."""


@pytest.fixture(scope="module")
def unbroken_with_graphs() -> dict[str, Any]:
    """Filled by the first test that asks: a trainer after a run that nobody killed, and the graphs it made."""
    return {}


def unbroken_run_with_graphs(
    kept: dict[str, Any], make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> Trainer:
    if not kept:
        graphs: list[Any] = []
        made = ProxyClassifier.make_graph
        with monkeypatch.context() as patch:
            patch.setattr(
                ProxyClassifier, "make_graph", lambda self: graphs.append(made(self)) or graphs[-1]
            )
            trainer = make_trainer(GRAPHS, "unbroken", checkpoint_minutes=60.0)
            trainer.run()
        kept.update(trainer=trainer, metrics=trainer.metrics.path.read_text(), graphs=len(graphs))
    return kept["trainer"]


def test_a_stage_takes_the_graph_of_the_one_before(make_trainer, unbroken_with_graphs, monkeypatch):
    unbroken_run_with_graphs(unbroken_with_graphs, make_trainer, monkeypatch)
    assert unbroken_with_graphs["graphs"] == 2, "the second stage makes none"


@pytest.mark.parametrize("minutes", [0.0, 60.0], ids=["checkpoint each step", "each stage"])
@pytest.mark.parametrize(
    ("target", "name", "nth", "after"),
    [
        (Trainer, "_run_stage", 1, True),
        (Trainer, "_run_stage", 2, False),
        (Trainer, "_train_step", 6, True),
        (Trainer, "_run_stage", 2, True),
        (ProxyClassifier, "set_selection", 2, True),
    ],
)
def test_a_killed_run_with_graphs_ends_like_the_unbroken_one(
    make_trainer, unbroken_with_graphs, monkeypatch, minutes, target, name, nth, after
):
    expected = unbroken_run_with_graphs(unbroken_with_graphs, make_trainer, monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, target, name, nth, after=after)
        make_trainer(GRAPHS, checkpoint_minutes=minutes).run()
    again = make_trainer(GRAPHS, checkpoint_minutes=minutes)
    again.run()

    assert_equal_state(again.model, expected.model)
    assert_equal_state(again.proxies, expected.proxies)
    assert again.metrics.path.read_text() == unbroken_with_graphs["metrics"]
    found, wanted = again.proxies.export_state(), expected.proxies.export_state()
    assert found.plain == wanted.plain
    for part, other in ((found.rows, wanted.rows), (found.rank, wanted.rank)):
        assert part.keys() == other.keys()
        assert all(torch.equal(part[key], other[key]) for key in part)


def test_a_stage_is_not_called_like_what_comes_after_the_last():
    with pytest.raises(ValidationError, match="after the last stage"):
        StageConfig(name="end")


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Any]:
    """Filled by the first test that asks: result, metrics and weights of a run that nobody killed."""
    return {}


def unbroken_run(kept: dict[str, Any], make_trainer: Callable[..., Trainer]) -> dict[str, Any]:
    if not kept:
        trainer = make_trainer(RESUMED, "unbroken")
        kept.update(result=trainer.run(), metrics=trainer.metrics.path.read_text(), trainer=trainer)
    return kept


def kill_at(
    monkeypatch: pytest.MonkeyPatch, target: Any, name: str, nth: int, *, after: bool
) -> None:
    """The nth call of a method ends the process, before or after its work."""
    method, calls = getattr(target, name), []

    def killing(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == nth and not after:
            raise Killed
        found = method(self, *args, **options)
        if len(calls) == nth:
            raise Killed
        return found

    monkeypatch.setattr(target, name, killing)


@pytest.mark.parametrize("minutes", [0.0, 60.0], ids=["checkpoint each step", "each stage"])
@pytest.mark.parametrize(
    ("target", "name", "nth", "after"),
    [
        (Trainer, "_start_proxies", 1, False),
        (Trainer, "_train_step", 1, True),
        (Trainer, "_train_step", 4, False),
        (Trainer, "_train_step", 5, True),
        (Trainer, "_validate", 2, True),
        (Checkpoints, "save_best", 2, True),
        (Trainer, "_run_stage", 1, True),
        (Trainer, "_run_stage", 2, False),
        (Trainer, "_train_step", 12, True),
        (Trainer, "_run_stage", 2, True),
    ],
)
def test_a_killed_run_ends_like_the_unbroken_one(
    make_trainer, unbroken, monkeypatch, minutes, target, name, nth, after
):
    expected = unbroken_run(unbroken, make_trainer)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, target, name, nth, after=after)
        make_trainer(RESUMED, checkpoint_minutes=minutes).run()

    again = make_trainer(RESUMED, checkpoint_minutes=minutes)
    result = again.run()

    assert result == expected["result"]
    assert_equal_state(again.model, expected["trainer"].model)
    assert_equal_state(again.proxies, expected["trainer"].proxies)
    assert again.metrics.path.read_text() == expected["metrics"], "no line lost, none doubled"


def test_a_run_killed_again_and_again_ends_alike(make_trainer, unbroken, monkeypatch):
    expected = unbroken_run(unbroken, make_trainer)
    for _ in range(6):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, Trainer, "_train_step", 2, after=True)
            kill_at(patch, Checkpoints, "save_last", 2, after=True)
            make_trainer(RESUMED, checkpoint_minutes=0).run()

    again = make_trainer(RESUMED, checkpoint_minutes=0)
    assert again.run() == expected["result"]
    assert_equal_state(again.model, expected["trainer"].model)
    assert again.metrics.path.read_text() == expected["metrics"]


def test_a_save_that_took_long_is_waited_for(make_trainer, monkeypatch):
    """Ten times as long as it took, however often saves are asked for."""
    now = 1000.0
    monkeypatch.setattr("oclear.training.trainer.time.monotonic", lambda: now)

    def slow(*_: Any) -> None:
        nonlocal now
        now += 30

    monkeypatch.setattr(Checkpoints, "save_last", slow)
    trainer = make_trainer(RESUMED, checkpoint_minutes=1)
    assert not trainer._is_time_to_save(now - 59)
    assert trainer._is_time_to_save(now - 61)

    trainer._save(None)

    assert not trainer._is_time_to_save(now - 299)
    assert trainer._is_time_to_save(now - 301)
    trainer = make_trainer(RESUMED, checkpoint_minutes=0)
    trainer._save(None)
    assert trainer._is_time_to_save(now - 1), "every step is every step"


def test_the_average_of_weights_outlives_a_kill(make_trainer, monkeypatch):
    """Without validation the model that is kept is the average itself."""
    unbroken = make_trainer(RESUMED, "unbroken", validation=False)
    unbroken.run()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, Trainer, "_train_step", 12, after=True)
        make_trainer(RESUMED, validation=False, checkpoint_minutes=0).run()

    again = make_trainer(RESUMED, validation=False, checkpoint_minutes=0)
    again.run()
    assert_equal_state(again.model, unbroken.model)


def test_a_finished_run_gives_its_result_again(make_trainer, unbroken):
    expected = unbroken_run(unbroken, make_trainer)
    make_trainer(RESUMED).run()

    again = make_trainer(RESUMED)
    assert again.run() == expected["result"]
    assert_equal_state(again.model, expected["trainer"].model)
    assert again.metrics.path.read_text() == expected["metrics"]


def test_skipped_pictures_are_known_after_a_kill_in_a_later_stage(make_trainer, world, monkeypatch):
    data = world.data(queries=world.with_broken("blue-1"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, Trainer, "_run_stage", 2, after=False)
        make_trainer(RESUMED, data=data).run()

    again = make_trainer(RESUMED, data=data)
    again.run()
    assert [row["key"] for row in again.opener.skipped.table().to_pylist()] == ["blue-1"]


def test_going_on_with_other_samples_is_refused(make_trainer, world):
    make_trainer([{"max_steps": 2}]).run()
    data = world.data()
    keep = np.ones(len(data.samples), bool)
    keep[0] = False
    other = type(data)(data.samples.select(keep), data.queries, data.documents, data.texts)

    with pytest.raises(InputError, match="began with other samples"):
        make_trainer([{"max_steps": 2}], data=other).run()


def test_nothing_half_written_is_left_beside_the_output(make_trainer):
    trainer = make_trainer(RESUMED, checkpoint_minutes=0)
    trainer.run()

    def names(folder: Path) -> set[str]:
        return {path.name for path in folder.iterdir()}

    assert names(trainer.folder) == {
        "checkpoints",
        "features",
        "metrics.jsonl",
        "readable.npz",
        "skipped.parquet",
    }
    assert names(trainer.folder / "checkpoints") == {"last", "best"}
