"""A report in a real Chromium: it fits on A4 and on a phone, is light on paper, and has an outline for a reader."""

import re

import numpy as np
import pytest

from autoseg.model.trust import Light
from autoseg.report.figures.slices import encode_picture
from autoseg.report.pages.document import Document, Facts, Grid, Heading, Picture, Pictures, Points, Signal, Words
from autoseg.report.pages.html import to_page

pytestmark = pytest.mark.browser

A4 = 794  # CSS pixels across
LONG = "x" * 120
BLOCKS = (
    Signal(Light.RED, "Red: not suited to the model", (f"The image {LONG} is CT.",)),
    Heading("Slice by slice"),
    Words("Look at it.", is_grave=True),
    Points(("one", LONG)),
    Grid(
        "Areas of a",
        ("Slice", *(f"structure {number} mm²" for number in range(6))),
        tuple((str(line), *("12,345 (11,111–13,333)",) * 6) for line in (1, 2, "mean")),
        frozenset(range(1, 7)),
        frozenset({2}),
    ),
    Pictures((Picture(encode_picture(np.full((40, 400, 3), 9, np.uint8), "png"), "below", "a dark bar"),), 3),
    Facts((("Digest", LONG),)),
)


def brightness(page):
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_a_report_fits_is_light_on_paper_and_can_be_read_aloud(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(to_page(Document("Areas of patient 1", "made", BLOCKS, "foot")), encoding="utf-8")
    context = browser.new_context(viewport={"width": A4, "height": 1000}, color_scheme="dark")
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == A4
    assert brightness(page) < 60
    outline = page.locator("body").aria_snapshot()
    for words in (
        'heading "Areas of patient 1" [level=1]',
        'heading "Slice by slice" [level=2]',
        'table "Areas of a"',
        'columnheader "structure 5 mm²"',
        'rowheader "mean"',
        'img "a dark bar"',
    ):
        assert words in outline, outline
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    page.emulate_media(media="print")
    assert brightness(page) == 255
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate(wide) == 400
    assert brightness(page) == 255
    context.close()
