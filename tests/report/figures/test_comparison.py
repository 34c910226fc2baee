"""Networks side by side: what is drawn stands for the numbers of the table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from comparisons import STRUCTURES, make_comparison, make_folds
from discs import make_pair

from autoseg.errors import DataError
from autoseg.evaluation.comparison import SideBySide
from autoseg.image.overlay import hex_colour
from autoseg.report.figures import show_comparison, show_learning_curves, show_side_by_side

COST = {"ms_per_slice": 20.0, "parameters": 1_470_000}


def compared():
    best = [0.9, 0.8, 0.85, 0.95]
    folds = make_folds(best, structures=STRUCTURES, cost=COST, more=30)
    return make_comparison(
        {"unext": make_folds([0.7] * 4, structures=STRUCTURES), "a": folds},
    )


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_the_best_is_on_top_and_the_numbers_are_those_of_the_table():
    found = compared()
    figure = show_comparison(found)
    dice, area, time, size = figure.axes
    assert [label.get_text() for label in dice.get_yticklabels()] == ["a", "UNeXt"]
    rows = found.table.set_index(["entry", "structure"])
    mean = rows.loc["a", "mean"]
    assert words(dice)[0] == f"{mean['dice']:.3f} [{mean['dice_low']:.3f} to {mean['dice_high']:.3f}]"
    for structure in STRUCTURES:
        own = [line for line in dice.lines if line.get_color() == hex_colour(structure.rgb)]
        row = rows.loc["a", structure.name]
        assert list(own[0].get_xdata()) == pytest.approx([row["dice"]])
        assert list(own[1].get_xdata()) == pytest.approx([row["dice_low"], row["dice_high"]])
        assert 0 < own[0].get_ydata()[0] < 1  # below its entry's mean, above the next entry
    bias = [line.get_xdata()[0] for line in area.lines if line.get_marker() == "o"]
    assert bias[:2] == pytest.approx([3.0, 3.0])
    assert words(time) == ["20 ms", "not measured"]
    assert words(size) == ["1.47 M", "not measured"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["mean over structures", "core", "ring"]


def test_two_subjects_have_no_interval_and_wide_errors_are_arrows():
    found = make_comparison({"a": make_folds([0.9, 0.8], more=1500)})
    dice, area, *_ = show_comparison(found).axes
    assert words(dice)[0] == "0.850"
    assert [line.get_marker() for line in area.lines][:1] == [">"]
    assert area.lines[0].get_xdata()[0] == 100
    with pytest.raises(DataError, match="Finish at least one fold"):
        show_comparison(make_comparison({"a": []}))


class Learnt:
    def __init__(self, table):
        self.table = table

    def histories(self):
        return self.table


def test_curves_are_the_mean_of_the_folds_while_all_learn():
    rows = [
        {"entry": "a", "title": "A", "fold": fold, "elapsed_s": second, "validation_dice": dice}
        for fold, end in ((1, 180.0), (2, 240.0))
        for second, dice in ((60.0, 0.2 * fold), (end, 0.4 * fold))
    ]
    ax = show_learning_curves(Learnt(pd.DataFrame(rows))).axes[0]
    assert ax.get_xlabel() == "minutes of learning"
    mean = ax.lines[-1]
    assert mean.get_label() == "A"
    assert (mean.get_xdata()[0], mean.get_xdata()[-1]) == (1.0, 3.0)
    # At 3 minutes the first fold has 0.4; the second is two thirds of the way from 0.4 to 0.8.
    assert mean.get_ydata()[-1] == pytest.approx((0.4 + 0.4 + 0.4 * 2 / 3) / 2)
    with pytest.raises(DataError, match="no curves"):
        show_learning_curves(Learnt(pd.DataFrame(rows).assign(validation_dice=np.nan)))
    with pytest.raises(DataError, match="no curves"):
        show_learning_curves(Learnt(pd.DataFrame()))


def test_the_thick_curve_is_smoothed_over_five_epochs_where_there_are_ten():
    dice = [0.1, 0.5, 0.2, 0.6, 0.3, 0.7, 0.4, 0.8, 0.5, 0.9]
    rows = [
        {"entry": "a", "title": "A", "fold": 1, "elapsed_s": float(n), "validation_dice": value}
        for n, value in enumerate(dice, start=1)
    ]
    thin, thick = show_learning_curves(Learnt(pd.DataFrame(rows))).axes[0].lines
    assert thin.get_ydata().tolist() == dice

    def at(line, *epochs):
        return np.interp(epochs, line.get_xdata(), line.get_ydata())

    assert at(thick, 1, 2, 5, 10) == pytest.approx([0.1, 0.3, 0.34, sum(dice[5:]) / 5], abs=0.02)
    _, few = show_learning_curves(Learnt(pd.DataFrame(rows[:9]))).axes[0].lines
    assert at(few, 2, 9) == pytest.approx([0.5, 0.5], abs=0.02)
    _, plain = show_learning_curves(Learnt(pd.DataFrame(rows)), smoothed=1).axes[0].lines
    assert at(plain, 2, 10) == pytest.approx([0.5, 0.9], abs=0.02)


def side(number, entries=("a", "unext")):
    image, labels = make_pair(number, slices=1)
    image = replace(image, source=replace(image.source, first_slice=5))
    predicted = {
        entry: replace(labels, voxels=np.roll(labels.voxels, 3 * k, axis=2)) for k, entry in enumerate(entries)
    }
    return SideBySide(f"case{number}", number, 4, image, labels, predicted, {"a": 1.0, "unext": 0.8})


def test_each_row_has_the_drawn_slice_and_every_entry():
    found = replace(compared(), worst=(side(1), side(2)))
    figure = show_side_by_side(found)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        *("case1,\nslice 5, drawn", "UNeXt\nDice 0.80", "a\nDice 1.00"),
        *("case2,\nslice 5, drawn", "UNeXt\nDice 0.80", "a\nDice 1.00"),
    ]
    assert len({ax.get_xlim() for ax in figure.axes[:3]}) == 1
    outlined = [bool(ax.collections) for ax in figure.axes[:3]]
    assert outlined == [False, True, True]
    hidden = show_side_by_side(found, names=False, most=1)
    assert hidden.axes[0].get_title() == "image 1,\nslice 5, drawn"
    assert len(hidden.axes) == 3
    with pytest.raises(DataError, match="no slices"):
        show_side_by_side(compared())
