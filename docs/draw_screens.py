"""Take the manual's pictures: run the notebooks in a real browser on the sample, and keep what they show.

.venv/bin/python docs/draw_screens.py [minutes of learning, by default 4] [of each in the comparison, by default 1]

It is the browser tests (tests/browser) with more time to learn, so that the
pictures are worth looking at. 0 minutes leave the pictures of those notebooks as they are. That of drawing is
taken in a viewer of the sample, without a model; that of the first labels in the sample's images without labels, on
which the labels are drawn by this program.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # JupyterLab is started as the browser tests start it
from lab import BROWSER_OPTIONS, Notebook, running_lab, write_notebook  # noqa: E402 - needs the line above

SCREENS = ROOT / "docs" / "pictures" / "screens"
HOME = Path("/home/you")  # of whom the pictures show the folders
COLOURS = 256  # enough for a page, and a third of the size
# Whether the pictures in the strip that are in view are there; one that is not has a single pixel.
STRIP_IS_DRAWN = """() => {
  const { left, right } = document.querySelector(".asv-strip").getBoundingClientRect();
  return [...document.querySelectorAll(".asv-small canvas")].every((canvas) => {
    const place = canvas.getBoundingClientRect();
    return place.right < left || place.left > right || canvas.width > 1;
  });
}"""
DRAWING = """
from pathlib import Path
from autoseg import find_cases, measure_areas, read_case, write_kit
from autoseg.data.corrections.drawing import Drawing
from autoseg.panels.parts.viewer import SliceViewer

found = find_cases(Path({sample!r}))
results = [read_case(case, found.structures) for case in found.cases]
rows = [row for image, labels in results for row in measure_areas(labels, image=image)]
viewer = SliceViewer(results, rows)
viewer.draw(Drawing(write_kit(Path("kit"), results), results, by="AB"))
viewer"""

# A person draws the cavity on the slices that are listed, learns, draws those listed then, and learns again.
FIRST_LABELS = """
import shutil
from pathlib import Path
from autoseg import find_cases, read_case
from autoseg.image.outlines import outline_mask
from autoseg.panels import DataPanel

sample, scans = Path({sample!r}), Path("hearts").absolute()
shutil.copytree(sample / "dicoms", scans)
found = find_cases(sample)
pairs = [read_case(case, found.structures) for case in found.cases]
known = {{image.source.slices[0].sop_uid: labels for image, labels in pairs}}
panel = DataPanel(scans)
panel.wait(300)
first = panel.first_labels
first.names.value, first.by.value = "cavity", "AB"
first.begin()
first.wait(300)
for _ in range(2):
    for one in first.round.next_slices():
        first.viewer.show(f"image {{one.place[0] + 1}}", one.place[1])
        mask = known[first.round.images[one.place[0]].source.slices[one.place[1]].sop_uid].mask(1)[0]
        first.drawing.polygon(one.place, 1, [(0, 0), (0, 999), (999, 999), (999, 0)], erase=True)
        for points in outline_mask(mask):
            first.drawing.polygon(one.place, 1, points)
        first.drawing.save()
    first.learn()
    first.wait(600)
panel"""


def main(minutes: str = "4", compared: str = "1") -> None:
    """Write docs/pictures/screens/train_1.png and on, test_1.png and on, comparison_1.png and on."""
    if float(minutes):
        take(["tests/browser/test_train_and_test.py", "-k", "train or segment"], minutes)
    if float(compared):
        take(["tests/browser/test_compare.py"], compared)
    take_drawing()
    take_first_labels()


def take(test: list[str], minutes: str) -> None:
    """Run a browser test with these minutes for each training; keep the light pictures that the manual shows."""
    shown = (ROOT / "docs" / "manual.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, neutral_home() as home:
        named = {"AUTOSEG_SCREENSHOTS": folder, "AUTOSEG_HOME": str(home), "AUTOSEG_MINUTES": minutes}
        environment = os.environ | named
        subprocess.run([sys.executable, "-m", "pytest", "-q", *test], cwd=ROOT, env=environment, check=True)
        SCREENS.mkdir(parents=True, exist_ok=True)
        for path in sorted((Path(folder) / "light").glob("*.png")):
            if f"/{path.name})" not in shown:
                continue
            keep(path)


def keep(path: Path) -> None:
    """Keep a picture for the manual, with fewer colours."""
    picture = Image.open(path).convert("RGB")
    small = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(SCREENS / path.name, optimize=True)


def take_drawing() -> None:
    """Draw a stroke on the sample, and keep the viewer with its tools: near, with a distance and the strip."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_lab(ROOT, Path(folder)) as lab,
        sync_playwright() as player,
    ):
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        page = player.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS).new_page(
            viewport={"width": 1280, "height": 1300}
        )
        cell = DRAWING.format(sample=str(ROOT / "data" / "sample" / "test"))
        Notebook(page, lab, write_notebook(lab.home / "drawing.ipynb", [cell])).run_all()
        canvas = page.locator(".asv-canvas[data-slice]")
        canvas.wait_for(timeout=120_000)
        canvas.scroll_into_view_if_needed()
        page.get_by_role("button", name="Next slice").click()
        page.locator(".asv-small[data-place='1'][aria-current]").wait_for()
        for _ in range(2):
            page.get_by_role("button", name="Nearer").click()
        frame = page.locator(".asv-frame").bounding_box()
        drag(page, frame, (0.25, 0.3), (0.4, 0.25))
        page.wait_for_selector(".asv-small[aria-label*=corrected]")
        page.get_by_role("button", name="Ruler").click()
        drag(page, frame, (0.35, 0.75), (0.75, 0.7))
        page.wait_for_function(STRIP_IS_DRAWN)
        path = Path(folder) / "drawing.png"
        page.locator(".asv").screenshot(path=str(path))
        keep(path)


def take_first_labels() -> None:
    """Learn twice from slices drawn as the sample's labels are, and keep what the panel shows then."""
    with neutral_home() as home, running_lab(ROOT, home) as lab, sync_playwright() as player:
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        page = player.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS).new_page(
            viewport={"width": 1280, "height": 1500}
        )
        cell = FIRST_LABELS.format(sample=str(ROOT / "data" / "sample" / "train"))
        Notebook(page, lab, write_notebook(lab.home / "first.ipynb", [cell])).run_all()
        page.get_by_text("New outlines are proposed").wait_for(timeout=900_000)
        page.wait_for_function(STRIP_IS_DRAWN)
        path = home / "first_labels.png"
        page.locator(".jp-OutputArea-output").last.screenshot(path=str(path))
        keep(path)


def drag(page: Page, frame: FloatRect, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from a part of the frame to another one."""
    for number, (right, down) in enumerate((start, end)):
        page.mouse.move(frame["x"] + right * frame["width"], frame["y"] + down * frame["height"], steps=5)
        (page.mouse.up if number else page.mouse.down)()


@contextlib.contextmanager
def neutral_home() -> Iterator[Path]:
    """Make a home folder for the pictures, whose path tells nothing of this machine; take it away afterwards."""
    try:
        HOME.mkdir(parents=True)
    except OSError as error:
        raise SystemExit(
            f"{HOME}, whose path the pictures show, could not be made ({error.strerror}). Run this as an "
            "administrator on Linux, for instance in a container, where no such folder is there."
        ) from error
    try:
        yield HOME
    finally:
        shutil.rmtree(HOME)


if __name__ == "__main__":
    main(*sys.argv[1:])
