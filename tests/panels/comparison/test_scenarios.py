"""Scenarios to compare: what cannot run is not handed on, what does not fit is told, known patients stay out."""

import html
import json
from dataclasses import replace

import pytest
from bases import make_base, patch_looking
from comparisons import begin
from discs import STRUCTURES, make_case
from untrained import Fixed

from autoseg.data.cases import CaseFolder
from autoseg.data.test_subjects import freeze_test_subjects
from autoseg.evaluation.comparison.scenarios import ORIGINAL, OWN, SCRATCH, USUAL
from autoseg.image.structures import Structure
from autoseg.model.settings.settings import Settings, settings_to_dict
from autoseg.panels.comparison.running import is_alike
from autoseg.panels.comparison.scenarios import AS_IT_IS, DATA_FIRST, MODEL_FIRST, ScenariosPanel
from autoseg.panels.parts.values import ChosenModel, Data
from autoseg.training.plan import Plan


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    patch_looking(monkeypatch, slices=6)


def make_data(folder, count=6, structures=STRUCTURES):
    cases = CaseFolder(folder, tuple(make_case(number) for number in range(count)), structures)
    return Fixed(Data(cases, (), Plan(Settings(), (), ())))


def make_panel(folder, base=None, data=None, **arguments):
    base = Fixed(ChosenModel(make_base() if base is None else base, folder / "neck.pt"))
    data = make_data(folder) if data is None else data
    panel = ScenariosPanel(base, data, folder=folder, **arguments)
    panel.wait(60)
    return panel


def test_at_first_the_usual_scenarios_are_compared_from_the_model(tmp_path):
    panel = make_panel(tmp_path, name="conus")
    request, model = panel.value, panel._base_panel.value.model
    assert tuple(request.entries) == USUAL
    assert request.learning == USUAL[1:]
    for name, one in request.entries.items():
        assert one.base is (None if name == SCRATCH else model)
        assert one.settings.preprocess == model.settings.preprocess
    assert {request.entries[name].settings.minutes for name in request.learning} == {3.0}
    assert (request.folds, request.name, request.kind) == (5, "conus", "scenario")
    assert request.folder == tmp_path / "conus_comparison"
    assert f"{len(USUAL) - 1} scenarios that learn × 5 folds × 3 minutes: about 1 h 6 min." in panel.form.time.value
    assert "pixels of 1.5 mm; the model sees pixels of 3 mm" in panel.form.fit.value
    assert panel.message.value == ""
    assert request.finder is None


def test_without_model_or_images_there_is_a_sentence(tmp_path):
    base, data = Fixed(), Fixed()
    panel = ScenariosPanel(base, data, folder=tmp_path)
    assert MODEL_FIRST in panel.message.value
    base.value = ChosenModel(make_base(), tmp_path / "neck.pt")
    assert DATA_FIRST in panel.message.value
    assert panel.body.children == ()
    data.value = make_data(tmp_path).value
    panel.wait(60)
    assert panel.value is not None
    assert panel.form.centreline.layout.display == "none"  # the model was shown, though it came first
    assert panel.form.all.fields["preprocess.spacing_mm"].value == "3"
    panel.form.all.fields["batch_size"].value = "3"
    panel.wait(60)
    data.value = make_data(tmp_path).value
    panel.wait(60)
    assert panel.value.entries["fine-tuned"].settings.batch_size == 3  # other images leave what was typed
    data.value = None
    assert panel.value is None
    assert panel.body.children == ()


def test_ticks_time_folds_and_name_change_what_is_handed_on(tmp_path):
    panel = make_panel(tmp_path)
    for name in USUAL:
        panel.boxes[name].value = name == "fine-tuned"
    assert panel.value is None
    assert "Tick at least two scenarios; 1 is ticked" in panel.message.value
    panel.boxes[ORIGINAL].value = True
    assert tuple(panel.value.entries) == (ORIGINAL, "fine-tuned")
    assert "1 scenario that learns × 5 folds" in panel.form.time.value
    panel.folds.value = 3
    assert panel.value.folds == 3
    panel.amount.value = "0,25"
    assert panel.value.entries["fine-tuned"].settings.minutes == 0.25
    panel.unit.value = "epochs"
    assert panel.value.entries["fine-tuned"].settings.epochs == 50
    assert panel.value.entries["fine-tuned"].settings.minutes is None
    panel.amount.value = "often"
    assert panel.value is None
    assert "give a whole number" in panel.message.value
    panel.amount.value = "2"
    panel.name.value = "a/b"
    assert panel.value is None
    assert "cannot be a file name" in panel.message.value


