"""`autoseg correct` and `autoseg combine`."""

import nibabel
import numpy as np
import pytest
from folders import add_volumes
from untrained import untrained_model

from autoseg.cli import main
from autoseg.data.cases import find_cases, read_case
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image
from autoseg.model.model import save_model


def draw(path, where, value=2):
    picture = nibabel.load(path)
    voxels = np.asarray(picture.dataobj).copy()
    voxels[where] = value
    nibabel.save(nibabel.Nifti1Image(voxels, picture.affine), path)


@pytest.fixture
def train(tmp_path):
    return add_volumes(tmp_path / "train")


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
    assert main([*command, "--at-slice", "4", "--blend-mm", "4"]) == 0
    assert "z = 12.5 mm, blended over 4 mm" in capsys.readouterr().out
    assert main([*command, "--at-slice", "7"]) == 1
    assert "has the slices 1 to 6, and no slice 7" in capsys.readouterr().err
    assert main([*command, "--at-level", "T12"]) == 1
    assert "no slice of the level 'T12'" in capsys.readouterr().err
    (tmp_path / "in" / "spine-levels.txt").write_text("1, L2\n2, L2\n3, L1\n4, T12\n5, T12\n6, T11\n")
    assert main([*command, "--at-level", "T12"]) == 0
    shown = capsys.readouterr().out
    assert "z = 12.5 mm: slices 4 to 6 come from" in shown
    assert " T11 " in shown
