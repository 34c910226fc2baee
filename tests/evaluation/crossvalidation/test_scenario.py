"""From scratch, fine-tuned and the original on the same folds, by the same pipeline."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from discs import STRUCTURES, make_case, make_pair, make_split, patch_reading, quick_settings

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison import ComparisonRequest, compare
from autoseg.evaluation.crossvalidation import FoldPlan, Scenario, cross_validate, prepare_folds, read_model
from autoseg.evaluation.crossvalidation.fold import read_content
from autoseg.evaluation.crossvalidation.scenario import as_it_is, on_structures
from autoseg.image.structures import Structure
from autoseg.measurement.scores import score_slices
from autoseg.model.model import model_digest
from autoseg.model.settings.settings import NetworkSettings
from autoseg.prediction import predict
from autoseg.training.finetuning import settings_from_base
from autoseg.training.training import train

CASES = [make_case(number) for number in range(4)]
SMALL = NetworkSettings(filters=(4, 8))


@pytest.fixture(scope="module")
def base():
    """A model that knows none of the cases, with the structures under other labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch_reading(patch)
        settings = quick_settings(epochs=3, network=SMALL)
        model = train(make_split([20, 21], [22]), settings, structures=STRUCTURES, name="known")
    other = (Structure(3, "Ring"), Structure(4, "core"))
    return replace(model, structures=(other[1], other[0]))


@pytest.fixture(autouse=True)
def reading(monkeypatch):
    patch_reading(monkeypatch)
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)


@pytest.fixture
def entries(base):
    return {
        "scratch": quick_settings(epochs=1, network=SMALL),
        "tuned": Scenario(settings_from_base(base, epochs=1), base),
        "original": Scenario.original(base, seed=0),
    }


def test_few_subjects_are_learnt_from_and_all_are_tested(base, entries, tmp_path):
    cases = [make_case(number) for number in range(9)]
    prepared = prepare_folds(cases, STRUCTURES, folds=2)
    for whole, one, two in zip(
        prepared.splits, prepared.with_few(1).splits, prepared.with_few(2).splits, strict=True
    ):
        assert len(whole.training) > 2
        assert [len(few.training) for few in (one, two)] == [1, 2]
        assert set(one.training) < set(two.training) < set(whole.training)
        assert len(one.validation) == 1
        assert set(one.validation) <= set(two.validation) <= set(whole.validation)
        assert one.test == two.test == whole.test
    assert prepared.with_few(9).splits == prepared.splits
    few = replace(entries["tuned"], subjects=1)
    found = compare(cases, STRUCTURES, {"few": few, "tuned": entries["tuned"]}, folder=tmp_path, folds=2)
    assert found.is_finished
    for number, fold in enumerate(found.runs["few"].folds):
        assert set(read_content(fold.folder)["made_from"]["training"]) == {
            case.case_id for case in prepared.with_few(1).splits[number].training
        }
    with pytest.raises(SettingsError, match="subjects is 0; give 1 or more"):
        replace(few, subjects=0)


def test_three_scenarios_side_by_side(base, entries, tmp_path):
    lines = []
    found = compare(CASES, STRUCTURES, entries, folder=tmp_path / "c", folds=2, tell=lines.append)
    assert found.is_finished
    assert list(found.runs) == ["scratch", "tuned", "original"]
    tests = [[sorted({s.subject_id for s in fold.scores}) for fold in run.folds] for run in found.runs.values()]
    assert tests[0] == tests[1] == tests[2]
    assert sorted(name for fold in tests[0] for name in fold) == [case.subject_id for case in CASES]
    # What is scored is what the model itself predicts, under the labels of these data.
    labels = {3: 5, 4: 1, 0: 0}
    for fold in found.runs["original"].folds:
        for case_id in sorted({score.case_id for score in fold.scores}):
            image, reference = make_pair(int(case_id.removeprefix("case")))
            own = predict(base, image)
            voxels = np.vectorize(labels.get)(own.voxels)
            wanted = score_slices(reference, replace(own, voxels=voxels, structures=STRUCTURES, annotated=None))
            assert [score for score in fold.scores if score.case_id == case_id] == wanted
        assert math.isnan(fold.cost.training_seconds)
        assert math.isnan(fold.cost.epochs)
    assert all(fold.cost.epochs == 1 for fold in found.runs["tuned"].folds)
    assert read_model(found.runs["tuned"].folds[0]).origin["base"]["digest"] == model_digest(base)
    assert set(pd.read_csv(tmp_path / "c" / "results.csv")["entry"]) == set(entries)
    assert set(found.histories()["entry"]) == {"scratch", "tuned"}
    assert not [note for note in found.notes if "learn equally long" in note]
    # Finished folds are read again, not done anew.
    again = compare(CASES, STRUCTURES, entries, folder=tmp_path / "c", folds=2, tell=lines.append)
    assert lines.count("  finished before") == 6
    assert again.table.equals(found.table)


