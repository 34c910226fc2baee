"""The centreline by clicks: what is shown, listed, saved and used, and every problem in words."""

import threading
import warnings
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from tubes import cropping, make_tube, tube_middle
from untrained import Fixed, chosen_model

from autoseg.files.nifti.volumes import write_nifti
from autoseg.model.centreline import Centreline, clicked, read_centreline, write_centreline
from autoseg.panels.parts.values import ChosenModel, Patient
from autoseg.panels.patient.centreline import CentrelinePanel
from autoseg.panels.patient.prediction import PredictionPanel
from autoseg.prediction import centreline as finding
from autoseg.prediction import predict
from autoseg.prediction.run import find_patient_centrelines

OFF_MM = 6.0  # the finder of these tests errs by this to the left


def found(finder, image, **_):
    heights = np.arange(-46, 47.0)
    number = int(image.source.case_id.removeprefix("tube"))
    middle = tube_middle(number, heights) + np.array([OFF_MM, 0])
    return Centreline(np.column_stack([middle, heights]), "automatic", -34.0, 34.0)


@pytest.fixture
def above(tmp_path, monkeypatch):
    """What stands above the panel: a model that sees a crop, and a patient with two images."""
    monkeypatch.setattr(finding, "find_centreline", found)
    monkeypatch.setattr("autoseg.prediction.centreline.find_centreline", found)
    for number in (7, 8):
        write_nifti(tmp_path / "patient" / f"tube{number}.nii.gz", make_tube(number)[0])
    return Fixed(ChosenModel(cropping(), tmp_path / "cord.pt")), Fixed(Patient(tmp_path / "patient"))


def shown(above, tmp_path):
    panel = CentrelinePanel(*above, output=tmp_path / "out")
    panel.wait(60)
    return panel


def click_middle(panel, *slices):
    """Click the true middle of the tube that is shown, as the page tells it."""
    one = panel.found[panel.viewer.image_index]
    number = int(one.image.source.case_id.removeprefix("tube"))
    for index in slices:
        z = (one.view.affine @ [index, 0, 0, 1])[2]
        place = np.linalg.inv(one.view.affine) @ [*tube_middle(number, z), z, 1]
        message = {"click": [panel.viewer.image_index, index, *place[1:3].tolist()]}
        panel.viewer._handle_custom_msg(message, [])
    panel.wait(60)


def uploaded(name, content):
    """What the page hands on of a file."""
    now = datetime.now(UTC)
    facts = {"name": name, "type": "text/csv", "size": len(content), "last_modified": now}
    return {**facts, "content": memoryview(content)}


def marks(panel, kind):
    is_kind = {"cross": lambda m: "text" in m, "box": lambda m: "size" in m}
    is_kind["ring"] = lambda m: not ("text" in m or "size" in m)
    return [m for m in panel.viewer.marks if is_kind[kind](m)]


def test_a_model_that_sees_whole_images_needs_no_centreline(above, tmp_path):
    model, patient = above
    model.value = chosen_model(tmp_path)
    panel = shown((model, patient), tmp_path)
    assert "sees whole images, so it needs no centreline" in panel.words.value
    assert panel.body.children == (panel.words,)
    model.value = ChosenModel(cropping(), tmp_path / "cord.pt")
    panel.wait(60)
    assert panel.viewer in panel.look.children
    model.value = None
    assert (panel.words.value, panel.found, panel.value) == ("", (), None)


def test_the_automatic_centreline_is_shown_and_nothing_is_handed_on(above, tmp_path):
    panel = shown(above, tmp_path)
    assert panel.value is None
    assert "automatic centreline is used" in panel.state.value
    assert "data:image/png" in panel.plot.value
    assert "22.5 × 18 mm" in panel.words.value
    rings, boxes = marks(panel, "ring"), marks(panel, "box")
    assert len(rings) == len(boxes) == 24
    line, view = found(None, panel.found[0].image), panel.found[0].view
    x, y, z = (view.affine @ [rings[5]["slice"], rings[5]["row"], rings[5]["column"], 1])[:3]
    assert (x, y) == pytest.approx(line.at([z])[0, :2], abs=1e-6)
    # 18 mm from front to back are rows of 1.5 mm, 22.5 mm from right to left columns.
    assert boxes[0]["size"] == [12, 15]
    assert panel.save_button.disabled
    assert panel.all_button.disabled


