"""Read label files: NPY, PNG, and those JPEGs whose every pixel can be given back its label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError, ReadError
from autoseg.files.jpeg_labels import block_radius, nearest_levels, ycbcr_of_rgb
from autoseg.files.pictures import JpegPlanes, Picture, read_jpeg_planes, read_picture
from autoseg.structures import Structure

LABEL_SUFFIXES = (".npy", ".png", ".jpg", ".jpeg")

REMEDY = (
    "Save the labels as PNG or NPY from the program in which they were drawn; converting this file does not "
    "bring the lost values back."
)


def read_label_file(path: Path, structures: Sequence[Structure] | None = None) -> npt.NDArray[np.integer]:
    """Read the integers of one label file exactly, or not at all.

    Whether every value has a name is not asked here: `LabelMap` does.

    Parameters
    ----------
    path : Path
        `.npy` of integers, booleans, or whole-numbered floats; `.png`, grey or indexed (the values are the
        labels) or in the structures' colours; `.jpg` where its compression leaves no pixel in doubt.
    structures : sequence of Structure, optional
        Needed for colour pictures (which colour is which label) and for JPEGs (which values there can be).

    Returns
    -------
    (slices, rows, columns) ndarray of integers
        A picture or a two-dimensional array is one slice.

    Raises
    ------
    ReadError
        If the file is missing, damaged, or of another kind than its name says.
    LabelError
        If the values are no labels beyond doubt; the message lists values or colours with their pixel counts.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        voxels = _read_npy(path)
        return voxels[None] if voxels.ndim == 2 else voxels
    if suffix not in LABEL_SUFFIXES:
        raise ReadError(f"{path} is no label file that autoseg reads. Use one of {', '.join(LABEL_SUFFIXES)}.")
    picture = read_picture(path)
    known = tuple(structures or ())
    if picture.is_jpeg:
        return _read_jpeg_labels(path, picture, known)[None]
    return _read_png_labels(path, picture, known)[None]


def _read_npy(path: Path) -> npt.NDArray[np.integer]:
    try:
        with path.open("rb") as file:
            voxels = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise ReadError(
            f"{path} cannot be read as a plain NumPy array ({error}). Arrays of objects (pickles) can "
            "run programs and are never opened. Save the labels again with "
            "numpy.save(path, labels.astype('uint8'))."
        ) from error
    if voxels.ndim not in (2, 3):
        raise LabelError(
            f"{path} has the shape {voxels.shape}; labels have (rows, columns) or (slices, rows, columns)."
        )
    if voxels.dtype.kind == "b":
        return voxels.astype(np.uint8)
    if voxels.dtype.kind in "iu":
        return voxels
    if voxels.dtype.kind != "f":
        raise LabelError(f"{path} holds {voxels.dtype} and not whole numbers. Save the labels as uint8.")
    broken = ~np.isfinite(voxels) | (voxels != np.round(voxels)) | (np.abs(voxels) > 2**31)
    if broken.any():
        raise LabelError(
            f"{path} holds numbers that are not whole, for instance {voxels[broken].ravel()[:5].tolist()} on "
            f"{int(broken.sum())} pixels; are these probabilities, or resized? Save the labels as uint8."
        )
    return voxels.astype(np.int64)


def _read_png_labels(path: Path, picture: Picture, structures: tuple[Structure, ...]) -> npt.NDArray[np.integer]:
    pixels: npt.NDArray[np.integer] = picture.pixels
    if pixels.ndim == 2:
        if picture.palette is not None:
            _check_palette(path, pixels, picture.palette, structures)
        return pixels
    if pixels.shape[-1] in (2, 4):
        pixels = _without_alpha(path, pixels)
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).astype(np.int64)
    codes = rgb @ (1 << 16, 1 << 8, 1)
    colours, counts = np.unique(codes, return_counts=True)
    label_of = _labels_by_colour(path, structures)
    unknown = [(f"#{code:06x}", int(n)) for code, n in zip(colours, counts, strict=True) if code not in label_of]
    if not unknown:
        return np.array([label_of[code] for code in colours], dtype=np.uint8)[np.searchsorted(colours, codes)]
    if (rgb == rgb[..., :1]).all():
        # Grey values saved in three equal channels.
        return rgb[..., 0].astype(np.uint8)
    unknown.sort(key=lambda item: -item[1])
    shown = ", ".join(f"{colour} ({count} pixels)" for colour, count in unknown[:8])
    known = {f"#{code:06x}": label for code, label in label_of.items()}
    raise LabelError(
        f"{path} is a colour picture with {len(unknown)} colour(s) that no structure has: {shown}. "
        f"Known: {known}. Write each structure's colour into structures.csv. If the colours are shades at "
        "edges, save the labels again without smoothing (anti-aliasing)."
    )


