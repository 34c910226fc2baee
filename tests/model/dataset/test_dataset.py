"""Cases as tensors: what the network sees is what was drawn."""

import numpy as np
import psutil
import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.dataset import build_slices, preview, preview_batch, preview_slices
from autoseg.model.preprocessing.classes import classes_of, mirrored_classes, shares_of
from autoseg.model.preprocessing.extents import plan_spacing
from autoseg.model.settings.settings import AugmentationSettings, PreprocessSettings

SETTINGS = PreprocessSettings(spacing_mm=1.5)


def test_without_augmentation_the_batch_is_the_slice():
    image, label_map = make_pair(0)
    slices = build_slices([(image, label_map)], SETTINGS, stride=16)
    batch = slices.sample(torch.tensor([1, 0]))
    assert batch.images.shape == (2, 1, 64, 64)
    assert batch.labels.dtype == torch.int64
    expected = np.choose(np.searchsorted([1, 5], label_map.voxels[1], side="right"), [0, 1, 2])
    np.testing.assert_array_equal(batch.labels[0].numpy(), expected)
    low, high = np.percentile(image.voxels[1], (0.5, 99.5))
    clipped = np.clip(image.voxels[1], low, high)
    np.testing.assert_allclose(batch.images[0, 0].numpy(), (clipped - clipped.mean()) / clipped.std(), atol=1e-3)


def test_cases_of_different_sizes_and_spacings_share_a_frame():
    pairs = [make_pair(0, size=(64, 64)), make_pair(1, size=(50, 80), spacing=(8, 3.0, 1.5))]
    slices = build_slices(pairs, SETTINGS, stride=16)
    assert slices.frame == (112, 80)
    batch = slices.sample(torch.arange(4))
    for index, (_, label_map) in ((0, pairs[0]), (3, pairs[1])):
        pixel = label_map.pixel_mm2
        for k, structure in enumerate(STRUCTURES, start=1):
            drawn_mm2 = (label_map.voxels[index % 2] == structure.label).sum() * pixel
            assert int((batch.labels[index] == k).sum()) * 1.5**2 == pytest.approx(drawn_mm2, rel=0.03)


def test_what_was_not_drawn_is_background_and_said_so():
    image, _ = make_pair(0)
    voxels = np.full(image.shape, 5, dtype=np.uint8)
    partly = LabelMap(voxels, image.affine, STRUCTURES, annotated=frozenset({1}))
    assert classes_of(partly).max() == 0
    slices = build_slices([(image, partly)], SETTINGS, stride=16)
    assert slices.drawn.tolist() == [[True, False]] * 2


def test_mirroring_exchanges_the_sides():
    muscles = (
        Structure(1, "psoas left", side="left"),
        Structure(2, "spine"),
        Structure(3, "psoas right", side="right"),
        Structure(4, "left kidney", side="left"),
    )
    assert mirrored_classes(muscles).tolist() == [0, 3, 2, 1, 4]
    assert mirrored_classes((Structure(4, "Psoas Left"), Structure(9, "psoas right"))).tolist() == [0, 2, 1]
    image, _ = make_pair(0)
    voxels = np.zeros(image.shape, dtype=np.uint8)
    voxels[:, 20:30, 5:15] = 1
    label_map = LabelMap(voxels, image.affine, muscles, annotated=frozenset({1, 2}))
    slices = build_slices([(image, label_map)], SETTINGS, stride=16)
    flip = AugmentationSettings(**{**vars(AugmentationSettings.off()), "flip_probability": 1.0})
    batch = slices.sample(torch.tensor([0]), augmentation=flip, generator=torch.Generator().manual_seed(0))
    assert batch.labels.unique().tolist() == [0, 3]
    assert int((batch.labels[0, 20:30, 49:59] == 3).sum()) == 100
    assert batch.drawn.tolist() == [[False, True, True, False]]


