"""How many more patients: what is learnt, the answer, its table, and what stands where there is none."""

import pytest
from bases import make_base
from comparisons import (
    STRUCTURES,
    forecast_folds,
    known_comparison,
    make_forecast,
    make_request,
    make_scenarios,
)

from autoseg.panels.comparison.forecast import FIRST, NOTHING, ForecastPanel, SizesPanel
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import Compared


def follow(panel_type, compared, **arguments):
    source = Panel()
    source.value = compared
    return panel_type(source, **arguments), source


@pytest.fixture
def compared(tmp_path):
    return Compared(make_request(tmp_path, patients=9, known={"subject8"}), known_comparison(tmp_path))


def test_the_best_is_learnt_from_few_and_from_all(compared, tmp_path):
    panel, source = follow(SizesPanel, compared, folds=4)
    request = panel.value
    # Eight patients in four folds: six are left, of whom one validates.
    assert list(request.entries) == ["resunet with 2 subjects", "resunet with 3 subjects", "resunet"]
    assert [one.settings.epochs for one in request.entries.values()] == [5, 4, 2]
    assert request.few_by_fold
    assert (request.folder, request.known) == (tmp_path / "discs_forecast_comparison", {"subject8"})
    assert "Learnt from 2, 3 and all 5 patients of a fold, in 4 folds, 12 trainings of 2 epochs" in panel.note.value
    assert "be kept in" in panel.note.value
    panel.entry.value = "unet"
    panel.amount.value = "4"
    panel.folds.value = 8
    assert list(panel.value.entries)[-1] == "unet"
    assert panel.value.entries["unet"].settings.epochs == 4
    assert panel.value.folds == 8
    panel.amount.value = "long"
    assert panel.value is None
    assert "give a whole number" in panel.message.value
    source.value = None
    assert panel.value is None
    assert FIRST in panel.message.value


def test_too_few_patients_are_told(tmp_path):
    panel, _ = follow(SizesPanel, Compared(make_request(tmp_path, patients=4), known_comparison(tmp_path)))
    assert panel.value is None
    assert "Each fold has 2 patients to learn from" in panel.message.value


def test_scenarios_begin_from_their_model(tmp_path):
    base = make_base()
    request = make_scenarios(tmp_path, base, patients=9)
    comparison = known_comparison(tmp_path)
    panel, _ = follow(SizesPanel, Compared(request, comparison), folds=3)
    assert [name for _, name in panel.entry.options] == ["from scratch", "all parts"]
    panel.entry.value = "all parts"
    assert {one.base for one in panel.value.entries.values()} == {base}
    only = make_scenarios(tmp_path, base, ("original",), patients=9)
    panel, _ = follow(SizesPanel, Compared(only, comparison))
    assert NOTHING in panel.message.value


def test_what_is_chosen_can_be_started(compared):
    panel, source = follow(ForecastPanel, compared, folds=3)
    assert panel.body.children == (panel.sizes, panel.comparing, panel._answer)
    assert panel.comparing.asked is panel.sizes.value
    assert not panel.comparing.start_button.disabled
    assert panel.value is None
    source.value = None
    assert panel.body.children == (panel.sizes,)
    assert panel.comparing.start_button.disabled


def test_the_answer_stands_with_its_table(compared, tmp_path):
    panel, _ = follow(ForecastPanel, compared, folds=3)
    forecast = make_forecast(*forecast_folds(structures=STRUCTURES))
    panel.comparing.value = Compared(compared.request, known_comparison(tmp_path, forecast=forecast))
    assert panel.value is forecast
    assert forecast.sentence.split(":")[0] in panel.sentence.value
    assert panel.picture.value.count("autoseg-in-light") == 1
    assert [value for _, value in panel.structure.options] == ["mean", "core", "ring"]
    assert "Why not" not in panel.table.value
    found = forecast.curves["ring", "dice"].at(28)
    panel.structure.value = "ring"
    assert f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]" in panel.table.value
    assert panel.downloads[0].name == f"{tmp_path.name}_forecast.csv"
    (described, _), *_ = panel.downloads[0].pieces()
    assert "forecast.csv cannot be read" in described["failed"]
    flat = make_forecast(*forecast_folds(better=1.0))
    panel.comparing.value = Compared(compared.request, known_comparison(tmp_path, forecast=flat))
    assert "cannot be told" in panel.sentence.value
    assert "it did not surely get better from 2 to 16 patients" in panel.table.value
    panel.comparing.value = None
    assert panel.value is None
    assert panel._answer.layout.display == "none"
    panel.comparing.value = Compared(compared.request, known_comparison(tmp_path))  # of something else
    assert panel.value is None
