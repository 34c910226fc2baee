"""Commands that use a model, and those that try this installation and computer."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg.cli.options import (
    fat_channels,
    load_models,
    print_lights,
    print_note,
    print_red_so_far,
    red_images,
    typed_calibration,
    workers_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

    from autoseg.data.cases import CaseFolder
    from autoseg.measurement.areas import Measurement
    from autoseg.measurement.intervals import PatientInterval
    from autoseg.measurement.tissue import Tissue
    from autoseg.model.postprocess import StructurePostprocess
    from autoseg.prediction.cohort import CohortProgress
    from autoseg.prediction.run import Run, RunProgress


def predict(chosen: argparse.Namespace) -> None:
    """Segment a folder, measure, save, and compare where there is a reference."""
    from autoseg.data.cases import find_cases
    from autoseg.errors import SettingsError
    from autoseg.prediction.run import segment_folder

    if chosen.patients:
        predict_patients(chosen)
        return
    if workers_of(chosen) is not None:
        raise SettingsError("Workers take a patient each: give --workers and --scheduler with --patients.")
    with run_options(chosen) as options:
        run = segment_folder(
            load_models(chosen.model, chosen.further_models or ()),
            chosen.folder,
            output=chosen.output,
            copies=chosen.copies,
            only=chosen.series,
            look=chosen.look,
            fat=fat_channels(chosen),
            **vars(typed_calibration(chosen)),
            **options,
        )
    if options["postprocess"] is not None:
        print(f"Cleaned as typed: {options['postprocess'].words}.")
    if chosen.further_models or chosen.copies != "none":
        print(f"Segmented with the mean of {run.model}")
    print_run(run, show_red=chosen.show_red)
    if chosen.report:
        from autoseg.prediction.run_report import write_report

        print(f"Report: {', '.join(map(str, write_report(run)))}")
    if chosen.dicom:
        from autoseg.prediction.run_dicom import run_to_dicom

        archived = run_to_dicom(run, chosen.dicom)
        for note in archived.notes:
            print_note(note)
        print(f"As DICOM objects, read back and compared: {', '.join(archived.names)} in {archived.folder}")
    if chosen.reference is not None:
        print_comparison(run, find_cases(chosen.reference, unlabelled="skip"), show_red=chosen.show_red)


OF_ONE = {"reference": "--reference", "centrelines": "--centreline", "report": "--report", "dicom": "--dicom"}
MOST_SHOWN = 10


def predict_patients(chosen: argparse.Namespace) -> None:
    """Segment all patients of a folder, each as a run of its own, into one table; say what failed and the worst."""
    from autoseg.errors import DataError
    from autoseg.prediction.cohort import segment_cohort
    from autoseg.prediction.run import RunRequest, mean_of
    from autoseg.report.cohort import FAILED, count_results
    from autoseg.words import counted

    typed = [option for name, option in OF_ONE.items() if getattr(chosen, name)]
    if typed:
        raise DataError(
            f"{', '.join(typed)} and --patients do not go together. Leave --patients away and give the folder of "
            "one patient; 'autoseg report RUN' writes the report of a run that is done."
        )
    models = load_models(chosen.model, chosen.further_models or ())
    segmenter = mean_of(models, chosen.copies, typed_cleaning(chosen), look=chosen.look)
    request = RunRequest(
        segmenter, chosen.folder, chosen.series, typed_calibration(chosen), fat=fat_channels(chosen)
    )
    progress = _CohortProgress()
    try:
        cohort = segment_cohort(request, chosen.output, on_progress=progress, workers=workers_of(chosen))
    finally:
        progress.end_line()
    failed = [one for one in cohort.results if one.result == FAILED]
    done = [one for one in cohort.results if one.is_done]
    print(
        f"{counted(len(cohort.results), 'patient')}: {count_results(cohort.results)}; {cohort.segmented} segmented "
        f"now in {cohort.elapsed_s:.0f} s, {cohort.earlier} before."
    )
    for note in cohort.notes:
        print(f"Note: {note}")
    for one in failed[:MOST_SHOWN]:
        print(f"Failed: {one.folder}: {one.why}")
    if len(failed) > MOST_SHOWN:
        print(f"… and {len(failed) - MOST_SHOWN} more failed: report.csv has all of them.")
    for why, some in groupby([one for one in done if one.result != "green"][:MOST_SHOWN], lambda one: one.why):
        alike = [
            f"{one.folder} ({one.result}{'' if one.expected_dice is None else f', Dice {one.expected_dice:.2f}'})"
            for one in some
        ]
        print(f"Look first at {', '.join(alike)}: {why}")
    print(f"Saved in {cohort.folder}")
    if cohort.is_stopped:
        print("Stopped: what is done is kept. The same command goes on with the others.", file=sys.stderr)
        raise KeyboardInterrupt
    if not done:
        raise DataError(
            f"None of the {counted(len(failed), 'patient')} could be segmented; the reasons stand above."
        )


class _CohortProgress:
    """Prints a line for each patient that was segmented or failed, and on a terminal how far the one at work is."""

    def __init__(self) -> None:
        self.is_open = False

    def __call__(self, progress: CohortProgress) -> None:
        done = progress.result
        if progress.note:
            self.end_line()
            print(progress.note, flush=True)
        elif done is not None and not progress.is_earlier:
            self.end_line()
            print(f"{progress}: {done.result}{f', {done.slices} slices' if done.slices else ''}", flush=True)
        elif sys.stderr.isatty():
            print(f"\r{progress!s:79.79}", end="", file=sys.stderr, flush=True)
            self.is_open = True

    def end_line(self) -> None:
        """End the line that says how far the patient is, if there is one."""
        if self.is_open:
            self.is_open = False
            print(file=sys.stderr, flush=True)


def report(chosen: argparse.Namespace) -> None:
    """Write the report of a run that is done, or of a cross-validation."""
    from autoseg.evaluation.study import write_study_report
    from autoseg.prediction.run_report import write_report

    if any(chosen.run_folder.glob("fold_*/fold.json")):
        paths = write_study_report(chosen.run_folder, show_ids=not chosen.no_ids)
    else:
        paths = write_report(chosen.run_folder, by=chosen.by, show_ids=not chosen.no_ids)
    for path in paths:
        print(f"Saved in {path}")


def seal(chosen: argparse.Namespace) -> None:
    """Write models anew, with sealed fingerprints or without any."""
    from autoseg.model.card import write_card
    from autoseg.model.model import write_sealed

    for path in chosen.models:
        write_card(write_sealed(path, forget=chosen.forget), path)
        done = "recognises no patient any more" if chosen.forget else "recognises its patients as before"
        print(f"{path} is written anew; it {done}. Copies that were made of it earlier are as they were.")


def add_centreline(parser: argparse.ArgumentParser) -> None:
    """Add how a clicked centreline is given."""
    parser.add_argument(
        "--centreline",
        dest="centrelines",
        action="append",
        metavar="ID=CSV",
        help="for models that see a crop around a centreline: take this one for the image ID, in place of what the "
        "model finds; may be given again",
    )


def add_no_quality(parser: argparse.ArgumentParser) -> None:
    """Add how the second look at each image is left out."""
    parser.add_argument(
        "--no-quality",
        dest="look",
        action="store_false",
        help="look at each image once only: no expected Dice and no flag 'poor', in up to half of the time",
    )


def add_cleaning(parser: argparse.ArgumentParser) -> None:
    """Add how predictions are cleaned, where a person types it."""
    add = parser.add_argument_group("cleaning, in place of what was chosen for the model").add_argument
    add("--erosions", type=int, choices=range(4), help="take off so many layers of pixels; areas become smaller")
    add("--largest-piece", action="store_true", help="keep the largest piece of each structure on each slice")
    add("--fill-holes", action="store_true", help="fill background that a structure encloses")


def typed_cleaning(chosen: argparse.Namespace) -> StructurePostprocess | None:
    """Give the cleaning that was typed; None: as the models do."""
    from autoseg.model.postprocess import StructurePostprocess

    if chosen.erosions is None and not chosen.largest_piece and not chosen.fill_holes:
        return None
    return StructurePostprocess(None, chosen.erosions or 0, chosen.largest_piece, chosen.fill_holes)


@contextmanager
def run_options(chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Give what every run over a patient's folder takes: clicked centrelines, typed cleaning, what hears of it.

    Whatever is said afterwards, an error first of all, begins on a line of its own.
    """
    from autoseg.errors import DataError
    from autoseg.model.centreline import read_centreline

    lines = {}
    for words in chosen.centrelines or ():
        case_id, _, path = words.partition("=")
        if not path:
            raise DataError(f"--centreline {words}: say of which image it is, as ID=CSV.")
        lines[case_id] = read_centreline(path)
    progress = _Progress()
    try:
        yield {"centrelines": lines, "postprocess": typed_cleaning(chosen), "on_progress": progress}
    finally:
        progress.end_line()


