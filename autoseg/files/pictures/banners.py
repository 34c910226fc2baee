"""Words above a picture, in a strip of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from autoseg.files.pictures.pictures import Colour

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Letters are so large where the picture is wide enough; below `EASY` a shorter wording comes first.
LARGEST, EASY, SMALLEST = 20, 12, 8
FRAME = 4


@dataclass(frozen=True)
class Banner:
    """What stands above a picture: `words` are wordings from the longest to the shortest, of which one fits.

    `ground` and `ink` are red, green, blue; a `frame` of the ground's colour goes around the picture as well.
    """

    words: tuple[str, ...]
    ground: Colour
    ink: Colour
    frame: bool = False


def with_banner(rgb: npt.NDArray[np.uint8], banner: Banner) -> npt.NDArray[np.uint8]:
    """Put a strip with words above a picture of shape (rows, columns, 3), and a frame around it; nothing is hidden.

    Examples
    --------
    >>> banner = Banner(("not for use", "no"), (255, 0, 0), (255, 255, 255))
    >>> picture = with_banner(np.zeros((64, 100, 3), dtype=np.uint8), banner)
    >>> picture.shape[0] > 64, picture.shape[1], picture[0, 0].tolist(), bool(picture[-64:].any())
    (True, 100, [255, 0, 0], False)
    """
    side = FRAME if banner.frame else 0
    strip = _strip(banner, rgb.shape[1] + 2 * side)
    framed = np.empty((rgb.shape[0] + side, strip.shape[1], 3), dtype=np.uint8)
    framed[:] = banner.ground
    framed[: rgb.shape[0], side : side + rgb.shape[1]] = rgb
    return np.concatenate([strip, framed])


@lru_cache(maxsize=64)
def _strip(banner: Banner, wide: int) -> npt.NDArray[np.uint8]:
    """Draw the words; the slices of an image are all as wide."""
    words, font = _fitting(banner.words, wide)
    _, top, _, bottom = font.getbbox(words)
    strip = PillowImage.new("RGB", (wide, int(bottom + top)), banner.ground)
    ImageDraw.Draw(strip).text((wide / 2, 0), words, fill=banner.ink, font=font, anchor="ma")
    return np.asarray(strip, dtype=np.uint8)


def _fitting(wordings: tuple[str, ...], wide: int) -> tuple[str, Font]:
    """Give the longest wording that fits in letters that are read easily, and the largest font for it."""
    for words in wordings:
        least = SMALLEST if words == wordings[-1] else EASY
        for size in range(LARGEST, least - 1, -1):
            font = ImageFont.load_default(size)
            if font.getlength(words) + size <= wide:
                return words, font
    return wordings[-1], ImageFont.load_default(SMALLEST)
