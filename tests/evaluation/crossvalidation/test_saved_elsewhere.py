"""A fold that was learnt and has no room in its folder is saved in another one, from which it can be moved."""

from pathlib import Path

import pytest

from autoseg.errors import OutputError
from autoseg.evaluation.crossvalidation.fold import FoldResult, read_fold, write_fold
from autoseg.evaluation.crossvalidation.run import _keep


def test_a_fold_without_room_is_kept_elsewhere_and_counts_once_it_is_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    full = tmp_path / "discs_folds"

    def write(one):
        if full in one.folder.parents:
            raise OutputError(f"{one.folder} could not be written: the disk is full.")
        write_fold(one, {"of": "these"}, predicted={})

    with pytest.raises(OutputError, match=r"the disk is full\. What was learnt is in .*then start again") as caught:
        _keep(FoldResult(2, full / "fold_2", (), ()), write)
    (place,) = (tmp_path / "home").iterdir()
    assert f"{place}: once there is room, move that folder to {full / 'fold_2'}" in str(caught.value)
    full.mkdir()
    place.rename(full / "fold_2")
    assert read_fold(full / "fold_2", 2, {"of": "these"}).number == 2


def test_where_there_is_room_nowhere_the_sentence_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))

    def full(one):
        raise OutputError(f"{one.folder} is full.")

    with pytest.raises(OutputError, match=r"fold_2 is full\.$"):
        _keep(FoldResult(2, tmp_path / "fold_2", (), ()), full)