def test_clicks_become_points_and_a_curve(above, tmp_path):
    panel = shown(above, tmp_path)
    before = panel.plot.value
    click_middle(panel, 4)
    assert panel.value is None
    assert "One point is no curve" in panel.state.value
    assert "until then the automatic curve is used" in panel.state.value
    click_middle(panel, 20, 12)
    line = panel.value.curves["tube7"]
    assert line.source == "clicked"
    assert panel.value.patient == above[1].value
    heights = [panel.found[0].view.affine[2] @ [index, 0, 0, 1] for index in (4, 12, 20)]
    assert line.at(heights)[:, :2] == pytest.approx(tube_middle(7, np.array(heights)), abs=1e-6)
    assert "3 points" in panel.state.value
    assert panel.plot.value != before
    assert [m["text"] for m in marks(panel, "cross")] == ["1", "2", "3"]
    assert [m["slice"] for m in marks(panel, "cross")] == [4, 12, 20]
    # Both curves are drawn, the crop around the one that is used.
    assert len(marks(panel, "ring")) == 48
    assert {m["colour"] for m in marks(panel, "box")} == {"#ff3fb4"}
    words = [row.children[0].value for row in panel.list.children[1:]]
    assert "1: slice 5 of 24" in words[0]
    assert "3: slice 21 of 24" in words[2]


def test_a_second_click_on_a_slice_moves_the_point(above, tmp_path):
    panel = shown(above, tmp_path)
    click_middle(panel, 4, 20)
    panel.click(20, 10.0, 11.5)
    assert len(panel.points) == 2
    assert panel.points[1] == pytest.approx((panel.found[0].view.affine @ [20, 10.0, 11.5, 1])[:3])


def test_points_are_removed_one_by_one_all_at_once_and_come_back(above, tmp_path):
    panel = shown(above, tmp_path)
    click_middle(panel, 4, 12, 20)
    points = panel.points
    _, show, away = panel.list.children[2].children
    show.click()
    assert panel.viewer.slice_index == 12
    away.click()
    assert panel.points == (points[0], points[2])
    panel.all_button.click()
    panel.wait(60)
    assert (panel.points, panel.value, panel.list.children) == ((), None, ())
    assert "automatic centreline is used" in panel.state.value
    panel.undo_button.click()
    panel.undo_button.click()
    assert panel.points == points
    assert panel.value.curves["tube7"].clicks_mm == points
    for _ in range(3):
        panel.undo_button.click()
    assert panel.points == ()
    assert panel.undo_button.disabled


def test_a_click_outside_the_image_is_a_sentence_and_the_points_stay(above, tmp_path):
    panel = shown(above, tmp_path)
    click_middle(panel, 4, 12)
    points, value = panel.points, panel.value
    panel.click(3, 55.0, 2.0)
    assert "slice 4, row 55.0, column 2.0 lies outside" in panel.message.value
    assert (panel.points, panel.value) == (points, value)
    # What the page could never send is not even looked at.
    for nonsense in ([0, 4, "a", 1], [0, 4, float("nan"), 1], [9, 4, 1, 1], [0, 99, 1, 1], None):
        panel.viewer._handle_custom_msg({"click": nonsense}, [])
    assert panel.points == points


def test_a_curve_that_leaves_the_image_is_said(above, tmp_path):
    panel = shown(above, tmp_path)
    panel.click(10, 20.0, 30.0)
    panel.click(12, 20.0, 38.0)
    panel.wait(60)
    assert panel.value is not None
    # 4 columns a slice: from index 13 on it is at 42 and more, and the image ends at 39.5; below 3 it is at -2.
    assert "On slices 1-3 14-24 the curve leaves the image" in panel.state.value


