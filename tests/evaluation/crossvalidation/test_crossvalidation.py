"""Cross-validation on made-up discs: every subject once, resumable, and nothing mixed."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from discs import STRUCTURES, make_case, make_pair, patch_reading, quick_settings
from untrained import made_up_model

from autoseg.data.cases import find_cases
from autoseg.errors import DataError, OutputError, ReadError
from autoseg.evaluation.crossvalidation import (
    CrossValidationRequest,
    FoldCost,
    FoldEpoch,
    FoldResult,
    Scenario,
    begun,
    cross_validate,
    read_fold,
    read_model,
    read_prediction,
)
from autoseg.evaluation.crossvalidation import run as running
from autoseg.evaluation.crossvalidation.fold import write_fold
from autoseg.image.image import SliceSource
from autoseg.image.structures import Structure
from autoseg.model.model import find_model, load_model, model_digest
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings
from autoseg.training.checkpoint import read_checkpoint

CASES = [make_case(number) for number in range(6)]


@pytest.fixture
def reading(monkeypatch):
    patch_reading(monkeypatch)


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings, and let only the first have epochs enough."""
    real, names = running.train, []

    def counted(split, settings, **arguments):
        names.append(arguments["name"])
        return real(split, settings, **arguments)

    monkeypatch.setattr(running, "train", counted)
    return names


def run(folder, cases=CASES, structures=STRUCTURES, folds=3, choose_post=True, tell=None, **settings):
    chosen = quick_settings(**{"epochs": 2, **settings})
    return cross_validate(cases, structures, chosen, folder=folder, folds=folds, choose_post=choose_post, tell=tell)


def test_every_subject_is_scored_once_and_learnt(reading, tmp_path):
    lines = []
    cases = [make_case(number) for number in range(12)]
    found = run(tmp_path / "cv", cases=cases, epochs=8, folds=2, tell=lines.append)
    results = pd.read_csv(tmp_path / "cv" / "results.csv")
    assert sorted(results["subject_id"]) == sorted(2 * [case.subject_id for case in cases])
    assert set(results["name"]) == {"core", "ring"}
    assert len(found.scores) == 2 * 2 * 12  # structures, slices, subjects
    assert len(pd.read_csv(tmp_path / "cv" / "results_slices.csv")) == len(found.scores)
    assert len(pd.read_csv(tmp_path / "cv" / "results_volumes.csv")) == 2 * 12
    summary = pd.read_csv(tmp_path / "cv" / "results_summary.csv")
    assert summary["dice"].tolist() == pytest.approx(found.summary["dice"].tolist())
    assert summary["dice"].min() > 0.8
    assert summary["n_subjects"].tolist() == [12, 12]
    assert lines[0].startswith("Fold 1 of 2: training")
    assert any("Epoch 8" in line for line in lines)
    assert "core: Dice 0." in lines[-2]
    for number in (1, 2):
        fold = tmp_path / "cv" / f"fold_{number}"
        model = load_model(find_model(fold, f"model_fold{number}"))
        assert len(model.postprocess) == 2
        (card,) = fold.glob("*_MODEL_CARD.md")
        assert model_digest(model) in card.read_text(encoding="utf-8")
        assert len(pd.read_csv(fold / f"model_fold{number}_history.csv")) == 8
        tried = pd.read_csv(fold / "postprocess.csv")
        assert tried["is_chosen"].sum() == 2
        scored = set(pd.read_csv(fold / "scores.csv")["subject_id"])
        tested = json.loads((fold / "fold.json").read_text(encoding="utf-8"))["made_from"]["test"]
        assert scored == {name.replace("case", "subject") for name in tested}
        assert model.origin["training_subjects"] + model.origin["validation_subjects"] + len(scored) == 12


