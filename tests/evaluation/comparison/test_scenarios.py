"""Ways to fine-tune by name: what they change, what they share, and what is refused."""

import pytest
from discs import STRUCTURES, make_split, patch_reading, quick_settings

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison.scenarios import ORIGINAL, SCENARIOS, SCRATCH, USUAL, scenarios_of
from autoseg.image.structures import Structure
from autoseg.model.settings.settings import NetworkSettings
from autoseg.training.training import train


@pytest.fixture(scope="module")
def base():
    with pytest.MonkeyPatch.context() as patch:
        patch_reading(patch)
        settings = quick_settings(epochs=1, network=NetworkSettings(filters=(4, 8)), learning_rate=0.0042)
        return train(make_split([20], [21]), settings, structures=STRUCTURES, name="known")


def test_all_differ_in_what_they_begin_from_and_how_they_learn_alone(base):
    found = scenarios_of(base, STRUCTURES, names=SCENARIOS, changes={"minutes": 0.5, "seed": 3})
    assert list(found) == list(SCENARIOS)
    for name, one in found.items():
        assert (one.settings.network, one.settings.preprocess) == (base.settings.network, base.settings.preprocess)
        assert one.settings.seed == 3
        assert one.learns == (name != ORIGINAL)
        assert (one.base is None) == (name == SCRATCH)
        assert name == ORIGINAL or (one.settings.minutes, one.settings.epochs) == (0.5, None)
    assert found[SCRATCH].settings.learning_rate == 0.0042
    assert found["fine-tuned"].settings.learning_rate == 1e-5
    assert found["fine-tuned"].settings.finetune.frozen == ("contraction",)
    assert found["all parts"].settings.finetune.frozen == ()
    assert found["new tail"].settings.finetune.replaced == ("tail",)
    first, last = found["in phases"].settings.finetune.phases_at(1e-5)
    assert (first.frozen, last.frozen) == (("contraction", "bottleneck"), ())
    assert (first.end, last.learning_rate) == (pytest.approx(1 / 3), 3e-4)


def test_the_original_is_left_out_where_it_does_not_know_a_structure_unless_it_was_named(base):
    assert tuple(scenarios_of(base, STRUCTURES)) == USUAL
    strange = (*STRUCTURES, Structure(9, "liver"))
    assert tuple(scenarios_of(base, strange)) == USUAL[1:]
    with pytest.raises(DataError, match="does not know liver"):
        scenarios_of(base, strange, names=[ORIGINAL])


def test_typed_settings_count_in_all_that_learn(base):
    found = scenarios_of(base, STRUCTURES, changes={"epochs": 4, "batch_size": 2})
    assert {one.settings.batch_size for one in found.values() if one.learns} == {2}
    assert {one.settings.epochs for one in found.values() if one.learns} == {4}


def test_a_misspelt_scenario_is_refused_with_a_hint(base):
    with pytest.raises(SettingsError, match=r"no scenario 'fine-tunned'. Did you mean 'fine-tuned'"):
        scenarios_of(base, STRUCTURES, names=["fine-tunned"])


def test_each_way_can_be_tried_with_few_subjects(base):
    found = scenarios_of(base, STRUCTURES, names=(ORIGINAL, "fine-tuned"), subjects=(4, 1, 1))
    assert {name: one.subjects for name, one in found.items()} == {
        ORIGINAL: None,
        "fine-tuned with 1 subject": 1,
        "fine-tuned with 4 subjects": 4,
    }
    with pytest.raises(SettingsError, match="subjects is 0"):
        scenarios_of(base, STRUCTURES, subjects=(0,))
