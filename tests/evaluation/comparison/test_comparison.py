"""Networks side by side: the same folds, paired differences, a verdict, and nothing done twice."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparisons import PIXELS, SLICE, learn_at_once, make_comparison, make_folds
from comparisons import STRUCTURES as NAMED
from discs import STRUCTURES, make_case, make_pair, patch_reading, quick_settings

from autoseg.errors import DataError, ReadError, SettingsError
from autoseg.evaluation.comparison import TOGETHER, ComparisonRequest, compare, earlier_base, read_comparison
from autoseg.evaluation.crossvalidation import Scenario, prepare_folds, read_model
from autoseg.evaluation.crossvalidation import run as running
from autoseg.evaluation.crossvalidation.fold import read_content, read_prediction
from autoseg.measurement.scores import PixelScore, score_slices
from autoseg.measurement.statistics import bland_altman, bootstrap_interval
from autoseg.measurement.summary import pool_subjects, summarise
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
)
from autoseg.prediction import predict, predict_probabilities

CASES = [make_case(number) for number in range(4)]
MIRRORED = AugmentationSettings(flip_probability=0.5)


def entries(*names, **changes):
    own = {name: NetworkSettings(name, filters=(4, 8)) for name in names or ("unet", "resunet")}
    return {name: quick_settings(**{"epochs": 1, "network": network, **changes}) for name, network in own.items()}


def run(folder, chosen=None, **arguments):
    return compare(CASES, STRUCTURES, chosen or entries(), folder=folder, **{"folds": 2, **arguments})


@pytest.fixture
def reading(monkeypatch):
    """Read made-up cases and learn at once: what is learnt is looked at in the whole comparison."""
    patch_reading(monkeypatch)
    learn_at_once(monkeypatch, epoch_s=0)
    # Drawing takes longer than learning here; the pictures are those of the whole comparison.
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)


@pytest.fixture
def trained(reading, monkeypatch):
    """Name the trainings in their order; those called "broken" have a loss that is no number."""
    real, names = running.train, []

    def counted(split, settings, **arguments):
        names.append(arguments["name"])
        if "broken" in arguments["name"]:
            raise DataError("The loss is not a number (NaN) from the first epoch on.")
        if "large" in arguments["name"]:
            raise RuntimeError("CUDA out of memory")
        return real(split, settings, **arguments)

    monkeypatch.setattr(running, "train", counted)
    return names


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Give one whole comparison with everything that it can have beside the entries."""
    lines, epochs = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch_reading(patch)
        found = run(
            tmp_path_factory.mktemp("whole") / "c",
            entries(augmentation=MIRRORED),
            tell=lines.append,
            on_epoch=lambda entry, fold, result: epochs.append((entry, fold, result.epoch)),
            try_copies="left-right",
            together=True,
        )
        yield found, lines, epochs


def test_the_entries_do_one_fold_after_the_other(whole):
    found, lines, epochs = whole
    assert epochs == [(entry, fold, 1) for fold in (1, 2) for entry in ("unet", "resunet")]
    assert lines[0] == "Fold 1 of 2, U-Net (1 of 2)"
    assert found.is_finished
    assert list(found.runs)[:2] == ["unet", "resunet"]
    tests = [[sorted({s.subject_id for s in fold.scores}) for fold in one.folds] for one in found.runs.values()]
    assert all(one == tests[0] for one in tests)
    assert sorted(name for fold in tests[0] for name in fold) == [case.subject_id for case in CASES]


def test_the_table_agrees_with_the_summary_of_each_entry(whole):
    found = whole[0]
    table = found.table.set_index(["entry", "structure"])
    for entry, one in found.runs.items():
        for row in summarise(one.scores).itertuples():
            mine = table.loc[entry, row.name]
            for column in (
                "dice",
                "dice_low",
                "dice_high",
                "iou",
                "hd95_mm",
                "area_bias_mm2",
                "area_limit_low_mm2",
            ):
                assert mine[column] == pytest.approx(getattr(row, column), nan_ok=True), column
        by_subject = {}
        for score in pool_subjects(one.scores):
            by_subject.setdefault(score.subject_id, []).append(score.dice)
        means = [np.mean(values) for values in by_subject.values()]
        mine = table.loc[entry, "mean"]
        assert mine["dice"] == pytest.approx(np.mean(means))
        assert (mine["dice_low"], mine["dice_high"]) == pytest.approx(bootstrap_interval(means))
        right = [score.right / score.pixels for fold in one.folds for score in fold.pixels]
        assert mine["pixel_accuracy"] == pytest.approx(np.mean(right))