def test_each_image_has_its_own_points_and_they_survive_another_patient(above, tmp_path):
    panel = shown(above, tmp_path)
    click_middle(panel, 4, 20)
    panel.viewer.image_index = 1
    panel.wait(60)
    assert panel.list.children == ()
    click_middle(panel, 6, 18)
    assert set(panel.value.curves) == {"tube7", "tube8"}
    value, (_, patient) = panel.value, above
    panel.viewer.image_index = 0
    assert panel.value is value  # looking is no change
    chosen, patient.value = patient.value, None
    assert (panel.value, panel.viewer) == (None, None)
    patient.value = replace(chosen, only=("tube8",))
    panel.wait(60)
    assert set(panel.value.curves) == {"tube8"}


def test_what_is_no_longer_wanted_shows_no_progress(above, tmp_path, monkeypatch):
    inside, go_on, told = threading.Event(), threading.Event(), []
    real = find_patient_centrelines

    def slow(models, folder, *, on_image, **more):
        if not inside.is_set():
            inside.set()
            told.append(on_image)
            go_on.wait(30)
        return real(models, folder, on_image=on_image, **more)

    monkeypatch.setattr("autoseg.panels.patient.centreline.find_patient_centrelines", slow)
    panel = CentrelinePanel(*above, output=tmp_path / "out")
    assert inside.wait(30)
    above[1].value = replace(above[1].value, only=("tube8",))
    panel.wait(60)
    told[0](1, 1)
    assert panel.bar.layout.display == "none"
    go_on.set()
    assert [one.image.source.case_id for one in panel.found] == ["tube8"]


def test_a_model_without_a_finder_asks_for_clicks(above, tmp_path):
    above[0].value = ChosenModel(cropping(finder=False), tmp_path / "cord.pt")
    panel = shown(above, tmp_path)
    assert "There is no automatic centreline" in panel.state.value
    assert (panel.plot.value, panel.viewer.marks) == ("", [])
    click_middle(panel, 4, 20)
    assert "2 points" in panel.state.value
    assert "data:image/png" in panel.plot.value


def test_a_guess_of_the_finder_is_said(above, tmp_path, monkeypatch):
    def guess(finder, image, **_):
        warnings.warn("tube7: hardly found, so its centreline is a guess.", stacklevel=2)
        return found(finder, image)

    monkeypatch.setattr(finding, "find_centreline", guess)
    assert "is a guess" in shown(above, tmp_path).state.value


def test_what_cannot_be_read_is_a_sentence(above, tmp_path):
    above[1].value = Patient(tmp_path / "gone")
    panel = shown(above, tmp_path)
    assert "does not exist" in panel.message.value
    assert panel.viewer is None
    image, _ = make_tube(7)
    write_nifti(tmp_path / "flat" / "tube7.nii.gz", replace(image, voxels=image.voxels[:1]))
    above[1].value = Patient(tmp_path / "flat")
    panel.wait(60)
    assert "single slice" in panel.message.value


def test_a_saved_curve_is_found_again_with_its_points(above, tmp_path):
    panel = shown(above, tmp_path)
    assert panel.loading.layout.display == "none"
    click_middle(panel, 4, 12, 20)
    panel.save_button.click()
    (path,) = (tmp_path / "out" / "centrelines").iterdir()
    assert path.name.startswith("tube7_")
    assert str(path.resolve()) in panel.message.value
    points = panel.points
    again = shown(above, tmp_path)
    assert [value for _, value in again.saved.options] == [str(path)]
    again.load_button.click()
    assert again.message.value == ""
    assert again.points == pytest.approx(np.array(points))
    assert again.value.curves["tube7"].points_mm == pytest.approx(panel.value.curves["tube7"].points_mm)
    again.viewer.image_index = 1
    assert again.loading.layout.display == "none"


