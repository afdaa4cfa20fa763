"""What a stage trains, and how fast."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from oclear.proxies import ProxyClassifier, ProxyConfig
from oclear.training import StageConfig
from oclear.training.optimizers import Optimizers, learning_parameters, rate_factor

LEARNS = {
    "proxies": set(),
    "heads": {"heads"},
    "fusion": {"heads", "fusion", "concept"},
    "encoder": {"heads", "fusion", "concept", "image_encoder"},
}


def stage(**settings: Any) -> StageConfig:
    return StageConfig(name="s", **settings).resolve(ProxyConfig().resolve(3))


@pytest.mark.parametrize("trains", list(LEARNS))
def test_the_depth_of_a_stage_decides_what_learns(make_model: Callable, trains):
    model = make_model()
    # What a stage before it left on must go off again.
    Optimizers(model, ProxyClassifier(3, 8), stage(trains="encoder"), seed=0)
    proxies = ProxyClassifier(3, 8)
    rates = {"encoder_lr": 1, "heads_lr": 2, "proxies_lr": 3, "weight_decay": 0.5}

    optimizers = Optimizers(model, proxies, stage(trains=trains, **rates), seed=0)

    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == LEARNS[trains]
    groups = [group for optimizer in optimizers._all for group in optimizer.param_groups]
    rates = {id(p): group["peak_lr"] for group in groups for p in group["params"]}
    decays = {id(p): group.get("weight_decay", 0) for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        part = name.split(".")[0]
        expected = (1 if part == "image_encoder" else 2) if part in LEARNS[trains] else None
        assert rates.get(id(parameter)) == expected
    assert rates[id(proxies.weight)] == 3
    assert decays[id(proxies.weight)] == 0, (
        "proxies are normalised: decay would do nothing but harm"
    )
    assert decays.get(id(model.heads.shared.weight), 0.5) == 0.5


def test_sides_that_may_not_come_apart_do_not_ask_for_gradients(make_model: Callable):
    model = make_model()
    assert len(learning_parameters(model, stage(trains="heads"))) == 5
    model.config = model.config.model_copy(update={"side_strength": 0.0})
    assert [name for name, _ in learning_parameters(model, stage(trains="heads"))] == [
        "heads.shared.weight"
    ]


def test_early_layers_learn_slower_and_the_first_ones_not_at_all(make_model: Callable):
    model = make_model()
    settings = {"encoder_lr": 1.0, "encoder_lr_decay": 0.25, "frozen_share": 0.5}

    optimizers = Optimizers(model, ProxyClassifier(3, 8), stage(trains="encoder", **settings), 0)

    groups = [group for optimizer in optimizers._all for group in optimizer.param_groups]
    rates = {id(p): group["peak_lr"] for group in groups for p in group["params"]}
    encoder = list(model.image_encoder.parameters())
    half = round(len(encoder) / 2)
    assert all(id(p) not in rates and not p.requires_grad for p in encoder[:half])
    found = [rates[id(p)] for p in encoder[half:]]
    assert found[0] == pytest.approx(0.25)
    assert found[-1] == 1.0
    ratios = {round(later / earlier, 6) for earlier, later in pairwise(found)}
    assert len(ratios) == 1, "geometric"
    optimizers.set_rates(50, 100)
    assert optimizers.rate == pytest.approx(rate_factor(50, 100, 0.1)), "of the last layer"


def test_the_last_layer_learns_at_the_whole_rate_however_much_is_frozen(make_model: Callable):
    model = make_model()
    settings = {"encoder_lr": 1.0, "encoder_lr_decay": 0.25, "frozen_share": 0.999}

    optimizers = Optimizers(model, ProxyClassifier(3, 8), stage(trains="encoder", **settings), 0)

    *frozen, last = model.image_encoder.parameters()
    assert not any(p.requires_grad for p in frozen)
    assert last.requires_grad
    first = optimizers._all[0].param_groups[0]
    assert (first["params"], first["peak_lr"]) == ([last], 1.0)


@pytest.mark.parametrize(
    ("selection", "precision", "expected"),
    [("all", "fp32", "adamw"), ("all", "bf16", "adagrad"), ("knn", "fp32", "adagrad")],
)
def test_the_optimizer_of_proxies_follows_from_what_a_step_compares_with(
    selection, precision, expected
):
    settings = {"selection": {"kind": selection}, "precision": precision}
    proxies = ProxyConfig.model_validate(settings).resolve(10)
    assert StageConfig(name="s").resolve(proxies).proxies_optimizer == expected
    assert StageConfig(name="s", proxies_optimizer="momentum").resolve(
        proxies
    ).proxies_optimizer == ("momentum")


@pytest.mark.parametrize("kind", ["adamw", "momentum", "adagrad"])
def test_what_was_saved_goes_on_as_if_it_had_not_stopped(make_model: Callable, kind):
    settings = stage(trains="heads", proxies_optimizer=kind, proxies_lr=0.1)

    def begin() -> tuple[Any, ProxyClassifier, Optimizers]:
        model, proxies = make_model(), ProxyClassifier(5, 8)
        return model, proxies, Optimizers(model, proxies, settings, seed=0)

    def step(model: Any, proxies: ProxyClassifier, optimizers: Optimizers, seed: int) -> None:
        optimizers.set_rates(seed, 10)
        optimizers.zero_grad()
        torch.manual_seed(seed)
        (model.heads(torch.randn(4, 16), "query").sum() + (proxies.weight**3).sum()).backward()
        optimizers.step()

    whole = begin()
    step(*whole, 1)
    saved = {n: getattr(t, "rows", t).clone() for n, t in whole[2].tensors().items()}
    cut = begin()
    for one, other in zip(whole[:2], cut[:2], strict=True):
        other.load_state_dict(one.state_dict())
    layouts = {name: (tensor.shape, tensor.dtype) for name, tensor in saved.items()}

    def read(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            getattr(tensor, "rows", tensor).copy_(saved[name])

    cut[2].restore(layouts, read)

    for run in (whole, cut):
        step(*run, 2)
    assert torch.equal(whole[1].weight, cut[1].weight)
    assert torch.equal(whole[0].heads.shared.weight, cut[0].heads.shared.weight)


def rates(total: int, warmup: float) -> list[float]:
    return [2.0 * rate_factor(step, total, warmup) for step in range(total)]


def test_rates_rise_in_a_line_and_fall_in_half_a_cosine():
    found = rates(100, 0.2)

    steps = torch.tensor(found[:20]).diff()
    torch.testing.assert_close(steps, steps[:1].expand(19))
    assert max(found) == found[20] == 2.0
    assert found[60] == pytest.approx(1.0)
    assert all(later < earlier for earlier, later in pairwise(found[20:]))
    assert 0 < found[-1] < 0.01


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
def test_short_stages_learn_too(total, warmup):
    assert all(0 < rate <= 2.0 for rate in rates(total, warmup))
