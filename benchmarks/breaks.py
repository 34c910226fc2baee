"""Break one line at a time on purpose, and see whether the tests of its room notice.

    python benchmarks/breaks.py [NUMBER ...]

Each break changes a sign, an index, a unit or a comparison in a copy of the project, and runs the tests named
beside it. A line that is no longer there is said, and wants another break in its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "trained_model", "predictions")


@dataclass(frozen=True)
class Break:
    """One line of the package, what becomes of it, and the test files that should notice."""

    line: str
    broken: str
    tests: str


BREAKS = (
    # image
    Break(
        "first + np.arange(count) * float(normal", "first - np.arange(count) * float(normal", "image/test_geometry"
    ),
    Break("apart_mm <= 1e-3 * min(", "apart_mm <= 1e0 * min(", "image/test_geometry"),
    Break("(tall / rows, wide / columns)", "(tall / columns, wide / rows)", "image/test_calibration"),
    Break("drew // 2 + 1 if agreeing", "drew // 2 if agreeing", "image/test_raters"),
    Break("shares >= 0.5 + DOUBT", "shares >= 0.6 + DOUBT", "image/test_contours"),
    # files
    Break(
        "np.float64(header.slope) + header.intercept",
        "np.float64(header.slope) - header.intercept",
        "files/dicom/test_series",
    ),
    Break("<= SAME_DELTA * b for a, b", "<= 50 * SAME_DELTA * b for a, b", "files/dicom/test_spacing"),
    Break(
        "np.isfinite(steps).all() and not (steps == 1).all())",
        "np.isfinite(steps).all())",
        "files/nifti/test_volumes files/nifti/test_images",
    ),
    # data
    Break(
        "max(1, round(fraction * len(subjects))), len(subjects) - 1)",
        "max(1, round(fraction * len(subjects))), len(subjects))",
        "data/test_split",
    ),
    Break("shift[0] - usual.habit[0]", "shift[0] + usual.habit[0]", "data/checks/test_placement"),
    Break("far = max(map(abs, shift))", "far = min(map(abs, shift))", "data/checks/test_placement"),
    Break("blocks[:, :, factor // 2, :, factor // 2]", "blocks[:, :, 0, :, 0]", "data/corrections/test_fine_grid"),
    # measurement
    Break("sizes[-2] > FRAGMENT_SHARE", "sizes[-1] > FRAGMENT_SHARE", "measurement/test_areas"),
    Break(
        "SIDE_FACTOR * counts[:, columns[mine]] < counts",
        "SIDE_FACTOR * counts[:, columns[mine]] > counts",
        "measurement/test_areas",
    ),
    Break("bias - 1.96 * deviation", "bias - 1.64 * deviation", "measurement/test_statistics"),
    Break("k * (raters - residual) / n", "k * (raters - residual) / k", "measurement/test_statistics"),
    Break("together <= tolerance_mm", "together < tolerance_mm", "measurement/test_surfaces"),
    Break(
        "if turned[patient_axis, 0] < 0:",
        "if turned[patient_axis, 0] > 0:",
        "measurement/morphometry/test_sections",
    ),
    # model
    Break("0.5 * scale - 0.5", "0.5 * scale", "model/preprocessing/test_volume_grids"),
    Break(
        "window * (1 - overlap)) - 1e-9) + 1",
        "window * (1 - overlap)) - 1e-9)",
        "model/preprocessing/test_sliding_window",
    ),
    Break("probabilities[:, k] >= one.threshold", "probabilities[:, k] < one.threshold", "model/test_postprocess"),
    Break("(np.array(size) - 1) / 2 + 0.5", "(np.array(size) - 1) / 2 - 0.5", "model/centreline/test_crop"),
    # training
    Break("(1 - math.cos(math.pi * left))", "(1 + math.cos(math.pi * left))", "training/test_clock"),
    Break(
        "(2 * both + SMOOTHING)", "(both + SMOOTHING)", "training/losses/test_overlap training/losses/test_losses"
    ),
    Break(
        "1.0 - progress / settings.overlap_until",
        "1.0 + progress / settings.overlap_until",
        "training/losses/test_losses",
    ),
    Break(") >= settings.patience", ") > settings.patience", "training/test_training"),
    Break(
        "min(places) >= 0", "min(places) > 0", "training/finetuning/test_carry training/finetuning/test_finetuning"
    ),
    # prediction, report, evaluation, panels
    Break("above / blend_mm + 0.5", "above / blend_mm - 0.5", "prediction/test_combine"),
    Break(
        "return step * sum(areas)",
        "return 0.1 * step * sum(areas)",
        "report/test_area_tables",
    ),
    Break("digits - 1 - math.floor(", "digits - 1 - math.ceil(", "report/test_area_tables"),
    Break(
        "times[entry] * FASTER <= times[best]",
        "times[entry] * FASTER >= times[best]",
        "evaluation/comparison/test_comparison",
    ),
    Break(
        "(finite - scale.first) / scale.step",
        "(finite + scale.first) / scale.step",
        "panels/parts/test_slice_data panels/parts/test_viewer",
    ),
)


def try_break(one: Break, copy: Path) -> str:
    """Give "caught", "missed", or what stands in the way."""
    homes = [path for path in sorted((copy / "autoseg").rglob("*.py")) if one.line in path.read_text("utf-8")]
    tests = [place for name in one.tests.split() if (place := copy / "tests" / f"{name}.py").exists()]
    if len(homes) != 1 or not tests:
        return f"the line stands in {len(homes)} modules; {len(tests)} of its test files are there"
    text = homes[0].read_text("utf-8")
    homes[0].write_text(text.replace(one.line, one.broken), "utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not browser", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*map(str, command)], cwd=copy, env=environment, capture_output=True, check=False)
    homes[0].write_text(text, "utf-8")
    place = homes[0].relative_to(copy)
    return f"{ {0: 'missed', 1: 'caught'}.get(done.returncode, f'pytest ended with {done.returncode}') } {place}"


def main(numbers: list[str]) -> None:
    """Try the breaks of these numbers, or all, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        for number, one in enumerate(BREAKS, 1):
            if not numbers or str(number) in numbers:
                print(f"{number:>3}  {one.line}  →  {one.broken}:  {try_break(one, copy)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
