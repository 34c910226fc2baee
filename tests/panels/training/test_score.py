"""The panel "How good is it?": it waits for a training, then says what came of it, without names."""

import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from discs import STRUCTURES, make_pair, make_split, patch_reading

from autoseg.data.cases import CaseFolder
from autoseg.data.checks import Finding
from autoseg.errors import ReadError
from autoseg.evaluation import validation_report as appraisal
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.model.settings.settings import PreprocessSettings, Settings
from autoseg.model.trust import Calibration, Errors, How, Trust
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import Data, Task, Trained
from autoseg.panels.training.score import ScorePanel, errors_html, table_html
from autoseg.training.plan import Plan

SETTINGS = Settings(preprocess=PreprocessSettings(spacing_mm=3.0))
HISTORY = tuple(
    EpochResult(n, 1 / n, 1e-3, n, 0, 1.1 / n, 0.9, (0.9, 0.9), training_dice=(0.9, 0.9)) for n in range(1, 21)
)
ORIGIN = {"training_subjects": 9, "training_slices": 400, "ended": ""}
MODEL = TrainedModel("discs", SETTINGS, STRUCTURES, ("image",), {}, HISTORY, 20, ORIGIN)


def trained(model=MODEL, split=None):
    split = split or make_split(range(3), range(3, 6))
    return Trained(model, Path("discs.pt"), Task(split, SETTINGS, STRUCTURES, "discs", Path()))


@pytest.fixture
def answers(monkeypatch):
    patch_reading(monkeypatch)
    how = {"how": lambda voxels: voxels}

    def answer(model, image, on_slices=None):
        labels = make_pair(int(image.source.case_id.removeprefix("case")))[1]
        on_slices(image.shape[0], image.shape[0])
        return replace(labels, voxels=how["how"](labels.voxels.copy()))

    monkeypatch.setattr(appraisal, "predict", answer)
    return how


def shown(panel):
    """Give all that stands in the panel's body, without the bytes of pictures."""
    words = "".join(child.value for child in panel.body.children if isinstance(child.value, str))
    return re.sub(r"base64,[^\"]*", "", words)


def test_before_a_training_it_says_what_to_do_first():
    panel = ScorePanel(Panel())
    assert "Train a model first: press Start above." in panel.message.value
    assert (panel.value, panel.body.children) == (None, ())


def test_a_training_that_is_done_is_appraised(answers):
    training = Panel()
    panel = ScorePanel(training)
    training.value = trained()
    panel.wait(60)
    assert panel.value.summary["dice"].tolist() == [1, 1]
    words = shown(panel)
    assert words.index("This is a good training") < words.index("<table") < words.index("<img")
    assert "on 3 validation patients the Dice is 1.00 for core and 1.00 for ring" in words
    assert "a little kind" in words
    assert "Scored on 3 validation patients, from whom it did not learn" in words
    assert "20 epochs, epoch 20 was kept, training loss from 1.00 to 0.05" in words
    assert panel.message.value == ""
    assert panel.bar.layout.display == "none"
    assert [one.kind for one in panel.advice] == ["good"]


def test_a_training_that_is_there_already_is_appraised_too(answers):
    training = Panel()
    training.value = trained()
    panel = ScorePanel(training)
    panel.wait(60)
    assert panel.value is not None


def test_no_name_is_shown_until_asked_for(answers):
    answers["how"] = lambda voxels: np.roll(voxels, 6, axis=1)
    training = Panel()
    panel = ScorePanel(training)
    training.value = trained()
    panel.wait(60)
    assert not re.search(r"subject\d|case\d", shown(panel))
    title = r"<img alt=\"Worst slices: image \d, slice \d, (core|ring): Dice 0\.\d\d, [\d,]+ mm²"
    assert re.search(title, shown(panel))
    before = panel.worst.value
    panel.show_ids.value = True
    assert "subject3, subject4, subject5" in shown(panel)
    assert re.search(r'alt="Worst slices: case\d', shown(panel))
    assert panel.worst.value != before
    assert panel.value is not None
    panel.show_ids.value = False
    assert not re.search(r"subject\d|case\d", shown(panel))


def test_names_can_be_asked_for_from_the_start(answers):
    training = Panel()
    training.value = trained()
    panel = ScorePanel(training, show_ids=True)
    panel.wait(60)
    assert "subject3" in shown(panel)


