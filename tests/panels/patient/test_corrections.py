"""Correcting by clicks: the files out, what was changed, and labels that are kept and never replaced unasked."""

import json

import nibabel
import numpy as np
import pytest
from untrained import Fixed

from autoseg.data.cases import find_cases, read_case
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import read_kept_corrections
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.panels.patient import corrections as module
from autoseg.panels.patient.corrections import ALL, CHANGED, SOME, CorrectionsPanel
from autoseg.prediction.run import Run, run_to_correct

CORD, DISC = Structure(1, "cord"), Structure(2, "disc")
AFFINE = affine_from_spacing((5.0, 0.5, 0.8), (-12.0, 30.0, -101.0))


def result(name, *, seed=0):
    voxels = np.random.default_rng(seed).integers(0, 900, (5, 12, 14)).astype(np.int16)
    labels = np.zeros(voxels.shape, np.uint8)
    labels[1:, 3:7, 3:8] = 1
    source = Source(name, subject_id=f"P{seed}", spacing_source="header", slice_spacing_source="header")
    return Image(voxels, AFFINE, source=source), LabelMap(labels, AFFINE, (CORD, DISC), source=source)


def run_of(folder, *names):
    folder.mkdir(parents=True)
    results = tuple(result(name, seed=number) for number, name in enumerate(names))
    return Run(folder, results, (), None, (), (), model="cervical")


def draw(path, where, value):
    """Draw in a file as a program does; `where` is of (x, y, z)."""
    picture = nibabel.load(path)
    voxels = np.asarray(picture.dataobj).copy()
    voxels[where] = value
    nibabel.save(nibabel.Nifti1Image(voxels, picture.affine), path)


@pytest.fixture
def run(tmp_path):
    return run_of(tmp_path / "out" / "cervical_2026", "back")


def panel_on(run, tmp_path, **more):
    place = {"output": tmp_path / "out", "keep_in": tmp_path / "corrected", "by": "AB", "is_open": True}
    return CorrectionsPanel(Fixed(run), **{**place, **more})


def click(panel, button):
    button.click()
    panel.wait(60)


def written(run, tmp_path, **more):
    panel = panel_on(run, tmp_path, **more)
    click(panel, panel.write_button)
    return panel


def is_seen(widget):
    return widget.layout.display != "none"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_a_run_there_is_nothing_to_write(tmp_path):
    panel = panel_on(None, tmp_path)
    assert panel.write_button.disabled
    assert not is_seen(panel.reading)
    assert not is_seen(panel.keeping)
    panel.write()
    assert "First segment a patient" in panel.message.value
    panel.read()
    assert "First write a folder" in panel.message.value
    panel.keep()
    assert "First read the corrected file back" in panel.message.value


def test_a_click_writes_the_files_and_says_how_to_open_them(run, tmp_path):
    panel = written(run, tmp_path)
    folder = run.folder / "to_correct"
    assert str(folder.resolve()) in panel.message.value
    assert panel.kit.model == "cervical"
    assert (folder / "back_labels.nii.gz").is_file()
    for words in (
        "ITK-SNAP",
        "3D Slicer",
        "FSLeyes",
        "back_image.nii.gz with back_labels.nii.gz",
        "Open Main Image",
    ):
        assert words in panel.guide.value
    assert is_seen(panel.reading)
    assert not is_seen(panel.keeping)
    assert panel.folders.value == str(folder)
    assert panel.zip.make()[:2] == b"PK"


def test_writing_again_loses_nothing_that_was_corrected(run, tmp_path):
    panel = written(run, tmp_path)
    draw(run.folder / "to_correct" / "back_labels.nii.gz", np.s_[0:2, 0:3, 2], 2)
    before = files(run.folder)
    click(panel, panel.write_button)
    assert files(run.folder) == before
    assert "was written before and is used as it is" in panel.message.value
    panel.finer.value = True
    click(panel, panel.write_button)
    assert panel.kit.cases[0].factor == 3
    assert "3 times finer" in panel.guide.value
    assert panel.kit.folder != run.folder / "to_correct"
    assert {path: content for path, content in files(run.folder).items() if path in before} == before


