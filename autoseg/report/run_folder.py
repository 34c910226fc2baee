"""A run's folder: the names of its files, what each of them is, and opening it in the computer's own way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from autoseg.errors import OutputError, ReadError
from autoseg.files.archives import files_of
from autoseg.files.file_names import safe_name, shortened, unique_names
from autoseg.files.sources import name_without_ending
from autoseg.image.image import Image

# What a file of a run is, by the beginning or the end of its name.
MEANINGS = (
    (r"report.*\.(html|pdf)", "The report to read and to print: light, areas, key slices, and where they are from"),
    (
        r"areas\.xlsx",
        "The areas as a workbook: flagged cells marked, mean and SD below, the details on further sheets",
    ),
    (r"areas\.csv", "The areas: one row a slice, one column a structure in mm² (or pixels), mean and SD below"),
    (r"measurements\.csv", "Every detail: one row a slice and structure, with pixels, flags and sources"),
    (r"patients\.csv", "By patient: mean area, SD, largest area and volume of each structure"),
    (r"levels\.csv", "By level: mean area and SD of each structure over the slices of a level"),
    (r"intensities\.csv", "Brightness within structures: mean, SD and percentiles of every channel"),
    (r"fat_fraction\.csv", "Fat fraction within structures, from water and fat images"),
    (r"fat_estimate\.csv", "Fat within structures by a threshold on one channel: an estimate"),
    (r"asymmetry\.csv", "Left beside right: by how many percent the two sides of a structure differ"),
    (r"structures\.csv", "The names and colours of the label values"),
    (r"run\.json", "Where the result came from: model, date, versions, every file"),
    (r"animation\.gif", "The slices with their structures, one after the other"),
    (r".*\.nii\.gz", "The labels as NIfTI, in the image's own place"),
    (
        r"dicom/.*",
        "For an archive, as DICOM: segmentations (SEG), measurements (SR), outlines (RTSTRUCT), the report (SC)",
    ),
    (r"leaving/.*", "DICOM copies without the patient, to be looked at before they leave: what_was_done.csv"),
    (r"colours/.*", "Names and colours of the labels for ITK-SNAP, 3D Slicer and FSLeyes"),
    (r"corrected/.*", "The same files with the labels as they were corrected by hand: tables, pictures, NIfTI"),
    (r"to_correct.*/.*", "Images and labels to be corrected by hand, and how: READ_ME.txt"),
    (
        r"centrelines/.*",
        "The centreline around which each image was segmented: found by the model, or clicked",
    ),
    (r"morphometry/.*", "Size and shape along each structure's own curve"),
    (r"labels/.*", "The labels as pictures: a pixel's value is the structure's number"),
    (r"overlays/.*", "The slices with the structures in colour; s001 is the number of the slice"),
    (
        r"cuts/.*",
        "Cuts across the slices, where most was found: head above, the patient's right or front on the left",
    ),
)


@dataclass(frozen=True)
class RunFile:
    """A file of a run, or a folder of it (`count` files of one kind): its name, its bytes, and what it is."""

    name: str
    count: int
    size: int
    meaning: str


def list_run_files(folder: Path) -> list[RunFile]:
    """List what a run's folder holds, tables first; the pictures of one folder are one line."""
    folder = Path(folder)
    lines: dict[str, list[int]] = {}
    for path in files_of(folder):
        parts = path.relative_to(folder).parts
        lines.setdefault(parts[0] + "/" if len(parts) > 1 else parts[0], []).append(path.stat().st_size)
    order = [re.compile(pattern) for pattern, _ in MEANINGS]

    def rank(name: str) -> int:
        return next((place for place, pattern in enumerate(order) if pattern.fullmatch(name)), len(order))

    return [
        RunFile(
            name, len(lines[name]), sum(lines[name]), MEANINGS[rank(name)][1] if rank(name) < len(order) else ""
        )
        for name in sorted(lines, key=lambda name: (rank(name), name))
    ]


def read_run_file(folder: Path, name: str) -> bytes:
    """Read a file of a run as it stands on the disk."""
    path = Path(folder) / name
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReadError(f"{path} cannot be read: {reason}. It was moved or deleted; segment again.") from error


def why_not_openable() -> str:
    """Say why a folder cannot be opened in a window of this computer, or give "" where it can."""
    if any(name in os.environ for name in ("JUPYTERHUB_SERVICE_PREFIX", "SSH_CONNECTION")):
        return "The files lie on another computer than this page; download them instead."
    if sys.platform == "win32" or sys.platform == "darwin":
        return ""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "The computer that holds the files has no screen; download them instead."
    if shutil.which("xdg-open") is None:
        return "This computer has no program to open a folder with (xdg-open)."
    return ""


