"""Settings chosen from what a look at the data and the computer told, each with its reason in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from autoseg.data.cases import Case, CaseFolder, Pseudonyms
from autoseg.data.duplicates import CaseFacts, Duplicate, find_duplicate
from autoseg.data.split import Split, split_cases, subjects_of
from autoseg.data.test_subjects import read_ledger
from autoseg.errors import AutosegError
from autoseg.image.image import Image
from autoseg.model.device import Computer, find_computer
from autoseg.model.networks.build import KINDS
from autoseg.model.preprocessing.volume_grids import check_volume
from autoseg.model.settings.settings import Settings
from autoseg.training.plan.choice import Choice, Plan, change_settings
from autoseg.training.plan.resources import DEFAULT_MINUTES
from autoseg.training.plan.slice_choices import choose_slice_settings
from autoseg.training.plan.survey import Survey, survey_cases
from autoseg.training.plan.volume_choices import choose_volume_settings, fit_choices, smallest_parts
from autoseg.words import counted

# Volumes are learnt from where their voxels are at most so many times as long as wide, an image has so many slices
# or more, and a structure goes on over so many of them or more. On the hippocampus (fold 0, 62 s of one thread, two
# runs each, best epoch chosen on the scored subjects) slices with neighbours had a mean Dice of 0.812 and 0.817,
# volumes 0.841 and 0.844.
MOST_ANISOTROPIC, FEWEST_IN_VOLUME, SHORTEST_SPAN = 3.0, 16, 8
# Of the settings of preprocessing, the one that volumes have too.
OF_BOTH = "preprocess.clip_percentiles"
# Draws of validation subjects until none has an image that is also learnt from.
DRAWS = 8


def plan_settings(
    cases: CaseFolder,
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    test_subjects: Collection[str] | None = None,
    computer: Computer | None = None,
    seed: int = 0,
    spatial_dims: Literal[2, 3] | None = None,
    crop_mm: tuple[float, float] | None = None,
    given: Settings | None = None,
    typed: Collection[str] = (),
) -> Plan:
    """Choose settings for a folder of cases and a computer; nothing is trained.

    The labels of all cases are counted, and a few images read.

    What is not named among the plan's choices has its default value. Reasons name no patient: subjects are
    numbered as in `number_subjects`.

    Parameters
    ----------
    cases : CaseFolder
    minutes, epochs : float or int, optional
        How long to learn; by default 5 minutes.
    test_subjects : collection of str, optional
        Subjects set aside. None: those frozen beside the data (`ledger`).
    computer : Computer, optional
        By default this one.
    seed : int
        Of the draw of validation subjects and of the training.
    spatial_dims : {2, 3}, optional
        Plan for slices or for volumes; None: for what suits the images and the time.
    crop_mm : (2,) tuple of float, optional
        Of volumes, what is seen around a centreline (`volume.crop_mm`).
    given : Settings, optional
        What is not planned is as here, by default as in `Settings()`.
    typed : collection of str
        Settings of `given` that a person decided, by their names; "augmentation" stands for the whole group. They
        are not planned, and what is suits them.

    Raises
    ------
    SettingsError
        If both minutes and epochs are given.
    AutosegError
        If no case can be read, some images have millimetres and some have not, or volumes are asked for and an
        image is none.
    """
    minutes = DEFAULT_MINUTES if minutes is None and epochs is None else minutes
    time = replace(given or Settings(), minutes=minutes, epochs=epochs, seed=seed)
    crop_mm = time.volume.crop_mm if crop_mm is None else crop_mm
    reserved = set_aside(cases) if test_subjects is None else test_subjects
    rest = split_cases(cases.cases, validation_subjects=(), test_subjects=reserved).training
    survey = survey_cases(rest, cases.structures)
    split, duplicate = _draw(cases.cases, reserved, seed, survey)
    computer = computer or find_computer()
    dims = choose_spatial_dims(survey, *smallest_parts(survey, time, computer))
    spatial_dims = _typed_dims(time, typed) if spatial_dims is None else spatial_dims
    if spatial_dims is not None and spatial_dims != dims.value:
        dims = Choice("spatial_dims", spatial_dims, f"As you chose. By the plan: {dims.reason}")
    if dims.value == 3:
        planned = choose_volume_settings(survey, time, computer, split, crop_mm)
        planned = fit_choices(planned, time, typed)
    else:
        planned = choose_slice_settings(survey, time, computer, split, typed)
    told = (_tell_validation(split, cases, duplicate), dims, *planned)
    choices = tuple(one for one in told if not {one.name, one.name.partition(".")[0]} & set(typed))
    values = {one.name: one.value for one in choices if one.name != "validation_subjects"}
    return Plan(
        settings=change_settings(time, {"spatial_dims": dims.value} | values),
        validation_subjects=subjects_of(split.validation),
        choices=choices,
        fingerprint=survey.fingerprint,
    )


def plan_comparison(
    cases: CaseFolder,
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    computer: Computer | None = None,
    seed: int = 0,
) -> Plan:
    """Plan for networks side by side: for slices, and in `settings.volume` for those that learn from volumes.

    Where the images are no volumes, `settings.volume` is as it is without a plan.
    """
    computer = computer or find_computer()
    plan = plan_settings(cases, minutes=minutes, epochs=epochs, computer=computer, seed=seed, spatial_dims=2)
    try:
        whole = plan_settings(cases, minutes=minutes, epochs=epochs, computer=computer, seed=seed, spatial_dims=3)
    except AutosegError:
        return plan
    return replace(plan, settings=replace(plan.settings, volume=whole.settings.volume))


def number_subjects(cases: Sequence[Case]) -> dict[str, str]:
    """Give each subject a name that tells nobody who it is: "patient 1", "patient 2" …, in the order of the IDs."""
    return {subject: f"patient {number}" for number, subject in enumerate(subjects_of(cases), start=1)}


def hide_ids(cases: Sequence[Case], root: Path | None = None) -> Pseudonyms:
    """Give what writes these numbers in place of the patients' IDs, and hides all files of the folder `root`."""
    return Pseudonyms(number_subjects(cases), cases, root=root)


