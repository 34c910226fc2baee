"""A model beside readers: pairs by hand, and answers where the truth is known."""

import math

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.readers import (
    FEWEST_PATIENTS,
    MODEL,
    Margin,
    Reading,
    agree,
    agreement_table,
    compare_labels,
    judge_model,
    readings_table,
    short_table,
    verdicts_table,
)
from autoseg.measurement.statistics import bland_altman, icc_agreement

CORD, GREY = Structure(1, "cord", includes=(2,)), Structure(2, "grey matter")


def label_map(rows, *, annotated=None, spacing=(3, 0.5, 2)):
    """Slices of one row each, with background around it; pixels of 1 mm²."""
    affine = None if spacing is None else affine_from_spacing(spacing)
    return LabelMap(
        np.pad(np.array(rows, np.uint8)[:, None], ((0, 0), (1, 1), (1, 1))),
        affine,
        (CORD, GREY),
        annotated,
        Source("case", "p1"),
    )


def reading(subject, *, pixel_mm2=2.0, slice=1, **pixels):
    return Reading(f"case {subject}", subject, slice, 1, "cord", pixel_mm2, pixels, {})


def cohort(patients, *, model_sd, reader_sd=1.0, model_bias=0.0, slices=4, seed=0, size=1.0):
    """Readings of two readers and a model with independent errors about a patient's true area."""
    rng, found = np.random.default_rng(seed), []
    for patient in range(patients):
        whole = rng.uniform(300, 500)
        own = {"r1": reader_sd, "r2": reader_sd, MODEL: model_sd}
        usual = {who: rng.normal(0, 10 * sd) for who, sd in own.items()}
        for place in range(slices):
            area = {who: whole + usual[who] + rng.normal(0, 10 * sd) for who, sd in own.items()}
            area[MODEL] += model_bias
            found.append(reading(f"p{patient}", slice=place + 1, pixel_mm2=size, **area))
    return found


