"""Mask DINO: sizes, what reaches its weights, what it must not see, and that it learns."""

import pytest
import torch
from torch import nn

from autoseg.errors import SettingsError
from autoseg.model.networks import build_network, learn, stride_of
from autoseg.model.networks.maskdino.decoder import Answers
from autoseg.model.networks.maskdino.network import merged_logits
from autoseg.model.settings.settings import NetworkSettings

SMALL = NetworkSettings(name="maskdino", filters=(8, 16, 32, 32, 32, 32))


def discs(size=32, count=4, seed=0):
    """Give images (count, 1, size, size) of a disc in a ring on noise, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    images = torch.randn(count, 1, size, size, generator=generator) * 0.2
    labels = torch.zeros(count, size, size, dtype=torch.int64)
    for index in range(count):
        row, column = (torch.rand(2, generator=generator) * 0.3 + 0.35) * size
        distance = torch.hypot(rows - row, columns - column)
        labels[index][distance < 0.3 * size] = 2
        labels[index][distance < 0.17 * size] = 1
    images[:, 0] += (labels == 1) * 1.0 + (labels == 2) * 0.5
    return images, labels


def small(structures=2, seed=0):
    torch.manual_seed(seed)
    return build_network(SMALL, in_channels=1, out_channels=structures + 1)


@pytest.mark.parametrize(
    ("channels", "classes", "rows", "columns"), [(1, 3, 32, 32), (3, 2, 64, 32), (2, 9, 32, 96)]
)
def test_logits_have_the_images_size(channels, classes, rows, columns):
    network = build_network(NetworkSettings(name="maskdino"), in_channels=channels, out_channels=classes).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, channels, rows, columns))
    assert logits.shape == (2, classes, rows, columns)
    assert logits.dtype == torch.float32
    assert network.stride == stride_of(NetworkSettings(name="maskdino")) == 32


def test_the_standard_size():
    network = build_network(NetworkSettings(name="maskdino"), in_channels=1, out_channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_183_702
    larger = NetworkSettings(name="maskdino", filters=(32, 64, 128, 256, 512, 512, 256))
    assert sum(p.numel() for p in build_network(larger, in_channels=1, out_channels=3).parameters()) > 15e6


@pytest.mark.parametrize("filters", [(8, 16, 32), (8, 16, 32, 30)])
def test_filters_that_cannot_work_are_refused_with_an_example(filters):
    with pytest.raises(SettingsError, match=r"width of its transformer, a multiple of 8, such as"):
        build_network(NetworkSettings(name="maskdino", filters=filters), in_channels=1, out_channels=2)


def test_every_weight_learns():
    network, (images, labels) = small(), discs()
    answer = learn(network, images, labels, torch.ones(4, 2, dtype=torch.bool))
    assert answer.logits.shape == (4, 3, 32, 32)
    (nn.functional.cross_entropy(answer.logits, labels) + answer.own_loss).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_what_it_answers_is_the_same_while_it_learns():
    network, (images, labels) = small(), discs()
    answer = learn(network, images, labels, torch.ones(4, 2, dtype=torch.bool))
    torch.testing.assert_close(answer.logits.softmax(1), network(images).softmax(1), atol=1e-5, rtol=1e-5)


def test_noised_queries_do_not_show_the_answer_to_the_others():
    network, (images, labels) = small(), discs()
    drawn = torch.ones(4, 2, dtype=torch.bool)
    torch.manual_seed(1)
    one = learn(network, images, labels, drawn)
    torch.manual_seed(2)
    other = learn(network, images, labels, drawn)
    elsewhere = learn(network, images, labels.flip(1), drawn)
    assert one.own_loss.item() != other.own_loss.item()
    torch.testing.assert_close(one.logits, other.logits, atol=0, rtol=0)
    torch.testing.assert_close(one.logits, elsewhere.logits, atol=0, rtol=0)


def test_a_structure_that_was_not_drawn_changes_nothing():
    network, (images, labels) = small(), discs()
    drawn = torch.tensor([[True, False]]).expand(4, 2)
    losses = []
    for given in (labels, labels.masked_fill(labels == 2, 0)):
        torch.manual_seed(1)
        losses.append(learn(network, images, given, drawn).own_loss.item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("drawn", [True, False])
def test_images_without_a_structure(drawn):
    network, (images, labels) = small(), discs()
    answer = learn(network, images, torch.zeros_like(labels), torch.full((4, 2), drawn))
    answer.own_loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert answer.own_loss.item() > 0 if drawn else answer.own_loss.item() == 0


def test_more_structures_than_usual_queries():
    network, (images, _) = small(structures=40), discs()
    labels = torch.arange(1024).reshape(1, 32, 32).expand(4, 32, 32) // 25
    answer = learn(network, images, labels, torch.ones(4, 40, dtype=torch.bool))
    assert answer.logits.shape == (4, 41, 32, 32)
    assert torch.isfinite(answer.own_loss)


def test_images_that_are_no_numbers_give_a_loss_that_is_none():
    network, (images, labels) = small(), discs()
    answer = learn(network, images * torch.nan, labels, torch.ones(4, 2, dtype=torch.bool))
    assert not torch.isfinite(answer.own_loss)


def test_in_bfloat16_it_says_nearly_the_same():
    network, (images, labels) = small(), discs()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = learn(network, images, labels, torch.ones(4, 2, dtype=torch.bool))
    with torch.no_grad():
        exact = network(images)
    assert rounded.logits.dtype == rounded.own_loss.dtype == torch.float32
    assert float((rounded.logits.softmax(1) - exact.softmax(1)).abs().mean()) < 0.02


def test_merged_shares_are_sums_over_queries():
    # Two queries of the first structure at 0.9 and 0.5, one of the second at 0.8; pixels in the first's mask, in
    # the first two, in the third, in none.
    likely = torch.tensor([[0.9, 0.0], [0.5, 0.0], [0.0, 0.8]]).logit(eps=1e-6)
    pixels = torch.tensor([[20.0, -20, -20], [20, 20, -20], [-20, -20, 20], [-20, -20, -20]]).T.reshape(1, 3, 2, 2)
    merged = merged_logits(Answers(likely[None], torch.zeros(1, 3, 4), torch.eye(3)[None]), pixels).softmax(1)
    expected = torch.tensor([[0.1, 0.9, 0.0], [0.0, 1.0, 0.0], [0.2, 0.0, 0.8], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(merged[0].flatten(1).T, expected, atol=1e-3, rtol=0)


def test_merged_logits_have_a_slope_where_a_structure_is_all_but_ruled_out():
    masks = torch.full((1, 1, 1), -8.0, requires_grad=True)
    logits = merged_logits(Answers(torch.zeros(1, 1, 1), torch.zeros(1, 1, 4), masks), torch.ones(1, 1, 1, 1))
    nn.functional.cross_entropy(logits, torch.ones(1, 1, 1, dtype=torch.int64)).backward()
    assert masks.grad.item() < -0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_says_the_same():
    network, (images, labels) = small(), discs()
    drawn = torch.ones(4, 2, dtype=torch.bool)
    with torch.no_grad():
        on_processor = network(images)
        network.cuda()
        answer = learn(network, images.cuda(), labels.cuda(), drawn.cuda())
    torch.testing.assert_close(answer.logits.cpu(), on_processor, atol=1e-2, rtol=1e-2)
    assert torch.isfinite(answer.own_loss)
