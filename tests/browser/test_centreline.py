"""Points clicked on slices in JupyterLab and a real Chromium: where they land, on the page and in millimetres."""

from pathlib import Path

import pytest
from lab import write_notebook
from tubes import make_tube

from autoseg.image.image import Image
from autoseg.model.centreline import read_centreline

pytestmark = pytest.mark.browser

CELL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from tubes import cropping
from tubes import make_tube
from untrained import Fixed
from autoseg.files.nifti.volumes import write_nifti
from autoseg.panels import CentrelinePanel, ChosenModel, Patient

write_nifti(Path("patient") / "tube7.nii.gz", make_tube(7)[0])
model = ChosenModel(cropping(finder=False), Path("cord.pt"))
CentrelinePanel(Fixed(model), Fixed(Patient(Path("patient"))), output="out")
"""
# Where the cross is drawn, in parts of the picture.
CROSS = """() => {
  const [over, cross] = [".asv-over", ".asv-cross"].map((s) => document.querySelector(s).getBoundingClientRect());
  const [x, y] = [cross.left + cross.width / 2 - over.left, cross.top + cross.height / 2 - over.top];
  return [x / over.width, y / over.height];
}"""


def test_a_point_lands_where_it_was_clicked(lab, opened):
    home = lab.project("centreline")
    notebook = opened(write_notebook(home / "points.ipynb", [CELL]), viewport={"width": 1280, "height": 1400})
    page = notebook.page
    notebook.run_all()
    notebook.wait_for_text("There is no automatic centreline")
    page.wait_for_selector(".asv-canvas[data-slice]")
    places = {4: (0.3, 0.55), 20: (0.625, 0.4)}
    for number, (index, (right, down)) in enumerate(places.items(), start=1):
        _go_to(page, index)
        size = page.locator(".asv-canvas").bounding_box()
        at = {"x": size["width"] * right, "y": size["height"] * down}
        page.locator(".asv-canvas").click(position=at)
        notebook.wait_for_text(f"{number}: slice {index + 1} of 24")
        page.wait_for_selector(".asv-cross")
        assert page.evaluate(CROSS) == pytest.approx([right, down], abs=0.005)
    _drag(page)  # changes the window, and is no click
    notebook.wait_for_text("The clicked curve is used (pink): 2 points")
    _go_to(page, 12)
    page.wait_for_selector(".asv-ring")  # between the points the curve is drawn, and no cross
    assert page.locator(".asv-cross").count() == 0
    notebook.button("Save").click()
    notebook.wait_for_text("The centreline is saved")
    notebook.button("Remove all").click()
    notebook.wait_for_text("There is no automatic centreline")
    (path,) = (home / "out" / "centrelines").glob("*.csv")
    clicks = read_centreline(path).clicks_mm
    wanted = [_in_mm(make_tube(7)[0], index, *place) for index, place in places.items()]
    assert [point == pytest.approx(mm, abs=0.3) for point, mm in zip(clicks, wanted, strict=True)] == [True, True]


def _in_mm(image: Image, index: int, right: float, down: float) -> tuple[float, ...]:
    _, rows, columns = image.shape
    return tuple((image.affine @ [index, down * rows - 0.5, right * columns - 0.5, 1])[:3])


def _go_to(page, index):
    page.locator(".asv-slider").focus()
    page.keyboard.press("Home")
    for _ in range(index):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'.asv-canvas[data-slice="{index}"]')


def _drag(page):
    size = page.locator(".asv-canvas").bounding_box()
    page.mouse.move(size["x"] + 50, size["y"] + 50)
    page.mouse.down()
    page.mouse.move(size["x"] + 90, size["y"] + 60, steps=4)
    page.mouse.up()
