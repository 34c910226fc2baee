"""Augmentation: the same for image and label, drawn per sample, and reproducible."""

import math

import pytest
import torch

from autoseg.model.preprocessing.augment import (
    apply_intensity,
    draw_geometry,
    draw_intensity,
    draw_volume_geometry,
    place_offsets,
)
from autoseg.model.preprocessing.preprocess import frame_offsets, sample_frames
from autoseg.model.settings.settings import AugmentationSettings

SIZE = torch.tensor([[64, 64]])


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _warp(one, settings, seed=0, mode="bilinear"):
    draw = draw_geometry(1, settings, _generator(seed))
    placed = place_offsets(frame_offsets((64, 64), one.device), draw)
    return sample_frames(one, placed, SIZE, SIZE, mode=mode), draw


def test_off_changes_nothing():
    one = torch.randn(1, 1, 64, 64, generator=_generator())
    warped, _ = _warp(one, AugmentationSettings.off())
    torch.testing.assert_close(warped, one, atol=1e-4, rtol=0)
    draw = draw_intensity(3, AugmentationSettings.off(), _generator())
    same = apply_intensity(one.expand(3, 1, 64, 64), draw, _generator())
    torch.testing.assert_close(same, one.expand(3, 1, 64, 64), atol=1e-4, rtol=0)


def test_image_and_label_move_alike_and_no_label_value_is_invented():
    label = torch.zeros(1, 1, 64, 64)
    label[..., 20:40, 25:50] = 3
    label[..., 26:34, 30:40] = 7
    for seed in range(5):
        labels, _ = _warp(label, AugmentationSettings(), seed, mode="nearest")
        smooth, _ = _warp(label, AugmentationSettings(), seed)
        assert set(labels.unique().tolist()) <= {0.0, 3.0, 7.0}
        assert float(((smooth > 1.5) == (labels > 1.5)).float().mean()) > 0.99


def test_rotation_turns_by_the_drawn_angle_within_its_range():
    settings = AugmentationSettings.manual()
    angles = []
    for seed in range(200):
        matrix = draw_geometry(1, settings, _generator(seed)).matrix[0]
        angles.append(math.degrees(math.atan2(float(matrix[1, 0]), float(matrix[0, 0]))))
    turned = [abs(angle) > 1e-6 for angle in angles]
    assert max(map(abs, angles)) <= 5.0
    assert 70 <= sum(turned) <= 130  # probability 0.5


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_zoom_is_the_factor_on_what_is_seen(factor):
    disc = ((torch.arange(64)[:, None] - 31.5) ** 2 + (torch.arange(64) - 31.5) ** 2 <= 12**2).float()
    settings = AugmentationSettings(
        **{**vars(AugmentationSettings.off()), "zoom_probability": 1.0, "zoom": (factor, factor)}
    )
    warped, _ = _warp(disc[None, None], settings)
    assert float(warped.sum() / disc.sum()) == pytest.approx(factor**2, rel=0.05)


def test_crop_keeps_its_fraction_and_stays_inside_the_frame():
    settings = AugmentationSettings(
        **{**vars(AugmentationSettings.off()), "crop_probability": 1.0, "crop": (0.5, 0.5)}
    )
    offsets = frame_offsets((64, 64), torch.device("cpu"))
    for seed in range(20):
        placed = place_offsets(offsets, draw_geometry(1, settings, _generator(seed)))[0]
        assert float(placed[..., 0].max() - placed[..., 0].min()) == pytest.approx(63 * 0.5, abs=1e-3)
        assert float(placed.abs().max()) <= 32


def test_flip_mirrors_columns_and_says_so():
    settings = AugmentationSettings(**{**vars(AugmentationSettings.off()), "flip_probability": 1.0})
    one = torch.randn(1, 1, 64, 64, generator=_generator())
    warped, draw = _warp(one, settings)
    assert bool(draw.flipped.all())
    torch.testing.assert_close(warped, one.flip(-1), atol=1e-4, rtol=0)


def test_samples_of_a_batch_differ_and_a_seed_repeats():
    draws = [draw_geometry(4, AugmentationSettings(), _generator(3)) for _ in range(2)]
    torch.testing.assert_close(draws[0].matrix, draws[1].matrix)
    assert len({tuple(m.flatten().tolist()) for m in draws[0].matrix}) == 4
    intensity = draw_intensity(50, AugmentationSettings(), _generator())
    assert float(intensity.gamma.min()) >= 0.7 - 1e-6
    assert float(intensity.gamma.max()) <= 1.5 + 1e-6
    assert 15 <= int((intensity.noise > 0).sum()) <= 35


def _only(**changes):
    return AugmentationSettings(**{**vars(AugmentationSettings.off()), **changes})


def test_flipping_rows_mirrors_the_anatomy_and_both_axes_only_turn_it():
    one = torch.randn(1, 1, 64, 64, generator=_generator())
    warped, draw = _warp(one, _only(flip_rows_probability=1.0))
    assert bool(draw.flipped.all())
    torch.testing.assert_close(warped, one.flip(-2), atol=1e-4, rtol=0)
    warped, draw = _warp(one, _only(flip_rows_probability=1.0, flip_probability=1.0))
    assert not bool(draw.flipped.any())
    torch.testing.assert_close(warped, one.flip(-1, -2), atol=1e-4, rtol=0)


