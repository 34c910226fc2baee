"""Repairs of labels, kept beside the data in `repairs.csv`: the user's own files stay as they are.

A repair is applied whenever a case's labels are read, and undone by removing its row.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from autoseg.data.codes import is_without_ids, original
from autoseg.errors import DataError, OutdatedError, ReadError
from autoseg.files.arrays import HALF
from autoseg.files.atomic import one_step
from autoseg.files.atomic import settle as settle_folder
from autoseg.files.labels import Settled
from autoseg.files.tables import read_rows, require_columns, write_rows
from autoseg.words import counted, say_slices

Pixel = TypeVar("Pixel", bound=np.generic)

FILE_NAME = "repairs.csv"
COLUMNS = ("case_id", "kind", "arguments", "reason", "date")

SYMMETRIES: dict[str, str] = {
    "none": "left as they are",
    "mirror_columns": "mirrored left to right",
    "mirror_rows": "mirrored top to bottom",
    "rotate_180": "turned by 180°",
    "transpose": "with rows and columns exchanged",
    "rotate_90": "turned by 90° to the left",
    "rotate_270": "turned by 90° to the right",
    "transpose_180": "with rows and columns exchanged and turned by 180°",
}
"""The eight symmetries of the square, and how a sentence names them."""

_ARGUMENTS: dict[str, tuple[str, ...] | None] = {
    "transform": ("symmetry", "rows", "columns"),
    "relabel": None,  # any value
    "clear": ("label",),
    "leave_out": (),
    "leave_out_slices": ("slices", "of"),
    "threshold": ("from",),
    "nearest": (),
}


@dataclass(frozen=True)
class Repair:
    """One change to the labels of one case, or what of it is left out; one function below builds each kind.

    Its arguments, as text. transform: symmetry (one of `SYMMETRIES`), rows and columns (the shift that follows, in
    pixels, down and to the right); relabel: each value and what it becomes, all at once; clear: label; leave_out:
    none; leave_out_slices: slices ("1-3 7", counted from 1 in the whole stack), of how many; threshold: from (the
    share from which a pixel of a file of probabilities is marked, 0.5); nearest: none.
    Reason and date (2025-03-31) do not count when repairs are compared.
    """

    case_id: str
    kind: str
    arguments: tuple[tuple[str, str], ...] = ()
    reason: str = field(default="", compare=False)
    date: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.kind not in _ARGUMENTS:
            raise DataError(f"A repair of the kind {self.kind!r} is unknown. Known: {', '.join(_ARGUMENTS)}.")
        given, known = dict(self.arguments), _ARGUMENTS[self.kind]
        if not self.case_id or (known is not None and tuple(given) != known) or (known is None and not given):
            expected = "values, as 1=2; 2=1" if known is None else ", ".join(known) or "nothing"
            raise DataError(
                f"The repair {self.kind!r} of case {self.case_id!r} has the arguments "
                f"{', '.join(given) or 'none'}; it takes {expected}."
            )
        numbers = [word for pair in given.items() for word in pair] if known is None else []
        texts = ("symmetry", "from", "slices")
        numbers += [word for name, word in given.items() if known is not None and name not in texts]
        if "slices" in given and not re.fullmatch(r"\d{1,6}(-\d{1,6})?( \d{1,6}(-\d{1,6})?)*", given["slices"]):
            raise DataError(
                f"The slices of {self.case_id} to leave out are {given['slices']!r}; give them as 1-3 7, counted "
                "from 1."
            )
        wrong = [word for word in numbers if not word.removeprefix("-").isdecimal()]
        if "from" in given and not re.fullmatch(r"0?\.\d+|1(\.0*)?", given["from"]):
            raise DataError(
                f"The share from which pixels of {self.case_id} count is {given['from']!r}; give one as 0.5."
            )
        if wrong or given.get("symmetry", "none") not in SYMMETRIES:
            raise DataError(
                f"The repair {self.kind!r} of case {self.case_id!r} has {wrong or given['symmetry']}: numbers are "
                f"whole, and a symmetry is one of {', '.join(SYMMETRIES)}."
            )

    @property
    def mends(self) -> bool:
        """Whether it changes labels, or how they are read; else it leaves something out."""
        return self.kind not in ("leave_out", "leave_out_slices")

    @property
    def of_slices(self) -> int:
        """How many slices the stack has of which slices are left out."""
        return int(dict(self.arguments)["of"])

    @property
    def change(self) -> str:
        """How a transform turns and moves the labels: "turned by 180°, then moved 3 pixels down"."""
        given = dict(self.arguments)
        turned = "" if given["symmetry"] == "none" else SYMMETRIES[given["symmetry"]]
        rows, columns = int(given["rows"]), int(given["columns"])
        steps = [f"{counted(abs(rows), 'pixel')} {'down' if rows > 0 else 'up'}"] if rows else []
        side = "right" if columns > 0 else "left"
        steps += [f"{counted(abs(columns), 'pixel')} to the {side}"] if columns else []
        moved = "moved " + " and ".join(steps) if steps else ""
        return ", then ".join(filter(None, (turned, moved))) or SYMMETRIES["none"]

    @property
    def words(self) -> str:
        """What the repair does, as a sentence says it."""
        given = dict(self.arguments)
        if self.kind == "transform":
            return f"the labels are {self.change}"
        if self.kind == "relabel":
            return "values are renamed: " + ", ".join(f"{old} becomes {new}" for old, new in self.arguments)
        if self.kind == "threshold":
            return f"pixels with a share of {given['from']} or more are the structure"
        if self.kind == "nearest":
            return "pixels in doubt get the value that they are most like"
        if self.kind == "leave_out_slices":
            one = given["slices"].isdecimal()
            return f"slice{'s' * (not one)} {given['slices']} of {given['of']} {'is' if one else 'are'} left out"
        return f"label {given['label']} is removed" if self.kind == "clear" else "the case is left out"


def transform(case_id: str, symmetry: str = "none", *, rows: int = 0, columns: int = 0) -> Repair:
    """Build the repair that turns or mirrors the labels of each slice, then moves them by rows and columns."""
    return Repair(case_id, "transform", (("symmetry", symmetry), ("rows", str(rows)), ("columns", str(columns))))


def relabel(case_id: str, values: Mapping[int, int]) -> Repair:
    """Build the repair that renames values, all at once: {1: 2, 2: 1} exchanges two."""
    return Repair(case_id, "relabel", tuple((str(old), str(new)) for old, new in sorted(values.items())))


def clear(case_id: str, label: int) -> Repair:
    """Build the repair that sets the pixels of one label to the background."""
    return Repair(case_id, "clear", (("label", str(label)),))


def leave_out(case_id: str) -> Repair:
    """Build the repair that keeps a case out of training and testing."""
    return Repair(case_id, "leave_out")


def leave_out_slices(case_id: str, slices: Collection[int], *, of: int) -> Repair:
    """Build the repair that keeps slices (from 0 in the whole stack of `of`) out of training and testing."""
    return Repair(case_id, "leave_out_slices", (("slices", say_slices(tuple(slices))), ("of", str(of))))


def settle(case_id: str, way: str, *, threshold: float = HALF) -> Repair:
    """Build the repair that says how a label file that leaves something open is read: "threshold" or "nearest"."""
    return Repair(case_id, way, (("from", f"{threshold:g}"),) if way == "threshold" else ())


def settled_by(repairs: Sequence[Repair]) -> Settled:
    """Give what the repairs of a case say of how its label files are read."""
    thresholds = [float(dict(repair.arguments)["from"]) for repair in repairs if repair.kind == "threshold"]
    return Settled(thresholds[-1] if thresholds else None, any(repair.kind == "nearest" for repair in repairs))


def apply_repairs(voxels: npt.NDArray[np.integer], repairs: Sequence[Repair]) -> npt.NDArray[np.integer]:
    """Apply the repairs of one case to its labels, in their order.

    Turned by 90° rows and columns exchange their numbers; what is moved over the edge is lost, and what comes in is
    0. Whether the case is left out is asked with `is_left_out`, and
    how files are read with `settled_by`; these repairs change no pixel here.

    Examples
    --------
    >>> labels = np.array([[[1, 2], [0, 0]]])
    >>> apply_repairs(labels, [relabel("leg", {1: 2, 2: 1}), transform("leg", "mirror_rows")]).tolist()
    [[[0, 0], [2, 1]]]
    """
    result = voxels.copy()
    for repair in repairs:
        given = dict(repair.arguments)
        if repair.kind == "transform":
            result = shift_slices(
                turn_slices(result, given["symmetry"]), (int(given["rows"]), int(given["columns"]))
            )
        elif repair.kind in ("relabel", "clear"):
            renamed = {given["label"]: "0"} if repair.kind == "clear" else given
            before, dtype = result, np.result_type(result, *map(np.min_scalar_type, map(int, renamed.values())))
            result = before.astype(dtype)
            for old, new in renamed.items():
                result[before == int(old)] = int(new)
    return result


def rename(values: Sequence[int], repairs: Sequence[Repair]) -> list[int]:
    """Give what values become by the repairs that rename or remove values."""
    chosen = [repair for repair in repairs if repair.kind in ("relabel", "clear")]
    return [int(value) for value in apply_repairs(np.asarray(values, dtype=np.int64), chosen)]


def is_left_out(case_id: str, repairs: Sequence[Repair]) -> bool:
    """Tell whether a repair leaves this case out."""
    return any(repair.kind == "leave_out" and repair.case_id == case_id for repair in repairs)


def find_kept_runs(repair: Repair, slices: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Give what is left of a stack, or of its part `slices` (start, stop), where a repair leaves slices out.

    Examples
    --------
    >>> find_kept_runs(leave_out_slices("leg", [3, 7, 8, 9], of=10), None)
    [(0, 3), (4, 7)]
    """
    start, stop = slices or (0, repair.of_slices)
    ranges = sorted(
        (int(first), int(last or first))
        for first, _, last in (words.partition("-") for words in dict(repair.arguments)["slices"].split())
    )
    runs = []
    for first, last in (*ranges, (stop + 1, stop)):
        runs.append((start, min(first - 1, stop)))
        start = max(start, last)
    return [(first, last) for first, last in runs if first < last]


