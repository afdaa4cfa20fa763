"""Depthwise convolutions against PyTorch's own, in double precision, where what differs is not the rounding."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oclear.model.depthwise import (
    FastConv2d,
    depthwise_conv2d,
    has_fast_gradients,
    use_fast_depthwise,
)


def results(compute, *leaves: torch.Tensor) -> list[torch.Tensor]:
    """The output and the gradients of a function of it."""
    output = compute()
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    return [output, *torch.autograd.grad((output * direction.to(output)).sum(), leaves)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("height", "width", "kernel", "stride", "padding"),
    [
        (8, 9, 3, 1, 1),
        (9, 8, 3, 2, 1),
        (9, 9, 3, 2, 0),
        (9, 10, 5, 1, 2),
        (10, 11, 5, 2, 2),
        (11, 10, 5, 2, 0),
        (9, 8, 5, 3, 1),
        (9, 9, 7, 1, 3),
        (8, 7, 2, 2, 0),
        (5, 6, 4, 1, 3),
        (1, 1, 3, 1, 1),
        (2, 2, 7, 1, 3),
        (1, 1, 7, 1, 3),
    ],
)
def test_values_and_gradients_are_those_of_pytorch(height, width, kernel, stride, padding, dtype):
    torch.manual_seed(0)
    features = torch.randn(3, 4, height, width, dtype=dtype, requires_grad=True)
    weight = torch.randn(4, 1, kernel, kernel, dtype=dtype, requires_grad=True)
    bias = torch.randn(4, dtype=dtype, requires_grad=True)
    leaves = (features, weight, bias)

    ours = results(lambda: depthwise_conv2d(*leaves, stride, padding), *leaves)
    expected = results(lambda: F.conv2d(*leaves, stride, padding, groups=4), *leaves)

    for found, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_without_bias_and_in_bf16_gradients_keep_the_precision_of_their_parameters():
    torch.manual_seed(0)
    features = torch.randn(2, 4, 8, 8, requires_grad=True)
    weight = torch.randn(4, 1, 5, 5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        ours = results(
            lambda: depthwise_conv2d(features, weight, stride=2, padding=2), features, weight
        )
    exact = results(
        lambda: F.conv2d(features, weight, stride=2, padding=2, groups=4), features, weight
    )

    assert [found.dtype for found in ours] == [torch.bfloat16, torch.float32, torch.float32]
    for found, wanted in zip(ours, exact, strict=True):
        error = (found.float() - wanted).norm() / wanted.norm()
        assert error < 0.02


def test_a_network_gets_them_and_keeps_its_parameters():
    network = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2, groups=4), nn.Conv2d(4, 8, 1))
    before = dict(network.named_parameters())
    use_fast_depthwise(network)

    assert [type(module) for module in network] == [FastConv2d, nn.Conv2d]
    assert all(before[name] is parameter for name, parameter in network.named_parameters())
    output = network(torch.randn(1, 4, 6, 6))
    assert "_DepthwiseConv2d" in str(output.grad_fn.next_functions[0][0])


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("in_bf16", [False, True])
def test_small_kernels_in_fp32_are_left_to_pytorch(kernel, in_bf16):
    convolution = nn.Conv2d(4, 4, kernel, groups=4)
    use_fast_depthwise(convolution)
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
        output = convolution(torch.randn(1, 4, 6, 6))
    assert ("_DepthwiseConv2d" in str(output.grad_fn)) == (kernel > 3 or in_bf16)


def test_without_gradients_it_is_the_plain_convolution():
    convolution = nn.Conv2d(4, 4, 3, groups=4)
    use_fast_depthwise(convolution)
    with torch.no_grad():
        assert torch.equal(
            convolution(features := torch.randn(1, 4, 6, 6)),
            F.conv2d(features, convolution.weight, convolution.bias, groups=4),
        )


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 1},
        {"groups": 2},
        {"groups": 4, "dilation": 2},
        {"groups": 4, "padding": "same"},
        {"groups": 4, "padding": (1, 0)},
        {"groups": 4, "padding": 3},
        {"groups": 4, "stride": (1, 2)},
        {"groups": 4, "padding": 1, "padding_mode": "reflect"},
        {"groups": 4, "out_channels": 8},
    ],
)
def test_what_it_does_not_know_stays_as_it_is(options):
    given = {"in_channels": 4, "out_channels": 4, "kernel_size": 3}
    convolution = nn.Conv2d(**(given | options))
    use_fast_depthwise(convolution)
    assert type(convolution) is nn.Conv2d
    assert not has_fast_gradients(convolution)