def test_quarter_turns_are_exact_and_all_three_come():
    one = torch.randn(1, 1, 64, 64, generator=_generator())
    turns = [torch.rot90(one, k, (-2, -1)) for k in range(4)]
    found = []
    for seed in range(60):
        warped, draw = _warp(one, _only(quarter_turn_probability=0.6), seed)
        assert not bool(draw.flipped.any())
        found.append([k for k in range(4) if torch.allclose(warped, turns[k], atol=1e-3)])
    assert all(len(ks) == 1 for ks in found)
    counts = [found.count([k]) for k in range(4)]
    assert counts[0] == pytest.approx(24, abs=10)
    assert min(counts[1:]) >= 4


def test_what_is_off_draws_nothing_from_the_generator():
    # The same seed gives the same training as before these switches were there.
    one, two = _generator(), _generator()
    draw_geometry(8, AugmentationSettings(), one)
    for _ in range(16):
        torch.rand(8, generator=two)
    assert torch.rand(1, generator=one) == torch.rand(1, generator=two)


def test_an_absent_channel_stays_absent():
    images = torch.randn(4, 3, 32, 32, generator=_generator())
    images[:2, 1] = 0
    draw = draw_intensity(4, _only(brightness_probability=1.0, noise_probability=1.0), _generator())
    varied = apply_intensity(images, draw, _generator())
    assert float(varied[:2, 1].abs().max()) == 0
    assert float((varied - images)[:, [0, 2]].abs().amin((2, 3)).min()) >= 0
    assert bool(((varied - images).abs().amax((2, 3)) > 0.01)[:, [0, 2]].all())


# --- volumes

ISOTROPIC, STRETCHED, THICK_SLICES = (1.0, 1.0, 1.0), (2.0, 0.8, 1.1), (0.5, 0.5, 4.0)
ONLY_TURNS = AugmentationSettings(
    rotation_probability=1, rotation_deg=180, scaling_probability=0, zoom_probability=0, shift_probability=0
)


def _in_mm(matrix, spacing):
    """Give what a matrix between voxels does to millimetres."""
    mm = torch.tensor(spacing)
    return mm[:, None] * matrix / mm


@pytest.mark.parametrize("spacing", [ISOTROPIC, STRETCHED])
def test_a_turned_ball_stays_a_ball_on_voxels_of_any_shape(spacing):
    matrix, shift, flipped = draw_volume_geometry(50, ONLY_TURNS, (0, 0, 0), spacing, _generator())
    turns = _in_mm(matrix, spacing)
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(50), atol=1e-5, rtol=0)
    assert not shift.any()
    assert not flipped.any()
    # About every axis: no entry of the matrices stays as it was.
    assert float((turns - torch.eye(3)).abs().amax(0).min()) > 0.5


def test_thick_slices_are_turned_in_their_plane_only():
    matrix, *_ = draw_volume_geometry(50, ONLY_TURNS, (0, 0, 0), THICK_SLICES, _generator())
    turns = _in_mm(matrix, THICK_SLICES)
    torch.testing.assert_close(turns[:, 2], torch.tensor([0.0, 0, 1]).expand(50, 3))
    torch.testing.assert_close(turns[:, :, 2], torch.tensor([0.0, 0, 1]).expand(50, 3))
    assert float(turns[:, 0, 1].abs().max()) > 0.9


def test_mirrors_of_a_volume_are_told_and_come_as_often_as_asked():
    settings = AugmentationSettings.off()
    matrix, _, flipped = draw_volume_geometry(2000, settings, (0.5, 0.0, 1.0), STRETCHED, _generator())
    expected = torch.diag_embed(torch.where(flipped, -1.0, 1.0))
    torch.testing.assert_close(_in_mm(matrix, STRETCHED), expected)
    assert flipped.float().mean(0).tolist() == pytest.approx([0.5, 0, 1], abs=0.05)


def test_zoom_scaling_and_shift_of_volumes_stay_in_their_ranges():
    settings = AugmentationSettings(
        rotation_probability=0,
        zoom_probability=1,
        zoom=(0.8, 1.25),
        scaling_probability=1,
        scaling=(0.9, 1.1),
        shift_probability=1,
        shift=0.2,
    )
    matrix, shift, _ = draw_volume_geometry(2000, settings, (0, 0, 0), STRETCHED, _generator())
    sizes = 1 / torch.diagonal(matrix, dim1=1, dim2=2)  # a zoomed structure covers more voxels of the patch
    torch.testing.assert_close(matrix, torch.diag_embed(1 / sizes))
    assert 0.8 * 0.9 <= float(sizes.min()) < 0.75
    assert 1.3 < float(sizes.max()) <= 1.25 * 1.1
    assert float((sizes.amax(1) / sizes.amin(1)).max()) <= 1.1 / 0.9 + 1e-5  # one zoom for all axes
    assert 0.19 < float(shift.abs().max()) <= 0.2


def test_the_same_generator_draws_the_same_volumes():
    one, other = (
        draw_volume_geometry(5, AugmentationSettings(), (0.5, 0.5, 0.5), STRETCHED, _generator(3)) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
