from dataclasses import replace

import numpy as np
import pytest
from tubes import STRUCTURES, make_tube, patch_tubes, tube_cases, tube_middle

from autoseg.data.split import Split
from autoseg.errors import DataError, GeometryError, ReadError, SettingsError
from autoseg.image.image import Image
from autoseg.model.centreline import CENTRELINE, Centreline, from_labels
from autoseg.model.model import TrainedModel, load_model, save_model
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import AugmentationSettings, NetworkSettings, Settings, VolumeSettings
from autoseg.prediction import find_centreline, predict
from autoseg.training.finder import (
    automatic_centrelines,
    automatic_inputs,
    centreline_table,
    exact_centrelines,
    finder_settings,
    score_centreline,
    train_finder,
)
from autoseg.training.training import train

QUICK = finder_settings(
    pixel_mm=2.0,
    step_mm=4.0,
    epochs=10,
    batch_size=8,
    learning_rate=1e-2,
    average_decay=0.8,
    precision="float32",
    network=NetworkSettings(name="dilated", filters=(16, 16, 16, 16)),
    augmentation=AugmentationSettings.off(),
)
SPLIT = Split(training=tube_cases(1, 2, 3))


@pytest.fixture(scope="module")
def finder():
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_tubes(monkeypatch)
        return train_finder(SPLIT, STRUCTURES, QUICK)


@pytest.fixture
def tubes(monkeypatch):
    patch_tubes(monkeypatch)


def apart_mm(line, number):
    heights = np.arange(-32, 33.0)
    return np.linalg.norm(line.at(heights)[:, :2] - tube_middle(number, heights), axis=1)


def test_a_finder_finds_the_centreline_of_a_new_subject(finder):
    image, _ = make_tube(7)
    line = find_centreline(finder, image)
    assert line.source == "automatic"
    assert apart_mm(line, 7).mean() < 1.5
    assert apart_mm(line, 7).max() < 4
    assert (line.begins_mm, line.ends_mm) == pytest.approx((-34, 34), abs=8.1)  # two slices
    assert finder.origin["centreline_of"] == ["cord"]
    # The same anatomy, stored as sagittal slices from left to right.
    turned = image.affine[:, [2, 0, 1, 3]].copy()
    turned[:3, 3] += turned[:3, 0] * (image.shape[2] - 1)
    turned[:3, 0] *= -1
    sagittal = Image(np.moveaxis(image.voxels, 2, 0)[::-1].copy(), turned, source=image.source)
    assert find_centreline(finder, sagittal).points_mm == pytest.approx(line.points_mm, abs=1e-3)


def test_blind_and_misleading_slices_are_overruled(finder):
    image, _ = make_tube(7)
    voxels = image.voxels.copy()
    voxels[10] = np.roll(voxels[10], (9, -8), axis=(0, 1))
    voxels[15:17] = np.random.default_rng(0).normal(0, 10, voxels[15:17].shape)
    line = find_centreline(finder, replace(image, voxels=voxels))
    assert apart_mm(line, 7).max() < 5


def test_a_guess_is_said_to_be_one(finder):
    image, _ = make_tube(7)
    with pytest.warns(UserWarning, match="tube7: the structure was hardly found"):
        line = find_centreline(finder, replace(image, voxels=np.zeros_like(image.voxels)))
    assert (line.begins_mm, line.ends_mm) == (None, None)


def test_what_cannot_be_searched_is_an_error(finder):
    image, _ = make_tube(7)
    with pytest.raises(DataError, match="a single slice"):
        find_centreline(finder, replace(image, voxels=image.voxels[:1]))
    with pytest.raises(GeometryError, match="pixel spacing"):
        find_centreline(finder, replace(image, affine=None))
    with pytest.raises(DataError, match=r"has 2 channels"):
        find_centreline(finder, replace(image, voxels=np.stack([image.voxels] * 2), channels=("a", "b")))
    other = replace(finder, settings=Settings())
    with pytest.raises(DataError, match="finds no centrelines"):
        find_centreline(other, image)
    with pytest.raises(SettingsError, match="make them with finder_settings"):
        train_finder(SPLIT, STRUCTURES, Settings())


