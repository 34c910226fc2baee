import warnings
from math import sqrt

import numpy as np
import pytest
from scipy import ndimage

from autoseg.errors import DataError
from autoseg.measurement.surfaces import SurfaceAgreement, compare_surfaces


def pixels(shape, *places):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


@pytest.mark.parametrize(
    ("place", "spacing", "apart"),
    [((0, 3), (5.0, 2.0), 6.0), ((3, 0), (5.0, 2.0), 15.0), ((3, 4), (1.0, 1.0), 5.0), ((1, 0), (2.0, 0.5), 2.0)],
)
def test_two_pixels_are_as_far_apart_as_their_centres(place, spacing, apart):
    found = compare_surfaces(pixels((5, 6), (0, 0)), pixels((5, 6), place), spacing_mm=spacing, tolerance_mm=apart)
    assert found == SurfaceAgreement(hd95_mm=apart, nsd=1.0, mean_distance_mm=apart)
    nearly = compare_surfaces(
        pixels((5, 6), (0, 0)), pixels((5, 6), place), spacing_mm=spacing, tolerance_mm=0.99 * apart
    )
    assert nearly.nsd == 0


def test_a_square_in_a_square():
    # Outlines of 16 and 32 pixels; at each corner of the outer one, one pixel is sqrt(8) and two are sqrt(5) away.
    small, large = pixels((20, 20), np.s_[7:12, 7:12]), pixels((20, 20), np.s_[5:14, 5:14])
    found = compare_surfaces(small, large, spacing_mm=(1.0, 1.0), tolerance_mm=2.0)
    assert found.hd95_mm == pytest.approx(sqrt(8))
    assert found.nsd == (16 + 20) / 48
    assert found.mean_distance_mm == pytest.approx((16 * 2 + 20 * 2 + 8 * sqrt(5) + 4 * sqrt(8)) / 48)
    assert compare_surfaces(small, large, spacing_mm=(1.0, 1.0), tolerance_mm=2.3).nsd == 44 / 48


def test_the_percentile_is_interpolated_and_taken_on_the_worse_side():
    line = pixels((40, 11), np.s_[0, :])
    found = compare_surfaces(line, line | pixels((40, 11), (10, 0)), spacing_mm=(1.0, 1.0), tolerance_mm=0.0)
    # Twelve distances of the prediction, eleven 0 and one 10: at 0.95 x 11 = 10.45 lies 4.5.
    assert found.hd95_mm == pytest.approx(4.5)
    assert found.nsd == 22 / 23
    assert found.mean_distance_mm == pytest.approx(10 / 23)


def test_one_pixel_in_a_hundred_does_not_move_hd95():
    line = pixels((100, 100), np.s_[0, :])
    outlier = pixels((100, 100), (99, 0))
    assert compare_surfaces(line, line | outlier, spacing_mm=(1.0, 1.0)).hd95_mm == 0


def test_the_border_of_the_image_is_part_of_the_outline():
    full = np.ones((5, 5), bool)
    ring = full.copy()
    ring[1:4, 1:4] = False
    assert compare_surfaces(full, ring, spacing_mm=(1.0, 1.0)) == SurfaceAgreement(0.0, 1.0, 0.0)


def test_a_volume_has_its_third_distance():
    one, other = pixels((4, 3, 3), (0, 1, 1)), pixels((4, 3, 3), (2, 1, 1))
    found = compare_surfaces(one, other, spacing_mm=(4.0, 1.0, 1.0), tolerance_mm=7.9)
    assert found == SurfaceAgreement(hd95_mm=8.0, nsd=0.0, mean_distance_mm=8.0)


def test_absent_in_one_has_no_distance_and_absent_in_both_nothing():
    nothing, something = np.zeros((4, 4), bool), pixels((4, 4), (1, 1))
    for pair in ((nothing, something), (something, nothing)):
        assert compare_surfaces(*pair, spacing_mm=(1.0, 1.0)) == SurfaceAgreement(None, 0.0, None)
    assert compare_surfaces(nothing, nothing, spacing_mm=(1.0, 1.0)) == SurfaceAgreement(None, None, None)


def test_masks_that_do_not_belong_together_are_refused():
    mask = np.ones((3, 3), bool)
    with pytest.raises(DataError, match="two masks of one grid"):
        compare_surfaces(mask, np.ones((3, 4), bool), spacing_mm=(1.0, 1.0))
    with pytest.raises(DataError, match="one distance for each"):
        compare_surfaces(mask, mask, spacing_mm=(3.0, 1.0, 1.0))
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match="tolerance"):
            compare_surfaces(mask, mask, spacing_mm=(1.0, 1.0), tolerance_mm=wrong)


@pytest.mark.parametrize("spacing", [(2.0, 0.7), (5.0, 0.7, 1.1)])
def test_the_numbers_are_those_of_monais_own_metrics(spacing):
    import torch
    from monai import metrics

    rng = np.random.default_rng(3)
    noise = rng.normal(size=(2, 12, 40, 50)[: 1 + len(spacing)])
    reference = ndimage.gaussian_filter(noise[0], 3) > 0.02
    predicted = ndimage.gaussian_filter(reference + 0.5 * noise[1], 2) > 0.5
    found = compare_surfaces(reference, predicted, spacing_mm=spacing, tolerance_mm=1.5)
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, reference)]
    options = {"include_background": True, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        hd95 = metrics.compute_hausdorff_distance(*pair, percentile=95, **options).item()
        nsd = metrics.compute_surface_dice(*pair, [1.5], **options).item()
        mean = metrics.compute_average_surface_distance(*pair, symmetric=True, **options).item()
    assert found.hd95_mm == pytest.approx(hd95, rel=1e-3)
    assert (found.nsd, found.mean_distance_mm) == pytest.approx((nsd, mean), rel=1e-5)