def test_what_the_check_found_is_recalled_if_the_data_are_the_same(answers):
    answers["how"] = lambda voxels: np.roll(voxels, 8, axis=1)
    finding = Finding("error", "case1", Path(), "Sides.", "Look.", kind="sides")
    split = make_split(range(3), range(3, 6))
    plan = Plan(SETTINGS, (), ())

    def words_with(cases):
        training, data = Panel(), Panel()
        data.value = Data(CaseFolder(Path(), cases, STRUCTURES), (finding,), plan)
        panel = ScorePanel(training, data)
        training.value = trained(split=split)
        panel.wait(60)
        return shown(panel)

    assert "sides exchanged" in words_with(split.training + split.validation)
    assert "sides exchanged" not in words_with(make_split([7, 8]).training)


def test_a_failure_is_a_sentence_and_shows_no_earlier_result(answers, monkeypatch):
    training = Panel()
    panel = ScorePanel(training)
    training.value = trained()
    panel.wait(60)

    def gone(case, structures):
        raise ReadError("case0.dcm is not there. Bring it back.")

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", gone)
    training.value = trained()
    panel.wait(60)
    assert "the image file of patient 1 is not there. Bring it back." in panel.message.value
    assert (panel.value, panel.body.children) == (None, ())


def test_a_new_training_takes_the_result_away_and_drops_what_is_being_computed(answers):
    gate, started = threading.Event(), threading.Event()

    def slow(voxels):
        started.set()
        gate.wait(30)
        return voxels

    answers["how"] = slow
    training = Panel()
    panel = ScorePanel(training)
    training.value = trained()
    assert started.wait(30)
    assert "Predicting the validation patients" in panel.message.value
    assert panel.bar.layout.display == ""
    training.value = None
    gate.set()
    panel.wait(60)
    assert (panel.value, panel.body.children) == (None, ())
    assert "Train a model first" in panel.message.value
    assert panel.bar.layout.display == "none"


def test_without_validation_subjects_there_are_curves_and_no_slices(answers):
    training = Panel()
    panel = ScorePanel(training)
    training.value = trained(split=make_split(range(3)))
    panel.wait(60)
    words = shown(panel)
    assert "Nobody was set aside for validation" in words
    assert "Learning curves" in words
    assert "worst slices" not in words.lower()
    assert "Scored on" not in words
    assert panel.value.scores == ()


def test_the_table_has_header_cells_and_escapes_names():
    html = table_html(pd.DataFrame({"structure": ["<b>&"], "area in mm²": ["1"]}), caption="A & B")
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;</th>" in html
    assert html.count('<th scope="col"') == 2
    assert html.count('<th scope="row"') == 1
    assert "<caption" in html
    assert 'role="region" aria-label="A &amp; B" tabindex="0"' in html


def test_erosions_are_drawn_where_they_were_watched(answers):
    rows = [replace(row, erosion_iou=((0.9, 0.8, 0.5, 0.1),) * 2) for row in HISTORY]
    for model, is_drawn in ((MODEL, False), (replace(MODEL, history=tuple(rows)), True)):
        training = Panel()
        training.value = trained(model)
        panel = ScorePanel(training)
        panel.wait(60)
        assert ("What erosion would change" in shown(panel)) == is_drawn
        assert panel.curves.value.count("autoseg-in-light") == 1 + is_drawn


def test_how_far_areas_can_be_off_is_said_with_from_whom_that_is_known(answers):
    scores = tuple((0.1 * number,) for number in range(20))
    known = {"date": "2026-05-02T10:00:00+00:00", "patients": 20, "unit": "mm²", "structures": ("core", "ring")}
    errors = tuple(Errors(name, "found", 0.0, 0.1, 0.0, scores) for name in ("core", "ring"))
    known |= {"errors": errors, "level": 0.9, "coverage": (0.91, 0.95)}
    found = appraisal.appraise(MODEL, make_split(range(3), range(3, 6)))
    for how, words in ((How.FOLDS, "20 patients (2026-05-02)"), (How.VALIDATION, "press “Measure how far")):
        calibrated = replace(MODEL, trust=Trust(calibration=Calibration(how=how.value, **known)))
        html = errors_html(calibrated, found)
        assert words in html
        assert "typically" in html
        assert ">91<" in html
    training = Panel()
    training.value = trained()
    panel = ScorePanel(training)
    panel.wait(60)
    assert "How far areas can be off" in shown(panel)
    assert "never compared with labels" in panel.errors.value
    assert "press “Measure how far areas can be off” above" in panel.errors.value
    assert "<table" not in panel.errors.value
