"""Label maps read back from a run's folder."""

import json

import numpy as np
import pytest
from cords import cylinder, grid, label_map

from autoseg.errors import DataError, ReadError
from autoseg.image.image import Image
from autoseg.image.structures import Structure
from autoseg.measurement.morphometry.run_labels import is_run_folder, read_run_labels, read_run_lights
from autoseg.model.trust import Light, Suitability
from autoseg.report.export import write_run

BOTH = (Structure(1, "cord", includes=(2,)), Structure(2, "grey matter"))


@pytest.fixture
def run_folder(tmp_path):
    affine, points = grid((3.0, 0.8, 0.5), (8, 8, 9))
    labels = cylinder(points, (0, 0, 1), (6, 5)).astype(int) + cylinder(points, (0, 0, 1), (2, 2))
    drawn = label_map(labels, affine, structures=BOTH, case_id="series 5", subject_id="007")
    image = Image(np.zeros(drawn.shape, np.int16), affine, source=drawn.source)
    return write_run(tmp_path / "run", [(image, drawn)], model_name="cord"), drawn


def test_labels_come_back_in_their_place_with_what_they_include(run_folder):
    folder, drawn = run_folder
    assert is_run_folder(folder)
    (read,), notes = read_run_labels(folder)
    assert notes == []
    assert np.array_equal(read.voxels, drawn.voxels)
    assert read.same_grid(drawn)
    assert (read.source.case_id, read.source.subject_id) == ("series 5", "007")
    assert read.structures[0].includes == (2,)


def test_a_folder_without_a_run_is_told(run_folder, tmp_path):
    folder, _ = run_folder
    assert not is_run_folder(tmp_path)
    (folder / "series_5.nii.gz").unlink()
    with pytest.raises(ReadError, match=r"series_5\.nii\.gz does not exist"):
        read_run_labels(folder)
    record = json.loads((folder / "run.json").read_text())
    record["images"][0]["slice_spacing_source"] = "none"
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="distance between its slices is unknown"):
        read_run_labels(folder)
    (folder / "run.json").write_text("{")
    with pytest.raises(ReadError, match="record of a run"):
        read_run_labels(folder)


def test_lights_come_back_with_their_reasons_and_older_runs_have_none(run_folder, tmp_path):
    folder, drawn = run_folder
    assert read_run_lights(folder) == {}
    image = Image(np.zeros(drawn.shape, np.int16), drawn.affine, source=drawn.source)
    light = Suitability(Light.RED, ("It lies on its side.",))
    lit = write_run(tmp_path / "lit", [(image, drawn)], model_name="cord", suitability={"series 5": light})
    assert read_run_lights(lit) == {"series 5": ("red", ("It lies on its side.",))}
    record = json.loads((lit / "run.json").read_text())
    del record["images"][0]["suitability"]
    (lit / "run.json").write_text(json.dumps(record))
    assert read_run_lights(lit) == {}
