"""The network's grid: its axes as nibabel names them, every voxel in its place, and exactly back."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import torch
from loops import for_each
from scipy import ndimage

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import LPS_TO_RAS, affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, SliceSource, Source
from autoseg.model.preprocessing.volume_grids import axes_of, grid_of, plan_volume, to_native, to_network
from autoseg.model.settings.settings import VolumeSettings

CODES = ["".join(code) for order in permutations(("RL", "AP", "IS")) for code in product(*order)]
OTHER_END = dict(zip("RLAPIS", "LRPASI", strict=True))
# Axial, sagittal and coronal slices, as scanners lay them, each also obliquely.
PLANES = {
    "axial": ((1, 0, 0, 0, 1, 0), (0, 0, 1)),
    "sagittal": ((0, 1, 0, 0, 0, -1), (1, 0, 0)),
    "coronal": ((1, 0, 0, 0, 0, -1), (0, 1, 0)),
}
SPACING = (3.0, 0.6, 0.9)


def _affine(plane="axial", *, tilt_deg=0.0, spacing=SPACING):
    rows, across = PLANES[plane]
    affine = affine_from_axes(
        position_mm=(-31.0, 12.5, 200.0),
        orientation=rows,
        pixel_spacing_mm=spacing[1:],
        slice_step_mm=np.multiply(across, spacing[0]),
    )
    a, b = np.deg2rad([tilt_deg, tilt_deg / 2])
    turn = np.eye(4)
    turn[:3, :3] = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) @ np.array(
        [[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]
    )
    return turn @ affine


def _image(shape, affine):
    return Image(
        np.zeros(shape, np.float32), affine, source=Source(spacing_source="header", slice_spacing_source="header")
    )


def _grid(shape, affine, **settings):
    return grid_of(_image(shape, affine), VolumeSettings(**settings))


def _network_spacing(affine, code, spacing=SPACING):
    return tuple(spacing[axis] for axis in axes_of(affine, code)[0])


@for_each(product(CODES, PLANES))
def test_axes_begin_where_the_letters_say(case):
    code, plane = case
    affine = _affine(plane, tilt_deg=20)
    grid = _grid((5, 7, 6), affine, orientation=code, spacing_mm=_network_spacing(affine, code))
    # nibabel names the end of each axis, of affines to the right, the front and the head.
    ends = nibabel.aff2axcodes(LPS_TO_RAS @ grid.affine(affine))
    assert "".join(OTHER_END[letter] for letter in ends) == code


@for_each(product(CODES, PLANES))
def test_turned_as_nibabel_turns(case):
    code, plane = case
    affine, shape = _affine(plane, tilt_deg=15), (5, 7, 6)
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    grid = _grid(shape, affine, orientation=code, spacing_mm=_network_spacing(affine, code))
    ours = to_network(torch.from_numpy(voxels)[None], grid)[0].numpy()
    target = nibabel.orientations.axcodes2ornt([OTHER_END[letter] for letter in code])
    own = nibabel.io_orientation(LPS_TO_RAS @ affine)
    expected = nibabel.Nifti1Image(voxels, LPS_TO_RAS @ affine).as_reoriented(
        nibabel.orientations.ornt_transform(own, target)
    )
    np.testing.assert_array_equal(ours, expected.get_fdata(dtype=np.float32))
    np.testing.assert_allclose(LPS_TO_RAS @ grid.affine(affine), expected.affine, atol=1e-9)


@for_each(product(CODES, PLANES, (0, 25)))
def test_labels_come_back_voxel_by_voxel(case):
    code, plane, tilt_deg = case
    affine, shape = _affine(plane, tilt_deg=tilt_deg), (5, 8, 6)
    labels = np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)
    grid = _grid(shape, affine, orientation=code, spacing_mm=_network_spacing(affine, code))
    there = to_network(torch.from_numpy(labels)[None], grid, mode="nearest")[0]
    classes = torch.stack([there == k for k in range(4)]).half()
    for chosen in (slice(None), slice(1, 4), slice(4, 5)):
        back = to_native(classes, grid, chosen)
        np.testing.assert_array_equal(back.argmax(1).numpy(), labels[chosen])
        assert set(back.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("factor", [2, 3])
def test_labels_come_back_from_a_finer_grid(factor):
    affine, shape = _affine(), (5, 8, 6)
    labels = np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)
    finer = tuple(mm / factor for mm in _network_spacing(affine, "RPI"))
    grid = _grid(shape, affine, spacing_mm=finer)
    there = to_network(torch.from_numpy(labels)[None], grid, mode="nearest")[0]
    classes = torch.stack([there == k for k in range(4)]).half()
    np.testing.assert_array_equal(to_native(classes, grid, slice(None)).argmax(1).numpy(), labels)


def _triangle(count, size):
    """Weights of a linear resampling of one axis: a triangle as wide as the larger voxel, in double precision."""
    middles = (np.arange(size) + 0.5) * count / size - 0.5
    weights = np.clip(1 - np.abs(np.arange(count) - middles[:, None]) / max(1, count / size), 0, None)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "network_mm", [(1.1, 0.5, 3.0), (0.6, 2.0, 1.0), (0.9, 0.6, 6.0), (0.9, 1.3, 3.0), (0.4, 0.6, 3.0)]
)
def test_intensities_are_resampled_along_every_axis(network_mm):
    affine, shape = _affine(), (7, 20, 16)
    voxels = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    grid = _grid(shape, affine, orientation="LAI", spacing_mm=network_mm)
    turned = voxels.transpose(0, 3, 2, 1)[:, ::-1]  # RPS-like slices: columns run to the left, rows to the back
    expected = turned.astype(np.float64)
    for axis, size in enumerate(grid.network, start=1):
        expected = np.moveaxis(np.tensordot(_triangle(turned.shape[axis], size), expected, (1, axis)), 0, axis)
    np.testing.assert_allclose(to_network(torch.from_numpy(voxels), grid).numpy(), expected, atol=2e-5)


def test_finer_voxels_are_as_scipy_interpolates():
    affine, shape = affine_from_spacing((2.0, 1.0, 1.0)), (9, 12, 10)
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    grid = _grid(shape, affine, orientation="RAI", spacing_mm=(0.7, 0.5, 0.9))
    ours = to_network(torch.from_numpy(voxels)[None], grid)[0].numpy()
    places = np.stack(np.meshgrid(*(np.arange(n) for n in grid.network), [1], indexing="ij")).reshape(4, -1)
    native = np.linalg.solve(affine, grid.affine(affine) @ places)[:3]
    expected = ndimage.map_coordinates(voxels.astype(float), native, order=1, mode="nearest")
    np.testing.assert_allclose(ours.ravel(), expected, atol=2e-5)


def test_slices_are_read_back_as_scipy_does():
    affine, shape = _affine("sagittal"), (6, 15, 14)
    grid = _grid(shape, affine, spacing_mm=(2.2, 0.75, 1.1))
    volume = torch.rand(2, *grid.network)
    back = to_native(volume, grid, slice(1, 5)).numpy()
    index = np.stack(np.meshgrid(range(1, 5), range(15), range(14), [1], indexing="ij")).reshape(4, -1)
    places = np.linalg.solve(grid.affine(affine), affine @ index)[:3]
    for k in range(2):
        expected = ndimage.map_coordinates(volume[k].double().numpy(), places, order=1, mode="nearest")
        np.testing.assert_allclose(back[:, k].ravel(), expected, atol=1e-4)


def _ball(affine, shape, middle_mm, radius_mm):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), [1], indexing="ij"))
    places = np.tensordot(affine, index, 1)[:3, ..., 0]
    return np.linalg.norm(places - np.reshape(middle_mm, (3, 1, 1, 1)), axis=0) <= radius_mm


def _centroid(weights, affine):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in weights.shape), indexing="ij")).reshape(3, -1)
    return affine[:3, :3] @ (index @ weights.ravel() / weights.sum()) + affine[:3, 3]


NETWORK_MM = ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.5, 0.5, 0.5), (1.5, 1.5, 1.5), (2.0, 1.0, 1.3))


@for_each(product(("RPI", "SLA"), PLANES, NETWORK_MM))
def test_a_ball_stays_where_it_is_in_the_patient(case):
    code, plane, network_mm = case
    shape, spacing = (30, 62, 58), (1.6, 0.8, 0.8)
    affine = _affine(plane, tilt_deg=10, spacing=spacing)
    middle = affine[:3, :3] @ (14.2, 30.3, 29.1) + affine[:3, 3]
    ball = _ball(affine, shape, middle, 15.0)
    grid = _grid(shape, affine, orientation=code, spacing_mm=network_mm)
    step = grid.affine(affine)
    wanted = _centroid(ball.astype(float), affine)
    larger_mm = np.maximum(grid.spacing_mm, [spacing[axis] for axis in grid.axes])

    def apart(weights):
        """Parts of a voxel, the larger one, along the network's axes."""
        moved = np.linalg.solve(step[:3, :3], _centroid(weights, step) - wanted) * grid.spacing_mm
        return np.abs(moved / larger_mm).max()

    labels = to_network(torch.from_numpy(ball.astype(np.uint8))[None], grid, mode="nearest")[0]
    assert apart(labels.numpy().astype(float)) < 0.05
    assert float(labels.sum()) * np.prod(grid.spacing_mm) == pytest.approx(ball.sum() * np.prod(spacing), rel=0.03)
    shares = to_network(torch.from_numpy(ball.astype(np.float32))[None], grid)
    assert apart(shares[0].double().numpy()) < 0.05
    back = to_native(shares, grid, slice(None))[:, 0].double().numpy()
    assert np.abs(_centroid(back, affine) - wanted).max() < 0.05 * min(spacing)


