"""From a patient's folder, or from labels that were drawn, to a folder to correct in: also on the command line."""

import shutil

import nibabel
import numpy as np
import pytest
from untrained import untrained_model

from autoseg.cli import main
from autoseg.data.cases import find_cases, read_case
from autoseg.data.patients import read_patient
from autoseg.errors import DataError, OutputError
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.files.tables import write_structures
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.model import save_model
from autoseg.prediction import predict
from autoseg.prediction.run import kit_folder, labels_to_correct, run_to_correct, segment_folder, segment_to_correct
from autoseg.report.run_folder import list_run_files


def draw(path, where, value=2):
    picture = nibabel.load(path)
    voxels = np.asarray(picture.dataobj).copy()
    voxels[where] = value
    nibabel.save(nibabel.Nifti1Image(voxels, picture.affine), path)


@pytest.fixture
def train(tmp_path):
    """A folder of two small volumes and their labels."""
    rng = np.random.default_rng(0)
    affine = affine_from_spacing((4.0, 1.0, 1.0))
    for name in ("a", "b"):
        write_nifti(
            tmp_path / "train" / "images" / f"{name}.nii.gz",
            Image(rng.normal(0, 9, (5, 12, 14)).astype(np.float32), affine),
        )
        labels = np.zeros((5, 12, 14), np.uint8)
        labels[:, 3:7, 3:8] = 1
        structures = (Structure(1, "cord"), Structure(2, "disc"))
        write_nifti(tmp_path / "train" / "labels" / f"{name}.nii.gz", LabelMap(labels, affine, structures))
        write_structures(tmp_path / "train" / "structures.csv", structures)
    return tmp_path / "train"


def test_a_patients_dicom_folder_becomes_one_to_correct_in(sample, tmp_path):
    model = untrained_model()
    kit = segment_to_correct(model, sample / "test" / "dicoms", tmp_path / "kit", only=["series-5"], factor=3)
    images, _, _ = read_patient(sample / "test" / "dicoms", only=["series-5"])
    assert [case.case_id for case in kit.cases] == ["series-5_t01", "series-5_t02"]
    case, image = kit.cases[1], images[1]
    assert (kit.model, case.shape, case.factor) == ("heart", image.shape, 3)
    voxels, _ = read_nifti(kit.folder / case.labels_name)
    assert np.array_equal(voxels[:, 1::3, 1::3], predict(model, image).voxels)


def test_a_run_is_written_once_and_then_gone_on_with(sample, tmp_path):
    run = segment_folder(untrained_model(), sample / "test" / "dicoms", output=tmp_path, only=["series-5"])
    kit = run_to_correct(run)
    assert kit.folder == kit_folder(run) == run.folder / "to_correct"
    assert kit.model == run.model
    draw(kit.folder / kit.cases[0].labels_name, np.s_[0:3, 0:3, 2])
    content = (kit.folder / kit.cases[0].labels_name).read_bytes()
    assert run_to_correct(run).cases[0].name == kit.cases[0].name
    assert (kit.folder / kit.cases[0].labels_name).read_bytes() == content
    finer = run_to_correct(run, factor=3)
    assert finer.folder == kit_folder(run, 3) != kit.folder
    assert [one.name for one in list_run_files(run.folder) if one.meaning.startswith("Images and labels")] == [
        "to_correct/",
        "to_correct_finer_3/",
    ]
    shutil.rmtree(run.folder)
    with pytest.raises(OutputError, match="not there any more"):
        run_to_correct(run)
    assert not run.folder.exists()


def test_only_the_cases_that_are_wanted_are_written(train, tmp_path):
    kit = labels_to_correct(find_cases(train), tmp_path / "kit", case_ids=["b"])
    assert [case.case_id for case in kit.cases] == ["b"]
    with pytest.raises(DataError, match=r"has no case c\. It has: a, b"):
        labels_to_correct(find_cases(train), tmp_path / "other", case_ids=["c"])


def test_the_round_trip_on_the_command_line(train, tmp_path, capsys):
    kit = tmp_path / "kit"
    assert main(["correct", "write", str(train), "--output", str(kit)]) == 0
    assert "a_image.nii.gz with a_labels.nii.gz" in capsys.readouterr().out
    assert main(["correct", "read", str(kit), "--by", "AB", "--into", str(train)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("nothing was changed") == 2
    assert not (train / "corrections.csv").exists()
    draw(kit / "a_labels.nii.gz", np.s_[0:2, 0:3, 2])
    assert main(["correct", "read", str(kit), "--by", "AB"]) == 0
    shown = capsys.readouterr().out
    assert "on 1 of 5 slices (3): disc" in shown
    assert "Nothing was kept" in shown
    assert main(["correct", "read", str(kit), "--by", "AB", "--into", str(train)]) == 0
    shown = capsys.readouterr().out
    assert "(slices 3 of 5; the others stay as they were)" in shown
    assert "earlier_labels" in shown
    new = tmp_path / "new"
    assert main(["correct", "read", str(kit), "--by", "AB", "--into", str(new)]) == 0
    assert "the others are not learnt from" in capsys.readouterr().out
    found = find_cases(new)
    assert [case.slices for case in found.cases] == [(2, 3)]
    assert (read_case(found.cases[0], found.structures)[1].voxels == 2).sum() == 6


def test_slices_of_several_images_and_a_wrong_folder_are_a_sentence(train, tmp_path, capsys):
    kit = tmp_path / "kit"
    assert main(["correct", "write", str(train), "--output", str(kit)]) == 0
    assert main(["correct", "read", str(kit), "--by", "AB", "--checked", "2-4"]) == 1
    assert "--case" in capsys.readouterr().err
    assert main(["correct", "read", str(train), "--by", "AB"]) == 1
    assert "no correction.json" in capsys.readouterr().err


def test_two_models_on_the_command_line(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    path = save_model(untrained_model(), tmp_path / "m")
    rng = np.random.default_rng(1)
    write_nifti(
        tmp_path / "in" / "spine.nii.gz",
        Image(rng.normal(0, 9, (6, 30, 30)).astype(np.float32), affine_from_spacing((5.0, 2.0, 2.0))),
    )
    command = ["combine", str(path), str(path), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main([*command, "--at-slice", "3", "--blend-mm", "4"]) == 0
    assert "z = 12.5 mm, blended over 4 mm" in capsys.readouterr().out
    assert main([*command, "--at-level", "T12"]) == 1
    assert "no slice of the level 'T12'" in capsys.readouterr().err
