"""Intervals of new areas, from what their models' calibrations keep; of several models the widest counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autoseg.measurement.areas import MM2, Measurement
from autoseg.measurement.intervals import (
    LEVEL,
    Band,
    Basis,
    Expected,
    PatientInterval,
    fewest_patients,
    find_band,
    slice_kinds,
)
from autoseg.model.model import TrainedModel
from autoseg.model.trust import Calibration, How
from autoseg.report.area_tables import has_repeated_places, image_groups, is_volume_cut_off, volume_mm3
from autoseg.words import counted, listed

Ends = tuple[float, float, Basis]


def add_intervals(
    models: Sequence[TrainedModel], measurements: tuple[Measurement, ...], *, level: float = LEVEL
) -> tuple[Measurement, ...]:
    """Add the interval in which the true area of each slice lies; `measurements` are all of one image.

    An area without one is one for which a model has too few patients (`about_intervals` says how many are wanting),
    or whose pixels have no known size while the errors are in mm²; or one that is cut off, of which nobody knows
    how far it goes on.
    """
    asked = _Asked(models, level)
    if not asked.is_known:
        return measurements
    kinds: dict[int, str] = {}
    for label in {row.label for row in measurements}:
        places = [place for place, row in enumerate(measurements) if row.label == label]
        places.sort(key=lambda place: measurements[place].slice_index)
        counts = [measurements[place].pixel_count for place in places]
        kinds |= dict(zip(places, slice_kinds(counts), strict=True))
    return tuple(_with_interval(row, asked, kinds[place]) for place, row in enumerate(measurements))


def _with_interval(row: Measurement, asked: _Asked, kind: str) -> Measurement:
    ends = None if row.is_cut_off else asked.ends(row, kind, row.area, _doubt([row]))
    if ends is None:
        return row
    low, high, basis = ends
    row = replace(row, interval_level=asked.level, interval_basis=basis.value)
    if row.unit == MM2:
        return replace(row, area_low_mm2=low, area_high_mm2=high)
    return replace(row, pixel_count_low=low, pixel_count_high=high)


def patient_intervals(
    models: Sequence[TrainedModel], measurements: Sequence[Measurement], *, level: float = LEVEL
) -> tuple[PatientInterval, ...]:
    """Give the intervals of each structure's mean area, largest area and volume, of every image of a run.

    The images are those of `autoseg.report.area_tables.patients_table`, whose mean and largest are over the slices
    that show the structure whole. Slices with another flag are not left out. `measurements` are those of
    `add_intervals`; images of which no slice has an interval get none.
    """
    asked = _Asked(models, level)
    if not asked.is_known:
        return ()
    images = {row.case_id for row in measurements if row.interval_level is not None}
    found = []
    for (subject, image), rows in image_groups([row for row in measurements if row.case_id in images]).items():
        mixed = has_repeated_places(rows)
        for label in sorted({row.label for row in rows}):
            mine = [row for row in rows if row.label == label]
            shown = [row for row in mine if row.pixel_count and not row.is_cut_off]
            if not shown:
                continue
            areas, doubt, volume = [row.area for row in shown], _doubt(shown), volume_mm3(mine)
            is_whole = not any(row.is_cut_off for row in mine)
            has_volume = not (np.isnan(volume) or mixed or is_volume_cut_off(mine))
            mean = None if mixed else asked.ends(mine[0], "mean", float(np.mean(areas)), doubt)
            largest = asked.ends(mine[0], "max", max(areas), doubt) if is_whole else None
            whole = asked.ends(mine[0], "volume", volume, doubt) if has_volume else None
            known = [ends for ends in (mean, largest, whole) if ends is not None]
            if known:
                ends = [*(mean or (None, None))[:2], *(largest or (None, None))[:2], *(whole or (None, None))[:2]]
                basis = Basis.ASSUMING if any(one[2] == Basis.ASSUMING for one in known) else Basis.BY_PATIENT
                first = (subject, image, label, mine[0].name, mine[0].unit, level, basis.value)
                found.append(PatientInterval(*first, *ends))
    return tuple(found)


class _Asked:
    """The calibrations of models, and the bands of their errors, each looked for once."""

    def __init__(self, models: Sequence[TrainedModel], level: float) -> None:
        known = [model.trust.calibration for model in models]
        self.calibrations = [one for one in known if one is not None]
        self.is_known = bool(known) and len(self.calibrations) == len(known)
        self.level = level
        self.bands: dict[tuple[int, str, str, bool], tuple[Expected, Band] | None] = {}

    def ends(self, row: Measurement, quantity: str, value: float, doubt: float | None) -> Ends | None:
        """Give between what a value of a row's structure lies, after the model that knows least."""
        found = []
        for number, calibration in enumerate(self.calibrations):
            band = self._band(number, row.name, quantity, doubt is not None)
            # From mm² to pixels nothing leads where the size of a pixel is unknown.
            if band is None or (calibration.unit == MM2) > (row.unit == MM2):
                return None
            factor = 1.0
            if calibration.unit != row.unit:
                if quantity == "volume" or row.pixel_row_mm is None or row.pixel_column_mm is None:
                    return None
                factor = row.pixel_row_mm * row.pixel_column_mm
            low, high = band[0].interval(value / factor, band[1], doubt or 0.0)
            found.append((low * factor, high * factor, band[1].basis))
        basis = Basis.ASSUMING if any(one[2] == Basis.ASSUMING for one in found) else Basis.BY_PATIENT
        return min(low for low, _, _ in found), max(high for _, high, _ in found), basis

    def _band(self, number: int, structure: str, quantity: str, expects: bool) -> tuple[Expected, Band] | None:
        key = (number, structure, quantity, expects)
        if key not in self.bands:
            calibration = self.calibrations[number]
            errors = calibration.errors_of(structure, quantity, expects=expects)
            band = None
            if errors is not None:
                band = find_band(errors.scores, self.level, may_assume=calibration.how == How.FOLDS)
            self.bands[key] = (
                None
                if errors is None or band is None
                else (Expected(errors.base, errors.share, errors.doubt), band)
            )
        return self.bands[key]


