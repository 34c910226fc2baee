"""Labels from pictures: PNG and TIFF exactly, JPEG where every pixel can be given back its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.errors import LabelError, UnclearLabelsError
from autoseg.files.arrays import whole_numbers
from autoseg.files.pictures.pictures import JpegPlanes, Picture, read_jpeg_planes
from autoseg.files.pictures.tiff import TIFF_SUFFIXES
from autoseg.image.structures import Structure
from autoseg.words import counted, name_some

# --- give the pixels of a JPEG back their labels, where that is beyond doubt

Array = npt.NDArray[np.float64]

BLOCK = 8
# A plain encoder rounds each coefficient to its nearest step (0.5); some round towards zero to save bytes.
ROUNDING = 0.75
# Grey levels are whole numbers before and after, and the transform is often one of integers.
BLOCK_SLACK = 6.0
# In grey levels: a coefficient this near to halfway may have been rounded to either step.
TIE = 0.5
COSINES = np.sqrt(2 / BLOCK) * np.cos(np.pi / BLOCK * np.outer(np.arange(BLOCK), np.arange(BLOCK) + 0.5))
COSINES[0] /= np.sqrt(2)


def nearest_levels(jpeg: JpegPlanes, levels: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Give each pixel's nearest level (its place in `levels`, shape (n, planes)), and whether it is in doubt.

    A block of 8 × 8 is beyond doubt if its nearest levels, coded again, give the very values that are in the
    file, and no other choice of levels lies within the radius. The best other choice changes the one pixel
    that loses least by it. Clipping to 0..255 only brings a picture nearer to the one that was saved.
    """
    squares = np.stack([((jpeg.planes - level[:, None, None]) ** 2).sum(axis=0) for level in levels])
    first, second = np.partition(squares, 1, axis=0)[:2]
    nearest = squares.argmin(axis=0)
    saved = np.moveaxis(np.round(levels)[nearest], -1, 0)
    coded = [_code(plane, steps) for plane, steps in zip(saved, jpeg.steps, strict=True)]
    again, ties = np.stack(coded, axis=1)
    left = ((jpeg.planes - again) ** 2).sum(axis=0)
    allowed = (BLOCK_SLACK + np.sqrt(ties.sum(axis=0))) ** 2
    inexplicable = (_block_sums(left) > allowed) & (left > allowed / BLOCK**2)
    explained_otherwise = _block_sums(first) - first + second <= block_radius(jpeg) ** 2
    return nearest, explained_otherwise | inexplicable


def block_radius(jpeg: JpegPlanes) -> float:
    """Give how far a block can lie from the one that was saved, as the root of its summed squares."""
    # Planes of colour are also rounded when they are computed from red, green and blue.
    slack = BLOCK_SLACK if len(jpeg.planes) == 1 else BLOCK_SLACK + BLOCK / 2
    per_plane = ROUNDING * np.sqrt((jpeg.steps**2).sum(axis=(1, 2))) + slack
    return float(np.sqrt((per_plane**2).sum()))


def ycbcr_of_rgb(rgb: Array) -> Array:
    """Turn (n, 3) red, green, blue, 0 to 255, into Y, Cb, Cr (ITU-T T.871, section 7).

    Examples
    --------
    >>> ycbcr_of_rgb(np.array([[255.0, 0.0, 0.0]])).round().tolist()
    [[76.0, 85.0, 256.0]]
    """
    weights = [(0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)]
    return np.asarray(rgb @ np.array(weights).T + (0, 128, 128))


