"""Advice on made-up trainings: every cause is named where its numbers speak for it, and none where they do not."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.checks import Finding
from autoseg.evaluation.advice import ABOUT_LABELS, advice_text, advise, smooth
from autoseg.evaluation.validation_report import Drawn
from autoseg.image.structures import Structure
from autoseg.measurement.scores import Score, accuracy_ratios, overlap_ratios
from autoseg.measurement.summary import summarise
from autoseg.model.ended import Ended
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
)

HEART = (Structure(1, "cavity"), Structure(2, "wall"))
EPOCHS = 60


@dataclass(frozen=True)
class Seen:
    """What `advise` needs of an appraisal."""

    scores: tuple[Score, ...]
    drawn: tuple[Drawn, ...]
    structures: tuple[Structure, ...] = HEART

    @property
    def subjects(self):
        return tuple(dict.fromkeys(score.subject_id for score in self.scores))

    @property
    def summary(self):
        return summarise(self.scores)


def score(subject, index, structure, dice, *, pixels=2000, error_percent=0.0, of=65536):
    """Make the score of one slice with about this Dice and this error of the area; a pixel has 1 mm²."""
    predicted = round(pixels * (1 + error_percent / 100))
    both = min(round(dice * (pixels + predicted) / 2), pixels, predicted)
    return Score(
        case_id=f"{subject} {index}",
        subject_id=subject,
        slice_index=0,
        level="",
        label=structure.label,
        name=structure.name,
        **overlap_ratios(pixels, predicted, both),
        **accuracy_ratios(pixels, predicted, both, of),
        hd95_mm=1.0,
        nsd=1.0,
        nsd_tolerance_mm=1.0,
        mean_distance_mm=1.0,
        reference_pixels=pixels,
        predicted_pixels=predicted,
        overlap_pixels=both,
        slice_pixels=of,
        reference_mm2=float(pixels),
        predicted_mm2=float(predicted),
        area_error_mm2=float(predicted - pixels),
        area_error_percent=100 * (predicted - pixels) / pixels,
    )


def seen(dice=(0.93, 0.88), *, subjects=4, error_percent=(0.0, 0.0), pixels=2000, shown=(200, 200)):
    """Make an appraisal; errors of areas scatter by 2 % around what is given."""
    scores = [
        score(f"S{person}", index, s, dice[k], pixels=pixels, error_percent=error_percent[k] + (-2, 2)[index % 2])
        for person in range(subjects)
        for index in range(6)
        for k, s in enumerate(HEART)
        if dice[k] is not None
    ]
    return Seen(tuple(scores), tuple(Drawn(s.label, s.name, 12, 200, n) for s, n in zip(HEART, shown, strict=True)))


def rising(end, epochs=EPOCHS, *, pace=6.0, noise=0.008, seed=0):
    """A Dice that rises and flattens, with the scatter of real epochs."""
    ramp = 1 - np.exp(-pace * np.arange(1, epochs + 1) / epochs)
    return np.clip(end * ramp / ramp[-1] + np.random.default_rng(seed).normal(0, noise, epochs), 0, 1)


def falling(start, end, epochs=EPOCHS, *, seed=1):
    """A loss that falls and flattens, with the scatter of real epochs."""
    ramp = np.exp(-6 * np.arange(epochs) / epochs)
    scatter = np.random.default_rng(seed).normal(1, 0.03, epochs)
    return (end + (start - end) * ramp) * scatter


def model(
    *,
    dice=(0.93, 0.88),
    training_dice=(0.94, 0.90),
    training_loss=None,
    validation_loss=None,
    pace=6.0,
    epochs=EPOCHS,
    validated=True,
    ended=Ended.COMPLETE,
    words="",
    rate=0.0,
    people=12,
    **settings,
):
    """Make a trained model with a history; `rate` is the last learning rate over the highest."""
    training_loss = falling(1.6, 0.15, epochs) if training_loss is None else training_loss
    validation_loss = falling(1.5, 0.22, epochs, seed=2) if validation_loss is None else validation_loss
    curves = [rising(0 if d is None else d, epochs, pace=pace, seed=3 + k) for k, d in enumerate(dice)]
    learnt = [rising(d, epochs, pace=pace, seed=5 + k) for k, d in enumerate(training_dice)]
    rows = []
    for n in range(epochs):
        row = EpochResult(
            epoch=n + 1,
            training_loss=float(training_loss[n]),
            learning_rate=2e-3 * (1 + (rate - 1) * n / max(epochs - 1, 1)),
            elapsed_s=n,
            seconds_left=0,
            training_dice=tuple(float(curve[n]) for curve in learnt),
        )
        if validated:
            now = tuple(None if d is None else float(c[n]) for d, c in zip(dice, curves, strict=True))
            known = [value for value in now if value is not None]
            row = replace(row, validation_loss=float(validation_loss[n]), dice=now, validation_dice=np.mean(known))
        rows.append(row)
    chosen = {"preprocess": PreprocessSettings(spacing_mm=1.5), **settings}
    origin = {"training_subjects": people, "training_slices": 200, "ended": words, "ended_by": ended.value}
    return TrainedModel("heart", Settings(**chosen), HEART, ("image",), {}, tuple(rows), epochs, origin)


def kinds(*arguments, **more):
    return [one.kind for one in advise(*arguments, **more)]


# --- good trainings, and nothing else said of them


def test_a_good_training_is_called_good_and_nothing_else():
    (only,) = advise(model(), seen())
    assert (only.kind, only.severity) == ("good", "good")
    assert "on 4 validation patients the Dice is 0.93 for cavity and 0.88 for wall" in only.words


@pytest.mark.parametrize("seed", range(12))
def test_the_scatter_of_real_epochs_raises_no_alarm(seed):
    noisy = {
        "training_loss": falling(1.6, 0.12, seed=100 + seed),
        "validation_loss": falling(1.5, 0.2, seed=200 + seed),
    }
    assert kinds(model(**noisy, epochs=EPOCHS), seen()) == ["good"]


def test_findings_do_not_spoil_a_good_score():
    finding = Finding("warning", "S1", Path("S1.png"), "Sides.", "Look.", kind="sides")
    assert kinds(model(), seen(), findings=[finding]) == ["good"]


def test_a_validation_loss_that_rises_a_little_is_no_alarm():
    loss = np.concatenate([falling(1.5, 0.2, 30, seed=2), np.linspace(0.2, 0.21, 30)])
    assert kinds(model(validation_loss=loss), seen()) == ["good"]


def test_a_structure_that_nobody_drew_in_validation_is_not_called_missing():
    assert kinds(model(dice=(0.93, None)), seen(dice=(0.93, None))) == ["good"]


def test_a_short_training_that_is_good_is_good():
    assert kinds(model(epochs=4), seen()) == ["good"]


def test_few_slices_small_structures_and_few_scans_do_not_matter_where_the_score_is_good():
    assert kinds(model(), seen(shown=(10, 8), pixels=40)) == ["good"]


# --- causes that matter although the score is good


def test_few_subjects_are_a_note_beside_a_good_score():
    good, few = advise(model(people=3), seen())
    assert (good.kind, few.kind, few.severity) == ("good", "few subjects", "note")
    assert "from 3 people only" in few.words


@pytest.mark.parametrize(("error", "word"), [(-9.0, "small"), (9.0, "large")])
def test_areas_with_a_bias_are_told_although_the_dice_is_good(error, word):
    first, *rest = advise(model(), seen(dice=(0.91, 0.88), error_percent=(error, 0.0)))
    assert first.kind == "bias"
    assert f"areas of cavity are 9 % too {word} on average" in first.words
    assert "person" not in first.words
    assert rest == []


def test_a_bias_seen_in_one_subject_says_so():
    (first,) = advise(model(), seen(subjects=1, error_percent=(9.0, 0.0)))
    assert first.kind == "bias"
    assert "With 1 validation patient this" in first.words


def test_errors_of_both_signs_are_no_bias():
    scores = [score("S1", n, s, 0.9, error_percent=(30, -18)[n % 2]) for n in range(6) for s in HEART]
    assert kinds(model(), replace(seen(), scores=tuple(scores))) == ["good"]


def test_a_training_cut_short_is_told_although_it_is_good():
    good, more = advise(model(pace=0.8), seen())
    assert (good.kind, more.kind, more.severity) == ("good", "unfinished", "note")
    assert "still rising" in more.words


def test_a_loss_that_is_no_number_is_told_although_the_kept_epoch_is_good():
    first = advise(model(ended=Ended.NOT_A_NUMBER, words="the loss became NaN in epoch 61"), seen())[0]
    assert first.kind == "too fast"
    assert "NaN in epoch 61" in first.words
    assert "0.00067" in first.remedy


# --- causes of a poor training


def test_without_validation_nothing_is_claimed():
    nobody = replace(seen(), scores=())
    assert kinds(model(validated=False), nobody) == ["no validation"]
    assert kinds(model(validated=False, people=1), nobody) == ["no validation", "few subjects"]


def test_hardly_begun_is_the_only_cause_then():
    first, *rest = advise(
        model(epochs=6, dice=(0.2, 0.05), training_dice=(0.1, 0.02)), seen(dice=(0.2, 0.05), shown=(200, 18))
    )
    assert first.kind == "unfinished"
    assert "in 6 epochs the network took 150 steps" in first.words
    assert "about 4 times" in first.remedy
    assert rest == []


def test_a_dice_still_rising_asks_for_more_time():
    (first,) = advise(model(dice=(0.7, 0.6), training_dice=(0.6, 0.5), pace=0.8), seen(dice=(0.7, 0.6)))
    assert (first.kind, first.severity) == ("unfinished", "warning")


def test_stopped_at_a_high_learning_rate():
    stopped = {"dice": (0.75, 0.72), "training_dice": (0.76, 0.74), "ended": Ended.STOPPED}
    assert kinds(model(**stopped, rate=0.7), seen(dice=(0.75, 0.72))) == ["unfinished"]
    assert kinds(model(**stopped, rate=0.05), seen(dice=(0.75, 0.72))) == ["unexplained"]


def test_a_loss_that_jumps_or_ends_high_was_too_fast():
    jumping = falling(1.6, 0.3)
    jumping[[20, 40]] *= 3
    ending = np.concatenate([falling(1.6, 0.3, 30), np.linspace(0.3, 0.9, 30)])
    poor = {"dice": (0.7, 0.6), "training_dice": (0.75, 0.7)}
    for loss, word in ((jumping, "doubled from one epoch to the next 2 times"), (ending, "learning was too fast")):
        first = advise(model(**poor, training_loss=loss), seen(dice=(0.7, 0.6)))[0]
        assert first.kind == "too fast"
        assert word in first.words


def test_overfitting_by_the_losses():
    rise = np.concatenate([falling(1.5, 0.4, 20, seed=2), np.linspace(0.4, 0.7, 40)])
    poor = {"dice": (0.76, 0.75), "training_dice": (0.85, 0.84)}
    (first,) = advise(model(**poor, validation_loss=rise), seen(dice=(0.76, 0.75)))
    assert first.kind == "overfitting"
    assert "validation loss rose from 0.4" in first.words
    assert "the training loss still fell" in first.words
    assert "dropout" in first.remedy


def test_a_validation_loss_that_rises_with_the_training_loss_is_no_overfitting():
    rise = np.concatenate([falling(1.5, 0.4, 30, seed=2), np.linspace(0.4, 0.6, 30)])
    together = np.concatenate([falling(1.6, 0.5, 30), np.full(30, 0.5)])
    poor = {"dice": (0.76, 0.75), "training_dice": (0.85, 0.84)}
    found = kinds(model(**poor, validation_loss=rise, training_loss=together), seen(dice=(0.76, 0.75)))
    assert found == ["unexplained"]


def test_overfitting_by_the_gap_is_told_once():
    first, *rest = advise(model(dice=(0.7, 0.7), training_dice=(0.95, 0.93)), seen(dice=(0.7, 0.7)))
    assert first.kind == "overfitting"
    assert "cavity (0.95 against 0.70) and wall (0.93 against 0.70)" in first.words
    assert rest == []


def test_overfitting_without_augmentation_asks_for_it_first():
    bare = {"augmentation": AugmentationSettings.off(), "network": NetworkSettings(dropout=0.2)}
    (first,) = advise(model(dice=(0.7, 0.7), training_dice=(0.95, 0.93), **bare), seen(dice=(0.7, 0.7)))
    assert first.remedy == "Switch the augmentation on, and label more people."


def test_a_structure_drawn_on_few_slices_is_named_alone():
    poor = model(dice=(0.93, 0.1), training_dice=(0.94, 0.3))
    first, *rest = advise(poor, seen(dice=(0.93, 0.1), shown=(200, 7)))
    assert first.kind == "few slices"
    assert "wall (Dice 0.10) is drawn on 7 training slices of 12 patients" in first.words
    assert "cavity" not in first.words
    assert rest == []


def test_a_structure_learnt_but_not_found_points_at_the_validation_labels():
    (first,) = advise(model(dice=(0.93, 0.05), training_dice=(0.94, 0.9)), seen(dice=(0.93, 0.05)))
    assert first.kind == "labels"
    assert "wall (training 0.90, validation 0.05)" in first.words


def test_labels_that_contradict_each_other_are_not_even_learnt():
    (first,) = advise(model(dice=(0.6, 0.55), training_dice=(0.6, 0.56)), seen(dice=(0.6, 0.55)))
    assert first.kind == "labels"
    assert "Even on the slices that it learnt from the Dice stays low, for cavity (0.60)" in first.words


def test_nothing_learnt_points_at_the_preview():
    (first,) = advise(model(dice=(0.01, 0.0), training_dice=(0.02, 0.01)), seen(dice=(0.01, 0.0)))
    assert first.kind == "nothing learnt"
    assert "preview" in first.remedy


def test_tiny_structures_in_a_large_field_of_view():
    poor = {"dice": (0.6, 0.55), "training_dice": (0.62, 0.56)}
    (first,) = advise(model(**poor), seen(dice=(0.6, 0.55), pixels=70))
    assert first.kind == "small structures"
    assert "covers 0.21 % of the image and about 31 of the network's pixels" in first.words
    assert "a region around" in first.remedy
    cropped = PreprocessSettings(spacing_mm=1.5, crop_mm=(60, 60))
    (first,) = advise(model(**poor, preprocess=cropped), seen(dice=(0.6, 0.55), pixels=70))
    assert "smaller pixels" in first.remedy
    assert "a region around" not in first.remedy


def test_sizes_are_known_without_millimetres_too():
    poor = {"dice": (0.6, 0.55), "training_dice": (0.62, 0.56)}
    shaped = PreprocessSettings(input_shape=(128, 128))
    (first,) = advise(model(**poor, preprocess=shaped), seen(dice=(0.6, 0.55), pixels=70))
    assert first.kind == "small structures"
    assert "about 18 of the network's pixels" in first.words


def test_of_volumes_sizes_are_in_their_voxels_and_so_is_the_remedy():
    poor = {"dice": (0.6, 0.55), "training_dice": (0.62, 0.56)}
    volumes = {"spatial_dims": 3, "preprocess": PreprocessSettings()}
    coarse = VolumeSettings(spacing_mm=(2.0, 2.0, 1.0))
    (first,) = advise(model(**poor, **volumes, volume=coarse), seen(dice=(0.6, 0.55), pixels=70))
    assert first.kind == "small structures"
    assert "about 28 of the network's pixels" in first.words  # 70 mm² / (2 × 2 × 1)^(2/3) mm²
    assert "smaller voxels" in first.remedy
    assert "region" not in first.remedy
    fine = VolumeSettings(spacing_mm=(0.5, 0.5, 0.5))
    kinds_of_fine = kinds(model(**poor, **volumes, volume=fine), seen(dice=(0.6, 0.55), pixels=2000))
    assert "small structures" not in kinds_of_fine


def test_findings_about_labels_are_recalled_where_the_score_is_poor():
    found = [
        Finding("warning", f"S{n}", Path(), "Problem.", "Remedy.", kind=kind)
        for n, kind in enumerate(["sides", "sides", "area", "uncalibrated"])
    ]
    found.append(Finding("note", "S9", Path(), "Problem.", "Remedy.", kind="gap"))
    poor = model(dice=(0.6, 0.55), training_dice=(0.75, 0.74))
    *_, last = advise(poor, seen(dice=(0.75, 0.74)), findings=found)
    assert last.kind == "labels"
    assert "found 3 things about the labels: sides exchanged and outliers in size" in last.words


def test_few_subjects_explain_a_poor_score():
    poor = {"dice": (0.75, 0.74), "training_dice": (0.8, 0.8)}
    assert kinds(model(**poor), seen(dice=(0.75, 0.74))) == ["unexplained"]
    (first,) = advise(model(**poor, people=2), seen(dice=(0.75, 0.74)))
    assert (first.kind, first.severity) == ("few subjects", "warning")


# --- small parts


def test_the_paragraph_has_every_sentence_and_remedy():
    found = advise(model(people=3), seen())
    text = advice_text(found)
    assert all(one.words in text and one.remedy in text for one in found)
    assert "  " not in text


def test_smoothing_passes_over_one_odd_epoch():
    assert smooth([1, 1, 1, 9, 1, 1, 1]).tolist() == [1] * 7
    assert smooth([]).size == 0
    assert not math.isnan(smooth([0.5])[0])


def test_a_model_of_an_older_version_without_these_numbers_still_gets_advice():
    old = model()
    rows = tuple(replace(row, training_dice=()) for row in old.history)
    assert kinds(replace(old, history=rows, origin={}), seen()) == ["good"]
    assert kinds(replace(old, history=rows, origin={}), seen(dice=(0.5, 0.5))) == ["unexplained"]


def test_the_table_of_kinds_is_that_of_the_checks(root):
    written = "".join(path.read_text("utf-8") for path in (root / "autoseg" / "data" / "checks").glob("*.py"))
    assert [kind for kind in ABOUT_LABELS if f'"{kind}"' not in written] == []
