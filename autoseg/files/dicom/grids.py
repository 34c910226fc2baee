"""From the slices of a series to uniform grids: time points, runs of even steps, affines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autoseg.files.dicom.moments import sort_moments
from autoseg.files.dicom.records import COMPONENTS, SliceHeader, Vector
from autoseg.image.geometry import Affine, affine_from_axes, affine_from_spacing, slice_normal
from autoseg.image.image import SpacingSource
from autoseg.words import GraveNote, are, counted, listed, name_some

Points = npt.NDArray[np.float64]

# A slice off its place in an even stack, as a share of the step: up to the first it is rounding, up to the
# second the stack is still called even, with a note (scanners round, helical CT drifts); beyond, it is split.
EVEN_TOLERANCE = (0.01, 0.1)
# Positions closer than this share of a pixel are one position.
SAME_POSITION_PIXELS = 0.02
SHEAR_NOTE_DEG = 0.5


@dataclass(frozen=True)
class Grid:
    """Slices that are one uniform grid, in order along their normal; `suffix` tells it from its siblings.

    `kind` is the part of a complex image (magnitude, phase, …), "" where the series has one only; `moment` is the
    time point, from 1.
    `step_mm` takes one slice's position to the next one's; where there are no positions it points along z.
    """

    suffix: str
    kind: str
    moment: int
    slices: tuple[SliceHeader, ...]
    step_mm: Vector
    step_source: SpacingSource


def plan_grids(slices: Sequence[SliceHeader]) -> tuple[tuple[Grid, ...], tuple[str, ...]]:
    """Sort slices of one orientation into uniform grids, each a time point or a run without a gap.

    The parts of a complex image are apart; of each the time points come in order, and within one the runs along the
    normal. The notes say what was not simply one even stack.
    """
    notes: list[str] = []
    known = sorted({header.kind for header in slices} - {""}, key=COMPONENTS.index)
    if len(known) < 2:
        return tuple(_plan("", slices, notes)), tuple(dict.fromkeys(notes))
    parts = {kind: [header for header in slices if header.kind == kind] for kind in (*known, "")}
    named = {kind or "other": members for kind, members in parts.items() if members}
    notes.append(f"It holds {listed(list(named))} images: read as images of their own, each with its name.")
    grids = [grid for kind, members in named.items() for grid in _plan(kind, members, notes)]
    return tuple(grids), tuple(dict.fromkeys(notes))


def _plan(kind: str, slices: Sequence[SliceHeader], notes: list[str]) -> list[Grid]:
    """Give the grids of slices that are all of one kind."""
    name = f"_{kind}" if kind else ""
    if any(header.position_mm is None for header in slices):
        return [_unlocated(name, kind, slices, notes)]
    normal = slice_normal(slices[0].orientation or ())
    moments = _time_points(name, slices, normal, notes)
    grids = []
    for moment, members in enumerate(moments, start=1):
        points = np.array([header.position_mm for header in members], dtype=np.float64)
        runs = _uniform_runs(points)
        stack = name + (_moment_name(moment, len(moments)) if len(moments) > 1 else "")
        _note_gaps(points @ normal, runs, notes)
        for part, (start, stop) in enumerate(runs, start=1):
            suffix = stack + (f"_part{part}" if len(runs) > 1 else "")
            step, source = _step(members[start:stop], points[start:stop], normal, notes)
            grids.append(Grid(suffix, kind, moment, members[start:stop], tuple(step.tolist()), source))
    return grids


def _moment_name(moment: int, moments: int) -> str:
    return f"_t{moment:0{max(2, len(str(moments)))}d}"


def grid_affine(grid: Grid, pixel_spacing_mm: tuple[float, float] | None = None) -> Affine | None:
    """Give the grid's affine; None where the pixel size is neither in the header nor given."""
    first = grid.slices[0]
    spacing = pixel_spacing_mm or first.spacing_mm
    if spacing is None:
        return None
    if first.position_mm is None or first.orientation is None:
        return affine_from_spacing((grid.step_mm[2], *spacing))
    return affine_from_axes(
        position_mm=first.position_mm,
        orientation=first.orientation,
        pixel_spacing_mm=spacing,
        slice_step_mm=grid.step_mm,
    )


def _unlocated(name: str, kind: str, slices: Sequence[SliceHeader], notes: list[str]) -> Grid:
    """Keep slices without positions in the order of their instance numbers, as if they were axial."""
    members = tuple(sorted(slices, key=lambda header: (header.instance, header.frame)))
    step, source = _header_step(members[0])
    how = f"{step:g} mm apart as the header says" if source == "header" else "at unknown distances"
    order = f"slices are in the order of their instance numbers, {how}, and" if len(members) > 1 else "it is"
    notes.append(f"The header has no slice position: {order} taken as axial.")
    return Grid(name, kind, 1, members, (0.0, 0.0, step), source)


def _header_step(header: SliceHeader) -> tuple[float, SpacingSource]:
    """Give the distance between slices that the header states, or a placeholder of 1 mm."""
    if header.slice_spacing_mm is None:
        return 1.0, "none"
    return header.slice_spacing_mm, "header"


