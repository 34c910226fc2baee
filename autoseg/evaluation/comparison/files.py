"""The files of a comparison: tables, the verdict, pictures."""

from __future__ import annotations

from autoseg.errors import DataError
from autoseg.evaluation.comparison.compared import Comparison
from autoseg.evaluation.comparison.per_subject import per_subject_table
from autoseg.evaluation.comparison.tables import centrelines_table
from autoseg.files.atomic import whole_file
from autoseg.report.figures import show_comparison, show_learning_curves, show_side_by_side

PICTURES = {
    "comparison.png": show_comparison,
    "learning_curves.png": show_learning_curves,
    "side_by_side.png": show_side_by_side,
}


def write_tables(comparison: Comparison) -> None:
    """Write results.csv, subjects.csv, per_subject.csv, differences.csv and verdict.txt, each whole or not at all.

    With centrelines also centrelines.csv.

    Raises
    ------
    OutputError
        If one cannot be written.
    """
    tables = {
        "results.csv": comparison.table,
        "subjects.csv": comparison.subjects,
        "per_subject.csv": per_subject_table(comparison.subjects),
        "differences.csv": comparison.differences,
    }
    lines = centrelines_table(comparison.runs)
    if len(lines):
        tables["centrelines.csv"] = lines
    else:  # an earlier table would be of something else
        (comparison.folder / "centrelines.csv").unlink(missing_ok=True)
    for name, table in tables.items():
        with whole_file(comparison.folder / name) as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", errors="replace", float_format="%.10g")
    with whole_file(comparison.folder / "verdict.txt") as temporary:
        temporary.write_text("\n".join((comparison.verdict, *comparison.notes, "")), encoding="utf-8")


def write_pictures(comparison: Comparison) -> None:
    """Write the pictures that there is something to draw of; earlier ones are replaced.

    Raises
    ------
    OutputError
        If one cannot be written.
    """
    for name, show in PICTURES.items():
        path = comparison.folder / name
        try:
            figure = show(comparison)
        except DataError:  # nothing was scored, or kept; an earlier picture would be of something else
            path.unlink(missing_ok=True)
            continue
        with whole_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")
