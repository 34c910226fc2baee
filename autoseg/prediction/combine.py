"""Two models along one volume: one for what lies above a level, one for what lies below."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.model.model import TrainedModel
from autoseg.model.postprocess import StructurePostprocess, choose_classes, clean_labels
from autoseg.prediction import predict_probabilities
from autoseg.prediction.copies import Copies
from autoseg.prediction.ensemble import Models, as_models, ensemble_name, shared_postprocess
from autoseg.prediction.join import Join, plan_join, section_pixel_mm2

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
        Or: the lowest slice of the upper model, from 0, of an image with axial slices.
    at_level : str, optional
        Or: the lowest level of the upper model, as the image's slices name it ("T12"); the join is at its lower
        end.
    blend_mm : float
        Over how many mm the one goes over into the other, half of them above the join.
    copies, precision, on_slices
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
    join = plan_join(
        image,
        names=(ensemble_name(uppers, copies), ensemble_name(lowers, copies)),
        at_mm=at_mm,
        at_slice=at_slice,
        at_level=at_level,
        blend_mm=blend_mm,
    )
    posts, differing = _posts(uppers, lowers, order)
    structures = uppers[0].structures
    table = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    shares = _along(np.array(join.upper_shares, dtype=np.float32), join.axis)
    drawn = [np.empty(image.shape, dtype=np.uint8) for _ in posts]
    answers = (
        predict_probabilities(uppers, image, copies=copies, precision=precision, on_slices=on_slices),
        predict_probabilities(lowers, image, copies=copies, precision=precision),
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
    if upper.channels != lower.channels:
        raise DataError(
            f"{pair}: their images have the channels {list(upper.channels)} and {list(lower.channels)}."
        )
    planes = [plane for model in (upper, lower) if (plane := model.origin.get("plane"))]
    if len(set(planes)) > 1:
        raise DataError(f"{pair}: they were trained on {planes[0]} and on {planes[1]} slices.")
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


def _along(shares: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Give the shares the axes (slice, row, column)."""
    shape = [1, 1, 1]
    shape[axis] = -1
    return shares.reshape(shape)


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
