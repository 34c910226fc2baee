"""Prediction lies on the image's own grid, and its areas are those of what was shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings
from torch import nn

from autoseg.errors import DataError, GeometryError, SettingsError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel, load_model, save_model
from autoseg.model.networks import build_network
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.settings.settings import AugmentationSettings, NetworkSettings, PreprocessSettings, Settings
from autoseg.prediction import predict, predict_probabilities
from autoseg.prediction.ensemble import Inference
from autoseg.prediction.slices import SliceRun
from autoseg.training.training import train


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_reading(monkeypatch)
        return train(make_split(range(12), [20]), quick_settings(epochs=20), structures=STRUCTURES)


def _dice(one, two):
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize(
    ("size", "spacing"), [((64, 64), (8, 1.5, 1.5)), ((50, 111), (8, 2.0, 0.9)), ((133, 90), (8, 0.8, 1.1))]
)
def test_it_lies_on_the_images_grid_whatever_that_is(model, size, spacing):
    image, reference = make_pair(33, size=size, spacing=spacing, slices=3)
    predicted = predict(model, image, batch_size=2)
    assert predicted.same_grid(image)
    assert predicted.source == image.source
    assert set(np.unique(predicted.voxels)) <= {0, 1, 5}
    assert _dice(predicted.mask(1), reference.mask(1)) > 0.85
    assert predicted.mask(1).sum() == pytest.approx(reference.mask(1).sum(), rel=0.15)


def test_batches_and_scale_of_intensities_do_not_matter(model):
    image, _ = make_pair(40, slices=5)
    one = predict(model, image, batch_size=1).voxels
    np.testing.assert_array_equal(one, predict(model, image, batch_size=5).voxels)
    louder = Image(image.voxels * 40 + 1000, image.affine, source=image.source)
    assert (one != predict(model, louder).voxels).mean() < 1e-3


def test_progress_is_told(model):
    told = []
    predict(model, make_pair(1, slices=5)[0], batch_size=2, on_slices=lambda *numbers: told.append(numbers))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_what_does_not_fit_is_refused(model):
    image, _ = make_pair(1)
    with pytest.raises(GeometryError, match="no pixel spacing"):
        predict(model, Image(image.voxels))
    two = Image(np.stack([image.voxels] * 2), image.affine, channels=("t1", "t2"))
    with pytest.raises(DataError, match=r"2 channels and the model .* trained on 1"):
        predict(model, two)


def test_a_model_of_fixed_shape_needs_no_millimetres(monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=1, preprocess=PreprocessSettings(input_shape=(48, 48)))
    fixed = train(make_split([0], [1]), settings, structures=STRUCTURES)
    predicted = predict(fixed, Image(make_pair(1)[0].voxels))
    assert predicted.shape == (2, 64, 64)
    assert predicted.affine is None


def test_probabilities_lie_on_the_images_grid_and_predict_takes_the_largest(model):
    image, _ = make_pair(33, size=(50, 111), spacing=(8, 2.0, 0.9), slices=3)
    parts = list(predict_probabilities(model, image, Inference(batch_size=2)))
    assert [part[0] for part in parts] == [slice(0, 2), slice(2, 3)]
    probabilities = np.concatenate([part[1] for part in parts])
    assert (probabilities.shape, probabilities.dtype) == ((3, 3, 50, 111), np.float32)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(np.array([0, 1, 5])[probabilities.argmax(1)], predict(model, image).voxels)


def test_the_models_own_post_processing_is_applied(model):
    image, _ = make_pair(33)
    plain = predict(model, image)
    post = (StructurePostprocess(erosions=1), StructurePostprocess(threshold=0.05))
    cleaned = predict(replace(model, postprocess=post), image)
    assert (cleaned.voxels == 1).sum() < (plain.voxels == 1).sum()
    assert (cleaned.voxels == 5).sum() > (plain.voxels == 5).sum()
    assert cleaned.same_grid(image)


# --- crops


def _aside(number, corner, size=(150, 141), spacing=1.5):
    """A slanting stack whose structures lie at `corner`, far from the image's middle."""
    image, label_map = make_pair(number, slices=3)
    voxels = np.random.default_rng(number).normal(0, 8, (3, *size)).astype(np.float32)
    labels = np.zeros((3, *size), dtype=np.uint8)
    for index in range(3):
        here = (index, slice(corner[0] + 4 * index, corner[0] + 4 * index + 64), slice(corner[1], corner[1] + 64))
        voxels[here], labels[here] = image.voxels[index], label_map.voxels[index]
    affine = image.affine if spacing else None
    source = Source(case_id=f"case{number}", subject_id=f"subject{number}", spacing_source="header")
    return Image(voxels, affine, source=source), LabelMap(labels, affine, STRUCTURES, source=source)


