"""Patches of volumes: every voxel is in one, labels lie on their image in every variation, sides are exchanged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.dataset import build_volumes
from autoseg.model.settings.settings import AugmentationSettings, Settings, VolumeSettings
from autoseg.training.batches import EpochOrder

STRUCTURES = (
    Structure(1, "left lobe", side="left"),
    Structure(2, "right lobe", side="right"),
    Structure(3, "stem"),
)
STILL = AugmentationSettings(
    rotation_probability=0,
    scaling_probability=0,
    zoom_probability=0,
    crop_probability=0,
    shift_probability=0,
    brightness_probability=0,
    contrast_probability=0,
    gamma_probability=0,
    noise_probability=0,
)


def _pair(shape, *, number=0, spacing=(1.0, 1.0, 1.0), labels=None, annotated=None, shares=None, voxels=None):
    rng = np.random.default_rng(number)
    source = Source(f"case{number}", f"subject{number}", spacing_source="header", slice_spacing_source="header")
    affine = affine_from_spacing(spacing)
    labels = rng.integers(0, 4, shape).astype(np.uint8) if labels is None else labels
    voxels = rng.normal(size=shape).astype(np.float32) if voxels is None else voxels
    label_map = LabelMap(labels, affine, STRUCTURES, annotated=annotated, source=source, shares=shares)
    return Image(voxels, affine, source=source), label_map


def _set(pairs, *, patch=None, strides=(1, 1, 1), **volume):
    # RAI-like: axial slices as they lie here, only their axes exchanged.
    settings = {"orientation": "RAI", "spacing_mm": pairs[0][0].spacing_mm[::-1], "patch_size": patch, **volume}
    return build_volumes(pairs, Settings(spatial_dims=3, volume=VolumeSettings(**settings)), strides=strides)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(20, 33, 17), (8, 8, 8), (5, 40, 9)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_patches_cover_every_voxel(shape, overlap):
    volumes = _set([_pair(shape), _pair((9, 21, 8), number=1)], patch=(8, 12, 8), overlap=overlap)
    seen = [np.zeros(volume.size, int) for volume in volumes.volumes]
    for number, *start in volumes.places.tolist():
        seen[number][tuple(slice(max(0, n), n + one) for n, one in zip(start, (8, 12, 8), strict=True))] += 1
    assert all((one > 0).all() for one in seen)
    assert len(volumes) == len(volumes.case_ids) == len(volumes.subject_ids) == len(volumes.holds)
    assert set(volumes.case_ids) == {"case0", "case1"}


def test_a_patch_is_that_part_of_the_image():
    volumes = _set([_pair((20, 24, 17))], patch=(8, 12, 8), overlap=0.2)
    volume, indices = volumes.volumes[0], torch.arange(len(volumes))
    batch = volumes.sample(indices)
    for k, (_, *start) in enumerate(volumes.places.tolist()):
        inner = tuple(slice(n, n + one) for n, one in zip(start, volumes.patch, strict=True))
        torch.testing.assert_close(batch.images[k], volume.image[(slice(None), *inner)], atol=1e-5, rtol=0)
        assert torch.equal(batch.labels[k], volume.labels[inner].long())
        assert bool(volumes.holds[k]) == bool(volume.labels[inner].any())


def test_a_small_volume_lies_in_the_middle_of_its_patch():
    volumes = _set([_pair((5, 8, 6))], patch=(12, 8, 8))
    assert len(volumes) == 1
    batch, volume = volumes.sample(torch.tensor([0])), volumes.volumes[0]
    around = ((3, 3), (0, 0), (2, 1))  # the longer side in front
    np.testing.assert_array_equal(batch.labels[0], np.pad(volume.labels, around))
    np.testing.assert_allclose(batch.images[0, 0], np.pad(volume.image[0], around, mode="edge"), atol=1e-6)
    assert volumes.sample(torch.tensor([0]), augmentation=STILL, generator=_generator()).labels.equal(batch.labels)


def _showing_places(volumes):
    """Give the set with, in place of intensities, every voxel's own place in three channels."""
    volume = volumes.volumes[0]
    places = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in volume.size), indexing="ij"))
    return replace(volumes, volumes=(replace(volume, image=places),))


def test_patches_move_by_half_a_step_at_most_and_stay_inside():
    volumes = _showing_places(_set([_pair((24, 24, 24))], patch=(8, 8, 8)))
    moves = []
    for seed in range(20):
        batch = volumes.sample(torch.arange(len(volumes)), augmentation=STILL, generator=_generator(seed))
        corners = batch.images[:, :, 0, 0, 0]
        assert float(corners.min()) > -1e-3
        assert float(batch.images.max()) < 23.001
        moves.append(corners - volumes.places[:, 1:])
    moved = torch.stack(moves).abs()
    assert 1.9 < float(moved.max()) <= 2 + 1e-4  # half of a step of 4


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.8, 1.1)])
def test_a_turned_patch_keeps_millimetres(spacing):
    """Turned on voxels of any shape, a patch is still rigid: distances in mm between its voxels stay."""
    turning = replace(STILL, rotation_probability=1.0, rotation_deg=180.0)
    volumes = _showing_places(_set([_pair((40, 60, 50), spacing=spacing)], patch=(9, 9, 9), overlap=0.0))
    middle = volumes.places[:, 1:].float().sub(torch.tensor([20.0, 26.0, 16.0])).abs().sum(1).argmin()
    batch = volumes.sample(middle.repeat(16), augmentation=turning, generator=_generator())
    mm = torch.tensor(spacing[::-1])
    seen = batch.images.movedim(1, -1)[:, 2:7, 2:7, 2:7] * mm  # their middles, away from the volume's edges
    own = torch.stack(torch.meshgrid(*(torch.arange(5.0) for _ in range(3)), indexing="ij"), -1) * mm
    seen, own = seen.flatten(1, 3), own.flatten(0, 2)
    for one in seen:
        torch.testing.assert_close(torch.cdist(one, one), torch.cdist(own, own), atol=0.05, rtol=0)
    assert float((seen - seen[0]).abs().max()) > 1  # and they were turned


