"""The panel for images without labels: it is offered, drawn in, learns, proposes, and hands the labels on."""

import shutil
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import PIL.Image
import pytest
from discs import quick_settings, write_unlabelled

from autoseg.data.cases import read_case
from autoseg.errors import DataError
from autoseg.panels.data import first_labels
from autoseg.panels.data.data import DataPanel
from autoseg.panels.data.first_labels import FirstLabelsPanel, say_why
from autoseg.panels.parts.values import Data
from autoseg.prediction.next_slices import NextSlice, Reason
from autoseg.training import rounds
from autoseg.training.rounds import Agreement


@pytest.fixture
def panel(tmp_path, monkeypatch):
    plan = rounds.plan_settings
    small = quick_settings(epochs=1)
    monkeypatch.setattr(rounds, "plan_settings", lambda found, **how: replace(plan(found, **how), settings=small))
    monkeypatch.setattr(first_labels, "learn_round", partial(rounds.learn_round, epochs=1))
    monkeypatch.setattr("autoseg.panels.parts.background.turn_file", lambda: tmp_path / "turn.lock")
    panel = DataPanel(write_unlabelled(tmp_path / "scans"))
    panel.wait(60)
    return panel


def begun(panel, names="core, ring"):
    first = panel.first_labels
    first.names.value, first.by.value = names, "AB"
    first.begin_button.click()
    first.wait(60)
    return first


def brush(first, *places, label=1):
    """Draw as the page does."""
    for number, (image, index) in enumerate(places):
        for name, size in ((label, 9), (2, 1)):
            what = {"number": number, "tool": "brush", "label": name, "points": [[16, 16]], "size": size}
            first.viewer._take_stroke({**what, "image": image, "slice": index})


def test_a_folder_without_labels_is_drawn_on_learnt_from_and_handed_on(panel, tmp_path):
    first = panel.first_labels
    assert panel.remedy.children == (first,)
    assert "holds no label file" in panel.message.value
    panel.show_ids.value = True
    assert 'role="status"' in panel.message.value  # no error: labels can be drawn here
    begun(panel)
    panel.show_ids.value = False
    assert panel.message.value == ""
    assert "Draw on the slices" in first.message.value
    assert first.asked.layout.display == "none"
    # Three patients first; a click leads to the slice.
    rows = first.next.children[1:]
    assert [row.children[1].value.count("nothing is drawn of this patient yet") for row in rows] == [1, 1, 1, 0, 0]
    rows[1].children[0].click()
    shown = f"Image {first.viewer.image_index + 1}, slice {first.viewer.slice_index + 1}"
    assert shown == rows[1].children[0].description
    assert first.use_button.layout.display == "none"
    brush(first, (0, 0), (1, 1), (2, 2))
    first.viewer.show("image 3", 0)
    first.right_button.click()
    assert "Image 3, slice 1 is right. 4 slices can be learnt from." in first.message.value
    first.learn_button.click()
    first.wait(120)
    assert "How good they are your corrections tell" in first.message.value
    assert first.round.number == 2
    assert first.value is first.round
    assert first.round.before == {(0, 0), (1, 1), (2, 2), (2, 0)}
    # What was drawn stands, and the page can go on drawing.
    assert (first.drawing.label_map(1).voxels[1] == 1).sum() == 69 - 1
    assert (first.drawing.label_map(1).voxels[1] == 2).sum() == 1
    brush(first, (0, 1), label=2)
    assert first.drawing.looked_at == {(0, 1)}
    first.use_button.click()
    panel.wait(60)
    assert panel.chooser.value == tmp_path / "scans_drawn" / "labelled"
    assert isinstance(panel.value, Data)
    cases = panel.value.cases
    assert [one.name for one in cases.structures] == ["core", "ring"]
    assert sum(read_case(case, cases.structures)[0].shape[0] for case in cases.cases) == 4
    assert sorted(path.name for path in (tmp_path / "scans").iterdir()) == [f"p{n}_scan.nii.gz" for n in range(3)]


def test_colour_pictures_are_handed_on_with_their_channels(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "photos" / f"p{number}.png")
    panel = DataPanel(tmp_path / "photos")
    panel.wait(60)
    first = begun(panel)
    brush(first, (0, 0), (1, 0))
    rounds.keep_round(first.round, first.drawing)
    first.use()
    panel.wait(60)
    cases = panel.value.cases
    assert [case.case_id for case in cases.cases] == ["p0", "p1"]
    image, label_map = read_case(cases.cases[1], cases.structures)
    assert image.voxels.shape == (3, 1, 32, 32)
    np.testing.assert_array_equal(image.voxels[:, 0], np.moveaxis(pixels, -1, 0))
    assert (label_map.voxels == 1).sum() == 69 - 1


def test_what_does_not_work_is_said_and_nothing_drawn_is_lost(panel, monkeypatch, tmp_path):
    assert "Name what you want to draw" in begun(panel, names="").message.value
    first = begun(panel)
    first.learn_button.click()
    first.wait(60)
    assert "Nothing is drawn yet" in first.message.value
    first.viewer._take_stroke(
        {"number": 1, "tool": "brush", "label": 2, "points": [[16, 16]], "size": 9, "image": 0, "slice": 0}
    )
    assert first.drawing.looked_at == {(0, 0)}, "it can be drawn on after a failure"
    first.learn_button.click()
    first.wait(60)
    assert "core is drawn on no slice yet" in first.message.value
    brush(first, (0, 0))

    def fail(*_, **__):
        raise DataError("The disk of p0_scan is full.")

    monkeypatch.setattr(first_labels, "learn_round", fail)
    first.learn_button.click()
    first.wait(60)
    assert "is full" in first.message.value
    assert not first.learn_button.disabled
    assert first.round.number == 1
    brush(first, (1, 0))
    assert first.drawing.looked_at == {(0, 0), (1, 0)}
    # On another day all is there, without typing names again.
    again = DataPanel(tmp_path / "scans")
    again.wait(60)
    assert begun(again, names="").drawing.looked_at == {(0, 0), (1, 0)}