def test_a_curve_of_another_source_is_used_as_it_is_until_two_points_are_clicked(above, tmp_path):
    panel = shown(above, tmp_path)
    heights = np.arange(-46, 47.0)
    exact = Centreline(np.column_stack([tube_middle(7, heights), heights]), "labels", -34, 34)
    panel.load(write_centreline(exact, tmp_path / "exact.csv"))
    assert panel.value.curves["tube7"].source == "labels"
    assert "that was loaded is used" in panel.state.value
    click_middle(panel, 4)
    assert panel.value.curves["tube7"].source == "labels"
    click_middle(panel, 20)
    assert panel.value.curves["tube7"].source == "clicked"


def test_a_file_that_is_no_centreline_or_another_image_s_is_a_sentence(above, tmp_path):
    panel = shown(above, tmp_path)
    click_middle(panel, 4, 20)
    value = panel.value
    far = write_centreline(clicked([(0, 0, 500), (0, 0, 600)]), tmp_path / "far.csv")
    panel.load(far)
    assert "does not meet the image" in panel.message.value
    beside = write_centreline(clicked([(300, 0, -40), (300, 0, 40)]), tmp_path / "beside.csv")
    panel.load(beside)
    assert "does not meet the image" in panel.message.value
    panel.upload.value = (uploaded("areas.csv", b"a,b\n1,2\n"),)
    assert "areas.csv is no table of a centreline" in panel.message.value
    assert panel.upload.value == ()
    assert panel.value is value
    content = write_centreline(value.curves["tube7"], tmp_path / "own.csv").read_bytes()
    panel.remove_all()
    panel.upload.value = (uploaded("own.csv", content),)
    assert panel.value.curves["tube7"].clicks_mm == value.curves["tube7"].clicks_mm


def test_a_disk_that_cannot_be_written_to_is_a_sentence(above, tmp_path):
    panel = shown(above, tmp_path)
    click_middle(panel, 4, 20)
    (tmp_path / "out").write_text("a file where the folder should be")
    assert panel.save() is None
    assert "could not be written" in panel.message.value
    assert panel.value is not None


def test_the_prediction_is_made_around_the_clicked_curve(above, tmp_path):
    above[1].value = replace(above[1].value, only=("tube7",))
    panel = shown(above, tmp_path)
    prediction = PredictionPanel(*above, output=tmp_path / "runs", centreline=panel)
    assert panel in prediction.body.children
    model, image = above[0].value.model, panel.found[0].image

    def segmented():
        prediction.button.click()
        prediction.wait(120)
        return prediction.value.results[0][1].voxels

    automatic = segmented()
    assert (automatic == predict(model, image, centreline=found(None, image)).voxels).all()
    assert read_centreline(prediction.value.folder / "centrelines" / "tube7.csv").source == "automatic"
    earlier = prediction.value.folder
    click_middle(panel, 4, 20)
    assert prediction.value is None
    assert "The centreline was changed" in prediction.message.value
    assert str(earlier.resolve()) in prediction.message.value
    line = panel.value.curves["tube7"]
    around = segmented()
    assert (around == predict(model, image, centreline=line).voxels).all()
    assert (around != automatic).any()
    kept = read_centreline(prediction.value.folder / "centrelines" / "tube7.csv")
    assert kept.points_mm == pytest.approx(line.points_mm)
    assert prediction.value.centrelines == {"tube7": line}
    panel.remove_all()
    assert (segmented() == automatic).all()


def test_a_curve_of_another_patient_is_never_used(above, tmp_path):
    panel = shown(above, tmp_path)
    click_middle(panel, 4, 20)
    other = Fixed(Patient(tmp_path / "patient", ("tube8",)))
    prediction = PredictionPanel(above[0], other, output=tmp_path / "runs", centreline=panel)
    prediction.button.click()
    prediction.wait(120)
    assert {line.source for line in prediction.value.centrelines.values()} == {"automatic"}


def test_the_first_model_that_finds_a_centreline_is_asked():
    whole, blind, able = cropping(crop_mm=None), cropping(finder=False), cropping()
    assert finding.cropping_model([whole, blind, able]) is able
    assert finding.cropping_model([whole, blind]) is blind
    assert finding.cropping_model([whole]) is None
