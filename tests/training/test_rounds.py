"""Rounds from images without labels to a model: only what was looked at is kept, and it is gone on from there."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from discs import STRUCTURES, make_pair, quick_settings, write_unlabelled
from untrained import untrained_model

from autoseg.data.cases import find_cases, read_case
from autoseg.data.corrections.drawing import Drawing
from autoseg.errors import DataError, LabelError
from autoseg.image.image import LabelMap
from autoseg.model.settings.settings import PreprocessSettings
from autoseg.prediction.next_slices import Reason
from autoseg.training import rounds
from autoseg.training.rounds import (
    Agreement,
    begin_rounds,
    find_agreement,
    keep_round,
    learn_round,
    next_round,
    plan_learning,
    read_names,
)

# Draws from one edge of a slice to the other, as a pen does that knows the outline.
CORE, RING = 1, 5


@pytest.fixture
def source(tmp_path):
    return write_unlabelled(tmp_path / "images")


def begun(source, folder, structures=STRUCTURES):
    now = begin_rounds(source, folder, structures)
    return now, Drawing(now.kit, now.results, by="AB")


def draw(drawing, *places, column=16):
    for place in places:
        drawing.brush(place, RING, [(16, column)], size=13)
        drawing.brush(place, CORE, [(16, column)], size=7)
        drawing.save()


def drawn_in(folder):
    """Give of every case what its slices have: pixels of each structure, and what counts as drawn."""
    found = find_cases(folder, unlabelled="skip")
    told = {}
    for case in found.cases:
        _, labels = read_case(case, found.structures)
        first = case.slices[0] if case.slices else 0
        for index, voxels in enumerate(labels.voxels):
            counts = tuple(int((voxels == label).sum()) for label in (CORE, RING))
            told[case.image_path.name[:2], first + index] = (*counts, sorted(labels.annotated))
    return told


def test_what_nobody_looked_at_is_kept_nowhere_and_a_slice_called_right_is_empty(source, tmp_path):
    with pytest.raises(LabelError, match="Name what you want to draw"):
        begun(source, tmp_path / "drawn", structures=())
    now, drawing = begun(source, tmp_path / "drawn")
    with pytest.raises(DataError, match="Nothing is drawn yet"):
        keep_round(now, drawing)
    draw(drawing, (0, 1), (2, 0))
    drawing.call_right((1, 2))
    drawing.call_right((1, 0))
    drawing.call_right((1, 0), is_right=False)
    draw(drawing, (2, 2))
    drawing.undo()
    drawing.undo()
    keep_round(now, drawing)
    core, ring = 37, 137 - 37
    told = drawn_in(now.cases_folder)
    assert set(told) == {("p0", 1), ("p2", 0), ("p1", 2)}
    assert told["p1", 2] == (0, 0, [CORE, RING])
    assert told["p0", 1] == told["p2", 0] == (core, ring, [CORE, RING])


def test_what_was_filled_between_counts_once_somebody_looked_at_it(source, tmp_path):
    now, drawing = begun(source, tmp_path / "drawn")
    draw(drawing, (0, 0), (0, 2))
    assert drawing.fill_between((0, 1), RING) == [(0, 1)]
    assert drawing.looked_at == {(0, 0), (0, 2)}
    keep_round(now, drawing)
    assert set(drawn_in(now.cases_folder)) == {("p0", 0), ("p0", 2)}
    # Also for who goes on another day; a stroke on it is a look.
    again = Drawing(now.kit, now.results, by="AB")
    assert again.looked_at == {(0, 0), (0, 2)}
    again.brush((0, 1), CORE, [(16, 16)], size=3)
    assert again.looked_at == {(0, 0), (0, 1), (0, 2)}
    keep_round(now, again)
    assert drawn_in(now.cases_folder)["p0", 1][0] > 0


def test_what_was_learnt_from_is_not_silently_empty(source, tmp_path):
    now, drawing = begun(source, tmp_path / "drawn")
    draw(drawing, (0, 1), (1, 1))
    keep_round(now, drawing)
    drawing.restore((0, 1))
    with pytest.raises(DataError, match="Slice 2 of image 1 was learnt from"):
        keep_round(now, drawing)
    drawing.call_right((0, 1))
    keep_round(now, drawing)
    assert drawn_in(now.cases_folder)["p0", 1] == (0, 0, [CORE, RING])


def test_the_next_round_keeps_what_was_drawn_and_proposes_the_rest(source, tmp_path):
    now, drawing = begun(source, tmp_path / "drawn")
    assert [one.reason for one in now.next_slices(count=4)] == [Reason.PATIENT] * 3 + [Reason.UNLIKE]
    draw(drawing, (0, 1))
    drawing.call_right((1, 2))
    keep_round(now, drawing)
    model = replace(untrained_model(), structures=STRUCTURES)
    after = next_round(now, drawing, model)
    again = Drawing(after.kit, after.results, by="CD")
    assert after.number == 2
    assert after.kit.model == "heart"
    assert np.array_equal(again.label_map(0).voxels[1], drawing.label_map(0).voxels[1])
    assert not again.label_map(1).voxels[2].any()
    proposed = [
        again.label_map(n).voxels[k].any() for n in range(3) for k in range(3) if (n, k) not in after.before
    ]
    assert any(proposed)
    assert again.looked_at == frozenset()
    chosen = after.next_slices(count=9)
    assert not {one.place for one in chosen} & {(0, 1), (1, 2)}
    assert len(chosen) == 7
    assert all(one.doubt is not None for one in chosen)
    # On another day all is found again; a damaged list of doubts costs the doubts alone.
    found, other = begun(source, tmp_path / "drawn", structures=())
    assert (found.number, found.before) == (2, {(0, 1), (1, 2)})
    assert found.next_slices(count=9) == chosen
    for words in ('{"doubts": [[1], [2], [3]]}', '{"doubts": [["x"]]}', "{"):
        (found.kit.folder / "doubts.json").write_text(words, encoding="utf-8")
        assert begun(source, tmp_path / "drawn")[0].doubts is None
    assert np.array_equal(other.label_map(2).voxels, again.label_map(2).voxels)
    # A proposal that is called right is learnt from as it is; one that nobody looked at is not.
    other.call_right((2, 0))
    keep_round(found, other)
    told = drawn_in(found.cases_folder)
    assert set(told) == {("p0", 1), ("p1", 2), ("p2", 0)}
    assert told["p2", 0][:2] == tuple(int((other.label_map(2).voxels[0] == k).sum()) for k in (CORE, RING))


def test_an_outline_of_before_stays_where_it_is_filled_over(source, tmp_path):
    now, drawing = begun(source, tmp_path / "drawn")
    draw(drawing, (0, 1))
    keep_round(now, drawing)
    model = replace(untrained_model(), structures=STRUCTURES)
    after = next_round(now, drawing, model)
    later = Drawing(after.kit, after.results, by="AB")  # as if it knew of nothing drawn before
    own = later.label_map(0).voxels[1].copy()
    draw(later, (0, 0), (0, 2), column=10)
    later.fill_between((0, 1), RING)
    assert not np.array_equal(later.label_map(0).voxels[1], own)
    keep_round(after, later)
    third = next_round(after, later, model)
    np.testing.assert_array_equal(Drawing(third.kit, third.results, by="AB").label_map(0).voxels[1], own)


@pytest.mark.parametrize("has_mm", [True, False])
def test_learning_again_goes_on_from_before_with_all_that_was_drawn(source, tmp_path, monkeypatch, has_mm):
    if not has_mm:
        source = tmp_path / "pictures"
        source.mkdir()
        for number in range(3):
            np.save(source / f"p{number}.npy", make_pair(number, slices=3, size=(32, 32))[0].voxels)
    small = quick_settings(**({} if has_mm else {"preprocess": PreprocessSettings(input_shape=(32, 32))}))
    monkeypatch.setattr(
        rounds,
        "plan_settings",
        lambda found, **how: replace(_plan(found, **how), settings=replace(small, epochs=how["epochs"])),
    )
    now, drawing = begun(source, tmp_path / "drawn")
    draw(drawing, (0, 0), (1, 1), (2, 2))
    keep_round(now, drawing)
    first, path = learn_round(now, epochs=1)
    assert path.parent == tmp_path / "drawn" / "models"
    after = next_round(now, drawing, first)
    assert after.model_path == path
    assert {image.affine is not None for image in after.images} == {has_mm}
    again = Drawing(after.kit, after.results, by="AB")
    draw(again, (0, 2))
    keep_round(after, again)
    second, _ = learn_round(after, epochs=1)
    assert second.origin["base"]["name"] == first.name
    found = find_cases(after.cases_folder, unlabelled="skip")
    for base in (None, first):
        _, split = plan_learning(found, base, epochs=1)
        assert split.training == found.cases
        assert split.validation == ()


def test_proposals_are_compared_with_what_became_of_them(source, tmp_path, monkeypatch):
    now, drawing = begun(source, tmp_path / "drawn")
    draw(drawing, (0, 0))
    assert find_agreement(now, drawing) is None
    keep_round(now, drawing)
    proposed = np.zeros(now.images[0].shape, np.uint8)
    proposed[1:, 4:8, 4:8] = RING

    def propose(model, image, how):
        return SimpleNamespace(label_map=LabelMap(proposed, image.affine, STRUCTURES, source=image.source))

    monkeypatch.setattr(rounds, "propose", propose)
    monkeypatch.setattr(rounds, "doubts_of", lambda found: [np.zeros(3) for _ in found])
    after = next_round(now, drawing, untrained_model())
    again = Drawing(after.kit, after.results, by="AB", before=after.before)
    assert find_agreement(after, again) is None
    # Another slice of a patient whom the model knows: the ring proposed is half of what is drawn.
    again.polygon((0, 1), RING, [(3.6, 3.6), (3.6, 11.4), (7.4, 11.4), (7.4, 3.6)])
    assert find_agreement(after, again) == Agreement(pytest.approx(2 * 16 / (16 + 32)), 1, are_strangers=False)
    # Patients of whom nothing was learnt count alone: one slice is right, on another the core was missed.
    again.call_right((1, 1))
    again.call_right((2, 0))  # nothing was proposed there, and nothing is
    again.brush((1, 2), CORE, [(16, 16)], size=7)
    assert find_agreement(after, again) == Agreement(pytest.approx((1 + (1 + 0) / 2) / 2), 2, are_strangers=True)


_plan = rounds.plan_settings


def test_images_that_came_later_are_left_out_with_a_word(source, tmp_path):
    now, drawing = begun(source, tmp_path / "drawn")
    draw(drawing, (1, 1))
    (source / "p1_scan.nii.gz").rename(source / "kept.nii.gz")
    write_unlabelled(source)
    (source / "kept.nii.gz").rename(source / "o9_scan.nii.gz")
    found, again = begun(source, tmp_path / "drawn")
    assert now.notes == ()
    assert "1 image came to" in found.notes[-1]
    assert [image.source.case_id for image in found.images] == [image.source.case_id for image in now.images]
    assert again.looked_at == {(1, 1)}


def test_one_patient_alone_is_learnt_from_without_validation_and_again(source, tmp_path):
    now, drawing = begun(source, tmp_path / "drawn")
    draw(drawing, (0, 0), (0, 2))
    keep_round(now, drawing)
    found = find_cases(now.cases_folder, unlabelled="skip")
    _, split = plan_learning(found, epochs=1)
    assert split.validation == ()
    assert len(split.training) == 2


def test_names_are_read_as_people_type_them():
    assert [one.name for one in read_names(" liver ;\nspleen,")] == ["liver", "spleen"]
    for text, words in ((" , ", "Name what"), ("Liver, liver", "twice")):
        with pytest.raises(LabelError, match=words):
            read_names(text)
