"""Draw in the labels of a folder to correct in: strokes that can be undone without end, saved after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.data.corrections.kit import AS_WRITTEN, Kit, KitCase, pictures_apart
from autoseg.data.corrections.read import read_kit_labels
from autoseg.data.corrections.strokes import (
    Mask,
    Points,
    between,
    brushed,
    holes_filled,
    inside,
    largest_piece,
    smoothed,
)
from autoseg.errors import DataError, OutputError, ReadError
from autoseg.files.atomic import one_step, settle
from autoseg.files.nifti.volumes import PackedLabels
from autoseg.files.records import write_record
from autoseg.files.text_files import read_json
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import pixel_aspect
from autoseg.image.structures import Structure, voxels_of

RECORD = "drawing.json"
# Who looks longer at a slice without drawing was away.
LONGEST_LOOK_S = 60.0

Place = tuple[int, int]
"""An image and a slice of it, both from 0."""
Range = tuple[float, float] | None
"""The lowest and the highest intensity of pixels that may change; None changes any."""
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Session:
    """Who drew, when it began and was saved last, how many strokes, and how many minutes were spent on them.

    Of a pause between two strokes one minute counts at most.
    """

    by: str
    begun: str
    saved: str = ""
    strokes: int = 0
    minutes: float = 0.0


@dataclass(frozen=True, eq=False)
class _Change:
    """What became of one slice: the places that have another label, and their labels before and after."""

    place: Place
    at: npt.NDArray[np.int64]
    before: Labels
    after: Labels


@dataclass(frozen=True)
class _Said:
    """What is known of some slices beside their labels: filled between others, and called right by a person."""

    filled: frozenset[Place]
    right: frozenset[Place]


@dataclass(frozen=True, eq=False)
class _Edit:
    """A stroke: what became of slices, and what was known of them before and behind it."""

    changes: tuple[_Change, ...]
    before: _Said
    after: _Said


class Drawing:
    """The labels of a folder to correct in, to draw in.

    Voxels are those of the images' own grids, and labels are written where other programs save them
    (`autoseg.data.corrections.read` reads them back); what the model drew stays in `as_written`. A structure is
    drawn with what it includes: painting it leaves inner structures as they are, and what is taken away from an
    inner one belongs to the outer one again. `save` follows each stroke.

    Parameters
    ----------
    kit : Kit
        On the images' own grids (factor 1). What was drawn in it before is gone on with.
    results : sequence of (Image, LabelMap)
        Those that the folder was written from.
    by : str
        Who draws: initials are enough.
    before : collection of Place, optional
        Slices whose outlines a person drew before the folder was written: they count as corrected where slices
        between two are filled.

    Raises
    ------
    ReadError
        If nobody is named, or files of the folder cannot be read.
    DataError
        If the folder is finer than the images, or was written from others.
    """

    def __init__(
        self,
        kit: Kit,
        results: Sequence[tuple[Image, LabelMap]],
        *,
        by: str,
        before: Collection[Place] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not by.strip():
            raise ReadError("Say who corrects the outlines: initials are enough.")
        settle(kit.folder)  # labels and what is said of them belong together
        self.kit, self.images = kit, tuple(image for image, _ in results)
        self._cases = _cases_of(kit, results)
        # Built once, for to check all labels takes longer than a stroke; the voxels of `_now` change.
        self._now, self._first = (
            [self._read(number, folder) for number in range(len(self._cases))]
            for folder in (kit.folder, kit.folder / AS_WRITTEN)
        )
        self._packed = {case.name: PackedLabels(one) for case, one in self._files()}
        self._before = frozenset(before)
        self._record_stamp = _stamp_of_record(kit.folder)
        self._sessions = read_sessions(kit.folder)
        self._changed = {place for place in self._places() if self.is_changed(place)}
        self._filled = self._read_places("filled")
        self._right = self._read_places("right")
        self._kept = self._read_places("kept")
        self._is_told = False  # something was said of slices that is not on the disk yet
        self._session = Session(by.strip(), _now())
        self._clock, self._last = clock, clock()
        self._done: list[_Edit] = []
        self._undone: list[_Edit] = []
        self._unsaved: set[Place] = set()
        self._stamps = {case.name: _stamp(self._path(case)) for cases in self._cases for case in cases}

    # --- what is drawn

    def label_map(self, image: int) -> LabelMap:
        """Give an image's labels; they follow what is drawn."""
        return self._now[image]

    def original(self, image: int) -> LabelMap:
        """Give an image's labels as they were when the folder was written."""
        return self._first[image]

    def is_changed(self, place: Place) -> bool:
        """Tell whether any pixel of a slice has another label than when the folder was written."""
        image, index = place
        return not np.array_equal(*(one[image].voxels[index] for one in (self._now, self._first)))

    @property
    def changed(self) -> frozenset[Place]:
        """The slices of which `is_changed` is true."""
        return frozenset(self._changed)

    @property
    def looked_at(self) -> frozenset[Place]:
        """The slices that somebody looked at: drawn on and other than when the folder was written, or called right.

        That a slice was shown tells nothing, and what was filled between two others is a proposal until somebody
        draws on it or calls it right. So a slice without an outline on which there is nothing is told from one that
        nobody looked at by a person's word alone.
        """
        return frozenset((self._changed - self._filled) | self._right)

    def call_right(self, place: Place, *, is_right: bool = True) -> None:
        """Say of a slice that somebody looked at it and all outlines are right, or that nothing is on it."""
        self._shape(place)
        if (place in self._right) != is_right:
            (self._right.add if is_right else self._right.discard)(place)
            self._is_told = True

    def keep_looked_at(self) -> None:
        """Remember that the slices that somebody looked at are about to be kept as labels.

        Raises
        ------
        DataError
            If one that was kept before is as it was when the folder was written, and nobody called it right.
        """
        lost = sorted(self._kept - self.looked_at)
        if lost:
            image, index = lost[0]
            raise DataError(
                f"Slice {index + 1} of image {image + 1} was learnt from and has no outline of yours any more. If "
                "nothing is to be drawn there, call it right as it is; else draw it again."
            )
        self._kept.update(self.looked_at)
        self._is_told = True
        self.save()

    def is_called_right(self, place: Place) -> bool:
        """Tell whether a person said that a slice is right as it is."""
        return place in self._right

    @property
    def can_undo(self) -> bool:
        """Whether there is a stroke to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether a stroke was taken back that can be drawn again."""
        return bool(self._undone)

    @property
    def by(self) -> str:
        """Who draws."""
        return self._session.by

    # --- strokes; each gives the slices that were changed

    def brush(
        self,
        place: Place,
        label: int,
        points: Points,
        *,
        size: float,
        erase: bool = False,
        within: Range = None,
    ) -> list[Place]:
        """Paint a structure along points (row, column) with a round brush, or take it away there.

        `size` is the brush's diameter in widths of a pixel (`strokes.brushed`). What belonged to other structures
        belongs to this one where it was painted; an eraser takes away this structure alone. Pixels whose
        intensity (of the first channel) is not `within` a range stay as they are.
        """
        mask = brushed(self._shape(place), points, size=size, aspect=self._aspect(place[0]))
        return self._paint(place, label, mask & self._within(place, within), erase=erase)

    def polygon(
        self, place: Place, label: int, points: Points, *, erase: bool = False, within: Range = None
    ) -> list[Place]:
        """Paint a structure within a polygon of (row, column), or take it away there; a range as for the brush."""
        mask = inside(self._shape(place), points)
        return self._paint(place, label, mask & self._within(place, within), erase=erase)

    def copy(self, place: Place, label: int, step: int) -> list[Place]:
        """Draw a structure as it is on the slice before (`step` -1) or behind (1); others keep their pixels."""
        image, index = place
        if not 0 <= index + step < self._now[image].shape[0]:
            raise DataError("There is no slice on that side.")
        return self._edit([(place, self._shaped(place, label, self._mask((image, index + step), label)))])

    def fill_between(self, place: Place, label: int) -> list[Place]:
        """Draw a structure on the slices between two on which it was corrected; others keep their pixels.

        Those are the nearest on either side; if this slice is one, then from the one before it, or else the next.
        """
        image, index = place
        structure = self._structure(label)
        corrected = [
            at
            for at, (now, first) in enumerate(zip(self._now[image].voxels, self._first[image].voxels, strict=True))
            if not np.array_equal(mask := voxels_of(structure, now), voxels_of(structure, first))
            or ((image, at) in self._before and mask.any())
        ]
        before, behind = [at for at in corrected if at < index], [at for at in corrected if at > index]
        here = [index] if index in corrected else []
        first, last = (before[-1:], here or behind[:1]) if before else (here, behind[:1])
        if not first or not last or last[0] - first[0] < 2:
            raise DataError(
                f"First correct {structure.name} on two slices with others between them, then fill those between."
            )
        (start,), (end,) = first, last
        one, other = self._mask((image, start), label), self._mask((image, end), label)
        filled = []
        for at in range(start + 1, end):
            mask = between(one, other, (at - start) / (end - start), spacing=(self._aspect(image), 1.0))
            filled.append(((image, at), self._shaped((image, at), label, mask)))
        return self._edit(filled, fills=True)

    def keep_largest(self, place: Place, label: int) -> list[Place]:
        """Take away all but the largest piece of a structure on a slice."""
        return self._edit([(place, self._shaped(place, label, largest_piece(self._mask(place, label))))])

    def fill_holes(self, place: Place, label: int) -> list[Place]:
        """Draw a structure where it encloses what belongs to nothing; others in there keep their pixels."""
        return self._edit([(place, self._shaped(place, label, holes_filled(self._mask(place, label))))])

    def smooth(self, place: Place, label: int) -> list[Place]:
        """Round a structure's outline on a slice, which keeps its area (`strokes.smoothed`).

        Other structures, those inside it too, keep their pixels.
        """
        labels = self._labels(place)
        free = (labels == label) | (labels == self._around(label))
        mask = smoothed(self._mask(place, label), free, aspect=self._aspect(place[0]))
        return self._edit([(place, self._shaped(place, label, mask))])

    def restore(self, place: Place) -> list[Place]:
        """Draw a slice as it was when the folder was written, with all its structures."""
        image, index = place
        return self._edit([(place, self._first[image].voxels[index])])

    def undo(self) -> list[Place]:
        """Take back the last stroke, whichever slice it was on; nothing where there is none."""
        return self._turn(self._done, self._undone, back=True)

    def redo(self) -> list[Place]:
        """Draw again what was taken back last; nothing where there is none."""
        return self._turn(self._undone, self._done, back=False)

    # --- on the disk

    def save(self) -> None:
        """Write what was drawn since the last time, with who, when and minutes: all of it, or nothing.

        Raises
        ------
        OutputError
            If it cannot be written, or another program has saved the same labels meanwhile. What was drawn is kept
            and written the next time.
        """
        if not self._unsaved and not self._is_told:
            return
        changed: dict[str, KitCase] = {}
        for place in self._unsaved:
            case, at = self._file_of(place)
            changed[case.name] = case
            self._packed[case.name].update(at, self._labels(place))
        session = replace(self._session, saved=_now())
        with one_step(self.kit.folder):
            self._check_nobody_else_saved(changed.values())
            for case in changed.values():
                self._packed[case.name].write(self._path(case))
            record = {
                "kind": RECORD,
                "sessions": [asdict(one) for one in (*self._sessions, session)],
                "looked_at": self._by_file(self.looked_at),
                "filled": self._by_file(self._filled),
                "right": self._by_file(self._right),
                "kept": self._by_file(self._kept),
            }
            write_record(self.kit.folder / RECORD, record, indent=2)
        self._stamps |= {case.name: _stamp(self._path(case)) for case in changed.values()}
        self._record_stamp = _stamp_of_record(self.kit.folder)
        self._session, self._is_told = session, False
        self._unsaved.clear()

    def _check_nobody_else_saved(self, cases: Iterable[KitCase]) -> None:
        paths = [path for case in cases if _stamp(path := self._path(case)) != self._stamps[case.name]]
        if _stamp_of_record(self.kit.folder) != self._record_stamp:
            paths.append(self.kit.folder / RECORD)
        if paths:
            raise OutputError(
                f"{paths[0].name} was saved by another program, or another page, since the drawing began. Finish "
                "there first: stop drawing here and begin again, which goes on from what lies there."
            )

    def _read(self, image: int, folder: Path) -> LabelMap:
        cases, one = self._cases[image], self.images[image]
        voxels = [read_kit_labels(self.kit, case, folder / case.labels_name).voxels for case in cases]
        annotated = frozenset.union(*(case.annotated for case in cases))
        return LabelMap(
            np.concatenate(voxels).astype(np.uint8), one.affine, self.kit.structures, annotated, one.source
        )

    def _files(self) -> Iterator[tuple[KitCase, LabelMap]]:
        """Give each file that labels are saved in, with those that it holds, where they lie in the file."""
        for image, cases in enumerate(self._cases):
            for at, case in enumerate(cases):
                voxels = self._now[image].voxels
                own = voxels if len(cases) == 1 else voxels[at : at + 1]
                yield case, LabelMap(own, case.file_affine, self.kit.structures, case.annotated)

    def _file_of(self, place: Place) -> tuple[KitCase, int]:
        """Give the file that a slice is saved in, and which slice of the file it is."""
        image, index = place
        cases = self._cases[image]
        return (cases[0], index) if len(cases) == 1 else (cases[index], 0)

    def _path(self, case: KitCase) -> Path:
        return self.kit.folder / case.labels_name

    def _places(self) -> list[Place]:
        return [(image, index) for image, labels in enumerate(self._now) for index in range(labels.shape[0])]

    def _by_file(self, places: Collection[Place]) -> dict[str, list[int]]:
        """Give the slices of each file that are among these, from 1, by the name of its case."""
        found: dict[str, list[int]] = {}
        for place in sorted(places):
            case, at = self._file_of(place)
            found.setdefault(case.name, []).append(at + 1)
        return found

    def _read_places(self, key: str) -> set[Place]:
        names = _read_slices(self.kit.folder, key)
        return {
            place
            for place in self._places()
            for name, numbers in self._by_file([place]).items()
            if numbers[0] in names.get(name, ())
        }

    # --- how labels change

    def _paint(self, place: Place, label: int, mask: Mask, *, erase: bool) -> list[Place]:
        labels, own = self._labels(place), self._mask(place, label)
        if erase:
            return self._edit([(place, np.where(mask & own, self._around(label), labels))])
        return self._edit([(place, np.where(mask & ~own, label, labels))])

    def _within(self, place: Place, range_: Range) -> Mask:
        image, index = place
        values = self.images[image].channel_voxels[0, index]
        if range_ is None:
            return np.ones(values.shape, np.bool_)
        return (values >= range_[0]) & (values <= range_[1])

    def _shaped(self, place: Place, label: int, mask: Mask) -> npt.NDArray[np.integer]:
        """Give a slice with a structure as the mask says, but for what belongs to others."""
        labels, own, around = self._labels(place), self._mask(place, label), self._around(label)
        kept = np.where(own & ~mask, around, labels)
        return np.where(mask & ~own & (labels == around), label, kept)

    def _edit(self, slices: Sequence[tuple[Place, npt.NDArray[np.integer]]], *, fills: bool = False) -> list[Place]:
        changes = []
        for (image, index), labels in slices:
            now = self._labels((image, index)).ravel()
            after = labels.astype(np.uint8).ravel()
            at = np.flatnonzero(now != after)
            if len(at):
                changes.append(_Change((image, index), at, now[at], after[at]))
        if not changes:
            return []
        places = frozenset(change.place for change in changes)
        before = _Said(places & self._filled, places & self._right)
        # What is filled waits for a look; what is drawn on was looked at.
        then = _Said(places, frozenset()) if fills else _Said(frozenset(), before.right)
        self._undone[:] = [_Edit(tuple(changes), before, then)]
        return self.redo()

    def _turn(self, taken: list[_Edit], given: list[_Edit], *, back: bool) -> list[Place]:
        if not taken:
            return []
        edit = taken.pop()
        for change in edit.changes:
            self._labels(change.place).ravel()[change.at] = change.before if back else change.after
            self._unsaved.add(change.place)
            (self._changed.add if self.is_changed(change.place) else self._changed.discard)(change.place)
        said, places = edit.before if back else edit.after, {change.place for change in edit.changes}
        self._filled = (self._filled - places) | said.filled
        self._right = (self._right - places) | said.right
        given.append(edit)
        now = self._clock()
        minutes = self._session.minutes + min(now - self._last, LONGEST_LOOK_S) / 60
        self._last = now
        self._session = replace(self._session, strokes=self._session.strokes + 1, minutes=round(minutes, 3))
        return [change.place for change in edit.changes]

    def _labels(self, place: Place) -> Labels:
        image, index = place
        labels: Labels = self._now[image].voxels[index]  # in memory once, so to write into it is to draw
        return labels

    def _mask(self, place: Place, label: int) -> Mask:
        return voxels_of(self._structure(label), self._labels(place))

    def _structure(self, label: int) -> Structure:
        for structure in self.kit.structures:
            if structure.label == label:
                return structure
        raise DataError(f"There is no structure with the label {label}.")

    def _around(self, label: int) -> int:
        """Give the label of the nearest structure that includes this one, or 0."""
        outer = [one for one in self.kit.structures if label in one.includes and one.label != label]
        return min(outer, key=lambda one: len(one.includes)).label if outer else 0

    def _shape(self, place: Place) -> tuple[int, int]:
        image, index = place
        if not (0 <= image < len(self._now) and 0 <= index < self._now[image].shape[0]):
            raise DataError(f"There is no slice {index + 1} of image {image + 1}.")
        _, rows, columns = self._now[image].shape
        return rows, columns

    def _aspect(self, image: int) -> float:
        return pixel_aspect(self.images[image])


