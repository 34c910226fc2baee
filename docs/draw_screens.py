"""Take the manual's pictures: run both notebooks in a real browser on the sample, and keep what they show.

.venv/bin/python docs/draw_screens.py [minutes of learning, by default 4]

It is the browser test (tests/test_browser.py) with more time to learn, so that the pictures are worth looking at.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SCREENS = ROOT / "docs" / "pictures" / "screens"
COLOURS = 256  # enough for a page, and a third of the size


def main(minutes: str = "4") -> None:
    """Write docs/pictures/screens/train_1.png and on, test_1.png and on."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"AUTOSEG_SCREENSHOTS": folder, "AUTOSEG_MINUTES": minutes}
        command = [sys.executable, "-m", "pytest", "tests/test_browser.py", "-q", "-k", "train or segment"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        SCREENS.mkdir(parents=True, exist_ok=True)
        for path in sorted((Path(folder) / "light").glob("*.png")):
            picture = Image.open(path).convert("RGB")
            small = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            small.save(SCREENS / path.name, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
