"""Whole runs on the real sample: train, segment, measure, compare, and refuse in words."""

import csv
import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from discs import STRUCTURES, make_case, make_split, patch_reading, quick_settings
from pydicom.uid import RLELossless
from tubes import STRUCTURES as TUBES
from tubes import make_tube, patch_tubes, tube_cases

from autoseg.data.cases import Reading, find_cases
from autoseg.data.split import Split, split_cases
from autoseg.errors import DataError, GeometryError, ModelFileError, OutputError
from autoseg.evaluation.expert import compare_with_expert, comparison_table
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.records import quiet
from autoseg.files.pictures.pictures import read_picture
from autoseg.files.sources import ImageFile
from autoseg.measurement.drawn import measure_labels
from autoseg.model.dataset import preview
from autoseg.model.ended import Ended
from autoseg.model.model import find_model, load_model
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    VolumeSettings,
)
from autoseg.prediction.run import segment_folder
from autoseg.report.area_tables import areas_table
from autoseg.training.checkpoint import find_unfinished
from autoseg.training.finder import finder_settings, kept_inputs, train_finder
from autoseg.training.history import format_epoch
from autoseg.training.save import train_and_save, ways_to_read


@pytest.fixture(scope="module")
def training(sample, tmp_path_factory):
    """A model that saw the sample for a few epochs on a coarse grid: enough to find the heart."""
    folder, lines = tmp_path_factory.mktemp("trained_model"), []
    cases = find_cases(sample / "train")
    settings = quick_settings(
        epochs=12,
        batch_size=8,
        learning_rate=5e-3,
        print_checkpoint=4,
        save_checkpoint=5,
        preprocess=PreprocessSettings(spacing_mm=5.5),
        seed=1,
    )
    split = split_cases(cases.cases, validation_subjects=["SCD0000501"])
    model, path = train_and_save(
        split, settings, structures=cases.structures, name="heart", folder=folder, tell=lines.append
    )
    return model, path, lines


@pytest.fixture(scope="module")
def run(training, sample, tmp_path_factory):
    model = load_model(training[1])
    return segment_folder(model, sample / "test" / "dicoms", output=tmp_path_factory.mktemp("predictions"))


