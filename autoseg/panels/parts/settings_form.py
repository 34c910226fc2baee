"""A form for settings, made from the dataclasses themselves: a field each, its docstring as the tooltip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import ipywidgets as widgets

from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import describe_fields, parse_value, show_value, value_of
from autoseg.panels.parts.style import heading, notice

_HEADINGS = {"volume": "Volume (where spatial_dims is 3)"}
_FIELD = {"layout": {"width": "350px"}, "style": {"description_width": "195px"}}


class SettingsForm(widgets.VBox):
    """A field for every setting, in the groups of `Settings`, with the settings' own names as labels.

    Parameters
    ----------
    settings : Settings
        Shown at first.
    changed : callable
        Called after a person changed a field.
    without : collection of str
        Settings and groups ("epochs", "augmentation") that stand elsewhere.
    fixed : mapping of str to str
        Shown first and not to be changed: label and tooltip; `tell` gives their values.
    """

    def __init__(
        self,
        settings: Settings,
        changed: Callable[[], None],
        *,
        without: Collection[str] = (),
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        self.fields: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self._hints: dict[str, Any] = {}
        self._changed, self._quiet, self._last = changed, False, ""
        told = {name: _text_field(name, name, disabled=True) for name in fixed or {}}
        self.fixed: dict[str, Any] = told
        super().__init__(
            [self._group("", settings, without, tuple(told.values())), *self._groups(settings, without)]
        )
        self.show(settings)

    def tell(self, fixed: Mapping[str, str]) -> None:
        """Show values that cannot be changed."""
        for name, words in fixed.items():
            self.fixed[name].value = words

    def show(self, settings: Settings) -> None:
        """Show settings; `changed` is not called."""
        self._quiet = True
        try:
            for name, field in self.fields.items():
                value = value_of(settings, name)
                field.value = value if isinstance(field, widgets.Checkbox | widgets.Dropdown) else show_value(value)
        finally:
            self._quiet = False

    def complain(self, sentence: str) -> None:
        """Show a sentence under the field with whose name it begins, if there is one; "" takes it away.

        Of fields of the same name in two groups it is the one that was changed last.
        """
        meant = [name for name in self.notes if sentence.startswith(f"{name.rpartition('.')[2]} ")]
        if len(meant) > 1 and self._last in meant:
            meant = [self._last]
        for name, note in self.notes.items():
            note.value = notice(sentence, "warning") if name in meant else ""

    def read(self) -> dict[str, object]:
        """Give the settings that stand in the fields, by name ("batch_size", "preprocess.spacing_mm")."""
        return {
            name: field.value
            if isinstance(field, widgets.Checkbox | widgets.Dropdown)
            else parse_value(name.rpartition(".")[2], field.value, self._hints[name])
            for name, field in self.fields.items()
        }

    def _groups(self, settings: Settings, without: Collection[str]) -> list[widgets.Widget]:
        found = []
        for item in fields(settings):
            part = getattr(settings, item.name)
            if is_dataclass(part) and item.name not in without:
                words = heading(_HEADINGS.get(item.name, item.name.capitalize()))
                found += [widgets.HTML(words), self._group(f"{item.name}.", part, without)]
        return found

    def _group(
        self, prefix: str, part: Any, without: Collection[str], first: tuple[widgets.Widget, ...] = ()
    ) -> widgets.Widget:
        hints, words = get_type_hints(type(part)), describe_fields(type(part))
        made = list(first)
        for item in fields(part):
            name = prefix + item.name
            if name in without or is_dataclass(getattr(part, item.name)):
                continue
            self.fields[name], self._hints[name] = _field(item.name, hints[item.name], words), hints[item.name]
            self.fields[name].observe(lambda _, name=name: self._on_change(name), "value")
            self.notes[name] = widgets.HTML(layout={"width": "345px"})
            made.append(widgets.VBox([self.fields[name], self.notes[name]]))
        return widgets.HBox(made, layout={"flex_flow": "row wrap"})

    def _on_change(self, name: str) -> None:
        if not self._quiet:
            self._last = name
            self._changed()


def _field(name: str, hint: Any, words: Mapping[str, str]) -> Any:
    tooltip = words.get(name, name)
    if hint is bool:
        return widgets.Checkbox(description=name, tooltip=tooltip, **_FIELD)
    if get_origin(hint) is Literal:
        return widgets.Dropdown(options=list(get_args(hint)), description=name, tooltip=tooltip, **_FIELD)
    return _text_field(name, tooltip)


def _text_field(name: str, tooltip: str, *, disabled: bool = False) -> Any:
    return widgets.Text(
        description=name, tooltip=tooltip, continuous_update=False, disabled=disabled, placeholder="none", **_FIELD
    )
