"""One run of two models over a patient's folder: read, combine, measure, write."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from autoseg.data.patient_images import read_patient
from autoseg.files.atomic import check_writable
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.areas import Measurement, measure_areas
from autoseg.model.model import TrainedModel
from autoseg.prediction import predict
from autoseg.prediction.combine import combine
from autoseg.prediction.copies import Copies
from autoseg.prediction.ensemble import Models, as_models, ensemble_name
from autoseg.prediction.join import Join, heights_mm
from autoseg.prediction.run import Run, about_images, details_of, enough_memory
from autoseg.report.area_tables import areas_table
from autoseg.report.export import free_run_folder, write_run


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
