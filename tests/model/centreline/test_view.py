import numpy as np
import pytest
from scipy import ndimage

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.centreline import axial_target, axial_view, from_labels
from autoseg.model.settings.settings import VolumeSettings

SOURCE = Source(case_id="tube", spacing_source="header", slice_spacing_source="header")
TUBE = (Structure(1, "cord"), Structure(2, "root"))
SETTINGS = VolumeSettings(orientation="IAR", spacing_mm=(2.0, 1.0, 1.0))
AXIAL = affine_from_spacing((3.0, 0.8, 0.5), (-25, -32, -60))
SAGITTAL = affine_from_axes(
    position_mm=(-30, -40, 60),
    orientation=(0, 1, 0, 0, 0, -1),
    pixel_spacing_mm=(1.0, 0.9),
    slice_step_mm=(2.5, 0, 0),
)
TILTED = affine_from_axes(
    position_mm=(-25, -40, -65),
    orientation=(1, 0, 0, 0, np.cos(0.3), np.sin(0.3)),
    pixel_spacing_mm=(0.8, 0.5),
    slice_step_mm=(0, -3 * np.sin(0.3), 3 * np.cos(0.3)),
)
GRIDS = {"axial": (AXIAL, (40, 80, 100)), "sagittal": (SAGITTAL, (24, 120, 90)), "tilted": (TILTED, (40, 110, 100))}
every_grid = pytest.mark.parametrize("grid", GRIDS)


def middle(z):
    """The tube's middle (x, y) at these heights."""
    return np.stack([6 * np.sin(z / 25), 0.1 * z + 4 * np.cos(z / 30)], axis=-1)


