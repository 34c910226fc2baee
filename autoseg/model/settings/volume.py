"""A group of settings: how whole volumes are learnt from, in 3-D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoseg.model.settings.rules import require, require_probability

Triple = tuple[float, float, float]
# Which pair of directions each letter of an axis code belongs to.
SIDES = ("RL", "AP", "IS")


@dataclass(frozen=True)
class VolumeSettings:
    """How whole volumes are learnt from; without effect where `spatial_dims` is 2.

    A volume is turned by whole quarters so that its axes run as `orientation` says, brought to `spacing_mm`, and
    learnt from in patches. A prediction is put together from overlapping patches and brought back.

    Parameters
    ----------
    orientation : str
        Where each of the three axes begins: R or L, A or P, I or S, as the Spinal Cord Toolbox writes it. "RPI":
        the first axis runs from right to left, the second from the back (posterior) to the front, the third from
        the feet (inferior) to the head.
    spacing_mm : (3,) tuple of float, optional
        Distance in mm between the network's voxels along these axes. None: the training images' median of each.
    patch_size : (3,) tuple of int, optional
        Voxels that the network sees at once along these axes, rounded up to what its levels need. None: the whole
        volume where that is not more than about 128 × 128 × 128 voxels, else a part of it.
    overlap : float
        Part of a patch that it shares with the next one, in training and in prediction.
    standardise : {"image", "landmarks"}
        How intensities are made comparable after clipping: "image" brings each image to mean 0 and standard
        deviation 1; "landmarks" maps the percentiles of its intensities to those that are usual in the training
        images (Nyúl, Udupa and Zhang, IEEE TMI 2000) before.
    landmarks : tuple of float
        The usual intensities, learnt from the training images and saved with the model; empty before.
    flips : (3,) tuple of float
        Probability of a mirror along each axis in training. A body that was mirrored has its left on the right, so
        the labels of paired structures are exchanged; along two axes it is only turned, and they stay.
    crop_mm : (2,) tuple of float, optional
        What is seen around the centreline, in mm along the two axes that lie across it. None: the whole volume.
    """

    orientation: str = "RPI"
    spacing_mm: Triple | None = None
    patch_size: tuple[int, int, int] | None = None
    overlap: float = 0.5
    standardise: Literal["image", "landmarks"] = "image"
    landmarks: tuple[float, ...] = ()
    flips: Triple = (0.0, 0.0, 0.0)
    crop_mm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        code = self.orientation
        sides = sorted(pair for letter in code for pair in SIDES if letter in pair)
        require(
            len(code) == 3 and sides == sorted(SIDES),
            f"orientation is {code!r}; give three letters, one of R and L, one of A and P, one of I and S, such as "
            "RPI.",
        )
        require(
            self.spacing_mm is None or (len(self.spacing_mm) == 3 and all(0 < mm <= 50 for mm in self.spacing_mm)),
            f"spacing_mm is {self.spacing_mm}; give three distances between 0 and 50 mm.",
        )
        require(
            self.patch_size is None or (len(self.patch_size) == 3 and all(1 <= n <= 1024 for n in self.patch_size)),
            f"patch_size is {self.patch_size}; give three numbers of voxels from 1 to 1024.",
        )
        require(0 <= self.overlap < 0.95, f"overlap is {self.overlap}; give 0 to 0.9 of a patch.")
        require(
            self.standardise in ("image", "landmarks"),
            f"standardise is {self.standardise!r}; give image or landmarks.",
        )
        require(len(self.flips) == 3, f"flips is {self.flips}; give three probabilities, one for each axis.")
        for probability in self.flips:
            require_probability("flips", probability)
        require(
            self.crop_mm is None or (len(self.crop_mm) == 2 and all(1 <= mm <= 2000 for mm in self.crop_mm)),
            f"crop_mm is {self.crop_mm}; give two lengths from 1 to 2000 mm.",
        )
