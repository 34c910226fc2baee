"""How a model agrees with the labels that an expert drew: on the slices of a run, on the test subjects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from autoseg.data.cases import CaseFolder, find_cases, read_case, read_rater_labels
from autoseg.data.digests import known_subjects
from autoseg.data.test_subjects import Ledger, read_ledger, record_look
from autoseg.errors import DataError
from autoseg.evaluation.second_reader import beside_readers, drawn_by_several
from autoseg.evaluation.validation_report import keep_worst, rank_worst
from autoseg.files.atomic import check_writable, whole_folder
from autoseg.image.image import LabelMap, SliceSource
from autoseg.measurement.areas import Measurement
from autoseg.measurement.readers import Reading
from autoseg.measurement.scores import Score, VolumeScore, score_slices, score_volume, scores_table
from autoseg.measurement.summary import SubjectScore, score_subject, summarise
from autoseg.model.model import TrainedModel, model_digest
from autoseg.prediction.run import Run, segment_and_measure
from autoseg.report.area_tables import area_text, at_least
from autoseg.report.kept_slices import WorstSlice
from autoseg.report.run_folder import free_run_folder
from autoseg.report.score_files import write_results, write_worst
from autoseg.training.choose_postprocess import read_reference
from autoseg.words import name_private

# Slices of a last test that are shown, the worst of all.
PICTURES = 12


class UnmatchedLabels(DataError):
    """None of an expert's labels belongs to an image of the run."""


def pair_with_expert(run: Run, cases: CaseFolder) -> list[tuple[tuple[int, int], LabelMap, LabelMap]]:
    """Match a run with an expert's labels on the same files, in the run's order.

    Each match is the number of the run's image with the slice of it (both from 0), and of that slice alone the
    reference and the prediction.
    """
    places = _places(run)
    pairs = []
    for case in cases.cases:
        image, reference = read_case(case, cases.structures)
        for index, shown in enumerate(image.source.slices):
            match = _place_of(shown, places)
            if match is not None:
                one = run.results[match[0]][1].one_slice(match[1])
                pairs.append((match, _as_in_run(reference.one_slice(index), one), one))
    if not pairs:
        raise UnmatchedLabels(
            f"None of the labels in {cases.folder} belongs to a file that was segmented into {run.folder}. "
            "Choose the labels of the same patient."
        )
    return sorted(pairs, key=lambda pair: pair[0])


def _places(run: Run) -> dict[tuple[object, int], tuple[int, int]]:
    """Give where each slice of a run lies, by its file and, for copies of the folder, by its instance."""
    places: dict[tuple[object, int], tuple[int, int]] = {}
    for number, (image, _) in enumerate(run.results):
        for index, source in enumerate(image.source.slices):
            read = source.origin or source
            for name in (read.path.resolve(), read.sop_uid):
                places[name, read.frame] = number, index
    return places


def _place_of(shown: SliceSource, places: Mapping[tuple[object, int], tuple[int, int]]) -> tuple[int, int] | None:
    source = shown.origin or shown
    match = places.get((source.path.resolve(), source.frame))
    return places.get((source.sop_uid, source.frame)) if match is None and source.sop_uid else match


def _as_in_run(drawn: LabelMap, one: LabelMap) -> LabelMap:
    """Give what was drawn on a slice as the run has it: the pixels' size and the slice's number hold for both."""
    known = replace(drawn.source, first_slice=one.source.first_slice)
    if any(place.origin for place in one.source.slices):  # codes stand for the run's patients
        known = replace(known, case_id=one.source.case_id, subject_id=one.source.subject_id)
    return replace(drawn, affine=one.affine, source=known)


def _read_beside(run: Run, cases: CaseFolder) -> Iterator[Reading]:
    """Put a run beside each of several readers, slice by slice."""
    places = _places(run)
    for case in drawn_by_several(cases.cases):
        label_maps, names = read_rater_labels(case, cases.structures)
        for index, shown in enumerate(label_maps[0].source.slices):
            match = _place_of(shown, places)
            if match is not None:
                one = run.results[match[0]][1].one_slice(match[1])
                drawn = [_as_in_run(label_map.one_slice(index), one) for label_map in label_maps]
                yield from beside_readers(one, dict(zip(names, drawn, strict=True)))