def turn_slices(voxels: npt.NDArray[Pixel], symmetry: str) -> npt.NDArray[Pixel]:
    """Turn or mirror each slice (the last two axes) by one of `SYMMETRIES`; a view where it can be."""
    if symmetry.startswith("transpose"):
        voxels = voxels.swapaxes(-1, -2)
    if symmetry == "mirror_columns":
        return voxels[..., ::-1]
    if symmetry == "mirror_rows":
        return voxels[..., ::-1, :]
    quarters = {"rotate_90": 1, "rotate_180": 2, "transpose_180": 2, "rotate_270": 3}.get(symmetry, 0)
    return np.rot90(voxels, quarters, axes=(-2, -1))


def shift_slices(voxels: npt.NDArray[Pixel], shift: tuple[int, int]) -> npt.NDArray[Pixel]:
    """Move each slice down and to the right by whole pixels; what comes in is 0."""
    result = np.zeros_like(voxels)
    into, out_of = [], []
    for step, length in zip(shift, voxels.shape[-2:], strict=True):
        into.append(slice(min(max(step, 0), length), max(min(length + step, length), 0)))
        out_of.append(slice(min(max(-step, 0), length), max(min(length - step, length), 0)))
    result[..., into[0], into[1]] = voxels[..., out_of[0], out_of[1]]
    return result


