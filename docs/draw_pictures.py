"""Draw the README's first picture from the sample and the model that the demo trained.

python3 workbench.py demo, then: .venv/bin/python docs/draw_pictures.py
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import autoseg
from autoseg.evaluation.expert import pair_with_expert

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
SAMPLE = ROOT / "data" / "sample"


def main() -> None:
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
