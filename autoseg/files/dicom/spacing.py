"""Pixel sizes and slice distances from a DICOM header, whichever attribute holds them."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from autoseg.files.dicom.values import Vector, holder_of, number_of, numbers_of, text_of, value_of

# RegionSpatialFormat and PhysicalUnits of an ultrasound region (DICOM PS3.3 C.8.5.5.1.1 and C.8.5.5.1.15).
TWO_DIMENSIONAL, CENTIMETRES = 1, 3
SAME_DELTA = 1e-4  # relative; regions that differ by more are of several magnifications


def pixel_spacing(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> Vector | None:
    """Give the distance in mm between rows and between columns, or None, with a sentence on what is odd.

    Sources: PixelSpacing (PS3.3 10.7.1.1) of the frame, its shared groups or the file; without it an ultrasound
    region's PhysicalDelta. ImagerPixelSpacing and NominalScannedPixelSpacing are not the body's and not used.
    """
    measures = holder_of(dataset, groups, "PixelMeasuresSequence", "PixelSpacing")
    if text_of(measures, "PixelSpacing"):
        numbers = numbers_of(measures, "PixelSpacing", 2)
        if numbers is None or min(numbers) <= 0:
            text = text_of(measures, "PixelSpacing")
            faults.append(f"PixelSpacing in the header is {text}, which cannot be; it counts as unknown.")
            return None
        if numbers == numbers_of(dataset, "ImagerPixelSpacing", 2):
            faults.append(
                "PixelSpacing equals ImagerPixelSpacing, the size on the detector, where the body appears "
                "magnified: areas are too large unless the maker corrected it."
            )
        return numbers
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if text_of(dataset, keyword):
            faults.append(
                f"The header has no PixelSpacing, only {keyword} ({text_of(dataset, keyword)} mm), the size on "
                "the detector or film, where the body appears magnified; it is not used for areas."
            )
    return _ultrasound_spacing(dataset, faults)


def slice_spacing(dataset: Dataset, groups: Sequence[Dataset]) -> float | None:
    """Give SpacingBetweenSlices in mm, or else SliceThickness; None where neither is positive."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        for holder in (holder_of(dataset, groups, "PixelMeasuresSequence", keyword), dataset):
            number = number_of(holder, keyword)
            if number is not None and number > 0:
                return number
    return None


def _ultrasound_spacing(dataset: Dataset, faults: list[str]) -> Vector | None:
    """Give the pixel size of the two-dimensional ultrasound regions, where all of them have the same."""
    found, places = [], []
    for region in value_of(dataset, "SequenceOfUltrasoundRegions") or ():
        units = [number_of(region, f"PhysicalUnits{axis}Direction") for axis in "YX"]
        deltas = [number_of(region, f"PhysicalDelta{axis}") for axis in "YX"]
        if number_of(region, "RegionSpatialFormat") == TWO_DIMENSIONAL and units == [CENTIMETRES] * 2:
            found.append(tuple(10 * abs(delta or 0.0) for delta in deltas))
            corners = ("MinY0", "MaxY1", "MinX0", "MaxX1")
            places.append([f"{number_of(region, f'RegionLocation{c}') or 0:.0f}" for c in corners])
    if not found:
        return None
    if not all(min(mm) > 0 and _same(mm, found[0]) for mm in found):
        faults.append(
            f"Its {len(found)} ultrasound regions have pixels of several sizes, or of none, so none is used. "
            "Export each region as a picture of its own, or type the pixel size."
        )
        return None
    inside = " and ".join(
        f"rows {top} to {bottom}, columns {left} to {right}" for top, bottom, left, right in places
    )
    faults.append(
        f"The pixel size, {found[0][0]:.4g} × {found[0][1]:.4g} mm, is that of the ultrasound region; areas hold "
        f"inside it only ({inside})."
    )
    return found[0]


def _same(first: Vector, other: Vector) -> bool:
    return all(abs(a - b) <= SAME_DELTA * b for a, b in zip(first, other, strict=True))