@dataclass(frozen=True)
class Comparison:
    """How a run agrees with an expert: `subjects` pooled over each patient's slices, `slices` one by one.

    `places` tells of each of `slices` which of the run's images it is on (case_id), and which slice of it (from 0).
    Where several readers drew, `readings` are what each of them and the run found.
    """

    subjects: tuple[SubjectScore, ...] = ()
    slices: tuple[Score, ...] = ()
    places: tuple[tuple[str, int], ...] = ()
    readings: tuple[Reading, ...] = ()


def compare_with_expert(run: Run, labelled: CaseFolder | Path | str | None) -> Comparison:
    """Score a run against an expert's labels.

    Structures that the expert did not draw on a slice are left out. Labels that nobody named ("label 1") are taken
    for the run's structures of the same number. The slices come in the run's order.

    Parameters
    ----------
    run : Run
    labelled : CaseFolder, Path, str or None
        The same patient's folder with dicoms and labels. None: there are no labels, the comparison is empty.

    Raises
    ------
    DataError
        If no labelled file is among those that were segmented.
    """
    if labelled is None:
        return Comparison()
    cases = labelled if isinstance(labelled, CaseFolder) else find_cases(Path(labelled), unlabelled="skip")
    cases = _with_names_of(run, cases)
    pairs = pair_with_expert(run, cases)
    scores = [(score, place) for place, r, p in pairs for score in score_slices(r, p)]
    subjects = sorted({reference.source.subject_id for _, reference, _ in pairs})
    of_subject = {who: [(r, p) for _, r, p in pairs if r.source.subject_id == who] for who in subjects}
    return Comparison(
        subjects=tuple(score for maps in of_subject.values() for score in score_subject(maps)),
        slices=tuple(score for score, _ in scores),
        places=tuple((run.results[number][0].source.case_id, index) for _, (number, index) in scores),
        readings=tuple(_read_beside(run, cases)),
    )


def count_inside(run: Run, comparison: Comparison) -> tuple[int, int]:
    """Count the areas whose interval holds the expert's, and the areas that were compared and have an interval."""
    return _count_inside(run.measurements, comparison.slices, comparison.places)


def _count_inside(
    measurements: Sequence[Measurement], scores: Sequence[Score], places: Sequence[tuple[str, int]]
) -> tuple[int, int]:
    """Count as `count_inside` does; `places` are the image and slice of each score among the measurements."""
    rows = {(row.case_id, row.slice_index, row.name): row for row in measurements}
    held = []
    for score, place in zip(scores, places, strict=True):
        row = rows.get((*place, score.name))
        if row is not None and row.interval is not None:
            drawn = score.reference_mm2 if row.area_mm2 is not None else score.reference_pixels
            held += [] if drawn is None else [row.interval[0] <= drawn <= row.interval[1]]
    return sum(held), len(held)


@dataclass(frozen=True, eq=False)
class FinalTest:
    """Scores on the test subjects: the new `folder`, the `summary` (`summarise`), the `ledger` with this look.

    Of `bounded` areas with an interval it held `inside` of the experts' areas.
    """

    folder: Path
    summary: pd.DataFrame
    ledger: Ledger
    inside: int = 0
    bounded: int = 0


