"""One fold of a cross-validation, and its folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError, ModelFileError, ReadError, SettingsError
from autoseg.files.atomic import settle, whole_folder
from autoseg.files.records import from_record, write_record
from autoseg.files.tables import write_table
from autoseg.image.structures import Structure
from autoseg.measurement.scores import PixelScore, Score, VolumeScore, scores_table
from autoseg.model.card import write_card
from autoseg.model.identity import model_record
from autoseg.model.model import TrainedModel, autoseg_version, load_model, model_files, save_model
from autoseg.model.networks.build import standardised
from autoseg.model.postprocess import PostprocessChoice
from autoseg.model.settings.settings import Settings, settings_from_dict, settings_to_dict
from autoseg.report.score_files import write_curves
from autoseg.training.finder import CentrelineScore
from autoseg.training.history import history_rows, write_history

RESULT, PREDICTIONS = "fold.json", "predictions.npz"
SIDES = ("training", "validation", "test")
Labels = npt.NDArray[np.uint8]


class OtherFoldsError(DataError):
    """Finished folds were made from something else than is asked for now."""


@dataclass(frozen=True)
class FoldCost:
    """What a fold cost; NaN where it was not measured.

    `training_seconds` are of the learning with its validations, without reading; `ms_per_slice` of predicting a
    slice on the image's own grid, the median over the test cases, a first run left out; `peak_memory_mib` of the
    reading and learning, on a graphics card what was allocated there, otherwise by how much the process grew.
    `multiply_adds` are of one pass over what the network sees at once.
    """

    training_seconds: float = math.nan
    epochs: float = math.nan
    ms_per_slice: float = math.nan
    peak_memory_mib: float = math.nan
    parameters: float = math.nan
    multiply_adds: float = math.nan


@dataclass(frozen=True)
class FoldResult:
    """One fold: its number from 1, its folder, and the scores of its test subjects, slice by slice and by volume.

    `note` says what is odd about its split. `cost` and `pixels` (all classes together, one a case) are not known of
    folds that an earlier version made. `centrelines` are of a model that sees a crop around them.
    """

    number: int
    folder: Path
    scores: tuple[Score, ...]
    volumes: tuple[VolumeScore, ...]
    note: str = ""
    cost: FoldCost = FoldCost()
    pixels: tuple[PixelScore, ...] = ()
    centrelines: tuple[CentrelineScore, ...] = ()


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Give the settings on which a result depends, with the network's own sizes filled in."""
    values = settings_to_dict(replace(settings, network=standardised(settings.network)))
    for without_effect in ("print_checkpoint", "save_checkpoint", "keep_checkpoints"):
        del values[without_effect]
    return values


def write_fold(
    result: FoldResult,
    made_from: dict[str, Any],
    *,
    predicted: Mapping[str, Labels],
    model: TrainedModel | None = None,
    choice: PostprocessChoice | None = None,
) -> None:
    """Keep a fold in its folder, whole or not at all."""
    with whole_folder(result.folder) as temporary:
        if model is not None:
            write_card(model, save_model(model, temporary))
            if model.history:  # of a model that was only scored there is none
                write_history(model, temporary / f"{model.name}_history.csv")
            if model.history and model.settings.watch_erosion:
                rows, by = history_rows(model), model.settings.best_by
                write_curves(temporary, model.name, rows, structures=model.structures, best_by=by)
        write_table(temporary / "scores.csv", scores_table(result.scores))
        if choice is not None:
            write_table(temporary / "postprocess.csv", choice.table())
        with (temporary / PREDICTIONS).open("wb") as file:
            arrays: dict[str, Any] = {f"case_{k}": labels for k, labels in enumerate(predicted.values())}
            np.savez_compressed(file, **arrays)
        content = {
            "autoseg": autoseg_version(),
            "made_from": made_from,
            "model": None if model is None else model_record(model),
            "note": result.note,
            "cost": asdict(result.cost),
            "predicted": list(predicted),
            "pixels": [asdict(score) for score in result.pixels],
            "scores": [asdict(score) for score in result.scores],
            "volumes": [asdict(score) for score in result.volumes],
            "centrelines": [asdict(score) for score in result.centrelines],
        }
        write_record(temporary / RESULT, content, indent=None)


def settle_folds(folder: Path) -> None:
    """Finish or take back what killed programs left in the folder of a cross-validation or comparison."""
    folder = Path(folder)
    settle(folder, *sorted(path for path in folder.glob("*") if path.is_dir()))


