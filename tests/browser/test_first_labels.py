"""From a folder without labels to the first proposals in JupyterLab and a real Chromium, with few clicks."""

import sys
import time
from pathlib import Path

import pytest
from discs import write_unlabelled
from lab import write_notebook

from autoseg.data.cases import find_cases
from autoseg.data.corrections.drawing import read_looked_at

pytestmark = pytest.mark.browser
TESTS = Path(__file__).parents[1]
# Beside the drawing; Run All takes two of them.
MOST_CLICKS = 15

# One step of a small network in place of a minute: the way is tested here, and not the result.
CELL = f"""
import sys
from dataclasses import replace
from functools import partial
from autoseg import panels
from autoseg.panels.data import first_labels
from autoseg.training import rounds
sys.path.insert(0, {str(TESTS)!r})
from discs import quick_settings
plan, small = rounds.plan_settings, quick_settings(epochs=1)
rounds.plan_settings = lambda found, **how: replace(plan(found, **how), settings=small)
first_labels.learn_round = partial(rounds.learn_round, epochs=1)
panels.DataPanel(start=".")
"""


def test_from_a_folder_without_labels_to_the_first_proposals(lab, opened, capsys):
    home = lab.project("first_labels")
    write_unlabelled(home / "scans")
    notebook = opened(write_notebook(home / "first.ipynb", [CELL]))
    page = notebook.page
    notebook.run_all()
    path = page.locator("input[placeholder^='Type or paste a path']")
    path.wait_for(timeout=60_000)
    path.fill(str(home / "scans"))
    path.press("Enter")
    notebook.click(notebook.button("Use this folder"))
    names = page.locator("input[placeholder='psoas left, psoas right']")
    names.wait_for(timeout=60_000)
    notebook.click(names)
    names.fill("core")
    notebook.click(page.get_by_label("Drawn by"))
    page.get_by_label("Drawn by").fill("AB")
    page.get_by_label("Drawn by").press("Tab")
    notebook.click(notebook.button("Draw on these images"))
    viewer = page.locator(".asv", has=page.locator(".asv-drawing:not([hidden])"))
    viewer.wait_for(timeout=60_000)
    suggested = page.locator("button", has_text="slice").filter(has_text="Image")
    assert suggested.count() == 5
    places = set()
    for number in range(3):
        button = suggested.nth(number)
        numbers = [word.strip(",") for word in button.inner_text().split()]
        image, index = (int(word) - 1 for word in numbers if word.isdigit())
        places.add((image, index))
        notebook.click(button)
        page.wait_for_function(
            "([viewer, words]) => viewer.textContent.includes(words)",
            arg=[viewer.element_handle(), f"Slice {index + 1} of 3 · image {image + 1}"],
        )
        canvas = viewer.locator(f".asv-canvas[data-slice='{index}']")
        canvas.wait_for()
        canvas.scroll_into_view_if_needed()
        place = canvas.bounding_box()
        page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
        page.mouse.down()
        page.mouse.up()
        until_looked_at(home / "scans_drawn" / "round_1", len(places))
    notebook.click(notebook.button("Learn (one minute)"))
    notebook.wait_for_text("Outlines are proposed", seconds=120)
    with capsys.disabled():
        sys.stdout.write(f"\nthe first proposals after {notebook.clicks} clicks beside the drawing ")
    assert notebook.clicks <= MOST_CLICKS
    assert (home / "scans_drawn" / "round_2").is_dir()
    found = find_cases(home / "scans_drawn" / "labelled")
    assert len(found.cases) == len(places) == 3
    assert [one.name for one in found.structures] == ["core"]
    assert notebook.faults() == []
    notebook.shot_cells("first_labels", ("Dark", "Light"))


def until_looked_at(kit, count):
    """Wait until so many slices are kept on the disk as looked at."""
    end = time.monotonic() + 20
    while sum(map(len, read_looked_at(kit).values())) < count:
        assert time.monotonic() < end, "the stroke was not saved in time"
        time.sleep(0.05)
