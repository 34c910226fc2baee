"""One run over a patient's folder: read, predict, measure, write; with its progress, and a way to stop it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from autoseg.data.patients import other_kind, read_patient, warn_of_memory
from autoseg.errors import AutosegError, DataError
from autoseg.files.atomic import check_writable
from autoseg.files.dicom.series import SkippedFile
from autoseg.files.file_names import safe_name, unique_names
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.areas import Measurement, measure_areas
from autoseg.model.centreline import Centreline, write_centreline
from autoseg.model.model import TrainedModel, autoseg_version, subject_pseudonym
from autoseg.prediction import cut_off_note, own_centreline, predict
from autoseg.prediction.combine import Join, combine, heights_mm
from autoseg.prediction.ensemble import Copies, Models, as_models, ensemble_name
from autoseg.report.area_tables import areas_table
from autoseg.report.export import free_run_folder, write_run


@dataclass(frozen=True, eq=False)
class Run:
    """What segmenting a folder gave: `results` pairs every image with its label map.

    `folder` holds the files, `areas` is the table with one row a slice, `measurements` the tidy rows, `notes`
    are sentences that the reader should know, `skipped` the files that were left alone, `elapsed_s` how long it
    took, `model` the model's name, or of a mean all names and the copies (`ensemble.ensemble_name`). `centrelines`
    are those around which a model looked, by case_id.
    """

    folder: Path
    results: tuple[tuple[Image, LabelMap], ...]
    measurements: tuple[Measurement, ...]
    areas: pd.DataFrame
    notes: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]
    elapsed_s: float = 0.0
    model: str = ""
    centrelines: Mapping[str, Centreline] = field(default_factory=dict)


class RunStopped(AutosegError):
    """The user stopped a run; nothing was written."""


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: "reading", "predicting" or "writing"; image and slice are numbered from 1.

    `series` counts the images of the run: two time points of one DICOM series are two. `warning` is a sentence that
    should be read while the run goes on (memory is short).
    """

    stage: str
    series: int = 0
    series_count: int = 0
    slice: int = 0
    slice_count: int = 0
    warning: str = ""

    @property
    def share(self) -> float:
        """How much is done, 0 to 1; reading counts little, writing a tenth."""
        if self.stage == "reading":
            return 0.0
        if self.stage == "writing":
            return 0.92
        done = self.series - 1 + self.slice / max(1, self.slice_count)
        return 0.02 + 0.9 * done / max(1, self.series_count)

    def __str__(self) -> str:
        if self.stage != "predicting":
            return {"reading": "Reading the images …", "writing": "Writing the files …"}[self.stage]
        return f"Series {self.series} of {self.series_count}, slice {self.slice} of {self.slice_count}"


OnProgress = Callable[[RunProgress], bool | None]


