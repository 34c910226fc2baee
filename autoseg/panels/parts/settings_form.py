"""A form for settings, made from what is declared of them: a field each, what it does and takes as the tooltip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import groupby
from typing import Any

import ipywidgets as widgets

from autoseg.errors import SettingsError
from autoseg.model.settings.declare import Setting
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import all_settings, show_value, value_of
from autoseg.panels.parts.style import heading, notice

_HEADINGS = {"volume": "Volume (where spatial_dims is 3)"}
_FIELD = {"layout": {"width": "350px"}, "style": {"description_width": "195px"}}


class SettingsForm(widgets.VBox):
    """A field for every setting, in the groups of `Settings`, with the settings' own names as labels.

    `changed` is called after a person changed a field. `without` names settings and groups ("epochs",
    "augmentation") that stand elsewhere. `fixed` are shown first and not to be changed: label and tooltip; `tell`
    gives their values.
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
        rows: list[widgets.Widget] = []
        for group, found in groupby(all_settings().items(), lambda item: item[0].rpartition(".")[0]):
            made = [] if group else list(self.fixed.values())
            made += [self._field(setting) for name, setting in found if not {name, group} & {*without}]
            if group and group not in without:
                rows.append(widgets.HTML(heading(_HEADINGS.get(group, group.capitalize()))))
            rows += [widgets.HBox(made, layout={"flex_flow": "row wrap"})] if made else []
        super().__init__(rows)
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
                field.value = show_value(value) if isinstance(field, widgets.Text) else value
        finally:
            self._quiet = False

    def complain(self, error: BaseException | None = None) -> None:
        """Show an error under the field of the setting that it is about, if there is one; None takes it away."""
        meant = error.setting if isinstance(error, SettingsError) else ""
        for name, note in self.notes.items():
            note.value = notice(str(error), "warning") if name == meant else ""

    def read(self) -> dict[str, object]:
        """Give the settings that stand in the fields, by name ("batch_size", "preprocess.spacing_mm")."""
        known = all_settings()
        return {
            name: known[name].read(field.value) if isinstance(field, widgets.Text) else field.value
            for name, field in self.fields.items()
        }

    def _field(self, setting: Setting) -> widgets.Widget:
        named = {"description": setting.short, "tooltip": setting.told, **_FIELD}
        if setting.kind is bool:
            field = widgets.Checkbox(**named)
        elif setting.choices:
            field = widgets.Dropdown(options=list(setting.choices), **named)
        else:
            field = _text_field(setting.short, setting.told)
        field.observe(lambda _: None if self._quiet else self._changed(), "value")
        self.fields[setting.name], self.notes[setting.name] = field, widgets.HTML(layout={"width": "345px"})
        return widgets.VBox([field, self.notes[setting.name]])


def _text_field(name: str, tooltip: str, *, disabled: bool = False) -> Any:
    return widgets.Text(
        description=name, tooltip=tooltip, continuous_update=False, disabled=disabled, placeholder="none", **_FIELD
    )
