"""Whole runs: train on a folder, segment a folder, and say what it is worth against an expert's labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from autoseg.calibration import calibrate, pixel_spacing_from_field_of_view
from autoseg.cases import CaseFolder, find_cases, read_case
from autoseg.errors import DataError
from autoseg.evaluation import Score, SubjectScore, score_slices, score_subject
from autoseg.export import run_folder_name, write_run
from autoseg.files.atomic import whole_file
from autoseg.files.dicom import DicomFolder, SkippedFile, find_series, read_series
from autoseg.history import format_epoch, write_history
from autoseg.image import Image, LabelMap
from autoseg.measurement import Measurement, areas_table, measure_areas
from autoseg.model import EpochResult, TrainedModel, autoseg_version, model_path, save_model
from autoseg.prediction import predict
from autoseg.settings import Settings
from autoseg.split import Split
from autoseg.structures import Structure
from autoseg.training import OnEpoch, train


def measure_labels(
    cases: CaseFolder,
    *,
    field_of_view_mm: float | Sequence[float] | None = None,
    matrix_size: int | Sequence[int] | None = None,
    prefer: str | None = None,
) -> list[Measurement]:
    """Measure labels that were drawn already, each on its own image's grid.

    Returns
    -------
    list of Measurement
        In the order of the cases.
    """
    rows = []
    for case in cases.cases:
        image, label_map = read_case(case, cases.structures)
        image = calibrate(image, field_of_view_mm=field_of_view_mm, matrix_size=matrix_size, prefer=prefer)
        rows.extend(measure_areas(label_map.on_grid_of(image), image=image))
    return rows


@dataclass(frozen=True, eq=False)
class Run:
    """What segmenting a folder gave: `results` pairs every image with its label map.

    `folder` holds the files, `areas` is the table with one row a slice, `measurements` the tidy rows, `notes`
    are sentences that the reader should know, `skipped` the files that were left alone.
    """

    folder: Path
    results: tuple[tuple[Image, LabelMap], ...]
    measurements: tuple[Measurement, ...]
    areas: pd.DataFrame
    notes: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]


def train_and_save(
    split: Split,
    settings: Settings,
    *,
    structures: Sequence[Structure],
    name: str,
    folder: Path,
    tell: Callable[[str], object] | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[TrainedModel, Path]:
    """Train, and keep what was learnt in `folder`.

    Every `settings.save_checkpoint` epochs the best model so far is saved as `<name>_best.pt`, with which
    predictions can be made, so that a crash loses little. At the end `<name>_<epochs>.pt` takes its place;
    `<name>_history.csv` has one row an epoch.

    Parameters
    ----------
    split, settings, structures, name, on_epoch
        As for `autoseg.training.train`.
    folder : Path
        Where the model lands, normally trained_model.
    tell : callable, optional
        Gets a line of text every `settings.print_checkpoint` epochs; `print`, for instance.

    Returns
    -------
    tuple of TrainedModel and Path
        The model and its file.

    Raises
    ------
    OutputError
        If the folder cannot be written; this is tried before the training starts.
    """
    folder = Path(folder)
    history = folder / f"{name}_history.csv"
    checkpoint = folder / f"{name}_best.pt"
    with whole_file(folder / f"{name}_writable.txt") as temporary:
        temporary.write_text("autoseg can write here\n", encoding="utf-8")
    (folder / f"{name}_writable.txt").unlink()

    def after_epoch(result: EpochResult, best: TrainedModel) -> bool | None:
        if tell is not None and result.epoch % settings.print_checkpoint == 0:
            tell(format_epoch(result, structures))
        if result.epoch % settings.save_checkpoint == 0 and best.weights:
            save_model(best, checkpoint)
            write_history(best, history)
        return on_epoch(result, best) if on_epoch is not None else None

    model = train(split, settings, structures=structures, name=name, on_epoch=after_epoch)
    path = save_model(model, model_path(folder, model))
    write_history(model, history)
    checkpoint.unlink(missing_ok=True)
    return model, path


def segment_folder(
    model: TrainedModel,
    folder: Path,
    *,
    output: Path,
    field_of_view_mm: float | Sequence[float] | None = None,
    matrix_size: int | Sequence[int] | None = None,
    prefer: str | None = None,
    on_slices: Callable[[int, int], None] | None = None,
) -> Run:
    """Segment every DICOM series of a folder, measure the areas and write everything to a new folder.

    Parameters
    ----------
    model : TrainedModel
    folder : Path
        Holds the DICOM files, in any order and with any names.
    output : Path
        A new folder is made in it, named after the model and the time.
    field_of_view_mm, matrix_size, prefer : optional
        Typed calibration, see `autoseg.calibration.calibrate`.
    on_slices : callable, optional
        Called with (slices done, slices in all) of each image.

    Returns
    -------
    Run

    Raises
    ------
    AutosegError
        Of the kinds that reading, calibration, prediction and writing raise; nothing is written then.
    """
    found = find_series(Path(folder))
    typed = {"field_of_view_mm": field_of_view_mm, "matrix_size": matrix_size, "prefer": prefer}
    images, notes = _read_images(found, typed)
    results, measurements = [], []
    for image in images:
        label_map = predict(model, image, on_slices=on_slices)
        results.append((image, label_map))
        measurements.extend(measure_areas(label_map, image=image, model=model.name))
    name = run_folder_name(model.name, datetime.now())
    details = {"autoseg": autoseg_version(), "model_origin": model.origin, "best_epoch": model.best_epoch}
    target = write_run(Path(output) / name, results, model_name=model.name, details=details)
    return Run(
        folder=target,
        results=tuple(results),
        measurements=tuple(measurements),
        areas=areas_table(measurements),
        notes=tuple(notes),
        skipped=found.skipped,
    )


def _read_images(found: DicomFolder, typed: Mapping[str, Any]) -> tuple[list[Image], list[str]]:
    """Read and calibrate every series that can be read; say of the others why they are left out."""
    images: list[Image] = []
    notes: list[str] = []
    only_refused = all(series.refusal for series in found.series)
    for series in found.series:
        notes.extend(series.notes)
        if series.refusal and not only_refused:
            notes.append(f"Left out the series {series.case_id}: {series.refusal}")
            continue
        images.extend(calibrate(image, **typed) for image in read_series(series))
    if typed["field_of_view_mm"] is not None:
        choices = [
            pixel_spacing_from_field_of_view(
                typed["field_of_view_mm"], image.shape[1:], matrix_size=typed["matrix_size"]
            )
            for image in images
        ]
        notes.extend(dict.fromkeys(choice.note for choice in choices if choice.note))
    return images, notes


def pair_with_expert(run: Run, cases: CaseFolder) -> list[tuple[LabelMap, LabelMap]]:
    """Match a run, slice by slice, with the labels that an expert drew on the same files.

    Returns
    -------
    list of (LabelMap, LabelMap)
        (reference, predicted) of one slice each, in the order of the cases.

    Raises
    ------
    DataError
        If no labelled file is among those that were segmented.
    """
    predicted = {}
    for image, label_map in run.results:
        for index, source in enumerate(image.source.slices):
            predicted[source.path.resolve(), source.frame] = (label_map, index)
    pairs = []
    for case in cases.cases:
        image, reference = read_case(case, cases.structures)
        for place, source in enumerate(image.source.slices):
            match = predicted.get((source.path.resolve(), source.frame))
            if match is not None:
                one = _one_slice(*match)
                # The same pixels of the same file: what the run measured with holds for both.
                pairs.append((replace(_one_slice(reference, place), affine=one.affine), one))
    if not pairs:
        raise DataError(
            f"None of the labels in {cases.folder} belongs to a file that was segmented into {run.folder}. "
            "Choose the labels of the same patient."
        )
    return pairs


@dataclass(frozen=True)
class Comparison:
    """How a run agrees with an expert: `subjects` pooled over each patient's slices, `slices` one by one."""

    subjects: tuple[SubjectScore, ...] = ()
    slices: tuple[Score, ...] = ()


