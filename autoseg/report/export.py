"""The files of one prediction run: label pictures, overlays, NIfTI, tables; a new folder or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autoseg.errors import DataError, LabelError, OutputError
from autoseg.files.atomic import whole_folder
from autoseg.files.colours import write_label_colours
from autoseg.files.file_names import safe_name, unique_names
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.pictures.pictures import read_picture, write_gif, write_jpg, write_palette_png
from autoseg.files.records import write_record
from autoseg.files.sources import SkippedFile
from autoseg.files.tables import write_structures, write_table
from autoseg.files.workbooks import Sheet, write_workbook
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import hex_colour, overlay_slices
from autoseg.image.structures import Structure
from autoseg.measurement.areas import MEASUREMENT_VERSION, Measurement, measure_areas
from autoseg.measurement.intervals import PatientInterval
from autoseg.measurement.tissue import Tissue, join_tissue, measure_tissue, tissue_table
from autoseg.model.trust import Light, Suitability
from autoseg.report.animation import GIF_PIXELS, choose_scenes, draw_scenes
from autoseg.report.area_tables import (
    area_blocks,
    areas_table,
    find_missing,
    in_pixels_note,
    least_column,
    levels_table,
    measurements_table,
    missing_notes,
    patients_table,
)
from autoseg.report.asymmetry import asymmetry_table
from autoseg.report.cuts import cuts_of, draw_cut
from autoseg.report.lights import carrying_light, light_of_run, lights_by_image, plain_suitability, say_light
from autoseg.report.run_folder import overlay_stems, slice_stems

Result = tuple[Image, LabelMap]

# A longer animation would take minutes to write and to watch.
MAX_GIF_FRAMES = 200
ABOUT_CUT_OFF = (
    "columns of what touches the edge of the image, so that it may be cut off; it counts in no mean, SD, largest "
    "area or volume. A volume may be cut off by the first and the last slice too"
)
# Of run.json and the tables beside it: from 2 on slices count from 1, in a column "slice"; before they counted from
# 0, in a column "slice_index", and run.json had no format.
FORMAT = 2


def write_run(
    folder: Path,
    results: Sequence[Result],
    *,
    model_name: str,
    details: Mapping[str, Any] | None = None,
    measurements: Sequence[Measurement] | None = None,
    suitability: Mapping[str, Suitability] | None = None,
    intervals: Sequence[PatientInterval] = (),
    tissue: Tissue | None = None,
    skipped: Sequence[SkippedFile] = (),
    is_animated: bool = True,
    write_more: Callable[[Path], object] | None = None,
) -> Path:
    """Write everything that a prediction gave to a new folder, and compare what was written with the labels.

    `folder` must not exist; `write_more` is called with it before it takes its name. If anything fails nothing is
    left behind.

    The folder holds `labels/<stem>.png` (pixel values are the labels, names as of `slice_stems`), `overlays`
    (names as of `overlay_stems`), `cuts` (of each stack one from the side and one from the front, in true
    proportions), one `<case_id>.nii.gz` an image, if it `is_animated` `animation.gif` (at most 200 slices,
    evenly chosen), `areas.csv` (one row a slice), `areas.xlsx` (the same as a workbook, with the details on
    further sheets), `measurements.csv` (one row a slice and structure), `patients.csv` (by patient and image,
    with volumes), where levels are known `levels.csv`, where structures are pairs `asymmetry.csv`, `colours`
    (names and colours for ITK-SNAP, 3D Slicer and FSLeyes), and `run.json`.

    Several slices at unknown distances get no NIfTI file, nor do pixels of unknown size, which would have to invent
    them; run.json names what was not written, the files of the patient that were left alone (`skipped`), and each
    slice's number and files.

    `intensities.csv` has the brightness within structures, and where fat can be told `fat_fraction.csv` and
    `fat_estimate.csv` how much there is; all from `tissue`, by default of these results.

    `suitability` is the light of each image by case_id, where one is known: run.json has it with its reasons, the
    overlays, cuts and animation of an image that is not green have its word above them, and so have its labels in
    the head of their files, where no pixel changes. Tables take it from the measurements. `intervals` are those of
    means and volumes. Where `details` tells of labels that a person corrected (`corrected`), the labels' heads and
    the workbook say so.
    """
    folder = Path(folder)
    lights = {case_id: one.light.value for case_id, one in (suitability or {}).items()}
    if not results:
        raise DataError(f"There is no result to write to {folder}. Choose a folder with images.")
    _check_case_ids(results)
    results = [(image, _placed(label_map, image)) for image, label_map in results]
    if measurements is None:
        measurements = [
            row for image, label_map in results for row in measure_areas(label_map, image=image, model=model_name)
        ]
    if tissue is None:
        tissue = join_tissue([measure_tissue(label_map, image) for image, label_map in results])
    images, label_maps = zip(*results, strict=True)
    stems, pictures = slice_stems(images), overlay_stems(images)
    volumes = unique_names([safe_name(image.source.case_id) for image, _ in results])
    left_out = []
    with whole_folder(folder) as temporary:
        for (image, label_map), names, drawn, volume in zip(results, stems, pictures, volumes, strict=True):
            light = lights.get(image.source.case_id, "")
            by_hand = "corrected by hand" if correction_of(image, details) else ""
            in_head = "; ".join(filter(None, [by_hand, f"suitability: {light}" if light else ""]))
            _write_labels(temporary / "labels", label_map, names, in_head)
            for name, picture in zip(drawn, overlay_slices(image, label_map), strict=True):
                write_jpg(temporary / "overlays" / f"{name}.jpg", carrying_light(picture, light))
            for cuts in cuts_of(image, label_map):
                picture = carrying_light(draw_cut(cuts), light)
                write_jpg(temporary / "cuts" / f"{volume}_{safe_name(cuts.name)}.jpg", picture)
            unknown = _unknown_distance(image)
            if unknown:
                left_out.append(f"{volume}.nii.gz: the {unknown} is unknown.")
            else:
                write_nifti(temporary / f"{volume}.nii.gz", label_map, description=in_head)
        if is_animated:
            scenes = choose_scenes(images, label_maps, max_frames=MAX_GIF_FRAMES)
            write_gif(temporary / "animation.gif", draw_scenes(scenes, least=GIF_PIXELS, lights=lights), 200)
        _write_tables(
            temporary,
            measurements,
            model_name=model_name,
            details=details,
            skipped=skipped,
            suitability=suitability,
            intervals=intervals,
            tissue=tissue,
        )
        # Label pictures and NIfTI hold one label a pixel: whoever counts them must know what lies inside what.
        structures = list({s.label: s for m in label_maps for s in m.structures}.values())
        write_structures(temporary / "structures.csv", structures)
        if structures:
            write_label_colours(temporary / "colours", structures)
        record = _describe_run(results, stems, pictures, model_name, measurements, suitability or {})
        record |= {"left_out": left_out, "left_alone": _left_alone(skipped), "details": dict(details or {})}
        if write_more is not None:
            write_more(temporary)
        write_record(temporary / "run.json", record, indent=2)
    return folder


def correction_of(image: Image, details: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Give what is told of the correction of an image; None where nobody changed its labels."""
    told = (details or {}).get("corrected", ())
    return next((one for one in told if one["case_id"] == image.source.case_id), None)


