"""A model as ONNX: its reader runs where neither torch nor autoseg are, and finds the same areas."""

import json
import runpy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from model_fixtures import FOLDER, expected, images_of
from untrained import untrained_model

import autoseg
from autoseg.cli import main
from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.structures import Structure
from autoseg.model.exported import write_onnx
from autoseg.model.exported.segment import segment
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import PreprocessSettings

SEES = {name: kept["sees"] for name, kept in expected().items() if "areas_mm2" in kept}
# As `crop_3d`, `maskdino` and `resized`, whose steps the reader has not.
REFUSED = {"crop_3d": "centreline", "maskdino": "Mask DINO", "resized": "contrast"}
ALONE = """
import runpy, sys
for name in ("autoseg", "torch", "scipy", "cv2", "pandas", "onnx"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def areas_of(model, image):
    label_map = autoseg.predict(model, image)
    pixel = 1.0 if image.affine is None else image.pixel_mm2
    counts = [label_map.mask(one.label).sum(axis=(1, 2)) for one in model.structures]
    return label_map.voxels, pixel * np.stack(counts, axis=1)


def check_alike(model, image, folder, *, off=1e-3):
    labels, areas = segment(folder, image.voxels, image.affine)
    wanted, wanted_areas = areas_of(model, image)
    assert (wanted > 0).sum() > 20  # else nothing is shown
    assert (labels != wanted).mean() < 1e-3
    assert areas.sum(axis=0) == pytest.approx(wanted_areas.sum(axis=0), rel=off, abs=2 * 1.0)


@pytest.mark.parametrize("name", sorted(set(SEES) - set(REFUSED) - {"finetuned", "version_1"}))
@pytest.mark.filterwarnings("ignore:.*reaches the edge")
def test_every_network_measures_the_same_without_autoseg(name, tmp_path):
    model = autoseg.load_model(FOLDER / f"{name}.pt")
    write_onnx(model, tmp_path / "onnx")
    check_alike(model, images_of(SEES[name], tmp_path)[-1], tmp_path / "onnx")


def test_the_sample_is_measured_alike_where_nothing_but_numpy_and_onnxruntime_is(tmp_path, capsys):
    folder = tmp_path / "heart"
    assert main(["export", "heart", "--onnx", str(folder)]) == 0
    assert str(folder / "segment.py") in capsys.readouterr().out
    (image, *_) = images_of("hearts", tmp_path)
    np.savez(tmp_path / "image.npz", voxels=image.voxels, affine=image.affine)
    command = [sys.executable, "-c", ALONE, folder / "segment.py", tmp_path / "image.npz", tmp_path / "labels.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "labels.npz") as kept:
        labels, areas = kept["labels"], kept["areas_mm2"]
    wanted, wanted_areas = areas_of(autoseg.load_model(autoseg.model.shipped.find_shipped("heart")), image)
    assert areas == pytest.approx(wanted_areas, rel=0.005)
    assert labels.shape == wanted.shape
    told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in told["structures"]] == ["cavity", "myocardium"]
    assert "Sunnybrook" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_cleaning_thresholds_offsets_and_what_is_included_are_done_as_here(tmp_path):
    structures = (Structure(3, "whole", includes=(7,)), Structure(7, "core"))
    post = (StructurePostprocess(None, 1, True, True), StructurePostprocess(0.4, 0, True, True))
    model = replace(untrained_model(spacing_mm=2.0), structures=structures, postprocess=post, offsets=(0.3, -0.2))
    noise = np.random.default_rng(0).normal(size=(3, 40, 52)).cumsum(1).cumsum(2)
    image = autoseg.Image(noise.astype(np.float32), affine_from_spacing((3.0, 1.7, 1.1)))
    write_onnx(model, tmp_path / "onnx")
    check_alike(model, image, tmp_path / "onnx")


def test_a_whole_images_intensities_and_large_pixels_are_brought_alike(tmp_path):
    model = untrained_model(channels=("water", "fat"))
    how = PreprocessSettings(spacing_mm=6.0, normalise="image", neighbours=0)
    model = replace(model, settings=replace(model.settings, preprocess=how))
    noise = np.random.default_rng(1).normal(size=(2, 3, 96, 70)).cumsum(2).cumsum(3)
    image = autoseg.Image(noise, affine_from_spacing((3.0, 1.0, 3.0)), ("water", "fat"))
    write_onnx(model, tmp_path / "onnx")
    check_alike(model, image, tmp_path / "onnx")


@pytest.mark.parametrize("has_size", [True, False])
def test_areas_are_called_mm2_only_where_the_size_of_pixels_is_known(has_size, tmp_path, monkeypatch):
    model = untrained_model()
    how = PreprocessSettings(spacing_mm=None, input_shape=(32, 32))
    write_onnx(replace(model, settings=replace(model.settings, preprocess=how)), tmp_path / "onnx")
    voxels = np.random.default_rng(0).normal(size=(1, 20, 20))
    where = {"affine": affine_from_spacing((3.0, 2.0, 2.0))} if has_size else {}
    np.savez(tmp_path / "image.npz", voxels=voxels, **where)
    paths = [str(tmp_path / name) for name in ("onnx/segment.py", "image.npz", "labels.npz")]
    monkeypatch.setattr(sys, "argv", paths)
    runpy.run_path(paths[0], run_name="__main__")
    with np.load(paths[2]) as kept:
        area = kept["areas_mm2" if has_size else "areas_pixels"]
        assert area.sum() == (4 if has_size else 1) * (kept["labels"] > 0).sum()


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_what_the_reader_cannot_do_is_refused_in_words(name, why, tmp_path):
    with pytest.raises(DataError, match=f"cannot be exported: .*{why}"):
        write_onnx(autoseg.load_model(FOLDER / f"{name}.pt"), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_without_onnxruntime_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DataError, match=r"onnxruntime is missing: 'pip install .*\[onnx\]"):
        write_onnx(untrained_model(), tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()
