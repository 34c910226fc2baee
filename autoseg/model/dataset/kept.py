"""Cases that are too many for the memory: their pixels lie in the cache, and are read as they are asked for.

What is made of a case and how it is read back is told beside the same work in memory (`slices`, `volumes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoseg.files.cache import DamagedError, Entry
from autoseg.image.image import Image
from autoseg.image.structures import Structure
from autoseg.model.preprocessing.preprocess import pad_to_size


@dataclass(eq=False)
class KeptPixels:
    """The pixels of a case in the cache; what is damaged there, or gone, is made again from the case's files."""

    entry: Entry
    make: Callable[[], Entry]

    @property
    def about(self) -> Mapping[str, Any]:
        """What was noted when they were stored."""
        return self.entry.about

    def shape(self, name: str) -> tuple[int, ...]:
        """Give the shape of an array."""
        return self.entry.shape(name)

    def row(self, name: str, index: int) -> Tensor:
        """Read one row of an array."""
        try:
            return torch.from_numpy(self.entry.row(name, index))
        except DamagedError:
            self.entry = self.make()
            return torch.from_numpy(self.entry.row(name, index))


@dataclass(frozen=True, eq=False)
class KeptCase:
    """A case whose pixels lie in the cache, and all else that is asked of it.

    The `outline` is its image with NaN for voxels, which take no memory: grid, channels and source are its own.
    `drawn` tells for each of the `structures` whether it was, `is_soft` whether raters drew shares.
    """

    outline: Image
    structures: tuple[Structure, ...]
    drawn: tuple[bool, ...]
    is_soft: bool
    pixels: KeptPixels


class KeptRows:
    """What a tensor of all slices of some cases would be (n, …, rows, columns); only what is asked for is read.

    As there the slices are padded together: intensities by their edges, else by 0. With `as_classes` they are given
    as classes are sampled, (n, 1, rows, columns) float32.
    """

    def __init__(self, cases: Sequence[KeptPixels], name: str, *, as_classes: bool = False) -> None:
        self.cases, self.name, self.as_classes = tuple(cases), name, as_classes
        shapes = [one.shape(name) for one in self.cases]
        self.ends = np.array(list(accumulate(shape[0] for shape in shapes)))
        self.size = max(shape[-2] for shape in shapes), max(shape[-1] for shape in shapes)
        self.within = (1,) if as_classes else shapes[0][1:-2]
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return (len(self), *self.within, *self.size)

    @property
    def holds(self) -> Tensor:
        """Which of the rows have a structure, as was noted when they were stored, (n,) bool."""
        return torch.tensor([holds for one in self.cases for holds in one.about["holds"]])

    def to(self, device: torch.device) -> KeptRows:
        """Give the same, of which what is read goes to a device."""
        moved = KeptRows(self.cases, self.name, as_classes=self.as_classes)
        moved.device = device
        return moved

    def __getitem__(self, chosen: Tensor | slice) -> Tensor:
        """Read the rows with these indices."""
        if isinstance(chosen, slice):
            chosen = torch.arange(len(self))[chosen]
        numbers = chosen.flatten().tolist()
        found = {number: self._read(number) for number in set(numbers)}
        rows = torch.stack([found[number] for number in numbers])
        return rows.view(*chosen.shape, *rows.shape[1:]).to(self.device)

    def _read(self, number: int) -> Tensor:
        case = int(np.searchsorted(self.ends, number, side="right"))
        start = int(self.ends[case - 1]) if case else 0
        row = pad_to_size(self.cases[case].row(self.name, number - start), *self.size)
        return row[None].float() if self.as_classes else row
