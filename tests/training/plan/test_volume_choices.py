"""All that volumes are learnt with: time, memory, validation, and plans that a training takes as they are."""

import math
from dataclasses import replace

import pytest
import torch
from discs import STRUCTURES, make_case, make_pair

from autoseg.data.cases import CaseFolder
from autoseg.errors import DataError
from autoseg.model.dataset import build_samples
from autoseg.model.device import Computer
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import AugmentationSettings, PreprocessSettings
from autoseg.training.plan import plan_comparison, plan_settings, survey_cases
from autoseg.training.plan.resources import Room
from autoseg.training.plan.volume_choices import (
    choose_validation,
    choose_volume_batch,
    measure_volumes,
    voxel_room,
    voxels_in_time,
)

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Give a function that makes a folder of made-up volumes."""

    def make(count=6, **arguments):
        usual = {"slices": 24, "size": (40, 48), "spacing": (1.5, 1.5, 1.5)}
        monkeypatch.setattr(
            "autoseg.training.plan.survey.read_case",
            lambda case, _: make_pair(int(case.case_id.removeprefix("case")), **{**usual, **arguments}),
        )
        return CaseFolder(tmp_path, tuple(make_case(number) for number in range(count)), STRUCTURES)

    return make


def named(plan):
    return {choice.name: choice for choice in plan.choices}


# --- the whole plan


def test_a_plan_of_volumes_can_be_learnt_by_as_it_is(folder):
    cases = folder()
    plan = plan_settings(cases, computer=LAPTOP)
    settings = plan.settings
    assert settings.spatial_dims == 3
    assert settings.volume.spacing_mm == (1.5, 1.5, 1.5)
    assert settings.volume.patch_size == (48, 40, 24)
    assert settings.preprocess == PreprocessSettings()
    assert settings.augmentation.rotation_deg <= 20
    assert settings.oversampling == 0
    assert all(choice.reason.endswith(".") for choice in plan.choices)
    pairs = [make_pair(n, slices=24, size=(40, 48), spacing=(1.5, 1.5, 1.5)) for n in range(2)]
    network = build_network(settings.network, in_channels=1, out_channels=3, spatial_dims=3)
    samples = build_samples(pairs, settings, network)
    assert samples.seen_size == settings.volume.patch_size  # nothing had to be rounded
    with torch.no_grad():
        answer = network(samples.sample(torch.arange(2)).images)
    assert answer.shape == (2, 3, 48, 40, 24)


def test_a_person_can_ask_for_slices_and_for_volumes(folder):
    cases = folder()
    sliced = plan_settings(cases, computer=LAPTOP, spatial_dims=2)
    assert sliced.settings.spatial_dims == 2
    assert sliced.settings.preprocess.neighbours == 1
    assert named(sliced)["spatial_dims"].reason.startswith("As you chose. By the plan: Volumes (3-D)")
    thick = folder(spacing=(8.0, 1.5, 1.5), slices=8)
    assert plan_settings(thick, computer=LAPTOP).settings.spatial_dims == 2
    asked = plan_settings(thick, computer=LAPTOP, spatial_dims=3)
    assert asked.settings.volume.spacing_mm == (1.5, 1.5, 8.0)
    assert named(asked)["spatial_dims"].reason.endswith("an image has typically 8 slices, fewer than 16.")
    with pytest.raises(DataError, match="single slice"):
        plan_settings(folder(slices=1), computer=LAPTOP, spatial_dims=3)


def test_more_time_gives_finer_voxels_and_more_views(folder):
    cases = folder(size=(96, 96), slices=64)
    found = [plan_settings(cases, minutes=minutes, computer=LAPTOP).settings for minutes in (0.2, 2, 60)]
    finest = [settings.volume.spacing_mm[0] for settings in found]
    voxels = [math.prod(settings.volume.patch_size) for settings in found]
    assert finest == sorted(finest, reverse=True)
    assert finest[0] > finest[-1] == 1.5
    views = [voxels_in_time(s, LAPTOP) / n for s, n in zip(found, voxels, strict=True)]
    assert views == sorted(views)
    assert views[-1] > 3 * views[0]


def test_epochs_are_kept_and_little_time_means_slices(folder):
    plan = plan_settings(folder(), epochs=30, computer=LAPTOP)
    assert (plan.settings.epochs, plan.settings.minutes, plan.settings.spatial_dims) == (30, None, 3)
    assert plan_settings(folder(), minutes=0.01, computer=LAPTOP).settings.spatial_dims == 2


def test_parts_of_large_volumes_are_oversampled(folder):
    plan = plan_settings(folder(size=(200, 200), slices=120), minutes=1, computer=LAPTOP)
    assert plan.settings.spatial_dims == 3
    assert plan.settings.oversampling == 0.5
    size = math.prod(plan.settings.volume.patch_size)
    assert size < 200 * 200 * 120 / 2.5**3


def test_networks_side_by_side_are_planned_for_slices_and_for_volumes(folder):
    cases = folder()
    both = plan_comparison(cases, minutes=3, computer=LAPTOP, seed=4).settings
    sliced = plan_settings(cases, minutes=3, computer=LAPTOP, seed=4, spatial_dims=2).settings
    whole = plan_settings(cases, minutes=3, computer=LAPTOP, seed=4, spatial_dims=3).settings
    assert both.volume == whole.volume != sliced.volume
    assert replace(both, volume=sliced.volume) == sliced
    single = folder(slices=1)
    assert plan_comparison(single, computer=LAPTOP).settings == plan_settings(single, computer=LAPTOP).settings


# --- memory


def test_little_memory_means_fewer_and_smaller_patches(folder):
    cases = folder(size=(128, 128), slices=96)
    free = {gib: plan_settings(cases, minutes=60, computer=replace(LAPTOP, free_gib=gib)) for gib in (16, 1.5, 0.8)}
    patches = {gib: math.prod(plan.settings.volume.patch_size) for gib, plan in free.items()}
    assert patches[16] > patches[1.5] > patches[0.8] > 0
    survey = survey_cases(cases.cases, STRUCTURES)
    volumes = measure_volumes(survey, 6)
    room = [voxel_room(survey, volumes, replace(LAPTOP, free_gib=gib)).at_once for gib in (16, 8, 4)]
    assert room == sorted(room, reverse=True)
    assert voxel_room(survey, volumes, LAPTOP).at_once == math.inf
    on_gpu = replace(LAPTOP, free_gib=1.0, device="cuda", device_free_gib=40.0)
    assert voxel_room(survey, volumes, on_gpu).at_once > 5 * room[2]


def test_with_hardly_any_memory_there_is_still_a_plan(folder):
    plan = plan_settings(folder(), computer=replace(LAPTOP, free_gib=0.001), spatial_dims=3)
    assert plan.settings.batch_size == 1
    assert "0.0 GiB of memory that are free" in named(plan)["batch_size"].reason


# --- batch, time, validation


def test_a_batch_is_two_patches_if_memory_and_the_data_have_them():
    assert choose_volume_batch((40, 56, 40), 50, Room()).value == 2
    assert choose_volume_batch((40, 56, 40), 1, Room()).value == 1
    few = choose_volume_batch((40, 56, 40), 50, Room(1.25, 100_000))
    assert few.value == 1
    assert "1.2 GiB" in few.reason


def test_one_volume_is_told_of_as_such(folder):
    plan = plan_settings(folder(count=2), minutes=3, computer=replace(LAPTOP, pixels_per_second=1e6))
    assert named(plan)["minutes"].reason.startswith("By the speed measured here, the volume is seen about")
    assert (
        "By estimate, each of 5 volumes is seen"
        in named(plan_settings(folder(), computer=LAPTOP))["minutes"].reason
    )


@pytest.mark.parametrize(("patches", "validated"), [(100, 5), (60, 14), (10, 10), (1, 40)])
def test_validating_takes_a_twentieth_of_the_time_at_most(patches, validated):
    every = choose_validation(patches, validated).value
    part = validated / 3 / (every * patches)
    assert part <= 0.05 + 1e-9
    assert every == 1 or validated / 3 / ((every - 1) * patches) > 0.05


def test_volumes_are_varied_less_than_slices():
    volumes, slices = AugmentationSettings.volumes(), AugmentationSettings()
    assert volumes.rotation_deg <= 20 < slices.rotation_deg
    assert volumes.zoom[0] > slices.zoom[0]
    assert volumes.zoom[1] < slices.zoom[1]