def test_labels_are_counted_by_reader_and_pair():
    first = label_map([[1, 1, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    second = label_map([[0, 1, 2, 2, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    cords = [one for one in compare_labels({"r1": first, "r2": second}) if one.name == "cord"]
    assert [(one.slice, dict(one.pixels), dict(one.overlaps)) for one in cords] == [
        (1, {"r1": 3, "r2": 3}, {("r1", "r2"): 2}),  # the grey matter within counts
        (3, {"r1": 1, "r2": 0}, {("r1", "r2"): 0}),
    ]
    (pair,) = [pair for pair in agree(cords) if pair.name == "cord"]
    assert pair.dice == pytest.approx(4 / 7)
    assert cords[0].pixel_mm2 == pytest.approx(1.0)


def test_what_one_reader_did_not_draw_is_not_compared():
    first, second = label_map([[1, 2, 0]]), label_map([[1, 0, 0]], annotated={1})
    assert {one.name for one in compare_labels({"r1": first, "r2": second})} == {"cord"}
    # Nor is a structure that one reader and the model alone have.
    assert {one.name for one in compare_labels({"r1": first, "r2": second, MODEL: first})} == {"cord"}


def test_what_the_image_cuts_off_is_not_compared():
    whole, cut = np.zeros((2, 4, 6), np.uint8), np.zeros((2, 4, 6), np.uint8)
    whole[:, 1:3, 1:4] = cut[:, 1:3, 1:4] = 1
    cut[1, 1, 0] = 1
    affine, source = affine_from_spacing((3, 1, 1)), Source("case", "p1")
    first, second = (LabelMap(voxels, affine, (CORD, GREY), None, source) for voxels in (whole, cut))
    assert [one.slice for one in compare_labels({"r1": first, "r2": first, MODEL: second})] == [1]


def test_another_grid_is_refused():
    with pytest.raises(DataError, match="another grid"):
        compare_labels({"r1": label_map([[1, 0]]), "r2": label_map([[1, 0, 0]])})


def test_a_pair_by_patients():
    # Patient a: differences of 4 and 8 mm² (mean 6), b: 2, c: 4. Mean over patients 4, SD 2.
    found = agree(
        [
            reading("a", r1=10, r2=12),
            reading("a", r1=20, r2=24, slice=2),
            reading("b", r1=30, r2=31),
            reading("c", r1=40, r2=42),
        ]
    )
    (pair,) = found
    assert (pair.n_patients, pair.n_slices, pair.unit) == (3, 4, "mm²")
    assert (pair.bias, pair.low, pair.high) == pytest.approx((4, 4 - 3.92, 4 + 3.92))
    slices = bland_altman([20, 40, 60, 80], [24, 48, 62, 84], subjects=["a", "a", "b", "c"])
    assert pair.slice_high - pair.slice_low == pytest.approx(slices.upper - slices.lower)
    assert pair.slice_low + pair.slice_high == pytest.approx(8)  # about the mean over patients
    # Squares: a (16 + 64) / 2, b 4, c 16; their mean is 20.
    assert pair.difference == pytest.approx(math.sqrt(20))
    assert pair.detectable == pytest.approx(1.96 * math.sqrt(20))
    assert pair.icc == pytest.approx(icc_agreement([[30, 36], [60, 62], [80, 84]]))
    assert pair.icc_low < pair.icc < pair.icc_high


def test_without_calibration_areas_are_pixels():
    (pair,) = agree([reading("a", r1=10, r2=12), reading("b", r1=30, r2=31, pixel_mm2=None)])
    assert (pair.unit, pair.bias) == ("pixels", 1.5)


def test_the_model_comes_first_and_each_pair_has_the_slices_that_both_drew():
    pairs = agree([reading("a", r1=10, r2=12, **{MODEL: 11}), reading("b", r1=3, r3=4, **{MODEL: 5})])
    assert [(pair.first, pair.second, pair.n_patients) for pair in pairs] == [
        ("r1", MODEL, 2),
        ("r2", MODEL, 1),
        ("r3", MODEL, 1),
        ("r1", "r2", 1),
        ("r1", "r3", 1),
    ]
    assert [column for column in agreement_table(pairs).columns][:4] == ["label", "name", "first", "second"]
    assert short_table(pairs)["limits of agreement"].tolist()[1:] == ["–"] * 4
    table = readings_table([reading("a", r1=10, r2=12), reading("b", r1=3, r3=4, pixel_mm2=None)])
    assert table["unit"].tolist() == ["mm²", "pixels"]
    assert table["r1"].tolist() == [20, 3]
    assert table["r2"].isna().tolist() == [False, True]


class TestAnswer:
    def test_a_model_as_good_as_a_reader(self):
        (found,) = judge_model(cohort(60, model_sd=0.9))
        assert found.answer == "as good"
        assert (
            "The model differs from readers r1 and r2 by no more than they differ from each other" in found.sentence
        )
        assert "60 patients, 240 slices" in found.sentence
        assert found.ratio_low < found.ratio < found.ratio_high < 1.25

    def test_a_worse_model(self):
        (found,) = judge_model(cohort(20, model_sd=3))
        assert found.answer == "worse"
        assert "by more than they differ from each other" in found.sentence

    def test_few_patients_tell_nothing_however_well_they_agree(self):
        (found,) = judge_model(cohort(FEWEST_PATIENTS - 1, model_sd=0.1))
        assert found.answer == "unknown"
        assert f"cannot be told from {FEWEST_PATIENTS - 1} patients" in found.sentence

    def test_six_patients_rarely_tell(self):
        found = [judge_model(cohort(6, model_sd=1, slices=1, seed=seed))[0] for seed in range(12)]
        unknown = [one for one in found if one.answer == "unknown"]
        assert len(unknown) >= 6
        assert all("cannot be told from 6 patients" in one.sentence for one in unknown)
        assert all("More patients would tell it" in one.sentence for one in unknown)

    def test_many_slices_are_not_many_patients(self):
        (few,) = judge_model(cohort(6, model_sd=1, slices=2))
        (many,) = judge_model(cohort(6, model_sd=1, slices=200))
        # Of a hundred times as many patients the interval would be a tenth as wide.
        widths = [math.log(one.ratio_high / one.ratio_low) for one in (few, many)]
        assert widths[1] > 0.25 * widths[0]
        assert few.n_patients == many.n_patients == 6

    def test_a_bias_that_readers_do_not_have(self):
        # The readers scatter so much that the bias hides among their differences; the typed margin tells.
        group = cohort(40, model_sd=0.1, model_bias=6)
        assert judge_model(group)[0].answer == "as good"
        (found,) = judge_model(group, margin=Margin.read("2 mm²"))
        assert (found.answer, found.margin) == ("worse", 2)
        assert "more than the margin of ± 2.00 mm²" in found.sentence
        (close,) = judge_model(group, margin=Margin(found.bias + 0.1))
        assert close.answer == "unknown"
        assert "not ruled out" in close.sentence

    def test_a_margin_in_percent_is_of_the_readers_areas(self):
        group = cohort(20, model_sd=1, size=2.0)
        (found,) = judge_model(group, margin=Margin.read("5%"))
        means = pd.DataFrame(
            [{"who": one.subject_id, "area": one.pixels["r1"] + one.pixels["r2"]} for one in group]
        )
        assert found.margin == pytest.approx(0.05 * means.groupby("who")["area"].mean().mean())

    def test_the_margin_of_the_readers_is_their_half_limit(self):
        group = cohort(20, model_sd=1)
        readers = next(pair for pair in agree(group) if pair.second == "r2")
        assert judge_model(group)[0].margin == pytest.approx((readers.high - readers.low) / 2)

    def test_one_reader_who_read_twice(self):
        (found,) = judge_model(cohort(60, model_sd=0.9), one_reader=True)
        assert "differs from the reader by no more than two readings of the reader differ" in found.sentence

    def test_readers_who_never_differ_tell_nothing(self):
        (found,) = judge_model([reading(f"p{n}", r1=9, r2=9, **{MODEL: 10}) for n in range(8)])
        assert found.answer == "unknown"
        assert math.isnan(found.ratio)

    def test_three_readers_of_whom_not_all_read_all(self):
        group = cohort(40, model_sd=0.9)
        third = [reading(one.subject_id, slice=9, r2=400, r3=404, pixel_mm2=1.0, **{MODEL: 402}) for one in group]
        (found,) = judge_model(group + third)
        assert "readers r1, r2 and r3" in found.sentence
        assert found.n_patients == 40

    def test_without_a_model_there_is_no_answer(self):
        assert judge_model([reading("a", r1=1, r2=2)]) == []
        assert verdicts_table([]).columns[0] == "label"

    def test_each_structure_has_its_own(self):
        group = cohort(8, model_sd=1)
        other = [Reading(**{**vars(one), "label": 2, "name": "grey matter"}) for one in group]
        assert [one.name for one in judge_model(other + group)] == ["cord", "grey matter"]

    def test_how_often_it_is_wrong(self):
        # A model off by a quarter more than a reader is called as good in 5 % of cases, or with few patients in up
        # to 8 % (simulated); 2 x 1.25² - 1 is then the variance of its errors. The 90 % interval holds the ratio.
        drawn = [
            judge_model(cohort(12, model_sd=math.sqrt(2 * 1.25**2 - 1), slices=2, seed=seed))[0]
            for seed in range(80)
        ]
        assert sum(one.answer == "as good" for one in drawn) <= 10
        assert 64 <= sum(one.ratio_low < 1.25 < one.ratio_high for one in drawn) <= 79


@pytest.mark.parametrize("words", ["five", "-3", "0", "5 %%", "nan", "inf"])
def test_a_margin_that_is_none(words):
    with pytest.raises(DataError, match="margin"):
        Margin.read(words)