def segment_folder(
    model: Models,
    folder: Path,
    *,
    output: Path,
    copies: Copies = "none",
    field_of_view_mm: float | Sequence[float] | None = None,
    matrix_size: int | Sequence[int] | None = None,
    prefer: str | None = None,
    only: Collection[str] | None = None,
    centrelines: Mapping[str, Centreline] | None = None,
    on_slices: Callable[[int, int], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Run:
    """Segment every image of a folder, measure the areas and write everything to a new folder.

    Parameters
    ----------
    model : TrainedModel, or sequence of TrainedModel
        Of several, the mean of what they answer.
    folder : Path
        Holds DICOM files, in any order and with any names; or, where there is none, NIfTI files or pictures.
    output : Path
        A new folder is made in it, named after the models, the copies and the time.
    copies : {"none", "left-right", "mirrored", "turned", "both"}
        Of each slice, see `autoseg.prediction.predict`.
    field_of_view_mm, matrix_size, prefer : optional
        Typed calibration, see `autoseg.image.calibration.calibrate`.
    only : collection of str, optional
        The case_id of each series (`series_table`) or file to segment; by default all.
    centrelines : mapping of Centreline by case_id, optional
        For models that see a crop around a centreline, in place of what they find by themselves. What was used is
        written to `centrelines` in the run's folder.
    on_slices : callable, optional
        Called with (slices done, slices in all) of each image.
    on_progress : callable, optional
        Called with a RunProgress at each step; returning True stops the run before anything is written.

    Returns
    -------
    Run

    Raises
    ------
    AutosegError
        Of the kinds that reading, calibration, prediction and writing raise; nothing is written then.
    RunStopped
        If `on_progress` returned True.
    """
    started = time.monotonic()
    tell = _teller(on_progress, Path(folder))
    models, name = as_models(model), ensemble_name(model, copies)
    tell(RunProgress("reading"))
    check_writable(output)
    typed = {"field_of_view_mm": field_of_view_mm, "matrix_size": matrix_size, "prefer": prefer}
    plane = next((plane for one in models if (plane := one.origin.get("plane"))), None)
    with enough_memory(Path(folder)):
        images, notes, skipped = read_patient(
            Path(folder), only=only, channels=models[0].channels, plane=plane, typed=typed
        )
        notes += about_images(models, images)
        lines = _own_lines(centrelines or {}, images, Path(folder))
        warning = warn_of_memory(images, len(models[0].structures) + 1)
        results, measurements = [], []
        for number, image in enumerate(images, start=1):
            place = RunProgress("predicting", number, len(images), 0, image.shape[0], warning)
            line, case_id = lines.get(image.source.case_id), image.source.case_id
            label_map, line, said = _predict_and_tell(models, copies, image, place, tell, on_slices, line)
            lines |= {case_id: line} if line is not None else {}
            notes += said
            results.append((image, label_map))
            measurements.extend(measure_areas(label_map, image=image, model=name))
        tell(RunProgress("writing"))
        target = write_run(
            free_run_folder(Path(output), name, datetime.now()),
            results,
            model_name=name,
            details=details_of(models, copies)
            | {"centrelines": {case_id: line.source for case_id, line in lines.items()}},
            measurements=measurements,
            write_more=lambda place: _write_lines(place / "centrelines", lines),
        )
    return Run(
        folder=target,
        results=tuple(results),
        measurements=tuple(measurements),
        areas=areas_table(measurements),
        notes=tuple(dict.fromkeys(notes)),
        skipped=skipped,
        elapsed_s=time.monotonic() - started,
        model=name,
        centrelines=lines,
    )


def details_of(models: Sequence[TrainedModel], copies: str) -> dict[str, Any]:
    """Give what run.json keeps of the models: of several, a list of each."""
    origins, epochs = [one.origin for one in models], [one.best_epoch for one in models]
    alone = len(models) == 1
    return {
        "autoseg": autoseg_version(),
        "models": [one.name for one in models],
        "copies": copies,
        "model_origin": origins[0] if alone else origins,
        "best_epoch": epochs[0] if alone else ", ".join(map(str, epochs)),
    }


def _teller(on_progress: OnProgress | None, folder: Path) -> Callable[[RunProgress], None]:
    """Give a function that reports progress and ends the run where it is asked to."""

    def tell(progress: RunProgress) -> None:
        if on_progress is not None and on_progress(progress):
            raise RunStopped(f"The run on {folder} was stopped. Nothing was written.")

    return tell


def _own_lines(
    centrelines: Mapping[str, Centreline], images: Sequence[Image], folder: Path
) -> dict[str, Centreline]:
    known = [image.source.case_id for image in images]
    unknown = sorted(set(centrelines) - set(known))
    if unknown:
        raise DataError(f"{folder} has no image {', '.join(unknown)} for a centreline. It has: {', '.join(known)}.")
    return dict(centrelines)


def _write_lines(folder: Path, centrelines: Mapping[str, Centreline]) -> None:
    names = unique_names([safe_name(case_id) for case_id in centrelines])
    for name, line in zip(names, centrelines.values(), strict=True):
        write_centreline(line, folder / f"{name}.csv")


def _predict_and_tell(
    models: Sequence[TrainedModel],
    copies: Copies,
    image: Image,
    place: RunProgress,
    tell: Callable[[RunProgress], None],
    on_slices: Callable[[int, int], None] | None,
    centreline: Centreline | None,
) -> tuple[LabelMap, Centreline | None, list[str]]:
    """Predict one image; what is warned of on the way becomes a note, which a notebook shows."""

    def after_slices(done: int, count: int) -> None:
        if on_slices is not None:
            on_slices(done, count)
        tell(replace(place, slice=done))

    tell(place)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = centreline or own_centreline(models, image)
        label_map = predict(models, image, copies=copies, on_slices=after_slices, centreline=line)
    said = [str(item.message) for item in caught if issubclass(item.category, UserWarning)]
    cut_off = cut_off_note(models, label_map, line) if line is not None else ""
    return label_map, line, [*said, *([cut_off] if cut_off else [])]


def about_images(models: Sequence[TrainedModel], images: Sequence[Image]) -> list[str]:
    """Say what is strange about these images for these models: their subjects, their kind."""
    subjects = {image.source.subject_id for image in images}
    notes = []
    if len(subjects) > 1:
        notes.append(
            f"The folder holds images of {len(subjects)} patients; patients.csv and measurements.csv tell them "
            "apart."
        )
    learnt = {pseudonym for one in models for pseudonym in one.origin.get("subject_fingerprints", ())}
    known = sum(subject_pseudonym(subject) in learnt for subject in subjects)
    if known:
        whom = "this patient" if len(subjects) == 1 else f"{known} of these {len(subjects)} patients"
        what, do = ("The model was", "it does") if len(models) == 1 else ("Some of the models were", "they do")
        notes.append(f"{what} trained or validated on {whom}; how well {do} there says nothing of a new one.")
    for image in images:
        kinds = [other_kind(image.source.modality, one.origin.get("modalities", ())) for one in models]
        notes += [f"{image.source.case_id}: {words}" for words in dict.fromkeys(kinds) if words]
    return notes


@contextmanager
def enough_memory(folder: Path) -> Iterator[None]:
    """Turn what happens when the memory is full into a DataError about this folder."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise DataError(
            f"The memory was not enough for {folder}; nothing was written. Close other programs, or choose fewer "
            "series at once."
        ) from error


# --- one run of two models over a patient's folder: read, combine, measure, write


def combine_folder(
    upper: Models,
    lower: Models,
    folder: Path,
    *,
    output: Path,
    at_mm: float | None = None,
    at_slice: int | None = None,
    at_level: str | None = None,
    blend_mm: float = 0.0,
    copies: Copies = "none",
    only: Collection[str] | None = None,
    typed: Mapping[str, Any] | None = None,
) -> Run:
    """Segment every image of a folder with one model above a height and another below, and write everything.

    As `segment_folder`. In the tables, the column model says of each slice which model it comes from; run.json says
    of each image where the models meet and what share the upper one has at every place along the body. An image
    that lies wholly above or below `at_mm` (a stack of its own) is segmented with the model of that side.

    Parameters
    ----------
    upper, lower : TrainedModel, or sequence of TrainedModel
    folder, output, copies, only
        As of `segment_folder`.
    at_mm, at_slice, at_level, blend_mm
        As of `combination.combine`.
    typed : mapping, optional
        field_of_view_mm, matrix_size and prefer, as of `calibration.calibrate`.

    Returns
    -------
    Run
        Its notes say where the models meet, and where an area jumps there.

    Raises
    ------
    AutosegError
        Of the kinds that reading, calibration, combining and writing raise; nothing is written then.
    """
    started = time.monotonic()
    uppers, lowers = as_models(upper), as_models(lower)
    names = (ensemble_name(uppers, copies), ensemble_name(lowers, copies))
    name = f"{names[0]} above {names[1]}"
    check_writable(output)
    plane = next((plane for one in (*uppers, *lowers) if (plane := one.origin.get("plane"))), None)
    where = {"at_mm": at_mm, "at_slice": at_slice, "at_level": at_level, "blend_mm": blend_mm}
    results: list[tuple[Image, LabelMap]] = []
    measurements: list[Measurement] = []
    joins: list[dict[str, Any]] = []
    with enough_memory(Path(folder)):
        images, notes, skipped = read_patient(
            Path(folder), only=only, channels=uppers[0].channels, plane=plane, typed=typed
        )
        notes += about_images((*uppers, *lowers), images)
        for image in images:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                label_map, said, join = _segment(uppers, lowers, names, image, where, copies)
            notes += [*said, *(str(one.message) for one in caught if issubclass(one.category, UserWarning))]
            results.append((image, label_map))
            rows = measure_areas(label_map, image=image)
            measurements += [replace(row, model=_model_of(row, join, name)) for row in rows]
            joins.append({"case_id": image.source.case_id, **(join if isinstance(join, dict) else join.as_plain())})
        target = write_run(
            free_run_folder(Path(output), name, datetime.now()),
            results,
            model_name=name,
            details=details_of((*uppers, *lowers), copies) | {"combination": joins},
            measurements=measurements,
        )
    return Run(
        folder=target,
        results=tuple(results),
        measurements=tuple(measurements),
        areas=areas_table(measurements),
        notes=tuple(dict.fromkeys(notes)),
        skipped=skipped,
        elapsed_s=time.monotonic() - started,
        model=name,
    )


def _segment(
    uppers: Sequence[TrainedModel],
    lowers: Sequence[TrainedModel],
    names: tuple[str, str],
    image: Image,
    where: Mapping[str, Any],
    copies: Copies,
) -> tuple[LabelMap, Sequence[str], Join | dict[str, Any]]:
    """Segment one image with both models, or with one if it lies wholly on one side of the join."""
    at_mm = where["at_mm"]
    if at_mm is not None and where["at_slice"] is None and where["at_level"] is None:
        axis, heights = heights_mm(image)
        half = abs(image.calibrated_affine[2, axis]) / 2
        side = "above" if heights.min() - half >= at_mm else "below" if heights.max() + half <= at_mm else ""
        if side:
            models, name = (uppers, names[0]) if side == "above" else (lowers, names[1])
            note = f"{image.source.case_id} lies wholly {side} z = {at_mm:.1f} mm and comes from {name} alone."
            return predict(models, image, copies=copies), [note], {"model": name, "at_mm": at_mm, "side": side}
    together = combine(uppers, lowers, image, copies=copies, **where)
    return together.label_map, together.notes, together.join


def _model_of(row: Measurement, join: Join | dict[str, Any], name: str) -> str:
    """Say which model a slice comes from; both, where the body runs along the slice."""
    if isinstance(join, dict):
        return str(join["model"])
    return join.model_at(row.slice_index) if join.axis == 0 else name