def test_the_baseline_is_the_share_of_background(whole):
    table = whole[0].table
    shares = [float((make_pair(k)[1].voxels == 0).mean()) for k in range(4)]
    assert table[table["structure"] == "mean"]["baseline_accuracy"].tolist() == pytest.approx([np.mean(shares)] * 5)


def test_what_is_made_of_the_models_is_what_predict_gives(whole):
    found = whole[0]
    pairs = {
        TOGETHER: (["unet", "resunet"], "none"),
        "resunet, left-right copies": (["resunet"], "left-right"),
    }
    for entry, (members, copies) in pairs.items():
        fold = found.runs[entry].folds[1]
        models = [read_model(found.runs[member].folds[1]) for member in members]
        number = int(fold.scores[0].case_id.removeprefix("case"))
        image, reference = make_pair(number)
        wanted = score_slices(reference, predict(models, image, copies=copies))
        assert [s for s in fold.scores if s.case_id == f"case{number}"] == wanted
        costs = [found.runs[member].folds[1].cost for member in members]
        assert fold.cost.parameters == sum(cost.parameters for cost in costs)
        copied = 2 if copies == "left-right" else 1
        assert fold.cost.multiply_adds == copied * sum(cost.multiply_adds for cost in costs)
    assert sum(note.partition(":")[2].startswith(" Dice ") for note in found.notes) == 3


def test_what_takes_longer_says_so_and_what_does_not_is_silent():
    own, copied, exact = (make_folds([0.9, 0.8, 0.7, 0.6], cost={"ms_per_slice": ms}) for ms in (10.0, 20.0, 5.0))
    names = ("a, left-right copies", "a, exact centreline")
    found = make_comparison({"a": own, names[0]: copied, names[1]: exact}, derived=dict.fromkeys(names, "a"))
    assert "A, left-right copies: Dice the same beside a, for 2.0 times the time a slice." in found.notes
    assert "A, exact centreline: Dice the same beside a." in found.notes


