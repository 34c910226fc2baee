"""Name, time and folds of a comparison, and what the previous one of the same name was begun with."""

from dataclasses import replace

import pytest
from comparisons import begin, make_request

from autoseg.errors import SettingsError
from autoseg.panels.comparison.entries import EntriesPanel, find_previous


class Some(EntriesPanel):
    """Asks for what it was given."""

    kind, given, count = "scenario", None, 4

    def people(self):
        return tuple("abcdefghijklmnopqrstuvwxyz"[: self.count])

    def prepare(self):
        self.hand_on()

    def request(self, folder):
        return self.given

    def tick_previous(self, previous):
        pass


def ask(request):
    panel = Some(name="neck")
    panel.given = request
    panel.hand_on()
    return panel


def test_time_is_read_as_it_was_typed():
    panel = Some(minutes=3.0)
    assert panel.typed_time() == {"minutes": 3.0}
    panel.amount.value = "0,5"
    assert panel.typed_time() == {"minutes": 0.5}
    panel.choose(epochs=7)
    assert panel.typed_time() == {"epochs": 7}
    panel.amount.value = "soon"
    with pytest.raises(SettingsError, match="epochs is 'soon'; give a whole number"):
        panel.typed_time()
    panel.amount.value = "0"
    with pytest.raises(SettingsError, match="epochs"):
        panel.typed_time()


def test_no_more_folds_than_patients():
    panel = Some(folds=5)
    for count, last, value in ((3, "3, each patient alone", 3), (26, "10", 5), (1, None, None)):
        panel.count = count
        panel.choose()
        assert [words for words, _ in panel.folds.options][-1:] == ([] if last is None else [last])
        assert panel.folds.value == value


def test_where_it_is_kept_is_said_and_taken_back(tmp_path):
    panel = ask(make_request(tmp_path))
    assert "each scenario learns" in panel.amount.tooltip
    assert "models that" in panel.folds.tooltip
    assert f"be kept in {tmp_path}" in panel.note.value
    panel.given = None
    panel.hand_on()
    assert panel.note.value == ""


def test_what_the_previous_one_differs_in_is_said_and_nothing_where_nothing_does(tmp_path):
    request = make_request(tmp_path, epochs=2)
    panel = ask(request)
    assert (panel.previous, panel.previous_row.layout.display) == (None, "none")
    begin(request, epochs=2)
    panel.hand_on()
    assert (panel.previous, panel.previous_row.layout.display) == (None, "none")
    panel.given = replace(request, folds=4, together=True)
    panel.hand_on()
    assert "It was begun with U-Net and ResUNet, 2 folds, 2 epochs each." in panel.previous_words.value
    assert panel.previous_row.layout.display == ""
    panel.given = None
    panel.hand_on()
    assert (panel.previous, panel.previous_row.layout.display) == (None, "none")


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
    request = make_request(tmp_path)
    begin(request, derived=derived, epochs=None, minutes=0.5)
    found = find_previous(request.folder)
    assert (found.minutes, found.epochs) == (0.5, None)
    assert (found.together, found.with_copies) == means
    assert (found.exact, found.without_outliers) == (len(derived) == 2, len(derived) == 2)
    assert "0.5 minutes each" in found.words


def test_a_damaged_folder_offers_nothing(tmp_path):
    request = make_request(tmp_path)
    begin(request, epochs=2)
    (request.folder / "comparison.json").write_text("{")
    assert find_previous(request.folder) is None
