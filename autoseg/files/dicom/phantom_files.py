"""Writing phantoms as DICOM files, in every form that the reader must understand."""

from __future__ import annotations

from collections.abc import Iterator
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

from autoseg.files.dicom.phantoms import Phantom, Syntax, Vector

SYNTAXES: dict[Syntax, UID] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg 2000": JPEG2000Lossless,
}


def write_phantom(folder: Path, phantom: Phantom) -> tuple[Path, ...]:
    """Write a phantom as a DICOM series: one file per slice, or one enhanced multi-frame file.

    Parameters
    ----------
    folder : Path
        Is made if needed. Files are named 1.dcm, 2.dcm … in the order of `places_mm`.
    phantom : Phantom
        What to write.

    Returns
    -------
    tuple of Path
        The files.
    """
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
