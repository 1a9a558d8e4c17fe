"""The convolution's own weight gradient, against torch's in double precision."""

import pytest
import torch
from torch import Tensor, nn

from rayox_model.nets import convolution
from rayox_model.nets.convolution import Convolution, weight_gradient
from rayox_model.nets.yolox import YOLOX


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 8), (11, 7), (12, 16)])
def test_the_weight_gradient_is_torchs(kernel_size, stride, size):
    torch.manual_seed(0)
    features = torch.randn(3, 5, *size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 5, kernel_size, kernel_size, dtype=torch.float64, requires_grad=True)
    padding = kernel_size // 2
    out = torch.conv2d(features, weight, None, stride, padding)
    outer = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, weight, outer)
    torch.testing.assert_close(weight_gradient(features, outer, kernel_size, stride, padding), expected)


def test_the_weight_gradient_is_the_same_again_to_the_bit_wherever_it_lies():
    torch.manual_seed(0)
    features = torch.randn(3, 64, 21, 20).contiguous(memory_format=torch.channels_last)
    outer = torch.randn(3, 48, 11, 10).contiguous(memory_format=torch.channels_last)
    first, held = weight_gradient(features, outer, 3, 2, 1), []
    for floats in range(1, 40, 3):
        held.append(torch.empty(floats))
        assert torch.equal(weight_gradient(features.clone(), outer.clone(), 3, 2, 1), first)


@pytest.fixture
def own_gradients(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the inputs whose convolution took the own gradient, as with AVX2."""
    monkeypatch.setattr(convolution, "ON_AVX2", True)
    seen = []

    def counted(features: Tensor, *rest: object) -> Tensor:
        seen.append(tuple(features.shape))
        return weight_gradient(features, *rest)

    monkeypatch.setattr(convolution, "weight_gradient", counted)
    return seen


def _gradients(layer: nn.Conv2d, features: Tensor) -> list[Tensor | None]:
    layer.zero_grad()
    features.grad = None
    out = layer(features)
    out.backward(torch.linspace(-1, 1, out.numel()).view_as(out).to(out.dtype))
    return [out.detach().float(), features.grad, layer.weight.grad]


def _layers(stride: int = 1, groups: int = 1) -> tuple[Convolution, nn.Conv2d]:
    own = Convolution(32, 64, 3, stride, groups).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(32, 64, 3, stride, 1, groups=groups, bias=False).to(memory_format=torch.channels_last)
    plain.load_state_dict(own.state_dict())
    return own, plain


def _features() -> Tensor:
    return torch.randn(2, 32, 10, 14).contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_layer_computes_what_conv2d_does(own_gradients, stride):
    own, plain = _layers(stride)
    features = _features()
    out, of_features, of_weight = _gradients(own, features)
    assert own_gradients == [(2, 32, 10, 14)]
    expected_out, expected_of_features, expected_of_weight = _gradients(plain, features)
    assert torch.equal(out, expected_out)
    assert torch.equal(of_features, expected_of_features)
    torch.testing.assert_close(of_weight, expected_of_weight, rtol=1e-5, atol=1e-5)
    assert of_weight.stride() == own.weight.stride()  # taken over by the optimiser without a copy


def test_elsewhere_a_layer_is_conv2d(own_gradients, monkeypatch):
    own, plain = _layers()
    features = _features()
    with torch.autocast("cpu", torch.bfloat16):
        low = [_gradients(layer, features) for layer in (own, plain)]
    rows = features.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    by_rows = [_gradients(layer, rows) for layer in (own, plain)]
    grouped = [_gradients(layer, features) for layer in _layers(groups=32)]
    with torch.no_grad():
        evaluated = [[layer(features)] for layer in (own, plain)]
    monkeypatch.setattr(convolution, "ON_AVX2", False)
    other = [_gradients(layer, features) for layer in (own, plain)]
    monkeypatch.setattr(convolution, "ON_AVX2", True)
    own.requires_grad_(False)
    plain.requires_grad_(False)
    frozen = [_gradients(layer, features)[:2] for layer in (own, plain)]
    assert own_gradients == []
    for ours, torchs in (low, by_rows, grouped, evaluated, other, frozen):
        assert all(map(torch.equal, ours, torchs))


def test_a_network_uses_it_where_kernels_are_large(own_gradients):
    """And an input that needs no gradient, the stem's, is none the worse."""
    model = YOLOX("tiny", 3).to(memory_format=torch.channels_last).train()
    images = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    sum(part.sum() for part in model(images)).backward()
    kernels = [layer for layer in model.modules() if isinstance(layer, Convolution) and layer.kernel_size == (3, 3)]
    narrow = [layer for layer in kernels if layer.out_channels < 32 or layer.in_channels * 3 < 32]
    assert len(own_gradients) == len(kernels) - len(narrow)
    assert 0 < len(narrow) < len(kernels)
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())
