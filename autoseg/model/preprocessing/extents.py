"""Sizes of a slice: on its own grid, in memory and as the network sees it, and how the network's are chosen."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoseg.errors import DataError, GeometryError
from autoseg.image.image import Image
from autoseg.model.settings.settings import PreprocessSettings

OVERSAMPLING = 2.0
KEPT = 3.0
# Without a wish, the network's pixels are chosen such that the widest image has about this many.
WIDEST = 192


@dataclass(frozen=True)
class Extent:
    """Sizes of one slice: `native` and `stored` (rows, columns) in pixels, `network` in the network's pixels.

    All three span the same millimetres, from the outer edge of the first pixel to that of the last.
    """

    native: tuple[int, int]
    stored: tuple[int, int]
    network: tuple[int, int]


def plan_spacing(settings: PreprocessSettings, images: Sequence[Image]) -> PreprocessSettings:
    """Fill in the network's pixel size from the training images, where neither it nor a shape was given.

    Where no image has millimetres, a shape is filled in instead.
    """
    if settings.spacing_mm is not None or settings.input_shape is not None:
        return settings
    without = [image for image in images if image.affine is None]
    if without and len(without) < len(images):
        known = next(image for image in images if image.affine is not None)
        raise DataError(
            f"{len(without)} of {len(images)} training images have no pixel spacing ({without[0].source.name}, for "
            f"instance) and the others have one ({known.source.name}). Type the missing field of view in mm, leave "
            "those images out, or give an input_shape, to which all are resized."
        )
    if without:
        if settings.crop_mm is not None:
            raise DataError(
                f"crop_mm is {settings.crop_mm} and the training images have no pixel spacing "
                f"({without[0].source.name}, for instance). Type the field of view in mm, or give crop_shape, in "
                "pixels."
            )
        widest = WIDEST if settings.crop_shape is None else 4096
        shape = choose_input_shape([image.shape[1:] for image in images], widest=widest)
        return replace(settings, input_shape=shape)
    sizes = [(_seen_shape(image, settings), image.spacing_mm[1:]) for image in images]
    return replace(settings, spacing_mm=choose_spacing_mm(sizes))


def _seen_shape(image: Image, settings: PreprocessSettings) -> tuple[int, int]:
    """Give how many of its own (rows, columns) an image shows the network at once."""
    rows, columns = image.shape[1:]
    if settings.crop_mm is not None:
        row_mm, column_mm = image.spacing_mm[1:]
        rows, columns = (
            min(rows, math.ceil(settings.crop_mm[0] / row_mm)),
            min(columns, math.ceil(settings.crop_mm[1] / column_mm)),
        )
    elif settings.crop_shape is not None:
        rows, columns = min(rows, settings.crop_shape[0]), min(columns, settings.crop_shape[1])
    return rows, columns


def choose_spacing_mm(images: list[tuple[tuple[int, int], tuple[float, float]]]) -> float:
    """Choose the network's pixel size for images given as ((rows, columns), (row mm, column mm)).

    The median pixel size, enlarged where the widest image would otherwise have more than 192 pixels.
    """
    if not images:
        raise DataError("There are no images to choose a pixel size from.")
    spacing = float(np.median([mm for _, spacings in images for mm in spacings]))
    widest_mm = max(n * mm for shape, spacings in images for n, mm in zip(shape, spacings, strict=True))
    return round(max(spacing, widest_mm / WIDEST), 4)


def choose_input_shape(shapes: list[tuple[int, int]], *, widest: int = WIDEST) -> tuple[int, int]:
    """Choose the network's (rows, columns) for images without millimetres: their median shape.

    Made smaller, in its proportions, where the longer side has more than `widest` pixels.
    """
    if not shapes:
        raise DataError("There are no images to choose a shape from.")
    rows, columns = np.median(shapes, axis=0)
    factor = min(1.0, widest / max(rows, columns))
    return max(32, round(rows * factor)), max(32, round(columns * factor))


def extent_of(image: Image, settings: PreprocessSettings) -> Extent:
    """Give the sizes of an image's slices on its own grid, in memory and on the network's grid."""
    native = image.shape[1:]
    site = _site_crop(image, settings)
    if settings.input_shape is None and settings.spacing_mm is None:
        raise DataError("The network's grid is not chosen: give spacing_mm or input_shape.")
    if settings.crop_shape is not None and site is not None:
        sizes = [n * crop / seen for n, crop, seen in zip(native, settings.crop_shape, site, strict=True)]
    elif settings.input_shape is not None:
        sizes = list(settings.input_shape)
    else:
        spacings = image.spacing_mm[1:]
        sizes = [n * mm / (settings.spacing_mm or 1) for n, mm in zip(native, spacings, strict=True)]
        if settings.crop_mm is not None and site is not None:
            sizes = [n * crop / seen for n, crop, seen in zip(sizes, settings.crop_mm, site, strict=True)]
    rows, columns = (max(1, round(size)) for size in sizes)
    network = (rows, columns)
    if max(network) > 8192:
        raise GeometryError(
            f"{image.source.name}: on the network's grid the slice would have {network} pixels and it has "
            f"{native} of its own. Check the pixel spacing, spacing_mm and the crop."
        )
    # Making a slice a little smaller would move labels by up to half a pixel, so it is done by much or not at all.
    stored = tuple(
        n if n <= KEPT * m else math.ceil(OVERSAMPLING * m) for n, m in zip(native, network, strict=True)
    )
    return Extent(native, (stored[0], stored[1]), network)


def _site_crop(image: Image, settings: PreprocessSettings) -> tuple[float, float] | None:
    """Give the (rows, columns) that images of this one's site show, if the settings name its site."""
    for site, rows, columns in settings.crop_by_site:
        # site1 must not match site10.
        pattern = re.compile(re.escape(site) + r"(?![0-9A-Za-z])")
        if pattern.match(image.source.case_id) or pattern.match(image.source.subject_id):
            return rows, columns
    return None


def crop_size(settings: PreprocessSettings, whole: tuple[int, int], stride: int) -> tuple[int, int] | None:
    """Give the (rows, columns) of a crop in the network's pixels, multiples of the stride; None: no crop."""
    if settings.crop_shape is not None:
        wanted: tuple[float, float] = settings.crop_shape
    elif settings.crop_mm is not None and settings.spacing_mm is not None:
        wanted = (settings.crop_mm[0] / settings.spacing_mm, settings.crop_mm[1] / settings.spacing_mm)
    else:
        return None
    # To a thousandth of a pixel, so that 48 mm at 0.1 mm are 480 pixels and not 481.
    rows, columns = (
        min(math.ceil(round(size, 3) / stride) * stride, most) for size, most in zip(wanted, whole, strict=True)
    )
    return None if (rows, columns) == whole else (rows, columns)


def frame_size(extents: list[Extent], stride: int) -> tuple[int, int]:
    """Give the smallest (rows, columns) that hold every extent and are multiples of the network's stride."""
    rows = max(extent.network[0] for extent in extents)
    columns = max(extent.network[1] for extent in extents)
    return math.ceil(rows / stride) * stride, math.ceil(columns / stride) * stride