def test_nothing_is_written_before_it_is_said_who_draws_and_other_names_are_noted(panel, tmp_path):
    first = panel.first_labels
    first.names.value = "core, rign"
    first.begin_button.click()
    first.wait(60)
    assert "Say who draws (Drawn by)" in first.message.value
    assert not (tmp_path / "scans_drawn").exists()
    assert "goes on with" not in begun(panel).message.value
    again = DataPanel(tmp_path / "scans")
    again.wait(60)
    assert "goes on with the structures that the drawing began with: core, ring." in (
        begun(again, names="core, disc").message.value
    )


def test_names_of_images_do_not_reach_the_page(panel, monkeypatch):
    first, sent = begun(panel), []
    monkeypatch.setattr(first.viewer, "send", lambda message, **_: sent.append(str(message.get("drawing"))))

    def fail(*_, **__):
        raise DataError("/data/p1_scan.nii.gz is locked.")

    monkeypatch.setattr(first.drawing, "save", fail)
    brush(first, (1, 0))
    assert "Not saved: a file of image 2 is locked." in sent[-1]
    monkeypatch.setattr(first.drawing, "brush", fail)
    brush(first, (1, 0))
    assert not any("p1_scan" in one for one in sent)
    assert any("'a file of image 2 is locked." in one for one in sent)


def test_a_listed_slice_says_that_it_is_drawn(panel):
    first = begun(panel)
    rows = first.next.children[1:]
    image, index = first.viewer.image_index, first.viewer.slice_index
    brush(first, (image, index))
    assert first.next.children[1:] == rows
    assert "drawn" in rows[0].children[1].value
    assert "nothing is drawn" not in rows[0].children[1].value
    assert "nothing is drawn" in rows[1].children[1].value


def test_one_learning_runs_at_a_time_and_another_folder_ends_it(panel, monkeypatch, tmp_path):
    first = begun(panel)
    brush(first, (0, 0))
    begins, ends, stops = threading.Event(), threading.Event(), []
    learn_round = first_labels.learn_round

    def learn(*args, should_stop, **options):
        stops.append(should_stop)
        begins.set()
        ends.wait(60)
        return learn_round(*args, should_stop=should_stop, **options)

    monkeypatch.setattr(first_labels, "learn_round", learn)
    first.learn_button.click()
    assert begins.wait(60)
    first.offer(tmp_path / "scans")
    assert first.learn_button.disabled
    assert first.stop_button.layout.display == ""
    first.learn()
    assert not stops[0]()
    first.offer(tmp_path / "others")
    assert stops[0]()
    assert not first.learn_button.disabled
    ends.set()
    first.wait(60)
    assert len(stops) == 1
    # What was drawn is kept; nothing is proposed by what hardly learnt.
    drawn = tmp_path / "scans_drawn"
    assert (drawn / "labelled").is_dir()
    assert not (drawn / "round_2").exists()


def test_learning_that_fails_at_once_can_be_begun_again(panel, monkeypatch):
    first = begun(panel)

    def start(work, then, **_):
        with first.attempt():
            then(work())

    monkeypatch.setattr(first, "start", start)
    first.learn()
    assert "Nothing is drawn yet" in first.message.value
    assert not first.learn_button.disabled
    assert first.stop_button.layout.display == "none"


def test_a_score_is_of_the_outlines_before_and_only_a_good_one_of_strangers_has_a_green_tick():
    assert first_labels._say_agreement(None)[1] == "note"
    words, kind = first_labels._say_agreement(Agreement(0.8, 4, are_strangers=True))
    assert kind == "done"
    assert (
        "On 4 slices of patients of whom nothing was learnt the ones before agreed with yours by a Dice of 0.80"
        in words
    )
    words, kind = first_labels._say_agreement(Agreement(0.8, 1, are_strangers=False))
    assert kind == "note"
    assert "On 1 slice of patients whom the model knew, which is easier than new ones, the ones" in words
    assert first_labels._say_agreement(Agreement(0.2, 4, are_strangers=True))[1] == "warning"


def test_whose_the_images_are_is_said_and_can_be_put_right(panel, tmp_path):
    first = begun(panel)
    assert "3 images of 3 patients. That is taken from names" in first.message.value
    shutil.rmtree(first.round.folder)
    names = [image.source.case_id for image in first.round.images]
    rows = "\n".join(f"{name},P1" for name in names)
    (first.source / "subjects.csv").write_text(f"case_id,subject_id\n{rows}\n", encoding="utf-8")
    again = FirstLabelsPanel(print)
    again.offer(first.source)
    again.names.value, again.by.value = "core", "AB"
    again.begin()
    again.wait(60)
    assert "3 images of 1 patient." in again.message.value
    assert "taken from names" not in again.message.value


def test_each_reason_is_a_sentence():
    assert say_why(NextSlice((0, 0), Reason.DOUBT, 3, 0.256)) == "the model is in doubt about 26% of a usual area"
    assert say_why(NextSlice((0, 0), Reason.UNLIKE, 1)).startswith("1 slice looks more like it")
