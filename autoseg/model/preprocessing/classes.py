"""Structures as the classes of a network: 0 is the background, k the k-th structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure, side_pairs


def classes_of(label_map: LabelMap) -> np.ndarray:
    """Give the class of every voxel, uint8: 0 background, k the k-th structure.

    A structure that was not drawn belongs to the smallest drawn one that includes it, else it is 0.
    """
    table = np.zeros(256, dtype=np.uint8)
    for structure, drawn in zip(label_map.structures, _drawn_classes(label_map), strict=True):
        table[structure.label] = drawn
    return table[label_map.voxels.astype(np.uint8)]


def shares_of(label_map: LabelMap) -> npt.NDArray[np.float32]:
    """Give the share of every structure, (slices, structures, rows, columns): the raters', or 1 where it was drawn.

    An undrawn structure has 0 everywhere; its share goes where `classes_of` puts it. Shares that add up to more
    than 1 are scaled down to it.
    """
    if label_map.shares is None:
        numbers = np.arange(1, len(label_map.structures) + 1, dtype=np.uint8)
        return (classes_of(label_map)[:, None] == numbers[:, None, None]).astype(np.float32)
    given = np.moveaxis(label_map.shares, 0, 1)
    shares = np.zeros(given.shape, dtype=np.float32)
    for index, drawn in enumerate(_drawn_classes(label_map)):
        if drawn:
            shares[:, drawn - 1] += given[:, index]
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)


def _drawn_classes(label_map: LabelMap) -> list[int]:
    """Give each structure's class, or, where it was not drawn, that of the smallest drawn one around it, or 0."""
    outer = outer_classes(label_map.structures).tolist()
    drawn = {k for k, s in enumerate(label_map.structures, start=1) if label_map.is_annotated(s.label)}
    result = list(range(1, len(outer)))
    for _ in outer:  # as often as structures can lie in each other
        result = [k if k in drawn else outer[k] for k in result]
    return [k if k in drawn else 0 for k in result]


def mirrored_classes(structures: Sequence[Structure]) -> Tensor:
    """Give for each class the class it becomes when left and right are exchanged, shape (classes,).

    Which structures are a pair is told by `structures.side_pairs`.
    """
    place = {structure.label: index for index, structure in enumerate(structures, start=1)}
    result = list(range(len(structures) + 1))
    for left, right in side_pairs(structures):
        result[place[left]], result[place[right]] = place[right], place[left]
    return torch.tensor(result)


def outer_classes(structures: Sequence[Structure]) -> Tensor:
    """Give for each class that of the smallest structure that includes it, 0 where none does, shape (classes,)."""
    result = [0]
    for structure in structures:
        around = [(len(s.includes), k) for k, s in enumerate(structures, start=1) if structure.label in s.includes]
        result.append(min(around)[1] if around else 0)
    return torch.tensor(result)