def open_folder(folder: Path) -> None:
    """Open a folder in Explorer, Finder or the desktop's file manager."""
    folder = Path(folder).absolute()
    reason = why_not_openable()
    if not reason and not folder.is_dir():
        reason = "It is not there any more; it was moved or deleted."
    if reason:
        raise OutputError(f"{folder} cannot be opened. {reason}")
    try:
        if sys.platform == "win32":
            os.startfile(folder)
        else:
            program = "open" if sys.platform == "darwin" else "xdg-open"
            subprocess.Popen([program, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise OutputError(f"{folder} could not be opened ({error.strerror or error}). Open it by hand.") from error


# --- names


def run_folder_name(model_name: str, now: datetime) -> str:
    """Give the name of a run's folder: the model, date and time.

    The patient's folder is left out, because such folders are often named after the patient.

    Examples
    --------
    >>> run_folder_name("psoas", datetime(2026, 3, 1, 14, 5, 9))
    'psoas_2026-03-01_140509'
    """
    return f"{safe_name(model_name)}_{now:%Y-%m-%d_%H%M%S}"


def free_run_folder(output: Path, model_name: str, now: datetime) -> Path:
    """Give the path of a run's folder in `output` that is not there yet; _2, _3, … where the name is taken."""
    return free_folder(output, run_folder_name(model_name, now))


def free_folder(output: Path, name: str) -> Path:
    """Give the path of a folder of this name in `output`; _2, _3, … behind it where it is there already."""
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(folder for folder in (Path(output) / name for name in names) if not folder.exists())


def slice_stems(images: Sequence[Image]) -> list[list[str]]:
    """Give every slice of every image the name of its label picture, no two alike (not even in capitals).

    It is the DICOM file's own name, with the number of the frame in a multi-frame file, so that the pictures can be
    labels of those files; where two are equal the case's name is put in front. A slice of another file with several
    is called by its number.

    Examples
    --------
    >>> import numpy as np
    >>> slice_stems([Image(np.zeros((2, 4, 4)))])
    [['image_s001', 'image_s002']]
    """
    frames_of = _frames_of(images)
    plain = []
    for image in images:
        case = safe_name(image.source.case_id)
        names = [f"{case}_{_number(image, index)}" for index in range(image.shape[0])]
        for index, source in enumerate(image.source.slices):
            own = safe_name(name_without_ending(source.path))
            if frames_of[source.path] == 1:
                names[index] = own
            elif source.sop_uid:
                names[index] = f"{own}_{source.frame + 1:03d}"
        plain.append((case, names))
    seen = Counter(name.casefold() for _, names in plain for name in names)
    return _unique(
        [
            [name if seen[name.casefold()] == 1 else shortened(f"{case}_{name}") for name in names]
            for case, names in plain
        ]
    )


def overlay_stems(images: Sequence[Image]) -> list[list[str]]:
    """Give every slice of every image the name of its overlay: the image, the slice's number, and its own file.

    The number is that of the screen and the tables, so the pictures lie in the order of the body. Where an image is
    one file its name stands there only once.

    Examples
    --------
    >>> import numpy as np
    >>> overlay_stems([Image(np.zeros((2, 4, 4)))])
    [['image_s001', 'image_s002']]
    """
    frames_of = _frames_of(images)
    names = []
    for image in images:
        case = safe_name(image.source.case_id)
        files = [
            name_without_ending(source.path) if frames_of[source.path] == 1 else ""
            for source in image.source.slices
        ] or [""] * image.shape[0]
        own = [f"_{name}" if (name := safe_name(file)) and file and name != case else "" for file in files]
        names.append([shortened(f"{case}_{_number(image, index)}{own[index]}") for index in range(image.shape[0])])
    return _unique(names)


def _number(image: Image, index: int) -> str:
    return f"s{image.slice_number(index):03d}"


def _frames_of(images: Sequence[Image]) -> Counter[Path]:
    """Count the slices of each file, one that is not the first counting as several."""
    frames_of = Counter(source.path for image in images for source in image.source.slices)
    frames_of.update(source.path for image in images for source in image.source.slices if source.frame > 0)
    return frames_of


def _unique(names: Sequence[Sequence[str]]) -> list[list[str]]:
    flat = iter(unique_names([name for some in names for name in some]))
    return [[next(flat) for _ in some] for some in names]