def _unknown_distance(image: Image) -> str:
    """Say which distance a NIfTI file of this image would have to invent; "" if it has none to invent."""
    if image.affine is None:
        return "size of a pixel"
    is_spaced = image.shape[0] == 1 or image.source.slice_spacing_source != "none"
    return "" if is_spaced else "distance between its slices"


def write_tables(folder: Path, measurements: Sequence[Measurement], *, tissue: Tissue | None = None) -> Path:
    """Write `areas.csv` (wide), `areas.xlsx`, `measurements.csv` (tidy), `patients.csv`.

    Where there is something to write, also `levels.csv`, `asymmetry.csv`, and of `tissue` `intensities.csv`,
    `fat_fraction.csv` and `fat_estimate.csv`.
    """
    with whole_folder(Path(folder)) as temporary:
        _write_tables(temporary, measurements, tissue=tissue)
    return Path(folder)


def areas_sheets(
    measurements: Sequence[Measurement],
    *,
    model_name: str = "",
    details: Mapping[str, Any] | None = None,
    skipped: Sequence[SkippedFile] = (),
    suitability: Mapping[str, Suitability] | None = None,
    intervals: Sequence[PatientInterval] = (),
    tissue: Tissue | None = None,
) -> list[Sheet]:
    """Give the sheets of `areas.xlsx`: areas (flagged cells marked), measurements, by patient, about.

    "by level" is there where levels are known, "left alone" where files were. The light of each image stands with
    its reasons at the top of "about", and in a column of every other sheet: amber is marked, red in red.
    """
    areas = areas_table(measurements, intervals)
    column_of = {name: number for number, name in enumerate(areas.columns)}
    lines: list[tuple[Measurement, ...]] = []  # what stands in each; nothing of its own in those of the statistics
    for block in area_blocks(measurements):
        lines += [*block.rows, *[()] * len(block.statistics)]
    marked = frozenset(
        (number, column_of[least_column(row.column) if row.is_cut_off else row.column])
        for number, rows in enumerate(lines)
        for row in rows
        if row.flags
    )
    below = frozenset(number for number, rows in enumerate(lines) if not rows)
    tidy = measurements_table(measurements)
    sheets = [Sheet("areas", areas, marked, below), Sheet("measurements", tidy)]
    sheets.append(Sheet("by patient", patients_table(measurements, intervals)))
    levels = levels_table(measurements)
    sheets += [Sheet("by level", levels)] if len(levels) else []
    asymmetry = asymmetry_table(measurements, cohort=() if model_name else measurements)
    sheets += [Sheet("left and right", asymmetry)] if len(asymmetry) else []
    sheets += [Sheet(name.replace("_", " "), table) for name, table in tissue_tables(tissue, measurements).items()]
    sheets = [_with_lights(sheet) for sheet in sheets]
    lights = lights_by_image(suitability, [row.case_id for row in measurements]) if suitability else []
    said = [(f"suitability of {who}", say_light(one)) for who, one in lights]
    about = _about(measurements, model_name, details or {}, len(skipped), said)
    amber, red = _marks(["" if one is None else one.light for _, one in lights], 1)
    sheets.append(Sheet("about", about, amber, red=red))
    left = pd.DataFrame(_left_alone(skipped), columns=["file", "reason"])
    return [*sheets, *([Sheet("left alone", left)] if skipped else [])]


