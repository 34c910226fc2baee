"""Read DICOM structure sets (RTSTRUCT) and turn their contours into pixels of the image they were drawn on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from autoseg.errors import LabelError, ReadError
from autoseg.files.dicom.records import (
    PYDICOM_ERRORS,
    items,
    numbers_of,
    other_image,
    quiet,
    read_object,
    slices_by_instance,
    text_of,
)
from autoseg.image.contours import fill_contours, nest_contours
from autoseg.image.image import Image
from autoseg.words import GraveNote, OutsideNote, counted, say_slices

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
PLANAR = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# A contour that leaves its plane by more than this share of the distance between slices was drawn on others.
OFF_PLANE = 0.1
# Each pair is looked at; one contour around a thousand islands has a thousand.
MOST_NEAR = 5_000


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed contour: (n, 3) points in patient coordinates in mm, and the instances it was drawn on.

    It is `exclusive` where the file says that of contours that overlap the common part is left out
    (CLOSEDPLANAR_XOR).
    """

    points_mm: npt.NDArray[np.float64]
    sop_uids: tuple[str, ...] = ()
    exclusive: bool = False


@dataclass(frozen=True)
class Roi:
    """One region of interest: its number in the file, name, colour (red, green, blue) if any, closed contours."""

    number: int
    name: str
    colour: tuple[int, int, int] | None = None
    contours: tuple[Contour, ...] = ()


@dataclass(frozen=True)
class StructureSet:
    """The regions of a structure set; `series_uids` and `sop_uids` name the images that they were drawn on.

    `notes` are sentences about what is not an area (points, open lines) or was left out.
    """

    path: Path
    rois: tuple[Roi, ...]
    series_uids: tuple[str, ...] = ()
    sop_uids: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def read_structure_set(path: Path) -> StructureSet:
    """Read a DICOM structure set, also one without preamble and file meta information."""
    path = Path(path)
    with quiet():
        dataset = read_object(path, (STRUCTURE_SET,), what="DICOM structure set (RTSTRUCT)")
        try:
            return _structure_set(path, dataset)
        except PYDICOM_ERRORS as error:
            raise ReadError(
                f"{path}: the header of this structure set is damaged ({error}). Export it again."
            ) from error


def labels_on(
    structure_set: StructureSet, image: Image
) -> tuple[dict[int, npt.NDArray[np.bool_]], tuple[str, ...]]:
    """Give the mask of each region on an image, by its number, shape (slices, rows, columns), and notes.

    A contour belongs to the slice that it refers to; one without a reference to the slice in whose plane it lies,
    to within half the distance between slices. A pixel belongs to a region where at least half of it lies inside.
    Of several contours on one slice, one inside another is a hole, and of two that overlap partly everything inside
    either counts; the notes say where. No contour is drawn between slices. Regions may overlap. Contours are in mm,
    so that an image without an affine is a GeometryError.
    """
    into = np.linalg.inv(image.calibrated_affine)
    instances = slices_by_instance(image)
    masks, notes, placed, left = {}, list(structure_set.notes), 0, 0
    for roi in structure_set.rois:
        if not roi.contours:
            continue
        rings: dict[int, list[npt.NDArray[np.float64]]] = defaultdict(list)
        joined, holes = [], []
        exclusive = all(contour.exclusive for contour in roi.contours)
        for contour in roi.contours:
            index = np.c_[contour.points_mm, np.ones(len(contour.points_mm))] @ into[:3].T
            place = _slice_of(structure_set.path, roi, contour, index[:, 0], image, instances)
            if place is None:
                left += 1
            else:
                rings[place].append(index[:, 1:])
        mask = np.zeros(image.shape, dtype=np.bool_)
        for place, points in rings.items():
            _check_number(structure_set.path, roi, place, points)
            nesting = nest_contours(points, image.shape[1:])
            mask[place] = fill_contours(points, image.shape[1:], nesting=nesting, exclusive=exclusive)
            placed += len(points)
            joined += [place] if nesting.overlapping else []
            holes += [place] if any(depth % 2 for depth in nesting.depths) else []
        masks[roi.number] = mask
        notes += _about_several(roi.name, joined, holes, exclusive=exclusive)
    if left and not placed and not structure_set.sop_uids & set(instances):
        raise other_image(structure_set.path, structure_set.series_uids, image)
    if left:
        notes.append(OutsideNote(f"{left} of {left + placed} contours lie on slices that are not in this image."))
    return masks, tuple(notes)


def _check_number(path: Path, roi: Roi, place: int, points: Sequence[npt.NDArray[np.float64]]) -> None:
    """Refuse so many contours over each other on one slice that to tell holes from overlaps would take for ever."""
    low, high = (np.array([end(one, axis=0) for one in points]) for end in (np.min, np.max))
    near = sum(
        int(((low[after:] <= high[after - 1]) & (high[after:] >= low[after - 1])).all(axis=1).sum())
        for after in range(1, len(points))
    )
    if near > MOST_NEAR:
        raise LabelError(
            f"{path}: {counted(len(points), 'contour')} of {roi.name!r} lie on slice {place + 1}, and {near:,} "
            "pairs of them over each other, which no drawing has. Export the structure set again, or draw that "
            "structure anew."
        )


