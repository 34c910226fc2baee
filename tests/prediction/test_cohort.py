"""All patients of a folder: one table, what failed and why, and going on after a stop."""

import csv
import json
import shutil
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from folders import edit, write_cohort, write_patient, write_stack
from untrained import OF_9_MM, untrained_model

from autoseg.cli import main
from autoseg.data import codes
from autoseg.data.cohort import find_patient_places
from autoseg.errors import DataError, OutputError
from autoseg.model.model import save_model
from autoseg.prediction import cohort as cohorts
from autoseg.prediction.cohort import segment_cohort
from autoseg.prediction.run import RunProgress, RunRequest, Stage, mean_of, segment_folder
from autoseg.report.cohort import PatientResult, worst_first
from autoseg.report.cohort import write_cohort as write_tables
from autoseg.report.run_folder import free_folder

MODEL = untrained_model()


@pytest.fixture
def folder(tmp_path):
    """Four patients, the second of whom is broken."""
    return write_cohort(tmp_path / "study")


def run(folder, model=MODEL, stop=lambda progress: False, **more):
    request = RunRequest(mean_of(model, look=False), folder, **more)
    return segment_cohort(request, folder.parent / "out", on_progress=stop)


def rows_of(found, name="measurements"):
    return pd.read_csv(found.folder / f"{name}.csv")


# --- which folders are patients


def test_folders_are_patients_by_their_dicom_files_wherever_these_lie(folder):
    write_patient(folder / "p4" / "study" / "series", "id-4")
    write_patient(folder / "p4" / "study" / "other", "id-4")
    (folder / "empty").mkdir()
    (folder / "readme.txt").write_text("of the study")
    (folder / "p1" / "notes").mkdir()
    places = find_patient_places(folder)
    assert [place.folder for place in places] == ["empty", "p1", "p2", "p3", "p4", "p10"]
    assert {place.subject_id for place in places} == {""}
    assert not any(place.refusal for place in places)


def test_without_dicom_names_tell_as_in_a_training_folder(tmp_path):
    for name in (
        "sub-01/anat/t1.nii.gz",
        "sub-02/ses-1/t1.nii.gz",
        "sub-02/ses-2/t1.nii.gz",
        "sub-02/labels/t1.nii.gz",
    ):
        write_stack(tmp_path / name)
    assert [(one.folder, one.subject_id) for one in find_patient_places(tmp_path)] == [
        ("sub-01", "sub-01"),
        ("sub-02", "sub-02"),
    ]
    for name in ("leg_a_t1", "leg_b_t1"):
        write_stack(tmp_path / "flat" / f"{name}.nii.gz")
    places = find_patient_places(tmp_path / "flat")
    assert [(one.path.name, one.subject_id) for one in places] == [
        ("leg_a_t1.nii.gz", "leg_a_t1"),
        ("leg_b_t1.nii.gz", "leg_b_t1"),
    ]


def test_a_patient_who_cannot_be_read_alone_is_told(folder):
    write_patient(folder / "p1" / "inside", "id-9")
    place = next(one for one in find_patient_places(folder) if one.folder == "p1")
    assert "Put each patient's files into a folder of their own" in place.refusal
    with pytest.raises(DataError, match="hold no image"):
        find_patient_places(folder / "p2")
    with pytest.raises(DataError, match="is not a folder"):
        find_patient_places(folder / "nobody")


