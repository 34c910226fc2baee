"""Say which size of a voxel holds in NIfTI files that give two; it is kept beside the data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from autoseg.errors import AutosegError
from autoseg.files.nifti.sizes import Holds, TwoSizes, keep_answers
from autoseg.files.nifti.volumes import NIFTI_ENDINGS, nifti_header
from autoseg.files.sources import ending, walk


def answer_voxel_sizes(folder: Path, holds: Holds, paths: Iterable[Path] | None = None) -> tuple[TwoSizes, ...]:
    """Keep which of two sizes holds, for the files of a folder (or those in `paths`) that give two; give these.

    Where no file does nothing is written.
    """
    folder = Path(folder)
    place = folder.parent if folder.is_file() else folder
    if paths is None:
        paths = (path for path in ([folder] if folder.is_file() else walk(folder)[0]))
    sizes = tuple(one for one in map(_two_sizes, paths) if one is not None)
    if sizes:
        keep_answers(place, sizes, holds)
    return sizes


def _two_sizes(path: Path) -> TwoSizes | None:
    if ending(path) not in NIFTI_ENDINGS:
        return None
    try:
        return nifti_header(path).sizes
    except AutosegError:  # whoever reads it will tell
        return None
