"""What a run is said to need, what is chosen by it, and what it really takes."""

import ctypes
import gc
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.processes import run_processes

from oclear.errors import ConfigError, InputError
from oclear.model import ImagePreprocessing, TwoTowerModel
from oclear.proxies import ProxyClassifier, ProxyConfig, RowAdagrad, RowMomentum
from oclear.proxies.memory import CPU_LIBRARIES
from oclear.training import StageConfig, TrainConfig
from oclear.training.embedder import Embedder
from oclear.training.embedder_memory import _blank, encoding_memory, model_memory
from oclear.training.memory import Estimate, _of_proxies, choose, estimate_memory
from oclear.training.optimizers import Optimizers
from oclear.training.room import process_memory, room_for_a_process

GB = 10**9


# The choice


def config(**settings: Any) -> TrainConfig:
    stages = [{"name": "one", "trains": "heads"}, {"name": "two", "trains": "proxies"}]
    return TrainConfig.model_validate({"stages": stages, **settings})


def names(settings: TrainConfig, model: TwoTowerModel, classes: int) -> list[str]:
    return [one.name for one in estimate_memory(settings, model, classes, 1)]


def test_few_classes_are_all_compared_with_many_are_not(make_model):
    few = names(config(), make_model(), 100_000)
    assert few == [
        "all classes in fp32",
        "nearest classes in fp32",
        "nearest classes in bf16",
        "random classes in bf16",
    ]
    assert names(config(), make_model(), 100_001) == few[1:]


def test_what_is_asked_for_is_kept_where_nothing_is_automatic(make_model):
    settings = config(automatic=False)
    assert names(settings, make_model(), 5_000_000) == ["all classes in fp32"]
    knn = config(proxies={"selection": {"kind": "knn"}, "precision": "bf16"})
    assert names(knn, make_model(), 10) == ["nearest classes in bf16", "random classes in bf16"]
    # AdamW goes with nothing else, so there is nothing to choose.
    stages = [{"name": "one", "proxies_optimizer": "adamw"}]
    for num_classes in (10, 200_000):
        assert names(config(stages=stages), make_model(), num_classes) == ["all classes in fp32"]


def test_a_stage_with_a_selection_of_its_own_gives_way_too(make_model):
    knn = {"kind": "knn", "neighbours": 5}
    stages = [{"name": "a", "selection": {"kind": "all"}}, {"name": "b", "selection": knn}]
    found = estimate_memory(config(stages=stages), make_model(), 200_000, 1)

    kinds = [[s.selection.kind for s in one.config.stages if s.selection] for one in found]
    assert kinds == [["knn", "knn"], ["knn", "knn"], ["uniform", "uniform"]]
    assert found[0].config.stages[1].selection.neighbours == 5


