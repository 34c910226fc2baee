"""The report of a run: what it says, whom it names, and that page and PDF hold it."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from autoseg.data.corrections.kit import write_kit
from autoseg.data.corrections.read import read_corrections
from autoseg.errors import ReadError
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.model.trust import Light, Suitability
from autoseg.report.export import write_run
from autoseg.report.figures import pdf
from autoseg.report.figures.charts import show_areas
from autoseg.report.figures.pdf import lay_out, to_pdf
from autoseg.report.pages.document import Facts, Grid, Pictures, Signal
from autoseg.report.pages.html import to_page
from autoseg.report.pages.run_report import choose_key_slices, report_run
from autoseg.report.written_run import WrittenRun, read_run

STRUCTURES = (Structure(1, "psoas left", side="left"), Structure(7, "<b>disc</b> & $x$"))
AMBER = Suitability(Light.AMBER, ("Its pixels are larger than any that the model learnt from.",))
PIXEL = 0.5 * 0.8


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over a phantom: psoas of 100 + 10 × slice pixels, of which two touch the edge."""
    voxels = np.zeros((4, 40, 30), np.uint8)
    for index in range(4):
        voxels[index, 5:15, 5 : 15 + index] = 1
        voxels[index, 20:25, 5:25] = 7
    voxels[3, 20:25, 25:30] = 7  # up to the edge of the image
    source = Source(
        case_id="Miller_T2",
        subject_id="P123456",
        series_uid="1.2.77",
        spacing_source="typed",
        slice_spacing_source="header",
        slices=tuple(
            SliceSource(Path("/scans") / "Miller" / f"Miller_{n}.dcm", 0, f"1.2.77.{n}") for n in range(4)
        ),
    )
    affine = affine_from_spacing((4.0, 0.5, 0.8))
    image = Image(np.random.default_rng(0).normal(100, 20, voxels.shape).astype(np.float32), affine, source=source)
    label_map = LabelMap(voxels, affine, STRUCTURES, source=source)
    rows = [
        replace(
            row,
            suitability="amber",
            expected_dice=0.62 if (row.slice_index, row.label) == (1, 1) else 0.9,
            area_low_mm2=0.9 * row.area_mm2,
            area_high_mm2=1.1 * row.area_mm2,
            interval_level=0.9,
            interval_basis="by patient",
            model="psoas",
        )
        for row in measure_areas(label_map, image=image)
    ]
    folder = tmp_path_factory.mktemp("out") / "psoas_run"
    details = {
        "notes": ["Miller_T2: 4 slices of P123456 were read from Miller_0.dcm."],
        "about_intervals": "Intervals of 90 % rest on 31 patients.",
        "model_records": [
            {
                **{"name": "psoas", "digest": "d1f2", "settings_digest": "5e77", "postprocess_digest": "c1ea"},
                **{"postprocess": {}, "best_epoch": 7, "trained": "", "versions": {}},
            }
        ],
        "model_cards": [[["Trained on", "31 subjects, 400 slices"]]],
        "versions": {"autoseg": "0.1.0"},
    }
    light = {"Miller_T2": AMBER}
    write_run(
        folder, [(image, label_map)], model_name="psoas", details=details, measurements=rows, suitability=light
    )
    results = {"Miller_T2": (image, label_map)}
    written = read_run(folder)
    return WrittenRun(folder, written.record, tuple(rows), (), light, results, written.tissue)


@pytest.fixture(scope="module")
def document(run):
    return report_run(run)


@pytest.fixture(scope="module")
def page(document):
    return to_page(document)


def blocks(document, kind):
    return [block for block in document.blocks if isinstance(block, kind)]


def words_of(page):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S)))


