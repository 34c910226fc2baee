"""Commands for labels that a person corrects, and for two models along one volume."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.cli.options import (
    ONLY,
    add_calibration,
    add_show_red,
    add_voxel_sizes,
    load_models,
    print_note,
    typed_calibration,
)
from autoseg.cli.using import add_centreline, add_cleaning, add_no_quality, print_run, run_options

if TYPE_CHECKING:
    from autoseg.data.corrections.kit import Kit
    from autoseg.data.corrections.read import Correction

Command = Callable[[str, Callable[[argparse.Namespace], None], str], argparse.ArgumentParser]


def add_correcting_commands(command: Command) -> None:
    """Add `correct write`, `correct read` and `combine` to the parser."""
    correct = command("correct", write, "Correct labels by hand in ITK-SNAP, 3D Slicer or FSLeyes, and keep them.")
    steps = correct.add_subparsers(required=True, metavar="write | read")
    text = "Write images and labels, with names and colours, to a new folder to be corrected in."
    writing = steps.add_parser("write", help=text, description=text)
    writing.set_defaults(run=write)
    writing.add_argument("folder", type=Path, help="a patient's images (with --model), or images and their labels")
    writing.add_argument("--model", type=Path, help="a .pt file of trained_model that draws the labels")
    writing.add_argument("--output", type=Path, default=Path("to_correct"), help="the new folder")
    writing.add_argument(
        "--finer",
        type=int,
        default=1,
        metavar="TIMES",
        help="make slices finer for the hand: 3 makes nine of a pixel",
    )
    writing.add_argument(
        "--method", choices=("cubic", "linear"), default="cubic", help="how the image is made finer"
    )
    writing.add_argument("--case", nargs="+", metavar="ID", help="only these images")
    add_centreline(writing)
    add_cleaning(writing)
    add_calibration(writing)
    add_voxel_sizes(writing)

    text = "Read corrected labels back, show what was changed, and keep them in a folder to learn from."
    reading = steps.add_parser("read", help=text, description=text)
    reading.set_defaults(run=read)
    reading.add_argument("folder", type=Path, help="the folder that 'correct write' made")
    reading.add_argument("--by", required=True, metavar="WHO", help="who corrected: initials are enough")
    reading.add_argument(
        "--into", type=Path, metavar="FOLDER", help="keep them here; without it they are only shown"
    )
    reading.add_argument(
        "--checked",
        default="changed",
        metavar="SLICES",
        help="the slices that somebody looked at: changed (default; not those that were filled between others), "
        "all, or numbers from 1: '4-9 12'. The others are not learnt from",
    )
    reading.add_argument("--structures", nargs="+", metavar="NAME", help="those that were looked at (default: all)")
    reading.add_argument("--case", metavar="ID", help="only this image")
    reading.add_argument("--file", type=Path, help="where the corrected labels were saved, if not in their place")
    reading.add_argument("--note", default="", help="a remark to keep")
    reading.add_argument(
        "--exchanged-on-purpose", action="store_true", help="a structure was given another's place on purpose"
    )

    combine_ = command("combine", combine, "Segment a folder with one model above a height and another one below.")
    combine_.add_argument("upper", type=Path, help="the .pt file of the model for what lies above")
    combine_.add_argument("lower", type=Path, help="the .pt file of the model for what lies below")
    combine_.add_argument("folder", type=Path, help="the patient's images")
    where = combine_.add_mutually_exclusive_group(required=True)
    where.add_argument("--at-mm", type=float, metavar="Z", help="where they meet: patient coordinate to the head")
    where.add_argument("--at-slice", type=int, metavar="N", help="or: the number of the upper model's lowest slice")
    where.add_argument(
        "--at-level", metavar="LEVEL", help="or: the upper model's lowest level, where they are known"
    )
    combine_.add_argument("--blend-mm", type=float, default=0.0, help="over which they blend (default: 0)")
    combine_.add_argument("--output", type=Path, default=Path("predictions"))
    combine_.add_argument("--series", nargs="+", metavar="ID", help=ONLY)
    add_show_red(combine_)
    add_no_quality(combine_)
    add_centreline(combine_)
    add_cleaning(combine_)
    add_calibration(combine_)
    add_voxel_sizes(combine_)


def write(chosen: argparse.Namespace) -> None:
    """Write labels to be corrected: a model's of a patient, or those of a folder of cases."""
    from autoseg.prediction.run import labels_to_correct, segment_to_correct

    options = {"factor": chosen.finer, "method": chosen.method}
    if chosen.model is not None:
        with run_options(chosen) as more:
            kit = segment_to_correct(
                load_models(chosen.model, ()),
                chosen.folder,
                chosen.output,
                only=chosen.case,
                typed=typed_calibration(chosen),
                **options,
                **more,
            )
    else:
        from autoseg.data.cases import find_cases
        from autoseg.errors import DataError

        if chosen.centrelines:
            raise DataError(
                "--centreline is for a model that looks around it. Name the model (--model), or leave it out."
            )
        if chosen.erosions is not None or chosen.largest_piece or chosen.fill_holes:
            raise DataError(
                "--erosions, --largest-piece and --fill-holes clean what a model finds. Name the model (--model), "
                "or leave them out."
            )
        found = find_cases(chosen.folder, unlabelled="skip")
        kit = labels_to_correct(found, chosen.output, case_ids=chosen.case, **options)
    _print_kit(kit)


