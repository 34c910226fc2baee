"""How soon the default path reaches the held-out Dice of the multi-scale pyramid trained as published.

    python benchmarks/published.py [--minutes 60] [--ours 1 2 3] [--images 8654]

Both learn from all of the sample's training patients, as published without validation, and are scored on its test
patient, on the images' own grid. The pyramid has its recipe (`pyramid-published`): 256 × 256 pixels, float32,
batches of 5, Adam at 1e-4, squared Dice of both stages, the manual's augmentation, and its last weights. Ours has
the plan's settings for the minutes given, no number typed, and its last weights. `--images` counts the pyramid's
images instead of its minutes, for a machine that is not quiet: at the 416 ms an image that it costs on a quiet one,
60 minutes are 8,654.
"""

import argparse
import math
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

from autoseg.data.cases import find_cases
from autoseg.data.split import Split
from autoseg.measurement.scores import score_slices
from autoseg.measurement.summary import summarise
from autoseg.model.settings.settings import Settings
from autoseg.prediction import predict
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.plan import plan_settings
from autoseg.training.recipes import recipe
from autoseg.training.training import train

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"


def learn(name: str, split: Split, settings: Settings, structures, test) -> dict[str, float]:
    """Train, score on the test patient and print a line; give the Dice of every structure."""
    start = time.monotonic()
    model = train(split, settings, structures=structures)
    seconds, scores = time.monotonic() - start, []
    for case in test:
        image, reference = read_reference(case, structures)
        scores += score_slices(reference, predict(model, image))
    dice = {row.name: row.dice for row in summarise(scores).itertuples()}
    words = ", ".join(f"{key} {value:.3f}" for key, value in dice.items())
    mean = sum(dice.values()) / len(dice)
    print(f"{name:28} {seconds / 60:5.1f} min, {len(model.history)} epochs: {words}; mean {mean:.3f}", flush=True)
    return {**dice, "mean": mean}


def main() -> None:
    """Train ours for each time, then the pyramid, and say how soon its Dice was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--images", type=int, help="images that the pyramid sees, in place of its minutes")
    parser.add_argument("--ours", type=float, nargs="*", default=[1.0, 2.0, 3.0])
    chosen = parser.parse_args()
    found, test = find_cases(SAMPLE / "train"), find_cases(SAMPLE / "test").cases
    # As published, nobody is kept to validate on: both learn from all patients.
    everyone = Split(tuple(found.cases), (), ())
    rows = {}
    for minutes in chosen.ours:
        settings = plan_settings(found, minutes=minutes).settings
        rows[minutes] = learn(f"autoseg, {minutes:g} min", everyone, settings, found.structures, test)
    published = recipe("pyramid-published", minutes=chosen.minutes)
    if chosen.images:
        slices = sum(read_reference(case, found.structures)[0].shape[0] for case in found.cases)
        published = replace(published, minutes=None, epochs=math.ceil(chosen.images / slices))
    theirs = learn("pyramid as published", everyone, published, found.structures, test)
    sooner = [minutes for minutes, own in rows.items() if own["mean"] >= theirs["mean"]]
    print(f"Reached after {min(sooner):g} minutes." if sooner else "Not reached.")


if __name__ == "__main__":
    main()
