"""Settings chosen from what a look at the data and the computer told, each with its reason in a sentence."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from autoseg.cases import Case, CaseFolder, Pseudonyms, is_drawn
from autoseg.device import Computer, find_computer
from autoseg.extents import extent_of, frame_size
from autoseg.ledger import read_ledger
from autoseg.networks import standardised, stride_of
from autoseg.plan.choice import Choice, Plan, change_settings
from autoseg.plan.survey import Survey, survey_cases
from autoseg.settings import NetworkSettings, PreprocessSettings, Settings
from autoseg.split import Split, split_cases, subjects_of

DEFAULT_MINUTES = 5.0
# With a number of epochs and no time budget, pixels are chosen such that learning takes about this long at most.
LONGEST_MINUTES = 60.0
# Slices seen in a training, each time augmented anew, from which on a small set is learnt reasonably well.
ENOUGH_VIEWS = 10_000
# A structure is found and outlined if it is so many of the network's pixels wide.
PIXELS_ACROSS = 3
# The network's pixels are at most so many times the images' own.
MOST_COARSER = 2.5
# Pixels learnt from in a second by the default network: one processor core (two of them share much of their
# memory's speed, hence the power) with bfloat16 units and without, and GPUs. Rough, on the careful side.
CORE_RATE = {"bfloat16": 300_000.0, "float32": 150_000.0}
CORE_POWER = 0.8
GPU_RATE = {"cuda": 50e6, "mps": 5e6}
# nnU-Net (Isensee et al. 2021) stops halving where 4 pixels are left, too.
SMALLEST_MAP = 4
# From this agreement of turned drawings on (`Survey.turned`) no way round is the usual one. Measured: 1.0 on
# hearts in short axis, 0.65 on the cervical cord, 0.4 on the hippocampus and on lumbar discs.
ANY_WAY_ROUND = 0.8
SMALL_ROTATION_DEG = 20.0
# A crop is worth a thought where structures fill less than this part of the image's length and width.
SMALL_PART = 0.35


def plan_settings(
    cases: CaseFolder,
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    test_subjects: Collection[str] | None = None,
    computer: Computer | None = None,
    seed: int = 0,
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

    Raises
    ------
    SettingsError
        If both minutes and epochs are given.
    AutosegError
        If no case can be read, or some images have millimetres and some have not.
    """
    time = Settings(minutes=DEFAULT_MINUTES if minutes is None and epochs is None else minutes, epochs=epochs)
    reserved = set_aside(cases) if test_subjects is None else test_subjects
    split = split_cases(cases.cases, test_subjects=reserved, seed=seed)
    survey = survey_cases([*split.training, *split.validation], cases.structures)
    rate = _pixels_in_a_second(computer or find_computer())
    slices = round(survey.slices * len(split.training))
    grid = _choose_grid(survey, _wanted_pixels(time, rate, slices))
    preprocess = change_settings(time, {grid.name: grid.value}).preprocess
    network, batch = _choose_network(survey, preprocess)
    frame = _frame(survey, preprocess, stride_of(network))
    validation = _tell_validation(split, cases)
    planned = [grid, _tell_time(time, rate, slices, frame), _tell_batch(batch, frame)]
    planned += [_tell_levels(network, frame), *_choose_rotation(survey), *_suggest_crop(survey, preprocess)]
    values = {"seed": seed} | {choice.name: choice.value for choice in planned}
    return Plan(change_settings(time, values), subjects_of(split.validation), (validation, *planned))


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


def _tell_validation(split: Split, cases: CaseFolder) -> Choice:
    chosen = subjects_of(split.validation)
    rest = [case for case in cases.cases if case not in split.test]
    if not chosen:
        return Choice("validation_subjects", (), split.note)
    names = number_subjects(cases.cases)
    who = f" ({_listed([names[s] for s in chosen])})" if len(chosen) <= 6 else ""
    words = [f"{len(chosen)} of {len(subjects_of(rest))} patients{who}, never trained on."]
    if split.note:
        words.append(split.note)
    else:
        words.append("Training still sees every structure, and each has a score.")
        lacking = {
            names[subject]: [s.name for s in cases.structures if not _is_drawn_on(rest, subject, s.label)]
            for subject in subjects_of(rest)
        }
        for name, missing in [(name, missing) for name, missing in lacking.items() if missing][:1]:
            words.append(f"Not {name}: {_listed(missing)} was not drawn there and would have no score.")
    return Choice("validation_subjects", chosen, " ".join(words))


def _is_drawn_on(cases: Sequence[Case], subject: str, label: int) -> bool:
    return any(case.subject_id == subject and is_drawn(case, label) for case in cases)


# --- how fine


def _pixels_in_a_second(computer: Computer) -> float:
    if computer.device in GPU_RATE:
        return GPU_RATE[computer.device]
    return CORE_RATE.get(computer.precision, CORE_RATE["float32"]) * computer.cores**CORE_POWER


