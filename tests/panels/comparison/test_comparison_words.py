"""What is said while networks are compared: how long it takes, what learns, and how it stands."""

from dataclasses import replace
from pathlib import Path

import pytest
from bases import make_base
from comparisons import make_request, make_scenarios

from autoseg.evaluation.comparison import ComparisonRequest
from autoseg.evaluation.crossvalidation import FoldBegins, FoldEpoch, FoldFailed, Scenario
from autoseg.model.model import EpochResult
from autoseg.model.settings.settings import Settings
from autoseg.panels.comparison.comparison import (
    describe_folder,
    describe_length,
    describe_outcome,
    describe_running,
    progress_table,
)
from autoseg.panels.comparison.running import RunningComparison
from autoseg.panels.parts.background import State
from autoseg.training.events import Finder
from autoseg.training.finder import finder_settings


def ask(entries, folds, **more):
    named = {name: Scenario.of(one) for name, one in entries.items()}
    return ComparisonRequest((), (), named, Path("nowhere"), folds=folds, **more)


def test_the_length_is_told_with_a_little_for_reading_and_scoring():
    five = ask({name: Settings(minutes=2) for name in "abcde"}, 3)
    assert describe_length(five) == "5 networks × 3 folds × 2 minutes: about 33 minutes."
    assert "× 1 minute: " in describe_length(ask({"a": Settings(minutes=1)}, 3))
    assert "× 40 epochs: how long that takes is seen" in describe_length(ask({"a": Settings(epochs=40)}, 2))


def test_the_folder_is_told_and_what_lies_there(tmp_path):
    request = make_request(tmp_path)
    assert describe_folder(request) == f"It will be kept in {request.folder}."
    place = request.folder / "unet" / "fold_2"
    place.mkdir(parents=True)
    (place / "fold.json").write_text("{}")
    assert "discs_comparison is there already, with 1 finished training of these: it goes on" in describe_folder(
        request
    )


def test_what_learns_and_how_far_it_is(tmp_path):
    running = RunningComparison(make_request(tmp_path, minutes=2.0))
    running.state = State.LEARNING
    assert describe_running(running) == "Learning: 0 of 4 trainings are done, about 9 minutes left."
    running._hear(FoldBegins("unet, mirrored copies", 1, "…"))
    words = describe_running(running)
    assert words.startswith("Fold 1 of 2, U-Net, mirrored copies: reading or segmenting … 0 of")
    running._hear(FoldBegins("resunet", 1, "…"))
    running.current, running.scores = ("resunet", 1), {("unet", 1): (0.5, 0.75)}
    running.epochs = (EpochResult(12, 0.5, 0.1, 30.0, 90.0, validation_dice=0.834),)
    words = describe_running(running)
    assert words.startswith("Learning: fold 1 of 2, ResUNet, epoch 12, Dice 0.83 on validation patients. 1 of 4")
    assert "about 6 minutes left" in words
    assert running.share() == pytest.approx(0.3125)
    running.state = State.STOPPED
    assert "Stopped: 1 of 4 trainings are done and kept" in describe_running(running)


def test_the_table_fills_in_fold_by_fold(tmp_path):
    running = RunningComparison(make_request(tmp_path))
    running.state, running.current = State.LEARNING, ("resunet", 1)
    running.scores = {("unet", 1): (0.5, 0.7, 0.9), ("unet", 2): (0.1,)}
    words = progress_table(running)
    assert [part in words for part in (">0.700<", ">0.100<", ">0.550<", "Mean so far")] == [True] * 4
    assert words.count("learning …") == words.count("waits") == 1
    running._hear(FoldFailed("resunet", 1, "…"))
    running.state = State.FINISHED
    assert progress_table(running).count("failed") == 2


def test_what_is_left_of_a_failure_is_told(tmp_path):
    running = RunningComparison(make_request(tmp_path))
    running.error = MemoryError()
    assert "not enough memory" in describe_outcome(running)
    assert "Nothing of what is finished is lost" not in describe_outcome(running)
    running.scores = {("unet", 1): (0.5,)}
    assert "1 of 4 trainings are kept" in describe_outcome(running)


def test_the_length_of_scenarios_counts_what_learns_and_what_finds_centrelines():
    flat, deep = make_base(), make_base(dims=3, crop_mm=(30.0, 30.0))
    entries = {"original": Scenario.original(flat), "tuned": Scenario(Settings(minutes=2), flat)}
    words = describe_length(ask(entries, 3))
    assert words == "1 scenario that learns × 3 folds × 2 minutes: about 7 minutes."
    cropped = replace(deep.settings, epochs=None, minutes=2.0)
    entries = {name: Scenario(cropped, deep) for name in "ab"}
    words = describe_length(ask(entries, 3, finder=finder_settings(minutes=1.5)))
    assert words == "2 scenarios × 3 folds × 2 minutes, and 3 × 1.5 minutes to find centrelines: about 18 minutes."
    few = {"a": entries["a"], "b": replace(entries["b"], subjects=1)}  # with a finder of its own
    assert "3 folds × 2 minutes, and 6 × 1.5 minutes to find" in describe_length(
        ask(few, 3, finder=finder_settings(minutes=1.5))
    )
    assert "Nothing learns" in describe_length(ask({"original": Scenario.original(flat)}, 3))


def test_what_finds_centrelines_and_what_learns_again_are_named(tmp_path):
    running = RunningComparison(make_scenarios(tmp_path, make_base()))
    running.state = State.LEARNING
    running._hear(Finder(("subject1",), 1, 2))
    words = describe_running(running)
    assert words.startswith("Centrelines, fold 1 of 2: learning to find them … 0 of 6 models are done")
    running._hear(FoldBegins("all parts", 1, "…"))
    running._hear(Finder(("subject1",), 2, 2))
    running._hear(FoldEpoch("all parts", 1, "", EpochResult(3, 0.5, 0.1, 30.0, 90.0)))
    assert describe_running(running).startswith("Learning: fold 1 of 2, all parts, epoch 3")
    running._hear(FoldBegins("all parts, without outliers", 1, "…"))
    running.current = ("all parts", 1)
    running.epochs = (EpochResult(3, 0.5, 0.1, 30.0, 90.0),)
    assert describe_running(running).startswith("Learning: fold 1 of 2, all parts, without outliers, epoch 3.")
    assert ">Scenario<" in progress_table(running)
