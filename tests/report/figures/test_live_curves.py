"""Curves of a training as SVG: right numbers, right colours, any number of epochs."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from discs import STRUCTURES

from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure, default_colour
from autoseg.model.model import EpochResult
from autoseg.report.figures.live_curves import BELOW, BESIDE, LEFT, MOST_POINTS, TOP, draw_curves, draw_entries


def make_rows(count, *, scored=True):
    return [
        EpochResult(
            n,
            training_loss=2 / n,
            learning_rate=0.01,
            elapsed_s=n,
            seconds_left=1,
            validation_loss=3 / n if scored else None,
            validation_dice=0.5 if scored else None,
            dice=(0.25, None) if scored else (),
            training_dice=(0.5, 0.75),
            is_best=n == 2,
        )
        for n in range(1, count + 1)
    ]


def lines_of(page):
    found = re.findall(r'<polyline points="([^"]+)" fill="none" stroke="([^"]+)"', page)
    return [([tuple(map(float, point.split(","))) for point in points.split()], colour) for points, colour in found]


def test_every_known_curve_is_drawn_in_its_colour():
    page = draw_curves(make_rows(4), STRUCTURES, planned=10)
    lines = lines_of(page)
    assert [colour for _, colour in lines] == ["currentColor", "#3b8fd0", "#e69f00", "#e69f00", "#cc79a7"]
    assert "core 0.250" in page
    assert "ring, training 0.750" in page
    assert "ring 0" not in page.replace("ring, training 0", "")
    # Dice of 0.25 and 0.5: heights above the axis are as 1 to 2.
    low, high = (170 - lines[place][0][0][1] for place in (2, 3))
    assert high == 2 * low
    # Four of ten epochs reach over a third of the axis.
    xs = [x for x, _ in lines[0][0]]
    assert xs == pytest.approx([38 + (412 - 38) * n / 9 for n in range(4)], abs=0.1)


def test_the_best_epoch_is_marked_and_said():
    page = draw_curves(make_rows(4), STRUCTURES)
    assert page.count("best epoch 2") == 4  # heading and spoken text of both charts
    assert "best epoch" not in draw_curves(make_rows(4, scored=False), STRUCTURES)
    assert "best epoch" not in draw_curves(make_rows(4), STRUCTURES, best_by="last")


def test_where_the_iou_chooses_it_has_a_chart():
    rows = [replace(row, iou=(0.2, None), training_iou=(0.4, 0.6)) for row in make_rows(4)]
    page = draw_curves(rows, STRUCTURES, best_by="iou")
    assert page.count("<svg") == 3
    assert page.index("IoU (1 is perfect)") > page.index("Dice (1 is perfect)")
    assert "core 0.200" in page
    assert draw_curves(rows, STRUCTURES).count("<svg") == 2


def test_it_is_well_formed_with_no_one_and_ten_thousand_epochs():
    for count in (0, 1, 10_000):
        page = draw_curves(make_rows(count), STRUCTURES)
        ElementTree.fromstring(page)
        assert all(len(points) <= MOST_POINTS for points, _ in lines_of(page))
        assert len(re.findall(r"<text", page)) < 40
        assert len(page) < 60_000
    assert "no epoch yet" in draw_curves([], STRUCTURES)


def test_names_of_structures_cannot_break_the_page():
    page = draw_curves(make_rows(2), [Structure(1, "<b>'a\" & b")])
    ElementTree.fromstring(page)


def test_every_picture_has_words_for_those_who_cannot_see_it():
    page = draw_curves(make_rows(3), STRUCTURES)
    labels = re.findall(r'role="img" aria-label="([^"]+)"', page)
    assert len(labels) == 2
    assert "training 0.667; validation 1.000" in labels[0]


def test_the_steps_of_axes_are_round_and_their_decimals_alike():
    for top, words in (
        (1.0, "0.0 0.2 0.4 0.6 0.8 1.0"),
        (0.0467, "0.00 0.01 0.02 0.03 0.04"),
        (83.0, "0 20 40 60 80"),
    ):
        rows = [replace(row, training_loss=top / 1.05, validation_loss=None) for row in make_rows(2)]
        chart = draw_curves(rows, STRUCTURES).split("<svg")[1]
        assert re.findall(r'text-anchor="end">([0-9.]+)<', chart) == words.split()


# --- the entries of a comparison in one fold


def test_every_entry_has_its_line_at_its_time_and_height():
    right, bottom = 640 - BESIDE, 214 - BELOW
    page = draw_entries({"original": (), "a & b": ((30.0, 0.5), (60.0, 1.0)), "later": ((15.0, 0.0),)}, fold=2)
    lines = {colour: points for points, colour in lines_of(page)}
    middle = (LEFT + right) / 2
    assert lines[hex_colour(default_colour(2))] == [(middle, (bottom + TOP) / 2), (right, TOP)]
    assert lines[hex_colour(default_colour(3))] == [((LEFT + middle) / 2, bottom)]
    assert hex_colour(default_colour(1)) not in lines  # it has no point, and keeps its colour
    assert "a &amp; b 1.000" in page
    assert "Fold 2: Dice on validation patients" in page
    assert "seconds of learning" in page
    assert ">60<" in page


def test_long_trainings_are_told_in_minutes_and_nothing_gives_nothing():
    page = draw_entries({"a": ((60.0, 0.5), (240.0, 0.7))}, fold=1)
    assert "minutes of learning" in page
    assert ">4<" in page
    assert draw_entries({"a": ()}, fold=1) == ""
    assert draw_entries({}, fold=1) == ""
