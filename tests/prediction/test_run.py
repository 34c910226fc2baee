"""Runs over a patient's folder: progress, how they are stopped, what they say and write."""

import json
import shutil
import warnings
from dataclasses import asdict, replace

import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch
from folders import add_stacks, add_volumes, write_stack
from PIL import Image as PillowImage
from tubes import cropping, make_tube
from untrained import OF_9_MM, untrained_model

from autoseg.data.cases import find_cases
from autoseg.data.corrections.kit import read_kit
from autoseg.data.digests import subject_pseudonym
from autoseg.data.patients import read_patient
from autoseg.errors import AreaWarning, DataError, OutputError
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.model.centreline import clicked, read_centreline
from autoseg.model.identity import model_record
from autoseg.model.model import TrainedModel, model_digest
from autoseg.model.networks import build_network
from autoseg.model.postprocess import StructurePostprocess, clean_labels
from autoseg.model.trust import Light, Profile, Suitability, Trust
from autoseg.model.trust.facts import ImageFacts
from autoseg.prediction import appearance, predict, suitability
from autoseg.prediction import run as patient_run
from autoseg.prediction.judge import Judged
from autoseg.prediction.run import (
    RunProgress,
    RunStopped,
    combine_folder,
    find_patient_centrelines,
    kit_folder,
    labels_to_correct,
    mean_of,
    run_to_correct,
    segment_folder,
    segment_to_correct,
)
from autoseg.prediction.suitability import SHARED, compare_image
from autoseg.report.run_folder import list_run_files
from autoseg.words import GraveNote

UPPER = untrained_model()
CORD = cropping(finder=False)
ENDS = [(0.0, 0.0, -40.0), (0.0, 0.0, 40.0)]
# The four runs over a patient's folder, each with what it needs beside it.
RUNS = {
    "segment": lambda model, folder, out, **more: segment_folder(model, folder, output=out, **more),
    "combine": lambda model, folder, out, **more: combine_folder(
        model, model, folder, output=out, at_slice=2, **more
    ),
    "correct": lambda model, folder, out, **more: segment_to_correct(model, folder, out / "kit", **more),
}


@pytest.fixture
def patient(sample):
    return sample / "test" / "dicoms"


@pytest.fixture
def stacks(tmp_path):
    return add_stacks(tmp_path / "in")


@pytest.fixture
def tubes(tmp_path):
    """A folder of two volumes with a tube."""
    for number in (7, 8):
        write_nifti(tmp_path / "in" / f"tube{number}.nii.gz", make_tube(number)[0])
    return tmp_path / "in"


@pytest.fixture
def lower():
    torch.manual_seed(8)
    weights = build_network(UPPER.settings.network, in_channels=1, out_channels=3).state_dict()
    return replace(UPPER, name="lumbar", weights=weights)


# --- what all runs share


@pytest.mark.parametrize("kind", RUNS)
def test_progress_is_told_by_series_and_slice_and_only_grows(kind, stacks, tmp_path):
    told, slices = [], []
    RUNS[kind](UPPER, stacks, tmp_path, on_progress=told.append, on_slices=lambda *of: slices.append(of))
    assert [p.stage for p in (told[0], told[-1])] == ["reading", "writing"]
    assert str(told[-2]) == "Series 2 of 2, slice 4 of 4"
    assert slices == [(3, 3), (4, 4)]
    shares = [p.share for p in told]
    assert shares == sorted(shares)
    assert shares[-1] < 1


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("stage", ["reading", "predicting", "writing"])
def test_a_stopped_run_writes_nothing(kind, stage, stacks, tmp_path):
    with pytest.raises(RunStopped, match="Nothing was written"):
        RUNS[kind](UPPER, stacks, tmp_path / "out", on_progress=lambda p: p.stage == stage)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", RUNS)
