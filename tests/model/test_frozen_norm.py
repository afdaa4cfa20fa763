"""Folded batch norms: the same numbers, gradients and names as before, and ordinary norms in train mode."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    MobileNetV2Config,
    PretrainedConfig,
    RegNetConfig,
    ResNetConfig,
)

from oclear.model.frozen_norm import fold_frozen_norms

CONFIGS: dict[str, PretrainedConfig] = {
    "mobilenet_v2": MobileNetV2Config(depth_multiplier=0.25, tf_padding=False, hidden_act="relu6"),
    "mobilenet_v2_tf": MobileNetV2Config(depth_multiplier=0.25, tf_padding=True),
    "resnet": ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[2, 1], layer_type="bottleneck"
    ),
    "regnet": RegNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=4),
}


def with_statistics(network: nn.Module) -> nn.Module:
    """The network as after training: no norm is the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.1, 1.0)
    return network


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    # In double precision, where what differs is not the rounding.
    return with_statistics(AutoModel.from_config(CONFIGS[name])).double().eval()


def folded(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network)
    fold_frozen_norms(network)
    return network


def run(network: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The map of three pictures, and the gradients of a function of it by parameter."""
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    network.zero_grad()
    features: torch.Tensor = network(pixel_values=pixels).last_hidden_state
    direction = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    (features * direction).mean().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return features.detach(), gradients


def assert_same(one: nn.Module, other: nn.Module) -> None:
    (features, gradients), (expected, expected_gradients) = run(one), run(other)
    torch.testing.assert_close(features, expected)
    assert gradients.keys() == expected_gradients.keys() == dict(other.named_parameters()).keys()
    torch.testing.assert_close(gradients, expected_gradients)


def norm_passes(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many batch norms go over activations in one pass."""
    calls: list[object] = []
    original = nn.functional.batch_norm

    def count(*arguments: object, **options: object) -> torch.Tensor:
        calls.append(arguments)
        return original(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(nn.functional, "batch_norm", count)
        run(network)
    return len(calls)


@pytest.mark.parametrize("name", CONFIGS)
def test_output_gradients_and_names_are_as_before(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make(name)
    network = folded(plain)

    assert norm_passes(plain, monkeypatch) > 0
    assert norm_passes(network, monkeypatch) == 0
    assert_same(network, plain)
    assert list(network.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in network.named_modules()] == [n for n, _ in plain.named_modules()]


def test_a_copy_has_norms_of_its_own() -> None:
    network = folded(make("resnet"))
    before, _ = run(network)
    copied = copy.deepcopy(network)
    assert_same(copied, network)

    with_statistics(copied)

    assert not torch.allclose(run(copied)[0], before)
    torch.testing.assert_close(run(network)[0], before)


def test_in_train_mode_norms_are_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make("resnet").train()
    network = folded(plain)

    assert norm_passes(network, monkeypatch) == norm_passes(plain, monkeypatch) > 0
    assert_same(network, plain)
    assert_same(network.eval(), plain.eval())  # the statistics were updated alike


def test_folding_twice_is_folding_once() -> None:
    network = folded(make("resnet"))
    assert_same(folded(network), network)


@pytest.mark.parametrize(
    "build",
    [
        lambda conv: nn.Sequential(conv, nn.ReLU(), nn.BatchNorm2d(4)),
        lambda conv: nn.Sequential(conv, nn.BatchNorm2d(4, affine=False)),
        lambda conv: nn.Sequential(conv, nn.BatchNorm2d(4, track_running_stats=False)),
        lambda conv: nn.Sequential(conv, nn.BatchNorm2d(4), conv, nn.BatchNorm2d(4)),
    ],
    ids=["something between", "no scale", "statistics of the batch", "a convolution used twice"],
)
def test_other_norms_are_left_alone(build: Callable[[nn.Module], nn.Module]) -> None:
    network = build(nn.Conv2d(4, 4, 3)).eval()
    types = [type(module) for module in network.modules()]
    fold_frozen_norms(network)
    assert [type(module) for module in network.modules()] == types


def test_a_convolution_with_bias_and_other_padding() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)
    )
    with_statistics(plain).eval()
    pixels = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(folded(plain)(pixels), plain(pixels), rtol=1e-5, atol=1e-5)


def test_in_half_precision_the_norm_is_computed_in_full() -> None:
    network = folded(make("resnet").float())
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (norm,) = next(m.norm for m in network.modules() if hasattr(m, "norm"))
        assert {value.dtype for value in norm.as_scale_and_bias()} == {torch.float32}
        features = network(pixel_values=pixels).last_hidden_state
    with torch.no_grad():
        expected = network(pixel_values=pixels).last_hidden_state
    assert features.dtype is torch.bfloat16
    alike = torch.cosine_similarity(features.float().flatten(), expected.flatten(), dim=0)
    assert alike > 0.999


def shown(network: nn.Module, *, inference: bool = False) -> torch.Tensor:
    """What a network in use gives: without gradients."""
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode() if inference else torch.no_grad():
        features: torch.Tensor = network(pixel_values=pixels).last_hidden_state
    return features.clone()


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "a step": lambda network: torch.optim.SGD(network.parameters(), lr=0.5).step(),
    "loaded": lambda network: network.load_state_dict(
        with_statistics(copy.deepcopy(network)).state_dict()
    ),
    "statistics": lambda network: [b.add_(0.3) for b in network.buffers() if b.dim()],
    "rounded": lambda network: network.bfloat16().double(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("inference", [False, True])
def test_what_is_kept_without_gradients_follows_every_change(change: str, inference: bool) -> None:
    plain = make("resnet")
    network = folded(plain)
    torch.testing.assert_close(shown(network, inference=inference), shown(plain))
    for parameter in [*plain.parameters(), *network.parameters()]:
        parameter.grad = torch.full_like(parameter, 0.1)
    with torch.no_grad():
        for one in (plain, network):
            torch.manual_seed(5)
            CHANGES[change](one)
    before = shown(make("resnet"))

    torch.testing.assert_close(shown(network, inference=inference), shown(plain))
    assert not torch.allclose(shown(network), before), "else nothing was changed"


def test_a_network_in_use_folds_once_and_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    network = folded(make("resnet"))
    expected = shown(network, inference=True)
    copied = copy.deepcopy(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    calls: list[object] = []
    monkeypatch.setattr(type(norms[0]), "as_scale_and_bias", lambda self: calls.append(self))

    assert torch.equal(shown(network), expected)
    assert not calls
    monkeypatch.undo()
    assert all(getattr(module, "_folded", None) is None for module in copied.modules())
    assert torch.equal(shown(copied), expected)


def test_a_network_that_was_made_in_inference_mode_works_there() -> None:
    with torch.inference_mode():
        network = folded(make("resnet"))
    torch.testing.assert_close(shown(network, inference=True), shown(make("resnet")))
