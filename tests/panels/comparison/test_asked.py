"""Name, time and folds of a comparison."""

import pytest
from contests import make_contest

from autoseg.errors import SettingsError
from autoseg.panels.comparison.asked import Asked


def make_asked(**arguments):
    return Asked("neck", 3.0, in_epochs=False, take_earlier=lambda: None, **arguments)


def test_time_is_read_as_it_was_typed():
    asked = make_asked()
    assert asked.typed_time() == {"minutes": 3.0}
    asked.amount.value = "0,5"
    assert asked.typed_time() == {"minutes": 0.5}
    asked.show_time(None, 7)
    assert asked.typed_time() == {"epochs": 7}
    asked.amount.value = "soon"
    with pytest.raises(SettingsError, match="epochs is 'soon'; give a whole number"):
        asked.typed_time()
    asked.amount.value = "0"
    with pytest.raises(SettingsError, match="epochs"):
        asked.typed_time()


@pytest.mark.parametrize(
    ("count", "wanted", "last", "value"), [(3, 5, "3, each patient alone", 3), (30, 5, "10", 5)]
)
def test_no_more_folds_than_patients(count, wanted, last, value):
    asked = make_asked()
    asked.offer_folds(count, wanted)
    assert asked.folds.options[-1][0] == last
    assert asked.folds.value == value
    asked.offer_folds(1, wanted)
    assert asked.folds.value is None


def test_where_it_is_kept_is_said_and_taken_back(tmp_path):
    asked = make_asked(what="way")
    assert "each way learns" in asked.amount.tooltip
    assert "models that" in asked.folds.tooltip
    asked.show_place(make_contest(tmp_path))
    assert f"Kept in {tmp_path}" in asked.note.value
    asked.show_place(None)
    assert asked.note.value == ""