def test_a_stopped_run_goes_on_where_it_was(reading, trained, tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    trained.clear()

    def stop_in_second(line):
        if "Epoch 1" in line and len(trained) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cv", tell=stop_in_second)
    assert sorted(path.name for path in (tmp_path / "cv").iterdir()) == ["fold_1"]
    again = run(tmp_path / "cv")
    assert trained == ["model_fold1", "model_fold2", "model_fold2", "model_fold3"]
    assert again.scores == whole.scores
    third = run(tmp_path / "cv")
    assert len(trained) == 4
    assert third.scores == whole.scores
    pd.testing.assert_frame_equal(third.summary, whole.summary)


KEPT = "model_fold1_resume.pt"


def run_with_dropout(folder, *, base=None, tell=None, heard=None, **changes):
    """Learn with all that must be brought back: random numbers, average, best epoch, the history for patience."""
    network = NetworkSettings(filters=(4, 8), dropout=0.2)
    settings = quick_settings(**{"epochs": 5, "network": network, "patience": 5, "validate_every": 2, **changes})
    request = CrossValidationRequest(CASES, STRUCTURES, {"model": Scenario(settings, base)}, folder, folds=2)

    def hear(event):
        if heard is not None and isinstance(event, FoldEpoch):
            heard.append((event.fold, event.result.epoch))
        if tell is not None and str(event):
            tell(str(event))

    return running.run_cross_validation(request, hear)


def kill(folder, *, after=3, **arguments):
    """End in the epoch after so many of the first fold, as a program that is killed does."""

    def end(line):
        if f"Epoch {after + 1} " in line or f"Epoch {after + 1}:" in line:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_with_dropout(folder, tell=end, **arguments)
    assert sorted(path.name for path in folder.iterdir()) == [KEPT]
    assert len(read_checkpoint(folder / KEPT).last.history) == after


def without_times(model):
    return [replace(row, elapsed_s=0, seconds_left=0) for row in model.history]


@pytest.fixture
def always_kept(monkeypatch):
    monkeypatch.setattr(begun, "LEAST_UNSAVED_S", 0.0)
    monkeypatch.setattr(begun, "TIMES_AS_LONG", 0)


@pytest.mark.parametrize("has_base", [False, True])
def test_a_killed_fold_goes_on_within_and_is_the_same_to_the_bit(has_base, reading, always_kept, tmp_path):
    base = made_up_model() if has_base else None
    whole = run_with_dropout(tmp_path / "whole", base=base)
    kill(tmp_path / "cv", base=base)
    torch.manual_seed(99)  # another process has drawn other numbers
    lines, heard = [], []
    again = run_with_dropout(tmp_path / "cv", base=base, tell=lines.append, heard=heard)
    assert "  It was begun before, and goes on after epoch 3." in lines
    assert heard == [(fold, epoch) for fold in (1, 2) for epoch in range(1, 6)]  # curves are whole
    assert again.scores == whole.scores
    for one, two in zip(whole.folds, again.folds, strict=True):
        mine, other = read_model(one), read_model(two)
        assert all(torch.equal(value, other.weights[key]) for key, value in mine.weights.items())
        assert (model_digest(mine), mine.best_epoch) == (model_digest(other), other.best_epoch)
        assert without_times(mine) == without_times(other)
    assert not list((tmp_path / "cv").glob("*.pt"))


@pytest.mark.parametrize("change", ["settings", "data", "version", "damaged"])
def test_what_was_begun_for_other_work_or_is_damaged_is_told_and_not_used(
    change, reading, always_kept, tmp_path, monkeypatch
):
    kill(tmp_path, after=1)
    rate, words = 1e-2, "is of other settings, images or versions"
    if change == "settings":
        rate = 2e-2
    elif change == "data":
        patch_reading(monkeypatch, annotated=frozenset({1}))
    elif change == "version":
        monkeypatch.setattr(begun, "describe_now", lambda: {"made_with": {"torch": "99"}})
    else:
        content = bytearray((tmp_path / KEPT).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / KEPT).write_bytes(content)
        words = "is damaged, or was not written by autoseg"
    lines, heard = [], []
    run_with_dropout(
        tmp_path, learning_rate=rate, epochs=5 if change == "damaged" else 2, tell=lines.append, heard=heard
    )
    assert f"  {KEPT} {words}, so the fold begins anew." in lines
    assert heard[0] == (1, 1)
    assert not any("goes on after" in line for line in lines)
    assert not list(tmp_path.glob("*.pt"))


def test_what_cannot_be_kept_ends_no_fold_and_is_told_once(reading, always_kept, tmp_path, monkeypatch):
    def full(checkpoint, path):
        raise OutputError("The disk is full.")

    monkeypatch.setattr(begun, "write_checkpoint", full)
    lines = []
    found = run_with_dropout(tmp_path, epochs=3, tell=lines.append)
    assert len(found.folds) == 2
    told = [line for line in lines if "could not be kept: The disk is full. The fold goes on." in line]
    assert len(told) == 2  # once in each fold


def test_a_fold_is_kept_seldom_and_whole(tmp_path, monkeypatch):
    """After a minute, later where saving takes long, and never in the middle of an epoch."""
    now, written = [0.0], []
    monkeypatch.setattr(begun.time, "monotonic", lambda: now[0])

    def write(checkpoint, path):
        written.append(now[0])
        now[0] += 3.0

    monkeypatch.setattr(begun, "write_checkpoint", write)
    monkeypatch.setattr(begun, "replace", lambda taken, work: taken)
    kept = begun._Kept(None, tmp_path / KEPT, "", saved_at_s=0.0)
    while now[0] < 400:
        kept.keep(lambda: None, stopped=now[0] == 60)
        now[0] += 20
    assert written == [80.0, 243.0]


def test_other_settings_or_data_are_not_mixed_in(reading, trained, tmp_path, monkeypatch):
    run(tmp_path, folds=2)
    trained.clear()
    with pytest.raises(
        DataError, match=r"fold_1 was made from something else: learning_rate was 0\.01 and is 0\.02"
    ):
        run(tmp_path, folds=2, learning_rate=0.02)
    with pytest.raises(DataError, match=r"choose_post was True and is False.*choose another folder"):
        run(tmp_path, folds=2, choose_post=False)
    with pytest.raises(DataError, match="structures was core, ring and is core, rim"):
        run(tmp_path, folds=2, structures=(STRUCTURES[0], Structure(5, "rim")))
    with pytest.raises(DataError, match=r"cases of (training|validation|test), such as case"):
        run(tmp_path, folds=2, cases=CASES[:-1])
    others = [make_case(20 + number) for number in range(len(CASES))]
    with pytest.raises(DataError, match=r"made from something else: other images, none of which is here\."):
        run(tmp_path, folds=2, cases=others)
    patch_reading(monkeypatch, annotated=frozenset({1}))
    with pytest.raises(DataError, match="such as case"):
        run(tmp_path, folds=2)
    assert trained == []


@pytest.mark.parametrize("change", ["subject", "level", "channel", "shares"])
def test_what_stands_beside_the_pixels_is_no_other_data_either(change, reading, trained, tmp_path, monkeypatch):
    run(tmp_path, folds=2, epochs=1)
    trained.clear()

    def changed(case, structures):
        image, labels = make_pair(int(case.case_id.removeprefix("case")))
        if change == "level":
            slices = tuple(SliceSource(Path(f"{case.case_id}.dcm"), level="C2") for _ in range(2))
            labels = replace(labels, source=replace(labels.source, slices=slices))
        if change == "channel":
            image = replace(image, channels=("T2w",))
        if change == "shares":
            shares = np.stack([labels.voxels == structure.label for structure in STRUCTURES])
            labels = replace(labels, shares=shares.astype(np.float32))
        return image, labels

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", changed)
    renamed = [replace(case, subject_id=case.subject_id.replace("sub", "Sub")) for case in CASES]
    with pytest.raises(DataError, match=r"fold_1 was made from something else: cases of .*such as case"):
        run(tmp_path, cases=renamed if change == "subject" else CASES, folds=2, epochs=1)
    assert trained == []


def test_another_version_of_autoseg_is_a_note(reading, trained, tmp_path, monkeypatch):
    first = run(tmp_path, folds=2, epochs=1)
    monkeypatch.setattr("autoseg.evaluation.crossvalidation.fold.autoseg_version", lambda: "99.0")
    again = run(tmp_path, folds=2, epochs=1)
    assert again.scores == first.scores
    assert len(trained) == 2
    assert any("Fold 2 was made with autoseg" in note and "this is 99.0" in note for note in again.notes)


def test_test_subjects_are_in_no_fold_and_not_even_read(tmp_path, monkeypatch):
    def read(case, structures):
        assert case.subject_id != "subject3"
        return make_pair(int(case.case_id.removeprefix("case")))

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", read)
    chosen = quick_settings(epochs=1)
    found = cross_validate(CASES, STRUCTURES, chosen, folder=tmp_path, folds=2, test_subjects=["subject3"])
    others = {case.subject_id for case in CASES} - {"subject3"}
    assert {score.subject_id for score in found.scores} == others


def test_a_test_subject_without_cases_is_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("autoseg.model.dataset.build.read_case", lambda *_: pytest.fail("read"))
    with pytest.raises(DataError, match="No case belongs to gone"):
        cross_validate(CASES, STRUCTURES, quick_settings(), folder=tmp_path, test_subjects=["subject3", "gone"])


def test_a_damaged_fold_is_said(reading, tmp_path):
    run(tmp_path, folds=2, epochs=1)
    (tmp_path / "fold_2" / "fold.json").write_text("{")
    with pytest.raises(ReadError, match=r"fold\.json cannot be read.*Move .*fold_2 away"):
        run(tmp_path, folds=2, epochs=1)


def test_the_choice_is_made_on_other_subjects_than_the_scores(reading, tmp_path, monkeypatch):
    seen = []
    real = running.tune_postprocess

    def watched(model, validation):
        seen.append({case.subject_id for case in validation})
        return real(model, validation)

    monkeypatch.setattr(running, "tune_postprocess", watched)
    found = run(tmp_path, epochs=1)
    for subjects, fold in zip(seen, found.folds, strict=True):
        assert subjects
        assert not subjects & {score.subject_id for score in fold.scores}
    assert (tmp_path / "fold_1" / "postprocess.csv").exists()
    run(tmp_path / "plain", epochs=1, choose_post=False)
    assert seen[3:] == [set()] * 3
    assert not (tmp_path / "plain" / "fold_1" / "postprocess.csv").exists()


def test_the_same_image_under_two_subjects_stops_it(tmp_path, monkeypatch):
    def twin(case, structures):
        image, labels = make_pair(min(4, int(case.case_id.removeprefix("case"))))
        return replace(image, source=replace(image.source, case_id=case.case_id)), labels

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", twin)
    with pytest.raises(DataError, match=r"case4 .*case5 .*identical pixels|case5 .*case4 .*identical pixels"):
        run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_structure_nobody_drew_has_no_score(monkeypatch, tmp_path):
    patch_reading(monkeypatch, annotated=frozenset({1}))
    found = run(tmp_path, folds=2, epochs=1)
    assert found.summary["name"].tolist() == ["core"]


def test_two_subjects_are_enough(reading, tmp_path):
    found = run(tmp_path, cases=CASES[:2], epochs=1, folds=5)
    assert len(found.folds) == 2
    assert "last epoch" in found.notes[0]
    assert "left out alone" in found.notes[0]
    model = load_model(find_model(tmp_path / "fold_1", "model_fold1"))
    assert model.postprocess == ()
    assert all(torch.isfinite(value).all() for value in model.weights.values())


def test_scores_survive_the_file_exactly(reading, tmp_path):
    first = run(tmp_path, folds=2, epochs=1)
    again = run(tmp_path, folds=2, epochs=1)
    for one, two in zip(first.scores, again.scores, strict=True):
        for name, value in vars(one).items():
            other = getattr(two, name)
            assert value == other or (math.isnan(value) and math.isnan(other)), name


def test_real_cords_with_two_sessions_of_one_subject(tmp_path):
    data = Path(__file__).parents[4] / "shared" / "data" / "cord-gm-t2star-bids"
    if not data.is_dir():
        pytest.skip("the real cords (shared/data/cord-gm-t2star-bids) are not beside the checkout")
    found = find_cases(data, unlabelled="skip")
    preprocess = PreprocessSettings(spacing_mm=4.0)
    settings = {"folds": 2, "epochs": 1, "preprocess": preprocess, "choose_post": False}
    result = run(tmp_path, cases=found.cases, structures=found.structures, **settings)
    results = pd.read_csv(tmp_path / "results.csv", dtype={"subject_id": str})
    assert sorted(results["subject_id"]) == sorted(2 * ["sub-9418", "sub-9584", "sub-9604", "sub-9709"])
    sessions = {score.case_id for score in result.scores if score.subject_id == "sub-9709"}
    assert len(sessions) == 2
    assert sum({score.case_id for score in fold.scores} >= sessions for fold in result.folds) == 1
    assert result.notes == ()


def test_each_fold_keeps_what_it_cost_and_predicted(reading, tmp_path):
    fold = run(tmp_path, folds=2, epochs=2, choose_post=False).folds[0]
    cost, model = fold.cost, read_model(fold)
    assert cost.parameters == sum(value.numel() for value in model.weights.values())
    assert cost.epochs == 2
    assert cost.training_seconds == pytest.approx(model.history[-1].elapsed_s)
    assert cost.ms_per_slice > 0
    assert cost.peak_memory_mib >= 0
    assert cost.multiply_adds > 1e6
    for case_id in {score.case_id for score in fold.scores}:
        predicted = read_prediction(fold, case_id)
        told = {(s.slice_index, s.label): s.predicted_pixels for s in fold.scores if s.case_id == case_id}
        assert {(k, label): int((predicted[k] == label).sum()) for k, label in told} == told
        _, reference = make_pair(int(case_id.removeprefix("case")))
        (pixels,) = [score for score in fold.pixels if score.case_id == case_id]
        assert pixels.right == (predicted == reference.voxels).sum()
        assert pixels.background == (reference.voxels == 0).sum()
    assert read_prediction(fold, "other") is None


def test_a_fold_of_an_earlier_version_is_read_without_its_costs(reading, trained, tmp_path):
    first = run(tmp_path, folds=2, epochs=1)
    trained.clear()
    path = tmp_path / "fold_1" / "fold.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for new in ("cost", "pixels", "predicted"):
        del content[new]
    for new in ("optimizer", "schedule", "oversampling"):
        del content["made_from"]["settings"][new]
    path.write_text(json.dumps(content), encoding="utf-8")
    again = run(tmp_path, folds=2, epochs=1)
    assert trained == []
    assert again.scores == first.scores
    assert math.isnan(again.folds[0].cost.ms_per_slice)
    assert again.folds[0].pixels == ()
    assert read_prediction(again.folds[0], again.scores[0].case_id) is None
    assert again.folds[1].cost == first.folds[1].cost != FoldCost()


def test_a_damaged_prediction_is_said(reading, tmp_path):
    fold = run(tmp_path, folds=2, epochs=1, choose_post=False).folds[0]
    (fold.folder / "predictions.npz").write_bytes(b"no archive")
    assert read_fold(fold.folder, 1).scores == fold.scores
    with pytest.raises(ReadError, match="fold_1"):
        read_prediction(fold, fold.scores[0].case_id)


@pytest.mark.parametrize("watched", [True, False])
def test_a_fold_draws_its_erosions_where_they_were_watched(tmp_path, watched):
    eroded = ((0.5, 0.6, 0.4, 0.1), (0.3, 0.2, 0.1, None))
    model = made_up_model()
    history = tuple(replace(row, erosion_iou=eroded if watched else ()) for row in model.history)
    model = replace(model, history=history, settings=replace(model.settings, watch_erosion=watched))
    fold = FoldResult(1, tmp_path / "fold_1", (), ())
    write_fold(fold, {}, predicted={}, model=model)
    pictures = sorted(path.name for path in fold.folder.glob("*.png"))
    assert pictures == (["thigh_erosions.png", "thigh_history.png"] if watched else [])
