"""Reading and writing PNG, JPEG and GIF pictures exactly as their pixels are stored."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from autoseg.errors import DataError, LabelError, ReadError
from autoseg.files.arrays import BLANK, BLANK_JPEG, PACKED, check_claim
from autoseg.files.atomic import whole_file
from autoseg.image.structures import Structure, check_structures, check_values

Colour = tuple[int, int, int]
PNG_MODES = ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")
EXIF_ORIENTATION = 0x0112
# Bytes of a pixel while Pillow reads it; colours take four.
MEMORY_OF_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "LA": 4}


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels of a picture as they are stored, without any scaling or conversion of colours.

    `pixels` are grey values or palette indices (rows, columns), or several samples along a last axis: grey and
    alpha, RGB, RGBA; in a TIFF any channels. A PNG or JPEG gives uint8 or uint16, a TIFF any numbers. `palette`,
    (n, 3), is red, green, blue of each index. `is_jpeg` goes by the content, whatever the name ends in: values are
    near the originals only. `has_alpha` tells that the last sample is the opacity and no colour.
    """

    pixels: npt.NDArray[np.generic]
    palette: npt.NDArray[np.uint8] | None = None
    is_jpeg: bool = False
    has_alpha: bool = False


@dataclass(frozen=True, eq=False)
class JpegPlanes:
    """The planes of a JPEG as they were coded: Y, or Y, Cb and Cr, 0 to 255, shape (1 or 3, rows, columns).

    `steps`, shape (1 or 3, 8, 8), are the quantisation steps of the frequencies, in grey levels of an orthonormal
    cosine transform. Where colours are not at full resolution (4:2:0 and the like) they are smeared.
    """

    planes: npt.NDArray[np.float64]
    steps: npt.NDArray[np.float64]
    colour_at_full_resolution: bool = True


def read_picture(path: Path) -> Picture:
    """Read a PNG or JPEG without changing a value: indices stay indices, 16 bit stays 16 bit."""
    with _opened(path) as image:
        if image.format == "PNG":
            return _read_png(image, path)
        return Picture(np.asarray(image.convert("L" if image.mode == "L" else "RGB")), is_jpeg=True)


def read_picture_size(path: Path) -> tuple[int, int]:
    """Give the rows and columns of a PNG or JPEG, without its pixels."""
    with _opened(path) as image:
        return image.height, image.width


def read_palette(path: Path) -> npt.NDArray[np.uint8] | None:
    """Give the colours of the indices of a PNG, shape (n, 3); None where it has none."""
    try:
        with path.open("rb") as file:
            beginning = file.read(26)
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}). Check the name.") from error
    # The kind of a PNG stands in its 26th byte.
    if not beginning.startswith(b"\x89PNG") or beginning[25:] != b"\x03":
        return None
    with _opened(path) as image:
        return _colours(image)


def read_jpeg_planes(path: Path) -> JpegPlanes:
    """Read a JPEG's planes before any conversion to red, green and blue, and their quantisation."""
    with _opened(path) as image:
        layers = getattr(image, "layer", [])
        is_rgb_inside = image.mode == "RGB" and image.info.get("adobe_transform", 1) != 1
        if image.mode not in ("L", "RGB") or is_rgb_inside:
            raise ReadError(f"{path} stores its colours in an unusual way ({image.mode}). Save it as PNG instead.")
        if image.mode == "RGB":
            image.draft("YCbCr", image.size)
        pixels = np.asarray(image, dtype=np.float64)
        tables = getattr(image, "quantization", {})
        steps = np.stack([np.reshape(tables[layer[3]], (8, 8)) for layer in layers]).astype(np.float64)
    return JpegPlanes(
        planes=pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0),
        steps=steps,
        colour_at_full_resolution=len({layer[1:3] for layer in layers}) == 1,
    )