class _Progress:
    """Prints once that memory is short, and which images do not suit the model, before anything is found on them.

    On a terminal it also prints how far the run is, on one line.
    """

    def __init__(self) -> None:
        self.warned, self.compared, self.is_open = False, False, False

    def __call__(self, progress: RunProgress) -> None:
        if progress.warning and not self.warned:
            self.warned = True
            self.end_line()
            print(progress.warning, file=sys.stderr)
        if progress.stage == "predicting" and not self.compared:  # all images are compared by now
            self.compared = True
            if red_images(progress.suitability):
                self.end_line()
                print_red_so_far(progress.suitability)
        if sys.stderr.isatty():
            print(f"\r{progress!s:60}", end="", file=sys.stderr, flush=True)
            self.is_open = True

    def end_line(self) -> None:
        """End the line that says how far the run is, if there is one."""
        if self.is_open:
            self.is_open = False
            print(file=sys.stderr, flush=True)


def print_run(run: Run, *, show_red: bool = False) -> None:
    """Print what a run gave: first the lights, and the areas of red images only where they are wanted."""
    images = [image.source.case_id for image, _ in run.results]
    red = print_lights(run.suitability, images, show_red=show_red)
    for note in run.notes:
        print_note(note)
    for skipped in run.skipped:
        print(f"Left alone: {skipped.path} ({skipped.reason})")
    if shown := [row for row in run.measurements if row.case_id not in red]:
        print_areas(shown, run.patient_intervals)
        level = next((row.interval_level for row in shown if row.interval_level is not None), None)
        if level is not None:
            print(f"In brackets: between what the true value lies with a probability of {100 * level:.4g} %.")
        if run.about_intervals:
            print(run.about_intervals)
        print_tissue(run.tissue, hidden=red)
    print(f"Saved in {run.folder}")


