"""Centrelines of all cases of a training: from their labels, or found by networks that never saw the subject."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autoseg.data.cases import Case
from autoseg.data.digests import Seal, voxels_digest
from autoseg.data.label_counts import count_labels
from autoseg.data.split import Split, k_folds, subjects_of
from autoseg.errors import ReadError
from autoseg.files.atomic import check_writable, one_step, remove_folder, settle, whole_folder
from autoseg.files.records import write_record
from autoseg.image.structures import Structure
from autoseg.model.centreline import Centreline, from_labels, read_centreline, write_centreline
from autoseg.model.dataset import read_cases
from autoseg.model.ended import Ended
from autoseg.model.model import TrainedModel, load_model, model_files, save_model
from autoseg.model.settings.settings import Settings, settings_to_dict
from autoseg.prediction import find_centreline
from autoseg.training.events import Finder, Note, OnEvent, listener
from autoseg.training.finder.learning import finder_settings, train_finder
from autoseg.training.inputs import Inputs
from autoseg.training.keeping.alone import folds_alone

FINDER, MADE_FROM = "finder", "made_from.json"


def exact_centrelines(
    cases: Sequence[Case], structures: Sequence[Structure], *, labels: Collection[int] | None = None
) -> dict[str, Centreline]:
    """Give the centreline of every case from its labels, by case_id."""
    return {case.case_id: from_labels(read_cases([case], structures)[0][1], labels) for case in cases}


def automatic_centrelines(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    settings: Settings | None = None,
    *,
    folder: Path | str | None = None,
    folds: int = 5,
    labels: Collection[int] | None = None,
    tell: Callable[[str], object] | None = None,
    on_event: OnEvent | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Centreline]:
    """Find the centreline of every case by a network that never saw its subject.

    A model that is trained around such centrelines meets the errors that it will meet on a new patient.

    Parameters
    ----------
    cases : sequence of Case
        Of two subjects or more.
    structures : sequence of Structure
    settings : Settings, optional
        Of each fold's finder, from `finder_settings`; `seed` also draws the folds.
    folder : Path, optional
        Each finished fold is kept there in `fold_<k>` (the finder, and a table for each centreline). Called again
        with the same cases and settings, finished folds are read, so that what was stopped goes on where it was;
        those of other cases or settings are made anew.
    folds : int
        With fewer subjects, each is left out once.
    labels : collection of int, optional
        Structures whose middle is looked for, taken together; by default all.
    tell : callable, optional
        Gets lines of text; `print`, for instance.
    on_event : callable, optional
        Gets the same as an `autoseg.training.events.Event`, for programs.
    should_stop : callable, optional
        Asked after every step of learning.

    Returns
    -------
    dict of Centreline by case_id

    Raises
    ------
    DataError
        If there are not two subjects.
    OutputError
        If the folder cannot be written, or another program works in it.
    KeyboardInterrupt
        If it was stopped; the unfinished fold is not kept.
    """
    search = _Search(structures, settings or finder_settings(), labels, listener(tell, on_event), should_stop)
    with nullcontext() if folder is None else folds_alone(Path(folder)):
        splits = k_folds(cases, folds=folds, seed=search.settings.seed, facts=count_labels(cases, structures))
        found = {case_id: line for _, lines in search.in_folds(splits, folder) for case_id, line in lines.items()}
    return {case.case_id: found[case.case_id] for case in cases}


def inputs_of_folds(
    splits: Sequence[Split],
    structures: Sequence[Structure],
    settings: Settings | None = None,
    *,
    folder: Path | str,
    labels: Collection[int] | None = None,
    on_event: OnEvent = listener(None),  # noqa: B008  # it never changes
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Inputs, ...]:
    """Give the training of each fold of a cross-validation all that it takes to live with automatic centrelines.

    One finder a fold, as many as there are folds: it learns on the fold's training cases, finds the centrelines of
    the fold's test cases, and goes into the fold's model. So every centreline is from a network that never saw its
    subject; a fold's training cases have those of the other folds, whose finders may have learnt from labels of the
    fold's test subjects: as in any stacking, where a training image is cropped depends a little on them.
    """
    search = _Search(structures, settings or finder_settings(), labels, on_event, should_stop)
    found = list(search.in_folds(splits, folder))
    lines = {case_id: line for _, own in found for case_id, line in own.items()}
    return tuple(Inputs(lines, finder) for finder, _ in found)


def automatic_inputs(
    split: Split,
    structures: Sequence[Structure],
    settings: Settings | None = None,
    *,
    folder: Path | str,
    folds: int = 5,
    labels: Collection[int] | None = None,
    on_event: OnEvent = listener(None),  # noqa: B008  # it never changes
    should_stop: Callable[[], bool] | None = None,
) -> Inputs:
    """Give a training all that it takes to live with automatic centrelines; the split's test cases are not touched.

    The centrelines of training and validation cases come from folds that did not see the subject; the finder, which
    goes into the model's file, learns on all training cases and validates on the validation cases.
    """
    search = _Search(structures, settings or finder_settings(), labels, on_event, should_stop)
    cases = [*split.training, *split.validation]
    splits = k_folds(cases, folds=folds, seed=search.settings.seed, facts=count_labels(cases, structures))
    lines = {case_id: line for _, own in search.in_folds(splits, folder) for case_id, line in own.items()}
    on_event(Finder(subjects_of(split.training)))
    finder, _ = search.in_fold(replace(split, test=()), Path(folder) / FINDER, search.contents(cases))
    return Inputs({case.case_id: lines[case.case_id] for case in cases}, finder)


def kept_inputs(cases: Sequence[Case], folder: Path | str) -> Inputs | None:
    """Give what `automatic_inputs` has kept for these cases, whatever it was made from; None where something lacks.

    For a training that is resumed: with other centrelines it could not go on, and it sees itself whether these,
    the images and the labels are as they were.
    """
    folder = Path(folder)
    settle(folder)
    found = {case.case_id: [*folder.glob(f"fold_*/{_file_name(case.case_id)}")] for case in cases}
    if not all(found.values()) or not (folder / FINDER / MADE_FROM).is_file():
        return None
    # Of more folds, earlier, an older one may still lie there.
    last = {case_id: max(paths, key=lambda path: path.stat().st_mtime) for case_id, paths in found.items()}
    return Inputs({case_id: read_centreline(path) for case_id, path in last.items()}, _model_in(folder / FINDER))


@dataclass(frozen=True)
class _Search:
    """How finders learn: from which structures, with which settings, what is looked for, and who is told."""

    structures: Sequence[Structure]
    settings: Settings
    labels: Collection[int] | None
    on_event: OnEvent
    should_stop: Callable[[], bool] | None
    # The finders of the folds know the same subjects.
    seal: Seal = field(default_factory=Seal.new)

    def in_folds(
        self, splits: Sequence[Split], folder: Path | str | None
    ) -> Iterator[tuple[TrainedModel, dict[str, Centreline]]]:
        """Give the finder of each fold with the centrelines of its test cases."""
        place = None if folder is None else Path(folder)
        if place is not None:
            check_writable(place)
        contents = {} if place is None else self.contents([case for split in splits for case in split.test])
        for number, split in enumerate(splits, start=1):
            self.on_event(Finder(subjects_of(split.test), number, len(splits)))
            yield self.in_fold(split, None if place is None else place / f"fold_{number}", contents)

    def in_fold(
        self, split: Split, own: Path | None, contents: Mapping[str, str]
    ) -> tuple[TrainedModel, dict[str, Centreline]]:
        """Train a finder and find the centrelines of the test cases, or read both where `own` keeps them."""
        made_from = self._made_from(split, contents)
        if own is not None and self._is_finished(own, made_from):
            self.on_event(Note("  finished before"))
            return _model_in(own), {
                case.case_id: read_centreline(own / _file_name(case.case_id)) for case in split.test
            }
        finder = train_finder(
            split,
            self.structures,
            self.settings,
            labels=self.labels,
            should_stop=self.should_stop,
            seal=self.seal,
        )
        if finder.ended is Ended.STOPPED:
            raise KeyboardInterrupt
        lines = {
            case.case_id: find_centreline(finder, read_cases([case], self.structures)[0][0]) for case in split.test
        }
        if own is not None:
            with one_step(own.parent):
                remove_folder(own)  # it was made from something else
                with whole_folder(own) as temporary:
                    save_model(finder, temporary)
                    for case_id, line in lines.items():
                        write_centreline(line, temporary / _file_name(case_id))
                    write_record(temporary / MADE_FROM, made_from)
        return finder, lines

    def contents(self, cases: Sequence[Case]) -> dict[str, str]:
        """Give what stands for the voxels of every case, by which a change is noticed."""
        pairs = ((case, read_cases([case], self.structures)) for case in cases)
        return {case.case_id: voxels_digest(pair) for case, pair in pairs}

    def _made_from(self, split: Split, contents: Mapping[str, str]) -> dict[str, Any]:
        """Give everything on which what is found depends, as plain values."""
        sides = {side: cases for side, cases in split.sides().items() if cases or side != "test"}
        return {
            "structures": [asdict(structure) for structure in self.structures],
            "labels": None if self.labels is None else sorted(self.labels),
            "settings": settings_to_dict(self.settings),
            **{
                side: {case.case_id: contents.get(case.case_id, "") for case in cases}
                for side, cases in sides.items()
            },
        }

    def _is_finished(self, folder: Path, made_from: dict[str, Any]) -> bool:
        """Tell whether a finder lies there that was made from the same."""
        settle(folder.parent)
        if not folder.exists():
            return False
        try:
            before = json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))
            now = json.loads(json.dumps(made_from))
            changed = [key for key in now if before.get(key) != now[key]]
        except (OSError, ValueError, AttributeError) as error:
            raise ReadError(
                f"{folder / MADE_FROM} cannot be read ({error}). Move {folder} away; it is then made again."
            ) from error
        if changed:
            self.on_event(Note(f"  {', '.join(changed)} changed, so it is made anew"))
        return not changed


def _model_in(folder: Path) -> TrainedModel:
    files = model_files(folder)
    if not files:
        raise ReadError(f"{folder} holds no model. Move it away; it is then made again.")
    return load_model(files[0])


def _file_name(case_id: str) -> str:
    """Name a case's file: the name itself may not do on every system, and two must not become one."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in case_id)[:60]
    return f"{plain}_{hashlib.sha256(case_id.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}.csv"
