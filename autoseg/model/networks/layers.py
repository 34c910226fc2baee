"""Layers that networks share, in 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import NetworkSettings

SLOPE = 0.01
TRANSPOSED: dict[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
DROPOUTS = {2: nn.Dropout2d, 3: nn.Dropout3d}
Steps = int | Sequence[int]


class Convolution2d(nn.Conv2d):
    """torch's own, but by oneDNN wherever a processor predicts; see `_convolved_by_onednn`."""

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        found = _convolved_by_onednn(self, images, weight, bias)
        return super()._conv_forward(images, weight, bias) if found is None else found


class Convolution3d(nn.Conv3d):
    """torch's own, but by oneDNN wherever a processor predicts; see `_convolved_by_onednn`."""

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        found = _convolved_by_onednn(self, images, weight, bias)
        return super()._conv_forward(images, weight, bias) if found is None else found


CONVOLUTIONS: dict[int, type[Convolution2d | Convolution3d]] = {2: Convolution2d, 3: Convolution3d}


def _convolved_by_onednn(
    layer: nn.Conv2d | nn.Conv3d, images: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor | None:
    """Convolve by oneDNN where nothing is learnt, on the processor in float32; None elsewhere.

    torch itself hands a single image of few pixels, as the deeper stages of a volume are, to a routine of its own
    that takes two to four times as long.
    """
    padding = layer.padding
    is_batch = images.dim() == weight.dim()
    if isinstance(padding, str) or not (_predicts_in_float32(images) and is_batch and _has_onednn()):
        return None
    return torch.mkldnn_convolution(images, weight, bias, padding, layer.stride, layer.dilation, layer.groups)


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)


def _predicts_in_float32(features: Tensor) -> bool:
    """Tell whether a processor computes in float32 and nothing is learnt from it, traced or compiled."""
    return (
        features.device.type == "cpu"
        and features.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
    )


