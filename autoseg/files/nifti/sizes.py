"""NIfTI files that give two sizes of their voxels, and which of them holds: `voxel_sizes.csv` beside the data."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from autoseg.errors import ReadError, TwoSizesError
from autoseg.files.atomic import one_step, remove, settle
from autoseg.files.tables import read_rows, require_columns, write_rows
from autoseg.image.geometry import Affine, spacing_from_affine

Holds = Literal["sform", "pixdim"]
FILE_NAME = "voxel_sizes.csv"
COLUMNS = ("file", "holds", "sform_mm", "pixdim_mm", "date")
# Above this share of difference in a step a person has to say which holds.
TOLERANCE = 0.005

Steps = tuple[float, float, float]


@dataclass(frozen=True)
class TwoSizes:
    """What a file says of the size of a voxel, in mm along its axes (x, y, z): by its sform, and by its pixdim."""

    path: Path
    sform_mm: Steps
    pixdim_mm: Steps

    @property
    def words(self) -> str:
        """The two, as a sentence has them."""
        return f"{in_mm(self.sform_mm)} by its sform and {in_mm(self.pixdim_mm)} by its pixdim"

    def question(self) -> TwoSizesError:
        """Give the error that asks which holds."""
        return TwoSizesError(
            f"{self.path} gives two sizes of a voxel: {self.words} (a program has changed one of them and not the "
            "other). Areas and volumes depend on which holds: it is in the protocol, or in the DICOM files "
            "that the "
            "file was made from. Say it once: in the notebook a button beside this question, on the command line "
            "--voxel-sizes sform or --voxel-sizes pixdim.",
            self.path,
            self.sform_mm,
            self.pixdim_mm,
        )


def in_mm(steps: Sequence[float]) -> str:
    """Give steps in words.

    Examples
    --------
    >>> in_mm((0.5, 0.5, 4.0))
    '0.5 × 0.5 × 4 mm'
    """
    return " × ".join(f"{step:.4g}" for step in steps) + " mm"


def steps_differ(affine: Affine, other: Affine, shape: Sequence[int]) -> bool:
    """Tell whether two affines give other steps along an axis of several voxels.

    Where the axes are sheared, some programs write the distance between slices as the step, others the way from one
    to the next; both are right.
    """
    matrix, steps = affine[:3, :3], np.array(spacing_from_affine(other))
    own = np.linalg.norm(matrix, axis=0)
    distances = 1 / np.linalg.norm(np.linalg.inv(matrix), axis=1)
    apart = np.minimum(np.abs(own / steps - 1), np.abs(distances / steps - 1))
    return bool((apart[np.array(shape[:3]) > 1] > TOLERANCE).any())


def kept_answer(sizes: TwoSizes) -> Holds | None:
    """Give what a person said of this file, None where nobody did; looked for beside it and in the folders above.

    An answer holds for the two sizes that were asked about: if the file is replaced it is asked again.
    """
    path = sizes.path.absolute()
    for folder in path.parents:
        table = folder / FILE_NAME
        try:
            status = table.stat()
        except OSError:
            continue
        row = _read(table, status.st_mtime_ns, status.st_size).get(path.relative_to(folder).as_posix())
        if row is not None and row[1:] == (in_mm(sizes.sform_mm), in_mm(sizes.pixdim_mm)):
            return row[0]
    return None


def keep_answers(folder: Path, sizes: Sequence[TwoSizes], holds: Holds) -> Path:
    """Keep beside the data which of the two sizes holds in these files; an earlier answer is replaced."""
    table = Path(folder).absolute() / FILE_NAME
    today = datetime.date.today().isoformat()
    with one_step(table.parent):
        rows = {row["file"]: tuple(row[name] for name in COLUMNS) for row in _rows(table)}
        for one in sizes:
            name = one.path.absolute().relative_to(table.parent).as_posix()
            rows[name] = (name, holds, in_mm(one.sform_mm), in_mm(one.pixdim_mm), today)
        write_rows(table, COLUMNS, list(rows.values()))
    return table


def read_answers(folder: Path) -> dict[str, Holds]:
    """Give what was answered in a folder: which size holds, by the file below it; empty if nothing was."""
    settle(folder)
    return {row["file"]: cast(Holds, row["holds"]) for row in _rows(Path(folder) / FILE_NAME)}


def forget_answers(folder: Path) -> None:
    """Ask again."""
    with one_step(folder):
        remove(Path(folder) / FILE_NAME)


@lru_cache(maxsize=8)
def _read(table: Path, time: int, size: int) -> dict[str, tuple[Holds, str, str]]:
    return {row["file"]: (cast(Holds, row["holds"]), row["sform_mm"], row["pixdim_mm"]) for row in _rows(table)}


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    columns, rows = read_rows(table)
    require_columns(table, columns, COLUMNS[:4], example="images/p1.nii.gz,pixdim,1 × 1 × 1 mm,0.5 × 0.5 × 4 mm")
    for number, row in rows:
        if row["holds"] not in get_args(Holds):
            raise ReadError(
                f"{table}, row {number}: holds is {row['holds']!r}; write sform or pixdim, or remove the row."
            )
    return [{name: row.get(name, "") for name in COLUMNS} for _, row in rows]
