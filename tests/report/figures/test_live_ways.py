"""Validation curves of a fold as SVG: each where it belongs, in its own colour."""

import re

from autoseg.image.overlay import hex_colour
from autoseg.image.structures import default_colour
from autoseg.report.figures.live_curves import BOTTOM, LEFT, RIGHT, TOP, draw_ways


def lines_of(page):
    found = re.findall(r'<polyline points="([^"]+)" fill="none" stroke="([^"]+)"', page)
    return {colour: [tuple(map(float, point.split(","))) for point in points.split()] for points, colour in found}


def test_every_entry_has_its_line_at_its_time_and_height():
    page = draw_ways({"original": (), "a & b": ((30.0, 0.5), (60.0, 1.0)), "later": ((15.0, 0.0),)}, fold=2)
    lines = lines_of(page)
    middle = (LEFT + RIGHT) / 2
    assert lines[hex_colour(default_colour(2))] == [(middle, (BOTTOM + TOP) / 2), (RIGHT, TOP)]
    assert lines[hex_colour(default_colour(3))] == [((LEFT + middle) / 2, BOTTOM)]
    assert hex_colour(default_colour(1)) not in lines  # it has no point, and keeps its colour
    assert "a &amp; b 1.000" in page
    assert "Fold 2: Dice on validation patients" in page
    assert "seconds of learning" in page
    assert ">60<" in page


def test_long_trainings_are_told_in_minutes_and_nothing_gives_nothing():
    page = draw_ways({"a": ((60.0, 0.5), (240.0, 0.7))}, fold=1)
    assert "minutes of learning" in page
    assert ">4<" in page
    assert draw_ways({"a": ()}, fold=1) == ""
    assert draw_ways({}, fold=1) == ""
