"""Entries of a person's own, typed in a line each: a name, and the settings in which it differs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autoseg.errors import SettingsError
from autoseg.evaluation.comparison.entries import EntryName
from autoseg.model.model import check_model_name
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import all_settings, read_assignments, show_value, value_of
from autoseg.training.plan import change_settings
from autoseg.training.recipes import RECIPES, recipe

# Between two settings: whatever stands before a name with a sign of equality.
BETWEEN = re.compile(r"(?:[;,]\s*|\s+)(?=[\w.]+\s*=)")
EXAMPLE = "small batches: batch_size=4, learning_rate=0.001"
# Settings are changed from these, not from the plan's, where it is given.
RECIPE = "recipe"


def read_entries(
    lines: Sequence[str], base: Settings, *, shared: Mapping[str, object] | None = None
) -> dict[str, Settings]:
    """Read entries typed as NAME: SETTING=VALUE, SETTING=VALUE; empty lines are passed over.

    They are made from `base`, or from a recipe on it where one is named (recipe=NAME); `shared` settings are
    changed in all of them, and what is typed for one counts last.

    Examples
    --------
    >>> entries = read_entries(["large steps: learning_rate=0.01, network.filters=16, 32"], Settings())
    >>> entries["large steps"].learning_rate, entries["large steps"].network.filters
    (0.01, (16, 32))
    """
    entries: dict[str, Settings] = {}
    for line in filter(None, map(str.strip, lines)):
        name, _, typed = (part.strip() for part in line.partition(":"))
        texts = [part for part in BETWEEN.split(typed) if part]
        if not name or not texts:
            raise SettingsError(f"{line!r} is no entry. Give a name and at least one setting, as in {EXAMPLE!r}.")
        check_model_name(name)
        if name in RECIPES or name in entries or EntryName.read(name) != EntryName(name):
            raise SettingsError(f"The name {name!r} is taken. Give the entry another one.")
        recipes = [text.partition("=")[2].strip() for text in texts if text.partition("=")[0].strip() == RECIPE]
        own = read_assignments([text for text in texts if text.partition("=")[0].strip() != RECIPE])
        start = recipe(recipes[-1], base=base) if recipes else base
        entries[name] = change_settings(change_settings(start, shared or {}), own)
    return entries


def entry_line(name: str, settings: Settings, base: Settings) -> str:
    """Write an entry as `read_entries` reads it."""
    changed = {one: value for one in all_settings() if (value := value_of(settings, one)) != value_of(base, one)}
    words = [f"{one}={show_value(value) or 'none'}" for one, value in changed.items()]
    return f"{name}: {', '.join(words)}"
