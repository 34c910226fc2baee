"""Read a case: its image, and its labels from whatever files hold them."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.data.cases.case import Case
from autoseg.data.codes import coded_image, hidden_errors, hide_note, original
from autoseg.data.repairs import apply_repairs, settled_by
from autoseg.errors import DataError, LabelError, ReadError, private
from autoseg.files.dicom.grouping import group_series
from autoseg.files.dicom.headers import FileHeader, read_header
from autoseg.files.dicom.records import quiet
from autoseg.files.dicom.series import read_dicom_file, read_series
from autoseg.files.labels import Marked, Settled, marked_names, read_label_file, read_label_volume, read_marked
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.nifti.sizes import FILE_NAME as VOXEL_SIZES
from autoseg.files.nifti.volumes import nifti_header
from autoseg.files.pictures.images import read_picture_image
from autoseg.files.sources import (
    PICTURE_ENDINGS,
    VOLUME_ENDINGS,
    ImageFile,
    LabelFile,
    ending,
    name_without_ending,
)
from autoseg.files.text_files import read_levels
from autoseg.image.contours import combine_masks
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.orientation import Plane
from autoseg.image.raters import combine_raters
from autoseg.image.structures import Structure
from autoseg.words import OutsideNote, counted

Voxels = npt.NDArray[np.integer]
Shares = npt.NDArray[np.float32]
Stamp = tuple[int, int]


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
    with hidden_errors(_folder_of(case)):
        image = read_case_image(case, pixel_spacing_mm=pixel_spacing_mm)
        labels = read_labels(case, tuple(structures))
        place = SliceSource(case.label_path, case.images[0].frame or 0)
        label_map = LabelMap(
            voxels=labels.voxels,
            structures=tuple(structures),
            annotated=case.annotated,
            source=Source(case_id=case.case_id, slices=(place,) * len(labels.voxels)),
            shares=labels.shares,
        ).on_grid_of(image)
    if labels.notes:
        own = labels.notes if not case.is_coded else tuple(map(hide_note, labels.notes))
        source = replace(label_map.source, notes=(*image.source.notes, *own))
        label_map = replace(label_map, source=source)
    return image, label_map


def read_case_labels(case: Case, structures: Sequence[Structure]) -> Voxels:
    """Read the labels of a case as they are in its files, shape (slices, rows, columns)."""
    return read_labels(case, tuple(structures)).voxels


def read_rater_labels(case: Case, structures: Sequence[Structure]) -> tuple[list[LabelMap], list[str]]:
    """Read what each rater of a case drew, on the grid of `read_case` and mended as there: label maps and names."""
    known, files = tuple(structures), _by_rater(case)
    with hidden_errors(_folder_of(case)):
        image = read_case_image(case)
        maps = [
            LabelMap(
                _mended(case, _read_rater(case, mine, known)[0])[0],
                structures=known,
                annotated=_drawn_by(case, mine, known),
            ).on_grid_of(image)
            for mine in files.values()
        ]
    return maps, [rater or "rater" for rater in files]


@dataclass(frozen=True, eq=False)
class CaseLabels:
    """The labels of a case, the raters' shares where those are wanted, and sentences on how they were drawn."""

    voxels: Voxels
    shares: Shares | None = None
    notes: tuple[str, ...] = ()


def read_labels(case: Case, structures: tuple[Structure, ...]) -> CaseLabels:
    """Read the labels of a case as they are in its files, of all raters together and with its repairs."""
    raters = _by_rater(case)
    read = [_read_rater(case, files, structures) for files in raters.values()]
    drawn = [voxels for voxels, _ in read]
    # What was drawn on other parts of the same series is no loss.
    is_part = case.images[0].part > 0
    notes = (note for _, said in read for note in said if not (is_part and isinstance(note, OutsideNote)))
    shares = None
    if len(drawn) == 1:
        voxels = drawn[0]
    else:
        known = [_drawn_by(case, files, structures) for files in raters.values()]
        maps = [LabelMap(v, structures=structures, annotated=k) for v, k in zip(drawn, known, strict=True)]
        together = combine_raters(maps, rule=case.reading.raters, agreeing=case.reading.agreeing)
        voxels, shares = together.voxels, together.shares
    voxels, shares = _mended(case, voxels, shares)
    return CaseLabels(voxels.copy(), shares, tuple(dict.fromkeys(notes)))


def _mended(case: Case, voxels: Voxels, shares: Shares | None = None) -> tuple[Voxels, Shares | None]:
    """Mend labels of the whole image as a person decided, and cut the case's slices out of them."""
    if case.repairs:
        voxels, shares = apply_repairs(voxels, case.repairs), None
    if case.slices is not None:
        _check_count(case, voxels.shape[0])
        chosen = slice(*case.slices)
        voxels, shares = voxels[chosen], None if shares is None else shares[:, chosen]
    if case.part_repairs:
        voxels, shares = apply_repairs(voxels, case.part_repairs), None
    return voxels, shares