def _cropped_model(preprocess, spacing=1.5):
    def read(case, structures):
        number = int(case.case_id.removeprefix("case"))
        corner = np.random.default_rng(number).integers(0, (60, 70))
        return _aside(number, corner, spacing=spacing)

    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_reading(monkeypatch)
        monkeypatch.setattr("autoseg.model.dataset.build.read_case", read)
        return train(make_split(range(12)), quick_settings(epochs=14, preprocess=preprocess), structures=STRUCTURES)


@pytest.fixture(scope="module")
def cropped():
    return _cropped_model(PreprocessSettings(spacing_mm=3.0, crop_mm=(80, 80)))


@pytest.mark.parametrize("corner", [(2, 70), (60, 3), (30, 40)])
@pytest.mark.parametrize("find_region", ["coarse", "whole"])
def test_a_model_of_crops_finds_its_region_wherever_it_lies(cropped, corner, find_region):
    image, reference = _aside(77, corner)
    preprocess = replace(cropped.settings.preprocess, find_region=find_region)
    model = replace(cropped, settings=replace(cropped.settings, preprocess=preprocess))
    predicted = predict(model, image, batch_size=2)
    assert predicted.same_grid(image)
    assert _dice(predicted.mask(1), reference.mask(1)) > 0.85
    assert _dice(predicted.mask(5), reference.mask(5)) > 0.7


def test_outside_the_region_is_background(cropped):
    image, _ = _aside(77, (60, 3))
    probabilities = np.concatenate([part for _, part in predict_probabilities(cropped, image)])
    assert (probabilities[:, 0, :30] == 1).all()
    assert (probabilities[:, 1:, :30] == 0).all()
    seen = (probabilities[:, 1:].max(1) > 0).sum(axis=(1, 2)) * 1.5**2
    assert (seen < 1.1 * 84**2).all()


def test_a_structure_that_goes_on_beyond_its_region_is_told(cropped):
    image, _ = _aside(77, (30, 40))
    voxels = image.voxels.copy()
    voxels[1, 20:140, 60:70] = 100
    with pytest.warns(UserWarning, match=r"on 1 of 3 slices .* reaches the edge"):
        predict(cropped, Image(voxels, image.affine, source=image.source))


def test_crops_in_pixels_need_no_millimetres():
    settings = PreprocessSettings(input_shape=(75, 70), crop_shape=(27, 27))
    model = _cropped_model(settings, spacing=None)
    image, reference = _aside(77, (60, 3), spacing=None)
    predicted = predict(model, image)
    assert predicted.affine is None
    assert _dice(predicted.mask(1), reference.mask(1)) > 0.85


@pytest.mark.gpu
def test_a_gpu_gives_the_processors_areas(model, monkeypatch):
    image, _ = make_pair(50, slices=4)
    on_gpu = predict(model, image)
    monkeypatch.setattr("autoseg.prediction.slices.choose_device", lambda: torch.device("cpu"))
    on_cpu = predict(model, image)
    assert on_gpu.mask(1).sum() == pytest.approx(on_cpu.mask(1).sum(), rel=0.01)


def test_areas_are_reported_in_float32_whatever_the_training_used(model):
    image, _ = make_pair(60, slices=3)
    in_bfloat16 = replace(model, settings=replace(model.settings, precision="bfloat16"))
    np.testing.assert_array_equal(predict(model, image).voxels, predict(in_bfloat16, image).voxels)
    fast = predict(model, image, precision="bfloat16")
    assert fast.mask(1).sum() == pytest.approx(predict(model, image).mask(1).sum(), rel=0.03)


# --- neighbours, several models, copies


def _untrained(seed=0, *, structures=STRUCTURES, channels=("image",), spacing_mm=1.5, name=None, **preprocess):
    """A small network with random weights; its answers vary over the image."""
    settings = Settings(
        preprocess=PreprocessSettings(spacing_mm=spacing_mm, **preprocess),
        network=NetworkSettings(filters=(4, 8, 16)),
    )
    torch.manual_seed(seed)
    seen = network_channels(len(channels), settings.preprocess.neighbours)
    network = build_network(settings.network, in_channels=seen, out_channels=len(structures) + 1)
    weights = {
        key: value * 3 if value.is_floating_point() else value for key, value in network.state_dict().items()
    }
    return TrainedModel(name or f"model{seed}", settings, structures, channels, weights)


def _probabilities(models, image, **more):
    return np.concatenate([part for _, part in predict_probabilities(models, image, Inference(**more))])