def score_test_subjects(model: TrainedModel, labelled: CaseFolder, *, output: Path) -> FinalTest:
    """Score a model on the frozen test subjects of a folder, and count the look in its ledger.

    The tables lie in a new folder `<model>_test_<date>_<time>` in `output`, with pictures of the `PICTURES` worst
    slices in `worst`; an earlier look stays as it was.
    """
    ledger = read_ledger(labelled.folder)
    if ledger is None:
        raise DataError(
            f"No test patients are frozen in {labelled.folder}. Set some aside before the "
            "training: under 'Set patients aside for a last test' in 1_train, or with train --test-subject on the "
            "command line."
        )
    cases = [case for case in labelled.cases if case.subject_id in ledger.subjects]
    gone = sorted(set(ledger.subjects) - {case.subject_id for case in cases})
    if gone:
        raise DataError(
            f"Nothing in {labelled.folder} is of {name_private(gone)}, frozen for the test: files were moved, "
            "or patients renamed (subjects.csv). Bring them back; a test on some of them only is another test."
        )
    known = sorted(known_subjects(ledger.subjects, model.origin.get("subject_fingerprints", ())))
    if known:
        raise DataError(
            f"The model {model.name!r} was trained or validated on "
            f"{name_private(known)}, who are frozen for the test: its "
            "score would say nothing of a new person. Train again; test patients are left out by themselves."
        )
    check_writable(output)
    scores: list[Score] = []
    volumes: list[VolumeScore] = []
    worst: list[WorstSlice] = []
    inside = bounded = 0
    for number, case in enumerate(cases, start=1):
        image, reference = read_reference(case, labelled.structures)
        predicted, measurements = segment_and_measure(model, image)
        mine = score_slices(reference, predicted)
        counts = _count_inside(measurements, mine, [(image.source.case_id, one.slice_index) for one in mine])
        inside, bounded = inside + counts[0], bounded + counts[1]
        scores += mine
        volumes += score_volume(reference, predicted)
        # A slice with several structures is shown once, by its worst one.
        of_slices = {score.slice_index: score for score in reversed(rank_worst(mine))}
        worst = keep_worst(worst, tuple(of_slices.values()), number, (image, reference, predicted), most=PICTURES)
    folder = free_run_folder(output, f"{model.name}_test", datetime.now())
    with whole_folder(folder) as temporary:
        write_results(temporary / "results.csv", scores, volumes=volumes)
        write_worst(temporary / "worst", worst)
        # The last that can fail before the tables are there to be seen: none is seen uncounted.
        ledger = record_look(labelled.folder, model.name, model_digest(model))
    return FinalTest(folder, summarise(scores), ledger, inside, bounded)


def comparison_table(scores: Sequence[Score]) -> pd.DataFrame:
    """Give each slice's areas beside the expert's, with the error in percent, Dice and HD95 in mm.

    Areas are in mm²; where the size of a pixel is unknown they stand in columns in pixels. Where the structure is
    cut off by the edge of the image, they are words ("at least 1,238 (cut off)"), and the error is that of what is
    seen.
    """
    in_pixels = [score.reference_mm2 is None for score in scores]
    mm2 = {"reference_mm2": "Expert mm²", "predicted_mm2": "autoseg mm²"}
    pixels = {"reference_pixels": "Expert pixels", "predicted_pixels": "autoseg pixels"}
    columns = {
        "case_id": "case_id",
        "slice": "slice",
        "name": "structure",
        **(mm2 if not in_pixels or not all(in_pixels) else {}),
        **(pixels if any(in_pixels) else {}),
        "area_error_percent": "Error %",
        "dice": "Dice",
        "hd95_mm": "HD95 mm",
    }
    table = scores_table(scores)
    if any(in_pixels):  # only of those that have no mm²
        table[list(pixels)] = table[list(pixels)].where(pd.Series(in_pixels, dtype=bool), other=None)
    cut = table["touches_edge"].astype(bool)
    for name in {*mm2, *pixels} & set(columns):
        least = [at_least(area_text(float(value))) for value in table[name][cut & table[name].notna()]]
        if least:
            table[name] = table[name].astype(object)
            table.loc[cut & table[name].notna(), name] = least
    return table[list(columns)].rename(columns=columns)


def _with_names_of(run: Run, cases: CaseFolder) -> CaseFolder:
    """Give labels that have only a number the names of the run's structures."""
    known = {s.label: s for _, label_map in run.results for s in label_map.structures}
    named = [
        replace(s, name=known[s.label].name) if s.name == f"label {s.label}" and s.label in known else s
        for s in cases.structures
    ]
    return replace(cases, structures=tuple(named))
