"""To the network's grid and back."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image
from autoseg.model.preprocessing import preprocess
from autoseg.model.preprocessing.extents import extent_of, frame_size
from autoseg.model.preprocessing.preprocess import (
    frame_middles,
    frame_offsets,
    measure_intensities,
    pad_together,
    sample_frames,
    store_labels,
    store_shares,
    store_slices,
    to_native,
)
from autoseg.model.settings.settings import PreprocessSettings


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


def test_slices_are_normalised_each_for_itself():
    dim, bright = _image(40, 40, seed=1), _image(40, 40, seed=2)
    voxels = np.concatenate([dim.voxels, bright.voxels * 50 - 7])
    image = Image(voxels, dim.affine)
    settings = PreprocessSettings(spacing_mm=1.0)
    slices = store_slices(image, extent_of(image, settings), settings)
    assert slices.shape == (2, 1, 40, 40)
    torch.testing.assert_close(slices.mean((1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(slices.std((1, 2, 3)), torch.ones(2), atol=1e-2, rtol=0)


class TestOfWholeImages:
    SETTINGS = PreprocessSettings(spacing_mm=1.0, normalise="image", clip_percentiles=(0.0, 100.0))

    def image(self, factor=1.0):
        """Give a stack of a disc in noise, whose last slice is noise alone."""
        rng = np.random.default_rng(3)
        voxels = rng.uniform(0, 4, (2, 5, 40, 40))
        rows, columns = np.mgrid[:40, :40] - 20
        voxels[:, :4, np.hypot(rows, columns) < 14] += 100 + rng.uniform(-20, 20, (2, 4, 1))
        return Image((factor * voxels).astype(np.float32), affine_from_spacing((5, 1, 1)), channels=("a", "b"))

    def test_what_is_brighter_than_the_mean_has_mean_0_and_deviation_1_over_all_slices(self):
        image = self.image()
        slices = store_slices(image, extent_of(image, self.SETTINGS), self.SETTINGS).numpy()
        for number, channel in enumerate(image.voxels):
            bright = slices[:, number][channel > channel.mean()]
            assert bright.mean() == pytest.approx(0, abs=1e-3)
            assert bright.std() == pytest.approx(1, abs=1e-3)

    def test_a_slice_of_noise_stays_dark_and_flat(self):
        image = self.image()
        own = replace(self.SETTINGS, normalise="slice")
        whole, each = (store_slices(image, extent_of(image, one), one)[4, 0] for one in (self.SETTINGS, own))
        assert float(each.std()) == pytest.approx(1, abs=0.05)
        assert float(whole.std()) < 0.2
        assert float(whole.max()) < -3

    def test_a_factor_does_no_harm_and_clahe_stays_of_slices(self):
        for settings in (self.SETTINGS, replace(self.SETTINGS, clahe=True)):
            one, other = (
                store_slices(i, extent_of(i, settings), settings) for i in (self.image(), self.image(30.0))
            )
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)

    def test_a_part_of_the_slices_is_normalised_by_what_the_whole_has(self):
        image = self.image()
        extent = extent_of(image, self.SETTINGS)
        part = Image(image.voxels[:, 2:4], image.affine, image.channels)
        found = store_slices(part, extent, self.SETTINGS, measure_intensities(image, self.SETTINGS))
        torch.testing.assert_close(found, store_slices(image, extent, self.SETTINGS)[2:4])

    def test_a_constant_channel_is_0(self):
        image = self.image()
        voxels = image.voxels.copy()
        voxels[1] = 7
        flat = replace(image, voxels=voxels)
        slices = store_slices(flat, extent_of(flat, self.SETTINGS), self.SETTINGS)
        assert not slices[:, 1].any()
        assert slices[:, 0].any()


def test_a_constant_slice_and_bad_intensities():
    flat = Image(np.full((1, 32, 32), 7, dtype=np.uint16), affine_from_spacing((1, 1, 1)))
    settings = PreprocessSettings(spacing_mm=1.0)
    assert torch.isfinite(store_slices(flat, extent_of(flat, settings), settings)).all()
    bad = np.zeros((1, 32, 32), dtype=np.float32)
    bad[0, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        store_slices(Image(bad, flat.affine), extent_of(flat, settings), settings)


@pytest.mark.parametrize("clahe", [False, True])
@pytest.mark.parametrize("spacing_mm", [1.0, 3.0])
def test_slices_are_stored_the_same_some_at_a_time(clahe, spacing_mm, monkeypatch):
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 4000, (2, 7, 40, 50)).astype(np.uint16)
    image = Image(voxels, affine_from_spacing((1, 1, 1)), channels=("one", "two"))
    settings = PreprocessSettings(spacing_mm=spacing_mm, clahe=clahe)
    extent = extent_of(image, settings)
    whole = store_slices(image, extent, settings)
    low, high = np.percentile(voxels[1, 6], settings.clip_percentiles)
    clipped = np.clip(voxels[1, 6], low, high)
    if not clahe and spacing_mm == 1:
        expected = (clipped - clipped.mean()) / clipped.std()
        np.testing.assert_allclose(whole[6, 1].numpy(), expected, atol=1e-5)
    for at_once in (1, 3 * 2 * 40 * 50):
        monkeypatch.setattr(preprocess, "AT_ONCE", at_once)
        torch.testing.assert_close(store_slices(image, extent, settings), whole, atol=1e-6, rtol=0)


def test_memory_does_not_grow_with_the_number_of_slices():
    settings = PreprocessSettings(spacing_mm=1.0)
    image = Image(np.random.default_rng(0).integers(0, 200, (64, 256, 256), dtype=np.uint8), np.eye(4))
    extent = extent_of(image, settings)
    tracemalloc.start()
    try:
        store_slices(image, extent, settings)  # what torch holds, the result, is not traced
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * image.voxels.size


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


def test_an_absent_channel_is_zero_however_large_its_value():
    voxels = np.random.default_rng(0).normal(50, 9, (3, 2, 40, 40)).astype(np.float32)
    voxels[1, 0] = 1234567.8  # the mean of these misses them by a rounding
    image = Image(voxels, affine_from_spacing((5, 1, 1)), channels=("before", "FLAIR", "after"))
    settings = PreprocessSettings(spacing_mm=1.0)
    for chosen in (settings, PreprocessSettings(spacing_mm=1.0, clahe=True)):
        slices = store_slices(image, extent_of(image, settings), chosen)
        assert slices.shape == (2, 3, 40, 40)
        assert float(slices[0, 1].abs().max()) == 0
        others = torch.stack([slices[0, 0], slices[0, 2], *slices[1]])
        torch.testing.assert_close(others.mean((1, 2)), torch.zeros(5), atol=1e-4, rtol=0)
        torch.testing.assert_close(others.std((1, 2)), torch.ones(5), atol=1e-2, rtol=0)


def test_infinite_intensities_are_counted_and_the_remedy_is_named():
    voxels = np.zeros((2, 32, 32), dtype=np.float32)
    voxels[1, :3, 0] = -np.inf
    image = Image(voxels, affine_from_spacing((1, 1, 1)))
    settings = PreprocessSettings(spacing_mm=1.0)
    with pytest.raises(DataError, match=r"infinite intensities in 3 of 2048 voxels.*Set them to a number"):
        store_slices(image, extent_of(image, settings), settings)


def test_clahe_brings_out_the_dark_half_and_does_not_depend_on_the_intensities_scale():
    rng = np.random.default_rng(0)
    voxels = np.full((1, 128, 128), 1000.0, dtype=np.float32)
    voxels[:, :, :64] = 10
    voxels[:, 40:80, 20:40] = 40  # faint, in the dark half
    image = Image(voxels + rng.normal(0, 5, voxels.shape), affine_from_spacing((1, 1, 1)))
    plain = PreprocessSettings(spacing_mm=1.0)
    equalised = PreprocessSettings(spacing_mm=1.0, clahe=True, clahe_limit=4.0)
    extent = extent_of(image, plain)

    def contrast(slices):
        return float(slices[0, 0, 45:75, 24:36].mean() - slices[0, 0, 45:75, 2:14].mean())

    before, after = (contrast(store_slices(image, extent, settings)) for settings in (plain, equalised))
    assert after > 3 * before > 0
    louder = Image(image.voxels * 40 - 1000, image.affine)
    torch.testing.assert_close(
        store_slices(louder, extent, equalised), store_slices(image, extent, equalised), atol=0.1, rtol=0
    )


def test_shares_are_bilinear_inside_and_nothing_outside():
    image = _image(32, 32)
    extent = extent_of(image, PreprocessSettings(spacing_mm=1.0))
    shares = np.full((1, 2, 32, 32), 0.25, dtype=np.float32)
    shares[:, 1, :, 16:] = 0.75
    stored = pad_together([*store_shares(shares, extent), torch.ones(2, 40, 40).half()])[:1].float()
    sizes = torch.tensor([extent.stored]), torch.tensor([extent.network])
    offsets = frame_offsets((48, 48), torch.device("cpu"))[None]
    there = sample_frames(stored, offsets, *sizes, mode="shares")
    np.testing.assert_allclose(there[0, :, 8:40, 8:40].numpy(), shares[0], atol=1e-5)
    assert float(there[..., :8, :].abs().max()) == float(there[..., 40:].abs().max()) == 0
    between = sample_frames(stored, torch.tensor([[[[0.0, 0.0]]]]), *sizes, mode="shares")
    assert between[0, 1].item() == pytest.approx(0.5)


def test_a_crop_comes_back_to_its_place_and_the_rest_is_background():
    image = _image(120, 90, (5.0, 0.8, 1.1))
    extent = extent_of(image, PreprocessSettings(spacing_mm=1.0))
    r, c = np.mgrid[:120, :90]
    disc = ((r - 40.3) * 0.8) ** 2 + ((c - 60.8) * 1.1) ** 2 <= 11.0**2
    middle = torch.tensor([[(40.3 + 0.5) / 120 - 0.5, (60.8 + 0.5) / 90 - 0.5]]) * torch.tensor(extent.network)
    middle = middle.round()
    stored = store_labels(disc[None], extent)[:, None].float()
    sizes = torch.tensor([extent.stored]), torch.tensor([extent.network])
    offsets = frame_offsets((32, 40), torch.device("cpu"))[None] + middle[:, None, None]
    framed = sample_frames(stored, offsets, *sizes)
    back = to_native(torch.cat([1 - framed, framed], dim=1), extent, centres=middle)[0]
    found = back[1].numpy() > 0.5
    assert (found & disc).sum() * 2 / (found.sum() + disc.sum()) > 0.97
    np.testing.assert_allclose(back.sum(0).numpy(), 1, atol=1e-5)
    everywhere = to_native(torch.ones(1, 2, 32, 40) / 2, extent, centres=middle)[0, 0]
    seen = everywhere < 0.75
    assert seen.sum().item() * 0.8 * 1.1 == pytest.approx(32 * 40, rel=0.06)
    assert float(everywhere[~seen].min()) == 1.0


@pytest.mark.parametrize("size", [(40, 56), (41, 57), (43, 50)])
def test_an_image_of_the_networks_resolution_passes_unchanged_whether_odd_or_even(size):
    rng = np.random.default_rng(0)
    extent = extent_of(_image(*size), PreprocessSettings(spacing_mm=1.0))
    frame = frame_size([extent], 16)
    sizes = torch.tensor([extent.stored]), torch.tensor([extent.network])
    middles = frame_middles(frame, sizes[1])
    offsets = frame_offsets(frame, torch.device("cpu")) + middles[:, None, None]
    labels = torch.from_numpy(rng.integers(0, 2, (1, 1, *size))).float()
    framed = sample_frames(labels, offsets, *sizes, mode="nearest")
    assert framed.sum() == labels.sum()
    smooth = sample_frames(labels, offsets, *sizes)
    torch.testing.assert_close(to_native(smooth, extent, centres=middles), labels, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(96, 64), (64, 48), (45, 70)])
def test_whole_frames_come_back_as_any_frame_does(size):
    """A frame that holds nothing but the image has a way back of its own, which must be the way of all others."""
    extent = extent_of(_image(*size, (5.0, 1.0, 1.5)), PreprocessSettings(input_shape=(64, 48)))
    assert extent.network == (64, 48)
    answer = torch.rand(3, 2, 64, 48)
    back = to_native(answer, extent, centres=torch.zeros(1, 2))
    hair = torch.full((1, 2), 1e-6)  # beside the middle, so that it is a frame like others
    torch.testing.assert_close(back, to_native(answer, extent, centres=hair), atol=1e-5, rtol=0)
    assert torch.equal(back, to_native(answer, extent))


def test_slices_that_lie_alike_are_read_at_places_that_are_worked_out_once():
    extent = extent_of(_image(50, 40), PreprocessSettings(spacing_mm=1.3))
    slices, offsets = torch.rand(3, 1, *extent.stored), frame_offsets((48, 32), torch.device("cpu"))[None]
    sizes = torch.tensor([extent.stored]), torch.tensor([extent.network])
    each = [size.expand(3, 2) for size in sizes]
    for mode in ("bilinear", "nearest", "shares"):
        once = sample_frames(slices, offsets, *sizes, mode=mode)
        assert torch.equal(once, sample_frames(slices, offsets.expand(3, -1, -1, -1), *each, mode=mode))
