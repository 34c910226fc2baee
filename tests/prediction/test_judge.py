"""What is added to areas: an expected Dice, a flag where it is poor; of one model, of several, and the switch."""

from dataclasses import replace

import numpy as np
import pytest
from discs import make_pair
from folders import add_stacks
from untrained import untrained_model

from autoseg.cli import main
from autoseg.measurement.areas import Usual, measure_areas
from autoseg.model.model import save_model
from autoseg.model.trust import Quality, Trust
from autoseg.model.trust.quality import EMPTY, FOUND, SIGNALS
from autoseg.prediction import Predicted
from autoseg.prediction.judge import can_expect, expect_quality, usual_of
from autoseg.prediction.run import mean_of, segment_folder

AT = {name: place for place, name in enumerate(SIGNALS)}


def _quality(constant=0.0, **changes):
    """Expect 1 / (1 + exp(-constant)) of every slice."""
    found = (constant, *(0.0,) * (len(FOUND) - 1))
    empty = (constant, *(0.0,) * (len(EMPTY) - 1))
    usual = {
        "areas": (0.0, 0.0),
        "pieces": (1, 3),
        "jumps": (2.0, 2.5),
        "sides": (3.0, 3.0),
        "always": (True, False),
    }
    return Quality(found=found, empty=empty, error=(0.0,) * len(FOUND), **{**usual, **changes})


def _knowing(quality, **changes):
    return replace(untrained_model(), trust=Trust(quality=quality), **changes)


@pytest.fixture
def predicted():
    """Two slices with both structures, of which the first has the signal of its slice and structure."""
    _, label_map = make_pair(1)
    voxels, structures = np.clip(label_map.voxels, 0, 2), untrained_model().structures
    label_map = replace(label_map, structures=structures, voxels=voxels, annotated=None)
    signals = np.ones((2, 2, len(SIGNALS)), np.float32)
    return Predicted(label_map, signals)


def test_each_slice_and_structure_gets_what_its_signals_tell(predicted):
    weights = tuple(1.0 if name == "peak" else 0.0 for name in FOUND)
    predicted.signals[:, :, AT["peak"]] = [[0.9, 0.5], [0.3, 0.8]]
    model = _knowing(replace(_quality(), found=weights, poor_found=0.6))
    rows = tuple(measure_areas(predicted.label_map))
    judged = expect_quality((model,), predicted, rows)
    assert [round(row.expected_dice, 3) for row in judged] == [0.9, 0.5, 0.3, 0.8]
    assert [row.flags for row in judged] == ["", "poor", "poor", ""]
    # Of the area nothing is told, so that it is off by e^0; where nothing was found there is no area to be off.
    assert [row.expected_error_percent for row in judged] == pytest.approx([100.0] * 4)
    empty = tuple(replace(row, pixel_count=0) for row in rows)
    assert [row.expected_error_percent for row in expect_quality((model,), predicted, empty)] == [None] * 4
    flagged = tuple(replace(row, flags="jump") for row in rows)
    assert [row.flags for row in expect_quality((model,), predicted, flagged)][1] == "jump; poor"


def test_of_several_models_the_mean_counts_whatever_the_order_of_their_structures(predicted):
    small = (np.log(0.1), *(0.0,) * (len(FOUND) - 1))
    first, second = _knowing(_quality(2.0)), _knowing(replace(_quality(-2.0), error=small))
    rows = tuple(measure_areas(predicted.label_map))
    for row in expect_quality((first, second), predicted, rows):
        assert row.expected_dice == pytest.approx(0.5)
        assert row.expected_error_percent == pytest.approx(55.0)  # of 100 and 10
        assert row.flags == ""  # one of two is no majority
    weights = tuple(1.0 if name == "peak" else 0.0 for name in FOUND)
    predicted.signals[:, :, AT["peak"]] = [[0.9, 0.5], [0.3, 0.8]]
    one = _knowing(replace(_quality(), found=weights))
    turned = replace(one, structures=one.structures[::-1])
    alone = [row.expected_dice for row in expect_quality((one,), predicted, rows)]
    both = [row.expected_dice for row in expect_quality((one, turned), predicted, rows)]
    assert both == pytest.approx(alone)


def test_one_model_that_does_not_know_is_enough_to_say_nothing(predicted):
    rows = tuple(measure_areas(predicted.label_map))
    knowing, other = _knowing(_quality()), untrained_model()
    assert expect_quality((knowing, other), predicted, rows) == rows
    assert not can_expect((knowing, other))
    assert can_expect((knowing,))
    assert usual_of((knowing, other)) is None


def test_of_several_models_the_widest_bounds_are_usual():
    one, other = _knowing(_quality()), _knowing(_quality(pieces=(4, 1), jumps=(2.0, 4.0), always=(True, True)))
    assert usual_of((one,)) == {1: Usual(1, 2.0, 3.0, True), 2: Usual(3, 2.5, 3.0, False)}
    assert usual_of((one, other)) == {1: Usual(4, 2.0, 3.0, True), 2: Usual(3, 4.0, 3.0, False)}


def test_a_run_looks_twice_unless_it_is_told_not_to(tmp_path, monkeypatch):
    stacks = add_stacks(tmp_path / "in")
    model = _knowing(_quality(-3.0))
    run = segment_folder(model, stacks, output=tmp_path / "out")
    assert all(row.expected_dice == pytest.approx(1 / (1 + np.exp(3))) for row in run.measurements)
    assert all("poor" in row.flags for row in run.measurements)
    once = segment_folder(model, stacks, output=tmp_path / "out", look=False)
    assert all(row.expected_dice is row.expected_error_percent is None for row in once.measurements)
    assert not any("poor" in row.flags for row in once.measurements)
    assert [row.pixel_count for row in once.measurements] == [row.pixel_count for row in run.measurements]


def test_the_command_line_has_the_switch(tmp_path, monkeypatch, capsys):
    stacks = add_stacks(tmp_path / "in")
    save_model(_knowing(_quality(-3.0)), tmp_path / "heart.pt")
    looks = []
    monkeypatch.setattr(
        "autoseg.prediction.run.mean_of",
        lambda *given, look: looks.append(look) or mean_of(*given, look=look),
    )
    model = next(tmp_path.glob("*.pt"))
    for more in ((), ("--no-quality",)):
        assert main(["predict", str(model), str(stacks), "--output", str(tmp_path / "out"), *more]) == 0
    assert looks == [True, False]
