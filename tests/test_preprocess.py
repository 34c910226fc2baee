"""To the network's grid and back."""

import numpy as np
import pytest
import torch

from autoseg.errors import DataError, GeometryError
from autoseg.geometry import affine_from_spacing
from autoseg.image import Image
from autoseg.preprocess import (
    choose_spacing_mm,
    extent_of,
    frame_offsets,
    frame_size,
    pad_together,
    sample_frames,
    store_labels,
    store_slices,
    to_native,
)
from autoseg.settings import PreprocessSettings


def _image(rows, columns, spacing=(5.0, 1.0, 1.0), slices=1, seed=0):
    voxels = np.random.default_rng(seed).normal(100, 20, (slices, rows, columns)).astype(np.float32)
    return Image(voxels, affine_from_spacing(spacing))


def _there_and_back(mask, extent, stride=8):
    """Take one mask through the network's frame, as a perfect network would give it, and back."""
    stored = store_labels(mask[None], extent)[:, None].float()
    frame = frame_size([extent], stride)
    offsets = frame_offsets(frame, torch.device("cpu"))[None]
    sizes = torch.tensor([extent.stored]), torch.tensor([extent.network])
    framed = sample_frames(stored, offsets, *sizes)
    return to_native(framed, extent)[0, 0].numpy() > 0.5


@pytest.mark.parametrize("spacing_mm", [0.8, 1.0, 1.7, 2.4])
@pytest.mark.parametrize("pixel", [(1.0, 1.0), (0.7, 1.3)])
def test_a_disc_keeps_its_area_and_place_through_the_networks_grid(spacing_mm, pixel):
    rows, columns = 150, 121
    r, c = np.mgrid[:rows, :columns]
    disc = ((r - 60.3) * pixel[0]) ** 2 + ((c - 70.8) * pixel[1]) ** 2 <= 26.0**2
    extent = extent_of(_image(rows, columns, (5.0, *pixel)), PreprocessSettings(spacing_mm=spacing_mm))
    back = _there_and_back(disc, extent)
    assert back.shape == disc.shape
    assert back.sum() == pytest.approx(disc.sum(), rel=0.012)
    assert abs(r[back].mean() - r[disc].mean()) < 0.25
    assert abs(c[back].mean() - c[disc].mean()) < 0.25


@pytest.mark.parametrize(("pixel", "spacing_mm"), [(0.5, 2.5), (1.0, 2.0), (1.367, 2.75), (1.29, 2.75), (0.9, 1.8)])
def test_labels_are_not_moved_against_their_image_nor_resized(pixel, spacing_mm):
    rng, size = np.random.default_rng(0), round(192 * spacing_mm / 2 / pixel)
    extent = extent_of(_image(size, size, (5.0, pixel, pixel)), PreprocessSettings(spacing_mm=spacing_mm))
    frame = frame_size([extent], 32)
    offsets = frame_offsets(frame, torch.device("cpu"))[None]
    rows, columns = np.mgrid[:size, :size]
    shifts, areas = [], []
    for _ in range(30):
        centre = (size - 1) / 2 + rng.uniform(-0.2, 0.2, 2) * size
        disc = np.hypot(rows - centre[0], columns - centre[1]) * pixel <= 7.3 * spacing_mm
        stored = store_labels(disc[None], extent)[:, None].float()
        sizes = torch.tensor([extent.stored]), torch.tensor([extent.network])
        framed = sample_frames(stored, offsets, *sizes, mode="nearest")[0, 0].bool()
        found = offsets[0][framed].mean(0).numpy()
        scale = np.array(extent.network) / size
        true = (np.array([rows[disc].mean(), columns[disc].mean()]) - (size - 1) / 2) * scale
        shifts.append(found - true)
        areas.append(float(framed.sum()) / (disc.sum() * scale.prod()))
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.05
    assert np.abs(shifts).mean() < 0.08
    assert np.mean(areas) == pytest.approx(1, abs=0.01)


def test_sizes_follow_millimetres_and_frames_the_stride():
    extent = extent_of(_image(256, 200, (5.0, 1.5, 1.0)), PreprocessSettings(spacing_mm=2.0))
    assert extent.network == (192, 100)
    assert extent.stored == (256, 200)
    assert frame_size([extent], 16) == (192, 112)
    fine = extent_of(_image(256, 256, (5.0, 0.25, 0.25)), PreprocessSettings(spacing_mm=1.0))
    assert fine.network == (64, 64)
    assert fine.stored == (128, 128)


def test_input_shape_needs_no_millimetres():
    image = Image(np.zeros((1, 50, 80), dtype=np.int16))
    assert extent_of(image, PreprocessSettings(input_shape=(64, 64))).network == (64, 64)
    with pytest.raises(GeometryError, match="pixel spacing"):
        extent_of(image, PreprocessSettings(spacing_mm=1.0))


def test_slices_are_normalised_each_for_itself():
    dim, bright = _image(40, 40, seed=1), _image(40, 40, seed=2)
    voxels = np.concatenate([dim.voxels, bright.voxels * 50 - 7])
    image = Image(voxels, dim.affine)
    settings = PreprocessSettings(spacing_mm=1.0)
    slices = store_slices(image, extent_of(image, settings), settings)
    assert slices.shape == (2, 1, 40, 40)
    torch.testing.assert_close(slices.mean((1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(slices.std((1, 2, 3)), torch.ones(2), atol=1e-2, rtol=0)


def test_a_constant_slice_and_bad_intensities():
    flat = Image(np.full((1, 32, 32), 7, dtype=np.uint16), affine_from_spacing((1, 1, 1)))
    settings = PreprocessSettings(spacing_mm=1.0)
    assert torch.isfinite(store_slices(flat, extent_of(flat, settings), settings)).all()
    bad = np.zeros((1, 32, 32), dtype=np.float32)
    bad[0, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        store_slices(Image(bad, flat.affine), extent_of(flat, settings), settings)


def test_beyond_the_edge_images_repeat_and_labels_are_background():
    extent = extent_of(_image(32, 32), PreprocessSettings(spacing_mm=1.0))
    sizes = torch.tensor([extent.stored]), torch.tensor([extent.network])
    offsets = frame_offsets((48, 48), torch.device("cpu"))[None]
    ones = torch.ones(1, 1, 40, 40)
    ones[..., 32:, :] = 5  # padding of a larger neighbour in the same batch must not be seen
    assert float(sample_frames(ones, offsets, *sizes).max()) == 1
    labels = torch.zeros(1, 1, 40, 40)
    labels[..., :32, :32] = 1
    assert float(sample_frames(labels, offsets, *sizes, mode="nearest").sum()) == 32 * 32


def test_padding_keeps_labels_background_and_repeats_intensities():
    small, large = torch.full((1, 2, 2), 3.0), torch.zeros(1, 3, 4)
    assert pad_together([small, large])[0].min() == 3
    assert pad_together([small[0].to(torch.uint8), large[0].to(torch.uint8)])[0].sum() == 12


def test_spacing_is_the_median_but_no_more_than_192_pixels_across():
    assert choose_spacing_mm([((128, 128), (1.5, 1.5)), ((128, 100), (1.4, 1.4)), ((90, 90), (1.5, 1.5))]) == 1.5
    assert choose_spacing_mm([((512, 512), (0.75, 0.75))]) == pytest.approx(2.0)
    with pytest.raises(DataError, match="no images"):
        choose_spacing_mm([])
