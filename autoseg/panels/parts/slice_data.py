"""Slices as the page's viewer needs them: whole numbers, windows to start with, letters at the edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoseg.image.geometry import Affine, affine_from_spacing
from autoseg.image.image import Image
from autoseg.image.overlay import display_window

# Grey values between two display windows' widths beyond the window are kept; a spike far outside is cut, as it
# would leave too few steps for the rest.
CUT_WIDTHS = 20.0
SAMPLE_VALUES = 200_000
# Centre and width in Hounsfield units, as radiologists use them.
HOUNSFIELD_WINDOWS = (("soft tissue", 40.0, 400.0), ("bone", 400.0, 1800.0), ("lung", -600.0, 1500.0))

Values = npt.NDArray[np.generic]


@dataclass(frozen=True)
class GreyScale:
    """How intensities become whole numbers: intensity = first + step * number.

    `most` is the largest number, 255 or 65535; values below `first` or without a number (NaN) become 0.
    """

    first: float
    step: float
    most: int

    @property
    def last(self) -> float:
        """The intensity of the largest number."""
        return self.first + self.step * self.most


@dataclass(frozen=True)
class Window:
    """What is shown black and white: centre and width, in the image's own intensities."""

    name: str
    centre: float
    width: float


def grey_scale(voxels: Values) -> GreyScale:
    """Choose a scale that loses nothing an eye could see.

    Whole numbers (all of CT, nearly all of MR) that span at most 65,536 values are kept exactly. Others get 65,536
    steps between the lowest and the highest finite value, cut 20 display windows beyond the display window.

    Examples
    --------
    >>> grey_scale(np.array([-1024, 3071], np.int16))
    GreyScale(first=-1024.0, step=1.0, most=65535)
    """
    low, high = intensity_range(voxels)
    if high - low <= 65535 and _whole(voxels):
        return GreyScale(low, 1.0, 255 if high - low <= 255 else 65535)
    black, white = display_window(voxels)
    reach = CUT_WIDTHS * (white - black)
    if reach > 0:
        low, high = max(low, black - reach), min(high, white + reach)
    return GreyScale(low, (high - low) / 65535 if high > low else 1.0, 65535)


def intensity_range(voxels: Values) -> tuple[float, float]:
    """Give the lowest and the highest finite intensity; (0, 0) where there is none."""
    if voxels.dtype.kind != "f":
        return float(voxels.min()), float(voxels.max())
    with np.errstate(all="ignore"):
        all_finite = np.isfinite(voxels.sum(dtype=np.float64))
    if not all_finite:  # no copy in the usual case
        voxels = voxels[np.isfinite(voxels)]
    return (float(voxels.min()), float(voxels.max())) if voxels.size else (0.0, 0.0)


def encode_slice(values: Values, scale: GreyScale) -> bytes:
    """Give one slice's numbers, row by row: a byte each, or two with the lower one first."""
    if values.dtype.kind == "f":
        finite = np.nan_to_num(values.astype(np.float64), nan=scale.first, posinf=scale.last, neginf=scale.first)
    else:
        finite = values.astype(np.float64)
    numbers = np.rint((finite - scale.first) / scale.step).clip(0, scale.most)
    return numbers.astype("u1" if scale.most == 255 else "<u2").tobytes()


def decode_slice(data: bytes, scale: GreyScale, shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """Give back the intensities of an encoded slice, as the page computes them."""
    numbers = np.frombuffer(data, "u1" if scale.most == 255 else "<u2").reshape(tuple(shape))
    return np.asarray(scale.first + scale.step * numbers.astype(np.float64))


def windows(voxels: Values) -> tuple[Window, ...]:
    """Give the windows to choose from: "auto" first, soft tissue, bone and lung where values look like CT.

    Examples
    --------
    >>> windows(np.array([[0, 100], [100, 0]]))
    (Window(name='auto', centre=50.0, width=100.0),)
    """
    black, white = display_window(voxels)
    width = white - black
    auto = Window("auto", (black + white) / 2, width if width > 0 else 1.0)
    presets = (Window(*preset) for preset in HOUNSFIELD_WINDOWS)
    return (auto, *presets) if looks_like_ct(voxels) else (auto,)


def looks_like_ct(voxels: Values) -> bool:
    """Tell whether intensities look like Hounsfield units: air about -1000, and a body of about -150 to 250."""
    values = _sample(voxels)
    air = (values > -1100) & (values < -850)
    body = values[values > -500]
    tissue = (body > -150) & (body < 250)
    return bool(air.mean() > 0.01 and tissue.sum() > 0.5 * max(body.size, 1) and values.max() < 32768)


def edge_letters(image: Image) -> tuple[str, str, str, str]:
    """Give the letters for the left, right, top and bottom edge of the picture; empty where nothing is known.

    L and R are the patient's sides, A and P front and back, H and F head and feet. Where an edge looks between two
    directions both letters stand, the nearer one first. An image whose position is not in its header was *taken*
    as axial; it gets no letters.
    """
    if image.affine is None or _is_placeholder(image):
        return ("", "", "", "")
    along_rows, along_columns = image.affine[:3, 2], image.affine[:3, 1]
    return _letters(-along_rows), _letters(along_rows), _letters(-along_columns), _letters(along_columns)


def _letters(direction: npt.NDArray[np.float64]) -> str:
    shares = direction / np.linalg.norm(direction)
    letters = [("L", "R"), ("P", "A"), ("H", "F")]  # of growing and falling x, y, z
    order = np.argsort(-np.abs(shares), kind="stable")
    return "".join(letters[axis][int(shares[axis] < 0)] for axis in order[:2] if abs(shares[axis]) > 0.35)


def _is_placeholder(image: Image) -> bool:
    affine: Affine = image.calibrated_affine
    assumed = np.array_equal(affine, affine_from_spacing(image.spacing_mm))
    said = any("taken as axial" in note for note in image.source.notes)
    return assumed and (said or image.source.spacing_source == "typed")


def _whole(voxels: Values) -> bool:
    """Tell whether all finite values are whole numbers; slice by slice, to stop at the first that is none."""
    if voxels.dtype.kind != "f":
        return True
    return all(bool((part == np.rint(part))[np.isfinite(part)].all()) for part in voxels)


def _sample(voxels: Values) -> npt.NDArray[np.float64]:
    values = voxels.ravel()[:: max(1, voxels.size // SAMPLE_VALUES)].astype(np.float64)
    finite = values[np.isfinite(values)]
    return finite if finite.size else np.zeros(1)
