"""How well a slice is likely to be segmented, told by how sure the answer is and by a second look at the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

# What is told of each structure on each slice, in this order; areas are in mm², or in pixels where their size is
# unknown, and NaN stands for what cannot be told (what lies beside a single slice).
SIGNALS = (
    "area",  # of the label map
    "area_again",  # at the second look
    "sum",  # of the probabilities, as an area
    "sum_again",
    "agreement",  # Dice of the two looks; 1 where both are empty
    "soft_agreement",  # of their probabilities; 0 where there are none
    "own_dice",  # that the probabilities promise to the labels, were they right
    "spread",  # of the probabilities p: mean of 1 - p, weighted by p
    "peak",  # the highest probability
    "peak_again",
    "beside",  # Dice with the slices beside it, their mean; 1 where both are empty
    "area_beside",  # of the structure on the slices beside it, the mean
)

# What expected values are told by, where the structure was found on a slice and where it was not, each with the
# sign that its weight has if it is not 0: to be less sure, or other than usual or than beside it, is never better.
FOUND = {
    "constant": 0, "own_dice": 1, "agreement": 1, "soft_agreement": 1, "peak": 1, "peak_again": 1, "beside": 1,
    "smaller": -1, "larger": -1, "change": -1, "step": -1,
}  # fmt: skip
EMPTY = {"constant": 0, "peak": -1, "peak_again": -1, "sum": -1, "area_again": -1, "beside": 0}
# Weights before anything is known of a model, fitted by `benchmarks/quality.py` to the validation patients of folds
# of hearts and lumbar spines (slices) and of hippocampi (volumes) together, each set weighing the same.
START_FOUND = (0.35, 0.59, 0.07, 0.18, 0.0, 0.0, 0.0, -0.3, -0.68, 0.0, 0.0)
START_EMPTY = (-1.38, -1.25, -0.53, -0.3, 0.0, 0.26)
# Of ln(error of the area), by the same features as FOUND; of folds that had learnt for a shorter time, for those of
# later ones tell it no better.
START_ERROR = (-1.68, -0.27, 0.0, -0.12, -0.03, 0.0, 0.0, 0.71, 1.36, 0.11, 0.0)
# Expected Dice below which a slice is poor, unless too many good ones would be called so: where the structure was
# found, and where not. There it is the probability of being absent, and what was missed is worth more looks.
POOR, POOR_EMPTY = 0.7, 0.9
LEAST_ERROR, MOST_ERROR = 0.02, 2.0
LOGIT_END = 0.01
# As a share of the usual area; and the Dice with the slices beside it that is taken where there are none.
LITTLE, USUAL_BESIDE = 0.01, 0.85


@dataclass(frozen=True)
class Quality:
    """What turns the signals of a slice and structure into an expected Dice and an expected error of the area.

    `found`, `empty` and `error` are weights of the features `FOUND` and `EMPTY`; `poor_found` and `poor_empty` are
    the expected Dice below which a slice is called poor. `offsets` are added for each structure where it was found,
    for a model may be better at one than at another (none: it is not known). `areas` (medians, 0: unknown),
    `pieces`, `jumps`, `sides` and `always` are what is usual of each structure in the labels
    (`autoseg.measurement.areas.Usual`), in the model's order. `in_mm`: areas are in mm². It was learnt from so many
    `subjects` and `slices` by these `signals`.
    """

    found: tuple[float, ...] = START_FOUND
    empty: tuple[float, ...] = START_EMPTY
    error: tuple[float, ...] = START_ERROR
    poor_found: float = POOR
    poor_empty: float = POOR_EMPTY
    offsets: tuple[float, ...] = ()
    areas: tuple[float, ...] = ()
    pieces: tuple[int, ...] = ()
    jumps: tuple[float, ...] = ()
    sides: tuple[float, ...] = ()
    always: tuple[bool, ...] = ()
    in_mm: bool = True
    subjects: int = 0
    slices: int = 0
    signals: tuple[str, ...] = SIGNALS

    def __post_init__(self) -> None:
        numbers = (*self.found, *self.empty, *self.error, self.poor_found, self.poor_empty)
        numbers += (*self.offsets, *self.areas, *self.jumps, *self.sides)
        if not all(math.isfinite(one) for one in numbers) or min((0, *self.areas, *self.jumps, *self.sides)) < 0:
            raise ValueError("its quality holds a number that cannot be")
        if self.signals == SIGNALS and not self._fits:
            raise ValueError("its quality has another count of weights than of signals")
        if self.offsets and len(self.offsets) != len(self.areas):
            raise ValueError("its quality does not tell of every structure how good it is")
        if len({len(each) for each in (self.areas, self.pieces, self.jumps, self.sides, self.always)}) > 1:
            raise ValueError("its quality does not tell of every structure what is usual")

    @property
    def _fits(self) -> bool:
        return (len(self.found), len(self.empty), len(self.error)) == (len(FOUND), len(EMPTY), len(FOUND))

    @property
    def is_known(self) -> bool:
        """Tell whether its weights are of the signals that this version of autoseg gives."""
        return self.signals == SIGNALS

    def expect(self, signals: npt.NDArray[np.float32], *, in_mm: bool = True) -> tuple[Numbers, Numbers]:
        """Give the Dice and the error of the area (a share of it) to be expected, each (slices, structures).

        Of a slice without the structure the Dice is the probability that it is truly absent, and the error says
        nothing; where it was found, half of such slices are off by less. `signals` is as of
        `autoseg.prediction.Predicted`, its areas in mm² or not.
        """
        areas = self.areas if in_mm == self.in_mm else ()
        found, empty = features_of(signals, areas)
        is_found = signals[..., SIGNALS.index("area")] > 0
        own = np.array(self.offsets or (0.0,) * found.shape[1])
        likely = np.where(is_found, found @ np.array(self.found) + own, empty @ np.array(self.empty))
        dice = _sigmoid(likely)
        error = np.exp(np.clip(found @ np.array(self.error), math.log(LEAST_ERROR), math.log(MOST_ERROR)))
        return dice, error

    def is_poor(self, signals: npt.NDArray[np.float32], dice: Numbers) -> npt.NDArray[np.bool_]:
        """Tell which slices and structures are likely to be wrong, from their signals and expected Dice."""
        is_found = signals[..., SIGNALS.index("area")] > 0
        return np.asarray(dice < np.where(is_found, self.poor_found, self.poor_empty))


def features_of(signals: npt.NDArray[np.float32], areas: Sequence[float]) -> tuple[Numbers, Numbers]:
    """Give the features `FOUND` and `EMPTY`, each (slices, structures, features).

    `areas` are those that are usual of each structure; where they are unknown (0, or none at all) sizes are the
    usual ones.
    """
    value = {name: signals[..., place].astype(np.float64) for place, name in enumerate(SIGNALS)}
    area, again = value["area"], value["area_again"]
    usual = np.array(areas or (0.0,) * area.shape[1])
    known = usual > 0
    usual = np.where(known, usual, 1.0)
    # Of what was found nowhere, and in small areas, ratios are tempered by this.
    little = np.where(known, LITTLE * usual, 1.0)

    def size(of: Numbers) -> Numbers:
        return np.where(known, np.log((of + little) / usual), 0.0)

    beside = np.where(np.isnan(value["area_beside"]), area, value["area_beside"])
    found = {
        "constant": np.ones_like(area),
        "own_dice": _logit(value["own_dice"]),
        "agreement": _logit(value["agreement"]),
        "soft_agreement": _logit(value["soft_agreement"]),
        "peak": _logit(value["peak"]),
        "peak_again": _logit(value["peak_again"]),
        "beside": _logit(np.where(np.isnan(value["beside"]), USUAL_BESIDE, value["beside"])),
        "smaller": np.maximum(0.0, -size(area)),
        "larger": np.maximum(0.0, size(area)),
        "change": np.abs(np.log((area + little) / (again + little))),
        "step": np.abs(np.log((area + little) / (beside + little))),
    }
    empty = {
        "constant": found["constant"],
        "peak": found["peak"],
        "peak_again": found["peak_again"],
        "sum": size(value["sum"]),
        "area_again": (again > 0).astype(np.float64),
        "beside": size(np.nan_to_num(value["area_beside"])),
    }
    return np.stack([found[name] for name in FOUND], -1), np.stack([empty[name] for name in EMPTY], -1)


def _logit(share: Numbers) -> Numbers:
    share = np.clip(share, LOGIT_END, 1 - LOGIT_END)
    return np.asarray(np.log(share / (1 - share)))


def _sigmoid(value: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -30, 30))))
