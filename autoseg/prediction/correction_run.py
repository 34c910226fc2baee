"""Write what a model makes of a patient's images, or what was drawn already, to a folder to be corrected in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from autoseg.data.cases import CaseFolder, read_case
from autoseg.data.corrections import Kit, read_kit, whole_cases, write_kit
from autoseg.data.patients import read_patient
from autoseg.errors import DataError, OutputError
from autoseg.files.atomic import check_writable
from autoseg.prediction import predict
from autoseg.prediction.ensemble import Copies, Models, as_models, ensemble_name
from autoseg.prediction.run import Run, enough_memory

TO_CORRECT = "to_correct"


def segment_to_correct(
    model: Models,
    folder: Path,
    target: Path,
    *,
    factor: int = 1,
    method: Literal["cubic", "linear"] = "cubic",
    copies: Copies = "none",
    only: Collection[str] | None = None,
    typed: Mapping[str, Any] | None = None,
) -> Kit:
    """Segment every image of a folder and write images and labels to a new folder, to be corrected there.

    Parameters
    ----------
    model, folder, copies, only
        As of `patient_run.segment_folder`.
    target : Path
        The new folder.
    factor, method
        As of `corrections.write_kit`.
    typed : mapping, optional
        field_of_view_mm, matrix_size and prefer, as of `calibration.calibrate`.

    Returns
    -------
    Kit
        Its notes tell what the reader of the folder should know.

    Raises
    ------
    AutosegError
        Of the kinds that reading, calibration, prediction and writing raise; nothing is written then.
    """
    models = as_models(model)
    check_writable(Path(target).absolute().parent)
    plane = next((plane for one in models if (plane := one.origin.get("plane"))), None)
    with enough_memory(Path(folder)):
        images, notes, _ = read_patient(
            Path(folder), only=only, channels=models[0].channels, plane=plane, typed=typed
        )
        results = [(image, predict(models, image, copies=copies)) for image in images]
    kit = write_kit(target, results, model_name=ensemble_name(models, copies), factor=factor, method=method)
    return replace(kit, notes=(*notes, *kit.notes))


def run_to_correct(run: Run, *, factor: int = 1, method: Literal["cubic", "linear"] = "cubic") -> Kit:
    """Write what a run gave to a folder in the run's own, to be corrected there; or give the one that is there.

    A folder that was written before is never written again, so nothing that was corrected in it is lost. Files that
    are finer than the image lie in a folder of their own.

    Parameters
    ----------
    run : Run
    factor, method
        As of `corrections.write_kit`.

    Returns
    -------
    Kit
        Its notes tell what the reader of the folder should know.

    Raises
    ------
    OutputError
        If the run's folder is not there any more, or the files cannot be written.
    AutosegError
        Of the kinds that `corrections.write_kit` raises; nothing is written then.
    """
    folder = kit_folder(run, factor)
    if not run.folder.is_dir():
        raise OutputError(f"{run.folder} is not there any more; it was moved or deleted. Segment again.")
    if folder.exists():
        return read_kit(folder)
    return write_kit(folder, run.results, model_name=run.model, factor=factor, method=method)


def kit_folder(run: Run, factor: int = 1) -> Path:
    """Give the folder in a run's own in which its labels are corrected."""
    return run.folder / (TO_CORRECT if factor == 1 else f"{TO_CORRECT}_finer_{factor}")


def labels_to_correct(
    found: CaseFolder,
    target: Path,
    *,
    factor: int = 1,
    method: Literal["cubic", "linear"] = "cubic",
    case_ids: Collection[str] | None = None,
) -> Kit:
    """Write the labels of a folder of cases to a new folder, to be corrected there; all slices of each.

    Parameters
    ----------
    found : CaseFolder
    target : Path
        The new folder.
    factor, method
        As of `corrections.write_kit`.
    case_ids : collection of str, optional
        Only these cases.

    Returns
    -------
    Kit

    Raises
    ------
    DataError
        If there is no such case.
    AutosegError
        Of the kinds that reading and writing raise; nothing is written then.
    """
    cases = whole_cases(found)
    unknown = sorted(set(case_ids or ()) - {case.case_id for case in cases})
    if unknown:
        known = ", ".join(case.case_id for case in cases[:20])
        raise DataError(f"{found.folder} has no case {', '.join(unknown[:5])}. It has: {known}.")
    chosen = [case for case in cases if case_ids is None or case.case_id in case_ids]
    return write_kit(target, [read_case(case, found.structures) for case in chosen], factor=factor, method=method)
