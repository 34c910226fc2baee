"""Two models along one volume: one for what lies above a level, one for what lies below."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import nearest_axes
from autoseg.image.image import Image, LabelMap
from autoseg.model.centreline import Centreline
from autoseg.model.model import TrainedModel
from autoseg.model.postprocess import StructurePostprocess, choose_classes, clean_labels
from autoseg.prediction import predict_probabilities
from autoseg.prediction.ensemble import (
    Copies,
    Inference,
    Models,
    as_models,
    ensemble_name,
    image_difference,
    shared_postprocess,
)

# --- where two models meet along the body, and how much each counts where

HEAD = 2  # the patient axis that points to the head
AXIS_WORDS = ("slices", "rows", "columns")


@dataclass(frozen=True)
class JoinAt:
    """Where two models are to meet, said in one of three ways, and over how many mm they blend; see `combine`."""

    at_mm: float | None = None
    at_slice: int | None = None
    at_level: str | None = None
    blend_mm: float = 0.0

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.at_mm, self.at_slice, self.at_level)) != 1:
            raise DataError("Say once where the models meet: at_mm, at_slice or at_level.")
        if not (math.isfinite(self.blend_mm) and self.blend_mm >= 0):
            raise DataError(
                f"blend_mm is {self.blend_mm}; give the millimetres over which the models blend, 0 or more."
            )


@dataclass(frozen=True)
class Join:
    """Where two models meet in an image.

    `at_mm` is the height of the join in the patient (towards the head), `blend_mm` the height over which the
    probabilities go over from one to the other, its middle at `at_mm`. `axis` is the image's axis that runs along
    the body (0 slices, 1 rows, 2 columns); `heights_mm` are the heights of the places along it, `upper_shares` the
    upper model's share there, 0 to 1.
    """

    upper: str
    lower: str
    at_mm: float
    blend_mm: float
    axis: int
    heights_mm: tuple[float, ...]
    upper_shares: tuple[float, ...]

    def model_at(self, index: int) -> str:
        """Give the name of the model that a place along the axis comes from, or of both."""
        share = self.upper_shares[index]
        return self.upper if share == 1 else self.lower if share == 0 else f"{self.upper} + {self.lower}"

    def shares_on_grid(self) -> npt.NDArray[np.float32]:
        """Give the upper model's shares with three axes, of which all but the join's own have one place."""
        shape = [1, 1, 1]
        shape[self.axis] = -1
        return np.array(self.upper_shares, dtype=np.float32).reshape(shape)

    @property
    def words(self) -> str:
        """Where the models meet, as a sentence; places along the axis count from 1, as in the tables."""
        kinds = {"above": 1.0, "below": 0.0}
        spans = {}
        for word, share in kinds.items():
            mine = [number for number, one in enumerate(self.upper_shares) if one == share]
            spans[word] = f"{AXIS_WORDS[self.axis]} {mine[0] + 1} to {mine[-1] + 1}" if mine else "nothing"
        blended = f", blended over {self.blend_mm:g} mm" if self.blend_mm else ""
        return (
            f"{self.upper} above and {self.lower} below z = {self.at_mm:.1f} mm{blended}: {spans['above']} come "
            f"from {self.upper} alone, {spans['below']} from {self.lower} alone (counted from 1)."
        )

    def as_plain(self) -> dict[str, Any]:
        """Give the join as plain values, for run.json."""
        return {
            "upper": self.upper,
            "lower": self.lower,
            "at_mm": round(self.at_mm, 4),
            "blend_mm": self.blend_mm,
            "along": AXIS_WORDS[self.axis],
            "heights_mm": [round(height, 3) for height in self.heights_mm],
            "upper_shares": [round(share, 4) for share in self.upper_shares],
        }


def plan_join(image: Image, where: JoinAt, names: tuple[str, str] = ("upper", "lower")) -> Join:
    """Work out where two models meet in an image, and how much each counts where.

    Examples
    --------
    Five axial slices 4 mm apart, blended over 8 mm:

    >>> from autoseg.image.geometry import affine_from_spacing
    >>> image = Image(np.zeros((5, 8, 8)), affine_from_spacing((4, 1, 1)))
    >>> plan_join(image, JoinAt(at_mm=8, blend_mm=8)).upper_shares
    (0.0, 0.0, 0.5, 1.0, 1.0)
    """
    axis, heights = heights_mm(image)
    half = abs(heights[1] - heights[0]) / 2 if len(heights) > 1 else 0.0
    at_mm, blend_mm = where.at_mm, where.blend_mm
    if at_mm is None:
        at_mm = _lowest_of(image, axis, heights, where) - half
    low, high = float(heights.min()) - half, float(heights.max()) + half
    if not low < at_mm < high:
        raise DataError(
            f"{image.source.name} reaches from z = {low:.1f} to {high:.1f} mm, and the models would meet at "
            f"{at_mm:.1f} mm. Choose a place within the image, or segment it with one model."
        )
    # A hair above and below is on the join: heights come from single precision headers.
    above = np.round(heights - at_mm, 4)
    shares = (above >= 0).astype(np.float64) if blend_mm == 0 else np.clip(above / blend_mm + 0.5, 0, 1)
    places = tuple(heights.tolist()), tuple(shares.tolist())
    return Join(*names, float(at_mm), float(blend_mm), axis, *places)


def heights_mm(image: Image) -> tuple[int, npt.NDArray[np.float64]]:
    """Give the image's axis that runs most nearly along the body, and the height (z) of every place along it.

    Of an oblique image the height is that of the middle of each slice (or row, or column).
    """
    affine = image.calibrated_affine
    axis = nearest_axes(affine).index(HEAD)
    if axis == 0 and image.shape[0] > 1 and image.source.slice_spacing_source == "none" and image.source.slices:
        raise GeometryError(
            f"{image.source.name}: the distance between its slices is unknown, so they have no heights at which "
            "two models could meet."
        )
    middle = (np.array(image.shape) - 1) / 2
    middle[axis] = 0
    start = affine[HEAD, :3] @ middle + affine[HEAD, 3]
    return axis, start + affine[HEAD, axis] * np.arange(image.shape[axis])


def _lowest_of(image: Image, axis: int, heights: npt.NDArray[np.float64], where: JoinAt) -> float:
    """Give the height of the lowest slice that is the upper model's."""
    if axis != 0:
        raise DataError(
            f"{image.source.name}: the body runs along its {AXIS_WORDS[axis]}, so no slice parts above from below. "
            "Give the height (at_mm)."
        )
    if where.at_slice is not None:
        if not 0 <= where.at_slice < len(heights):
            raise DataError(
                f"{image.source.name} has the slices 1 to {len(heights)}, and no slice {where.at_slice + 1}."
            )
        return float(heights[where.at_slice])
    levels = [place.level for place in image.source.slices]
    wanted = str(where.at_level).casefold()
    mine = [heights[n] for n, level in enumerate(levels) if level and level.casefold() == wanted]
    if not mine:
        known = ", ".join(dict.fromkeys(level for level in levels if level)) or "none"
        raise DataError(f"{image.source.name} has no slice of the level {where.at_level!r}. Its levels: {known}.")
    return float(min(mine))


