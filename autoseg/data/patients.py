"""What can be segmented in a patient's folder, what is most likely meant, and what typed millimetres change."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from autoseg.data.cases import Case, Reading, find_own_images, read_case_image
from autoseg.data.cases.find import SUBJECTS_TABLE
from autoseg.data.cases.read import level_numbers
from autoseg.data.codes import (
    coded_image,
    coded_names,
    hidden_errors,
    hide,
    hide_note,
    hide_skipped,
    is_without_ids,
    learn_folder,
    original,
)
from autoseg.data.pairing.by_name import find_level_files
from autoseg.data.pairing.names import is_label
from autoseg.errors import AutosegError, DataError, GeometryError, ReadError, TwoSizesError
from autoseg.files.dicom.series import DicomFolder, Series, find_series, image_names, read_series
from autoseg.files.dicom.table import series_table, thumbnail, why_unlikely
from autoseg.files.sources import READABLE, SkippedFile, ending
from autoseg.files.text_files import read_levels, unfitting_levels
from autoseg.image.calibration import FieldOfView, TypedCalibration, calibrate, check_typed_spacing
from autoseg.image.image import Image
from autoseg.image.orientation import Plane
from autoseg.image.overlay import Rgb, overlay_rgb, pixel_aspect, thinned
from autoseg.words import GraveNote, ReadingNote, name_some

MOST_PICTURES = 24  # files beyond are listed by their name, without being opened
THUMBNAIL_PIXELS = 112
NOTHING_TYPED = TypedCalibration()


@dataclass(frozen=True, eq=False)
class Candidate:
    """One series, NIfTI file or picture that could be segmented; shown without the name or the ID of a person.

    `spacing_mm` is (between rows, between columns), None where the file does not tell it; `rows`, `columns` and
    `slices` are 0 where the file was not opened (`is_read`). `refusal` says why it cannot be segmented at all,
    `doubt` why it is hardly meant to be. `has_two_sizes` tells that a person must first say which size of a voxel
    holds. `images` are the names of its images, where these are several (time points, parts). `png` is its middle
    slice, small; empty where there is none. `subject_id` is for codes, and not shown.
    """

    case_id: str
    description: str = ""
    modality: str = ""
    rows: int = 0
    columns: int = 0
    spacing_mm: tuple[float, float] | None = None
    slice_spacing_mm: float | None = None
    slices: int = 0
    time_points: int = 1
    orientation: str = ""
    date: str = ""
    notes: str = ""
    refusal: str = ""
    doubt: str = ""
    png: bytes = b""
    is_read: bool = True
    has_two_sizes: bool = False
    images: tuple[str, ...] = ()
    subject_id: str = field(default="", repr=False)


@dataclass(frozen=True, eq=False)
class PatientFolder:
    """What `find_patient` found: `candidates` in the order of their files, and what was left alone.

    `patients` counts the different persons that its images are of, as far as files or names tell.
    """

    folder: Path
    candidates: tuple[Candidate, ...]
    skipped: tuple[SkippedFile, ...] = ()
    is_dicom: bool = True
    patients: int = 1

    def choose(self, only: Collection[str] | None = None) -> tuple[Candidate, ...]:
        """Give the candidates that are called so, or have an image that is, and are not refused (None: all)."""
        return tuple(
            c
            for c in self.candidates
            if not c.refusal and (only is None or any(name in only for name in (c.case_id, *c.images)))
        )


def find_patient(
    folder: Path, *, channels: Sequence[str] = (), plane: Plane | None = None, stacks: bool = False
) -> PatientFolder:
    """Find what can be segmented in a folder: its DICOM series, or where there is none NIfTI files or pictures.

    Of a series only the headers and the middle slice are read; of files without DICOM the first 24. `channels` are
    ends of file names, or names of the channels inside each picture; `plane` tells which slices of a NIfTI volume
    are taken, by default those in which its voxels are finest. Pictures that are numbered in order are slices of
    `stacks`, where these are wanted. Where the folder is without patient IDs, codes stand for its images.
    """
    folder = Path(folder)
    hidden = folder if is_without_ids(folder) else None
    with hidden_errors(hidden):
        found = _find_patient(folder, channels, plane, stacks)
    return found if hidden is None else _coded(found)


def _coded(found: PatientFolder) -> PatientFolder:
    """Put codes in place of the names of images, and in sentences."""
    learn_folder(found.folder)
    images = [[(c.subject_id, name) for name in (c.case_id, *c.images)] for c in found.candidates]
    codes = iter(coded_names([pair for some in images for pair in some]))
    candidates = []
    for candidate, some in zip(found.candidates, images, strict=True):
        (patient, name), *others = [next(codes) for _ in some]
        coded = replace(
            candidate,
            case_id=name,
            subject_id=patient,
            images=tuple(code for _, code in others),
            notes=hide(candidate.notes),
            refusal=hide(candidate.refusal),
            doubt=hide(candidate.doubt),
        )
        candidates.append(coded)
    return replace(found, candidates=tuple(candidates), skipped=hide_skipped(found.skipped))


def _find_patient(folder: Path, channels: Sequence[str], plane: Plane | None, stacks: bool) -> PatientFolder:
    found = _find_images(folder, channels, plane, stacks)
    if isinstance(found, DicomFolder):
        rows = series_table(found).to_dict("records")
        series = [_from_series(part, row) for part, row in zip(found.series, rows, strict=True)]
        persons = len({part.subject_id for part in found.series if not part.refusal})
        return PatientFolder(folder, _tell_copies(series), _visible(found.skipped), patients=persons)
    candidates = [
        _from_file(case)
        if place < MOST_PICTURES
        else Candidate(case.case_id, doubt=_doubt(case), is_read=False, subject_id=case.subject_id)
        for place, case in enumerate(found)
    ]
    persons = len({case.subject_id for case in found})
    return PatientFolder(folder, _tell_copies(candidates), is_dicom=False, patients=persons)


def _tell_copies(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Say what shows the same middle slice as one before it: the same pixels, stored under another name."""
    first: dict[tuple[object, ...], str] = {}
    told = []
    for candidate in candidates:
        what = (candidate.rows, candidate.columns, candidate.slices, candidate.time_points, candidate.png)
        other = first.setdefault(what, candidate.case_id) if _shows_something(candidate.png) else candidate.case_id
        if other != candidate.case_id:
            words = f"Its middle slice is the same as that of {other}: most likely a copy of it under another name."
            candidate = replace(candidate, notes=" ".join(filter(None, [words, candidate.notes])))
        told.append(candidate)
    return tuple(told)


