"""The result of a comparison: the sentence, the numbers, the slices; and no patient's number unasked."""

from dataclasses import asdict, replace

import pandas as pd
import pytest
from bases import make_base
from comparisons import STRUCTURES, known_comparison, make_folds, make_request, make_scenarios
from comparisons import make_comparison as made_up
from discs import quick_settings
from two_readers import draw_patients, write_folds

from autoseg.evaluation.crossvalidation import CrossValidation, read_fold
from autoseg.evaluation.crossvalidation.fold import plain_settings, write_fold
from autoseg.panels.comparison.results import FIRST, ResultsPanel
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import Compared


@pytest.fixture
def compared(tmp_path):
    return Compared(make_request(tmp_path), known_comparison(tmp_path))


def make_panel(compared, **arguments):
    source = Panel()
    source.value = compared
    panel = ResultsPanel(source, **arguments)
    panel.wait(60)
    return panel, source


def test_everything_is_shown_without_patients_ids(compared):
    panel, _ = make_panel(compared)
    assert panel.value is compared.comparison
    assert "ResUNet is best, but not for patient 3" in panel.verdict.value
    assert "A note on patient 2" in panel.notes.value
    assert panel.overview.value.count("autoseg-in-light") == 1
    assert "No epoch was validated" in panel.curves.value  # a sentence in place of a picture
    assert "image 4, slice 8" in panel.slice.value
    assert "U-Net 0.25, ResUNet 0.75" in panel.slice.value
    assert "subject" not in panel.slice.value
    panel.show_ids.value = True
    assert "case of subject3, slice 8" in panel.slice.value
    assert "not for subject2" in panel.verdict.value


def test_a_tick_is_only_where_something_was_learnt(compared, tmp_path):
    assert "✔" in make_panel(compared)[0].verdict.value
    table = compared.comparison.table.assign(dice=0.3)
    little = Compared(compared.request, known_comparison(tmp_path, table=table))
    assert "✔" not in make_panel(little)[0].verdict.value


def test_next_goes_round_and_the_slider_too(compared):
    panel, _ = make_panel(compared)
    assert panel.place.max == 2
    panel.next.click()
    assert panel.place.value == 2
    assert "image 2, slice 8" in panel.slice.value
    panel.next.click()
    assert panel.place.value == 1
    panel.place.value = 2
    assert "image 2, slice 8" in panel.slice.value


def test_a_structures_scores_can_be_asked_for(compared):
    panel, _ = make_panel(compared)
    assert [value for _, value in panel.structure.options] == ["mean", "core", "ring"]
    assert "mean over structures" in panel.quality.value
    panel.structure.value = "ring"
    assert "How good: ring" in panel.quality.value


def test_downloads_are_the_files_of_the_folder(compared, tmp_path):
    (tmp_path / "results.csv").write_bytes(b"entry\n")
    panel, _ = make_panel(compared)
    run = f"{tmp_path.name}_"  # after which the browser calls what it saves
    buttons = {button.name.removeprefix(run): button for button in panel.downloads}
    assert panel.pdf.name == f"{run}study_report.pdf"
    assert all(button.name.startswith(run) for button in panel.downloads)
    assert [name for name, button in buttons.items() if not button.disabled] == ["results.csv"]
    assert buttons["results.csv"].make() == b"entry\n"
    (tmp_path / "results.csv").unlink()
    (described, _), *_ = buttons["results.csv"].pieces()
    assert "results.csv cannot be read" in described["failed"]


def test_it_goes_with_the_comparison(compared, tmp_path):
    panel, source = make_panel(compared)
    source.value = None
    assert panel.value is None
    assert FIRST in panel.message.value
    assert panel.body.children == ()
    source.value = Compared(compared.request, known_comparison(tmp_path, worst=()))
    panel.wait(60)
    assert panel.slices.layout.display == "none"
    source.value = Compared(compared.request, known_comparison(tmp_path, table=pd.DataFrame()))
    panel.wait(60)
    assert panel.value is None
    assert "Nothing was scored" in panel.message.value


def test_every_patient_has_a_row_by_number_and_by_name_where_asked_for(compared, tmp_path):
    subjects = made_up({"unet": make_folds([0.9, 0.8, 0.7, 0.6])}).subjects
    comparison = known_comparison(tmp_path, subjects=subjects)
    panel, _ = make_panel(Compared(compared.request, comparison))
    for words in ("patient 1", "patient 4", "Median", "networks that never saw them"):
        assert words in panel.subjects.value
    assert "subject" not in panel.subjects.value
    assert "slices by every network" in panel.slices_head.value
    panel.show_ids.value = True
    assert "subject3" in panel.subjects.value
    panel.structure.value = "core"
    assert "Dice of every patient: core" in panel.subjects.value
    scenarios = Compared(make_scenarios(tmp_path, make_base()), comparison)
    panel, _ = make_panel(scenarios)
    assert "slices by every scenario" in panel.slices_head.value
    assert ">Scenario<" in panel.quality.value
    assert "models that never saw them" in panel.quality.value
    assert "reference and models" in panel.slice.value


def test_where_several_readers_drew_the_best_stands_beside_them(tmp_path):
    (tmp_path / "data").mkdir()
    found = draw_patients(tmp_path / "data")
    write_folds(found, tmp_path / "resunet")
    comparison = known_comparison(tmp_path)
    folds = tuple(read_fold(tmp_path / "resunet" / f"fold_{number}", number) for number in (1, 2))
    runs = {"resunet": CrossValidation(tmp_path / "resunet", folds, (), pd.DataFrame())}
    request = replace(make_request(tmp_path), cases=found.cases, structures=found.structures)
    panel, source = make_panel(Compared(request, replace(comparison, runs=runs)))
    assert "Whether the model differs from readers r1 and r2" in panel.readers.words.value
    source.value = Compared(make_request(tmp_path), comparison)
    panel.wait(60)
    assert panel.readers.children == ()


def test_the_best_is_reported_as_a_study_and_without_ids_unless_asked(tmp_path):
    folds = {name: make_folds(dice) for name, dice in (("unet", (0.5, 0.6, 0.7)), ("resunet", (0.8, 0.9, 0.7)))}
    for name, own in folds.items():
        for number, fold in enumerate(own, start=1):
            made = {"settings": plain_settings(quick_settings()), "structures": [asdict(STRUCTURES[0])]}
            made["test"] = {score.case_id: "digest" for score in fold.pixels}
            own[number - 1] = replace(fold, folder=tmp_path / name / f"fold_{number}")
            write_fold(own[number - 1], made, predicted={})
    panel, _ = make_panel(Compared(make_request(tmp_path), made_up(folds, folder=tmp_path)))
    assert [value for _, value in panel.reported.options] == ["resunet", "unet"]
    page = panel.page.make().decode()
    assert "0.800" in page
    assert "patient 1" in page
    assert "subject0" not in page
    panel.show_ids.value = True
    panel.reported.value = "unet"
    page = panel.page.make().decode()
    assert "0.600" in page
    assert "subject0" in page


def test_without_folds_there_is_nothing_to_report(compared):
    panel, _ = make_panel(compared)
    assert panel.page.disabled
    (described, _), *_ = panel.page.pieces()
    assert "Compare first" in described["failed"]
