"""What a cohort's folder holds of all patients together: joined tables, and a report with the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from autoseg.files.atomic import one_step, remove, whole_file
from autoseg.files.records import write_record
from autoseg.files.tables import join_tables, write_parquet, write_rows
from autoseg.measurement.areas import Measurement
from autoseg.report.lights import light_of_run
from autoseg.report.pages.document import Document, Facts, Grid, Heading, Words
from autoseg.report.pages.html import to_page
from autoseg.report.written_run import read_run
from autoseg.words import counted, listed

RUNS = "runs"
REPORT = "report.html"
# The tables of a run that are joined; whether Excel is told that they are UTF-8.
TABLES = {
    "measurements": False,
    "patients": True,
    "levels": True,
    "asymmetry": False,
    "intensities": False,
    "fat_fraction": False,
    "fat_estimate": False,
}
# Words in them, also where they look like numbers.
NAMES = frozenset(
    {"run", "case_id", "subject_id", "series_uid", "sop_uid", "file", "name", "side", "level", "model", "flags"}
)
# Longer tables are written as Parquet beside CSV: spreadsheets give up at 1,048,576 rows.
MOST_ROWS = 100_000
NO_PARQUET = (
    "{tables} {has} more than {rows:,} rows, and would be written as Parquet too, which statistics programs read "
    "faster. This needs the Python package pyarrow, which is not installed; the CSV files are whole. "
    "'pip install \"autoseg[parquet]\"' installs it (in a copy of autoseg: 'pip install -c constraints.txt "
    "pyarrow'); then give the same command again."
)
FAILED = "failed"
WAITING = "not segmented yet"
UNKNOWN = "unknown"
ORDER = (FAILED, "red", "amber", UNKNOWN, "green", WAITING)


@dataclass(frozen=True)
class PatientResult:
    """What came of one patient of a cohort: a row of report.csv.

    `folder` is where the images lie below the cohort, `patient` whose they are. `result` is "failed", the worst
    light of the images ("unknown" where nobody compared them), or "not segmented yet". `expected_dice` is the mean
    over the slices that show it, of the structure of which the least is expected; None where nothing is expected.
    `flagged` counts areas with a flag. `why` is what failed, with the remedy, or the reasons of the light; `notes`
    is what else should be known, and `run` the patient's folder in `runs`.
    """

    folder: str
    patient: str = ""
    result: str = WAITING
    expected_dice: float | None = None
    flagged: int = 0
    images: int = 0
    slices: int = 0
    why: str = ""
    notes: str = ""
    run: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the patient was segmented and measured."""
        return bool(self.run)


def read_result(run: Path, folder: str) -> PatientResult:
    """Give what came of a patient by the folder of the run."""
    written = read_run(run)
    rows = written.measurements
    light = light_of_run(written.suitability, dict.fromkeys(row.case_id for row in rows))
    return PatientResult(
        folder,
        ", ".join(sorted({row.subject_id for row in rows})),
        UNKNOWN if light is None else light.light.value,
        _expected_dice(rows),
        sum(bool(row.flags) for row in rows),
        len({row.case_id for row in rows}),
        len({(row.case_id, row.slice) for row in rows}),
        "" if light is None else " ".join(light.reasons),
        " ".join(written.details.get("notes", ())),
        run.name,
    )


def _expected_dice(rows: Sequence[Measurement]) -> float | None:
    known: dict[int, list[float]] = {}
    for row in rows:
        if row.expected_dice is not None and row.pixel_count:
            known.setdefault(row.label, []).append(row.expected_dice)
    return min((sum(some) / len(some) for some in known.values()), default=None)


def worst_first(results: Sequence[PatientResult]) -> list[PatientResult]:
    """Sort patients: what failed, red, amber, unknown, green; among these by expected Dice, then by flags."""

    def key(one: PatientResult) -> tuple[int, float, int]:
        return ORDER.index(one.result), 2.0 if one.expected_dice is None else one.expected_dice, -one.flagged

    return sorted(results, key=key)


