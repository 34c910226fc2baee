"""The names of what is compared: written and read, and said to people, in this one place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from autoseg.errors import SettingsError
from autoseg.evaluation.crossvalidation import LINES
from autoseg.model.model import check_model_name
from autoseg.prediction.ensemble import COPY_WORDS
from autoseg.training.recipes import RECIPES
from autoseg.words import counted

# The entry that is the mean of all others' models.
TOGETHER = "all together"
# Variants of an entry: scored around exact centrelines, or with copies of the images, or learnt anew.
EXACT, WITHOUT = "exact centreline", "without outliers"
COPIED = frozenset(words for words in COPY_WORDS.values() if words)
# Names of devices, with any ending.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class EntryName:
    """The name of an entry, part by part; as text it is the name of its folder and stands in tables.

    `stem` is a network, recipe or scenario, or any other name; `subjects` from how many it learns (None: all);
    `variant` what is different from the entry of the same name without it: EXACT, WITHOUT, or one of COPIED.

    Examples
    --------
    >>> str(EntryName("fine-tuned", 4, EXACT))
    'fine-tuned with 4 subjects, exact centreline'
    >>> EntryName.read("unet, mirrored copies")
    EntryName(stem='unet', subjects=None, variant='mirrored copies')
    """

    stem: str
    subjects: int | None = None
    variant: str = ""

    @classmethod
    def read(cls, name: str) -> EntryName:
        """Read a name as it was written; one of another kind is a stem."""
        first, _, variant = name.partition(", ")
        few = re.fullmatch(r"(.+) with (\d+) subjects?", first)
        found = cls(few[1], int(few[2]), variant) if few else cls(first, None, variant)
        return found if str(found) == name else cls(name)

    def __str__(self) -> str:
        few = "" if self.subjects is None else f" with {self.subjects} subject{'s' * (self.subjects != 1)}"
        return f"{self.stem}{few}{self.variant and f', {self.variant}'}"

    @property
    def title(self) -> str:
        """What it is called: by the title of its network or recipe, where it is named like one."""
        stem = RECIPES[self.stem].title if self.stem in RECIPES else self.stem
        few = "" if self.subjects is None else f" with {counted(self.subjects, 'patient')}"
        return f"{stem}{few}{self.variant and f', {self.variant}'}"


def title_of(entry: str) -> str:
    """Give what the entry of a name is called."""
    return EntryName.read(entry).title


def variant_of(entry: str, variant: str) -> str:
    """Name a variant of an entry."""
    return str(replace(EntryName.read(entry), variant=variant))


def check_names(names: Iterable[str]) -> None:
    """Refuse names that cannot all have a folder; a SettingsError says which."""
    names = tuple(names)
    for name in names:
        check_model_name(name)
        if RESERVED.fullmatch(name):
            raise SettingsError(f"Windows has no folder of the name {name!r}. Give the entry another name.")
    alike = {name.casefold() for name in names}
    if len(alike) < len(names) or {TOGETHER, LINES} & alike:
        raise SettingsError(
            f"The entries {', '.join(map(repr, names))} cannot all have a folder of their own. Give each another "
            f"name, and none {TOGETHER!r} or {LINES!r}."
        )
