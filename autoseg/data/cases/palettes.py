"""Label pictures with a palette: the same colour is the same structure, whatever its index in each file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from autoseg.data.cases.case import Case
from autoseg.errors import AutosegError, Told, private
from autoseg.files.pictures.pictures import Colour, Picture, read_palette, read_picture
from autoseg.files.pictures.tiff import TIFF_SUFFIXES, read_tiff, read_tiff_palette
from autoseg.files.sources import LabelFile, ending
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure, default_colour
from autoseg.words import name_some

BLACK = (0, 0, 0)
# Of each file, the colour of every index that occurs in it.
Used = Mapping[LabelFile, Mapping[int, Colour]]


@dataclass(frozen=True)
class PaletteComparison:
    """What the palettes of a folder's label files say when they are held against each other.

    `changed` are the indices that change their colour from file to file: for each its colours, and for each
    colour the
    cases that have it. `index_of` is the index that stands for a colour in most files. Where colours return under
    other indices (`colours_return`), index and colour tell two stories, and where those are no greys the colours
    are believed (`colours_decide`): greys, and colours that never return, may be mere decoration of the numbers.
    """

    used: Used = field(default_factory=dict)
    changed: Mapping[int, Mapping[Colour, tuple[str, ...]]] = field(default_factory=dict)
    index_of: Mapping[Colour, int] = field(default_factory=dict)
    colours_return: bool = False
    colours_decide: bool = False

    def names(self, file: LabelFile) -> dict[int, int]:
        """Give what each index of a file stands for in the others by its colour; empty where all stay."""
        names = {index: self.index_of[colour] for index, colour in self.used.get(file, {}).items()}
        return names if any(old != new for old, new in names.items()) else {}


def compare_palettes(cases: Sequence[Case], structures: Sequence[Structure] = ()) -> PaletteComparison:
    """Hold the palettes of all label files against each other; cases whose values a person renamed are settled.

    The colours of structures say which index stands for which colour, where they name all of them.
    """
    owners = {
        file: case.case_id
        for case in cases
        for file in case.labels
        if not file.binary and not any(repair.kind == "relabel" for repair in (*case.repairs, *case.part_repairs))
    }
    used = _used_colours(list(owners))
    carried: dict[int, dict[Colour, list[str]]] = defaultdict(lambda: defaultdict(list))
    places: dict[Colour, Counter[int]] = defaultdict(Counter)
    for file, colours in used.items():
        for index, colour in colours.items():
            carried[index][colour].append(owners[file])
            places[colour][index] += 1
    changed = {
        index: {colour: tuple(dict.fromkeys(ids)) for colour, ids in found.items()}
        for index, found in sorted(carried.items())
        if index and len(found) > 1
    }
    if not changed:
        return PaletteComparison()
    returning = [colour for colour, indices in places.items() if len(indices) > 1]
    return PaletteComparison(
        used,
        changed,
        _index_of(places, structures),
        colours_return=bool(returning),
        colours_decide=any(len(set(colour)) > 1 for colour in returning),
    )


def by_colour(cases: Sequence[Case], found: PaletteComparison) -> list[Case]:
    """Give the cases with what the indices of each label file stand for, where the colours decide that."""
    if not found.colours_decide:
        return list(cases)
    return [
        replace(case, labels=tuple(replace(f, indices=tuple(found.names(f).items())) for f in case.labels))
        for case in cases
    ]


def in_their_colours(structures: Sequence[Structure], found: PaletteComparison) -> tuple[Structure, ...]:
    """Give structures that nobody coloured the colours that they have in the files, where those decide."""
    colour_of = {index: colour for colour, index in found.index_of.items()} if found.colours_decide else {}
    return tuple(
        replace(s, colour=colour_of[s.label]) if s.label in colour_of and s.rgb == default_colour(s.label) else s
        for s in structures
    )


def _index_of(places: Mapping[Colour, Counter[int]], structures: Sequence[Structure]) -> dict[Colour, int]:
    """Give the index that stands for each colour: as named, else where it is found most, each index once."""
    given = {s.rgb: s.label for s in structures}
    if len(given) == len(structures) and all(colour in given or colour == BLACK for colour in places):
        return {colour: given.get(colour, 0) for colour in places}
    result: dict[Colour, int] = {}
    # The commonest first, and of those that are equally common the one that was seen first.
    for colour, indices in sorted(places.items(), key=lambda item: -max(item[1].values())):
        wanted = [index for index, _ in indices.most_common()]
        result[colour] = next(index for index in (*wanted, *range(1, 256)) if index not in result.values())
    return result


def _used_colours(files: Sequence[LabelFile]) -> Used:
    """Give the colours of the indices in each file, if the files have more than one palette between them."""
    palettes = {file: _palette_of(file) for file in files if ending(file.path) in (".png", *TIFF_SUFFIXES)}
    if len({palette.tobytes() for palette in palettes.values() if palette is not None}) < 2:
        return {}
    result: dict[LabelFile, dict[int, Colour]] = {}
    for file, palette in palettes.items():
        if palette is None or not palette.any():
            continue
        indices = np.unique(np.concatenate([picture.pixels.ravel() for picture in _pictures(file)]))
        if int(indices[-1]) >= len(palette):
            continue
        shown: list[Colour] = [(red, green, blue) for red, green, blue in palette[indices].tolist()]
        # Where two indices have one colour the colours do not tell them apart.
        if len(set(shown)) == len(shown):
            result[file] = dict(zip(indices.tolist(), shown, strict=True))
    return result


def _palette_of(file: LabelFile) -> npt.NDArray[np.uint8] | None:
    try:
        return read_tiff_palette(file.path) if ending(file.path) in TIFF_SUFFIXES else read_palette(file.path)
    except AutosegError:
        return None  # reading its labels will tell


def _pictures(file: LabelFile) -> Sequence[Picture]:
    return read_tiff(file.path) if ending(file.path) in TIFF_SUFFIXES else (read_picture(file.path),)


def in_words(changed: Mapping[int, Mapping[Colour, tuple[str, ...]]]) -> str:
    """Say which index has which colours, and on how many cases."""
    return "; ".join(
        f"index {index} is "
        + " and ".join(
            f"{hex_colour(colour)} on {name_some([private(name) for name in ids], 3)}"
            for colour, ids in colours.items()
        )
        for index, colours in list(changed.items())[:3]
    ) + ("; …" if len(changed) > 3 else "")


def palette_notes(found: PaletteComparison) -> tuple[str, ...]:
    """Say that colours were believed, where they were."""
    if not found.colours_decide:
        return ()
    return (
        Told(
            f"The palettes of the label pictures differ ({in_words(found.changed)}), so the same colour counts as "
            "the same structure in all of them."
        ),
    )