def write_cohort(
    folder: Path,
    results: Sequence[PatientResult],
    *,
    title: str,
    record: Mapping[str, Any],
    notes: Sequence[str] = (),
    most_rows: int = MOST_ROWS,
) -> tuple[list[PatientResult], tuple[str, ...]]:
    """Write a cohort's tables, report.csv, report.html and cohort.json in one step; give the worst first and notes.

    The tables are those of the runs one below the other, with the run in front; those of more than `most_rows` rows
    are written as Parquet too, or a note is added where pyarrow is missing. Whatever fails, all files are as
    before.
    """
    ordered = worst_first(results)
    runs = [(one.run, folder / RUNS / one.run) for one in results if one.is_done]
    lacking = []
    with one_step(folder):
        for name, is_marked in TABLES.items():
            path, parts = folder / f"{name}.csv", ((run, place / f"{name}.csv") for run, place in runs)
            # "patient 1" tells patients of one run apart.
            count = join_tables(path, parts, "run", without=("patient",), marked=is_marked)
            if count is None:
                remove(path)
            is_long = count is not None and count > most_rows
            parquet = path.with_suffix(".parquet")
            if not is_long or not write_parquet(path, parquet, text=NAMES):
                remove(parquet)
                lacking += [path.name] * is_long
        if lacking:
            has = "has" if len(lacking) == 1 else "have"
            notes = (*notes, NO_PARQUET.format(tables=listed(lacking), has=has, rows=most_rows))
        columns = [item.name for item in fields(PatientResult)]
        rows = [["" if cell is None else cell for cell in astuple(one)] for one in map(_rounded, ordered)]
        write_rows(folder / "report.csv", columns, rows)
        with whole_file(folder / REPORT) as temporary:
            temporary.write_bytes(
                to_page(_document(title, ordered, record, notes)).encode("utf-8", "backslashreplace")
            )
        write_record(folder / "cohort.json", {**record, "results": Counter(one.result for one in ordered)})
    return ordered, tuple(notes)


def _rounded(one: PatientResult) -> PatientResult:
    return one if one.expected_dice is None else replace(one, expected_dice=round(one.expected_dice, 4))


def count_results(results: Sequence[PatientResult]) -> str:
    """Say how many patients came to what, the worst first.

    Examples
    --------
    >>> count_results([PatientResult("a", result="green"), PatientResult("b", result="failed")])
    '1 failed and 1 green'
    """
    counts = Counter(one.result for one in results)
    return listed([f"{counts[what]} {what}" for what in ORDER if counts[what]])


def _document(
    title: str, ordered: Sequence[PatientResult], record: Mapping[str, Any], notes: Sequence[str]
) -> Document:
    failed = [one for one in ordered if one.result == FAILED]
    done = [one for one in ordered if one.is_done]
    waiting = len(ordered) - len(failed) - len(done)
    facts = [
        ("Patients", f"{counted(len(ordered), 'folder')}: {count_results(ordered)}"),
        ("Model", str(record.get("model", ""))),
        ("Written", str(record.get("date", ""))),
    ]
    blocks: list[Any] = [Facts(tuple(facts)), *(Words(note, is_grave=True) for note in notes)]
    if waiting:
        words = f"{counted(waiting, 'patient')} are not segmented yet: give the same command again to go on."
        blocks.append(Words(words, is_grave=True))
    if failed:
        reasons = tuple((one.folder, one.why) for one in failed)
        blocks += [Heading("What failed"), Grid("Patients without a result", ("patient's folder", "why"), reasons)]
    if done:
        columns = ("patient's folder", "light", "expected Dice", "flagged areas", "slices", "why", "run")
        rows = tuple(
            (
                one.folder,
                one.result,
                "" if one.expected_dice is None else f"{one.expected_dice:.2f}",
                str(one.flagged),
                str(one.slices),
                one.why if one.result != "green" else "",
                f"{RUNS}/{one.run}",
            )
            for one in done
        )
        about = "The worst first: by the light, then by the expected Dice of the least certain structure"
        blocks += [Heading("What was measured"), Grid(about, columns, rows, frozenset({2, 3, 4}))]
    return Document(title, "All patients of a folder", tuple(blocks), "autoseg")
