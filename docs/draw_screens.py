"""Take the manual's pictures: run the notebooks in a real browser on the sample, and keep what they show.

.venv/bin/python docs/draw_screens.py [minutes of learning, by default 4] [of each in the comparison, by default 1]

It is the browser tests (tests/browser) with more time to learn, so that the
pictures are worth looking at. 0 minutes leave the pictures of those notebooks as they are.
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

ROOT = Path(__file__).resolve().parents[1]
SCREENS = ROOT / "docs" / "pictures" / "screens"
HOME = Path("/home/you")  # of whom the pictures show the folders
COLOURS = 256  # enough for a page, and a third of the size


def main(minutes: str = "4", compared: str = "1") -> None:
    """Write docs/pictures/screens/train_1.png and on, test_1.png and on, comparison_1.png and on."""
    if float(minutes):
        take(["tests/browser/test_train_and_test.py", "-k", "train or segment"], minutes)
    if float(compared):
        take(["tests/browser/test_compare.py"], compared)


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
            picture = Image.open(path).convert("RGB")
            small = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            small.save(SCREENS / path.name, optimize=True)


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