def test_a_model_that_fits_wholly_says_so(tmp_path, monkeypatch):
    patch_looking(monkeypatch, spacing=(8.0, 3.0, 3.0))
    assert AS_IT_IS in make_panel(tmp_path).form.fit.value


def test_a_new_structure_is_said_and_the_original_left_out(tmp_path):
    data = make_data(tmp_path, structures=(*STRUCTURES, Structure(9, "conus")))
    panel = make_panel(tmp_path, data=data)
    assert tuple(panel.value.entries) == USUAL[1:]
    assert "New, so its answer is learnt from the start: conus" in panel.form.fit.value
    assert "it does not know conus" in panel.form.words[ORIGINAL].value


def test_patients_whom_the_model_knows_are_in_no_fold_and_told_by_number(tmp_path):
    panel = make_panel(tmp_path, make_base(taught_by=["subject1", "subject4"]))
    assert panel.value.known == {"subject1", "subject4"}
    assert panel.value.folds == 4
    assert "knows patient 2, patient 5" in panel.message.value
    assert "subject" not in panel.message.value
    panel = make_panel(tmp_path, make_base(taught_by=[f"subject{n}" for n in range(6)]))
    assert panel.value is None
    assert html.escape("'neck' has learnt from all patients here") in panel.message.value
    assert panel.body.children == (panel.form.fit,)  # there is nothing to choose
    panel = make_panel(tmp_path, make_base(taught_by=[f"subject{n}" for n in range(1, 6)]))
    assert "all patients here but one" in panel.message.value
    panel = make_panel(tmp_path, data=make_data(tmp_path, count=1))
    assert "images of one patient" in panel.message.value


def test_patients_set_aside_stay_apart(tmp_path):
    freeze_test_subjects(tmp_path, ["subject2"])
    panel = make_panel(tmp_path, make_base(taught_by=["subject2", "subject3"]))
    assert panel.value.test_subjects == {"subject2"}
    assert panel.value.known == {"subject3"}
    assert panel.value.folds == 4


def test_a_scenario_of_one_s_own_has_the_settings_that_were_typed(tmp_path):
    panel = make_panel(tmp_path)
    panel.form.own.fields["learning_rate"].value = "0.0005"
    panel.form.own.fields["finetune.replaced"].value = "tail"
    own, tuned = (panel.value.entries[name].settings for name in (OWN, "fine-tuned"))
    assert (own.learning_rate, own.finetune.replaced) == (0.0005, ("tail",))
    assert (tuned.learning_rate, tuned.finetune.replaced) == (1e-5, ())
    assert own.minutes == tuned.minutes
    panel.form.own.fields["finetune.replaced"].value = "tale"
    assert panel.value is None
    assert "replaced names the part tale" in panel.message.value
    assert "replaced names" in panel.form.own.notes["finetune.replaced"].value
    panel.boxes[OWN].value = False  # what is not asked for cannot be wrong
    assert tuple(panel.value.entries) == USUAL


def test_other_pixels_count_for_all_that_learn_and_the_fit_is_told_anew(tmp_path):
    panel = make_panel(tmp_path)
    panel.form.all.fields["preprocess.spacing_mm"].value = "1.5"
    panel.wait(60)
    request = panel.value
    assert {request.entries[name].settings.preprocess.spacing_mm for name in request.learning} == {1.5}
    assert request.entries[ORIGINAL].settings.preprocess.spacing_mm == 3.0
    assert "spacing_mm (3 there, 1.5 here)" in panel.form.fit.value


