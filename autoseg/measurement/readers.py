"""Is a model as good as a second reader: its differences from readers beside theirs from each other, by patient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from autoseg.errors import DataError
from autoseg.image.image import LabelMap
from autoseg.measurement.scores import touches_edge
from autoseg.measurement.statistics import (
    bland_altman,
    equivalence,
    icc_agreement,
    icc_interval,
    mean_of_known,
    minimal_detectable_change,
    ratio_interval,
)
from autoseg.words import counted, listed

# What a model is called among the readers; no reader in a file's name is called so.
MODEL = "model"
# With fewer patients the interval of the ratio is wrong more often than it may be (4 patients: in 7 to 11 %).
FEWEST_PATIENTS = 5
# A model differs "no more" from readers than they do from each other if it is surely less than a quarter more.
TOLERANCE = 1.25
Pair = tuple[str, str]


@dataclass(frozen=True)
class Reading:
    """One structure on one slice, by several readers and, where it is asked about, the model.

    `pixels` are of each who drew the structure on this image, 0 where it was looked for and not found; `overlaps`
    of each pair of them. `pixel_mm2` is None without calibration.
    """

    case_id: str
    subject_id: str
    slice: int
    label: int
    name: str
    pixel_mm2: float | None
    pixels: Mapping[str, int]
    overlaps: Mapping[Pair, int]

    @property
    def readers(self) -> tuple[str, ...]:
        """The people who drew it."""
        return tuple(name for name in self.pixels if name != MODEL)


def compare_labels(label_maps: Mapping[str, LabelMap]) -> list[Reading]:
    """Put side by side what readers drew, and what the model found under the name MODEL, on one image.

    Structures that fewer than two readers drew are left out, and slices on which nobody has the structure, or the
    image may cut off somebody's. The first of the label maps says whose image it is.
    """
    first = next(iter(label_maps.values()))
    if other := next((one for one in label_maps.values() if not one.same_grid(first)), None):
        raise DataError(f"{first.source.name}: {other!r} lies on another grid than {first!r}.")
    readings = []
    for structure in first.structures:
        drawn = {who: one for who, one in label_maps.items() if one.is_annotated(structure.label)}
        if len(set(drawn) - {MODEL}) < 2:
            continue
        masks = {who: one.mask(structure.label) for who, one in drawn.items()}
        pixels = {who: mask.sum(axis=(1, 2)) for who, mask in masks.items()}
        overlaps = {(a, b): (masks[a] & masks[b]).sum(axis=(1, 2)) for a, b in combinations(masks, 2)}
        readings += [
            Reading(
                case_id=first.source.case_id,
                subject_id=first.source.subject_id,
                slice=first.slice_number(int(index)),
                label=structure.label,
                name=structure.name,
                pixel_mm2=None if first.affine is None else first.pixel_mm2,
                pixels={who: int(counts[index]) for who, counts in pixels.items()},
                overlaps={pair: int(counts[index]) for pair, counts in overlaps.items()},
            )
            for index in np.flatnonzero(np.any(list(pixels.values()), axis=0))
            if not any(touches_edge(mask[index]) for mask in masks.values())
        ]
    return readings


@dataclass(frozen=True)
class PairAgreement:
    """How two readers, or a reader and the model, agree on one structure; differences are second - first.

    - dice: mean over patients, pooled over each one's slices
    - bias and limits of agreement of a patient's mean area (`low`, `high`), and of the area on one slice
      (`slice_low`, `slice_high`): 95 %, `bland_altman`, slices with their patients
    - difference: root of the mean square, over each patient's slices and then over patients
    - detectable: `minimal_detectable_change` of the area on a slice, had the two read one after the other
    - icc: ICC(2,1) of patients' mean areas, two-way random, absolute agreement, with its 95 % interval

    Areas are in `unit`: mm², or pixels where a slice has no calibration. NaN where too few patients tell it.
    """

    label: int
    name: str
    first: str
    second: str
    n_patients: int
    n_slices: int
    unit: str
    first_area: float
    second_area: float
    dice: float
    bias: float
    low: float
    high: float
    slice_low: float
    slice_high: float
    difference: float
    detectable: float
    icc: float
    icc_low: float
    icc_high: float


def agree(readings: Sequence[Reading]) -> list[PairAgreement]:
    """Give how every pair agrees on each structure: first the model with each reader, then the readers."""
    found = []
    for own in _by_structure(readings):
        people = list(dict.fromkeys(who for one in own for who in one.readers))
        pairs = [(who, MODEL) for who in people] + list(combinations(people, 2))
        found += [_agree(own, pair) for pair in pairs if any(set(pair) <= set(one.pixels) for one in own)]
    return found


def agreement_table(pairs: Sequence[PairAgreement]) -> pd.DataFrame:
    """Give a row a pair, columns named like the fields."""
    columns = [field.name for field in fields(PairAgreement)]
    return pd.DataFrame([[getattr(pair, name) for name in columns] for pair in pairs], columns=columns)


def short_table(pairs: Sequence[PairAgreement]) -> pd.DataFrame:
    """Give what fits on a screen, as text; limits and the detectable change are of the area on a slice."""
    rows = []
    for pair in pairs:
        rows.append(
            {
                "structure": pair.name,
                "pair": f"{pair.first}, {pair.second}",
                "patients": str(pair.n_patients),
                "slices": str(pair.n_slices),
                "Dice": _told(pair.dice, 3),
                f"bias {pair.unit}": _told(pair.bias, 1),
                "limits of agreement": _span(pair.slice_low, pair.slice_high, 1),
                "limits of a patient's mean": _span(pair.low, pair.high, 1),
                "detectable change": _told(pair.detectable, 1),
                "ICC(2,1)": _told(pair.icc, 3),
                "95 %": _span(pair.icc_low, pair.icc_high, 3),
            }
        )
    return pd.DataFrame(rows).fillna("")


def readings_table(readings: Sequence[Reading]) -> pd.DataFrame:
    """Give a row a structure on a slice, with the area of each reader in mm², or in pixels without calibration."""
    who = list(dict.fromkeys(name for one in readings for name in one.pixels))
    rows = []
    for one in readings:
        unit = _unit([one])
        areas = [one.pixels[name] * _size(one, unit) if name in one.pixels else math.nan for name in who]
        rows.append([one.subject_id, one.case_id, one.slice, one.label, one.name, unit, *areas])
    return pd.DataFrame(rows, columns=["subject_id", "case_id", "slice", "label", "name", "unit", *who])


# --- the answer


Answer = Literal["as good", "worse", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """Whether the model can stand for a second reader of one structure.

    - model_difference, readers_difference: root mean square difference of areas on a slice between model and
      readers, and between readers; each patient counts once
    - ratio: the first over the second, with its 90 % interval (`ratio_interval`)
    - bias: mean over patients of the model's mean area less the readers', with its 90 % interval; margin: what it
      was tested against by TOST, and `p`
    - answer: "as good" if the ratio is surely below TOLERANCE and the bias surely within the margin, each with an
      error of 5 %; "worse" if the ratio is surely above 1 or the bias beyond the margin; otherwise "unknown"

    `sentence` says it for people. Areas are in `unit`.
    """

    label: int
    name: str
    n_patients: int
    n_slices: int
    unit: str
    model_difference: float
    readers_difference: float
    ratio: float
    ratio_low: float
    ratio_high: float
    bias: float
    bias_low: float
    bias_high: float
    margin: float
    p: float
    answer: Answer
    sentence: str


@dataclass(frozen=True)
class Margin:
    """How far areas may be off on average and still count as equal: in mm² (pixels without calibration) or percent.

    Examples
    --------
    >>> Margin.read("5 %"), Margin.read("40.5"), Margin.read("")
    (Margin(value=5.0, is_percent=True), Margin(value=40.5, is_percent=False), None)
    """

    value: float
    is_percent: bool = False

    @classmethod
    def read(cls, words: str) -> Margin | None:
        """Read what a person typed: "40", "40 mm²" or "5 %"; None: the readers' own limits of agreement."""
        tidy = words.replace("mm²", "").replace("mm2", "").strip()
        if not tidy:
            return None
        try:
            value = float(tidy.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise DataError(
                f"The margin {words.strip()!r} is not understood. Type mm² (40) or percent (5%), above 0."
            )
        return cls(value, tidy.endswith("%"))


def judge_model(
    readings: Sequence[Reading], *, margin: Margin | None = None, one_reader: bool = False
) -> list[Verdict]:
    """Answer for each structure whether the model differs from readers by no more than they from each other.

    Only slices on which the model was asked count. Without a `margin` it is the half-width of the readers' own 95 %
    limits of agreement of a patient's mean area (over several pairs the root mean square of theirs).
    With `one_reader` the readings are of one person who read twice.
    """
    own = [one for one in readings if MODEL in one.pixels]
    return [_judge(group, margin, one_reader) for group in _by_structure(own)]


def verdicts_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Give a row a structure, columns named like the fields."""
    columns = [field.name for field in fields(Verdict)]
    return pd.DataFrame([[getattr(one, name) for name in columns] for one in verdicts], columns=columns)


def _judge(readings: Sequence[Reading], margin: Margin | None, one_reader: bool) -> Verdict:
    unit = _unit(readings)
    of_model, of_readers, biases, areas = [], [], [], []
    for own in _by_subject(readings):
        model, people, bias, area = [], [], [], []
        for one in own:
            size = _size(one, unit)
            found, drawn = size * one.pixels[MODEL], [size * one.pixels[who] for who in one.readers]
            model.append(np.mean([(found - value) ** 2 for value in drawn]))
            people.append(np.mean([(a - b) ** 2 for a, b in combinations(drawn, 2)]))
            bias.append(found - np.mean(drawn))
            area.append(np.mean(drawn))
        of_model.append(np.mean(model))
        of_readers.append(np.mean(people))
        biases.append(np.mean(bias))
        areas.append(np.mean(area))
    squares = ratio_interval(of_model, of_readers)
    ratio, low, high = (math.sqrt(value) for value in squares)
    tested = equivalence(biases, margin=_margin(readings, margin, float(np.mean(areas))))
    answer = _answer(len(areas), (low, high), (tested.low, tested.high, tested.margin), tested.p)
    names = list(dict.fromkeys(who for one in readings for who in one.readers))
    verdict = Verdict(
        label=readings[0].label,
        name=readings[0].name,
        n_patients=len(areas),
        n_slices=len(readings),
        unit=unit,
        model_difference=math.sqrt(float(np.mean(of_model))),
        readers_difference=math.sqrt(float(np.mean(of_readers))),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        bias=tested.mean,
        bias_low=tested.low,
        bias_high=tested.high,
        margin=tested.margin,
        p=tested.p,
        answer=answer,
        sentence="",
    )
    return Verdict(**{**vars(verdict), "sentence": _sentence(verdict, names, one_reader)})


def _answer(n: int, ratio: tuple[float, float], bias: tuple[float, float, float], p: float) -> Answer:
    low, high, margin = bias
    if n < FEWEST_PATIENTS or math.isnan(ratio[1]):
        return "unknown"
    if ratio[0] > 1 or low > margin or high < -margin:
        return "worse"
    return "as good" if ratio[1] < TOLERANCE and p < 0.05 else "unknown"


def _sentence(verdict: Verdict, names: Sequence[str], one_reader: bool) -> str:
    """Say what is known, in a plain sentence with its numbers."""
    unit, margin = verdict.unit, f"± {_number(verdict.margin)} {verdict.unit}"
    readers = "the reader" if one_reader else f"readers {listed(names)}"
    each = "two readings of the reader differ" if one_reader else "they differ from each other"
    patients = counted(verdict.n_patients, "patient")
    mine, theirs = _number(verdict.model_difference), _number(verdict.readers_difference)
    numbers = f"{mine} {unit} on a slice beside {theirs} {unit} ({patients}, {counted(verdict.n_slices, 'slice')}"
    if not math.isnan(verdict.ratio_high):
        ends = f"{verdict.ratio_low:.2f} to {verdict.ratio_high:.2f}"
        numbers += f"; {verdict.ratio:.2f} times as much, 90 % interval {ends}"
    numbers += ")"
    larger = "larger" if verdict.bias > 0 else "smaller"
    bias = f"On average its areas are {_number(abs(verdict.bias))} {unit} {larger}"
    model = f"{verdict.name}: The model differs from {readers}"
    if verdict.answer == "as good":
        p = "p < 0.001" if verdict.p < 0.001 else f"p = {verdict.p:.3f}"
        return f"{model} by no more than {each}: {numbers}. {bias}, within {margin} (TOST, {p})."
    if verdict.answer == "worse" and verdict.ratio_low > 1:
        return f"{model} by more than {each}: {numbers}. {bias}."
    if verdict.answer == "worse":
        return f"{model} on average by more than the margin of {margin}. {bias}; differences: {numbers}."
    if verdict.n_patients < FEWEST_PATIENTS:
        why = f"At least {FEWEST_PATIENTS} patients are needed."
    elif math.isnan(verdict.ratio_high):
        why = "Only one patient shows a difference, or none does."
    elif verdict.ratio_high < TOLERANCE:
        why = f"{bias}, and more than {margin} is not ruled out."
    else:
        why = f"More patients would tell it: the interval has to end below {TOLERANCE:g}, or begin above 1."
    return (
        f"{verdict.name}: Whether the model differs from {readers} by no more than {each} cannot be told from "
        f"{patients}: {numbers}. {why}"
    )


def _margin(readings: Sequence[Reading], typed: Margin | None, area: float) -> float:
    """Give the margin in the unit of areas."""
    if typed is not None:
        return area * typed.value / 100 if typed.is_percent else typed.value
    people = dict.fromkeys(who for one in readings for who in one.readers)
    pairs = [pair for pair in combinations(people, 2) if any(set(pair) <= set(one.pixels) for one in readings)]
    halves = [(found.high - found.low) / 2 for found in (_agree(readings, pair) for pair in pairs)]
    return math.sqrt(mean_of_known(half**2 for half in halves))


def _agree(readings: Sequence[Reading], pair: Pair) -> PairAgreement:
    first, second = pair
    own = [one for one in readings if set(pair) <= set(one.pixels)]
    unit = _unit(own)
    areas = np.array([[one.pixels[who] * _size(one, unit) for who in pair] for one in own])
    owners = [one.subject_id for one in own]
    groups = [np.flatnonzero(np.array(owners) == who) for who in dict.fromkeys(owners)]
    means = np.array([areas[group].mean(axis=0) for group in groups])
    differences = areas[:, 1] - areas[:, 0]
    square = float(np.mean([(differences[group] ** 2).mean() for group in groups]))
    whole = bland_altman(means[:, 0], means[:, 1])
    slices = bland_altman(areas[:, 0], areas[:, 1], subjects=owners)
    # The middle of both limits is the mean over patients: one with many slices does not count for more.
    half = (slices.upper - slices.lower) / 2
    low, high = icc_interval(means)
    return PairAgreement(
        label=own[0].label,
        name=own[0].name,
        first=first,
        second=second,
        n_patients=len(groups),
        n_slices=len(own),
        unit=unit,
        first_area=float(means[:, 0].mean()),
        second_area=float(means[:, 1].mean()),
        dice=mean_of_known(_dice([own[place] for place in group], pair) for group in groups),
        bias=whole.bias,
        low=whole.lower,
        high=whole.upper,
        slice_low=whole.bias - half,
        slice_high=whole.bias + half,
        difference=math.sqrt(square),
        detectable=minimal_detectable_change(square),
        icc=icc_agreement(means),
        icc_low=low,
        icc_high=high,
    )


def _dice(readings: Sequence[Reading], pair: Pair) -> float:
    both = sum(one.overlaps.get(pair, one.overlaps.get(pair[::-1], 0)) for one in readings)
    whole = sum(one.pixels[who] for one in readings for who in pair)
    return 2 * both / whole if whole else math.nan


def _by_structure(readings: Sequence[Reading]) -> list[list[Reading]]:
    groups: dict[tuple[int, str], list[Reading]] = {}
    for one in readings:
        groups.setdefault((one.label, one.name), []).append(one)
    return [groups[key] for key in sorted(groups)]


def _by_subject(readings: Sequence[Reading]) -> list[list[Reading]]:
    groups: dict[str, list[Reading]] = {}
    for one in readings:
        groups.setdefault(one.subject_id, []).append(one)
    return list(groups.values())


def _unit(readings: Sequence[Reading]) -> str:
    return "pixels" if any(one.pixel_mm2 is None for one in readings) else "mm²"


def _size(one: Reading, unit: str) -> float:
    return one.pixel_mm2 if unit != "pixels" and one.pixel_mm2 is not None else 1.0


def _number(value: float) -> str:
    """Give three digits at least, and no more behind the point than that."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _told(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")


def _span(low: float, high: float, digits: int) -> str:
    return "–" if math.isnan(low) or math.isnan(high) else f"{_told(low, digits)} to {_told(high, digits)}"
