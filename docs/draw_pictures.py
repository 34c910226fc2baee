"""Draw the README's first picture from the sample and the model that the demo trained, and the manual's from runs.

python3 workbench.py demo, then: .venv/bin/python docs/draw_pictures.py

With --forecast NAME_forecast_comparison it draws the picture of that forecast in its place; the manual's is of the
slices of 66 hippocampi (Medical Segmentation Decathlon).
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import autoseg
from autoseg.evaluation.comparison import read_comparison
from autoseg.evaluation.expert import pair_with_expert
from autoseg.report.figures import show_forecast

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
SAMPLE = ROOT / "data" / "sample"


def main() -> None:
    """Write what is asked for."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--forecast", type=Path)
    forecast = asked.parse_args().forecast
    if forecast is None:
        draw_overlay()
    else:
        draw_forecast(forecast)


def draw_forecast(folder: Path) -> None:
    """Write forecast.png."""
    forecast = read_comparison(folder).forecast
    show_forecast(forecast.shown()).savefig(PICTURES / "forecast.png", dpi=90)


def draw_overlay() -> None:
    """Write overlay.png."""
    model = autoseg.load_model(autoseg.find_model(ROOT / "trained_model", "demo"))
    with tempfile.TemporaryDirectory() as folder:
        run = autoseg.segment_folder(model, SAMPLE / "test" / "dicoms", output=Path(folder))
        pairs = pair_with_expert(run, autoseg.find_cases(SAMPLE / "test"))
    # The time point at which the expert drew both structures.
    image, predicted = run.results[1]
    expert = {reference.source.slices[0].path: reference for _, reference, _ in pairs}
    drawn = np.concatenate([expert[source.path].voxels for source in image.source.slices])
    figure = autoseg.show_overlays(
        image, predicted, reference=replace(predicted, voxels=drawn), slices=[2, 4, 6, 8]
    )
    figure.savefig(PICTURES / "overlay.png", dpi=90)


if __name__ == "__main__":
    main()
