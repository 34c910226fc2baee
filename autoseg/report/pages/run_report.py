"""The report of a run: its light, its areas and all that is known of them, its key slices, and their origin."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.data.cases import Case, Pseudonyms
from autoseg.data.corrections.keep import corrected_image
from autoseg.data.corrections.read import Correction, compare_structures, most_changed, say_date
from autoseg.files.pictures.pictures import read_picture
from autoseg.files.sources import ImageFile
from autoseg.image.image import Image
from autoseg.measurement.areas import MEASUREMENT_VERSION, MM2, PIXELS, Measurement
from autoseg.measurement.intervals import PatientInterval
from autoseg.model.trust import Light, Suitability
from autoseg.report.area_tables import (
    HEADERS,
    area_blocks,
    area_text,
    areas_table,
    at_least,
    explain_flags,
    find_missing,
    fixed_text,
    image_groups,
    in_pixels_note,
    interval_text,
    level_text,
    levels_table,
    missing_notes,
    patients_table,
    with_intervals,
)
from autoseg.report.asymmetry import asymmetry_table
from autoseg.report.corrected import WITHOUT_INTERVAL, correct_rows, place_of
from autoseg.report.export import model_words
from autoseg.report.figures.charts import show_areas
from autoseg.report.figures.key_slices import draw_key_slice
from autoseg.report.figures.slices import encode_picture
from autoseg.report.lights import UNKNOWN, light_of_run, light_word, lights_by_image
from autoseg.report.pages.document import (
    Block,
    Document,
    Facts,
    Grid,
    Heading,
    Picture,
    Pictures,
    Points,
    Signal,
    Words,
    split_columns,
)
from autoseg.report.shown_tissue import ShownTissue, show_tissue
from autoseg.report.written_run import WrittenRun
from autoseg.words import counted, listed, name_some, natural, say_slices

# What goes on paper: slices of a table, key slices of an image, images with key slices, flags.
MOST_SLICES, MOST_KEY, MOST_IMAGES, MOST_FLAGS, MOST_NOTES = 200, 6, 8, 60, 30
SIDE_BY_SIDE, SIDE_BY_SIDE_BOUNDED = 5, 4  # columns of areas
FLAG = "⚑"
DEVICE = "Research software and no medical device: look at every outline before you use its number."
AREA = "Area = labelled pixels on the slice as it was acquired × area of one pixel."
SOURCES = {"header": "from the file's header", "typed": "typed by a person"}


def report_run(run: WrittenRun, *, corrections: Sequence[Correction] = (), show_ids: bool = True) -> Document:
    """Give the report of a run as a document; with its labels as they were corrected, where they were.

    Parameters
    ----------
    run : WrittenRun
        With its `results` key slices are drawn with numbered outlines; without, the run's overlays are shown.
    corrections : sequence of Correction
        From folders to correct in that were written from this run. Areas that a correction changed are measured
        anew; they have no interval, which would be that of the model's error.
    show_ids : bool
        Name patients, images and files; otherwise they are numbered, and free of anything that the files tell.

    Raises
    ------
    DataError
        If a correction is of another run.
    """
    corrections = [one for one in corrections if one.is_changed]
    corrected = correct_rows(run, corrections)
    rows, intervals = corrected.measurements, corrected.intervals
    names = _Names(run, show_ids=show_ids)
    shown = names.rows(rows)
    lights = {names.case(case_id): one for case_id, one in run.suitability.items()}
    who = list(dict.fromkeys(row.subject_id for row in sorted(shown, key=lambda row: natural(row.subject_id))))
    patient = (who[0] or "a patient without an ID") if len(who) == 1 else counted(len(who), "patient")
    images = list(dict.fromkeys(row.case_id for row in shown))
    date = say_date(str(run.record["date"]))
    made = f"Segmented {date} with {run.record['model']}; {counted(len(images), 'image')}"
    blocks: list[Block] = [*_light(lights, images)]
    if corrections:
        blocks += [Heading("Corrected by hand"), *_about_corrections(run, corrections, names)]
    blocks += _notes_above(shown)
    blocks += [Heading("By patient"), *_by_patient(shown, names.intervals(intervals), lights)]
    blocks += _how_sure(run, shown, bool(corrected.changed))
    key = _key_slices(run, rows, corrections, names)
    if key:
        blocks += [Heading("Key slices"), *key]
    blocks += [Heading("Along the slices"), _plot(run, shown)]
    blocks += [Heading("Slice by slice"), *_slice_by_slice(shown, names.intervals(intervals), lights)]
    tissue = show_tissue(run.tissue, without={(case_id, label) for case_id, _, label in corrected.changed})
    if tissue:
        blocks += [Heading("Brightness and fat"), *_tissue(tissue, names, is_corrected=bool(corrected.changed))]
    blocks += [Heading("Millimetres"), Words(AREA), Facts(_millimetres(run, names))]
    blocks += [Heading("The model"), *_models(run)]
    blocks += [Heading("How it was made"), Facts(_making(run, show_ids=show_ids)), *_notes(run, names)]
    return Document(f"Areas of {patient}", made, tuple(blocks), _foot(run))


# --- who is named how


class _Names:
    """What patients, images and series of a run are called in its report."""

    def __init__(self, run: WrittenRun, *, show_ids: bool) -> None:
        self.show_ids = show_ids
        subjects = sorted({row.subject_id for row in run.measurements}, key=natural)
        series = sorted({row.series_uid for row in run.measurements}, key=natural)
        self.series = {uid: f"series {number}" for number, uid in enumerate(series, start=1)}
        cases = [
            Case(
                str(image["case_id"]),
                str(image.get("subject_id", "")),
                tuple(ImageFile(Path(str(one.get("file", "")))) for one in image.get("slices", ())),
                (),
            )
            for image in run.record["images"]
        ]
        numbers = {subject: f"patient {number}" for number, subject in enumerate(subjects, start=1)}
        self.hidden = Pseudonyms(numbers, cases)
        several = len(numbers) > 1
        count: dict[str, int] = {}
        self.cases: dict[str, str] = {}
        for case in cases:
            number = count[case.subject_id] = count.get(case.subject_id, 0) + 1
            own = f"image {number}"
            self.cases[case.case_id] = f"{self.hidden.of(case.subject_id)}, {own}" if several else own

    def case(self, case_id: str) -> str:
        return case_id if self.show_ids else self.cases.get(case_id, "image")

    def words(self, text: str) -> str:
        return text if self.show_ids else self.hidden.hide(text)

    def rows(self, rows: Sequence[Measurement]) -> tuple[Measurement, ...]:
        """Give rows that name nobody else than these names do."""
        if self.show_ids:
            return tuple(rows)
        return tuple(
            replace(
                row,
                case_id=self.case(row.case_id),
                subject_id=self.hidden.of(row.subject_id),
                series_uid=self.series[row.series_uid],
                sop_uid="",
                file="",
            )
            for row in rows
        )

    def intervals(self, intervals: Sequence[PatientInterval]) -> tuple[PatientInterval, ...]:
        """Give the intervals of the rows that `rows` gave."""
        if self.show_ids:
            return tuple(intervals)
        of_series = {
            f"{uid} {unit}": f"{own} {unit}" for uid, own in self.series.items() for unit in (MM2, "pixels")
        }
        return tuple(
            replace(
                one,
                subject_id=self.hidden.of(one.subject_id),
                image=self.cases.get(one.image) or of_series.get(one.image, one.image),
            )
            for one in intervals
        )


# --- what a person corrected


def _about_corrections(run: WrittenRun, corrections: Sequence[Correction], names: _Names) -> list[Block]:
    blocks: list[Block] = [
        Words(
            "Areas, pictures and tables below are those of the corrected labels. What nobody changed is as the "
            "model drew it.",
            is_grave=True,
        )
    ]
    lines = []
    for one in corrections:
        case_id, first = place_of(run, one)
        slices = _numbers(run, case_id, [first + index for index in one.changed_slices])
        what = listed(list(dict.fromkeys(change.name for change in one.changes)))
        lines.append(f"{names.case(case_id)}: by {one.by}, {say_date(one.date)}; slices {slices}: {what}.")
    blocks.append(Points(tuple(lines)))
    changed = [
        (names.case(place_of(run, one)[0]), line)
        for one in corrections
        for line in compare_structures(one.before, one.label_map).to_dict("records")
        if line["voxels_added"] or line["voxels_removed"]
    ]
    is_in_mm = any(not math.isnan(line["added_mm2"]) for _, line in changed)
    cells = tuple(
        (
            name,
            str(line["name"]),
            str(line["slices"]),
            _changed_area(line, "added", is_in_mm=is_in_mm),
            _changed_area(line, "removed", is_in_mm=is_in_mm),
            "–" if math.isnan(line["dice"]) else f"{line['dice']:.3f}",
        )
        for name, line in changed
    )
    unit = MM2 if is_in_mm else PIXELS
    columns = (
        "Image",
        "Structure",
        "Slices changed",
        f"Added ({unit})",
        f"Taken away ({unit})",
        "Dice, before and now",
    )
    caption = "What was changed; areas are sums over the slices"
    return [*blocks, Grid(caption, columns, cells, frozenset({2, 3, 4, 5}))]


def _changed_area(line: Mapping[Hashable, Any], what: str, *, is_in_mm: bool) -> str:
    """Write an area in mm², of an image without millimetres in pixels, which says so where others are in mm²."""
    if not math.isnan(line[f"{what}_mm2"]):
        return area_text(line[f"{what}_mm2"])
    return f"{line[f'voxels_{what}']:,}" + (f" {PIXELS}" if is_in_mm else "")


def _numbers(run: WrittenRun, case_id: str, indices: Sequence[int]) -> str:
    """Say which slices these are, by the numbers that tables have."""
    known = {row.slice_index: row.slice for row in run.measurements if row.case_id == case_id}
    return say_slices([known.get(index, index + 1) - 1 for index in indices])


# --- the parts


def _light(lights: Mapping[str, Suitability], images: Sequence[str]) -> list[Block]:
    """Give the light of the run, and where images differ that of each."""
    whole = light_of_run(lights, images)
    groups = lights_by_image(lights, images)
    if whole is None:
        worst = [one for _, one in groups if one is not None]
        if not worst:
            return [Signal(None, "No light", (UNKNOWN,))]
        whole = worst[0]
    if len(groups) == 1:
        return [Signal(whole.light, light_word(whole.light), whole.reasons)]
    reasons = tuple(
        f"{name}: {UNKNOWN if one is None else f'{one.light.value.capitalize()}. ' + ' '.join(one.reasons)}"
        for name, one in groups
    )
    return [Signal(whole.light, light_word(whole.light), reasons)]


def _notes_above(rows: Sequence[Measurement]) -> list[Block]:
    notes = [*missing_notes(find_missing(rows)), in_pixels_note(rows)]
    return [Words(note, is_grave=True) for note in notes if note]


def _by_patient(
    rows: Sequence[Measurement], intervals: Sequence[PatientInterval], lights: Mapping[str, Suitability]
) -> list[Block]:
    table = patients_table(rows, intervals)
    alone = [name for name in ("patient", "subject_id") if table["subject_id"].nunique() < 2 or name == "patient"]
    table = with_intervals(table.drop(columns=["volume_mm3", "volume_at_least_mm3", *alone], errors="ignore"))
    levels = [f"{100 * one.level:.4g} %" for one in intervals]
    caption = "Each structure of each image"
    if levels:
        caption += f"; in brackets its {listed(list(dict.fromkeys(levels)))} interval"
    blocks: list[Block] = [_table(caption, table, ("subject_id", "image", "structure", "suitability"))]
    sides = asymmetry_table(rows)
    if len(sides):
        sides = sides.drop(columns=[name for name in alone if name in sides])
        caption = "Left and right, on the slices that show both whole"
        blocks.append(_table(caption, sides, ("subject_id", "image", "structure", "suitability")))
    by_level = levels_table(rows)
    if len(by_level):
        blocks.append(_table("By level", by_level, ("subject_id", "level", "name", "suitability")))
    volume = "The volume is the sum of the areas times the distance of the slices: what lies within them, no more."
    return [*blocks, Words(volume)]


def _how_sure(run: WrittenRun, rows: Sequence[Measurement], is_corrected: bool) -> list[Block]:
    about = str(run.details.get("about_intervals") or "")
    lines = [f"How sure: {about}"] if about else []
    if is_corrected:
        lines.append(WITHOUT_INTERVAL)
    return [Words(" ".join(lines))] if lines else []


def _plot(run: WrittenRun, rows: Sequence[Measurement]) -> Pictures:
    figure = show_areas(rows, structures=run.structures, show_ids=True, most=MOST_IMAGES)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    count = min(len(image_groups(rows)), 3)
    parts = []
    for label in sorted({row.label for row in rows}):
        areas = [row.area for row in rows if row.label == label and row.pixel_count]
        ends = f"{area_text(min(areas))} to {area_text(max(areas))}" if areas else "on no slice"
        parts.append(f"{next(row.name for row in rows if row.label == label)} {ends}")
    unit = rows[0].unit
    words = f"Areas in {unit} along the slices, one line a structure: {'; '.join(parts)} {unit}."
    caption = "Each structure has its own line and mark; a bar is an interval, a cross a flag."
    return Pictures((Picture(buffer.getvalue(), caption, words),), 1 if count > 1 else 2)


def _slice_by_slice(
    rows: Sequence[Measurement], intervals: Sequence[PatientInterval], lights: Mapping[str, Suitability]
) -> list[Block]:
    table = with_intervals(areas_table(rows, intervals)).drop(columns=["flags", "suitability"], errors="ignore")
    areas = [name for name in table.columns if name.endswith((" mm²", " pixels"))]
    flagged = {(row.case_id, row.slice, row.column) for row in rows if row.flags}
    blocks: list[Block] = []
    start = 0
    for block in area_blocks(rows):
        count, below = len(block.rows), len(block.statistics)
        part = table.iloc[start : start + count + below]
        start += count + below
        own = [name for name in areas if any(row.column == name for line in block.rows for row in line)]
        kept = [
            name for name in part.columns if name not in areas and (name != "case_id" or block.is_single_slices)
        ]
        part = part[[*kept, *own]].astype(object)
        for place, line in enumerate(block.rows):
            for row in line:
                if (row.case_id, row.slice, row.column) in flagged:
                    at = list(part.columns).index(row.column)
                    part.iat[place, at] = f"{FLAG} {_cell(row.column, part.iat[place, at])}"
        part = pd.concat([part.iloc[: min(count, MOST_SLICES)], part.iloc[count:]])
        light = lights.get(block.rows[0][0].case_id)
        caption = f"Areas of {block.case_id}, in {block.rows[0][0].unit}"
        if light is not None and light.light is not Light.GREEN:
            caption += f" – {light_word(light.light)}"
        number = min(count, MOST_SLICES)
        grid = replace(
            _table(caption, part, ("slice", "case_id", "file", "level")),
            below=frozenset(range(number, number + below)),
        )
        bounded = any(row.interval is not None for line in block.rows for row in line)
        blocks += split_columns(grid, len(kept), SIDE_BY_SIDE_BOUNDED if bounded else SIDE_BY_SIDE)
        if count > MOST_SLICES:
            blocks.append(Words(f"The first {MOST_SLICES} of {count} slices; areas.csv has all of them."))
    if flagged:
        blocks.append(_flags(rows))
    sure = dict.fromkeys(filter(None, map(level_text, rows)))
    words = [f"In brackets: the {listed(list(sure))} interval of the true area." if sure else ""]
    words += [f"{FLAG}: an area with a flag, explained below." if flagged else ""]
    said = " ".join(filter(None, words))
    return [*([Words(said)] if said else []), *blocks]


def _flags(rows: Sequence[Measurement]) -> Grid:
    flagged = [row for row in rows if row.flags]
    caption = f"Flags: {counted(len(flagged), 'area')} to look at"
    if len(flagged) > MOST_FLAGS:
        caption += f", of which the first {MOST_FLAGS} stand here; areas.csv has all"
    several = len({row.case_id for row in rows}) > 1
    cells = tuple(
        (*([row.case_id] if several else []), str(row.slice), row.name, f"It {explain_flags(row.flags)}.")
        for row in flagged[:MOST_FLAGS]
    )
    columns = (*(["Image"] if several else []), "Slice", "Structure", "What the flag means")
    return Grid(caption, columns, cells)


def _table(caption: str, table: pd.DataFrame, words: Sequence[str]) -> Grid:
    """Give a table to be read; columns of `words` stand on the left, all others hold numbers."""
    columns = list(map(str, table.columns))
    rows = tuple(
        tuple(_cell(name, cell) for name, cell in zip(columns, line, strict=True))
        for line in table.astype(object).to_numpy().tolist()
    )
    shown = {**HEADERS, "slice": "Slice", "slice_position_mm": "Position (mm)", "case_id": "Image", "file": "File"}
    numeric = frozenset(at for at, name in enumerate(columns) if name not in words)
    return Grid(caption, tuple(shown.get(name, name) for name in columns), rows, numeric)


def _cell(name: str, value: object) -> str:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "" if name in ("slice_position_mm", "level", "file") else "–"
    if isinstance(value, float):
        return fixed_text(value, 1) if name == "slice_position_mm" else area_text(value)
    return f"{value:,}" if isinstance(value, int) and name != "slice" else str(value)


def _tissue(tables: Sequence[ShownTissue], names: _Names, *, is_corrected: bool) -> list[Block]:
    """Give how bright structures are and how much of them is fat; of corrected ones nobody measured it anew."""
    blocks: list[Block] = []
    for one in tables:
        rows = tuple((names.case(row[0]), *row[1:]) for row in one.rows)
        blocks += [Grid(one.title, one.columns, rows, one.numeric), Words(one.words)]
    note = "Structures that a person corrected are left out here: these numbers are of what the model drew."
    return [*blocks, *([Words(note)] if is_corrected else [])]


# --- key slices


@dataclass(frozen=True)
class KeySlice:
    """A slice that a reader should look at first, by the image's name and its place there, and why."""

    case_id: str
    slice_index: int
    reasons: tuple[str, ...]


