"""A run with corrected labels: its numbers and files are of those labels and say so; the rest stays."""

import dataclasses
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from lit import lit
from openpyxl import load_workbook

from autoseg.data.corrections.drawing import Drawing
from autoseg.data.corrections.read import read_corrections
from autoseg.files.nifti.volumes import read_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.measurement.tissue import FatChannels, measure_tissue
from autoseg.prediction import corrected as module
from autoseg.prediction.corrected import FOLDER, RunAsDrawn, correct_run
from autoseg.prediction.run import Run, kit_folder, run_to_correct
from autoseg.prediction.run_report import run_document, write_report
from autoseg.report.area_tables import areas_table
from autoseg.report.export import write_run
from autoseg.report.pages.html import to_page
from autoseg.report.written_run import read_run

STRUCTURES = (Structure(1, "psoas left", side="left"), Structure(2, "disc"))
PIXEL = 0.5 * 0.8


@pytest.fixture
def run(tmp_path):
    """A run over a phantom with intervals, of which a person will draw 33 pixels of psoas on its third slice."""
    labels = np.zeros((5, 30, 30), np.uint8)
    labels[1:4, 4:14, 4:14] = 1
    labels[1:4, 20:25, 4:20] = 2
    source = Source("leg", "P1", "1.2.3", spacing_source="header", slice_spacing_source="header")
    affine = affine_from_spacing((4.0, 0.5, 0.8), (1.0, 2.0, 3.0))
    image = Image(np.random.default_rng(0).integers(90, 110, labels.shape).astype(np.int16), affine, source=source)
    results = ((image, LabelMap(labels, affine, STRUCTURES, source=source)),)
    rows = tuple(measure_areas(results[0][1], image=image, model="legs"))
    about = "Intervals of 90 % rest on 31 patients."
    made = Run(tmp_path / "legs", results, rows, areas_table(rows), (), (), model="legs", about_intervals=about)
    made = lit(made, "green")
    write_run(
        made.folder,
        results,
        model_name="legs",
        details={"notes": [], "about_intervals": about, "autoseg": "0.1.0"},
        measurements=made.measurements,
        suitability=made.suitability,
        intervals=made.patient_intervals,
    )
    return made


def drawn(run, *, by="AB"):
    drawing = Drawing(run_to_correct(run), run.results, by=by)
    drawing.brush((0, 2), 1, [(9, 20)], size=5)
    drawing.save()
    return drawing


def corrections_of(run):
    return read_corrections(kit_folder(run), by="AB")


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_of_the_corrected_labels_and_says_so(run):
    own = files(run.folder)
    drawing = drawn(run)
    corrected = correct_run(run, corrections_of(run))
    wanted = (100 + 33) * PIXEL
    folder = corrected.folder
    assert folder == run.folder / FOLDER
    # The tables, the workbook and the volume.
    assert pd.read_csv(folder / "areas.csv").loc[2, "psoas left mm²"] == pytest.approx(wanted, abs=1e-6)
    sheet = load_workbook(folder / "areas.xlsx")["areas"]
    column = [cell.value for cell in sheet[1]].index("psoas left mm²") + 1
    assert sheet.cell(4, column).value == pytest.approx(wanted, abs=1e-6)
    about = dict(load_workbook(folder / "areas.xlsx")["about"].values)
    assert "corrected by AB" in about["corrected by hand"]
    assert "on slices 3: psoas left." in about["corrected by hand"]
    assert "flags of slices on which a structure was not changed are still those of the model" in str(about)
    assert about["model"] == "legs, corrected by AB"
    assert b"corrected by hand" in gzip.decompress((folder / "leg.nii.gz").read_bytes())[:348]
    voxels, _ = read_nifti(folder / "leg.nii.gz")
    assert np.array_equal(voxels, drawing.label_map(0).voxels)
    volume = pd.read_csv(folder / "patients.csv").set_index("structure").loc["psoas left", "volume_ml"]
    assert volume == pytest.approx((300 + 33) * PIXEL * 4.0 / 1000)
    told = json.loads((folder / "run.json").read_text("utf-8"))["details"]["corrected"]
    assert (told[0]["by"], told[0]["slices"], told[0]["structures"]) == ("AB", [3], ["psoas left"])
    assert told[0]["minutes_of_drawing"] is not None
    # What nobody changed is as it was, with its interval; what was changed has none.
    rows = {(row.slice_index, row.label): row for row in corrected.measurements}
    changed = rows.pop((2, 1))
    assert changed.area_mm2 == pytest.approx(wanted)
    assert (changed.interval, changed.expected_dice, changed.model) == (None, None, "legs, corrected by AB")
    image = run.results[0][0].voxels[2][drawing.label_map(0).voxels[2] == 1]
    assert changed.mean_intensity == pytest.approx(image.mean())
    assert all(row in run.measurements for row in rows.values())
    assert {one.label for one in corrected.patient_intervals} == {2}
    # What the model drew stays, to the last byte.
    assert all(path.read_bytes() == held for path, held in own.items())
    assert read_run(folder).measurements[4].model == "legs, corrected by AB"