def test_folds_of_another_base_are_refused(base, entries, tmp_path):
    chosen = {"tuned": entries["tuned"]}
    compare(CASES, STRUCTURES, chosen, folder=tmp_path, folds=2)
    moved = {**base.weights, "tail.bias": base.weights["tail.bias"] + 1}
    other = replace(base, weights=moved)
    with pytest.raises(DataError, match=r"made from something else: base model was [0-9a-f]{16} and is"):
        compare(CASES, STRUCTURES, {"tuned": Scenario(entries["tuned"].settings, other)}, folder=tmp_path, folds=2)
    with pytest.raises(DataError, match=r"base model was [0-9a-f]{16} and is None"):
        compare(CASES, STRUCTURES, {"tuned": entries["tuned"].settings}, folder=tmp_path, folds=2)
    scored = Scenario(entries["tuned"].settings, base, learns=False)
    with pytest.raises(DataError, match="learns was True and is False"):
        compare(CASES, STRUCTURES, {"tuned": scored}, folder=tmp_path, folds=2)


def test_a_base_that_knows_a_subject_is_refused_before_anything_is_trained(base, entries, tmp_path):
    cases, settings = [*CASES[:2], make_case(21), make_case(22)], entries["tuned"].settings
    for scenario in (entries["tuned"], entries["original"]):
        with pytest.raises(DataError, match=r"The base model 'known' has learnt from subject2\d"):
            compare(cases, STRUCTURES, {"one": scenario}, folder=tmp_path / "c", folds=2)
    assert not (tmp_path / "c" / "one").exists()
    with pytest.raises(DataError, match="has learnt from subject20"):
        cross_validate([*CASES, make_case(20)], STRUCTURES, settings, folder=tmp_path / "d", folds=2, base=base)


def test_cross_validation_fine_tunes_in_every_fold(base, tmp_path):
    base, lines = replace(base, structures=(Structure(1, "core"), Structure(2, "rim"))), []
    settings = settings_from_base(base, epochs=1)
    found = cross_validate(CASES, STRUCTURES, settings, folder=tmp_path, folds=2, base=base, tell=lines.append)
    assert all(read_model(fold).origin["base"]["name"] == "known" for fold in found.folds)
    assert sum(line.startswith("  Structures: Taken over from 'known'") for line in lines) == 2


def test_an_original_that_does_not_know_a_structure_is_refused(base, tmp_path):
    structures = (STRUCTURES[0], Structure(5, "rim"))
    with pytest.raises(DataError, match=r"'known' as it is does not know rim \(it knows core, Ring\)"):
        compare(CASES, structures, {"original": Scenario.original(base)}, folder=tmp_path, folds=2)
    with pytest.raises(DataError, match="needs a model to be scored"):
        Scenario(quick_settings(), learns=False)


def test_what_lies_inside_a_structure_and_is_not_asked_for_counts_for_it(base):
    cord = (Structure(1, "cord", includes=(2,)), Structure(2, "grey"))
    model = as_it_is(replace(base, structures=cord), (Structure(2, "Cord"),), name="original")
    assert [(one.label, one.name, one.includes) for one in model.structures] == [(2, "Cord", (1,)), (1, "grey", ())]
    _, reference = make_pair(0)
    found = replace(reference, voxels=np.clip(reference.voxels, 0, 2), structures=model.structures, annotated=None)
    kept = on_structures(found, (Structure(2, "Cord"),))
    assert np.array_equal(kept.voxels, 2 * (reference.voxels > 0))


def test_what_learns_nothing_takes_no_time(base):
    settings = quick_settings(epochs=None, minutes=2)
    entries = {"a": Scenario(settings), "b": Scenario(settings, base), "original": Scenario.original(base, seed=0)}
    request = ComparisonRequest((), (), entries, Path(), folds=3)
    assert request.seconds == 2 * 3 * 2 * 60
    assert (request.learning, request.kind) == (("a", "b"), "scenario")


def test_a_fold_without_a_base_is_made_from_the_same_as_ever(tmp_path):
    folds = prepare_folds(CASES, STRUCTURES, folds=2)
    made_from = FoldPlan(folds, Scenario(quick_settings()), tmp_path).made_from(1)
    assert "base model" not in made_from
    assert "learns" not in made_from