def _shows_something(png: bytes) -> bool:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE) if png else None
    return picture is not None and picture.min() != picture.max()


def _find_images(
    folder: Path, channels: Sequence[str], plane: Plane | None, stacks: bool
) -> DicomFolder | tuple[Case, ...]:
    """Find a folder's DICOM series, or where there is none its NIfTI files or pictures as cases without labels."""
    try:
        return find_series(folder)
    except DataError as error:
        is_image = folder.is_dir() or (folder.is_file() and ending(folder) in READABLE)
        reading = Reading(plane=plane)
        cases = find_own_images(folder, channels=channels, reading=reading, stacks=stacks) if is_image else ()
        if not cases:
            raise error
        return cases


def _visible(skipped: Sequence[SkippedFile]) -> tuple[SkippedFile, ...]:
    """Leave out what is hidden, which nobody looks for."""
    return tuple(file for file in skipped if not file.hidden)


def other_kind(modality: str, learnt: Collection[str]) -> str:
    """Say that a model learnt from another kind of images; "" where that is not so, or not known."""
    if not modality or not learnt or modality in learnt:
        return ""
    return (
        f"The model learnt from {' and '.join(learnt)} images and this is {modality}: its areas would mean nothing."
    )


def suggest_series(patient: PatientFolder, modalities: Collection[str] = ()) -> tuple[tuple[str, ...], str]:
    """Choose what is most likely meant, and say why.

    Refused series, localisers and screenshots are never chosen. What is left is chosen whole if it is of one
    kind (the same description, modality and orientation), and not at all if it is of several: only the user
    knows which kind the model learnt. With `modalities`, those that the model learnt from, others are not chosen.
    """
    doubts = {c.case_id: c.doubt or other_kind(c.modality, modalities) for c in patient.choose()}
    usable = [c for c in patient.choose() if not doubts[c.case_id]]
    doubtful = [c for c in patient.choose() if doubts[c.case_id]]
    what = "series" if patient.is_dicom else "files"
    kinds = {(c.description.casefold(), c.modality, c.orientation) for c in usable if c.is_read}
    if not usable:
        chosen: tuple[str, ...] = ()
        first = f"No {what} is chosen." if doubtful else f"No {what} of this folder can be segmented."
    elif len(kinds) > 1:
        chosen, first = (), f"There are {len(usable)} {what} of {len(kinds)} kinds: tick what the model learnt on."
    else:
        chosen = tuple(c.case_id for c in usable)
        first = f"All {len(usable)} {what} are chosen." if len(usable) > 1 else f"{chosen[0]} is chosen."
    reasons = dict.fromkeys(doubts[c.case_id] for c in doubtful)
    left = []
    for reason in reasons:
        names = [c.case_id for c in doubtful if doubts[c.case_id] == reason]
        left.append(f"{name_some(names, 3)} {'is' if len(names) == 1 else 'are'} not: {reason}")
    several = f"This folder holds images of {patient.patients} patients: make sure that you tick whom you mean."
    return chosen, " ".join([first, *([several] if patient.patients > 1 else []), *left])


