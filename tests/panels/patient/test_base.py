"""The model to begin from is one model, chosen as in the list of models."""

from untrained import made_up_model

from autoseg.model.model import save_model
from autoseg.panels.patient.models import ONE, BasePanel


def test_the_newest_is_chosen_and_said_in_plain_words(tmp_path):
    save_model(made_up_model("thigh", "2025-05-05"), tmp_path)
    save_model(made_up_model("heart", "2024-05-05"), tmp_path)
    panel = BasePanel(tmp_path)
    panel.wait(60)
    assert panel.value.model.name == "thigh"
    for words in ("psoas (left), gracilis", "slice by slice (2-D)", "0.75 mm", "T1w", "9 subjects"):
        assert words in panel.details.value
    named = BasePanel(tmp_path, "heart")
    named.wait(60)
    assert named.value.model.name == "heart"


def test_several_are_refused_and_one_again_counts(tmp_path):
    for name in ("thigh", "heart"):
        save_model(made_up_model(name), tmp_path)
    panel = BasePanel(tmp_path)
    panel.wait(60)
    panel.list.index = (0, 1)
    panel.wait(60)
    assert panel.value is None
    assert ONE in panel.message.value
    assert panel.details.value == ""
    panel.list.index = (1,)
    panel.wait(60)
    assert panel.value is not None
    assert panel.message.value == ""