def _by_rater(case: Case) -> dict[str, list[LabelFile]]:
    files: dict[str, list[LabelFile]] = {}
    for file in case.labels:
        files.setdefault(file.rater, []).append(file)
    return files


def labels_by_name(case: Case, structures: Sequence[Structure]) -> dict[int | str, int]:
    """Give the label of each name that a file of the case may mark; 0 leaves it out."""
    return {s.name: s.label for s in structures} | dict(case.values)


def _drawn_by(case: Case, files: Sequence[LabelFile], structures: Sequence[Structure]) -> frozenset[int] | None:
    """Give what one rater drew: where each structure has its own file, those of which there is one."""
    if not files[0].binary:
        return case.annotated
    names = labels_by_name(case, structures)
    return frozenset(names[n] for file in files for n in marked_names(file) if names.get(n))


def _read_rater(
    case: Case, files: Sequence[LabelFile], structures: tuple[Structure, ...]
) -> tuple[Voxels, tuple[str, ...]]:
    """Give the labels of one rater, of one file or one a structure, and sentences on how they were drawn."""
    if not files[0].binary and files[0].slice_index is None:
        return _read_values(case, files[0], structures), ()
    if not files[0].binary:
        return _stacked(case, [(file, _read_values(case, file, structures)) for file in files]), ()
    names = labels_by_name(case, structures)
    masks: dict[int, npt.NDArray[np.bool_]] = {}
    notes: list[str] = []
    for file in files:
        marked = read_label_masks(case, file)
        notes += marked.notes
        for token, mask in marked.masks:
            if token not in names:
                raise LabelError(
                    f"{file.path} marks {token!r}, which no structure is called. Write it into the column 'values' "
                    f"of structures.csv. Known: {', '.join(s.name for s in structures)}."
                )
            label = names[token]
            if label:
                add_mask(case, file, masks, label, mask)
    order = [s.label for s in structures]
    voxels = combine_masks(masks, order)[0] if masks else np.zeros(read_whole_image(case).shape, dtype=np.uint8)
    return voxels, tuple(notes)


def _stacked(case: Case, slices: Sequence[tuple[LabelFile, Voxels]]) -> Voxels:
    """Lay labels of single slices in their places; where there is no file all is 0."""
    whole = np.zeros(
        (case.file_count, *slices[0][1].shape[1:]), np.result_type(*(voxels.dtype for _, voxels in slices))
    )
    for file, voxels in slices:
        whole[file.slice_index] = _fitting(file, voxels, whole.shape)
    return whole


def _fitting(file: LabelFile, voxels: npt.NDArray[Any], whole: Sequence[int]) -> npt.NDArray[Any]:
    """Give the one slice of a label file, which is as large as those of the other slices."""
    if voxels.shape != (1, *whole[1:]):
        raise LabelError(
            f"{file.path} has {' × '.join(map(str, voxels.shape))} (slices, rows, columns), but other label files "
            f"of its stack have 1 × {' × '.join(map(str, whole[1:]))}. Save it on its image's own grid."
        )
    return voxels[0]


def add_mask(
    case: Case,
    file: LabelFile,
    masks: MutableMapping[Any, npt.NDArray[np.bool_]],
    key: int | str,
    mask: npt.NDArray[np.bool_],
) -> None:
    """Add what a file marks to what others do under the same key, on the whole of its image or on its slice."""
    if file.slice_index is None:
        masks[key] = masks[key] | mask if key in masks else mask
        return
    whole = masks.setdefault(key, np.zeros((case.file_count, *mask.shape[1:]), np.bool_))
    whole[file.slice_index] |= _fitting(file, mask, whole.shape)


def read_label_masks(case: Case, file: LabelFile) -> Marked:
    """Give the structures that a file marks, by their names or by the token of the file's name."""
    return read_marked(file, read_whole_image(case), trust_array=case.reading.trust_array, settled=_settled(case))


def _settled(case: Case) -> Settled:
    return settled_by((*case.repairs, *case.part_repairs))


