"""Anatomical structures: their labels, names, colours and sides of the body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError

Side = Literal["left", "right", "both", ""]
SIDES = ("left", "right")

# Okabe and Ito's colours, which remain apart in every common colour blindness (jfly.uni-koeln.de/color),
# strongest contrast on grey images first; grey and black are left out.
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)


def default_colour(label: int) -> tuple[int, int, int]:
    """Give the colour (red, green, blue; 0 to 255) that label 1, 2, … has everywhere in autoseg."""
    base = COLOURS[(label - 1) % len(COLOURS)]
    # After seven structures the colours repeat darker, then darker again, never black.
    shade = 0.65 ** ((label - 1) // len(COLOURS) % 3)
    return (round(base[0] * shade), round(base[1] * shade), round(base[2] * shade))


@dataclass(frozen=True)
class Structure:
    """One anatomical structure: its integer in label files, its name, colour and side of the body.

    Parameters
    ----------
    label : int
        1 to 255; 0 is the background and never a structure.
    name : str
        As it stands in tables, for instance "psoas left".
    colour : (3,) tuple of int
        Red, green, blue, 0 to 255. By default the label's colour in a palette safe for colour-blind eyes.
    side : {"left", "right", "both", ""}
        Side of the patient's body; "" where it has none.
    includes : tuple of int
        Labels of structures that lie inside this one (grey matter inside the cord). Each pixel holds one label
        only, that of the inner structure; areas and scores of this one count both.
    category, type : str
        What it is in SNOMED CT, for DICOM objects: the number and what it means, "91723000 Anatomical structure"
        and "10200004 Liver". Where they are empty its name is looked up among DICOM's own.
    """

    label: int
    name: str
    colour: tuple[int, int, int] | None = None
    side: Side = ""
    includes: tuple[int, ...] = ()
    category: str = ""
    type: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.label <= 255:
            raise LabelError(
                f"Structure {self.name!r} has label {self.label}; labels of structures run from 1 to 255 "
                "and 0 is the background."
            )
        if not self.name.strip():
            raise LabelError(f"Label {self.label} has an empty name. Give every structure a name.")
        if self.side not in ("left", "right", "both", ""):
            raise LabelError(f"Structure {self.name!r} has side {self.side!r}; use left, right, both or nothing.")
        colour = default_colour(self.label) if self.colour is None else tuple(int(c) for c in self.colour)
        if len(colour) != 3 or not all(0 <= c <= 255 for c in colour):
            raise LabelError(
                f"Structure {self.name!r} has colour {colour}; give red, green and blue from 0 to 255."
            )
        object.__setattr__(self, "colour", colour)
        for what in ("category", "type"):
            _check_term(f"Structure {self.name!r}", what, getattr(self, what))
        object.__setattr__(self, "includes", tuple(int(label) for label in self.includes))
        if self.label in self.includes:
            raise LabelError(f"Structure {self.name!r} includes its own label {self.label}. Leave it out.")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return self.colour or default_colour(self.label)


def read_term(words: str) -> tuple[str, str]:
    """Give the number and the meaning of a term of SNOMED CT.

    Examples
    --------
    >>> read_term("10200004 Liver")
    ('10200004', 'Liver')
    """
    number, _, meaning = words.partition(" ")
    return number, meaning.strip()


def _check_term(who: str, what: str, words: str) -> None:
    number, meaning = read_term(words)
    if not words:
        return
    if not re.fullmatch(r"[1-9]\d{5,15}", number) or not 0 < len(meaning) <= 64 or not meaning.isprintable():
        raise LabelError(
            f"{who} has the {what} {words!r}. Write the number of SNOMED CT and what it means, for instance "
            f"{'91723000 Anatomical structure' if what == 'category' else '10200004 Liver'}, or leave it empty."
        )
    if not _is_whole(number):
        raise LabelError(
            f"{who} has the {what} {words!r}, and {number} is no number of SNOMED CT: a digit was mistyped, or two "
            "changed places. Look it up again."
        )


# Verhoeff's check digit, with which every number of SNOMED CT ends (release file specifications, 5.5): what is
# multiplied is the group of a pentagon's turns and reflections.
_TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _is_whole(number: str) -> bool:
    check = 0
    for place, sign in enumerate(reversed(number)):
        digit = int(sign)
        for _ in range(place % 8):
            digit = _TURN[digit]
        check = _multiplied(check, digit)
    return check == 0


def _multiplied(a: int, b: int) -> int:
    if a < 5:
        return (a + b) % 5 if b < 5 else (a + b - 5) % 5 + 5
    return (a - 5 - b) % 5 + 5 if b < 5 else (a - b) % 5


def check_structures(structures: tuple[Structure, ...]) -> None:
    """Raise LabelError if two structures share a label or a name."""
    for what in ("label", "name"):
        # Names that differ only in capitals would be one column in many programs.
        values = [str(getattr(structure, what)).casefold() for structure in structures]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise LabelError(f"The structures table has the {what} {', '.join(twice)} more than once.")
    known = {structure.label for structure in structures}
    for structure in structures:
        unknown = sorted(set(structure.includes) - known)
        if unknown:
            raise LabelError(f"Structure {structure.name!r} includes {label_list(unknown)} without a name.")
        for inner in (other for other in structures if other.label in structure.includes):
            missing = sorted(set(inner.includes) - set(structure.includes))
            if missing:
                raise LabelError(
                    f"Structure {structure.name!r} includes {inner.name!r}, which includes {label_list(missing)}. "
                    "Write that into its includes too; a structure never includes itself."
                )


def plain_name(name: str) -> str:
    """Give a name without capitals, blanks and separators: two structures whose plain names are one look alike.

    Examples
    --------
    >>> plain_name(" Psoas_RIGHT"), plain_name("psoas right"), plain_name("T1-2"), plain_name("T12")
    ('psoasright', 'psoasright', 't1 2', 't12')
    """
    words = re.sub(r"[\s_.-]+", " ", name.casefold()).strip()
    # Between two digits a separator tells: T1-2 is no T12.
    return re.sub(r"(?<!\d) | (?!\d)", "", words)


def check_values(voxels: npt.NDArray[np.integer], known: dict[int, str], *, name: str) -> None:
    """Raise LabelError where label values have no name; the message says which and what to do."""
    if voxels.size and int(voxels.max()) <= 255 and int(voxels.min()) >= 0:
        # Slice by slice: for all at once numpy makes numbers of 64 bits, eight times the memory of the labels.
        counts = (np.bincount(part.ravel().astype(np.uint8, copy=False), minlength=256) for part in voxels)
        values = np.flatnonzero(sum(counts))
    else:
        values = np.unique(voxels)
    unknown = [int(value) for value in values if value != 0 and int(value) not in known]
    if unknown:
        raise LabelError(
            f"{name} holds {label_list(unknown)} without a name. Known: {name_list(known)}. "
            "Write every label into the structures table (structures.csv), or set it to 0 in the file."
        )


def voxels_of(structure: Structure, voxels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Tell which voxels have the label of a structure or of what it includes."""
    found = voxels == structure.label
    for label in structure.includes:
        found |= voxels == label
    return found


