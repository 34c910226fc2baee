"""How to read a folder's files: what they leave open, said once."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, cast

import ipywidgets as widgets

from autoseg.data.cases import Reading
from autoseg.errors import DataError
from autoseg.panels.parts.fields import field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text

Plane = Literal["axial", "coronal", "sagittal"] | None
Raters = Literal["majority", "staple", "mean"]

WORDS = (
    "Leave these as they are, unless the line above is not what you expect of your folder. "
    "The folder is read again after each change."
)
ONE_DISTANCE = (
    "Type the other distance, too. Until both are there, or none, the folder stays read as it was, without what "
    "you typed."
)


@dataclass(frozen=True)
class HowToRead:
    """What the files leave open, and what to do with images that have no label file."""

    reading: Reading = dataclasses.field(default_factory=Reading)
    unlabelled: Literal["refuse", "skip"] = "refuse"


class ReadingPanel(Panel):
    """The fields of `Reading` as controls; `value` is a `HowToRead`, None as long as a field is no number.

    Parameters
    ----------
    reading : Reading, optional
    unlabelled : {"refuse", "skip"}
        As in `find_cases`.
    """

    def __init__(self, reading: Reading | None = None, *, unlabelled: Literal["refuse", "skip"] = "refuse") -> None:
        super().__init__()
        reading = reading or Reading()
        rows, columns = reading.pixel_spacing_mm or ("", "")
        wide = {"width": "480px", "label": "170px"}
        self.channels = field(
            widgets.Text,
            "Contrasts",
            "Ends of the names of files that are one image's contrasts, such as T1w, T2w; or names for the "
            "channels inside each picture",
            value=", ".join(reading.channels),
            placeholder="such as T1w, T2w; empty: as they are",
            **wide,
        )
        self.spacing = tuple(
            field(
                widgets.Text,
                f"Between {what} (mm)",
                f"Millimetres between {what}, where files do not tell them",
                value=str(known),
                **wide,
            )
            for what, known in (("rows", rows), ("columns", columns))
        )
        self.raters = field(
            widgets.Dropdown,
            "Several raters",
            "How label files of several raters become one",
            options=[
                ("what most of them drew", "majority"),
                ("weighed by their agreement (STAPLE)", "staple"),
                ("the share of raters who drew it", "mean"),
            ],
            value=reading.raters,
            **wide,
        )
        self.agreeing = field(
            widgets.Dropdown,
            "Raters who must agree",
            "How many raters must have drawn a pixel, where most of them decide",
            options=[("more than half", 0), *((str(count), count) for count in range(1, 11))],
            value=reading.agreeing or 0,
            **wide,
        )
        self.plane = field(
            widgets.Dropdown,
            "Slices of a volume",
            "Which slices to take from a volume",
            options=[("where its pixels are finest", ""), *((p, p) for p in ("axial", "coronal", "sagittal"))],
            value=reading.plane or "",
            **wide,
        )
        self.only_levels = tick("Leave out slices to which no level was assigned", value=reading.only_levels)
        self.trust_array = tick(
            "A NIfTI label whose coordinates differ from its image's was drawn on that image",
            value=reading.trust_array,
        )
        self.single_pictures = tick(
            "Numbered pictures are images of their own, not the slices of one stack", value=reading.single_pictures
        )
        self.skip = tick("Leave out images that have no label file", value=unlabelled == "skip")
        typed = [self.channels, *self.spacing, self.raters, self.agreeing, self.plane]
        boxes = [self.only_levels, self.trust_array, self.single_pictures, self.skip]
        self.body.children = [widgets.HTML(text(WORDS)), *typed, *boxes]
        for control in (*typed, *boxes):
            control.observe(self._changed, "value")
        self.value = self._read()

    def _read(self) -> HowToRead:
        reading = Reading(
            channels=tuple(re.findall(r"[^\s,;]+", self.channels.value)),
            raters=cast(Raters, self.raters.value),
            agreeing=self.agreeing.value or None,
            only_levels=self.only_levels.value,
            pixel_spacing_mm=self._spacing_mm(),
            plane=cast(Plane, self.plane.value or None),
            trust_array=self.trust_array.value,
            single_pictures=self.single_pictures.value,
        )
        return HowToRead(reading, "skip" if self.skip.value else "refuse")

    def _spacing_mm(self) -> tuple[float, float] | None:
        words = [one.value.strip().replace(",", ".") for one in self.spacing]
        if not any(words):
            return None
        try:
            rows, columns = map(float, words)
        except ValueError:
            raise DataError(
                f"The distances between pixels are {words[0] or 'empty'} and {words[1] or 'empty'}; give both as "
                "numbers in mm, for instance 0.5 and 0.5, or leave both empty."
            ) from None
        return rows, columns

    def _changed(self, _: Any) -> None:
        self.say("")
        if self._waits_for_other():
            self.say(ONE_DISTANCE, "warning")
            return
        with self.attempt():
            self.value = self._read()

    def _waits_for_other(self) -> bool:
        """Tell whether one of both distances is typed, and the other one is still to come."""
        first, other = sorted(one.value.strip().replace(",", ".") for one in self.spacing)
        return not first and re.fullmatch(r"\d*\.?\d+", other) is not None