def set_aside(cases: CaseFolder) -> frozenset[str]:
    """Give the subjects of a folder that are frozen for a last test (`ledger`); normally none."""
    ledger = read_ledger(cases.folder)
    return frozenset(ledger.subjects if ledger else ()) & frozenset(subjects_of(cases.cases))


# --- who validates


def _draw(
    cases: Sequence[Case], reserved: Collection[str], seed: int, survey: Survey
) -> tuple[Split, Duplicate | None]:
    """Draw validation subjects, anew where an image of one is also learnt from; with what cannot be helped."""
    facts, shown = survey.facts, survey.counts
    draws = [split_cases(cases, test_subjects=reserved, seed=seed, facts=shown)]
    while (duplicate := _duplicate_between(draws[-1], facts)) is not None and len(draws) < DRAWS:
        draws.append(split_cases(cases, test_subjects=reserved, seed=seed + len(draws), facts=shown))
    return draws[0 if duplicate is not None else -1], duplicate and _duplicate_between(draws[0], facts)


def _duplicate_between(split: Split, facts: Mapping[str, CaseFacts]) -> Duplicate | None:
    learnt, validated = (
        {case.case_id: facts[case.case_id] for case in side if case.case_id in facts}
        for side in (split.training, split.validation)
    )
    return find_duplicate(learnt, validated)