def write_palette_png(
    path: Path, labels: npt.NDArray[np.integer], structures: Sequence[Structure], *, description: str = ""
) -> None:
    """Write labels as an indexed PNG: its pixel values are the labels, shown in the structures' colours.

    The `description` stands in the file's head, as many programs for pictures show it.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise LabelError(
            f"{path}: a label picture shows one slice of integers, not {labels.dtype} of shape {labels.shape}."
        )
    check_structures(tuple(structures))
    check_values(labels, {s.label: s.name for s in structures}, name=str(path))
    # A palette of full length keeps the file at 8 bits per pixel, which every program reads as bytes.
    palette = np.zeros((256, 3), dtype=np.uint8)
    for structure in structures:
        palette[structure.label] = structure.rgb
    image = PillowImage.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    image.putpalette(palette.ravel().tolist())
    head = PngInfo()
    if description:
        head.add_text("Description", description)
    with whole_file(path) as temporary:
        image.save(temporary, "PNG", pnginfo=head)


def write_jpg(path: Path, rgb: npt.NDArray[np.uint8]) -> None:
    """Write a picture of shape (rows, columns, 3) to look at as a JPEG; never labels, which a JPEG smears."""
    image = PillowImage.fromarray(_checked_rgb(rgb, path))
    with whole_file(path) as temporary:
        image.save(temporary, "JPEG", quality=92, subsampling=0)


def write_gif(path: Path, frames: Sequence[npt.NDArray[np.uint8]], frame_ms: int = 200) -> None:
    """Write pictures of shape (rows, columns, 3) as an animation that repeats for ever (GIF counts tens of ms)."""
    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) != 1:
        raise DataError(f"{path}: an animation needs frames of one shape; these have the shapes {shapes}.")
    first, *others = [PillowImage.fromarray(_checked_rgb(frame, path)) for frame in frames]
    with whole_file(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=others, duration=frame_ms, loop=0)


@contextmanager
def _opened(path: Path) -> Iterator[PillowImage.Image]:
    """Open a picture, and turn whatever the decoder raises into one sentence with the remedy."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)  # asked below
            opened = PillowImage.open(path, formats=("PNG", "JPEG"))
        with opened as image:
            is_deep = image.mode in ("RGB", "RGBA", "LA") and "16B" in str(image.tile)
            check_claim(
                path,
                image.width * image.height * (8 if is_deep else MEMORY_OF_PIXEL.get(image.mode, 4)),
                f"{image.height} × {image.width} pixels",
                stored=path.stat().st_size,
                most=8 * PACKED,  # eight pixels may lie in a byte
                blank=BLANK if image.format == "PNG" else BLANK_JPEG,
            )
            if getattr(image, "n_frames", 1) > 1:
                raise ReadError(f"{path} is an animation. Save each picture as a file of its own.")
            if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
                raise ReadError(
                    f"{path} asks to be shown turned or mirrored (EXIF orientation), so it is open how it "
                    "lies on its image. Save it the way it should lie, without that mark."
                )
            yield image
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise ReadError(
            f"{path} cannot be read as a PNG or JPEG picture ({error}). Save or copy the file again."
        ) from error


def _read_png(image: PillowImage.Image, path: Path) -> Picture:
    with PillowImage.open(path, formats=("PNG",)) as again:
        again.verify()  # Of a damaged stream, Pillow gives wrong pixels; its check sums tell.
    with path.open("rb") as file:
        depth, colour_type = file.read(26)[24:26]
    grey = colour_type == 0
    if depth == 16 and not grey:
        image.load()  # OpenCV fills up a file that is cut off; Pillow says so.
        return _read_deep_png(path, has_alpha=colour_type in (4, 6))
    if image.mode not in PNG_MODES:
        raise ReadError(
            f"{path} is a PNG of a kind that loses values when read ({depth} bit, mode {image.mode}). "
            "Save it with 8 bits per colour, as grey, or with a palette."
        )
    pixels = np.asarray(image)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8)
    if grey and depth in (2, 4):
        # Pillow stretches these to 0..255 for the eye; the file holds 0..3 or 0..15.
        pixels = pixels // (255 // (2**depth - 1))
    palette = _colours(image) if image.mode == "P" else None
    return Picture(pixels, palette, has_alpha=pixels.ndim == 3 and pixels.shape[-1] in (2, 4))


def _colours(image: PillowImage.Image) -> npt.NDArray[np.uint8] | None:
    flat = image.getpalette()
    return None if flat is None else np.reshape(np.array(flat, dtype=np.uint8), (-1, 3))


def _read_deep_png(path: Path, *, has_alpha: bool) -> Picture:
    """Read colours of 16 bits, of which Pillow would keep 8."""
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ReadError(f"{path} is a PNG with 16 bits per colour that cannot be read. Save it with 8, or as grey.")
    # OpenCV counts blue, green, red.
    return Picture(pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]], has_alpha=has_alpha)


def _checked_rgb(rgb: npt.NDArray[np.uint8], path: Path) -> npt.NDArray[np.uint8]:
    if rgb.ndim != 3 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise DataError(
            f"{path}: a picture to save is 8-bit with shape (rows, columns, 3), not {rgb.dtype} of shape "
            f"{rgb.shape}."
        )
    return np.ascontiguousarray(rgb)
