"""What an image looks like to a model: numbers for every network, of some slices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import make_pair
from untrained import STRUCTURES

from autoseg.errors import DataError
from autoseg.model.model import TrainedModel
from autoseg.model.networks import NETWORKS, build_network
from autoseg.model.networks.build import KINDS
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings, VolumeSettings
from autoseg.model.trust.turned import CHANGES, HALF_TURN, INVERTED, LAYOUT, MIRRORED, UPSIDE_DOWN
from autoseg.prediction.appearance import SLICES, look_at, window_for

SMALL = {
    "unet": (4, 8, 16),
    "resunet": (4, 8, 16),
    "shallow": (4, 8, 8, 16, 8, 8),
    "unext": (4, 8, 8, 8, 8),
    "efficientnet": (4, 8, 40),  # as many as its contracting path has there, whatever is asked for
    "pyramid": (2, 4, 4, 8, 8),
    "maskdino": (4, 4, 8, 8, 16),
    "dilated": (16, 16),
}
WIDE = [(name, 2) for name in KINDS] + [(name, 3) for name, kind in NETWORKS.items() if 3 in kind.spatial_dims]


def made(name, dims=2, neighbours=0):
    torch.manual_seed(0)
    network = NetworkSettings(name=name, filters=SMALL[name])
    settings = Settings(
        spatial_dims=dims,
        network=network,
        preprocess=PreprocessSettings(spacing_mm=3.0, neighbours=neighbours),
        volume=VolumeSettings(spacing_mm=(3.0, 3.0, 3.0), patch_size=(16, 16, 8)),
    )
    built = build_network(network, in_channels=1 + 2 * neighbours, out_channels=3, spatial_dims=dims)
    return TrainedModel("made", settings, STRUCTURES, ("image",), built.state_dict())


@pytest.mark.parametrize(("name", "dims"), WIDE)
def test_every_network_gives_its_deepest_features(name, dims):
    model, (image, _) = made(name, dims), make_pair(3, slices=9)
    looks = look_at(model, image, window_for(model, [image]))
    sizes = {part: numbers.shape for part, numbers in looks.parts.items()}
    assert sizes["layout"] == (SLICES, LAYOUT)
    assert {size[0] for size in sizes.values()} == {SLICES}
    assert sizes["network"][1] in SMALL[name]
    assert all(np.isfinite(numbers).all() for numbers in looks.parts.values())
    darker = look_at(model, replace(image, voxels=image.voxels * 0.1 - 5), (20, 20))
    assert np.allclose(darker.parts["network"], look_at(model, image, (20, 20)).parts["network"], atol=1e-3)


def test_what_the_network_would_see_of_a_changed_image_is_what_it_sees_of_it():
    model, (image, _) = made("unet"), make_pair(3, slices=2)
    looks, window = look_at(model, image, (20, 20)), (20, 20)
    ways = {
        UPSIDE_DOWN: image.voxels[:, ::-1],
        MIRRORED: image.voxels[..., ::-1],
        HALF_TURN: image.voxels[:, ::-1, ::-1],
        INVERTED: -image.voxels,
    }
    assert set(looks.changed) == set(CHANGES)
    for change, voxels in ways.items():
        other = look_at(model, replace(image, voxels=np.ascontiguousarray(voxels)), window)
        assert np.allclose(looks.changed[change], other.parts["network"], atol=1e-3), change
        assert not np.allclose(looks.parts["network"], other.parts["network"], atol=1e-3), change


def test_neighbours_are_seen_by_the_network_and_the_slice_itself_is_described():
    model, (image, _) = made("unet", neighbours=1), make_pair(3, slices=4)
    plain = made("unet")
    for part in ("intensities", "texture", "layout"):
        both = [look_at(one, image, (20, 20)).parts[part] for one in (model, plain)]
        np.testing.assert_allclose(*both, atol=1e-5)


def test_a_window_that_is_larger_than_the_image_repeats_its_edge_and_nan_is_refused():
    model, (image, _) = made("unet"), make_pair(3, slices=2)
    assert np.isfinite(look_at(model, image, (90, 90)).parts["layout"]).all()
    spoilt = image.voxels.copy()
    spoilt[1, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        look_at(model, replace(image, voxels=spoilt), (20, 20))