def read(chosen: argparse.Namespace) -> None:
    """Read corrected labels back, show the changes, and keep them if a folder is given."""
    from autoseg.data.corrections.keep import keep_correction
    from autoseg.data.corrections.kit import read_kit
    from autoseg.data.corrections.read import read_correction
    from autoseg.errors import DataError

    known = [case.case_id for case in read_kit(chosen.folder).cases]
    wanted = [chosen.case] if chosen.case is not None or chosen.file is not None else known
    if len(wanted) > 1 and chosen.checked not in ("changed", "all"):
        raise DataError(f"Slices {chosen.checked} are of one image. Say of which (--case): {', '.join(known)}.")
    for case_id in wanted:
        correction = read_correction(
            chosen.folder,
            by=chosen.by,
            file=chosen.file,
            case_id=case_id,
            exchanged_on_purpose=chosen.exchanged_on_purpose,
        )
        _print_correction(correction)
        if chosen.into is None or (chosen.checked == "changed" and not correction.is_changed):
            continue
        row = keep_correction(
            correction, chosen.into, checked=chosen.checked, structures=chosen.structures, note=chosen.note
        )
        others = "the others stay as they were" if row.earlier_file else "the others are not learnt from"
        count = correction.label_map.shape[0]
        rest = "" if row.checked == "all" else f" (slices {row.checked} of {count}; {others})"
        print(f"Kept in {chosen.into / row.label_file}{rest}.")
        if row.earlier_file:
            print(f"The labels before are in {chosen.into / row.earlier_file}.")
    if chosen.into is None:
        print("Nothing was kept. With --into FOLDER they are kept to learn from.")


def combine(chosen: argparse.Namespace) -> None:
    """Segment a folder with two models along the body, measure and save."""
    from autoseg.prediction.run import combine_folder

    (upper,), (lower,) = load_models(chosen.upper, ()), load_models(chosen.lower, ())
    with run_options(chosen) as options:
        run = combine_folder(
            upper,
            lower,
            chosen.folder,
            output=chosen.output,
            at_mm=chosen.at_mm,
            at_slice=None if chosen.at_slice is None else chosen.at_slice - 1,
            at_level=chosen.at_level,
            blend_mm=chosen.blend_mm,
            only=chosen.series,
            look=chosen.look,
            typed=typed_calibration(chosen),
            **options,
        )
    print_run(run, show_red=chosen.show_red)


def _print_kit(kit: Kit) -> None:
    for note in kit.notes:
        print_note(note)
    print(f"Open the images and labels of {kit.folder} ({len(kit.cases)}); READ_ME.txt tells how:")
    for case in kit.cases:
        print(f"  {', '.join(case.image_names)} with {case.labels_name}")
    print(f"When they are corrected and saved: autoseg correct read {kit.folder} --by WHO --into FOLDER")


def _print_correction(correction: Correction) -> None:
    from autoseg.data.corrections.read import changes_by_structure, changes_table

    print(correction.words)
    if correction.changes:
        for table in (changes_table(correction.changes), changes_by_structure(correction.changes)):
            shown = table.drop(columns=["case_id", "label"])
            print(shown.to_string(index=False, float_format="{:.1f}".format))