# --- the loop


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Let each run be a copy of one that is done: what counts is for whom it is called."""
    write_patient(tmp_path / "template", "id-0")
    template = segment_folder(MODEL, tmp_path / "template", output=tmp_path / "runs", look=False).folder

    def copy(request, output):
        request.tell(RunProgress(Stage.READING))
        if request.folder.name == "p2" and not (request.folder / "2.dcm").read_bytes().startswith(b"\0"):
            raise DataError("p2 is broken")
        folder = free_folder(output, request.name)
        request.tell(RunProgress(Stage.WRITING))
        shutil.copytree(template, folder)
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        record["details"]["patient"] = dict(request.record)
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
        return SimpleNamespace(folder=folder)

    monkeypatch.setattr(cohorts, "segment_and_write", copy)


def test_one_broken_patient_stops_nobody_and_the_table_is_that_of_single_runs(folder):
    found = run(folder)
    assert [(one.folder, one.result) for one in found.results[:1]] == [("p2", "failed")]
    assert "p2 holds no DICOM image; 2 other files" in found.results[0].why
    assert (found.segmented, found.earlier, found.is_stopped) == (3, 0, False)
    joined = rows_of(found)
    assert list(dict.fromkeys(joined["subject_id"])) == ["id-1", "id-3", "id-10"]
    alone = segment_folder(MODEL, folder / "p3", output=folder.parent / "alone", look=False)
    own = pd.read_csv(alone.folder / "measurements.csv")
    pd.testing.assert_frame_equal(joined[joined["run"] == "p3"].reset_index(drop=True)[own.columns], own)
    patients = rows_of(found, "patients")
    assert list(patients["run"]) == ["p1", "p1", "p3", "p3", "p10", "p10"]
    assert "patient" not in patients
    with (found.folder / "report.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["folder"] == "p2"
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    assert "What failed" in page
    assert "holds no DICOM image" in page


def test_long_tables_are_parquet_too_with_the_same_areas(folder, monkeypatch):
    found = run(folder)
    about = {"title": "t", "record": {}}
    path = found.folder / "measurements.parquet"
    assert not path.exists()
    assert write_tables(found.folder, found.results, most_rows=3, **about)[1] == ()
    csv_rows = pd.read_csv(found.folder / "measurements.csv")
    rows = pd.read_parquet(path)
    assert list(rows) == list(csv_rows)
    numbers = csv_rows.select_dtypes("number").dropna(axis=1, how="all").columns
    assert any(name.startswith("area_") for name in numbers)
    pd.testing.assert_frame_equal(rows[numbers], csv_rows[numbers])
    assert list(rows["subject_id"]) == list(csv_rows["subject_id"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (note,) = write_tables(found.folder, found.results, most_rows=len(rows) - 1, **about)[1]
    assert note.startswith("measurements.csv and intensities.csv have more than")
    assert "pyarrow'); then" in note
    assert not path.exists()
    assert "autoseg[parquet]" in (found.folder / "report.html").read_text(encoding="utf-8")


def test_names_tell_whose_images_without_dicom_they_are(tmp_path):
    for name in ("anna", "berta"):
        write_stack(tmp_path / "study" / name / "t1.nii.gz")
    found = run(tmp_path / "study")
    assert list(dict.fromkeys(rows_of(found)["subject_id"])) == ["anna", "berta"]
    assert [one.patient for one in found.results] == ["anna", "berta"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["stopped", "Ctrl+C"])
def test_what_was_done_before_a_stop_is_kept_and_gone_on_with(folder, how):
    def stop(progress):
        if progress.folder == "p10" and progress.run is not None and progress.run.stage == "writing":
            if how == "Ctrl+C":
                raise KeyboardInterrupt
            return True
        return False

    first = run(folder, stop=stop)
    assert first.is_stopped
    assert (first.segmented, first.results[-1]) == (2, PatientResult("p10"))
    assert set(rows_of(first)["run"]) == {"p1", "p3"}
    assert not any((first.folder / "runs").glob(".unfinished*"))
    seen = []
    second = run(folder, stop=lambda progress: seen.append(progress))
    assert (second.segmented, second.earlier) == (1, 2)
    assert {one.folder for one in seen if one.run is not None} == {"p2", "p10"}  # what failed is tried again
    assert set(rows_of(second)["run"]) == {"p1", "p3", "p10"}


def test_a_kill_in_the_middle_of_a_patient_leaves_the_others_whole(folder, monkeypatch):
    """A killed program writes no table and takes nothing back; what it left is whole or taken away."""

    class Killed(BaseException):
        pass

    def write(*arguments, **more):
        if arguments[0].name == "p3":
            (arguments[0].parent / ".unfinished-0123456789ab" / "p3").mkdir(parents=True)
            raise Killed
        return real(*arguments, **more)

    real = cohorts.segment_and_write.__globals__["write_run"]
    monkeypatch.setitem(cohorts.segment_and_write.__globals__, "write_run", write)
    with pytest.raises(Killed):
        run(folder)
    place = folder.parent / "out" / "heart_study_patients"
    assert not (place / "measurements.csv").exists()
    monkeypatch.undo()
    found = run(folder)
    assert (found.folder, found.segmented, found.earlier) == (place, 2, 1)
    assert set(rows_of(found)["run"]) == {"p1", "p3", "p10"}
    assert not any((place / "runs").glob(".unfinished*"))


@pytest.mark.usefixtures("quick")
def test_added_and_changed_patients_are_done_and_nobody_else(folder):
    run(folder)
    shutil.rmtree(folder / "p2")
    write_patient(folder / "p2", "id-2")
    path = folder / "p3" / "1.dcm"
    edit(path, PatientID="id-3b")
    edit(folder / "p3" / "2.dcm", PatientID="id-3b")
    shutil.copytree(folder / "p1", folder.parent / "copy" / "p1")  # the same content under another stamp
    shutil.rmtree(folder / "p1")
    shutil.move(folder.parent / "copy" / "p1", folder / "p1")
    write_patient(folder / "p4", "id-4")
    found = run(folder)
    assert (found.segmented, found.earlier) == (3, 2)
    assert set(rows_of(found)["run"]) == {"p1", "p2", "p3_2", "p4", "p10"}
    assert next(one for one in found.results if one.folder == "p3").run == "p3_2"
    assert "1 earlier result" in found.notes[0]
    shutil.rmtree(folder / "p4")
    assert set(rows_of(run(folder))["run"]) == {"p1", "p2", "p3_2", "p10"}


@pytest.mark.usefixtures("quick")
def test_another_model_of_the_same_name_or_another_typed_word_does_all_again(folder):
    first = run(folder)
    assert run(folder, untrained_model(spacing_mm=8.0)).segmented == 3
    assert run(folder, only=["series-1"]).segmented == 3
    again = run(folder)
    assert (again.segmented, again.earlier) == (0, 3)  # the first runs are still there
    assert {one.run for one in again.results} == {one.run for one in first.results}


@pytest.mark.usefixtures("quick")
def test_a_damaged_run_is_made_again_beside_the_old_one(folder):
    found = run(folder)
    (found.folder / "runs" / "p1" / "run.json").write_text("{")
    again = run(folder)
    assert again.segmented == 1
    assert {one.run for one in again.results} == {"", "p1_2", "p3", "p10"}


@pytest.mark.usefixtures("quick")
def test_what_autoseg_does_not_foresee_fails_one_patient(folder, monkeypatch):
    real = cohorts.segment_and_write

    def odd(request, output):
        if request.folder.name == "p1":
            raise ZeroDivisionError("by nothing")
        return real(request, output)

    monkeypatch.setattr(cohorts, "segment_and_write", odd)
    found = run(folder)
    failed = {one.folder: one.why for one in found.results if one.result == "failed"}
    assert set(failed) == {"p1", "p2"}
    assert "does not foresee: ZeroDivisionError by nothing" in failed["p1"]


def test_a_full_disk_stops_at_once_in_words(folder, monkeypatch):
    def full(request, output):
        raise OutputError("no room")

    monkeypatch.setattr(cohorts, "segment_and_write", full)
    with pytest.raises(OutputError, match="no room"):
        run(folder)


def test_results_never_lie_among_the_images(folder):
    request = RunRequest(mean_of(MODEL), folder)
    with pytest.raises(OutputError, match="inside the folder of the patients"):
        segment_cohort(request, folder / "out")
    assert not (folder / "out").exists()


def test_the_worst_stand_first():
    rows = [
        PatientResult("waits"),
        PatientResult("fine", result="green", expected_dice=0.9, run="a"),
        PatientResult("less", result="green", expected_dice=0.8, run="b"),
        PatientResult("flagged", result="amber", flagged=3, run="c"),
        PatientResult("plain", result="amber", run="d"),
        PatientResult("poor", result="amber", expected_dice=0.4, run="e"),
        PatientResult("odd", result="red", expected_dice=0.99, run="f"),
        PatientResult("broken", result="failed"),
    ]
    order = ["broken", "odd", "poor", "flagged", "plain", "less", "fine", "waits"]
    assert [one.folder for one in worst_first(rows)] == order


# --- the command


def test_the_command_prints_what_failed_and_the_worst_and_goes_on(folder, capsys, tmp_path):
    shutil.rmtree(folder / "p10")
    model = save_model(untrained_model(trust=OF_9_MM), tmp_path / "model.pt")
    command = ["predict", str(model), str(folder), "--patients", "--no-quality"]
    command += ["--output", str(tmp_path / "out")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "Patient 1 of 3, p1: red, 2 slices" in shown
    assert "3 patients: 1 failed and 2 red; 2 segmented now" in shown
    assert "Failed: p2: The folder" in shown
    assert "Look first at p1 (red), p3 (red): " in shown
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "0 segmented now" in shown
    assert "2 before" in shown
    assert main([*command, "--report", "--centreline", "a=b.csv"]) == 1
    assert "--centreline, --report and --patients do not go together" in capsys.readouterr().err
    for path in [*(folder / "p1").iterdir(), *(folder / "p3").iterdir()]:
        path.write_bytes(path.read_bytes()[:-700])
    assert main(command) == 1
    assert "None of the 3 patients could be segmented" in capsys.readouterr().err


def test_without_ids_nothing_tells_whose_images_they_are(folder, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv(codes.KEY, str(tmp_path / "key" / "key.csv"))
    shutil.rmtree(folder / "p10")
    for number in (1, 2, 3):
        (folder / f"p{number}").rename(folder / f"zenzi_{number}")
        for path in (folder / f"zenzi_{number}").iterdir():
            if number != 2:
                edit(path, PatientID=f"quaxid{number}")
    model = save_model(MODEL, tmp_path / "model.pt")
    command = ["predict", str(model), str(folder), "--patients", "--no-quality"]
    command += ["--output", str(tmp_path / "out"), "--without-ids"]
    assert main(command) == 0
    said = capsys.readouterr()
    (place,) = (tmp_path / "out").iterdir()
    told = [said.out, said.err, *(str(path) for path in place.rglob("*"))]
    files = [
        place / name for name in ("report.csv", "report.html", "cohort.json", "measurements.csv", "patients.csv")
    ]
    told += [path.read_text(encoding="utf-8") for path in files]
    told += [path.read_text(encoding="utf-8") for path in place.rglob("run.json")]
    assert not [words for words in told if "zenzi" in words.replace(str(tmp_path), "") or "quaxid" in words]
    names = {
        json.loads(path.read_text(encoding="utf-8"))["details"]["patient"]["name"]
        for path in place.rglob("run.json")
    }
    assert len(names) == 2
    assert all(codes.CODE.fullmatch(name) for name in names)
    assert main(command) == 0
    assert "2 before" in capsys.readouterr().out


def test_a_free_folder_has_a_number(tmp_path):
    assert free_folder(tmp_path, "p1") == tmp_path / "p1"
    for name in ("p1", "p1_2"):
        (tmp_path / name).mkdir()
    assert free_folder(tmp_path, "p1") == tmp_path / "p1_3"