def _code(plane: Array, steps: Array) -> Array:
    """Give a plane as a JPEG with these steps shows it, and the summed squares that ties may change."""
    rows, columns = plane.shape
    padded = np.pad(plane - 128, ((0, -rows % BLOCK), (0, -columns % BLOCK)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, -1, BLOCK).swapaxes(1, 2)
    exact = COSINES @ blocks @ COSINES.T / steps
    rounded = np.round(exact)
    ties = ((np.abs(exact - rounded) > 0.5 - TIE / steps) * steps**2).sum(axis=(2, 3), keepdims=True)
    shown = np.clip(COSINES.T @ (rounded * steps) @ COSINES + 128, 0, 255)
    both = np.stack([shown, np.broadcast_to(ties, shown.shape)])
    return both.swapaxes(2, 3).reshape(2, *padded.shape)[:, :rows, :columns]


def _block_sums(values: Array) -> Array:
    """Give every pixel the sum over its block; blocks are cut off at the picture's edge."""
    rows, columns = values.shape
    starts = np.arange(0, rows, BLOCK), np.arange(0, columns, BLOCK)
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    return np.asarray(sums.repeat(BLOCK, axis=0)[:rows].repeat(BLOCK, axis=1)[:, :columns])


# --- what a JPEG most likely shows, where a person accepts that

# Grey levels within which a pixel and its eight neighbours are one surface.
FLAT = 8
# Values so near to each other are one level, blurred.
ONE_LEVEL = 12
# Levels nearer than this to each other are no few well-separated values.
APART = 32
MOST_LEVELS = 8
# Share of all pixels that lie on one of the levels, where a picture shows labels and no photograph.
ON_LEVELS = 0.9
FEWEST_PIXELS = 16
# A colour with so little of it could be taken for grey.
NEARLY_GREY = 16
# A pixel is between two levels if the way over it is hardly longer.
DETOUR = 1.1


def shown_levels(jpeg: JpegPlanes) -> tuple[int, ...]:
    """Give the few well-separated grey values that a JPEG shows beside 0; none where it is no such picture."""
    grey = jpeg.planes[0]
    if np.abs(jpeg.planes[1:] - 128).max(initial=0) > FLAT:
        return ()
    counts = np.bincount(np.round(grey[_flat(jpeg.planes[:1])]).astype(int), minlength=256)
    occupied = np.flatnonzero(counts >= 4)
    if not len(occupied):
        return ()
    groups = np.split(occupied, np.flatnonzero(np.diff(occupied) > ONE_LEVEL) + 1)
    large = [group for group in groups if counts[group].sum() >= FEWEST_PIXELS]
    levels = [int(np.median(np.repeat(group, counts[group]))) for group in large]
    levels = [0 if level <= ONE_LEVEL / 2 else 255 if level >= 255 - ONE_LEVEL / 2 else level for level in levels]
    every = np.array(sorted({0, *levels}))
    near = np.abs(grey[..., None] - every).min(axis=-1) <= ONE_LEVEL
    if len(every) > MOST_LEVELS + 1 or np.diff(every).min(initial=255) < APART or near.mean() < ON_LEVELS:
        return ()
    return tuple(every[1:].tolist())


def _flat(planes: Array) -> npt.NDArray[np.bool_]:
    """Tell which pixels lie on a surface of one value."""
    size = (1, 3, 3)
    rise = ndimage.maximum_filter(planes, size=size) - ndimage.minimum_filter(planes, size=size)
    return np.asarray(rise.max(axis=0) <= FLAT)


def _fit(planes: Array, levels: Array) -> bool:
    """Tell whether levels are well apart and every surface of a JPEG has one of them."""
    apart = min((float(np.linalg.norm(a - b)) for i, a in enumerate(levels) for b in levels[:i]), default=0.0)
    flat = _flat(planes)
    away = np.min([np.sqrt(((planes - level[:, None, None]) ** 2).sum(axis=0)) for level in levels], axis=0)
    return apart >= APART and flat.mean() >= 0.5 and int((flat & (away > 2 * ONE_LEVEL)).sum()) < FEWEST_PIXELS


def likely_levels(planes: Array, levels: Array) -> npt.NDArray[np.intp]:
    """Give each pixel the level that it is most like (its place in `levels`), with regard to what lies beside it.

    What is blurred between two levels passes over those in between: it is one of the two, and no third structure.
    """
    distances = np.stack([np.sqrt(((planes - level[:, None, None]) ** 2).sum(axis=0)) for level in levels])
    nearest = distances.argmin(axis=0)
    beside = np.stack(
        [
            ndimage.maximum_filter(ndimage.minimum_filter((nearest == k).astype(np.uint8), size=3), size=7) > 0
            for k in range(len(levels))
        ]
    )
    of_two = np.zeros(nearest.shape, dtype=bool)
    for one in range(len(levels)):
        for two in range(one):
            apart = float(np.linalg.norm(levels[one] - levels[two]))
            between = distances[one] + distances[two] <= DETOUR * apart
            of_two |= beside[one] & beside[two] & between
    among = np.where(beside, distances, np.inf).argmin(axis=0)
    return np.where(of_two, among, nearest)


REMEDY = (
    "Save the labels as PNG or NPY from the program in which they were drawn; converting this file does not "
    "bring the lost values back."
)
OFFER = "If there is no such file any more, the check of the folder (1_train, or autoseg check) offers a repair."


def picture_labels(
    path: Path,
    pictures: Sequence[Picture],
    structures: tuple[Structure, ...] = (),
    values: Mapping[int, int] | None = None,
    *,
    nearest: bool = False,
) -> npt.NDArray[np.integer]:
    """Give the labels of a PNG, of the pages of a TIFF, or of a JPEG, shape (slices, rows, columns).

    With `nearest` the pixels of a JPEG that are in doubt get the value they are most like, of those nearby.
    """
    if pictures[0].is_jpeg and path.suffix.lower() not in TIFF_SUFFIXES:
        return _read_jpeg_labels(path, pictures[0], structures, values, nearest=nearest)[None]
    return np.stack([_labels_of(path, picture, structures, values) for picture in pictures])


def with_labels(
    path: Path, voxels: npt.NDArray[np.integer], values: Mapping[int, int] | None
) -> npt.NDArray[np.integer]:
    """Put labels in the place of a file's values; 0 stays 0 unless it is named, None changes nothing.

    Examples
    --------
    >>> with_labels(Path("a.png"), np.array([0, 29, 76]), {29: 1, 76: 2}).tolist()
    [0, 1, 2]
    """
    if values is None:
        return voxels
    label_of = {0: 0, **values}
    found, counts = np.unique(voxels, return_counts=True)
    unknown = [
        f"{v} ({n} pixels)" for v, n in zip(found.tolist(), counts.tolist(), strict=True) if v not in label_of
    ]
    if unknown:
        shown = ", ".join(unknown[:8]) + (", …" if len(unknown) > 8 else "")
        raise LabelError(
            f"{path} holds values that stand for no structure: {shown}. Known: "
            f"{name_some([str(value) for value in sorted(label_of)], 12)}. "
            "Add them to the column values of structures.csv, or set them to 0 in the file."
        )
    labels = [label_of[value] for value in found.tolist()]
    return np.array(labels, dtype=np.min_scalar_type(max(labels)))[np.searchsorted(found, voxels)]


def _labels_of(
    path: Path, picture: Picture, structures: tuple[Structure, ...], values: Mapping[int, int] | None
) -> npt.NDArray[np.integer]:
    """Read a picture that was stored without loss, shape (rows, columns)."""
    if picture.is_jpeg:
        raise LabelError(f"{path} is a TIFF compressed as JPEG, which blurs values. {REMEDY}")
    pixels = whole_numbers(path, picture.pixels)
    if pixels.ndim == 2:
        if picture.palette is not None and values is None:
            _check_palette(path, pixels, picture.palette, structures)
        return with_labels(path, pixels, values)
    if picture.has_alpha:
        pixels = without_alpha(path, pixels)
    if (pixels == pixels[..., :1]).all() and (values is not None or pixels.dtype != np.uint8):
        return with_labels(path, pixels[..., 0], values)
    if pixels.dtype != np.uint8 or pixels.shape[-1] not in (1, 3):
        raise LabelError(
            f"{path} has {pixels.shape[-1]} channels of {8 * pixels.dtype.itemsize} bit, and is neither grey nor a "
            "picture in colours of 8 bits. Save the labels as one grey value a pixel."
        )
    return _labels_by_their_colours(path, pixels, structures)


def _labels_by_their_colours(
    path: Path, pixels: npt.NDArray[np.integer], structures: tuple[Structure, ...]
) -> npt.NDArray[np.integer]:
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
    known = ", ".join(f"#{code:06x} = {label}" for code, label in label_of.items())
    raise LabelError(
        f"{path} is a colour picture with {counted(len(unknown), 'colour')} that no structure has: {shown}. "
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


def without_alpha(path: Path, pixels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Give the colours, black where the picture is transparent; LabelError if pixels are so in part."""
    alpha = pixels[..., -1:]
    partial = (alpha > 0) & (alpha < np.iinfo(pixels.dtype).max)
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


def _read_jpeg_labels(
    path: Path,
    picture: Picture,
    structures: tuple[Structure, ...],
    values: Mapping[int, int] | None,
    *,
    nearest: bool,
) -> npt.NDArray[np.integer]:
    jpeg = read_jpeg_planes(path)
    if not structures and not values:
        raise _without_names(path, jpeg)
    label_of = {0: 0} | ({s.label: s.label for s in structures} if values is None else dict(values))
    labels = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    colours = ycbcr_of_rgb(np.array([(0, 0, 0), *(s.rgb for s in structures)], dtype=np.float64))
    greys = np.array(list(label_of), dtype=np.float64)[:, None]
    grey_jpeg = JpegPlanes(jpeg.planes[:1], jpeg.steps[:1])
    if len(jpeg.planes) == 1 or _is_grey(jpeg, colours, greys, block_radius(grey_jpeg)):
        jpeg, levels = grey_jpeg, greys
        labels = np.array(list(label_of.values()), dtype=np.uint8)
    else:
        _labels_by_colour(path, structures)
        levels = colours
    fits = _fit(jpeg.planes, levels)
    if jpeg.colour_at_full_resolution:
        found, doubt = nearest_levels(jpeg, levels)
    else:
        found, doubt = likely_levels(jpeg.planes, levels), ~_flat(jpeg.planes)
    if not doubt.any():
        return labels[found]
    if nearest and fits:
        return labels[np.where(doubt, likely_levels(jpeg.planes, levels), found)]
    if jpeg.colour_at_full_resolution:
        words = _doubt_message(path, picture.pixels[doubt], jpeg, levels)
    else:
        words = (
            f"{path} is a JPEG that keeps colours at a lower resolution than the picture (4:2:0), so the "
            f"labels at every edge are in doubt. {REMEDY}"
        )
    raise UnclearLabelsError(f"{words} {OFFER}", "nearest", pixels=int(doubt.sum())) if fits else LabelError(words)


def _without_names(path: Path, jpeg: JpegPlanes) -> LabelError:
    """Give the error for a JPEG of which nobody has said which values there can be; with those that it shows."""
    found = shown_levels(jpeg)
    words = (
        f"{path} is a JPEG, which blurs values, and nothing says which values there can be. Name them in "
        f"structures.csv (label = grey value, or colour). {REMEDY}"
    )
    return UnclearLabelsError(f"{words} {OFFER}", "nearest", found) if found else LabelError(words)


def _is_grey(
    jpeg: JpegPlanes, colours: npt.NDArray[np.float64], greys: npt.NDArray[np.float64], radius: float
) -> bool:
    """Tell whether a JPEG in colour shows grey values, and none of the colours can be taken for one of them."""
    if np.abs(jpeg.planes[1:] - 128).max() > 0:
        return False
    drawn = colours[colours[:, 0] > 0]
    # A surface of some pixels would show its colour, however strongly the file is compressed.
    has_grey_surface = ndimage.minimum_filter(jpeg.planes[0], size=5).max() > 2 * ONE_LEVEL
    if has_grey_surface and bool((np.abs(drawn[:, 1:] - 128).max(axis=1) > NEARLY_GREY).all()):
        return True
    return bool((np.abs(drawn[:, 0] - greys) > radius).all())


def _doubt_message(
    path: Path, doubtful: npt.NDArray[np.generic], jpeg: JpegPlanes, levels: npt.NDArray[np.float64]
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
