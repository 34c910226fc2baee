"""Read a case: its image, and its labels from whatever files hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.data.cases.case import Case
from autoseg.data.cases.images import file_stamp, read_case_image, read_image_file, read_whole_image
from autoseg.data.repairs import apply_repairs
from autoseg.errors import LabelError, ReadError
from autoseg.files.contours import read_contour_file
from autoseg.files.dicom.rtstruct import labels_on as contours_on
from autoseg.files.dicom.rtstruct import read_structure_set
from autoseg.files.dicom.seg import labels_on as segments_on
from autoseg.files.dicom.seg import read_segmentation
from autoseg.files.labels import read_binary_file, read_label_file, read_label_volume
from autoseg.files.sources import PICTURE_ENDINGS, VOLUME_ENDINGS, LabelFile, ending, name_without_ending
from autoseg.image.contours import combine_masks, fill_contour
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.raters import combine_raters
from autoseg.image.structures import Structure

Voxels = npt.NDArray[np.integer]
Masks = dict[int, npt.NDArray[np.bool_]]
Shares = npt.NDArray[np.float32]


def read_case(
    case: Case, structures: Sequence[Structure], *, pixel_spacing_mm: tuple[float, float] | None = None
) -> tuple[Image, LabelMap]:
    """Read one case; its labels lie on the image's own grid.

    Parameters
    ----------
    case : Case
    structures : sequence of Structure
        Every value in the label file is one of them, or 0.
    pixel_spacing_mm : (2,) tuple of float, optional
        Distance in mm between rows and between columns, in place of the header's.

    Returns
    -------
    tuple of Image and LabelMap
        Both of shape (slices, rows, columns), of one slice for a picture or a DICOM file.

    Raises
    ------
    ReadError
        If a file is missing or damaged.
    LabelError
        If the grids differ (both are named) or a value has no name.
    """
    image = read_case_image(case, pixel_spacing_mm=pixel_spacing_mm)
    voxels, shares = read_labels(case, tuple(structures))
    place = SliceSource(case.label_path, case.images[0].frame or 0)
    label_map = LabelMap(
        voxels=voxels,
        structures=tuple(structures),
        annotated=case.annotated,
        source=Source(case_id=case.case_id, slices=(place,) * len(voxels)),
        shares=shares,
    )
    return image, label_map.on_grid_of(image)


def read_case_labels(case: Case, structures: Sequence[Structure]) -> Voxels:
    """Read the labels of a case as they are in its files, shape (slices, rows, columns)."""
    return read_labels(case, tuple(structures))[0]


def read_rater_labels(case: Case, structures: Sequence[Structure]) -> tuple[list[LabelMap], list[str]]:
    """Read what each rater of a case drew, without combining: their label maps and names."""
    files: dict[str, list[LabelFile]] = {}
    for file in case.labels:
        files.setdefault(file.rater, []).append(file)
    image = read_whole_image(case)
    known = tuple(structures)
    maps = [
        LabelMap(_read_rater(case, mine, known), structures=known, annotated=_drawn_by(case, mine, known))
        for mine in files.values()
    ]
    return [label_map.on_grid_of(image) for label_map in maps], [rater or "rater" for rater in files]


def read_labels(case: Case, structures: tuple[Structure, ...]) -> tuple[Voxels, Shares | None]:
    """Give the labels, and the raters' shares where those are wanted."""
    raters: dict[str, list[LabelFile]] = {}
    for file in case.labels:
        raters.setdefault(file.rater, []).append(file)
    drawn = [_read_rater(case, files, structures) for files in raters.values()]
    shares = None
    if len(drawn) == 1:
        voxels = drawn[0]
    else:
        known = [_drawn_by(case, files, structures) for files in raters.values()]
        maps = [LabelMap(v, structures=structures, annotated=k) for v, k in zip(drawn, known, strict=True)]
        together = combine_raters(maps, rule=case.reading.raters, agreeing=case.reading.agreeing)
        voxels, shares = together.voxels, together.shares
    if case.repairs:
        voxels, shares = apply_repairs(voxels, case.repairs), None
    if case.slices is not None:
        chosen = slice(*case.slices)
        voxels, shares = voxels[chosen], None if shares is None else shares[:, chosen]
    if case.part_repairs:
        voxels, shares = apply_repairs(voxels, case.part_repairs), None
    return voxels.copy(), shares