@dataclass(frozen=True)
class TypedCheck:
    """What typed millimetres mean for the chosen images: sentences, and whether header and typed contradict."""

    lines: tuple[str, ...]
    differs: bool = False


def check_typed(
    chosen: Sequence[Candidate],
    *,
    field_of_view_mm: FieldOfView | Mapping[tuple[int, int], FieldOfView] | None = None,
    matrix_size: int | Sequence[int] | None = None,
    pixel_spacing_mm: float | Sequence[float] | None = None,
) -> TypedCheck:
    """Tell what typed millimetres give for each chosen image, before anything is measured.

    As in `read_patient` what is typed serves the images whose files are silent; where there are
    none, it is held against the headers.
    """
    typed = TypedCalibration(field_of_view_mm, matrix_size, pixel_spacing_mm=pixel_spacing_mm)
    known = [c for c in chosen if c.rows]
    silent = [c for c in known if c.spacing_mm is None]
    said: dict[str, list[str]] = {}  # what holds for several images is said once
    differs = False
    for candidate in silent or known:
        shape = (candidate.rows, candidate.columns)
        choice, name = typed.spacing_for(shape), candidate.case_id
        if choice is None:
            words = f"nothing was typed for images of {shape[0]} × {shape[1]} pixels; their areas are in pixels."
            said.setdefault(words, []).extend([name] if candidate.spacing_mm is None else [])
            continue
        between_rows, between_columns = choice.spacing_mm
        pixel = f"{between_rows:.4g} × {between_columns:.4g} mm"
        if candidate.spacing_mm is None:
            how = f" (field of view ÷ {shape[0]} × {shape[1]} pixels)" if pixel_spacing_mm is None else ""
            said.setdefault(f"a pixel is {pixel}{how}.", []).append(name)
        elif difference := check_typed_spacing(candidate.spacing_mm, choice.spacing_mm, name=name):
            differs = True
            said[difference] = []  # it has the name in it
        else:
            words = f"header and typed agree, {pixel} for a pixel; the header's is used."
            said.setdefault(words, []).append(name)
        if choice.note:
            said[choice.note] = []
    lines = [f"{name_some(names, 3)}: {words}" if names else words for words, names in said.items()]
    kept = [c.case_id for c in known if silent and c.spacing_mm is not None]
    lines.extend([f"{name_some(kept, 3)}: the header's pixel size is used."] if kept else [])
    return TypedCheck(tuple(lines), differs)


# --- what a candidate looks like


def _from_series(series: Series, row: Mapping[Any, Any]) -> Candidate:
    png, refusal = b"", series.refusal
    if not refusal:
        try:
            between_rows, between_columns = series.slices[0].spacing_mm or (1.0, 1.0)
            png = _small_png(thumbnail(series), between_rows / between_columns)
        except ReadError:  # one damaged slice of many; reading tells which and leaves it out
            png = b""
    return Candidate(
        case_id=series.case_id,
        description=series.description,
        modality=series.modality,
        rows=series.rows,
        columns=series.columns,
        spacing_mm=_pair(series.slices[0].spacing_mm),
        slice_spacing_mm=None if math.isnan(row["slice_spacing_mm"]) else row["slice_spacing_mm"],
        slices=row["slices"],
        time_points=row["time_points"],
        orientation=row["orientation"],
        date=series.date,
        notes=row["notes"],
        refusal=refusal,
        doubt=why_unlikely(series),
        png=png,
        images=images if len(images := image_names(series)) > 1 else (),
        subject_id=series.subject_id,
    )


