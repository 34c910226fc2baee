"""What models find by themselves on a patient's images, and curves that are saved and found again."""

from dataclasses import replace

import numpy as np
import pytest
from tubes import make_tube
from untrained import untrained_model

from autoseg.errors import DataError, OutputError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.model.centreline import Centreline, clicked, from_labels, read_centreline
from autoseg.model.settings.settings import Settings, VolumeSettings
from autoseg.prediction import cut_off_note, own_centreline
from autoseg.prediction.centreline import (
    crop_of_model,
    cropping_model,
    save_clicked,
    saved_centrelines,
)
from autoseg.prediction.run import find_patient_centrelines


def cropping(crop_mm=(20.0, 30.0), orientation="PRI", **changes):
    """A model with the settings of one that sees a crop: enough where nothing is computed."""
    volume = VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=crop_mm, orientation=orientation)
    return replace(untrained_model(), settings=Settings(spatial_dims=3, volume=volume), **changes)


def beside(finder, image):
    return Centreline(np.array([[4.0, 0, -40], [4.0, 0, 40]]), "automatic")


@pytest.fixture
def patient(tmp_path):
    for number in (7, 8):
        write_nifti(tmp_path / "patient" / f"tube{number}.nii.gz", make_tube(number)[0])
    return tmp_path / "patient"


def test_what_a_model_sees_is_said_from_right_to_left_first():
    assert crop_of_model(cropping()) == (30, 20)
    with pytest.raises(DataError, match="'heart' sees whole images"):
        crop_of_model(untrained_model())
    assert cropping_model([untrained_model()]) is None
    assert cropping_model([cropping(crop_mm=None)]) is None


def test_every_image_gets_its_centreline(patient, monkeypatch):
    monkeypatch.setattr("autoseg.prediction.centreline.find_centreline", beside)
    found = find_patient_centrelines(cropping(finder=untrained_model()), patient)
    assert [one.image.source.case_id for one in found] == ["tube7", "tube8"]
    assert {one.automatic.source for one in found} == {"automatic"}
    (one,) = find_patient_centrelines(cropping(), patient, only=["tube8"])
    assert one.automatic is None
    with pytest.raises(DataError, match="sees whole images"):
        find_patient_centrelines(untrained_model(), patient)


def test_an_image_that_is_no_volume_is_left_out_with_a_word(patient):
    image, _ = make_tube(9)
    write_nifti(patient / "tube9.nii.gz", replace(image, voxels=image.voxels[:1]))
    found = find_patient_centrelines(cropping(), patient)
    assert [one.image.source.case_id for one in found] == ["tube7", "tube8"]
    assert any("single slice" in note for note in found[0].notes)


def test_a_finder_that_fails_leaves_the_clicks(patient):
    found = find_patient_centrelines(cropping(finder=untrained_model()), patient)
    assert found[0].automatic is None
    assert "finds no centrelines" in found[0].notes[0]


def test_curves_are_saved_under_new_names_without_the_patient(tmp_path):
    image, _ = make_tube(7)
    image = replace(image, source=replace(image.source, subject_id="Smith^John"))
    other = replace(image, source=replace(image.source, subject_id="Jones^Ann"))
    line = clicked([(0, 0, 0), (0, 0, 9)])
    paths = [save_clicked(line, image, tmp_path) for _ in range(2)]
    save_clicked(line, other, tmp_path)
    assert len({*paths}) == 2
    assert not any("smith" in path.name.casefold() for path in paths)
    assert sorted(saved_centrelines(image, tmp_path)) == sorted(paths)
    assert len(saved_centrelines(other, tmp_path)) == 1
    assert saved_centrelines(make_tube(8)[0], tmp_path) == ()
    assert saved_centrelines(image, tmp_path / "nowhere") == ()
    assert read_centreline(paths[0]).clicks_mm == line.clicks_mm
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="could not be written"):
        save_clicked(line, image, tmp_path / "file")


def test_one_finder_is_asked_before_and_several_ask_for_themselves(monkeypatch):
    image, _ = make_tube(7)
    monkeypatch.setattr("autoseg.prediction.centreline.find_centreline", beside)
    one = cropping(finder=untrained_model())
    assert own_centreline([one, untrained_model()], image).source == "automatic"
    assert own_centreline([one, one], image) is None
    assert own_centreline([cropping()], image) is None
    assert own_centreline([untrained_model()], image) is None


def test_what_reaches_the_edge_of_the_crop_is_counted_on_its_slices():
    """A tube of 5 mm radius in a crop of 15 voxels of 1.5 mm, around its middle and around a line beside it."""
    _, labels = make_tube(4)
    exact = from_labels(labels)
    model = cropping(crop_mm=(22.5, 22.5))
    assert cut_off_note([model], labels, exact) == ""
    # The crop reaches 11.25 mm to the right of a line that is 9 mm to the left: it cuts the tube on all its slices.
    moved = Centreline(exact.points_mm + np.array([9, 0, 0]), "clicked")
    drawn = int(labels.voxels.any(axis=(1, 2)).sum())
    assert f"tube4: on {drawn} of 24 slices" in cut_off_note([untrained_model(), model], labels, moved)
    assert cut_off_note([untrained_model()], labels, moved) == ""
    # Where the image itself ends within the tube, the crop cuts nothing off.
    halved = replace(labels, voxels=labels.voxels[:, :, :21])
    assert halved.voxels[:, :, -1].any()
    assert cut_off_note([model], halved, exact) == ""