class _Weighed(nn.Module):
    """A network that weighs its channels: what it saw can be calculated from its answer."""

    stride = 16

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.tensor(weights)

    def forward(self, images):
        weighed = torch.einsum("bcij,c->bij", images, self.weights)
        return torch.stack([torch.zeros_like(weighed), weighed], dim=1)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
@pytest.mark.parametrize(("count", "neighbours"), [(7, 1), (7, 2), (1, 2), (2, 3)])
def test_neighbours_are_those_of_the_image_across_batches(monkeypatch, batch_size, count, neighbours):
    size, channels = (32, 48), 2
    voxels = np.random.default_rng(0).normal(size=(channels, count, *size)).astype(np.float32)
    image = Image(voxels, affine_from_spacing((8, 1.5, 1.5)), channels=("a", "b"))
    weights = np.linspace(-1, 2, channels * (2 * neighbours + 1)).astype(np.float32)
    settings = Settings(
        preprocess=PreprocessSettings(spacing_mm=1.5, clip_percentiles=(0, 100), neighbours=neighbours)
    )
    model = TrainedModel("m", settings, STRUCTURES[:1], ("a", "b"), {})
    monkeypatch.setattr(TrainedModel, "build", lambda self: _Weighed(weights))
    found = _probabilities(model, image, batch_size=batch_size)
    normal = (voxels - voxels.mean((2, 3), keepdims=True)) / voxels.std((2, 3), keepdims=True)
    for index in range(count):
        answer, channel = np.zeros(size), 0
        for step in range(-neighbours, neighbours + 1):
            for one in range(channels):
                answer += weights[channel] * normal[one, min(max(index + step, 0), count - 1)]
                channel += 1
        np.testing.assert_allclose(found[index, 1], 1 / (1 + np.exp(-answer)), atol=1e-4)


def test_brightness_is_that_of_the_whole_image_whatever_the_batches():
    image, _ = make_pair(0, slices=5)
    image.voxels[3:] *= 0.2
    model = _untrained(normalise="image", neighbours=1)
    whole = _probabilities(model, image, batch_size=5)
    for batch_size in (1, 2):
        np.testing.assert_allclose(_probabilities(model, image, batch_size=batch_size), whole, atol=1e-3)
    each = _probabilities(_untrained(normalise="slice", neighbours=1), image)
    assert np.abs(each - whole).max() > 0.1


def test_a_model_learns_with_neighbours_and_is_the_same_from_its_file(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    preprocess = PreprocessSettings(spacing_mm=3.0, neighbours=1)
    model = train(make_split(range(12)), quick_settings(epochs=14, preprocess=preprocess), structures=STRUCTURES)
    image, reference = make_pair(33, slices=5)
    predicted = predict(model, image, batch_size=2)
    assert _dice(predicted.mask(1), reference.mask(1)) > 0.85
    again = load_model(save_model(model, tmp_path))
    assert again.settings.preprocess.neighbours == 1
    np.testing.assert_array_equal(predicted.voxels, predict(again, image).voxels)


def test_several_models_give_the_mean_of_their_probabilities():
    image, _ = make_pair(0, slices=5, size=(50, 70), spacing=(8, 1.2, 1.7))
    models = [_untrained(0), _untrained(1, spacing_mm=2.5), _untrained(2, neighbours=1)]
    alone = [_probabilities(model, image) for model in models]
    told = []
    together = _probabilities(models, image, batch_size=2, on_slices=lambda *numbers: told.append(numbers))
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-5)
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert np.abs(alone[0] - alone[1]).max() > 0.1  # else the mean would prove nothing
    labels = predict(models, image)
    np.testing.assert_array_equal(labels.voxels, np.array([0, 1, 5])[np.mean(alone, axis=0).argmax(1)])
    np.testing.assert_array_equal(predict(models[:1], image).voxels, predict(models[0], image).voxels)


def test_a_model_with_its_structures_in_another_order_counts_for_the_same_ones():
    image, _ = make_pair(0)
    first, turned = _untrained(0), _untrained(1, structures=STRUCTURES[::-1])
    mean = (_probabilities(first, image) + _probabilities(turned, image)[:, [0, 2, 1]]) / 2
    np.testing.assert_allclose(_probabilities([first, turned], image), mean, atol=1e-6)
    assert predict([first, turned], image).structures == first.structures
    assert predict([turned, first], image).structures == turned.structures


def test_models_that_do_not_go_together_are_refused():
    image, _ = make_pair(0)
    other = _untrained(1, structures=(STRUCTURES[0], Structure(7, "fat")))
    with pytest.raises(DataError, match="cannot be averaged"):
        predict([_untrained(0), other], image)


