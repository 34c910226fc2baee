"""A run with made-up lights, expected Dice and intervals, as a model that knows its limits gives them."""

from dataclasses import replace

from autoseg.measurement.intervals import PatientInterval
from autoseg.model.trust import Light, Suitability

REASONS = {
    Light.GREEN: ("Pixels, plane and structures are like those of the 31 patients that the model learnt from.",),
    Light.AMBER: (
        "Pixels are 1.9 mm, those that the model learnt from 1.2 to 1.5 mm: areas may be off.",
        "On its validation patients areas were off by 14 %.",
    ),
    Light.RED: ("The pictures show nothing like what the model learnt from: choose a model for this region.",),
}
EXPECTED = 0.62


def suitability(light):
    return Suitability(Light(light), REASONS[Light(light)])


def lit(run, *lights):
    """Give a run whose images have these lights (the last one: all further ones), and areas with intervals.

    The first structure of the first image is poor on its fourth slice. Without lights it is as if nobody compared.
    """
    if not lights:
        rows = tuple(replace(row, suitability="") for row in run.measurements)
        return replace(run, measurements=rows, suitability={})
    names = [image.source.case_id for image, _ in run.results]
    by_case = {name: suitability(lights[min(place, len(lights) - 1)]) for place, name in enumerate(names)}
    rows = [
        replace(
            row,
            suitability=by_case[row.case_id].light.value,
            expected_dice=0.93,
            expected_error_percent=6.0,
            area_low_mm2=0.9 * row.area_mm2,
            area_high_mm2=1.1 * row.area_mm2,
            pixel_count_low=0.9 * row.pixel_count,
            pixel_count_high=1.1 * row.pixel_count,
            interval_level=0.9,
        )
        for row in run.measurements
    ]
    poor = next(n for n, row in enumerate(rows) if row.slice_index == 3)
    flags = "; ".join(filter(None, [rows[poor].flags, "poor"]))
    rows[poor] = replace(rows[poor], expected_dice=EXPECTED, expected_error_percent=31.0, flags=flags)
    patients = tuple(_of_patient(row) for row in rows if row.slice_index == 0)
    about = (
        "Intervals of 90 % rest on the errors on 31 patients (2026-12-01), each segmented by a twin of the model."
    )
    more = {"suitability": by_case, "patient_intervals": patients, "about_intervals": about}
    return replace(run, measurements=tuple(rows), **more)


def _of_patient(row):
    what = (row.subject_id, row.case_id, row.label, row.name, row.unit, 0.9, "by patient")
    return PatientInterval(*what, 410.0, 520.0, volume_low_mm3=31_250.0, volume_high_mm3=42_500.0)