def _check_palette(
    path: Path,
    indices: npt.NDArray[np.integer],
    palette: npt.NDArray[np.uint8],
    structures: tuple[Structure, ...],
) -> None:
    """Refuse an indexed picture whose indices and colours tell two different stories."""
    label_of = {(0, 0, 0): 0} | {structure.rgb: structure.label for structure in structures}
    # Several structures may share a colour: autoseg's own repeat after 21.
    rgb_of = {0: (0, 0, 0)} | {structure.label: structure.rgb for structure in structures}
    all_black = not palette.any()
    for index in np.unique(indices).tolist():
        red, green, blue = palette[index].tolist() if index < len(palette) else (-1, -1, -1)
        label = label_of.get((red, green, blue), index)
        if label != index and rgb_of.get(index) != (red, green, blue) and not all_black:
            raise LabelError(
                f"{path} is an indexed picture that contradicts itself: index {index} is shown as "
                f"#{red:02x}{green:02x}{blue:02x}, the colour of label {label}. Save it in colour without "
                "a palette, or as grey values that are the labels."
            )


def _without_alpha(path: Path, pixels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Give the colours, black where the picture is transparent; half transparent pixels are in doubt."""
    alpha = pixels[..., -1:]
    partial = (alpha > 0) & (alpha < 255)
    if partial.any():
        raise LabelError(
            f"{path} has {int(partial.sum())} half transparent pixels, so their label is in doubt. "
            "Save the labels without transparency and without smoothing (anti-aliasing)."
        )
    return np.where(alpha == 0, 0, pixels[..., :-1])


def _labels_by_colour(path: Path, structures: tuple[Structure, ...]) -> dict[int, int]:
    """Give the label of each colour, as 0xrrggbb; black is the background."""
    label_of = {0: 0}
    for structure in structures:
        red, green, blue = structure.rgb
        other = label_of.setdefault((red << 16) + (green << 8) + blue, structure.label)
        if other != structure.label:
            raise LabelError(
                f"{path} is a colour picture, but labels {other} and {structure.label} share the colour "
                f"#{red:02x}{green:02x}{blue:02x} (0 is black). Give each structure a colour of its own."
            )
    return label_of


def _read_jpeg_labels(path: Path, picture: Picture, structures: tuple[Structure, ...]) -> npt.NDArray[np.uint8]:
    if not structures:
        raise LabelError(
            f"{path} is a JPEG, which blurs values, and nothing says which values there can be. Name them in "
            f"structures.csv (label = grey value, or colour). {REMEDY}"
        )
    jpeg = read_jpeg_planes(path)
    labels = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    colours = ycbcr_of_rgb(np.array([(0, 0, 0), *(s.rgb for s in structures)], dtype=np.float64))
    greys = labels[:, None].astype(np.float64)
    grey_jpeg = JpegPlanes(jpeg.planes[:1], jpeg.steps[:1])
    if len(jpeg.planes) == 1 or _is_grey(jpeg, colours, greys, block_radius(grey_jpeg)):
        jpeg, levels = grey_jpeg, greys
    else:
        _labels_by_colour(path, structures)
        levels = colours
    if not jpeg.colour_at_full_resolution:
        raise LabelError(
            f"{path} is a JPEG that keeps colours at a lower resolution than the picture (4:2:0), so the "
            f"labels at every edge are in doubt. {REMEDY}"
        )
    nearest, doubt = nearest_levels(jpeg, levels)
    if doubt.any():
        raise LabelError(_doubt_message(path, picture.pixels[doubt], jpeg, levels))
    return labels[nearest]


def _is_grey(
    jpeg: JpegPlanes, colours: npt.NDArray[np.float64], greys: npt.NDArray[np.float64], radius: float
) -> bool:
    """Tell whether a JPEG in colour shows grey values, and none of the colours can be taken for one of them."""
    drawn = colours[colours[:, 0] > 0, 0]
    return np.abs(jpeg.planes[1:] - 128).max() == 0 and bool((np.abs(drawn - greys) > radius).all())


def _doubt_message(
    path: Path, doubtful: npt.NDArray[np.integer], jpeg: JpegPlanes, levels: npt.NDArray[np.float64]
) -> str:
    values, counts = np.unique(doubtful.reshape(len(doubtful), -1), axis=0, return_counts=True)
    order = np.argsort(-counts)[:5]
    shown = ", ".join(f"{values[i].tolist()} ({counts[i]} pixels)" for i in order).replace("[", "").replace("]", "")
    apart = min(float(np.linalg.norm(a - b)) for i, a in enumerate(levels) for b in levels[:i])
    return (
        f"{path} is a JPEG in which {len(doubtful)} pixels could carry another label than the nearest one, "
        f"or none that is known; values in doubt: {shown}. The labels' values lie {apart:.0f} apart, and "
        f"its compression can hide differences up to {block_radius(jpeg):.0f}; a file that was saved as "
        f"JPEG more than once is blurred beyond what it says. {REMEDY}"
    )
