"""Killed, on a full disk or with a file open elsewhere: a folder of cases is as it was, or as it was to be."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from folders import add_two_sizes, add_volumes, corrected, write_table
from kills import fail_everywhere, hold_open, kill_everywhere

from autoseg.data.cases import build_table, declare_missing, find_cases, list_namings, name_structures, read_case
from autoseg.data.cases.sizes import answer_voxel_sizes
from autoseg.data.corrections.keep import keep_correction
from autoseg.data.corrections.kit import find_kits, read_kit, write_kit
from autoseg.data.corrections.read import read_correction
from autoseg.data.repairs import add_repair, leave_out, read_repairs, relabel
from autoseg.data.test_subjects import freeze_test_subjects, read_ledger, record_look
from autoseg.errors import TwoSizesError
from autoseg.files.atomic import settle
from autoseg.files.nifti.sizes import forget_answers, read_answers
from autoseg.files.tables import read_kept_corrections


def seen(folder):
    """Everything that a reader of a folder of cases is told, but for names that hold the time."""
    settle(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return None
    ledger = read_ledger(folder)
    told = {
        "repairs": read_repairs(folder),
        "set aside": ledger and (ledger.subjects, [look.model for look in ledger.looks]),
        "sizes": read_answers(folder),
        "earlier": sorted(path.read_bytes() for path in folder.glob("earlier_labels/*")),
    }
    for kit in find_kits(folder):
        told[kit.name] = [read_correction(kit, by="AB", case_id=case.case_id).words for case in read_kit(kit).cases]
    if not (folder / "images").exists():
        return told
    found = find_cases(folder, unlabelled="skip")
    told |= {"structures": found.structures, "values": set(found.values), "notes": found.notes}
    kept = read_kept_corrections(folder)
    told["corrected"] = [(row.case_id, row.by, row.checked, bool(row.earlier_file)) for row in kept]
    for case in found.cases:
        facts = (case.subject_id, case.annotated, case.unsaid, case.slices, case.repairs)
        told[case.case_id] = (*facts, *read_voxels(case, found))
    return told


def read_voxels(case, found):
    try:
        image, labels = read_case(case, found.structures)
    except TwoSizesError:
        return ("asked",)
    return image.voxels.tobytes(), labels.voxels.tobytes()


def drawn_folder(place):
    """A folder of two volumes of which it is said what was drawn."""
    folder = add_volumes(place / "data")
    write_table(folder, "annotated.csv", "case_id,cord,disc", "a,1,?", "b,1,0")
    return folder


def keep_onto(place):
    folder = drawn_folder(place)
    correction = corrected(place, folder)
    return folder, lambda: keep_correction(correction, folder)


def keep_anew(place):
    correction = corrected(place, drawn_folder(place))
    return place / "new", lambda: keep_correction(correction, place / "new")


def rename_structures(place):
    folder = drawn_folder(place)
    table = build_table([replace(row, name=f"the {row.name}") for row in list_namings(find_cases(folder))])
    return folder, lambda: name_structures(find_cases(folder), table)


def say_missing(place):
    folder = drawn_folder(place)
    return folder, lambda: declare_missing(find_cases(folder), "disc")


def repair(place):
    folder = drawn_folder(place)
    add_repair(folder, leave_out("b"))
    return folder, lambda: add_repair(folder, relabel("a", {1: 2, 2: 1}))


def write_for_hands(place):
    folder = drawn_folder(place)
    found = find_cases(folder)
    results = [read_case(case, found.structures) for case in found.cases]
    (place / "run").mkdir()
    return place / "run", lambda: write_kit(place / "run" / "to_correct", results)


def answer_sizes(place):
    (place / "data").mkdir()
    folder = add_two_sizes(place / "data", 2)
    return folder, lambda: answer_voxel_sizes(folder, "pixdim")


def forget_sizes(place):
    folder, answer = answer_sizes(place)
    answer()
    return folder, lambda: forget_answers(folder)


def set_aside(place):
    folder = drawn_folder(place)
    freeze_test_subjects(folder, ["a"])
    return folder, lambda: freeze_test_subjects(folder, ["b"])


def look(place):
    folder = drawn_folder(place)
    freeze_test_subjects(folder, ["a"])
    return folder, lambda: record_look(folder, "m")


@pytest.fixture
def place(tmp_path):
    """A folder in the memory, where there is one: what is watched is what is written, not the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.mark.parametrize(
    "act",
    [
        keep_onto,
        keep_anew,
        rename_structures,
        say_missing,
        repair,
        answer_sizes,
        forget_sizes,
        set_aside,
        look,
        write_for_hands,
    ],
)
def test_killed_at_any_moment(place, act):
    folder, action = act(place)
    survey = kill_everywhere(
        folder, action, lambda: seen(folder), then=lambda: add_repair(folder, leave_out("another"))
    )
    assert survey, survey.wrong


@pytest.mark.parametrize("act", [keep_onto, forget_sizes])
def test_on_a_full_disk(place, act):
    folder, action = act(place)
    survey = fail_everywhere(folder, action, lambda: seen(folder))
    assert survey, survey.wrong


@pytest.mark.parametrize("act", [keep_onto, rename_structures, forget_sizes])
def test_with_a_file_open_elsewhere(place, act):
    folder, action = act(place)
    survey = hold_open(folder, action, lambda: seen(folder))
    assert survey, survey.wrong