def read_looked_at(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read which slices (from 0) of each case somebody looked at in a folder to correct in, by the case's name."""
    return {name: tuple(n - 1 for n in numbers) for name, numbers in _read_slices(folder, "looked_at").items()}


def read_filled(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read which slices (from 0) of each case were filled between two others, with nobody's look since."""
    return {name: tuple(n - 1 for n in numbers) for name, numbers in _read_slices(folder, "filled").items()}


def _read_slices(folder: Path, key: str) -> dict[str, list[int]]:
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        return {str(name): [int(n) for n in numbers] for name, numbers in read_json(path).get(key, {}).items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ReadError:
    return ReadError(
        f"{path} cannot be read ({error}). Take it from a copy of the folder, or delete it: it tells who drew and "
        "looked at what, and no outline."
    )


def read_sessions(folder: Path) -> tuple[Session, ...]:
    """Read who drew in a folder to correct in, when and for how long; nothing where nobody did in the page."""
    path = folder / RECORD
    if not path.exists():
        return ()
    try:
        found = tuple(Session(**_plain(one)) for one in read_json(path)["sessions"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _damaged(path, error) from error
    return found


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """Give what a session is built from, as the record holds it."""
    minutes = float(one["minutes"])
    if not math.isfinite(minutes) or minutes < 0:
        raise ValueError(f"minutes {minutes}")
    words = {name: str(one[name]) for name in ("by", "begun", "saved")}
    return {**words, "strokes": int(one["strokes"]), "minutes": minutes}


def _cases_of(kit: Kit, results: Sequence[tuple[Image, LabelMap]]) -> list[list[KitCase]]:
    """Give the files of each image: one, or of a stack of pictures one a slice."""
    found, rest = [], list(kit.cases)
    for image, label_map in results:
        count = len(pictures_apart(image, label_map))
        found.append(rest[:count])
        rest = rest[count:]
        if sum(case.shape[0] for case in found[-1]) != image.shape[0] or any(
            case.shape[1:] != image.shape[1:] for case in found[-1]
        ):
            raise DataError(f"{kit.folder} was not written from {image.source.case_id}. Write it anew.")
    if rest or any(case.factor > 1 for case in kit.cases):
        raise DataError(f"{kit.folder} is finer than the images, or holds others, and cannot be drawn in here.")
    return found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        told = path.stat()
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror or error}). Take it from a copy.") from error
    return told.st_mtime_ns, told.st_size


def _stamp_of_record(folder: Path) -> tuple[int, int] | None:
    path = folder / RECORD
    return _stamp(path) if path.exists() else None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
