"""The slice viewer and the table of areas in JupyterLab and a real Chromium.

Keys, clicks, a busy kernel, files, and the light above the numbers.
"""

import os
import signal
from pathlib import Path

import pytest
from lab import write_notebook

from autoseg.files.nifti.volumes import read_nifti

pytestmark = pytest.mark.browser
TESTS = Path(__file__).parents[1]

# Slice k of image i has the grey level 4 k (+ 2 in image 2) at the corner, so a picture tells its own number.
MADE_UP = """
import os
import sys
import time
from pathlib import Path
import numpy as np
from IPython.display import display
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.measurement.areas import measure_areas
from autoseg.panels.parts.area_table import AreaTable
from autoseg.panels.parts.viewer import SliceViewer
from autoseg.image.structures import Structure

def made_up(name, extra):
    source = Source(name, spacing_source="header", slice_spacing_source="header")
    voxels = np.zeros((30, 64, 64), np.int16) + 4 * np.arange(30, dtype=np.int16)[:, None, None] + extra
    voxels[:, -1, -2:] = 0, 1000 if extra else 255  # the second image needs two bytes a pixel
    labels = np.zeros(voxels.shape, np.uint8)
    for k in range(5, 25):
        labels[k, 10:30, 10 : 20 + k] = 1
        labels[k, 15:20, 12:18] = 2
    labels[12] = 0
    affine = affine_from_spacing((3.0, 1.0, 0.5))
    return Image(voxels, affine, source=source), LabelMap(labels, affine, structures, source=source)

structures = (Structure(1, "cord", includes=(2,)), Structure(2, "grey matter"))
results = [made_up("series-1", 0), made_up("series-2", 2)]
rows = [row for image, labels in results for row in measure_areas(labels, image=image)]
viewer = SliceViewer(results, rows)
files = {"areas.csv": b"\\xef\\xbb\\xbfa,b\\r\\n", "areas.xlsx": lambda: b"PK\\x00\\xff"}
table = AreaTable(rows, structures, files=files)
table.lead(viewer)

def held_up(*place, answer=viewer.slice_message):  # a kernel that is busy until the test lets it go on
    while not Path("go").exists():
        time.sleep(0.05)
    return answer(*place)

viewer.slice_message = held_up

# A run whose light is red, with intervals and what Dice is expected: its numbers wait for a click.
sys.path.insert(0, TESTS)
from lit import lit
from untrained import Fixed
from autoseg.panels.patient.areas import AreasPanel
from autoseg.prediction.run import Run
from autoseg.report.area_tables import areas_table

run = lit(Run(Path("."), tuple(results), tuple(rows), areas_table(rows), (), ()), "red")
areas = AreasPanel(Fixed(run))
withheld = SliceViewer(run.results, run.measurements, withheld="No numbers.")
areas.light.observe(lambda change: setattr(withheld, "withheld", ""), "value")

# One in which outlines are corrected.
from autoseg.data.corrections.drawing import Drawing
from autoseg.data.corrections.kit import read_kit, write_kit

Path("pid").write_text(str(os.getpid()))
kit = Path("kit")
painted = SliceViewer(results, rows)
painted.draw(Drawing(read_kit(kit) if kit.exists() else write_kit(kit, results), results, by="AB"))
"""
CELLS = [MADE_UP, "display(viewer)", "display(table)", "display(withheld)", "display(painted)", "display(areas)"]

