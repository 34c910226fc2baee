"""Settings chosen from what a look at the data and the computer told, each with its reason in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from autoseg.data.cases import Case, CaseFolder, Pseudonyms
from autoseg.data.duplicates import CaseFacts, Duplicate, find_duplicate
from autoseg.data.split import Split, split_cases, subjects_of
from autoseg.data.test_subjects import read_ledger
from autoseg.errors import AutosegError
from autoseg.image.structures import name_labels
from autoseg.model.device import Computer, find_computer
from autoseg.model.networks import stride_of
from autoseg.model.settings.settings import PreprocessSettings, Settings
from autoseg.training.plan.choice import Choice, Plan, change_settings
from autoseg.training.plan.dimensions import choose_dimensions, choose_spatial_dims
from autoseg.training.plan.grid import choose_grid, frame_of, pixel_of
from autoseg.training.plan.network import WHY_THIS_NETWORK, choose_batch, choose_network, choose_width, find_room
from autoseg.training.plan.speed import DEFAULT_MINUTES, learning_speed, tell_time, views_in_time, wanted_pixels
from autoseg.training.plan.survey import Survey, survey_cases
from autoseg.training.plan.volume_choices import choose_volume_settings, smallest_parts

# From this agreement of turned drawings on (`Survey.turned`) no way round is the usual one. Measured: 1.0 on
# hearts in short axis, 0.65 on the cervical cord, 0.4 on the hippocampus and on lumbar discs.
# Turned by 20 degrees at most, hearts were learnt sooner (validation Dice 0.72 beside 0.53 after 1.5 minutes of one
# core, 0.82 beside 0.81 after 5), but one of five, which lies another way round, was not found at all.
ANY_WAY_ROUND = 0.8
SMALL_ROTATION_DEG = 20.0
# A crop is worth a thought where structures fill less than this part of the image's length and width.
SMALL_PART = 0.35
# Where fewer slices than this show a structure, so much of each batch are such slices.
RARE, OFTEN = 1 / 3, 0.5
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
) -> Plan:
    """Choose settings for a folder of cases and a computer; a few images are read, nothing is trained.

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

    Raises
    ------
    SettingsError
        If both minutes and epochs are given.
    AutosegError
        If no case can be read, some images have millimetres and some have not, or volumes are asked for and an
        image is none.
    """
    time = Settings(minutes=DEFAULT_MINUTES if minutes is None and epochs is None else minutes, epochs=epochs)
    reserved = set_aside(cases) if test_subjects is None else test_subjects
    first = split_cases(cases.cases, test_subjects=reserved, seed=seed)
    survey = survey_cases([*first.training, *first.validation], cases.structures)
    split, duplicate = _draw(cases.cases, reserved, seed, survey.facts)
    planned = _choose(survey, time, split, computer or find_computer(), spatial_dims, crop_mm)
    values = {"seed": seed} | {choice.name: choice.value for choice in planned}
    return Plan(
        settings=change_settings(time, values),
        validation_subjects=subjects_of(split.validation),
        choices=(_tell_validation(split, cases, duplicate), *planned),
        fingerprint=survey.fingerprint,
    )


def _choose(
    survey: Survey,
    time: Settings,
    split: Split,
    computer: Computer,
    asked: Literal[2, 3] | None,
    crop_mm: tuple[float, float] | None,
) -> list[Choice]:
    """Choose between slices and volumes, and then all the rest."""
    dims = choose_spatial_dims(survey, *smallest_parts(survey, time, computer))
    if asked is not None and asked != dims.value:
        dims = Choice("spatial_dims", asked, f"As you chose. By the plan: {dims.reason}")
    if dims.value == 3:
        return [dims, *choose_volume_settings(survey, time, computer, split, crop_mm)]
    return [dims, *_choose_slice_settings(survey, time, computer, split)]


def _choose_slice_settings(survey: Survey, time: Settings, computer: Computer, split: Split) -> list[Choice]:
    rate, room = learning_speed(computer), find_room(survey, computer)
    slices = round(survey.slices * len(split.training))
    grid = choose_grid(survey, wanted_pixels(time, rate, slices), room.finest)
    preprocess = change_settings(time, {grid.name: grid.value}).preprocess
    network = choose_network(survey, preprocess)
    frame = frame_of(survey, preprocess, stride_of(network))
    filters, faster = choose_width(network, views_in_time(time, rate, frame), slices, frame)
    measured = computer.pixels_per_second is not None
    return [
        grid,
        choose_dimensions(survey, pixel_of(survey, grid)),
        tell_time(time, rate * faster, slices, frame, measured=measured),
        choose_batch(frame, slices, computer, room),
        Choice("network.name", network.name, WHY_THIS_NETWORK),
        filters,
        _choose_oversampling(survey),
        *_choose_rotation(survey),
        *_suggest_crop(survey, preprocess),
    ]


def plan_comparison(
    cases: CaseFolder,
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    computer: Computer | None = None,
    seed: int = 0,
) -> Plan:
    """Plan for networks side by side: for slices, and in `settings.volume` for those that learn from volumes."""
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


def hide_ids(cases: Sequence[Case]) -> Pseudonyms:
    """Give what writes these numbers in place of the patients' IDs."""
    return Pseudonyms(number_subjects(cases), cases)


