"""Prove on this computer that areas and positions come out right: phantoms written, read and measured."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.errors import AutosegError
from autoseg.files.dicom.phantoms import INTENSITY, PHANTOMS, Phantom, PhantomArea, write_phantom
from autoseg.files.dicom.series import find_series, read_series
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas

AREA_LIMIT_PERCENT = 0.5
OFFSET_LIMIT_MM = 0.01


@dataclass(frozen=True)
class SelftestRow:
    """One structure on one slice of one phantom: what is true and what was measured.

    `expected_mm2` is the area of its pixels, `shape_mm2` that of the shape before it became pixels.
    `offset_mm` is how far its middle was found from its true place in the patient, and
    `position_error_mm` how far the slice position in the table is from the truth.
    """

    phantom: str
    structure: str
    slice: int
    expected_mm2: float
    measured_mm2: float
    error_percent: float
    shape_mm2: float
    position_error_mm: float
    offset_mm: float


@dataclass(frozen=True)
class SelftestReport:
    """Every row of the self-test, and in words what could not even be compared."""

    rows: tuple[SelftestRow, ...]
    failures: tuple[str, ...] = ()

    @property
    def worst_error_percent(self) -> float:
        """Largest error of an area against its digital truth, without its sign; infinite with no rows."""
        return max((abs(row.error_percent) for row in self.rows), default=math.inf)

    @property
    def worst_shape_error_percent(self) -> float:
        """Largest difference between an area and the ideal shape's: what pixels of that size cost."""
        return max((abs(_percent(row.measured_mm2, row.shape_mm2)) for row in self.rows), default=math.inf)

    @property
    def worst_offset_mm(self) -> float:
        """Largest error of a place or a slice position; infinite with no rows."""
        return max((max(row.offset_mm, row.position_error_mm) for row in self.rows), default=math.inf)

    @property
    def passed(self) -> bool:
        """True if everything could be compared, areas agree to 0.5 % and places to 0.01 mm."""
        close = self.worst_error_percent <= AREA_LIMIT_PERCENT and self.worst_offset_mm <= OFFSET_LIMIT_MM
        return close and not self.failures

    def table(self) -> str:
        """Give the report as text: a line per phantom with its worst numbers, then the verdict."""
        lines = [f"{'phantom':<22}{'areas':>6}{'worst error %':>15}{'against shape %':>17}{'worst place mm':>16}"]
        for name in dict.fromkeys(row.phantom for row in self.rows):
            part = SelftestReport(tuple(row for row in self.rows if row.phantom == name))
            lines.append(
                f"{name:<22}{len(part.rows):>6}{part.worst_error_percent:>15.4f}"
                f"{part.worst_shape_error_percent:>17.2f}{part.worst_offset_mm:>16.4f}"
            )
        verdict = "passed" if self.passed else "FAILED"
        return "\n".join(
            [
                *lines,
                *(f"FAILED  {failure}" for failure in self.failures),
                f"Self-test {verdict}: {len(self.rows)} areas, worst error {self.worst_error_percent:.4f} % "
                f"(limit {AREA_LIMIT_PERCENT} %), worst place {self.worst_offset_mm:.4f} mm "
                f"(limit {OFFSET_LIMIT_MM} mm).",
            ]
        )


def run_selftest(folder: Path | None = None, *, phantoms: Sequence[Phantom] = PHANTOMS) -> SelftestReport:
    """Write DICOM phantoms, read and measure them as any series, and compare with the truth.

    What goes wrong in reading or measuring is a failure in the report, never an exception.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="autoseg-selftest-") as temporary:
            return run_selftest(Path(temporary), phantoms=phantoms)
    rows: list[SelftestRow] = []
    failures: list[str] = []
    for phantom in phantoms:
        place = Path(folder) / phantom.name.replace(" ", "_")
        write_phantom(place, phantom)
        try:
            measured = [area for image in _read(place) for area in _measure(image, phantom)]
        except AutosegError as error:
            failures.append(f"{phantom.name}: {error}")
            continue
        truth = phantom.truth()
        if len(measured) != len(truth):
            failures.append(f"{phantom.name}: {len(measured)} areas were measured, {len(truth)} are there.")
        rows += _compare(phantom, truth, measured)
    return SelftestReport(tuple(rows), tuple(failures))


@dataclass(frozen=True)
class _Measured:
    """One measured area, with where in the patient the structure's middle was found."""

    label: int
    area_mm2: float
    position_mm: float
    centre_mm: tuple[float, ...]


def _read(folder: Path) -> list[Image]:
    return [image for series in find_series(folder).series for image in read_series(series)]


def _measure(image: Image, phantom: Phantom) -> list[_Measured]:
    label_map = LabelMap(
        voxels=np.clip(np.rint(image.voxels.astype(np.float64) / INTENSITY), 0, 255).astype(np.uint8),
        affine=image.affine,
        structures=tuple(Structure(shape.label, f"shape {shape.label}") for shape in phantom.shapes),
        source=image.source,
    )
    measured = []
    for row in measure_areas(label_map, image=image):
        pixels = np.argwhere(label_map.voxels[row.slice_index] == row.label)
        index = [row.slice_index, *(pixels.mean(axis=0) if len(pixels) else (math.nan, math.nan)), 1.0]
        position = math.nan if row.slice_position_mm is None else row.slice_position_mm
        centre = image.calibrated_affine @ index
        measured.append(_Measured(row.label, row.area, position, tuple(centre[:3].tolist())))
    return measured


def _compare(phantom: Phantom, truth: Sequence[PhantomArea], measured: Sequence[_Measured]) -> list[SelftestRow]:
    """Pair areas by their place in the list: both run by time point, slice position, label."""
    return [
        SelftestRow(
            phantom=phantom.name,
            structure=f"shape {true.label}",
            slice=number // len(phantom.shapes),
            expected_mm2=true.area_mm2,
            measured_mm2=found.area_mm2,
            error_percent=_percent(found.area_mm2, true.area_mm2),
            shape_mm2=true.shape_area_mm2,
            position_error_mm=_or_infinite(abs(found.position_mm - true.position_mm)),
            offset_mm=_or_infinite(math.dist(found.centre_mm, true.centre_mm)),
        )
        for number, (true, found) in enumerate(zip(truth, measured, strict=False))
    ]


def _percent(measured: float, expected: float) -> float:
    return 100 * (measured / expected - 1)


def _or_infinite(error: float) -> float:
    """NaN compares as neither good nor bad, so an unknown place counts as infinitely far."""
    return math.inf if math.isnan(error) else error