def test_an_untouched_file_says_that_nothing_was_changed(run, tmp_path):
    panel = written(run, tmp_path)
    click(panel, panel.read_button)
    assert "nothing was changed in back_labels.nii.gz" in panel.changes.value
    assert "Nothing was changed" in panel.message.value
    assert panel.look.children == ()
    assert panel.checked.value == CHANGED  # nobody has said that every slice was looked at
    click(panel, panel.keep_button)
    assert "Nothing was changed. If somebody looked at every slice" in panel.message.value
    assert panel.value is not None
    assert not (tmp_path / "corrected").exists()
    panel.checked.value = ALL
    click(panel, panel.keep_button)
    assert [row.checked for row in panel.value.kept] == ["all"]
    assert panel.value.kept[0].changed == ""


def test_what_was_changed_is_shown_and_kept_with_who_and_when(run, tmp_path):
    panel = written(run, tmp_path)
    draw(panel.kit.folder / "back_labels.nii.gz", np.s_[0:2, 0:3, 2], 2)  # six pixels of disc on slice 3
    draw(panel.kit.folder / "back_labels.nii.gz", np.s_[3, 3:5, 4], 0)  # two of the cord's 20 on slice 5
    click(panel, panel.read_button)
    (correction,) = panel.value.corrections
    words = panel.changes.value
    assert "corrected by AB" in words
    assert "on 2 of 5 slices (3 5)" in words
    # 80 voxels of cord before and 78 now: Dice 2 * 78 / 158; pixels of 0.4 mm².
    for cell in (">80<", ">78<", ">0.987<", ">0.8<", ">6<", ">2.4<", ">0.000<"):
        assert cell in words, cell
    viewer = panel.look.children[0]
    assert (viewer.slice_index, viewer._reference_name) == (2, "before")
    assert set(viewer._images[0]["flagged"]) == {"2", "4"}
    assert "Nothing is kept yet" in panel.message.value
    assert not (tmp_path / "corrected").exists()
    panel.checked.value = ALL
    click(panel, panel.keep_button)
    (row,) = panel.value.kept
    assert (row.by, row.date, row.checked, row.model) == ("AB", correction.date, "all", "cervical")
    assert str(tmp_path / "corrected" / "labels" / "back.nii.gz") in panel.message.value
    found = find_cases(tmp_path / "corrected")
    _, labels = read_case(found.cases[0], found.structures)
    assert (labels.voxels == correction.label_map.voxels).all()


def test_only_checked_slices_are_learnt_from(run, tmp_path):
    panel = written(run, tmp_path)
    draw(panel.kit.folder / "back_labels.nii.gz", np.s_[0:2, 0:3, 2], 2)
    click(panel, panel.read_button)
    assert panel.checked.value == CHANGED
    assert not is_seen(panel.slices)
    panel.checked.value = SOME
    assert is_seen(panel.slices)
    panel.slices.value = "4-9"
    click(panel, panel.keep_button)
    assert "numbers from 1 to 5" in panel.message.value
    panel.slices.value = "4-5"
    click(panel, panel.keep_button)
    assert "slices 3 were changed but do not stand among those" in panel.message.value
    assert not (tmp_path / "corrected").exists()
    panel.slices.value = "3-5"
    click(panel, panel.keep_button)
    assert panel.value.kept[0].checked == "3-5"
    assert [case.slices for case in find_cases(tmp_path / "corrected").cases] == [(2, 5)]


