"""Copies are mirrored and turned as numpy does it, undone exactly, and advised only where training saw them."""

import numpy as np
import pytest
import torch

from autoseg.cli.parser import build_parser
from autoseg.errors import SettingsError
from autoseg.model.preprocessing.augment import draw_geometry
from autoseg.model.settings.settings import AugmentationSettings, VolumeSettings
from autoseg.prediction.ensemble import (
    COPIES,
    COPY_WORDS,
    Copy,
    copies_of,
    make_copy,
    mirrored_axes,
    seen_copies,
    undo_copy,
    wise_copies,
)

FRAMES = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
SAME = torch.arange(3)


@pytest.mark.parametrize("copy", COPIES["both"])
def test_what_is_made_is_undone(copy):
    made = make_copy(FRAMES, copy)
    assert made.shape[2:] == ((6, 4) if copy.turns % 2 else (4, 6))
    assert torch.equal(undo_copy(made, copy, SAME), FRAMES)


def test_the_eight_copies_are_all_there_are():
    frame = np.arange(9).reshape(3, 3)
    made = {make_copy(torch.tensor(frame)[None, None], copy).numpy().tobytes() for copy in COPIES["both"]}
    expected = {np.rot90(one, n).tobytes() for one in (frame, frame.T) for n in range(4)}
    assert made == expected
    for name, count in (("none", 1), ("left-right", 2), ("mirrored", 4), ("turned", 4)):
        assert len(set(copies_of(name))) == count
        assert copies_of(name)[0] == Copy()


def test_mirrored_is_left_right_and_up_down():
    frame = np.arange(6).reshape(2, 3)
    made = {make_copy(torch.tensor(frame)[None, None], copy).numpy().tobytes() for copy in COPIES["mirrored"]}
    assert made == {one.tobytes() for one in (frame, frame[:, ::-1], frame[::-1], frame[::-1, ::-1])}


def test_a_mirror_exchanges_the_sides_and_a_turn_does_not():
    sides = torch.tensor([0, 2, 1])
    answer = torch.zeros(1, 3, 2, 2)
    answer[0, 1, 0, 0] = 1  # the left one, top left, in the copy
    back = undo_copy(answer, Copy(0, True), sides)
    assert back.nonzero().tolist() == [[0, 2, 0, 1]]
    assert undo_copy(answer, Copy(2), sides).nonzero().tolist() == [[0, 1, 1, 1]]
    assert undo_copy(answer, Copy(2, True), sides).nonzero().tolist() == [[0, 2, 1, 0]]  # up and down


def test_an_unknown_word_lists_the_known_ones():
    with pytest.raises(SettingsError, match="'all'; give one of none, left-right, mirrored, turned, both"):
        copies_of("all")


OFF = {"rotation_deg": 20.0}


@pytest.mark.parametrize(
    ("settings", "wise"),
    [
        ({}, "turned"),
        ({"flip_probability": 0.5}, "both"),
        ({"flip_rows_probability": 0.5}, "both"),
        (OFF, "none"),
        ({**OFF, "flip_probability": 0.5}, "left-right"),
        ({**OFF, "flip_rows_probability": 0.5}, "none"),
        ({**OFF, "flip_probability": 0.5, "flip_rows_probability": 0.5}, "mirrored"),
        ({**OFF, "quarter_turn_probability": 0.5}, "turned"),
        ({"rotation_probability": 0.0}, "none"),
    ],
)
def test_only_what_training_saw_is_advised(settings, wise):
    augmentation = AugmentationSettings(**settings)
    assert wise_copies(augmentation) == wise
    assert seen_copies(augmentation) >= set(COPIES[wise])


@pytest.mark.parametrize(("flip", "rows"), [(0.5, 0.0), (0.0, 0.5), (0.5, 0.5)])
def test_what_training_saw_is_what_its_augmentation_draws(flip, rows):
    settings = AugmentationSettings(
        **{**vars(AugmentationSettings.off()), "flip_probability": flip, "flip_rows_probability": rows}
    )
    drawn = draw_geometry(200, settings, torch.Generator().manual_seed(0)).matrix
    seen = {tuple(one.round().int().flatten().tolist()) for one in drawn}
    # As matrices on (row, column) distances: mirrored changes the columns' sign, half a turn both.
    matrices = {
        (2 * (copy.turns == 0) - 1, 0, 0, (2 * (copy.turns == 0) - 1) * (1 - 2 * copy.is_mirrored))
        for copy in seen_copies(settings)
    }
    assert seen == matrices


def test_every_choice_has_words_and_stands_on_the_command_line():
    assert list(COPY_WORDS) == list(COPIES)
    parser = build_parser()
    for name in COPIES:
        assert parser.parse_args(["predict", "m.pt", "scan", "--copies", name]).copies == name


@pytest.mark.parametrize("orientation", ["RPI", "SAL", "IRA"])
def test_a_copy_of_a_volume_is_that_of_its_axial_slices(orientation):
    """An axial slice as it is looked at: rows to the back, columns to the left."""
    place = {letter: axis for axis, letter in enumerate(orientation)}
    side, front, up = (next(place[one] for one in pair if one in place) for pair in ("RL", "AP", "IS"))
    volume = torch.arange(24.0).reshape(2, 3, 4)
    for copy in COPIES["mirrored"]:
        axes = mirrored_axes(copy, orientation)
        shown = volume.flip(axes).permute(up, front, side)
        assert torch.equal(shown, make_copy(volume.permute(up, front, side)[None], copy)[0])
        assert (len(axes) % 2 == 1) == copy.is_mirrored  # then left and right change places


@pytest.mark.parametrize(
    ("flips", "rotation_deg", "wise"),
    [
        ((0, 0, 0), 20.0, "none"),
        ((0.5, 0, 0), 20.0, "left-right"),
        ((0, 0.5, 0), 20.0, "none"),
        ((0, 0, 0.5), 20.0, "none"),
        ((0.5, 0.5, 0), 20.0, "mirrored"),
        ((0.5, 0, 0), 180.0, "mirrored"),
        ((0, 0, 0), 180.0, "none"),
    ],
)
def test_of_volumes_their_own_mirrors_count_and_no_quarter_turns(flips, rotation_deg, wise):
    augmentation = AugmentationSettings(rotation_deg=rotation_deg, flip_probability=0.5, quarter_turn_probability=1)
    assert wise_copies(augmentation, VolumeSettings(flips=flips)) == wise
    swapped = VolumeSettings(orientation="AIR", flips=(flips[1], flips[2], flips[0]))
    assert wise_copies(augmentation, swapped) == wise
