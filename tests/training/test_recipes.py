"""Recipes: complete settings, the data's own choices kept, and the published scale of the loss."""

from dataclasses import replace
from math import inf

import pytest
import torch

from autoseg.errors import SettingsError
from autoseg.model.networks import NETWORKS, build_network, learn
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
    settings_from_dict,
    settings_to_dict,
)
from autoseg.training.losses import outputs_loss
from autoseg.training.recipes import RECIPES, mean_dice_of, recipe

# As a plan has it: pixels, crop, turns, levels, batch, seed and time.
PLANNED = Settings(
    minutes=7,
    batch_size=16,
    seed=5,
    preprocess=PreprocessSettings(spacing_mm=1.5, crop_mm=(60, 80), neighbours=1),
    network=NetworkSettings(filters=(16, 32, 64, 128)),
    augmentation=AugmentationSettings(rotation_deg=20.0),
)


def test_every_network_has_a_recipe_of_its_name_and_three_are_published():
    own = [name for name, known in RECIPES.items() if not known.published]
    assert own == [*NETWORKS, "unet-3d"]
    assert [name for name, known in RECIPES.items() if known.of_volumes] == ["unet-3d"]
    assert [name for name, known in RECIPES.items() if known.published] == [
        "pyramid-published",
        "glioma-unet-published",
        "nnunet-like",
    ]
    assert all(recipe(name).network.name == name for name in NETWORKS)
    assert len({known.title for known in RECIPES.values()}) == len(RECIPES)
    assert all(known.words.endswith(".") for known in RECIPES.values())


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("base", [None, PLANNED, recipe("pyramid-published")])
def test_recipes_are_whole_settings_that_build_and_can_be_kept(name, base):
    settings = recipe(name, base=base)
    assert settings_from_dict(settings_to_dict(settings)) == settings
    dims = settings.spatial_dims
    assert dims == (3 if RECIPES[name].of_volumes else 2)
    network = build_network(settings.network, in_channels=1, out_channels=3, spatial_dims=dims)
    assert sum(parameter.numel() for parameter in network.parameters()) > 1e5


@pytest.mark.parametrize("name", RECIPES)
def test_time_is_the_callers_then_the_bases_then_the_published(name):
    assert recipe(name, epochs=3, base=PLANNED).epochs == 3
    assert recipe(name, epochs=3, base=PLANNED).minutes is None
    assert recipe(name, minutes=2.0).minutes == 2.0
    assert recipe(name, base=PLANNED).minutes == 7
    assert recipe(name).epochs == (RECIPES[name].epochs or Settings().epochs)
    assert recipe(name, base=PLANNED).seed == 5
    with pytest.raises(SettingsError, match="epochs is 3 and minutes is 2"):
        recipe(name, epochs=3, minutes=2)


@pytest.mark.parametrize("name", NETWORKS)
def test_our_own_recipes_keep_what_suits_the_data(name):
    settings = recipe(name, base=PLANNED)
    own = ("network", "learning_rate", "gradient_clip")
    assert replace(settings, **{item: getattr(PLANNED, item) for item in own}) == PLANNED
    # Numbers of channels mean levels in the two U-Nets only; the others have their own.
    assert settings.network.filters == (PLANNED.network.filters if name in ("unet", "resunet") else None)


def test_a_network_chosen_by_hand_stays_as_it_was_sized():
    base = replace(PLANNED, network=NetworkSettings(name="unext", filters=(8, 8, 16, 16, 16), dropout=0.1))
    assert recipe("unext", base=base).network == base.network
    assert recipe("unet", base=base).network == NetworkSettings(name="unet")


def test_the_pyramid_is_trained_as_published():
    settings = recipe("pyramid-published", base=PLANNED)
    assert settings.preprocess == PreprocessSettings(input_shape=(256, 256))
    assert settings.augmentation == AugmentationSettings.manual()
    assert (settings.batch_size, settings.optimizer, settings.learning_rate) == (5, "adam", 1e-4)
    assert (settings.schedule, settings.warmup_fraction, settings.weight_decay) == ("constant", 0.0, 0.0)
    assert (settings.average_decay, settings.gradient_clip, settings.precision) == (0.0, inf, "float32")
    assert (settings.network.name, settings.network.dropout, settings.network.filters) == ("pyramid", 0.3, None)
    assert recipe("pyramid-published").epochs == 500