def _tell_validation(split: Split, cases: CaseFolder, duplicate: Duplicate | None) -> Choice:
    chosen = subjects_of(split.validation)
    rest = [case for case in cases.cases if case not in split.test]
    if not chosen:
        return Choice("validation_subjects", (), split.say())
    names = number_subjects(cases.cases)
    who = f" ({_listed([names[s] for s in chosen])})" if len(chosen) <= 6 else ""
    words = [f"{len(chosen)} of {len(subjects_of(rest))} patients{who}, never trained on."]
    if split.notes:
        words.append(split.say(cases.structures))
    else:
        words.append("Training still sees every structure, and each has a score.")
        lacking = {
            names[subject]: [s.name for s in cases.structures if not _is_drawn_on(rest, subject, s.label)]
            for subject in subjects_of(rest)
        }
        for name, missing in [(name, missing) for name, missing in lacking.items() if missing][:1]:
            words.append(f"Not {name}: {_listed(missing)} was not drawn there and would have no score.")
    if duplicate is not None:
        owners = {case.case_id: names[case.subject_id] for case in cases.cases}
        words.append(
            f"But an image of {owners[duplicate.two]} seems to be one of {owners[duplicate.one]}, too, and that is "
            "learnt from: the score would be too good. Give both the same patient, or leave one out."
        )
    return Choice("validation_subjects", chosen, " ".join(words))


def _is_drawn_on(cases: Sequence[Case], subject: str, label: int) -> bool:
    return any(case.subject_id == subject and case.is_drawn(label) for case in cases)


def _listed(names: Sequence[str]) -> str:
    """Give names as a sentence has them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# --- slices or volumes


def choose_spatial_dims(survey: Survey, views: float, least: float) -> Choice:
    """Choose between slices (2-D and 2.5-D) and volumes (3-D).

    The time suffices for `views` patches of volumes, of which `least` are needed to learn anything.
    """
    why = _why_slices(survey, views, least)
    if why:
        return Choice("spatial_dims", 2, f"Slices, not volumes: {why}.")
    slices, longest, shortest = _shape(survey)
    return Choice(
        "spatial_dims",
        3,
        f"Volumes (3-D): an image has typically {slices} slices, its voxels are {longest / shortest:.1f} times as "
        f"long as wide, and a structure goes on over {counted(round(float(np.median(survey.spans))), 'slice')}.",
    )


def _why_slices(survey: Survey, views: float, least: float) -> str:
    """Say why slices are learnt from; "" where volumes are."""
    flat = [image for image in survey.images if not _is_volume(image)]
    if flat:
        of = f"{len(flat)} of {len(survey.images)} images"
        if all(image.shape[0] == 1 for image in flat):
            return f"a single slice is all there is of {of}"
        return f"how large the pixels of {of} are, or how far the slices lie apart, is not known"
    slices, longest, shortest = _shape(survey)
    span = round(float(np.median(survey.spans or (0,))))
    if slices < FEWEST_IN_VOLUME:
        return f"an image has typically {counted(slices, 'slice')}, fewer than {FEWEST_IN_VOLUME}"
    if longest > MOST_ANISOTROPIC * shortest:
        return f"voxels are {longest / shortest:.1f} times as long as wide, more than {MOST_ANISOTROPIC:g} times"
    if span < SHORTEST_SPAN:
        return f"a structure's longest run of slices is typically {span}, shorter than {SHORTEST_SPAN}"
    if views < least:
        return f"in this time only about {views:.0f} parts of volumes would be seen"
    return ""


def _typed_dims(given: Settings, typed: Collection[str]) -> Literal[2, 3] | None:
    """Give what is learnt from by what was typed, which may be of slices only; None where either will do."""
    if "spatial_dims" in typed:
        return given.spatial_dims
    of_slices = any(name.startswith("preprocess.") and name != OF_BOTH for name in typed)
    return 2 if of_slices or 3 not in KINDS[given.network.name].spatial_dims else None


def _is_volume(image: Image) -> bool:
    try:
        check_volume(image)
    except AutosegError:
        return False
    return True


def _shape(survey: Survey) -> tuple[int, float, float]:
    """Give a typical image's slices, and the longest and the shortest side of its voxels."""
    slices = round(float(np.median([image.shape[0] for image in survey.images])))
    spacing = np.median([sorted(image.spacing_mm) for image in survey.images], axis=0)
    return slices, float(spacing[-1]), float(spacing[0])
