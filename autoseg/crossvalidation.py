"""Cross-validation: every subject scored once, by a model that never saw it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from autoseg.cases import Case
from autoseg.errors import DataError, ReadError
from autoseg.evaluation import Score, VolumeScore, score_slices, score_volume, scores_table
from autoseg.files.atomic import check_writable, whole_folder
from autoseg.history import format_epoch, write_history
from autoseg.image import LabelMap
from autoseg.likeness import CaseFacts, case_facts
from autoseg.model import EpochResult, TrainedModel, autoseg_version, check_model_name, save_model
from autoseg.postprocess import PostprocessChoice
from autoseg.prediction import predict
from autoseg.results import write_results
from autoseg.settings import Settings, settings_to_dict
from autoseg.split import Split, check_leaks, k_folds, subjects_of
from autoseg.structures import Structure
from autoseg.summary import summarise
from autoseg.training import STOPPED, train
from autoseg.tuning import read_reference, tune_postprocess

Tell = Callable[[str], object]
RESULT = "fold.json"


@dataclass(frozen=True)
class FoldResult:
    """One fold: its number from 1, its folder, and the scores of its test subjects, slice by slice and by volume.

    `note` says what is odd about its split.
    """

    number: int
    folder: Path
    scores: tuple[Score, ...]
    volumes: tuple[VolumeScore, ...]
    note: str = ""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """All folds, their scores put together (every subject once), and the summary, one row a structure.

    `notes` are sentences that the reader of the numbers should know.
    """

    folder: Path
    folds: tuple[FoldResult, ...]
    scores: tuple[Score, ...]
    summary: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is the same for every fold."""

    structures: tuple[Structure, ...]
    settings: Settings
    folder: Path
    name: str
    choose_post: bool
    contents: Mapping[str, str]
    tell: Tell


def cross_validate(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    settings: Settings,
    *,
    folder: Path,
    folds: int = 5,
    name: str = "model",
    choose_post: bool = False,
    test_subjects: Collection[str] = (),
    tell: Tell | None = None,
) -> CrossValidation:
    """Train one model a fold and score the subjects that it never saw, so that every subject is scored once.

    In each fold the best epoch and the post-processing are chosen on the fold's validation subjects, who are
    others than its test subjects (`k_folds`). Predictions are scored on the images' own grids.

    Each finished fold is kept in `folder/fold_<k>`: the model, its history, `scores.csv`, what post-processing
    was tried, and `fold.json`. Called again with the same cases and settings, finished folds are read and not
    trained again, so that a stopped cross-validation goes on where it was. At the end `folder` has `results.csv`
    (one row a subject and structure) and beside it the tables of `autoseg.results.write_results`.

    Parameters
    ----------
    cases : sequence of Case
    structures : sequence of Structure
    settings : Settings
        `minutes` or `epochs` are of each fold; `seed` also draws the folds.
    folder : Path
    folds : int
        With fewer subjects, each is left out once.
    name : str
        Of the models.
    choose_post : bool
        Whether to choose a post-processing; otherwise predictions are scored as they are. With one or two
        validation subjects the choice follows those and did not help others.
    test_subjects : collection of str
        Subjects that are kept for a last test (`autoseg.ledger`); they are in no fold.
    tell : callable, optional
        Gets lines of text; `print`, for instance.

    Raises
    ------
    DataError
        If there are not two subjects, a test subject has no case, two subjects share an image, or the folder holds
        folds of other cases or settings; the message says which.
    OutputError
        If the folder cannot be written.
    KeyboardInterrupt
        If it was stopped; the unfinished fold is not kept.
    """
    check_model_name(name)
    folder = Path(folder)
    check_writable(folder)
    facts: dict[str, CaseFacts] = {}
    contents: dict[str, str] = {}
    # Before anything is read: whom the cases do not know is told at once, and nobody reads test subjects.
    used = k_folds(cases, folds=folds, test_subjects=test_subjects)[0].sides().values()
    for case in (case for side in used for case in side):
        image, label_map = read_reference(case, structures)
        facts[case.case_id] = case_facts(image, label_map)
        contents[case.case_id] = _content(facts[case.case_id], label_map, image.channels)
    splits = k_folds(cases, folds=folds, seed=settings.seed, test_subjects=test_subjects, facts=facts)
    plan = _Plan(tuple(structures), settings, folder, name, choose_post, contents, tell or (lambda line: None))
    for split in splits:
        check_leaks(split, facts)
    results = []
    for number, split in enumerate(splits, start=1):
        plan.tell(f"Fold {number} of {len(splits)}: {_in_words(split)}")
        results.append(_fold(plan, number, split))
        for row in summarise(results[-1].scores).itertuples():
            plan.tell(f"  {row.name}: Dice {row.dice:.3f}, IoU {row.iou:.3f} over {row.n_subjects} subject(s)")
    return _put_together(folder, results)