def compare_with_expert(run: Run, labelled: CaseFolder | Path | str | None) -> Comparison:
    """Score a run against an expert's labels.

    Structures that the expert did not draw on a slice are left out.

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
    pairs = pair_with_expert(run, cases)
    subjects = sorted({reference.source.subject_id for reference, _ in pairs})
    return Comparison(
        subjects=tuple(
            score
            for subject in subjects
            for score in score_subject([pair for pair in pairs if pair[0].source.subject_id == subject])
        ),
        slices=tuple(score for pair in pairs for score in score_slices(*pair)),
    )


def comparison_table(scores: Sequence[Score]) -> pd.DataFrame:
    """Give each slice's areas beside the expert's in mm², with the error in percent, and the Dice."""
    rows = [
        {
            "case_id": score.case_id,
            "structure": score.name,
            "expert mm²": score.reference_mm2,
            "autoseg mm²": score.predicted_mm2,
            "error %": score.area_error_percent,
            "Dice": score.dice,
        }
        for score in scores
    ]
    return pd.DataFrame(rows)


def _one_slice(label_map: LabelMap, index: int) -> LabelMap:
    """Take one slice, in its place."""
    affine = label_map.affine
    if affine is not None:
        affine = affine.copy()
        affine[:3, 3] += index * affine[:3, 0]
    slices = label_map.source.slices[index : index + 1]
    return replace(
        label_map,
        voxels=label_map.voxels[index : index + 1],
        affine=affine,
        source=replace(label_map.source, slices=slices),
    )
