import numpy as np
import pytest
import torch

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, Source
from autoseg.model.centreline import Centreline, plan_crop
from autoseg.model.preprocessing.volume_grids import grid_of, to_network
from autoseg.model.settings.settings import VolumeSettings

SOURCE = Source(case_id="tube", spacing_source="header", slice_spacing_source="header")


def make_volume(orientation="RPI", size=(20, 30, 34), spacing=(2.0, 1.0, 1.0)):
    affine = affine_from_spacing(spacing, (-17, -15, -20))
    image = Image(np.random.default_rng(0).normal(size=size).astype(np.float32), affine, source=SOURCE)
    settings = VolumeSettings(orientation=orientation, spacing_mm=(1.0, 1.0, 1.0), crop_mm=(9.0, 12.0))
    return image, settings, grid_of(image, settings)


def leaning(x=(-6, 6), y=(-5, 5)):
    z = np.linspace(-20, 20, 41)
    return Centreline(np.column_stack([np.linspace(*x, 41), np.linspace(*y, 41), z]), "clicked")


@pytest.mark.parametrize("orientation", ["RPI", "IAR", "LSA", "PIL"])
def test_put_back_undoes_the_crop_inside_and_leaves_the_rest_as_background(orientation):
    image, settings, grid = make_volume(orientation)
    crop = plan_crop(leaning(), grid, image, settings)
    volume = to_network(torch.from_numpy(image.voxels)[None].repeat(2, 1, 1, 1), grid) + torch.tensor(
        [0.0, 100.0]
    ).view(2, 1, 1, 1)
    part = crop.cut(volume)
    assert tuple(part.shape[1:]) == crop.shape
    back = crop.put_back(part, outside=torch.tensor([-7.0, 7.0]))
    inside = crop.put_back(torch.ones_like(part), outside=torch.zeros(2)).bool()
    assert torch.equal(back[inside], volume[inside])
    assert (back[0][~inside[0]] == -7).all()
    assert (back[1][~inside[1]] == 7).all()
    assert int(inside[0].sum()) == np.prod(crop.shape)  # nothing of it leaves the image


@pytest.mark.parametrize("orientation", ["RPI", "LSA"])
def test_the_curve_lies_in_the_middle_of_every_slice_of_the_crop(orientation):
    image, settings, grid = make_volume(orientation)
    line, affine = leaning(), grid.affine(image.affine)
    crop = plan_crop(line, grid, image, settings)
    across = [k for k in range(3) if k != crop.axis]
    index = torch.from_numpy(np.indices(grid.network)).double()
    points = torch.einsum("ij,jxyz->ixyz", torch.from_numpy(affine[:3, :3]), index) + torch.from_numpy(
        affine[:3, 3]
    ).view(3, 1, 1, 1)
    seen = crop.cut(points).movedim(1 + crop.axis, 1).numpy()
    middle = seen.mean(axis=(2, 3)).T
    away = middle - line.at(middle[:, 2])
    assert np.abs(away[:, :2]).max() <= 0.5 + 1e-6
    letters = [orientation[k] for k in across]
    widths = {letter: mm for letter, mm in zip(letters, (9, 12), strict=True)}
    assert np.ptp(seen[0][0]) + 1 == next(mm for letter, mm in widths.items() if letter in "RL")
    assert np.ptp(seen[1][0]) + 1 == next(mm for letter, mm in widths.items() if letter in "AP")


def test_a_crop_that_leaves_the_image_is_padded():
    image, settings, grid = make_volume()
    crop = plan_crop(leaning(x=(-16, -16)), grid, image, settings)
    assert crop.starts[:, 0].min() < 0
    volume = to_network(torch.from_numpy(image.voxels)[None], grid)
    part, filled = crop.cut(volume), crop.cut(volume, outside=-50.0)
    outside = filled == -50.0
    assert outside.any()
    assert torch.equal(filled[~outside], part[~outside])
    assert set(part[outside].tolist()) <= set(volume.flatten().tolist())  # the image's edge
    back = crop.put_back(part, outside=torch.zeros(1))
    inside = crop.put_back(torch.ones_like(part), outside=torch.zeros(1)).bool()
    assert torch.equal(back[inside], volume[inside])
    assert int(inside.sum()) == int((~outside).sum())


def test_where_the_curve_leaves_the_image_on_some_slices_the_crop_stays_at_its_edge():
    image, settings, grid = make_volume()
    crop = plan_crop(leaning(x=(0, 60)), grid, image, settings)
    assert crop.starts[-1, 0] + (crop.size[0] - 1) / 2 == pytest.approx(33, abs=0.5)


@pytest.mark.parametrize(
    "line",
    [leaning(x=(80, 90)), Centreline(np.array([[0, 0, 300], [0, 0, 340.0]]), "automatic")],
    ids=["beside", "above"],
)
def test_a_centreline_that_leaves_the_image_altogether_is_an_error(line):
    image, settings, grid = make_volume()
    with pytest.raises(DataError, match=r"tube: the centreline .* does not meet the image"):
        plan_crop(line, grid, image, settings)
