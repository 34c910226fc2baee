"""One run over a patient's folder: read, segment, measure, write; with its progress, and a way to stop it.

One model, the mean of several or two along the body, for tables or to be corrected: the same loop serves them all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pandas as pd

from autoseg.data.cases import CaseFolder, read_case
from autoseg.data.corrections.keep import whole_cases
from autoseg.data.corrections.kit import Kit, read_kit, write_kit
from autoseg.data.corrections.read import Correction
from autoseg.data.digests import known_subjects
from autoseg.data.patients import NOTHING_TYPED, other_kind, read_patient, warn_of_memory
from autoseg.errors import AutosegError, DataError, OutputError, enough_memory
from autoseg.files.atomic import check_writable
from autoseg.files.file_names import safe_name, unique_names
from autoseg.files.room import check_room
from autoseg.files.sources import SkippedFile
from autoseg.image.calibration import FieldOfView, TypedCalibration
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.areas import Measurement, measure_areas
from autoseg.measurement.intervals import PatientInterval
from autoseg.measurement.morphometry.obliquity import with_obliquity
from autoseg.measurement.tissue import FatChannels, Tissue, check_channels, join_tissue, measure_tissue
from autoseg.model.centreline import Centreline, write_centreline
from autoseg.model.identity import model_record
from autoseg.model.model import TrainedModel, autoseg_version, origin_without_fingerprints, versions
from autoseg.model.model_list import facts_of
from autoseg.model.postprocess import StructurePostprocess, the_same_for_all
from autoseg.model.trust import Suitability
from autoseg.prediction import Predicted, cut_off_note, own_centreline, predict_and_look
from autoseg.prediction.centreline import (
    ImageCentreline,
    cropping_model,
    look_for_centreline,
    warnings_as_notes,
)
from autoseg.prediction.combine import JoinAt, combine, heights_mm
from autoseg.prediction.ensemble import (
    Copies,
    Inference,
    Models,
    Networks,
    as_models,
    ensemble_name,
    need_millimetres,
)
from autoseg.prediction.intervals import about_intervals, patient_intervals
from autoseg.prediction.judge import Judged, add_light, can_expect, judge, usual_of
from autoseg.prediction.suitability import Compared, compare_image
from autoseg.report.area_tables import NotFound, areas_table, find_missing, in_pixels_note, missing_notes
from autoseg.report.export import write_run
from autoseg.report.run_folder import free_folder, run_folder_name
from autoseg.words import GraveNote

if TYPE_CHECKING:
    pass

# --- how far a run is, and what it gave


class Stage(StrEnum):
    """What a run does at the moment."""

    READING = "reading"
    FINDING = "finding"  # centrelines
    COMPARING = "comparing"  # with what the models learnt from
    PREDICTING = "predicting"
    WRITING = "writing"


@dataclass(frozen=True)
class RunProgress:
    """How far a run is; image and slice are numbered from 1.

    `series` counts the images of the run: two time points of one DICOM series are two. `warning` is a sentence that
    should be read while the run goes on (memory is short). `suitability` is the light so far, by case_id, of each
    image that was compared already, before anything is found on it: it stays as it is, or becomes worse.
    """

    stage: Stage
    series: int = 0
    series_count: int = 0
    slice: int = 0
    slice_count: int = 0
    warning: str = ""
    suitability: Mapping[str, Suitability] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """How much is done, 0 to 1; reading counts little, comparing and writing a tenth each."""
        if self.stage == Stage.READING:
            return 0.0
        if self.stage == Stage.WRITING:
            return 0.92
        begin, part = (0.02, 0.08) if self.stage == Stage.COMPARING else (0.1, 0.82)
        done = self.series - 1 + self.slice / max(1, self.slice_count)
        return begin + part * done / max(1, self.series_count)

    def __str__(self) -> str:
        place = f"Series {self.series} of {self.series_count}"
        return {
            Stage.READING: "Reading the images …",
            Stage.FINDING: f"{place}: looking for the centreline …",
            Stage.COMPARING: f"{place}: comparing it with the model's images …",
            Stage.PREDICTING: f"{place}, slice {self.slice} of {self.slice_count}",
            Stage.WRITING: "Writing the files …",
        }[self.stage]


OnProgress = Callable[[RunProgress], bool | None]
OnSlices = Callable[[int, int], None]


class RunStopped(AutosegError):
    """The user stopped a run; nothing was written."""


@dataclass(frozen=True, eq=False)
class Run:
    """What segmenting a folder gave: `results` pairs every image with its label map.

    `folder` holds the files, `areas` is the table with one row a slice, `measurements` the tidy rows, `notes`
    are sentences that the reader should know (some a `GraveNote` or `ReadingNote`), `skipped` the files that were
    left alone, `elapsed_s` how long it took, `model` the model's name, or of a mean all names and the copies
    (`ensemble.ensemble_name`). `centrelines` are those around which a model looked, by case_id. `not_found` are the
    structures that are on no slice of an image; notes say so too. `suitability` is the light of each image, by
    case_id. `patient_intervals` are those of mean areas and volumes; `about_intervals` says what all intervals rest
    on, or why there are none. `tissue` is how bright structures are, and how much of them is fat, told from the
    channels `fat`. `records` say by what each model is told from every other. Of a run with corrected labels
    (`prediction.corrected.correct_run`), `before` is the run as it was, with its own folder, and `corrections` what
    was changed.
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
    not_found: tuple[NotFound, ...] = ()
    suitability: Mapping[str, Suitability] = field(default_factory=dict)
    patient_intervals: tuple[PatientInterval, ...] = ()
    about_intervals: str = ""
    tissue: Tissue = field(default_factory=Tissue)
    records: tuple[Mapping[str, Any], ...] = ()
    fat: FatChannels = field(default_factory=FatChannels)
    before: Run | None = None
    corrections: tuple[Correction, ...] = ()