def read_repairs(folder: Path) -> tuple[Repair, ...]:
    """Read the repairs that are kept beside the data.

    Parameters
    ----------
    folder : Path
        The folder with `repairs.csv`.

    Returns
    -------
    tuple of Repair
        In the order in which they are applied; empty if there is no such file.

    Raises
    ------
    ReadError
        If the file is no such table; the message names the row.
    """
    path = Path(folder) / FILE_NAME
    settle_folder(path.parent)
    if not path.exists():
        return ()
    columns, rows = read_rows(path)
    require_columns(path, columns, COLUMNS[:3], example="leg_07,relabel,1=2; 2=1,sides were swapped,2025-03-31")
    repairs = []
    for number, row in rows:
        words = [word.partition("=") for word in row["arguments"].split(";") if word.strip()]
        arguments = tuple((name.strip(), value.strip()) for name, _, value in words)
        try:
            repairs.append(
                Repair(row["case_id"], row["kind"], arguments, row.get("reason", ""), row.get("date", ""))
            )
        except DataError as error:
            raise ReadError(f"{path}, row {number}: {error} Correct the row, or remove it.") from error
    return tuple(repairs)


def add_repair(folder: Path, repair: Repair) -> tuple[Repair, ...]:
    """Keep a repair beside the data, from now on; without a date it gets today's.

    Returns
    -------
    tuple of Repair
        All that are kept now.

    Raises
    ------
    DataError
        If the same repair is kept already.
    OutputError
        If `repairs.csv` cannot be written.
    """
    with one_step(folder):
        kept, repair = read_repairs(folder), _of_own_case(folder, repair)
        if repair in kept:
            raise DataError(
                f"{Path(folder) / FILE_NAME} has this repair of {repair.case_id} already ({repair.words}); applied "
                "twice it would spoil the labels. Undo it first, or leave it."
            )
        dated = repair if repair.date else replace(repair, date=datetime.date.today().isoformat())
        return _write(folder, (*kept, dated))


