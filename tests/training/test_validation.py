"""Validation finds what prediction finds, and counts pixels as by hand and by scipy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair, quick_settings
from scipy import ndimage
from torch.nn import functional

from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.model.centreline import from_labels
from autoseg.model.dataset import build_samples, build_slices, fix_patch, plan_samples
from autoseg.model.model import TrainedModel
from autoseg.model.networks import Outputs, build_network
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, VolumeSettings
from autoseg.prediction import predict
from autoseg.training.losses import reference_of_size, segmentation_loss
from autoseg.training.validation import (
    build_validation,
    class_members,
    count_pixels,
    erode,
    evaluate_slices,
    ratios,
    sample_of,
    share_of,
)

CPU = torch.device("cpu")


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


def own_grid(**changes):
    """Settings with which the network's grid is the images' own."""
    return quick_settings(preprocess=PreprocessSettings(spacing_mm=1.5), **changes)


def score(network, pairs, settings, structures=STRUCTURES):
    validation = build_validation(pairs, settings, network, device=CPU)
    return evaluate_slices(network, validation, settings, structures=structures)


def reference_classes(pair):
    slices = build_slices([pair], own_grid().preprocess, stride=4)
    return slices.sample(torch.arange(len(slices))).labels


def test_a_perfect_answer_has_dice_and_iou_1():
    pair = make_pair(1)
    scores = score(Answer(reference_classes(pair), 3), [pair], own_grid())
    assert scores.dice == scores.iou == (1, 1)
    assert scores.mean_dice == scores.mean_iou == 1
    assert scores.erosion_iou == ()


@pytest.mark.parametrize("tiled", [False, True])
def test_the_loss_is_of_all_answers_but_not_of_what_is_a_networks_own(tiled):
    preprocess = PreprocessSettings(3.0, crop_mm=(72.0, 72.0)) if tiled else quick_settings().preprocess
    settings = quick_settings(preprocess=preprocess)
    slices = build_slices([make_pair(1)], preprocess, stride=4)
    assert (slices.tile is not None) == tiled
    batch = slices.sample(torch.arange(len(slices)))
    network = Twice()

    def loss(logits):
        reference = reference_of_size(batch.labels, logits.shape[2:], 3)
        return float(segmentation_loss(logits, reference, batch.drawn, settings.loss).total(settings.loss))

    full = network(batch.images)
    expected = loss(full) if tiled else loss(full) + 0.5 * loss(functional.avg_pool2d(full, 2))
    assert score(network, [make_pair(1)], settings).loss == pytest.approx(expected, rel=1e-5)


def test_a_structure_that_includes_another_is_scored_with_it():
    pair = make_pair(1)
    reference = reference_classes(pair)
    ring_everywhere = torch.where(reference > 0, 2, 0)
    network = Answer(ring_everywhere, 3)
    apart = score(network, [pair], own_grid())
    assert apart.dice[0] == 0
    assert apart.dice[1] < 0.9
    nested = (STRUCTURES[0], Structure(5, "ring and core", includes=(1,)))
    pair = pair[0], LabelMap(pair[1].voxels, pair[1].affine, nested, source=pair[1].source)
    assert score(network, [pair], own_grid(), nested).dice == (0, 1)


def test_a_structure_that_was_not_drawn_is_not_counted():
    pair = make_pair(1, annotated=frozenset({1}))
    scores = score(Answer(torch.ones_like(reference_classes(pair)), 3), [pair], own_grid())
    assert scores.dice[1] is scores.iou[1] is None
    assert scores.mean_iou == scores.iou[0] == pytest.approx(scores.dice[0] / (2 - scores.dice[0]))


def test_erosions_bring_back_what_was_drawn_too_large():
    pair = make_pair(1)
    reference = reference_classes(pair).numpy()
    core = reference == 1
    plane = ndimage.generate_binary_structure(2, 1)[None]
    larger = torch.from_numpy(ndimage.binary_dilation(core, plane, iterations=2).astype(np.int64))
    scores = score(Answer(larger, 3), [pair], own_grid(watch_erosion=True))
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
    # One pixel found where nobody drew any is no score of 0, which would choose the epoch.
    assert ratios(torch.tensor([[0], [0], [1]])) == ((None,), (None,))


def test_members():
    structures = (Structure(4, "inner"), Structure(9, "outer", includes=(4,)))
    assert class_members(structures, 2).tolist() == [[False, True, False], [False, True, True]]
    assert class_members((), 1).tolist() == [[False, True]]


# --- what is told while learning is what a prediction would give


def resized(number, size):
    return make_pair(number, size=size, slices=3)


def site_pair(number):
    """A case of site1, which shows a part of the anatomy only."""
    image, label_map = make_pair(number, size=(48, 48), slices=3)
    source = replace(image.source, case_id=f"site1-{number}", subject_id=f"site1-{number}")
    return replace(image, source=source), replace(label_map, source=source)


def untrained(pairs, settings, lines=None):
    """Give a model with random weights, whose answers lie so far apart that they are no matter of rounding."""
    settings = plan_samples(settings, [image for image, _ in pairs])
    channels = network_channels(1, settings.preprocess.neighbours)
    torch.manual_seed(5)
    network = build_network(
        settings.network, in_channels=channels, out_channels=3, spatial_dims=settings.spatial_dims
    )
    settings = fix_patch(settings, build_samples(pairs, settings, network, centrelines=lines))
    weights = {name: 3 * value for name, value in network.state_dict().items()}
    return TrainedModel("any", settings, STRUCTURES, ("image",), weights)


def dice_of_predictions(model, pairs, lines):
    """Predict each image, and give the Dice of each structure by numpy on the images' own grids."""
    found = [predict(model, image, centreline=lines.get(image.source.case_id)) for image, _ in pairs]
    dice = []
    for structure in STRUCTURES:
        ours = [one.mask(structure.label) for one in found]
        theirs = [label_map.mask(structure.label) for _, label_map in pairs]
        both = sum((a & b).sum() for a, b in zip(ours, theirs, strict=True))
        dice.append(2 * both / (sum(a.sum() for a in ours) + sum(b.sum() for b in theirs)))
    return dice


