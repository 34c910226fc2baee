"""The files of an evaluation: results.csv, the summary and every slice; how readers agree; curves and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoseg.errors import DataError
from autoseg.files.atomic import one_step, remove, whole_file
from autoseg.files.file_names import safe_name
from autoseg.files.tables import write_table
from autoseg.image.structures import Structure
from autoseg.measurement.readers import (
    Reading,
    Verdict,
    agree,
    agreement_table,
    readings_table,
    verdicts_table,
)
from autoseg.measurement.scores import Score, VolumeScore, scores_table
from autoseg.measurement.summary import SubjectScore, pool_subjects, summarise
from autoseg.report.figures import show_erosions, show_history
from autoseg.report.figures.slices import show_slice_scored
from autoseg.report.kept_slices import WorstSlice


def write_results(
    path: Path,
    scores: Sequence[Score],
    *,
    subjects: Sequence[SubjectScore] | None = None,
    volumes: Sequence[VolumeScore] = (),
) -> list[Path]:
    """Write what an evaluation gave as tables: UTF-8, a decimal point, empty where a value is unknown.

    - `results.csv`: one row a subject and structure, columns named like the fields of `SubjectScore`
    - `results_summary.csv`: one row a structure, over all subjects; the columns are those of `summarise`
    - `results_levels.csv`: the same by vertebral level, where slices have one
    - `results_slices.csv`: one row a slice and structure, as `Score`
    - `results_volumes.csv`: one row a volume and structure, as `VolumeScore`, where volumes are given

    Subjects stand there by subject_id, slices and volumes by case_id too, nobody by name.

    Parameters
    ----------
    path : Path
        Of the first of the files, whatever its name; the others take theirs from it. Earlier ones are replaced, and
        those that this evaluation has no rows for are removed.
    scores : sequence of Score
        From `score_slices`, of all subjects, every slice once.
    subjects : sequence of SubjectScore, optional
        From `score_subject`, to list also structures that never occurred; by default pooled from `scores`.
    volumes : sequence of VolumeScore
        From `score_volume`.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    DataError
        If there is no score, or one label has two names.
    OutputError
        If a file cannot be written.
    """
    path = Path(path)
    if not scores:
        raise DataError(
            f"There is no score to write to {path}: on no slice was a structure drawn or predicted. "
            "Choose patients with labels."
        )
    has_levels = any(score.level for score in scores)
    tables = {
        "": scores_table(pool_subjects(scores) if subjects is None else subjects),
        "_summary": summarise(scores),
        "_levels": summarise(scores, by_level=True) if has_levels else None,
        "_slices": scores_table(scores),
        "_volumes": scores_table(volumes) if volumes else None,
    }
    written = []
    with one_step(path.parent):
        for suffix, table in tables.items():
            target = path.with_name(f"{path.stem}{suffix}{path.suffix}")
            if table is None:  # an earlier evaluation's table beside this one's would be taken for its own
                remove(target)
            else:
                write_table(target, table)
                written.append(target)
    return written


def write_readers(folder: Path, readings: Sequence[Reading], verdicts: Sequence[Verdict]) -> list[Path]:
    """Write how readers and a model agree: `readers.csv` by pair, `readers_verdicts.csv`, `readers_slices.csv`.

    Without a model there is no verdict, and no such file; an earlier one is removed.
    """
    tables = {
        "readers.csv": agreement_table(agree(readings)),
        "readers_verdicts.csv": verdicts_table(verdicts) if verdicts else None,
        "readers_slices.csv": readings_table(readings),
    }
    written = []
    with one_step(folder):
        for name, table in tables.items():
            if table is None:
                remove(folder / name)
            else:
                write_table(folder / name, table)
                written.append(folder / name)
    return written


def write_curves(
    folder: Path,
    name: str,
    history: Sequence[Mapping[str, Any]],
    *,
    structures: Sequence[Structure],
    best_by: str,
) -> list[Path]:
    """Draw a training by epochs to `<name>_history.png`, and `<name>_erosions.png` where these were watched."""
    figures = {"history": show_history(history, structures=structures, best_by=best_by)}
    if any("_eroded_" in column for row in history for column in row):
        figures["erosions"] = show_erosions(history)
    written = []
    with one_step(folder):
        for what, figure in figures.items():
            written.append(folder / f"{name}_{what}.png")
            with whole_file(written[-1]) as temporary:
                figure.savefig(temporary, format="png")
    return written


def write_worst(folder: Path, worst: Sequence[WorstSlice]) -> list[Path]:
    """Write a picture of each slice, the worst first: the image, what was drawn, what was predicted."""
    written = []
    for place, one in enumerate(worst, start=1):
        name = f"{place:02d}_{safe_name(one.score.case_id)}_slice_{one.score.slice}.png"
        written.append(Path(folder) / name)
        with whole_file(written[-1]) as temporary:
            show_slice_scored(one).savefig(temporary, format="png")
    return written