def test_voxels_twice_as_large_move_no_label():
    """Each middle lies between two voxels: rounded one way, an edge would move by a quarter of a voxel."""
    shape, affine = (4, 64, 64), affine_from_spacing((1.0, 1.0, 1.0))
    labels = np.zeros(shape, np.uint8)
    labels[:, 21:40, 11:50] = 1  # edges at odd and even pixels
    for code in ("RAI", "LPI"):
        grid = _grid(shape, affine, orientation=code, spacing_mm=(2.0, 2.0, 1.0))
        found = to_network(torch.from_numpy(labels)[None], grid, mode="nearest")[0].double().numpy()
        np.testing.assert_allclose(
            _centroid(found, grid.affine(affine)), _centroid(labels.astype(float), affine), atol=0.05
        )


def test_the_grid_is_the_median_spacing_along_the_networks_axes():
    images = [
        _image((5, 8, 6), _affine("sagittal", spacing=(s, 0.5, 0.7))) for s in (2.0, 4.0, 3.0)
    ]  # rows to the feet, columns to the back
    assert plan_volume(VolumeSettings(), images).spacing_mm == (3.0, 0.7, 0.5)
    assert plan_volume(VolumeSettings(orientation="SRA"), images).spacing_mm == (0.5, 3.0, 0.7)
    typed = VolumeSettings(spacing_mm=(1.0, 1.0, 1.0))
    assert plan_volume(typed, images) == typed