def _doubt(rows: Sequence[Measurement]) -> float | None:
    """Give 1 - expected Dice, of several slices by their areas; None where it is not known of all of them."""
    known = [row.expected_dice for row in rows if row.expected_dice is not None]
    weights = [float(row.pixel_count) or 1.0 for row in rows]
    return float(np.average([1 - dice for dice in known], weights=weights)) if len(known) == len(rows) else None


REMEDY = (
    "Tick “Also measure how far areas can be off” in 1_train before Start (on the command line train --calibrate), "
    "and all patients count."
)


def about_intervals(
    models: Sequence[TrainedModel],
    loaded: Sequence[TrainedModel] = (),
    *,
    level: float = LEVEL,
    remedy: str = REMEDY,
) -> str:
    """Say in a sentence or two what the intervals of these models rest on, or why there are none.

    `loaded` are the models as their files have them, where they are used with another cleaning. `remedy` is how
    more could be known.
    """
    if any(own.trust.calibration and not used.trust.calibration for own, used in zip(loaded, models, strict=False)):
        return (
            "No intervals: by how much areas are off is known for the model's own cleaning only, and another one "
            "was chosen."
        )
    known = [model.trust.calibration for model in models]
    percent, fewest = f"{level * 100:.0f} %", fewest_patients(level)
    if not models or any(one is None for one in known):
        whom = "This model" if len(models) == 1 else "One of the models"
        return (
            f"No intervals: {whom.lower()} was never compared with labels of patients whom it did not learn from. "
            f"From {fewest} of them on intervals of {percent} can be had.{remedy and f' {remedy}'}"
        )
    sentences = dict.fromkeys(_about(one, level, remedy) for one in known if one is not None)
    return " ".join(sentences)


def _about(calibration: Calibration, level: float, remedy: str) -> str:
    """Say it of one model: structures of which too few patients are known get a sentence of their own."""
    percent, fewest = f"{level * 100:.0f} %", fewest_patients(level)
    counts = {name: _patients(calibration, name) for name in calibration.structures}
    enough = [name for name, count in counts.items() if count >= fewest]
    assumed = [name for name in counts if name not in enough and _is_assumed(calibration, name, level)]
    none = [name for name in counts if name not in enough and name not in assumed]

    def few(names: Sequence[str]) -> str:
        count = max(counts[name] for name in names)
        known = f"the errors are known of {counted(count, 'patient')} whom the model never saw"
        return f"{known}, and {fewest - count} more are wanting for {percent}"

    sentences = [calibration.words] if enough else []
    if assumed:
        whose = "" if len(assumed) == len(counts) else f" of {listed(assumed)}"
        sentences.append(f"The intervals{whose} assume a distribution of errors: {few(assumed)} without that.")
    if none:
        whose = "" if len(none) == len(counts) else f" of {listed(none)}"
        how = "" if calibration.how == How.FOLDS else remedy and f" {remedy}"
        sentences.append(f"No intervals{whose}: {few(none)}.{how}")
    return " ".join(sentences)


def _patients(calibration: Calibration, structure: str) -> int:
    """Give on how many patients a structure was found."""
    errors = calibration.errors_of(structure, "found")
    return 0 if errors is None else len(errors.scores)


def _is_assumed(calibration: Calibration, structure: str, level: float) -> bool:
    errors = calibration.errors_of(structure, "found")
    if errors is None or calibration.how != How.FOLDS:
        return False
    return find_band(errors.scores, level, may_assume=True) is not None