def set_aside(cases: CaseFolder) -> frozenset[str]:
    """Give the subjects of a folder that are frozen for a last test (`ledger`); normally none."""
    ledger = read_ledger(cases.folder)
    return frozenset(ledger.subjects if ledger else ()) & frozenset(subjects_of(cases.cases))


# --- who validates


def _draw(
    cases: Sequence[Case], reserved: Collection[str], seed: int, facts: Mapping[str, CaseFacts]
) -> tuple[Split, Duplicate | None]:
    """Draw validation subjects, anew where an image of one is also learnt from; with what cannot be helped."""
    draws = [split_cases(cases, test_subjects=reserved, seed=seed, facts=facts)]
    while (duplicate := _duplicate_between(draws[-1], facts)) is not None and len(draws) < DRAWS:
        draws.append(split_cases(cases, test_subjects=reserved, seed=seed + len(draws), facts=facts))
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
        return Choice("validation_subjects", (), split.note)
    names = number_subjects(cases.cases)
    who = f" ({_listed([names[s] for s in chosen])})" if len(chosen) <= 6 else ""
    words = [f"{len(chosen)} of {len(subjects_of(rest))} patients{who}, never trained on."]
    if split.note:
        words.append(name_labels(split.note, cases.structures))
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


# --- how images are drawn, varied and cropped


def _choose_oversampling(survey: Survey) -> Choice:
    part = survey.fingerprint.with_structure
    if 0 < part < RARE:
        why = f"Only {part:.0%} of the slices show a structure; so at least half of those seen at once do."
        return Choice("oversampling", OFTEN, why)
    why = f"{part:.0%} of the slices show a structure: enough, as they come."
    return Choice("oversampling", 0.0, why if part else "No slice that was looked at shows a structure.")


def _choose_rotation(survey: Survey) -> list[Choice]:
    if survey.turned is None or survey.turned >= ANY_WAY_ROUND:
        return []
    why = (
        "What was drawn lies the same way up in all patients: turned by quarters, drawings agree only "
        f"{survey.turned:.0%} as well. So images are turned a little only."
    )
    return [Choice("augmentation.rotation_deg", SMALL_ROTATION_DEG, why)]


def _suggest_crop(survey: Survey, preprocess: PreprocessSettings) -> list[Choice]:
    """Say where a crop might help; it is not chosen, because it was not measured on enough kinds of images."""
    whole = tuple(max(size[axis] for size in survey.sizes_mm) for axis in (0, 1))
    part = max(drawn / length for drawn, length in zip(survey.drawn, whole, strict=True))
    if not 0 < part < SMALL_PART:
        return []
    name = "crop_mm" if survey.has_millimetres else "crop_shape"
    why = (
        f"Structures fill at most {part:.0%} of an image's length. If small ones are missed, try a crop of about "
        "twice what they fill: not planned, since it was not measured on enough kinds of images."
    )
    return [Choice(f"preprocess.{name}", None, why)]


def _listed(names: Sequence[str]) -> str:
    """Give names as a sentence has them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