# --- what segments an image: one model, the mean of several, or two along the body


@dataclass(frozen=True, eq=False)
class Segmented:
    """An image with its labels: the model that each slice comes from, and the centreline that was looked around.

    `join` is what run.json says of two models along the image; `predicted` tells of one model, or a mean, how
    far to trust the labels, which `models` then drew.
    """

    image: Image
    label_map: LabelMap
    slice_models: tuple[str, ...]
    centreline: Centreline | None = None
    notes: tuple[str, ...] = ()
    join: Mapping[str, Any] | None = None
    predicted: Predicted | None = None
    models: tuple[TrainedModel, ...] = ()


@dataclass(frozen=True, eq=False)
class Segmenter:
    """What segments the images of a run, called `name` in the results.

    `compare` tells how an image suits the models that will draw on it, before they do. `segment` is given an image,
    a clicked centreline or None, and what hears of the slices that are done. So many `answers` are held at once.
    Images without millimetres are left out where it `needs_mm`. `loaded` are the models as their files have them,
    whatever was typed. `look` tells whether models take a second look at each image. `again` makes the same one, on
    another computer too.
    """

    models: tuple[TrainedModel, ...]
    copies: Copies
    name: str
    compare: Callable[[Image], Compared]
    segment: Callable[[Image, Centreline | None, OnSlices], Segmented]
    again: Callable[[], Segmenter]
    answers: int = 1
    needs_mm: bool = True
    loaded: tuple[TrainedModel, ...] = ()
    look: bool = False

    def __reduce__(self) -> tuple[Callable[[], Segmenter], tuple[()]]:
        return self.again, ()

    def records(self) -> list[dict[str, Any]]:
        """Give by what each model is told from every other, with the post-processing that is used."""
        return [model_record(own, used.postprocess) for own, used in zip(self.loaded, self.models, strict=True)]


def mean_of(
    model: Models, copies: Copies = "none", postprocess: StructurePostprocess | None = None, *, look: bool = True
) -> Segmenter:
    """Segment with one model, or the mean of several; a typed `postprocess` counts in place of their own.

    With `look` the models take a second look at each image, if they know what to make of it (`Inference.look`).
    """
    loaded = models = as_models(model)
    again = partial(mean_of, loaded, copies, postprocess, look=look)
    name = ensemble_name(models, copies)
    if postprocess is not None:
        # Areas differ by it, so that every row of the tables has it.
        name = f"{name}, {postprocess.words}"
        models = tuple(_cleaned_otherwise(one, postprocess) for one in models)

    look, networks = look and can_expect(models), Networks()

    def segment(image: Image, clicked: Centreline | None, on_slices: OnSlices) -> Segmented:
        line = clicked or own_centreline(models, image)
        how = Inference(copies, on_slices=on_slices, centreline=line, look=look, networks=networks)
        predicted = predict_and_look(models, image, how)
        label_map, names = predicted.label_map, (name,) * image.shape[0]
        notes = _cut_off(models, label_map, line)
        return Segmented(image, label_map, names, line, notes, predicted=predicted, models=models)

    needs_mm = need_millimetres(models)
    compare = partial(compare_image, models, networks=networks)
    return Segmenter(models, copies, name, compare, segment, again, needs_mm=needs_mm, loaded=loaded, look=look)