class Outline(HTMLParser):
    """What a screen reader goes by: headings, tables with captions and scopes, pictures with words."""

    def __init__(self):
        super().__init__()
        self.tags, self.opened = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "circle", "polygon"):
            self.opened.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("circle", "polygon"):
            assert self.opened.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_light_comes_first_and_then_areas_with_intervals_flags_and_their_source(document, page):
    assert isinstance(document.blocks[0], Signal)
    words = words_of(page)
    assert words.index("Amber: look twice") < words.index(AMBER.reasons[0]) < words.index("By patient")
    assert "Intervals of 90 % rest on 31 patients." in words
    (areas,) = (grid for grid in blocks(document, Grid) if grid.caption.startswith("Areas of Miller_T2"))
    assert areas.caption.endswith("Amber: look twice")  # a table that is cut out keeps it
    column = areas.columns.index("psoas left mm²")
    assert areas.rows[1][column] == "44 (39.6–48.4)"  # 110 pixels of 0.4 mm²
    assert areas.rows[4][0] == "mean"
    assert areas.below == frozenset(range(4, 10))
    disc = areas.rows[3][areas.columns.index("<b>disc</b> & $x$ mm²")]
    assert disc.startswith("⚑ at least 50")
    (flags,) = (grid for grid in blocks(document, Grid) if grid.caption.startswith("Flags"))
    assert any("touches the edge" in row[-1] for row in flags.rows)
    facts = dict(row for block in blocks(document, Facts) for row in block.rows)
    assert facts["Size of a pixel"] == "0.5 × 0.8 mm between rows and columns, typed by a person"
    assert facts["Distance of the slices"] == "4 mm, from the file's header"
    assert facts["Trained on"] == "31 subjects, 400 slices"
    assert "digest d1f2" in facts["Digests"]


def test_brightness_is_told_of_all_slices_together_and_names_nobody_unasked(run, document):
    (table,) = (grid for grid in blocks(document, Grid) if grid.caption == "Brightness")
    image, label_map = run.results["Miller_T2"]
    psoas = (
        image.voxels[0][label_map.voxels == 1] if image.voxels.ndim == 4 else image.voxels[label_map.voxels == 1]
    )
    assert table.columns[:6] == ("Image", "Structure", "Channel", "Pixels", "Mean", "SD")
    row = next(row for row in table.rows if row[1] == "psoas left")
    assert row[0] == "Miller_T2"
    assert row[3:6] == (
        f"{psoas.size:,}",
        f"{psoas.mean(dtype=float):.1f}",
        f"{psoas.std(ddof=1, dtype=float):.1f}",
    )
    hidden = report_run(run, show_ids=False)
    (table,) = (grid for grid in blocks(hidden, Grid) if grid.caption == "Brightness")
    assert {row[0] for row in table.rows} == {"image 1"}


def test_key_slices_are_the_worst_the_largest_and_those_with_flags(run, document):
    keys = choose_key_slices(run.measurements)
    assert [key.slice_index for key in keys] == [1, 3]
    assert "psoas left is expected to reach a Dice of 0.62" in keys[0].reasons[0]
    assert [reason.split(" ")[0] for reason in keys[1].reasons] == ["largest", "flagged:"]
    (pictures,) = (block for block in blocks(document, Pictures) if len(block.pictures) == 2)
    assert "psoas left 44 mm² (39.6–48.4)" in pictures.pictures[0].caption
    assert pictures.pictures[0].png.startswith(b"\x89PNG")


def test_a_screen_reader_finds_headings_captions_scopes_and_words_for_pictures(page):
    outline = Outline()
    outline.feed(page)
    tags = [tag for tag, _ in outline.tags]
    assert outline.opened == []
    assert tags.count("h1") == 1
    assert tags.count("h2") >= 7
    assert {"h3", "script", "link"}.isdisjoint(tags)
    assert tags.count("table") == tags.count("caption") >= 3
    assert all(attrs.get("scope") in ("row", "col") for tag, attrs in outline.tags if tag == "th")
    pictures = [attrs for tag, attrs in outline.tags if tag == "img"]
    assert len(pictures) == 3
    assert all(one["src"].startswith("data:image/png") and len(one["alt"]) > 20 for one in pictures)
    assert dict(outline.tags)["html"] == {"lang": "en"}