def choose_key_slices(rows: Sequence[Measurement], *, most: int = MOST_KEY) -> list[KeySlice]:
    """Choose the slices of one image to be looked at first: the worst, the largest, and those with most flags.

    The worst is that with the lowest expected Dice of a structure that was found; the largest has the largest area
    of all structures together. They are in the order of the stack.
    """
    slices: dict[tuple[str, int], list[Measurement]] = {}
    for row in rows:
        slices.setdefault((row.case_id, row.slice_index), []).append(row)
    reasons: dict[tuple[str, int], list[str]] = {}
    judged = [row for row in rows if row.expected_dice is not None and row.pixel_count]
    if judged:
        worst = min(judged, key=lambda row: row.expected_dice or 0.0)
        why = f"worst: {worst.name} is expected to reach a Dice of {worst.expected_dice:.2f}"
        reasons.setdefault((worst.case_id, worst.slice_index), []).append(why)
    found = [row for row in rows if row.pixel_count]
    if found:
        total = {key: sum(row.area for row in own) for key, own in slices.items()}
        reasons.setdefault(max(total, key=lambda key: total[key]), []).append("largest area of all structures")
    flags = {key: sum(len(row.flags.split("; ")) for row in own if row.flags) for key, own in slices.items()}
    for key in sorted((key for key in flags if flags[key]), key=lambda key: -flags[key]):
        if len(reasons) < most or key in reasons:
            names = [row.name for row in slices[key] if row.flags]
            reasons.setdefault(key, []).append(f"flagged: {name_some(names, 3)}")
    order = {key: place for place, key in enumerate(slices)}
    return [KeySlice(*key, tuple(reasons[key])) for key in sorted(reasons, key=order.__getitem__)]