def _spots(size=33):
    """Blobs of their own brightness and label, so that image and labels tell of each other everywhere."""
    labels = np.zeros((size,) * 3, np.uint8)
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    for number, middle in enumerate([(8, 9, 22), (22, 20, 9), (16, 24, 24)], start=1):
        labels[np.linalg.norm(grid - middle, axis=-1) < 6] = number
    return labels


def test_labels_lie_on_the_image_in_every_variation():
    labels = _spots()
    volumes = _set([_pair(labels.shape, labels=labels, voxels=100.0 * labels)], flips=(0.5, 0.5, 0.5))
    augmentation = AugmentationSettings(brightness_probability=0, contrast_probability=0, gamma_probability=0)
    batch = volumes.sample(torch.zeros(12, dtype=torch.long), augmentation=augmentation, generator=_generator())
    levels = volumes.volumes[0].image[0].unique()
    nearest = (batch.images[:, 0, ..., None] - levels).abs().argmin(-1)
    for image, label in zip(nearest, batch.labels, strict=True):
        # Mirrored copies exchange 1 and 2 (right and left), the others do not.
        swapped = torch.tensor([0, 2, 1, 3])[label]
        best = max(float((image == one).float().mean()) for one in (label, swapped))
        assert best > 0.93
    assert set(batch.labels.unique().tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    "flips", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0)]
)
def test_a_mirror_exchanges_the_sides_and_two_do_not(flips):
    """A body mirrored once has its left on the right; mirrored along two axes it is only turned."""
    labels = _spots()
    shares = np.stack([labels == k for k in (1, 2, 3)]).astype(np.float32)
    pair = _pair(labels.shape, labels=labels, annotated=frozenset({1, 3}), shares=None)
    soft = _pair(labels.shape, labels=labels, shares=shares)
    axes = [axis for axis, chance in enumerate(flips) if chance]
    exchanged = len(axes) % 2 == 1
    batch = _set([soft], flips=flips).sample(torch.tensor([0]), augmentation=STILL, generator=_generator())
    mirrored = np.flip(labels.transpose(2, 1, 0), axes)
    expected = np.array([0, 2, 1, 3])[mirrored] if exchanged else mirrored
    np.testing.assert_array_equal(batch.labels[0], expected)
    np.testing.assert_allclose(batch.targets[0].argmax(0), expected)
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(1, *labels.shape[::-1]), atol=2e-3, rtol=0)
    # What was drawn goes with them: only the left lobe was, which is now a right one.
    batch = _set([pair], flips=flips).sample(torch.tensor([0]), augmentation=STILL, generator=_generator())
    assert batch.drawn.tolist() == [[not exchanged, exchanged, True]]


def test_oversampling_prefers_patches_with_a_structure():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[2:6, 2:6, 2:6] = 3
    volumes = _set([_pair(labels.shape, labels=labels)], patch=(10, 10, 10), overlap=0.0)
    assert volumes.with_structure.sum() == 1
    assert len(volumes) == 64

    assert int(volumes.with_structure.nonzero()[0, 0]) == volumes.places[:, 1:].sum(1).argmin()
    for oversampling, least in ((0.5, 2), (0.0, 0)):
        order = EpochOrder(volumes.with_structure, _generator(), oversampling=oversampling)
        taken = order.next(4)
        assert int(volumes.with_structure[taken].sum()) >= least
        if least:
            assert (volumes.sample(taken).labels == 3).flatten(1).any(1).sum() >= least


def test_an_undrawn_structure_stays_unknown():
    volumes = _set([_pair((8, 8, 8), labels=np.ones((8, 8, 8), np.uint8), annotated=frozenset({1}))])
    assert volumes.drawn.tolist() == [[True, False, False]]
    assert volumes.whole(torch.tensor([0])).drawn.tolist() == [[True, False, False]]


class Pointwise(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv3d(1, 4, 1)

    def forward(self, images):
        return self.convolution(images)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 9, 21), (16, 16, 16), (3, 4, 5)])
def test_whole_volumes_are_validated_as_they_are(shape):
    """What is padded for the network counts nothing, and windows answer as the whole."""
    volumes, network = _set([_pair(shape)], patch=(8, 8, 8)), Pointwise()
    batch = volumes.whole(torch.tensor([0]))
    assert tuple(batch.images.shape[2:]) == tuple(batch.labels.shape[1:]) == shape[::-1]
    logits = volumes.answer(network, batch).logits
    torch.testing.assert_close(logits, network(batch.images), atol=1e-5, rtol=1e-5)


def test_volumes_go_together_only_where_each_is_a_patch():
    alike = [_pair((8, 8, 8), number=k) for k in range(3)]
    assert _set(alike, patch=(8, 8, 8)).wholes_at_once == 3
    assert _set(alike, patch=(16, 8, 8)).wholes_at_once == 1
    assert _set([*alike, _pair((8, 9, 8), number=3)], patch=(8, 8, 8)).wholes_at_once == 1
