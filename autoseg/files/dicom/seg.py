"""Read DICOM segmentations (SEG) and lay their segments onto the image on which they were drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels import iter_pixels
from pydicom.uid import UID, ExplicitVRLittleEndian

from autoseg.errors import LabelError, ReadError
from autoseg.files.dicom.pixels import UNCOMPRESSED, transfer_syntax, why_unlike_its_pixels
from autoseg.files.dicom.records import (
    PYDICOM_ERRORS,
    Vector,
    items,
    number_of,
    numbers_of,
    other_image,
    quiet,
    read_dataset,
    read_object,
    slices_by_instance,
    text_of,
)
from autoseg.image.geometry import affine_from_axes
from autoseg.image.image import Image
from autoseg.image.structures import Side
from autoseg.words import OutsideNote, counted

Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
KINDS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # segmentation, label map
# Laterality (DICOM PS3.16 CID 244) in SNOMED CT and in the older SNOMED RT.
SIDES: dict[str, Side] = {
    "7771000": "left", "G-A101": "left", "24028007": "right", "G-A100": "right", "51440002": "both",
    "G-A102": "both",
}  # fmt: skip
BACKGROUND = "125040"  # DICOM PS3.16, code of "Background"
FRACTION = 0.5
# How far a frame may lie from its slice, in pixels within it and in slice steps across: in the plane no more
# than numbers are rounded; across, an uneven stack that was taken as even is off by up to a tenth.
SAME_PLACE = (0.01, 0.1)


@dataclass(frozen=True)
class Segment:
    """One segment: its number in the file, its label, the colour (red, green, blue) and side if the file says."""

    number: int
    name: str
    colour: tuple[int, int, int] | None = None
    side: Side = ""


@dataclass(frozen=True)
class SegmentFrame:
    """One stored frame: its segment (None in a label map), the instances it was drawn on, and its place.

    `sources` are SOP instance UIDs, each with its frame numbers (from 1); none of them means all.
    """

    segment: int | None
    sources: tuple[tuple[str, tuple[int, ...]], ...]
    position_mm: Vector | None
    orientation: Vector | None
    spacing_mm: Vector | None


@dataclass(frozen=True)
class Segmentation:
    """The header of a segmentation file; pixels are decoded by `labels_on`.

    `series_uids` and `sop_uids` are those of the images that it names as its sources. `maximum` is the stored
    value that means 1 in a FRACTIONAL one, `syntax` the transfer syntax.
    """

    path: Path
    kind: Kind
    segments: tuple[Segment, ...]
    frames: tuple[SegmentFrame, ...]
    rows: int
    columns: int
    maximum: float = 1.0
    series_uids: tuple[str, ...] = ()
    sop_uids: frozenset[str] = frozenset()
    syntax: UID = ExplicitVRLittleEndian


def read_segmentation(path: Path) -> Segmentation:
    """Read the header of a DICOM segmentation: what its segments are and on which slices they were drawn."""
    path = Path(path)
    with quiet():
        dataset = read_object(path, KINDS, what="DICOM segmentation")
        try:
            return _segmentation(path, dataset)
        except PYDICOM_ERRORS as error:
            raise ReadError(
                f"{path}: the header of this segmentation is damaged ({error}). Export it again."
            ) from error


def labels_on(segmentation: Segmentation, image: Image) -> tuple[dict[int, npt.NDArray[np.bool_]], tuple[str, ...]]:
    """Give each segment's mask on an image, by its number, shape (slices, rows, columns), and notes.

    Frames are matched by the SOP instance (and frame) that they refer to; only where a frame or the image has
    no reference, by position and orientation. Segments may overlap; `autoseg.image.contours.combine_masks` makes
    one label map of them. Fractional segments count where they are at least 0.5. A smaller frame whose pixels lie
    on the image's is put in its place; nothing is stretched.
    """
    instances = slices_by_instance(image)
    places = [_slice_of(segmentation, frame, image, instances) for frame in segmentation.frames]
    wanted = [(index, place) for index, place in enumerate(places) if place is not None]
    if not wanted and not segmentation.sop_uids & set(instances):
        raise other_image(segmentation.path, segmentation.series_uids, image)
    # Those of segments without a frame here share one empty mask, as there may be hundreds.
    empty = np.broadcast_to(np.False_, image.shape)
    masks: dict[int, npt.NDArray[np.bool_]] = {segment.number: empty for segment in segmentation.segments}
    with quiet():
        decoded = _decoded(segmentation, [index for index, _ in wanted])
        for (index, place), pixels in zip(wanted, decoded, strict=True):
            frame = segmentation.frames[index]
            row, column = _corner(segmentation, frame, image, place)
            window = (place, slice(row, row + pixels.shape[0]), slice(column, column + pixels.shape[1]))
            if frame.segment is None:
                for number in masks.keys() & set(np.unique(pixels).tolist()):
                    _own(masks, number)[window] |= pixels == number
            elif frame.segment in masks:
                _own(masks, frame.segment)[window] |= pixels >= FRACTION * segmentation.maximum
    return masks, _notes(segmentation, len(wanted))


def _own(masks: dict[int, npt.NDArray[np.bool_]], number: int) -> npt.NDArray[np.bool_]:
    if not masks[number].flags.writeable:
        masks[number] = masks[number].copy()
    return masks[number]


def _segmentation(path: Path, dataset: FileDataset) -> Segmentation:
    kind = text_of(dataset, "SegmentationType")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise ReadError(
            f"{path}: its SegmentationType is {kind or 'missing'}; BINARY, FRACTIONAL or LABELMAP is read."
        )
    shared = list(items(dataset, "SharedFunctionalGroupsSequence"))[:1]
    per_frame = list(items(dataset, "PerFrameFunctionalGroupsSequence"))
    count = int(dataset.get("NumberOfFrames") or 1)
    if len(per_frame) != count:
        raise ReadError(
            f"{path} holds {counted(count, 'frame')} but says of {len(per_frame)} where they belong. Export it "
            "again, with a functional group for each frame."
        )
    frames = tuple(_frame(path, [group, *shared], kind) for group in per_frame)
    series = list(items(dataset, "ReferencedSeriesSequence"))
    listed = (item for one in series for item in items(one, "ReferencedInstanceSequence"))
    sources = {uid for frame in frames for uid, _ in frame.sources}
    segments = (_segment(item) for item in items(dataset, "SegmentSequence"))
    return Segmentation(
        path=path,
        kind=cast(Kind, kind),
        segments=tuple(segment for segment in segments if segment is not None),
        frames=frames,
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        maximum=(number_of(dataset, "MaximumFractionalValue") or 255.0) if kind == "FRACTIONAL" else 1.0,
        series_uids=tuple(dict.fromkeys(text_of(item, "SeriesInstanceUID") for item in series)),
        sop_uids=frozenset(sources | {text_of(item, "ReferencedSOPInstanceUID") for item in listed}) - {""},
        syntax=transfer_syntax(dataset),
    )


def _segment(item: Dataset) -> Segment | None:
    """Give a segment, or None for the background that a label map may list."""
    number = int(item.SegmentNumber)
    kinds = list(items(item, "SegmentedPropertyTypeCodeSequence"))
    if number == 0 or any(text_of(code, "CodeValue") == BACKGROUND for code in kinds):
        return None
    regions = items(item, "AnatomicRegionSequence")
    modifiers = [code for kind in kinds for code in items(kind, "SegmentedPropertyTypeModifierCodeSequence")]
    modifiers += [code for region in regions for code in items(region, "AnatomicRegionModifierSequence")]
    sides = [SIDES[value] for code in modifiers if (value := text_of(code, "CodeValue")) in SIDES]
    name = text_of(item, "SegmentLabel") or next((text_of(kind, "CodeMeaning") for kind in kinds), "")
    return Segment(number, name or f"segment {number}", _colour(item), sides[0] if sides else "")


def _colour(item: Dataset) -> tuple[int, int, int] | None:
    lab = numbers_of(item, "RecommendedDisplayCIELabValue", 3)
    if lab is None:
        return None
    from highdicom.color import CIELabColor  # 0.3 s, and few files come here

    red, green, blue = CIELabColor.from_dicom_value([int(value) for value in lab]).to_rgb()
    return int(red), int(green), int(blue)


def _frame(path: Path, groups: Sequence[Dataset], kind: str) -> SegmentFrame:
    def group(sequence: str) -> Dataset:
        return next((item for holder in groups for item in items(holder, sequence)), Dataset())

    segment = number_of(group("SegmentIdentificationSequence"), "ReferencedSegmentNumber")
    if segment is None and kind != "LABELMAP":
        raise ReadError(f"{path}: a frame does not say to which segment it belongs. Export it again.")
    derivations = next((found for holder in groups if (found := items(holder, "DerivationImageSequence"))), ())
    sources = [source for item in derivations for source in items(item, "SourceImageSequence")]
    sources = [source for source in sources if text_of(source, "ReferencedSOPInstanceUID")]
    return SegmentFrame(
        segment=None if kind == "LABELMAP" or segment is None else int(segment),
        sources=tuple((text_of(source, "ReferencedSOPInstanceUID"), _frame_numbers(source)) for source in sources),
        position_mm=numbers_of(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=numbers_of(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing_mm=numbers_of(group("PixelMeasuresSequence"), "PixelSpacing", 2),
    )


def _frame_numbers(source: Dataset) -> tuple[int, ...]:
    numbers = source.get("ReferencedFrameNumber")
    if numbers is None:
        return ()
    return tuple(int(number) for number in (numbers if isinstance(numbers, Sequence) else [numbers]))


def _slice_of(
    segmentation: Segmentation, frame: SegmentFrame, image: Image, instances: dict[str, list[int]]
) -> int | None:
    """Give the slice that a frame was drawn on; None if it is not in the image."""
    across = _across(frame, image)
    if frame.sources and instances:
        found = {
            index
            for uid, numbers in frame.sources
            for index in instances.get(uid, ())
            if not numbers or image.source.slices[index].frame + 1 in numbers
        }
        if len(found) > 1 and across is None:
            raise LabelError(
                f"{segmentation.path}: a frame names {len(found)} slices of {image.source.name} as its sources "
                "and has no position, so its place is unknown. Export it again with positions."
            )
        return min(found, key=lambda index: abs(index - (across or 0.0)), default=None)
    if across is None or abs(across - round(across)) > SAME_PLACE[1]:
        return None
    return round(across) if 0 <= round(across) < image.shape[0] else None


def _across(frame: SegmentFrame, image: Image) -> float | None:
    """Give the place of a frame along the slices of the image, in slices; None if either has no position."""
    if frame.position_mm is None or image.affine is None:
        return None
    return float((np.linalg.inv(image.affine) @ [*frame.position_mm, 1.0])[0])


def _corner(segmentation: Segmentation, frame: SegmentFrame, image: Image, place: int) -> tuple[int, int]:
    """Give the row and column of the frame's first pixel; LabelError if the pixels are not the image's."""
    size = segmentation.rows, segmentation.columns
    corner, off, known = np.zeros(3), np.zeros(3), False
    if frame.position_mm and frame.orientation and frame.spacing_mm and image.affine is not None:
        own = affine_from_axes(
            position_mm=frame.position_mm,
            orientation=frame.orientation,
            pixel_spacing_mm=frame.spacing_mm,
            slice_step_mm=np.cross(frame.orientation[:3], frame.orientation[3:]).tolist(),
        )
        ends = np.array([[0, 0, 0], [0, size[0] - 1, 0], [0, 0, size[1] - 1]])
        if image.source.spacing_source == "typed":
            ends = ends[:1]  # another pixel size than the header's moves all corners but the first
        there = (np.linalg.inv(image.affine) @ own @ np.c_[ends, np.ones(len(ends))].T)[:3].T
        corner, known = np.round(there[0]) * (0, 1, 1), True
        off = np.abs(there - ends - corner - (place, 0, 0)).max(axis=0)
    row, column = int(corner[1]), int(corner[2])
    inside = min(row, column) >= 0 and row + size[0] <= image.shape[1] and column + size[1] <= image.shape[2]
    if (
        inside
        and (known or size == image.shape[1:])
        and (off <= (SAME_PLACE[1], SAME_PLACE[0], SAME_PLACE[0])).all()
    ):
        return row, column
    raise LabelError(
        f"{segmentation.path} has frames of {size[0]} × {size[1]} pixels whose places differ from the pixels of "
        f"{image.source.name} ({image.shape[1]} × {image.shape[2]}) by up to {off.max():.3g} pixels or slices, or "
        "reach beyond it. Export the segmentation on the image's own grid; autoseg does not stretch labels."
    )


def _decoded(segmentation: Segmentation, indices: Sequence[int]) -> Iterator[npt.NDArray[np.integer]]:
    """Decode some frames, one after the other: a thousand of them would fill the memory."""
    if not indices:
        return
    try:
        dataset = read_dataset(segmentation.path)
        stored = len(segmentation.frames) * segmentation.rows * segmentation.columns * dataset.BitsAllocated
        dataset.file_meta.TransferSyntaxUID = segmentation.syntax
        # pydicom takes bits that are missing at the end for zeros.
        if not segmentation.syntax.is_encapsulated and 8 * len(dataset.PixelData) < stored:
            raise EOFError("there are fewer than the header announces")
        if segmentation.syntax.is_encapsulated and (wrong := why_unlike_its_pixels(dataset, segmentation.syntax)):
            raise ValueError(wrong)
        yield from iter_pixels(dataset, indices=list(indices), raw=True)
    except PYDICOM_ERRORS as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[:3]).rstrip(".")
        raise ReadError(
            f"{segmentation.path}: the pixels of this segmentation ({segmentation.syntax.name}) cannot be decoded: "
            f"{lines}. The file is cut off, or compressed in a way that no decoder here reads. {UNCOMPRESSED}"
        ) from error


def _notes(segmentation: Segmentation, placed: int) -> tuple[str, ...]:
    left, count = len(segmentation.frames) - placed, len(segmentation.frames)
    notes: list[str] = []
    if left:
        notes.append(OutsideNote(f"{left} of {count} frames belong to slices that are not in this image."))
    if segmentation.kind == "FRACTIONAL":
        notes.append(f"Segments are stored as shares of a pixel; those of at least {FRACTION:g} count.")
    return tuple(notes)
