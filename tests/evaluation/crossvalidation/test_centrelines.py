"""Models that see a crop: in every fold around centrelines that were found without the test subjects."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tubes import STRUCTURES, make_tube, patch_tubes, tube_cases

from autoseg.data.digests import known_subjects
from autoseg.errors import DataError
from autoseg.evaluation.comparison import ComparisonRequest, compare
from autoseg.evaluation.crossvalidation import Scenario, cross_validate, prepare_folds, read_model
from autoseg.evaluation.crossvalidation.centrelines import Centrelines, centreline_of, quality_of
from autoseg.measurement.scores import score_slices
from autoseg.model.centreline import CENTRELINE, Centreline, from_labels
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import AugmentationSettings, NetworkSettings, Settings, VolumeSettings
from autoseg.prediction import find_centreline, predict
from autoseg.training.finder import finder_settings

CASES = tube_cases(1, 2, 3)
FINDER = finder_settings(
    pixel_mm=2.0,
    step_mm=4.0,
    epochs=6,
    batch_size=8,
    learning_rate=1e-2,
    average_decay=0.8,
    precision="float32",
    network=NetworkSettings(name="dilated", filters=(16, 16, 16)),
    augmentation=AugmentationSettings.off(),
)
CROPPED = Settings(
    epochs=2,
    batch_size=2,
    learning_rate=1e-2,
    average_decay=0.5,
    precision="float32",
    spatial_dims=3,
    network=NetworkSettings(filters=(4, 8)),
    volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(22.5, 18.0)),
    augmentation=AugmentationSettings.off(),
)
WHOLE = replace(CROPPED, volume=replace(CROPPED.volume, crop_mm=None, patch_size=(16, 16, 16)))


@pytest.fixture(autouse=True)
def tubes(monkeypatch):
    patch_tubes(monkeypatch)
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)


@pytest.fixture
def lines_of_trainings(monkeypatch):
    """Note down the centrelines that every training is given."""
    from autoseg.evaluation.crossvalidation import run

    train, given = run.train, []

    def spy(split, settings, **more):
        given.append((split, more["inputs"]))
        return train(split, settings, **more)

    monkeypatch.setattr(run, "train", spy)
    return given


def run(folder, entries, **more):
    return compare(CASES, STRUCTURES, entries, folder=folder, folds=3, finder=FINDER, **more)


@pytest.mark.filterwarnings("ignore:.*hardly found")
def test_every_fold_learns_and_is_scored_around_centrelines_of_finders_that_never_saw_the_subject(
    tmp_path, lines_of_trainings
):
    told = []
    found = run(tmp_path, {"cropped": CROPPED, "whole": WHOLE}, exact=True, tell=told.append)
    assert not [note for note in found.notes if "failed" in note]
    assert found.is_finished
    assert list(found.runs) == ["cropped", "whole", "cropped, exact centreline"]
    finders = {}
    for fold in found.runs["cropped"].folds:
        model = read_model(fold)
        (tested,) = {score.subject_id for score in fold.scores}
        # Of the three, one is learnt from and one validated on.
        assert known_subjects(["s1", "s2", "s3"], model.finder.origin["subject_fingerprints"]) == {
            *("s1", "s2", "s3")
        } - {tested}
        finders[tested] = model.finder
    assert sorted(finders) == ["s1", "s2", "s3"]
    # A training's own cases are seen around what the fold found in which they were tested.
    for _, inputs in lines_of_trainings[::2]:
        for number in (1, 2, 3):
            line = find_centreline(finders[f"s{number}"], make_tube(number)[0])
            assert inputs.centrelines[f"tube{number}"].points_mm == pytest.approx(line.points_mm, abs=1e-3)
    assert all(not inputs.centrelines for _, inputs in lines_of_trainings[1::2])
    # Scored is what the saved model predicts by itself, and with the centreline of the labels.
    for entry, given in (("cropped", False), ("cropped, exact centreline", True)):
        for fold, own in zip(found.runs[entry].folds, found.runs["cropped"].folds, strict=True):
            (case_id,) = {score.case_id for score in fold.scores}
            image, reference = make_tube(int(case_id[4:]))
            line = from_labels(reference) if given else None
            assert list(fold.scores) == score_slices(reference, predict(read_model(own), image, centreline=line))
            (quality,) = fold.centrelines
            assert (quality.case_id, quality.source) == (case_id, "labels" if given else "automatic")
            assert (quality.mean_mm == 0) is given
    assert all(not fold.centrelines for fold in found.runs["whole"].folds)
    table = pd.read_csv(tmp_path / "centrelines.csv")
    assert table.groupby("entry", sort=False).size().to_dict() == {"cropped": 7, "cropped, exact centreline": 7}
    assert table["case_id"].tolist()[3:7] == ["minimum", "mean", "median", "maximum"]
    assert any(note.startswith("Cropped, exact centreline: Dice") for note in found.notes)

    # Called again, nothing is learnt; with another finder the folds are others.
    count = len(lines_of_trainings)
    again = run(tmp_path, {"cropped": CROPPED, "whole": WHOLE}, exact=True)
    assert again.table.drop(columns="ms_per_slice").equals(found.table.drop(columns="ms_per_slice"))
    assert len(lines_of_trainings) == count
    with pytest.raises(DataError, match=r"cropped: .*epochs was 6 and is 7"):
        compare(CASES, STRUCTURES, {"cropped": CROPPED}, folder=tmp_path, folds=3, finder=replace(FINDER, epochs=7))


@pytest.mark.filterwarnings("ignore:.*hardly found")
def test_the_original_finds_with_its_own_finder_and_others_with_that_of_the_fold(tmp_path):
    known = tube_cases(7, 8)
    base = read_model(
        cross_validate(known, STRUCTURES, CROPPED, folder=tmp_path / "base", folds=2, finder=FINDER).folds[0]
    )
    blind = replace(base, finder=None)
    found = run(tmp_path / "c", {"own": Scenario.original(base), "blind": Scenario.original(blind)})
    assert found.is_finished
    for entry in ("own", "blind"):
        for fold in found.runs[entry].folds:
            finder = read_model(fold).finder
            own = finder.origin["subject_fingerprints"] == base.finder.origin["subject_fingerprints"]
            assert own is (entry == "own")


def seconds_of(entries, finder):
    named = {name: Scenario.of(one) for name, one in entries.items()}
    return ComparisonRequest((), (), named, Path(), folds=3, finder=finder).seconds


def test_the_time_of_the_finders_counts():
    entry = replace(CROPPED, epochs=None, minutes=2.0)
    finder = replace(FINDER, epochs=None, minutes=1.0)
    assert seconds_of({"a": entry}, finder) == 60 * 3 * (2 + 1)
    assert seconds_of({"a": replace(entry, volume=WHOLE.volume)}, finder) == 60 * 3 * 2
    assert seconds_of({"a": entry}, FINDER) is None


def test_what_has_no_finder_says_so():
    image, reference = make_tube(1)

    class Blind:
        name, settings, finder = "blind", CROPPED, None

    with pytest.raises(DataError, match="'blind' sees a crop around a centreline and has nothing that finds it"):
        centreline_of(Blind, image, reference, exact=False)
    line = centreline_of(Blind, image, reference, exact=True)
    assert isinstance(line, Centreline)
    score = quality_of(line, Blind, CASES[0], reference)
    assert (score.case_id, score.subject_id, score.mean_mm) == ("tube1", "s1", 0.0)
    assert score.slices_cut == 0.0
    empty = replace(reference, voxels=np.zeros_like(reference.voxels))
    with pytest.raises(DataError, match=r"nothing of .*cord.* was drawn"):
        centreline_of(Blind, image, empty, exact=True)


def test_where_nothing_is_drawn_the_exact_centreline_is_the_one_that_is_found(monkeypatch):
    image, reference = make_tube(1)
    empty = replace(reference, voxels=np.zeros_like(reference.voxels))
    found = from_labels(reference)
    monkeypatch.setattr(
        "autoseg.evaluation.crossvalidation.centrelines.find_centreline", lambda finder, image: found
    )

    class Seeing:
        name, settings, finder = "seeing", CROPPED, "a finder"

    for exact in (True, False):
        assert centreline_of(Seeing, image, empty, exact=exact) is found
    assert quality_of(found, Seeing, CASES[0], empty) is None
    undrawn = replace(reference, annotated=frozenset())  # voxels that do not count
    assert centreline_of(Seeing, image, undrawn, exact=True) is found


def test_with_few_subjects_the_finder_has_learnt_from_no_others(tmp_path, monkeypatch):
    cases, learnt = tube_cases(*range(1, 9)), []

    def learn(split, structures, settings, **more):
        learnt.append(sorted(case.case_id for case in (*split.training, *split.validation)))
        torch.manual_seed(0)
        weights = build_network(FINDER.network, in_channels=1, out_channels=2).state_dict()
        return TrainedModel("finder", FINDER, (CENTRELINE,), ("image",), weights, origin={"ended": ""})

    monkeypatch.setattr("autoseg.training.finder.folds.train_finder", learn)
    prepared = prepare_folds(cases, STRUCTURES, folds=2)
    whole = Centrelines(prepared, FINDER, tmp_path / "centrelines")
    few = whole.with_few(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = few.inputs(1)
    assert sorted(inputs.centrelines) == [case.case_id for case in cases]
    drawn = prepared.with_few(1).splits
    assert learnt == [sorted(case.case_id for case in (*one.training, *one.validation)) for one in drawn]
    assert max(len(one.training) for one in drawn) == 1
    # Whoever taught a finder counts, in whichever fold; and of all subjects it is as it was.
    for name in (case.case_id for case in cases):
        other = replace(prepared, contents={**prepared.contents, name: "drawn anew"})
        changed = Centrelines(other, FINDER, tmp_path).with_few(1).made_from() != few.made_from()
        assert changed is any(name in names for names in learnt)
    assert whole.made_from().keys() == {"centrelines"}
    assert whole.with_few(9) is whole  # there are no more


@pytest.mark.filterwarnings("ignore:.*hardly found")
def test_entries_with_few_subjects_look_around_centrelines_of_their_own(tmp_path, monkeypatch):
    from autoseg.evaluation.comparison import run as module

    plans = {}

    def stop(plan, number):
        plans[plan.folder.name] = plan
        raise DataError("not learnt here")

    monkeypatch.setattr(module, "run_fold", stop)
    few = {f"with {count}": Scenario(CROPPED, subjects=count) for count in (1, 2)}
    entries = {"all": CROPPED, **few, "with 1 again": few["with 1"]}
    compare(tube_cases(*range(1, 9)), STRUCTURES, entries, folder=tmp_path, folds=2, finder=FINDER)
    assert plans["with 1"].centrelines is plans["with 1 again"].centrelines
    assert plans["with 1"].folds is plans["with 1"].centrelines.folds
    folders = {name: plan.centrelines.folder for name, plan in plans.items()}
    assert len(set(folders.values())) == 3
    assert folders["all"] == tmp_path / "centrelines"
    entry, finder = replace(CROPPED, epochs=None, minutes=2.0), replace(FINDER, epochs=None, minutes=1.0)
    few = {f"with {count}": Scenario(entry, subjects=count) for count in (1, 2)}
    assert seconds_of({"all": entry, **few}, finder) == 60 * 3 * (3 * 2 + 3 * 1)
