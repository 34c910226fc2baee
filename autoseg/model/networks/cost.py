"""What a network costs: its parameters, and the multiply-adds that one image takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from autoseg.model.networks.outputs import strides_of


@dataclass(frozen=True)
class Cost:
    """What a network costs, whatever the computer.

    `parameters` are the numbers that it learns. `multiply_adds` are those of its convolutions and matrix products
    for one image, a multiplication with its addition counted once; normalisations, activations and interpolations
    are left out, as is usual. Half as many as "FLOPs".
    """

    parameters: int
    multiply_adds: int


def count_cost(network: nn.Module, image_shape: tuple[int, ...]) -> Cost:
    """Count a network's parameters, and the multiply-adds of one image by running it once.

    `image_shape` is (channels, [slices,] rows, columns); sizes are padded to multiples of the network's strides.

    Examples
    --------
    >>> count_cost(nn.Conv2d(1, 4, kernel_size=3, padding=1), (1, 8, 8))
    Cost(parameters=40, multiply_adds=2304)
    """
    channels, *sizes = image_shape
    stride = getattr(network, "stride", 1)  # of a single layer it is a tuple, and something else
    steps = strides_of(network, len(sizes)) if isinstance(stride, int) else (1,) * len(sizes)
    weights = next(network.parameters(), torch.empty(0))
    padded = (math.ceil(size / step) * step for size, step in zip(sizes, steps, strict=True))
    image = weights.new_zeros(1, channels, *padded)
    by_onednn = {torch.ops.aten.mkldnn_convolution: _convolution_by_onednn}
    with _predicting(network), FlopCounterMode(display=False, custom_mapping=by_onednn) as counter:
        network(image)
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        multiply_adds=counter.get_total_flops() // 2,
    )


def _convolution_by_onednn(images: list[int], weight: list[int], *_: Any, out_shape: list[int], **__: Any) -> int:
    """Count what torch's counter does not know: a convolution that asked for oneDNN, from sizes."""
    return int(conv_flop_count(images, weight, out_shape))


@contextmanager
def _predicting(network: nn.Module) -> Iterator[None]:
    """Let the network predict without a gradient, and attention by its single steps, which can be counted."""
    modes = [(module, module.training) for module in network.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    network.eval()
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes:
            module.training = training