# The first eight bits of the picture's corner, and what the page says that it is.
SEEN = """() => {
  const canvas = document.querySelector(".asv-canvas");
  const [red, green, blue] = canvas.getContext("2d").getImageData(0, 0, 1, 1).data;
  return { red, green, blue, title: document.querySelector(".asv-title").textContent, ...canvas.dataset };
}"""
AT = """([x, y]) => {
  const { data } = document.querySelector(".asv-canvas").getContext("2d").getImageData(x, y, 1, 1);
  return [...data.slice(0, 3)];
}"""
# Whether the pixel in a column and row of a canvas is other than grey.
PAINTED = """([canvas, x, y]) => {
  const { data } = canvas.getContext("2d").getImageData(x, y, 1, 1);
  return data[0] !== data[2];
}"""
# Whether the middle of the lower edge is as grey in little.
ALIKE = """([canvas, small]) => {
  const grey = (one) => one.getContext("2d").getImageData(one.width / 2, one.height - 2, 1, 1).data.join();
  const other = document.querySelector(small);
  return other && grey(canvas) === grey(other);
}"""
# Whether the whole picture is seen, and the slider and the buttons below it.
IN_VIEW = """(viewer) => ['.asv-frame', '.asv-slider', '.asv-buttons'].every((name) => {
  const { top, bottom, height } = viewer.querySelector(name).getBoundingClientRect();
  return height > 0 && top >= 0 && bottom <= window.innerHeight;
})"""
# Every drawn picture from now on, to compare its number with its grey level.
WATCH = """() => {
  window.drawn = [];
  document.addEventListener("autoseg-drawn", (event) => {
    const canvas = event.target.querySelector(".asv-canvas");
    const grey = canvas.getContext("2d").getImageData(0, 0, 1, 1).data[0];
    const title = event.target.querySelector(".asv-title").textContent;
    window.drawn.push([event.detail.image, event.detail.slice, grey, title]);
  });
}"""


def _until(page, words, selector=".asv-title"):
    page.wait_for_function(
        "([selector, words]) => document.querySelector(selector)?.textContent.includes(words)",
        arg=[selector, words],
        timeout=20_000,
    )


