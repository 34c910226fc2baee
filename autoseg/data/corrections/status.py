"""Keep several corrections at once, and only where no labels are replaced unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.cases import Reading
from autoseg.data.corrections.keep import cases_of, checked_slices, keep_correction, merged_labels
from autoseg.data.corrections.place import find_place
from autoseg.data.corrections.read import Correction, say_date
from autoseg.errors import AutosegError, DataError
from autoseg.files.tables import KeptCorrection, read_kept_corrections
from autoseg.words import say_slices


@dataclass(frozen=True)
class Standing:
    """Labels that stand already where a correction is to be kept.

    `last` is the last correction that was kept there, None where nobody corrected them yet. `is_same` tells whether
    keeping would change no label, `is_kept` whether the same person has kept the same already.
    """

    case_id: str
    label_path: Path
    last: KeptCorrection | None
    is_same: bool
    is_kept: bool

    @property
    def words(self) -> str:
        """What stands there, in a sentence."""
        last = self.last
        who = "that nobody corrected yet" if last is None else f"corrected by {last.by} ({say_date(last.date)})"
        return f"{self.case_id} has labels already, {who}: {self.label_path}."


def find_standing(
    correction: Correction, folder: Path, *, checked: str = "changed", reading: Reading | None = None
) -> Standing | None:
    """Look which labels `keep_correction` would replace; None if none."""
    folder = Path(folder)
    slices = checked_slices(correction, checked)
    found = cases_of(correction, folder, reading)
    place = find_place(correction, folder, found) if found is not None else None
    if place is None or place.earlier is None:
        return None
    voxels, own = merged_labels(correction, place, slices)
    kept = [row for row in read_kept_corrections(folder) if row.case_id == place.case_id]
    last, is_same = kept[-1] if kept else None, np.array_equal(voxels, place.earlier)
    words = "all" if len(own) == place.shape[0] else say_slices(own)
    is_kept = is_same and last is not None and (last.by, last.checked) == (correction.by, words)
    return Standing(place.case_id, place.label_path, last, is_same, is_kept)


@dataclass(frozen=True)
class Keeping:
    """What became of corrections that were to be kept.

    `kept` are the new rows of `corrections.csv`, `standing` the labels that would have been replaced and were not
    (nothing was kept then), `already` those that held the same before, `error` what stopped the rest.
    """

    kept: tuple[KeptCorrection, ...] = ()
    standing: tuple[Standing, ...] = ()
    already: tuple[Standing, ...] = ()
    error: AutosegError | None = None


def keep_corrections(
    corrections: Sequence[Correction], folder: Path, *, checked: str = "changed", replace: bool = False
) -> Keeping:
    """Keep corrections as labels to learn from; labels that are there are replaced only if that is wished for.

    Parameters
    ----------
    corrections : sequence of Correction
    folder, checked
        As of `keep_correction`; slices by their numbers are of a single image.
    replace : bool
        True to replace labels that differ; they stay in `earlier_labels`.

    Returns
    -------
    Keeping

    Raises
    ------
    DataError
        If slices are given by their numbers for several images.
    AutosegError
        Of the kinds that `keep_correction` raises, before anything was kept.
    """
    if len(corrections) > 1 and checked not in ("changed", "all"):
        names = ", ".join(one.case.case_id for one in corrections)
        raise DataError(
            f"Slices {checked} are of one image, and {len(corrections)} were read: {names}. Choose one."
        )
    found = [find_standing(one, folder, checked=checked) for one in corrections]
    differing = tuple(one for one in found if one is not None and not one.is_same)
    if differing and not replace:
        return Keeping(standing=differing)
    kept: list[KeptCorrection] = []
    already = tuple(one for one in found if one is not None and one.is_kept)
    for correction, there in zip(corrections, found, strict=True):
        if there is not None and there.is_kept:
            continue
        try:
            kept.append(keep_correction(correction, folder, checked=checked))
        except AutosegError as error:
            if not kept:
                raise
            return Keeping(tuple(kept), (), already, error)
    return Keeping(tuple(kept), (), already)