@dataclass(frozen=True)
class Parts:
    """What one network is made of: layers of so many dimensions, with one normalisation and one dropout.

    With `norm` "instance" each image is normalised by itself, with "batch" the batch as a whole. `dropout` is the
    probability with which a feature channel is left out while training.
    """

    spatial_dims: int = 2
    norm: str = "instance"
    dropout: float = 0.0

    def convolution(
        self, before: int, after: int, *, size: int = 3, stride: Steps = 1, bias: bool = False
    ) -> nn.Module:
        """Build a convolution that keeps the image's size, or divides it by the stride."""
        kind = CONVOLUTIONS[self.spatial_dims]
        return kind(before, after, kernel_size=size, stride=_steps(stride), padding=size // 2, bias=bias)

    def upsampling(self, before: int, after: int, stride: Steps) -> nn.Module:
        """Build a transposed convolution that multiplies the image's size by the stride."""
        steps = _steps(stride)
        return TRANSPOSED[self.spatial_dims](before, after, kernel_size=steps, stride=steps, bias=False)

    def normalisation(self, channels: int, *, slope: float = SLOPE) -> nn.Module:
        """Build a normalisation with the leaky ReLU of this slope; with slope 1 there is none."""
        if self.norm == "batch":
            return BatchNormLeakyReLU(channels, spatial_dims=self.spatial_dims, slope=slope)
        return InstanceNormLeakyReLU(channels, slope=slope)

    def dropouts(self) -> list[nn.Module]:
        """Build the dropout, or nothing where there is none."""
        return [DROPOUTS[self.spatial_dims](self.dropout)] if self.dropout else []


def check_filters(settings: NetworkSettings, standard: tuple[int, ...], needs: str) -> tuple[int, ...]:
    """Give the filters of a network that has as many as its standard, and no other number."""
    filters = settings.filters or standard
    if len(filters) != len(standard):
        raise SettingsError(f"filters is {filters}; {needs}, such as {standard}.")
    return filters


def initialise(module: nn.Module) -> None:
    """Draw a convolution's weights for leaky ReLU (He et al. 2015); other modules stay as they are."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _steps(stride: Steps) -> Any:
    return stride if isinstance(stride, int) else tuple(stride)


class InstanceNormLeakyReLU(nn.Module):
    """Normalise every channel of every image to mean 0 and standard deviation 1, then leaky ReLU.

    The same numbers as `torch.nn.InstanceNorm2d(channels, affine=True)` followed by
    `torch.nn.LeakyReLU(slope)`, in 3-D as well. On the processor torch's own kernel copies channels-last data to
    and fro and group normalisation's backward pass is slow; there this layer computes both steps and their
    gradient in one pass over (batch, pixels, channels), which makes a training step about a third faster.
    """

    def __init__(self, channels: int, *, slope: float = SLOPE) -> None:
        super().__init__()
        self.eps = 1e-5
        self.slope = slope
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Take (batch, channels, [slices,] rows, columns) to the same shape.

        A shortcut of that shape is added to what is normalised, before the leaky ReLU.
        """
        if _predicts_in_float32(features):
            return self._predict(features, shortcut)
        if features.device.type == "cpu" and not torch.jit.is_tracing() and not torch.compiler.is_compiling():
            shortcut = None if shortcut is None else shortcut.to(features.dtype)
            return _ChannelsLastNorm.apply(features, self.weight, self.bias, shortcut, self.eps, self.slope)
        # Not functional.instance_norm, which asks for the sizes in Python, and warns where that is traced.
        cudnn = torch.backends.cudnn.enabled
        normal = torch.instance_norm(features, self.weight, self.bias, None, None, True, 0.0, self.eps, cudnn)
        return _shortcut_leaky_relu(normal, shortcut, self.slope)

    def _predict(self, features: Tensor, shortcut: Tensor | None) -> Tensor:
        """Do the same in the fewest passes over the features that torch has, and keep nothing to learn from."""
        flat = _flat(features)
        pixels = flat.shape[1]
        result = flat - flat.sum(1, keepdim=True) / pixels
        variance = (result * result).sum(1, keepdim=True) / pixels
        torch.addcmul(self.bias, result, (variance + self.eps).rsqrt_() * self.weight, out=result)
        if shortcut is not None:
            result += _flat(shortcut)
        if self.slope != 1:
            functional.leaky_relu_(result, self.slope)
        return _unflat(result, features)


class BatchNormLeakyReLU(nn.Module):
    """Normalise every channel over the batch, then leaky ReLU; in prediction with the averages of training.

    A single pixel of a single image has no spread, so it is normalised with those averages in training too.
    """

    def __init__(self, channels: int, *, spatial_dims: int = 2, slope: float = SLOPE) -> None:
        super().__init__()
        self.slope = slope
        self.norm = BATCH_NORMS[spatial_dims](channels)

    def forward(self, features: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Take (batch, channels, [slices,] rows, columns) to the same shape.

        A shortcut of that shape is added to what is normalised, before the leaky ReLU.
        """
        norm = self.norm
        if self.training and features[:, 0].numel() == 1:
            means, variances = norm.running_mean, norm.running_var
            normal = functional.batch_norm(features, means, variances, norm.weight, norm.bias, eps=norm.eps)
        else:
            normal = norm(features)
        return _shortcut_leaky_relu(normal, shortcut, self.slope)


def _shortcut_leaky_relu(normal: Tensor, shortcut: Tensor | None, slope: float) -> Tensor:
    if shortcut is not None:
        normal = normal + shortcut
    return normal if slope == 1 else functional.leaky_relu(normal, slope)


class _ChannelsLastNorm(torch.autograd.Function):
    """Instance normalisation, a shortcut's sum and leaky ReLU on channels-last data.

    Sums are taken in the data's own format, in which torch accumulates in float32 and rounds once; a
    channel's mean is therefore subtracted first and what its rounding left (`rest`) is corrected for.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        shortcut: Tensor | None,
        eps: float,
        slope: float,
    ) -> Tensor:
        flat = _flat(features)
        pixels = flat.shape[1]
        centred = flat - (flat.sum(1, keepdim=True) / pixels)
        rest = centred.sum(1, keepdim=True).float() / pixels
        result = centred * centred
        variance = result.sum(1, keepdim=True).float() / pixels - rest * rest
        inverse = (variance + eps).rsqrt_()
        scale = inverse * weight
        torch.addcmul((bias - rest * scale).to(flat.dtype), centred, scale.to(flat.dtype), out=result)
        if shortcut is not None:
            result += _flat(shortcut)
        if slope != 1:
            functional.leaky_relu_(result, slope)
        ctx.save_for_backward(centred, result if slope != 1 else None, inverse, weight, rest)
        ctx.has_shortcut, ctx.slope = shortcut is not None, slope
        return _unflat(result, features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        centred, result, inverse, weight, rest = ctx.saved_tensors
        flat = _flat(gradients[0])
        pixels = flat.shape[1]
        if ctx.slope != 1:
            # The sign of the result tells the slope, as LeakyReLU(inplace=True) has it.
            flat = torch.ops.aten.leaky_relu_backward(flat, result, ctx.slope, True)
        gradient_bias = flat.sum(1, keepdim=True).float()
        product = flat * centred
        gradient_weight = (product.sum(1, keepdim=True).float() - rest * gradient_bias) * inverse
        scale = inverse * weight
        slope = -scale * inverse * gradient_weight / pixels
        offset = -scale * gradient_bias / pixels - slope * rest
        torch.addcmul(offset.to(flat.dtype), flat, scale.to(flat.dtype), out=product)
        product.addcmul_(centred, slope.to(flat.dtype))
        gradient, past = _unflat(product, gradients[0]), None
        if ctx.has_shortcut:
            past = _unflat(flat, gradients[0])
        return gradient, gradient_weight.sum((0, 1)), gradient_bias.sum((0, 1)), past, None, None


def _flat(features: Tensor) -> Tensor:
    """Give (batch, pixels, channels), without a copy where the channels lie last."""
    return features.movedim(1, -1).reshape(len(features), -1, features.shape[1])


def _unflat(flat: Tensor, features: Tensor) -> Tensor:
    return flat.view(len(features), *features.shape[2:], features.shape[1]).movedim(-1, 1)