def test_the_folder_holds_tables_verdict_and_pictures(whole):
    found = whole[0]
    pd.testing.assert_frame_equal(pd.read_csv(found.folder / "results.csv"), found.table, check_dtype=False)
    assert len(pd.read_csv(found.folder / "differences.csv")) == len(found.differences)
    subjects = pd.read_csv(found.folder / "subjects.csv")
    assert len(subjects) == 5 * 4 * 3  # entries, subjects, two structures and their mean
    assert (found.folder / "verdict.txt").read_text(encoding="utf-8").startswith(found.verdict)
    for name in ("comparison", "learning_curves", "side_by_side"):
        assert (found.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    again = read_comparison(found.folder)
    assert again.verdict == found.verdict
    assert again.notes == found.notes
    assert again.is_finished
    pd.testing.assert_frame_equal(again.table, found.table)


def test_the_same_slices_are_kept_with_every_prediction_worst_subjects_first(whole):
    found = whole[0]
    for slices in (found.worst, read_comparison(found.folder).worst):
        assert len(slices) == 6
        assert len({one.case_id for one in slices[:4]}) == 4  # of each subject one, before there are seconds
        one = slices[0]
        assert list(one.predicted) == ["unet", "resunet", TOGETHER]
        image, reference = make_pair(int(one.case_id.removeprefix("case")))
        np.testing.assert_array_equal(one.image.voxels[0], image.voxels[one.slice_index])
        np.testing.assert_array_equal(one.reference.voxels[0], reference.voxels[one.slice_index])
        for entry, predicted in one.predicted.items():
            scores = [
                s for s in found.runs[entry].scores if (s.case_id, s.slice_index) == (one.case_id, one.slice_index)
            ]
            for score in scores:
                assert (predicted.voxels == score.label).sum() == score.predicted_pixels
            both, all_of = (
                sum(s.overlap_pixels for s in scores),
                sum(s.reference_pixels + s.predicted_pixels for s in scores),
            )
            assert one.dice[entry] == pytest.approx(2 * both / all_of)


def test_it_goes_on_and_entries_can_be_added(trained, tmp_path):
    def stop_in_second_fold():
        return len(trained) == 3

    part = run(tmp_path, entries(epochs=2), should_stop=stop_in_second_fold)
    assert not part.is_finished
    assert [len(one.folds) for one in part.runs.values()] == [1, 1]
    assert part.verdict.startswith("So far: on these data")
    assert any("stopped" in note for note in part.notes)
    assert any("2 of 4 trainings are done; the numbers are of the fold 1" in note for note in part.notes)
    assert read_comparison(tmp_path).is_finished is False
    trained.clear()
    usual = entries(epochs=2)
    found = run(tmp_path, {**usual, "third": usual["unet"]}, together=True)
    assert trained == ["third_fold1", "unet_fold2", "resunet_fold2", "third_fold2"]
    assert found.is_finished
    assert not any("stopped" in note for note in found.notes)
    trained.clear()
    fewer = run(tmp_path, {"unet": usual["unet"], "third": usual["unet"]}, together=True)
    assert trained == []
    assert list(fewer.runs) == ["unet", "third", TOGETHER]
    together = fewer.runs[TOGETHER].folds[0].cost.parameters
    assert together == sum(fewer.runs[entry].folds[0].cost.parameters for entry in ("unet", "third"))
    halted = run(tmp_path, {**usual, "third": usual["unet"], "new": usual["unet"]}, should_stop=lambda: True)
    assert [len(one.folds) for one in halted.runs.values()] == [2, 2, 2, 0]
    assert any("6 of 8 trainings are done" in note for note in halted.notes)


def test_the_mean_of_models_is_made_again_when_one_of_them_is(whole, trained, tmp_path):
    shutil.copytree(whole[0].folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "resunet" / "fold_1")

    def made_from():
        places = [tmp_path / TOGETHER / f"fold_{number}" / "fold.json" for number in (1, 2)]
        return [json.loads(place.read_text())["made_from"]["trainings"] for place in places]

    before = made_from()
    run(tmp_path, entries(augmentation=MIRRORED), together=True)
    after = made_from()
    assert trained == ["resunet_fold1"]
    assert after[1] == before[1]
    assert [old == new for old, new in zip(before[0], after[0], strict=True)] == [True, False]


def test_what_the_entries_were_made_from_is_kept_for_the_next_time(whole, reading, tmp_path):
    base = entries("unet", epochs=2)["unet"]
    run(tmp_path / "begun", base=base, should_stop=lambda: True)
    wanted = Settings(epochs=2)
    assert earlier_base(tmp_path / "begun", wanted) is None  # nothing is finished
    shutil.copytree(whole[0].folder, tmp_path / "c")
    assert earlier_base(tmp_path / "c", wanted) is None  # not known
    shutil.copy(tmp_path / "begun" / "comparison.json", tmp_path / "c")
    assert earlier_base(tmp_path / "c", wanted) == base
    for other in (Settings(minutes=2.0), Settings(epochs=3), Settings(epochs=2, seed=1)):
        assert earlier_base(tmp_path / "c", other) is None
    assert earlier_base(tmp_path / "nowhere", wanted) is None


def test_a_stop_is_heard_before_models_are_put_together(whole, trained, tmp_path):
    shutil.copytree(whole[0].folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / TOGETHER)
    found = run(tmp_path, entries(augmentation=MIRRORED), together=True, should_stop=lambda: True)
    assert (trained, (tmp_path / TOGETHER).exists(), found.is_finished) == ([], False, False)


def test_an_interruption_keeps_what_is_finished(reading, tmp_path):
    def interrupt(line):
        if line.startswith("Fold 2"):
            raise KeyboardInterrupt

    assert [len(one.folds) for one in run(tmp_path, tell=interrupt).runs.values()] == [1, 1]


def test_an_entry_that_fails_is_a_note_and_the_others_go_on(trained, tmp_path):
    usual = entries("unet")["unet"]
    found = run(tmp_path, {"broken": usual, "unet": usual, "large": usual}, together=True)
    assert trained == ["broken_fold1", "unet_fold1", "large_fold1", "unet_fold2"]
    assert found.is_finished
    assert any(
        note.startswith("broken failed, and the others went on. Fold 1: The loss is not") for note in found.notes
    )
    assert any("CUDA out of memory" in note for note in found.notes)
    assert any(note.startswith("all together failed") for note in found.notes)
    assert found.verdict.startswith("Only U-Net was scored")
    assert set(read_comparison(tmp_path).table["entry"]) == {"unet"}


def test_changed_settings_are_refused_by_name_before_anything_learns(whole, trained, tmp_path):
    shutil.copytree(whole[0].folder, tmp_path, dirs_exist_ok=True)
    usual = entries(augmentation=MIRRORED)
    changed = dict(usual)
    changed["resunet"] = replace(changed["resunet"], learning_rate=0.02)
    with pytest.raises(DataError, match=r"ResUNet: .*fold_1 was made from something else: learning_rate was 0\.01"):
        run(tmp_path, {"new": entries("unet")["unet"], **changed})
    with pytest.raises(DataError, match="copies was None and is mirrored"):
        run(tmp_path, usual, copies="mirrored")
    assert trained == []


def test_entries_that_cannot_be_compared_are_refused(reading, tmp_path):
    usual = entries("unet")["unet"]
    with pytest.raises(SettingsError, match=r"different seeds \(a 0, b 1\)"):
        run(tmp_path, {"a": usual, "b": replace(usual, seed=1)})
    with pytest.raises(SettingsError, match="folder of their own"):
        run(tmp_path, {"a": usual, "A": usual})
    with pytest.raises(SettingsError, match="all together"):
        run(tmp_path, {TOGETHER: usual})
    with pytest.raises(DataError, match="a/b"):
        run(tmp_path, {"a/b": usual})
    for name in ("Con", "nul.2", "com1"):
        with pytest.raises(SettingsError, match=f"Windows has no folder of the name {name!r}"):
            run(tmp_path, {name: usual})
    with pytest.raises(SettingsError, match="Give at least one"):
        compare(CASES, STRUCTURES, {}, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_entry_two_subjects_no_millimetres_and_a_missing_structure(monkeypatch, tmp_path):
    patch_reading(monkeypatch, annotated=frozenset({1}))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "centrelines.csv").write_text("of entries that are gone", encoding="utf-8")
    few = compare(CASES[:2], STRUCTURES, entries("unet"), folder=tmp_path / "a", together=True)
    assert few.is_finished
    assert not (tmp_path / "a" / "centrelines.csv").exists()
    assert few.table["structure"].tolist() == ["core", "mean"]
    assert "nothing to compare it with" in few.verdict
    assert any("no intervals" in note for note in few.notes)

    def bare(case, structures):
        image, labels = make_pair(int(case.case_id.removeprefix("case")))
        return replace(image, affine=None), replace(labels, affine=None)

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", bare)
    chosen = entries("unet", preprocess=replace(quick_settings().preprocess, spacing_mm=None, input_shape=(32, 32)))
    found = compare(CASES[:3], STRUCTURES, chosen, folder=tmp_path / "b", folds=2)
    row = found.table.iloc[0]
    assert math.isnan(row["hd95_mm"])
    assert math.isnan(row["area_bias_mm2"])
    assert not math.isnan(row["area_bias_percent"])
    assert any("no mm" in note for note in found.notes)
    assert len(found.worst) > 0


def test_a_folder_without_a_comparison_is_said(tmp_path):
    with pytest.raises(ReadError, match="cannot be read as a comparison"):
        read_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text(json.dumps({"entries": ["a"]}))
    with pytest.raises(ReadError, match="begin anew"):
        read_comparison(tmp_path)


def test_how_long_it_takes():
    two, three, epochs = (Scenario(Settings(**time)) for time in ({"minutes": 2}, {"minutes": 3}, {"epochs": 3}))
    assert ComparisonRequest((), (), {"a": two, "b": three}, Path(), folds=4).seconds == 1200
    assert ComparisonRequest((), (), {"a": two, "b": epochs}, Path(), folds=4).seconds is None


# --- tables and verdict of scores as they are wanted


def test_differences_are_paired_by_subject():
    found = make_comparison({"a": make_folds([0.9, 0.5, 0.8, 0.7]), "b": make_folds([0.8, 0.45, None, 0.7])})
    (row,) = found.differences[found.differences["structure"] == "mean"].to_dict("records")
    assert row["n_subjects"] == 3
    assert row["dice_difference"] == pytest.approx((0.1 + 0.05 + 0) / 3)
    low, high = bootstrap_interval([0.1, 0.05, 0.0])
    assert (row["dice_difference_low"], row["dice_difference_high"]) == pytest.approx((low, high), abs=1e-9)
    assert row["p"] == 0.5  # of 8 changes of signs ++0, --0, each twice
    assert row["p_corrected"] == 0.5


def test_p_is_corrected_for_the_rivals_of_the_best_only():
    rng = np.random.default_rng(0)
    best = rng.uniform(0.8, 0.9, 10)
    scores = {name: make_folds(best - less) for name, less in (("c", 0.05), ("a", 0.0), ("b", 0.02))}
    found = make_comparison(scores).differences
    found = found[found["structure"] == "mean"].set_index(["entry", "other"])
    assert list(found.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["p"].tolist() == pytest.approx([2 / 1024] * 3)
    assert found["p_corrected"].tolist()[:2] == pytest.approx([4 / 1024] * 2)
    assert math.isnan(found["p_corrected"].iloc[2])


def test_areas_have_bias_limits_and_interval():
    folds = make_folds([0.9, 0.8, 0.7, 0.9], structures=NAMED[:1], more=50)
    folds[0] = replace(folds[0], scores=tuple(replace(s, area_error_mm2=20.0) for s in folds[0].scores))
    row = make_comparison({"a": folds}).table.iloc[0]
    wanted = bland_altman([0] * 4, [20, 20, 50, 50])
    assert row["area_bias_mm2"] == pytest.approx(wanted.bias)
    assert (row["area_limit_low_mm2"], row["area_limit_high_mm2"]) == pytest.approx((wanted.lower, wanted.upper))
    assert (row["area_bias_mm2_low"], row["area_bias_mm2_high"]) == (20, 50)
    assert row["area_bias_percent"] == pytest.approx(5.0)


def test_the_verdict_names_the_best_and_that_it_is_more_than_chance():
    best = np.linspace(0.8, 0.95, 9)
    found = make_comparison({"unet": make_folds(best - 0.05), "resunet": make_folds(best)})
    assert found.verdict == (
        "On these data ResUNet is best: mean Dice 0.875, 0.050 ahead of U-Net, which is more than chance "
        "(p = 0.0039)."
    )


def test_with_five_subjects_the_verdict_says_that_all_of_it_could_be_chance():
    found = make_comparison({"a": make_folds([0.9] * 5), "b": make_folds([0.7] * 5)})
    assert (
        "0.200 ahead of b; with 5 patients even a difference in all of them could be chance (p ≥ 0.06)"
        in found.verdict
    )
    several = make_comparison({name: make_folds([0.9 - k / 10] * 6) for k, name in enumerate("abcd")})
    assert "with 6 patients and 3 rivals even" in several.verdict
    assert "(p ≥ 0.09)" in several.verdict


def test_one_that_cannot_be_told_from_the_best_and_is_faster_is_named():
    best = np.linspace(0.8, 0.9, 8)
    change = np.array([0.02, -0.015, 0.02, -0.015, 0.02, -0.015, 0.01, -0.01])
    slow, quick = {"ms_per_slice": 60.0, "training_seconds": 90.0}, {"ms_per_slice": 20.0, "training_seconds": 90.0}
    scores = {"maskdino": make_folds(best, cost=slow), "unet": make_folds(best - change, cost=quick)}
    found = make_comparison(scores)
    assert "which may be chance (p = " in found.verdict
    assert (
        "; U-Net, 0.002 behind, cannot be told from it and segments 3.0 times as fast "
        "(20 instead of 60 ms a slice)." in found.verdict
    )
    clear = make_comparison(scores | {"unet": make_folds(best - 0.1, cost=quick)})
    assert "cannot be told" not in clear.verdict


def test_unequal_budgets_and_folds_are_noted(reading, tmp_path):
    chosen = entries()
    chosen["resunet"] = replace(chosen["resunet"], epochs=2)
    found = run(tmp_path, chosen, should_stop=lambda: True)
    assert any("no fair comparison: U-Net 1 epoch, ResUNet 2 epochs" in note for note in found.notes)


def test_an_entry_that_lacks_a_fold_is_compared_on_those_that_all_have():
    folds = make_folds([0.9, 0.5, 0.9, 0.5])
    found = make_comparison({"a": folds, "b": make_folds([0.8, 0.8, 0.8, 0.8])[:1]})
    means = found.table[found.table["structure"] == "mean"].set_index("entry")
    assert means["n_subjects"].tolist() == [2, 2]
    assert means.loc["a", "dice"] == pytest.approx(0.9)
    assert not found.is_finished
    assert len(found.runs["a"].folds) == 2


def test_the_best_of_entries_that_have_learnt_little_is_not_praised():
    words = "None has learnt enough to be used"
    assert words in make_comparison({"a": make_folds([0.2, 0.3]), "b": make_folds([0.1, 0.1])}).verdict
    assert words not in make_comparison({"a": make_folds([0.7, 0.8]), "b": make_folds([0.1, 0.1])}).verdict


def test_nothing_scored_is_no_error():
    found = make_comparison({"a": [], "b": []})
    assert found.verdict == "Nothing was scored, so nothing can be compared."
    assert not len(found.table)
    assert not found.is_finished


def test_an_entry_that_failed_later_is_not_compared_on_its_first_folds():
    scores = {"a": make_folds([0.7, 0.5] * 4), "b": make_folds([0.9, 0.5] * 4)[:1], "c": make_folds([0.6, 0.4] * 4)}
    found = make_comparison(scores, failed={"b": "Fold 2: memory."})
    assert set(found.table["entry"]) == {"a", "c"}
    assert found.verdict.startswith("On these data a is best: mean Dice 0.600, 0.100 ahead of c")
    assert any("b failed" in note for note in found.notes)
    alone = make_comparison({"b": scores["b"]}, failed={"b": "Fold 2: memory."})
    assert set(alone.table["entry"]) == {"b"}
    assert not alone.is_finished


def test_equally_good_entries_are_called_so():
    found = make_comparison({"a": make_folds([0.9, 0.8, 0.7] * 3), "b": make_folds([0.9, 0.8, 0.7] * 3)})
    assert found.verdict == "On these data a and b are equally good: mean Dice 0.800."
    apart = make_comparison({"a": make_folds([0.9, None]), "b": make_folds([None, 0.8])})
    assert apart.verdict == "No patient was scored by both a and b, so it cannot be said which is better."


def test_who_invents_structures_on_an_empty_subject_is_behind_who_does_not():
    """Subject 3 has nothing drawn: a invents something there (Dice 0), b rightly finds nothing."""
    nothing = PixelScore("case of subject3", "subject3", SLICE, SLICE, SLICE)
    folds = make_folds([0.7, 0.6, 0.8, None])
    folds[1] = replace(folds[1], pixels=(*folds[1].pixels, nothing))
    found = make_comparison({"a": make_folds([0.8, 0.7, 0.9, 0.0]), "b": folds})
    means = found.table[found.table["structure"] == "mean"].set_index("entry")
    assert means["n_subjects"].tolist() == [4, 3]
    assert means["dice"].tolist() == pytest.approx([0.6, 0.7])
    assert means["baseline_accuracy"]["b"] == pytest.approx((3 * (SLICE - PIXELS) / SLICE + 1) / 4)
    for row in found.differences.to_dict("records"):
        assert (row["entry"], row["other"], row["n_subjects"]) == ("b", "a", 4)
        assert row["dice_difference"] == pytest.approx((3 * -0.1 + 1) / 4)
    assert found.verdict.startswith("On these data b is best: mean Dice 0.700, 0.175 ahead of a")
    assert any(note.startswith("On 1 patient nothing is drawn, and only some") for note in found.notes)


def test_millimetres_are_missed_only_where_there_are_none():
    hopeless = make_folds([0.0, 0.0, 0.0])
    hopeless = [
        replace(fold, scores=tuple(replace(score, hd95_mm=None) for score in fold.scores)) for fold in hopeless
    ]
    assert not any("no mm" in note for note in make_comparison({"a": hopeless}).notes)
    assert any("no mm" in note for note in make_comparison({"a": make_folds([0.9], calibrated=False)}).notes)


def test_slices_and_volumes_are_compared_and_together_their_probabilities_are_averaged(monkeypatch, tmp_path):
    shape = {"slices": 12, "size": (32, 40), "spacing": (4.0, 3.0, 3.0)}
    patch_reading(monkeypatch, **shape)
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)
    volumes = {
        "spatial_dims": 3,
        "batch_size": 2,
        "preprocess": PreprocessSettings(),
        "volume": VolumeSettings(spacing_mm=(5.0, 4.0, 4.0), patch_size=(20, 16, 12)),
        "augmentation": AugmentationSettings.volumes(),
    }
    chosen = {**entries("unet"), "unet-3d": entries("unet", **volumes)["unet"]}
    result = run(tmp_path, chosen, together=True)
    assert result.is_finished
    assert not result.notes or not any("failed" in note for note in result.notes)
    for number in (1, 2):
        folds = [result.runs[entry].folds[number - 1] for entry in chosen]
        flat, whole = (read_model(fold) for fold in folds)
        assert (flat.settings.spatial_dims, whole.settings.spatial_dims) == (2, 3)
        for case_id in {score.case_id for score in folds[0].scores}:
            image, _ = make_pair(int(case_id.removeprefix("case")), **shape)
            each = []
            for model in (flat, whole):
                parts = list(predict_probabilities(model, image))
                each.append(np.concatenate([values for _, values in parts]))
            assert each[0].shape == each[1].shape == (12, 3, 32, 40)  # on the image's own grid
            assert np.abs(each[0] - each[1]).max() > 0.05
            mean = np.concatenate([values for _, values in predict_probabilities([flat, whole], image)])
            assert np.allclose(mean, (each[0] + each[1]) / 2, atol=1e-6)
            assert np.allclose(mean.sum(1), 1, atol=2e-3)
            labels = np.array([0, 1, 5])[mean.argmax(1)]
            assert np.array_equal(predict([flat, whole], image).voxels, labels)
            kept = read_prediction(result.runs[TOGETHER].folds[number - 1], case_id)
            assert np.mean(kept == labels) > 0.999
    costs = {entry: result.runs[entry].folds[0].cost for entry in chosen}
    assert costs["unet-3d"].multiply_adds > 0
    assert costs["unet-3d"].ms_per_slice > 0


def test_who_has_outliers_learns_anew_without_them(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)
    cases = [make_case(number) for number in range(6)]
    splits = prepare_folds(cases, STRUCTURES, folds=2).splits
    out = splits[0].training[0]
    monkeypatch.setattr(
        "autoseg.evaluation.comparison.run.outliers_of",
        lambda subjects, entry: [out.subject_id] if entry == "unet" else [],
    )
    chosen = entries()
    found = compare(cases, STRUCTURES, chosen, folder=tmp_path, folds=2, without_outliers=True)
    assert found.is_finished
    assert not [note for note in found.notes if "failed" in note]
    assert list(found.runs) == ["unet", "resunet", "unet, without outliers"]
    name = "unet, without outliers"
    learnt = [
        [set(read_content(fold.folder)["made_from"][side]) for side in ("training", "validation", "test")]
        for run_of in (found.runs["unet"], found.runs[name])
        for fold in run_of.folds
    ]
    half = len(learnt) // 2
    assert any(out.case_id in before[0] for before in learnt[:half])
    for before, after in zip(learnt[:half], learnt[half:], strict=True):
        assert after == [before[0] - {out.case_id}, before[1], before[2]]
    assert set(found.table["entry"]) == {"unet", "resunet", name}
    assert name not in found.verdict
    assert any(note.startswith("U-Net, without outliers: Dice") for note in found.notes)
    # Read again as it is; with another outlier done again, and without any that is said.
    assert read_comparison(tmp_path).table.equals(found.table)
    other = next(fold.training[0] for fold in splits if fold.training[0] != out)
    monkeypatch.setattr(
        "autoseg.evaluation.comparison.run.outliers_of",
        lambda subjects, entry: [other.subject_id] if entry == "unet" else [],
    )
    again = compare(cases, STRUCTURES, chosen, folder=tmp_path, folds=2, without_outliers=True)
    assert not [note for note in again.notes if "failed" in note]
    for fold in again.runs[name].folds:
        assert other.case_id not in read_content(fold.folder)["made_from"]["training"]
    monkeypatch.setattr("autoseg.evaluation.comparison.run.outliers_of", lambda subjects, entry: [])
    again = compare(cases, STRUCTURES, chosen, folder=tmp_path, folds=2, without_outliers=True)
    assert "nothing was learnt again without one" in " ".join(again.notes)


def test_what_follows_the_entries_takes_no_fold_away_from_them():
    whole, half = make_folds([0.9, 0.8, 0.7, 0.6]), make_folds([0.5, 0.5])[:1]
    found = make_comparison(
        {"a": whole, "b": whole, "a, without outliers": half}, derived={"a, without outliers": "a"}
    )
    assert set(found.table["entry"]) == {"a", "b"}
    assert found.table["n_subjects"].tolist() == [4] * 4
    assert not found.is_finished
