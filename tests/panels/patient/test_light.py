"""The light above the numbers: what it says, and that those of a red one wait for a click."""

import re
from dataclasses import replace

import pytest
from lit import lit, suitability
from untrained import Fixed, chosen_model, untrained_model

from autoseg.model.trust import Light, Suitability
from autoseg.panels.parts.light import light_box, light_line, light_shape
from autoseg.panels.parts.values import Patient
from autoseg.panels.patient import prediction as module
from autoseg.panels.patient.areas import AreasPanel
from autoseg.panels.patient.expert import ExpertPanel
from autoseg.panels.patient.light import LightPanel, light_above
from autoseg.panels.patient.morphometry import MorphometryPanel
from autoseg.panels.training.settings import CALIBRATE
from autoseg.prediction.intervals import about_intervals
from autoseg.report.lights import LOOKS, light_of_run


def ready(panel):
    panel.wait(60)
    return panel


def is_offered(panel):
    return panel.button.layout.display != "none"


def words_of(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def box(lights):
    return light_box(light_of_run(lights, lights), lights, lights)


def luminance(colour):
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    dark, bright = sorted([luminance(one), luminance(other)])
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("light", Light)
def test_a_light_is_a_shape_a_word_and_its_reasons_not_a_colour_alone(light):
    page = box({"series-1": suitability(light)})
    assert light.value.capitalize() in words_of(page)
    for reason in suitability(light).reasons:
        assert reason in words_of(page)
    assert len({light_shape(look) for look in LOOKS.values()} | {look.sign for look in LOOKS.values()}) == 6
    assert contrast(LOOKS[light].colour, LOOKS[light].ink) > 4
    assert ('role="alert"' in page) == (light is Light.RED)
    assert suitability(light).reasons[-1] in words_of(light_line(suitability(light)))


def test_the_worst_light_stands_above_and_each_image_has_its_own():
    alike = {f"series-{n}": suitability("green") for n in (1, 2, 3, 4)}
    words = words_of(box(alike | {"series-5": suitability("red")}))
    assert words.startswith("✕ Red: not suited to the model Red, series-5: The pictures")
    assert "Green, series-1, series-2, series-3 and 1 more: Pixels, plane" in words
    assert "series-1" not in words_of(box(alike))  # one for all of them


def test_a_sentence_is_no_markup():
    page = box({"<b>": Suitability(Light.RED, ("2 < 3 & <i>",)), "b": suitability("amber")})
    assert "2 &lt; 3 &amp; &lt;i&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize("lights", [(), ("green",), ("amber", "green")])
def test_numbers_are_there_at_once_unless_the_light_is_red(run, lights):
    shown = lit(run, *lights)
    panel = ready(AreasPanel(Fixed(shown)))
    assert panel.value is shown
    assert panel.table in panel.body.children
    assert not is_offered(panel.light)
    word = lights[0].capitalize() if lights else ""
    assert words_of(panel.line.value)[2:].startswith(word)
    assert bool(panel.line.value) == bool(lights)


@pytest.mark.parametrize("lights", [("red",), ("green", "red")])
def test_of_a_red_run_no_number_is_there_before_the_click(run, lights):
    red = lit(run, *lights)
    panel = ready(AreasPanel(Fixed(red)))
    assert (panel.value, panel.table) == (None, None)
    assert panel.body.children == (panel.light,)
    assert is_offered(panel.light)
    panel.select("series-5_t01", 3, 1)
    assert panel.look.children == ()
    panel.light.button.click()
    assert ready(panel).value is red
    assert not is_offered(panel.light)
    assert "Red" in words_of(panel.line.value)
    assert "carry the word red" in words_of(panel.light.box.value)


def test_the_click_counts_for_this_run_alone(run):
    prediction = Fixed(lit(run, "red"))
    panel = ready(AreasPanel(prediction))
    panel.light.show_numbers()
    assert ready(panel).value is prediction.value
    prediction.value = lit(run, "red")
    assert ready(panel).value is None
    assert is_offered(panel.light)
    prediction.value = None
    assert panel.body.children == ()
    panel.light.show_numbers()  # there is nothing to show
    assert panel.light.value is None
    prediction.value = lit(run, "green")
    assert ready(panel).value is prediction.value


def test_ids_that_are_asked_for_hide_nothing_again(run):
    panel = ready(AreasPanel(Fixed(lit(run, "red"))))
    panel.light.show_numbers()
    ready(panel).ids.value = True
    assert ready(panel).value is panel.prediction.value
    assert "SCD0000301" in panel.patients.value


@pytest.mark.parametrize("build", [lambda above: MorphometryPanel(above, is_open=True), ExpertPanel])
def test_no_other_panel_shows_them_either(run, sample, build):
    panel = ready(build(Fixed(lit(run, "red"))))
    if isinstance(panel, ExpertPanel):
        panel.chooser.choose(sample / "test")
    assert ready(panel).value is None
    assert "Show the numbers all the same" in panel.message.value
    panel.light.show_numbers()
    assert ready(panel).value is not None
    assert "Red" in words_of(panel.line.value)


# --- the light of a prediction


@pytest.fixture
def predict(run, tmp_path, monkeypatch):
    """Give a panel in which a click has given the run with these lights."""

    def predicted(*lights):
        monkeypatch.setattr(module, "segment_folder", lambda *_, **__: lit(run, *lights))
        above = Fixed(chosen_model(tmp_path)), Fixed(Patient(tmp_path))
        panel = module.PredictionPanel(*above, output=tmp_path / "out")
        panel.button.click()
        return ready(panel)

    return predicted


def areas_of(viewer):
    return viewer.slice_message(0, 3)[0]["areas"]


def test_the_light_stands_above_the_result(predict):
    panel = predict("amber")
    assert panel.children.index(panel.light) < panel.children.index(panel.shown)
    assert "Amber: look twice" in words_of(panel.light.box.value)
    assert areas_of(panel.viewer)
    assert panel.viewer._images[0]["light"]["words"] == "Amber: look twice"


def test_one_click_opens_the_viewer_and_all_that_follows(predict):
    panel = predict("red")
    areas = ready(AreasPanel(panel))
    assert panel.value is not None  # a script has the run, and its numbers, at once
    assert panel.viewer.withheld
    assert areas_of(panel.viewer) == {}
    panel.light.button.click()
    assert panel.viewer.withheld == ""
    assert areas_of(panel.viewer)["1"]["area"]
    assert ready(areas).value is panel.value
    panel.button.click()
    assert is_offered(ready(panel).light)
    assert ready(areas).value is None


def test_a_result_that_is_taken_back_takes_its_light_away(predict):
    panel = predict("red")
    panel.copies.value = "turned"
    assert panel.light.box.value == ""
    assert not is_offered(panel.light)


def test_without_a_light_nothing_stands_there(predict):
    panel = predict()
    assert panel.light.box.value == ""
    assert not is_offered(panel.light)
    assert areas_of(panel.viewer)
    assert panel.viewer._images[0]["light"] is None


def test_below_the_light_stands_what_intervals_rest_on_and_what_would_give_some(predict, run):
    assert "How sure: Intervals of 90 % rest on the errors on 31 patients" in predict("green").light.sure.value
    none = replace(run, about_intervals=about_intervals([untrained_model()]))
    said = words_of(LightPanel(Fixed(none)).sure.value)
    assert "How sure: No intervals" in said
    asked = [words.partition(" (")[0] for words in CALIBRATE.values()]
    assert all(f"“{words}” in 1_train" in said for words in asked)
    assert LightPanel(Fixed(replace(run, about_intervals=""))).sure.value == ""


def test_panels_below_share_the_light_of_the_prediction(predict, run):
    panel = predict("green")
    assert light_above(panel) is panel.light
    assert isinstance(light_above(Fixed(run)), LightPanel)
    assert light_above(Fixed(replace(run))).value.is_open