def test_what_models_clean_in_different_ways_is_left_and_said():
    image, _ = make_pair(0)
    largest, nothing = StructurePostprocess(largest_component=True), StructurePostprocess()
    one = replace(_untrained(0), postprocess=(largest, largest))
    other = replace(_untrained(1), postprocess=(largest, nothing))
    plain = predict([_untrained(0), _untrained(1)], image)
    with pytest.warns(UserWarning, match="clean ring in different ways"):
        found = predict([one, other], image)
    assert not np.array_equal(found.voxels == 1, plain.voxels == 1)
    np.testing.assert_array_equal((found.voxels == 5) & (plain.voxels != 1), (plain.voxels == 5))


def test_the_probabilities_of_many_models_are_never_held_at_once(monkeypatch):
    image, _ = make_pair(0, slices=6)
    asked = []
    real = SliceRun.native

    def watched(self, chosen):
        asked.append((id(self), chosen))
        return real(self, chosen)

    monkeypatch.setattr(SliceRun, "native", watched)
    stream = predict_probabilities([_untrained(0), _untrained(1)], image, Inference(batch_size=2))
    assert asked == []
    next(stream)
    assert [chosen for _, chosen in asked] == [slice(0, 2)] * 2
    assert len({run for run, _ in asked}) == 2


MUSCLES = (
    Structure(1, "psoas left", side="left"),
    Structure(2, "psoas right", side="right"),
    Structure(3, "spine"),
)


def _turning(image, turns, mirrored):
    """The image as numpy turns it."""
    voxels = image.voxels[..., ::-1] if mirrored else image.voxels
    return Image(np.rot90(voxels, turns, (-2, -1)).copy(), image.affine)


@pytest.mark.parametrize(
    ("copies", "made"),
    [
        ("left-right", [(0, False), (0, True)]),
        ("mirrored", [(0, False), (2, False), (0, True), (2, True)]),
        ("turned", [(0, False), (1, False), (2, False), (3, False)]),
        ("both", [(n, mirrored) for n in range(4) for mirrored in (False, True)]),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_copies_are_what_predicting_turned_images_gives(copies, made, size):
    image, _ = make_pair(0, size=size, slices=3)
    model = _untrained(4, structures=MUSCLES)
    settings = replace(model.settings, augmentation=AugmentationSettings(flip_probability=0.5))
    model = replace(model, settings=settings)
    answers = []
    for turns, mirrored in made:
        turned = _probabilities(model, _turning(image, turns, mirrored))
        turned = np.rot90(turned, -turns, (-2, -1))
        answers.append(turned[..., ::-1][:, [0, 2, 1, 3]] if mirrored else turned)
    found = _probabilities(model, image, copies=copies, batch_size=2)
    np.testing.assert_allclose(found, np.mean(answers, axis=0), atol=1e-4)
    assert np.abs(found - answers[0]).max() > 0.05


@pytest.mark.parametrize("size", [(50, 71), (61, 61)])
def test_with_copies_everything_stays_in_its_place(model, size):
    """On sizes that the frame only surrounds, the copies must not move the structures."""
    image, reference = make_pair(33, size=size, slices=3)
    settings = replace(model.settings, augmentation=AugmentationSettings(flip_probability=0.5))
    plain, turned = predict(model, image), predict(replace(model, settings=settings), image, copies="both")
    for label in (1, 5):
        assert _dice(plain.mask(label), turned.mask(label)) > 0.95
    centres = [np.argwhere(one.mask(1)).mean(0) for one in (reference, turned)]
    np.testing.assert_allclose(*centres, atol=0.5)


def test_a_model_of_crops_turns_its_region(cropped):
    image, reference = _aside(77, (60, 3))
    wide = replace(cropped, settings=replace(cropped.settings, augmentation=AugmentationSettings()))
    for find_region in ("coarse", "whole"):
        preprocess = replace(wide.settings.preprocess, find_region=find_region, crop_mm=(80, 120))
        model = replace(wide, settings=replace(wide.settings, preprocess=preprocess))
        predicted = predict(model, image, copies="turned", batch_size=2)
        assert _dice(predicted.mask(1), reference.mask(1)) > 0.85


def test_copies_that_training_never_saw_are_said(model):
    image, _ = make_pair(0)
    with pytest.warns(UserWarning, match="never met turned copies in training"):  # it was turned by 30 degrees
        predict(model, image, copies="turned")
    with pytest.raises(SettingsError, match="copies is 'all'"):
        predict(model, image, copies="all")
