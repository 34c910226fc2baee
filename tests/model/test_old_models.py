"""Model files that were written before stay readable, and predict what they predicted."""

import shutil

import numpy as np
import pytest
from model_fixtures import FOLDER, expected, expected_labels, images_of, predicted, resumed_split

import autoseg

EXPECTED = expected()
MODELS = [name for name, kept in EXPECTED.items() if "areas_mm2" in kept]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:.*hardly found")
def test_a_model_of_earlier_predicts_the_same(name, tmp_path):
    kept, path = EXPECTED[name], FOLDER / f"{name}.pt"
    model = autoseg.load_model(path)
    assert repr(model) == kept["repr"]
    labels, areas = predicted(model, images_of(kept["sees"], tmp_path))
    assert (labels == expected_labels(name)).mean() >= 0.999
    assert areas == {
        structure: pytest.approx(area, rel=1e-3, abs=2 * kept["pixel_mm2"])
        for structure, area in kept["areas_mm2"].items()
    }


def test_a_finder_of_earlier_finds_the_same(tmp_path):
    kept = EXPECTED["finder"]
    (image,) = images_of(kept["sees"], tmp_path)
    line = autoseg.find_centreline(autoseg.load_model(FOLDER / "finder.pt"), image)
    points = np.asarray(kept["points_mm"])
    assert np.abs(line.at(points[:, 2]) - points).max() < 0.05


def test_they_are_listed():
    table = autoseg.models_table(autoseg.list_models(FOLDER))
    assert not table["problem"].any()
    assert set(table["file"]) == {f"{name}.pt" for name in (*MODELS, "finder")}


def test_an_unfinished_training_of_earlier_goes_on(tmp_path):
    kept = EXPECTED["unfinished_resume"]
    shutil.copy(FOLDER / "unfinished_resume.pt", tmp_path)
    (row,) = autoseg.find_unfinished(tmp_path)
    assert (row.problem, row.name, row.epochs_done, row.epochs) == ("", "unfinished", 2, 3)
    found, split = resumed_split()
    model, _ = autoseg.train_and_save(
        split,
        autoseg.Settings(),
        structures=found.structures,
        name="unfinished",
        folder=tmp_path,
        resume=True,
        tell=lambda line: None,
    )
    losses = [result.training_loss for result in model.history]
    assert losses[:2] == kept["training_loss"][:2]
    # Another processor rounds otherwise.
    assert losses[2] == pytest.approx(kept["training_loss"][2], rel=0.02)
    assert autoseg.find_unfinished(tmp_path) == ()