def section_pixel_mm2(grid: Image | LabelMap, axis: int) -> float:
    """Give the area in mm² of one voxel on a section across an axis."""
    steps = np.delete(grid.calibrated_affine[:3, :3], axis, axis=1)
    return float(np.linalg.norm(np.cross(steps[:, 0], steps[:, 1])))


# A smaller difference of the two models' areas at the join is within what one model differs from itself.
JUMP_SHARE, JUMP_PIXELS = 0.1, 2
UNTOUCHED = StructurePostprocess()


@dataclass(frozen=True)
class Jump:
    """The areas that the two models give one structure on the section at the join."""

    label: int
    name: str
    upper_mm2: float
    lower_mm2: float

    @property
    def jump_mm2(self) -> float:
        """By how much the area grows when the join is passed towards the head."""
        return self.upper_mm2 - self.lower_mm2


@dataclass(frozen=True, eq=False)
class Combination:
    """What two models gave together: the labels, where they meet, and how well they fit there.

    `notes` are sentences that the reader should know, first of all where an area jumps.
    """

    label_map: LabelMap
    join: Join
    jumps: tuple[Jump, ...]
    notes: tuple[str, ...]


def combine(
    upper: Models,
    lower: Models,
    image: Image,
    *,
    at_mm: float | None = None,
    at_slice: int | None = None,
    at_level: str | None = None,
    blend_mm: float = 0.0,
    copies: Copies = "none",
    precision: str = "float32",
    on_slices: Callable[[int, int], None] | None = None,
    centreline: Centreline | None = None,
) -> Combination:
    """Segment an image with one model above a height and another one below.

    Heights are along the image's axis that runs most nearly along the body: of axial slices each slice has one
    height, of sagittal and coronal ones each row. Where only one model counts, the labels are exactly what it gives
    alone (`predict`), cleaned as was chosen for it; within `blend_mm` the probabilities go over linearly.

    Parameters
    ----------
    upper, lower : TrainedModel, or sequence of TrainedModel
        Of 2-D or 3-D models alike; several are a mean. They have structures of the same names (whose labels may
        differ; the upper model's are given) and the same channels.
    image : Image
        Calibrated.
    at_mm : float, optional
        Height of the join in patient coordinates (z, towards the head), mm.
    at_slice : int, optional
        Or: the place of the lowest slice of the upper model in an image with axial slices, from 0 as in its voxels
        (the number of a slice in tables and on the screen is one more).
    at_level : str, optional
        Or: the lowest level of the upper model, as the image's slices name it ("T12"); the join is at its lower
        end.
    blend_mm : float
        Over how many mm the one goes over into the other, half of them above the join.
    copies, precision, on_slices, centreline
        As of `predict`.

    Returns
    -------
    Combination

    Raises
    ------
    DataError
        If the models do not fit each other or the image, or the join is not one place within the image.
    GeometryError
        If millimetres, or the distance between slices, are unknown.

    Warns
    -----
    UserWarning
        As `predict` does.
    """
    uppers, lowers = as_models(upper), as_models(lower)
    order = _match(uppers, lowers)
    names = (ensemble_name(uppers, copies), ensemble_name(lowers, copies))
    join = plan_join(image, JoinAt(at_mm, at_slice, at_level, blend_mm), names)
    posts, differing = _posts(uppers, lowers, order)
    structures = uppers[0].structures
    table = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    shares = join.shares_on_grid()
    drawn = [np.empty(image.shape, dtype=np.uint8) for _ in posts]
    answers = (
        predict_probabilities(
            models, image, Inference(copies, precision=precision, on_slices=tell, centreline=centreline)
        )
        for models, tell in ((uppers, None), (lowers, on_slices))
    )
    for (chosen, above), (_, below) in zip(*answers, strict=True):
        matched = below[:, order]
        share = shares[chosen] if join.axis == 0 else shares
        mixed = share[:, None] * above + (1 - share[:, None]) * matched
        for voxels, probabilities, post in zip(drawn, (above, matched, mixed), posts, strict=True):
            voxels[chosen] = table[choose_classes(probabilities, post)]
    maps = [
        clean_labels(LabelMap(voxels, image.affine, structures, source=image.source), post)
        for voxels, post in zip(drawn, posts, strict=True)
    ]
    voxels = np.where(shares == 1, maps[0].voxels, np.where(shares == 0, maps[1].voxels, maps[2].voxels))
    label_map = LabelMap(voxels.astype(np.uint8), image.affine, structures, source=image.source)
    jumps = _jumps(maps[0], maps[1], join)
    notes = [join.words, *_say_jumps(jumps, label_map, join)]
    if differing and blend_mm > 0:
        notes.append(
            f"The models clean {', '.join(differing)} in different ways, so it is not cleaned where they blend."
        )
    return Combination(label_map, join, jumps, tuple(notes))


