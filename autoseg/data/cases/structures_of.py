"""Which structures a folder's label files hold, where nobody has named them yet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.data.cases.case import Case
from autoseg.data.cases.read import read_label_masks, read_label_values
from autoseg.errors import LabelError
from autoseg.image.structures import Structure
from autoseg.words import in_words

# More distinct values than this are hardly structures that someone drew one by one.
MOST_UNNAMED_VALUES = 32
# Share of a structure's voxels that lie inside another, from which it counts as a part of that one.
INSIDE = 0.95

Found = tuple[tuple[Structure, ...], tuple[tuple[int | str, int], ...], tuple[str, ...]]


def find_structures(folder: Path, cases: Sequence[Case]) -> Found:
    """Give structures, what stands for them in the files, and notes, from the label files themselves."""
    if any(file.binary for case in cases for file in case.labels):
        return _from_masks(cases)
    return _from_values(folder, cases), (), ()


def _from_values(folder: Path, cases: Sequence[Case]) -> tuple[Structure, ...]:
    files = {file.path: case for case in cases for file in case.labels}
    found = {value for path, case in files.items() for value in np.unique(read_label_values(case, path)).tolist()}
    values = sorted(found - {0})
    places = folder / "labels" if (folder / "labels").is_dir() else folder
    if len(values) > MOST_UNNAMED_VALUES or not all(0 < value < 256 for value in values):
        raise LabelError(
            f"The label files in {places} hold {len(values)} different values "
            f"({', '.join(map(str, values[:8]))} …), which are hardly all structures. If edges were "
            f"smoothed, save the labels again without that; else name the values from 1 to 255 in "
            f"{folder / 'structures.csv'}."
        )
    if not values:
        raise LabelError(f"The label files in {places} are empty: every pixel is 0. Save the drawn labels.")
    return tuple(Structure(value, f"label {value}") for value in values)


def _from_masks(cases: Sequence[Case]) -> Found:
    """Name structures by the files' tokens, the largest first, and find those that lie inside others."""
    sizes: dict[str, list[int]] = defaultdict(list)
    shared: Counter[tuple[str, str]] = Counter()
    shares: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(
        list
    )  # of the first, where both were drawn
    for case in cases:
        masks: dict[str, npt.NDArray[np.bool_]] = {}
        for name, mask in (pair for file in case.labels for pair in read_label_masks(case, file)):
            masks[name] = masks[name] | mask if name in masks else mask  # of all raters together
        for name, mask in masks.items():
            sizes[name].append(int(np.count_nonzero(mask)))
            for other, other_mask in masks.items():
                if other != name:
                    both = int(np.count_nonzero(mask & other_mask))
                    shared[name, other] += both
                    if sizes[name][-1]:
                        shares[name, other].append((both / sizes[name][-1], case.case_id))
    if not any(map(sum, sizes.values())):
        raise LabelError("The label files are empty: every pixel is 0. Save the drawn labels.")
    names = sorted(sizes, key=lambda name: (-float(np.mean(sizes[name])), name))
    label_of = {name: label for label, name in enumerate(names, start=1)}
    structures, notes = [], []
    typical = {pair: float(np.median([share for share, _ in found])) for pair, found in shares.items()}
    for place, name in enumerate(names):
        smaller = [n for n in names[place + 1 :] if shared[n, name]]
        inner = [n for n in smaller if typical[n, name] >= INSIDE]
        inner += [
            n for n in names[place + 1 :] if n not in inner and any(typical.get((n, i), 0) >= INSIDE for i in inner)
        ]
        structures.append(Structure(label_of[name], name, includes=tuple(label_of[n] for n in inner)))
        for n in smaller:
            odd = [case_id for share, case_id in shares[n, name] if share < INSIDE] if n in inner else []
            apart = f" Not so on {in_words(odd, 'case').partition('(')[2].rstrip(')')}: look at it." if odd else ""
            notes.append(
                f"{typical[n, name]:.1%} of {n} lies inside {name} on a typical case, so {name} is measured and "
                f"scored with it.{apart}"
                if n in inner
                else f"{name} and {n} share {shared[n, name]} voxels, which count as {n}, so the area of {name} is "
                "without them. Another order of the rows in structures.csv, or includes, changes that."
            )
    return tuple(structures), tuple(label_of.items()), tuple(notes)