def test_training_leaves_a_model_and_its_history(training):
    model, path, lines = training
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "heart_12.pt",
        "heart_12_MODEL_CARD.md",
        "heart_history.csv",
    ]
    assert find_model(path.parent, "heart") == path
    text = (path.parent / "heart_history.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 12
    assert float(rows[model.best_epoch - 1]["validation_dice"]) == max(
        float(row["validation_dice"]) for row in rows
    )
    assert rows[0]["dice_myocardium"] == ""  # it was drawn on no validation slice
    lines = [line for line in lines if not line.startswith("Model saved at")]
    assert len(lines) == 3
    assert lines[0].startswith("Epoch 4 of 12, training loss")
    assert "myocardium –)" in lines[0]
    assert model.settings.preprocess.spacing_mm == 5.5


def test_an_unseen_patient_is_segmented_and_measured(run, sample):
    assert [len(label_map.voxels) for _, label_map in run.results] == [10, 10]
    comparison = compare_with_expert(run, sample / "test")
    cavity = next(score for score in comparison.subjects if score.name == "cavity")
    assert cavity.subject_id == "SCD0000301"
    assert cavity.n == 20
    assert cavity.dice > 0.5  # found, after seconds of learning; the demo shows what minutes give
    table = comparison_table(comparison.slices)
    assert set(table["structure"]) == {"cavity", "myocardium"}
    # The expert drew the myocardium on half of the slices only.
    assert (table["structure"] == "myocardium").sum() == 10


def test_the_files_of_a_run_agree_with_each_other(run):
    stems = sorted(p.stem for p in (run.folder / "labels").iterdir())
    assert len(stems) == 20
    tidy = pd.read_csv(run.folder / "measurements.csv")
    numbers = {row["sop_uid"]: row["slice"] for _, row in tidy.iterrows()}
    overlays = [
        f"{image.source.case_id}_s{numbers[source.sop_uid]:03d}_{source.path.stem}"
        for image, _ in run.results
        for source in image.source.slices
    ]
    assert sorted(numbers.values()) == sorted([*range(1, 11)] * 2)
    assert sorted(overlays) == sorted(p.stem for p in (run.folder / "overlays").iterdir())
    for image, label_map in run.results:
        for index, source in enumerate(image.source.slices):
            drawn = read_picture(run.folder / "labels" / f"{source.path.stem}.png").pixels
            np.testing.assert_array_equal(drawn, label_map.voxels[index])
            rows = tidy[(tidy["sop_uid"] == source.sop_uid) & (tidy["label"] == 1)]
            assert float(rows["area_mm2"].iloc[0]) == pytest.approx((drawn == 1).sum() * 1.2891**2, rel=1e-4)
    assert len(list(run.folder.glob("*.nii.gz"))) == 2
    assert (run.folder / "animation.gif").stat().st_size > 1000
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert record["model"] == "heart"
    assert run.areas.shape[0] == 20 + 12  # of each image mean, SD and n, with and without flagged slices


def test_labels_without_a_segmented_file_are_refused(run, sample):
    with pytest.raises(DataError, match="same patient"):
        compare_with_expert(run, sample / "train")
    assert compare_with_expert(run, None).slices == ()


def test_measuring_an_experts_labels(sample):
    cases = find_cases(sample / "test")
    rows = measure_labels(cases)
    assert len(rows) == 30  # 20 cavities, 10 myocardia
    by_hand = (read_picture(cases.cases[0].label_path).pixels == 1).sum() * 1.2891**2
    assert rows[0].area_mm2 == pytest.approx(by_hand, rel=1e-4)
    table = areas_table(rows)
    assert table["slice_position_mm"].is_monotonic_increasing
    assert len(table) == 20  # two phases of the heart: a mean over both would be of neither


def test_measuring_labels_with_a_typed_field_of_view_keeps_the_positions(sample, tmp_path):
    _copy_without_spacing(sample / "test" / "dicoms", tmp_path / "dicoms", count=4)
    (tmp_path / "labels").mkdir()
    for path in (tmp_path / "dicoms").iterdir():
        shutil.copy(sample / "test" / "labels" / f"{path.stem}.png", tmp_path / "labels")
    rows = measure_labels(find_cases(tmp_path, structures={1: "cavity", 2: "myocardium"}), field_of_view_mm=330.0)
    known = {row.sop_uid: row for row in measure_labels(find_cases(sample / "test")) if row.label == 1}
    for row in (row for row in rows if row.label == 1):
        assert row.spacing_source == "typed"
        assert row.slice_position_mm == pytest.approx(known[row.sop_uid].slice_position_mm)
        assert row.area_mm2 == pytest.approx(row.pixel_count * (330 / 256) ** 2)


def test_a_preview_shows_labels_as_they_are_numbered(sample):
    cases = find_cases(sample / "train")
    split = split_cases(cases.cases, validation_subjects=["SCD0000501"])
    images, labels = preview(split, quick_settings(), structures=cases.structures, count=4)
    assert images.shape == labels.shape
    assert images.shape[0] == 4
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert (labels == 1).any()


def _copy_without_spacing(source, target, count=3):
    import pydicom

    target.mkdir()
    with quiet():  # the publisher's UIDs have leading zeros
        for path in sorted(source.iterdir())[:count]:
            dataset = pydicom.dcmread(path)
            del dataset.PixelSpacing
            dataset.save_as(target / path.name)


def test_without_spacing_nothing_is_measured_until_it_is_typed(training, sample, tmp_path):
    _copy_without_spacing(sample / "test" / "dicoms", tmp_path / "patient")
    model, output = training[0], tmp_path / "predictions"
    with pytest.raises(GeometryError, match="field of view"):
        segment_folder(model, tmp_path / "patient", output=output)
    assert not output.exists()
    run = segment_folder(model, tmp_path / "patient", output=output, field_of_view_mm=330.0)
    assert {row.spacing_source for row in run.measurements} == {"typed"}
    assert not any("acquisition" in note for note in run.notes)
    row = next(row for row in run.measurements if row.pixel_count)
    assert row.area_mm2 == pytest.approx(row.pixel_count * (330 / 256) ** 2)


def test_a_typed_acquisition_matrix_is_explained(training, sample, tmp_path):
    run = segment_folder(
        training[0], sample / "test" / "dicoms", output=tmp_path, field_of_view_mm=330.0, matrix_size=(256, 192)
    )
    assert any("192 is the acquisition's" in note for note in run.notes)


def test_header_and_typed_that_differ_are_both_said(training, sample, tmp_path):
    with pytest.raises(GeometryError, match="prefer"):
        segment_folder(training[0], sample / "test" / "dicoms", output=tmp_path / "out", field_of_view_mm=240.0)
    assert not (tmp_path / "out").exists()


def test_a_truncated_slice_is_named_and_the_others_are_measured(training, sample, tmp_path):
    patient = tmp_path / "patient"
    shutil.copytree(sample / "test" / "dicoms", patient)
    broken = sorted(patient.iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:50_000])
    run = segment_folder(training[0], patient, output=tmp_path / "out")
    assert sum(len(label_map.voxels) for _, label_map in run.results) == 19
    assert any(f"{broken.name} was left out: its pixels are cut off" in note for note in run.notes)
    assert [item.path for item in run.skipped] == [broken]


