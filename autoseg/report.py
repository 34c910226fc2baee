"""Whole runs: train on a folder, segment a folder, and say what it is worth against an expert's labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from autoseg.area_tables import areas_table
from autoseg.calibration import calibrate, pixel_spacing_from_field_of_view
from autoseg.cases import Case, CaseFolder, Reading, find_images, read_case, read_case_image
from autoseg.errors import AutosegError, DataError, GeometryError, OutputError, ReadError
from autoseg.export import free_run_folder, write_run
from autoseg.files.atomic import check_writable, whole_file
from autoseg.files.dicom import DicomFolder, Series, SkippedFile, find_series, read_series
from autoseg.history import format_epoch, write_history
from autoseg.image import Image, LabelMap
from autoseg.measurement import Measurement, measure_areas
from autoseg.model import (
    EpochResult,
    TrainedModel,
    autoseg_version,
    check_model_name,
    free_model_path,
    save_model,
    subject_fingerprint,
)
from autoseg.prediction import predict
from autoseg.settings import Settings
from autoseg.split import Split
from autoseg.structures import Structure
from autoseg.training import OnEpoch, train
from autoseg.tuning import tune_postprocess

Named = TypeVar("Named", Case, Series)


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
        if image.affine is None and field_of_view_mm is not None:
            choice = pixel_spacing_from_field_of_view(field_of_view_mm, image.shape[1:], matrix_size=matrix_size)
            # Read again, so that positions and orientation of the header are kept.
            image, label_map = read_case(case, cases.structures, pixel_spacing_mm=choice.spacing_mm)
        else:
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
    choose_post: bool = False,
    tell: Callable[[str], object] | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[TrainedModel, Path]:
    """Train, and keep what was learnt in `folder`.

    Every `settings.save_checkpoint` epochs the best model so far and the latest one are saved as
    `<name>_best.pt` and `<name>_last.pt`, with which predictions can be made, so that a crash loses little. At
    the end `<name>_<epochs>.pt` takes their place (`<name>_<epochs>_2.pt` where that name is taken: no older
    model is lost); `<name>_history.csv` has one row an epoch.

    Parameters
    ----------
    split, settings, structures, name, on_epoch
        As for `autoseg.training.train`.
    folder : Path
        Where the model lands, normally trained_model.
    choose_post : bool
        Choose a post-processing on the validation cases (`autoseg.tuning.tune_postprocess`) and keep it in the
        model; what was tried is in `<name>_postprocess.csv`.
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
    check_model_name(name)
    folder = Path(folder)
    check_writable(folder)
    history = folder / f"{name}_history.csv"
    checkpoints = {kind: folder / f"{name}_{kind}.pt" for kind in ("best", "last")}

    def after_epoch(result: EpochResult, best: TrainedModel, last: TrainedModel) -> bool | None:
        if tell is not None and result.epoch % settings.print_checkpoint == 0:
            tell(format_epoch(result, structures))
        if result.epoch % settings.save_checkpoint == 0:
            try:
                save_model(best, checkpoints["best"])
                save_model(last, checkpoints["last"])
                write_history(best, history)
            except OutputError as error:  # hours of learning are worth more than a checkpoint
                (tell or warnings.warn)(f"No checkpoint: {error} The training goes on.")
        return on_epoch(result, best, last) if on_epoch is not None else None

    model = train(split, settings, structures=structures, name=name, on_epoch=after_epoch)
    # New volumes are cut along the same plane.
    plane = split.training[0].reading.plane
    model = replace(model, origin={**model.origin, "plane": plane})
    model, choice = tune_postprocess(model, split.validation if choose_post else ())
    if choice is not None:
        with whole_file(folder / f"{name}_postprocess.csv") as temporary:
            choice.table().to_csv(temporary, index=False)
    path = save_model(model, free_model_path(folder, model))
    write_history(model, history)
    for checkpoint in checkpoints.values():
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
    only: Collection[str] | None = None,
    on_slices: Callable[[int, int], None] | None = None,
) -> Run:
    """Segment every image of a folder, measure the areas and write everything to a new folder.

    Parameters
    ----------
    model : TrainedModel
    folder : Path
        Holds DICOM files, in any order and with any names; or, where there is none, NIfTI files or pictures.
    output : Path
        A new folder is made in it, named after the model and the time.
    field_of_view_mm, matrix_size, prefer : optional
        Typed calibration, see `autoseg.calibration.calibrate`.
    only : collection of str, optional
        The case_id of each series (`series_table`) or file to segment; by default all.
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
    check_writable(output)
    typed = {"field_of_view_mm": field_of_view_mm, "matrix_size": matrix_size, "prefer": prefer}
    images, notes, skipped = _read_folder(Path(folder), typed, model, only)
    subjects = {image.source.subject_id for image in images}
    if len(subjects) > 1:
        notes.append(f"The folder holds images of {len(subjects)} patients; measurements.csv tells them apart.")
    if {subject_fingerprint(s) for s in subjects} & set(model.origin.get("subject_fingerprints", ())):
        notes.append(
            "The model was trained or validated on this patient; how well it does here says nothing of a new one."
        )
    results, measurements = [], []
    for image in images:
        label_map = predict(model, image, on_slices=on_slices)
        results.append((image, label_map))
        measurements.extend(measure_areas(label_map, image=image, model=model.name))
    details = {"autoseg": autoseg_version(), "model_origin": model.origin, "best_epoch": model.best_epoch}
    target = write_run(
        free_run_folder(Path(output), model.name, datetime.now()),
        results,
        model_name=model.name,
        details=details,
        measurements=measurements,
    )
    return Run(
        folder=target,
        results=tuple(results),
        measurements=tuple(measurements),
        areas=areas_table(measurements),
        notes=tuple(notes),
        skipped=skipped,
    )


def _read_folder(
    folder: Path, typed: Mapping[str, Any], model: TrainedModel, only: Collection[str] | None
) -> tuple[list[Image], list[str], tuple[SkippedFile, ...]]:
    """Read the DICOM series of a folder, or where there is none its NIfTI files or pictures."""
    try:
        found = find_series(folder)
    except DataError as error:
        reading = Reading(plane=model.origin.get("plane"))
        cases = find_images(folder, channels=model.channels, reading=reading) if folder.is_dir() else ()
        if not cases:
            raise error
        return *_read_files(_chosen(cases, only, folder), typed), ()
    return *_read_images(replace(found, series=_chosen(found.series, only, folder)), typed), found.skipped


def _chosen(items: Sequence[Named], only: Collection[str] | None, folder: Path) -> tuple[Named, ...]:
    """Give the series or files with these names."""
    if only is None:
        return tuple(items)
    wanted, known = {only} if isinstance(only, str) else set(only), [item.case_id for item in items]
    unknown = sorted(wanted - set(known))
    if unknown:
        raise DataError(f"{folder} has no image {', '.join(unknown[:5])}. It has: {', '.join(known[:20])}.")
    return tuple(item for item in items if item.case_id in wanted)


def _read_files(cases: Sequence[Case], typed: Mapping[str, Any]) -> tuple[list[Image], list[str]]:
    """Read and calibrate NIfTI files or pictures."""
    images, notes = [], []
    for case in cases:
        image = read_case_image(case)
        if image.affine is None and typed["field_of_view_mm"] is not None:
            choice = pixel_spacing_from_field_of_view(
                typed["field_of_view_mm"], image.shape[1:], matrix_size=typed["matrix_size"]
            )
            notes.extend([f"{case.case_id}: {choice.note}"] if choice.note else [])
            image = read_case_image(case, pixel_spacing_mm=choice.spacing_mm)
        elif typed["field_of_view_mm"] is not None:
            image = calibrate(image, **typed)
        image.calibrated_affine  # noqa: B018 - raises where nothing can be measured
        images.append(image)
    return images, notes


def _read_images(found: DicomFolder, typed: Mapping[str, Any]) -> tuple[list[Image], list[str]]:
    """Read and calibrate every series; leave one out, and say why, where others can be measured."""
    read: list[tuple[Series, tuple[Image, ...]]] = []
    problems: list[AutosegError] = []
    notes = [f"{series.case_id}: {note}" for series in found.series for note in series.notes]
    for series in found.series:
        try:
            images = read_series(series)
            if typed["field_of_view_mm"] is None:
                images[0].calibrated_affine  # noqa: B018 - raises where nothing can be measured
            notes.extend(f"{series.case_id}: {note}" for note in images[0].source.notes)
            read.append((series, images))
        except (GeometryError, ReadError) as error:
            problems.append(error)
    if not read:
        raise problems[0]
    notes.extend(f"Left out: {error}" for error in problems)
    # What is typed is meant for the images whose header is silent; where there are none, it is checked.
    silent = [images for _, images in read if images[0].affine is None]
    result: list[Image] = []
    for series, images in read:
        field_of_view = typed["field_of_view_mm"] if images[0].affine is None or not silent else None
        if field_of_view is None:
            result.extend(images)
            continue
        shape = images[0].shape[1:]
        choice = pixel_spacing_from_field_of_view(field_of_view, shape, matrix_size=typed["matrix_size"])
        notes.extend([f"{series.case_id}: {choice.note}"] if choice.note else [])
        if images[0].affine is None:
            result.extend(read_series(series, pixel_spacing_mm=choice.spacing_mm))
        else:
            result.extend(calibrate(image, **typed) for image in images)
    return result, notes