def test_a_correction_is_replaced_only_after_a_question(run, tmp_path):
    panel = written(run, tmp_path)
    path = panel.kit.folder / "back_labels.nii.gz"
    draw(path, np.s_[0:2, 0:3, 2], 2)
    click(panel, panel.read_button)
    click(panel, panel.keep_button)
    before = files(tmp_path / "corrected")
    click(panel, panel.keep_button)
    assert "is kept already" in panel.message.value
    assert files(tmp_path / "corrected") == before
    draw(path, np.s_[0:2, 0:3, 2], 1)
    panel.by.value = "CD"
    click(panel, panel.read_button)
    click(panel, panel.keep_button)
    assert "has labels already, corrected by AB" in panel.message.value
    assert "Nothing was kept yet" in panel.message.value
    assert files(tmp_path / "corrected") == before
    assert is_seen(panel.replace_button)
    assert panel.value is not None
    panel.keep_in.value = str(tmp_path / "elsewhere")
    assert not is_seen(panel.replace_button)  # it was asked about another folder
    panel.keep_in.value = str(tmp_path / "corrected")
    click(panel, panel.keep_button)
    click(panel, panel.replace_button)
    assert [row.by for row in read_kept_corrections(tmp_path / "corrected")] == ["AB", "CD"]
    (earlier,) = (tmp_path / "corrected" / "earlier_labels").iterdir()
    assert earlier.read_bytes() == before[tmp_path / "corrected" / "labels" / "back.nii.gz"]
    assert "The labels before are in" in panel.message.value


def test_finer_files_come_back_to_the_image_s_own_grid(run, tmp_path):
    panel = panel_on(run, tmp_path)
    panel.finer.value = True
    click(panel, panel.write_button)
    draw(panel.kit.folder / "back_labels.nii.gz", np.s_[0:3, 0:3, 2], 2)  # one pixel of the image
    click(panel, panel.read_button)
    (correction,) = panel.value.corrections
    assert correction.label_map.voxels[2, 0, 0] == 2
    assert (correction.label_map.voxels != correction.before.voxels).sum() == 1
    assert ">0.4<" in panel.changes.value


def test_a_file_saved_under_another_name_is_found(run, tmp_path):
    panel = written(run, tmp_path)
    assert not is_seen(panel.file)
    folder = panel.kit.folder
    other = folder / "Segmentation.nii.gz"
    other.write_bytes((folder / "back_labels.nii.gz").read_bytes())
    draw(other, np.s_[0, 0, 2], 2)
    click(panel, panel.read_button)
    assert "the folder holds Segmentation.nii.gz" in panel.message.value
    assert is_seen(panel.file)
    panel.file.value = str(other)
    click(panel, panel.read_button)
    assert panel.value.corrections[0].changed_slices == (2,)
    (folder / "back.seg.nrrd").write_bytes(b"NRRD")
    click(panel, panel.read_button)
    panel.file.value = str(folder / "back.seg.nrrd")
    click(panel, panel.read_button)
    assert "Export to files" in panel.message.value
    assert panel.value is None


def test_several_images_are_read_together_or_one_by_one(tmp_path):
    run = run_of(tmp_path / "out" / "two", "upper", "lower")
    panel = written(run, tmp_path)
    assert is_seen(panel.image)
    for name in ("upper", "lower"):
        draw(panel.kit.folder / f"{name}_labels.nii.gz", np.s_[0, 0, 2], 2)
    click(panel, panel.read_button)
    assert [one.case.case_id for one in panel.value.corrections] == ["upper", "lower"]
    panel.checked.value = SOME
    panel.slices.value = "3"
    click(panel, panel.keep_button)
    assert "Slices 3 are of one image" in panel.message.value
    panel.image.value = "lower"
    click(panel, panel.read_button)
    assert [one.case.case_id for one in panel.value.corrections] == ["lower"]
    panel.image.value = ""
    click(panel, panel.read_button)
    panel.checked.value = CHANGED
    click(panel, panel.keep_button)
    assert len(panel.value.kept) == 2
    assert len(find_cases(tmp_path / "corrected").cases) == 2


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "back_labels.nii.gz").unlink(), "back_labels.nii.gz"),
        (lambda folder: (folder / "back_labels.nii.gz").write_bytes(b"no picture"), "back_labels.nii.gz"),
        (lambda folder: draw(folder / "back_labels.nii.gz", np.s_[0, 0, 0], 9), "9"),
        (lambda folder: exchange(folder / "back_labels.nii.gz"), "numbered anew|number segments anew"),
        (lambda folder: shrink(folder / "back_labels.nii.gz"), "grid|shape"),
    ],
)
def test_a_file_that_cannot_be_taken_is_a_sentence(run, tmp_path, spoil, words):
    import re

    panel = written(run, tmp_path)
    spoil(panel.kit.folder)
    click(panel, panel.read_button)
    assert re.search(words, panel.message.value)
    assert 'role="alert"' in panel.message.value
    assert "Traceback" not in panel.message.value
    assert panel.value is None
    assert not is_seen(panel.keeping)


