"""Write a model as a folder that onnxruntime segments with, without torch and without autoseg."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg.errors import DataError
from autoseg.files.atomic import whole_folder
from autoseg.files.records import write_record
from autoseg.image.structures import Structure
from autoseg.model.card import card_path, describe_model, read_filled
from autoseg.model.identity import model_record
from autoseg.model.model import TrainedModel, autoseg_version
from autoseg.model.networks.build import KINDS
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.preprocessing.extents import KEPT, OVERSAMPLING
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.preprocessing.regions import ALONG_STACK
from autoseg.model.preprocessing.sliding_window import GAUSSIAN_SIGMA, LEAST_WEIGHT, TILE_OVERLAP
from autoseg.model.preprocessing.standardise import SEEN_VOXELS, percents
from autoseg.model.settings.settings import Settings

NETWORK, DESCRIPTION, READER, CARD = "network.onnx", "model.json", "segment.py", "MODEL_CARD.md"
# Of ONNX: the oldest set of operators that has all of ours, which most programs read.
OPSET = 17
# How far answers of onnxruntime may lie from torch's, as a part of the largest: sums are added up in another order.
NEAR = 1e-3
REMEDY = (
    "'pip install \"autoseg[onnx]\"' installs it (in a copy of autoseg: 'pip install -c constraints.txt onnx "
    "onnxruntime')"
)
# What is done with an image, in words; numbers beside them are those of `preprocess`.
OF_SLICES = (
    "Each channel of each slice (normalise: slice), or of all slices together (image), is clipped to its own "
    "percentiles and brought to mean 0 and standard deviation 1. Of a whole image (every n-th voxel where it "
    "has more than seen_voxels) mean and deviation are those of what is brighter than its mean.",
    "The slice has, in the network's pixels, the size of rows and columns in mm divided by spacing_mm, "
    "rounded, or input_shape. An axis that has more than kept_up_to times as many pixels is first resized to "
    "oversampling times as many, as a weighted mean (triangular weights).",
    "It is read bilinearly on a frame around its centre: the size, rounded up to a multiple of stride; edges "
    "repeat. So many neighbours before and behind are further channels; at the ends the last slice is "
    "repeated.",
    "With a crop (crop_mm, or crop_shape in the network's pixels, rounded up to the stride) the frame is seen "
    "in windows of that size that overlap by tile_overlap, weighted by a hat. With find_region coarse this "
    "first pass only tells where to look: a window around the middle of what was found is then seen, and "
    "beyond it is background.",
    "The softmax of the network's logits is read bilinearly at the image's own pixels.",
)
OF_VOLUMES = (
    "Each channel is clipped to its own first and last of the percentiles; with landmarks its percentiles are "
    "mapped to them piece by piece linearly; then it is brought to mean 0 and standard deviation 1.",
    "Axes are exchanged and turned round so that they begin at the sides of orientation, then each is resized "
    "to its length in mm divided by spacing_mm, rounded, as a weighted mean (triangular weights) where voxels "
    "become larger.",
    "Smaller volumes are padded to patch_size by repeating edges. Logits are the mean over patches that "
    "overlap by overlap at least, weighted by a Gaussian of window_sigma times the patch, at least "
    "window_least.",
    "Their softmax is read linearly, axis by axis, at the image's own voxels.",
)
OF_ALL = (
    "The k-th of the offsets is added to the log-odds of class k, which is the k-th structure; class 0 is "
    "background.",
    "Each pixel takes its most probable class. A structure with a threshold takes pixels from that "
    "probability on, where no other class that may takes them.",
    "Then, slice by slice and outer structures first: so many erosions, the largest piece, holes filled.",
    "The area of a structure is that of the pixels of its label and of all labels that it includes.",
)


def write_onnx(model: TrainedModel, folder: Path, *, model_file: Path | None = None) -> tuple[str, ...]:
    """Write a model as network.onnx, model.json, segment.py and MODEL_CARD.md into a new folder.

    `segment.py` shows how the others are used, with numpy and onnxruntime alone, and can be run as it is. What
    onnxruntime answers is compared with what torch does before the folder is there.

    Parameters
    ----------
    model : TrainedModel
    folder : Path
        A new folder.
    model_file : Path, optional
        Where the model lies; what its author wrote on the card beside it goes along.

    Returns
    -------
    tuple of str
        The names of the files.

    Raises
    ------
    DataError
        If the model does what the reader cannot (the message says what), or onnx and onnxruntime are not installed.
    """
    check_exportable(model)
    with whole_folder(folder) as temporary:
        _write_network(model, temporary / NETWORK)
        write_record(temporary / DESCRIPTION, describe(model))
        shutil.copyfile(Path(__file__).with_name(READER), temporary / READER)
        words = describe_model(model, read_filled(card_path(model_file)) if model_file else None)
        (temporary / CARD).write_text(words, encoding="utf-8", newline="\n")
    return NETWORK, DESCRIPTION, READER, CARD


def check_exportable(model: TrainedModel) -> None:
    """Raise DataError if a step of the model is none that the reader can do."""
    settings = model.settings
    refused = {
        "its network is Mask DINO, whose layers ONNX has no words for": settings.network.name == "maskdino",
        "it sees a crop around a centreline, which another network and a search find": model.finder is not None
        or (settings.spatial_dims == 3 and settings.volume.crop_mm is not None),
        "it equalises the contrast of its images (clahe), which only OpenCV does in the same way": (
            settings.spatial_dims == 2 and settings.preprocess.clahe
        ),
        "it crops images by the site that their names tell (crop_by_site)": bool(settings.preprocess.crop_by_site),
    }
    why = [words for words, holds in refused.items() if holds]
    if why:
        raise DataError(
            f"The model {model.name!r} cannot be exported: {'; '.join(why)}. Use it with autoseg, or export "
            "another one."
        )


def describe(model: TrainedModel) -> dict[str, Any]:
    """Give everything around the network as plain values, in the order of the steps."""
    settings = model.settings
    volumes = settings.spatial_dims == 3
    empty = (StructurePostprocess(),) * len(model.structures)
    return {
        "format": "autoseg ONNX 1",
        "autoseg": autoseg_version(),
        "model": model_record(model),
        "network": NETWORK,
        "network_takes": "image: (batch, channels, …) float32",
        "network_gives": "logits: (batch, 1 + structures, …) float32",
        "spatial_dims": settings.spatial_dims,
        "needs_mm": volumes or settings.preprocess.input_shape is None,
        "channels": list(model.channels),
        "structures": [_plain(one) for one in model.structures],
        "steps": [*(OF_VOLUMES if volumes else OF_SLICES), *OF_ALL],
        "preprocess": _of_volumes(settings) if volumes else _of_slices(model),
        "offsets": list(model.offsets) or [0.0] * len(model.structures),
        "postprocess": [asdict(post) for post in model.postprocess or empty],
    }


def _plain(structure: Structure) -> dict[str, Any]:
    return {**asdict(structure), "colour": list(structure.rgb), "includes": list(structure.includes)}


def _of_slices(model: TrainedModel) -> dict[str, Any]:
    how = model.settings.preprocess
    names = ("spacing_mm", "input_shape", "crop_mm", "crop_shape", "find_region", "neighbours", "normalise")
    return {
        "percentiles": how.clip_percentiles,
        **{name: getattr(how, name) for name in names},
        "stride": _stride(model),
        "kept_up_to": KEPT,
        "oversampling": OVERSAMPLING,
        "tile_overlap": TILE_OVERLAP,
        "along_stack": ALONG_STACK,
        "seen_voxels": SEEN_VOXELS,
    }


def _of_volumes(settings: Settings) -> dict[str, Any]:
    how, percentiles = settings.volume, percents(settings)
    rows = np.array(how.landmarks).reshape(-1, len(percentiles)).tolist() if how.standardise == "landmarks" else []
    return {
        "percentiles": list(percentiles),
        "landmarks": rows,
        **{name: getattr(how, name) for name in ("orientation", "spacing_mm", "patch_size", "overlap")},
        "window_sigma": GAUSSIAN_SIGMA,
        "window_least": LEAST_WEIGHT,
        "seen_voxels": SEEN_VOXELS,
    }


def _stride(model: TrainedModel) -> int:
    return int(getattr(model.build(), "stride", 1))


def _write_network(model: TrainedModel, path: Path) -> None:
    """Write the network of a model, and see that onnxruntime answers as torch does, also on another size."""
    try:
        import onnx  # noqa: F401  # torch writes with it
        import onnxruntime
    except ImportError as error:
        raise DataError(f"To write a model as ONNX, {error.name} is missing: {REMEDY}.") from error
    network, volumes = model.build(), model.settings.spatial_dims == 3
    channels = network_channels(len(model.channels), model.settings.preprocess.neighbours)
    stride, patch = _stride(model), model.settings.volume.patch_size
    first, other = (patch, patch) if volumes and patch else ((2 * stride, 3 * stride), (5 * stride, 4 * stride))
    random = torch.Generator().manual_seed(0)
    axes = {0: "batch"} if volumes else {0: "batch", 2: "rows", 3: "columns"}
    with warnings.catch_warnings():
        # That there is a newer exporter (it needs one package more), and how it traces; the answers are compared.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.randn(1, channels, *first, generator=random),),
            str(path),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": axes, "logits": axes},
            opset_version=OPSET,
            dynamo=False,
        )
    image = torch.randn(2, channels, *other, generator=random)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given, wanted = session.run(None, {"image": image.numpy()})[0], network(image).numpy()
    off = float(np.abs(given - wanted).max() / np.abs(wanted).max())
    if not off <= NEAR:
        title = KINDS[model.settings.network.name].title
        raise DataError(
            f"The model {model.name!r} was not exported: onnxruntime answers otherwise than torch ({off:.2g} of "
            f"the largest; network: {title}). Please report this with the versions of torch and onnxruntime."
        )
