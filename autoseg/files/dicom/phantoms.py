"""DICOM series of known shapes, to prove that areas and positions are read right.

The pictures carry their own labels: structure k has the intensity 100 k (after rescaling) on a background
of 0. Every true number is computed here from the phantom's parameters, with nothing of the reader's code;
`write_phantom` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

Vector = tuple[float, ...]
Syntax = Literal["explicit", "implicit", "big endian", "deflated", "rle", "jpeg 2000"]

INTENSITY = 100
AXIAL, SAGITTAL, CORONAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)


@dataclass(frozen=True)
class Shape:
    """An ellipse or rectangle on a slice.

    `centre_mm` counts from the middle of the picture along a row and down a column, `half_mm` are half the
    lengths of its two axes, and `angle_deg` turns it from the row's direction to the column's.
    """

    label: int
    kind: Literal["ellipse", "rectangle"]
    centre_mm: tuple[float, float]
    half_mm: tuple[float, float]
    angle_deg: float = 0.0

    @property
    def area_mm2(self) -> float:
        """Area of the shape itself, before it becomes pixels."""
        return (math.pi if self.kind == "ellipse" else 4.0) * self.half_mm[0] * self.half_mm[1]

    def contains(
        self, x_mm: npt.NDArray[np.float64], y_mm: npt.NDArray[np.float64], scale: float
    ) -> npt.NDArray[np.bool_]:
        """Tell which points lie in the shape, enlarged by `scale` about its own centre."""
        x, y = x_mm - self.centre_mm[0], y_mm - self.centre_mm[1]
        turn = math.radians(self.angle_deg)
        along = (x * math.cos(turn) + y * math.sin(turn)) / (scale * self.half_mm[0])
        across = (y * math.cos(turn) - x * math.sin(turn)) / (scale * self.half_mm[1])
        if self.kind == "ellipse":
            return np.asarray(along**2 + across**2 <= 1)
        return (np.abs(along) <= 1) & (np.abs(across) <= 1)


SHAPES = (
    Shape(1, "ellipse", (-20.3, -9.7), (13.0, 13.0)),
    Shape(2, "ellipse", (18.2, -7.9), (17.0, 9.0), 30.0),
    Shape(3, "rectangle", (-4.1, 21.6), (20.5, 7.3), 10.0),
)


@dataclass(frozen=True)
class Phantom:
    """A series of slices with known shapes, and the way it is stored.

    `places_mm` are the slices' distances along the normal in the order in which they are written; shapes are
    6 % larger on every next place and 9 % larger at every next moment, so that a slice out of order shows.
    `shear` moves a slice down its columns by so many mm for each mm along the normal.
    """

    name: str
    rows: int = 96
    columns: int = 112
    pixel_spacing_mm: tuple[float, float] = (1.0, 1.0)
    places_mm: Vector = (0.0, 4.0, 8.0)
    orientation: Vector = AXIAL
    origin_mm: Vector = (12.5, -30.25, 101.0)
    shear: float = 0.0
    moments: int = 1
    shapes: tuple[Shape, ...] = SHAPES
    slope: float = 1.0
    intercept: float = 0.0
    bits_stored: int = 16
    signed: bool = False
    inverted: bool = False
    syntax: Syntax = "explicit"
    multiframe: bool = False

    def slice_centre_mm(self, place_mm: float) -> npt.NDArray[np.float64]:
        """Patient coordinates of the middle of a slice's picture."""
        across, down = np.reshape(self.orientation, (2, 3))
        normal = np.cross(across, down)
        return np.asarray(self.origin_mm + place_mm * (normal + self.shear * down))

    def label_picture(self, place_mm: float, moment: int = 0) -> npt.NDArray[np.uint8]:
        """Paint every pixel whose centre lies in a shape, shape (rows, columns)."""
        x, y = self._grid_mm()
        scale = (1 + 0.06 * sorted(self.places_mm).index(place_mm)) * (1 + 0.09 * moment)
        picture = np.zeros((self.rows, self.columns), dtype=np.uint8)
        for shape in self.shapes:
            picture[shape.contains(x, y, scale)] = shape.label
        return picture

    def truth(self) -> tuple[PhantomArea, ...]:
        """Give every area and place: by moment, then along the normal towards head, back or left."""
        across, down = np.reshape(self.orientation, (2, 3))
        normal = np.cross(across, down)
        sign = 1.0 if normal[np.abs(normal).argmax()] > 0 else -1.0
        x, y = self._grid_mm()
        rows = []
        for moment in range(self.moments):
            for place in sorted(self.places_mm, key=lambda place: sign * place):
                picture, middle = self.label_picture(place, moment), self.slice_centre_mm(place)
                scale = (1 + 0.06 * sorted(self.places_mm).index(place)) * (1 + 0.09 * moment)
                for shape in self.shapes:
                    inside = picture == shape.label
                    rows.append(
                        PhantomArea(
                            label=shape.label,
                            position_mm=float(sign * normal @ middle),
                            pixel_count=int(inside.sum()),
                            area_mm2=float(inside.sum()) * math.prod(self.pixel_spacing_mm),
                            shape_area_mm2=shape.area_mm2 * scale**2,
                            centre_mm=tuple(middle + x[inside].mean() * across + y[inside].mean() * down),
                        )
                    )
        return tuple(rows)

    def _grid_mm(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Pixel centres from the middle of the picture, along rows and down columns."""
        y = (np.arange(self.rows) - (self.rows - 1) / 2) * self.pixel_spacing_mm[0]
        x = (np.arange(self.columns) - (self.columns - 1) / 2) * self.pixel_spacing_mm[1]
        across, down = np.meshgrid(x, y)
        return across, down

    def stored(self, place_mm: float, moment: int) -> npt.NDArray[np.integer]:
        """Give the integers that the file holds."""
        intensity = INTENSITY * self.label_picture(place_mm, moment).astype(np.float64)
        stored = np.rint((intensity - self.intercept) / self.slope)
        if self.inverted:
            stored = (-1 if self.signed else 2**self.bits_stored - 1) - stored
        return stored.astype(np.int16 if self.signed else np.uint16)


@dataclass(frozen=True)
class PhantomArea:
    """The true area of one structure on one slice of a phantom, and where in the patient its middle lies.

    `area_mm2` is that of its pixels, `shape_area_mm2` that of the shape before it became pixels.
    """

    label: int
    position_mm: float
    pixel_count: int
    area_mm2: float
    shape_area_mm2: float
    centre_mm: Vector


_OBLIQUE = (0.8, 0.36, -0.48, -0.6, 0.48, -0.64)
_RAMP = tuple(float(place) for place in range(0, 35, 5))

PHANTOMS = (
    Phantom("plain"),
    Phantom("fine pixels", rows=192, columns=224, pixel_spacing_mm=(0.5, 0.5), places_mm=(0.0, 1.5)),
    Phantom("coarse pixels", rows=32, columns=40, pixel_spacing_mm=(3.0, 3.0)),
    Phantom("non-square pixels", rows=180, columns=80, pixel_spacing_mm=(0.55, 1.4)),
    Phantom("oblique", orientation=_OBLIQUE, pixel_spacing_mm=(0.9, 1.1), places_mm=_RAMP),
    Phantom("sagittal", orientation=SAGITTAL),
    Phantom("coronal", orientation=CORONAL),
    Phantom("inverted order", places_mm=_RAMP[::-1]),
    Phantom("shuffled order", places_mm=(20.0, 5.0, 30.0, 0.0, 15.0, 10.0, 25.0)),
    Phantom("feet first", orientation=(-1, 0, 0, 0, 1, 0), places_mm=_RAMP),
    Phantom("gap", places_mm=(0.0, 4.0, 8.0, 24.0, 28.0)),
    Phantom("gantry tilt", shear=0.25, places_mm=_RAMP),
    Phantom("two time points", moments=2, places_mm=(8.0, 0.0, 4.0)),
    Phantom("rescaled", slope=0.5, intercept=-1000.0),
    Phantom("signed", signed=True, bits_stored=12, intercept=400.0),
    Phantom("MONOCHROME1", inverted=True, bits_stored=12),
    Phantom("MONOCHROME1 signed", inverted=True, signed=True, intercept=150.0, slope=2.5),
    Phantom("implicit", syntax="implicit"),
    Phantom("big endian", syntax="big endian"),
    Phantom("deflated", syntax="deflated"),
    Phantom("RLE", syntax="rle"),
    Phantom("JPEG 2000", syntax="jpeg 2000", bits_stored=12),
    Phantom("JPEG 2000 signed", syntax="jpeg 2000", signed=True, intercept=250.0),
    Phantom("enhanced", multiframe=True, places_mm=(8.0, 0.0, 4.0), orientation=_OBLIQUE, slope=2.0),
    Phantom("enhanced RLE", multiframe=True, syntax="rle", moments=2, pixel_spacing_mm=(0.9, 1.1)),
)


# --- writing phantoms as DICOM files, in every form that the reader must understand

SYNTAXES: dict[Syntax, UID] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg 2000": JPEG2000Lossless,
}


def write_phantom(folder: Path, phantom: Phantom) -> tuple[Path, ...]:
    """Write a phantom as a DICOM series: one file per slice, or one enhanced multi-frame file."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets = [_enhanced(phantom)] if phantom.multiframe else list(_single_frames(phantom))
    paths = []
    for number, dataset in enumerate(datasets, start=1):
        paths.append(folder / f"{number}.dcm")
        _write(paths[-1], dataset, phantom.syntax)
    return tuple(paths)


def _single_frames(phantom: Phantom) -> Iterator[Dataset]:
    taken = [(moment, place) for moment in range(phantom.moments) for place in phantom.places_mm]
    for number, (moment, place) in enumerate(taken, start=1):
        dataset = _common(phantom, MRImageStorage, number)
        dataset.TriggerTime = 40 * moment
        dataset.ImagePositionPatient = _position(phantom, place)
        dataset.ImageOrientationPatient = _decimals(phantom.orientation)
        dataset.PixelSpacing = _decimals(phantom.pixel_spacing_mm)
        dataset.SliceThickness = 3
        if (phantom.slope, phantom.intercept) != (1.0, 0.0):
            dataset.RescaleSlope, dataset.RescaleIntercept = _decimals((phantom.slope, phantom.intercept))
        _set_pixels(dataset, phantom.stored(place, moment), phantom.syntax)
        yield dataset


def _enhanced(phantom: Phantom) -> Dataset:
    dataset = _common(phantom, EnhancedMRImageStorage, 1)
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(PixelSpacing=_decimals(phantom.pixel_spacing_mm), SliceThickness="3")
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=_decimals(phantom.orientation))
    slope, intercept = _decimals((phantom.slope, phantom.intercept))
    shared.PixelValueTransformationSequence = _item(RescaleSlope=slope, RescaleIntercept=intercept)
    frames, pictures = [], []
    for moment in range(phantom.moments):
        for place in phantom.places_mm:
            frame = Dataset()
            frame.FrameContentSequence = _item(TemporalPositionIndex=moment + 1)
            frame.PlanePositionSequence = _item(ImagePositionPatient=_position(phantom, place))
            frames.append(frame)
            pictures.append(phantom.stored(place, moment))
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.NumberOfFrames = len(frames)
    _set_pixels(dataset, np.stack(pictures), phantom.syntax)
    return dataset