def _press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def test_viewer_and_table_in_a_real_browser(lab, opened, tmp_path):
    home = lab.project("viewer")
    notebook = opened(
        write_notebook(home / "viewer.ipynb", [CELLS[0].replace("TESTS", repr(str(TESTS))), *CELLS[1:]]),
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = notebook.page
    page.evaluate(WATCH)
    notebook.run_all()
    _begin(page, home)
    _look_at_slices(page)
    _use_the_table(page)
    _wait_for_a_busy_kernel(page, home)
    _draw_with_mouse_and_keys(notebook, home)
    _look_closely(notebook)
    _ask_for_the_numbers_of_a_red_light(notebook)
    page.screenshot(path=str(tmp_path / "viewer.png"))
    drawn = page.evaluate("window.drawn")
    # No picture ever stood under another slice's number: the window is fixed, so grey tells the slice.
    assert len(drawn) > 10
    greys = {}
    for image, index, grey, title in drawn:
        assert f"Slice {index + 1} of 30 · series-{image + 1}" in title
        greys.setdefault((image, index), grey)
    ordered = [grey for (image, _), grey in sorted(greys.items()) if image == 0]
    assert ordered == sorted(set(ordered))
    _kill_the_kernel_in_the_middle_of_a_stroke(notebook, home)


def _begin(page, home):
    _until(page, "Waiting for the kernel", ".asv-waiting")
    assert page.locator(".asv").first.locator(".asv-canvas[data-slice]").count() == 0
    (home / "go").touch()
    _until(page, "Slice 16 of 30")
    page.wait_for_selector(".ast-table", timeout=20_000)


def _look_at_slices(page):
    page.wait_for_function("document.querySelector('.asv-waiting').textContent === ''")
    page.wait_for_selector(".ast-table", timeout=20_000)
    page.locator(".asv-canvas").first.click()
    _press(page, "ArrowRight", "ArrowUp")
    _until(page, "Slice 18 of 30 · series-1 · 51.0 mm")
    _press(page, "ArrowLeft")
    _until(page, "Slice 17 of 30")
    _press(page, "Home")
    _until(page, "Slice 1 of 30")
    assert page.evaluate(SEEN)["red"] == page.evaluate(SEEN)["blue"]
    _press(page, "f")
    _until(page, "Slice 13 of 30")  # where the structures are missing between their neighbours
    assert "is missing here" in page.locator(".asv-areas").first.inner_text()
    _press(page, "ArrowRight")
    _until(page, "Slice 14 of 30")
    inside, around = page.evaluate(AT, [14, 17]), page.evaluate(AT, [25, 25])
    assert inside != around  # two structures, two colours
    page.get_by_label("Show grey matter").first.uncheck()
    assert page.evaluate(AT, [14, 17]) == around  # it still counts to the cord
    page.get_by_label("Show cord").first.uncheck()
    assert len(set(page.evaluate(AT, [14, 17]))) == 1  # grey
    page.get_by_label("Show cord").first.check()
    page.get_by_label("Show grey matter").first.check()
    page.locator(".asv-canvas").first.focus()
    _press(page, "Space")
    _until(page, "Slice 18 of 30")
    _press(page, "Space", "End")
    _until(page, "Slice 30 of 30")
    page.wait_for_timeout(400)
    assert page.evaluate(SEEN)["slice"] == "29"  # it no longer plays


def _use_the_table(page):
    cell = page.locator(".ast-table tbody").nth(0).locator("tr[data-r='7'] td[data-c='0']")
    cell.click()
    _until(page, "Slice 8 of 30")
    _until(page, "series-1, slice 8, cord: 170 mm² = 340 pixels × 0.5 mm² (header); grey matter", ".ast-line")
    _press(page, "ArrowDown", "ArrowRight", "Enter")
    _until(page, "Slice 9 of 30")
    _until(page, "slice 9, grey matter: 15 mm² = 30 pixels", ".ast-line")
    # The same cell again, after the viewer has moved on.
    page.locator(".asv-canvas").first.focus()
    _press(page, "Home")
    _until(page, "Slice 1 of 30")
    cell.click()
    _until(page, "Slice 8 of 30")
    heading = page.locator(".ast-table thead th").nth(2)
    first = page.locator(".ast-table tbody").nth(0).locator("tr[data-r] th")
    for direction, slice_number in (("ascending", "1"), ("descending", "25"), ("none", "1")):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        assert first.nth(0).inner_text() == slice_number
        last = page.locator(".ast-table tbody").nth(0).locator("tr").last
        assert last.inner_text().startswith("n (unflagged)")
    page.locator(".ast").get_by_role("button", name="Copy").click()
    _until(page, "Copied", ".ast-says")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0] == "Slice\tPosition mm\tcord mm²\tgrey matter mm²\tFlags"
    assert lines[1] == "series-1"
    assert lines[9] == "8\t21\t170\t15\t"
    for words, name, content in (
        ("CSV", "areas.csv", b"\xef\xbb\xbfa,b\r\n"),
        ("XLSX", "areas.xlsx", b"PK\x00\xff"),
    ):
        with page.expect_download() as download:
            page.locator(".ast").get_by_role("button", name=f"Download {words}").click()
        assert download.value.suggested_filename == name
        with open(download.value.path(), "rb") as file:
            assert file.read() == content


def _wait_for_a_busy_kernel(page, home):
    (home / "go").unlink()
    page.get_by_label("Image").first.select_option(label="series-2")
    _until(page, "Waiting for the kernel", ".asv-waiting")
    seen = page.evaluate(SEEN)
    assert (seen["image"], seen["slice"]) == ("0", "7")  # the last picture stays, under its own name and number
    assert "Slice 8 of 30 · series-1" in seen["title"]
    (home / "go").touch()
    _until(page, "Slice 16 of 30 · series-2")
    page.wait_for_function("document.querySelector('.asv-waiting').textContent === ''")
    canvas = page.locator(".asv-canvas").first
    canvas.scroll_into_view_if_needed()
    place = canvas.bounding_box()
    for row, words in ((63, "column 64, row 64: 1000 · nothing"), (50, "column 64, row 51: 62 · nothing")):
        page.mouse.move(place["x"] + place["width"] * 63.5 / 64, place["y"] + place["height"] * (row + 0.5) / 64)
        _until(page, words, ".asv-readout")
    # In little it has the same grey beside the structures, however many slices came in one message.
    page.wait_for_function(ALIKE, arg=[canvas.element_handle(), ".asv-small[data-place='15'] canvas"])


