"""Find DICOM series in a folder and read them as images, each of them one uniform grid."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.errors import DataError, GeometryError, ReadError
from autoseg.files.dicom.grids import Grid, grid_affine, plan_grids
from autoseg.files.dicom.grouping import Series, group_series, left_out
from autoseg.files.dicom.headers import read_header
from autoseg.files.dicom.pixels import Frames, read_frames, slice_pixels
from autoseg.files.dicom.records import FileHeader, SliceHeader, quiet
from autoseg.files.sources import SkippedFile, walk
from autoseg.image.image import Image, SliceSource, Source
from autoseg.words import counted


@dataclass(frozen=True)
class DicomFolder:
    """What was found in a folder: its series, and every file that was left alone with the reason."""

    folder: Path
    series: tuple[Series, ...]
    skipped: tuple[SkippedFile, ...]


def is_dicom(path: Path) -> bool:
    """Tell by its content whether a file holds a DICOM image; its name and ending do not count.

    An index (DICOMDIR), a report, a segmentation object or a header without pixels is no image.
    """
    path = Path(path)
    return os.path.isfile(path) and isinstance(read_header(path), FileHeader)


def find_series(folder: Path) -> DicomFolder:
    """Find the DICOM series in a folder and the folders within; only headers are read.

    Parameters
    ----------
    folder : Path
        A folder of DICOM files, which may hold others; those are named in `skipped` and left alone. Or one DICOM
        file, which is then all that is found.

    Returns
    -------
    DicomFolder
        Series in the natural order of their files. Slices of one series instance UID that differ in
        patient, matrix, orientation or pixel spacing are several series.

    Raises
    ------
    DataError
        If the folder is missing, is empty, or holds no DICOM image; the message says what it holds.
    """
    folder = Path(folder)
    _check_folder(folder)
    headers: list[FileHeader] = []
    files, skipped = walk(folder)
    with quiet():
        for path in files:
            header = read_header(path)
            headers.append(header) if isinstance(header, FileHeader) else skipped.append(header)
    if not headers:
        raise DataError(_nothing_found(folder, skipped))
    series = group_series(headers)
    kept = {path for part in series for path in part.files}
    skipped += [SkippedFile(h.path, h.refusal) for h in headers if h.refusal and h.path not in kept]
    return DicomFolder(folder, series, tuple(skipped))


def read_series(series: Series, *, pixel_spacing_mm: tuple[float, float] | None = None) -> tuple[Image, ...]:
    """Read a series as images, each of them one uniform grid with its slices sorted along their normal.

    Repeated positions (cine, diffusion, fMRI) become one image per time point, `_t01` and on; a gap or an
    uneven increment cuts the stack into `_part1` and on; a sheared stack (gantry tilt) stays one image.
    `series.notes` says which of this happened. A file that cannot be decoded is left out where others can be
    read; `source.notes` of each image says so. Intensities are stored value × slope + intercept, as
    float32 where the slope is not 1 or the intercept not 0, and of the stored type otherwise.

    Parameters
    ----------
    series : Series
        From `find_series`.
    pixel_spacing_mm : (2,) tuple of float, optional
        Distance in mm between rows and between columns, in place of the header's.

    Returns
    -------
    tuple of Image
        Time points in order, and within one the parts in order; never empty. `affine` is None where the pixel
        size is unknown.

    Raises
    ------
    ReadError
        If no file can be decoded; the message names the first, its transfer syntax and the remedy.
    GeometryError
        If `pixel_spacing_mm` is not two positive numbers.
    """
    typed = _check_typed(pixel_spacing_mm)
    if series.refusal:
        raise ReadError(f"{series.slices[0].path}: {series.refusal}")
    grids, voxels, found = _read_voxels(series.slices)
    notes = tuple(note for note in found if note not in series.notes)
    return tuple(_image(series, grid, typed, array, notes) for grid, array in zip(grids, voxels, strict=True))


def image_names(series: Series) -> tuple[str, ...]:
    """Give the case_ids of the images that `read_series` gives, from the headers alone."""
    return tuple(series.case_id + grid.suffix for grid in plan_grids(series.slices)[0])


def read_dicom_file(path: Path, *, pixel_spacing_mm: tuple[float, float] | None = None) -> tuple[Image, ...]:
    """Read one DICOM file; a single-frame file is one image of one slice, named after the file.

    A multi-frame file is one image per uniform grid, as in `read_series`.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise ReadError(f"{path} does not exist or is no file. Check the name.")
    header = read_header(path)
    if isinstance(header, SkippedFile):
        raise ReadError(f"{path} cannot be read as an image: {header.reason}. Choose a DICOM image.")
    images = (read_series(s, pixel_spacing_mm=pixel_spacing_mm) for s in group_series([header]))
    return tuple(image for part in images for image in part)