def make_tube(grid, low=-35.0, high=40.0):
    """A bright bent tube of 6 mm radius between two heights."""
    affine, size = GRIDS[grid]
    index = np.moveaxis(np.indices(size), 0, -1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    x, y, z = np.moveaxis(points, -1, 0)
    mx, my = np.moveaxis(middle(z), -1, 0)
    labels = ((np.hypot(x - mx, y - my) <= 6) & (z >= low) & (z <= high)).astype(np.uint8)
    image = Image((100.0 * labels + 20).astype(np.float32), affine, source=SOURCE)
    return image, LabelMap(labels, affine, TUBE, source=SOURCE)


@every_grid
def test_the_curve_of_the_labels_is_the_tube_s(grid):
    line = from_labels(make_tube(grid)[1])
    # An oblique slice meets the tube's flat end in part.
    heights = np.arange(-24, 30.0) if grid == "tilted" else np.arange(-30, 36.0)
    assert np.linalg.norm(line.at(heights)[:, :2] - middle(heights), axis=1).max() < 0.6
    assert line.source == "labels"
    assert (line.begins_mm, line.ends_mm) == pytest.approx((-35, 40), abs=3.5 if grid == "tilted" else 1.6)
    slope = np.diff(line.at([41, 50, 59])[:, :2], axis=0)
    assert slope[0] == pytest.approx(slope[1], abs=0.15)  # straight beyond the end


def test_gaps_are_bridged_and_stray_voxels_count_nothing():
    _, tube = make_tube("axial")
    voxels = tube.voxels.copy()
    voxels[18:22] = 0
    voxels[38, 5, 5] = 1
    line = from_labels(LabelMap(voxels, AXIAL, TUBE, source=SOURCE))
    heights = np.arange(-30, 36.0)
    assert np.linalg.norm(line.at(heights)[:, :2] - middle(heights), axis=1).max() < 0.8
    assert line.ends_mm == pytest.approx(40, abs=1.6)


def test_of_many_pieces_alike_none_is_a_stray():
    """Voxels on every second slice and column: 40 × 8 pieces, each less than a hundredth of all."""
    _, tube = make_tube("axial")
    voxels = np.zeros_like(tube.voxels)
    voxels[::2, 40, 30:46:2] = 1
    line = from_labels(LabelMap(voxels, AXIAL, TUBE, source=SOURCE))
    column_mm = AXIAL[0, 2] * 37 + AXIAL[0, 3]
    assert line.points_mm[:, 0] == pytest.approx(column_mm, abs=1e-6)


def test_only_the_structures_that_are_asked_for_count():
    _, tube = make_tube("axial")
    voxels = tube.voxels.copy()
    voxels[:, 70:75, 80:90] = 2
    both = LabelMap(voxels, AXIAL, TUBE, source=SOURCE)
    assert from_labels(both, [1]).points_mm == pytest.approx(from_labels(tube).points_mm)
    assert np.abs(from_labels(both).at([0])[0, 0] - middle(np.zeros(1))[0, 0]) > 2


def test_labels_that_tell_no_centreline_are_an_error():
    _, tube = make_tube("axial")
    with pytest.raises(DataError, match=r"tube: nothing of root was drawn.*Click it"):
        from_labels(tube, [2])
    unknown = LabelMap(tube.voxels * 0, AXIAL, TUBE, annotated=frozenset(), source=SOURCE)
    with pytest.raises(DataError, match="nothing of cord, root was drawn"):
        from_labels(unknown)
    with pytest.raises(DataError, match="a single slice"):
        from_labels(LabelMap(tube.voxels[20:21], AXIAL, TUBE, source=SOURCE))
    with pytest.raises(GeometryError, match="pixel spacing"):
        from_labels(LabelMap(tube.voxels, None, TUBE, source=SOURCE))


@every_grid
def test_an_axial_view_keeps_its_place_in_the_patient(grid):
    image, _ = make_tube(grid)
    view = axial_view(image, SETTINGS)
    directions = view.affine[:3, :3] / np.linalg.norm(view.affine[:3, :3], axis=0)
    assert (
        directions[[2, 1, 0], range(3)] > 0.9
    ).all()  # slices to the head, rows to the back, columns to the left
    assert view.spacing_mm[1:] == pytest.approx((1, 1), abs=0.02)
    assert view.spacing_mm[0] == pytest.approx(2 if grid == "sagittal" else 3, abs=0.05)  # thick slices stay
    native = np.linalg.inv(image.affine) @ view.affine
    index = np.moveaxis(np.indices(view.shape), 0, -1) @ native[:3, :3].T + native[:3, 3]
    expected = ndimage.map_coordinates(image.voxels, np.moveaxis(index, -1, 0), order=1, mode="nearest")
    assert np.abs(view.voxels - expected).mean() < 1.0


@every_grid
def test_the_target_is_a_blob_about_the_middle_and_nothing_beyond_the_end(grid):
    image, tube = make_tube(grid)
    target = axial_target(tube, SETTINGS)
    assert target.same_grid(axial_view(image, SETTINGS))
    shares = target.shares[0]
    there = np.flatnonzero(shares.max(axis=(1, 2)) > 0)
    for number in there[3:-3]:
        index = np.array([number, *ndimage.center_of_mass(shares[number]), 1])
        x, y, z = (target.affine @ index)[:3]
        assert np.hypot(*(middle(np.array(z)) - [x, y])) < 0.7
    assert shares.max() == pytest.approx(1, abs=0.05)
    assert np.array_equal(target.voxels > 0, shares > 0.5)
    heights = np.array([(target.affine @ [n, *(k / 2 for k in shares.shape[1:]), 1])[2] for n in there])
    assert heights.min() > -50
    assert heights.max() < 52
    assert len(there) < len(shares)


def test_what_was_not_drawn_is_unknown_to_a_finder_and_what_is_absent_is_nothing():
    _, tube = make_tube("axial")
    unknown = axial_target(
        LabelMap(tube.voxels * 0, AXIAL, TUBE, annotated=frozenset({2}), source=SOURCE), SETTINGS, [1]
    )
    assert not unknown.is_annotated(1)
    absent = axial_target(LabelMap(tube.voxels * 0, AXIAL, TUBE, source=SOURCE), SETTINGS, [1])
    assert absent.is_annotated(1)
    assert absent.shares.max() == 0
