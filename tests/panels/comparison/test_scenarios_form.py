"""The fields of scenarios: what is ticked, what suits a model, and what is read from them."""

import ipywidgets as widgets
import pytest
from bases import make_base

from autoseg.errors import SettingsError
from autoseg.evaluation.comparison.scenarios import ORIGINAL, SCENARIOS, SCRATCH
from autoseg.model.settings.settings import FineTuneSettings, Settings
from autoseg.panels.comparison.scenarios import OWN, ScenariosForm


class Counting:
    """Counts how often something changed."""

    def __init__(self):
        self.changed = self.all_changed = 0

    def one(self):
        self.changed += 1

    def all(self):
        self.all_changed += 1


@pytest.fixture
def counts():
    return Counting()


@pytest.fixture
def form(counts):
    return ScenariosForm(widgets.VBox(), counts.one, counts.all)


def ticked(form):
    return [name for name, box in form.boxes.items() if box.value and not box.disabled]


def is_shown(widget):
    return widget.layout.display != "none"


def test_every_scenario_has_a_tick_and_a_sentence(form, counts):
    assert tuple(form.boxes) == (*SCENARIOS, OWN)
    assert SCENARIOS["own rates"].words in form.words["own rates"].value
    form.boxes[SCRATCH].value = form.boxes["all parts"].value = True
    assert counts.changed == 2
    assert ticked(form) == [SCRATCH, "all parts"]


def test_a_model_that_does_not_know_a_structure_cannot_be_scored_as_it_is(form):
    form.boxes[ORIGINAL].value = form.boxes[SCRATCH].value = True
    form.show_fit(["A note <here>."], ["conus"])
    assert "<li>A note &lt;here&gt;.</li>" in form.fit.value
    assert form.boxes[ORIGINAL].disabled
    assert "Not possible: it does not know conus" in form.words[ORIGINAL].value
    assert ticked(form) == [SCRATCH]
    form.show_fit([], [])
    assert ticked(form) == [ORIGINAL, SCRATCH]


def test_slices_have_no_centreline_and_volumes_can_follow_it(form):
    form.show_model(make_base())
    assert not is_shown(form.centreline)
    assert form.read_all() == {}
    form.show_model(make_base(dims=3))
    assert is_shown(form.centreline)
    assert not form.follow.value
    assert not is_shown(form.details)
    assert form.read_all() == {"volume.crop_mm": None}
    form.follow.value = True
    assert is_shown(form.details)
    form.crop.value = "30 × 25"
    assert form.read_all() == {"volume.crop_mm": (30.0, 25.0)}
    form.crop.value = "30"
    with pytest.raises(SettingsError, match="give two numbers from 1 to 2000, in mm"):
        form.read_all()
    form.show_model(make_base(dims=3, crop_mm=(20.0, 22.0)))
    assert form.read_all() == {"volume.crop_mm": (20.0, 22.0)}
    form.follow.value = False
    assert form.read_all() == {"volume.crop_mm": None}


def test_who_types_a_scenario_of_their_own_wants_it(form, counts):
    form.show_model(make_base())
    assert form.own.read()["learning_rate"] == 1e-5
    assert form.own.read()["finetune.frozen"] == FineTuneSettings().frozen
    form.own.fields["finetune.frozen"].value = "none"
    assert form.boxes[OWN].value
    assert form.more.selected_index == 0
    assert counts.changed >= 1
    assert form.own.read()["finetune.frozen"] == ()


def test_settings_of_all_are_those_that_differ_from_the_model_s(form, counts):
    form.show_model(make_base())
    assert "batch_size" in form.all.fields
    assert "network.name" not in form.all.fields  # the model's
    form.all.fields["preprocess.spacing_mm"].value = "2"
    assert counts.all_changed == 1
    assert form.read_all() == {"preprocess.spacing_mm": 2.0}


def test_every_field_can_be_seen(form):
    inside, found = [form], []
    while inside:
        widget = inside.pop()
        found.append(widget)
        inside += getattr(widget, "children", ())
    wanted = (form.follow, form.crop, form.finder, form.exact, form.few, form.without, form.more)
    assert {*form.boxes.values(), *wanted, form.fit, form.time} <= set(found)


def test_what_was_begun_with_is_shown_again(form):
    begun = Settings(learning_rate=0.5, batch_size=3, finetune=FineTuneSettings(frozen=("tail",)))
    form.show_model(make_base(), begun)
    assert form.own.read()["learning_rate"] == 0.5
    assert form.own.read()["finetune.frozen"] == ("tail",)
    assert form.read_all()["batch_size"] == 3
