"""Segmenting a new patient's image, on the image's own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from autoseg.device import choose_device, choose_precision, in_layout, keep_freed_memory, with_layout
from autoseg.errors import DataError
from autoseg.image import Image, LabelMap
from autoseg.model import TrainedModel
from autoseg.preprocess import extent_of, frame_offsets, frame_size, sample_frames, store_slices, to_native


def predict(
    model: TrainedModel,
    image: Image,
    *,
    batch_size: int = 16,
    precision: str = "float32",
    on_slices: Callable[[int, int], None] | None = None,
) -> LabelMap:
    """Segment every slice of an image.

    The image is brought to the model's pixel size and normalised as in training; the probabilities are
    brought back to the image's own pixels before each pixel takes its most probable structure.

    Parameters
    ----------
    model : TrainedModel
    image : Image
        Any size and spacing; as many channels as the model was trained on.
    batch_size : int
        Slices computed at once.
    precision : {"float32", "bfloat16", "auto"}
        Number format of the network. In float32 a scan measures the same on every computer; "auto" is twice
        as fast on some, and moved the areas of the sample's hearts by 0.2 % on average, 0.9 % at most.
    on_slices : callable, optional
        Called with (slices done, slices in all).

    Returns
    -------
    LabelMap
        On the image's grid, with the model's structures.

    Raises
    ------
    DataError
        If the channels do not fit.
    GeometryError
        If the model needs millimetres and the image has none; the message says how to type them.
    """
    if len(image.channels) != len(model.channels):
        raise DataError(
            f"{image.source.name} has {len(image.channels)} channel(s) and the model {model.name!r} was trained "
            f"on {len(model.channels)} {list(model.channels)}. Choose images of the same kind."
        )
    keep_freed_memory()
    device = choose_device()
    number_format = choose_precision(precision, device)
    network = with_layout(model.build(), device)
    extent = extent_of(image, model.settings.preprocess)
    frame = frame_size([extent], int(getattr(network, "stride", 1)))
    offsets = frame_offsets(frame, device)[None]
    stored, sizes = (torch.tensor([size], device=device) for size in (extent.stored, extent.network))
    table = np.array([0, *(structure.label for structure in model.structures)], dtype=np.uint8)
    labels = np.empty(image.shape, dtype=np.uint8)
    with torch.inference_mode():
        for first in range(0, image.shape[0], batch_size):
            chosen = slice(first, min(first + batch_size, image.shape[0]))
            source = replace(image.source, slices=image.source.slices[chosen])
            part = Image(image.channel_voxels[:, chosen], image.affine, image.channels, source)
            slices = store_slices(part, extent, model.settings.preprocess).to(device)
            count = len(slices)
            frames = sample_frames(
                slices,
                offsets.expand(count, *offsets.shape[1:]),
                stored.expand(count, 2),
                sizes.expand(count, 2),
            )
            with torch.autocast(device.type, number_format, enabled=number_format != torch.float32):
                logits = network(in_layout(frames))
            native = to_native(logits.float().softmax(1), extent)
            labels[chosen] = table[native.argmax(1).to("cpu", torch.uint8).numpy()]
            if on_slices is not None:
                on_slices(chosen.stop, image.shape[0])
    return LabelMap(voxels=labels, affine=image.affine, structures=model.structures, source=image.source)