def _key_slices(
    run: WrittenRun, rows: Sequence[Measurement], corrections: Sequence[Correction], names: _Names
) -> list[Block]:
    """Draw the key slices of each image, or show the overlays of the run where its images are not at hand."""
    corrected = {place_of(run, one): one for one in corrections}
    draw = _drawing(run, corrected)
    pictures: list[Picture] = []
    groups = list(image_groups(rows).values())
    for own in groups[:MOST_IMAGES]:
        chosen = choose_key_slices(own)
        for (case_id, first), one in corrected.items():
            if any(row.case_id == case_id for row in own):
                most = KeySlice(case_id, first + most_changed(one.changes), ("most was corrected here",))
                chosen = _with(chosen, most)
        for key in chosen:
            line = [row for row in own if (row.case_id, row.slice_index) == (key.case_id, key.slice_index)]
            png = draw(key, next((row.suitability for row in line), ""))
            if png is None:
                continue
            name = f"{names.case(key.case_id)}, slice {line[0].slice}"
            areas = "; ".join(_said(row) for row in line if row.pixel_count) or "nothing was found"
            why = "; ".join(key.reasons)
            alt = (
                f"{name} with the outlines of {listed([row.name for row in line if row.pixel_count]) or 'nothing'}"
            )
            pictures.append(Picture(png, f"{name}: {why}. {areas}.", f"{alt}. {areas}."))
    if not pictures:
        return []
    numbered = "; ".join(f"{at} {s.name}" for at, s in enumerate(run.structures, start=1))
    words = "Outlines are numbered" if run.results or corrected else "Structures are in colour, as in the overlays"
    say = f"{words}: {numbered}." if run.results or corrected else f"{words}."
    if corrected:
        say += " Thin white outlines are those before the correction."
    if len(groups) > MOST_IMAGES:
        say += f" The first {MOST_IMAGES} of {len(groups)} images; the folder overlays has all slices."
    return [Words(say), Pictures(tuple(pictures), 3)]