def _time_points(
    name: str, slices: Sequence[SliceHeader], normal: Points, notes: list[str]
) -> list[tuple[SliceHeader, ...]]:
    """Sort along the normal; where positions repeat, give one tuple per time point."""
    along = np.array([header.position_mm for header in slices], dtype=np.float64) @ normal
    order = np.argsort(along, kind="stable")
    spacing = slices[0].spacing_mm
    tolerance = SAME_POSITION_PIXELS * (min(spacing) if spacing else 0.5)
    places = np.concatenate([[0], np.cumsum(np.diff(along[order]) > tolerance)])
    counts = np.bincount(places)
    members = [slices[index] for index in order]
    if counts.max() == 1:
        return [tuple(members)]
    ranks, is_told = sort_moments(members, places.tolist())
    moments = max(ranks) + 1
    first = name + _moment_name(1, moments)
    many = f"{counts.max()} times" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()} times"
    notes.append(
        f"{counted(len(counts), 'slice position')} {are(len(counts))} there {many} (time points, directions or "
        f"echoes): read as {moments} images, {first} and on."
    )
    if not is_told and len(counts) > 1:
        notes.append(
            GraveNote(
                "The header does not tell which slices belong together: the first at each position, by instance "
                f"number and file, is in {first}, the next in {name}{_moment_name(2, moments)} and so on. Look "
                "whether each image is of one kind before measuring on it."
            )
        )
    heights = along[order][np.unique(places, return_index=True)[1]]
    is_there = np.zeros((moments, len(counts)), dtype=bool)
    is_there[ranks, places] = True
    stacks: list[list[SliceHeader]] = [[] for _ in range(moments)]
    for header, rank in zip(members, ranks, strict=True):
        stacks[rank].append(header)
    lacking: dict[bytes, list[int]] = defaultdict(list)
    for moment in np.flatnonzero(~is_there.all(axis=1)).tolist():
        lacking[is_there[moment].tobytes()].append(moment)
    for alike in lacking.values():
        lost = [f"{height:.4g} mm" for height in heights[~is_there[alike[0]]]]
        who = name_some([name + _moment_name(moment + 1, moments) for moment in alike], 3)
        which = f"{counted(len(lost), 'slice')} of {len(counts)}"
        notes.append(f"{who} {'lacks' if len(alike) == 1 else 'lack'} {which}: at {name_some(lost)}.")
    return [tuple(stack) for stack in stacks]


def _uniform_runs(points: Points) -> list[tuple[int, int]]:
    """Cut positions, shape (n, 3), into (start, stop) runs of even steps, in order."""
    runs, waiting = [], [(0, len(points))]
    while waiting:
        start, stop = waiting.pop()
        cut = _cut(points[start:stop])
        if cut is None:
            runs.append((start, stop))
        else:
            waiting += [(start + cut, stop), (start, start + cut)]
    return runs


def _unevenness(points: Points) -> Points:
    """Give each position's distance in mm from its place on the even line, shape (n,)."""
    shares = np.arange(len(points))[:, None] / (len(points) - 1)
    return np.asarray(np.linalg.norm(points - (points[0] + shares * (points[-1] - points[0])), axis=1))


def _cut(points: Points) -> int | None:
    """Give the place where an uneven run breaks, or None if it is even.

    The slice farthest from the even line is a corner; the cut lies beside it, at the odder of its two steps.
    """
    if len(points) < 3:
        return None
    off = _unevenness(points)
    if off.max() <= EVEN_TOLERANCE[1] * np.linalg.norm(points[-1] - points[0]) / (len(points) - 1):
        return None
    corner = int(off.argmax())
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    odd = np.abs(steps - np.median(steps))
    before, after = ((odd[step].round(6), steps[step]) for step in (corner - 1, corner))
    return corner if before > after else corner + 1


def _note_gaps(along: Points, runs: Sequence[tuple[int, int]], notes: list[str]) -> None:
    for part, ((start, stop), (_, last)) in enumerate(pairwise(runs), start=1):
        gap = along[stop] - along[stop - 1]
        inside = np.concatenate([np.diff(along[start:stop]), np.diff(along[stop:last])])
        usual = f", where slices beside it are {np.median(inside):.4g} mm apart" if len(inside) else ""
        notes.append(
            f"Slices are not evenly spaced: from {along[stop - 1]:.4g} mm to {along[stop]:.4g} mm it is "
            f"{gap:.4g} mm{usual}. Read as separate images, _part{part} before and _part{part + 1} behind."
        )


def _step(
    members: Sequence[SliceHeader], points: Points, normal: Points, notes: list[str]
) -> tuple[Points, SpacingSource]:
    """Give the way from one slice to the next in mm, and where it is known from."""
    if len(members) == 1:
        distance, source = _header_step(members[0])
        return normal * distance, source
    step = (points[-1] - points[0]) / (len(points) - 1)
    length = float(np.linalg.norm(step))
    off = float(_unevenness(points).max())
    if off > EVEN_TOLERANCE[0] * length:
        notes.append(
            f"Slices are up to {off:.3g} mm off an even spacing of {length:.4g} mm; they are taken as even."
        )
    shear = float(np.degrees(np.arccos(min(1.0, abs(float(normal @ step)) / length))))
    if shear > SHEAR_NOTE_DEG:
        notes.append(f"The stack is sheared by {shear:.1f}° (gantry tilt); areas and positions allow for it.")
    return step, "header"
