"""A form for settings, made from the dataclasses themselves: a field each, its docstring as the tooltip."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import ipywidgets as widgets

from autoseg.errors import SettingsError
from autoseg.panels.style import heading, notice
from autoseg.settings import Settings

_FIELD = {"layout": {"width": "350px"}, "style": {"description_width": "195px"}}


def describe_fields(kind: type) -> dict[str, str]:
    """Give what the docstring's "Parameters" say of every field; one that stands there is described.

    Examples
    --------
    >>> from autoseg.settings import LossSettings
    >>> describe_fields(LossSettings)["squared"]
    'Square the probabilities in the denominator, as the V-Net does (Milletari et al. 2016).'
    """
    words: dict[str, str] = {}
    names: list[str] = []
    lines = inspect.cleandoc(kind.__doc__ or "").partition("Parameters\n----------\n")[2].splitlines()
    for line in lines:
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        else:
            words.update({name: f"{words.get(name, '')} {line.strip()}".strip() for name in names})
    return words


def parse_value(name: str, text: str, hint: Any) -> object:
    """Read what was typed for a setting of this type; nothing means None where the setting may be None.

    Raises
    ------
    SettingsError
        If it is not of that type; the message tells what is expected.

    Examples
    --------
    >>> parse_value("crop_mm", "80 × 96", tuple[float, float] | None)
    (80.0, 96.0)
    """
    text = text.strip()
    if get_origin(hint) in (Union, types.UnionType):
        if not text:
            return None
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    if hint is str:
        return text
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        if get_origin(inner) is tuple:  # several of them, with a semicolon between
            return tuple(_mixed(name, part, get_args(inner)) for part in text.split(";") if part.strip())
        return tuple(_number(name, part, inner) for part in re.split(r"[\s,;×]+", text.strip("()[] ")) if part)
    return _number(name, text.replace(",", "."), hint)  # a comma is a decimal point to half of Europe


def _mixed(name: str, text: str, kinds: tuple[Any, ...]) -> tuple[object, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != len(kinds):
        raise SettingsError(f"{name} is {text.strip()!r}; give {len(kinds)} values with commas between.")
    pairs = zip(parts, kinds, strict=True)
    return tuple(part if kind is str else _number(name, part, kind) for part, kind in pairs)


def _number(name: str, text: str, kind: type) -> float:
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name} is {text!r}; give {wanted}.") from None


def show_value(value: object) -> str:
    """Write a setting as it is typed; `parse_value` reads it."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        nested = any(isinstance(item, tuple) for item in value)
        return ("; " if nested else ", ").join(show_value(item) for item in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


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
        self._changed, self._quiet = changed, False
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
        """Show a sentence under the field with whose name it begins, if there is one; "" takes it away."""
        for name, note in self.notes.items():
            is_meant = sentence.startswith(f"{name.rpartition('.')[2]} ")
            note.value = notice(sentence, "warning") if is_meant else ""

    def read(self) -> dict[str, object]:
        """Give the settings that stand in the fields, by name ("batch_size", "preprocess.spacing_mm").

        Raises
        ------
        SettingsError
            If a text is not of its setting's type; values that do not fit are found by the settings themselves.
        """
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
                words = heading(item.name.capitalize())
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
            self.fields[name].observe(self._on_change, "value")
            self.notes[name] = widgets.HTML(layout={"width": "345px"})
            made.append(widgets.VBox([self.fields[name], self.notes[name]]))
        return widgets.HBox(made, layout={"flex_flow": "row wrap"})

    def _on_change(self, _: Any) -> None:
        if not self._quiet:
            self._changed()


def value_of(settings: Any, name: str) -> object:
    """Give a setting by its name ("batch_size", "preprocess.spacing_mm")."""
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings


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
