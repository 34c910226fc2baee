"""Commands that look at images and labels, and measure what was drawn."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.cli.options import MOST_LEFT_ALONE, fat_channels, find, only_cases, print_note, typed_calibration
from autoseg.cli.using import print_areas, print_tissue
from autoseg.words import counted, size_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoseg.data.cases import CaseFolder
    from autoseg.data.checks import Finding
    from autoseg.measurement.readers import Reading


# More findings make a picture that no program shows.
MOST_DRAWN = 20


def check(chosen: argparse.Namespace) -> None:
    """Show the pairs and what is wrong with them; write down what was not drawn, or what is to be mended."""
    from autoseg.data.cases import declare_absent, declare_missing, keep_names, pairs_table
    from autoseg.data.checks import check_cases
    from autoseg.errors import DataError
    from autoseg.files.atomic import one_step

    found = find(chosen)
    print(pairs_table(found).to_string(index=False))
    said: list[str] = []
    with one_step(found.folder) if chosen.not_drawn or chosen.same_names or chosen.not_there else nullcontext():
        for name in chosen.not_drawn or ():
            found = declare_missing(found, name)
            where = found.folder / "annotated.csv"
            said.append(f"{name}: written down as not drawn wherever it is not visible ({where}).")
        if chosen.same_names:
            found = keep_names(found)
            said.append(f"Names that look alike are one structure: kept in {found.folder / 'structures.csv'}.")
        for name in chosen.not_there or ():
            found = declare_absent(found, name)
            said.append(f"{name}: written down as looked for everywhere ({found.folder / 'annotated.csv'}).")
    for line in said:
        print(line)
    findings = check_cases(found)
    offered = [finding for finding in findings if finding.repairs]
    for finding in findings:
        number = f" [repair {offered.index(finding) + 1}]" if finding.repairs else ""
        words = (finding.case_id, finding.problem, finding.cause, finding.remedy)
        print(f"{finding.severity}: {' '.join(filter(None, words))}{number}")
    if offered and not chosen.repair:
        print("A repair is kept with --repair and its number; your own files stay as they are.")
    if findings and chosen.pictures is None:
        print("--pictures FILE.png draws the findings.")
    if chosen.pictures is not None:
        _draw(findings, found, chosen.pictures)
    if chosen.repair:
        _repair(found, offered, chosen.repair, chosen.threshold)
        return
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        raise DataError(f"{counted(errors, 'error')} to be mended before a training; listed above.")
    print(f"{counted(len(found.cases), 'pair')} can be learnt from.")


def _draw(findings: Sequence[Finding], found: CaseFolder, path: Path) -> None:
    from autoseg.files.atomic import whole_file
    from autoseg.report.figures import show_findings

    with whole_file(path) as temporary:
        show_findings(findings, found, most=MOST_DRAWN).savefig(temporary, format="png")
    print(f"Saved: {path}")


def _repair(found: CaseFolder, offered: Sequence[Finding], numbers: Sequence[int], threshold: float | None) -> None:
    from autoseg.data.repairs import add_repairs, settle
    from autoseg.errors import DataError

    wrong = [number for number in numbers if not 1 <= number <= len(offered)]
    if wrong:
        raise DataError(f"There is no repair {wrong[0]}; {len(offered)} are offered. Choose one of their numbers.")
    repairs = [
        settle(repair.case_id, "threshold", threshold=threshold)
        if repair.kind == "threshold" and threshold is not None
        else repair
        for number in numbers
        for repair in offered[number - 1].repairs
    ]
    add_repairs(found.folder, repairs, seen=found.repairs)
    for repair in repairs:
        print(f"{repair.case_id}: {repair.words}. Kept in {found.folder / 'repairs.csv'}; your files stay.")


def series(chosen: argparse.Namespace) -> None:
    """Show the DICOM series of a folder as a table, and as pictures in a file if wanted."""
    from autoseg.data.codes import coded_series, is_without_ids
    from autoseg.files.dicom.series import find_series
    from autoseg.files.dicom.table import series_table

    is_coded = is_without_ids(chosen.folder)
    found = coded_series(find_series(chosen.folder)) if is_coded else find_series(chosen.folder)
    table = series_table(found)
    if is_coded:  # a person typed the description, and the date may be known
        table = table.drop(columns=["description", "date"])
    else:
        table.insert(1, "folder", [_folder_of(one.files, found.folder) for one in found.series])
    table.insert(1 if is_coded else 2, "patient", [one.subject_id for one in found.series])
    print(table.to_string(index=False, na_rep=""))
    for skipped in [file for file in found.skipped if not file.hidden][:MOST_LEFT_ALONE]:
        print(f"Left alone: {skipped.path} ({skipped.reason})")
    if chosen.picture is not None:
        from autoseg.files.atomic import whole_file
        from autoseg.report.figures import show_series

        with whole_file(chosen.picture) as temporary:
            show_series(found).savefig(temporary, format="png")
        print(f"Saved: {chosen.picture}")


def _folder_of(files: Sequence[Path], within: Path) -> str:
    """Give the folder that holds all of these files, as seen from the one that was searched."""
    folder = os.path.commonpath([path.parent for path in files])
    return Path(os.path.relpath(folder, within)).as_posix()


def raters(chosen: argparse.Namespace) -> None:
    """Show how the raters of a folder agree, and whether a model is as good as one of them."""
    from autoseg.cli.options import load_models
    from autoseg.data.cases import read_rater_labels
    from autoseg.evaluation.second_reader import (
        drawn_by_several,
        read_beside_folds,
        read_beside_model,
        read_readers,
    )
    from autoseg.image.raters import rater_agreement
    from autoseg.measurement.readers import Margin, judge_model
    from autoseg.report.score_files import write_readers

    margin = Margin.read(chosen.margin or "")
    found = find(chosen)
    if chosen.model is not None:
        (model,) = load_models(chosen.model, ())
        read = read_beside_model(found, model)
    elif chosen.folds_of is not None:
        read = read_beside_folds(found, chosen.folds_of)
    else:
        read = read_readers(found)
    for case in drawn_by_several(found.cases):
        label_maps, names = read_rater_labels(case, found.structures)
        print(f"{case.case_id}:")
        print(rater_agreement(label_maps, names).to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    print_readers(read.readings)
    for note in read.notes:
        print(f"Note: {note}")
    verdicts = judge_model(read.readings, margin=margin, one_reader=chosen.one_reader)
    for verdict in verdicts:
        print(verdict.sentence)
    if chosen.output is not None:
        written = write_readers(chosen.output, read.readings, verdicts)
        print(f"Saved in {chosen.output}: {', '.join(path.name for path in written)}")


def print_readers(readings: Sequence[Reading]) -> None:
    """Print how each pair of readers, and the model with each, agree; by patient."""
    from autoseg.measurement.readers import agree, short_table

    print("\nAreas of each two beside each other, patient by patient (second − first):")
    print(short_table(agree(readings)).to_string(index=False))


def export(chosen: argparse.Namespace) -> None:
    """Write a folder of cases as nnU-Net's raw data set or a BIDS data set, or a model as ONNX."""
    from autoseg.data.bids import write_bids
    from autoseg.data.nnunet import write_nnunet

    if chosen.onnx is not None:
        export_model(chosen)
        return
    found = find(chosen)
    if chosen.bids is not None:
        notes = write_bids(found, chosen.bids, suffixes=chosen.suffix)
    else:
        notes = write_nnunet(found, chosen.nnunet, folds=chosen.folds, seed=chosen.seed)
    for note in notes:
        print_note(note)
    print(f"Saved in {chosen.bids or chosen.nnunet}")


