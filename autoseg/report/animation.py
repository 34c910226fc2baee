"""An animation of slices that plays in a notebook by itself: no video program, no files beside it."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.errors import DataError
from autoseg.files.pictures.pictures import write_gif
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import Rgb, hex_colour, overlay_slices, pad_to_same
from autoseg.image.structures import Structure
from autoseg.report.lights import carrying_light
from autoseg.words import counted, escaped

# A GIF is ten times the size of the page's frames.
GIF_PIXELS = 320

Scene = tuple[Image, LabelMap | None, tuple[int, ...]]

# JupyterLab runs the script before the element is in the page, hence the waiting. Colours are inherited, so
# the player is readable on light and dark pages. One that was removed from the page stops by itself.
_PAGE = """<div id="{uid}" style="display:inline-block;max-width:100%;font-family:sans-serif;font-size:13px">
<img alt="{alt}" style="display:block;max-width:100%;background:#000" src="data:image/jpeg;base64,{first}">
<div style="display:flex;align-items:center;gap:8px;margin:6px 0">
<button type="button" aria-label="play" style="width:34px;height:28px;background:none;color:inherit;\
border:1px solid currentColor;border-radius:4px">&#9654;&#xFE0E;</button>
<input type="range" min="0" max="{last}" value="0" aria-label="slice" \
style="flex:1;min-width:80px;accent-color:#0072b2">
</div>
<div class="caption" style="min-height:1.4em">{caption}</div>
<div>{legend}</div>
</div>
<script>
(function () {{
  const frames = {frames}, captions = {captions};
  let tries = 0, timer = null, place = 0;
  function start() {{
    const root = document.getElementById("{uid}");
    if (!root) {{ if (tries++ < 100) setTimeout(start, 50); return; }}
    const picture = root.querySelector("img"), button = root.querySelector("button");
    const slider = root.querySelector("input"), caption = root.querySelector(".caption");
    function show(next) {{
      place = (next + frames.length) % frames.length;
      picture.src = "data:image/jpeg;base64," + frames[place];
      caption.textContent = captions[place];
      slider.value = place;
    }}
    function stop() {{
      clearInterval(timer); timer = null;
      button.textContent = "\\u25B6\\uFE0E"; button.setAttribute("aria-label", "play");
    }}
    function play() {{
      button.textContent = "\\u275A\\u275A"; button.setAttribute("aria-label", "pause");
      timer = setInterval(function () {{ if (root.isConnected) show(place + 1); else stop(); }}, {frame_ms});
    }}
    button.addEventListener("click", function () {{ if (timer) stop(); else play(); }});
    slider.addEventListener("input", function () {{ stop(); show(Number(slider.value)); }});
  }}
  start();
}})();
</script>"""


@dataclass(frozen=True, eq=False)
class Animation:
    """Slices with their labels, one after the other; shows itself in a notebook.

    `jpegs` holds the encoded frames that the page shows, `captions` a line for each, `scenes` what they were
    drawn from.
    """

    jpegs: tuple[bytes, ...]
    captions: tuple[str, ...]
    scenes: tuple[Scene, ...]
    frame_ms: int = 200

    def __post_init__(self) -> None:
        if not self.jpegs or len(self.jpegs) != len(self.captions):
            raise DataError(f"An animation of {len(self.jpegs)} frames and {len(self.captions)} captions.")
        if self.frame_ms < 10:
            raise DataError(f"A frame is shown for {self.frame_ms} ms; give 10 ms or more.")

    def save_gif(self, path: Path) -> Path:
        """Write the animation as a GIF and return its path."""
        write_gif(Path(path), draw_scenes(self.scenes, least=GIF_PIXELS), self.frame_ms)
        return Path(path)

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The structures that the legend names."""
        named = {s.name: s for _, label_map, _ in self.scenes if label_map for s in label_map.structures}
        return tuple(named.values())

    def _repr_html_(self) -> str:
        frames = [base64.b64encode(jpeg).decode("ascii") for jpeg in self.jpegs]
        square = '<span style="display:inline-block;width:1ex;height:1ex;background:{};margin-right:4px"></span>'
        legend = "".join(
            f'<span style="margin-right:14px">{square.format(hex_colour(s.rgb))}{escaped(s.name)}</span>'
            for s in self.structures
        )
        return _PAGE.format(
            uid=f"autoseg-{uuid.uuid4().hex}",  # several players in one page, and the same one twice
            alt="slices with their labels",
            first=frames[0],
            last=len(frames) - 1,
            caption=escaped(self.captions[0]),
            legend=legend,
            frames=json.dumps(frames),
            captions=json.dumps(self.captions).replace("<", r"\u003c"),
            frame_ms=self.frame_ms,
        )

    def __repr__(self) -> str:
        return f"Animation({len(self.jpegs)} slices, {self.frame_ms} ms each)"


def choose_scenes(
    images: Image | Sequence[Image],
    label_maps: LabelMap | Sequence[LabelMap | None] | None,
    *,
    max_frames: int,
) -> tuple[Scene, ...]:
    """Choose at most `max_frames` slices, evenly over all images, in their order."""
    images = [images] if isinstance(images, Image) else list(images)
    if label_maps is None or isinstance(label_maps, LabelMap):
        label_maps = [label_maps] * len(images)
    if len(images) != len(label_maps) or not images or max_frames < 1:
        raise DataError(
            f"An animation needs a label map (or None) for each image and at least one frame; these are "
            f"{counted(len(images), 'image')}, {counted(len(label_maps), 'label map')}, "
            f"{counted(max_frames, 'frame')}."
        )
    places = [(number, index) for number, image in enumerate(images) for index in range(image.shape[0])]
    count = min(len(places), max_frames)
    chosen = [places[round(place)] for place in np.linspace(0, len(places) - 1, count)]
    return tuple(
        (image, label_map, tuple(index for which, index in chosen if which == number))
        for number, (image, label_map) in enumerate(zip(images, label_maps, strict=True))
    )


def draw_scenes(scenes: Sequence[Scene], *, least: int = 384, lights: Mapping[str, str] | None = None) -> list[Rgb]:
    """Draw the frames, all of one shape, each with the word of its image's light; `lights` are by case_id."""
    known = lights or {}
    return pad_to_same(
        [
            carrying_light(frame, known.get(image.source.case_id, ""))
            for image, label_map, slices in scenes
            for frame in overlay_slices(image, label_map, slices=slices, least=least)
        ]
    )


def caption_scenes(scenes: Sequence[Scene]) -> tuple[str, ...]:
    """Give each frame's case, slice and position in mm (where it is known)."""
    captions = []
    for image, _, slices in scenes:
        positions = image.known_positions_mm
        for index in slices:
            where = f", {positions[index]:.1f} mm" if positions is not None else ""
            captions.append(f"{image.source.case_id}: {image.say_slice(index)}{where}")
    return tuple(captions)