def _from_file(case: Case) -> Candidate:
    try:
        image = read_case_image(case)
    except (AutosegError, OSError) as error:
        has_two = isinstance(error, TwoSizesError)
        return Candidate(case.case_id, refusal=str(error), has_two_sizes=has_two, subject_id=case.subject_id)
    slices, rows, columns = image.shape
    middle = overlay_rgb(thinned(image.channel_voxels[0, slices // 2]), None, ())[..., 0]
    spaced = image.affine is not None and image.source.slice_spacing_source != "none" and slices > 1
    return Candidate(
        case_id=case.case_id,
        rows=rows,
        columns=columns,
        spacing_mm=(image.spacing_mm[1], image.spacing_mm[2]) if image.affine is not None else None,
        slice_spacing_mm=image.spacing_mm[0] if spaced else None,
        slices=slices,
        orientation=case.reading.plane or "",
        notes=" ".join(image.source.notes),
        doubt=_doubt(case),
        png=_small_png(middle, pixel_aspect(image)),
        subject_id=case.subject_id,
    )


def _doubt(case: Case) -> str:
    """Say that a file is hardly an image where it lies among labels, or has a name like theirs; "" elsewhere."""
    path = case.images[0].path
    return "By its name or its folder's it is a label, not an image." if is_label(path, path.parent.parent) else ""


def _small_png(grey: Rgb, aspect: float) -> bytes:
    """Give a slice as a small PNG in its true proportions; `aspect` is the height of a pixel over its width."""
    tall, wide = grey.shape[0] * aspect, float(grey.shape[1])
    share = THUMBNAIL_PIXELS / max(tall, wide)
    size = (max(1, round(wide * share)), max(1, round(tall * share)))
    done, png = cv2.imencode(".png", cv2.resize(np.ascontiguousarray(grey), size, interpolation=cv2.INTER_AREA))
    return png.tobytes() if done else b""


def _pair(spacing: Sequence[float] | None) -> tuple[float, float] | None:
    return None if spacing is None else (spacing[0], spacing[1])


# --- the images of a patient's folder, each with the millimetres in force


def read_patient(
    folder: Path,
    *,
    only: Collection[str] | None = None,
    channels: Sequence[str] = (),
    plane: Plane | None = None,
    typed: TypedCalibration = NOTHING_TYPED,
    needs_mm: bool = False,
    stacks: bool = False,
    subject_id: str = "",
) -> tuple[list[Image], list[str], tuple[SkippedFile, ...]]:
    """Read the images of a patient's folder, each with the millimetres in force.

    `only` are names of series or files, or of single images (one time point) as tables print them. Also gives notes
    (`ReadingNote`, or `GraveNote` of what was left out), and the files that are no images. What is
    typed is meant for images whose files are silent; where there are none, it is checked against the headers.
    Images without millimetres are left out only where `needs_mm`. Pictures that are numbered in order are slices of
    `stacks`, where these are wanted. `subject_id` says whose images they are where neither DICOM nor a table does.
    Where the folder is without patient IDs, images, notes and files go by codes.
    """
    only = {only} if isinstance(only, str) else only
    folder = Path(folder)
    if not is_without_ids(folder):
        return _read_patient(folder, only, channels, plane, typed, needs_mm, stacks, subject_id)
    with hidden_errors(folder):
        own = None if only is None else {original(name) for name in only}
        images, notes, skipped = _read_patient(folder, own, channels, plane, typed, needs_mm, stacks, subject_id)
        learn_folder(folder)
        coded = list(map(coded_image, images))
    return coded, list(map(hide_note, notes)), hide_skipped(skipped)


def _read_patient(
    folder: Path,
    only: Collection[str] | None,
    channels: Sequence[str],
    plane: Plane | None,
    typed: TypedCalibration,
    needs_mm: bool,
    stacks: bool,
    subject_id: str,
) -> tuple[list[Image], list[str], tuple[SkippedFile, ...]]:
    """Read a patient's images as `read_patient` does, always by their own names."""
    found = _find_images(folder, channels, plane, stacks)
    if isinstance(found, DicomFolder):
        series = _chosen(found.series, only, folder)
        images, notes = _read_all(series, only, typed, needs_mm)
        names, level_files = {one.case_id for one in found.series}, find_level_files(folder)
        levelled = [_with_levels(image, level_files, alone=len(names) == 1) for image in images]
        used = {path for _, path in levelled if path is not None}
        unclear = [path for name, path in level_files.items() if path not in used and name not in names]
        notes += _about_levels(levelled, unclear, is_dicom=True)
        return [image for image, _ in levelled], notes, _visible([s for s in found.skipped if s.path not in used])
    if subject_id:
        found = tuple(
            case if case.subject_rule == SUBJECTS_TABLE else replace(case, subject_id=subject_id) for case in found
        )
    cases = _chosen(found, only, folder)
    images, notes = _read_all(cases, only, typed, needs_mm)
    notes = [*_about_stacks(cases), *notes]
    paths = {case.case_id: case.levels_path for case in cases if isinstance(case, Case)}
    return images, notes + _about_levels([(image, paths.get(image.source.case_id)) for image in images]), ()


def _about_stacks(cases: Sequence[Case | Series]) -> list[str]:
    """Say which pictures are the slices of one stack, and which numbers are missing among them."""
    return [
        ReadingNote(
            f"{case.case_id}: {case.file_count} pictures that are numbered in order, {case.image_path.name} to "
            f"{case.images[0].others[-1].name}, are the slices of one stack, as the model learnt them. If they are "
            "of several patients, put each one's into a folder of its own."
        )
        for case in cases
        if isinstance(case, Case) and case.is_picture_stack
    ]


# --- the levels of a patient's slices


def _with_levels(image: Image, files: Mapping[str, Path], *, alone: bool) -> tuple[Image, Path | None]:
    """Give each slice of a DICOM series its level, by the slices' numbers; and the file that tells it.

    A file named like the series (or one time point of it), or where there is only one series, the only level file.
    """
    name = image.source.case_id
    path = files.get(name) or files.get(re.sub(r"(_magnitude|_phase|_real|_imaginary|_other)?(_t\d+)?$", "", name))
    path = next(iter(files.values())) if path is None and alone and len(files) == 1 else path
    if path is None:
        return image, None
    levels = read_levels(path)
    slices = tuple(replace(place, level=levels.get(n, "")) for n, place in enumerate(image.source.slices))
    return replace(image, source=replace(image.source, slices=slices)), path


def _about_levels(
    images: Sequence[tuple[Image, Path | None]], unclear: Sequence[Path] = (), *, is_dicom: bool = False
) -> list[str]:
    """Say which level files do not fit their image, and which were not used as nobody knows of what they are."""
    example = f"{images[0][0].source.case_id}-levels.txt"
    notes: list[str] = [
        GraveNote(
            f"{path} was not read: its name does not say of which series it is. Name it after the series, such as "
            f"{example}."
        )
        for path in unclear
    ]
    for image, path in images:
        if path is None:
            continue
        # Of a NIfTI file or a picture they count in its own order, of a DICOM series in the order of the body.
        slices = range(image.shape[0]) if is_dicom else level_numbers(image)
        words = unfitting_levels(path, read_levels(path), slices, image.source.case_id)
        if words:
            notes.append(GraveNote(f"{words} Levels may stand beside the wrong slices: correct the file."))
    return notes


def warn_of_memory(images: Sequence[Image], classes: int) -> str:
    """Say that free memory is short for segmenting these images; "" if it is not.

    `classes` is the number of structures and the background.
    """
    labels = sum(math.prod(image.shape) for image in images)
    batch = max((min(16, image.shape[0]) * math.prod(image.shape[1:]) for image in images), default=0)
    needed = labels + 4 * 4 * classes * batch  # labels; probabilities of a batch, and steps on the way to them
    free = psutil.virtual_memory().available
    if needed < 0.8 * free:
        return ""
    return (
        f"Memory is short: this needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free. Close "
        "other programs, or choose fewer series; otherwise the computer may become very slow."
    )


def _chosen(
    items: Sequence[Case] | Sequence[Series], only: Collection[str] | None, folder: Path
) -> list[Case | Series]:
    """Give the series or files with these names."""
    if only is None:
        return list(items)
    wanted = set(only)
    known = {item.case_id: {item.case_id} for item in items}
    if not wanted <= set(known):
        known = {item.case_id: {item.case_id, *_image_names(item)} for item in items}
    unknown = sorted(wanted.difference(*known.values()))
    if unknown:
        names = list(dict.fromkeys(name for names in known.values() for name in sorted(names)))
        raise DataError(f"{folder} has no image {', '.join(unknown[:5])}. It has: {', '.join(names[:20])}.")
    return [item for item in items if known[item.case_id] & wanted]


def _image_names(item: Case | Series) -> tuple[str, ...]:
    return image_names(item) if isinstance(item, Series) else ()


def _read(item: Case | Series, pixel_spacing_mm: tuple[float, float] | None = None) -> tuple[Image, ...]:
    if isinstance(item, Series):
        return read_series(item, pixel_spacing_mm=pixel_spacing_mm)
    return (read_case_image(item, pixel_spacing_mm=pixel_spacing_mm),)


def _read_all(
    items: Sequence[Case | Series], only: Collection[str] | None, typed: TypedCalibration, needs_mm: bool
) -> tuple[list[Image], list[str]]:
    """Read and calibrate every series or file; leave one out, and say why, where others can be segmented."""
    read: list[tuple[Case | Series, tuple[Image, ...]]] = []
    problems: list[AutosegError] = []
    notes = [_reading_note(item, note) for item in items if isinstance(item, Series) for note in item.notes]
    for item in items:
        try:
            images = _only(_read(item), item, only)
            if needs_mm and not _is_typed_for(images[0].shape, typed):
                images[0].calibrated_affine  # noqa: B018 - raises where nothing tells its size
            notes += [_reading_note(item, note) for note in images[0].source.notes]
            read.append((item, images))
        except (GeometryError, ReadError) as error:
            problems.append(error)
    if not read:
        raise problems[0]
    notes += [GraveNote(f"Left out: {error}") for error in problems]
    notes += _of_sizes([images[0] for _, images in read if images[0].affine is None], typed)
    # What is typed is meant for the images whose files are silent; where there are none, it is checked.
    silent = any(images[0].affine is None for _, images in read)
    result: list[Image] = []
    for item, images in read:
        choice = None if silent and images[0].affine is not None else typed.spacing_for(images[0].shape)
        if choice is None:
            result += images
            continue
        notes += [_reading_note(item, choice.note)] if choice.note else []
        if images[0].affine is None:
            result += _only(_read(item, choice.spacing_mm), item, only)
        else:
            result += [calibrate(image, **vars(typed)) for image in images]
    return result, notes + _note_copies(result)


def _only(images: tuple[Image, ...], item: Case | Series, only: Collection[str] | None) -> tuple[Image, ...]:
    """Give those of an item's images that are wanted by their own names, or all where the item is."""
    if only is None or item.case_id in only:
        return images
    found = tuple(image for image in images if image.source.case_id in only)
    if not found:
        raise ReadError(
            f"{item.case_id} could not be read in full, and the image that was chosen is not among the rest."
        )
    return found


def _note_copies(images: Sequence[Image]) -> list[str]:
    """Say which images hold the very same pixels: exported twice, under other names or UIDs."""
    alike: dict[tuple[object, ...], list[Image]] = defaultdict(list)
    for image in images:
        alike[image.voxels.shape, image.voxels.dtype].append(image)
    same: dict[bytes, list[str]] = defaultdict(list)
    for group in alike.values():
        for image in group if len(group) > 1 else ():
            if np.ptp(image.voxels):  # an empty image is no copy
                same[hashlib.sha256(image.voxels.tobytes()).digest()].append(image.source.case_id)
    copies = [(names[0], names[1:]) for names in same.values() if len(names) > 1]
    verb = {True: "holds", False: "hold"}
    return [
        GraveNote(
            f"{name_some(others)} {verb[len(others) == 1]} the same pixels as {first}: one scan, stored again. "
            "Count it once."
        )
        for first, others in copies
    ]


def _is_typed_for(shape: Sequence[int], typed: TypedCalibration) -> bool:
    view = typed.field_of_view_mm
    return tuple(shape[1:]) in view if isinstance(view, Mapping) else typed.is_typed


def _of_sizes(silent: Sequence[Image], typed: TypedCalibration) -> list[str]:
    """Say what one field of view means for images of several sizes, which rarely span the same."""
    sizes = dict.fromkeys(image.shape[1:] for image in silent)
    if len(sizes) < 2 or typed.field_of_view_mm is None or isinstance(typed.field_of_view_mm, Mapping):
        return []
    each = {size: typed.spacing_for(size) for size in sizes}
    pixels = [
        f"{rows} × {columns} (a pixel of {choice.spacing_mm[0]:.4g} × {choice.spacing_mm[1]:.4g} mm)"
        for (rows, columns), choice in each.items()
        if choice is not None
    ]
    return [
        GraveNote(
            f"The typed field of view was taken for images of {len(sizes)} sizes: {name_some(pixels)}. If they do "
            "not all span the same, type one for each size."
        )
    ]


def _reading_note(item: Case | Series, note: str) -> str:
    kind = GraveNote if isinstance(note, GraveNote) else ReadingNote
    return kind(f"{item.case_id}: {note}")
