"""A run as its folder holds it: its record, and the rows of its tables as they were measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from autoseg.errors import ReadError
from autoseg.files.tables import read_table
from autoseg.files.text_files import read_json
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import MM2, Measurement
from autoseg.measurement.intervals import PatientInterval
from autoseg.model.trust import Light, Suitability
from autoseg.report.area_tables import SUFFIXES, image_groups
from autoseg.report.export import FORMAT
from autoseg.report.shown_tissue import TABLES

# Columns of measurements.csv that hold words, whatever they look like.
_WORDS = tuple(item.name for item in fields(Measurement) if item.type == "str")


@dataclass(frozen=True, eq=False)
class WrittenRun:
    """A run: its `folder`, what run.json says (`record`), its areas, and the intervals of means and volumes.

    `suitability` is the light of each image, by case_id. `results` has the images with their labels, where they are
    in the memory. `tissue` are the tables of brightness and fat by the names of their files.
    """

    folder: Path
    record: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    intervals: tuple[PatientInterval, ...] = ()
    suitability: Mapping[str, Suitability] = field(default_factory=dict)
    results: Mapping[str, tuple[Image, LabelMap]] | None = None
    tissue: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def details(self) -> Mapping[str, Any]:
        """What is told of how the run was made."""
        return self.record.get("details") or {}

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The structures of the run, by their labels."""
        return tuple(map(_structure, self.record["structures"]))


def read_record(folder: Path) -> dict[str, Any]:
    """Read run.json; ReadError where it is none, or of a version whose tables count slices otherwise."""
    path = Path(folder) / "run.json"
    try:
        record = read_json(path)
        if not {"images", "structures", "model", "date"} <= set(record):
            raise TypeError("it says too little")
    except FileNotFoundError as error:
        raise ReadError(
            f"{folder} is not the folder of a run: it has no run.json. Choose a folder of predictions."
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise ReadError(f"{path} cannot be read as the record of a run ({error}). Segment again.") from error
    if record.get("format") != FORMAT:
        raise ReadError(f"{path} was written by another version of autoseg. Segment again.")
    return dict(record)


def read_run(folder: Path) -> WrittenRun:
    """Read a run back from its folder; without its images, which it does not hold."""
    folder = Path(folder)
    record, path = read_record(folder), folder / "measurements.csv"
    lines = read_table(path, _WORDS).to_dict("records")
    try:
        rows = [_measurement({str(name): cell for name, cell in line.items()}) for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{path} does not hold the areas of a run ({error!r}). Segment again.") from error
    numbers: dict[str, list[int]] = {}
    for row in rows:
        numbers.setdefault(row.case_id, []).append(row.slice)
    places = {case_id: {number: at for at, number in enumerate(sorted({*own}))} for case_id, own in numbers.items()}
    measured = tuple(replace(row, slice_index=places[row.case_id][row.slice]) for row in rows)
    intervals = _intervals(folder / "patients.csv", measured)
    return WrittenRun(folder, record, measured, intervals, _lights(record), tissue=_tissue(folder))


def _tissue(folder: Path) -> dict[str, pd.DataFrame]:
    words = ("case_id", "subject_id", "level", "name", "side", "channel", "suitability")
    files = {name: folder / f"{name}.csv" for name in TABLES}
    found = {name: read_table(path, words) for name, path in files.items() if path.is_file()}
    for name, table in found.items():
        if not {"case_id", "slice", "label", "name"} <= set(table.columns):
            raise ReadError(f"{files[name]} does not hold what autoseg writes there. Segment again.")
    return found


def _lights(record: Mapping[str, Any]) -> dict[str, Suitability]:
    found = {}
    for image in record["images"]:
        known = image.get("suitability")
        if known and known.get("reasons"):
            found[str(image["case_id"])] = Suitability(Light(known["light"]), tuple(known["reasons"]))
    return found


def _structure(one: Mapping[str, Any]) -> Structure:
    red, green, blue = bytes.fromhex(str(one["colour"]).removeprefix("#"))
    return Structure(
        one["label"],
        one["name"],
        (red, green, blue),
        one.get("side", ""),
        tuple(one.get("includes", ())),
        one.get("category", ""),
        one.get("type", ""),
    )


def _measurement(line: Mapping[str, Any]) -> Measurement:
    known: dict[str, Any] = {"slice_index": 0}
    for item in fields(Measurement):
        cell = line.get(item.name)
        is_empty = cell is None or (isinstance(cell, float) and math.isnan(cell))
        if item.name == "area_mm2" and is_empty:  # of a structure that is cut off only the least is known
            cell = line.get("area_at_least_mm2")
            is_empty = cell is None or math.isnan(cell)
        if item.name not in line and item.name != "area_mm2":
            continue
        if item.type == "str":
            known[item.name] = "" if is_empty else str(cell)
        elif is_empty or cell is None:
            known[item.name] = None
        elif item.type == "bool":
            known[item.name] = str(cell) == "True"
        else:
            known[item.name] = int(cell) if item.type == "int" else float(cell)
    return Measurement(**known)


def _intervals(path: Path, measurements: Sequence[Measurement]) -> tuple[PatientInterval, ...]:
    """Give the intervals of means and volumes, whose table has a line an image and structure in the same order."""
    lines = read_table(path, ("subject_id", "image", "structure", "interval_basis")).to_dict("records")
    keys = [
        (subject, image, label, next(row for row in rows if row.label == label))
        for (subject, image), rows in image_groups(measurements).items()
        for label in sorted({row.label for row in rows})
    ]
    if len(keys) != len(lines) or not any("interval_level" in line for line in lines):
        return ()
    found = []
    for (subject, image, label, row), line in zip(keys, lines, strict=True):
        unit = SUFFIXES[row.unit]
        names = [f"{what}_{end}_{unit}" for what in ("mean_area", "max_area") for end in ("low", "high")]
        ends = [_known(line.get(name)) for name in (*names, "volume_low_ml", "volume_high_ml")]
        level = _known(line.get("interval_level"))
        if level is not None and row.name == line.get("structure"):
            volume = [None if end is None or row.unit != MM2 else 1000 * end for end in ends[4:]]
            basis = str(line.get("interval_basis") or "")
            first = (subject, image, label, row.name, row.unit, level, basis)
            found.append(PatientInterval(*first, *ends[:4], *volume))
    return tuple(found)


def _known(cell: object) -> float | None:
    return float(cell) if isinstance(cell, int | float) and not math.isnan(cell) else None
