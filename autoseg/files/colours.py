"""Names and colours of structures as the programs read them that people correct labels in.

Each writes text; the formats were taken from what the programs themselves write and read (ITK-SNAP's
`ColorLabelTable`, 3D Slicer's colour table, FSLeyes' lookup table).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from autoseg.errors import OutputError
from autoseg.files.atomic import whole_file
from autoseg.image.structures import Structure

ITKSNAP_NAME = "labels_itksnap.txt"
SLICER_NAME = "labels_slicer.ctbl"
FSLEYES_NAME = "labels_fsleyes.lut"

RULE = "################################################"
ITKSNAP_HEADER = f"""{RULE}
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
{RULE}
"""


def write_label_colours(folder: Path, structures: Sequence[Structure]) -> tuple[Path, Path, Path]:
    """Write the names and colours for ITK-SNAP, 3D Slicer and FSLeyes into a folder.

    In ITK-SNAP: Segmentation, Import Label Descriptions. In 3D Slicer: drop the file on the window, then choose it
    as colour table where the labels are opened. In FSLeyes: the overlay's settings, overlay type "label", load a
    lookup table.
    """
    if not structures:
        raise OutputError(f"{folder}: there is no structure whose name and colour could be written.")
    folder = Path(folder)
    ordered = sorted(structures, key=lambda s: s.label)
    texts = (
        (ITKSNAP_NAME, itksnap_text(ordered)),
        (SLICER_NAME, slicer_text(ordered)),
        (FSLEYES_NAME, fsleyes_text(ordered)),
    )
    for name, text in texts:
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(text.encode("utf-8", "replace"))
    return folder / ITKSNAP_NAME, folder / SLICER_NAME, folder / FSLEYES_NAME


def itksnap_text(structures: Sequence[Structure]) -> str:
    """Give the label descriptions that ITK-SNAP imports.

    Examples
    --------
    >>> print(itksnap_text([Structure(2, "grey matter")]).splitlines()[-1])
        2    86  180  233     1.00  1  1    "grey matter"
    """
    lines = ['    0     0    0    0     0.00  0  0    "Clear Label"']
    for structure in structures:
        red, green, blue = structure.rgb
        # A name ends at the next quotation mark.
        name = _one_line(structure.name).replace('"', "'")
        lines.append(f'{structure.label:5d}   {red:3d}  {green:3d}  {blue:3d}     1.00  1  1    "{name}"')
    return ITKSNAP_HEADER + "\n".join(lines) + "\n"


def slicer_text(structures: Sequence[Structure]) -> str:
    """Give the colour table of 3D Slicer; an underscore in a name is shown there as a blank.

    Examples
    --------
    >>> print(slicer_text([Structure(2, "grey matter")]))
    # Color table file
    # 2 values
    0 Background 0 0 0 0
    2 grey_matter 86 180 233 255
    <BLANKLINE>
    """
    lines = ["# Color table file", f"# {len(structures) + 1} values", "0 Background 0 0 0 0"]
    for structure in structures:
        # Columns are told apart by blanks, and quotation marks around a name are taken away.
        name = _one_line(structure.name).replace(" ", "_").strip("'\"") or f"label_{structure.label}"
        lines.append(f"{structure.label} {name} {' '.join(map(str, structure.rgb))} 255")
    return "\n".join(lines) + "\n"


def fsleyes_text(structures: Sequence[Structure]) -> str:
    """Give the lookup table of FSLeyes: value, red, green and blue from 0 to 1, and the name.

    It has no heading, as FSLeyes counts names by lines, and never a single line, which FSLeyes cannot read: a value
    that is not used stands below the only structure.

    Examples
    --------
    >>> print(fsleyes_text([Structure(2, "grey matter"), Structure(5, "disc")]))
    2 0.33725 0.70588 0.91373 grey matter
    5 0.80000 0.47451 0.65490 disc
    <BLANKLINE>
    """
    rows = [(s.label, s.rgb, _one_line(s.name)) for s in structures]
    if len(rows) == 1:
        rows.append((254 if rows[0][0] == 255 else 255, (128, 128, 128), "not used"))
    return "".join(f"{label} {' '.join(f'{c / 255:.5f}' for c in rgb)} {name}\n" for label, rgb, name in rows)


def _one_line(name: str) -> str:
    """Give a name that these programs' readers take: one line of no great length, without signs that end a text."""
    seen = (sign for sign in name if sign.isspace() or unicodedata.category(sign) != "Cc")
    return " ".join("".join(seen).split())[:LONGEST_NAME]


LONGEST_NAME = 200
