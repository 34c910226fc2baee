"""Depth, width, batch and memory: what is chosen for short times, small memories and large ones."""

import math
from dataclasses import replace

import pytest
import torch
from discs import STRUCTURES, make_case, make_pair

from autoseg.data.cases import CaseFolder
from autoseg.model.device import Computer, in_layout, with_layout
from autoseg.model.networks import build_network, standardised
from autoseg.model.settings.settings import NetworkSettings
from autoseg.training.plan import plan_settings, survey_cases
from autoseg.training.plan.network import FEATURE_BYTES, Room, choose_batch, choose_width, find_room

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")
USUAL = standardised(NetworkSettings()).filters


def folder(tmp_path, count=6):
    return CaseFolder(tmp_path, tuple(make_case(number) for number in range(count)), STRUCTURES)


@pytest.fixture
def discs(monkeypatch):
    """Give a function that lets made-up pairs be read."""

    def install(**arguments):
        monkeypatch.setattr(
            "autoseg.training.plan.survey.read_case",
            lambda case, _: make_pair(int(case.case_id.removeprefix("case")), **arguments),
        )

    return install


def named(plan):
    return {choice.name: choice for choice in plan.choices}


# --- width


def test_a_network_of_half_the_width_where_slices_are_hardly_seen():
    network = NetworkSettings(filters=USUAL)
    choice, faster = choose_width(network, 1500.0, 1000, (128, 96))
    assert choice.value == tuple(n // 2 for n in USUAL)
    assert faster == 2
    assert "each slice only 1.5 times" in choice.reason
    assert "become 4 × 3" in choice.reason


@pytest.mark.parametrize(("views", "slices"), [(3000.0, 1000), (20_000.0, 15_000), (None, 10**6)])
def test_the_usual_width_where_there_is_time_or_epochs_are_given(views, slices):
    choice, faster = choose_width(NetworkSettings(filters=USUAL), views, slices, (128, 128))
    assert (choice.value, faster) == (USUAL, 1)
    assert "As wide as usual" in choice.reason


def test_the_time_is_told_for_the_width_that_was_chosen(discs, tmp_path):
    discs(slices=40, size=(32, 32))
    plan = plan_settings(folder(tmp_path), minutes=0.01, computer=LAPTOP)
    assert plan.settings.network.filters[0] == USUAL[0] // 2
    assert "seen about 3 times" in named(plan)["minutes"].reason
    only = float(named(plan)["network.filters"].reason.partition("only ")[2].partition(" times")[0])
    assert 1.25 <= only <= 1.75


# --- memory


def test_learning_keeps_less_than_is_counted():
    """What autograd really keeps of a batch, counted as it is saved."""
    for precision, kept in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        network = with_layout(build_network(NetworkSettings(), in_channels=1, out_channels=3), torch.device("cpu"))
        own = {parameter.data_ptr() for parameter in network.parameters()}
        sizes: dict[int, int] = {}

        def keep(tensor, own=own, sizes=sizes):
            if tensor.data_ptr() not in own:
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=kept == torch.bfloat16),
        ):
            network(in_layout(torch.randn(8, 1, 96, 96)))
        features = sum(n / 4**level for level, n in enumerate(USUAL))
        per_feature = sum(sizes.values()) / (8 * 96 * 96 * features)
        assert FEATURE_BYTES[precision] / 3 < per_feature < FEATURE_BYTES[precision] / 1.6


def test_little_memory_means_fewer_at_once_and_then_coarser_pixels(discs, tmp_path):
    discs(size=(256, 256), spacing=(8, 1.0, 1.0), slices=2)
    usual = plan_settings(folder(tmp_path), minutes=600, computer=LAPTOP)
    assert (usual.settings.preprocess.spacing_mm, usual.settings.batch_size) == (1.0, 8)
    found = {}
    for free in (16.0, 1.2, 0.65):
        plan = plan_settings(folder(tmp_path), minutes=600, computer=replace(LAPTOP, free_gib=free))
        found[free] = plan.settings.preprocess.spacing_mm, plan.settings.batch_size, named(plan)
    assert found[16.0][:2] == (1.0, 8)
    assert found[1.2][0] == 1.0
    assert 2 <= found[1.2][1] < 8
    assert "1.2 GiB of memory that are free" in found[1.2][2]["batch_size"].reason
    assert found[0.65][0] > 1.2
    assert found[0.65][1] == 2
    assert "more memory than is free" in found[0.65][2]["preprocess.spacing_mm"].reason


def test_with_hardly_any_memory_there_is_still_a_plan_that_can_be_built(discs, tmp_path):
    discs(size=(256, 256), spacing=(8, 4.0, 4.0))
    plan = plan_settings(folder(tmp_path), computer=replace(LAPTOP, free_gib=0.001))
    assert plan.settings.batch_size == 1
    assert plan.settings.preprocess.spacing_mm <= 20


def test_the_room_is_that_of_the_device_that_learns(discs):
    discs()
    survey = survey_cases([make_case(0), make_case(1)], STRUCTURES)
    computer = replace(LAPTOP, free_gib=2.0, device_free_gib=40.0)
    assert find_room(survey, LAPTOP).pixels == math.inf
    assert find_room(survey, computer).gib == 2.0
    on_gpu = find_room(survey, replace(computer, device="cuda"))
    assert on_gpu.gib == 40.0
    assert on_gpu.pixels > 20 * find_room(survey, computer).pixels
    assert find_room(survey, replace(computer, precision="float32")).pixels < find_room(survey, computer).pixels


# --- batch


def test_a_gpu_with_memory_sees_more_at_once():
    gpu = replace(LAPTOP, device="cuda", device_free_gib=20.0)
    much, little = Room(20.0, 1e7), Room(2.0, 12 * 192**2)
    assert choose_batch((192, 192), 400, gpu, much).value == 32
    assert "20.0 GiB of its memory" in choose_batch((192, 192), 400, gpu, much).reason
    assert choose_batch((320, 320), 400, gpu, much).value == 16
    assert choose_batch((192, 192), 400, gpu, little).value == 8
    assert choose_batch((192, 192), 70, gpu, much).value == 16  # an epoch has a few steps still
    assert choose_batch((192, 192), 20, gpu, much).value == 8
    assert choose_batch((192, 192), 400, LAPTOP, much).value == 8
    assert choose_batch((192, 192), 400, gpu, Room()).value == 8  # nothing is known of its memory