def test_preview_repeats_with_the_seed(monkeypatch):
    patch_reading(monkeypatch)
    split = make_split([0, 1])
    one, two, other = (
        preview(split, quick_settings(seed=seed), structures=STRUCTURES, count=3) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(one[0], other[0])
    assert set(np.unique(one[1])) == {0, 1, 5}  # labels as in the files, not the network's classes


def test_batches_of_a_preview_go_through_all_slices_and_originals_are_the_same_slices(monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings()
    slices = preview_slices(make_split([0, 1, 2]).training, settings, structures=STRUCTURES)
    how = {"structures": STRUCTURES, "seed": settings.seed, "count": 3}
    originals = [preview_batch(slices, None, batch=number, **how) for number in (0, 1, 2)]
    assert not np.array_equal(originals[0][0], originals[1][0])
    np.testing.assert_array_equal(originals[0][0], originals[2][0])  # six slices: begun anew
    seen = {image.tobytes() for images, _ in originals for image in images}
    assert len(seen) == 6
    for number, (images, labels) in enumerate(originals):
        unvaried = preview_batch(slices, AugmentationSettings.off(), batch=number, **how)
        np.testing.assert_allclose(unvaried[0], images, atol=1e-4)
        np.testing.assert_array_equal(unvaried[1], labels)
        varied = preview_batch(slices, settings.augmentation, batch=number, **how)
        assert not np.allclose(varied[0], images, atol=0.5)
    again = preview_batch(slices, settings.augmentation, batch=2, **how)
    np.testing.assert_array_equal(again[0], varied[0])
    assert preview_batch(slices, None, **{**how, "count": 50})[0].shape[0] == 6


def test_the_preview_is_what_training_sees_first(monkeypatch):
    patch_reading(monkeypatch)
    split, settings = make_split([0, 1]), quick_settings()
    slices = preview_slices(split.training, settings, structures=STRUCTURES)
    generator = torch.Generator().manual_seed(settings.seed)
    first = next(iter(torch.randperm(len(slices), generator=generator).split(settings.batch_size)))
    seen = slices.sample(first, augmentation=settings.augmentation, generator=generator)
    images, _ = preview(split, settings, structures=STRUCTURES, count=settings.batch_size)
    np.testing.assert_array_equal(images, seen.images[:, 0].numpy())


def test_too_little_memory_is_said_before_it_is_used(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(DataError, match=r"GiB of memory.*Close other programs"):
        build_slices([make_pair(0)], SETTINGS, stride=16)


def test_nothing_to_learn_from():
    with pytest.raises(DataError, match="no cases"):
        build_slices([], SETTINGS, stride=16)


# --- soft labels


def _soft(number=0, annotated=None):
    """A pair of which three of four raters drew the core a pixel larger than the labels have it."""
    image, label_map = make_pair(number, annotated=annotated)
    core, ring = (label_map.voxels == structure.label for structure in STRUCTURES)
    shares = np.stack([core * 1.0, ring * 0.75]).astype(np.float32)
    return image, LabelMap(
        label_map.voxels, label_map.affine, STRUCTURES, annotated, label_map.source, shares=shares
    )


def test_shares_are_sampled_as_they_are_and_the_background_has_the_rest():
    image, label_map = _soft()
    slices = build_slices([(image, label_map)], SETTINGS, stride=16)
    assert slices.shares.dtype == torch.float16
    batch = slices.sample(torch.tensor([1]))
    np.testing.assert_allclose(batch.targets[0, 1:].numpy(), label_map.shares[:, 1], atol=1e-3)
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(1, 64, 64))
    assert batch.reference is batch.targets
    hard = build_slices([(image, make_pair(0)[1])], SETTINGS, stride=16)
    plain = hard.sample(torch.tensor([1]))
    assert plain.targets is None
    assert plain.reference is plain.labels
    torch.testing.assert_close(plain.labels, batch.labels)


def test_cases_with_and_without_shares_go_together_and_the_undrawn_stays_unknown():
    pairs = [_soft(0), make_pair(1, size=(50, 40)), _soft(2, annotated=frozenset({1}))]
    slices = build_slices(pairs, SETTINGS, stride=16)
    batch = slices.sample(torch.tensor([2, 4]))
    k = torch.nn.functional.one_hot(batch.labels[0], 3).permute(2, 0, 1).float()
    assert float((batch.targets[0] - k).abs().mean()) < 0.02  # but for bilinear edges
    assert float(batch.targets[1, 2].max()) == 0
    assert batch.drawn.tolist() == [[True, True], [True, False]]
    assert float(shares_of(pairs[2][1])[:, 1].max()) == 0


def test_shares_above_one_are_scaled_down():
    image, label_map = make_pair(0)
    shares = np.full((2, *image.shape), 1.06, dtype=np.float32)
    greedy = LabelMap(label_map.voxels, label_map.affine, STRUCTURES, source=label_map.source, shares=shares)
    np.testing.assert_allclose(shares_of(greedy), 0.5, atol=1e-6)


def test_augmentation_moves_shares_with_labels_and_mirrors_their_sides():
    muscles = (Structure(1, "psoas left"), Structure(2, "psoas right"))
    image, _ = make_pair(0)
    voxels = np.zeros(image.shape, dtype=np.uint8)
    voxels[:, 20:36, 5:25], voxels[:, 40:50, 40:60] = 1, 2
    shares = np.stack([voxels == 1, voxels == 2]).astype(np.float32)
    label_map = LabelMap(voxels, image.affine, muscles, source=image.source, shares=shares)
    slices = build_slices([(image, label_map)], SETTINGS, stride=16)
    augmentation = AugmentationSettings(flip_probability=0.5)
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        batch = slices.sample(torch.tensor([0, 1]), augmentation=augmentation, generator=generator)
        assert float((batch.targets.argmax(1) == batch.labels).float().mean()) > 0.99
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(2, *slices.frame))


# --- crops

CROP = PreprocessSettings(spacing_mm=1.5, crop_mm=(60, 60))  # 40 pixels, 48 with the stride


def _aside(number=0, *, size=(160, 144), corner=(90, 8)):
    """A pair whose structures lie far from the image's middle."""
    image, label_map = make_pair(number)
    rng = np.random.default_rng(number)
    voxels = rng.normal(0, 8, (2, *size)).astype(np.float32)
    labels = np.zeros((2, *size), dtype=np.uint8)
    here = (slice(None), slice(corner[0], corner[0] + 64), slice(corner[1], corner[1] + 64))
    voxels[here], labels[here] = image.voxels, label_map.voxels
    source = Source(case_id=f"case{number}", subject_id=f"subject{number}", spacing_source="header")
    return Image(voxels, image.affine, source=source), LabelMap(labels, image.affine, STRUCTURES, source=source)


def test_training_sees_crops_beside_the_labels_and_never_one_place_only():
    pair = _aside()
    slices = build_slices([pair], CROP, stride=16)
    assert (slices.crops.size, slices.tile, slices.frame) == ((48, 48), (48, 48), (160, 144))
    generator, middles = torch.Generator().manual_seed(0), []
    whole = float((pair[1].voxels > 0).sum()) / 2
    for _ in range(30):
        batch = slices.sample(torch.tensor([0, 1]), augmentation=AugmentationSettings.off(), generator=generator)
        assert batch.images.shape == (2, 1, 48, 48)
        middles += [np.argwhere(one > 0).mean(0) for one in batch.labels.numpy() if (one > 0).sum() > 0.9 * whole]
    assert 30 <= len(middles) < 60  # most crops hold the structures, some lie elsewhere
    assert np.std(middles, axis=0).min() > 2


def test_labels_lie_on_their_image_in_a_crop_too():
    slices = build_slices([_aside()], CROP, stride=16)
    generator = torch.Generator().manual_seed(1)
    batch = slices.sample(
        torch.tensor([0, 1] * 10),
        augmentation=AugmentationSettings(crop_probability=0.5),
        generator=generator,
    )
    core = batch.labels == 1
    bright = batch.images[:, 0] > batch.images[:, 0].amax((1, 2), keepdim=True) * 0.6
    inside = [(one & two).sum() / one.sum() for one, two in zip(core, bright, strict=True) if one.sum() > 50]
    assert len(inside) >= 10
    assert float(torch.stack(inside).mean()) > 0.8


def test_without_augmentation_the_whole_slice_is_seen():
    slices = build_slices([_aside()], CROP, stride=16)
    assert slices.sample(torch.tensor([0])).images.shape == (1, 1, 160, 144)


def test_an_image_no_larger_than_the_crop_needs_none():
    slices = build_slices([make_pair(0)], PreprocessSettings(spacing_mm=1.5, crop_mm=(90, 90)), stride=16)
    assert slices.crops is None
    assert slices.tile is None


def test_structures_larger_than_the_crop_are_refused_unless_the_whole_image_is_segmented():
    small = {"spacing_mm": 1.5, "crop_mm": (20, 20)}
    with pytest.raises(DataError, match=r"case0.*larger than the crop.*of its rows.*larger crop"):
        build_slices([_aside()], PreprocessSettings(**small), stride=8)
    whole = build_slices([_aside()], PreprocessSettings(**small, find_region="whole"), stride=8)
    assert whole.crops.size == (16, 16)


def test_a_case_without_labels_is_cropped_at_its_middle():
    image, label_map = _aside()
    empty = LabelMap(label_map.voxels * 0, image.affine, STRUCTURES, source=image.source)
    slices = build_slices([(image, empty), _aside(1)], CROP, stride=16)
    assert slices.crops.centres[:2].tolist() == [[0, 0], [0, 0]]
    assert float(slices.crops.centres[2, 0]) > 30


# --- kinds of image


def test_three_channels_without_millimetres_go_through_the_whole_chain():
    pairs = []
    for number in range(2):
        image, label_map = make_pair(number)
        voxels = np.stack([image.voxels, image.voxels * 0 + 7, -3 * image.voxels]).astype(np.float32)
        channels = ("before", "FLAIR", "after")
        pairs.append(
            (
                Image(voxels, None, channels, image.source),
                LabelMap(label_map.voxels, None, STRUCTURES, source=image.source),
            )
        )
    settings = plan_spacing(PreprocessSettings(), [image for image, _ in pairs])
    assert settings.input_shape == (64, 64)
    slices = build_slices(pairs, settings, stride=16)
    generator = torch.Generator().manual_seed(0)
    for augmentation in (None, AugmentationSettings()):
        batch = slices.sample(torch.arange(4), augmentation=augmentation, generator=generator)
        assert batch.images.shape == (4, 3, 64, 64)
        assert float(batch.images[:, 1].abs().max()) == 0
        assert bool((batch.images[:, [0, 2]].std((2, 3)) > 0.1).all())
    with pytest.raises(DataError, match="different channels"):
        build_slices([pairs[0], make_pair(1)], PreprocessSettings(input_shape=(64, 64)), stride=16)


def test_many_small_volumes_of_different_shapes_go_together():
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(12):
        shape = (int(rng.integers(24, 47)), int(rng.integers(31, 43)), int(rng.integers(40, 59)))
        voxels = rng.normal(0, 1, shape)
        labels = (voxels > 1).astype(np.uint8)
        affine, source = affine_from_spacing((1, 1, 1)), Source(case_id=str(number))
        pairs.append((Image(voxels, affine, source=source), LabelMap(labels, affine, STRUCTURES, source=source)))
    slices = build_slices(pairs, PreprocessSettings(spacing_mm=1.0), stride=32)
    assert len(slices) == sum(image.shape[0] for image, _ in pairs)
    assert slices.frame == (64, 64)
    assert int((slices.sample(torch.arange(len(slices))).labels == 1).sum()) == sum(
        int(label_map.voxels.sum()) for _, label_map in pairs
    )


# --- neighbours


def _numbered(counts, channels=1, size=(32, 32)):
    """Stacks without structure but with a level of its own in each channel of each slice, kept by normalising."""
    pairs, level = [], 0
    for number, count in enumerate(counts):
        voxels = np.zeros((channels, count, *size), dtype=np.float32)
        for index in range(count):
            for channel in range(channels):
                level += 1
                voxels[channel, index, : level % 30 + 1] = 1  # so many rows are bright
        source = Source(case_id=f"case{number}", subject_id=f"subject{number}")
        names = ("one", "two", "three")[:channels]
        affine = affine_from_spacing((8, 1.5, 1.5))
        image = Image(voxels if channels > 1 else voxels[0], affine, channels=names, source=source)
        pairs.append((image, LabelMap(np.zeros((count, *size), np.uint8), affine, STRUCTURES, source=source)))
    return pairs


def _beside(pairs, neighbours):
    """The channels of every slice by a plain loop: neighbours from first to last, of each all channels."""
    rows = []
    for image, _ in pairs:
        voxels = image.channel_voxels
        for index in range(image.shape[0]):
            row = []
            for step in range(-neighbours, neighbours + 1):
                there = min(max(index + step, 0), image.shape[0] - 1)
                for channel in range(len(voxels)):
                    one = voxels[channel, there].astype(np.float64)
                    row.append((one - one.mean()) / one.std())
            rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("neighbours", [1, 3])
def test_the_network_sees_the_neighbours_of_the_same_case(channels, neighbours):
    pairs = _numbered([3, 1, 4], channels)
    settings = PreprocessSettings(spacing_mm=1.5, clip_percentiles=(0, 100), neighbours=neighbours)
    slices = build_slices(pairs, settings, stride=16)
    assert slices.images.shape == (8, channels, 32, 32)  # each slice once
    order = torch.tensor([7, 0, 2, 3, 4, 1, 6, 5])
    batch = slices.sample(order)
    np.testing.assert_allclose(batch.images.numpy(), _beside(pairs, neighbours)[order], atol=1e-4)


@pytest.mark.parametrize("cropped", [False, True])
def test_the_neighbours_are_varied_with_their_slice(cropped):
    (image, label_map) = make_pair(0, slices=3)
    still = Image(np.repeat(image.voxels[1:2], 3, axis=0), image.affine, source=image.source)
    crop = {"crop_shape": (48, 48), "crop_shift": 0.2} if cropped else {}
    slices = build_slices([(still, label_map)], PreprocessSettings(spacing_mm=1.5, neighbours=1, **crop), stride=16)
    varied = AugmentationSettings(noise_probability=0, flip_probability=0.5)
    generator = torch.Generator().manual_seed(1)
    images = slices.sample(torch.tensor([1] * 6), augmentation=varied, generator=generator).images
    assert images.shape == (6, 3, *((48, 48) if cropped else (64, 64)))
    torch.testing.assert_close(images[:, 0], images[:, 1])
    torch.testing.assert_close(images[:, 2], images[:, 1])
    assert (images[0] - images[1]).abs().max() > 0.5
    noisy = AugmentationSettings(**{**vars(AugmentationSettings.off()), "noise_probability": 1.0})
    images = slices.sample(torch.tensor([1]), augmentation=noisy, generator=generator).images
    assert (images[:, 0] - images[:, 1]).std() > 0.01


def test_a_preview_shows_the_slice_itself():
    pairs = _numbered([3, 4], 2)
    plain = PreprocessSettings(spacing_mm=1.5)
    shown = [
        preview_batch(build_slices(pairs, one, stride=16), None, structures=STRUCTURES, seed=3)
        for one in (plain, PreprocessSettings(spacing_mm=1.5, neighbours=2))
    ]
    np.testing.assert_array_equal(shown[0][0], shown[1][0])


def test_single_slices_are_planned_without_neighbours(monkeypatch):
    patch_reading(monkeypatch, slices=1)
    settings = quick_settings(preprocess=PreprocessSettings(spacing_mm=3.0, neighbours=1))
    assert preview_slices(make_split([0, 1]).training, settings, structures=STRUCTURES).neighbours == 0
    patch_reading(monkeypatch, slices=2)
    assert preview_slices(make_split([0, 1]).training, settings, structures=STRUCTURES).neighbours == 1


def test_slices_move_with_their_ends():
    slices = build_slices(_numbered([2, 3]), PreprocessSettings(spacing_mm=1.5, neighbours=1), stride=16)
    moved = slices.to(torch.device("meta"))
    assert moved.ends.device.type == moved.images.device.type == "meta"
    assert slices.ends.tolist() == [[0, 1]] * 2 + [[2, 4]] * 3