def test_damaged_compressed_pixels_are_named_too(training, sample, tmp_path):
    import pydicom

    patient = tmp_path / "patient"
    shutil.copytree(sample / "test" / "dicoms", patient)
    with quiet():
        broken = sorted(patient.iterdir())[3]
        dataset = pydicom.dcmread(broken)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData[:200] + bytes(len(dataset.PixelData) - 200)
        dataset.save_as(broken)
    run = segment_folder(training[0], patient, output=tmp_path / "out")
    assert sum(len(label_map.voxels) for _, label_map in run.results) == 19
    assert any(f"{broken.name} was left out: its pixels (RLE Lossless) cannot" in note for note in run.notes)


def test_a_stray_image_does_not_stop_the_patient(training, sample, tmp_path):
    import pydicom

    patient = tmp_path / "patient"
    shutil.copytree(sample / "test" / "dicoms", patient)
    with quiet():
        stray = pydicom.dcmread(next(patient.iterdir()))
        del stray.PixelSpacing
        stray.SeriesInstanceUID, stray.SOPInstanceUID = "1.2.3", "1.2.3.4"
        stray.save_as(patient / "screenshot.dcm")
    run = segment_folder(training[0], patient, output=tmp_path / "out")
    assert sum(len(label_map.voxels) for _, label_map in run.results) == 20
    assert any(note.startswith("Left out: ") and "field of view" in note for note in run.notes)


