"""Commands that look at images and labels, and measure what was drawn."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Literal

from autoseg.cli.using import one_or_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoseg.cases import CaseFolder
    from autoseg.checks import Finding

MOST_LEFT_ALONE = 20


def find(chosen: argparse.Namespace) -> CaseFolder:
    """Find the cases of a folder as the options say, and tell what was left alone and concluded."""
    from autoseg.cases import Reading, find_cases

    reading = Reading(
        channels=tuple(chosen.channels or ()),
        raters=chosen.raters,
        agreeing=chosen.agreeing,
        only_levels=chosen.only_levels,
        pixel_spacing_mm=tuple(chosen.pixel_spacing_mm) if chosen.pixel_spacing_mm else None,
        plane=chosen.plane,
        trust_array=chosen.trust_array,
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


def check(chosen: argparse.Namespace) -> None:
    """Show the pairs and what is wrong with them; write down what was not drawn, or what is to be mended."""
    from autoseg.cases import declare_missing, pairs_table
    from autoseg.checks import check_cases, raise_on_errors

    found = find(chosen)
    print(pairs_table(found).to_string(index=False))
    for name in chosen.not_drawn or ():
        found = declare_missing(found, name)
        print(f"{name}: written down as not drawn wherever it is not visible ({found.folder / 'annotated.csv'}).")
    findings = check_cases(found)
    offered = [finding for finding in findings if finding.repairs]
    for finding in findings:
        number = f" [repair {offered.index(finding) + 1}]" if finding.repairs else ""
        print(f"{finding.severity}: {finding.case_id} {finding.problem} {finding.cause} {finding.remedy}{number}")
    if chosen.repair:
        _repair(found, offered, chosen.repair)
        return
    raise_on_errors(findings)
    print(f"{len(found.cases)} pairs can be learnt from.")


def _repair(found: CaseFolder, offered: Sequence[Finding], numbers: Sequence[int]) -> None:
    from autoseg.errors import DataError
    from autoseg.repairs import add_repair

    for number in numbers:
        if not 1 <= number <= len(offered):
            raise DataError(
                f"There is no repair {number}; {len(offered)} are offered. Choose one of their numbers."
            )
        for repair in offered[number - 1].repairs:
            add_repair(found.folder, repair)
            print(f"{repair.case_id}: {repair.words}. Kept in {found.folder / 'repairs.csv'}; your files stay.")


def series(chosen: argparse.Namespace) -> None:
    """Show the DICOM series of a folder as a table, and as pictures in a file if wanted."""
    from autoseg.files.dicom import find_series
    from autoseg.files.series_table import series_table

    found = find_series(chosen.folder)
    print(series_table(found).to_string(index=False, na_rep=""))
    for skipped in found.skipped[:MOST_LEFT_ALONE]:
        print(f"Left alone: {skipped.path} ({skipped.reason})")
    if chosen.picture is not None:
        from autoseg.figures import show_series
        from autoseg.files.atomic import whole_file

        with whole_file(chosen.picture) as temporary:
            show_series(found).savefig(temporary, format="png")
        print(f"Saved: {chosen.picture}")


def raters(chosen: argparse.Namespace) -> None:
    """Show how the raters of a folder agree."""
    from autoseg.cases import read_rater_labels
    from autoseg.errors import DataError
    from autoseg.raters import rater_agreement

    found = find(chosen)
    several = [case for case in found.cases if len({file.rater for file in case.labels}) > 1]
    if not several:
        raise DataError(f"No case in {found.folder} was drawn by several raters (files ending in -r1, -r2 …).")
    for case in several:
        label_maps, names = read_rater_labels(case, found.structures)
        print(f"{case.case_id}:")
        print(rater_agreement(label_maps, names).to_string(index=False, float_format="{:.3f}".format, na_rep=""))


def measure(chosen: argparse.Namespace) -> None:
    """Measure the areas of drawn labels."""
    from autoseg.report import measure_labels

    measurements = measure_labels(
        find(chosen),
        field_of_view_mm=one_or_pair(chosen.field_of_view_mm),
        matrix_size=one_or_pair(chosen.matrix_size),
        prefer=chosen.prefer,
    )
    from autoseg.area_tables import areas_table, levels_table
    from autoseg.export import write_tables

    print(areas_table(measurements).to_string(index=False, float_format="{:.1f}".format, na_rep=""))
    levels = levels_table(measurements)
    if len(levels):
        print(levels.to_string(index=False, float_format="{:.1f}".format, na_rep=""))
    if chosen.output is not None:
        print(f"Saved in {write_tables(chosen.output, measurements)}")