def test_nnunets_training_is_taken_over_on_the_datas_own_grid():
    settings = recipe("nnunet-like", base=PLANNED)
    assert settings.preprocess == PLANNED.preprocess
    assert settings.batch_size == PLANNED.batch_size
    assert settings.augmentation.rotation_deg == 20.0
    assert (settings.optimizer, settings.momentum, settings.learning_rate) == ("sgd", 0.99, 1e-2)
    assert (settings.schedule, settings.weight_decay) == ("polynomial", 3e-5)
    assert settings.network.filters == (32, 64, 128, 256)
    assert settings.network.deep_supervision
    assert recipe("nnunet-like").network.filters == (32, 64, 128, 256, 512, 512)


def test_the_published_loss_runs_from_0_to_2_and_mean_dice_is_read_off_it():
    """Both stages' squared Dice, image by image and structure by structure, by hand."""
    torch.manual_seed(0)
    settings = recipe("pyramid-published")
    network = build_network(
        replace(settings.network, filters=(4, 8, 8, 8, 8)), in_channels=1, out_channels=3
    ).eval()
    images = torch.randn(2, 1, 32, 32)
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    labels[:, 4:20, 4:20], labels[:, 22:30, 10:28] = 1, 2
    drawn = torch.ones(2, 2, dtype=torch.bool)
    outputs = learn(network, images, labels, drawn)
    loss = float(outputs_loss(outputs, labels, drawn, settings.loss).total(settings.loss, progress=0.9).detach())
    dice = []
    for stage in (outputs.logits, *outputs.others):
        for image in range(2):
            for structure in (1, 2):
                p = stage[image].softmax(0)[structure].detach()
                t = (labels[image] == structure).float()
                dice.append((2 * float((p * t).sum()) + 1) / (float(p.square().sum() + t.square().sum()) + 1))
    assert len(dice) == 8
    assert loss == pytest.approx(2 - 2 * sum(dice) / 8, abs=1e-5)
    assert mean_dice_of(loss) == pytest.approx(sum(dice) / 8, abs=1e-5)
    assert [mean_dice_of(ends) for ends in (2.0, 0.0)] == [0.0, 1.0]


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(SettingsError, match=r"Did you mean unet\?"):
        recipe("UNet")
    with pytest.raises(SettingsError, match=r"no recipe 'vnet'.*unet.*pyramid-published"):
        recipe("vnet")


# --- volumes

VOLUMES = VolumeSettings(spacing_mm=(1.0, 1.0, 3.0), patch_size=(64, 64, 20))


def test_volumes_are_seen_as_the_base_planned_them_and_nothing_of_slices_is_kept():
    own = recipe("unet-3d", base=replace(PLANNED, volume=VOLUMES))
    assert (own.spatial_dims, own.volume, own.minutes, own.seed) == (3, VOLUMES, 7, 5)
    assert own.preprocess == PreprocessSettings()
    assert own.network.strides == ((2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    assert own.augmentation == AugmentationSettings.volumes()
    assert recipe("unet-3d", base=PLANNED).network.strides == ((2, 2, 2),) * 3
    # What is planned for volumes already stays.
    planned = replace(own, batch_size=3, network=NetworkSettings(filters=(8, 16), strides=((2, 2, 2),)))
    assert recipe("unet-3d", base=planned) == planned
    other = recipe("resunet", base=planned)
    assert (other.spatial_dims, other.network) == (3, replace(planned.network, name="resunet"))


@pytest.mark.parametrize("name", ["unext", "pyramid", "maskdino", "pyramid-published", "nnunet-like"])
def test_what_has_no_form_for_volumes_goes_back_to_slices(name):
    base = recipe("unet-3d", base=replace(PLANNED, volume=VOLUMES))
    settings = recipe(name, base=base)
    assert settings.spatial_dims == 2
    assert settings.augmentation.rotation_deg <= 20
    build_network(settings.network, in_channels=1, out_channels=3)
