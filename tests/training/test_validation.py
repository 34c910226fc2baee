"""Pixels counted on the network's grid, against counts by hand and by scipy."""

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair, quick_settings
from scipy import ndimage
from torch.nn import functional

from autoseg.image.structures import Structure
from autoseg.model.dataset import build_slices
from autoseg.model.networks import Outputs
from autoseg.model.settings.settings import PreprocessSettings
from autoseg.training.losses import reference_of_size, segmentation_loss
from autoseg.training.validation import class_members, count_pixels, erode, evaluate_slices, ratios


class Twice(torch.nn.Module):
    """A network that answers with two stages while it learns, and compares something of its own."""

    def forward(self, images):
        return torch.cat([images, -images, 0 * images], dim=1)

    def learn(self, images, labels, drawn):
        coarse = functional.avg_pool2d(self(images), 2)
        return Outputs(self(images), (coarse,), (1.0, 0.5), own_loss=torch.tensor(1000.0))


class Answer(torch.nn.Module):
    """A network that gives the classes it was made with, whatever it sees."""

    def __init__(self, classes, count):
        super().__init__()
        self.logits = torch.nn.functional.one_hot(classes, count).permute(0, 3, 1, 2).float()

    def forward(self, images):
        return self.logits[: len(images)]


def slices_of(annotated=None):
    settings = quick_settings().preprocess
    return build_slices([make_pair(1, annotated=annotated)], settings, stride=4)


def reference_classes(slices):
    return slices.sample(torch.arange(len(slices))).labels


def test_a_perfect_answer_has_dice_and_iou_1():
    slices = slices_of()
    scores = evaluate_slices(Answer(reference_classes(slices), 3), slices, quick_settings())
    assert scores.dice == scores.iou == (1, 1)
    assert scores.mean_dice == scores.mean_iou == 1
    assert scores.erosion_iou == ()


@pytest.mark.parametrize("tiled", [False, True])
def test_the_loss_is_of_all_answers_but_not_of_what_is_a_networks_own(tiled):
    settings = quick_settings()
    preprocess = PreprocessSettings(3.0, crop_mm=(72.0, 72.0)) if tiled else settings.preprocess
    slices = build_slices([make_pair(1)], preprocess, stride=4)
    assert (slices.tile is not None) == tiled
    batch = slices.sample(torch.arange(len(slices)))
    network = Twice()

    def loss(logits):
        reference = reference_of_size(batch.labels, logits.shape[2:], 3)
        return float(segmentation_loss(logits, reference, batch.drawn, settings.loss).total(settings.loss))

    full = network(batch.images)
    expected = loss(full) if tiled else loss(full) + 0.5 * loss(functional.avg_pool2d(full, 2))
    assert evaluate_slices(network, slices, settings).loss == pytest.approx(expected, rel=1e-5)


def test_a_structure_that_includes_another_is_scored_with_it():
    slices = slices_of()
    reference = reference_classes(slices)
    ring_everywhere = torch.where(reference > 0, 2, 0)
    network = Answer(ring_everywhere, 3)
    apart = evaluate_slices(network, slices, quick_settings(), structures=STRUCTURES)
    assert apart.dice[0] == 0
    assert apart.dice[1] < 0.9
    nested = (STRUCTURES[0], Structure(5, "ring and core", includes=(1,)))
    assert evaluate_slices(network, slices, quick_settings(), structures=nested).dice == (0, 1)


def test_a_structure_that_was_not_drawn_is_not_counted():
    slices = slices_of(annotated=frozenset({1}))
    scores = evaluate_slices(Answer(torch.ones_like(reference_classes(slices)), 3), slices, quick_settings())
    assert scores.dice[1] is scores.iou[1] is None
    assert scores.mean_iou == scores.iou[0] == pytest.approx(scores.dice[0] / (2 - scores.dice[0]))


def test_erosions_bring_back_what_was_drawn_too_large():
    slices = slices_of()
    reference = reference_classes(slices).numpy()
    core = reference == 1
    plane = ndimage.generate_binary_structure(2, 1)[None]
    larger = torch.from_numpy(ndimage.binary_dilation(core, plane, iterations=2).astype(np.int64))
    scores = evaluate_slices(Answer(larger, 3), slices, quick_settings(watch_erosion=True))
    found = [
        ndimage.binary_erosion(larger.numpy() > 0, plane, iterations=n, border_value=1) if n else larger.numpy() > 0
        for n in range(4)
    ]
    expected = [(core & one).sum() / (core | one).sum() for one in found]
    assert scores.erosion_iou[0] == pytest.approx(expected)
    assert int(np.argmax(expected)) == 2
    assert scores.erosion_iou[1] == (0, 0, 0, 0)
    assert scores.iou[0] == scores.erosion_iou[0][0]


def test_erosion_is_that_of_scipy():
    masks = torch.from_numpy(np.random.default_rng(0).random((2, 3, 20, 30)) < 0.8)
    plane = ndimage.generate_binary_structure(2, 1)[None, None]
    expected = ndimage.binary_erosion(masks.numpy(), plane, border_value=1)
    assert np.array_equal(erode(masks).numpy(), expected)


def test_counts_by_hand():
    reference = torch.tensor([[[[1, 1, 0]], [[1, 0, 0]]]], dtype=torch.bool)
    predicted = torch.tensor([[[[1, 0, 0]], [[1, 1, 1]]]], dtype=torch.bool)
    both = count_pixels(reference, predicted, torch.tensor([[True], [True]]))
    assert both.T.tolist() == [[2, 3, 4]]
    assert ratios(both) == ((4 / 7,), (2 / 5,))
    first = count_pixels(reference, predicted, torch.tensor([[True], [False]]))
    assert first.T.tolist() == [[1, 2, 1]]
    assert ratios(torch.zeros(3, 2)) == ((None, None), (None, None))


def test_members():
    structures = (Structure(4, "inner"), Structure(9, "outer", includes=(4,)))
    assert class_members(structures, 2).tolist() == [[False, True, False], [False, True, True]]
    assert class_members((), 1).tolist() == [[False, True]]
