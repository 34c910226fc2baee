"""What the objects have in common: who made them, the coded terms of structures, and how they are saved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from autoseg.files.atomic import whole_file
from autoseg.files.dicom.records import quiet
from autoseg.image.structures import Structure, read_term

MANUFACTURER, PRODUCT = "autoseg", "autoseg"
SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right, "both": Code("51440002", "SCT", "Bilateral")}
SIDE_WORDS = re.compile(r"\b(left|right|both|bilateral)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Algorithm:
    """What drew the labels: its name, its version, and by what it is told from others (digests).

    `light` says whether the image is like those that it learnt from: "amber" and "red" stand where series are
    listed.
    """

    name: str
    version: str
    parameters: tuple[str, ...] = ()
    light: str = ""

    @property
    def warning(self) -> str:
        """What stands behind the name of a series."""
        return f" ({self.light}: look first)" if self.light in ("amber", "red") else ""


@dataclass(frozen=True)
class DrawnStructure:
    """A structure as an object has it: its segment's number there, its mask on the image, and who corrected it."""

    number: int
    structure: Structure
    mask: npt.NDArray[np.bool_]
    corrected_by: str = ""


def term_of(structure: Structure) -> tuple[Code, Code]:
    """Give the coded category and type of a structure: its own, or those of its name in DICOM (PS3.16 CID 7151).

    A name that is not among them is an anatomical structure; what it is called stands in the label.

    Examples
    --------
    >>> [code.meaning for code in term_of(Structure(1, "Right kidney"))]
    ['Anatomical Structure', 'Kidney']
    >>> term_of(Structure(1, "left one"))[1].meaning
    'Anatomical Structure'
    >>> term_of(Structure(1, "left one", type="10200004 Liver"))[1]
    Code(value='10200004', scheme_designator='SCT', meaning='Liver', scheme_version=None)
    """
    category, kind = _named_term(structure)
    return _own_term(structure.category) or category, _own_term(structure.type) or kind


def _own_term(words: str) -> Code | None:
    number, meaning = read_term(words)
    return Code(number, "SCT", meaning) if words else None


def _named_term(structure: Structure) -> tuple[Code, Code]:
    general = codes.SCT.AnatomicalStructure
    plain = "".join(re.findall(r"[^\W_]+", SIDE_WORDS.sub(" ", structure.name.replace("_", " ")))).casefold()
    known = {name.casefold(): name for name in codes.CID7151.dir()}
    name = known.get(plain) or known.get(f"{plain}muscle")
    return general, getattr(codes.CID7151, name) if name else general


def side_of(structure: Structure) -> Code | None:
    """Give the coded laterality of a structure, from its side or else the one word in its name that says so."""
    words = {word.lower() for word in re.findall(r"[^\W_]+", structure.name)} & {"left", "right"}
    side = structure.side or (words.pop() if len(words) == 1 else "")
    return SIDES.get(side)


def person_name(words: str) -> str:
    """Give initials or a name as DICOM's name of a person, of one part; "" stays.

    Examples
    --------
    >>> person_name("A. Bauer"), person_name("Bauer^Anna"), person_name("")
    ('A. Bauer^', 'Bauer^Anna', '')
    """
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f\\=]", " ", words).split())[:63]
    return plain if "^" in plain or not plain else f"{plain}^"


def save(path: Path, dataset: Any) -> None:
    """Write an object under its name once it is whole."""
    with whole_file(path) as temporary, quiet():
        dataset.save_as(temporary, enforce_file_format=True)


def code_item(code: Code) -> Dataset:
    """Give a code as the item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def decimal(value: float) -> str:
    """Give a number as DICOM's decimal string, which has at most 16 letters.

    Examples
    --------
    >>> decimal(-123.45678901234567), decimal(-1.23456789012e-7)
    ('-123.45678901235', '-1.23456789e-07')
    """
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return "0"
