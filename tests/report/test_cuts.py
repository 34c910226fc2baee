"""Cuts across a stack: right way up, named by how the patient lies, a millimetre as long in either direction."""

from dataclasses import replace

import numpy as np
import pytest

from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.report.cuts import cuts_of, draw_cut

RED = Structure(1, "ball", (255, 0, 0))
KNOWN = Source(case_id="leg", spacing_source="header", slice_spacing_source="header")
AXIAL = affine_from_spacing((4.0, 1.5, 0.5), (-30.0, -40.0, -60.0))
# The same patient in sagittal slices: columns run to the back, rows to the feet.
SAGITTAL = affine_from_axes(
    position_mm=(-30, -40, 60),
    orientation=(0, 1, 0, 0, 0, -1),
    pixel_spacing_mm=(1.5, 0.5),
    slice_step_mm=(4, 0, 0),
)
TILTED = affine_from_axes(
    position_mm=(-30, -90, -60),
    orientation=(1, 0, 0, 0, 1, 0),
    pixel_spacing_mm=(1.0, 0.5),
    slice_step_mm=(0, 1.2, 2.0),  # by 31 degrees
)


def stack(affine, inside, shape=(40, 90, 140)):
    """Give an image and labels where `inside`, of patient coordinates in mm, is true."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    voxels = inside(*np.moveaxis(places, -1, 0)).astype(np.uint8)
    image = Image((100 * voxels).astype(np.int16), affine, source=KNOWN)
    return image, LabelMap(voxels, affine, (RED,), source=KNOWN)


def ball(x, y, z):
    return x**2 + (y + 2) ** 2 + (z - 3) ** 2 <= 24**2


def coloured(picture):
    red, green, _ = np.moveaxis(picture.astype(int), -1, 0)
    return red - green > 40


def extent(mask):
    return [int(np.ptp(np.flatnonzero(mask.any(axis=axis)))) + 1 for axis in (1, 0)]


@pytest.mark.parametrize(
    ("affine", "shape", "names"),
    [
        (AXIAL, (32, 60, 140), ("sagittal", "coronal")),
        (SAGITTAL, (16, 80, 160), ("coronal", "axial")),
        (TILTED, (60, 140, 120), ("sagittal", "coronal")),
    ],
)
def test_a_ball_is_round_whatever_the_steps_of_the_stack(affine, shape, names):
    cuts = cuts_of(*stack(affine, ball, shape))
    assert tuple(one.name for one in cuts) == names
    for one in cuts:
        high, wide = extent(coloured(draw_cut(one)))
        # Thick slices show one block more or less of their 4 mm; the steps themselves differ by 3 to 8 times.
        assert high / wide == pytest.approx(1, abs=0.09), one.name


def test_a_rod_along_the_body_stands_upright_in_a_tilted_stack():
    image, labels = stack(TILTED, lambda x, y, z: np.hypot(x, y) <= 4, (40, 140, 120))
    sagittal, coronal = cuts_of(image, labels)
    assert (sagittal.is_upright, coronal.is_upright) == (False, True)
    mask = coloured(draw_cut(sagittal))
    middles = [np.flatnonzero(row).mean() for row in mask if row.any()]
    assert len(middles) > 0.9 * mask.shape[0]
    assert np.ptp(middles) <= 0.02 * mask.shape[0]


@pytest.mark.parametrize(("affine", "shape"), [(AXIAL, (32, 60, 140)), (SAGITTAL, (16, 80, 160))])
def test_head_is_above_and_front_or_right_on_the_left(affine, shape):
    at = {
        "head": lambda x, y, z: (z > 25) & (np.hypot(x, y) < 15),
        "front": lambda x, y, z: (y < -20) & (np.hypot(x, z) < 15),
        "right": lambda x, y, z: (x < -14) & (np.hypot(y, z) < 15),
    }
    wanted = {
        ("sagittal", "head"): (0, "above"),
        ("sagittal", "front"): (1, "left"),
        ("coronal", "head"): (0, "above"),
        ("coronal", "right"): (1, "left"),
        ("axial", "front"): (0, "above"),
        ("axial", "right"): (1, "left"),
    }
    seen = set()
    for where, inside in at.items():
        for one in cuts_of(*stack(affine, inside, shape)):
            if (one.name, where) in wanted:
                axis, _ = wanted[one.name, where]
                mask = coloured(draw_cut(one))
                middle = np.flatnonzero(mask.any(axis=1 - axis)).mean()
                assert middle < 0.45 * mask.shape[axis], (one.name, where)
                seen.add((one.name, where))
    assert len(seen) == 4


def test_the_cut_through_most_of_it_is_shown():
    image, labels = stack(AXIAL, lambda x, y, z: (np.abs(x - 10.1) < 0.3) & (np.abs(y + 20) < 9) & (z > -30))
    sagittal, _ = cuts_of(image, labels)
    assert sagittal.fullest == round((10 + 30) / 0.5)
    empty = replace(labels, voxels=labels.voxels * 0)
    assert cuts_of(image, empty)[0].fullest == image.shape[2] // 2


def test_where_nothing_says_how_the_patient_lies_no_plane_is_claimed():
    image, labels = stack(AXIAL, ball)
    unplaced = affine_from_spacing((4.0, 1.5, 0.5))
    image = replace(image, affine=unplaced, source=replace(KNOWN, is_placed=False))
    assert [one.name for one in cuts_of(image, labels.on_grid_of(image))] == ["cut 1", "cut 2"]


def test_without_distances_there_is_no_cut():
    image, _ = stack(AXIAL, ball)
    assert cuts_of(replace(image, affine=None)) == ()
    assert cuts_of(replace(image, source=replace(KNOWN, slice_spacing_source="none"))) == ()
    assert cuts_of(image.one_slice(3)) == ()