def test_short_memory_is_said_and_full_memory_ends_the_run(kind, stacks, tmp_path, monkeypatch):
    monkeypatch.setattr(patient_run, "warn_of_memory", lambda images, classes: f"{classes} classes")
    told = []
    RUNS[kind](UPPER, stacks, tmp_path, on_progress=told.append)
    # Two models hold their answers at once.
    assert {p.warning for p in told if p.stage == "predicting"} == {f"{6 if kind == 'combine' else 3} classes"}

    def greedy(*_, **__):
        raise MemoryError

    for name in ("predict_and_look", "combine"):
        monkeypatch.setattr(patient_run, name, greedy)
    with pytest.raises(DataError, match="fewer series"):
        RUNS[kind](UPPER, stacks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", RUNS)
def test_clicked_centrelines_are_looked_around(kind, tubes, tmp_path, monkeypatch):
    lines = {f"tube{number}": clicked(ENDS) for number in (7, 8)}
    used = []
    real = patient_run.cut_off_note

    def cut_off(models, label_map, line):
        used.append(line)
        return real(models, label_map, line)

    monkeypatch.setattr(patient_run, "cut_off_note", cut_off)
    with pytest.raises(DataError, match="centreline"):  # the model finds none by itself
        RUNS[kind](CORD, tubes, tmp_path / "out")
    done = RUNS[kind](CORD, tubes, tmp_path / "out", centrelines=lines)
    assert {id(line) for line in used} == {id(line) for line in lines.values()}
    if kind != "correct":
        assert done.centrelines == lines
        details = json.loads((done.folder / "run.json").read_text("utf-8"))["details"]
        assert details["centrelines"] == {"tube7": "clicked", "tube8": "clicked"}
        assert read_centreline(done.folder / "centrelines" / "tube7.csv").clicks_mm == lines["tube7"].clicks_mm
    with pytest.raises(DataError, match=r"has no image leg for a centreline\. It has: tube7, tube8"):
        RUNS[kind](CORD, tubes, tmp_path / "none", centrelines={"leg": clicked(ENDS)})
    assert not (tmp_path / "none").exists()


def test_of_two_models_each_is_asked_about_the_edge_of_its_own_part(tubes, tmp_path, monkeypatch):
    """What lies beyond the join is the other model's, whatever it sees."""
    upper, lower = replace(CORD, name="upper"), replace(CORD, name="lower")
    monkeypatch.setattr(
        patient_run,
        "cut_off_note",
        lambda models, label_map, line: (
            f"{models[0].name} {label_map.voxels.any(axis=(1, 2)).nonzero()[0].tolist()}"
        ),
    )

    def everywhere(models, image, how):
        yield (
            slice(0, image.shape[0]),
            np.tile(np.float32([0.1, 0.9])[:, None, None], (image.shape[0], 1, *image.shape[1:])),
        )

    monkeypatch.setattr("autoseg.prediction.combine.predict_probabilities", everywhere)
    run = combine_folder(
        upper, lower, tubes, output=tmp_path, at_slice=20, only=["tube7"], centrelines={"tube7": clicked(ENDS)}
    )
    notes = [note for note in run.notes if isinstance(note, GraveNote)]
    assert notes == ["upper [20, 21, 22, 23]", f"lower {list(range(20))}"]


def test_looking_for_centrelines_can_be_followed_and_stopped(tubes):
    told, images = [], []
    find_patient_centrelines(CORD, tubes, on_progress=told.append, on_image=lambda *of: images.append(of))
    assert [p.stage for p in told] == ["reading", *["finding"] * 4]
    assert str(told[-1]) == "Series 2 of 2: looking for the centreline …"
    assert images == [(1, 2), (2, 2)]
    with pytest.raises(RunStopped):
        find_patient_centrelines(CORD, tubes, on_progress=lambda p: p.series == 2)


def test_what_is_warned_of_while_predicting_becomes_a_note(stacks, tmp_path, monkeypatch):
    real = patient_run.predict_and_look

    def warning(*arguments, **more):
        warnings.warn("areas", AreaWarning, stacklevel=2)
        warnings.warn("something else", stacklevel=2)
        return real(*arguments, **more)

    monkeypatch.setattr(patient_run, "predict_and_look", warning)
    run = segment_folder(UPPER, stacks, output=tmp_path)
    said = [(type(note), note) for note in run.notes]
    assert said[1:] == [(GraveNote, "areas"), (str, "something else")]  # after "images of 2 patients"
    assert run.elapsed_s > 0


def test_a_model_that_learnt_from_stacks_of_pictures_sees_a_patients_pictures_as_one(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "anna").mkdir()
    for number in range(8, 12):
        pixels = rng.integers(0, 200, (40, 48)).astype(np.uint8)
        PillowImage.fromarray(pixels).save(tmp_path / "anna" / f"t2_{number}.png")
    model = untrained_model()
    shape = replace(model.settings.preprocess, spacing_mm=None, input_shape=(32, 48), normalise="image")
    model = replace(model, settings=replace(model.settings, preprocess=shape))
    run = segment_folder(
        replace(model, origin={"picture_stacks": True}), tmp_path / "anna", output=tmp_path / "out"
    )
    ((image, label_map),) = run.results
    assert (image.source.case_id, label_map.shape) == ("t2", (4, 40, 48))
    assert "t2_8.png to t2_11.png, are the slices of one stack" in " ".join(run.notes)
    assert {row.slice_index for row in run.measurements} == {0, 1, 2, 3}
    names = sorted(path.name for path in (run.folder / "labels").rglob("*.png"))
    assert names == ["t2_10.png", "t2_11.png", "t2_8.png", "t2_9.png"]
    single = segment_folder(model, tmp_path / "anna", output=tmp_path / "out")
    assert [one.source.case_id for one, _ in single.results] == ["t2_8", "t2_9", "t2_10", "t2_11"]


def test_a_run_of_no_series_is_at_its_beginning():
    assert RunProgress("reading").share == 0
    assert RunProgress("predicting", 1, 1, 5, 10).share == pytest.approx(0.51)


def test_a_model_of_another_kind_of_images_is_noted(patient, tmp_path):
    run = segment_folder(untrained_model(origin={"modalities": ["CT"]}), patient, output=tmp_path)
    assert any("learnt from CT images and this is MR" in note for note in run.notes)
    run = segment_folder(untrained_model(origin={"modalities": ["MR"]}), patient, output=tmp_path)
    assert not any("learnt from" in note for note in run.notes)
    # With a profile the light says it, once.
    learnt = Profile(subjects=1, validated=0, window=(16, 16), images=(asdict(ImageFacts(modality="CT")),))
    known = untrained_model(origin={"modalities": ["CT"]}, trust=Trust(profile=learnt))
    run = segment_folder(known, patient, output=tmp_path)
    assert not any("learnt from" in note for note in run.notes)
    assert all(
        one.light is Light.RED and "learnt from CT" in " ".join(one.reasons) for one in run.suitability.values()
    )


def test_a_run_of_several_models_says_which_they_were_and_which_copies(patient, tmp_path):
    models = [untrained_model(), replace(untrained_model(spacing_mm=8.0), name="other", best_epoch=4)]
    run = segment_folder(models, patient, output=tmp_path, copies="turned")
    words = "heart + other, turned copies"
    assert run.model == words
    assert run.folder.name.startswith("heart_+_other_turned_copies_")
    assert {row.model for row in run.measurements} == {words}
    assert set(pd.read_csv(run.folder / "measurements.csv")["model"]) == {words}
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    assert record["model"] == words
    assert record["details"]["models"] == ["heart", "other"]
    assert record["details"]["copies"] == "turned"
    assert record["details"]["best_epoch"] == "0, 4"
    alone = segment_folder(models[0], patient, output=tmp_path)
    assert alone.model == "heart"
    differs = [
        not np.array_equal(a.voxels, b.voxels) for (_, a), (_, b) in zip(run.results, alone.results, strict=True)
    ]
    assert any(differs)


@pytest.mark.parametrize("post", [StructurePostprocess(erosions=1, largest_component=True), StructurePostprocess()])
def test_a_typed_cleaning_counts_in_place_of_the_models_own(stacks, tmp_path, post):
    own = untrained_model(postprocess=(StructurePostprocess(erosions=2),) * 2)
    run = segment_folder(own, stacks, output=tmp_path / "out", postprocess=post)
    plain = segment_folder(untrained_model(), stacks, output=tmp_path / "out")
    words = {True: "heart, 1 erosion, largest piece", False: "heart, not cleaned"}[post.erosions == 1]
    assert run.model == words
    assert {row.model for row in run.measurements} == {words}
    for (_, found), (_, before) in zip(run.results, plain.results, strict=True):
        assert np.array_equal(found.voxels, clean_labels(before, (post,) * 2).voxels)
    cleaned = json.loads((run.folder / "run.json").read_text("utf-8"))["details"]["cleaned"]
    assert cleaned == [{"cavity": post.words, "myocardium": post.words} if post.steps else {}]


def test_a_run_says_what_was_added_to_the_structures_log_odds(stacks, tmp_path):
    run = segment_folder(untrained_model(offsets=(0.25, -0.5)), stacks, output=tmp_path / "out")
    details = json.loads((run.folder / "run.json").read_text("utf-8"))["details"]
    assert details["offsets"] == [{"cavity": 0.25, "myocardium": -0.5}]


@pytest.mark.parametrize("kind", ["combine", "correct"])
def test_every_run_takes_a_typed_cleaning(stacks, tmp_path, kind, monkeypatch):
    seen = []
    monkeypatch.setattr(
        patient_run, "mean_of", lambda *given, **more: seen.append(given[2]) or mean_of(*given, **more)
    )
    post = StructurePostprocess(fill_holes=True)
    RUNS[kind](UPPER, stacks, tmp_path / "out", postprocess=post)
    assert set(seen) == {post}


def test_two_models_of_one_name_are_told_apart_in_the_record_and_the_workbook(patient, tmp_path):
    one, other = untrained_model(), untrained_model(spacing_mm=8.0)
    post = StructurePostprocess(erosions=1)
    run = segment_folder([one, other], patient, output=tmp_path, postprocess=post)
    details = json.loads((run.folder / "run.json").read_text("utf-8"))["details"]
    first, second = details["model_records"]
    assert [first["name"], second["name"]] == ["heart", "heart"]
    assert first["settings_digest"] != second["settings_digest"]
    # Of the model as its file has it; what was typed stands beside it.
    assert first["digest"] == model_digest(one)
    assert first["postprocess"] == {"cavity": "1 erosion", "myocardium": "1 erosion"}
    assert first["postprocess_digest"] == second["postprocess_digest"] != model_record(one)["postprocess_digest"]
    assert details["versions"]["torch"] == torch.__version__
    about = list(openpyxl.load_workbook(run.folder / "areas.xlsx")["about"].iter_rows(min_row=2, values_only=True))
    lines = [words for what, words in about if what == "model heart"]
    assert len(lines) == 2
    assert all(words.startswith(f"digest {model_digest(one)}, digest of its settings ") for words in lines)
    assert lines[0] != lines[1]
    assert ("torch", torch.__version__) in about
    assert model_record(replace(one, best_epoch=one.best_epoch, name="b"))["digest"] == first["digest"]


def test_what_was_left_alone_is_on_record_with_the_reason_and_without_its_folder(patient, tmp_path):
    folder = tmp_path / "MEYER" / "in"
    shutil.copytree(patient, folder)
    (folder / "notes of MEYER.txt").write_text("hello")
    (folder / "broken.dcm").write_bytes(b"")
    run = segment_folder(untrained_model(), folder, output=tmp_path / "out")
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    assert {one["file"] for one in record["left_alone"]} == {"notes of MEYER.txt", "broken.dcm"}
    assert {one["file"]: one["reason"] for one in record["left_alone"]}["broken.dcm"] == "an empty file"
    assert str(tmp_path) not in json.dumps(record["left_alone"])
    book = openpyxl.load_workbook(run.folder / "areas.xlsx")
    assert ("broken.dcm", "an empty file") in list(book["left alone"].iter_rows(min_row=2, values_only=True))
    assert dict(book["about"].iter_rows(min_row=2, values_only=True))["files left alone"] == 2


def test_whom_one_of_several_models_knows_is_noted(patient, tmp_path):
    subject = segment_folder(untrained_model(), patient, output=tmp_path).results[0][0].source.subject_id
    knows = untrained_model(origin={"subject_fingerprints": [subject_pseudonym(subject)], "modalities": ["CT"]})
    run = segment_folder([untrained_model(), knows], patient, output=tmp_path)
    assert any(
        note.startswith("Some of the models were trained or validated on this patient") for note in run.notes
    )
    assert any("learnt from CT images and this is MR" in note for note in run.notes)


def test_models_that_do_not_go_together_write_nothing(patient, tmp_path):
    with pytest.raises(DataError, match="cannot be averaged"):
        segment_folder([untrained_model(), untrained_model(channels=("a", "b"))], patient, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- what is said of an image before a network runs over it


@pytest.mark.parametrize("kind", ["segment", "correct"])
def test_a_red_light_is_told_before_the_network_runs_and_a_stop_then_writes_nothing(
    kind, stacks, tmp_path, monkeypatch
):
    monkeypatch.setattr(patient_run, "predict_and_look", lambda *_, **__: pytest.fail("The network runs."))
    told = []

    def stop(progress):
        told.append(progress)
        return set(progress.suitability) == {"a", "b"}

    with pytest.raises(RunStopped, match="Nothing was written"):
        RUNS[kind](untrained_model(trust=OF_9_MM), stacks, tmp_path / "out", on_progress=stop)
    assert not (tmp_path / "out").exists()
    assert [(one.stage, list(one.suitability)) for one in told] == [
        ("reading", []), ("comparing", []), ("comparing", ["a"]), ("predicting", ["a", "b"]),
    ]  # fmt: skip
    for one in told[-1].suitability.values():
        assert one.light is Light.RED
        assert "Its pixels are 2 mm; the model learnt from 9" in one.reasons[0]
    assert str(told[2]) == "Series 2 of 2: comparing it with the model's images …"


def test_every_model_looks_at_an_image_once_and_the_worst_counts_before_and_after(stacks, tmp_path, monkeypatch):
    looked, told = [], []

    def look_at(model, image, *more):
        looked.append((model.name, image.source.case_id))
        return appearance.look_at(model, image, *more)

    monkeypatch.setattr(suitability, "look_at", look_at)
    built, build = [], TrainedModel.build
    monkeypatch.setattr(TrainedModel, "build", lambda model: built.append(model.name) or build(model))
    models = [replace(untrained_model(trust=OF_9_MM), name=name) for name in ("one", "other")]
    run = segment_folder([*models, UPPER], stacks, output=tmp_path / "out", on_progress=told.append)
    assert sorted(built) == ["heart", "one", "other"]  # once for all images
    assert sorted(looked) == [(name, image) for name in ("one", "other") for image in ("a", "b")]
    early = next(one.suitability for one in told if one.stage == "predicting")
    assert early == {name: compare_image([models[0]], image).so_far for name, image in _by_name(run).items()}
    assert run.suitability == {
        image.source.case_id: compare_image([models[0]], image).with_found(labels) for image, labels in run.results
    }


def _by_name(run):
    return {image.source.case_id: image for image, _ in run.results}


def test_an_image_that_one_of_two_models_draws_alone_is_red_beforehand_by_that_one(tmp_path, lower):
    write_stack(tmp_path / "in" / "neck.nii.gz", 100.0, count=3)
    write_stack(tmp_path / "in" / "spine.nii.gz", 0.0)
    for knows, others, light in ((UPPER, lower, Light.RED), (lower, UPPER, Light.AMBER)):
        models = {one.name: one for one in (replace(knows, trust=OF_9_MM), others)}
        told = []
        combine_folder(
            models[UPPER.name],
            models[lower.name],
            tmp_path / "in",
            output=tmp_path / "out",
            at_mm=12.0,
            on_progress=told.append,
        )
        early = next(one.suitability for one in told if one.stage == "predicting")
        # The spine is shared, and there nothing is red.
        assert {name: one.light for name, one in early.items()} == {"neck": light, "spine": Light.AMBER}


# --- two models along the body


def test_every_slice_says_its_model_and_the_run_where_they_meet(tmp_path, lower):
    write_stack(tmp_path / "in" / "spine.nii.gz", 0.0)
    write_stack(tmp_path / "in" / "neck.nii.gz", 200.0, count=3)
    run = combine_folder(UPPER, lower, tmp_path / "in", output=tmp_path / "out", at_mm=12.0, blend_mm=6.0)
    assert run.model == "heart above lumbar"
    table = pd.read_csv(run.folder / "measurements.csv")
    models = table.groupby(["case_id", "slice"])["model"].first()
    # Slices at 0, 5 … 25 mm; those between 9 and 15 mm are of both, and 15 mm is the upper model's.
    assert models["spine"].tolist() == ["lumbar", "lumbar", "heart + lumbar", "heart", "heart", "heart"]
    assert models["neck"].tolist() == ["heart"] * 3
    details = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["details"]
    joins = {join["case_id"]: join for join in details["combination"]}
    assert joins["spine"]["upper_shares"] == pytest.approx([0, 0, 1 / 6, 1, 1, 1], abs=1e-3)
    assert joins["neck"] == {"case_id": "neck", "model": "heart", "at_mm": 12.0, "side": "above"}
    assert details["models"] == ["heart", "lumbar"]
    assert any("neck lies wholly above" in note for note in run.notes)
    assert any("heart above and lumbar below z = 12.0 mm, blended over 6 mm" in note for note in run.notes)
    spine = next((image, labels) for image, labels in run.results if image.source.case_id == "spine")
    assert np.array_equal(spine[1].voxels[:2], predict(lower, spine[0]).voxels[:2])
    assert np.array_equal(spine[1].voxels[3:], predict(UPPER, spine[0]).voxels[3:])


def test_an_image_of_one_model_alone_is_judged_by_that_one(tmp_path, lower, monkeypatch):
    write_stack(tmp_path / "in" / "neck.nii.gz", 100.0, count=3)
    judged = []

    def judge(models, compared, predicted, measurements):
        judged.append([model.name for model in models])
        return Judged(tuple(measurements), Suitability(Light.GREEN, ("It is like those.",)))

    monkeypatch.setattr(patient_run, "judge", judge)
    run = combine_folder(UPPER, lower, tmp_path / "in", output=tmp_path / "out", at_mm=12.0, look=False)
    assert judged == [["heart"]]
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert record["details"]["second_look"] is False


def test_nothing_is_written_where_the_models_cannot_meet(tmp_path, lower):
    write_stack(tmp_path / "in" / "spine.nii.gz", 0.0)
    with pytest.raises(DataError, match="and no slice 10"):
        combine_folder(UPPER, lower, tmp_path / "in", output=tmp_path / "out", at_slice=9)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


# --- folders to correct in


def test_a_patients_dicom_folder_becomes_one_to_correct_in(sample, tmp_path):
    model = untrained_model()
    kit = segment_to_correct(model, sample / "test" / "dicoms", tmp_path / "kit", only=["series-5"], factor=3)
    images, _, _ = read_patient(sample / "test" / "dicoms", only=["series-5"])
    assert [case.case_id for case in kit.cases] == ["series-5_t01", "series-5_t02"]
    case, image = kit.cases[1], images[1]
    assert (kit.model, case.shape, case.factor) == ("heart", image.shape, 3)
    voxels, _ = read_nifti(kit.folder / case.labels_name)
    assert np.array_equal(voxels[:, 1::3, 1::3], predict(model, image).voxels)


def test_a_run_is_written_once_and_then_gone_on_with(sample, tmp_path):
    run = segment_folder(untrained_model(), sample / "test" / "dicoms", output=tmp_path, only=["series-5"])
    kit = run_to_correct(run)
    assert kit.folder == kit_folder(run) == run.folder / "to_correct"
    assert kit.model == run.model
    corrected = kit.folder / kit.cases[0].labels_name
    corrected.write_bytes(b"corrected by hand")
    assert run_to_correct(run).cases[0].name == kit.cases[0].name
    assert corrected.read_bytes() == b"corrected by hand"
    finer = run_to_correct(run, factor=3)
    assert finer.folder == kit_folder(run, 3) != kit.folder
    assert [one.name for one in list_run_files(run.folder) if one.meaning.startswith("Images and labels")] == [
        "to_correct/",
        "to_correct_finer_3/",
    ]
    shutil.rmtree(run.folder)
    with pytest.raises(OutputError, match="not there any more"):
        run_to_correct(run)
    assert not run.folder.exists()


def test_a_folder_to_correct_in_keeps_the_light_and_tells_of_it(stacks, tmp_path, monkeypatch):
    lights = Suitability(Light.RED, ("It lies on its side.",)), Suitability(Light.GREEN, ("Like it.",))

    def judge(models, compared, predicted, measurements):
        return Judged(tuple(measurements), next(colours))

    monkeypatch.setattr(patient_run, "judge", judge)
    colours = iter(lights)
    kit = read_kit(segment_to_correct(UPPER, stacks, tmp_path / "kit").folder)
    assert [(case.suitability, case.reasons) for case in kit.cases] == [
        ("red", ("It lies on its side.",)), ("green", ("Like it.",)),
    ]  # fmt: skip
    told = f"{kit.cases[0].name}: RED. It lies on its side."
    assert told in kit.notes
    assert told in (kit.folder / "READ_ME.txt").read_text(encoding="utf-8")
    assert not any("GREEN" in note for note in kit.notes)
    colours = iter(lights)
    run = segment_folder(UPPER, stacks, output=tmp_path / "out")
    assert [case.suitability for case in run_to_correct(run).cases] == ["red", "green"]


def test_only_the_cases_that_are_wanted_are_written(tmp_path):
    train = add_volumes(tmp_path / "train")
    kit = labels_to_correct(find_cases(train), tmp_path / "kit", case_ids=["b"])
    assert [case.case_id for case in kit.cases] == ["b"]
    with pytest.raises(DataError, match=r"has no case c\. It has: a, b"):
        labels_to_correct(find_cases(train), tmp_path / "other", case_ids=["c"])


def test_two_models_along_an_image_have_the_light_of_both(tmp_path, lower, monkeypatch):
    write_stack(tmp_path / "in" / "neck.nii.gz", 0.0, count=4)
    asked = []

    def compare(models, image, **more):
        asked.append([model.name for model in models])
        return compare_image(models, image, **more)

    monkeypatch.setattr(patient_run, "compare_image", compare)
    upper, lower = (replace(one, trust=OF_9_MM) for one in (UPPER, lower))
    told = []
    run = combine_folder(
        upper, lower, tmp_path / "in", output=tmp_path / "out", at_slice=2, on_progress=told.append
    )
    assert asked == [[UPPER.name, lower.name]]
    # Each may know its own part only, so that nothing is hidden, nor told beforehand.
    (found,) = run.suitability.values()
    assert found.light is Light.AMBER
    assert found.reasons[0] == SHARED
    assert {row.suitability for row in run.measurements} == {"amber"}
    assert all(one.light is Light.AMBER for progress in told for one in progress.suitability.values())
