"""The files of one prediction run: label pictures, overlays, NIfTI, tables; a new folder or nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from autoseg.animation import GIF_PIXELS, choose_scenes, draw_scenes
from autoseg.area_tables import areas_table, measurements_table
from autoseg.errors import DataError, LabelError, OutputError
from autoseg.files.atomic import whole_folder
from autoseg.files.nifti import write_nifti
from autoseg.files.pictures import read_picture, write_gif, write_jpg, write_palette_png
from autoseg.files.tables import write_structures
from autoseg.image import Image, LabelMap
from autoseg.measurement import MEASUREMENT_VERSION, Measurement, measure_areas
from autoseg.overlay import hex_colour, overlay_slices
from autoseg.structures import Structure

Result = tuple[Image, LabelMap]

# A longer animation would take minutes to write and to watch.
MAX_GIF_FRAMES = 200
# A file's name may hold bytes that are no UTF-8 (old archives); they are written as question marks.
NOT_UTF8: Literal["replace"] = "replace"


def write_run(
    folder: Path,
    results: Sequence[Result],
    *,
    model_name: str,
    details: Mapping[str, Any] | None = None,
    measurements: Sequence[Measurement] | None = None,
) -> Path:
    """Write everything that a prediction gave to a new folder, and compare what was written with the labels.

    The folder holds `labels/<stem>.png` (pixel values are the labels), `overlays/<stem>.jpg`, one
    `<case_id>.nii.gz` an image, `animation.gif` (at most 200 slices, evenly chosen), `areas.csv` (one row a
    slice), `measurements.csv` (one row a slice and structure) and `run.json`. `<stem>` is the DICOM file's
    name without its ending, with `_001` for the first frame of a multi-frame file; where two are equal the
    case's name is put in front.

    Several slices at unknown distances get no NIfTI file, which would have to invent a distance; run.json
    names the files that were left out.

    Parameters
    ----------
    folder : Path
        Must not exist.
    results : sequence of (Image, LabelMap)
        Each label map on its image's grid, calibrated; every image with a case_id of its own.
    model_name : str
        Name of the model, repeated in the tables.
    details : mapping, optional
        Plain values to keep in run.json (versions, the model's origin, the best epoch).
    measurements : sequence of Measurement, optional
        What `measure_areas` gave for these results; by default they are measured here.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    GeometryError
        If an image has no known pixel size; nothing is written then.
    DataError
        If there is nothing to write, or two images have the same case_id.
    OutputError
        If the folder exists, cannot be written, or a file reads back differently; nothing is left behind.
    """
    folder = Path(folder)
    if not results:
        raise DataError(f"There is no result to write to {folder}. Choose a folder with images.")
    _check_case_ids(results)
    results = [(image, _placed(label_map, image)) for image, label_map in results]
    if measurements is None:
        measurements = [
            row for image, label_map in results for row in measure_areas(label_map, image=image, model=model_name)
        ]
    stems = slice_stems([image for image, _ in results])
    volumes = _unique([safe_name(image.source.case_id) for image, _ in results])
    left_out = []
    with whole_folder(folder) as temporary:
        for (image, label_map), names, volume in zip(results, stems, volumes, strict=True):
            _write_labels(temporary / "labels", label_map, names)
            for name, picture in zip(names, overlay_slices(image, label_map), strict=True):
                write_jpg(temporary / "overlays" / f"{name}.jpg", picture)
            if image.shape[0] > 1 and image.source.slice_spacing_source == "none":
                left_out.append(f"{volume}.nii.gz: the distance between its slices is unknown.")
            else:
                write_nifti(temporary / f"{volume}.nii.gz", label_map)
        images, label_maps = zip(*results, strict=True)
        scenes = choose_scenes(images, label_maps, max_frames=MAX_GIF_FRAMES)
        write_gif(temporary / "animation.gif", draw_scenes(scenes, least=GIF_PIXELS), 200)
        _write_tables(temporary, measurements)
        # Label pictures and NIfTI hold one label a pixel: whoever counts them must know what lies inside what.
        write_structures(
            temporary / "structures.csv", list({s.label: s for m in label_maps for s in m.structures}.values())
        )
        record = _describe_run(results, stems, model_name, measurements)
        record |= {"left_out": left_out, "details": dict(details or {})}
        text = json.dumps(record, indent=2, ensure_ascii=False, default=str)
        (temporary / "run.json").write_text(text + "\n", encoding="utf-8", errors=NOT_UTF8)
    return folder


def write_tables(folder: Path, measurements: Sequence[Measurement]) -> Path:
    """Write the wide table `areas.csv` and the tidy table `measurements.csv` to a new folder.

    Raises
    ------
    OutputError
        If the folder exists or cannot be written; nothing is left behind.
    """
    with whole_folder(Path(folder)) as temporary:
        _write_tables(temporary, measurements)
    return Path(folder)


def run_folder_name(model_name: str, now: datetime) -> str:
    """Give the name of a run's folder: the model, date and time.

    The patient's folder is left out, because such folders are often named after the patient.

    Examples
    --------
    >>> run_folder_name("psoas", datetime(2026, 3, 1, 14, 5, 9))
    'psoas_2026-03-01_140509'
    """
    return f"{safe_name(model_name)}_{now:%Y-%m-%d_%H%M%S}"


def free_run_folder(output: Path, model_name: str, now: datetime) -> Path:
    """Give the path of a run's folder in `output` that is not there yet; _2, _3, … where the name is taken."""
    name = run_folder_name(model_name, now)
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(folder for folder in (Path(output) / name for name in names) if not folder.exists())


def slice_stems(images: Sequence[Image]) -> list[list[str]]:
    """Give every slice of every image the name of its files, no two alike (not even in capitals).

    Examples
    --------
    >>> slice_stems([Image(np.zeros((2, 4, 4)))])
    [['image_s000', 'image_s001']]
    """
    frames_of = Counter(source.path for image in images for source in image.source.slices)
    frames_of.update(source.path for image in images for source in image.source.slices if source.frame > 0)
    plain = []
    for image in images:
        case = safe_name(image.source.case_id)
        if image.source.slices:
            names = [
                safe_name(file_stem(source.path))
                + (f"_{source.frame + 1:03d}" if frames_of[source.path] > 1 else "")
                for source in image.source.slices
            ]
        else:
            names = [f"{case}_s{index:03d}" for index in range(image.shape[0])]
        plain.append((case, names))
    seen = Counter(name.casefold() for _, names in plain for name in names)
    told_apart = [
        [name if seen[name.casefold()] == 1 else f"{case}_{name}" for name in names] for case, names in plain
    ]
    flat = iter(_unique([name for names in told_apart for name in names]))
    return [[next(flat) for _ in names] for names in told_apart]


def file_stem(path: Path) -> str:
    """Give a file's name without its ending; the numbers of a UID are no ending.

    Examples
    --------
    >>> file_stem(Path("7.dcm")), file_stem(Path("1.2.840.7"))
    ('7', '1.2.840.7')
    """
    return path.name if path.suffix[1:].isdecimal() else path.stem


def safe_name(text: str) -> str:
    """Give a text as a file name that every system takes; never empty, never hidden."""
    name = re.sub(r"[^\w.+-]+", "_", text).strip("._")[:100].rstrip("._") or "unnamed"
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    return f"_{name}" if reserved else name


def _unique(names: Sequence[str]) -> list[str]:
    """Append _2, _3, … to names that were there before."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique


def _check_case_ids(results: Sequence[Result]) -> None:
    counts = Counter(image.source.case_id for image, _ in results)
    twice = [case_id for case_id, count in counts.items() if count > 1]
    if twice:
        raise DataError(
            f"{counts[twice[0]]} images have the case_id {twice[0]!r}, so their rows could not be told "
            "apart. Give every image a case_id of its own."
        )


def _placed(label_map: LabelMap, image: Image) -> LabelMap:
    """Give the label map its image's source; it must lie where the image lies."""
    if label_map.affine is not None and not label_map.same_grid(image):
        raise LabelError(
            f"{image.source.name}: the labels {label_map!r} do not lie on the image {image!r}. Predict again."
        )
    return label_map.on_grid_of(image)


def _write_labels(folder: Path, label_map: LabelMap, names: Sequence[str]) -> None:
    for name, labels in zip(names, label_map.voxels, strict=True):
        path = folder / f"{name}.png"
        write_palette_png(path, labels, label_map.structures)
        if not np.array_equal(read_picture(path).pixels, labels):
            raise OutputError(f"labels/{path.name} reads back differently than it was written; nothing was saved.")


def _write_tables(folder: Path, measurements: Sequence[Measurement]) -> None:
    _write_csv(measurements_table(measurements), folder / "measurements.csv", encoding="utf-8")
    # The mark in front tells Excel that the ² in the column names is UTF-8.
    _write_csv(areas_table(measurements), folder / "areas.csv", encoding="utf-8-sig")


def _write_csv(table: pd.DataFrame, path: Path, *, encoding: str) -> None:
    # Ten digits are more than any area has, and spare the reader 3.1500000000000004.
    table.to_csv(path, index=False, encoding=encoding, errors=NOT_UTF8, float_format="%.10g")


def _describe_run(
    results: Sequence[Result],
    stems: Sequence[Sequence[str]],
    model_name: str,
    measurements: Sequence[Measurement],
) -> dict[str, Any]:
    """Give run.json's content; of paths only the file's name, as folders are often called like patients."""
    structures = {s.label: s for _, label_map in results for s in label_map.structures}
    return {
        "model": model_name,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "measurement_version": MEASUREMENT_VERSION,
        "structures": [_describe_structure(structures[label]) for label in sorted(structures)],
        "images": [
            {
                "case_id": image.source.case_id,
                "subject_id": image.source.subject_id,
                "series_uid": image.source.series_uid,
                "shape": list(image.shape),
                "spacing_mm": [round(value, 6) for value in image.spacing_mm],
                "spacing_source": image.source.spacing_source,
                "slice_spacing_source": image.source.slice_spacing_source,
                "slices": [
                    {"name": name, "file": source.path.name, "frame": source.frame, "sop_uid": source.sop_uid}
                    for name, source in zip(names, image.source.slices, strict=False)
                ],
            }
            for (image, _), names in zip(results, stems, strict=True)
        ],
        "flagged_areas": sum(bool(row.flags) for row in measurements),
    }


def _describe_structure(structure: Structure) -> dict[str, Any]:
    return {
        "label": structure.label,
        "name": structure.name,
        "colour": hex_colour(structure.rgb),
        "side": structure.side,
        **({"includes": list(structure.includes)} if structure.includes else {}),
    }
