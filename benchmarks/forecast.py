"""How often the truth lies in the 80 % interval of a forecast: simulated, and of comparisons that were learnt.

    python benchmarks/forecast.py                             # simulated patients, folds and trainings (a minute)
    python benchmarks/forecast.py trained_model/NAME_comparison         # fitted on the smaller sizes

Simulated: error = a + b n^(-c), a of 1 to 6 %, b of 15 to 60 %, c of 0.3 to 1.2; patients, their sizes and
trainings (whom a fold drew, how it went) multiply it by log-normal factors. "told" is what was not refused.

Learnt: of `autoseg forecast` with four sizes or more the first three make a curve, then the first four and so on;
what the larger sizes gave is the truth, by structure and measure.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from autoseg.evaluation.comparison import Comparison, read_comparison
from autoseg.evaluation.comparison.compared import read_state
from autoseg.evaluation.comparison.forecast import MORE, forecast_of
from autoseg.measurement.learning_curve import FEWEST_SIZES, fit_learning_curve

# Patients, folds and sizes of simulated forecasts, and by how much trainings of one size differ.
DESIGNS = (
    (12, 3, (2, 4, 8)),
    (20, 5, (2, 4, 8)),
    (20, 5, (2, 4, 8, 14)),
    (40, 5, (2, 4, 8, 16, 28)),
    (60, 3, (2, 4, 8, 16, 32)),
)
TRAININGS = (0.05, 0.15, 0.3)
OF_PATIENT, OF_SIZE = 0.5, 0.3


def factor(rng: np.random.Generator, spread: float, *shape: int) -> np.ndarray:
    """Give log-normal factors of mean 1."""
    return np.exp(rng.normal(-(spread**2) / 2, spread, shape))


def simulate(times: int) -> None:
    """Print how often the true curve lies in the interval of all forecasts, and of those that are told."""
    print("patients folds sizes           trainings  asked   told  holds  holds where told  width  refused")
    for patients, folds, sizes in DESIGNS:
        for spread in TRAININGS:
            rng, rows, refused = np.random.default_rng(1), [], Counter[str]()
            for seed in range(times):
                a, b, c = rng.uniform(1, 6), rng.uniform(15, 60), rng.uniform(0.3, 1.2)
                places = np.arange(patients) % folds
                errors = (a + b * np.array(sizes, float) ** -c) * factor(rng, OF_PATIENT, patients, 1)
                errors = errors * factor(rng, OF_SIZE, patients, len(sizes))
                errors = errors * factor(rng, spread, folds, len(sizes))[places]
                curve = fit_learning_curve(errors, sizes, places.tolist(), seed=seed)
                if curve.doubt is not None:
                    refused[curve.doubt.value] += 1
                    continue
                for count in sorted({2 * sizes[-1], sizes[-1] + MORE}):
                    found, truth = curve.at(count), a + b * count**-c
                    is_told = curve.doubt_at(count) is None
                    rows.append(
                        (count, found.low <= truth <= found.high, is_told, (found.high - found.low) / truth)
                    )
            for count in sorted({row[0] for row in rows}):
                own = np.array([row[1:] for row in rows if row[0] == count], float)
                told = own[own[:, 1] > 0]
                print(
                    f"{patients:8} {folds:5} {str(sizes)[1:-1]:15} {spread:9} {count:6} {len(told) / times:6.0%} "
                    f"{own[:, 0].mean():6.0%} {told[:, 0].mean() if len(told) else np.nan:17.0%} "
                    f"{own[:, 2].mean():6.0%}  {dict(refused) or ''}"
                )


def look_back(comparison: Comparison, learnt: dict[str, float]) -> tuple[int, int]:
    """Fit on the smaller sizes and print where the larger ones came out; give how many held, of how many told."""
    whole = forecast_of(comparison.runs, learnt)
    sizes = sorted(set(learnt.values()))
    held = told = 0
    for known in (sizes[:end] for end in range(FEWEST_SIZES, len(sizes))):
        part = forecast_of(comparison.runs, {entry: size for entry, size in learnt.items() if size in known})
        print(f"{comparison.folder.name}: learnt from {', '.join(f'{size:g}' for size in known)}")
        for (structure, measure), curve in whole.curves.items():
            before = part.curves[structure, measure]
            for size, found in list(zip(curve.sizes, curve.measured, strict=True))[len(known) :]:
                words, why = f"  {structure:20} {measure:20} {size:5.1f}: {found.value:.3g}", before.doubt_at(size)
                if why is not None:
                    print(f"{words}, not told ({why.value})")
                    continue
                expected = before.at(size)
                is_held = expected.low <= found.value <= expected.high
                held, told = held + is_held, told + 1
                print(f"{words}, {expected.low:.3g} to {expected.high:.3g} {'holds' if is_held else 'MISSES'}")
    return held, told


def main() -> None:
    """Do what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="of forecasts (<name>_comparison)")
    parser.add_argument("--times", type=int, default=150, help="simulations of each kind (default: 150)")
    chosen = parser.parse_args()
    if not chosen.folders:
        simulate(chosen.times)
        return
    found = [look_back(read_comparison(place), dict(read_state(place).learnt)) for place in chosen.folders]
    held, told = (sum(column) for column in zip(*found, strict=True))
    print(f"{held} of {told} lie in the 80 % interval.")


if __name__ == "__main__":
    main()
