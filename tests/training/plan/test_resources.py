"""How fast a computer learns, and what the plan says of the time and knows of the memory."""

from dataclasses import replace

import pytest
import torch

from autoseg.model.device import Computer, in_layout, with_layout
from autoseg.model.networks import build_network
from autoseg.model.networks.unet import STANDARD_FILTERS
from autoseg.model.settings.settings import NetworkSettings, Settings
from autoseg.training.plan.resources import FEATURE_BYTES, LEARNING_PART, find_room, learning_speed, tell_time
from autoseg.training.plan.slice_choices import wanted_pixels

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")


def test_the_table_knows_processors_and_gpus_until_the_speed_is_measured():
    assert learning_speed(LAPTOP) == pytest.approx(300_000 * 2**0.8)
    assert learning_speed(replace(LAPTOP, precision="float32", cores=1)) == 150_000
    gpu = replace(LAPTOP, device="cuda")
    assert learning_speed(gpu) == 50e6
    for computer in (LAPTOP, gpu):
        measured = replace(computer, pixels_per_second=1e6)
        assert learning_speed(measured) == pytest.approx(LEARNING_PART * 1e6)
    assert 0.5 < LEARNING_PART < 1


def test_pixels_follow_from_the_time():
    minutes, epochs = Settings(minutes=2.0), Settings(epochs=10)
    assert wanted_pixels(minutes, 1e6, 500) == 12_000
    assert wanted_pixels(epochs, 1e6, 500) == 720_000  # an hour at most


@pytest.mark.parametrize(
    ("speed", "words"),
    [
        (100.0, "each of about 100 slices is seen about 60 times."),
        (10.0, "is seen about 6 times. More time may help: about 17 minutes."),
        (1.7, "is seen about once. More"),
        (0.5, "is seen less than once. More"),
    ],
)
def test_the_time_in_words(speed, words):
    choice = tell_time(Settings(minutes=1.0), "each of about 100 slices", 100, speed, enough=10_000, measured=False)
    assert (choice.name, choice.value) == ("minutes", 1.0)
    assert choice.reason.startswith("By estimate, ")
    assert words in choice.reason


def test_epochs_in_words():
    choice = tell_time(Settings(epochs=30), "each slice", 200, 100.0, enough=10_000, measured=True)
    assert choice.reason == "As you chose; by the speed measured here about 1 minute."


def test_images_in_the_cache_leave_the_memory_to_learning():
    computer = replace(LAPTOP, free_gib=8.0)
    room = [find_room(computer, gib * 2**30, 100.0).at_once for gib in (0, 3.9, 4.1, 400)]
    assert room[0] == room[2] == room[3] > 2 * room[1]


def bytes_kept(filters, image, precision):
    """What autograd really keeps of a batch for each pixel and feature channel, counted as it is saved."""
    dims = image.dim() - 2
    settings = NetworkSettings(filters=filters)
    network = build_network(settings, in_channels=1, out_channels=3, spatial_dims=dims)
    network = with_layout(network, torch.device("cpu"))
    own = {parameter.data_ptr() for parameter in network.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        network(in_layout(image))
    return sum(sizes.values()) / (image[:, 0].numel() * sum(n / 2 ** (dims * k) for k, n in enumerate(filters)))


@pytest.mark.parametrize("precision", FEATURE_BYTES)
def test_learning_keeps_less_than_is_counted(precision):
    for filters, shape, least in (
        (STANDARD_FILTERS, (8, 1, 96, 96), 1.6),
        (STANDARD_FILTERS[:4], (1, 1, 32, 40, 32), 1.5),
    ):
        per_feature = bytes_kept(filters, torch.randn(shape), precision)
        assert FEATURE_BYTES[precision] / 3 < per_feature < FEATURE_BYTES[precision] / least
