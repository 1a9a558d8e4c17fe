"""Batch normalisation over all workers of a step (arXiv:1502.03167, Alg. 1, with the workers' shares as one batch).

torch.nn.SyncBatchNorm does it on GPUs and refuses CPUs; the class here does it over any backend. B images, C channels,
H and W the height and width of a feature map, M values of a channel in this worker's share, N in all shares together.
"""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


def synchronise(model: nn.Module, device_type: str) -> None:
    """Replace every BatchNorm2d below model by one that takes its statistics over all workers.

    Parameters, buffers and keys stay. device_type is where it will be trained: "cuda" gets torch's own. Without a
    process group, with one worker, and in evaluation the replacement is a plain BatchNorm2d.
    """
    kind = nn.SyncBatchNorm if device_type == "cuda" else SynchronisedBatchNorm
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d) and not isinstance(child, SynchronisedBatchNorm):
            setattr(model, name, _with_weights_of(child, kind))
        else:
            synchronise(child, device_type)


def _with_weights_of(
    norm: nn.BatchNorm2d, kind: type[nn.SyncBatchNorm | nn.BatchNorm2d]
) -> nn.SyncBatchNorm | nn.BatchNorm2d:
    twin = kind(norm.num_features, norm.eps, norm.momentum)
    twin.weight, twin.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers():
        setattr(twin, name, buffer)
    return twin.train(norm.training)


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics are those of all workers' shares, which may be of different sizes.

    Every worker has to call it as often as every other one.
    """

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(features)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        mean, variance, count = _statistics(features.detach())
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        inverse = (variance + self.eps).rsqrt()
        out: Tensor = _Normalise.apply(features, self.weight, self.bias, mean, inverse, count)
        return out


def _statistics(
    features: Float[Tensor, "B C H W"],
) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"], Float[Tensor, ""]]:
    """Mean, biased variance and N over all workers, put together from each one's own (Chan et al. 1979), in fp32.

    Not from sums of squares, whose difference would lose most of its digits where the mean is far from 0.
    """
    variance, mean = torch.var_mean(_exact(features), dim=(0, 2, 3), correction=0)  # [C], [C]
    own_count = mean.new_tensor([features.numel() / len(mean)])
    own = torch.cat((mean, variance, own_count))
    shares = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(shares, own)
    table = torch.stack(shares)  # [W, 2C + 1]
    means, variances, counts = table[:, : len(mean)], table[:, len(mean) : -1], table[:, -1:]
    count = counts.sum()
    whole = (means * counts).sum(0) / count
    return whole, ((variances + (means - whole).square()) * counts).sum(0) / count, count


class _Normalise(torch.autograd.Function):
    """(x − mean)·inverse·weight + bias, with the mean and the variance as functions of all workers' x."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        inverse: Tensor,
        count: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(features, weight, mean, inverse, count)
        scale = weight * inverse
        out = torch.addcmul(_wide(bias - mean * scale), _exact(features), _wide(scale))
        return out.to(features.dtype)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Ioffe and Szegedy's Sec. 3, with both sums over all workers; weight and bias get this worker's part."""
        features, weight, mean, inverse, count = ctx.saved_tensors  # type: ignore[attr-defined]
        outer = _exact(gradient)
        normalised = (_exact(features) - _wide(mean)) * _wide(inverse)
        bias_gradient = outer.sum((0, 2, 3))
        weight_gradient = (outer * normalised).sum((0, 2, 3))
        sums = torch.stack((bias_gradient, weight_gradient))  # [2, C]
        dist.all_reduce(sums)
        means = sums / count
        inner = (outer - _wide(means[0]) - normalised * _wide(means[1])) * _wide(weight * inverse)
        return inner.to(features.dtype), weight_gradient, bias_gradient, None, None, None


def _exact(values: Tensor) -> Tensor:
    """Half precision as fp32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _wide(channels: Float[Tensor, "C"]) -> Float[Tensor, "1 C 1 1"]:
    return channels[None, :, None, None]
