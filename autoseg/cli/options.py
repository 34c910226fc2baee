"""What several commands share: how their options become cases and models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args

from autoseg.files.sources import WITHOUT_IDS
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import all_settings, show_value, value_of

if TYPE_CHECKING:
    from autoseg.data.cases import CaseFolder
    from autoseg.image.calibration import TypedCalibration
    from autoseg.measurement.tissue import FatChannels
    from autoseg.model.device.cluster import Workers
    from autoseg.model.model import TrainedModel
    from autoseg.model.trust import Suitability


def add_setting(
    parser: argparse._ActionsContainer, name: str, default: object = None, *, is_planned: bool = False
) -> None:
    """Add the option of a setting, made from what is declared of it.

    Without a default the option is None where it is not typed, so that the settings of a base or a plan count;
    `is_planned` says that a plan has it.
    """
    setting = all_settings()[name]
    usual = show_value(value_of(Settings(), name) if default is None else default) or "none"
    usual = "planned" if is_planned else usual
    words = setting.words if setting.kind is bool else f"{setting.words} Give {setting.wanted_value}."
    words = f"{setting.title}. {words}"
    more: dict[str, Any] = {"type": setting.kind, "metavar": setting.unit.upper() or None}
    if setting.kind is bool:
        more = {"action": "store_const", "const": True}
    elif setting.choices:
        more = {"choices": setting.choices}
    elif kinds := get_args(setting.kind):
        names = tuple(setting.written.strip("()").upper().split(", "))
        more = {"type": kinds[0], "nargs": len(kinds), "metavar": names}
    words = f"{words} (default: {usual})".replace("%", "%%")
    parser.add_argument(f"--{setting.short.replace('_', '-')}", default=default, help=words, **more)


def typed_settings(chosen: argparse.Namespace) -> dict[str, object]:
    """Give the settings whose own options were typed, by their names."""
    given = {name: getattr(chosen, setting.short) for name, setting in all_settings().items() if setting.option}
    return {name: value for name, value in given.items() if value is not None}


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Add the millimetres that a person types."""
    missing = (
        "where the header has no spacing: what the whole image spans, one number or two (top to bottom, side to "
        "side); or one for each size of image, such as 512x512=240 256x192=200x150. Without it areas are in pixels"
    )
    parser.add_argument("--field-of-view-mm", nargs="+", metavar="MM", help=missing)
    parser.add_argument("--matrix-size", type=int, nargs="+", metavar="N", help="rows and columns, as a check")
    parser.add_argument("--prefer", choices=("header", "typed"), help="which to trust where both are known")
    if not any(action.dest == "pixel_spacing_mm" for action in parser._actions):  # else it says how files are read
        size = "or the size of a pixel, in place of the field of view"
        parser.add_argument(
            "--pixel-spacing-mm", dest="pixel_mm", type=float, nargs=2, metavar=("ROWS", "COLUMNS"), help=size
        )


def typed_calibration(chosen: argparse.Namespace) -> TypedCalibration:
    """Give the millimetres that were typed, one number as it is."""
    from autoseg.image.calibration import TypedCalibration
    from autoseg.words import read_field_of_view

    matrix = chosen.matrix_size
    return TypedCalibration(
        read_field_of_view(chosen.field_of_view_mm or ()),
        matrix[0] if matrix is not None and len(matrix) == 1 else matrix,
        chosen.prefer,
        getattr(chosen, "pixel_mm", None),
    )


def add_voxel_sizes(parser: argparse._ActionsContainer) -> None:
    """Add the answer for NIfTI files whose header gives two sizes of a voxel."""
    words = "which size of a voxel holds where a NIfTI header gives two; kept beside the data (voxel_sizes.csv)"
    parser.add_argument("--voxel-sizes", choices=("sform", "pixdim"), help=words)


def add_workers(parser: argparse._ActionsContainer, what: str) -> None:
    """Add who does several pieces of work at once."""
    few = f"so many processes of this computer, each for {what} (default: one after the other); autoseg[cluster]"
    parser.add_argument("--workers", type=int, metavar="N", help=few)
    many = "the address of a Dask scheduler (tls://…), or its file, whose workers do it in place of this computer"
    parser.add_argument("--scheduler", default="", metavar="ADDRESS", help=many)