def print_areas(
    measurements: Sequence[Measurement],
    intervals: Sequence[PatientInterval] = (),
    *,
    cohort: Sequence[Measurement] = (),
) -> None:
    """Print areas slice by slice, each structure of each image with its volume, by level, and left beside right.

    Whoever is measured is held against the other people of the `cohort`. Where the interval of an area is known it
    stands behind it, in brackets.
    """
    from autoseg.report.area_tables import areas_table, levels_table, patients_table, with_intervals
    from autoseg.report.asymmetry import asymmetry_table

    summed, asymmetry = patients_table(measurements, intervals), asymmetry_table(measurements, cohort=cohort)
    alone = ["patient"] if summed["subject_id"].nunique() < 2 else []
    tables = (
        areas_table(measurements, intervals),
        summed.drop(columns=["volume_mm3", "volume_at_least_mm3", *alone], errors="ignore"),
        levels_table(measurements),
        asymmetry.drop(columns=alone),
    )
    for table in filter(len, tables):
        shown = with_intervals(table)
        if "suitability" in shown and set(shown["suitability"]) == {"green"}:  # it was said above
            shown = shown.drop(columns="suitability")
        print(
            shown.to_string(index=False, float_format="{:.1f}".format, na_rep="", formatters={"volume_ml": _volume})
        )


