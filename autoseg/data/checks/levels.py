"""Level files that do not fit their images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoseg.data.cases import Case, read_case_image
from autoseg.data.checks.finding import Finding
from autoseg.errors import AutosegError
from autoseg.files.levels import read_levels


def check_levels(cases: Sequence[Case]) -> Iterator[Finding]:
    """Compare the slices that a level file names with those of the image."""
    for path in dict.fromkeys(case.levels_path for case in cases):
        mine = [case for case in cases if case.levels_path == path]
        if path is None:
            continue
        try:
            levels = read_levels(path)
            frames = {place.frame for case in mine for place in read_case_image(case).source.slices}
        except AutosegError as error:
            remedy = "Correct the file, or remove it if levels are not needed."
            yield Finding("error", mine[0].case_id, path, str(error), remedy, kind="levels")
            continue
        whole = all(case.slices is None for case in mine)
        if set(levels) - frames if not whole else set(levels) != frames:
            yield Finding(
                "warning",
                mine[0].case_id,
                path,
                f"{path} names {len(levels)} slices (the last is {max(levels)}, counted from 0) and the image of "
                f"{mine[0].case_id} has {len(frames)}.",
                "Check that slices are counted in the order of the image file, each once, with - where there is no "
                "level.",
                kind="levels",
                cause="Slices were cut off after the levels were assigned, or the file belongs to another image.",
            )
