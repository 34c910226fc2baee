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
from autoseg.files.file_names import file_stem, safe_name, unique_names
from autoseg.image.image import Image

# What a file of a run is, by the beginning or the end of its name.
MEANINGS = (
    (
        r"areas\.xlsx",
        "The areas as a workbook: flagged cells marked, mean and SD below, the details on further sheets",
    ),
    (r"areas\.csv", "The areas in mm²: one row a slice, one column a structure, mean and SD below"),
    (r"measurements\.csv", "Every detail: one row a slice and structure, with pixels, flags and sources"),
    (r"patients\.csv", "By patient: mean area, SD, largest area and volume of each structure"),
    (r"structures\.csv", "The names and colours of the label values"),
    (r"run\.json", "Where the result came from: model, date, versions, every file"),
    (r"animation\.gif", "The slices with their structures, one after the other"),
    (r".*\.nii\.gz", "The labels as NIfTI, in the image's own place"),
    (r"colours/.*", "Names and colours of the labels for ITK-SNAP, 3D Slicer and FSLeyes"),
    (r"to_correct.*/.*", "Images and labels to be corrected by hand, and how: READ_ME.txt"),
    (
        r"centrelines/.*",
        "The centreline around which each image was segmented: found by the model, or clicked",
    ),
    (r"morphometry/.*", "Size and shape along each structure's own curve"),
    (r"labels/.*", "The labels as pictures: a pixel's value is the structure's number"),
    (r"overlays/.*", "The slices with the structures in colour"),
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
    name = run_folder_name(model_name, now)
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(folder for folder in (Path(output) / name for name in names) if not folder.exists())


def slice_stems(images: Sequence[Image]) -> list[list[str]]:
    """Give every slice of every image the name of its files, no two alike (not even in capitals).

    Examples
    --------
    >>> import numpy as np
    >>> slice_stems([Image(np.zeros((2, 4, 4)))])
    [['image_s000', 'image_s001']]
    """
    frames_of = Counter(source.path for image in images for source in image.source.slices)
    frames_of.update(source.path for image in images for source in image.source.slices if source.frame > 0)
    plain = []
    for image in images:
        case = safe_name(image.source.case_id)
        if image.source.slices:
            names = [
                safe_name(file_stem(source.path))
                + (f"_{source.frame + 1:03d}" if frames_of[source.path] > 1 else "")
                for source in image.source.slices
            ]
        else:
            names = [f"{case}_s{index:03d}" for index in range(image.shape[0])]
        plain.append((case, names))
    seen = Counter(name.casefold() for _, names in plain for name in names)
    told_apart = [
        [name if seen[name.casefold()] == 1 else f"{case}_{name}" for name in names] for case, names in plain
    ]
    flat = iter(unique_names([name for names in told_apart for name in names]))
    return [[next(flat) for _ in names] for names in told_apart]