def _common(phantom: Phantom, kind: UID, number: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[phantom.name, "slice", str(number)])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[phantom.name, "series"])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["autoseg phantoms"])
    dataset.Modality = "MR"
    dataset.PatientID = "phantom"
    dataset.SeriesDescription = phantom.name
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = phantom.rows, phantom.columns, 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if phantom.inverted else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored = 16, phantom.bits_stored
    dataset.HighBit, dataset.PixelRepresentation = phantom.bits_stored - 1, int(phantom.signed)
    return dataset


def _set_pixels(dataset: Dataset, stored: npt.NDArray[np.integer], syntax: Syntax) -> None:
    order: Literal["<", ">"] = ">" if syntax == "big endian" else "<"
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW"


def _write(path: Path, dataset: Dataset, syntax: Syntax) -> None:
    dataset.file_meta = FileMetaDataset()
    if syntax in ("rle", "jpeg 2000"):
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(SYNTAXES[syntax], generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    dcmwrite(path, dataset, enforce_file_format=True)


def _item(**attributes: object) -> Sequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _position(phantom: Phantom, place_mm: float) -> list[str]:
    """Give ImagePositionPatient: the centre of the first pixel."""
    across, down = np.reshape(phantom.orientation, (2, 3))
    between_rows, between_columns = phantom.pixel_spacing_mm
    to_corner = (phantom.columns - 1) / 2 * between_columns * across
    to_corner = to_corner + (phantom.rows - 1) / 2 * between_rows * down
    return _decimals(phantom.slice_centre_mm(place_mm) - to_corner)


def _decimals(numbers: Vector | npt.NDArray[np.float64]) -> list[str]:
    return [format_number_as_ds(float(number)) for number in numbers]
