"""How far areas of filled contours are from the polygon's own: by coverage, and by OpenCV's polygon fill.

    python benchmarks/contours.py [--data ../shared/data/cardiac-sunnybrook-dicom]

Discs, ellipses and rotated rectangles stand at many places between pixels and at many angles; bias is the mean
error of the pixel count in percent of the shape's area, and the scatter its standard deviation. The cardiac
contours were drawn by hand on half pixels; without that folder they are left out. "half or more" takes exactly
the pixels of which at least half is covered, of a contour on half pixels therefore those on both sides.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from autoseg.files.text_files import read_contour_file
from autoseg.image.contours import contour_area, coverage, fill_contour

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cardiac-sunnybrook-dicom"
SHAPE = (256, 256)
PLACES = [((row + 0.5) / 20, (column + 0.5) / 20) for row in range(20) for column in range(20)]


def fill_opencv(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.fillPoly(np.zeros(shape, np.uint8), [np.rint(points[:, ::-1]).astype(np.int32)], 1)


def fill_half(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return coverage(points, shape) >= 0.5 - 1e-9


FILLS = {"autoseg": fill_contour, "half or more": fill_half, "cv2.fillPoly": fill_opencv}


def shapes(area: float, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Give discs, ellipses (2 : 1) and rectangles (3 : 1) of one area at 400 places and random angles."""
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    disc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outlines = {
        "disc": disc,
        "ellipse": disc * (2, 1),
        "rectangle": np.array([(-1.5, -0.5), (-1.5, 0.5), (1.5, 0.5), (1.5, -0.5)]),
    }
    made: dict[str, list[np.ndarray]] = {}
    for name, outline in outlines.items():
        sized = outline * np.sqrt(area / contour_area(outline))
        made[name] = []
        for place in PLACES:
            turn = rng.uniform(0, 2 * np.pi)
            turned = sized @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
            made[name].append(turned + 128 + place)
    return made


def real_contours(folder: Path) -> dict[str, list[np.ndarray]]:
    found = {"LV inner, drawn": "*icontour-manual.txt", "LV outer, drawn": "*ocontour-manual.txt"}
    return {name: [read_contour_file(path) for path in sorted(folder.rglob(glob))] for name, glob in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    folder = parser.parse_args().data
    rng = np.random.default_rng(0)
    sets = [(f"{name}, {area} px", group) for area in (60, 250, 2000) for name, group in shapes(area, rng).items()]
    sets += [(name, group) for name, group in real_contours(folder).items() if group]
    print(f"{'bias ± scatter in %':24}{'n':>5}" + "".join(f"{name:>18}" for name in FILLS))
    for name, group in sets:
        line = f"{name:24}{len(group):5}"
        for fill in FILLS.values():
            errors = [100 * (float(fill(points, SHAPE).sum()) / contour_area(points) - 1) for points in group]
            line += f"{np.mean(errors):+10.2f} ± {np.std(errors):5.2f}"
        print(line)
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    big = 256 + 200 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    start = time.perf_counter()
    for _ in range(100):
        fill_contour(big, (512, 512))
    print(f"\n500 points on 512 × 512: {10 * (time.perf_counter() - start):.1f} ms")


if __name__ == "__main__":
    main()
