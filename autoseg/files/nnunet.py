"""What nnU-Net and the Medical Segmentation Decathlon keep beside their images: `dataset.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.errors import LabelError
from autoseg.files.text_files import read_json
from autoseg.image.structures import Structure, check_structures

FILE_NAME = "dataset.json"


@dataclass(frozen=True)
class DatasetDescription:
    """The structures and the channels that a `dataset.json` names; both empty where it names none that can be."""

    structures: tuple[Structure, ...] = ()
    channels: tuple[str, ...] = ()


def read_dataset_json(folder: Path) -> DatasetDescription:
    """Read the `dataset.json` of a folder, of either version; empty where there is none, or it is another one."""
    try:
        content = read_json(Path(folder) / FILE_NAME)
    except (OSError, ValueError):
        return DatasetDescription()
    if not isinstance(content, Mapping):
        return DatasetDescription()
    return DatasetDescription(
        _structures(content.get("labels")), _channels(content.get("channel_names") or content.get("modality"))
    )


def _structures(labels: Any) -> tuple[Structure, ...]:
    """Give the structures of {"psoas": 1}, of {"1": "psoas"}, or of regions: {"tumour": [1, 2], "core": 2}."""
    if not isinstance(labels, Mapping):
        return ()
    regions: dict[str, frozenset[int]] = {}
    for key, value in labels.items():
        name, values = (value, [key]) if isinstance(value, str) else (key, value)
        numbers = values if isinstance(values, list) else [values]
        if not all(isinstance(number, int) or str(number).isdecimal() for number in numbers):
            return ()
        regions[str(name).strip()] = frozenset(map(int, numbers)) - {0}
    found = []
    for name, values in regions.items():
        # What of a region is in none of the smaller ones within it is its own value; the others lie inside it.
        within = [other for other in regions.values() if other < values]
        own = values - frozenset().union(*within)
        if len(own) == 1:
            found.append((min(own), name, tuple(sorted(values - own))))
    try:
        structures = tuple(Structure(label, name, includes=inside) for label, name, inside in sorted(found))
        check_structures(structures)
    except LabelError:
        return ()
    return structures


def _channels(channels: Any) -> tuple[str, ...]:
    """Give the names of channels 0, 1 and so on, where all are named and no two alike."""
    if not isinstance(channels, Mapping) or {str(key) for key in channels} != set(map(str, range(len(channels)))):
        return ()
    names = [str(channels[key]).strip() for key in sorted(channels, key=lambda key: int(key))]
    return tuple(names) if all(names) and len({name.casefold() for name in names}) == len(names) else ()
