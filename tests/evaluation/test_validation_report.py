"""Appraising a training: the validation cases scored as they are, the worst first, and what one must know."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.evaluation import validation_report as appraisal
from autoseg.evaluation.advice import advise
from autoseg.evaluation.validation_report import appraisal_table, appraise, errors_table, rank_worst
from autoseg.image.image import LabelMap, SliceSource
from autoseg.image.structures import Structure
from autoseg.measurement.scores import score_slices
from autoseg.measurement.summary import summarise
from autoseg.model.model import TrainedModel
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import PreprocessSettings, Settings
from autoseg.model.trust import Calibration, Errors, How, Trust
from autoseg.training.training import train

MODEL = TrainedModel("discs", Settings(preprocess=PreprocessSettings(spacing_mm=3.0)), STRUCTURES, ("image",), {})
SPLIT = make_split([0, 1, 2], [3, 4, 5])


def drawn(image):
    return make_pair(int(image.source.case_id.removeprefix("case")))[1]


@pytest.fixture
def answers(monkeypatch):
    """Let the model answer what `answers["how"]` makes of the drawing."""
    patch_reading(monkeypatch)
    how = {"how": lambda voxels, case: voxels}

    def answer(model, image, on_slices=None):
        labels = drawn(image)
        voxels = how["how"](labels.voxels.copy(), image.source.case_id)
        for done in range(1, image.shape[0] + 1):
            on_slices(done, image.shape[0])
        return replace(labels, voxels=voxels)

    monkeypatch.setattr(appraisal, "predict", answer)
    return how


def test_every_validation_slice_is_scored_as_the_summary_says(answers):
    def shifted(voxels, case):
        return np.roll(voxels, 3, axis=2)

    answers["how"] = shifted
    found = appraise(MODEL, SPLIT)
    pairs = [
        (label_map, replace(label_map, voxels=shifted(label_map.voxels, ""))) for label_map in map(of, (3, 4, 5))
    ]
    expected = [score for pair in pairs for score in score_slices(*pair)]
    assert found.scores == tuple(expected)
    assert found.summary.equals(summarise(expected))
    assert found.subjects == ("subject3", "subject4", "subject5")
    assert {one.case_id for one in found.volumes} == {"case3", "case4", "case5"}


def of(number):
    return make_pair(number)[1]


def test_three_subjects_have_an_interval_and_two_have_not(answers):
    three, two = appraise(MODEL, SPLIT), appraise(MODEL, make_split([0], [3, 4]))
    assert not three.summary["dice_low"].isna().any()
    assert two.summary["dice_low"].isna().all()
    assert len(three.notes) == 1
    assert "a little kind" in three.notes[0]
    assert "the epoch was chosen on these same patients" in three.notes[0]
    assert "2 validation patients there is no 95 % interval; 3 are needed" in two.notes[1]
    assert "With 1 validation patient there is no" in appraise(MODEL, make_split([0], [3])).notes[1]
    assert appraisal_table(three)["Dice [95 %]"].tolist() == ["1.00 [1.00 to 1.00]"] * 2
    assert appraisal_table(two)["Dice [95 %]"].tolist() == ["1.00", "1.00"]


def test_where_the_last_epoch_is_kept_nobody_chose_it(answers):
    last = replace(MODEL, settings=replace(MODEL.settings, best_by="last"))
    assert (
        appraise(last, SPLIT).notes[0].startswith("Nothing of the model was chosen on these patients. What a new")
    )
    offset = replace(last, offsets=(0.1,) * len(MODEL.structures))
    assert "the offsets of areas were chosen on these same patients" in appraise(offset, SPLIT).notes[0]


def test_a_post_processing_chosen_on_them_is_told_too(answers):
    chosen = replace(MODEL, postprocess=(StructurePostprocess(fill_holes=True),))
    assert "the epoch and the post-processing were chosen" in appraise(chosen, SPLIT).notes[0]


def test_missed_and_invented_come_first_then_the_lowest_dice(answers):
    def bad(voxels, case):
        if case == "case3":
            voxels[0][voxels[0] == 1] = 0  # the core is missed on its first slice
        elif case == "case4":
            voxels[1] = np.roll(voxels[1], 8, axis=1)
        return voxels

    answers["how"] = bad
    found = appraise(MODEL, SPLIT, worst=4)
    first, *others = found.worst
    assert (first.score.case_id, first.score.name, first.score.predicted_pixels) == ("case3", "core", 0)
    assert first.number == 1
    assert [one.score.case_id for one in others[:2]] == ["case4", "case4"]
    assert others[0].score.dice < others[1].score.dice < 1
    assert len(found.worst) == 4
    assert [one.score for one in found.worst] == rank_worst(found.scores)[:4]


def test_of_those_missed_the_largest_comes_first():
    structures = (Structure(1, "disc"),)

    def one(reference, predicted):
        maps = [
            LabelMap(np.array([[[1] * n + [0] * (30 - n)]]), structures=structures) for n in (reference, predicted)
        ]
        return score_slices(*maps)[0]

    small, large, invented, poor = one(3, 0), one(20, 0), one(0, 9), one(10, 1)
    assert rank_worst([poor, small, invented, large]) == [large, invented, small, poor]


def test_the_slice_that_is_kept_is_the_one_that_was_scored(answers):
    answers["how"] = lambda voxels, case: np.roll(voxels, 5, axis=2)
    for one in appraise(MODEL, SPLIT).worst:
        assert one.image.shape[0] == 1
        assert one.reference.same_grid(one.predicted)
        assert one.reference.same_grid(one.image)
        (again,) = [s for s in score_slices(one.reference, one.predicted) if s.label == one.score.label]
        assert replace(again, slice_index=one.score.slice_index) == one.score


def test_what_was_not_drawn_is_never_among_the_worst(monkeypatch, answers):
    patch_reading(monkeypatch, annotated=frozenset({1}))
    found = appraise(MODEL, SPLIT)  # predicts rings, which nobody drew
    assert {one.score.name for one in found.worst} == {"core"}
    assert found.summary["name"].tolist() == ["core"]
    assert "Nothing is known of ring" in found.notes[1]
    assert appraisal_table(found)["Dice [95 %]"].tolist()[1] == "–"
    assert [one.slices for one in found.drawn] == [6, 0]


def test_what_training_had_is_counted_by_slices_and_people(monkeypatch, answers):
    real = make_pair

    def half(case, structures):
        image, labels = real(int(case.case_id.removeprefix("case")))
        voxels = labels.voxels.copy()
        if case.case_id == "case0":
            voxels[0][voxels[0] == 1] = 5
            voxels[1] = 0
        return image, replace(labels, voxels=voxels)

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", half)
    core, ring = appraise(MODEL, SPLIT).drawn
    assert (core.subjects, core.slices, core.shown) == (2, 6, 4)
    assert (ring.subjects, ring.slices, ring.shown) == (3, 6, 5)


def test_progress_rises_to_the_end(answers):
    shares = []
    appraise(MODEL, SPLIT, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) > 6


def test_without_validation_subjects_nothing_is_claimed(answers):
    found = appraise(MODEL, make_split([0, 1]))
    assert (found.scores, found.worst, found.subjects) == ((), (), ())
    assert found.summary.empty
    assert found.notes == ("There are no validation patients, so nothing was scored.",)
    assert appraisal_table(found)["Dice [95 %]"].tolist() == ["–", "–"]
    assert repr(found) == "Appraisal(0 validation patients; Dice nothing scored)"


def test_the_table_names_its_units_and_has_true_minus_signs(answers):
    answers["how"] = lambda voxels, case: np.where(voxels == 1, 5, voxels)  # every core is called ring
    table = appraisal_table(appraise(MODEL, SPLIT))
    core = table.iloc[0]
    assert core["Area error of a slice, % [95 %]"] == "−100.0 [−100.0 to −100.0]"
    assert core["Area bias, mm² [limits of agreement]"].startswith("−")
    assert core["Slices missed"] == "6"
    assert core["Learnt from slices (patients)"] == "6 (3)"
    assert "mm²" in table.columns[4]
    assert "subject3" not in table.to_string() + repr(appraise(MODEL, SPLIT))


def test_images_without_millimetres_are_told(monkeypatch, answers):
    def bare(case, structures):
        image, labels = make_pair(int(case.case_id.removeprefix("case")))
        return replace(image, affine=None), replace(labels, affine=None)

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", bare)
    monkeypatch.setattr(appraisal, "predict", lambda model, image, on_slices: replace(drawn(image), affine=None))
    found = appraise(MODEL, SPLIT)
    assert "no pixel size" in found.notes[1]
    assert appraisal_table(found)["Area bias, mm² [limits of agreement]"].tolist() == ["–", "–"]


def test_one_slice_stays_in_its_place():
    image, labels = make_pair(1)
    source = replace(image.source, slices=tuple(SliceSource(Path(f"{n}.dcm")) for n in range(2)))
    image = replace(image, source=source)
    second = image.one_slice(1)
    assert np.array_equal(second.voxels[0], image.voxels[1])
    assert second.slice_positions_mm[0] == image.slice_positions_mm[1]
    assert second.source.slices == source.slices[1:]
    stacked = replace(image, voxels=np.stack([image.voxels] * 2), channels=("a", "b"))
    assert stacked.one_slice(0).channel_voxels.shape == (2, 1, 64, 64)
    assert labels.one_slice(1).structures == STRUCTURES


def test_a_real_training_that_hardly_began_is_called_so(monkeypatch):
    patch_reading(monkeypatch)
    split = make_split(range(4), range(4, 6))
    model = train(split, quick_settings(epochs=2), structures=STRUCTURES)
    found = appraise(model, split)
    assert found.summary["dice"].max() < 0.8
    first, second = advise(model, found)
    assert "in 2 epochs the network took 4 steps" in first.words
    assert "It learnt from 4 people only" in second.words


def calibrated(patients, how=How.FOLDS):
    """A model whose every patient is off by a tenth of the area, but for one structure nobody showed."""
    scores = tuple((-1.0,) if number % 2 else (1.0,) for number in range(patients))
    errors = tuple(Errors("core", quantity, 0.0, 0.1, 0.0, scores) for quantity in ("found", "mean", "volume"))
    coverage = (0.95, None)
    known = Calibration(
        how.value, "2026-05-02T10:00:00+00:00", patients, "mm²", ("core", "ring"), errors, 0.9, coverage
    )
    return replace(MODEL, trust=Trust(calibration=known))


def test_how_far_areas_can_be_off_is_a_table_at_usual_sizes(answers):
    found = appraise(MODEL, SPLIT)
    assert errors_table(MODEL, found).empty
    core, ring = errors_table(calibrated(10), found).to_dict("records")
    assert core["Structure"] == "core"
    for words in ("Area of a slice, %", "Mean area of a patient, %", "Volume of a patient, %"):
        assert core[words] == "−10 to +10 (typically 10.0)"
        assert ring[words] == "–"
    assert (core["Intervals of slices that held, %"], ring["Intervals of slices that held, %"]) == ("95", "–")
    few, _ = errors_table(calibrated(4, How.VALIDATION), found).to_dict("records")
    assert few["Area of a slice, %"] == "typically 10.0"
    assert errors_table(calibrated(10), replace(found, scores=())).empty
