"""Both notebooks in JupyterLab and a real Chromium, as a person uses them: run all cells, then only click.

Pictures of every panel, light and dark, are kept in the folder that AUTOSEG_SCREENSHOTS names, else in pytest's
temporary folder. AUTOSEG_MINUTES lets the model learn longer than the test needs, for pictures worth looking at.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
# From the open notebook to the first preview or the table of areas.
MOST_CLICKS = 5


@pytest.fixture(scope="module")
def home(lab, small_sample):
    return lab.project("train_and_test", small_sample)


def test_train_from_the_folder_to_the_score(opened, home, capsys):
    notebook = opened(home / "notebooks/1_train.ipynb")
    page = notebook.page
    notebook.run_all()
    page.wait_for_selector("img[alt*='varied']", timeout=120_000)
    clicks, seconds = notebook.clicks, notebook.seconds()
    with capsys.disabled():
        sys.stdout.write(f"\nthe first preview after {clicks} clicks and {seconds:.0f} s ")
    assert clicks <= MOST_CLICKS
    # Run All stays at the top, where a line says what to do next, without code.
    page.get_by_text("→ Next: choose your images").wait_for()
    assert page.locator("h1", has_text="Train a model").bounding_box()["y"] > 0
    assert page.locator(".jp-CodeCell .jp-InputArea-editor:visible").count() == 0

    # Name a structure, keep it beside the data, and see it everywhere.
    name = page.locator("input[placeholder=name]").first
    assert name.input_value() == "cavity"
    name.fill("left ventricle")
    name.press("Tab")
    page.evaluate("() => document.addEventListener('autoseg-busy', () => { window.begun = true; })")
    notebook.click(notebook.button("Keep"))
    page.wait_for_function("() => document.body.innerHTML.includes('left ventricle')")
    wait_until(lambda: "left ventricle" in (home / "data/sample/train/structures.csv").read_text("utf-8"))
    notebook.wait_for_text("patients, every one with labels")
    # The folder is read again, and panels keep their height until all that follows it is done.
    page.wait_for_function(
        "() => window.begun && !document.querySelector('.autoseg-panel[style*=min-height]')", timeout=60_000
    )

    # Another batch; fewer, coarser pixels, so that the way is tested here and not the result.
    page.wait_for_selector("img[alt*='varied']", timeout=60_000)
    before = page.locator("img[alt*='varied']").first.get_attribute("src")
    notebook.click(notebook.button("Next batch"))
    page.wait_for_function(
        "old => ![undefined, old].includes(document.querySelector(\"img[alt*='varied']\")?.src)", arg=before
    )
    # A picture that is not there yet has its place already, so that nothing below jumps.
    tall, taller = page.evaluate(ANOTHER_PICTURE)
    assert tall == taller > 100
    minutes = os.environ.get("AUTOSEG_MINUTES")
    notebook.click(page.locator(".jupyter-widget-Collapse-header", has_text="More").first)
    if minutes is None:
        fill(page, "Pixel size, mm", "9")
    fill_amount(page, minutes or "12", "minutes" if minutes else "epochs")
    twins = page.get_by_label("Also measure how far areas can be off", exact=False).first
    notebook.click(twins)
    notebook.wait_for_text("of learning the model gets" if minutes else "learns for 12 epochs: at most")
    notebook.click(twins)

    notebook.click(notebook.button("Start"))
    notebook.wait_for_text("Epoch 2")
    if minutes is None:
        notebook.click(notebook.button("Stop and keep the best"))
        notebook.button("Resume").wait_for(timeout=60_000)
        assert list((home / "trained_model").glob("heart_resume.pt"))
        notebook.click(notebook.button("Resume"))
    notebook.wait_for_text("The worst slices, worst first", seconds=60 * float(minutes or 3) + 120)
    page.wait_for_selector("img[alt*='orst']", timeout=60_000)
    # Images and labels for other programs, as a folder beside them.
    notebook.click(page.locator(".jupyter-widget-Collapse-header", has_text="For other programs").first)
    notebook.click(notebook.button("Write for nnU-Net"))
    notebook.button("train_nnunet").wait_for(timeout=60_000)
    notebook.check_access()
    notebook.shot_cells("train", ("Dark", "Light"))
    models = [path.name for path in (home / "trained_model").glob("heart_*.pt")]
    assert "heart_resume.pt" not in models
    assert models
    page.close()


def test_segment_from_the_model_to_the_downloads(lab, opened, home, capsys):
    need_a_model(home)
    notebook = opened(home / "notebooks/2_test.ipynb")
    page = notebook.page
    notebook.run_all()
    button = notebook.button("Segment and measure")
    page.wait_for_function(f"() => {{ {FIND_BUTTON} return b && !b.disabled; }}", timeout=120_000)
    notebook.click(button)
    grid = page.get_by_role("grid", name="Areas in mm²", exact=False)
    grid.wait_for(timeout=120_000)
    clicks, seconds = notebook.clicks, notebook.seconds()
    with capsys.disabled():
        sys.stdout.write(f"\nthe table of areas after {clicks} clicks and {seconds:.0f} s ")
    assert clicks <= MOST_CLICKS

    # Tables scroll in themselves; no box of a panel is wider than its place, beside the open side bar.
    page.get_by_text("Brightness and fat").wait_for(timeout=60_000)
    too_wide = "e => e.checkVisibility() && e.scrollWidth > e.clientWidth"
    boxes = f"[...document.querySelectorAll('.autoseg-panel .widget-box')].filter({too_wide})"
    assert page.evaluate(f"{boxes}.map(e => e.textContent.slice(0, 80))") == []

    # The slider, and the keys.
    slider = page.get_by_role("slider", name="Slice").first
    slider.scroll_into_view_if_needed()
    slider.evaluate("e => { e.value = 7; e.dispatchEvent(new Event('input', {bubbles: true})); }")
    picture = page.locator(".asv-canvas[data-slice='7']").first
    picture.wait_for(timeout=20_000)
    picture.focus()
    page.keyboard.press("ArrowLeft")
    page.locator(".asv-canvas[data-slice='6']").first.wait_for(timeout=20_000)

    # A cell: its slice, its structure, and where its number comes from.
    cell = grid.locator("tbody tr[data-r='3'] td[data-c='0']").first
    notebook.click(cell)
    notebook.wait_for_text("pixels × ")
    page.locator(".asv-canvas[data-slice='3']").first.wait_for(timeout=20_000)
    # The model for other programs, as a folder beside the result.
    notebook.click(notebook.button("Model for other programs (ONNX)"))
    page.get_by_role("button", name="_onnx").wait_for(timeout=60_000)
    notebook.check_access()
    notebook.shot_cells("test", ("Dark", "Light"))

    # What the browser saves is what lies in the run's folder.
    (run,) = [path.parent for path in (home / "predictions").glob("*/areas.csv")]
    (exported,) = (home / "predictions").glob("heart*_onnx")
    assert {"network.onnx", "model.json", "segment.py"} < {path.name for path in exported.iterdir()}
    for words, name in (("Download CSV", "areas.csv"), ("Download XLSX", "areas.xlsx")):
        with page.expect_download(timeout=30_000) as saved:
            notebook.click(notebook.button(words))
        assert saved.value.suggested_filename == f"{run.name}_{name}"
        assert Path(saved.value.path()).read_bytes() == (run / name).read_bytes()

    # A stroke in the picture: the numbers below follow it, and their files are not offered as theirs.
    fill(page, "Corrected by", "AB")
    notebook.click(notebook.button("Correct the outlines"))
    viewer = page.locator(".asv", has=page.locator(".asv-drawing:not([hidden])"))
    viewer.wait_for(timeout=60_000)
    area, plots = cell.inner_text(), page.locator("img[alt*='along the slices']").first.get_attribute("src")
    canvas = viewer.locator(".asv-canvas[data-slice='3']")
    canvas.scroll_into_view_if_needed()
    canvas.click(position={"x": 3, "y": 3})
    notebook.wait_for_text("All below is of the outlines as they are drawn now")
    page.wait_for_function("old => document.querySelector(\"img[alt*='along the slices']\").src !== old", arg=plots)
    wait_until(lambda: cell.inner_text() != area)
    assert page.get_by_role("button", name="Download XLSX").count() == 0
    page.get_by_text("what stands here is of those before").locator("visible=true").first.wait_for()
    notebook.shot_cells("test_drawn")

    # The next day: nothing of this patient is shown or looked for, and a line says how panels come back.
    without_outputs = notebook.path.read_bytes()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    another_day = page.get_by_text("This panel is of another day").locator("visible=true")
    wait_until(lambda: "This panel is of another day" in notebook.path.read_text("utf-8"))
    assert another_day.count() == 0
    page.close()
    lab.end_kernels()
    again = opened(notebook.path)
    places = again.page.get_by_text("This panel is of another day").locator("visible=true")
    places.first.wait_for()
    wait_until(lambda: places.count() == 8)
    assert again.page.locator(".jp-OutputArea .jupyter-widgets").count() == 0
    again.page.close()
    notebook.path.write_bytes(without_outputs)  # other tests open the same notebook


# A button that a click would find, by its words; scripts in the page look at whether it is on.
FIND_BUTTON = (
    "const b = [...document.querySelectorAll('button')].find(e => e.textContent.includes('Segment and measure'));"
)


# The height of a picture, and what it is in the moment in which the page is given another one, of another shape.
ANOTHER_PICTURE = """() => {
  const canvas = document.createElement("canvas");
  canvas.height = 900;
  const picture = document.querySelector("img[alt*='varied']");
  const [place, tall, another] = [picture.parentElement, picture.offsetHeight, picture.cloneNode()];
  another.src = canvas.toDataURL();
  picture.remove();
  place.insertAdjacentHTML("beforeend", another.outerHTML);
  return [tall, place.lastElementChild.offsetHeight];
}"""


def need_a_model(home):
    """Train for a moment where no earlier test has left a model."""
    if list((home / "trained_model").glob("*.pt")):
        return
    command = [sys.executable, "-m", "autoseg", "train", str(home / "data/sample/train"), "--name", "heart"]
    command += ["--epochs", "3", "--spacing-mm", "9", "--output", str(home / "trained_model")]
    subprocess.run(command, check=True, capture_output=True)


def test_a_full_disk_a_wrong_folder_and_damaged_files_are_sentences(opened, home):
    need_a_model(home)
    output = home / "predictions"
    damaged = home / "damaged"
    shutil.copytree(home / "data/sample/test/dicoms", damaged)
    for path in damaged.iterdir():
        path.write_bytes(path.read_bytes()[:2000])  # the header is whole, the pixels are not
    # A small disk can be made only by an administrator on Linux.
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(output)]
    is_small = sys.platform == "linux" and not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        notebook = opened(home / "notebooks/2_test.ipynb")
        page = notebook.page
        notebook.run_all()
        page.wait_for_function(f"() => {{ {FIND_BUTTON} return b && !b.disabled; }}", timeout=120_000)
        if is_small:
            notebook.click(notebook.button("Segment and measure"))
            notebook.wait_for_text("could not be written", seconds=120)
            assert "Traceback" not in page.locator(".jp-Notebook").inner_text()
            assert list(output.iterdir()) == []
            assert page.get_by_role("grid").count() == 0
            page.wait_for_function(f"() => {{ {FIND_BUTTON} return b && !b.disabled; }}")
        notebook.click(notebook.button("Change…"))
        notebook.wait_for_text("dicoms holds:")  # with which the path is written into its field
        path = page.get_by_label("Folder", exact=True).locator("visible=true").first
        path.fill(str(home / "nowhere"))
        path.press("Enter")
        notebook.wait_for_text("There is no folder")
        path.fill(str(damaged))
        path.press("Enter")
        notebook.wait_for_text("damaged holds")
        notebook.click(notebook.button("Use "))
        page.wait_for_function(f"() => {{ {FIND_BUTTON} return b && b.disabled; }}", timeout=60_000)
        page.locator("[role=alert]:visible").first.wait_for(timeout=60_000)
        notebook.wait_for_text("holds no DICOM image")
        assert "Traceback" not in page.locator(".jp-Notebook").text_content()
        page.close()
    finally:
        if is_small:
            subprocess.run(["umount", str(output)], check=True)
    if not is_small:
        pytest.skip("all but the full disk: a small one can be made only by an administrator on Linux")


def wait_until(is_so, seconds=20):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def fill(page, label, value):
    field = page.get_by_label(label, exact=True).first
    field.fill(value)
    field.press("Tab")


def fill_amount(page, value, unit):
    amount = page.get_by_label("How many minutes or epochs", exact=True).first
    if unit == "epochs":
        before = amount.input_value()
        page.get_by_label("Learn for", exact=True).first.select_option(unit)
        wait_until(lambda: amount.input_value() != before)  # the panel writes its own number first
    fill(page, "How many minutes or epochs", value)