def test_folds_do_not_see_the_subject_and_go_on_where_they_were(tubes, tmp_path, monkeypatch):
    cases, learnt, found_by = tube_cases(1, 2, 3), [], {}

    def learn(split, structures, settings, *, labels, should_stop, seal):
        learnt.append({case.subject_id for case in (*split.training, *split.validation)})
        if len(learnt) == 2:
            raise KeyboardInterrupt
        return make_untrained()

    def find(model, image):
        found_by[image.source.subject_id] = learnt[-1]
        return from_labels(make_tube(int(image.source.subject_id[1:]))[1])

    monkeypatch.setattr("autoseg.training.finder.folds.train_finder", learn)
    monkeypatch.setattr("autoseg.training.finder.folds.find_centreline", find)
    with pytest.raises(KeyboardInterrupt):
        automatic_centrelines(cases, STRUCTURES, QUICK, folder=tmp_path, folds=3)
    assert [path.name for path in tmp_path.iterdir()] == ["fold_1"]
    told = []
    lines = automatic_centrelines(cases, STRUCTURES, QUICK, folder=tmp_path, folds=3, tell=told.append)
    assert told.count("  finished before") == 1
    assert len(learnt) == 4
    assert list(lines) == ["tube1", "tube2", "tube3"]
    assert found_by == {"s1": {"s2", "s3"}, "s2": {"s1", "s3"}, "s3": {"s1", "s2"}}
    again = automatic_centrelines(cases, STRUCTURES, QUICK, folder=tmp_path, folds=3)
    assert len(learnt) == 4
    assert [again[key].points_mm.tolist() for key in again] == [lines[key].points_mm.tolist() for key in lines]
    automatic_centrelines(cases, STRUCTURES, replace(QUICK, epochs=3), folder=tmp_path, folds=3, tell=told.append)
    assert told.count("  settings changed, so it is made anew") == 3
    assert len(learnt) == 7
    (tmp_path / "fold_1" / "made_from.json").unlink()
    with pytest.raises(ReadError, match=r"made_from\.json cannot be read .*Move .*fold_1 away"):
        automatic_centrelines(cases, STRUCTURES, QUICK, folder=tmp_path, folds=3)


def make_untrained():
    weights = build_network(QUICK.network, in_channels=1, out_channels=2).state_dict()
    return TrainedModel("finder", QUICK, (CENTRELINE,), ("image",), weights, origin={"ended": ""})


def test_one_subject_is_not_enough(tubes):
    with pytest.raises(DataError, match="at least two"):
        automatic_centrelines(tube_cases(1), STRUCTURES, QUICK)