def _fold(plan: _Plan, number: int, split: Split) -> FoldResult:
    """Read a finished fold, or train, choose, predict, score and keep it."""
    place = plan.folder / f"fold_{number}"
    made_from = _made_from(plan, split)
    if place.exists():
        plan.tell("  finished before")
        return _read_fold(place, number, made_from)
    structures = plan.structures

    def tell_epoch(result: EpochResult, best: TrainedModel, last: TrainedModel) -> None:
        if result.epoch % plan.settings.print_checkpoint == 0:
            plan.tell(f"  {format_epoch(result, structures)}")

    name = f"{plan.name}_fold{number}"
    model = train(split, plan.settings, structures=structures, name=name, on_epoch=tell_epoch)
    if model.origin["ended"] == STOPPED:
        raise KeyboardInterrupt
    model, choice = tune_postprocess(model, split.validation if plan.choose_post else ())
    scores: list[Score] = []
    volumes: list[VolumeScore] = []
    for case in split.test:
        image, reference = read_reference(case, structures)
        predicted = predict(model, image)
        scores += score_slices(reference, predicted)
        volumes += score_volume(reference, predicted)
    result = FoldResult(number, place, tuple(scores), tuple(volumes), split.note)
    _write_fold(result, model, choice, made_from)
    return result


def _content(facts: CaseFacts, label_map: LabelMap, channels: tuple[str, ...]) -> str:
    """Give a digest of a case's image and labels and of what stands beside them, by which a change is noticed."""
    source = label_map.source
    levels = [one.level for one in source.slices]
    drawn = sorted(label_map.annotated or ())
    words = f"{facts.digest} {label_map.shape} {drawn} {label_map.affine} {source.subject_id} {levels} {channels}"
    digest = hashlib.sha256(words.encode("utf-8", "surrogateescape"))
    digest.update(label_map.voxels.astype("uint8").tobytes())
    if label_map.shares is not None:
        digest.update(label_map.shares.tobytes())
    return digest.hexdigest()[:16]


def _made_from(plan: _Plan, split: Split) -> dict[str, Any]:
    """Give everything on which a fold's result depends, as plain values that survive JSON."""
    settings = settings_to_dict(plan.settings)
    for without_effect in ("print_checkpoint", "save_checkpoint"):
        del settings[without_effect]
    made_from = {
        "settings": settings,
        "structures": [asdict(structure) for structure in plan.structures],
        "choose_post": plan.choose_post,
        **{side: {case.case_id: plan.contents[case.case_id] for case in of} for side, of in split.sides().items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(made_from))
    return plain


def _write_fold(
    result: FoldResult, model: TrainedModel, choice: PostprocessChoice | None, made_from: dict[str, Any]
) -> None:
    with whole_folder(result.folder) as temporary:
        save_model(model, temporary)
        write_history(model, temporary / f"{model.name}_history.csv")
        scores_table(result.scores).to_csv(temporary / "scores.csv", index=False)
        if choice is not None:
            choice.table().to_csv(temporary / "postprocess.csv", index=False)
        content = {
            "autoseg": autoseg_version(),
            "made_from": made_from,
            "note": result.note,
            "scores": [asdict(score) for score in result.scores],
            "volumes": [asdict(score) for score in result.volumes],
        }
        (temporary / RESULT).write_text(json.dumps(content), encoding="utf-8")


def _read_fold(place: Path, number: int, made_from: dict[str, Any]) -> FoldResult:
    path = place / RESULT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = tuple(Score(**row) for row in content["scores"])
        volumes = tuple(VolumeScore(**row) for row in content["volumes"])
        before, note, version = content["made_from"], str(content["note"]), str(content["autoseg"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReadError(
            f"{path} cannot be read as a finished fold ({error}). Move {place} away; the fold is then done again."
        ) from error
    changed = _differences(before, made_from)
    if changed:
        raise DataError(
            f"{place} was made from something else: {'; '.join(changed[:5])}. Folds of two kinds are never mixed: "
            "choose another folder, or go back to what it was."
        )
    if version != autoseg_version():
        note = f"{note} Fold {number} was made with autoseg {version}, this is {autoseg_version()}.".strip()
    return FoldResult(number, place, scores, volumes, note)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say in words what changed."""
    result = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if key in ("training", "validation", "test") and isinstance(old, dict) and isinstance(new, dict):
            changed = [case for case in dict.fromkeys([*old, *new]) if old.get(case) != new.get(case)]
            result.append(f"cases of {key}, such as {changed[0] if changed else 'their order'}")
        elif isinstance(old, dict) and isinstance(new, dict):
            result += _differences(old, new)
        else:
            result.append(f"{key} was {old} and is {new}")
    return result


def _put_together(folder: Path, folds: Sequence[FoldResult]) -> CrossValidation:
    scores = [score for fold in folds for score in fold.scores]
    volumes = [score for fold in folds for score in fold.volumes]
    write_results(folder / "results.csv", scores, volumes=volumes)
    notes = tuple(dict.fromkeys(fold.note for fold in folds if fold.note))
    return CrossValidation(folder, tuple(folds), tuple(scores), summarise(scores), notes)


def _in_words(split: Split) -> str:
    """Say who is on which side."""
    sides = {what: subjects_of(cases) for what, cases in split.sides().items()}
    return ", ".join(
        f"{what} {', '.join(names) if len(names) <= 5 else f'{len(names)} subjects'}"
        for what, names in sides.items()
    )