def _check_folder(folder: Path) -> None:
    # os.path, because a name that is too long for the disk makes pathlib raise.
    if not os.path.isdir(folder) and not os.path.isfile(folder):
        raise DataError(f"The folder {folder} does not exist. Check the spelling, or choose the folder again.")


def _nothing_found(folder: Path, skipped: Sequence[SkippedFile]) -> str:
    if os.path.isfile(folder):
        return f"{folder} is no DICOM image: {skipped[0].reason}. Choose the patient's images, or their folder."
    visible = [item for item in skipped if not item.hidden]
    if not visible:
        hidden = " (hidden files aside)" if skipped else ""
        return f"The folder {folder} is empty{hidden}. Copy the patient's DICOM files into it."
    reasons = Counter(item.reason for item in visible).most_common(3)
    listed = ", ".join(f"{count} × {reason}" for reason, count in reasons)
    return (
        f"The folder {folder} holds no DICOM image; {counted(len(visible), 'other file')}: {listed}; for instance "
        f"{visible[0].path.name}. Choose the folder with the patient's DICOM files, or export them again."
    )


def _check_typed(spacing: tuple[float, float] | None) -> tuple[float, float] | None:
    if spacing is None:
        return None
    if len(spacing) != 2 or not all(math.isfinite(value) and value > 0 for value in spacing):
        raise GeometryError(
            f"The typed pixel spacing is {' × '.join(map(str, spacing))}; give two positive numbers in mm: between "
            "rows, between columns."
        )
    return float(spacing[0]), float(spacing[1])


def _read_voxels(slices: Sequence[SliceHeader]) -> tuple[tuple[Grid, ...], list[Frames], tuple[str, ...]]:
    """Decode every file once and lay its frames into grids, shapes (slices, rows, columns).

    A file that cannot be decoded is left out, with a note, unless none can; its place is then a gap.
    """
    grids, notes = plan_grids(slices)
    places = defaultdict(list)
    for number, grid in enumerate(grids):
        for index, header in enumerate(grid.slices):
            places[header.path].append((number, index, header))
    voxels: list[Frames | None] = [None] * len(grids)
    failures: dict[Path, ReadError] = {}
    for path, wanted in places.items():
        try:
            frames = read_frames(path)
            for number, index, header in wanted:
                voxels[number] = _laid(
                    voxels[number], len(grids[number].slices), index, slice_pixels(frames, header)
                )
        except ReadError as error:
            failures[path] = error
    if len(failures) == len(places):
        raise next(iter(failures.values()))
    if failures:
        # Without those slices the grids are others; read again, which is rare.
        lost = [left_out(path, str(error).removeprefix(f"{path}: ")) for path, error in failures.items()]
        grids, rest, notes = _read_voxels([header for header in slices if header.path not in failures])
        return grids, rest, (*lost, *notes)
    return grids, [array for array in voxels if array is not None], notes


def _laid(array: Frames | None, count: int, index: int, pixels: Frames) -> Frames:
    """Lay a slice into its stack, which is made when the first one comes and widened when a later one needs it."""
    if array is None:
        array = np.empty((count, *pixels.shape), dtype=pixels.dtype)
    elif array.dtype != pixels.dtype:
        array = array.astype(np.promote_types(array.dtype, pixels.dtype))
    array[index] = pixels
    return array


def _image(
    series: Series, grid: Grid, typed: tuple[float, float] | None, voxels: Frames, notes: tuple[str, ...]
) -> Image:
    affine = grid_affine(grid, typed)
    return Image(
        voxels=voxels,
        affine=affine,
        source=Source(
            case_id=series.case_id + grid.suffix,
            subject_id=series.subject_id,
            series_uid=series.uid,
            spacing_source="typed" if typed else "none" if affine is None else "header",
            slice_spacing_source=grid.step_source,
            is_placed=grid.slices[0].position_mm is not None,
            slices=tuple(SliceSource(h.path, h.frame, h.sop_uid) for h in grid.slices),
            notes=notes,
            modality=series.modality,
            acquisition=series.acquisition,
        ),
    )
