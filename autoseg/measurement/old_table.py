"""Put right the areas that the published workbench counted on a resized grid and multiplied by a typed pixel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autoseg.errors import GeometryError, OutputError, private
from autoseg.files.dicom.grouping import Series
from autoseg.files.dicom.series import find_series
from autoseg.files.old_table import OldRow, OldTable
from autoseg.files.tables import write_table
from autoseg.image.calibration import check_typed_spacing, positive_pair
from autoseg.words import counted, name_private, name_some

GRID = 256
# A field of view in cm makes pixels 100 times as small, one in metres a million times.
MOST = 50.0
# Below this, in percent, areas were right.
ALIKE = 0.05
# An area is held against whole pixels where its rounding leaves so much of a pixel open; and so many are wanted.
OPEN, ENOUGH = 0.1, 4


@dataclass(frozen=True)
class OldPixel:
    """What the workbench was told: it took their quotient, squared, for the area of a pixel of its picture."""

    field_of_view_mm: float | Sequence[float]
    matrix_size: float | Sequence[float]

    @property
    def area_mm2(self) -> float:
        """The area of a pixel that the old table rests on.

        Examples
        --------
        >>> round(OldPixel(240, 224).area_mm2, 3)
        1.148
        """
        view = positive_pair(self.field_of_view_mm, "field of view (mm)")
        matrix = positive_pair(self.matrix_size, "matrix size")
        return view[0] / matrix[0] * view[1] / matrix[1]


@dataclass(frozen=True)
class NativePixels:
    """The rows and columns of an image as it came from the scanner, and the distances between them."""

    rows: int
    columns: int
    spacing_mm: tuple[float, float]

    def __post_init__(self) -> None:
        positive_pair((self.rows, self.columns), "size of the image (rows, columns)")
        positive_pair(self.spacing_mm, "size of a pixel (mm)")

    @property
    def span_mm2(self) -> float:
        """The area of the whole image."""
        return self.rows * self.spacing_mm[0] * self.columns * self.spacing_mm[1]

    @property
    def words(self) -> str:
        """The image in words."""
        return f"{self.rows} × {self.columns} pixels of {self.spacing_mm[0]:.4g} × {self.spacing_mm[1]:.4g} mm"


@dataclass(frozen=True)
class PutRight:
    """The new table, why its areas are others (a sentence for each size of image), and what to know of it."""

    table: pd.DataFrame
    why: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def shown(self) -> pd.DataFrame:
        """The table to be read: figures rounded, without the sentence in every row."""
        table = self.table.drop(columns="why")
        for name in table:
            if pd.api.types.is_float_dtype(table[name]):
                digits = ".4g" if name == "factor" else ".1f"
                table[name] = ["" if pd.isna(value) else format(value, digits) for value in table[name]]
        return table


def read_native_pixels(folder: Path) -> dict[str, NativePixels]:
    """Read the size of every image of a DICOM folder from the headers, by the name of its file without its ending.

    Localisers are left alone where there is anything else. Files of one name must be alike.

    Raises
    ------
    GeometryError
        If a header does not tell the size of a pixel, or files of one name differ.
    """
    found = find_series(folder).series
    native: dict[str, NativePixels] = {}
    for series in [one for one in found if not one.scout] or found:
        for name, pixels in _of_series(series):
            if native.setdefault(name, pixels) != pixels:
                raise GeometryError(
                    f"{folder} has two images {private(name)}: {native[name].words}, and {pixels.words}. Choose "
                    "the folder with the images of the table alone."
                )
    return native


def _of_series(series: Series) -> list[tuple[str, NativePixels]]:
    pixels = []
    for one in series.slices:
        if one.spacing_mm is None:
            faults = f" ({'; '.join(one.faults)})" if one.faults else ""
            raise GeometryError(
                f"{one.path} does not tell the size of a pixel{faults}. Type the rows, columns and the size of a "
                "pixel of the images in place of their folder."
            )
        pixels.append(
            (one.path.stem.lower(), NativePixels(one.rows, one.columns, (one.spacing_mm[0], one.spacing_mm[1])))
        )
    return pixels


def put_right(
    old: OldTable,
    used: OldPixel,
    *,
    native: dict[str, NativePixels] | None = None,
    typed: NativePixels | None = None,
    grid: int = GRID,
) -> PutRight:
    """Multiply each old area by the area of a pixel of the resized picture over the one that was taken for it.

    The workbench resized every image to `grid` × `grid` pixels, counted there, and multiplied by (field of view /
    matrix size)². A pixel of that picture was rows × columns × both spacings / grid² in truth.

    Parameters
    ----------
    old : OldTable
        From `autoseg.files.old_table.read_old_table`.
    used : OldPixel
        What was typed in the workbench.
    native : dict of str to NativePixels, optional
        From `read_native_pixels`. Where images differ each row is held against the file that it names.
    typed : NativePixels, optional
        What a person typed of the images; beside `native` the two must agree.
    grid : int, optional
        Rows and columns of the resized picture.

    Returns
    -------
    PutRight
        Every column of the old table; areas are called "<name> (old)" and stand again behind `factor`, put right;
        `why` says it in words. Rows that are no areas (n) have neither.

    Raises
    ------
    GeometryError
        If facts are missing, contradict each other, or cannot have been those of this table.
    """
    if grid < 1:
        raise GeometryError(f"The resized picture has {grid} rows; type a number above 0.")
    by_row = _native_of_rows(old, native or {}, typed)
    check = _check_whole(old, used)
    factors = {one: one.span_mm2 / grid**2 / used.area_mm2 for one in dict.fromkeys(by_row) if one is not None}
    for one, factor in factors.items():
        if not 1 / MOST < factor < MOST:
            raise GeometryError(
                f"Areas would be {factor:.4g} times the old ones: {_why(used, one, grid)} Are all sizes in mm?"
            )
    sentences = {one: _why(used, one, grid) for one in factors}
    said = [(None, "") if one is None else (factors[one], sentences[one]) for one in by_row]
    table, notes = _table(old, said)
    return PutRight(table, tuple(sentences.values()), (check, *notes) if check else notes)


def write_put_right(made: PutRight, old: Path, output: Path | None = None) -> Path:
    """Write the new table beside the old one, as <name>_put_right.csv, or at `output`; nothing is written over."""
    path = output or old.with_name(f"{old.stem}_put_right.csv")
    if path.exists():
        raise OutputError(f"{path} is there already and is not written over. Move it away, or give another name.")
    write_table(path, made.table, marked=True)
    return path


def _native_of_rows(
    old: OldTable, native: dict[str, NativePixels], typed: NativePixels | None
) -> list[NativePixels | None]:
    """Give the image of each row; None where a mean is of several that differ, and for rows that are no areas."""
    sizes = list(dict.fromkeys(native.values())) or ([] if typed is None else [typed])
    if not sizes:
        raise GeometryError(
            "How large a pixel of the images was is not known: choose the folder with their DICOM files, or type "
            "their rows, columns and the size of a pixel."
        )
    if typed is not None:
        for name, one in native.items():
            _check_same(name, one, typed)
    if len(sizes) == 1:
        return [None if row.kind == "count" else sizes[0] for row in old.rows]
    return [_named(old, row, native) if row.kind == "slice" else None for row in old.rows]


def _check_same(name: str, one: NativePixels, typed: NativePixels) -> None:
    said = check_typed_spacing(one.spacing_mm, typed.spacing_mm, name=private(name))
    if said or (one.rows, one.columns) != (typed.rows, typed.columns):
        raise GeometryError(
            f"What was typed ({typed.words}) is not what the header of {private(name)} says ({one.words}). Leave "
            "what is wrong away: the folder, or what was typed."
        )


def _named(old: OldTable, row: OldRow, native: dict[str, NativePixels]) -> NativePixels:
    """Give the image whose file a row names, with or without the ending of a picture."""
    name = row.name(old.names)
    place = Path(name.replace("\\", "/")).name.lower()
    found = native.get(place) or native.get(Path(place).stem)
    if found is None:
        raise GeometryError(
            f"The images differ in the size of their pixels, so each row needs its own, and {old.path}, row "
            f"{row.number} ({private(name)}) names none of their files: {name_private(native)}. Choose the folder "
            "with the images of the table alone, or write the names of the files into the table."
        )
    return found


def _check_whole(old: OldTable, used: OldPixel) -> str:
    """Hold areas against whole numbers of the pixel that was taken: only the right one fits them."""
    pixel = used.area_mm2
    checked = [
        one.value * unit / pixel
        for row in old.rows
        if row.kind == "slice"
        for place, one in row.areas.items()
        for unit in [100 if "cm" in old.columns[place].lower() else 1]
        if one.value and one.rounding * unit <= OPEN * pixel
    ]
    fits = sum(abs(count - round(count)) <= 1.5 * OPEN and round(count) >= 1 for count in checked)
    if len(checked) < ENOUGH:
        return (
            "The table's areas are too few, or rounded too much, to tell whether it was made with this field of "
            "view and matrix size."
        )
    if 2 * fits < len(checked):
        raise GeometryError(
            f"{old.path} was not made with this field of view and matrix size: they take {pixel:.4g} mm² for a "
            f"pixel, and only {fits} of {counted(len(checked), 'area')} are whole numbers of such pixels. Type "
            "what was typed in the old workbench; areas are taken for mm² where no name of a column says cm²."
        )
    return (
        f"{fits} of {counted(len(checked), 'area')} of the old table are whole numbers of pixels of {pixel:.4g} "
        "mm², as they must be if it was made with this field of view and matrix size."
    )


def _why(used: OldPixel, native: NativePixels, grid: int) -> str:
    right = native.span_mm2 / grid**2
    percent = 100 * (used.area_mm2 / right - 1)
    taken = f"The old table took {used.area_mm2:.4g} mm² per pixel ({_quotient(used)})"
    truth = f"a pixel of the {grid} × {grid} picture was {right:.4g} mm² ({native.words})"
    if abs(percent) < ALIKE:
        return f"{taken}; {truth}: areas were right."
    wrong = f"{abs(percent):.3g} % too {'large' if percent > 0 else 'small'}"
    return f"{taken}; {truth}: areas were {wrong}, and were multiplied by {right / used.area_mm2:.4g}."


def _quotient(used: OldPixel) -> str:
    view = positive_pair(used.field_of_view_mm, "field of view (mm)")
    matrix = positive_pair(used.matrix_size, "matrix size")
    sides = [f"{mm:.4g} mm ÷ {count:g}" for mm, count in zip(view, matrix, strict=True)]
    return f"{sides[0]}, squared" if sides[0] == sides[1] else f"{sides[0]} × {sides[1]}"


def _table(old: OldTable, said: Sequence[tuple[float | None, str]]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    columns: dict[str, list[object]] = defaultdict(list)
    for row, (factor, why) in zip(old.rows, said, strict=True):
        for place, name in enumerate(old.columns):
            if place not in old.areas:
                columns[name].append(row.cells[place])
            else:
                columns[f"{name} (old)"].append(_value(row, place))
        columns["factor"].append(factor)
        for place in old.areas:
            value = _value(row, place)
            columns[old.columns[place]].append(None if value is None or factor is None else value * factor)
        columns["why"].append(why)
    numbers = [f"{old.columns[place]} (old)" for place in old.areas] + [old.columns[place] for place in old.areas]
    table = pd.DataFrame(columns).astype(dict.fromkeys([*numbers, "factor"], float))
    left = [
        old.columns[place] or f"column {place + 1}" for place in range(len(old.columns)) if place not in old.areas
    ]
    notes = [f"Taken for areas: {name_some([old.columns[place] for place in old.areas], 20)}."]
    if left:
        notes.append(f"Left as they were, for their names are not those of areas: {name_some(left, 20)}.")
    counts = [row.name(old.names) for row in old.rows if row.kind == "count"]
    if counts:
        notes.append(f"Rows that are no areas have no factor: {name_some(counts, 20)}.")
    summaries = [
        row for row, (factor, _) in zip(old.rows, said, strict=True) if row.kind == "summary" and factor is None
    ]
    if summaries:
        notes.append(
            f"{name_some([row.name(old.names) for row in summaries])}: empty, for the images differ and no one "
            "factor puts a mean of them right. Count it anew from the rows above."
        )
    return table, tuple(notes)


def _value(row: OldRow, place: int) -> float | None:
    return row.areas[place].value if place in row.areas else None