def add_repairs(folder: Path, repairs: Iterable[Repair], *, seen: Sequence[Repair]) -> None:
    """Keep repairs that were proposed, all or none of them; those that are kept already are passed over.

    `seen` were kept when they were proposed. If another program has mended the same case in another way since,
    OutdatedError says so: both together would spoil its labels.
    """
    with one_step(folder):
        kept, seen = read_repairs(folder), [_of_own_case(folder, repair) for repair in seen]
        new = {_of_own_case(folder, repair): repair for repair in repairs}
        for repair in [repair for repair in new if repair not in kept]:
            now, before = (
                [one for one in some if one.case_id == repair.case_id and one.mends and one not in new]
                for some in (kept, seen)
            )
            if now != before and repair.mends:
                raise OutdatedError(
                    f"Another program has changed in {Path(folder) / FILE_NAME} how the labels of "
                    f"{new[repair].case_id} are mended since the folder was read here, so this was not kept: "
                    f"{repair.words}. Read the folder again, and mend what is still found."
                )
            add_repair(folder, repair)


def undo_repair(folder: Path, repair: Repair) -> tuple[Repair, ...]:
    """Remove a repair; the labels are read again as the user's file has them.

    Returns
    -------
    tuple of Repair
        Those that remain.

    Raises
    ------
    DataError
        If there is no such repair.
    """
    with one_step(folder):
        kept = read_repairs(folder)
        repair = repair if repair in kept else _of_own_case(folder, repair)
        if repair not in kept:
            raise DataError(f"{Path(folder) / FILE_NAME} has no such repair of {repair.case_id} ({repair.words}).")
        return _write(folder, tuple(other for other in kept if other != repair))


def undo_repairs(folder: Path, repairs: Collection[Repair]) -> None:
    """Remove repairs, all or none of them; those that somebody has removed already are passed over."""
    with one_step(folder):
        gone = {*repairs, *(_of_own_case(folder, repair) for repair in repairs)}
        _write(folder, tuple(other for other in read_repairs(folder) if other not in gone))


def _of_own_case(folder: Path, repair: Repair) -> Repair:
    """Give a repair of a case that goes by a code the case's own name, by which the folder's table knows it."""
    return replace(repair, case_id=original(repair.case_id)) if is_without_ids(folder) else repair


def _write(folder: Path, repairs: tuple[Repair, ...]) -> tuple[Repair, ...]:
    rows = []
    for repair in repairs:
        arguments = "; ".join(f"{name}={value}" for name, value in repair.arguments)
        rows.append((repair.case_id, repair.kind, arguments, repair.reason, repair.date))
    write_rows(Path(folder) / FILE_NAME, COLUMNS, rows)
    return repairs
