"""How to read a folder's files: what they leave open, said once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import ipywidgets as widgets

from autoseg.data.cases import Reading
from autoseg.errors import DataError
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text

Plane = Literal["axial", "coronal", "sagittal"] | None
Raters = Literal["majority", "staple", "mean"]

WORDS = (
    "Leave these as they are, unless the line above is not what you expect of your folder. "
    "The folder is read again after each change."
)


@dataclass(frozen=True)
class HowToRead:
    """What the files leave open, and what to do with images that have no label file."""

    reading: Reading = field(default_factory=Reading)
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
        self.channels = _field(
            "Contrasts",
            ", ".join(reading.channels),
            "Ends of the names of files that are one image's contrasts, such as T1w, T2w; or names for the "
            "channels inside each picture",
            "such as T1w, T2w; empty: as they are",
        )
        self.spacing = (
            _field("Between rows (mm)", str(rows), "Millimetres between rows, where files do not tell them", ""),
            _field(
                "Between columns (mm)",
                str(columns),
                "Millimetres between columns, where files do not tell them",
                "",
            ),
        )
        self.raters = _choice(
            "Several raters",
            [
                ("what most of them drew", "majority"),
                ("weighed by their agreement (STAPLE)", "staple"),
                ("the share of raters who drew it", "mean"),
            ],
            reading.raters,
            "How label files of several raters become one",
        )
        self.agreeing = _choice(
            "Raters who must agree",
            [("more than half", 0), *((str(count), count) for count in range(1, 11))],
            reading.agreeing or 0,
            "How many raters must have drawn a pixel, where most of them decide",
        )
        self.plane = _choice(
            "Slices of a volume",
            [("where its pixels are finest", ""), *((name, name) for name in ("axial", "coronal", "sagittal"))],
            reading.plane or "",
            "Which slices to take from a volume",
        )
        self.only_levels = _box("Leave out slices to which no level was assigned", reading.only_levels)
        self.trust_array = _box(
            "A NIfTI label whose coordinates differ from its image's was drawn on that image", reading.trust_array
        )
        self.skip = _box("Leave out images that have no label file", unlabelled == "skip")
        boxes = [self.only_levels, self.trust_array, self.skip]
        fields = [self.channels, *self.spacing, self.raters, self.agreeing, self.plane]
        self.body.children = [widgets.HTML(text(WORDS)), *fields, *boxes]
        for control in (*fields, *boxes):
            control.observe(self._changed, "value")
        self.value = self._read()

    def _read(self) -> HowToRead:
        reading = Reading(
            channels=tuple(re.split(r"[\s,;]+", self.channels.value.strip()))
            if self.channels.value.strip()
            else (),
            raters=cast(Raters, self.raters.value),
            agreeing=self.agreeing.value or None,
            only_levels=self.only_levels.value,
            pixel_spacing_mm=self._spacing_mm(),
            plane=cast(Plane, self.plane.value or None),
            trust_array=self.trust_array.value,
        )
        return HowToRead(reading, "skip" if self.skip.value else "refuse")

    def _spacing_mm(self) -> tuple[float, float] | None:
        words = [field.value.strip().replace(",", ".") for field in self.spacing]
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
        with self.attempt():
            self.value = self._read()


LABEL = {"description_width": "170px"}


def _field(words: str, value: str, tooltip: str, placeholder: str) -> widgets.Text:
    return widgets.Text(
        value=value,
        description=words,
        tooltip=tooltip,
        placeholder=placeholder,
        continuous_update=False,
        style=LABEL,
        layout=widgets.Layout(width="480px"),
    )


def _choice(words: str, options: list[tuple[str, Any]], value: Any, tooltip: str) -> widgets.Dropdown:
    return widgets.Dropdown(
        options=options,
        value=value,
        description=words,
        tooltip=tooltip,
        style=LABEL,
        layout=widgets.Layout(width="480px"),
    )


def _box(words: str, ticked: bool) -> widgets.Checkbox:
    return widgets.Checkbox(
        value=ticked, description=words, tooltip=words, indent=False, layout=widgets.Layout(width="auto")
    )