@pytest.mark.parametrize(
    ("preprocess", "pairs"),
    [
        (PreprocessSettings(3.0), [resized(1, (64, 64)), resized(2, (63, 51)), resized(3, (63, 51))]),
        (PreprocessSettings(input_shape=(48, 40)), [resized(1, (64, 64)), resized(2, (96, 80))]),
        (PreprocessSettings(3.0, neighbours=1), [resized(1, (64, 64)), resized(2, (64, 64))]),
        (PreprocessSettings(1.5, crop_mm=(48.0, 48.0)), [resized(1, (64, 64)), resized(2, (90, 81))]),
        (PreprocessSettings(1.5, crop_mm=(48.0, 48.0), find_region="whole"), [resized(1, (64, 64))]),
        (
            PreprocessSettings(1.5, crop_mm=(60.0, 60.0), crop_by_site=(("site1", 54.0, 50.0),)),
            [site_pair(1), resized(2, (64, 64)), site_pair(3)],
        ),
    ],
    ids=["sizes", "shape", "neighbours", "crop", "whole", "site"],
)
@pytest.mark.filterwarnings("ignore::autoseg.errors.AreaWarning")
def test_slices_are_scored_as_they_are_predicted(preprocess, pairs):
    model = untrained(pairs, quick_settings(preprocess=preprocess))
    scores = score(model.build(), pairs, model.settings)
    expected = dice_of_predictions(model, pairs, {})
    assert scores.dice == pytest.approx(expected, abs=2e-4)
    assert min(expected) > 0.02


@pytest.mark.parametrize(
    "volume",
    [
        VolumeSettings(spacing_mm=(3.0, 3.0, 4.0)),
        VolumeSettings(spacing_mm=(3.0, 3.0, 4.0), patch_size=(16, 16, 8)),
        VolumeSettings(spacing_mm=(3.0, 3.0, 4.0), patch_size=(12, 12, 12), crop_mm=(45.0, 36.0)),
    ],
    ids=["whole", "windows", "crop"],
)
def test_volumes_are_scored_as_they_are_predicted(volume):
    pairs = [make_pair(n, slices=12, spacing=(4.0, 1.5, 1.5)) for n in (1, 2)]
    lines = {image.source.case_id: from_labels(label_map) for image, label_map in pairs if volume.crop_mm}
    settings = quick_settings(spatial_dims=3, volume=volume, network=NetworkSettings(filters=(4, 8)))
    model = untrained(pairs, replace(settings, preprocess=PreprocessSettings()), lines)
    network = model.build()
    validation = build_validation(pairs, model.settings, network, device=CPU, centrelines=lines)
    scores = evaluate_slices(network, validation, model.settings, structures=STRUCTURES)
    expected = dice_of_predictions(model, pairs, lines)
    assert scores.dice == pytest.approx(expected, abs=2e-4)
    assert min(expected) > 0.02


def of_patients(*numbers):
    """Three cases of patient 0, one of each other; of two sizes."""
    pairs = []
    for number in numbers:
        image, labels = make_pair(number, slices=2, size=(64, 72) if number % 2 else (64, 64))
        source = replace(image.source, subject_id="one" if number < 3 else image.source.subject_id)
        pairs.append((replace(image, source=source), replace(labels, source=source)))
    return pairs


@pytest.mark.parametrize("kind", ["slices", "crops", "volumes"])
def test_a_sample_is_of_whole_cases_of_many_patients_and_scored_like_these_alone(kind):
    crops = PreprocessSettings(3.0, crop_mm=(72.0, 72.0))
    settings = quick_settings(
        preprocess=crops if kind == "crops" else PreprocessSettings(3.0),
        spatial_dims=3 if kind == "volumes" else 2,
        volume=VolumeSettings(spacing_mm=(3.0, 3.0, 8.0), patch_size=(16, 16, 4)),
        network=NetworkSettings(filters=(4, 8)),
    )
    torch.manual_seed(0)
    network = build_network(settings.network, in_channels=1, out_channels=3, spatial_dims=settings.spatial_dims)
    pairs = of_patients(0, 1, 2, 3, 4)
    validation = build_validation(pairs, settings, network, device=CPU)
    sample = sample_of(validation, 5, seed=3)
    assert share_of(validation, sample) == (6, 10)
    again = sample_of(validation, 5, seed=3)
    assert all(torch.equal(one, other) for one, other in zip(sample, again, strict=True))
    kinds = [pairs] if kind == "volumes" else [[p for p in pairs if p[0].shape[2] == n] for n in (64, 72)]
    alone = [
        pair
        for images, own, some in zip(validation, sample, kinds, strict=True)
        for stack, pair in zip(images.stacks, some, strict=True)
        if stack.first in own.tolist()
    ]
    assert sorted(image.source.subject_id for image, _ in alone) == ["one", "subject3", "subject4"]
    some = evaluate_slices(network, validation, settings, structures=STRUCTURES, sample=sample)
    own = evaluate_slices(
        network, build_validation(alone, settings, network, device=CPU), settings, structures=STRUCTURES
    )
    assert some.dice == own.dice
    assert some.loss == pytest.approx(own.loss, rel=1e-5)
    every = evaluate_slices(network, validation, settings, structures=STRUCTURES)
    assert every.dice != some.dice
    assert share_of(validation, sample_of(validation, 10, seed=3)) == (10, 10)
