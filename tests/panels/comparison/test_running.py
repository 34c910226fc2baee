"""A comparison in the background: it can be looked at, stopped and gone on with, and learns alone."""

from dataclasses import replace

import pytest
from bases import make_base
from comparisons import alone, make_request, make_scenarios
from trainings import make_task, until

from autoseg.errors import DataError
from autoseg.panels.comparison import running as module
from autoseg.panels.comparison.running import (
    RunningComparison,
    find_running,
    finished_trainings,
    fold_folder,
    is_alike,
    start_comparison,
)
from autoseg.panels.parts.background import Kernel
from autoseg.panels.training import running
from autoseg.panels.training.running import start_training
from autoseg.training.events import Finder


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    yield alone(monkeypatch, tmp_path)
    for comparison in module.COMPARISONS:
        comparison.stop()
        assert comparison.wait(60)


def test_it_compares_and_tells_what_learns(tmp_path):
    request, seen = make_request(tmp_path), []
    comparison = RunningComparison(request)
    comparison.listen(lambda: seen.append((comparison.current, len(comparison.epochs), comparison.folds_done())))
    assert finished_trainings(request) == 0
    comparison.begin()
    assert comparison.wait(120)
    assert comparison.state == "finished", comparison.failure()
    assert seen[-1] == (None, 0, 4)
    learnt = [one for one in seen if one[0] is not None and one[1]]
    assert list(dict.fromkeys(learnt)) == [
        (("unet", 1), 1, 0),
        (("unet", 1), 2, 0),
        (("resunet", 1), 1, 1),
        (("resunet", 1), 2, 1),
        (("unet", 2), 1, 2),
        (("unet", 2), 2, 2),
        (("resunet", 2), 1, 3),
        (("resunet", 2), 2, 3),
    ]
    assert finished_trainings(request) == 4
    assert comparison.share() == 1
    assert comparison.comparison.is_finished
    # The scores so far are those of the result.
    table = comparison.comparison.table
    for entry in request.entries:
        row = table[(table["entry"] == entry) & (table["structure"] == "mean")].iloc[0]
        dice = [value for fold in (1, 2) for value in comparison.scores[entry, fold]]
        assert len(dice) == row["n_subjects"] == 4
        assert sum(dice) / 4 == pytest.approx(row["dice"])
    assert (request.folder / "results.csv").is_file()
    # So are the curves: those of the histories.
    histories = comparison.comparison.histories()
    for (entry, fold), curve in comparison.curves.items():
        own = histories[(histories["entry"] == entry) & (histories["fold"] == fold)]
        assert [dice for _, dice in curve] == pytest.approx(own["validation_dice"].tolist())
        assert [seconds for seconds, _ in curve] == pytest.approx(own["elapsed_s"].tolist())
    assert list(comparison.curves_of(2)) == list(request.entries)


def test_stopping_keeps_finished_folds_and_the_next_start_goes_on(tmp_path, quiet):
    quiet["resunet_fold1"] = 2
    request = make_request(tmp_path, epochs=8)
    first = start_comparison(request)
    until(lambda: first.folds_done() == 1 and first.epochs)
    first.stop()
    assert first.state == "stopping"
    assert first.wait(60)
    assert first.state == "stopped"
    assert first.error is None
    done = first.folds_done()
    assert done == 1
    quiet.clear()
    stamps = {path: path.stat().st_mtime_ns for path in request.folder.glob("*/fold_*/fold.json")}
    assert len(stamps) == done
    second = start_comparison(request)
    assert second.wait(120)
    assert second.state == "finished", second.failure()
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert find_running(request.folder) is second
    assert second.folds_done() == 4


def test_only_one_learns_at_a_time_whichever_panel_started_it(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "TRAININGS", Kernel())
    comparison = start_comparison(make_request(tmp_path, epochs=500))
    with pytest.raises(DataError, match="Another training \\('discs', since"):
        start_training(make_task(tmp_path, name="other"))
    with pytest.raises(DataError, match="is being compared already"):
        start_comparison(make_request(tmp_path))
    comparison.stop()
    assert comparison.wait(60)
    training = start_training(make_task(tmp_path, name="other", epochs=500))
    with pytest.raises(DataError, match="Another training \\('other', since"):
        start_comparison(make_request(tmp_path))
    training.stop()
    assert training.wait(60)


def test_folds_of_other_settings_are_a_sentence_and_stay(tmp_path):
    request = make_request(tmp_path, epochs=1)
    assert start_comparison(request).wait(120)
    other = start_comparison(make_request(tmp_path, epochs=2))
    assert other.wait(60)
    assert other.state == "failed"
    assert "was made from something else: epochs was 1 and is 2" in other.failure()
    assert other.scores == {}
    assert other.comparison is None
    assert finished_trainings(request) == 4