def _with(chosen: list[KeySlice], more: KeySlice) -> list[KeySlice]:
    if all((one.case_id, one.slice_index) != (more.case_id, more.slice_index) for one in chosen):
        return [*chosen, more]
    return [
        replace(one, reasons=(*one.reasons, *more.reasons))
        if (one.case_id, one.slice_index) == (more.case_id, more.slice_index)
        else one
        for one in chosen
    ]


def _said(row: Measurement) -> str:
    unit = row.unit
    area = at_least(area_text(row.area), unit) if row.is_cut_off else f"{area_text(row.area)} {unit}"
    ends = interval_text(row)
    return f"{row.name} {area}" + (f" ({ends})" if ends else "")


def _drawing(
    run: WrittenRun, corrected: Mapping[tuple[str, int], Correction]
) -> Callable[[KeySlice, str], bytes | None]:
    """Give what draws a key slice: from the memory, from a folder to correct in, or from the overlays."""
    images: dict[tuple[str, int], Image] = {}

    def draw(key: KeySlice, light: str) -> bytes | None:
        for (case_id, first), one in corrected.items():
            index = key.slice_index - first
            if case_id == key.case_id and 0 <= index < one.label_map.shape[0]:
                if (case_id, first) not in images:
                    images[case_id, first] = corrected_image(one)
                return draw_key_slice(
                    images[case_id, first], one.label_map, index, numbers=run.structures, light=light,
                    before=one.before,
                )  # fmt: skip
        if run.results is not None and key.case_id in run.results:
            image, label_map = run.results[key.case_id]
            return draw_key_slice(image, label_map, key.slice_index, numbers=run.structures, light=light)
        return _overlay(run, key)

    return draw


