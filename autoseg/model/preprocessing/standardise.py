"""Intensities of whole volumes made comparable: clipped, and either standardised or mapped to learnt landmarks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError
from autoseg.model.settings.settings import Settings

# Percentiles that are mapped between the two at which an image is clipped: the deciles (Nyúl et al. 2000).
DECILES = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
# Landmarks run from 0 to this; the mapped image is then standardised, so that the number has no effect.
STANDARD_SCALE = 100.0
# Of larger images every n-th voxel tells the percentiles.
SEEN_VOXELS = 2_000_000


def standardise(voxels: npt.NDArray[np.generic], settings: Settings, *, name: str = "image") -> np.ndarray:
    """Clip each channel of a volume to its own percentiles and bring it to mean 0 and standard deviation 1.

    With landmarks each channel is first mapped, piece by piece linearly, such that its own deciles become the usual
    ones (Nyúl, Udupa and Zhang, IEEE TMI 2000). A constant channel is 0. Voxels are (channels, slices, rows,
    columns).
    """
    result = np.empty(voxels.shape, dtype=np.float32)
    by_landmarks = settings.volume.standardise == "landmarks"
    targets = np.array(settings.volume.landmarks).reshape(len(voxels), -1) if by_landmarks else None
    if targets is not None and targets.shape[1] != len(percents(settings)):
        raise DataError(
            f"volume.standardise is 'landmarks' and {targets.size} of {len(voxels) * len(percents(settings))} are "
            "known; they are learnt from the training images before training."
        )
    for one, channel, target in zip(
        result, voxels, targets if targets is not None else (None,) * len(voxels), strict=True
    ):
        with np.errstate(over="ignore"):  # what float32 does not hold is infinite, which is said below
            one[...] = channel
        if not np.isfinite(one).all():
            raise DataError(
                f"{name} holds NaN or infinite intensities in {int((~np.isfinite(one)).sum())} of {one.size} "
                "voxels. Set them to a number (0, say) in the program that made the image, or leave it out."
            )
        _standardise_channel(one, _landmarks(one, settings), target)
    return result


def _standardise_channel(
    one: npt.NDArray[np.float32], own: npt.NDArray[np.float64], target: npt.NDArray[np.float64] | None
) -> None:
    """Standardise a channel in place, a slice at a time: in double precision a volume needs much memory."""
    if own[0] == own[-1]:
        one[...] = 0
        return
    np.clip(one, own[0], own[-1], out=one)
    if target is not None:
        for part in one:
            part[...] = np.interp(part, *_rising(own, target))
    mean = one.mean(dtype=np.float64)
    squares = sum(float(np.square(part - mean, dtype=np.float64).sum()) for part in one)
    one -= np.float32(mean)
    one /= np.float32(max(math.sqrt(squares / one.size), 1e-6))


def learn_landmarks(images: Iterable[npt.NDArray[np.generic]], settings: Settings) -> tuple[float, ...]:
    """Give the mean over training images of their deciles, clipping percentiles brought to 0 and 100.

    Landmarks follow each other channel after channel.
    """
    found = []
    for voxels in images:
        rows = []
        for channel in voxels:
            own = _landmarks(np.asarray(channel, dtype=np.float32), settings)
            if own[-1] > own[0]:
                rows.append((own - own[0]) / (own[-1] - own[0]) * STANDARD_SCALE)
            else:
                rows.append(np.full(len(own), np.nan))
        found.append(np.concatenate(rows))
    if not found:
        raise DataError("There are no images to learn landmarks from.")
    stacked = np.array(found)
    if not np.isfinite(stacked).any(axis=0).all():
        raise DataError("A channel is constant in every training image, so it has no landmarks.")
    return tuple(round(float(value), 4) for value in np.nanmean(stacked, axis=0))


def percents(settings: Settings) -> Sequence[float]:
    """Give the percentiles of a channel that are its landmarks; it is clipped to the first and the last."""
    low, high = settings.preprocess.clip_percentiles
    return (low, *(p for p in DECILES if low < p < high), high)


def odd_step(size: int, columns: int) -> int:
    """Give the n of which every n-th voxel is seen: such that no whole column of an image never is."""
    step = max(1, size // SEEN_VOXELS)
    while math.gcd(step, columns) > 1:
        step += 1
    return step


def _landmarks(channel: npt.NDArray[np.float32], settings: Settings) -> npt.NDArray[np.float64]:
    """Give a channel's own landmarks; where nearly all of it is empty, from what is not."""
    seen = channel.reshape(-1)[:: odd_step(channel.size, channel.shape[-1])]
    found = np.percentile(seen, percents(settings)).astype(np.float64)
    if found[0] == found[-1]:
        others = channel[channel != found[0]]
        if others.size:
            found = np.percentile(np.append(others, found[0]), percents(settings)).astype(np.float64)
    return found


def _rising(
    own: npt.NDArray[np.float64], usual: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Leave out landmarks at which the image's own intensities do not rise, as in a wide empty background."""
    keep = np.concatenate([[True], np.diff(own) > 0])
    return own[keep], usual[keep]
