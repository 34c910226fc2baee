"""Codes in place of patients: always the same, kept by the user alone, and the way back to the right patient."""

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from folders import add_subject, add_volumes

from autoseg.data import codes
from autoseg.data.cases import declare_missing, find_cases, find_own_cases, read_case
from autoseg.data.codes import Known, codes_of, hide, keep_without_ids, keep_words, learn_folder, original
from autoseg.data.corrections.keep import keep_correction
from autoseg.data.corrections.read import read_correction
from autoseg.data.digests import Seal, describe_side
from autoseg.data.patients import find_patient, read_patient
from autoseg.data.repairs import add_repair, read_repairs, transform, undo_repair
from autoseg.data.test_subjects import FILE, freeze_test_subjects, read_ledger
from autoseg.errors import DataError, OutputError, ReadError
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.files.sources import WITHOUT_IDS
from autoseg.files.tables import read_subjects, write_structures
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.drawn import measure_labels
from autoseg.prediction.run import labels_to_correct


@pytest.fixture(autouse=True)
def key(tmp_path, monkeypatch):
    path = tmp_path / "own" / "key.csv"
    monkeypatch.setenv(codes.KEY, str(path))
    monkeypatch.setattr(codes, "_WORDS", {})
    monkeypatch.setattr(codes, "_LONGEST_FIRST", [])
    monkeypatch.setattr(codes, "_KEPT", set())
    return path


@pytest.fixture
def folder(tmp_path):
    """Two patients with two slices each, without patient IDs."""
    place = tmp_path / "data"
    for name, rows in (("Mustermann", 40), ("Musterfrau", 44)):
        add_subject(place, name, rows=rows)
    write_structures(place / "structures.csv", [Structure(n, f"part {n}") for n in (1, 2, 3)])
    keep_without_ids(place)
    return place


def test_a_patient_has_the_same_code_each_time_and_only_the_user_may_read_whose(key):
    asked = [Known("4711"), Known("4711", "t2"), Known("=1+1", 'a,"b\r\nc '), Known("", "1.2.3")]
    first = codes_of(asked)
    codes._read_key.cache_clear()
    assert codes_of(reversed(asked)) == first
    assert first[Known("4711", "t2")] == f"{first[Known('4711')]}-1"
    assert len(set(first.values())) == 4
    assert [original(code) for code in first.values()] == ["4711", "t2", 'a,"b\r\nc ', "1.2.3"]
    with key.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert ("4711", "", first[Known("4711")]) in [(row["patient_id"], row["image"], row["code"]) for row in rows]
    if os.name == "posix":
        assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    key.unlink()
    assert codes_of(asked)[Known("4711")] != first[Known("4711")]
    key.write_text("a letter")
    with pytest.raises(ReadError, match="is not the key of patient codes"):
        codes_of(asked)


def test_a_mark_beside_the_key_is_seen_by_who_has_this_key_only(key, tmp_path, monkeypatch):
    with codes.marked_key() as word, codes.marked_key() as other:
        assert word != other
        assert codes.is_key_marked(word)
        for place in (key.with_name("other.csv"), tmp_path / "nowhere" / key.name):
            monkeypatch.setenv(codes.KEY, str(place))
            assert not codes.is_key_marked(word)
        monkeypatch.setenv(codes.KEY, str(key))
    assert not codes.is_key_marked(word)
    assert list(key.parent.iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv(codes.KEY, str(tmp_path / "file" / "key.csv"))
    with pytest.raises(OutputError, match=r"Nothing can be written in .*file, where the key .*set AUTOSEG"):
        codes.marked_key().__enter__()


def test_of_codes_given_at_once_none_is_lost():
    def give(number):
        return [codes_of([Known(f"patient {number} {n % 5}", f"image {n}")]) for n in range(10)]

    with ThreadPoolExecutor(4) as pool:
        given = [pair for some in pool.map(give, range(4)) for one in some for pair in one.items()]
    assert len({code for _, code in given}) == 40
    assert codes_of(one for one, _ in given) == dict(given)


def test_the_setting_holds_for_folders_below_until_it_is_taken_back(tmp_path, monkeypatch):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert not codes.is_without_ids(below)
    keep_without_ids(tmp_path / "a")
    assert codes.is_without_ids(below)
    assert str(codes.key_path()) in (tmp_path / "a" / WITHOUT_IDS).read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="says so for all folders in"):
        keep_without_ids(below, wanted=False)
    keep_without_ids(tmp_path / "a", wanted=False)
    assert not codes.is_without_ids(below)

    def full(path, **more):
        raise OutputError("full")

    monkeypatch.setattr(codes, "whole_file", full)
    assert "until this program ends" in keep_without_ids(below)
    assert codes.is_without_ids(below)
    keep_without_ids(below, wanted=False)
    assert not codes.is_without_ids(below)


def test_cases_and_what_is_read_of_them_know_codes_only_and_measure_the_same(folder):
    own, coded = find_own_cases(folder), find_cases(folder)
    assert [original(case.case_id) for case in coded.cases] == [case.case_id for case in own.cases]
    assert [original(case.subject_id) for case in coded.cases] == [case.subject_id for case in own.cases]
    assert "uster" not in repr([(case.case_id, case.subject_id, case.rules) for case in coded.cases])
    image, labels = read_case(coded.cases[0], coded.structures)
    for source in (image.source, labels.source):
        assert "uster" not in repr(source)
        assert source.slices[0].origin.path.name == "Musterfrau_01.dcm"
    areas = [[(row.area_mm2, row.name) for row in measure_labels(found)] for found in (own, coded)]
    assert areas[0] == areas[1]
    series = [{row.series_uid for row in measure_labels(found)} for found in (own, coded)]
    assert len(series[0]) == len(series[1]) == 2
    assert not series[0] & series[1]


