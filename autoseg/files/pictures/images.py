"""Images from pictures: PNG, JPEG, TIFF and plain NumPy arrays, whose channels are sequences and no colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.errors import ReadError
from autoseg.files.arrays import read_npy, read_npy_shape
from autoseg.files.pictures.pictures import Picture, read_picture, read_picture_size
from autoseg.files.pictures.tiff import TIFF_SUFFIXES, read_tiff, read_tiff_shape
from autoseg.files.sources import name_without_ending
from autoseg.image.image import Image, SliceSource, Source

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", *TIFF_SUFFIXES, ".npy")

# A grey picture saved as a JPEG in colour comes back with channels this near to each other, in grey levels.
JPEG_GREY = 3
# An axis this short at an array's end (or front) counts channels.
MOST_CHANNELS = 4


def read_picture_image(path: Path, *others: Path, channels: Sequence[str] | None = None) -> Image:
    """Read a picture, a TIFF of several pages, or an array as an image without a known pixel size.

    `others` are the further slices of a stack of pictures, in order; all have one size.
    Channels are kept apart: in a red, green and blue picture three sequences may have been stored. Only where
    all three are equal is it a grey picture in disguise, and becomes one channel. What a picture says of
    its resolution is the size of a print, and is not believed. An array is (rows, columns), (slices, rows,
    columns), or has 2 to 4 channels at its end. Where several channels are named, equal ones stay several.
    """
    path = Path(path)
    voxels, grey_within = _read_stack((path, *others))
    if (channels is None or len(channels) == 1) and _is_grey(voxels, grey_within):
        voxels = voxels[1:2]
    count = len(voxels)
    files = [path] * voxels.shape[1] if not others else [path, *others]
    names = tuple(channels or (["image"] if count == 1 else [f"channel {n}" for n in range(1, count + 1)]))
    if len(names) != count:
        raise ReadError(
            f"{path} has {count} channel{'s' if count > 1 else ''}, but {len(names)} are expected "
            f"({', '.join(names)}). Give every image of a set the same channels."
        )
    return Image(
        voxels=np.ascontiguousarray(voxels if count > 1 else voxels[0]),
        channels=names,
        source=Source(
            case_id=name_without_ending(path),
            is_placed=False,
            slices=tuple(SliceSource(one, 0 if others else frame) for frame, one in enumerate(files)),
        ),
    )


def read_picture_shape(path: Path) -> tuple[int, int, int] | None:
    """Give how many (pages, rows, columns) a picture announces, pixels unread; None where it cannot be read."""
    try:
        suffix = path.suffix.lower()
        if suffix != ".npy":
            return read_tiff_shape(path) if suffix in TIFF_SUFFIXES else (1, *read_picture_size(path))
        shape = read_npy_shape(path)
    except ReadError:
        return None
    shape = shape[:-1] if len(shape) > 2 and shape[-1] <= MOST_CHANNELS else shape
    return (shape[0] if len(shape) > 2 else 1, shape[-2], shape[-1]) if len(shape) > 1 else None


def _read_stack(paths: Sequence[Path]) -> tuple[npt.NDArray[np.generic], int]:
    """Read pictures as (channels, slices, rows, columns), and by how much the channels of a grey one may differ."""
    slices, within = zip(*map(_read_channels, paths), strict=True)
    count = max(map(len, slices))
    shapes = {one.shape[1:]: path for path, one in zip(paths, slices, strict=True)}
    if len(paths) > 1 and (len(shapes) > 1 or slices[0].shape[1] != 1):
        raise ReadError(
            "The slices of a stack have one size, but "
            + " and ".join(f"{path} has {shape[1]} × {shape[2]} pixels" for shape, path in list(shapes.items())[:2])
            + ". Save them in one size, or take them as images of their own."
        )
    if any(len(one) not in (1, count) for one in slices):
        numbers = sorted({len(one) for one in slices})
        raise ReadError(f"{paths[0]} and the slices after it have {numbers} channels. Save all of them alike.")
    # A grey picture among coloured ones has the same in every channel.
    whole = [np.broadcast_to(one, (count, *one.shape[1:])) for one in slices]
    return np.concatenate(whole, axis=1), max(within)


def _read_channels(path: Path) -> tuple[npt.NDArray[np.generic], int]:
    suffix = path.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise ReadError(f"{path} is no picture that autoseg reads. Use one of {', '.join(PICTURE_SUFFIXES)}.")
    if suffix == ".npy":
        return _stack_of_array(path, read_npy(path)), 0
    pictures = read_tiff(path) if suffix in TIFF_SUFFIXES else (read_picture(path),)
    voxels = np.stack([_channels_of(path, picture) for picture in pictures], axis=1)
    return voxels, JPEG_GREY if pictures[0].is_jpeg else 0


def _channels_of(path: Path, picture: Picture) -> npt.NDArray[np.generic]:
    """Give a picture's channels, shape (channels, rows, columns), without palette and opacity."""
    pixels = picture.pixels
    if picture.palette is not None:
        if int(pixels.max()) >= len(picture.palette):
            raise ReadError(f"{path} has pixels without a colour in its palette. Save it again.")
        pixels = picture.palette[pixels]
    if pixels.dtype.kind not in "iuf":
        raise ReadError(f"{path} holds {pixels.dtype} and not one number a pixel and channel. Save it in grey.")
    if picture.has_alpha and pixels.ndim == 3:
        opacity = pixels[..., -1]
        if opacity.min() != opacity.max() or not opacity.max():
            raise ReadError(
                f"{path} is transparent in parts, so its values are open. Save it without transparency."
            )
        pixels = pixels[..., :-1]
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _stack_of_array(path: Path, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Give the array as (channels, slices, rows, columns)."""
    if array.dtype.kind not in "iufb" or array.ndim not in (2, 3, 4):
        raise ReadError(
            f"{path} holds {array.dtype} of shape {array.shape}; an image holds numbers of the shape (rows, "
            "columns), (slices, rows, columns) or (slices, rows, columns, channels)."
        )
    array = array.astype(np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("="), copy=False)
    rows_columns = array.shape[:-1][-2:]
    if array.ndim > 2 and 1 < array.shape[-1] <= MOST_CHANNELS < min(rows_columns):
        array = np.moveaxis(array, -1, 0)
        return array[:, None] if array.ndim == 3 else array
    if array.ndim < 4:
        return array.reshape(1, -1, *array.shape[-2:])
    if array.shape[0] <= MOST_CHANNELS:
        return array
    raise ReadError(
        f"{path} has the shape {array.shape}, in which no axis of 2 to {MOST_CHANNELS} counts channels."
    )


def _is_grey(voxels: npt.NDArray[np.generic], within: int) -> bool:
    """Tell whether red, green and blue are one and the same."""
    if len(voxels) != 3:
        return False
    if within:
        return int((voxels.max(axis=0) - voxels.min(axis=0)).max()) <= within
    return all(np.array_equal(voxels[0], other, equal_nan=voxels.dtype.kind == "f") for other in voxels[1:])