def read_fold(place: Path, number: int, made_from: dict[str, Any] | None = None) -> FoldResult:
    """Read a finished fold."""
    content = read_content(place)
    try:
        scores = tuple(from_record(Score, row) for row in content["scores"])
        volumes = tuple(from_record(VolumeScore, row) for row in content["volumes"])
        pixels = tuple(from_record(PixelScore, row) for row in content.get("pixels", ()))
        lines = tuple(from_record(CentrelineScore, row) for row in content.get("centrelines", ()))
        cost = from_record(FoldCost, content.get("cost", {}))
        before, note, version = content["made_from"], str(content["note"]), str(content["autoseg"])
    except (KeyError, TypeError) as error:
        raise _unreadable(place, error) from error
    changed = [] if made_from is None else _what_changed(_completed(before), made_from)
    if changed:
        raise OtherFoldsError(
            f"{place} was made from something else: {'; '.join(changed[:5])}. Folds of two kinds are never mixed: "
            "choose another folder, or go back to what it was."
        )
    if version != autoseg_version():
        note = f"{note} Fold {number} was made with autoseg {version}, this is {autoseg_version()}.".strip()
    return FoldResult(number, place, scores, volumes, note, cost, pixels, lines)


def read_folds(folder: Path) -> tuple[FoldResult, ...]:
    """Read all finished folds of a cross-validation or of a comparison's entry; a DataError where there is none."""
    settle_folds(folder)
    named = (place.name.removeprefix("fold_") for place in Path(folder).glob("fold_*"))
    numbers = sorted(int(number) for number in named if number.isdecimal())
    if not numbers:
        raise DataError(
            f"{folder} holds no folds. Give the folder of a cross-validation (<name>_folds), or in the folder of a "
            "comparison that of a network."
        )
    return tuple(read_fold(Path(folder) / f"fold_{number}", number) for number in numbers)


def read_content(place: Path) -> dict[str, Any]:
    """Read what a fold's folder says of it; a ReadError where it cannot be read."""
    try:
        content = json.loads((place / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from error
    if not isinstance(content, dict):
        raise _unreadable(place, TypeError("it holds no fold"))
    return content


def earlier_settings(folder: Path) -> Settings | None:
    """Give the settings of the finished folds of a cross-validation; None where there is none."""
    settle(Path(folder))
    for place in sorted(Path(folder).glob("fold_*")):
        try:
            return settings_from_dict(read_content(place)["made_from"]["settings"])
        except (ReadError, SettingsError, KeyError, TypeError, AttributeError):  # told where it is read to go on
            continue
    return None


def digest_of(fold: FoldResult) -> str:
    """Give a digest of what a fold's folder says of it, which no other training has; a ReadError without it."""
    try:
        return hashlib.sha256((fold.folder / RESULT).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise _unreadable(fold.folder, error) from error


def read_prediction(fold: FoldResult, case_id: str) -> Labels | None:
    """Read what was predicted for a test case, shape (slices, rows, columns); None where it was not kept."""
    names = read_content(fold.folder).get("predicted", [])
    path = fold.folder / PREDICTIONS
    if case_id not in names or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            labels: Labels = kept[f"case_{names.index(case_id)}"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _unreadable(fold.folder, error) from error
    return labels


def structures_of(fold: FoldResult) -> tuple[Structure, ...]:
    """Give the structures whose labels a fold predicted."""
    try:
        made_from = read_content(fold.folder)["made_from"]
        return tuple(from_record(Structure, row) for row in made_from["structures"])
    except (KeyError, TypeError) as error:
        raise _unreadable(fold.folder, error) from error


def read_model(fold: FoldResult) -> TrainedModel:
    """Load the model of a fold."""
    files = model_files(fold.folder)
    if not files:
        raise ModelFileError(f"{fold.folder} holds no model. Move it away; the fold is then done again.")
    return load_model(files[0])


def _unreadable(place: Path, error: Exception) -> ReadError:
    return ReadError(
        f"{place / RESULT} cannot be read as a finished fold ({error}). Move {place} away; the fold is then done "
        "again."
    )


def _completed(before: dict[str, Any]) -> dict[str, Any]:
    """Fill in settings that did not exist when a fold was made, with what was done then: their defaults."""
    try:
        settings = settings_from_dict(before["settings"])
    except (SettingsError, KeyError, TypeError, AttributeError):  # they are then compared as they are
        return before
    plain: dict[str, Any] = json.loads(json.dumps(plain_settings(settings)))
    return {**before, "settings": plain}


def _what_changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say in words what changed; of quite other images that alone, since all the rest follows from it."""
    old, new = ({case for side in SIDES for case in made.get(side) or ()} for made in (before, now))
    if old and new and not old & new:
        return ["other images, none of which is here"]
    return _differences(before, now)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say in words what changed."""
    result = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if key in SIDES and isinstance(old, dict) and isinstance(new, dict):
            changed = [case for case in dict.fromkeys([*old, *new]) if old.get(case) != new.get(case)]
            result.append(f"cases of {key}, such as {changed[0] if changed else 'their order'}")
        elif isinstance(old, dict) and isinstance(new, dict):
            result += _differences(old, new)
        else:
            result.append(f"{key} was {_told(old)} and is {_told(new)}")
    return result


def _told(value: Any) -> Any:
    """Give structures by their names alone, other values as they are."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return ", ".join(str(item["name"]) for item in value)
    return value
