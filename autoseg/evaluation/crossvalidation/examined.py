"""What the models of folds make of their test cases, kept in the folds: from it a model learns its own limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case
from autoseg.evaluation.crossvalidation.fold import FoldResult, digest_of, read_model
from autoseg.files.atomic import one_step, settle, whole_file
from autoseg.files.records import write_record
from autoseg.image.structures import Structure
from autoseg.model.model import autoseg_version
from autoseg.model.stored.values import is_of_kind
from autoseg.model.trust.quality import SIGNALS
from autoseg.training.trust import Examined, examine_cases

FACTS, COUNTS = "examined.json", "examined.npz"


def examine_fold(
    fold: FoldResult, cases: Sequence[Case], structures: Sequence[Structure]
) -> tuple[tuple[Examined, ...], bool]:
    """Give what a fold's model makes of the fold's test cases, and whether that was kept there before.

    What was not kept, is damaged, or was made by another version or from another fold, is made and kept now.
    """
    settle(fold.folder)
    kept = read_examined(fold, cases, len(structures))
    if kept is not None:
        return kept, True
    found = tuple(examine_cases(read_model(fold), cases))
    write_examined(fold, found)
    return found, False


def write_examined(fold: FoldResult, examined: Sequence[Examined]) -> None:
    """Keep it in the fold's folder: arrays of plain numbers, and the rest as JSON."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    rows: list[dict[str, Any]] = []
    for place, one in enumerate(examined):
        values = {item.name: getattr(one, item.name) for item in fields(one)}
        arrays |= {f"{name}_{place}": value for name, value in values.items() if isinstance(value, np.ndarray)}
        rows.append({name: value for name, value in values.items() if not isinstance(value, np.ndarray)})
    with one_step(fold.folder):
        write_record(fold.folder / FACTS, {**_made_from(fold), "cases": rows}, indent=None)
        with whole_file(fold.folder / COUNTS) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


def read_examined(fold: FoldResult, cases: Sequence[Case], structures: int) -> tuple[Examined, ...] | None:
    """Read what is kept of these test cases; None where it is not, or is not what autoseg writes there now."""
    try:
        facts = json.loads((fold.folder / FACTS).read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or {**facts, "cases": None} != {**_made_from(fold), "cases": None}:
            return None
        rows = facts["cases"]
        with np.load(fold.folder / COUNTS, allow_pickle=False) as kept:
            found = tuple(_read_one(row, kept, place, structures) for place, row in enumerate(rows))
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        return None
    of = [(one.case_id, one.subject_id) for one in found]
    return found if of == [(case.case_id, case.subject_id) for case in cases] else None


def _made_from(fold: FoldResult) -> dict[str, Any]:
    # What is looked at may be more in another version.
    return {"autoseg": autoseg_version(), "fold": digest_of(fold), "signals": list(SIGNALS)}


def _read_one(row: dict[str, Any], kept: Any, place: int, structures: int) -> Examined:
    """Build one from its row and its arrays; ValueError, KeyError or TypeError where they are not those of one."""
    hints, values = get_type_hints(Examined), dict[str, Any]()
    if not set(row) <= set(hints):
        raise ValueError("it is described otherwise")
    for name, hint in hints.items():
        if name not in row:
            values[name] = kept[f"{name}_{place}"]
            if values[name].dtype != _kind_of(hint):
                raise ValueError(f"its {name} are of another kind")
        elif _kind_of(hint) is None and not is_of_kind(row[name], hint):
            raise ValueError(f"its {name} is of another kind")
        else:
            values[name] = tuple(row[name]) if isinstance(row[name], list) else row[name]
    one = Examined(**values)
    counts = (one.reference, one.predicted, one.both)
    if any(of.shape != (len(one.reference), structures) or (of < 0).any() for of in counts):
        raise ValueError("its counts are none")
    if one.drawn.shape != (structures,) or (one.both > np.minimum(one.reference, one.predicted)).any():
        raise ValueError("its counts do not belong together")
    return one


def _kind_of(hint: Any) -> np.dtype[Any] | None:
    """Give the kind of the numbers of an array, by the annotation of a field; None where it holds none."""
    for one in get_args(hint) if get_origin(hint) is UnionType else (hint,):
        if get_origin(one) is np.ndarray:
            return np.dtype(get_args(get_args(one)[1])[0])
    return None