def _cleaned_otherwise(model: TrainedModel, postprocess: StructurePostprocess) -> TrainedModel:
    """Give a model with a typed cleaning; the errors of its own say nothing of areas that are cleaned otherwise."""
    typed = the_same_for_all(postprocess, model.structures)
    trust = model.trust if typed == model.postprocess else replace(model.trust, calibration=None)
    return replace(model, postprocess=typed, trust=trust)


def joined(upper: Segmenter, lower: Segmenter, where: JoinAt) -> Segmenter:
    """Segment with one model (or mean) above a height and another below; with one where all lies on its side."""
    models, name = (*upper.models, *lower.models), f"{upper.name} above {lower.name}"

    def compare(image: Image) -> Compared:
        side = _side_of(image, where)
        if side:
            return (upper if side == "above" else lower).compare(image)
        return compare_image(models, image, is_shared=True)

    def segment(image: Image, clicked: Centreline | None, on_slices: OnSlices) -> Segmented:
        side = _side_of(image, where)
        if side:
            alone = upper if side == "above" else lower
            found = alone.segment(image, clicked, on_slices)
            words = f"lies wholly {side} z = {where.at_mm:.1f} mm and comes from {alone.name} alone."
            join = {"model": alone.name, "at_mm": where.at_mm, "side": side}
            return replace(found, notes=(f"{image.source.case_id} {words}", *found.notes), join=join)
        line = clicked or own_centreline(models, image)
        how: dict[str, Any] = {"copies": upper.copies, "on_slices": on_slices, "centreline": line}
        both = combine(upper.models, lower.models, image, **asdict(where), **how)
        notes, shares = both.notes, both.join.shares_on_grid()
        for part, is_its in ((upper, shares > 0), (lower, shares < 1)):
            own = replace(both.label_map, voxels=np.where(is_its, both.label_map.voxels, 0).astype(np.uint8))
            notes += _cut_off(part.models, own, line)
        # Where the body runs along the slices, each of them comes from both.
        slices = range(image.shape[0])
        names = tuple(both.join.model_at(n) if both.join.axis == 0 else name for n in slices)
        return Segmented(image, both.label_map, names, line, notes, both.join.as_plain(), models=models)

    loaded, look, again = (
        (*upper.loaded, *lower.loaded),
        upper.look or lower.look,
        partial(joined, upper, lower, where),
    )
    return Segmenter(models, upper.copies, name, compare, segment, again, answers=2, loaded=loaded, look=look)


def _side_of(image: Image, where: JoinAt) -> str:
    """Say whether an image lies wholly "above" or "below" a height; "" where models share it."""
    at_mm = where.at_mm
    if at_mm is None:
        return ""
    axis, heights = heights_mm(image)
    half = abs(image.calibrated_affine[2, axis]) / 2
    return "above" if heights.min() - half >= at_mm else "below" if heights.max() + half <= at_mm else ""


def _cut_off(
    models: Sequence[TrainedModel], label_map: LabelMap, centreline: Centreline | None
) -> tuple[GraveNote, ...]:
    note = cut_off_note(models, label_map, centreline) if centreline is not None else ""
    return (GraveNote(note),) if note else ()


# --- the loop over a patient's images


@dataclass(frozen=True, eq=False)
class RunRequest:
    """What is asked of a run over a patient's folder, whatever becomes of the labels then.

    `only` are case_ids (None: all), `centrelines` are clicked ones by case_id. `on_slices` is told (slices done,
    slices in all) of each image; `on_progress` is told at each step, and stops the run by giving True. `output` is
    where something will be written, if it will. `fat` says from which channels fat is told.

    Of a patient of a cohort, `subject_id` is whose images they are where their files do not tell it, `name` what
    the run's folder is called (by default the models and the time), and `record` what run.json keeps beside; it
    need not be `is_animated`, which takes a quarter of the time.
    """

    segmenter: Segmenter
    folder: Path
    only: Collection[str] | None = None
    typed: TypedCalibration = NOTHING_TYPED
    centrelines: Mapping[str, Centreline] = field(default_factory=dict)
    on_slices: OnSlices | None = None
    on_progress: OnProgress | None = None
    output: Path | None = None
    fat: FatChannels = field(default_factory=FatChannels)
    subject_id: str = ""
    name: str = ""
    record: Mapping[str, str] = field(default_factory=dict)
    is_animated: bool = True

    def tell(self, progress: RunProgress) -> None:
        """Report progress, and end the run where that is wished for."""
        if self.on_progress is not None and self.on_progress(progress):
            raise RunStopped(f"The run on {self.folder} was stopped. Nothing was written.")


