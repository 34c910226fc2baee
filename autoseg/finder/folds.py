"""Centrelines of all cases of a training: from their labels, or found by networks that never saw the subject."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autoseg.cases import Case
from autoseg.centreline import Centreline, from_labels, read_centreline, write_centreline
from autoseg.dataset import read_cases
from autoseg.errors import DataError, ReadError
from autoseg.files.atomic import check_writable, whole_folder
from autoseg.finder.learning import finder_settings, train_finder
from autoseg.fingerprints import describe_side
from autoseg.inputs import Inputs
from autoseg.model import TrainedModel, load_model, model_files, save_model
from autoseg.prediction import find_centreline
from autoseg.settings import Settings, settings_to_dict
from autoseg.split import Split, k_folds, subjects_of
from autoseg.structures import Structure
from autoseg.training import STOPPED

Tell = Callable[[str], object]
MADE_FROM = "made_from.json"


def exact_centrelines(
    cases: Sequence[Case], structures: Sequence[Structure], *, labels: Collection[int] | None = None
) -> dict[str, Centreline]:
    """Give the centreline of every case from its labels, by case_id.

    Raises
    ------
    DataError
        If nothing was drawn on a case; the message names it.
    """
    return {case.case_id: from_labels(read_cases([case], structures)[0][1], labels) for case in cases}


def automatic_centrelines(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    settings: Settings | None = None,
    *,
    folder: Path | str | None = None,
    folds: int = 5,
    labels: Collection[int] | None = None,
    tell: Tell | None = None,
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
        with the same cases and settings, finished folds are read, so that what was stopped goes on where it was.
    folds : int
        With fewer subjects, each is left out once.
    labels : collection of int, optional
        Structures whose middle is looked for, taken together; by default all.
    tell : callable, optional
        Gets lines of text; `print`, for instance.

    Returns
    -------
    dict of Centreline by case_id

    Raises
    ------
    DataError
        If there are not two subjects, or the folder holds folds of other cases or settings.
    OutputError
        If the folder cannot be written.
    KeyboardInterrupt
        If it was stopped; the unfinished fold is not kept.
    """
    settings, say = settings or finder_settings(), tell or (lambda line: None)
    place = None if folder is None else Path(folder)
    if place is not None:
        check_writable(place)
    splits = k_folds(cases, folds=folds, seed=settings.seed)
    contents = {} if place is None else _contents(cases, structures)
    found: dict[str, Centreline] = {}
    for number, split in enumerate(splits, start=1):
        say(f"Centrelines, fold {number} of {len(splits)}: {', '.join(subjects_of(split.test))}")
        made_from = _made_from(split, structures, settings, labels, contents)
        own = None if place is None else place / f"fold_{number}"
        if own is not None and own.exists():
            say("  finished before")
            found |= _read_fold(own, split, made_from)
            continue
        model, lines = _make_fold(split, structures, settings, labels)
        if own is not None:
            with whole_folder(own) as temporary:
                save_model(model, temporary)
                for case_id, line in lines.items():
                    write_centreline(line, temporary / _file_name(case_id))
                text = json.dumps(made_from, indent=1, ensure_ascii=False)
                (temporary / MADE_FROM).write_text(text, encoding="utf-8")
        found |= lines
    return {case.case_id: found[case.case_id] for case in cases}