def test_the_report_tells_what_was_corrected(run):
    drawn(run)
    corrected = correct_run(run, corrections_of(run))
    page = to_page(run_document(corrected, show_ids=True))
    assert page == to_page(run_document(run, corrections=corrections_of(run), show_ids=True))
    assert "Corrected by hand" in page
    assert f"{133 * PIXEL:.1f}" in page
    path, _ = write_report(corrected)
    assert path == corrected.folder / "report_corrected.html"


def same_numbers(one, other):
    assert one.measurements == other.measurements
    assert one.patient_intervals == other.patient_intervals
    assert one.tissue == other.tissue
    pd.testing.assert_frame_equal(one.areas, other.areas)


@pytest.mark.parametrize("channel", [None, "image"])
def test_numbers_follow_each_stroke_and_are_those_of_the_files(run, channel, monkeypatch):
    """Whether fat is estimated or not; and nothing is measured again that was not drawn on since."""
    image, labels = run.results[0]
    fat = FatChannels(estimate=channel or "")
    areas = areas_table(run.measurements, run.patient_intervals)
    run = dataclasses.replace(run, tissue=measure_tissue(labels, image, fat), fat=fat, areas=areas)
    held, seen = labels.voxels.copy(), []
    measure = module.measure_changed

    def measured(before, now, *, image):
        seen.append(now.source.first_slice - 1)
        return measure(before, now, image=image)

    drawing = drawn(run)
    following = RunAsDrawn(run, drawing)
    monkeypatch.setattr(module, "measure_changed", measured)
    same_numbers(following.measure(), correct_run(run, corrections_of(run)))
    drawing.brush((0, 3), 2, [(9, 12)], size=9)  # takes away of the psoas
    drawing.brush((0, 0), 1, [(9, 12)], size=9)
    drawing.save()
    now, files = following.measure(), correct_run(run, corrections_of(run))
    same_numbers(now, files)
    assert now.before is run
    assert np.array_equal(now.results[0][1].voxels, files.results[0][1].voxels)
    assert seen == [2, 0, 3]
    same_numbers(following.measure(), now)
    for _ in range(3):
        drawing.undo()
    same_numbers(following.measure(), run)
    assert seen == [2, 0, 3, 0, 2, 3]
    assert np.array_equal(labels.voxels, held)


@pytest.mark.parametrize("name", ["measure_changed", "slice_obliquity_deg", "put_in"])
def test_what_an_error_left_half_measured_is_measured_anew(run, name, monkeypatch):
    run = dataclasses.replace(run, areas=areas_table(run.measurements, run.patient_intervals))
    drawing = drawn(run)
    following = RunAsDrawn(run, drawing)
    with monkeypatch.context() as broken:
        broken.setattr(module, name, lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            following.measure()
    now = following.measure()
    assert now.measurements != run.measurements
    assert now.measurements == correct_run(run, corrections_of(run)).measurements


def test_a_second_correction_replaces_the_first_and_none_takes_it_away(run):
    drawing = drawn(run)
    first = correct_run(run, corrections_of(run))
    assert kit_folder(first) == kit_folder(run)
    drawing.brush((0, 3), 2, [(5, 22)], size=5)
    drawing.save()
    second = correct_run(first, corrections_of(run))
    assert second.before is run
    assert second.folder == first.folder
    areas = {(row.slice_index, row.label): row.pixel_count for row in second.measurements}
    assert (areas[2, 1], areas[3, 2]) == (133, 80 + 33)
    for _ in range(2):
        drawing.undo()
    drawing.save()
    assert correct_run(second, corrections_of(run)) is run
    assert not second.folder.exists()
