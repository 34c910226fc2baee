"""A form for settings, made from what is declared of them.

A field each under its plain name; the name that scripts give it, what it does and takes is the tooltip.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import groupby
from typing import Any

import ipywidgets as widgets

from autoseg.errors import SettingsError
from autoseg.model.settings.declare import Setting
from autoseg.model.settings.settings import Settings, group_kinds
from autoseg.model.settings.text import all_settings, say_value, show_value, value_of
from autoseg.panels.parts.fields import tick
from autoseg.panels.parts.style import heading, notice

_FIELD = {"layout": {"width": "390px"}, "style": {"description_width": "215px"}}


class SettingsForm(widgets.VBox):
    """A field for every setting, in the groups of `Settings`: simple ones first, and all of them at a tick.

    `changed` is called after a person changed a field. `without` names settings and groups ("epochs",
    "augmentation") that stand elsewhere. `fixed` are shown first and not to be changed: label and tooltip; `tell`
    gives their values. An error at a field that is not shown shows all.
    """

    def __init__(
        self,
        settings: Settings,
        changed: Callable[[], None],
        *,
        without: Collection[str] = (),
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        self._changed, self._quiet = changed, False
        self.fixed = {name: _text_field(name, tooltip, disabled=True) for name, tooltip in (fixed or {}).items()}
        self.fields: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self.all = tick("All settings (expert)", "Show also what is rarely changed", width="390px")
        self.rows: dict[str, widgets.Widget] = {}
        self._groups: list[tuple[list[widgets.Widget], list[str]]] = []
        rows: list[widgets.Widget] = []
        for group, found in groupby(all_settings().items(), lambda item: item[0].rpartition(".")[0]):
            made = {name: self._field(setting) for name, setting in found if not {name, group} & {*without}}
            first = [] if group else list(self.fixed.values())
            if made or first:
                box = widgets.HBox([*first, *made.values()], layout={"flex_flow": "row wrap"})
                head = [widgets.HTML(heading(group_kinds()[group].title))] if group else []
                self._groups.append(([*head, *([] if first else [box])], [*made]))
                self.rows |= made
                rows += [*head, box]
        expert = any(not all_settings()[name].simple for name in self.fields)
        super().__init__([*([self.all] if expert else []), *rows])
        self.all.observe(lambda _: self._arrange(), "value")
        self._arrange()
        self.show(settings)

    def _arrange(self) -> None:
        """Show simple settings, or all, and no heading without any."""
        for parts, names in self._groups:
            seen = {name for name in names if self.all.value or all_settings()[name].simple}
            for name in names:
                self.rows[name].layout.display = "" if name in seen else "none"
            for part in parts:
                part.layout.display = "" if seen else "none"

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
                field.value = show_value(value) if isinstance(field, widgets.Text) else value
        finally:
            self._quiet = False

    def complain(self, error: BaseException | None = None) -> None:
        """Show an error under the field of the setting that it is about, if there is one; None takes it away."""
        meant = error.setting if isinstance(error, SettingsError) else ""
        for name, note in self.notes.items():
            note.value = notice(str(error), "warning") if name == meant else ""
        if meant in self.notes and not all_settings()[meant].simple:
            self.all.value = True

    def read(self) -> dict[str, object]:
        """Give the settings that stand in the fields, by name ("batch_size", "preprocess.spacing_mm")."""
        known = all_settings()
        return {
            name: known[name].read(field.value) if isinstance(field, widgets.Text) else field.value
            for name, field in self.fields.items()
        }

    def _field(self, setting: Setting) -> widgets.Widget:
        tooltip = f"{setting.name}: {setting.told}"
        named = {"description": setting.label, "tooltip": tooltip, **_FIELD}
        if setting.kind is bool:
            field = widgets.Checkbox(indent=False, **named)
        elif setting.choices:
            options = [(say_value(setting.name, choice), choice) for choice in setting.choices]
            field = widgets.Dropdown(options=options, **named)
        else:
            field = _text_field(setting.label, tooltip)
        field.observe(lambda _: None if self._quiet else self._changed(), "value")
        self.fields[setting.name], self.notes[setting.name] = field, widgets.HTML(layout={"width": "385px"})
        return widgets.VBox([field, self.notes[setting.name]])


def _text_field(name: str, tooltip: str, *, disabled: bool = False) -> Any:
    return widgets.Text(
        description=name, tooltip=tooltip, continuous_update=False, disabled=disabled, placeholder="none", **_FIELD
    )