def _match(uppers: Sequence[TrainedModel], lowers: Sequence[TrainedModel]) -> list[int]:
    """Give for each class of the upper model the class that the lower one has for it, by the structures' names."""
    upper, lower = uppers[0], lowers[0]
    pair = f"The models {upper.name!r} and {lower.name!r} cannot be combined"
    mine, theirs = ([s.name.casefold() for s in model.structures] for model in (upper, lower))
    for model, other, names in ((upper, lower, theirs), (lower, upper, mine)):
        for structure in model.structures:
            if structure.name.casefold() not in names:
                raise DataError(
                    f"{pair}: {other.name!r} has no structure {structure.name!r}. Both must know the same "
                    "structures, by name."
                )
    place = {name: number for number, name in enumerate(theirs)}
    for structure in upper.structures:
        other_structure = lower.structures[place[structure.name.casefold()]]
        inner = [
            {s.name.casefold() for s in model.structures if s.label in one.includes}
            for model, one in ((upper, structure), (lower, other_structure))
        ]
        if inner[0] != inner[1] or structure.side != other_structure.side:
            raise DataError(f"{pair}: {structure.name!r} has another side, or includes other structures.")
    difference = image_difference(upper, lower)
    if difference:
        raise DataError(f"{pair}: {difference}.")
    return [0, *(1 + place[name] for name in mine)]