def _draw_with_mouse_and_keys(notebook, home):
    page = notebook.page
    viewer = page.locator(".asv", has=page.locator(".asv-drawing:not([hidden])"))
    viewer.scroll_into_view_if_needed()
    canvas, cord = viewer.locator(".asv-canvas"), viewer.locator("td.asv-number").first
    viewer.locator(".asv-canvas[data-slice='15']").wait_for()
    cells = page.locator(".jp-Cell").count()

    def move_to(row, column):
        canvas.scroll_into_view_if_needed()
        place = canvas.bounding_box()
        page.mouse.move(
            place["x"] + (column + 0.5) / 64 * place["width"], place["y"] + (row + 0.5) / 64 * place["height"]
        )

    def until_pixels(count):
        page.wait_for_function(
            "([node, words]) => node.title === words", arg=[cord.element_handle(), f"{count} pixels"]
        )
        _until_so(
            page, "document.querySelector('.asv-drawing:not([hidden]) .asv-hint').textContent.endsWith('Saved.')"
        )

    def on_disk(index):
        return int((read_nifti(home / "kit" / "series-1_labels.nii.gz")[0][index] > 0).sum())

    until_pixels(500)
    # A click of the brush of 5 pixels: pixels are 1 × 0.5 mm, so its disc has 3 + 5 + 3 of them.
    move_to(45, 50)
    page.mouse.down()
    _until_so(page, "document.querySelector('.asv-brush:not([hidden])')")
    page.mouse.up()
    until_pixels(511)
    assert cord.inner_text() == "255.5"
    assert on_disk(15) == 511
    _press(page, "Control+z")
    until_pixels(500)
    assert on_disk(15) == 500
    # On another slice undo leads back to where something is taken back.
    _press(page, "Control+y", "ArrowRight")
    viewer.locator(".asv-canvas[data-slice='16']").wait_for()
    _press(page, "Control+z")
    viewer.locator(".asv-canvas[data-slice='15']").wait_for()
    until_pixels(500)
    # One pixel, along a line of 21; the eraser on what is the cord alone.
    _press(page, "[", "[", "[", "[")
    assert viewer.locator(".asv-drawing output").inner_text() == "1 px"
    move_to(45, 35)
    page.mouse.down()
    move_to(45, 50)
    # The picture shows it before the kernel hears of it.
    page.wait_for_function(PAINTED, arg=[canvas.element_handle(), 42, 45])
    move_to(45, 55)
    page.mouse.up()
    until_pixels(521)
    _press(page, "e")
    move_to(45, 40)
    page.mouse.down()
    page.mouse.up()
    until_pixels(520)
    _press(page, "p")
    for row, column in ((50.5, 49.5), (50.5, 59.5), (55.5, 59.5), (55.5, 49.5)):
        move_to(row, column)
        page.mouse.down()
        page.mouse.up()
    _press(page, "Enter")
    until_pixels(570)
    assert on_disk(15) == 570
    # Drawn on the slice after the next as well, it is filled between them; each is one step back.
    _press(page, "b", "]", "]", "]", "]", "ArrowRight", "ArrowRight")
    viewer.locator(".asv-canvas[data-slice='17']").wait_for()
    move_to(53, 54)
    page.mouse.down()
    page.mouse.up()
    _until_so(page, "document.querySelector('.asv-small[aria-label=\"Slice 18: corrected\"]')")
    viewer.get_by_role("button", name="Fill between").click()
    _until_so(page, "document.querySelector('.asv-small[aria-label=\"Slice 17: corrected\"]')")
    assert on_disk(16) > 520
    canvas.focus()
    for index in (16, 17):
        _press(page, "Control+z")
        viewer.locator(f".asv-canvas[data-slice='{index}']").wait_for()
        _until_so(page, f"!document.querySelector('.asv-small[aria-label=\"Slice {index + 1}: corrected\"]')")
    assert on_disk(16) == 520
    _press(page, "[", "[", "[", "[", "ArrowLeft", "ArrowLeft")
    viewer.locator(".asv-canvas[data-slice='15']").wait_for()
    # The cord's grey value is that of the whole slice, but for two pixels in the corner.
    viewer.get_by_role("button", name="As drawn here").click()
    canvas.focus()
    _press(page, "b", "]", "]", "]", "]")
    move_to(63, 63)
    page.mouse.down()
    page.wait_for_function(PAINTED, arg=[canvas.element_handle(), 61, 63])
    assert not page.evaluate(PAINTED, [canvas.element_handle(), 62, 63])
    page.mouse.up()
    until_pixels(573)  # a quarter of the disc, of 3 + 2 pixels, without those two
    _press(page, "t")
    assert not viewer.get_by_label("only some grey values").is_checked()
    # The strip shows the slice in little, 96 rows of 48 pixels, with what was drawn, and that it was corrected.
    small = viewer.locator(".asv-small[data-place='15']")
    assert small.get_attribute("aria-current") == "true"
    _until_so(page, "document.querySelector('.asv-small[aria-label=\"Slice 16: corrected\"]')")
    assert viewer.locator(".asv-small[aria-label*='corrected']").count() == 1
    page.wait_for_function("canvas => canvas.height === 96", arg=small.locator("canvas").element_handle())
    inside = [small.locator("canvas").element_handle(), 40, 78]
    page.wait_for_function(PAINTED, arg=inside)
    viewer.get_by_role("button", name="As it was").click()
    until_pixels(500)
    page.wait_for_function(f"place => !({PAINTED})(place)", arg=inside)
    assert viewer.locator(".asv-small[aria-label*='corrected']").count() == 0
    viewer.locator(".asv-small[data-place='13']").click()
    viewer.locator(".asv-canvas[data-slice='13']").wait_for()
    _press(page, "ArrowRight", "ArrowRight")
    viewer.locator(".asv-canvas[data-slice='15']").wait_for()
    assert page.locator(".jp-Cell").count() == cells  # no key reached the notebook
    notebook.check_access()
    notebook.shot_cells("drawing", ("Dark", "Light"))