def _read_values(case: Case, file: LabelFile, structures: tuple[Structure, ...]) -> Voxels:
    values = tuple((value, label) for value, label in case.values if isinstance(value, int))
    if file.indices:
        named = dict(values)
        stand = ((index, named.get(meant) if named and meant else meant) for index, meant in file.indices)
        values = tuple((index, label) for index, label in stand if label is not None)
    voxels = read_label_values(case, file.path, structures, values)
    image = case.images[0]
    if image.frame is None:
        return voxels
    own = f"{name_without_ending(image.path)}_{image.frame + 1:03d}"
    name = original(case.case_id) if case.is_coded else case.case_id
    if {name, own} & {file.path.stem, name_without_ending(Path(file.path.stem))}:
        return voxels
    stacks = read_image_file(image.path, (), file_stamp(image.path), None, None, ())
    frames = sum(stack.shape[0] for stack in stacks)
    if len(voxels) != frames:
        raise LabelError(
            f"{file.path} holds {counted(len(voxels), 'slice')}, but {image.path} has {frames} frames. "
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
        return read_label_volume(path, image, values=dict(values), trust_array=trust, settled=_settled(case))[0]
    return _read_picture_labels(path, file_stamp(path), structures, values, _settled(case))


def label_values_of(case: Case, file: LabelFile) -> list[int]:
    """Give the values that a label file holds, each once; its image is not looked at."""
    if ending(file.path) in VOLUME_ENDINGS:
        voxels = read_label_volume(file.path, settled=_settled(case))[0]
    else:
        voxels = read_label_values(case, file.path, values=file.indices)
    return [int(value) for value in np.unique(voxels)]


@lru_cache(maxsize=1)
def _read_picture_labels(
    path: Path,
    stamp: tuple[int, int],
    structures: tuple[Structure, ...],
    values: tuple[tuple[int, int], ...],
    settled: Settled,
) -> Voxels:
    return read_label_file(path, structures, values=dict(values), settled=settled)


# --- images, whatever kind of files they are kept in


def read_case_image(case: Case, *, pixel_spacing_mm: tuple[float, float] | None = None) -> Image:
    """Read the image of a case, shape (slices, rows, columns), with channels in front where there are several.

    Further channels that lie on another grid are brought to the first one's by linear interpolation.
    """
    with hidden_errors(_folder_of(case)):
        image = read_whole_image(case, pixel_spacing_mm)
    if case.is_coded:
        image = coded_image(image, (case.subject_id, case.case_id))
    if case.slices is None:  # what is read is the caller's own, and the cached one stays as it is
        return replace(image, voxels=image.voxels.copy())
    _check_count(case, image.shape[0])
    return _cut(image, case.slices)


def _check_count(case: Case, count: int) -> None:
    """Refuse to cut slices out of a stack that is no longer the one whose slices a person left out."""
    if case.whole_slices not in (None, count):
        whole = counted(case.whole_slices or 0, "slice")
        raise DataError(
            f"repairs.csv leaves out slices of {private(case.whole_id)} as of {whole}, and it has {count}: another "
            "file lies there now, or annotated.csv changed. Undo that answer in 1_train (or delete the row) and "
            "look at the image again."
        )


def _folder_of(case: Case) -> Path | None:
    """Give the folder whose names errors about a case must not tell; None where they may."""
    return case.image_path.parent if case.is_coded else None


def read_whole_image(case: Case, typed: tuple[float, float] | None = None) -> Image:
    """Read all slices of the image of a case."""
    channels = [_read_channel(file, case, typed) for file in case.images]
    first = channels[0]
    if len(channels) > 1:
        voxels = np.stack([_on_grid_of(first, channel) for channel in channels])
        first = replace(first, voxels=voxels, channels=case.channels)
    slices = first.source.slices
    if case.levels_path is not None:
        levels = read_levels(case.levels_path)
        numbers = level_numbers(first)
        slices = tuple(replace(s, level=levels.get(n, "")) for n, s in zip(numbers, slices, strict=True))
    return replace(
        first, source=replace(first.source, case_id=case.case_id, subject_id=case.subject_id, slices=slices)
    )


def level_numbers(image: Image) -> list[int]:
    """Give the numbers by which a level file knows the slices: in the order of the file, or of the stack."""
    slices = image.source.slices
    several = len({place.path for place in slices}) > 1
    return list(range(len(slices))) if several else [place.frame for place in slices]


def _refuse_time_points(path: Path, count: int) -> None:
    if count != 1:
        raise ReadError(
            f"{path} holds {count} time points, and its labels do not say to which they belong. Save the time "
            "point that was drawn on as a file of its own."
        )


def _read_channel(file: ImageFile, case: Case, typed: tuple[float, float] | None) -> Image:
    # Where one file holds all channels, they are told apart by the names that the case gives.
    inside = case.channels if len(case.images) == 1 else ()
    if ending(file.path) in VOLUME_ENDINGS and file.frame is None:
        shape = nifti_header(file.path).shape
        _refuse_time_points(file.path, shape[3] if len(shape) == 4 else 1)  # before all of them are read
    images = read_image_file(file.path, file.others, _stamp_of(file), typed, case.reading.plane, inside)
    if ending(file.path) in PICTURE_ENDINGS or ending(file.path) in VOLUME_ENDINGS:
        images = images if file.frame is None else images[file.frame : file.frame + 1]
        _refuse_time_points(file.path, len(images))
        image = images[0]
        spacing = typed or case.reading.pixel_spacing_mm
        if image.affine is None and spacing is not None:
            source = replace(image.source, spacing_source="typed", slice_spacing_source="none", is_placed=False)
            image = replace(image, affine=affine_from_spacing((1.0, *spacing)), source=source)
        return image
    spacing = case.reading.pixel_spacing_mm
    if typed is None and spacing is not None and images[0].affine is None:
        return _read_channel(file, case, spacing)
    if file.frame is None:
        if len(images) != 1:
            raise ReadError(
                f"The series of {file.path} is {len(images)} stacks (time points, or parts with a gap between), "
                "and one label volume cannot lie on all of them. Keep the stack that was drawn on."
            )
        return images[0]
    for image in images:
        for index, place in enumerate(image.source.slices):
            if place.frame == file.frame:
                return _cut(image, (index, index + 1))
    raise ReadError(
        f"{file.path} has no frame {file.frame + 1}; it was changed after the folder was searched. "
        "Search the folder again."
    )


def _on_grid_of(first: Image, other: Image) -> npt.NDArray[np.generic]:
    """Give another channel's voxels on the first one's grid."""
    if other.same_grid(first):
        return other.voxels
    if first.affine is None or other.affine is None or other.voxels.ndim != 3:
        raise DataError(
            f"{other.source.name} has the shape {other.shape} and {first.source.name} {first.shape}, and without "
            "coordinates the one cannot be laid on the other. Save all contrasts on one grid."
        )
    there = np.linalg.inv(other.affine) @ first.affine
    voxels = other.voxels.astype(np.float32)
    return ndimage.affine_transform(
        voxels, there[:3, :3], there[:3, 3], output_shape=first.shape, order=1, mode="nearest"
    )


def _cut(image: Image, slices: tuple[int, int] | None) -> Image:
    """Cut slices out of an image, in their place in the patient."""
    if slices is None:
        return image
    start, stop = slices
    affine = None if image.affine is None else image.affine.copy()
    if affine is not None:
        affine[:3, 3] += start * affine[:3, 0]
    return Image(
        voxels=image.voxels[..., start:stop, :, :].copy(),
        affine=affine,
        channels=image.channels,
        source=replace(image.source, slices=image.source.slices[start:stop], first_slice=image.slice_number(start)),
    )


def file_stamp(*paths: Path) -> Stamp:
    """Give what changes when one of the files does; zeros if it is not there, which its reader will tell."""
    times, sizes = [0], [0]
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        times.append(status.st_mtime_ns)
        sizes.append(status.st_size)
    return hash(tuple(times)), sum(sizes)


def _stamp_of(file: ImageFile) -> Stamp:
    """Give what changes when an image file does, or what a person said of the size of its voxels."""
    return file_stamp(*_files_of(file))


def _files_of(file: ImageFile) -> list[Path]:
    answers = [folder / VOXEL_SIZES for folder in file.path.parents] if ending(file.path) in VOLUME_ENDINGS else []
    return [file.path, *file.others, *answers]


def files_of(case: Case) -> tuple[Path, ...]:
    """Give all files that decide what `read_case` gives of a case; of them some need not be there."""
    levels = () if case.levels_path is None else (case.levels_path,)
    images = (path for image in case.images for path in _files_of(image))
    return tuple(dict.fromkeys([*images, *(label.path for label in case.labels), *levels]))


# The frames of one file are neighbouring cases, and a label is read beside its image: the last few are kept.
@lru_cache(maxsize=2)
def read_image_file(
    path: Path,
    others: tuple[Path, ...],
    stamp: Stamp,
    typed: tuple[float, float] | None,
    plane: Plane | None,
    channels: tuple[str, ...],
) -> tuple[Image, ...]:
    """Read a file, or a series or stack that starts with it, as one image a stack or time point."""
    if ending(path) in VOLUME_ENDINGS:
        return read_nifti_image(path, slice_axis=plane)
    if ending(path) in PICTURE_ENDINGS:
        return (read_picture_image(path, *others, channels=channels or None),)
    if not others:
        return read_dicom_file(path, pixel_spacing_mm=typed)
    with quiet():
        headers = [header for header in map(read_header, (path, *others)) if isinstance(header, FileHeader)]
    return tuple(image for part in group_series(headers) for image in read_series(part, pixel_spacing_mm=typed))
