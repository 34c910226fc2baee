"""The command that measures structures along their own curve."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.cli.options import add_show_red, print_lights, print_note

if TYPE_CHECKING:
    import pandas as pd

    from autoseg.image.image import LabelMap
    from autoseg.model.trust import Suitability

# Those of `autoseg.measurement.morphometry`, which would load scipy.
ALONG = ("auto", "slices", "superior-inferior", "anterior-posterior", "right-left")
SMOOTHING_MM, STEP_MM = 6.0, 1.0


def morphometry(chosen: argparse.Namespace) -> None:
    """Measure drawn labels, or those of a run, along each structure's curve; print, save and draw."""
    from autoseg.measurement.morphometry import (
        arc_table,
        measure_morphometry,
        morphometry_levels,
        read_arc_tables,
        sections_table,
        write_morphometry,
    )

    label_maps = _label_maps(chosen)
    lights = _lights(chosen)
    _check_wishes(chosen, label_maps)
    cohort = read_arc_tables(chosen.cohort) if chosen.cohort else None
    found = measure_morphometry(
        label_maps,
        along=chosen.along,
        smoothing_mm=chosen.smoothing_mm,
        suitability={case_id: one.light.value for case_id, one in lights.items()},
    )
    case_ids = [one.source.case_id for one in label_maps]
    red = print_lights(lights, case_ids, show_red=chosen.show_red) if lights else []
    for note in found.notes:
        print_note(note)
    table = arc_table(found, step_mm=chosen.step_mm)
    told = replace(found, profiles=tuple(one for one in found.profiles if one.rows[0].case_id not in red))
    if told.profiles:
        levels = morphometry_levels(told)
        _print(_shown(sections_table(told)))
        if len(levels):
            print("\nBy level:")
            _print(levels)
    if chosen.output is not None:
        print(f"Saved in {write_morphometry(chosen.output, found, step_mm=chosen.step_mm)}")
    if chosen.enlargement is not None and told.profiles:
        _print_enlargements(arc_table(told, step_mm=chosen.step_mm), chosen.enlargement)
    if chosen.picture is not None:
        _draw(chosen, table, cohort, label_maps)


def _check_wishes(chosen: argparse.Namespace, label_maps: list[LabelMap]) -> None:
    """Refuse what cannot be done before anything is measured."""
    from autoseg.errors import DataError
    from autoseg.words import name_some

    names = list(dict.fromkeys(s.name for label_map in label_maps for s in label_map.structures))
    if chosen.enlargement is not None and chosen.enlargement not in names:
        raise DataError(f"No image has {chosen.enlargement!r}; there are: {', '.join(names)}.")
    if chosen.cohort and chosen.picture is None:
        raise DataError("A cohort is drawn as a band behind the curve: say where with --picture FILE.png.")
    cases = [label_map.source.case_id for label_map in label_maps]
    if chosen.picture is not None and chosen.case is None and len(cases) > 1:
        raise DataError(f"There are {len(cases)} images; say which to draw with --case, for instance {cases[0]}.")
    if chosen.case is not None and chosen.case not in cases:
        raise DataError(f"There is no image {chosen.case!r}; there are: {name_some(cases, 20)}.")


def _lights(chosen: argparse.Namespace) -> dict[str, Suitability]:
    """Give the lights of a run's images; of labels that were drawn there are none."""
    from autoseg.measurement.morphometry.run_labels import is_run_folder, read_run_lights
    from autoseg.model.trust import Light, Suitability

    if not is_run_folder(chosen.folder):
        return {}
    known = read_run_lights(chosen.folder)
    return {case_id: Suitability(Light(light), reasons) for case_id, (light, reasons) in known.items()}


