"""Panels' HTML: words are escaped, kinds differ by more than colour, pictures have a text."""

import base64

import numpy as np

from autoseg.panels.parts.style import heading, notice, picture, text
from autoseg.report.figures.slices import encode_picture


def test_words_are_words_and_never_markup():
    for made in (text("<b>&"), heading("<b>&"), notice("<b>&", details="<b>&")):
        assert "<b>" not in made
        assert "&lt;b&gt;&amp;" in made


def test_lines_stay_lines():
    assert "one<br>two" in text("one\ntwo")


def test_every_kind_has_a_sign_of_its_own_beside_the_colour():
    signs = {notice("x", kind).split('aria-hidden="true">')[1][0] for kind in ("note", "warning", "error", "done")}
    assert len(signs) == 4


def test_errors_are_announced_at_once():
    assert 'role="alert"' in notice("x", "error")
    assert 'role="status"' in notice("x", "warning")


def test_details_are_folded():
    assert "<details" in notice("x", details="why")
    assert "<details" not in notice("x")


def test_a_picture_says_what_it_shows():
    shown = picture(LIGHT, 'a "heart"')
    assert 'alt="a &quot;heart&quot;"' in shown
    assert in_text(LIGHT) in shown


def test_a_picture_keeps_its_place_free_before_it_is_there():
    assert 'width="30" height="20"' in picture(LIGHT, "a heart")
    assert "width:30px;height:auto" in picture(LIGHT, "a heart")
    assert "width:50%;height:auto" in picture(LIGHT, "a heart", width="50%")


LIGHT, DARK = (encode_picture(np.full((20, 30, 3), grey, np.uint8), "png") for grey in (200, 20))


def in_text(png):
    return f"base64,{base64.b64encode(png).decode('ascii')}"


class Figure:
    def pngs(self):
        return LIGHT, DARK


def test_a_figure_is_there_for_a_light_page_and_for_a_dark_one():
    light, dark = picture(Figure(), "a heart").split("<img")[1:]
    assert 'class="autoseg-in-light"' in light
    assert 'class="autoseg-in-dark" hidden' in dark
    assert (in_text(LIGHT) in light, in_text(DARK) in dark) == (True, True)