def export_model(chosen: argparse.Namespace) -> None:
    """Write a model as ONNX, with the reader and the card."""
    from autoseg.cli.options import load_models
    from autoseg.model.exported import write_onnx

    (model,) = load_models(chosen.folder, ())
    names = write_onnx(model, chosen.onnx, model_file=chosen.folder)
    print(
        f"Saved in {chosen.onnx}: {', '.join(names)}. python {chosen.onnx / 'segment.py'} uses it without autoseg."
    )


def deidentify(chosen: argparse.Namespace) -> None:
    """Make copies that can leave, and say what was done and what nobody can know."""
    from autoseg.data.codes import key_path
    from autoseg.data.deidentify import SECRET, TABLE, deidentify_folder
    from autoseg.files.dicom.writing.confidentiality import Profile

    made = deidentify_folder(
        chosen.folder,
        chosen.into,
        profile=Profile(chosen.dates, chosen.keep_descriptions, chosen.keep_characteristics),
        take_burnt_in=chosen.take_burnt_in,
    )
    for reason, count in made.left_out:
        print(f"Left out: {counted(count, 'file')}: {reason}")
    for sentence in made.not_known:
        print_note(sentence)
    print(
        f"{counted(made.files, 'file')} of {counted(made.patients, 'patient')} in {made.folder}; what was done "
        f"stands in {TABLE}. Which code is which patient: {key_path()}; what UIDs and dates follow from: "
        f"{key_path().with_name(SECRET)}. Both stay here."
    )