def estimates(*totals: float) -> list[Estimate]:
    return [
        Estimate(config(seed=n), f"choice {n}", "s", {"small": GB // 10, "large": int(total * GB)})
        for n, total in enumerate(totals)
    ]


def test_the_first_that_fits_is_taken_and_the_reason_is_one_line():
    taken, reason = choose(estimates(3, 2, 1), 4 * GB)
    assert (taken.seed, reason) == (0, "choice 0: 3.1 of 4.0 GB a process")

    taken, reason = choose(estimates(9, 5, 1), 4 * GB)
    assert taken.seed == 2
    assert reason == "choice 2: 1.1 of 4.0 GB a process; choice 0 would need 9.1 GB"


def test_a_tenth_of_the_room_is_left_free():
    taken, _ = choose(estimates(3.6, 1), 4 * GB)
    assert taken.seed == 1


@pytest.mark.parametrize(
    ("part", "hint"),
    [
        ("proxies: weight", "Take more ranks (torchrun), proxies.precision=bf16"),
        ("proxies: step", "Lower batch_size or selection.budget"),
        ("proxies: graph", "Take selection.kind=uniform"),
        ("activations", "Lower batch_size or model.image_size"),
    ],
)
def test_a_refusal_names_need_and_room_and_what_to_turn(part, hint):
    found = [Estimate(config(), "knn in bf16", "all", {part: 90 * GB, "process": GB})]

    with pytest.raises(InputError) as error:
        choose(found, 10 * GB)

    first, second = str(error.value).splitlines()
    assert first == (
        f"stage 'all' needs 91.0 GB a process and may have 9.0: knn in bf16; 90.0 GB of it for '{part}'"
    )
    assert second.startswith(hint)


def test_a_refusal_names_the_picture_size_of_the_stage_where_it_has_its_own():
    stages = [{"name": "heads"}, {"name": "small", "trains": "encoder", "image_size": 160}]
    found = [Estimate(config(stages=stages), "all", "small", {"activations": 90 * GB})]
    with pytest.raises(InputError, match=r"Lower batch_size or training\.stages\.1\.image_size,"):
        choose(found, 10 * GB)


def test_adamw_where_it_cannot_be_is_refused_by_name():
    stages = [{"name": "late", "proxies_optimizer": "adamw", "selection": {"kind": "knn"}}]
    with pytest.raises(ConfigError, match=r"stage 'late': proxies_optimizer adamw .* knn in fp32"):
        config(stages=stages).resolve(10)


# The estimate


def test_ranks_share_proxies_and_batch(make_model):
    settings = config(stages=[{"name": "one", "trains": "encoder", "batch_size": 64}])
    alone, *_ = estimate_memory(settings, make_model(), 90_000, 1)
    together, *_ = estimate_memory(settings, make_model(), 90_000, 3)

    assert together.parts["proxies: weight"] == pytest.approx(alone.parts["proxies: weight"] / 3)
    assert together.parts["activations"] == pytest.approx(alone.parts["activations"] / 3, rel=0.05)
    assert together.parts["model"] == alone.parts["model"]


@pytest.mark.parametrize("trains", ["proxies", "heads", "fusion", "encoder"])
def test_the_deeper_a_stage_learns_the_more_it_needs_and_the_model_stays_as_it_was(
    make_model, trains
):
    model = make_model(gate=0.7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.heads.shared.weight.requires_grad_(False)

    found = model_memory(model, StageConfig(name="s", trains=trains), 32)

    assert not model.heads.shared.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (found["model's optimizer"] == 0) == (trains == "proxies")
    if trains == "proxies":
        assert found["activations"] == 32 * 8 * 2, "fp16 embeddings"
    twice = model_memory(model, StageConfig(name="s", trains=trains), 64)
    assert twice["activations"] == pytest.approx(2 * found["activations"], rel=0.01)


def test_small_pictures_take_less_and_none_are_larger_than_the_models(make_model):
    model = make_model()
    model.preprocessing = ImagePreprocessing(size=64)

    def activations(size: int | None) -> int:
        stage = StageConfig(name="s", trains="encoder", image_size=size)
        return model_memory(model, stage, 8)["activations"]

    assert activations(32) < activations(64) == activations(None) == activations(128)


def test_there_is_room_and_this_process_has_some(make_model):
    room = room_for_a_process(torch.device("cpu"))
    assert 10**8 < process_memory(make_model()) < room < 10**14


def test_processes_of_one_machine_share_its_room(monkeypatch):
    alone = room_for_a_process(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert room_for_a_process(torch.device("cpu")) < 0.6 * alone


# Against what is really taken, in a process of its own


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


def peak(work: Callable[..., None], folder: Path, *arguments: Any) -> int:
    """Bytes by which a process grew at most while it did some work."""
    content = pickle.dumps(arguments)
    file = folder / "peak"
    run_processes(_measured, 1, folder, work, content, file)
    return int(file.read_text())


def _measured(_: int, work: Callable[..., None], content: bytes, file: Path) -> None:
    # What is freed goes back at once, so that the size tells what is held, and not what glibc kept for later.
    glibc = ctypes.CDLL(None)
    assert glibc.mallopt(_MMAP_THRESHOLD, 1 << 16) and glibc.mallopt(_TRIM_THRESHOLD, 0)
    arguments = pickle.loads(content)
    learn_proxies(100, 8, ProxyConfig(), "adamw", 4)  # what torch loads when it first learns
    gc.collect()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the largest size so far
    work(*arguments)
    file.write_text(str(_status("VmHWM") - before))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


# In lists: an exact graph would take longer than a test may.
KNN = {"kind": "knn", "exact_up_to": 0, "neighbours": 8, "refresh_share": 0.01}


def learn_proxies(classes: int, dim: int, settings: ProxyConfig, kind: str, batch: int) -> None:
    """Three steps, as :class:`oclear.training.learner.Learner` takes them."""
    proxies = ProxyClassifier(classes, dim, settings)
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW([proxies.weight], fused=True)
        if kind == "adamw"
        else (RowAdagrad if kind == "adagrad" else RowMomentum)([proxies.weight], lr=0.1)
    )
    for step in range(3):
        torch.manual_seed(step)
        embeddings = torch.randn(batch, dim, requires_grad=True)
        optimizer.zero_grad()
        loss = proxies(embeddings, torch.randint(classes, (batch, 1))).loss
        loss.backward()
        optimizer.step()
        proxies.advance()


@pytest.mark.parametrize(
    ("classes", "batch", "settings", "optimizer"),
    [
        (40_000, 64, {}, "adamw"),
        (20_000, 512, {}, "adamw"),
        (20_000, 512, {"precision": "bf16"}, "adagrad"),
        (80_000, 128, {"selection": KNN}, "adagrad"),
        (80_000, 128, {"selection": {"kind": "uniform", "rate": 0.05}}, "adagrad"),
        (80_000, 128, {"selection": KNN, "precision": "bf16"}, "momentum"),
    ],
)
def test_proxies_take_what_was_said(tmp_path, classes, batch, settings, optimizer):
    dim = 256
    chosen = ProxyConfig.model_validate(settings)

    stage = StageConfig(name="s", proxies_optimizer=optimizer, batch_size=batch)
    model = SimpleNamespace(config=SimpleNamespace(embedding_dim=dim), device=torch.device("cpu"))
    said = sum(_of_proxies(chosen, stage.resolve(chosen), model, classes, 1).values())

    taken = peak(learn_proxies, tmp_path, classes, dim, chosen, optimizer, batch)
    assert 0.8 * (said - CPU_LIBRARIES) < taken < 1.1 * said


def learn_pixels(model: TwoTowerModel, batch: int) -> None:
    """Two steps of the whole model."""
    proxies = ProxyClassifier(10, model.config.embedding_dim)
    stage = StageConfig(name="s", trains="encoder").resolve(ProxyConfig().resolve(10))
    optimizers = Optimizers(model, proxies, stage, seed=0)
    embedder = Embedder(model, None)
    for _ in range(2):
        inputs = _blank(model, None, model.preprocessing.size, batch // 2, batch // 2)
        embeddings = embedder(inputs, 0.1)
        loss = proxies(embeddings, torch.arange(batch) % 10).loss
        optimizers.zero_grad()
        loss.backward()
        optimizers.set_rates(0, 10)
        optimizers.step()


def test_the_model_takes_what_was_said(make_model, tmp_path):
    batch = 128
    model = make_model()
    # Not 224: oneDNN crashes on some processors in the backward pass of a 1 x 1 convolution of 8 channels at 56 x 56.
    model.preprocessing = ImagePreprocessing(size=160)
    found = model_memory(model, StageConfig(name="s", trains="encoder"), batch)

    said = found["model's optimizer"] + found["activations"]

    assert said > 10**8, "large enough to tell from noise"
    taken = peak(learn_pixels, tmp_path, model, batch)
    assert taken == pytest.approx(said, rel=0.25)


def encode_pixels(model: TwoTowerModel, batch: int) -> None:
    with torch.inference_mode():
        size = model.preprocessing.size
        model.image_features(torch.zeros(batch, 3, size, size, dtype=torch.uint8))


def test_encoding_takes_what_was_said(make_model, tmp_path):
    model = make_model()
    model.preprocessing = ImagePreprocessing(size=384)

    taken = peak(encode_pixels, tmp_path, model, 32)

    assert taken == pytest.approx(encoding_memory(model), rel=0.25)