def _look_closely(notebook):
    """Zoom, move, measure and read pixels in the viewer in which outlines are corrected."""
    page = notebook.page
    viewer = page.locator(".asv", has=page.locator(".asv-drawing:not([hidden])"))
    canvas, frame, cord = (viewer.locator(name) for name in (".asv-canvas", ".asv-frame", "td.asv-number"))
    readout, length = viewer.locator(".asv-readout"), viewer.locator(".asv-length")
    canvas.scroll_into_view_if_needed()

    def to(row, column, *, steps=1):
        place = canvas.bounding_box()
        at = place["x"] + (column + 0.5) / 64 * place["width"], place["y"] + (row + 0.5) / 64 * place["height"]
        page.mouse.move(*at, steps=steps)
        return at

    def scale():
        return canvas.bounding_box()["width"] / frame.bounding_box()["width"]

    canvas.focus()
    to(17, 14)
    assert readout.inner_text() == "column 15, row 18: 60 · grey matter"
    to(63, 63)
    assert readout.inner_text() == "column 64, row 64: 255 · nothing"
    # A distance: 30 columns of 0.5 mm and 20 rows of 1 mm.
    _press(page, "r")
    to(20, 10)
    page.mouse.down()
    to(40, 40, steps=3)
    page.mouse.up()
    assert length.inner_text() == "25.0 mm"
    _press(page, "ArrowRight")
    viewer.locator(".asv-canvas[data-slice='16']").wait_for()
    assert not length.is_visible()
    _press(page, "ArrowLeft")
    viewer.locator(".asv-canvas[data-slice='15']").wait_for()
    assert length.is_visible()
    # What lies under the pointer stays there, whatever comes nearer.
    at = to(45, 50)
    page.keyboard.down("Control")
    for _ in range(8):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    assert scale() == pytest.approx(7.389, rel=0.01)
    page.mouse.move(at[0] + 1, at[1])
    assert readout.inner_text() == "column 51, row 46: 60 · nothing"
    # A click of a brush of 5 pixels is as exact, however near.
    _press(page, "b")
    to(45, 50)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_function("node => node.title === '511 pixels'", arg=cord.first.element_handle())
    _press(page, "Control+z")
    page.wait_for_function("node => node.title === '500 pixels'", arg=cord.first.element_handle())
    notebook.shot_cells("zoomed")
    # Shift and drag move it; nothing is drawn.
    canvas.scroll_into_view_if_needed()
    at = to(45, 50)
    before = canvas.bounding_box()
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(at[0] + 30, at[1] + 20)
    page.mouse.up()
    page.keyboard.up("Shift")
    after = canvas.bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((30, 20), abs=1)
    _press(page, "-", "Shift+ArrowRight", "0")
    assert scale() == pytest.approx(1)
    # Two fingers zoom, and the stroke that the first one began is forgotten.
    fingers = page.context.new_cdp_session(page)
    middle = to(45, 50)
    for kind, count, apart in (("Start", 1, 40), ("Start", 2, 40), ("Move", 2, 80), ("End", 0, 80)):
        points = [{"x": middle[0] + side * apart / 2, "y": middle[1], "id": n} for n, side in ((0, -1), (1, 1))]
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points[:count]})
    assert scale() == pytest.approx(2, rel=0.05)
    assert not page.evaluate(PAINTED, [canvas.element_handle(), 50, 45])
    assert cord.first.get_attribute("title") == "500 pixels"
    # One finger draws, and a pen takes away.
    viewer.get_by_role("button", name="Whole").click()
    canvas.scroll_into_view_if_needed()  # the click may have scrolled to the button
    middle = to(45, 50)
    place = {"x": middle[0], "y": middle[1]}
    fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [place]})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("node => node.title === '511 pixels'", arg=cord.first.element_handle())
    pen = {"button": "left", "clickCount": 1, "pointerType": "pen", **place}
    _press(page, "e")
    for kind, buttons in (("mousePressed", 1), ("mouseReleased", 0)):
        fingers.send("Input.dispatchMouseEvent", {"type": kind, "buttons": buttons, **pen})
    page.wait_for_function("node => node.title === '500 pixels'", arg=cord.first.element_handle())
    # In full screen the slider stays in view.
    viewer.get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => document.fullscreenElement?.classList.contains('asv-wide')")
    page.wait_for_function(IN_VIEW, arg=viewer.element_handle())
    notebook.check_access()
    page.keyboard.press("Escape")  # a browser without a screen leaves that to us
    page.evaluate("() => document.fullscreenElement && document.exitFullscreen()")
    page.wait_for_function("() => !document.querySelector('.asv-wide')")
    viewer.get_by_role("button", name="Look", exact=True).click()


