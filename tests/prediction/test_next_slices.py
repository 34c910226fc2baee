"""Slices to draw next: each kind once, patients first, and where models disagree; each with its reason."""

from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_pair
from untrained import untrained_model

from autoseg.image.image import Image, LabelMap, Source
from autoseg.prediction import next_slices, predict
from autoseg.prediction.next_slices import Proposal, Reason, choose_slices, doubts_of, propose

KINDS = [np.random.default_rng(seed).normal(0, 1, (8, 8)).repeat(4, 0).repeat(4, 1) for seed in range(3)]


def stack(kinds, *, subject="", seed=0):
    """Give slices of kinds that differ, each with a little noise of its own."""
    rng = np.random.default_rng(seed)
    voxels = np.stack([KINDS[kind] + rng.normal(0, 0.05, (32, 32)) for kind in kinds])
    return Image(voxels, None, source=Source(f"image{seed}", subject))


def kinds_of(chosen, *kinds):
    return [kinds[image][index] for image, index in (one.place for one in chosen)]


def test_each_kind_is_chosen_once_the_most_frequent_first():
    kinds = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    chosen = choose_slices([stack(kinds)], count=3)
    assert kinds_of(chosen, kinds) == [0, 1, 2]
    # The second stands for the third kind as well, which lies beside it in the stack, until that is chosen.
    assert [one.stands_for for one in chosen] == [10, 5, 2]
    assert [one.reason for one in chosen] == [Reason.PATIENT, Reason.UNLIKE, Reason.UNLIKE]
    assert all(one.doubt is None for one in chosen)


def test_what_is_drawn_is_not_chosen_and_neither_is_its_like_while_others_are_left():
    kinds = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    chosen = choose_slices([stack(kinds)], {(0, 2), (0, 6)}, count=9)
    places = [one.place for one in chosen]
    assert kinds_of(chosen[:1], kinds) == [2]
    assert len(places) == 8, "no more than there are"
    assert set(places) == {(0, n) for n in (0, 1, 3, 4, 5, 7, 8, 9)}
    assert choose_slices([stack([0])], {(0, 0)}) == ()


def test_three_patients_come_first():
    stacks = [stack([0, 1, 2], subject=subject, seed=n) for n, subject in enumerate(("a", "a", "b", "c", "d"))]
    chosen = choose_slices(stacks, count=4)
    whose = [stacks[one.place[0]].source.subject_id for one in chosen]
    assert len(set(whose[:3])) == 3
    assert [one.reason for one in chosen] == [Reason.PATIENT] * 3 + [Reason.UNLIKE]
    again = choose_slices(stacks, {(0, 0), (2, 0)}, count=1)
    assert stacks[again[0].place[0]].source.subject_id in "cd"


def test_doubt_decides_between_slices_that_look_alike_and_is_the_reason():
    doubts = [np.array([0.1, 0.1, 0.9, 0.2, 0.1])]
    drawn = {(0, 0)}
    (best,) = choose_slices([stack([0] * 5, subject="a")], drawn, count=1, doubts=doubts)
    assert (best.place, best.reason, best.doubt) == ((0, 2), Reason.DOUBT, 0.9)
    # Without doubt about it, it is another.
    (best,) = choose_slices([stack([0] * 5, subject="a")], drawn, count=1, doubts=[np.array([0.1, 0.9, 0, 0, 0])])
    assert best.place == (0, 1)


def test_of_many_slices_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(next_slices, "MOST", 4)
    chosen = choose_slices([stack([0] * 11)], {(0, 1)}, count=20)
    assert {one.place for one in chosen} == {(0, 0), (0, 3), (0, 6), (0, 9)}


def test_doubt_is_a_share_of_what_a_structure_usually_has():
    label_map = LabelMap(np.zeros((3, 2, 2), np.uint8), None, STRUCTURES)
    large, small = [100.0, 100.0, 0.0], [4.0, 4.0, 4.0]
    proposal = Proposal(label_map, np.array([large, small]).T, np.array([[10.0, 0, 50], [0, 2, 0]]).T)
    # Half of a small structure counts as half of a large one.
    assert np.allclose(doubts_of([proposal]), [[0.05, 0.25, 0.25]])
    none = replace(proposal, areas=np.zeros((3, 2)))
    assert np.allclose(doubts_of([none]), [[0.1, 0.5, 0.5]]), "where nothing was found, of the most disputed"


def test_several_models_dispute_what_they_draw_differently_and_one_with_its_second_look():
    image, _ = make_pair(0)
    models = _two()
    found = propose(models, image)
    apart = [predict(one, image) for one in models]
    for column, structure in enumerate(found.label_map.structures):
        one, other = (labels.mask(structure.label) for labels in apart)
        expected = (one != other).sum((1, 2)) * image.pixel_mm2
        assert np.allclose(found.disputed[:, column], expected)
    assert found.disputed.sum() > 0
    assert np.array_equal(found.label_map.voxels, predict(models, image).voxels)
    alone = propose(models[0], image)
    assert np.array_equal(alone.label_map.voxels, apart[0].voxels)
    assert np.allclose(alone.areas[:, 1], apart[0].mask(2).sum((1, 2)) * image.pixel_mm2)
    assert alone.disputed.shape == (2, 2)
    assert alone.disputed.sum() > 0
    assert propose([models[0], models[0]], image).disputed.sum() == pytest.approx(0)


def _two():
    one = untrained_model()
    return [one, replace(one, weights={name: -value for name, value in one.weights.items()})]