def test_a_model_learns_around_automatic_centrelines_and_takes_its_finder_along(
    tubes, finder, tmp_path, monkeypatch
):
    monkeypatch.setattr("autoseg.training.finder.folds.train_finder", lambda *_, **__: finder)
    inputs = automatic_inputs(SPLIT, STRUCTURES, QUICK, folder=tmp_path / "centrelines", folds=3)
    assert sorted(inputs.centrelines) == ["tube1", "tube2", "tube3"]
    again = automatic_inputs(SPLIT, STRUCTURES, QUICK, folder=tmp_path / "centrelines", folds=3)
    assert again.finder.weights["tail.bias"].tolist() == finder.weights["tail.bias"].tolist()
    settings = Settings(
        epochs=12,
        batch_size=3,
        learning_rate=1e-2,
        average_decay=0.5,
        precision="float32",
        spatial_dims=3,
        network=NetworkSettings(filters=(8, 16)),
        volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(22.5, 18.0)),
        augmentation=AugmentationSettings.off(),
    )
    model = train(SPLIT, settings, structures=STRUCTURES, inputs=inputs)
    # 22.5 mm are 15 voxels, of which the network needs an even number.
    assert model.settings.volume.patch_size == (16, 12, 24)
    image, labels = make_tube(7)
    predicted = predict(model, image)
    both, sizes = (predicted.voxels & labels.voxels).sum(), predicted.voxels.sum() + labels.voxels.sum()
    assert 2 * both / sizes > 0.85
    reloaded = load_model(save_model(model, tmp_path / "cord.pt"))
    assert reloaded.finder.origin["centreline_of"] == ["cord"]
    assert np.array_equal(predict(reloaded, image).voxels, predicted.voxels)
    exact = predict(model, image, centreline=from_labels(labels))
    assert 2 * (exact.voxels & labels.voxels).sum() / (exact.voxels.sum() + labels.voxels.sum()) > 0.85
    # Around another line the tube is not seen, and there is background outside the crop.
    beside = Centreline(np.array([[-20, 20, -40], [-20, 20, 40.0]]), "clicked")
    found = predict(model, image, centreline=beside).voxels
    assert found[:, :20, 25:].sum() == 0
    with pytest.raises(DataError, match=r"tube7 is to be cropped around its centreline.*none is given"):
        predict(replace(model, finder=None), image)
    with pytest.raises(DataError, match="does not meet the image"):
        predict(model, image, centreline=Centreline(np.array([[0, 0, 500], [0, 0, 600.0]]), "clicked"))


def test_a_case_without_centreline_is_named(tubes):
    settings = Settings(
        epochs=1,
        spatial_dims=3,
        network=NetworkSettings(filters=(8, 16)),
        volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(20.0, 20.0)),
    )
    with pytest.raises(DataError, match="tube1 is to be cropped around its centreline"):
        train(SPLIT, settings, structures=STRUCTURES)


def test_exact_centrelines_are_those_of_the_labels(tubes):
    lines = exact_centrelines(tube_cases(1, 2), STRUCTURES)
    assert {line.source for line in lines.values()} == {"labels"}
    assert apart_mm(lines["tube2"], 2).max() < 1


# --- scores


def test_distances_and_what_leaves_the_crop_are_those_of_a_known_shift():
    _, labels = make_tube(4)
    exact = from_labels(labels)
    moved = Centreline(exact.points_mm + np.array([3, -4, 0]), "automatic", exact.begins_mm + 2, exact.ends_mm - 5)
    settings = VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(60.0, 60.0))
    score = score_centreline(moved, labels, settings=settings)
    assert (score.mean_mm, score.percentile95_mm, score.max_mm) == pytest.approx((5, 5, 5))
    assert (score.begins_error_mm, score.ends_error_mm) == pytest.approx((2, -5))
    assert (score.slices_cut, score.voxels_cut) == (0, 0)
    narrow = score_centreline(moved, labels, settings=replace(settings, crop_mm=(60.0, 7.5)))
    assert narrow.slices_cut == 1
    # The crop reaches 3.75 mm to the back of a middle 4 mm in front: of the tube about a half, seen in pixels.
    assert narrow.voxels_cut == pytest.approx(0.5, abs=0.15)
    assert np.isnan(score_centreline(moved, labels).voxels_cut)


def test_the_table_has_a_row_a_case_and_what_sums_them_up():
    scores = []
    for number, shift in ((1, 1.0), (2, 2.0), (3, 6.0)):
        _, labels = make_tube(number)
        exact = from_labels(labels)
        scores.append(score_centreline(Centreline(exact.points_mm + np.array([shift, 0, 0]), "clicked"), labels))
    table = centreline_table(scores)
    assert table["case_id"].tolist() == ["tube1", "tube2", "tube3", "minimum", "mean", "median", "maximum"]
    assert table["mean_mm"].tolist() == pytest.approx([1, 2, 6, 1, 3, 2, 6])
    assert table["begins_error_mm"].isna().all()
    assert centreline_table([]).columns.tolist() == table.columns.tolist()
