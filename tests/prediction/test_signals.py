"""A second look comes back to where the first one lies, and the signals are what can be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair
from torch import nn
from untrained import untrained_model

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import AugmentationSettings, PreprocessSettings, VolumeSettings
from autoseg.prediction import predict, predict_and_look
from autoseg.prediction.ensemble import Inference
from autoseg.prediction.second_look import SecondLook, second_look
from autoseg.prediction.signals import SIGNALS, Signals

BOTH = (Structure(1, "grey", includes=()), Structure(2, "cord", includes=(1,)))


class Levels(nn.Module):
    """A network that takes each pixel for the class whose level is nearest to its intensity."""

    def __init__(self, levels):
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels, dtype=torch.float32))

    def forward(self, images):
        shape = (1, -1) + (1,) * (images.dim() - 2)
        return -8 * (images - self.levels.reshape(shape)).abs()


def _reader(monkeypatch, image, **changes):
    """Give a model that reads the discs of `make_pair` off an image, in 2-D or 3-D."""
    flat = image.voxels.astype(np.float64)
    mean, sd = flat.mean((1, 2)).mean(), flat.std((1, 2)).mean()
    levels = [(level - mean) / sd for level in (0, 100, 50)]
    monkeypatch.setattr(TrainedModel, "build", lambda self: Levels(levels).eval())
    model = untrained_model()
    settings = replace(model.settings, **changes)
    return replace(model, settings=settings, structures=STRUCTURES)


WAYS = {
    "whole slices": {"preprocess": PreprocessSettings(spacing_mm=1.5)},
    "a region": {"preprocess": PreprocessSettings(spacing_mm=1.5, crop_mm=(60.0, 66.0))},
    "tiles": {"preprocess": PreprocessSettings(spacing_mm=1.5, crop_mm=(60.0, 66.0), find_region="whole")},
    "volumes": {
        "spatial_dims": 3,
        "volume": VolumeSettings(spacing_mm=(1.5, 1.5, 1.5), patch_size=(40, 48, 8), orientation="RPI"),
        "augmentation": AugmentationSettings.volumes(),
    },
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_what_a_network_is_sure_of_it_finds_again_at_the_same_place(monkeypatch, changes):
    image, reference = make_pair(3, slices=5, spacing=(1.5, 1.5, 1.5), size=(72, 60))
    model = _reader(monkeypatch, image, **changes)
    found = predict_and_look(model, image, Inference(look=True, batch_size=2))
    np.testing.assert_array_equal(found.label_map.voxels, predict(model, image).voxels)
    signals = dict(zip(SIGNALS, np.moveaxis(found.signals, -1, 0), strict=True))
    assert found.signals.shape == (5, 2, len(SIGNALS))
    # Each slice is another phantom, which a turned and thicker volume smears.
    assert signals["agreement"].min() > 0.85
    core = reference.mask(1).sum((1, 2)) * 1.5**2
    np.testing.assert_allclose(signals["area"][:, 0], core, rtol=0.12)
    np.testing.assert_allclose(signals["area_again"][:, 0], core, rtol=0.25)


def test_the_second_look_is_turned_and_costs_less_than_the_first(monkeypatch):
    image, _ = make_pair(3, slices=1, spacing=(1.5, 1.5, 1.5))
    model = _reader(monkeypatch, image, **WAYS["whole slices"])
    seen = []
    monkeypatch.setattr(Levels, "forward", lambda self, images: seen.append(images) or images.repeat(1, 3, 1, 1))
    predict_and_look(model, image, Inference(look=True))
    first, second = seen
    assert first.shape[2:] == (64, 64)
    assert second.shape[2:] == (55, 55)
    again = nn.functional.interpolate(first, (55, 55), mode="bilinear", antialias=True)
    assert (again - second).abs().mean() > 0.05


def test_nothing_is_looked_at_twice_unless_it_is_wished_for():
    image, _ = make_pair(1)
    assert predict_and_look(untrained_model(), image).signals is None


def test_several_models_look_together(monkeypatch):
    image, _ = make_pair(3, slices=2, spacing=(1.5, 1.5, 1.5))
    model = _reader(monkeypatch, image, **WAYS["whole slices"])
    alone = predict_and_look(model, image, Inference(look=True)).signals
    other = replace(model, name="other", structures=STRUCTURES[::-1])
    other = replace(other, structures=STRUCTURES)
    together = predict_and_look((model, other), image, Inference(look=True)).signals
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_signals_are_what_is_counted_by_hand():
    """Three slices of 2 x 2 pixels of 3 mm²; on the last one nothing is found."""
    affine = affine_from_spacing((5.0, 1.5, 2.0))
    first = np.zeros((3, 3, 2, 2), np.float32)
    first[:, 1, 0, 0] = [0.9, 0.6, 0.0]  # grey
    first[:, 2, 0, 1] = [0.8, 0.7, 0.2]  # cord
    first[:, 0] = 1 - first[:, 1:].sum(1)
    second = first.copy()
    second[1, 1, 0, 0], second[1, 0, 0, 0] = 0.1, 0.9  # the grey matter of the second slice is not found again
    signals = Signals(BOTH, (3, 2, 2), (), 3.0)
    labels = np.zeros((3, 2, 2), np.uint8)
    labels[:2, 0, 0], labels[:2, 0, 1] = 1, 2
    signals.add(slice(0, 3), first, second, labels)
    found = signals.of(LabelMap(labels, affine, BOTH, source=Source(case_id="cord")))
    value = {name: found[..., place] for place, name in enumerate(SIGNALS)}
    np.testing.assert_allclose(value["area"], [[3, 6], [3, 6], [0, 0]])
    np.testing.assert_allclose(value["area_again"], [[3, 6], [0, 3], [0, 0]])
    np.testing.assert_allclose(value["sum"], [[2.7, 5.1], [1.8, 3.9], [0, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(value["agreement"], [[1, 1], [0, 2 / 3], [1, 1]], rtol=1e-6)
    np.testing.assert_allclose(value["own_dice"][:2, 0], [1.8 / 1.9, 1.2 / 1.6], rtol=1e-6)
    np.testing.assert_allclose(value["peak"], [[0.9, 0.9], [0.6, 0.7], [0, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(value["soft_agreement"][1, 0], 2 * 0.06 / (0.36 + 0.01), rtol=1e-5)
    np.testing.assert_allclose(value["spread"][0, 0], 0.1, rtol=1e-5)
    np.testing.assert_allclose(value["beside"][:, 0], [1, 0.5, 0])
    np.testing.assert_allclose(value["area_beside"][:, 1], [6, 3, 6])


def test_a_single_slice_has_nothing_beside_it():
    signals = Signals(BOTH[:1], (1, 2, 2), (StructurePostprocess(largest_component=True),), 1.0)
    likely = np.zeros((1, 2, 2, 2), np.float32)
    signals.add(slice(0, 1), likely, likely, np.zeros((1, 2, 2), np.uint8))
    found = signals.of(LabelMap(np.zeros((1, 2, 2), np.uint8), None, BOTH[:1], source=Source(case_id="one")))
    missing = [name for name, value in zip(SIGNALS, found[0, 0], strict=True) if np.isnan(value)]
    assert missing == ["beside", "area_beside"]


def test_thick_slices_are_turned_in_their_plane_only():
    matrix = SecondLook(12, 0.8).matrix((1.0, 5.0, 1.0), torch.device("cpu"))
    assert matrix[1].tolist() == matrix[:, 1].tolist() == [0, 1.25, 0]
    assert matrix[0, 2] == -matrix[2, 0] != 0


def test_it_is_not_turned_or_zoomed_more_than_training_saw():
    assert second_look(AugmentationSettings(rotation_deg=5, zoom=(0.9, 1.2), scaling_probability=0)) == SecondLook(
        5, 0.9
    )
    assert second_look(AugmentationSettings.manual()) == SecondLook(5, 0.85)