def test_a_patients_images_are_chosen_by_their_codes(folder):
    found = find_patient(folder / "dicoms")
    assert "uster" not in repr([(one.case_id, one.images, one.notes) for one in found.candidates])
    (image,), notes, _ = read_patient(folder / "dicoms", only=[found.candidates[0].case_id])
    assert image.source.case_id == found.candidates[0].case_id
    assert "uster" not in repr((image.source, notes))
    with pytest.raises(DataError) as error:
        read_patient(folder / "dicoms", only=["nobody"])
    assert "uster" not in str(error.value)


def test_the_folders_own_tables_keep_the_names_of_their_files(folder):
    coded = find_cases(folder)
    patient, case = coded.cases[0].subject_id, coded.cases[0].case_id
    freeze_test_subjects(folder, [patient])
    assert json.loads((folder / FILE).read_text())["subjects"] == ["Musterfrau"]
    assert read_ledger(folder).subjects == (patient,)
    freeze_test_subjects(folder, ["Musterfrau"])  # the same
    add_repair(folder, transform(case, "mirror_rows"))
    assert [repair.case_id for repair in read_repairs(folder)] == ["Musterfrau_01"]
    assert find_cases(folder).cases[0].repairs
    undo_repair(folder, transform(case, "mirror_rows"))
    declare_missing(coded, "part 3", case_ids=())
    assert "Musterfrau_01" in (folder / "annotated.csv").read_text()
    assert len(find_cases(folder).cases) == 4
    keep_without_ids(folder, wanted=False)
    assert read_ledger(folder).subjects == ("Musterfrau",)


def test_a_model_knows_again_whom_it_learnt_from_whether_codes_stand_for_them_or_not(folder):
    coded, own = find_cases(folder), find_own_cases(folder)
    sides = [
        describe_side(found.cases, [read_case(case, found.structures) for case in found.cases], Seal("00", n=16))
        for found in (coded, own)
    ]
    assert sides[0] == sides[1]


def corrected_kit(tmp_path, *, subject="Mustermann", without_ids=True):
    """Give a folder to correct in, with a corrected file, and what it was made of."""
    data = add_volumes(tmp_path / "volumes")
    (data / "subjects.csv").write_text(f"case_id,subject_id\na,{subject}\nb,Musterfrau\n")
    if without_ids:
        keep_without_ids(data)
    kit = labels_to_correct(find_cases(data), tmp_path / "kit")
    case = next(case for case in kit.cases if original(case.case_id) == "a")
    path = kit.folder / case.labels_name
    voxels, affine = read_nifti(path)
    voxels[2, 8, 8] = 2
    write_nifti(path, LabelMap(voxels.astype(np.uint8), affine, kit.structures))
    return data, read_correction(kit.folder, by="AB", case_id=case.case_id)


def test_corrected_labels_come_back_to_the_right_patient(tmp_path, key):
    data, correction = corrected_kit(tmp_path)
    assert "uster" not in (correction.kit.folder / "correction.json").read_text()
    row = keep_correction(correction, data)
    assert (row.case_id, row.label_file) == ("a", "labels/a.nii.gz")
    keep_correction(correction, tmp_path / "new")
    assert list(read_subjects(tmp_path / "new" / "subjects.csv").values()) == ["Mustermann"]
    shutil.copy(key, tmp_path / "kept.csv")
    key.unlink()
    with pytest.raises(DataError, match=r"key of this computer .* does not know"):
        keep_correction(correction, data, note="again")


def test_codes_that_came_from_elsewhere_are_ids_as_any_other(tmp_path):
    _, correction = corrected_kit(tmp_path, subject="P-2345678", without_ids=False)
    keep_correction(correction, tmp_path / "new")
    assert list(read_subjects(tmp_path / "new" / "subjects.csv").values()) == ["P-2345678"]


def test_sentences_lose_names_and_keep_numbers(tmp_path):
    patient = tmp_path / "Erna_Mustermann"
    patient.mkdir()
    for name in ("2765.dcm", "Mustermann_t2.png", "20260301.dcm"):
        (patient / name).write_text("")
    learn_folder(patient)
    code = codes_of([Known("471147")])[Known("471147")]
    assert hide(f"{patient / 'Mustermann_t2.png'} is damaged.") == "…/file-3.png is damaged."
    assert hide("Mustermann_t2: its labels lie elsewhere; 471147.") == f"file-3: its labels lie elsewhere; {code}."
    assert hide("2765 mm² and 471147.5 mm², 3 of 96 files.") == "2765 mm² and 471147.5 mm², 3 of 96 files."
    assert hide("Mustermannschaft") == "Mustermannschaft"
    for name in ("psoas.png", "structures.csv"):
        (patient / name).write_text("")
    learn_folder(patient)
    assert hide("structures.csv names psoas and iliacus.") == "structures.csv names file-4 and iliacus."
    keep_words(["psoas"])
    assert hide("structures.csv names psoas and iliacus.") == "structures.csv names psoas and iliacus."