Done = TypeVar("Done")
# Of all files of a run, on the disk: 2.5 were measured on 200 slices of 256 × 256.
BYTES_A_PIXEL = 3.0


@dataclass(frozen=True, eq=False)
class _Read:
    """A patient's images, what their reader should know, files that were left alone, and `RunProgress.warning`."""

    images: tuple[Image, ...]
    notes: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]
    warning: str


def _read_images(request: RunRequest) -> _Read:
    request.tell(RunProgress(Stage.READING))
    models = request.segmenter.models
    plane = next((plane for one in models if (plane := one.origin.get("plane"))), None)
    images, notes, skipped = read_patient(
        request.folder,
        only=request.only,
        channels=models[0].channels,
        plane=plane,
        typed=request.typed,
        needs_mm=request.segmenter.needs_mm,
        stacks=any(one.origin.get("picture_stacks") for one in models),
        subject_id=request.subject_id,
    )
    notes += about_images(models, images)
    for image in images:
        check_channels(image, request.fat)
    known = [image.source.case_id for image in images]
    unknown = sorted(set(request.centrelines) - set(known))
    if unknown:
        raise DataError(
            f"{request.folder} has no image {', '.join(unknown)} for a centreline. It has: {', '.join(known)}."
        )
    warning = warn_of_memory(images, request.segmenter.answers * (len(models[0].structures) + 1))
    if request.output is not None:
        pixels = sum(math.prod(image.shape) for image in images)
        warning = f"{warning} {check_room(request.output, 'the result', likely=BYTES_A_PIXEL * pixels)}".strip()
    return _Read(tuple(images), tuple(notes), skipped, warning)


def _compare_images(request: RunRequest, read: _Read) -> dict[str, Compared]:
    """Compare images with what the models learnt from, and tell of each light as soon as it is known."""
    found: dict[str, Compared] = {}
    for number, image in enumerate(read.images, start=1):
        lights = _so_far(found)
        request.tell(RunProgress(Stage.COMPARING, number, len(read.images), 0, 1, read.warning, lights))
        found[image.source.case_id] = request.segmenter.compare(image)
    return found


def _so_far(compared: Mapping[str, Compared]) -> dict[str, Suitability]:
    return {case_id: one.so_far for case_id, one in compared.items()}


def _over_images(
    request: RunRequest, read: _Read, work: Callable[[Image, OnSlices], Done], begin: RunProgress
) -> tuple[list[Done], list[str]]:
    """Do `work` on each image, told of as `begin` says; also gives what was warned of, as notes."""
    done, notes = [], list[str]()
    begin = replace(begin, series_count=len(read.images), warning=read.warning)
    for number, image in enumerate(read.images, start=1):
        place = replace(begin, series=number, slice_count=image.shape[0])

        def after_slices(so_far: int, count: int, place: RunProgress = place) -> None:
            if request.on_slices is not None:
                request.on_slices(so_far, count)
            request.tell(replace(place, slice=so_far))

        request.tell(place)
        with warnings_as_notes() as said:
            done.append(work(image, after_slices))
        notes += said
    return done, notes


def _segment_images(
    request: RunRequest,
) -> tuple[list[Segmented], list[Judged], list[str], tuple[SkippedFile, ...]]:
    """Compare a patient's images, then segment and judge them; also gives notes, and files that were left alone."""
    read = _read_images(request)
    compared = _compare_images(request, read)

    def segment(image: Image, on_slices: OnSlices) -> Segmented:
        return request.segmenter.segment(image, request.centrelines.get(image.source.case_id), on_slices)

    begin = RunProgress(Stage.PREDICTING, suitability=_so_far(compared))
    found, said = _over_images(request, read, segment, begin)
    judged = [_judge(one, compared[one.image.source.case_id]) for one in found]
    notes = [*read.notes, *said, *(note for one in found for note in one.notes)]
    return found, judged, notes, read.skipped