def _kill_the_kernel_in_the_middle_of_a_stroke(notebook, home):
    page = notebook.page
    viewer = page.locator(".asv", has=page.locator(".asv-drawing:not([hidden])"))
    canvas, words = viewer.locator(".asv-canvas"), viewer.locator(".asv-drawing [role=status]")
    kept = home / "kit" / "series-1_labels.nii.gz"
    viewer.scroll_into_view_if_needed()
    viewer.get_by_role("button", name="Brush").click()

    def to(row, column):
        place = canvas.bounding_box()
        page.mouse.move(
            place["x"] + (column + 0.5) / 64 * place["width"], place["y"] + (row + 0.5) / 64 * place["height"]
        )

    def until_said(end):
        page.wait_for_function(
            "([node, end]) => node.textContent.endsWith(end)", arg=[words.element_handle(), end], timeout=30_000
        )

    canvas.scroll_into_view_if_needed()
    to(45, 50)
    page.mouse.down()
    page.mouse.up()
    until_said("Saved.")
    first = kept.read_bytes()
    assert int((read_nifti(kept)[0][15] > 0).sum()) == 511
    to(55, 50)
    page.mouse.down()
    to(55, 55)
    page.wait_for_function(PAINTED, arg=[canvas.element_handle(), 55, 55])
    os.kill(int((home / "pid").read_text(encoding="utf-8")), signal.SIGKILL)
    page.mouse.up()
    until_said("run the cell again and go on.")
    assert "Not saved yet: the kernel does not answer" in words.inner_text()
    assert kept.read_bytes() == first
    page.locator(".jp-Dialog button:has-text('OK')").click()  # JupyterLab's word that it restarts the kernel
    page.wait_for_function("document.body.innerText.includes('| Idle')", timeout=60_000)
    handle = canvas.element_handle()
    notebook.run_all()
    page.wait_for_function("old => !old.isConnected", arg=handle)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.asv-drawing:not([hidden])')].some("
        "(box) => box.closest('.asv').querySelector('td.asv-number')?.title === '511 pixels')",
        timeout=60_000,
    )
    viewer.scroll_into_view_if_needed()
    assert page.evaluate(PAINTED, [canvas.element_handle(), 50, 45])
    assert not page.evaluate(PAINTED, [canvas.element_handle(), 55, 55])
    # It is gone on with.
    canvas.scroll_into_view_if_needed()
    to(55, 50)
    page.mouse.down()
    page.mouse.up()
    until_said("Saved.")
    assert int((read_nifti(kept)[0][15] > 0).sum()) == 522