def _with_lights(sheet: Sheet) -> Sheet:
    """Mark the column with the lights."""
    if "suitability" not in sheet.table:
        return sheet
    amber, red = _marks(sheet.table["suitability"].tolist(), list(sheet.table.columns).index("suitability"))
    return replace(sheet, marked=sheet.marked | amber, red=red)


def _marks(lights: Sequence[str], column: int) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
    """Give the cells of a column that are amber, and those that are red, of one light a row."""
    amber, red = (
        frozenset((row, column) for row, light in enumerate(lights) if light == wanted)
        for wanted in (Light.AMBER, Light.RED)
    )
    return amber, red


def _left_alone(skipped: Sequence[SkippedFile]) -> list[dict[str, str]]:
    """Name the files that were not read, each with the reason; without their folders, as all files of a run."""
    return [{"file": one.path.name, "reason": one.reason} for one in skipped]


def _about(
    measurements: Sequence[Measurement],
    model_name: str,
    details: Mapping[str, Any],
    skipped: int,
    lights: Sequence[tuple[str, str]],
) -> pd.DataFrame:
    pixels = dict.fromkeys(
        "unknown"
        if row.pixel_row_mm is None or row.pixel_column_mm is None
        else f"{row.pixel_row_mm:.6g} × {row.pixel_column_mm:.6g} mm ({row.spacing_source})"
        for row in measurements
    )
    in_pixels = in_pixels_note(measurements)
    cleaned = dict.fromkeys(f"{name}: {how}" for one in details.get("cleaned", ()) for name, how in one.items())
    facts = {
        "model": model_name or "none: labels that were drawn",
        "written": f"{datetime.now():%Y-%m-%d %H:%M}",
        "corrected by hand": " ".join(f"{one['case_id']}: {one['words']}" for one in details.get("corrected", ())),
        "pixel (between rows × between columns), and whence": "; ".join(pixels),
        "area": "number of labelled pixels on the slice as it was acquired × area of one pixel",
        "at least": ABOUT_CUT_OFF if any(row.is_cut_off for row in measurements) else "",
        "areas in pixels": in_pixels,
        "intervals": details.get("about_intervals", ""),
        "slice": "counts from 1 in the order of the body, as on the screen and in the names of the overlays",
        "cleaned, each structure on each slice": "; ".join(cleaned),
        "amber cells": "areas with a flag; the flags column says which",
        "images": len({row.case_id for row in measurements}),
        "flagged areas": sum(bool(row.flags) for row in measurements),
        "not found": " ".join(missing_notes(find_missing(measurements))) if model_name else "",
        "autoseg": details.get("autoseg", ""),
        **{what: number for what, number in details.get("versions", {}).items() if what != "autoseg"},
        "kept epoch of the model": details.get("best_epoch", ""),
        "version of measuring": MEASUREMENT_VERSION,
        "files left alone": skipped,
    }
    # Two models of one name, averaged or joined, are two lines.
    models = [(f"model {one['name']}", model_words(one)) for one in details.get("model_records", ())]
    known = [(what, value) for what, value in facts.items() if value != ""]
    return pd.DataFrame([*lights, *known, *models], columns=["what", "value"])