def _posts(
    uppers: Sequence[TrainedModel], lowers: Sequence[TrainedModel], order: Sequence[int]
) -> tuple[list[tuple[StructurePostprocess, ...]], list[str]]:
    """Give the cleaning of the upper model, of the lower one and of both, and what they clean in different ways."""
    above, unclean_above = shared_postprocess(uppers)
    below, unclean_below = shared_postprocess(lowers)
    if unclean_above or unclean_below:
        names = ", ".join(dict.fromkeys((*unclean_above, *unclean_below)))
        warnings.warn(
            f"Models of one mean clean {names} in different ways, so it is not cleaned there.", stacklevel=3
        )
    below = tuple(below[k - 1] for k in order[1:]) if below else ()
    structures = uppers[0].structures
    pairs = list(zip(above or (UNTOUCHED,) * len(structures), below or (UNTOUCHED,) * len(structures), strict=True))
    both = tuple(one if one == other else UNTOUCHED for one, other in pairs)
    differing = [s.name for s, (one, other) in zip(structures, pairs, strict=True) if one != other]
    return [above, below, both if any(one.steps for one in both) else ()], differing


def _jumps(above: LabelMap, below: LabelMap, join: Join) -> tuple[Jump, ...]:
    """Compare the two models on the section nearest to the join."""
    section = int(np.abs(np.array(join.heights_mm) - join.at_mm).argmin())
    pixel = section_pixel_mm2(above, join.axis)
    return tuple(
        Jump(
            structure.label,
            structure.name,
            *(int(one.mask(structure.label).take(section, axis=join.axis).sum()) * pixel for one in (above, below)),
        )
        for structure in above.structures
    )


def _say_jumps(jumps: Sequence[Jump], label_map: LabelMap, join: Join) -> list[str]:
    pixel = section_pixel_mm2(label_map, join.axis)
    said = []
    for jump in jumps:
        larger = max(jump.upper_mm2, jump.lower_mm2)
        if abs(jump.jump_mm2) > max(JUMP_SHARE * larger, JUMP_PIXELS * pixel):
            said.append(
                f"{label_map.source.case_id}: at the join {jump.name} has {jump.lower_mm2:.1f} mm² by the lower "
                f"model and {jump.upper_mm2:.1f} mm² by the upper one, a jump of {jump.jump_mm2:+.1f} mm². Look "
                "there; another height, or blending, may fit better."
            )
    return said