def label_list(labels: Sequence[int], most: int = 10) -> str:
    """Name labels in a sentence.

    Examples
    --------
    >>> label_list([3]), label_list([1, 3])
    ('label 3', 'labels 1, 3')
    """
    if not labels:
        return "no label"
    shown = ", ".join(map(str, labels[:most])) + (" …" if len(labels) > most else "")
    return f"label{'' if len(labels) == 1 else 's'} {shown}"


def name_list(known: Mapping[int, str]) -> str:
    """Say what labels stand for.

    Examples
    --------
    >>> name_list({1: "psoas", 2: "disc"})
    '1 = psoas, 2 = disc'
    """
    return ", ".join(f"{label} = {name}" for label, name in known.items()) or "none"


def pair_name(name: str) -> str:
    """Give the name that a structure shares with its counterpart on the other side.

    Examples
    --------
    >>> pair_name("psoas left"), pair_name("Right_erector_spinae"), pair_name("disc")
    ('psoas', 'erector spinae', 'disc')
    """
    return " ".join(word for word in _words_of(name) if word.lower() not in SIDES)


def _words_of(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name)


def side_pairs(structures: Sequence[Structure]) -> tuple[tuple[int, int], ...]:
    """Give the labels (left, right) of structures that are each other's counterpart.

    The side is `Structure.side`, or the word left or right in the name where that is empty; counterparts
    have the same name but for that word.

    Examples
    --------
    >>> side_pairs([Structure(1, "psoas left"), Structure(2, "Right psoas"), Structure(3, "disc")])
    ((1, 2),)
    """
    sides: dict[str, dict[str, int]] = {}
    for structure in structures:
        named = [word for word in _words_of(structure.name.lower()) if word in SIDES]
        side = structure.side or (named[0] if len(named) == 1 else "")
        if side in SIDES:
            sides.setdefault(pair_name(structure.name.lower()), {})[side] = structure.label
    return tuple((pair["left"], pair["right"]) for pair in sides.values() if len(pair) == 2)