def _label_maps(chosen: argparse.Namespace) -> list[LabelMap]:
    from autoseg.measurement.morphometry.run_labels import is_run_folder, read_run_labels

    if is_run_folder(chosen.folder):
        label_maps, notes = read_run_labels(chosen.folder)
        for note in notes:
            print(f"Note: {note}")
        return label_maps
    from autoseg.cli.options import find
    from autoseg.data.cases import read_case

    found = find(chosen)
    return [read_case(case, found.structures)[1] for case in found.cases]


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out of the printed table what the file has too but few look at."""
    dull = ("subject_id", "label", "side", "along", "x_left_mm", "y_back_mm", "components", "holes")
    blank = [name for name in ("level", "left_out_pixels", "flags") if not table[name].astype(bool).any()]
    return table.drop(columns=[*dull, *blank, "morphometry_version"])


def _print(table: pd.DataFrame) -> None:
    print(table.to_string(index=False, float_format="{:.2f}".format, na_rep="–"))


def _print_enlargements(table: pd.DataFrame, name: str) -> None:
    from autoseg.measurement.morphometry import describe_enlargement, locate_enlargement

    if name not in set(table["name"]):
        print(f"\nNothing could be measured along {name}, so no enlargement was looked for.")
        return
    print(f"\nThe enlargement and the tip of {name}, in mm above the lowest section:")
    for case_id, rows in table[table["name"] == name].groupby("case_id", sort=False):
        print(f"{case_id}: {describe_enlargement(locate_enlargement(rows))}")


def _draw(
    chosen: argparse.Namespace, table: pd.DataFrame, cohort: pd.DataFrame | None, label_maps: list[LabelMap]
) -> None:
    from autoseg.errors import DataError
    from autoseg.files.atomic import whole_file
    from autoseg.measurement.morphometry.cohort import without_band, without_subject
    from autoseg.report.figures.morphometry import show_morphometry
    from autoseg.words import GraveNote

    case = chosen.case or str(table["case_id"].iloc[0])
    mine = table[table["case_id"] == case]
    if mine.empty:
        raise DataError(f"Nothing could be measured along a structure of {case}, so there is nothing to draw.")
    structures = {s.label: s for label_map in label_maps for s in label_map.structures}
    measured = set(mine["name"])
    if cohort is not None:  # of the others: nobody is held against a band that holds him
        cohort = without_subject(cohort, mine)
        for note in without_band(mine, cohort, align=chosen.align):
            print_note(GraveNote(note))
    figure = show_morphometry(
        mine,
        cohort=cohort,
        structures=[s for s in structures.values() if s.name in measured],
        align=chosen.align,
        spread=chosen.spread,
    )
    with whole_file(chosen.picture) as temporary:
        figure.savefig(temporary, format="png")
    print(f"Saved: {chosen.picture}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes beside the folder and how it is read."""
    parser.add_argument(
        "--along", choices=ALONG, default="auto", help="which way sections follow each other (default: auto)"
    )
    parser.add_argument(
        "--smoothing-mm", type=float, default=SMOOTHING_MM, metavar="MM", help="of the curve (default: 6)"
    )
    parser.add_argument(
        "--step-mm", type=float, default=STEP_MM, metavar="MM", help="of the table at equal lengths (default: 1)"
    )
    parser.add_argument(
        "--enlargement", metavar="STRUCTURE", help="find the lumbosacral enlargement and the tip of this cord"
    )
    parser.add_argument("--output", type=Path, help="a new folder for the tables")
    add_show_red(parser)
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw one image along its structures")
    parser.add_argument("--case", metavar="ID", help="which image to draw")
    parser.add_argument(
        "--cohort", type=Path, nargs="+", metavar="PATH", help="folders with morphometry_arc.csv of other people"
    )
    parser.add_argument(
        "--align",
        default="lowest",
        metavar="WHERE",
        help="places are counted from: lowest, highest, share, enlargement, conus, or 'level 3' (default: lowest)",
    )
    parser.add_argument(
        "--spread",
        choices=("sd", "percentiles"),
        default="sd",
        help="the cohort's band: mean and SD, or 5th to 95th percentile (default: sd)",
    )