def exchange(path):
    picture = nibabel.load(path)
    voxels = np.asarray(picture.dataobj)
    nibabel.save(nibabel.Nifti1Image(np.where(voxels == 1, 2, 0).astype(np.uint8), picture.affine), path)


def shrink(path):
    picture = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(picture.dataobj)[:5], picture.affine), path)


def test_what_was_exchanged_on_purpose_is_taken(run, tmp_path):
    panel = written(run, tmp_path)
    exchange(panel.kit.folder / "back_labels.nii.gz")
    panel.exchanged.value = True
    click(panel, panel.read_button)
    assert panel.value.corrections[0].is_changed


def test_nobody_is_named(run, tmp_path):
    panel = written(run, tmp_path, by=" ")
    click(panel, panel.read_button)
    assert "Say who corrected" in panel.message.value


def test_a_folder_that_cannot_take_it_stays_as_it_was(run, tmp_path):
    panel = written(run, tmp_path)
    draw(panel.kit.folder / "back_labels.nii.gz", np.s_[0, 0, 2], 2)
    click(panel, panel.read_button)
    panel.keep_in.value = "  "
    panel.keep_button.click()
    assert "Name the folder" in panel.message.value
    other = tmp_path / "mine"
    image, labels = result("mine", seed=9)
    write_nifti(other / "mine.nii.gz", image)
    write_nifti(other / "mine_seg.nii.gz", labels)
    before = files(other)
    panel.keep_in.value = str(other)
    click(panel, panel.keep_button)
    assert "Keep the correction in a new folder" in panel.message.value
    assert files(other) == before
    assert panel.value.kept == ()
    (tmp_path / "a_file").write_text("no folder")
    panel.keep_in.value = str(tmp_path / "a_file")
    click(panel, panel.keep_button)
    assert 'role="alert"' in panel.message.value
    assert panel.value is not None


def test_a_run_that_is_not_there_any_more_is_a_sentence(run, tmp_path):
    panel = panel_on(run, tmp_path)
    run.folder.rmdir()
    click(panel, panel.write_button)
    assert "is not there any more" in panel.message.value
    assert panel.kit is None
    assert not run.folder.exists()


def test_folders_of_other_days_can_be_gone_on_with(run, tmp_path):
    kit = run_to_correct(run)
    draw(kit.folder / "back_labels.nii.gz", np.s_[0, 0, 2], 2)
    panel = panel_on(None, tmp_path)
    assert panel.kit is None
    names = [name for name, _ in panel.folders.options]
    assert names == ["–", "cervical_2026/to_correct"]
    assert is_seen(panel.written)
    panel.folders.value = str(kit.folder)
    click(panel, panel.read_button)
    assert panel.value.corrections[0].is_changed
    (kit.folder / "correction.json").write_text("{", encoding="utf-8")
    panel.folders.value = ""
    panel.folders.value = str(kit.folder)
    assert "cannot be read" in panel.message.value
    assert panel.value is None


def test_another_patient_takes_back_what_was_read(run, tmp_path):
    prediction = Fixed(run)
    panel = CorrectionsPanel(prediction, output=tmp_path / "out", keep_in=tmp_path / "corrected", by="AB")
    click(panel, panel.write_button)
    click(panel, panel.read_button)
    assert panel.value is not None
    prediction.value = run_of(tmp_path / "out" / "other", "leg")
    assert (panel.value, panel.changes.value, panel.look.children) == (None, "", ())
    assert panel.kit is None
    assert run.folder.name in json.dumps(panel.folders.options)


def test_the_folder_is_opened_in_a_window_or_not(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "why_not_openable", lambda: "There is no screen.")
    panel = written(run, tmp_path)
    assert panel.open_button.disabled
    assert panel.open_button.tooltip == "There is no screen."
    opened = []
    monkeypatch.setattr(module, "open_folder", opened.append)
    panel.open_in_window()
    assert opened == [panel.kit.folder]