def _overlay(run: WrittenRun, key: KeySlice) -> bytes | None:
    """Give the run's own picture of a slice, with the word of its light; None where there is none any more."""
    slices = next(one.get("slices", ()) for one in run.record["images"] if str(one["case_id"]) == key.case_id)
    if key.slice_index >= len(slices) or not slices[key.slice_index].get("overlay"):
        return None
    path = run.folder / "overlays" / f"{Path(slices[key.slice_index]['overlay']).name}.jpg"
    if not path.is_file():
        return None
    pixels: npt.NDArray[Any] = read_picture(path).pixels
    return encode_picture(pixels.astype(np.uint8), "png")


# --- where it is all from


def _millimetres(run: WrittenRun, names: _Names) -> tuple[tuple[str, str], ...]:
    alike: dict[tuple[str, str], list[str]] = {}
    for image in run.record["images"]:
        spacing = image.get("spacing_mm")
        pixel, apart = "unknown: areas are in pixels", "unknown, so there are no positions and volumes"
        if spacing:
            source = SOURCES.get(str(image.get("spacing_source")), "nobody said from where")
            pixel = f"{spacing[1]:.4g} × {spacing[2]:.4g} mm between rows and columns, {source}"
            source = SOURCES.get(str(image.get("slice_spacing_source")), "")
            apart = f"{spacing[0]:.4g} mm, {source}" if source else apart
        slices = int(image["shape"][0])
        words = apart if slices > 1 else "one slice"
        alike.setdefault((pixel, words), []).append(names.case(str(image["case_id"])))
    facts = []
    for (pixel, apart), images in alike.items():
        of = f" ({name_some(images, 3)})" if len(alike) > 1 else ""
        facts += [(f"Size of a pixel{of}", pixel), (f"Distance of the slices{of}", apart)]
    return tuple(facts)


