"""A model calibrated by its twins, on made-up discs: everybody once, resumable, and the model itself untouched."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from bases import make_base
from discs import STRUCTURES, make_case, make_pair, make_split, patch_reading, quick_settings
from tubes import STRUCTURES as TUBES
from tubes import patch_tubes, tube_cases

from autoseg.data.digests import known_subjects
from autoseg.data.split import Split
from autoseg.errors import DataError, OutputError
from autoseg.evaluation import calibrate
from autoseg.evaluation.calibrate import (
    CalibrationBegins,
    calibrate_by_folds,
    calibration_folder,
    check_calibration,
    find_uncalibrated,
    models_time,
    plan_calibration,
)
from autoseg.evaluation.crossvalidation import FoldBegins, FoldEpoch, cross_validate, read_fold
from autoseg.evaluation.crossvalidation import run as folds_running
from autoseg.evaluation.crossvalidation.examined import COUNTS, FACTS, examine_fold, read_examined
from autoseg.image.structures import Structure
from autoseg.model.model import describe_origin, load_model, save_model
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    VolumeSettings,
)
from autoseg.model.trust import How
from autoseg.training.events import Finder
from autoseg.training.finder import finder_settings
from autoseg.training.finetuning import settings_from_base
from autoseg.training.save import train_and_save
from autoseg.training.trust import learn_trust

SPLIT = make_split([0, 1], [2])
CASES = (*SPLIT.training, *SPLIT.validation)
TINY = quick_settings(
    epochs=1, network=NetworkSettings(filters=(2, 4)), preprocess=PreprocessSettings(spacing_mm=6.0)
)

CROPPED_TINY = replace(TINY, batch_size=2, augmentation=AugmentationSettings.off())


@pytest.fixture(autouse=True)
def reading(monkeypatch):
    patch_reading(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def pooled(monkeypatch):
    """Hear what a model's limits are learnt from."""
    heard = []

    def learn(model, examined, **how):
        heard.append((tuple(examined), how))
        return learn_trust(model, examined, **how)

    monkeypatch.setattr(calibrate, "learn_trust", learn)
    return heard


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings of twins."""
    real, names = folds_running.train, []

    def counted(split, settings, **arguments):
        names.append(arguments["name"])
        return real(split, settings, **arguments)

    monkeypatch.setattr(folds_running, "train", counted)
    return names


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch_reading(patch)
        folder = tmp_path_factory.mktemp("models")
        return train_and_save(SPLIT, TINY, structures=STRUCTURES, name="discs", folder=folder)[1]


@pytest.fixture
def path(model_file, tmp_path):
    copy = tmp_path / model_file.name
    copy.write_bytes(model_file.read_bytes())
    return copy


def same_weights(one, other):
    return one.weights.keys() == other.weights.keys() and all(
        torch.equal(value, other.weights[name]) for name, value in one.weights.items()
    )


def test_everybody_is_measured_once_by_a_twin_that_never_saw_them(path, pooled, trained):
    before, written_ns, events = load_model(path), path.stat().st_mtime_ns, []
    model = calibrate_by_folds(path, CASES, STRUCTURES, on_event=events.append)
    ((examined, how),) = pooled
    folds = [path.parent / "discs_1_calibration" / f"fold_{number}" for number in (1, 2, 3)]
    assert sorted(one.subject_id for one in examined) == ["subject0", "subject1", "subject2"]
    assert how["by_folds"]
    seconds = [json.loads((place / "fold.json").read_text())["cost"]["training_seconds"] for place in folds]
    assert model.trust.calibration.minutes == pytest.approx(sum(seconds) / 3 / 60)
    assert (model.trust.calibration.how, model.trust.calibration.patients) == (How.FOLDS, 3)
    for one in examined:
        _, reference = make_pair(int(one.case_id.removeprefix("case")))
        assert one.reference[:, 1].tolist() == (reference.voxels == 5).sum(axis=(1, 2)).tolist()
    for number in (1, 2, 3):
        made_from = json.loads((path.parent / f"discs_1_calibration/fold_{number}/fold.json").read_text())
        (tested,) = made_from["made_from"]["test"]
        assert tested not in {*made_from["made_from"]["training"], *made_from["made_from"]["validation"]}
    assert trained == ["discs_fold1", "discs_fold2", "discs_fold3"]
    kept = load_model(path)
    assert same_weights(kept, before)
    assert kept.trust == model.trust
    assert path.stat().st_mtime_ns == written_ns
    assert isinstance(events[0], CalibrationBegins)
    assert events[0].plan.folds == 3
    assert find_uncalibrated(path.parent, "discs") is None


def test_killed_between_two_folds_it_goes_on_after_the_first(path, pooled, trained):
    whole = path.with_name("whole_1.pt")
    whole.write_bytes(path.read_bytes())
    calibrate_by_folds(whole, CASES, STRUCTURES)
    trained.clear()
    content = path.read_bytes()

    class Killed(Exception):
        pass

    def kill(event):
        if isinstance(event, FoldBegins) and event.fold == 2:
            raise Killed

    with pytest.raises(Killed):
        calibrate_by_folds(path, CASES, STRUCTURES, on_event=kill)
    assert path.read_bytes() == content
    begun = find_uncalibrated(path.parent, "discs")
    assert (begun.path, begun.folds_done, begun.folds) == (path, 1, 3)
    assert find_uncalibrated(path.parent, "disc") is None
    calibrate_by_folds(path, CASES, STRUCTURES)
    assert trained == ["discs_fold1", "discs_fold2", "discs_fold3"]
    assert find_uncalibrated(path.parent, "discs") is None
    (first, _), (second, _) = pooled
    for one, other in zip(first, second, strict=True):  # the same seed, the same twins
        assert one.case_id == other.case_id
        np.testing.assert_array_equal(one.predicted, other.predicted)


def test_stopped_within_a_fold_nothing_is_lost_but_that_fold(path, trained):
    content, epochs = path.read_bytes(), []

    def hear(event):
        if isinstance(event, FoldEpoch):
            epochs.append(event.fold)

    with pytest.raises(KeyboardInterrupt):
        calibrate_by_folds(path, CASES, STRUCTURES, on_event=hear, should_stop=lambda: epochs == [1, 2])
    assert path.read_bytes() == content
    assert find_uncalibrated(path.parent, "discs").folds_done == 2
    with pytest.raises(KeyboardInterrupt):
        calibrate_by_folds(path, CASES, STRUCTURES, should_stop=lambda: True)
    calibrate_by_folds(path, CASES, STRUCTURES)
    assert trained == ["discs_fold1", "discs_fold2", "discs_fold3"]


def test_what_twins_measured_is_read_back_and_made_anew_where_it_is_damaged(path, monkeypatch):
    calibrate_by_folds(path, CASES, STRUCTURES)
    fold = read_fold(path.parent / "discs_1_calibration" / "fold_1", 1)
    cases = [make_case(int(name.removeprefix("case"))) for name in {score.case_id for score in fold.scores}]
    (kept,), was_kept = examine_fold(fold, cases, STRUCTURES)
    assert was_kept
    assert kept.drawn.tolist() == [True, True]
    assert (kept.pixel_mm2, kept.slice_mm) == (2.25, 8.0)
    facts, counts = fold.folder / FACTS, fold.folder / COUNTS
    sound = facts.read_text(encoding="utf-8"), counts.read_bytes()
    with np.load(counts) as arrays:
        own = dict(arrays)
    more = {**own, "both_0": own["both_0"] + 10**6}
    other = {**own, "reference_0": own["reference_0"].astype(np.int32)}
    pickled = {**own, "reference_0": np.array([{}], dtype=object)}
    cut = {**own, "drawn_0": own["drawn_0"][:1]}
    for arrays in (more, other, pickled, cut, {}):
        np.savez(counts, **arrays)
        assert read_examined(fold, cases, 2) is None
    counts.write_bytes(b"nothing")
    assert read_examined(fold, cases, 2) is None
    counts.write_bytes(sound[1])
    for change in ({"pixel_mm2": "two"}, {"case_id": 3}, {"unknown": 1}):
        values = json.loads(sound[0])
        values["cases"][0] |= change
        facts.write_text(json.dumps(values), encoding="utf-8")
        assert read_examined(fold, cases, 2) is None
    facts.write_text(sound[0], encoding="utf-8")
    assert read_examined(fold, cases, 2) is not None
    assert read_examined(fold, [make_case(9)], 2) is None
    monkeypatch.setattr("autoseg.evaluation.crossvalidation.examined.autoseg_version", lambda: "99.0")
    (anew,), was_kept = examine_fold(fold, cases, STRUCTURES)
    assert not was_kept
    np.testing.assert_array_equal(anew.predicted, kept.predicted)
    assert examine_fold(fold, cases, STRUCTURES)[1]


@pytest.mark.parametrize(
    ("minutes", "folds", "each"), [(60, 5, 6.0), (10, 5, 1.0), (8.5, 4, 1.0625), (5, 3, 2.5 / 3), (1, 3, 1 / 6)]
)
def test_the_twins_get_the_other_half_of_the_time(minutes, folds, each):
    own = models_time(replace(TINY, epochs=None, minutes=minutes))
    plan = plan_calibration(own, 20)
    assert (plan.folds, plan.twin.minutes) == (folds, pytest.approx(each))
    assert plan.model_minutes == minutes / 2
    assert plan.minutes == pytest.approx(minutes)
    assert plan.model_share == pytest.approx(0.5)
    assert replace(plan.twin, minutes=None, epochs=1) == TINY
    assert "measure the other" in str(plan)
    assert "learn for a shorter time" in str(plan)
    assert plan_calibration(own, 3).folds == 3


def test_by_epochs_each_twin_learns_as_many():
    assert models_time(TINY) is TINY
    plan = plan_calibration(replace(TINY, epochs=30), 20)
    assert (plan.folds, plan.twin.epochs, plan.minutes) == (5, 30, None)
    assert plan.model_share == pytest.approx(1 / 6)
    assert "learns for 30 epochs: at most 6 times as long as the model alone" in str(plan)
    assert "shorter time" not in str(plan)


def test_finders_of_centrelines_are_counted_too():
    volume = VolumeSettings(crop_mm=(40.0, 40.0), spacing_mm=(2.0, 1.0, 1.0), patch_size=(16, 16, 16))
    own = replace(TINY, epochs=None, minutes=5, spatial_dims=3, volume=volume)
    assert plan_calibration(own, 20).finder_minutes == 2.0
    assert "Finding centrelines takes 10 minutes more." in str(plan_calibration(own, 20))


def test_too_few_patients_are_told_before_anything_is_trained():
    with pytest.raises(DataError, match=r"cannot be measured with 2 patients.*3 are the fewest, from 9 on"):
        check_calibration(make_split([0], [1]), TINY)
    check_calibration(SPLIT, TINY)


def test_a_base_that_knows_these_patients_is_told_before_anything_is_trained(path):
    base = replace(load_model(path), name="known")
    with pytest.raises(DataError, match=r"cannot be measured by folds of these patients\. The base model 'known'"):
        check_calibration(SPLIT, TINY, base)
    strangers = replace(base, origin=describe_origin(["another"], [], 2))
    check_calibration(SPLIT, TINY, strangers)


def test_other_patients_structures_or_bases_are_refused(path, trained):
    with pytest.raises(DataError, match="validated on 3 patients, of whom 2 are here"):
        calibrate_by_folds(path, [*CASES[:2], make_case(7)], STRUCTURES)
    with pytest.raises(DataError, match="knows core, ring and here are core, rim"):
        calibrate_by_folds(path, CASES, (STRUCTURES[0], Structure(5, "rim")))
    with pytest.raises(DataError, match="was learnt from no other model"):
        calibrate_by_folds(path, CASES, STRUCTURES, base=load_model(path))
    assert trained == []


def test_a_model_that_was_replaced_meanwhile_is_left_as_it_is(path):
    other = load_model(path)
    other = replace(other, weights={name: value + 1 for name, value in other.weights.items()})

    def hear(event):
        if isinstance(event, FoldBegins) and event.fold == 3:
            save_model(other, path)

    with pytest.raises(OutputError, match="was changed or moved away meanwhile"):
        calibrate_by_folds(path, CASES, STRUCTURES, on_event=hear)
    assert same_weights(load_model(path), other)


def test_twins_of_an_earlier_model_of_the_same_name_are_left_alone(path):
    model = load_model(path)
    first = calibration_folder(path, model)
    assert first.name == "discs_1_calibration"
    first.mkdir()
    (first / "calibration.json").write_text('{"model": "of another"}', encoding="utf-8")
    assert calibration_folder(path, model).name == "discs_1_calibration_2"


def test_folds_of_a_finished_cross_validation_are_twins(path, tmp_path, pooled, trained, monkeypatch):
    folds = tmp_path / "discs_folds"
    with pytest.raises(DataError, match="not the folder of a finished cross-validation"):
        calibrate_by_folds(path, CASES, STRUCTURES, folds_from=folds)
    cross_validate(CASES, STRUCTURES, TINY, folder=folds, folds=3)
    trained.clear()
    calibrate_by_folds(path, CASES, STRUCTURES, folds_from=folds)
    assert trained == []
    assert len(pooled[0][0]) == 3
    assert not (tmp_path / "discs_1_calibration").exists()
    patch_reading(monkeypatch, annotated=frozenset({1}))
    with pytest.raises(DataError, match=r"was made from something else: cases of .*Leave --from out"):
        calibrate_by_folds(path, CASES, STRUCTURES, folds_from=folds)
    patch_reading(monkeypatch)
    other = tmp_path / "other_folds"
    cross_validate(CASES, STRUCTURES, replace(TINY, learning_rate=0.5), folder=other, folds=3)
    with pytest.raises(DataError, match=r"no twins of 'discs'.*another learning_rate"):
        calibrate_by_folds(path, CASES, STRUCTURES, folds_from=other)


def test_twins_of_a_fine_tuned_model_begin_from_its_base(tmp_path, monkeypatch):
    base, began = make_base(taught_by=["another"]), []
    real = folds_running.train
    monkeypatch.setattr(
        folds_running, "train", lambda *these, **more: began.append(more["base"]) or real(*these, **more)
    )
    settings = settings_from_base(base, epochs=1)
    _, path = train_and_save(SPLIT, settings, structures=STRUCTURES, name="tuned", folder=tmp_path, base=base)
    with pytest.raises(DataError, match=r"was learnt from the model 'neck'.*give that one as the base"):
        calibrate_by_folds(path, CASES, STRUCTURES)
    calibrate_by_folds(path, CASES, STRUCTURES, base=base)
    assert began == [base, base, base]


@pytest.mark.filterwarnings("ignore:.*hardly found", "ignore:.*reaches the edge", "ignore:.*centreline")
def test_twins_of_a_model_that_sees_a_crop_have_finders_of_their_folds(tmp_path, monkeypatch, pooled):
    patch_tubes(monkeypatch)
    tubes = tube_cases(1, 2, 3)
    own = replace(
        CROPPED_TINY, spatial_dims=3, volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(22.5, 18.0))
    )
    finder = finder_settings(
        **{"pixel_mm": 3.0, "step_mm": 4.0, "epochs": 4, "batch_size": 8, "learning_rate": 1e-2},
        **{"average_decay": 0.8, "augmentation": AugmentationSettings.off()},
        network=NetworkSettings(name="dilated", filters=(16, 16, 16)),
    )
    split = Split(training=tubes[:2], validation=tubes[2:], test=())
    _, path = train_and_save(split, own, structures=TUBES, name="cord", folder=tmp_path, finder=finder)
    events = []
    calibrate_by_folds(path, tubes, TUBES, on_event=events.append)
    assert sum(isinstance(event, Finder) for event in events) == 3
    assert sorted(one.subject_id for one in pooled[0][0]) == ["s1", "s2", "s3"]
    for number in (1, 2, 3):
        fold = tmp_path / "cord_1_calibration" / f"fold_{number}"
        (tested,) = json.loads((fold / "fold.json").read_text(encoding="utf-8"))["made_from"]["test"]
        twin = load_model(next(fold.glob("*.pt")))
        assert not known_subjects([tested.replace("tube", "s")], twin.finder.origin["subject_fingerprints"])