def test_a_name_stays_words_and_nothing_is_loaded(page):
    assert "<b>" not in page
    assert "<b>disc</b> & $x$" in words_of(page)
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_without_ids_nobody_is_named(run):
    page = to_page(report_run(run, show_ids=False))
    for name in ("Miller", "P123456", "1.2.77", ".dcm", "/scans"):
        assert name not in page
    words = words_of(page)
    assert "Areas of patient 1" in words
    assert "image 1, slice 2" in words
    assert "44 (39.6–48.4)" in words


def test_a_run_read_back_from_its_folder_gives_the_same_tables(run, document):
    again = report_run(read_run(run.folder))
    assert blocks(again, Grid) == blocks(document, Grid)
    assert blocks(again, Signal) == blocks(document, Signal)
    overlays = next(block for block in blocks(again, Pictures) if len(block.pictures) == 2)
    assert overlays.pictures[0].png.startswith(b"\x89PNG")
    with pytest.raises(ReadError, match="not the folder of a run"):
        read_run(run.folder / "labels")


def test_a_report_is_of_the_corrected_labels_and_says_who_corrected_them(run, tmp_path):
    kit = write_kit(tmp_path / "kit", list(run.results.values()), model_name="psoas")
    path = kit.folder / kit.cases[0].labels_name
    voxels, affine = read_nifti(path)
    voxels = voxels.copy()
    voxels[1, 5:15, 16:21] = 1  # 50 pixels more, 20 mm²
    write_nifti(path, LabelMap(voxels.astype(np.uint8), affine, STRUCTURES))
    corrections = read_corrections(kit.folder, by="MK")
    document = report_run(run, corrections=corrections)
    words = words_of(to_page(document))
    assert re.search(r"Miller_T2: by MK, \d{4}-\d\d-\d\d \d\d:\d\d; slices 2: psoas left\.", words)
    (areas,) = (grid for grid in blocks(document, Grid) if grid.caption.startswith("Areas of Miller_T2"))
    column = areas.columns.index("psoas left mm²")
    assert areas.rows[1][column].removeprefix("⚑ ") == "64"  # and no interval, which would be the model's
    assert areas.rows[2][column] == "48 (43.2–52.8)"
    assert "would be that of the model's error" in words
    (changed,) = (grid for grid in blocks(document, Grid) if grid.caption.startswith("What was changed"))
    assert changed.rows[0][:5] == ("Miller_T2", "psoas left", "1", "20", "0")
    assert "most was corrected here" in words


def test_the_pdf_has_every_word_of_the_page_on_a4(document):
    sheets = lay_out(document)
    assert {tuple(np.round(sheet.get_size_inches(), 2)) for sheet in sheets} == {(8.27, 11.69)}
    said = " ".join(text.get_text() for sheet in sheets for text in sheet.texts)
    together = re.sub(r"\s", "", said)
    for grid in blocks(document, Grid):
        for row in grid.rows:
            assert all(re.sub(r"\s", "", cell)[:12] in together for cell in row)
    assert "Amber: look twice" in said
    assert f"page {len(sheets)} of {len(sheets)}" in said
    for sheet in sheets:
        assert all(0 < text.get_position()[1] < 1 for text in sheet.texts)
    assert to_pdf(document).startswith(b"%PDF-")


def test_lines_of_structures_differ_without_colours(run):
    (ax,) = show_areas(run.measurements).axes
    lines = [line for line in ax.lines if line.get_label() in {row.name for row in run.measurements}]
    assert len(lines) == 2
    assert len({line.get_marker() for line in lines} | {line.get_linestyle() for line in lines}) == 4


def test_letters_stay_as_wide_whatever_was_drawn_since():
    before = pdf.width_of("area", 10)
    figure = Figure(dpi=300)
    figure.text(0, 0, "area", family="sans-serif", size=30)
    FigureCanvasAgg(figure).draw()
    pdf._letter.cache_clear()
    assert pdf.width_of("area", 10) == before
