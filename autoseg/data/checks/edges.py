"""How well the borders of labels follow the edges of their image: as they are, turned, and moved.

The score is that of normalised gradient fields (Haber and Modersitzki, MICCAI 2006): the squared cosine between
the label's normal and the image's gradient, averaged along the borders. It asks neither for bright nor for dark
structures, and steep edges count no more than faint ones once they stand out of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from autoseg.data.repairs import SYMMETRIES, turn_slices

Floats = npt.NDArray[np.float32]

# Slices beyond this size are halved (thirded …) first: edges are found as well, in a quarter of the time.
LONGEST_SIDE = 400
# Of a volume so many slices with labels are looked at, evenly chosen.
MOST_SLICES = 8
# Shifts are looked for up to this share of the image's shorter side, and at least so many pixels.
FARTHEST, FARTHEST_LEAST = 0.125, 8
# Smoothing before the gradient, pixels.
SIGMA = 1.0
# A drawn border may lie so many pixels beside the edge.
TOLERANCE = 1
# Farther from the edges nobody draws by habit, in steps.
HABIT = 2
# Points per side of the grid of far shifts that tells what a border scores by chance.
CHANCE_POINTS = 12

TURNS = tuple(symmetry for symmetry in SYMMETRIES if symmetry != "none")


@dataclass(frozen=True, eq=False)
class EdgeFit:
    """Scores of one label map on its image, as sums over `slices` slices.

    `moved` are those for shifts by whole steps of `step` pixels, the middle one the labels as they are, of each
    half of the borders: in turn one eighth of the way round a structure; -inf where labels would leave the image.
    `turned` are those of the seven other symmetries (in the order of `TURNS`, each for the shifts within the
    tolerance, NaN where the shape forbids it); `chance` those of shifts all over the image; `overlaps` the share
    of labelled pixels that a turn leaves as they are.
    """

    moved: Floats
    turned: Floats
    chance: Floats
    overlaps: Floats
    slices: int
    step: int

    def standard(self, score: float) -> float:
        """Give a score in standard deviations above what is met by chance."""
        return float((score - self.chance.mean()) / max(float(self.chance.std()), 1e-9))

    @property
    def as_it_is(self) -> float:
        """The standard score of the labels as they are."""
        return self.standard(near(self.moved).sum(axis=0).max())

    @property
    def best_turn(self) -> tuple[str, float, float]:
        """The symmetry other than none that fits best: its name, standard score and overlap."""
        scores = np.where(np.isnan(self.turned), -np.inf, self.turned).max(axis=(1, 2))
        best = int(scores.argmax())
        return TURNS[best], self.standard(float(scores[best])), float(self.overlaps[best])

    @property
    def best_shift(self) -> tuple[tuple[int, int], float]:
        """The shift that fits best, in pixels down and to the right, and its standard score."""
        together = self.moved.sum(axis=0)
        row, column = self._place(together)
        return (row * self.step, column * self.step), self.standard(float(together.max()))

    @property
    def halves_apart(self) -> int:
        """How far from the best shift either half of the borders would by itself be moved, in steps.

        A label that lies beside its structure fits all round there; edges that are met by chance, or run beside it,
        suit a part of it.
        """
        best = np.array(self._place(self.moved.sum(axis=0)))
        return max(int(np.abs(np.array(self._place(half)) - best).max()) for half in self.moved)

    @property
    def habit(self) -> tuple[int, int]:
        """How far beside the edges these labels are drawn by habit, in pixels: the best shift near by."""
        row, column = self._place(near(self.moved, HABIT).sum(axis=0))
        return row * self.step, column * self.step

    def _place(self, scores: Floats) -> tuple[int, int]:
        """Give the best shift of a table, in steps."""
        reach = scores.shape[0] // 2
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        return int(row) - reach, int(column) - reach


def fit_edges(
    intensities: npt.NDArray[np.generic], labels: npt.NDArray[np.integer], *, drawn: Sequence[int]
) -> EdgeFit | None:
    """Score the labels of an image against its edges."""
    if not len(drawn):
        return None
    chosen = np.asarray(drawn)[np.linspace(0, len(drawn) - 1, min(MOST_SLICES, len(drawn))).round().astype(int)]
    step = -(-max(labels.shape[1:]) // LONGEST_SIDE)
    fits = [_fit_slice(_smaller(intensities[i], step), labels[i, ::step, ::step], step) for i in chosen]
    return sum_fits([fit for fit in fits if fit is not None])


def sum_fits(fits: Sequence[EdgeFit]) -> EdgeFit | None:
    """Add up the scores of several slices or cases of one shape; None of none."""
    if not fits:
        return None
    total = sum(fit.slices for fit in fits)
    overlaps = sum(fit.overlaps * fit.slices for fit in fits) / total
    moved, turned, chance = (
        np.sum([getattr(f, name) for f in fits], axis=0) for name in ("moved", "turned", "chance")
    )
    return EdgeFit(moved, turned, chance, np.asarray(overlaps), total, fits[0].step)


def near(scores: Floats, tolerance: int = TOLERANCE) -> Floats:
    """Give the middle of a table of shifts, to the tolerance."""
    middle = scores.shape[-1] // 2
    keep = slice(middle - tolerance, middle + tolerance + 1)
    return scores[..., keep, keep]


def _fit_slice(intensities: npt.NDArray[np.generic], labels: npt.NDArray[np.integer], step: int) -> EdgeFit | None:
    shape = labels.shape
    places, drawn, half = _borders(labels)
    if not len(places):
        return None
    edges = _edges(intensities)
    weight = float((drawn[0] + drawn[1]).sum())
    rows, columns = (fft.next_fast_len(length, real=True) for length in shape)
    seen = [fft.rfft2(edge, s=(rows, columns)) for edge in edges]
    halves = []
    for mine in (half == 0, half == 1):
        scores = np.zeros((rows, columns // 2 + 1), dtype=np.complex64)
        for edge, part in zip(seen, drawn, strict=True):
            canvas = np.bincount(places[mine], part[mine], labels.size).astype(np.float32).reshape(shape)
            scores += edge * np.conj(fft.rfft2(canvas, s=(rows, columns)))
        halves.append(fft.irfft2(scores, s=(rows, columns)) / weight)
    by_shift = np.stack(halves)
    reach = min(max(FARTHEST_LEAST, int(FARTHEST * min(shape))), (min(rows, columns) - 1) // 2)
    moved = np.roll(by_shift, (reach, reach), axis=(1, 2))[:, : 2 * reach + 1, : 2 * reach + 1]
    moved[:, ~_stays_inside(labels, reach)] = -np.inf
    grid = [np.linspace(0, length, CHANCE_POINTS, endpoint=False).astype(int) for length in (rows, columns)]
    turned = np.full((len(TURNS), 2 * TOLERANCE + 1, 2 * TOLERANCE + 1), np.nan, np.float32)
    overlaps = np.full(len(TURNS), np.nan, np.float32)
    for number, symmetry in enumerate(TURNS):
        other = turn_slices(labels, symmetry)
        if other.shape == shape:
            turned[number] = _score_turned(edges, places, drawn, symmetry) / weight
            overlaps[number] = np.count_nonzero((other == labels) & (labels > 0)) / np.count_nonzero(labels)
    return EdgeFit(moved, turned, by_shift.sum(axis=0)[np.ix_(*grid)].ravel(), overlaps, 1, step)


def _stays_inside(labels: npt.NDArray[np.integer], reach: int) -> npt.NDArray[np.bool_]:
    """Tell for each shift whether all labels stay inside the image, as they do where they belong."""
    steps = np.arange(-reach, reach + 1)
    drawn = (np.flatnonzero(labels.any(axis=axis)) for axis in (1, 0))
    rows, columns = (
        (steps + there[0] >= 0) & (steps + there[-1] < length)
        for there, length in zip(drawn, labels.shape, strict=True)
    )
    return rows[:, None] & columns


def _score_turned(edges: Floats, places: npt.NDArray[np.intp], drawn: Floats, symmetry: str) -> Floats:
    """Score turned borders for the shifts within the tolerance."""
    shape = edges.shape[1:]
    # Where each pixel comes from, inverted: where each goes.
    origins = turn_slices(np.arange(edges[0].size).reshape(shape), symmetry).ravel()
    goes = np.empty_like(origins)
    goes[origins] = np.arange(origins.size)
    rows, columns = np.unravel_index(goes[places], shape)
    down, right, both = drawn
    if symmetry in ("transpose", "transpose_180", "rotate_90", "rotate_270"):
        down, right = right, down
    if symmetry in ("mirror_columns", "mirror_rows", "rotate_90", "rotate_270"):
        both = -both
    offsets = range(-TOLERANCE, TOLERANCE + 1)
    scores = np.empty((len(offsets), len(offsets)), np.float32)
    for i, by_row in enumerate(offsets):
        for j, by_column in enumerate(offsets):
            there = edges[:, (rows + by_row) % shape[0], (columns + by_column) % shape[1]]
            scores[i, j] = (there * (down, right, both)).sum()
    return scores


def _edges(intensities: npt.NDArray[np.generic]) -> Floats:
    """Give the normalised gradient as down², right² and twice their product, shape (3, rows, columns)."""
    grey = np.nan_to_num(intensities.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(grey, (1, 99))
    grey = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
    down, right = (ndimage.gaussian_filter(grey, SIGMA, order=order) for order in ((1, 0), (0, 1)))
    squared = down**2 + right**2
    damped = squared + (np.sqrt(np.median(squared)) + 1e-3) ** 2
    return np.stack([down**2, right**2, 2 * down * right]) / damped


def _borders(labels: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.intp], Floats, npt.NDArray[np.intp]]:
    """Give the places (raveled) of all borders, and down², right² and product of the normals over their length.

    The third tells to which half of a border each place belongs, in turn one eighth of the way round.
    """
    places, parts, halves = [np.zeros(0, np.intp)], [np.zeros((3, 0), np.float32)], [np.zeros(0, np.intp)]
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(0, side.start - 4), side.stop + 4) for side in box)
        mask = (labels[wide] == value).astype(np.float32)
        down, right = (ndimage.gaussian_filter(mask, SIGMA, order=order) for order in ((1, 0), (0, 1)))
        length = np.hypot(down, right)
        # Fainter than this is the tail of the smoothing.
        rows, columns = np.nonzero(length > 0.02)
        down, right, length = down[rows, columns], right[rows, columns], length[rows, columns]
        places.append((rows + wide[0].start) * labels.shape[1] + columns + wide[1].start)
        parts.append(np.stack([down**2, right**2, down * right]) / length)
        angle = np.arctan2(rows - rows.mean(), columns - columns.mean()) if len(rows) else np.zeros(0)
        halves.append(np.floor(4 * angle / np.pi).astype(np.intp) % 2)
    return np.concatenate(places), np.concatenate(parts, axis=1), np.concatenate(halves)


def _smaller(intensities: npt.NDArray[np.generic], step: int) -> npt.NDArray[np.generic]:
    """Average blocks of step × step pixels; incomplete ones at the end repeat the last pixels."""
    if step == 1:
        return intensities
    rows, columns = (-length % step for length in intensities.shape)
    grey = np.pad(np.asarray(intensities, np.float32), ((0, rows), (0, columns)), mode="edge")
    blocks = grey.reshape(grey.shape[0] // step, step, grey.shape[1] // step, step)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))
