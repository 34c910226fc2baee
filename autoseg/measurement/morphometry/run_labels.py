"""The label maps of an earlier run, read back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from autoseg.errors import DataError, ReadError
from autoseg.files.file_names import safe_name, unique_names
from autoseg.files.nifti.volumes import read_nifti
from autoseg.files.tables import read_structures
from autoseg.files.text_files import read_json
from autoseg.image.image import LabelMap, Source
from autoseg.measurement.areas import FROM_BEST

RUN_FILE = "run.json"


def is_run_folder(folder: Path) -> bool:
    """Tell whether a folder is one that a run wrote."""
    return (Path(folder) / RUN_FILE).is_file()


def read_run_labels(folder: Path) -> tuple[list[LabelMap], list[str]]:
    """Read the label maps of a run from its NIfTI files, with their names and what they include.

    Levels are not kept in these files.
    """
    folder = Path(folder)
    record = _record(folder / RUN_FILE)
    structures = read_structures(folder / "structures.csv").structures
    images = record["images"]
    stems = unique_names([safe_name(str(image["case_id"])) for image in images])
    label_maps, notes = [], []
    for image, stem in zip(images, stems, strict=True):
        path = folder / f"{stem}.nii.gz"
        if not path.exists() and "none" in (image.get("spacing_source"), image.get("slice_spacing_source")):
            what = "distance between its slices" if image.get("spacing_mm") else "size of a pixel"
            notes.append(f"{image['case_id']}: the {what} is unknown; it is left out.")
            continue
        voxels, affine = read_nifti(path)
        source = Source(
            case_id=str(image["case_id"]),
            subject_id=str(image.get("subject_id", "")),
            series_uid=str(image.get("series_uid", "")),
            spacing_source=image.get("spacing_source", "header"),
            slice_spacing_source=image.get("slice_spacing_source", "header"),
        )
        label_maps.append(LabelMap(voxels.astype(np.uint8), affine, structures, source=source))
    if not label_maps:
        raise DataError(f"{folder} holds no label map with a known distance between slices. {' '.join(notes)}")
    return label_maps, notes


def read_run_lights(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read the light of each image of a run with its reasons, by case_id; nothing of those that nobody compared."""
    found = {}
    for image in _record(Path(folder) / RUN_FILE)["images"]:
        known = image.get("suitability")
        if isinstance(known, dict) and known.get("light") in FROM_BEST:
            found[str(image["case_id"])] = (str(known["light"]), tuple(map(str, known.get("reasons", ()))))
    return found


def _record(path: Path) -> dict[str, Any]:
    try:
        record = read_json(path)
        if not isinstance(record["images"], list):
            raise TypeError("its images are no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReadError(f"{path} cannot be read as the record of a run ({error}). Segment again.") from error
    return dict(record)