def marked_names(file: LabelFile) -> tuple[str, ...]:
    """Give the structures that a binary file is about, also those of which it marks nothing."""
    if file.token:
        return (file.token,)
    try:
        return tuple(segment.name for segment in read_segmentation(file.path).segments)
    except ReadError:
        return tuple(roi.name for roi in read_structure_set(file.path).rois)


def _drawn_by(case: Case, files: Sequence[LabelFile], structures: Sequence[Structure]) -> frozenset[int] | None:
    """Give what one rater drew: where each structure has its own file, those of which there is one."""
    if not files[0].binary:
        return case.annotated
    names: Mapping[object, int] = {s.name: s.label for s in structures} | dict(case.values)
    return frozenset(names[n] for file in files for n in marked_names(file) if names.get(n))


def _read_rater(case: Case, files: Sequence[LabelFile], structures: tuple[Structure, ...]) -> Voxels:
    """Give the labels of one rater, of one file or of one file a structure."""
    if not files[0].binary:
        return _read_values(case, files[0], structures)
    names: Mapping[object, int] = {s.name: s.label for s in structures} | dict(case.values)
    masks: Masks = {}
    for file in files:
        for token, mask in read_label_masks(case, file):
            if token not in names:
                raise LabelError(
                    f"{file.path} marks {token!r}, which no structure is called. Write it into the column 'values' "
                    f"of structures.csv. Known: {[s.name for s in structures]}."
                )
            label = names[token]
            if label:
                masks[label] = masks[label] | mask if label in masks else mask
    order = [s.label for s in structures]
    return combine_masks(masks, order)[0] if masks else np.zeros(read_whole_image(case).shape, dtype=np.uint8)


def read_label_masks(case: Case, file: LabelFile) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Give the structures that a file marks, by their names or by the token of the file's name."""
    image = read_whole_image(case)
    if file.path.suffix.lower() == ".txt":
        return [(file.token, fill_contour(read_contour_file(file.path), image.shape[1:])[None])]
    if ending(file.path) in (*VOLUME_ENDINGS, *PICTURE_ENDINGS):
        mask, _ = read_binary_file(file.path, image, trust_array=case.reading.trust_array)
        return [(file.token, mask)]
    try:
        segmentation = read_segmentation(file.path)
    except ReadError:
        drawn = read_structure_set(file.path)
        masks, _ = contours_on(drawn, image)
        return [(roi.name, masks[roi.number]) for roi in drawn.rois if roi.number in masks]
    masks, _ = segments_on(segmentation, image)
    return [(segment.name, masks[segment.number]) for segment in segmentation.segments if segment.number in masks]


def _read_values(case: Case, file: LabelFile, structures: tuple[Structure, ...]) -> Voxels:
    values = tuple((value, label) for value, label in case.values if isinstance(value, int))
    voxels = read_label_values(case, file.path, structures, values)
    image = case.images[0]
    if image.frame is None:
        return voxels
    own = f"{name_without_ending(image.path)}_{image.frame + 1:03d}"
    if {case.case_id, own} & {file.path.stem, name_without_ending(Path(file.path.stem))}:
        return voxels
    stacks = read_image_file(image.path, (), file_stamp(image.path), None, None, ())
    frames = sum(stack.shape[0] for stack in stacks)
    if len(voxels) != frames:
        raise LabelError(
            f"{file.path} holds {len(voxels)} slice(s), but {image.path} has {frames} frames. "
            f"Save one slice for each frame, or one file for each frame ({own}.png and so on)."
        )
    return voxels[image.frame : image.frame + 1]


def read_label_values(
    case: Case,
    path: Path,
    structures: tuple[Structure, ...] = (),
    values: tuple[tuple[int, int], ...] = (),
) -> Voxels:
    """Read a label file whose values are labels, with all slices or frames that it holds, on its image's axes."""
    if ending(path) in VOLUME_ENDINGS:
        image, trust = read_whole_image(case), case.reading.trust_array
        return read_label_volume(path, image, values=dict(values), trust_array=trust)[0]
    return _read_picture_labels(path, file_stamp(path), structures, values)


@lru_cache(maxsize=1)
def _read_picture_labels(
    path: Path, stamp: tuple[int, int], structures: tuple[Structure, ...], values: tuple[tuple[int, int], ...]
) -> Voxels:
    return read_label_file(path, structures, values=dict(values))
