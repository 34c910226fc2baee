"""Augmentation: the same for image and label, drawn per sample, and reproducible."""

import math

import pytest
import torch

from autoseg.augment import apply_intensity, draw_geometry, draw_intensity, place_offsets
from autoseg.preprocess import frame_offsets, sample_frames
from autoseg.settings import AugmentationSettings

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
