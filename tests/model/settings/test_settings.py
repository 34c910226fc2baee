"""Settings: checked when built, and the same after JSON."""

import json

import pytest

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import (
    AugmentationSettings,
    LossSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    settings_from_dict,
    settings_to_dict,
)


def test_they_survive_json():
    settings = Settings(
        minutes=2.5,
        preprocess=PreprocessSettings(input_shape=(256, 256)),
        network=NetworkSettings(filters=(8, 16)),
        augmentation=AugmentationSettings.manual(),
        loss=LossSettings(structure_weight=3.0),
    )
    assert settings_from_dict(json.loads(json.dumps(settings_to_dict(settings)))) == settings


def test_a_published_recipe_without_clipping_survives_json():
    settings = Settings(optimizer="sgd", schedule="multistep", milestones=(0.3, 0.7), gradient_clip=float("inf"))
    assert settings_from_dict(json.loads(json.dumps(settings_to_dict(settings)))) == settings


def test_crops_survive_json():
    crops = PreprocessSettings(crop_mm=(40, 30), crop_by_site=(("site1", 50, 40), ("site2", 30, 30)), clahe=True)
    settings = Settings(preprocess=crops)
    assert settings_from_dict(json.loads(json.dumps(settings_to_dict(settings)))) == settings


def test_epochs_or_minutes():
    assert Settings().epochs == 100
    assert Settings(minutes=3).epochs is None
    with pytest.raises(SettingsError, match="one of them"):
        Settings(epochs=5, minutes=3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Settings(epochs=0), "epochs is 0"),
        (lambda: Settings(epochs=2.5), "whole number"),
        (lambda: Settings(batch_size=0), "batch_size is 0"),
        (lambda: Settings(learning_rate=-1), "learning_rate is -1"),
        (lambda: Settings(precision="float16"), "precision is 'float16'"),
        (lambda: Settings(schedule="step"), "schedule"),
        (lambda: Settings(best_by="luck"), "best_by is 'luck'"),
        (lambda: Settings(optimizer="rmsprop"), "optimizer is 'rmsprop'; give adamw, adam, sgd"),
        (lambda: Settings(milestones=(0.5, 1.5)), "milestones is"),
        (lambda: Settings(plateau_epochs=0), "plateau_epochs is 0"),
        (lambda: Settings(drop_factor=1.0), "drop_factor is 1.0"),
        (lambda: Settings(momentum=1.0), "momentum is 1.0"),
        (lambda: Settings(oversampling=1.5), "oversampling is 1.5"),
        (lambda: PreprocessSettings(spacing_mm=0), "spacing_mm is 0"),
        (lambda: PreprocessSettings(spacing_mm=1, input_shape=(64, 64)), "not both"),
        (lambda: PreprocessSettings(input_shape=(8, 8)), "32 to 4096"),
        (lambda: PreprocessSettings(crop_mm=(40, 40), crop_shape=(64, 64)), "not both"),
        (lambda: PreprocessSettings(crop_mm=(40, 0)), "crop_mm is"),
        (lambda: PreprocessSettings(crop_shape=(64,)), "crop_shape is"),
        (lambda: PreprocessSettings(input_shape=(64, 64), crop_mm=(40, 40)), "give crop_shape"),
        (lambda: PreprocessSettings(crop_by_site=(("site1", 40, 40),)), "give crop_mm or crop_shape too"),
        (lambda: PreprocessSettings(crop_mm=(40, 40), crop_by_site=(("site1", 40),)), "crop_by_site holds"),
        (lambda: PreprocessSettings(crop_shift=0.7), "crop_shift is 0.7"),
        (lambda: PreprocessSettings(crop_anywhere=2), "crop_anywhere is 2"),
        (lambda: PreprocessSettings(find_region="label"), "find_region is 'label'"),
        (lambda: PreprocessSettings(clahe_limit=0), "clahe_limit is 0"),
        (lambda: NetworkSettings(filters=(4,)), "filters"),
        (lambda: AugmentationSettings(rotation_probability=1.5), "rotation_probability is 1.5"),
        (lambda: AugmentationSettings(gamma=(2, 1)), "smaller first"),
        (lambda: LossSettings(overlap_weight=0, pixel_weight=0, overlap_until=2), "weight 0"),
        (lambda: LossSettings(late_pixel_weight=0), "fade out"),
        (lambda: LossSettings(overlap_until=0), "overlap_until"),
        (lambda: settings_from_dict({"epochs": 3, "wings": 2}), "Unknown setting.*wings"),
        (lambda: settings_from_dict({"network": {"filters": 3}}), "wrong type"),
    ],
)
def test_a_value_that_cannot_work_is_named(make, words):
    with pytest.raises(SettingsError, match=words):
        make()


def test_manual_is_the_manuals():
    manual = AugmentationSettings.manual()
    assert (manual.rotation_deg, manual.scaling, manual.crop) == (5.0, (0.8, 1.0), (0.5, 0.8))
    on = [name for name, value in vars(manual).items() if name.endswith("_probability") and value]
    assert on == ["rotation_probability", "scaling_probability", "crop_probability"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", -1.0),
        ("weight_decay", float("nan")),
        ("gradient_clip", -1.0),
        ("gradient_clip", 0.0),
        ("gradient_clip", float("nan")),
        ("seed", -1),
        ("minutes", 1e99),
    ],
)
def test_what_would_learn_nothing_or_the_wrong_way_is_refused(name, value):
    with pytest.raises(SettingsError, match=f"^{name} is .*; give .*(0|18 digits|30 days)"):
        Settings(**{name: value})


@pytest.mark.parametrize("name", ["noise", "brightness"])
@pytest.mark.parametrize("value", [-1.0, 1e99])
def test_a_change_that_leaves_nothing_of_an_image_is_refused(name, value):
    with pytest.raises(SettingsError, match=f"{name} is .*give 0 to 100"):
        AugmentationSettings(**{name: value})