def _models(run: WrittenRun) -> list[Block]:
    details, blocks = run.details, list[Block]()
    cards = details.get("model_cards") or []
    records, calibrations = details.get("model_records") or [], details.get("calibrations") or []
    for number, record in enumerate(records):
        facts = [("Name", str(record["name"]))]
        if number < len(cards):
            facts += [(str(name), str(words)) for name, words in cards[number]]
        known = calibrations[number] if number < len(calibrations) else None
        if known:
            held = "; ".join(f"{name} {100 * of:.0f} %" for name, of in known["coverage"].items() if of is not None)
            words = f"{counted(known['patients'], 'patient')}, {str(known['date'])[:10]}"
            facts.append(
                ("Calibration", f"{words}; intervals of {100 * known['level']:.0f} % held: {held or 'not known'}")
            )
        facts.append(("Digests", model_words(record)))
        blocks.append(Facts(tuple(facts)))
    return blocks or [Words(str(run.record["model"]))]


def _making(run: WrittenRun, *, show_ids: bool) -> tuple[tuple[str, str], ...]:
    details = run.details
    versions = ", ".join(f"{what} {number}" for what, number in (details.get("versions") or {}).items())
    cleaned = [f"{name}: {how}" for one in details.get("cleaned", ()) for name, how in one.items()]
    facts = [
        ("Date of the run", say_date(str(run.record["date"]))),
        ("Run", run.folder.resolve().name if show_ids else ""),
        ("Versions", versions),
        ("Version of measuring", str(run.record.get("measurement_version", MEASUREMENT_VERSION))),
        ("Mirrored copies", str(details.get("copies") or "none")),
        ("Cleaned", "; ".join(cleaned) or "nothing was taken away"),
        ("Patient IDs", "" if show_ids else "left out, with names of images and files"),
    ]
    return tuple((name, words) for name, words in facts if words)


def _notes(run: WrittenRun, names: _Names) -> list[Block]:
    notes = [names.words(str(note)) for note in run.details.get("notes") or ()]
    left = run.record.get("left_alone") or []
    lines = list(dict.fromkeys(notes))[:MOST_NOTES]
    if left:
        files = name_some([str(one["file"]) for one in left], 5) if names.show_ids else ""
        lines.append(f"Left alone: {counted(len(left), 'file')}{f' ({files})' if files else ''}.")
    return [Words("Notes of the run:"), Points(tuple(lines))] if lines else []


def _foot(run: WrittenRun) -> str:
    version = (run.details.get("versions") or {}).get("autoseg", "")
    return f"autoseg {version}, {run.record['model']}, {say_date(str(run.record['date']))}. {DEVICE}"