def segment_and_write(request: RunRequest, output: Path) -> Run:
    """Segment, measure the areas and write everything to a new folder, as `segment_folder` says."""
    request = replace(request, output=Path(output))
    started = time.monotonic()
    segmenter = request.segmenter
    check_writable(output)
    with _enough_memory(request.folder):
        found, judged, notes, skipped = _segment_images(request)
        results = tuple((one.image, one.label_map) for one in found)
        measurements = tuple(row for one in judged for row in one.measurements)
        lights = _lights(found, judged)
        lines = {one.image.source.case_id: one.centreline for one in found if one.centreline is not None}
        tissue = join_tissue([measure_tissue(label_map, image, request.fat) for image, label_map in results])
        notes += tissue.notes
        joins = [{"case_id": one.image.source.case_id, **one.join} for one in found if one.join is not None]
        intervals = patient_intervals(segmenter.models, measurements)
        about = (
            ""
            if any(one.predicted is None for one in found)
            else about_intervals(segmenter.models, segmenter.loaded)
        )
        missing = find_missing(measurements)
        notes += [GraveNote(note) for note in (*missing_notes(missing), in_pixels_note(measurements)) if note]
        details = _details_of(segmenter) | {"notes": list(dict.fromkeys(notes)), "about_intervals": about}
        details |= {"combination": joins} if joins else {}
        details |= {"patient": dict(request.record)} if request.record else {}
        if lines or not joins:
            details["centrelines"] = {case_id: line.source for case_id, line in lines.items()}
        request.tell(RunProgress(Stage.WRITING))
        target = write_run(
            free_folder(Path(output), request.name or run_folder_name(segmenter.name, datetime.now())),
            results,
            model_name=segmenter.name,
            details=details,
            measurements=measurements,
            suitability=lights,
            intervals=intervals,
            tissue=tissue,
            skipped=skipped,
            is_animated=request.is_animated,
            write_more=lambda place: _write_lines(place / "centrelines", lines),
        )
    return Run(
        folder=target,
        results=results,
        measurements=measurements,
        areas=areas_table(measurements, intervals),
        suitability=lights,
        notes=tuple(dict.fromkeys(notes)),
        skipped=skipped,
        elapsed_s=time.monotonic() - started,
        model=segmenter.name,
        centrelines=lines,
        not_found=missing,
        patient_intervals=intervals,
        about_intervals=about,
        tissue=tissue,
        records=tuple(details["model_records"]),
        fat=request.fat,
    )


def _judge(one: Segmented, compared: Compared) -> Judged:
    """Measure an image, and say of each area how far to trust it; of two models along an image the light alone."""
    usual = None if one.predicted is None else usual_of(one.models)
    rows = with_obliquity(measure_areas(one.label_map, image=one.image, usual=usual), one.label_map)
    rows = [replace(row, model=one.slice_models[row.slice_index]) for row in rows]
    if one.predicted is None:
        return add_light(compared, one.label_map, rows)
    return judge(one.models, compared, one.predicted, rows)


def segment_and_measure(model: Models, image: Image) -> tuple[LabelMap, tuple[Measurement, ...]]:
    """Segment an image as a run does, and measure it, each area with how far to trust it; nothing is written."""
    segmenter = mean_of(model)
    compared, one = segmenter.compare(image), segmenter.segment(image, None, lambda done, count: None)
    return one.label_map, _judge(one, compared).measurements


def _lights(found: Sequence[Segmented], judged: Sequence[Judged]) -> dict[str, Suitability]:
    """Give the light of each image by case_id."""
    return {one.image.source.case_id: its.suitability for one, its in zip(found, judged, strict=True)}


def _details_of(segmenter: Segmenter) -> dict[str, Any]:
    """Give what run.json keeps of the models: of several, a list of each."""
    models = segmenter.models
    origins, epochs = (
        [origin_without_fingerprints(one.origin) for one in models],
        [one.best_epoch for one in models],
    )
    alone = len(models) == 1
    return {
        "autoseg": autoseg_version(),
        "versions": versions(),
        "model_records": segmenter.records(),
        "model_cards": [list(map(list, facts_of(one))) for one in segmenter.loaded],
        "models": [one.name for one in models],
        "copies": segmenter.copies,
        "second_look": segmenter.look,
        "cleaned": [
            {s.name: post.words for s, post in zip(one.structures, one.postprocess, strict=False) if post.steps}
            for one in models
        ],
        "calibrations": [_calibration_record(one) for one in models],
        "offsets": [
            {s.name: offset for s, offset in zip(one.structures, one.offsets, strict=False)} for one in models
        ],
        "model_origin": origins[0] if alone else origins,
        "best_epoch": epochs[0] if alone else ", ".join(map(str, epochs)),
    }