def print_tissue(tissue: Tissue, *, hidden: Collection[str] = ()) -> None:
    """Print how bright structures are on all slices together, and how much of them is fat."""
    from autoseg.measurement.tissue import tissue_table, whole_images

    titles = {
        "Brightness, all slices together:": tissue.intensities,
        "Fat fraction (fat signal / water and fat signal):": tissue.fat,
        "Fat, an estimate by a threshold on one channel:": tissue.estimates,
    }
    for title, rows in titles.items():
        shown = [row for row in rows if row.case_id not in hidden]
        if shown:
            table = whole_images(tissue_table(shown))
            print(f"\n{title}")
            dull = ["subject_id", "level", "label", "side"]
            print(table.drop(columns=dull).to_string(index=False, float_format="{:.1f}".format, na_rep=""))


def _volume(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.2f}"


def print_comparison(run: Run, reference: CaseFolder, *, show_red: bool = False) -> None:
    """Print a run beside an expert's labels."""
    from autoseg.evaluation.expert import UnmatchedLabels, compare_with_expert, comparison_table, count_inside

    red = [] if show_red else red_images(run.suitability)
    results = tuple(one for one in run.results if one[0].source.case_id not in red)
    if not results:
        return
    try:
        comparison = compare_with_expert(replace(run, results=results), reference)
    except UnmatchedLabels:
        if red:  # the labels are theirs
            return
        raise
    print("\nEach area beside the expert's (a structure that the expert did not draw is left out):")
    print(comparison_table(comparison.slices).to_string(index=False, float_format="{:.2f}".format, na_rep="–"))
    print("\nPatient by patient:")
    for score in comparison.subjects:
        print(
            f"{score.subject_id}, {score.name}: Dice {score.dice:.3f} over {score.n} slices, "
            f"area error {score.area_error_percent:+.1f} % on average of the slices, "
            f"{score.total_area_error_percent:+.1f} % of the summed area"
        )
    _print_inside(*count_inside(run, comparison))


def _print_inside(inside: int, bounded: int) -> None:
    if bounded:
        share = f"{inside} of {bounded} areas ({100 * inside / bounded:.0f} %)"
        print(f"The expert's area lies inside the interval of autoseg's for {share}.")


def score(chosen: argparse.Namespace) -> None:
    """Score a model on the frozen test subjects of a folder."""
    from autoseg.cli.options import find
    from autoseg.evaluation.expert import score_test_subjects

    (model,) = load_models(chosen.model, ())
    test = score_test_subjects(model, find(chosen), output=chosen.output)
    print_summary(test.summary)
    _print_inside(test.inside, test.bounded)
    print(test.ledger.note)
    print(f"Pictures of the worst slices, worst first: {test.folder / 'worst'}")
    print(f"Saved in {test.folder}")


def print_summary(table: pd.DataFrame) -> None:
    """Print a summary of scores, one column a structure."""
    shown = table.drop(columns=["label"]).set_index("name").T
    print(shown.to_string(float_format="{:.3f}".format, na_rep="–"))


def models(chosen: argparse.Namespace) -> None:
    """Show the models of a folder."""
    from autoseg.model.model_list import list_models, list_shipped

    entries = list_models(chosen.folder)
    for entry in entries:
        print(entry.line)
        if entry.problem:
            print(f"    {entry.problem}")
    if not entries:
        print(f"There is no model in {chosen.folder.resolve()}.")
    for entry in list_shipped():
        print(entry.line)


def selftest(chosen: argparse.Namespace) -> None:
    """Measure made-up series of known shapes."""
    from autoseg.errors import GeometryError
    from autoseg.measurement.selftest import run_selftest

    with tempfile.TemporaryDirectory() as folder:
        report = run_selftest(Path(folder))
    print(report.table())
    if not report.passed:
        raise GeometryError(
            f"The worst area is wrong by {report.worst_error_percent:.2f} %, more than 0.5 %. Do not measure "
            "with this installation; report it."
        )
    print(f"Passed. The worst area is wrong by {report.worst_error_percent:.3f} % (allowed: 0.5 %).")


def computer(chosen: argparse.Namespace) -> None:
    """Show memory, device and speed."""
    from autoseg.model.device import find_computer, measure_speed

    print(find_computer())
    print(measure_speed())