def _wanted_pixels(time: Settings, rate: float, slices: int) -> float:
    """Give how many pixels an image may have for the time to suffice."""
    views = ENOUGH_VIEWS if time.epochs is None else time.epochs * max(1, slices)
    return rate * 60 * (time.minutes or LONGEST_MINUTES) / views


def _choose_grid(survey: Survey, wanted: float) -> Choice:
    """Choose the pixel size: fine enough for the smallest structure, no finer than time allows or images have."""
    own = float(np.median(survey.pixels_mm))
    rows, columns = (max(size[axis] for size in survey.sizes_mm) for axis in (0, 1))
    smallest = min(survey.widths, key=lambda name: survey.widths[name], default="")
    limits = {
        "No coarser, because there is time enough for these.": math.sqrt(rows * columns / wanted),
        "Coarser pixels would be faster, but lose it.": survey.widths.get(smallest, math.inf) / PIXELS_ACROSS,
        "No coarser, because areas are measured on the images' own pixels.": MOST_COARSER * own,
    }
    limit = min(limits, key=lambda words: limits[words])
    pixel = _snapped(max(own, limits[limit]), max(rows, columns), own)
    is_own = pixel <= 1.001 * own
    seen, full = (f"{math.ceil(rows / size - 0.01)} × {math.ceil(columns / size - 0.01)}" for size in (pixel, own))
    if is_own:
        why = f"The images' own pixel size: the network sees {seen} pixels."
    else:
        slower = f"{(pixel / own) ** 2:.1f} times slower"
        why = f"The network sees {seen} pixels; the images' own {full} would be {slower}."
    if smallest:
        width = survey.widths[smallest]
        long = f"{width:.1f} mm wide, so " if survey.has_millimetres else ""
        why += (
            f" The smallest structure, {smallest}, is about {long}{width / pixel:.1f} pixels{' wide' * (not long)}."
        )
    why += "" if is_own else f" {limit}"
    if survey.has_millimetres:
        return Choice("preprocess.spacing_mm", pixel, why)
    shape = tuple(max(32, round(float(n) / pixel)) for n in np.median(survey.sizes_mm, axis=0))
    return Choice("preprocess.input_shape", shape, "The images have no millimetres. " + why)


def _snapped(pixel: float, widest: float, own: float) -> float:
    """Make the widest image fill a frame that a network with its levels takes, for what is padded is wasted."""
    if pixel <= own:
        return round(own, 4)
    count = widest / pixel
    step = 32 if count >= 80 else 16 if count >= 40 else 8
    frame = max(32, round(count / step) * step)
    return max(round(own, 4), math.ceil(widest / frame * 20) / 20)


# --- network and batch


def _frame(survey: Survey, preprocess: PreprocessSettings, stride: int) -> tuple[int, int]:
    return frame_size([extent_of(image, preprocess) for image in survey.images], stride)


def _choose_network(survey: Survey, preprocess: PreprocessSettings) -> tuple[NetworkSettings, int]:
    shorter = min(_frame(survey, preprocess, 1))
    filters = standardised(NetworkSettings()).filters or ()
    levels = max([n for n in range(3, len(filters) + 1) if shorter / 2 ** (n - 1) >= SMALLEST_MAP - 0.5] or [3])
    area = math.prod(_frame(survey, preprocess, 2 ** (levels - 1)))
    return NetworkSettings(filters=filters[:levels]), 32 if area <= 64**2 else 16 if area <= 96**2 else 8


def _tell_time(time: Settings, rate: float, slices: int, frame: tuple[int, int]) -> Choice:
    speed = rate / math.prod(frame)
    if time.epochs is not None:
        about = time.epochs * slices / speed / 60
        return Choice(
            "epochs", time.epochs, f"As you chose; about {max(1, round(about))} minutes here, by estimate."
        )
    minutes = time.minutes or DEFAULT_MINUTES
    times = speed * 60 * minutes / max(1, slices)
    shown = max(1, round(times, -1 if times > 20 else 0))
    why = f"By estimate, each of about {slices} slices is seen about {shown:.0f} times."
    enough = ENOUGH_VIEWS / speed / 60
    if enough > 1.5 * minutes:
        why += f" More time may help: about {math.ceil(enough)} minutes."
    return Choice("minutes", minutes, why)


def _tell_batch(batch: int, frame: tuple[int, int]) -> Choice:
    shown = f"{frame[0]} × {frame[1]}"
    why = f"Images are small for the network ({shown} pixels), so that more at once are faster."
    return Choice("batch_size", batch, why if batch > 8 else f"The usual number for images of {shown} pixels.")


def _tell_levels(network: NetworkSettings, frame: tuple[int, int]) -> Choice:
    levels = len(network.filters or ())
    why = f"{levels} levels: halved {levels - 1} times, {frame[0]} × {frame[1]} pixels become "
    why += f"{frame[0] >> (levels - 1)} × {frame[1] >> (levels - 1)}, which see the whole image."
    return Choice("network.filters", network.filters, why)


# --- how images are varied, and cropped


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
