"""A comparison of the same name tells what it was begun with, and one click asks for the same again."""

from dataclasses import replace

import pytest
from contests import begin, make_contest

from autoseg.panels.comparison.asked import EarlierRow, find_earlier


def test_it_says_what_differs_and_nothing_where_nothing_does(tmp_path):
    contest = make_contest(tmp_path, epochs=2)
    row = EarlierRow(lambda: None)
    row.show(contest)
    assert (row.found, row.layout.display) == (None, "none")
    begin(contest, epochs=2)
    row.show(contest)
    assert (row.found, row.layout.display) == (None, "none")
    row.show(replace(contest, folds=4, together=True))
    assert "It was begun with U-Net and ResUNet, 2 folds, 2 epochs each." in row.words.value
    assert row.layout.display == ""
    row.show(None)
    assert (row.found, row.layout.display) == (None, "none")


@pytest.mark.parametrize(
    ("derived", "means"),
    [
        ((), (False, False)),
        (("all together",), (True, False)),
        (("unet, mirrored copies",), (False, True)),
        (("unet, exact centreline", "unet, without outliers"), (False, False)),
    ],
)
def test_time_and_means_are_read(tmp_path, derived, means):
    contest = make_contest(tmp_path)
    begin(contest, derived=derived, epochs=None, minutes=0.5)
    found = find_earlier(contest.folder)
    assert (found.minutes, found.epochs) == (0.5, None)
    assert (found.together, found.with_copies) == means
    assert (found.exact, found.without_outliers) == (len(derived) == 2, len(derived) == 2)
    assert "0.5 minutes each" in found.words


def test_a_damaged_folder_offers_nothing(tmp_path):
    contest = make_contest(tmp_path)
    begin(contest, epochs=2)
    (contest.folder / "comparison.json").write_text("{")
    assert find_earlier(contest.folder) is None