def test_volumes_can_follow_the_centreline(tmp_path):
    panel = make_panel(tmp_path, make_base(dims=3))
    assert panel.value.entries["fine-tuned"].settings.volume.crop_mm is None
    panel.form.exact.value = True
    assert not panel.value.exact  # without a crop it would be the same
    panel.form.follow.value = True
    panel.form.crop.value = "30, 25"
    panel.form.finder.value = "0.5"
    request = panel.value
    for name in request.learning:
        assert request.entries[name].settings.volume.crop_mm == (30.0, 25.0)
    assert request.entries[ORIGINAL].settings.volume.crop_mm is None
    assert request.exact
    assert request.finder.minutes == 0.5
    assert "and 5 × 0.5 minutes to find centrelines" in panel.form.time.value
    panel.form.without.value = True
    assert panel.value.without_outliers
    panel.form.crop.value = "wide"
    assert panel.value is None
    assert "crop_mm" in panel.message.value
    given = make_panel(tmp_path, make_base(dims=3), crop_mm=(20.0, 20.0))
    assert given.value.entries["own rates"].settings.volume.crop_mm == (20.0, 20.0)


def test_how_many_must_be_drawn_is_asked_by_numbers(tmp_path):
    panel = make_panel(tmp_path, chosen=[ORIGINAL, "all parts", OWN])
    panel.form.few.value = "1, 2"
    names = [f"{way} with {count}" for way in ("all parts", OWN) for count in ("1 subject", "2 subjects")]
    assert tuple(panel.value.entries) == (ORIGINAL, *names)
    assert [panel.value.entries[name].subjects for name in names] == [1, 2, 1, 2]
    assert "4 scenarios that learn × 5 folds" in panel.form.time.value
    begun = panel.value
    panel.form.few.value = "a few"
    assert panel.value is None
    assert "subjects is 'a'; give a whole number" in html.unescape(panel.message.value)
    panel.form.few.value = "0"
    assert "subjects is 0; give 1 or more" in panel.message.value
    panel.form.few.value = "2"
    assert not is_alike(panel.value, begun)
    begin_again(begun)
    later = make_panel(tmp_path)
    later.previous_button.click()
    assert later.form.few.value == "1, 2"
    assert is_alike(later.value, begun)


def test_another_model_brings_its_own_settings(tmp_path):
    panel = make_panel(tmp_path, make_base(dims=3, crop_mm=(20.0, 20.0)))
    assert panel.form.follow.value
    panel._base_panel.value = ChosenModel(make_base(), tmp_path / "other.pt")
    panel.wait(60)
    assert not panel.form.follow.value
    assert panel.value.entries["fine-tuned"].settings.spatial_dims == 2


def test_what_an_earlier_one_was_begun_with_is_one_click_away(tmp_path):
    panel = make_panel(tmp_path, make_base(dims=3), crop_mm=(30.0, 25.0), epochs=7, folds=3)
    panel.form.own.fields["learning_rate"].value = "0.0005"
    begun = panel.value
    begin_again(begun)
    later = make_panel(tmp_path, make_base(dims=3))
    assert "It was begun with" in later.previous_words.value
    assert "a crop of 30, 25 mm" in later.previous_words.value
    later.previous_button.click()
    later.wait(60)
    assert is_alike(later.value, begun)
    assert later.previous_row.layout.display == "none"


def begin_again(request):
    """Write what `compare` keeps of scenarios, with one finished training."""
    begin(request)
    path = request.folder / "comparison.json"
    state = json.loads(path.read_text()) | {"base": settings_to_dict(request.base)}
    path.write_text(json.dumps(state))


def test_a_request_with_another_model_is_another_one(tmp_path):
    request, again = (make_panel(tmp_path).value for _ in range(2))
    assert is_alike(request, again)
    other = make_base()
    other.weights[next(iter(other.weights))] += 1
    assert not is_alike(request, make_panel(tmp_path, other).value)
    assert not is_alike(request, replace(again, exact=True))


def test_an_unknown_scenario_is_named(tmp_path):
    panel = make_panel(tmp_path)
    panel.choose(["fine-tunned"])
    assert "no scenario &#x27;fine-tunned&#x27;" in panel.message.value
