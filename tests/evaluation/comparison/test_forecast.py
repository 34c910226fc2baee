"""How many more patients: the entries that are learnt, the sentence, the table, and when nothing is told."""

import pytest
from comparisons import (
    STRUCTURES,
    forecast_folds,
    make_comparison,
    make_folds,
    make_forecast,
    make_request,
)
from discs import make_case, patch_reading, quick_settings

from autoseg.data.split import subjects_of
from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison.forecast import forecast_entries, sizes_for
from autoseg.evaluation.comparison.run import write_pictures, write_tables
from autoseg.evaluation.crossvalidation import plan_entries
from autoseg.training.events import listener

CASES = tuple(make_case(number) for number in range(9))


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(4, (2, 3, 4)), (6, (2, 4, 6)), (11, (2, 4, 11)), (12, (2, 4, 8, 12)), (40, (2, 4, 8, 16, 40))],
)
def test_sizes_double_up_to_all(most, sizes):
    assert sizes_for(most) == sizes


def test_too_few_to_learn_from_are_refused():
    with pytest.raises(DataError, match=r"Each fold has 3 patients to learn from; .* 4 at least"):
        sizes_for(3)


def test_every_size_makes_as_many_steps():
    # Nine patients in three folds: six are left, of whom one validates.
    by_epochs = forecast_entries(quick_settings(epochs=4), CASES, "unet", folds=3)
    assert {name: (one.subjects, one.settings.epochs) for name, one in by_epochs.items()} == {
        "unet with 2 subjects": (2, 10),
        "unet with 3 subjects": (3, 7),
        "unet": (None, 4),
    }
    by_minutes = forecast_entries(quick_settings(epochs=None, minutes=2), CASES, "unet", folds=3, sizes=(4, 1))
    assert {name: (one.subjects, one.settings.minutes) for name, one in by_minutes.items()} == {
        "unet with 1 subject": (1, 2),
        "unet with 4 subjects": (4, 2),
        "unet": (None, 2),
    }
    with pytest.raises(SettingsError, match=r"From 5 patients .* from 1 to 4 \(not 0 and 5\)"):
        forecast_entries(quick_settings(), CASES, "unet", folds=3, sizes=(0, 2, 5))


def test_each_fold_draws_its_own_few(tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    entries = forecast_entries(quick_settings(), CASES, "unet", folds=3)
    request = make_request(tmp_path, 9, 3, entries=entries, few_by_fold=True)
    plans = plan_entries(request, listener(None))
    people = {
        name: [set(subjects_of(split.training)) for split in plan.folds.splits] for name, plan in plans.items()
    }
    for two, three, every in zip(*people.values(), strict=True):
        assert len(two) == 2
        assert two < three < every
    tested = [set(subjects_of(split.test)) for split in plans["unet"].folds.splits]
    assert set().union(*tested) == set(subjects_of(CASES))
    assert request.budget_notes == ()


@pytest.fixture(scope="module")
def forecast():
    return make_forecast(*forecast_folds())


def test_the_sentence_tells_what_more_patients_would_do(forecast):
    assert forecast.sentence.startswith("With 12 more patients to learn from (28 in place of 16): area error ")
    assert " % in place of 4.4 %, Dice 0.9" in forecast.sentence
    assert forecast.sentence.endswith(" (80 % intervals).")
    area, dice = (forecast.curves["core", one] for one in ("area_error_percent", "dice"))
    assert f"area error {area.at(28).low:.1f} to {area.at(28).high:.1f} %" in forecast.sentence
    # Two decimals would say that nothing is gained.
    now = dice.measured[-1].value
    assert f"Dice {dice.at(28).low:.3f} to {dice.at(28).high:.3f} in place of {now:.3f}" in forecast.sentence


def test_the_table_has_what_was_measured_and_what_is_expected(forecast):
    table = forecast.table
    area = table[table["measure"] == "area_error_percent"]
    assert area["patients_to_learn_from"].tolist() == [2, 4, 8, 16, 28, 32]
    assert area["kind"].tolist() == ["measured"] * 4 + ["expected"] * 2
    assert area["value"].tolist()[:4] == pytest.approx([20, 12, 7.2, 4.3], abs=0.1)
    assert (area["low"] <= area["value"]).all()
    assert (area["value"] <= area["high"]).all()
    assert set(area["n_patients"]) == {12}
    assert not area["note"].any()


def test_several_structures_have_a_mean_first():
    forecast = make_forecast(*forecast_folds(structures=STRUCTURES))
    assert forecast.structures == ("mean", "core", "ring")
    assert list(forecast.shown()) == ["area error, %", "Dice"]
    assert forecast.shown("ring")["Dice"] is forecast.curves["ring", "dice"]


def test_too_large_and_too_small_areas_do_not_make_up_for_each_other():
    learnt = {"a": 2.0, "b": 4.0, "c": 8.0}

    def errors(folds):
        table = make_forecast(dict.fromkeys(learnt, folds), learnt).table
        return table["value"][table["measure"] == "area_error_percent"].dropna().tolist()

    large, small = make_folds([0.9] * 8, more=100), make_folds([0.9] * 8, more=-100)
    assert errors([large[0], small[1]]) == pytest.approx([10] * 3)
    # A prediction ten times too large counts like a missed structure.
    assert errors(make_folds([0.1] * 8, more=9000)) == [100] * 3


def test_what_cannot_be_told_is_not_told():
    flat = make_forecast(*forecast_folds(better=1.0))
    assert flat.sentence == (
        "How much more patients would help cannot be told: it did not surely get better from 2 to 16 patients."
    )
    expected = flat.table[flat.table["kind"] == "expected"]
    assert expected[["value", "low", "high"]].isna().all(axis=None)
    assert expected["note"].str.contains("did not surely get better").all()
    assert "only 4 patients are scored" in make_forecast(*forecast_folds(patients=4)).sentence
    learnt = {"unet with 2 subjects": 2.0, "unet": 6.0}
    two = make_forecast({name: make_folds([0.8] * 8) for name in learnt}, learnt)
    assert "it takes 3 numbers of patients to learn from, and there are 2 so far" in two.sentence
    assert make_forecast({name: [] for name in learnt}, learnt).sentence.endswith("nothing was scored.")


def test_a_comparison_of_sizes_says_it_and_writes_it_down(tmp_path):
    entries, learnt = forecast_folds(patients=6)
    found = make_comparison(entries, learnt=learnt, folds=3, folder=tmp_path)
    assert found.verdict == found.forecast.sentence
    write_tables(found)
    write_pictures(found)
    assert (tmp_path / "forecast.csv").read_text(encoding="utf-8").startswith("structure,measure,patients_to_learn")
    assert (tmp_path / "forecast.png").stat().st_size > 5000
    assert found.verdict in (tmp_path / "verdict.txt").read_text(encoding="utf-8")
    write_pictures(plain := make_comparison({"a": make_folds([0.5, 0.6])}, folder=tmp_path))
    assert plain.forecast is None
    assert not (tmp_path / "forecast.png").exists()