def _calibration_record(model: TrainedModel) -> dict[str, Any] | None:
    """Give what a model's intervals rest on: whose errors, of how many patients, since when; None without any."""
    known = model.trust.calibration
    if known is None:
        return None
    return {
        "how": known.how,
        "date": known.date,
        "patients": known.patients,
        "level": known.level,
        "coverage": dict(zip(known.structures, known.coverage, strict=True)),
        "minutes": known.minutes,
    }


def _write_lines(folder: Path, centrelines: Mapping[str, Centreline]) -> None:
    names = unique_names([safe_name(case_id) for case_id in centrelines])
    for name, line in zip(names, centrelines.values(), strict=True):
        write_centreline(line, folder / f"{name}.csv")


def about_images(models: Sequence[TrainedModel], images: Sequence[Image]) -> list[str]:
    """Say what is strange about these images for these models: their subjects, their kind."""
    subjects = {image.source.subject_id for image in images}
    notes = []
    if len(subjects) > 1:
        notes.append(
            f"The folder holds images of {len(subjects)} patients; patients.csv and measurements.csv tell them "
            "apart."
        )
    learnt = {kept for one in models for kept in one.origin.get("subject_fingerprints", ())}
    known = len(known_subjects(subjects, learnt))
    if known:
        whom = "this patient" if len(subjects) == 1 else f"{known} of these {len(subjects)} patients"
        what, do = ("The model was", "it does") if len(models) == 1 else ("Some of the models were", "they do")
        notes.append(f"{what} trained or validated on {whom}; how well {do} there says nothing of a new one.")
    for image in images:
        # A model that knows what it learnt from says so with its light.
        unlit = [one for one in models if one.trust.profile is None]
        kinds = [other_kind(image.source.modality, one.origin.get("modalities", ())) for one in unlit]
        notes += [f"{image.source.case_id}: {words}" for words in dict.fromkeys(kinds) if words]
    return notes


def _enough_memory(folder: Path) -> AbstractContextManager[None]:
    """Turn what happens when the memory is full into a DataError about this folder."""
    return enough_memory(
        f"for {folder}; nothing was written", "Close other programs, or choose fewer series at once."
    )


# --- what is asked for by name


def segment_folder(
    model: Models,
    folder: Path,
    *,
    output: Path,
    copies: Copies = "none",
    postprocess: StructurePostprocess | None = None,
    field_of_view_mm: FieldOfView | Mapping[tuple[int, int], FieldOfView] | None = None,
    matrix_size: int | Sequence[int] | None = None,
    prefer: str | None = None,
    pixel_spacing_mm: float | Sequence[float] | None = None,
    only: Collection[str] | None = None,
    centrelines: Mapping[str, Centreline] | None = None,
    on_slices: OnSlices | None = None,
    on_progress: OnProgress | None = None,
    look: bool = True,
    fat: FatChannels | None = None,
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
    postprocess : autoseg.model.postprocess.StructurePostprocess, optional
        Clean every structure in this way, in place of what was chosen for the model.
    field_of_view_mm, matrix_size, prefer, pixel_spacing_mm : optional
        Typed calibration, see `autoseg.image.calibration.calibrate`. Without it, areas of images whose files do not
        tell the size of a pixel are in pixels; a model that must know sizes refuses such images.
    only : collection of str, optional
        The case_id of each series (`series_table`) or file to segment; by default all.
    centrelines : mapping of Centreline by case_id, optional
        For models that see a crop around a centreline, in place of what they find by themselves. What was used is
        written to `centrelines` in the run's folder.
    on_slices : callable, optional
        Called with (slices done, slices in all) of each image.
    on_progress : callable, optional
        Called with a RunProgress at each step; returning True stops the run before anything is written.
    look : bool
        Let models take a second look at each image, which takes up to as long as the first and tells how well
        each slice is likely to be segmented (`Measurement.expected_dice`, the flag "poor").
    fat : autoseg.measurement.tissue.FatChannels, optional
        Which channels tell of fat; by default water and fat are found by their names.

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
    typed = TypedCalibration(field_of_view_mm, matrix_size, prefer, pixel_spacing_mm)
    segmenter = mean_of(model, copies, postprocess, look=look)
    request = RunRequest(segmenter, Path(folder), only, typed, centrelines or {}, on_slices, on_progress)
    request = replace(request, fat=fat or FatChannels())
    return segment_and_write(request, output)


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
    postprocess: StructurePostprocess | None = None,
    only: Collection[str] | None = None,
    typed: TypedCalibration | Mapping[str, Any] | None = None,
    centrelines: Mapping[str, Centreline] | None = None,
    look: bool = True,
    on_slices: OnSlices | None = None,
    on_progress: OnProgress | None = None,
) -> Run:
    """Segment every image of a folder with one model above a height and another below, and write everything.

    As `segment_folder`. In the tables, the column model says of each slice which model it comes from; run.json says
    of each image where the models meet and what share the upper one has at every place along the body. An image
    that lies wholly above or below `at_mm` (a stack of its own) is segmented with the model of that side.

    Parameters
    ----------
    upper, lower : TrainedModel, or sequence of TrainedModel
    folder, output, copies, postprocess, only, centrelines, look, on_slices, on_progress
        As of `segment_folder`; nobody looks twice at an image that both models share.
    at_mm, at_slice, at_level, blend_mm
        As of `autoseg.prediction.combine.combine`.
    typed : TypedCalibration or mapping, optional
        field_of_view_mm, matrix_size and prefer, as of `autoseg.image.calibration.calibrate`.

    Returns
    -------
    Run
        Its notes say where the models meet, and where an area jumps there.

    Raises
    ------
    AutosegError
        Of the kinds that reading, calibration, combining and writing raise; nothing is written then.
    RunStopped
        If `on_progress` returned True.
    """
    where = JoinAt(at_mm, at_slice, at_level, blend_mm)
    above, below = (mean_of(models, copies, postprocess, look=look) for models in (upper, lower))
    both = joined(above, below, where)
    request = RunRequest(both, Path(folder), only, _as_typed(typed), centrelines or {}, on_slices, on_progress)
    return segment_and_write(request, output)