def _about_several(name: str, joined: Sequence[int], holes: Sequence[int], *, exclusive: bool) -> Iterator[str]:
    """Say on which slices contours of one region overlap, and on which one is a hole in another."""
    if joined:
        counts = "everything inside any of them counts, and the common part once"
        if exclusive:
            counts = "only what lies inside one of them counts, as the file says"
        yield GraveNote(f"Contours of {name} overlap partly on {_slices(joined)}: {counts}. Look at these slices.")
    if holes:
        yield f"Contours of {name} lie within others on {_slices(holes)}: these are holes."


def _slices(places: Sequence[int]) -> str:
    return f"slice{'s' * (len(places) > 1)} {say_slices(places)}"


def _slice_of(
    path: Path,
    roi: Roi,
    contour: Contour,
    across: npt.NDArray[np.float64],
    image: Image,
    instances: dict[str, list[int]],
) -> int | None:
    """Give the slice of a contour by its reference or its place `across` the slices; None if it is not there."""
    middle = float(across.mean())
    if contour.sop_uids and instances:
        found = [index for uid in contour.sop_uids for index in instances.get(uid, ())]
        # A multi-frame image has one instance for all slices, and the frame is not always named.
        place = min(found, key=lambda index: abs(index - middle), default=None)
    else:
        place = round(middle) if -0.5 < middle < image.shape[0] - 0.5 else None
    if place is None:
        return None
    off = abs(middle - place), float(np.ptp(across))
    if off[0] > 0.5 or off[1] > 2 * OFF_PLANE:
        raise LabelError(
            f"{path}: a contour of {roi.name!r} does not lie in the plane of slice {place + 1} of "
            f"{image.source.name}: it is {off[0]:.2g} slices off and reaches over {off[1]:.2g} slices. Contours "
            "drawn on another plane cannot be measured here; choose the image on which they were drawn."
        )
    return place


def _structure_set(path: Path, dataset: Dataset) -> StructureSet:
    if not (items(dataset, "StructureSetROISequence") and items(dataset, "ROIContourSequence")):
        raise ReadError(f"{path} names no region with contours: it is empty or cut off. Copy or export it again.")
    contours: dict[int, list[Contour]] = defaultdict(list)
    colours: dict[int, tuple[int, int, int]] = {}
    odd: Counter[str] = Counter()
    copies = 0
    for item in items(dataset, "ROIContourSequence"):
        number = int(item.ReferencedROINumber)
        colour = numbers_of(item, "ROIDisplayColor", 3)
        if colour and all(0 <= value <= 255 for value in colour):
            colours[number] = (int(colour[0]), int(colour[1]), int(colour[2]))
        seen = set()
        for drawn in items(item, "ContourSequence"):
            kind = text_of(drawn, "ContourGeometricType")
            if kind not in PLANAR:
                odd[kind or "untyped"] += 1
                continue
            contour = Contour(_points(path, number, drawn), tuple(_references(drawn)), kind == PLANAR[1])
            if len(contour.points_mm) < 3:
                odd[f"{kind} of fewer than three points"] += 1
                continue
            # Drawn twice, a contour would cancel itself out.
            key = (contour.points_mm.tobytes(), contour.sop_uids)
            copies += key in seen
            if key not in seen:
                contours[number].append(contour)
            seen.add(key)
    notes = [
        f"{counted(count, 'contour')} without an area ({kind}): not drawn." for kind, count in sorted(odd.items())
    ]
    notes += [f"{counted(copies, 'contour')} drawn twice, taken once."] if copies else []
    rois = []
    for item in items(dataset, "StructureSetROISequence"):
        number = int(item.ROINumber)
        name = text_of(item, "ROIName") or f"region {number}"
        rois.append(Roi(number, name, colours.get(number), tuple(contours[number])))
    series, listed = _listed(dataset)
    drawn_on = {uid for found in contours.values() for contour in found for uid in contour.sop_uids}
    return StructureSet(path, tuple(rois), series, frozenset(listed | drawn_on) - {""}, tuple(notes))


def _points(path: Path, number: int, drawn: Dataset) -> npt.NDArray[np.float64]:
    try:
        values = np.array(drawn.get("ContourData") or [], dtype=np.float64).ravel()
    except PYDICOM_ERRORS:
        values = np.array([np.nan])
    if len(values) % 3 or not np.isfinite(values).all():
        raise ReadError(
            f"{path}: a contour of region {number} has ContourData that are not points of three numbers (x, y, z "
            "in mm). Export it again."
        )
    return values.reshape(-1, 3)


def _references(drawn: Dataset) -> Iterator[str]:
    for image in items(drawn, "ContourImageSequence"):
        uid = text_of(image, "ReferencedSOPInstanceUID")
        if uid:
            yield uid


def _listed(dataset: Dataset) -> tuple[tuple[str, ...], set[str]]:
    """Give the series, and the instances in them, that the structure set says it was drawn on."""
    series = [
        series
        for frame in items(dataset, "ReferencedFrameOfReferenceSequence")
        for study in items(frame, "RTReferencedStudySequence")
        for series in items(study, "RTReferencedSeriesSequence")
    ]
    uids = tuple(dict.fromkeys(text_of(one, "SeriesInstanceUID") for one in series))
    return uids, {
        text_of(image, "ReferencedSOPInstanceUID") for one in series for image in items(one, "ContourImageSequence")
    }
