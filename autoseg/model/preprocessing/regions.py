"""Which region of an image the network sees, where training works on crops.

In training crops lie beside the labels, shifted at random, or anywhere. A new image has no labels: there the
network's own coarse answer says where to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from autoseg.errors import DataError
from autoseg.model.preprocessing.extents import Extent
from autoseg.model.settings.settings import PreprocessSettings

# Neighbouring slices help to find the region, with weights that fall off over this many slices.
ALONG_STACK = 2.0


@dataclass(frozen=True, eq=False)
class Crops:
    """How training crops lie: their `size` (rows, columns) and, for each slice, the middle of its case's labels.

    `centres` (n, 2) are (row, column) distances from the image's centre in the network's pixels. `shift` and
    `anywhere` are the settings `crop_shift` and `crop_anywhere`.
    """

    size: tuple[int, int]
    centres: Tensor
    shift: float
    anywhere: float

    def draw(self, chosen: Tensor, network: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the middles (batch, 2) of crops of the slices `chosen`, inside images of the sizes `network`."""
        beside, place = (2 * torch.rand(len(chosen), 2, generator=generator) - 1 for _ in range(2))
        anywhere = torch.rand(len(chosen), 1, generator=generator) < self.anywhere
        beside, place, anywhere = (drawn.to(network.device) for drawn in (beside, place, anywhere))
        room = room_for(self.size, network)
        near = self.centres[chosen] + beside * self.shift * torch.tensor(self.size, device=network.device)
        return torch.where(anywhere, place * room, torch.minimum(torch.maximum(near, -room), room))


def room_for(crop: tuple[int, int], network: Tensor) -> Tensor:
    """Give how far, (n, 2), a crop's middle may lie from the image's centre without leaving an image of that size.

    0 where the image is smaller than the crop.
    """
    size = torch.tensor(crop, device=network.device)
    return ((network - size) / 2).clamp(min=0)


def count_cut_off(found: Tensor, centres: Tensor, network: Tensor) -> int:
    """Count the crops (n, rows, columns) in which something was found at an edge that is not the image's own.

    `centres` (n, 2) are their middles from the image's centre, `network` (1, 2) is the image's size.
    """
    room = room_for((found.shape[1], found.shape[2]), network)
    touched = torch.zeros(len(found), dtype=torch.bool, device=found.device)
    for axis, lines in enumerate((found.any(2), found.any(1))):
        where, most = centres[:, axis], room[:, axis]
        # Half a pixel: an odd image under an even crop.
        touched |= (lines[:, 0] & (where > 0.5 - most)) | (lines[:, -1] & (where < most - 0.5))
    return int(touched.sum())


def measure_region(drawn: npt.NDArray[np.bool_], extent: Extent) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give the middle of all that was drawn on (slices, rows, columns), and the largest size on one slice.

    Both (rows, columns) in the network's pixels, the middle from the image's centre; zeros where nothing was drawn.
    """
    middle, largest = [0.0, 0.0], [0.0, 0.0]
    for axis, (native, network) in enumerate(zip(extent.native, extent.network, strict=True)):
        counts = drawn.sum(axis=2 - axis)  # (slices, pixels along this axis)
        total = counts.sum()
        if total:
            mean = float(counts.sum(axis=0) @ np.arange(native)) / float(total)
            middle[axis] = ((mean + 0.5) / native - 0.5) * network
            there = counts[counts.any(axis=1)] > 0
            widths = native - there.argmax(axis=1) - there[:, ::-1].argmax(axis=1)
            largest[axis] = float(widths.max()) / native * network
    return (middle[0], middle[1]), (largest[0], largest[1])


def region_centre(
    region: tuple[tuple[float, float], tuple[float, float]],
    settings: PreprocessSettings,
    crop: tuple[int, int],
    *,
    name: str,
) -> tuple[float, float]:
    """Give the middle of all that was drawn on a case, measured by `measure_region`, if it fits into the crop."""
    centre, size = region
    if settings.find_region == "coarse" and (size[0] > crop[0] or size[1] > crop[1]):
        wanted = " × ".join(f"{100 * part / whole:.0f} %" for part, whole in zip(size, crop, strict=True))
        raise DataError(
            f"{name}: what was drawn on one slice is larger than the crop ({wanted} of its rows and "
            "columns), so a part of it would be cut off on new images. Choose a larger crop, or "
            "the setting find_region = whole, or look for a stray pixel in the labels."
        )
    return centre


def find_centres(
    foreground: npt.NDArray[np.float32], crop: tuple[int, int], network: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Find the region on every slice: where a window of the crop's size holds most of the structures.

    Each slice is looked at together with its neighbours, so that a slice on which the network is unsure follows the
    stack. The window is then moved to the centroid of what it holds. `foreground` (slices, rows, columns) is on the
    frame of the whole image; given are (slices, 2) middles from the image's centre, such that windows lie inside
    the image.
    """
    # Squared, so that a wide haze of small probabilities weighs less than a small structure of which it is sure.
    weight = ndimage.gaussian_filter1d(foreground**2, ALONG_STACK, axis=0, mode="nearest")
    sums = ndimage.uniform_filter(weight, size=(1, *crop), mode="constant")
    middle = (np.array(network) - foreground.shape[1:]) % 2 / 2
    centres = np.zeros((len(weight), 2), dtype=np.float32)
    for index, (one, held) in enumerate(zip(weight, sums, strict=True)):
        best = np.unravel_index(held.argmax(), held.shape)
        window = tuple(slice(max(0, b - n // 2), b - n // 2 + n) for b, n in zip(best, crop, strict=True))
        if one[window].sum() > 0:
            inside = ndimage.center_of_mass(one[window])
            starts = np.array([part.start for part in window])
            centres[index] = starts + inside - (np.array(one.shape) - 1) / 2 + middle
    room = room_for(crop, torch.tensor(network)).numpy()
    # As `preprocess.frame_middles` has it: pixels of the crop lie on pixels of the image.
    half = ((np.array(network) - crop) % 2 / 2).astype(np.float32)
    return np.where(room > 0, np.clip(np.round(centres - half) + half, -room, room), half)
