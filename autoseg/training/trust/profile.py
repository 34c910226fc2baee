"""Learning what the images are like that a model learnt from, as its profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.cases import Case
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.trust import Profile
from autoseg.model.trust.facts import (
    Drawing,
    ImageFacts,
    StructureFacts,
    drawings_of,
    facts_of,
    structure_facts,
)
from autoseg.model.trust.profile import USUAL_SPREAD, as_plain, fit_likeness
from autoseg.model.trust.turned import fit_turned
from autoseg.prediction.appearance import Appearance, Window, look_at, window_for
from autoseg.prediction.ensemble import Networks
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.plan.survey import spread_cases
from autoseg.training.trust.examine import Examined

# So many cases are looked at, over all patients, and files of so many bytes, which are held in memory together.
MOST_CASES, MOST_BYTES = 48, 2**27


@dataclass(frozen=True, eq=False)
class Seen:
    """What one image and its labels are like, from which a model learnt or on which it was validated."""

    subject_id: str
    facts: ImageFacts
    looks: Appearance
    drawings: dict[int, list[Drawing]]
    in_mm: bool


def learn_profile(
    model: TrainedModel, training: Sequence[Case], validation: Sequence[Case], examined: Sequence[Examined]
) -> Profile | None:
    """Give what the cases of a training are like, and how well the model did on those of validation (`examined`).

    None where there are no cases.
    """
    chosen = spread_cases([*training, *validation], MOST_CASES, most_bytes=MOST_BYTES)
    if not chosen:
        return None
    pairs = [read_reference(case, model.structures) for case in chosen]
    window, networks = window_for(model, [image for image, _ in pairs]), Networks()
    seen = [see(model, image, labels, window, networks) for image, labels in pairs]
    subjects = {case.subject_id for case in (*training, *validation)}
    validated = {case.subject_id for case in validation}
    return profile_of(seen, model.structures, window, examined, subjects=len(subjects), validated=len(validated))


def see(
    model: TrainedModel, image: Image, labels: LabelMap, window: Window, networks: Networks | None = None
) -> Seen:
    """Look at an image and its labels."""
    in_mm = image.affine is not None
    drawn = [structure.label for structure in model.structures if labels.is_annotated(structure.label)]
    return Seen(
        subject_id=labels.source.subject_id,
        facts=facts_of(image),
        looks=look_at(model, image, window, networks),
        drawings={label: drawings_of(labels, label, in_mm=in_mm) for label in drawn},
        in_mm=in_mm,
    )


def profile_of(
    seen: Sequence[Seen],
    structures: Sequence[Structure],
    window: Window,
    examined: Sequence[Examined],
    *,
    subjects: int,
    validated: int,
) -> Profile:
    """Put together what was seen of all cases."""
    by_subject: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        by_subject[one.subject_id].append(one)
    images = [[one.looks.parts for one in some] for some in by_subject.values()]
    parts = {part: [[one[part] for one in some] for some in images] for part in USUAL_SPREAD}
    drawn = [_drawn(structure.label, seen) for structure in structures]
    dice, area_error = scores(structures, examined)
    return Profile(
        subjects=subjects,
        validated=validated,
        window=window,
        images=as_plain(tuple(dict.fromkeys(one.facts for one in seen))),
        structures=as_plain([one for one in drawn if one is not None]),
        likenesses=as_plain([fit_likeness(part, some) for part, some in parts.items()]),
        turned=fit_turned([[one.looks.ways for one in some] for some in by_subject.values()]),
        dice=dice,
        area_error=area_error,
    )


def _drawn(label: int, seen: Sequence[Seen]) -> StructureFacts | None:
    in_mm = all(one.in_mm for one in seen)
    found = [drawing for one in seen if one.in_mm == in_mm for drawing in one.drawings.get(label, ())]
    return structure_facts(label, found, in_mm=in_mm) if found else None


def scores(
    structures: Sequence[Structure], examined: Sequence[Examined]
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Give for each structure Dice of all pixels, and the median over subjects of the areas' relative errors."""
    dice: list[float | None] = []
    errors: list[float | None] = []
    for number in range(len(structures)):
        sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
        for one in examined:
            if one.drawn[number]:
                counts = (one.reference, one.predicted, one.both)
                sums[one.subject_id] += [float(count[:, number].sum()) for count in counts]
        total = sum(sums.values(), np.zeros(3))
        dice.append(round(float(2 * total[2] / (total[0] + total[1])), 4) if total[0] > 0 else None)
        known = [abs(predicted / reference - 1) for reference, predicted, _ in sums.values() if reference > 0]
        errors.append(round(float(np.median(known)), 4) if known else None)
    return tuple(dice), tuple(errors)
