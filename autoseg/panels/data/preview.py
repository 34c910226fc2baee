"""What the network will see: a batch of training slices or parts of volumes, as drawn and beside it varied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import ipywidgets as widgets

from autoseg.data.split import Split, split_cases
from autoseg.image.structures import Structure, side_pairs
from autoseg.model.dataset import preview_batch, preview_slices
from autoseg.model.dataset.preview import Previewed
from autoseg.model.settings.settings import AugmentationSettings
from autoseg.model.settings.text import show_value
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import legend, picture, text
from autoseg.panels.parts.values import Data
from autoseg.report.figures.slices import pair_pictures
from autoseg.training.plan import set_aside, spread_cases
from autoseg.words import counted

PAIRS = 6
MOST_CASES = 40
_ALT = "Slice {0}, as it was drawn and beside it varied, with the structures {1}"
_ALT_OF_VOLUMES = (
    "Middle slice of part {0} of a volume, as it was drawn and beside it varied, with the structures {1}"
)
# What is done to slices only; volumes are mirrored by `volume.flips`.
OF_SLICES = ("crop", "flip", "flip_rows", "quarter_turn")
_HINTS = (
    "How slices are varied: how much at most, and on how many of 100 slices.",
    "Volumes are learnt from; of what is seen at once the middle slice is shown. How volumes are varied: how much "
    "at most, and on how many of 100. Their mirrors are among all settings below.",
)
DATA_FIRST = "Choose your images above first; then a batch of them is shown here."


# By the first part of the settings' names: `rotation_probability` and `rotation_deg`.
CHANGES = tuple(item.name[: -len("_probability")] for item in fields(AugmentationSettings) if "_prob" in item.name)


class Switch(widgets.HBox):
    """One change of the augmentation: on or off, how much, and on how many of the slices.

    Fields rather than sliders, whose handles have no name for a screen reader.
    """

    def __init__(self, name: str) -> None:
        declared = AugmentationSettings.declared
        self.name, self._amount = name, declared.get(name) or declared.get(f"{name}_deg")
        self._exact = (0, 0.0)
        chance = declared[f"{name}_probability"]
        words, told = (
            (chance.title, chance.words) if self._amount is None else (self._amount.label, self._amount.told)
        )
        tooltip = f"{(self._amount or chance).name}: {told}"
        self.on = tick(words, tooltip, width="185px")
        # The words stand beside the fields already: they are spoken, and not shown again.
        self.amount: Any = None
        if self._amount is not None:
            self.amount = field(widgets.Text, words, tooltip, width="110px", label="0px")
        self.chance = field(
            widgets.BoundedIntText,
            f"{words}: on how many of 100 slices",
            "On how many of 100 slices",
            width="75px",
            label="0px",
            min=1,
            max=100,
        )
        amount = self.amount or widgets.HTML(layout={"width": "110px"})
        super().__init__(
            [self.on, amount, self.chance, widgets.HTML(text("%"))],
            layout={"width": "416px", "align_items": "center"},
        )

    def show(self, settings: AugmentationSettings) -> None:
        """Show what the settings say; what is off keeps a chance to be turned on with."""
        chance = getattr(settings, f"{self.name}_probability")
        self.on.value = chance > 0
        self.chance.value = round(100 * chance) if chance > 0 else 50
        self._exact = (self.chance.value, chance)
        if self._amount is not None:
            self.amount.value = show_value(getattr(settings, self._amount.short))
        self._enable()

    def read(self) -> dict[str, Any]:
        """Give the settings that stand here."""
        self._enable()
        shown, exact = self._exact
        chance = exact if self.chance.value == shown and exact > 0 else self.chance.value / 100
        values: dict[str, Any] = {f"{self.name}_probability": chance if self.on.value else 0.0}
        if self._amount is not None:
            values[self._amount.short] = self._amount.read(self.amount.value)
        return values

    def controls(self) -> list[Any]:
        """Give what a person can change."""
        return [self.on, self.chance, *([] if self.amount is None else [self.amount])]

    def _enable(self) -> None:
        for control in self.controls()[1:]:
            control.disabled = not self.on.value


class PreviewPanel(Panel):
    """Show the batches that training would see, and choose how slices are varied.

    `value` is an AugmentationSettings: the plan's, or `augmentation`, until a person changes it.

    Parameters
    ----------
    data : Panel
        Its value is a `panels.parts.values.Data`.
    augmentation : AugmentationSettings, optional
        By default as planned for the data.
    """

    def __init__(self, data: Panel, *, augmentation: AugmentationSettings | None = None) -> None:
        super().__init__()
        self._chosen, self._quiet = augmentation, False
        self._data: Data | None = None
        self._slices: Previewed | None = None
        self._read = 0
        self.batch = 0
        self.picture = widgets.HTML()
        self.next = button(
            "Next batch",
            lambda: self.show_batch(self.batch + 1),
            "Show other slices",
            style="primary",
            icon="arrow-right",
        )
        self.none = button(
            "None of them",
            lambda: self.set_augmentation(AugmentationSettings.off()),
            "Switch all variation off",
        )
        self.planned = button(
            "As planned", lambda: self.set_augmentation(self._plan()), "Vary as planned for these images"
        )
        self.opacity = field(
            widgets.BoundedFloatText,
            "Overlay, 0 to 1",
            "How strongly structures are filled, 0 (outline only) to 1",
            width="190px",
            label="110px",
            value=0.45,
            min=0,
            max=1,
            step=0.15,
        )
        self.switches = {name: Switch(name) for name in CHANGES}
        buttons = widgets.HBox([self.next, self.none, self.planned, self.opacity], layout={"flex_flow": "row wrap"})
        rows = widgets.HBox(list(self.switches.values()), layout={"flex_flow": "row wrap"})
        self.hint = widgets.HTML()
        self.body.children = [self.picture, buttons, self.hint, rows]
        self.opacity.observe(lambda _: self.show_batch(self.batch), "value")
        for switch in self.switches.values():
            for control in switch.controls():
                control.observe(self._on_change, "value")
        self.follow(data, self._show_data)

    def fail(self, error: BaseException) -> None:
        """Show why something failed, and take back the value and the picture."""
        self.picture.value = ""
        super().fail(error)

    def show_batch(self, number: int) -> None:
        """Show a batch of slices, counted from 0, with the augmentation that is chosen."""
        with self.attempt():
            self.batch = number
            self._draw(self.augmentation())

    def set_augmentation(self, augmentation: AugmentationSettings) -> None:
        """Choose how slices are varied, and show it."""
        with self._silence():
            for switch in self.switches.values():
                switch.show(augmentation)
        self._take()

    def augmentation(self) -> AugmentationSettings:
        """Give the augmentation that the switches say."""
        values = {name: value for switch in self.switches.values() for name, value in switch.read().items()}
        return replace(AugmentationSettings(), **values)

    @contextmanager
    def _silence(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _plan(self) -> AugmentationSettings:
        if self._chosen is not None:
            return self._chosen
        return self._data.plan.settings.augmentation if self._data is not None else AugmentationSettings()

    def _on_change(self, _: Any) -> None:
        if not self._quiet:
            self._take()

    def _take(self) -> None:
        with self.attempt():
            augmentation = self.augmentation()
            if self._slices is not None:
                self._draw(augmentation)
                self.value = augmentation

    def _show_data(self, data: Data | None) -> None:
        self._data, self._slices, self.batch, self.value = data, None, 0, None
        of_volumes = data is not None and data.plan.settings.spatial_dims == 3
        self.hint.value = text(_HINTS[of_volumes])
        for name in OF_SLICES:
            self.switches[name].layout.display = "none" if of_volumes else ""
        self.picture.value = ""
        for control in (self.next, self.none, self.planned):
            control.disabled = True
        if data is None:
            self.give_up(DATA_FIRST)
            return
        self.hide_ids_of(data.cases.cases)
        split = split_cases(
            data.cases.cases,
            validation_subjects=data.plan.validation_subjects,
            test_subjects=set_aside(data.cases),
        )
        self._read_slices(data, split)

    def _read_slices(self, data: Data, split: Split) -> None:
        cases = spread_cases(split.training, MOST_CASES)

        def show(slices: Previewed) -> None:
            self._slices, self._read = slices, len(cases)
            for control in (self.next, self.none, self.planned):
                control.disabled = False
            self.set_augmentation(self._plan())

        self.start(
            lambda: preview_slices(cases, data.plan.settings, structures=data.cases.structures),
            show,
            saying=f"Reading {counted(len(cases), 'image')} …",
        )

    def _draw(self, augmentation: AugmentationSettings) -> None:
        if self._slices is None or self._data is None:
            return
        structures, seed = self._data.cases.structures, self._data.plan.settings.seed
        varied, originals = (
            preview_batch(self._slices, how, structures=structures, seed=seed, count=PAIRS, batch=self.batch)
            for how in (augmentation, None)
        )
        pngs = pair_pictures(*varied, structures, originals, opacity=self.opacity.value)
        of_volumes = self._data.plan.settings.spatial_dims == 3
        self.picture.value = _pictures(pngs, structures, _ALT_OF_VOLUMES if of_volumes else _ALT)
        self.say(*(("", "note") if of_volumes else _mirroring(augmentation, structures)))


def _pictures(pngs: Sequence[bytes], structures: Sequence[Structure], alt: str) -> str:
    """Give the pairs side by side, and what the colours mean."""
    named = ", ".join(structure.name for structure in structures)
    caption = '<figcaption style="text-align:center;font-size:12px">{}: as drawn | as varied</figcaption>'
    shown = "".join(
        f'<figure style="margin:0">{caption.format(number)}'
        f"{picture(png, alt.format(number, named), width='100%')}</figure>"
        for number, png in enumerate(pngs, start=1)
    )
    grid = "display:grid;gap:6px 10px;grid-template-columns:repeat(auto-fill,minmax(265px,1fr))"
    return (
        f'<div style="color:var(--jp-ui-font-color1,inherit);max-width:1040px"><div style="{grid}">{shown}</div>'
        f'<div style="text-align:center;margin:6px">{legend(structures)}</div></div>'
    )


def _mirroring(augmentation: AugmentationSettings, structures: tuple[Structure, ...]) -> tuple[str, Any]:
    """Say what mirroring does to left and right."""
    if not (augmentation.flip_probability or augmentation.flip_rows_probability):
        return "", "note"
    pairs, names = side_pairs(structures), {s.label: s.name for s in structures}
    paired = {label for pair in pairs for label in pair}
    alone = [s.name for s in structures if s.side in ("left", "right") and s.label not in paired]
    words = "Mirroring exchanges left and right."
    if pairs:
        swapped = "; ".join(f"{names[left]} and {names[right]}" for left, right in pairs)
        words += f" So the labels are exchanged with it: {swapped}."
    if alone:
        words += f" {', '.join(alone)} has no counterpart on the other side and would be learnt there, too."
        return f"{words} Leave mirroring off.", "warning"
    return words if pairs else f"{words} No structure here has a counterpart, so labels stay as they are.", "note"
