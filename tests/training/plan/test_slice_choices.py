"""Depth, width, batch and memory: what is chosen for short times, small memories and large ones."""

import math
from dataclasses import replace

import pytest
from discs import STRUCTURES, make_case, make_pair

from autoseg.data.cases import CaseFolder
from autoseg.model.device import Computer
from autoseg.model.networks import standardised
from autoseg.model.settings.settings import NetworkSettings
from autoseg.training.plan import plan_settings, survey_cases
from autoseg.training.plan.resources import Room
from autoseg.training.plan.slice_choices import choose_batch, choose_neighbours, choose_width, slice_room

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
    plan = plan_settings(folder(tmp_path), minutes=0.01, computer=LAPTOP, typed=("network.name",))
    assert plan.settings.network.filters[0] == USUAL[0] // 2
    assert "seen about 3 times" in named(plan)["minutes"].reason
    only = float(named(plan)["network.filters"].reason.partition("only ")[2].partition(" times")[0])
    assert 1.25 <= only <= 1.75


# --- memory


def test_little_memory_means_fewer_at_once_and_then_coarser_pixels(discs, tmp_path):
    discs(size=(256, 256), spacing=(8, 1.0, 1.0), slices=2)
    usual = plan_settings(folder(tmp_path), minutes=600, computer=LAPTOP)
    assert (usual.settings.preprocess.spacing_mm, usual.settings.batch_size) == (1.0, 8)
    found = {}
    for free in (16.0, 1.4, 1.0, 0.8):
        plan = plan_settings(folder(tmp_path), minutes=600, computer=replace(LAPTOP, free_gib=free))
        found[free] = plan.settings.preprocess.spacing_mm, plan.settings.batch_size, named(plan)
    assert found[16.0][:2] == (1.0, 8)
    assert found[1.4][0] == 1.0
    assert 2 <= found[1.4][1] < 8
    assert "1.4 GiB of memory that are free" in found[1.4][2]["batch_size"].reason
    for free in (1.0, 0.8):
        assert found[free][0] > 1.1
        assert found[free][1] == 2
    assert "more memory than is free" in found[0.8][2]["preprocess.spacing_mm"].reason


def test_with_hardly_any_memory_there_is_still_a_plan_that_can_be_built(discs, tmp_path):
    discs(size=(256, 256), spacing=(8, 4.0, 4.0))
    plan = plan_settings(folder(tmp_path), computer=replace(LAPTOP, free_gib=0.001))
    assert plan.settings.batch_size == 1
    assert plan.settings.preprocess.spacing_mm <= 20


def test_the_room_is_that_of_the_device_that_learns(discs):
    discs()
    survey = survey_cases([make_case(0), make_case(1)], STRUCTURES)
    computer = replace(LAPTOP, free_gib=2.0, device_free_gib=40.0)
    assert slice_room(survey, LAPTOP).at_once == math.inf
    assert slice_room(survey, computer).gib == 2.0
    on_gpu = slice_room(survey, replace(computer, device="cuda"))
    assert on_gpu.gib == 40.0
    assert on_gpu.at_once > 20 * slice_room(survey, computer).at_once
    assert slice_room(survey, replace(computer, precision="float32")).at_once < slice_room(survey, computer).at_once


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


# --- slices with or without their neighbours


@pytest.fixture
def choose(monkeypatch):
    """Give a function that chooses for made-up images."""

    def chosen(pixel, *, alter=lambda pair: pair, counts=(8, 8, 8), **arguments):
        monkeypatch.setattr(
            "autoseg.training.plan.survey.read_case",
            lambda case, _: alter(make_pair(0, slices=counts[int(case.case_id[-1])], **arguments)),
        )
        survey = survey_cases([make_case(number) for number in range(len(counts))], STRUCTURES)
        return choose_neighbours(survey, pixel)

    return chosen


def test_slices_that_lie_close_are_seen_with_their_neighbours(choose):
    choice = choose(1.5, spacing=(2.0, 1.5, 1.5))
    assert (choice.name, choice.value) == ("preprocess.neighbours", 1)
    assert "2 mm apart, 1.3 times the size of the network's pixels" in choice.reason
    assert "2.5-D" in choice.reason


@pytest.mark.parametrize(
    ("pixel", "arguments", "words"),
    [
        (1.5, {"spacing": (3.0, 1.5, 1.5)}, "3 mm apart, 2.0 times"),
        (1.5, {"spacing": (1.5, 1.5, 1.5), "counts": (1, 1)}, "all images are single slices"),
        (1.5, {"spacing": (1.5, 1.5, 1.5), "counts": (1, 1, 9)}, "a typical image has a single slice"),
        (1.5, {"spacing": (1.5, 1.5, 1.5), "counts": (3, 4, 3)}, "only 3 slices"),
        (30.0, {"spacing": (40.0, 1.5, 1.5)}, "further than the smallest structure is wide"),
    ],
)
def test_else_each_slice_is_seen_by_itself_and_why(choose, pixel, arguments, words):
    choice = choose(pixel, **arguments)
    assert choice.value == 0
    assert "2-D" in choice.reason
    assert words in choice.reason


def test_a_distance_that_nobody_knows_is_not_guessed(choose):
    def bare(pair):
        return tuple(replace(one, affine=None) for one in pair)

    def placeholder(pair):
        source = replace(pair[0].source, slice_spacing_source="none")
        return tuple(replace(one, source=source) for one in pair)

    for alter in (bare, placeholder):
        choice = choose(1.5, spacing=(1.5, 1.5, 1.5), alter=alter)
        assert choice.value == 0
        assert "not known" in choice.reason


def test_single_slices_among_volumes_are_mentioned(choose):
    choice = choose(1.5, spacing=(1.5, 1.5, 1.5), counts=(9, 9, 1))
    assert choice.value == 1
    assert "1 of 3 images is a single slice" in choice.reason
