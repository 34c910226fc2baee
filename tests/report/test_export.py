import csv
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import nibabel
import numpy as np
import openpyxl
import pytest
from PIL import Image as PillowImage

from autoseg.errors import DataError, LabelError, OutputError
from autoseg.files.file_names import file_stem, safe_name
from autoseg.files.nifti.volumes import read_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.model.trust import Light, Suitability
from autoseg.report import export
from autoseg.report.export import write_run, write_tables
from autoseg.report.run_folder import free_run_folder, list_run_files, overlay_stems, run_folder_name, slice_stems

STRUCTURES = (Structure(1, "psoas left", side="left"), Structure(7, "Bandscheibe é"))
NOW = datetime(2026, 3, 1, 14, 5, 9)


def result(case_id="series-2", *, slices=3, size=(40, 30), affine=None, folder="Doe^Jane", names=None):
    rng = np.random.default_rng(len(case_id))
    voxels = np.zeros((slices, *size), np.uint8)
    voxels[:, 5:15, 5:15] = 1
    voxels[:, 20:25, 5:25] = 7
    names = [f"{n}.dcm" for n in range(slices)] if names is None else names
    source = Source(
        case_id=case_id,
        subject_id="P7",
        series_uid="1.2",
        spacing_source="header",
        slice_spacing_source="header",
        slices=tuple(SliceSource(Path("/scans") / folder / name, 0, f"1.2.{name}") for name in names),
    )
    affine = affine_from_spacing((4.0, 0.5, 0.8)) if affine is None else affine
    image = Image(rng.normal(100, 20, (slices, *size)).astype(np.float32), affine, source=source)
    return image, LabelMap(voxels, affine, STRUCTURES, source=source)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_run_is_one_folder_with_everything(tmp_path):
    folder = write_run(tmp_path / "out" / "run", [result(slices=2)], model_name="psoas_40")
    assert folder == tmp_path / "out" / "run"
    assert files(folder) == [
        "animation.gif",
        "areas.csv",
        "areas.xlsx",
        "colours/labels_fsleyes.lut",
        "colours/labels_itksnap.txt",
        "colours/labels_slicer.ctbl",
        "cuts/series-2_coronal.jpg",
        "cuts/series-2_sagittal.jpg",
        "intensities.csv",
        "labels/0.png",
        "labels/1.png",
        "measurements.csv",
        "overlays/series-2_s001_0.jpg",
        "overlays/series-2_s002_1.jpg",
        "patients.csv",
        "run.json",
        "series-2.nii.gz",
        "structures.csv",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_further_files_lie_in_the_folder_or_there_is_none(tmp_path):
    folder = write_run(
        tmp_path / "run",
        [result()],
        model_name="psoas",
        write_more=lambda place: (place / "more.txt").write_text("x"),
    )
    assert (folder / "more.txt").read_text() == "x"

    def fail(place):
        (place / "more.txt").write_text("half")
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="the disk is full"):
        write_run(tmp_path / "other", [result()], model_name="psoas", write_more=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_pixel_values_of_a_label_picture_are_the_labels(tmp_path):
    image, labels = result()
    folder = write_run(tmp_path / "run", [(image, labels)], model_name="m")
    with PillowImage.open(folder / "labels" / "1.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), labels.voxels[1])
        assert tuple(picture.getpalette()[21:24]) == STRUCTURES[1].rgb


def test_the_nifti_lies_on_the_images_grid(tmp_path):
    image, labels = result()
    folder = write_run(tmp_path / "run", [(image, labels)], model_name="m")
    voxels, affine = read_nifti(folder / "series-2.nii.gz")
    np.testing.assert_array_equal(voxels, labels.voxels)
    np.testing.assert_allclose(affine, image.affine, atol=1e-5)


def test_small_pictures_are_enlarged_with_the_proportions_of_the_pixels(tmp_path):
    folder = write_run(tmp_path / "run", [result()], model_name="m")
    with PillowImage.open(folder / "overlays" / "series-2_s001_0.jpg") as picture:
        assert picture.height == 40 * 13
        assert picture.width == 30 * 21
    with PillowImage.open(folder / "animation.gif") as picture:
        assert picture.n_frames == 3


def test_the_tables_hold_the_areas_with_a_decimal_point(tmp_path):
    folder = write_run(tmp_path / "run", [result()], model_name="psoas_40")
    with (folder / "areas.csv").open(encoding="utf-8-sig", newline="") as file:
        wide = list(csv.DictReader(file))
    areas = ["psoas left mm²", "Bandscheibe é mm²"]
    assert list(wide[0]) == ["slice", "file", "slice_position_mm", *areas, "flags"]
    assert [row["slice"] for row in wide[:4]] == ["1", "2", "3", "mean"]
    assert [row["file"] for row in wide[:4]] == ["0.dcm", "1.dcm", "2.dcm", ""]
    assert [row["slice_position_mm"] for row in wide[:3]] == ["0", "4", "8"]
    assert wide[0]["psoas left mm²"] == "40"
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        tidy = list(csv.DictReader(file))
    assert len(tidy) == 6
    assert (tidy[0]["pixel_column_mm"], tidy[0]["area_mm2"], tidy[0]["model"]) == ("0.8", "40", "psoas_40")
    assert float(tidy[0]["mean_intensity"]) == pytest.approx(100, abs=10)


def test_the_workbook_holds_the_same_areas_with_flagged_cells_marked(tmp_path):
    image, labels = result(slices=3)
    labels.voxels[1][labels.voxels[1] == 7] = 0  # missing between slices
    details = {"autoseg": "1.2", "best_epoch": 12}
    folder = write_run(tmp_path / "run", [(image, labels)], model_name="psoas_40", details=details)
    book = openpyxl.load_workbook(folder / "areas.xlsx")
    assert book.sheetnames == ["areas", "measurements", "by patient", "intensities", "about"]
    page = book["areas"]
    with (folder / "areas.csv").open(encoding="utf-8-sig", newline="") as file:
        wide = list(csv.reader(file))
    shown = [["" if cell is None else cell for cell in row] for row in page.iter_rows(values_only=True)]
    assert shown[0] == wide[0]
    assert [[str(cell) for cell in row[:1]] for row in shown] == [row[:1] for row in wide]
    areas = wide[0].index("Bandscheibe é mm²")
    assert [float(row[areas] or 0) for row in shown[1:]] == [float(row[areas] or 0) for row in wide[1:]]
    marked = [cell.coordinate for row in page.iter_rows() for cell in row if cell.fill.fill_type == "solid"]
    assert marked == ["E3"]  # the second slice, the fifth column
    about = dict(book["about"].iter_rows(min_row=2, values_only=True))
    assert about["model"] == "psoas_40"
    assert about["autoseg"] == "1.2"
    assert about["pixel (between rows × between columns), and whence"] == "0.5 × 0.8 mm (header)"
    assert about["flagged areas"] == 1


def test_several_images_have_a_table_by_patient_more(tmp_path):
    folder = write_run(tmp_path / "run", [result("a"), result("b", names=["x", "y", "z"])], model_name="m")
    with (folder / "patients.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["subject_id"], row["image"], row["structure"]) for row in rows] == [
        ("P7", "a", "psoas left"),
        ("P7", "a", "Bandscheibe é"),
        ("P7", "b", "psoas left"),
        ("P7", "b", "Bandscheibe é"),
    ]
    assert [rows[0][name] for name in ("volume_mm3", "volume_at_least_mm3", "cut_off")] == ["", "480", "0"]
    assert "by patient" in openpyxl.load_workbook(folder / "areas.xlsx").sheetnames


def test_run_json_tells_where_everything_came_from_but_no_folder(tmp_path):
    folder = write_run(tmp_path / "run", [result()], model_name="m", details={"best_epoch": 12})
    text = (folder / "run.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert (record["model"], record["details"]["best_epoch"]) == ("m", 12)
    assert record["format"] == 2
    assert record["images"][0]["slices"][1] == {
        "slice": 2,
        "name": "1",
        "overlay": "series-2_s002_1",
        "file": "1.dcm",
        "frame": 0,
        "sop_uid": "1.2.1.dcm",
    }
    assert record["images"][0]["spacing_source"] == "header"
    assert [structure["name"] for structure in record["structures"]] == ["psoas left", "Bandscheibe é"]
    # Folders are often called like the patient.
    assert "Doe" not in text


def test_images_of_several_sizes_share_a_run(tmp_path):
    first, second = result("a", slices=2), result("b", slices=1, size=(30, 60), names=["9.dcm"])
    folder = write_run(tmp_path / "run", [first, second], model_name="m")
    assert {"a.nii.gz", "b.nii.gz", "labels/0.png", "labels/9.png"} <= set(files(folder))
    with PillowImage.open(folder / "animation.gif") as picture:
        assert picture.n_frames == 3


def test_slices_with_equal_names_are_told_apart_by_their_case(tmp_path):
    runs = [result("a", slices=1, names=["IM1.dcm"]), result("b", slices=2, names=["im1.dcm", "IM2.dcm"])]
    folder = write_run(tmp_path / "run", runs, model_name="m")
    assert [name for name in files(folder) if name.startswith("labels")] == [
        "labels/IM2.png", "labels/a_IM1.png", "labels/b_im1.png",
    ]  # fmt: skip


def test_frames_of_a_multi_frame_file_are_numbered():
    source = Source(slices=tuple(SliceSource(Path("cine.dcm"), frame, "1.2") for frame in (0, 1, 11)))
    image = Image(np.zeros((3, 4, 4)), source=source)
    assert slice_stems([image]) == [["cine_001", "cine_002", "cine_012"]]
    assert overlay_stems([image]) == [["image_s001", "image_s002", "image_s003"]]
    # Also where only one frame of the file is there, unless it is the first.
    alone = Image(np.zeros((1, 4, 4)), source=Source(slices=(SliceSource(Path("cine.dcm"), 4, "1.2"),)))
    assert slice_stems([alone]) == [["cine_005"]]


def test_slices_of_a_volume_that_runs_down_are_called_by_their_own_numbers():
    # As NIfTI files are read whose first slice is the uppermost: the slice at the feet is number 1.
    places = tuple(SliceSource(Path("leg.nii.gz"), frame) for frame in (2, 1, 0))
    image = Image(np.zeros((3, 4, 4)), source=Source("leg", slices=places))
    assert slice_stems([image]) == overlay_stems([image]) == [["leg_s001", "leg_s002", "leg_s003"]]
    part = Image(np.zeros((2, 4, 4)), source=Source("leg_s004-005", slices=places[:2], first_slice=4))
    assert overlay_stems([part]) == [["leg_s004-005_s004", "leg_s004-005_s005"]]
    one = Image(np.zeros((1, 4, 4)), source=Source("leg", slices=places[2:]))
    assert overlay_stems([one]) == [["leg_s001"]]


def test_no_two_slices_ever_share_a_name():
    # Equal file names in folders of one case, and a file that is called like the way out.
    paths = ["x/1.dcm", "y/1.dcm", "y/c_1.dcm"]
    source = Source(case_id="c", slices=tuple(SliceSource(Path(path)) for path in paths))
    (names,) = slice_stems([Image(np.zeros((3, 4, 4)), source=source)])
    assert len({name.casefold() for name in names}) == 3


def test_names_are_fit_for_every_system():
    assert file_stem(Path("1.3.46.670589")) == "1.3.46.670589"
    assert file_stem(Path("leg 07.DCM")) == "leg 07"
    assert safe_name("a/b\\c:d*?") == "a_b_c_d"
    assert safe_name("..hidden.") == "hidden"
    assert safe_name("///") == "unnamed"
    assert safe_name("nul.txt") == "_nul.txt"
    assert len(safe_name("x" * 300)) == 100


def test_the_runs_name_has_model_and_time():
    assert run_folder_name("psoas 40", NOW) == "psoas_40_2026-03-01_140509"


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path):
    names = []
    for _ in range(3):
        folder = free_run_folder(tmp_path, "psoas 40", NOW)
        folder.mkdir()
        names.append(folder.name)
    assert names == [f"psoas_40_2026-03-01_140509{number}" for number in ("", "_2", "_3")]


def test_a_file_name_that_is_no_utf8_does_not_stop_a_run(tmp_path):
    # As Linux gives the byte E9 of an old archive.
    folder = write_run(
        tmp_path / "run",
        [result("caf\udce9", slices=1, names=["caf\udce9.dcm"]), result("b", slices=1)],
        model_name="m",
    )
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["images"][0]["slices"][0]["file"] == "caf\udce9.dcm"
    for table in ("areas.csv", "measurements.csv"):
        assert r"caf\udce9" in (folder / table).read_text(encoding="utf-8-sig")
    assert "labels/caf.png" in files(folder)


def test_slices_at_unknown_distances_get_no_nifti_with_an_invented_one(tmp_path):
    def unspaced(case_id, slices):
        image, labels = result(case_id, slices=slices, names=[f"{case_id}{n}.dcm" for n in range(slices)])
        source = replace(image.source, slice_spacing_source="none")
        return replace(image, source=source), replace(labels, source=source)

    runs = [unspaced("stack", 2), unspaced("single", 1), result("known")]
    folder = write_run(tmp_path / "run", runs, model_name="m")
    assert {path.name for path in folder.glob("*.nii.gz")} == {"single.nii.gz", "known.nii.gz"}
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["left_out"] == ["stack.nii.gz: the distance between its slices is unknown."]


def test_what_was_measured_already_is_not_measured_again(tmp_path, monkeypatch):
    image, labels = result()
    rows = measure_areas(labels, image=image, model="m")
    monkeypatch.setattr(export, "measure_areas", None)
    folder = write_run(tmp_path / "run", [(image, labels)], model_name="m", measurements=rows)
    assert len((folder / "measurements.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(rows)


def test_two_runs_are_never_mixed(tmp_path):
    folder = write_run(tmp_path / "run", [result()], model_name="m")
    before = files(folder)
    with pytest.raises(OutputError, match="exists already"):
        write_run(folder, [result("other")], model_name="m")
    assert files(folder) == before


def test_without_millimetres_areas_are_in_pixels_beside_those_in_mm2(tmp_path):
    image, labels = result("bare", names=["a.png", "b.png", "c.png"])
    silent = replace(image.source, spacing_source="none", slice_spacing_source="none")
    bare = replace(image, affine=None, source=silent), replace(labels, affine=None, source=silent)
    folder = write_run(tmp_path / "run", [result("known"), bare], model_name="m")
    assert [path.name for path in folder.glob("*.nii.gz")] == ["known.nii.gz"]
    assert {"labels/a.png", "overlays/bare_s001_a.jpg"} <= set(files(folder))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["left_out"] == ["bare.nii.gz: the size of a pixel is unknown."]
    assert record["images"][1]["spacing_mm"] is None
    with (folder / "areas.csv").open(encoding="utf-8-sig", newline="") as file:
        wide = {(row["case_id"], row["slice"]): row for row in csv.DictReader(file)}
    first, mean = wide["bare", "1"], wide["bare", "mean"]
    assert (first["psoas left pixels"], first["psoas left mm²"]) == ("100", "")
    assert (mean["psoas left pixels"], mean["psoas left mm²"]) == ("100", "")
    assert wide["bare", "n"]["psoas left mm²"] == ""
    assert (wide["known", "mean"]["psoas left pixels"], wide["known", "mean"]["psoas left mm²"]) == ("", "40")
    with (folder / "patients.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("mean_area_mm2", "mean_area_pixels", "volume_at_least_mm3")
    assert [tuple(row[name] for name in names) for row in rows[::2]] == [
        ("", "100", ""), ("40", "", "480"),
    ]  # fmt: skip
    about = dict(openpyxl.load_workbook(folder / "areas.xlsx")["about"].iter_rows(min_row=2, values_only=True))
    assert about["pixel (between rows × between columns), and whence"] == "0.5 × 0.8 mm (header); unknown"
    assert "bare does not tell the size of a pixel" in about["areas in pixels"]


def test_what_is_on_no_slice_is_said_in_words_and_as_a_record(tmp_path):
    image, labels = result("leg")
    labels.voxels[labels.voxels == 7] = 0
    folder = write_run(tmp_path / "run", [(image, labels), result("whole", names=["x", "y", "z"])], model_name="m")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (missing,) = record["not_found"]
    assert (missing["case_id"], missing["name"], missing["is_everything"]) == ("leg", "Bandscheibe é", False)
    about = dict(openpyxl.load_workbook(folder / "areas.xlsx")["about"].iter_rows(min_row=2, values_only=True))
    assert about["not found"].startswith("Bandscheibe é was found on no slice of leg")


def test_nothing_to_write_and_mixed_up_results_are_refused(tmp_path):
    with pytest.raises(DataError, match="no result"):
        write_run(tmp_path / "run", [], model_name="m")
    with pytest.raises(DataError, match="2 images have the case_id 'series-2'"):
        write_run(tmp_path / "run", [result(), result()], model_name="m")
    image, labels = result()
    moved = replace(labels, affine=affine_from_spacing((4.0, 0.5, 0.9)))
    with pytest.raises(LabelError, match="do not lie on the image"):
        write_run(tmp_path / "run", [(image, moved)], model_name="m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("writer", ["write_palette_png", "write_jpg", "write_nifti", "write_gif"])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, writer):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, writer, full)
    with pytest.raises(OutputError, match=r"run could not be written: No space left"):
        write_run(tmp_path / "run", [result()], model_name="m")
    assert list(tmp_path.iterdir()) == []


def test_a_label_picture_that_reads_back_differently_is_not_delivered(tmp_path, monkeypatch):
    right = export.write_palette_png
    monkeypatch.setattr(
        export, "write_palette_png", lambda path, labels, known, **more: right(path, labels[::-1], known, **more)
    )
    with pytest.raises(OutputError, match=r"0\.png reads back differently"):
        write_run(tmp_path / "run", [result()], model_name="m")
    assert list(tmp_path.iterdir()) == []


def test_tables_alone_can_be_written_to_a_new_folder(tmp_path):
    rows = measure_areas(result()[1])
    wanted = ["areas.csv", "areas.xlsx", "measurements.csv", "patients.csv"]
    assert files(write_tables(tmp_path / "tables", rows)) == wanted
    with pytest.raises(OutputError, match="exists already"):
        write_tables(tmp_path / "tables", rows)


def test_a_long_stack_has_a_short_animation(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MAX_GIF_FRAMES", 4)
    folder = write_run(tmp_path / "run", [result("a", slices=9)], model_name="m")
    with PillowImage.open(folder / "animation.gif") as picture:
        assert picture.n_frames == 4
    assert sum(name.startswith("labels/") for name in files(folder)) == 9


def test_levels_have_a_table_of_their_own(tmp_path):
    image, labels = result(slices=4, names=[f"{n}.dcm" for n in range(4)])
    slices = tuple(
        replace(one, level=level) for one, level in zip(image.source.slices, ("L2", "L2", "L3", ""), strict=True)
    )
    image = replace(image, source=replace(image.source, slices=slices))
    labels.voxels[1, 5:10, 5:15] = 0
    folder = write_run(tmp_path / "run", [(image, labels)], model_name="m")
    with (folder / "levels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {(row["level"], row["name"]): row for row in csv.DictReader(file)}
    # 100 and 50 pixels of 0.4 mm².
    assert (rows["L2", "psoas left"]["n"], rows["L2", "psoas left"]["mean_area_mm2"]) == ("2", "30")
    assert (rows["L3", "psoas left"]["n"], rows["L3", "psoas left"]["mean_area_mm2"]) == ("1", "40")
    assert "by level" in openpyxl.load_workbook(folder / "areas.xlsx").sheetnames
    meanings = {file.name: file.meaning for file in list_run_files(folder)}
    assert all(meanings.values())


def test_a_single_image_has_its_volume_in_ml_too(tmp_path):
    folder = write_tables(tmp_path / "out", measure_areas(result(slices=3)[1]))
    with (folder / "patients.csv").open(encoding="utf-8-sig", newline="") as file:
        (psoas, _) = csv.DictReader(file)
    # Three slices, 4 mm apart, of 100 pixels of 0.4 mm²: 480 mm³, and the first and last show it, so it may go on.
    assert (psoas["volume_at_least_mm3"], psoas["volume_at_least_ml"]) == ("480", "0.48")
    assert (psoas["volume_mm3"], psoas["volume_ml"]) == ("", "")
    assert not (folder / "levels.csv").exists()


LIGHTS = {
    "leg": Suitability(Light.RED, ("The image is upside down.", "Turn it.")),
    "arm": Suitability(Light.AMBER, ("The pixels are small.",)),
    "hip": Suitability(Light.GREEN, ("It is like what the model learnt.",)),
}


@pytest.fixture(scope="module")
def lit(tmp_path_factory):
    """A run of a red, an amber and a green image, and of one that nobody compared."""
    results = [result(name, slices=2, names=[f"{name}{n}.dcm" for n in range(2)]) for name in (*LIGHTS, "rib")]
    rows = [
        replace(row, suitability=LIGHTS[name].light.value if name in LIGHTS else "")
        for image, labels in results
        for name in [image.source.case_id]
        for row in measure_areas(labels, image=image)
    ]
    folder = tmp_path_factory.mktemp("lit") / "run"
    return write_run(folder, results, model_name="m", measurements=rows, suitability=LIGHTS)


def test_run_json_has_the_light_of_each_image_and_of_the_run(lit):
    record = json.loads((lit / "run.json").read_text(encoding="utf-8"))
    assert record["format"] == 2
    red = {"light": "red", "reasons": ["The image is upside down.", "Turn it."]}
    assert record["suitability"] == red
    assert [image["suitability"] and image["suitability"]["light"] for image in record["images"]] == [
        "red", "amber", "green", None,
    ]  # fmt: skip
    assert record["images"][0]["suitability"] == red


def test_a_run_is_green_only_if_all_of_it_is(tmp_path):
    for name, known, light in (
        ("a", {"leg": LIGHTS["hip"]}, None),
        ("b", dict.fromkeys(("leg", "arm"), LIGHTS["hip"]), "green"),
    ):
        folder = write_run(tmp_path / name, [result("leg"), result("arm")], model_name="m", suitability=known)
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))["suitability"]
        assert (found and found["light"]) == light


def test_pictures_that_are_not_green_have_a_strip_with_the_word_above_them(lit):
    grounds = {"leg": (176, 0, 32), "arm": (255, 191, 71)}
    sizes = {}
    for kind in ("overlays", "cuts"):
        for path in (lit / kind).iterdir():
            name = path.name[:3]
            with PillowImage.open(path) as picture:
                corner = picture.getpixel((1, 1))
                sizes.setdefault((kind, name), picture.size)
            near = [case for case, ground in grounds.items() if np.abs(np.subtract(corner, ground)).max() < 8]
            assert near == ([name] if name in grounds else []), path.name
    assert sizes["overlays", "hip"] == sizes["overlays", "rib"]
    assert sizes["overlays", "arm"][0] == sizes["overlays", "hip"][0]
    assert sizes["overlays", "arm"][1] > sizes["overlays", "hip"][1]
    with PillowImage.open(lit / "animation.gif") as gif:
        assert gif.n_frames == 8
        reds = np.asarray(gif.convert("RGB"))[:, gif.width // 2]
    assert (np.abs(reds.astype(int) - grounds["leg"]).max(axis=-1) < 8).any()


def test_label_files_have_the_word_in_their_heads_and_the_same_labels(lit):
    for name, light in (("leg", b"suitability: red"), ("hip", b"suitability: green"), ("rib", b"")):
        assert bytes(nibabel.load(lit / f"{name}.nii.gz").header["descrip"].item()) == light
        with PillowImage.open(lit / "labels" / f"{name}0.png") as picture:
            assert picture.info.get("Description", "") == light.decode()
            np.testing.assert_array_equal(np.asarray(picture), result(name)[1].voxels[0])


def test_the_workbook_marks_the_lights_and_tells_the_reasons(lit):
    book = openpyxl.load_workbook(lit / "areas.xlsx")
    for title in ("areas", "measurements", "by patient"):
        page = book[title]
        (column,) = (cell.column for cell in page[1] if cell.value == "suitability")
        fills = {cell.value: cell.fill.fgColor.rgb for (cell,) in page.iter_rows(2, min_col=column, max_col=column)}
        assert fills == {"red": "00B00020", "amber": "00FFE08A", "green": "00000000", None: "00000000"}
        assert page.sheet_properties.tabColor.rgb == "00B00020"
    told = {row[0]: row[1] for row in book["about"].iter_rows(values_only=True)}
    assert list(told)[1:5] == [f"suitability of {name}" for name in ("leg", "arm", "rib", "hip")]
    assert told["suitability of leg"] == "RED. The image is upside down. Turn it."
    assert told["suitability of rib"].startswith("Unknown")
    assert [book["about"].cell(row, 2).fill.fgColor.rgb for row in (2, 3, 4)] == [
        "00B00020",
        "00FFE08A",
        "00000000",
    ]


def test_brightness_and_fat_have_tables_with_the_light_of_their_image(tmp_path):
    image, labels = result("leg")
    voxels = np.stack([np.full(image.shape, 75.0), np.full(image.shape, 25.0)])
    dixon = replace(image, voxels=voxels, channels=("water", "fat"))
    rows = [replace(row, suitability="amber") for row in measure_areas(labels, image=dixon)]
    folder = write_run(tmp_path / "run", [(dixon, labels)], model_name="m", measurements=rows)
    with (folder / "fat_fraction.csv").open(encoding="utf-8", newline="") as file:
        fat = list(csv.DictReader(file))
    assert {row["fat_fraction_percent"] for row in fat} == {"25"}
    assert [row["slice"] for row in fat if row["name"] == "psoas left"] == ["1", "2", "3", ""]
    with (folder / "intensities.csv").open(encoding="utf-8", newline="") as file:
        bright = list(csv.DictReader(file))
    assert {(row["channel"], row["p95_intensity"], row["suitability"]) for row in bright} == {
        ("water", "75", "amber"), ("fat", "25", "amber"),
    }  # fmt: skip
    assert "fat fraction" in openpyxl.load_workbook(folder / "areas.xlsx").sheetnames
    assert not (folder / "fat_estimate.csv").exists()
    assert all(file.meaning for file in list_run_files(folder))
