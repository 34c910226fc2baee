"""Settings of fine-tuning: parts by their names, phases in order, kept through JSON."""

import json

import pytest

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import FineTuneSettings, Phase, Settings, settings_from_dict, settings_to_dict


def test_the_defaults_are_those_that_were_found_good():
    assert FineTuneSettings().frozen == ("contraction",)
    assert FineTuneSettings().replaced == ()
    assert FineTuneSettings().phases_at(1e-5) == (Phase(("contraction",), 1e-5, 0.0, 1.0),)


def test_phases_share_the_training_in_proportion_to_their_lengths():
    settings = FineTuneSettings(
        phases=(("contraction + bottleneck", 1e-3, 10), ("tail", 1e-4, 10), ("none", 1e-5, 20))
    )
    first, second, third = settings.phases_at(0.5)
    assert (first.frozen, second.frozen, third.frozen) == (("contraction", "bottleneck"), ("tail",), ())
    assert [phase.learning_rate for phase in (first, second, third)] == [1e-3, 1e-4, 1e-5]
    assert [(phase.start, phase.end) for phase in (first, second, third)] == [(0, 0.25), (0.25, 0.5), (0.5, 1)]


def test_they_survive_json():
    settings = Settings(
        finetune=FineTuneSettings(
            frozen=(),
            replaced=("tail",),
            rates=(("contraction", 0.1), ("tail", 10.0)),
            phases=(("contraction", 1e-4, 1.0), ("none", 1e-5, 3.0)),
        )
    )
    assert settings_from_dict(json.loads(json.dumps(settings_to_dict(settings)))) == settings


def test_nothing_is_written_as_none():
    assert FineTuneSettings(frozen=("none",), replaced=("none",)) == FineTuneSettings(frozen=())
    assert FineTuneSettings(frozen="tail").frozen == ("tail",)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"frozen": ("encoder",)}, r"frozen names the part encoder; a network has contraction, bottleneck"),
        ({"replaced": ("head", "tail")}, r"replaced names the part head"),
        (
            {"frozen": ("contraction", "bottleneck", "expansion", "tail")},
            "frozen names all parts, so nothing would",
        ),
        (
            {"rates": (("tail", 0.0),)},
            r"rates is .*tail.*0.0.*give \(part, factor\) each, numbers above 0, at most 10000",
        ),
        ({"rates": (("tail", 1.0), ("tail", 2.0))}, "each part once"),
        ({"rates": (("tail",),)}, r"give \(part, factor\) each"),
        ({"phases": (("encoder", 1e-4, 1),)}, r"phases names the part encoder"),
        ({"phases": (("tail+expansion+bottleneck+contraction", 1e-4, 1),)}, "phases names all parts"),
        ({"phases": (("none", 0, 1),)}, "phases is .*numbers above 0"),
        ({"phases": (("none", 10, 1),)}, "learning rate 10 is not below 10"),
        ({"phases": (("none", 1e-4, 0),)}, "phases is .*numbers above 0"),
        ({"phases": (("none", 1e-4),)}, r"\(frozen parts, learning rate, length\) each"),
        ({"new_learning_rate": 0}, "new_learning_rate is 0"),
    ],
)
def test_what_cannot_work_is_refused(values, words):
    with pytest.raises(SettingsError, match=words):
        FineTuneSettings(**values)