def test_a_network_that_fails_does_not_end_the_others(tmp_path, monkeypatch):
    from autoseg.evaluation.crossvalidation import run as crossvalidation

    real = crossvalidation.train

    def train(split, settings, **arguments):
        if settings.network.name in refused:
            raise RuntimeError("out of memory, subject3")
        return real(split, settings, **arguments)

    refused = {"resunet"}
    monkeypatch.setattr(crossvalidation, "train", train)
    request = make_request(tmp_path, names=("unet", "resunet"))
    comparison = start_comparison(request)
    assert comparison.wait(60)
    assert comparison.state == "finished"
    assert comparison.failed == {"resunet"}
    assert set(comparison.comparison.table["entry"]) == {"unet"}
    assert "subject3" not in "".join(comparison.lines)
    assert "patient 4" in "".join(comparison.lines)
    refused.add("unet")
    every = start_comparison(make_request(tmp_path / "new"))
    assert every.wait(60)
    assert every.state == "failed"
    assert "Nothing could be compared" in every.failure()
    assert "out of memory, patient 4" in every.failure()


def test_a_damaged_fold_is_not_counted_as_a_score(tmp_path):
    request = make_request(tmp_path)
    place = fold_folder(request, "unet", 1)
    place.mkdir(parents=True)
    (place / "fold.json").write_text("{")
    comparison = start_comparison(request)
    assert comparison.wait(60)
    assert comparison.scores == {} or ("unet", 1) not in comparison.scores
    assert "cannot be read as a finished fold" in comparison.failure() + " ".join(comparison.lines)


def test_the_time_left_is_that_of_the_trainings_to_come(tmp_path):
    request = make_request(tmp_path, minutes=2.0)
    comparison = RunningComparison(request)
    assert comparison.seconds_left() == pytest.approx(4 * 120)
    comparison.scores = {("unet", 1): (0.5,), ("resunet", 1): (0.5,), ("unet", 2): ()}
    assert comparison.seconds_left() == pytest.approx(120)
    assert comparison.share() == 0.75


def test_scenarios_are_compared_on_those_whom_the_model_does_not_know(tmp_path):
    request = make_scenarios(tmp_path, make_base(taught_by=["subject1"]), patients=5, known=frozenset({"subject1"}))
    assert request.learning == ("from scratch", "all parts")
    comparison = start_comparison(request)
    assert comparison.wait(120)
    assert comparison.state == "finished", comparison.failure()
    assert set(comparison.comparison.table["entry"]) == set(request.entries)
    assert sorted(comparison.comparison.subjects["subject_id"].unique()) == [f"subject{n}" for n in (0, 2, 3, 4)]
    assert comparison.folds_done() == 6
    # Without the patient whom it knows being left out, it would be refused.
    other = start_comparison(make_scenarios(tmp_path / "all", make_base(taught_by=["subject1"]), patients=5))
    assert other.wait(60)
    assert "has learnt from" in other.failure()
    assert "patient 2" in other.failure()


def test_what_is_only_scored_takes_no_time_of_learning(tmp_path):
    request = make_scenarios(tmp_path, make_base(), minutes=2.0)
    comparison = RunningComparison(request)
    assert comparison.seconds_left() == pytest.approx(2 * 2 * 120)
    comparison.scores = {("original", 1): (0.5,), ("from scratch", 1): (0.5,)}
    assert comparison.seconds_left() == pytest.approx(3 * 120)


def test_what_is_told_has_no_ids(tmp_path):
    comparison = RunningComparison(make_request(tmp_path))
    comparison._hear(Finder(("subject1", "subject3"), 1, 2))
    assert comparison.doing.fold == 1
    assert comparison.lines == ["Centrelines, fold 1 of 2: patient 2, patient 4"]


def test_the_same_is_asked_for_only_where_all_is_alike(tmp_path):
    request = make_request(tmp_path)
    assert is_alike(request, make_request(tmp_path))
    others = (
        {"folds": 3},
        {"known": ("subject1",)},
        {"together": True},
        {"try_copies": "mirrored"},
        {"exact": True},
    )
    for changes in others:
        assert not is_alike(request, replace(request, **changes)), changes
    assert not is_alike(request, make_request(tmp_path, epochs=3))
    assert not is_alike(request, make_request(tmp_path, names=("unet",)))
    assert not is_alike(request, make_request(tmp_path, patients=5))
