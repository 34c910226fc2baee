"""The fields with which ways to fine-tune are chosen; they do nothing themselves."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import ipywidgets as widgets

from autoseg.evaluation.comparison.scenarios import ORIGINAL, SCRATCH, WAYS
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings, VolumeSettings
from autoseg.model.settings.text import parse_value, show_value, value_of
from autoseg.panels.comparison.asked import FIELD
from autoseg.panels.parts.settings_form import SettingsForm
from autoseg.panels.parts.style import heading, text
from autoseg.training.finetuning import settings_from_base

OWN = "own way"
WORDS = {
    ORIGINAL: "The model as it is. It learns nothing here: how much is there to gain?",
    SCRATCH: "The same network, learnt from these images alone: is the model a help at all?",
    **{name: way.words for name, way in WAYS.items()},
    OWN: "What you type under “A way of your own”, below.",
}
PARTS = (
    "A network has four parts: the contraction takes the image in, the bottleneck is its middle, the expansion "
    "leads back to the image, and the tail gives the answer. A part that rests stays as the model learnt it. "
    "The numbers below are learning rates: 0.00001 are very small steps, 0.001 large ones."
)
CENTRELINE = (
    "For long structures such as the spinal cord: a small network first finds the middle on every slice, and the "
    "model then sees only what lies around it. What finds it in a patient has never seen that patient."
)
EXACTLY = "Every way is scored around the middle of your own drawing, too: what is lost by not finding it?"
OUTLIERS = (
    "A way with patients who come out unusually low then learns once more without them, and all are scored again."
)
CROP_MM, FINDER_MINUTES = (40.0, 40.0), 2.0
SECTIONS = (
    "A way of your own: what rests, what begins anew, how fast",
    "Settings of all that learn: spacing_mm, batch_size, and how images are prepared",
)
# Settings that all ways share and that may be others than the model's, beside those of how images are prepared.
SHARED, NOT_SHARED = ("batch_size",), ("volume.crop_mm", "volume.landmarks")


class WaysForm(widgets.VBox):
    """A tick for each way, the centreline, and under "More" the settings themselves.

    Parameters
    ----------
    asked : Widget
        Name, time and folds, shown between.
    changed, all_changed : callable
        Called after a person changed a field; `all_changed` where it is of how images are prepared.
    """

    def __init__(self, asked: widgets.Widget, changed: Callable[[], None], all_changed: Callable[[], None]) -> None:
        self.fit, self.time = widgets.HTML(), widgets.HTML()
        self._changed, self._all_changed = changed, all_changed
        self.boxes = {name: _tick(name[0].upper() + name[1:], WORDS[name], width="150px") for name in WORDS}
        self.words = {name: widgets.HTML(text(words)) for name, words in WORDS.items()}
        self._make_centreline()
        self.without = _tick("Also without outliers", OUTLIERS)
        self.few = widgets.Text(
            description="Learn from",
            placeholder="all patients of a fold",
            tooltip="Or numbers such as 1, 2, 4: each way learns once from so many: how many must be drawn?",
            continuous_update=False,
            layout={"width": "360px"},
            style=FIELD,
        )
        self.more = widgets.Accordion([widgets.VBox(), widgets.VBox()], titles=SECTIONS, selected_index=None)
        self.own = self.all = SettingsForm(Settings(), changed, without=_all_but(()))
        self._shown = Settings()
        rows = [
            widgets.HBox([self.boxes[name], self.words[name]], layout={"align_items": "center"}) for name in WORDS
        ]
        ways = (widgets.HTML(heading("Ways to compare")), widgets.HTML(text(PARTS)), *rows)
        how = widgets.HTML(heading("Name, time and folds"))
        super().__init__(
            [
                self.fit,
                *ways,
                self.centreline,
                how,
                asked,
                self.few,
                _with_words(self.without, OUTLIERS),
                self.more,
                self.time,
            ]
        )
        ticks = (*self.boxes.values(), self.follow, self.exact, self.without)
        for field in (*ticks, self.crop, self.finder, self.few):
            field.observe(lambda _: self._changed(), "value")
        self.boxes[OWN].observe(lambda change: self._unfold(bool(change["new"])), "value")
        self.follow.observe(lambda _: self._arrange(), "value")
        self._arrange()

    def _make_centreline(self) -> None:
        self.follow = _tick("Follow the centreline", "Models that learn see only what lies around it")
        narrow = {"width": "270px"}
        self.crop = widgets.Text(
            show_value(CROP_MM),
            description="Seen around it, mm",
            tooltip="Two lengths across the structure, with room for what is missed: twice its width, for instance",
            continuous_update=False,
            layout=dict(narrow),
            style=FIELD,
        )
        self.finder = widgets.Text(
            show_value(FINDER_MINUTES),
            description="Minutes to find it",
            tooltip="How long each network that finds the centreline learns, one in each fold",
            continuous_update=False,
            layout=dict(narrow),
            style=FIELD,
        )
        self.exact = _tick("Also with exact centrelines", EXACTLY)
        fields_in_a_row = widgets.HBox([self.crop, self.finder], layout={"flex_flow": "row wrap"})
        self.details = widgets.VBox([fields_in_a_row, _with_words(self.exact, EXACTLY)])
        head = (widgets.HTML(heading("Centreline")), widgets.HTML(text(CENTRELINE)))
        self.centreline = widgets.VBox([*head, self.follow, self.details])

    # --- what stands in it

    def chosen(self) -> list[str]:
        """Give the ways that are ticked and can be."""
        return [name for name, box in self.boxes.items() if box.value and not box.disabled]

    def read_own(self) -> dict[str, object]:
        """Give the settings of a way of one's own, by name."""
        return self.own.read()

    def read_all(self) -> dict[str, object]:
        """Give the settings of all that learn that are others than the model's, by name."""
        changed = {name: value for name, value in self.all.read().items() if value != value_of(self._shown, name)}
        if self._shown.spatial_dims == 3:
            changed["volume.crop_mm"] = self.read_crop()
        return changed

    def read_few(self) -> tuple[int, ...]:
        """Give the numbers of patients to learn from; none: from all."""
        numbers: Any = parse_value("subjects", self.few.value, tuple[int, ...])
        return tuple(numbers)

    def read_crop(self) -> object:
        """Give the millimetres that are seen around the centreline; None where it is not followed."""
        if not self.follow.value:
            return None
        crop = parse_value("crop_mm", self.crop.value, tuple[float, ...])
        VolumeSettings(crop_mm=crop)  # type: ignore[arg-type]  # says what is wrong
        return crop

    # --- what is shown

    def show_model(self, model: TrainedModel, changed: Settings | None = None) -> None:
        """Show the fields that suit a model, with its settings, or with others that were begun with."""
        self._shown = settings_from_base(model)
        volume = self._shown.spatial_dims == 3
        group = "volume" if volume else "preprocess"
        self.own = SettingsForm(self._shown, self._own_changed, without=_all_but(("learning_rate", "finetune")))
        self.all = SettingsForm(self._shown, self._all_changed, without=[*_all_but((*SHARED, group)), *NOT_SHARED])
        if changed is not None:
            self.own.show(changed)
            self.all.show(changed)
        self.more.children = (self.own, self.all)
        self.centreline.layout.display = "" if volume else "none"
        crop = (changed or self._shown).volume.crop_mm
        self.follow.value = volume and crop is not None
        self.crop.value = show_value(crop or CROP_MM)

    def show_fit(self, notes: Sequence[str], unknown: Sequence[str]) -> None:
        """Say how the model fits, and offer it as it is only where it knows all structures."""
        items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        style = "margin:2px 0 6px;padding-left:20px;line-height:1.45;color:var(--jp-ui-font-color1,inherit)"
        self.fit.value = f'{heading("How the model fits your images")}<ul style="{style}">{items}</ul>'
        self.boxes[ORIGINAL].disabled = bool(unknown)
        why = f"Not possible: it does not know {', '.join(unknown)}." if unknown else WORDS[ORIGINAL]
        self.words[ORIGINAL].value = text(why)

    def _own_changed(self) -> None:
        self.boxes[OWN].value = True  # who types a way wants it
        self._changed()

    def _unfold(self, on: bool) -> None:
        if on:
            self.more.selected_index = 0

    def _arrange(self) -> None:
        self.details.layout.display = "" if self.follow.value else "none"


def _tick(words: str, tooltip: str, *, width: str = "auto") -> Any:
    layout: Mapping[str, str] = {"width": width, "flex": "0 0 auto"}
    return widgets.Checkbox(description=words, tooltip=tooltip, indent=False, layout=dict(layout))


def _with_words(tick: Any, words: str) -> widgets.HBox:
    """Put a sentence beside a tick."""
    tick.layout.width = "220px"
    return widgets.HBox([tick, widgets.HTML(text(words))], layout={"align_items": "center"})


def _all_but(names: Sequence[str]) -> list[str]:
    return [item.name for item in fields(Settings) if item.name not in names]