def model_words(record: Mapping[str, Any]) -> str:
    """Give what `model.identity.model_record` gave as a line of a table."""
    cleaned = "; ".join(f"{name}: {how}" for name, how in record["postprocess"].items())
    made_with = ", ".join(f"{what} {number}" for what, number in record["versions"].items())
    parts = (
        f"digest {record['digest']}",
        f"digest of its settings {record['settings_digest']}",
        f"digest of its cleaning {record['postprocess_digest']} ({cleaned or 'none'})",
        f"kept epoch {record['best_epoch']}",
        f"trained {record['trained']}" if record["trained"] else "",
        f"with {made_with}" if made_with else "",
    )
    return ", ".join(filter(None, parts))


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


def _write_labels(folder: Path, label_map: LabelMap, names: Sequence[str], in_head: str) -> None:
    for name, labels in zip(names, label_map.voxels, strict=True):
        path = folder / f"{name}.png"
        write_palette_png(path, labels, label_map.structures, description=in_head)
        if not np.array_equal(read_picture(path).pixels, labels):
            raise OutputError(f"labels/{path.name} reads back differently than it was written; nothing was saved.")


def _write_tables(
    folder: Path,
    measurements: Sequence[Measurement],
    *,
    model_name: str = "",
    details: Mapping[str, Any] | None = None,
    skipped: Sequence[SkippedFile] = (),
    suitability: Mapping[str, Suitability] | None = None,
    intervals: Sequence[PatientInterval] = (),
    tissue: Tissue | None = None,
) -> None:
    write_table(folder / "measurements.csv", measurements_table(measurements))
    write_table(folder / "areas.csv", areas_table(measurements, intervals), marked=True)
    sheets = areas_sheets(
        measurements,
        model_name=model_name,
        details=details,
        skipped=skipped,
        suitability=suitability,
        intervals=intervals,
        tissue=tissue,
    )
    write_workbook(folder / "areas.xlsx", sheets)
    write_table(folder / "patients.csv", patients_table(measurements, intervals), marked=True)
    levels = levels_table(measurements)
    if len(levels):
        write_table(folder / "levels.csv", levels, marked=True)
    asymmetry = asymmetry_table(measurements, cohort=() if model_name else measurements)
    if len(asymmetry):
        write_table(folder / "asymmetry.csv", asymmetry)
    for name, table in tissue_tables(tissue, measurements).items():
        write_table(folder / f"{name}.csv", table)


def tissue_tables(tissue: Tissue | None, measurements: Sequence[Measurement]) -> dict[str, pd.DataFrame]:
    """Give the tables of brightness and fat by the names of their files, those that have rows.

    At their end is suitability, the light of the image, where one is known of the measurements.
    """
    found = tissue or Tissue()
    tables = {"intensities": found.intensities, "fat_fraction": found.fat, "fat_estimate": found.estimates}
    lights = {row.case_id: row.suitability for row in measurements if row.suitability}
    shown = {}
    for name, rows in tables.items():
        if rows:
            table = tissue_table(rows)
            light = {"suitability": [lights.get(case_id, "") for case_id in table["case_id"]]} if lights else {}
            shown[name] = table.assign(**light)
    return shown


def _describe_run(
    results: Sequence[Result],
    stems: Sequence[Sequence[str]],
    pictures: Sequence[Sequence[str]],
    model_name: str,
    measurements: Sequence[Measurement],
    suitability: Mapping[str, Suitability],
) -> dict[str, Any]:
    """Give run.json's content; of paths only the file's name, as folders are often called like patients."""
    structures = {s.label: s for _, label_map in results for s in label_map.structures}
    return {
        "format": FORMAT,
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
                "spacing_mm": None if image.affine is None else [round(value, 6) for value in image.spacing_mm],
                "spacing_source": image.source.spacing_source,
                "slice_spacing_source": image.source.slice_spacing_source,
                "suitability": plain_suitability(suitability.get(image.source.case_id)),
                "slices": [
                    {
                        "slice": image.slice_number(index),
                        "name": name,
                        "overlay": overlay,
                        "file": source.path.name,
                        "frame": source.frame,
                        "sop_uid": source.sop_uid,
                    }
                    for index, (name, overlay, source) in enumerate(
                        zip(names, drawn, image.source.slices, strict=False)
                    )
                ],
            }
            for (image, _), names, drawn in zip(results, stems, pictures, strict=True)
        ],
        "suitability": plain_suitability(light_of_run(suitability, [image.source.case_id for image, _ in results])),
        "flagged_areas": sum(bool(row.flags) for row in measurements),
        "not_found": [asdict(one) for one in find_missing(measurements)],
    }


def _describe_structure(structure: Structure) -> dict[str, Any]:
    return {
        "label": structure.label,
        "name": structure.name,
        "colour": hex_colour(structure.rgb),
        "side": structure.side,
        **({"includes": list(structure.includes)} if structure.includes else {}),
        **{what: words for what in ("category", "type") if (words := getattr(structure, what))},
    }
