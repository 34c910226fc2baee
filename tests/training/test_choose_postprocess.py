"""The post-processing is chosen on validation cases and used by every later prediction."""

from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_case, make_pair, make_split, patch_reading, quick_settings

from autoseg.image.image import LabelMap
from autoseg.model.model import load_model, save_model
from autoseg.model.postprocess import StructurePostprocess, choose_postprocess, clean_labels
from autoseg.prediction import predict, predict_probabilities
from autoseg.training.choose_postprocess import read_reference, tune_postprocess
from autoseg.training.plan import change_settings
from autoseg.training.save import train_and_save
from autoseg.training.training import train


@pytest.fixture
def model(monkeypatch):
    patch_reading(monkeypatch)
    return train(make_split(range(6), [9]), quick_settings(epochs=4), structures=STRUCTURES)


def dice(reference, predicted, label):
    one, other = reference.mask(label), predicted.mask(label)
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_the_choice_is_never_worse_where_it_was_made_and_goes_into_the_file(model, tmp_path):
    cases = [make_case(20), make_case(21)]
    tuned, choice = tune_postprocess(model, cases)
    assert tuned.postprocess == choice.post
    again = load_model(save_model(tuned, tmp_path))
    for label, name in ((1, "core"), (5, "ring")):
        plain, chosen = [], []
        for case in cases:
            image, reference = read_reference(case, STRUCTURES)
            plain.append(dice(reference, predict(model, image), label))
            chosen.append(dice(reference, predict(again, image), label))
        table = choice.table()
        table = table[table["name"] == name]
        untouched = table[table["threshold"].isna() & (table["erosions"] == 0)].iloc[0]
        assert untouched["dice"] == pytest.approx(np.mean(plain))
        # Structures are tried one at a time; together they may differ by some pixels.
        assert np.mean(chosen) > np.mean(plain) - 0.02


def test_it_is_the_choice_of_whole_cases(model):
    image, reference = make_pair(20)
    probabilities = np.concatenate([part for _, part in predict_probabilities(model, image)])
    whole = choose_postprocess([(reference, probabilities)])
    assert isinstance(reference, LabelMap)
    assert tune_postprocess(model, [make_case(20)])[1].post == whole.post


def test_without_validation_nothing_is_chosen(model):
    assert tune_postprocess(model, ()) == (model, None)


def test_the_cleaning_of_the_settings_is_used_by_every_prediction(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=2, save_checkpoint=1, keep_checkpoints=True)
    settings = change_settings(settings, {"postprocess.erosions": 1, "postprocess.fill_holes": True})
    split, post = make_split(range(3), [9]), (StructurePostprocess(erosions=1, fill_holes=True),) * 2
    model, path = train_and_save(split, settings, structures=STRUCTURES, name="discs", folder=tmp_path)
    for one in (model, load_model(path), load_model(tmp_path / "discs_1.pt")):
        assert one.postprocess == post
    image, _ = make_pair(20)
    plain, cleaned = predict(replace(model, postprocess=()), image), predict(model, image)
    assert np.array_equal(cleaned.voxels, clean_labels(plain, post).voxels)
    assert not np.array_equal(cleaned.voxels, plain.voxels)