def segment_to_correct(
    model: Models,
    folder: Path,
    target: Path,
    *,
    factor: int = 1,
    method: Literal["cubic", "linear"] = "cubic",
    copies: Copies = "none",
    postprocess: StructurePostprocess | None = None,
    only: Collection[str] | None = None,
    typed: TypedCalibration | Mapping[str, Any] | None = None,
    centrelines: Mapping[str, Centreline] | None = None,
    on_slices: OnSlices | None = None,
    on_progress: OnProgress | None = None,
) -> Kit:
    """Segment every image of a folder and write images and labels to a new folder, to be corrected there.

    Parameters
    ----------
    model, folder, copies, postprocess, only, centrelines, on_slices, on_progress
        As of `segment_folder`.
    target : Path
        The new folder.
    factor, method
        As of `autoseg.write_kit`.
    typed : TypedCalibration or mapping, optional
        field_of_view_mm, matrix_size and prefer, as of `autoseg.image.calibration.calibrate`.

    Returns
    -------
    Kit
        Its notes tell what the reader of the folder should know.

    Raises
    ------
    AutosegError
        Of the kinds that reading, calibration, prediction and writing raise; nothing is written then.
    RunStopped
        If `on_progress` returned True.
    """
    segmenter = mean_of(model, copies, postprocess, look=False)  # all is looked at there anyway
    request = RunRequest(segmenter, Path(folder), only, _as_typed(typed), centrelines or {}, on_slices, on_progress)
    check_writable(Path(target).absolute().parent)
    with _enough_memory(request.folder):
        found, judged, notes, _ = _segment_images(request)
        results = [(one.image, one.label_map) for one in found]
        missing = find_missing([row for one in judged for row in one.measurements])
        notes += [GraveNote(note) for note in missing_notes(missing)]
        request.tell(RunProgress(Stage.WRITING))
        kit = write_kit(
            target,
            results,
            model_name=segmenter.name,
            models=segmenter.records(),
            suitability=_plain_lights(_lights(found, judged)),
            factor=factor,
            method=method,
        )
    return replace(kit, notes=tuple(dict.fromkeys((*notes, *kit.notes))))


