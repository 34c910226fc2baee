"""Labels that were drawn already: read one by one, with their images, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from autoseg.data.cases import CaseFolder, read_case
from autoseg.image.calibration import FieldOfView, TypedCalibration, calibrate
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.areas import Measurement, measure_areas
from autoseg.measurement.morphometry.obliquity import with_obliquity


def measure_labels(
    cases: CaseFolder,
    *,
    field_of_view_mm: FieldOfView | Mapping[tuple[int, int], FieldOfView] | None = None,
    matrix_size: int | Sequence[int] | None = None,
    prefer: str | None = None,
    pixel_spacing_mm: float | Sequence[float] | None = None,
    on_note: Callable[[str], object] | None = None,
) -> list[Measurement]:
    """Measure labels that were drawn already, each on its own image's grid; what is typed is as in `calibrate`.

    `on_note` is told in sentences how labels were drawn where that is not plain: contours that overlap, holes.

    Returns
    -------
    list of Measurement
        In the order of the cases.
    """
    rows = []
    typed = TypedCalibration(field_of_view_mm, matrix_size, prefer, pixel_spacing_mm)
    for image, label_map in read_to_measure(cases, typed, on_note=on_note):
        rows += with_obliquity(measure_areas(label_map, image=image), label_map)
    return rows


def read_to_measure(
    cases: CaseFolder, typed: TypedCalibration, *, on_note: Callable[[str], object] | None = None
) -> Iterator[tuple[Image, LabelMap]]:
    """Read labels that were drawn already, each with its image and on its grid; millimetres as in `calibrate`."""
    for case in cases.cases:
        image, label_map = read_case(case, cases.structures)
        choice = typed.spacing_for(image.shape)
        if image.affine is None and choice is not None:
            # Read again, so that positions and orientation of the header are kept.
            image, label_map = read_case(case, cases.structures, pixel_spacing_mm=choice.spacing_mm)
        else:
            image = calibrate(image, **vars(typed))
        if on_note is not None:
            for note in label_map.source.notes:
                on_note(f"{case.case_id}: {note}")
        yield image, label_map.on_grid_of(image)
