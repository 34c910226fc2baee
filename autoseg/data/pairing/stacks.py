"""Pictures that are the slices of one stack: of one person, in one folder, of one size, numbered in order."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from autoseg.data.pairing.layout import FilePair
from autoseg.data.pairing.names import SLICE_NUMBER, Named
from autoseg.errors import Told, private
from autoseg.files.pictures.images import read_picture_shape
from autoseg.files.sources import PICTURE_ENDINGS, ImageFile, ending
from autoseg.words import counted, name_some

# Two pictures of a person are as likely two views, or two days.
FEWEST = 3
# Where more of the numbers between the first and the last are missing than this share, somebody picked slices, and
# those beside each other here are no neighbours.
MOST_MISSING = 0.5
SINGLE = (
    "If they are images of their own, say so under 'How to read the files' in the notebook, or with "
    "--single-pictures on the command line."
)

Group = Sequence[Named]
"""One picture, or the pictures of its channels."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, each with its channels' files, under the `name` that they have in common."""

    name: Named
    slices: tuple[Group, ...]
    numbers: tuple[int, ...]

    @property
    def missing(self) -> int:
        """How many numbers between the first and the last are not there."""
        return self.numbers[-1] - self.numbers[0] + 1 - len(self.numbers)

    @property
    def gaps(self) -> str:
        """Which numbers are not there, in words."""
        gaps = [(a + 1, b - 1) for a, b in pairwise(self.numbers) if b - a > 1]
        return name_some([str(a) if a == b else f"{a} to {b}" for a, b in gaps])

    @property
    def images(self) -> tuple[ImageFile, ...]:
        """The files of each channel, in the order of the slices."""
        channels = zip(*self.slices, strict=True)
        return tuple(ImageFile(first.path, others=tuple(one.path for one in rest)) for first, *rest in channels)


@dataclass(frozen=True, eq=False)
class Stacks:
    """The stacks among pictures, and sentences on what was concluded from numbers and sizes."""

    stacks: tuple[Stack, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> frozenset[Path]:
        """The first file of every slice."""
        return frozenset(group[0].path for stack in self.stacks for group in stack.slices)


def find_stacks(
    groups: Sequence[Group], whose: Mapping[Path, str], folder: Path, *, needed: Collection[Path] | None = None
) -> Stacks:
    """Find the stacks among pictures, by the path of whose first file `whose` names the person.

    Of the `needed` first files each stack has one at least.
    """
    alike: dict[tuple[str, object], list[tuple[int, Group]]] = defaultdict(list)
    for group in groups:
        first = group[0]
        number = SLICE_NUMBER.search(first.key)
        if number is not None and ending(first.path) in PICTURE_ENDINGS:
            stem = first.key[: number.start()]
            place = (first.path.parent, first.part, ending(first.path), len(group), whose[first.path])
            alike[stem, place].append((int(re.findall(r"\d+", number[0])[0]), group))
    taken = Counter((group[0].where, group[0].key) for group in groups)
    found: list[Stack] = []
    single: dict[str, list[str]] = defaultdict(list)
    for (stem, _), some in alike.items():
        some.sort(key=lambda one: one[0])
        numbers = tuple(number for number, _ in some)
        if len(numbers) < FEWEST or len(set(numbers)) < len(numbers):
            continue
        if needed is not None and not any(group[0].path in needed for _, group in some):
            continue
        first = some[0][1][0]
        key = stem or (first.where or (folder.name,))[-1]
        key = f"{key}_{numbers[0]}-{numbers[-1]}" if taken[first.where, key] else key
        stack = Stack(replace(first, key=key), tuple(group for _, group in some), numbers)
        if why := _why_single(stack):
            single[why].append(private(key))
        else:
            found.append(stack)
    notes = [Told(f"Numbered pictures of {name_some(names)} are no stack: {why}.") for why, names in single.items()]
    return Stacks(tuple(found), (*_about(found), *notes))


def _why_single(stack: Stack) -> str:
    """Say why numbered pictures are no stack; "" where they are."""
    shapes = (read_picture_shape(one.path) for group in stack.slices for one in group)
    sizes = {shape for shape in shapes if shape is not None}
    if len(sizes) > 1:
        return "their sizes differ"
    if any(pages != 1 for pages, _, _ in sizes):
        return "each holds several pages"
    if stack.missing > MOST_MISSING * (stack.missing + len(stack.numbers)):
        return "most numbers between the first and the last are not there"
    return ""


def _about(stacks: Sequence[Stack]) -> list[str]:
    if not stacks:
        return []
    pictures = sum(len(stack.slices) for stack in stacks)
    named = name_some([f"{private(one.name.key)}, {len(one.slices)} slices" for one in stacks], 3)
    notes = [
        f"{counted(pictures, 'picture')} are numbered in order and count as the slices of "
        f"{counted(len(stacks), 'stack')} ({named}). {SINGLE}"
    ]
    gaps = [f"{private(stack.name.key)} ({stack.gaps})" for stack in stacks if stack.missing]
    if gaps:
        notes.append(f"Numbers are missing in {name_some(gaps, 3)}; the slices around them count as neighbours.")
    return [Told(note) for note in notes]


def put_together(stack: Stack, case_id: str, pairs: Mapping[Path, FilePair], levels_path: Path | None) -> FilePair:
    """Give a stack as one pair; `pairs` are its slices' own, by their first files, of those that have labels."""
    mine = [(index, pairs[group[0].path]) for index, group in enumerate(stack.slices) if group[0].path in pairs]
    labels = tuple(replace(file, slice_index=index) for index, pair in mine for file in pair.labels)
    rule = " or ".join(dict.fromkeys(pair.rule for _, pair in mine)) + "; slices by their numbers"
    first = mine[0][1]
    return replace(first, case_id=case_id, images=stack.images, labels=labels, rule=rule, levels_path=levels_path)