def workers_of(chosen: argparse.Namespace) -> Workers | None:
    """Give who works, as it was typed; None: this process alone."""
    if chosen.workers is None and not chosen.scheduler:
        return None
    from autoseg.model.device.cluster import Workers

    return Workers(chosen.workers, chosen.scheduler)


def add_without_ids(parser: argparse.ArgumentParser) -> None:
    """Add the switch to a command that reads a folder of images, and to the commands within it."""
    for action in parser._actions:
        for sub in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():
            add_without_ids(sub)
    names = {action.dest for action in parser._actions}
    if "folder" in names and "into" not in names:  # labels that come back have codes already, or IDs
        words = (
            f"write codes in place of patient IDs and of names of files, also the next time ({WITHOUT_IDS}, beside "
            "the data, keeps it; delete it to have IDs written again)"
        )
        parser.add_argument("--without-ids", action="store_true", help=words)


def keep_without_ids(chosen: argparse.Namespace) -> None:
    """Keep beside the data that codes shall stand for patients, where that was typed, before anything is read."""
    if getattr(chosen, "without_ids", False):
        from autoseg.data import codes

        print(codes.keep_without_ids(chosen.folder))


def hidden_output(chosen: argparse.Namespace) -> AbstractContextManager[None]:
    """Let all that a command prints name codes where one of its folders is without patient IDs."""
    from autoseg.data import codes

    folders = [getattr(chosen, name, None) for name in ("folder", "into", "reference")]
    return codes.hidden_output(*(folder for folder in folders if folder is not None))


def keep_voxel_sizes(chosen: argparse.Namespace) -> None:
    """Keep the typed answer beside the data before anything is read."""
    holds = getattr(chosen, "voxel_sizes", None)
    if holds is None:
        return
    from autoseg.data.cases.sizes import answer_voxel_sizes
    from autoseg.words import counted

    answered = answer_voxel_sizes(chosen.folder, holds)
    if not answered:
        print(f"No NIfTI file in {chosen.folder} gives two sizes of a voxel; --voxel-sizes changes nothing.")
    for words in dict.fromkeys(one.words for one in answered):
        count = sum(one.words == words for one in answered)
        print(f"{counted(count, 'file')} with {words}: the {holds} holds, which is kept in voxel_sizes.csv.")


def load_models(first: Path, further: Sequence[str]) -> list[TrainedModel]:
    """Load a model, and further ones by their files or by their names in the folder of the first.

    A name alone, where there is no such file, is that of a model which comes with autoseg.
    """
    from autoseg.errors import DataError
    from autoseg.model.model import find_named_model, load_model
    from autoseg.model.shipped import find_shipped

    shipped = None if first.exists() or first.name != str(first) else find_shipped(str(first))
    first = shipped or first
    paths = [first]
    for one in further:
        path = Path(one)
        path = path if path.suffix == ".pt" else find_named_model(first.parent, one)
        if path.resolve() in [known.resolve() for known in paths]:
            raise DataError(f"The model {path} is given twice. Name each model of a mean once.")
        paths.append(path)
    models = [load_model(path) for path in paths]
    for path, model in zip(paths, models, strict=True):
        note_guessed(path, model)
    return models


def note_guessed(path: Path, model: TrainedModel) -> None:
    """Say where patients' IDs can be found from a model file, and what helps."""
    from autoseg.model.model import GUESSED, can_be_guessed

    if can_be_guessed(model):
        print_note(f"{path} {GUESSED}. 'autoseg seal {path}' writes it anew without them lying open.")


MOST_LEFT_ALONE = 20
# For what takes series of a patient's folder.
ONLY = (
    "only these series ('autoseg series' shows them), or single images of one, by the names that the tables print"
)
AMBER, PLAIN = "\x1b[33m", "\x1b[0m"


# Of the lights, on a terminal.
COLOURS = {"green": "\x1b[32m", "amber": AMBER, "red": "\x1b[1;31m"}


def add_fat(parser: argparse.ArgumentParser) -> None:
    """Add how a person says which channels tell of fat."""
    add = parser.add_argument_group("how much of a structure is fat").add_argument
    water = "the channel that is water in a Dixon scan, for the fat fraction (default: the one called water, or w)"
    add("--water", default="", metavar="CHANNEL", help=water)
    add("--fat", default="", metavar="CHANNEL", help="the channel that is fat (default: the one called fat, or f)")
    estimate = (
        "a channel in which fat is bright: a threshold estimates the share of fat where pixels are of two kinds"
    )
    add("--estimate-fat", default="", metavar="CHANNEL", help=estimate)