def _ask_for_the_numbers_of_a_red_light(notebook):
    page = notebook.page
    viewer = page.locator(".asv").nth(1)
    numbers = viewer.locator("td.asv-number")
    viewer.scroll_into_view_if_needed()
    _until_so(page, "document.querySelectorAll('.asv')[1].querySelector('.asv-canvas[data-slice]')")
    assert set(numbers.all_inner_texts()) == {"hidden"}
    assert "Red: not suited to the model" in viewer.inner_text()
    box = page.locator("[role=alert]", has_text="The light is red, so no numbers are shown.")
    assert box.count() == 1
    assert page.locator(".ast").count() == 1  # the table of the cell above
    notebook.check_access()
    notebook.shot_cells("red_before", ("Dark", "Light"))
    notebook.click(notebook.button("Show the numbers all the same"))
    _until_so(page, "document.querySelectorAll('.ast')[1]")
    _until_so(page, "document.querySelectorAll('.asv')[1].textContent.includes('250')")
    assert numbers.first.inner_text().split("\n") == ["250", "(225–275)"]
    table = page.locator(".ast").nth(1)
    assert "Red: not suited to the model" in table.locator(".ast-block").first.inner_text()
    first = table.locator("tbody").first
    cell = first.locator("tr[data-r='7'] td[data-c='0']")
    assert cell.inner_text().split("\n") == ["170.0", "153.0–187.0"]
    table.get_by_role("button", name="90 % intervals").click()
    assert cell.inner_text() == "170.0"
    # What a pointer sees at a cell stands below the table for who comes by the keys.
    poor = first.locator("tr[data-r='3'] td[data-c='0']")
    says = "expected Dice 0.62, area about 31 % off – look"
    assert poor.get_by_role("img").get_attribute("aria-label").endswith(says)
    first.locator("tr[data-r='2'] td[data-c='0']").click()
    _press(page, "ArrowDown")
    assert says in table.locator(".ast-says").inner_text()
    notebook.check_access()
    notebook.shot_cells("red_after", ("Dark", "Light"))


def _until_so(page, script):
    page.wait_for_function(f"() => !!({script})", timeout=60_000)