def test_both_grids_span_the_same_millimetres():
    grid = _grid((5, 30, 40), _affine(), spacing_mm=(0.7, 0.7, 4.0))
    assert grid.network == (round(36 / 0.7), round(18 / 0.7), 4)
    np.testing.assert_allclose(np.multiply(grid.network, grid.spacing_mm), (40 * 0.9, 30 * 0.6, 15.0))


def test_a_single_slice_is_no_volume():
    image = Image(np.zeros((1, 8, 8)), affine_from_spacing((1, 1, 1)), source=Source(case_id="knee"))
    for ask in (
        lambda: plan_volume(VolumeSettings(), [image]),
        lambda: _grid((1, 8, 8), affine_from_spacing((1, 1, 1))),
    ):
        with pytest.raises(DataError, match=r"single slice.*whole series.*spatial_dims = 2"):
            ask()


def test_no_millimetres_no_volume():
    source = Source(case_id="knee")
    with pytest.raises(GeometryError, match=r"knee has no pixel spacing in its header.*Type what is missing"):
        grid_of(Image(np.zeros((3, 8, 8)), source=source), VolumeSettings(spacing_mm=(1, 1, 1)))


def test_slices_of_unknown_distance_are_no_volume(tmp_path):
    slices = tuple(SliceSource(tmp_path / f"{k}.png") for k in range(3))
    image = Image(np.zeros((3, 8, 8)), affine_from_spacing((1, 1, 1)), source=Source(slices=slices))
    with pytest.raises(GeometryError, match=r"0\.png has no distance between its slices"):
        grid_of(image, VolumeSettings(spacing_mm=(1, 1, 1)))


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, float("nan"))])
def test_a_spacing_of_0_is_no_image(spacing):
    with pytest.raises(GeometryError, match=r"a spacing is 0|NaN"):
        _image((3, 8, 8), np.diag([*spacing, 1.0]))


def test_a_volume_beyond_all_measure_is_refused():
    with pytest.raises(GeometryError, match=r"would have .* × .* voxels.*Check its spacing and volume\.spacing_mm"):
        _grid((5, 400, 400), affine_from_spacing((5, 100, 100)), spacing_mm=(1.0, 1.0, 1.0))


def test_without_a_chosen_grid_nothing_is_built():
    with pytest.raises(DataError, match=r"give volume\.spacing_mm"):
        _grid((5, 8, 8), _affine())