def find_patient_centrelines(
    model: Models,
    folder: Path,
    *,
    only: Collection[str] | None = None,
    typed: TypedCalibration | Mapping[str, Any] | None = None,
    on_image: Callable[[int, int], None] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[ImageCentreline, ...]:
    """Read a patient's images and find their centrelines as a prediction would.

    Parameters
    ----------
    model : TrainedModel, or sequence of TrainedModel
        Of several, the first that sees a crop and finds its centreline.
    folder, only, on_progress
        As of `segment_folder`.
    typed : TypedCalibration or mapping, optional
        field_of_view_mm, matrix_size and prefer, as of `autoseg.image.calibration.calibrate`.
    on_image : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    tuple of ImageCentreline
        One for each image; where nothing can be found a note says why.

    Raises
    ------
    DataError
        If no model sees a crop, or no image is a volume.
    AutosegError
        Of the kinds that reading raises.
    RunStopped
        If `on_progress` returned True.
    """
    models = as_models(model)
    chosen = cropping_model(models)
    if chosen is None:
        raise DataError(f"The model {models[0].name!r} sees whole images, so it needs no centreline.")

    def tell(progress: RunProgress) -> bool | None:
        if on_image is not None and progress.stage == Stage.FINDING and progress.slice == progress.slice_count:
            on_image(progress.series, progress.series_count)
        return on_progress(progress) if on_progress is not None else None

    def look(image: Image, on_slices: OnSlices) -> ImageCentreline | AutosegError:
        found: ImageCentreline | AutosegError
        try:
            found = look_for_centreline(chosen, image)
        except AutosegError as error:  # a single slice, or no millimetres
            found = error
        on_slices(image.shape[0], image.shape[0])
        return found

    request = RunRequest(mean_of(models), Path(folder), only, _as_typed(typed), on_progress=tell)
    with _enough_memory(request.folder):
        looked, _ = _over_images(request, _read_images(request), look, RunProgress(Stage.FINDING))
    found = [one for one in looked if isinstance(one, ImageCentreline)]
    problems = [one for one in looked if isinstance(one, AutosegError)]
    if not found:
        raise problems[0]
    more = tuple(f"Without a centreline: {error}" for error in problems)
    return (replace(found[0], notes=(*found[0].notes, *more)), *found[1:])


def _as_typed(typed: TypedCalibration | Mapping[str, Any] | None) -> TypedCalibration:
    return typed if isinstance(typed, TypedCalibration) else TypedCalibration(**(typed or {}))


# --- folders to correct in, of a run that is done and of labels that were drawn

TO_CORRECT = "to_correct"


def run_to_correct(run: Run, *, factor: int = 1, method: Literal["cubic", "linear"] = "cubic") -> Kit:
    """Write what a run gave to a folder in the run's own, to be corrected there; or give the one that is there.

    A folder that was written before is never written again, so nothing that was corrected in it is lost. That of a
    run with corrected labels is that of the run before. Files that are finer than the image lie in a folder of
    their own.

    Parameters
    ----------
    run : Run
    factor, method
        As of `autoseg.write_kit`.

    Returns
    -------
    Kit
        Its notes tell what the reader of the folder should know.

    Raises
    ------
    OutputError
        If the run's folder is not there any more, or the files cannot be written.
    AutosegError
        Of the kinds that `autoseg.write_kit` raises; nothing is written then.
    """
    run = run.before or run
    folder = kit_folder(run, factor)
    if not run.folder.is_dir():
        raise OutputError(f"{run.folder} is not there any more; it was moved or deleted. Segment again.")
    if folder.exists():
        return read_kit(folder)
    lights = _plain_lights(run.suitability)
    return write_kit(folder, run.results, model_name=run.model, suitability=lights, factor=factor, method=method)


def _plain_lights(suitability: Mapping[str, Suitability]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {case_id: (one.light.value, one.reasons) for case_id, one in suitability.items()}


def kit_folder(run: Run, factor: int = 1) -> Path:
    """Give the folder in a run's own in which its labels are corrected."""
    return (run.before or run).folder / (TO_CORRECT if factor == 1 else f"{TO_CORRECT}_finer_{factor}")


def labels_to_correct(
    found: CaseFolder,
    target: Path,
    *,
    factor: int = 1,
    method: Literal["cubic", "linear"] = "cubic",
    case_ids: Collection[str] | None = None,
) -> Kit:
    """Write the labels of a folder of cases to a new folder, to be corrected there; all slices of each.

    Parameters
    ----------
    found : CaseFolder
    target : Path
        The new folder.
    factor, method
        As of `autoseg.write_kit`.
    case_ids : collection of str, optional
        Only these cases.

    Returns
    -------
    Kit

    Raises
    ------
    DataError
        If there is no such case.
    AutosegError
        Of the kinds that reading and writing raise; nothing is written then.
    """
    cases = whole_cases(found)
    unknown = sorted(set(case_ids or ()) - {case.case_id for case in cases})
    if unknown:
        known = ", ".join(case.case_id for case in cases[:20])
        raise DataError(f"{found.folder} has no case {', '.join(unknown[:5])}. It has: {known}.")
    chosen = [case for case in cases if case_ids is None or case.case_id in case_ids]
    return write_kit(target, [read_case(case, found.structures) for case in chosen], factor=factor, method=method)