def test_a_typed_field_of_view_keeps_the_headers_positions(training, tmp_path):
    phantom = Phantom("coronal", orientation=(1, 0, 0, 0, 0, -1))
    write_phantom(tmp_path / "patient", phantom)
    with quiet():
        import pydicom

        for path in (tmp_path / "patient").rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            del dataset.PixelSpacing
            dataset.save_as(path)
    rows, columns = dataset.Rows, dataset.Columns
    run = segment_folder(
        training[0], tmp_path / "patient", output=tmp_path / "out", field_of_view_mm=(2.0 * rows, 1.0 * columns)
    )
    (image, _), *_ = run.results
    assert image.spacing_mm[1:] == pytest.approx((2.0, 1.0))
    np.testing.assert_allclose(image.affine[:3, 2], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(image.affine[:3, 1], [0, 0, -2], atol=1e-6)
    assert all(row.slice_position_mm is not None for row in run.measurements)


def test_a_patient_of_the_training_is_recognised(training, sample, tmp_path):
    run = segment_folder(training[0], sample / "train" / "dicoms", output=tmp_path)
    assert any("trained or validated on 4 of these 4 patients" in note for note in run.notes)
    assert any("images of 4 patients" in note for note in run.notes)


def test_nobody_of_the_test_is_taken_for_one_of_the_training(run):
    assert not any("trained or validated" in note for note in run.notes)


def test_labels_of_a_copied_folder_are_matched_by_their_instances(run, sample, tmp_path):
    shutil.copytree(sample / "test", tmp_path / "copy")
    assert len(compare_with_expert(run, tmp_path / "copy").slices) == 30


def test_an_older_model_is_never_overwritten(sample, tmp_path):
    cases = find_cases(sample / "train")
    split = split_cases(cases.cases[:30])
    settings = quick_settings(epochs=1, preprocess=PreprocessSettings(spacing_mm=9.0))
    paths = [
        train_and_save(split, settings, structures=cases.structures, name="x", folder=tmp_path)[1] for _ in range(2)
    ]
    assert [path.name for path in paths] == ["x_1.pt", "x_1_2.pt"]
    assert find_model(tmp_path, "x") == paths[1]


def test_a_checkpoint_that_cannot_be_saved_does_not_end_the_training(sample, tmp_path, monkeypatch):
    cases, told, real = find_cases(sample / "train"), [], torch.save

    def full_for_checkpoints(content, file):
        if "_1.pt" not in str(file) and len(told) < 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(content, file)

    monkeypatch.setattr(torch, "save", full_for_checkpoints)
    settings = quick_settings(epochs=1, save_checkpoint=1, preprocess=PreprocessSettings(spacing_mm=9.0))
    split = split_cases(cases.cases[:30])
    _, path = train_and_save(
        split, settings, structures=cases.structures, name="x", folder=tmp_path, tell=told.append
    )
    assert path.is_file()
    assert any("The training goes on" in line for line in told)


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
def test_a_folder_without_dicom(kind, training, tmp_path):
    patient = tmp_path / "patient"
    if kind != "missing":
        patient.mkdir()
    if kind == "foreign":
        (patient / "letter.txt").write_text("Dear colleague")
    with pytest.raises(DataError, match="patient"):
        segment_folder(training[0], patient, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_told_before_the_training(sample, tmp_path):
    cases = find_cases(sample / "train")
    (tmp_path / "models").write_text("a file where the folder should be")
    split = split_cases(cases.cases)
    with pytest.raises(OutputError, match="could not be written"):
        train_and_save(split, quick_settings(), structures=cases.structures, name="x", folder=tmp_path / "models")


def test_a_disk_that_fills_up_while_saving_leaves_no_half_model(sample, tmp_path, monkeypatch):
    cases = find_cases(sample / "train")
    split = split_cases(cases.cases[:3])

    def full(content, file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    settings = quick_settings(epochs=1, preprocess=PreprocessSettings(spacing_mm=8.0))
    with pytest.raises(OutputError, match="No space left"):
        train_and_save(split, settings, structures=cases.structures, name="x", folder=tmp_path)
    assert list(tmp_path.glob("*.pt")) == []


def test_a_run_on_a_full_disk_leaves_no_folder(training, sample, tmp_path, monkeypatch):
    def full(path, *arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("autoseg.report.export.write_gif", full)
    with pytest.raises(OutputError, match="No space left"):
        segment_folder(training[0], sample / "test" / "dicoms", output=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_line_of_an_epoch_reads_well(training):
    model = training[0]
    line = format_epoch(model.history[-1], model.structures)
    assert line.startswith("Epoch 12, training loss ")
    assert ", mean Dice 0." in line
    assert "0:00 min left" in line


def test_the_choice_of_post_processing_goes_into_the_model_file(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    split = make_split([0, 1], [2])
    model, path = train_and_save(
        split, quick_settings(), structures=STRUCTURES, name="heart", folder=tmp_path, choose_post=True
    )
    assert len(load_model(path).postprocess) == len(STRUCTURES)
    assert load_model(path).postprocess == model.postprocess
    tried = (tmp_path / "heart_postprocess.csv").read_text(encoding="utf-8").splitlines()
    assert len(tried) > 10


def test_a_model_cuts_new_volumes_along_the_plane_that_it_learnt(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for k in range(3):
        voxels = rng.integers(0, 900, (40, 36, 34)).astype(np.int16)
        for part, array in (("images", voxels), ("labels", (voxels > 700).astype(np.uint8))):
            picture = nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
            nibabel.save(picture, tmp_path / "data" / part / f"p{k}.nii.gz")
    found = find_cases(tmp_path / "data", reading=Reading(plane="coronal"))
    split = split_cases(found.cases, validation_subjects=["p2"])
    settings = quick_settings(epochs=1, preprocess=PreprocessSettings(spacing_mm=2.0))
    model, _ = train_and_save(split, settings, structures=found.structures, name="m", folder=tmp_path / "models")
    run = segment_folder(model, tmp_path / "data" / "images", output=tmp_path / "out", only=["p0"])
    assert [image.shape for image, _ in run.results] == [(36, 34, 40)]


# --- stopping and going on


class _Killed(Exception):
    pass


def _discs(folder, *, settings=None, **options):
    return train_and_save(
        options.pop("split", make_split([0, 1, 2], [3])),
        settings or quick_settings(epochs=5, save_checkpoint=2),
        structures=options.pop("structures", STRUCTURES),
        name="discs",
        folder=folder,
        **options,
    )


def _kill_after(epochs):
    def on_epoch(result, best, last):
        if result.epoch == epochs + 1:
            raise _Killed

    return on_epoch


def _names(folder):
    """Give the names of all files but the cards; each model has one that will stay."""
    names = sorted(path.name for path in folder.iterdir())
    passing = ("_best.pt", "_last.pt", "_resume.pt")
    models = [name for name in names if name.endswith(".pt") and not name.endswith(passing)]
    cards = {f"{name.removesuffix('.pt')}_MODEL_CARD.md" for name in models}
    assert {name for name in names if name.endswith(".md")} == cards
    return [name for name in names if not name.endswith(".md")]


def _history(folder):
    with (folder / "discs_history.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "elapsed_s"} for row in csv.DictReader(file)]


def test_a_killed_training_goes_on_as_if_nothing_had_happened(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    whole, _ = _discs(tmp_path / "whole")
    folder, told = tmp_path / "killed", []
    with pytest.raises(_Killed):
        _discs(folder, on_epoch=_kill_after(3))
    assert _names(folder) == ["discs_best.pt", "discs_history.csv", "discs_last.pt", "discs_resume.pt"]
    assert find_model(folder, "discs").name == "discs_best.pt"
    (unfinished,) = find_unfinished(folder)
    assert (unfinished.epochs_done, unfinished.epochs) == (2, 5)
    _, path = _discs(folder, settings=quick_settings(epochs=1), resume=True, tell=told.append)
    assert told[0] == "Going on with 'discs' after epoch 2, with the settings it was started with."
    epochs = [line.split(",")[0] for line in told[1:]]
    saved = f"Model saved at {folder / 'discs_best.pt'} (epoch"
    assert [line if line[0] == "E" else line.startswith(saved) for line in epochs] == [
        *("Epoch 3 of 5", "Epoch 4 of 5", True, "Epoch 5 of 5")
    ]
    assert _names(folder) == ["discs_5.pt", "discs_history.csv"]
    assert all(torch.equal(value, load_model(path).weights[key]) for key, value in whole.weights.items())
    assert _history(folder) == _history(tmp_path / "whole")
    assert len(_history(folder)) == 5


def test_a_model_knows_how_new_images_are_to_be_read():
    case = make_case(0)
    stack = replace(case, images=(ImageFile(Path("a_1.png"), others=(Path("a_2.png"),)),))
    series = replace(
        case, images=(ImageFile(Path("1.dcm"), others=(Path("2.dcm"),)),), reading=Reading(plane="axial")
    )
    assert ways_to_read(Split((stack,))) == {"plane": None, "picture_stacks": True}
    assert ways_to_read(Split((series,))) == {"plane": "axial", "picture_stacks": False}


def test_checkpoints_that_are_kept_are_models_of_their_epoch(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    (tmp_path / "discs_2.pt").write_bytes(b"an older model")
    (tmp_path / "discs_2_MODEL_CARD.md").write_text("its card", encoding="utf-8")
    told, latest = [], {}

    def remember(result, best, last):
        latest[result.epoch] = last

    settings = quick_settings(epochs=5, save_checkpoint=2, keep_checkpoints=True)
    _, path = _discs(tmp_path, settings=settings, tell=told.append, on_epoch=remember)
    assert _names(tmp_path) == ["discs_2.pt", "discs_2_2.pt", "discs_4.pt", "discs_5.pt", "discs_history.csv"]
    for epoch, name in ((2, "discs_2_2.pt"), (4, "discs_4.pt")):
        kept = load_model(tmp_path / name)
        assert (kept.best_epoch, len(kept.history)) == (epoch, epoch)
        assert all(torch.equal(value, kept.weights[key]) for key, value in latest[epoch].weights.items())
        assert f"Model saved at {tmp_path / name} (epoch {epoch})" in told
    assert (tmp_path / "discs_2.pt").read_bytes() == b"an older model"
    assert find_model(tmp_path, "discs") == path


def test_a_kept_checkpoint_of_the_last_epoch_gives_way_to_the_model(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=4, save_checkpoint=2, keep_checkpoints=True, learning_rate=1.0)
    model, path = _discs(tmp_path, settings=settings)
    assert _names(tmp_path) == ["discs_2.pt", "discs_4.pt", "discs_history.csv"]
    assert path.name == "discs_4.pt"
    again = load_model(path)
    assert again.best_epoch == model.best_epoch
    assert all(torch.equal(value, again.weights[key]) for key, value in model.weights.items())


def test_a_stopped_training_leaves_a_model_and_can_go_on(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    steps = []
    stopped, path = _discs(tmp_path, should_stop=lambda: steps.append(1) or len(steps) >= 4)
    assert stopped.ended is Ended.STOPPED
    assert _names(tmp_path) == ["discs_2.pt", "discs_history.csv", "discs_resume.pt"]
    assert find_unfinished(tmp_path)[0].epochs_done == 2
    model, _ = _discs(tmp_path, resume=True)
    assert len(model.history) == 6  # the second epoch was cut short
    assert _names(tmp_path) == ["discs_2.pt", "discs_6.pt", "discs_history.csv"]
    assert len(_history(tmp_path)) == 6
    assert path.is_file()


def test_a_checkpoint_is_at_most_a_minute_old(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    monkeypatch.setattr("autoseg.training.save.LONGEST_UNSAVED_S", 0.0)
    with pytest.raises(_Killed):
        _discs(tmp_path, settings=quick_settings(epochs=9, save_checkpoint=100), on_epoch=_kill_after(3))
    assert find_unfinished(tmp_path)[0].epochs_done == 3


def test_where_nothing_is_unfinished_the_others_are_named(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    with pytest.raises(ModelFileError, match=r"no unfinished training named 'discs'.*unfinished: none"):
        _discs(tmp_path, resume=True)
    with pytest.raises(_Killed):
        _discs(tmp_path, on_epoch=_kill_after(2))
    os.rename(tmp_path / "discs_resume.pt", tmp_path / "heart_resume.pt")
    with pytest.raises(ModelFileError, match=r"'discs'.*unfinished: 'heart'"):
        _discs(tmp_path, resume=True)
    shutil.copy(tmp_path / "heart_resume.pt", tmp_path / "discs_resume.pt")
    content = torch.load(tmp_path / "discs_resume.pt", weights_only=True)
    content["last"]["name"] = "heart"
    torch.save(content, tmp_path / "discs_resume.pt")
    with pytest.raises(ModelFileError, match=r"holds the training 'heart'.*Rename it to heart_resume\.pt"):
        _discs(tmp_path, resume=True)


def test_data_that_changed_are_refused_and_the_checkpoint_stays(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    with pytest.raises(_Killed):
        _discs(tmp_path, on_epoch=_kill_after(2))
    with pytest.raises(DataError, match="have 4 case"):
        _discs(tmp_path, split=make_split([0, 1, 2, 4], [3]), resume=True)
    assert (tmp_path / "discs_resume.pt").is_file()


def test_starting_anew_says_what_is_replaced(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    told = []
    with pytest.raises(_Killed):
        _discs(tmp_path, on_epoch=_kill_after(2))
    model, _ = _discs(tmp_path, tell=told.append)
    assert told[0].startswith("There is an unfinished training 'discs'; it is not resumed")
    assert "resumed_after_epochs" not in model.origin
    assert not (tmp_path / "discs_resume.pt").exists()


def test_a_disk_full_for_the_checkpoint_leaves_the_older_one(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    real, told, checkpoints = torch.save, [], ["autoseg unfinished training"]

    def full_for_the_second(content, file):
        checkpoints.extend([content["format"]] * (content["format"] == checkpoints[0]))
        if content["format"] == checkpoints[0] and len(checkpoints) == 3:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(content, file)

    monkeypatch.setattr(torch, "save", full_for_the_second)
    with pytest.raises(_Killed):
        _discs(tmp_path, on_epoch=_kill_after(4), tell=told.append)
    assert any("No space left" in line and "The training goes on" in line for line in told)
    assert find_unfinished(tmp_path)[0].epochs_done == 2
    assert not list(tmp_path.glob(".unfinished*"))
    told.clear()
    checkpoints.pop()
    _discs(tmp_path, resume=True, tell=told.append, should_stop=lambda: True)
    assert any("cannot be resumed, or only from an earlier" in line for line in told)
    assert find_unfinished(tmp_path)[0].epochs_done == 2


def test_another_version_is_told(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    told = []
    with pytest.raises(_Killed):
        _discs(tmp_path, on_epoch=_kill_after(2))
    path = tmp_path / "discs_resume.pt"
    content = torch.load(path, weights_only=True)
    content["made_with"]["torch"] = "2.9.0"
    torch.save(content, path)
    _discs(tmp_path, resume=True, tell=told.append)
    assert any("torch 2.9.0" in line and "may differ a little" in line for line in told)


def test_a_loss_that_is_no_number_leaves_nothing_to_resume(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    from autoseg.training import step as training_state

    real, calls = training_state.outputs_loss, []

    def breaking(*arguments, **options):
        calls.append(1)
        parts = real(*arguments, **options)
        return replace(parts, overlap=parts.overlap * (float("nan") if len(calls) > 6 else 1.0))

    monkeypatch.setattr(training_state, "outputs_loss", breaking)
    with pytest.warns(UserWarning, match="NaN in epoch 4"):
        model, path = _discs(tmp_path)
    assert len(model.history) == 3
    assert _names(tmp_path) == [path.name, "discs_history.csv"]


@pytest.mark.filterwarnings("ignore:.*hardly found")
def test_a_training_around_centrelines_resumes_with_those_that_it_began_with(monkeypatch, tmp_path):
    patch_tubes(monkeypatch)
    learnt = []

    def learn(split, *args, **more):
        learnt.append(split)
        return train_finder(split, *args, **more)

    monkeypatch.setattr("autoseg.training.finder.folds.train_finder", learn)
    finder = finder_settings(
        pixel_mm=3.0,
        step_mm=8.0,
        epochs=1,
        precision="float32",
        network=NetworkSettings(name="dilated", filters=(16, 16)),
        augmentation=AugmentationSettings.off(),
        seed=4,
    )
    settings = quick_settings(
        epochs=3,
        save_checkpoint=1,
        spatial_dims=3,
        network=NetworkSettings(filters=(4, 8)),
        volume=VolumeSettings(spacing_mm=(3.0, 3.0, 8.0), crop_mm=(24.0, 24.0)),
        augmentation=AugmentationSettings.off(),
    )
    arguments = {"settings": settings, "split": Split(tube_cases(1, 2), tube_cases(3)), "structures": TUBES}
    cases = tube_cases(1, 2, 3)
    assert kept_inputs(cases, tmp_path / "discs_centrelines") is None
    with pytest.raises(_Killed):
        _discs(tmp_path, on_epoch=_kill_after(1), finder=finder, **arguments)
    assert len(learnt) == 4
    lines = kept_inputs(cases, tmp_path / "discs_centrelines").centrelines
    assert list(lines) == ["tube1", "tube2", "tube3"]
    assert kept_inputs(tube_cases(4), tmp_path / "discs_centrelines") is None
    # A label that was drawn anew is noticed, and the centrelines stay: the data may be brought back.
    with monkeypatch.context() as redrawn:
        image, label_map = make_tube(1)
        other = replace(label_map, voxels=np.roll(label_map.voxels, 1, axis=2))
        redrawn.setattr("autoseg.model.dataset.build.read_case", lambda *_: (image, other))
        with pytest.raises(DataError, match="was changed since"):
            _discs(tmp_path, resume=True, finder=finder, **arguments)
    # Nobody has to say again how the finders learnt; others would find other centrelines.
    model, _ = _discs(tmp_path, resume=True, finder=replace(finder, epochs=2), **arguments)
    assert len(learnt) == 4
    assert len(model.history) == 3
    again = kept_inputs(cases, tmp_path / "discs_centrelines").centrelines
    assert all(again[name].points_mm.tolist() == line.points_mm.tolist() for name, line in lines.items())


def test_a_model_keeps_what_it_learnt_from(tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=1)
    model, path = train_and_save(
        make_split([0, 1, 2], [8, 9]), settings, structures=STRUCTURES, name="discs", folder=tmp_path
    )
    profile = load_model(path).trust.profile
    assert profile == model.trust.profile
    assert (profile.subjects, profile.validated) == (5, 2)
    assert profile.image_facts[0].pixel_mm == (1.5, 1.5)
    assert [one.label for one in profile.structure_facts] == [1, 5]
    assert all(score is not None for score in profile.dice)
