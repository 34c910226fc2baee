"""Two groups of settings: how images are prepared, and how slices are varied."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from typing import Any, Literal

from autoseg.model.settings.rules import Range, require, require_probability, require_range


@dataclass(frozen=True)
class PreprocessSettings:
    """How an image is brought to the network's grid.

    Parameters
    ----------
    spacing_mm : float, optional
        Distance in mm between the network's pixels, the same along rows and columns. None: chosen from the
        training images (their median, but no more than about 192 pixels across an image, or across its crop).
    input_shape : (2,) tuple of int, optional
        Resize every image to these (rows, columns) instead, whatever its spacing, as the published
        workbench does. The proportions of an image that is not of that shape change. None and no image with
        a spacing: chosen from the training images' median shape.
    clip_percentiles : (2,) tuple of float
        Each image's intensities are clipped to these of its own percentiles, then brought to mean 0 and
        standard deviation 1.
    clahe : bool
        Equalise the contrast of each slice piece by piece first (CLAHE); off by default.
    clahe_limit : float
        How far CLAHE may raise the contrast; 1 hardly at all.
    crop_mm : (2,) tuple of float, optional
        (rows, columns) in mm of the region that the network sees in place of the whole image, for small
        structures in large images. Rounded up to what the network's levels need.
    crop_shape : (2,) tuple of int, optional
        The same in the network's pixels, for images without millimetres.
    crop_by_site : tuple of (str, float, float)
        Regions (site, rows, columns) of images whose case or subject is named after that site (`site1` of
        `site1-sc01`), in mm with `crop_mm` and in the image's own pixels with `crop_shape`. They are brought to
        the size of that crop. Other images have the crop as it is.
    crop_shift : float
        In training the crop lies this fraction of its size, at most, beside the middle of the case's labels, drawn
        anew each time: the network must not learn that the structure is in the middle.
    crop_anywhere : float
        Probability with which a training crop lies anywhere in the image, so that the network meets the rest.
    find_region : {"coarse", "whole"}
        How a new image is segmented where training saw crops. "coarse": a first pass over the whole image finds the
        region, a second segments it, and outside is background. "whole": the whole image is segmented.
    neighbours : int
        Slices on either side that the network sees along with each slice ("2.5-D"), as further channels. At the
        ends of an image the last slice stands in for those that are not there.
    """

    spacing_mm: float | None = None
    input_shape: tuple[int, int] | None = None
    clip_percentiles: Range = (0.5, 99.5)
    clahe: bool = False
    clahe_limit: float = 2.0
    crop_mm: Range | None = None
    crop_shape: tuple[int, int] | None = None
    crop_by_site: tuple[tuple[str, float, float], ...] = ()
    crop_shift: float = 0.25
    crop_anywhere: float = 0.2
    find_region: Literal["coarse", "whole"] = "coarse"
    neighbours: int = 0

    def __post_init__(self) -> None:
        if self.spacing_mm is not None:
            require(0 < self.spacing_mm <= 20, f"spacing_mm is {self.spacing_mm}; give mm between 0 and 20.")
            require(self.input_shape is None, "Give spacing_mm or input_shape, not both.")
        if self.input_shape is not None:
            require(
                len(self.input_shape) == 2 and all(32 <= n <= 4096 for n in self.input_shape),
                f"input_shape is {self.input_shape}; give (rows, columns) from 32 to 4096.",
            )
        require_range("clip_percentiles", self.clip_percentiles, low=0, high=100)
        require(
            isinstance(self.neighbours, int) and 0 <= self.neighbours <= 8,
            f"neighbours is {self.neighbours}; give a whole number of slices from 0 to 8.",
        )
        require(self.clahe_limit >= 1, f"clahe_limit is {self.clahe_limit}; give 1 or more.")
        self._check_crop()

    def _check_crop(self) -> None:
        for name, least, most in (("crop_mm", 1, 2000), ("crop_shape", 16, 4096)):
            size = getattr(self, name)
            require(
                size is None or (len(size) == 2 and all(least <= n <= most for n in size)),
                f"{name} is {size}; give (rows, columns) from {least} to {most}.",
            )
        require(self.crop_mm is None or self.crop_shape is None, "Give crop_mm or crop_shape, not both.")
        require(
            self.crop_mm is None or self.input_shape is None,
            "crop_mm needs the images' millimetres, which input_shape passes over; give crop_shape.",
        )
        sites: tuple[Any, ...] = tuple(tuple(site) for site in self.crop_by_site)  # JSON gives lists
        object.__setattr__(self, "crop_by_site", sites)
        require(
            not sites or self.crop_mm is not None or self.crop_shape is not None,
            "crop_by_site changes a crop; give crop_mm or crop_shape too.",
        )
        for site in sites:
            require(
                len(site) == 3 and bool(site[0]) and min(site[1:]) > 0,
                f"crop_by_site holds {site}; give (site, rows, columns), the sizes more than 0.",
            )
        require(0 <= self.crop_shift <= 0.5, f"crop_shift is {self.crop_shift}; give 0 to 0.5 of the crop.")
        require_probability("crop_anywhere", self.crop_anywhere)
        require(
            self.find_region in ("coarse", "whole"),
            f"find_region is {self.find_region!r}; give 'coarse' or 'whole'.",
        )


@dataclass(frozen=True)
class AugmentationSettings:
    """How training slices are varied; every sample draws anew, each change with its own probability and range.

    The defaults turn and zoom far more than the published manual (`manual()`), which few subjects need.

    Parameters
    ----------
    rotation_probability, rotation_deg : float, float
        Turn by up to this many degrees either way.
    scaling_probability, scaling : float, (2,) tuple of float
        Factor on the size of what is seen, drawn for rows and columns apart.
    zoom_probability, zoom : float, (2,) tuple of float
        Factor on the size of what is seen, the same for rows and columns.
    crop_probability, crop : float, (2,) tuple of float
        Keep this fraction of the width and height at a random place and enlarge it to the full frame. (Not the
        crop around the structures, which is one of the `PreprocessSettings`.)
    shift_probability, shift : float, float
        Move by up to this fraction of the frame along each axis.
    flip_probability : float
        Mirror left and right, and exchange the labels of paired structures; off by default.
    flip_rows_probability : float
        Mirror up and down; mirrors the anatomy too, so paired structures are exchanged. Off by default.
    quarter_turn_probability : float
        Turn by 90, 180 or 270 degrees; off by default.
    brightness_probability, brightness : float, float
        Add up to this many standard deviations.
    contrast_probability, contrast : float, (2,) tuple of float
        Factor about the image's mean.
    gamma_probability, gamma : float, (2,) tuple of float
        Exponent on the intensities scaled to 0 … 1.
    noise_probability, noise : float, float
        Gaussian noise of up to this many standard deviations.
    """

    rotation_probability: float = 1.0
    rotation_deg: float = 180.0
    scaling_probability: float = 1.0
    scaling: Range = (0.9, 1.1)
    zoom_probability: float = 1.0
    zoom: Range = (0.7, 1.4)
    crop_probability: float = 0.0
    crop: Range = (0.5, 0.8)
    shift_probability: float = 1.0
    shift: float = 0.1
    flip_probability: float = 0.0
    flip_rows_probability: float = 0.0
    quarter_turn_probability: float = 0.0
    brightness_probability: float = 0.8
    brightness: float = 0.3
    contrast_probability: float = 0.8
    contrast: Range = (0.7, 1.4)
    gamma_probability: float = 0.8
    gamma: Range = (0.7, 1.5)
    noise_probability: float = 0.5
    noise: float = 0.15

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name.endswith("_probability"):
                require_probability(item.name, getattr(self, item.name))
        require(0 <= self.rotation_deg <= 180, f"rotation_deg is {self.rotation_deg}; give 0 to 180.")
        require_range("scaling", self.scaling, low=0.1, high=10)
        require_range("zoom", self.zoom, low=0.1, high=10)
        require_range("crop", self.crop, low=0.1, high=1)
        require(0 <= self.shift <= 1, f"shift is {self.shift}; it is a fraction of the frame, 0 to 1.")
        require(0 <= self.brightness <= 100, f"brightness is {self.brightness}; give 0 to 100.")
        require_range("contrast", self.contrast, low=0.01, high=100)
        require_range("gamma", self.gamma, low=0.01, high=100)
        require(0 <= self.noise <= 100, f"noise is {self.noise}; give 0 to 100.")

    @classmethod
    def manual(cls) -> AugmentationSettings:
        """Give exactly the augmentation of the published workbench's manual."""
        half: dict[str, Any] = {"rotation_probability": 0.5, "scaling_probability": 0.5, "crop_probability": 0.5}
        return dataclasses.replace(cls.off(), **half, rotation_deg=5.0, scaling=(0.8, 1.0), crop=(0.5, 0.8))

    @classmethod
    def volumes(cls) -> AugmentationSettings:
        """Give what volumes are varied with: turned by 15 degrees at most about every axis, and zoomed less."""
        return cls(rotation_deg=15.0, zoom=(0.85, 1.2), scaling_probability=0.5)

    @classmethod
    def off(cls) -> AugmentationSettings:
        """Give settings that leave every sample as it is."""
        never: dict[str, Any] = {f.name: 0.0 for f in fields(cls) if f.name.endswith("_probability")}
        return cls(**never)