def old_table(chosen: argparse.Namespace) -> None:
    """Put right a table of the published workbench, print it, and write it beside the old one."""
    from autoseg.errors import GeometryError
    from autoseg.files.old_table import read_old_table
    from autoseg.measurement.old_table import (
        NativePixels,
        OldPixel,
        put_right,
        read_native_pixels,
        write_put_right,
    )
    from autoseg.words import read_numbers

    view = read_numbers(" ".join(chosen.field_of_view_mm), "field of view")
    matrix = read_numbers(" ".join(chosen.matrix_size), "matrix size")
    size, spacing = chosen.image_size, chosen.pixel_spacing_mm
    if view is None or matrix is None or (size is None) != (spacing is None):
        raise GeometryError(
            "Something is missing: the field of view and the matrix size, and of the images either the folder of "
            "their DICOM files (--dicom), or both --image-size and --pixel-spacing-mm."
        )
    made = put_right(
        read_old_table(chosen.table, areas=chosen.areas, decimal=chosen.decimal),
        OldPixel(view, matrix),
        native=None if chosen.dicom is None else read_native_pixels(chosen.dicom),
        typed=None if size is None else NativePixels(size[0], size[1], (spacing[0], spacing[1])),
        grid=chosen.grid,
    )
    print(made.shown.to_string(index=False, na_rep=""))
    for line in made.why:
        print(line)
    for note in made.notes:
        print_note(note)
    print(f"Saved: {write_put_right(made, chosen.table, chosen.output)}")


def measure(chosen: argparse.Namespace) -> None:
    """Measure the areas of drawn labels."""
    from autoseg.measurement.areas import measure_areas
    from autoseg.measurement.drawn import read_to_measure
    from autoseg.measurement.morphometry.obliquity import with_obliquity
    from autoseg.measurement.tissue import join_tissue, measure_tissue
    from autoseg.report.area_tables import in_pixels_note
    from autoseg.report.export import write_tables
    from autoseg.words import GraveNote

    notes: dict[str, None] = {}
    found = only_cases(find(chosen), chosen.case)
    measurements, parts, channels = [], [], fat_channels(chosen)
    for image, label_map in read_to_measure(found, typed_calibration(chosen), on_note=notes.setdefault):
        measurements += with_obliquity(measure_areas(label_map, image=image), label_map)
        parts.append(measure_tissue(label_map, image, channels))
    tissue = join_tissue(parts)
    notes |= dict.fromkeys(tissue.notes)
    for note in notes:
        print_note(note)
    in_pixels = in_pixels_note(measurements)
    if in_pixels:
        print_note(GraveNote(in_pixels))
    print_areas(measurements, cohort=measurements)
    print_tissue(tissue)
    if chosen.output is not None:
        print(f"Saved in {write_tables(chosen.output, measurements, tissue=tissue)}")


def cache(chosen: argparse.Namespace) -> None:
    """Show what lies in the cache, limit it or delete it."""
    from autoseg.files.cache import cache_folder, clear, limit_of, set_limit, size_of

    folder = cache_folder()
    if chosen.limit_gb is not None:
        set_limit(folder, chosen.limit_gb)
    if chosen.clear:
        deleted = clear(folder)
        print(f"Deleted: {size_words(deleted) if deleted else 'nothing, for nothing was there'}.")
    limit, size = limit_of(folder), size_of(folder)
    most = f", of {size_words(round(limit))} at most" if limit < float("inf") else ""
    held = f"{size_words(size)} of pixels" if size else "no pixels"
    print(f"In {folder} are {held} of patients' images{most}.")
