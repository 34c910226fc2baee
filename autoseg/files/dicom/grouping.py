"""Group DICOM slices into series of one plane and matrix, and say in words what is odd about each."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from autoseg.files.dicom.grids import plan_grids
from autoseg.files.dicom.records import FileHeader, SliceHeader
from autoseg.files.file_names import file_stem
from autoseg.image.image import Acquisition
from autoseg.words import GraveNote, are, counted, name_some

SAME_SPACING = 1e-4  # relative; two parts in ten thousand of an area
SAME_ORIENTATION = (1e-4, 1e-3)  # direction cosines: silently the same, the same with a note

# What scanners and their users call the fast pictures by which a scan is planned.
SCOUT_NAMES = re.compile(r"locali[sz]er|scout|topogram|survey", re.IGNORECASE)
SCOUT_PLANES, SCOUT_SLICES = 3, 30  # orientations in one series that has at most so many slices
TURNED_APART = 0.1  # on cosines; slices of one stack differ by far less


@dataclass(frozen=True)
class Series:
    """A DICOM series, or the part of one that has the same matrix, orientation and pixel spacing.

    `case_id` is unique within its folder and free of patient names. `notes` are sentences on what is missing, odd
    or split; `scout` is the one that says that it was made to plan the scan, `refusal` why it cannot be read at
    all; both may be empty. `slices` are in the order of the files; those of files whose pixels cannot be read are
    among them only if none can.
    """

    uid: str
    case_id: str
    subject_id: str
    description: str
    modality: str
    date: str
    rows: int
    columns: int
    slices: tuple[SliceHeader, ...]
    notes: tuple[str, ...] = ()
    refusal: str = ""
    scout: str = ""
    acquisition: Acquisition = Acquisition()  # noqa: RUF009  # it never changes

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(header.path for header in self.slices))


def group_series(headers: Sequence[FileHeader]) -> tuple[Series, ...]:
    """Group files by series and patient, and split where slices lie on different planes."""
    groups: dict[tuple[str, str], list[FileHeader]] = defaultdict(list)
    for header in headers:
        # Badly anonymised exports share one UID, or have none: two patients must never become one series.
        groups[header.series_uid or str(header.path.parent), header.subject_id].append(header)
    series = [part for files in groups.values() for part in _parts(files)]
    taken: set[str] = set()
    named = []
    for number, part in enumerate(series, start=1):
        name = part.case_id or f"series-{number}"
        tries = chain([name], (f"{name}-{repeat}" for repeat in count(2)))
        # Without regard to capitals, because results are files and some disks do not tell a from A.
        name = next(tried for tried in tries if tried.casefold() not in taken)
        taken.add(name.casefold())
        named.append(replace(part, case_id=name))
    return tuple(named)


def _parts(files: Sequence[FileHeader]) -> list[Series]:
    first = files[0]
    number = f"series-{first.series_number}" if first.series_number else ""
    refused = [file for file in files if file.refusal]
    readable = [file for file in files if not file.refusal]
    slices, notes = _without_copies(header for file in readable or files for header in file.slices)
    notes += [left_out(file.path, file.refusal) for file in refused] if readable else []
    planes = _split_planes(slices)
    if len(planes) > 1:
        notes.append(f"One of {len(planes)} series that share this number: planes, matrices or pixel sizes differ.")
    scout = _scout(first, planes)
    notes += [scout] if scout else []
    parts = []
    for plane in planes:
        paths = {header.path for header in plane}
        parts.append(
            Series(
                uid=first.series_uid,
                case_id=file_stem(plane[0].path) if len(paths) == 1 else number,
                subject_id=first.subject_id,
                description=first.description,
                modality=first.modality,
                date=first.date,
                rows=plane[0].rows,
                columns=plane[0].columns,
                slices=tuple(plane),
                notes=tuple(dict.fromkeys([*notes, *_notes(plane)])),
                refusal="" if readable else first.refusal,
                scout=scout,
                acquisition=first.acquisition,
            )
        )
    return parts


def left_out(path: Path, reason: str) -> str:
    """Say that a file is missing from its series, and why."""
    return GraveNote(f"{path.name} was left out: {reason}")


def _scout(first: FileHeader, planes: Sequence[Sequence[SliceHeader]]) -> str:
    """Say by image type, description or planes that a series is one by which a scan is planned, or ""."""
    turned: list[SliceHeader] = []
    for plane in planes:
        if plane[0].orientation and all(_turn(plane[0], other) > TURNED_APART for other in turned):
            turned.append(plane[0])
    count = sum(map(len, planes))
    if first.localiser or SCOUT_NAMES.search(first.description):
        why = "as its header says"
    elif len(turned) == SCOUT_PLANES and count <= SCOUT_SLICES:
        why = f"{count} slices in {len(turned)} orientations"
    else:
        return ""
    return f"A localiser (scout, survey), {why}: made to plan the scan, hardly to measure on."


def _without_copies(slices: Iterable[SliceHeader]) -> tuple[list[SliceHeader], list[str]]:
    """Drop slices whose instance is there already; the same UID on another slice is only a fault."""
    kept: dict[tuple[object, ...], SliceHeader] = {}
    copies = []
    for header in slices:
        what = replace(header, path=Path(), faults=())
        # A bad anonymiser may leave nothing that tells slices apart; then none is taken for a copy.
        known = header.sop_uid and (header.position_mm or header.instance)
        key = (what,) if known else (header.path, header.frame)
        if key in kept:
            copies.append(header.path.name)
        kept.setdefault(key, header)
    if not copies:
        return list(kept.values()), []
    words = (
        f"{counted(len(copies), 'slice')} {are(len(copies))} there twice (the same SOP instance UID "
        f"and header), and the copies were left out: {name_some(list(dict.fromkeys(copies)))}."
    )
    return list(kept.values()), [GraveNote(words)]


def _split_planes(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    planes: list[list[SliceHeader]] = []
    for header in slices:
        # From the last one backwards, because neighbouring files mostly belong together.
        plane = next((plane for plane in reversed(planes) if _same_plane(plane[0], header)), None)
        planes.append([header]) if plane is None else plane.append(header)
    return planes


def _same_plane(first: SliceHeader, other: SliceHeader) -> bool:
    """Tell whether two slices have the same matrix and, as far as it is known, pixel size and orientation."""
    what = [(h.rows, h.columns, h.photometric, h.spacing_mm is None, h.orientation is None) for h in (first, other)]
    if what[0] != what[1]:
        return False
    spacings = zip(first.spacing_mm or (), other.spacing_mm or (), strict=True)
    return all(abs(a / b - 1) <= SAME_SPACING for a, b in spacings) and _turn(first, other) <= SAME_ORIENTATION[1]


def _turn(first: SliceHeader, other: SliceHeader) -> float:
    """Give the largest difference between direction cosines, 0 where there are none."""
    pairs = zip(first.orientation or (), other.orientation or (), strict=True)
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _notes(plane: Sequence[SliceHeader]) -> list[str]:
    notes = [fault for header in plane for fault in header.faults]
    turn = max(_turn(plane[0], header) for header in plane)
    if turn > SAME_ORIENTATION[0]:
        notes.append(f"Slices are turned by up to {math.degrees(turn):.2g}° from one another; taken as parallel.")
    if plane[0].photometric not in ("MONOCHROME1", "MONOCHROME2"):
        notes.append(f"Colours ({plane[0].photometric}) are read as luminance.")
    return [*notes, *plan_grids(plane)[1]]