def fat_channels(chosen: argparse.Namespace) -> FatChannels:
    """Give the channels that were typed."""
    from autoseg.measurement.tissue import FatChannels

    return FatChannels(chosen.water, chosen.fat, chosen.estimate_fat)


def add_show_red(parser: argparse.ArgumentParser) -> None:
    """Add how areas are printed that nobody should use unknowing."""
    parser.add_argument(
        "--show-red",
        action="store_true",
        help="print the areas of images with a red light too, which do not suit the model (what is written to "
        "files has them in any case, with the word)",
    )


def red_images(suitability: Mapping[str, Suitability]) -> list[str]:
    """Give the images that do not suit the model."""
    return [case_id for case_id, one in suitability.items() if one.light == "red"]


def print_lights(
    suitability: Mapping[str, Suitability], case_ids: Sequence[str], *, show_red: bool = False
) -> list[str]:
    """Print the light of each image, alike ones together, with its reasons; on a terminal in its colour.

    Gives the images whose numbers must not be printed, and says so.
    """
    from autoseg.words import name_some

    _print_lights(suitability, case_ids, sys.stdout)
    red = [] if show_red else red_images(suitability)
    if red:
        print(
            f"The areas of {name_some(red, 3)} are not printed, because they would mislead; with --show-red they "
            "are. What is written to files has them, with the word red."
        )
    return red


def print_red_so_far(suitability: Mapping[str, Suitability]) -> None:
    """Print which images do not suit the model, with the reasons, before anything is found on them."""
    _print_lights(suitability, red_images(suitability), sys.stderr)
    print("The segmentation goes on. Ctrl+C stops it, and nothing is written then.", file=sys.stderr)


def _print_lights(suitability: Mapping[str, Suitability], case_ids: Sequence[str], file: TextIO) -> None:
    from autoseg.report.lights import lights_by_image, say_light

    for who, one in lights_by_image(suitability, case_ids):
        colour, plain = (COLOURS[one.light], PLAIN) if one is not None and file.isatty() else ("", "")
        print(f"{colour}Suitability of {who}: {say_light(one)}{plain}", file=file)


def print_note(note: str) -> None:
    """Print a note; one that must not be missed as a warning, on a terminal in amber."""
    from autoseg.words import GraveNote

    if not isinstance(note, GraveNote):
        print(f"Note: {note}")
    elif sys.stdout.isatty():
        print(f"{AMBER}Warning: {note}{PLAIN}")
    else:
        print(f"Warning: {note}")


def find(chosen: argparse.Namespace) -> CaseFolder:
    """Find the cases of a folder as the options say, and tell what was left alone and concluded."""
    from autoseg.data.cases import Reading, find_cases

    reading = Reading(
        channels=tuple(chosen.channels or ()),
        raters=chosen.raters,
        agreeing=chosen.agreeing,
        only_levels=chosen.only_levels,
        pixel_spacing_mm=tuple(chosen.pixel_spacing_mm) if chosen.pixel_spacing_mm else None,
        plane=chosen.plane,
        trust_array=chosen.trust_array,
        single_pictures=chosen.single_pictures,
    )
    unlabelled: Literal["refuse", "skip"] = "skip" if chosen.leave_out_unlabelled else "refuse"
    found = find_cases(chosen.folder, unlabelled=unlabelled, reading=reading)
    for skipped in found.skipped[:MOST_LEFT_ALONE]:
        print(f"Left alone: {skipped.path} ({skipped.reason})")
    if len(found.skipped) > MOST_LEFT_ALONE:
        print(f"… and {len(found.skipped) - MOST_LEFT_ALONE} more files were left alone.")
    for note in found.notes:
        print(f"Note: {note}")
    return found


def only_cases(found: CaseFolder, names: Sequence[str] | None) -> CaseFolder:
    """Give the cases of these names alone; DataError where there is no such case."""
    from autoseg.errors import DataError

    known = [case.case_id for case in found.cases]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise DataError(f"{found.folder} has no case {', '.join(unknown[:5])}. It has: {', '.join(known[:20])}.")
    return found if names is None else replace(found, cases=tuple(c for c in found.cases if c.case_id in names))
