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
    VolumeSettings,
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
        (lambda: PreprocessSettings(spacing_mm=1, input_shape=(64, 64)), "not both"),
        (lambda: PreprocessSettings(crop_mm=(40, 40), crop_shape=(64, 64)), "not both"),
        (lambda: PreprocessSettings(input_shape=(64, 64), crop_mm=(40, 40)), "give crop_shape"),
        (lambda: PreprocessSettings(crop_by_site=(("site1", 40, 40),)), "give crop_mm or crop_shape too"),
        (
            lambda: PreprocessSettings(crop_mm=(40, 40), crop_by_site=(("site1", 40),)),
            "crop_by_site is .*site, rows, columns",
        ),
        (lambda: PreprocessSettings(crop_mm=(40, 40), crop_by_site=(("", 40, 40),)), "give the site's name first"),
        (lambda: NetworkSettings(filters=(4,)), "filters is .*2 to 8"),
        (lambda: NetworkSettings(strides=((2, 2), (2,))), "strides is .*two or three"),
        (lambda: VolumeSettings(orientation="RRI"), "orientation is 'RRI'; give three letters, one of R and L"),
        (lambda: Settings(spatial_dims=3, preprocess=PreprocessSettings(neighbours=1)), "neighbours is 1 and spat"),
        (lambda: LossSettings(overlap_weight=0, pixel_weight=0, overlap_until=2), "weight 0"),
        (lambda: LossSettings(late_pixel_weight=0), "fade out"),
        (lambda: settings_from_dict({"epochs": 3, "wings": 2}), "does not know the setting wings"),
        (lambda: settings_from_dict({"network": {"filters": 3}}), "filters is 3; give 2 to 8"),
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