def automatic_inputs(
    split: Split,
    structures: Sequence[Structure],
    settings: Settings | None = None,
    *,
    folder: Path | str,
    folds: int = 5,
    labels: Collection[int] | None = None,
    tell: Tell | None = None,
) -> Inputs:
    """Give a training all that it takes to live with automatic centrelines; the split's test cases are not touched.

    The centrelines of training and validation cases come from folds that did not see the subject; the finder, which
    goes into the model's file, learns on all training cases and validates on the validation cases.

    Parameters
    ----------
    split, structures, settings, labels, tell
        As of `automatic_centrelines` and `train_finder`.
    folder : Path
        What is finished is kept there and read the next time: the folds, and the finder.
    folds : int

    Returns
    -------
    Inputs
        For `train(…, inputs=…)` with settings that have `volume.crop_mm`.

    Raises
    ------
    DataError, OutputError, KeyboardInterrupt
        As `automatic_centrelines` does.
    """
    settings, folder = settings or finder_settings(), Path(folder)
    cases = [*split.training, *split.validation]
    lines = automatic_centrelines(cases, structures, settings, folder=folder, folds=folds, labels=labels, tell=tell)
    own = folder / "finder"
    made_from = _made_from(split, structures, settings, labels, _contents(cases, structures), tested=False)
    if own.exists():
        _check_same(own, made_from)
        return Inputs(lines, _model_in(own))
    if tell is not None:
        tell(f"The finder itself, from {len(subjects_of(split.training))} subject(s)")
    finder = _trained(replace(split, test=()), structures, settings, labels)
    with whole_folder(own) as temporary:
        save_model(finder, temporary)
        text = json.dumps(made_from, indent=1, ensure_ascii=False)
        (temporary / MADE_FROM).write_text(text, encoding="utf-8")
    return Inputs(lines, finder)


def _make_fold(
    split: Split, structures: Sequence[Structure], settings: Settings, labels: Collection[int] | None
) -> tuple[TrainedModel, dict[str, Centreline]]:
    model = _trained(split, structures, settings, labels)
    return model, {
        case.case_id: find_centreline(model, read_cases([case], structures)[0][0]) for case in split.test
    }


def _trained(
    split: Split, structures: Sequence[Structure], settings: Settings, labels: Collection[int] | None
) -> TrainedModel:
    model = train_finder(split, structures, settings, labels=labels)
    if model.origin["ended"] == STOPPED:
        raise KeyboardInterrupt
    return model


def _read_fold(folder: Path, split: Split, made_from: dict[str, Any]) -> dict[str, Centreline]:
    _check_same(folder, made_from)
    return {case.case_id: read_centreline(folder / _file_name(case.case_id)) for case in split.test}


def _check_same(folder: Path, made_from: dict[str, Any]) -> None:
    """Raise DataError if what lies there was made from something else."""
    try:
        before = json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReadError(
            f"{folder / MADE_FROM} cannot be read ({error}). Move {folder} away; it is then made again."
        ) from error
    now = json.loads(json.dumps(made_from))
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise DataError(
            f"{folder} holds centrelines that were made from something else: {', '.join(changed)} changed. Choose "
            "another folder, or move this one away."
        )


def _model_in(folder: Path) -> TrainedModel:
    files = model_files(folder)
    if not files:
        raise ReadError(f"{folder} holds no model. Move it away; it is then made again.")
    return load_model(files[0])


def _contents(cases: Sequence[Case], structures: Sequence[Structure]) -> dict[str, str]:
    """Give what stands for the voxels of every case, by which a change is noticed."""
    return {case.case_id: describe_side([case], read_cases([case], structures)).voxels_print for case in cases}


def _made_from(
    split: Split,
    structures: Sequence[Structure],
    settings: Settings,
    labels: Collection[int] | None,
    contents: Mapping[str, str],
    *,
    tested: bool = True,
) -> dict[str, Any]:
    """Give everything on which what is found depends, as plain values."""
    sides = {side: cases for side, cases in split.sides().items() if tested or side != "test"}
    return {
        "structures": [asdict(structure) for structure in structures],
        "labels": None if labels is None else sorted(labels),
        "settings": settings_to_dict(settings),
        **{side: {case.case_id: contents.get(case.case_id, "") for case in cases} for side, cases in sides.items()},
    }


def _file_name(case_id: str) -> str:
    """Name a case's file: the name itself may not do on every system, and two must not become one."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in case_id)[:60]
    return f"{plain}_{hashlib.sha256(case_id.encode()).hexdigest()[:8]}.csv"
