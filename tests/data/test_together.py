"""Several programs at one folder of cases: nothing that one of them keeps is lost by what another one keeps."""

import os
import tempfile
import warnings
from pathlib import Path

import pytest
from folders import add_two_sizes, add_volumes, corrected

from autoseg.data.cases import (
    build_table,
    declare_absent,
    declare_missing,
    find_cases,
    keep_names,
    list_namings,
    name_structures,
    read_case,
)
from autoseg.data.cases.sizes import answer_voxel_sizes
from autoseg.data.corrections.keep import keep_correction, keep_corrections
from autoseg.data.repairs import add_repair, add_repairs, leave_out, read_repairs, relabel, undo_repairs
from autoseg.data.test_subjects import freeze_test_subjects, read_ledger, record_look
from autoseg.errors import DataError, OutdatedError
from autoseg.files.nifti.sizes import read_answers
from autoseg.files.tables import read_kept_corrections

PROGRAMS, EACH = 5, 10


@pytest.fixture
def place(tmp_path):
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


def at_once(*works):
    """Run each of the works in a process of its own, all from the same moment on."""
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked here")
    ready, go = os.pipe()
    children = []
    for work in works:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads; the child writes small files only
            child = os.fork()
        if child == 0:
            try:
                os.close(go)
                os.read(ready, 1)
                work()
                os._exit(0)
            except BaseException as error:  # told to the parent, whose test it is
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(1)
        children.append(child)
    os.close(go)  # nobody waits any more
    codes = [os.waitpid(child, 0)[1] for child in children]
    os.close(ready)
    assert codes == [0] * len(works)


def test_no_repair_is_lost(place):
    def add(program):
        for number in range(EACH):
            add_repair(place, leave_out(f"case_{program}_{number}"))

    at_once(*(lambda program=program: add(program) for program in range(PROGRAMS)))
    kept = [repair.case_id for repair in read_repairs(place)]
    wanted = {f"case_{program}_{number}" for program in range(PROGRAMS) for number in range(EACH)}
    assert (len(kept), set(kept)) == (PROGRAMS * EACH, wanted)
    assert [path.name for path in place.iterdir()] == ["repairs.csv"]


def test_every_look_is_counted(place):
    freeze_test_subjects(place, ["p1", "p2"])
    at_once(*(lambda p=p: [record_look(place, f"m{p}_{n}") for n in range(EACH)] for p in range(PROGRAMS)))
    ledger = read_ledger(place)
    wanted = {f"m{program}_{number}" for program in range(PROGRAMS) for number in range(EACH)}
    assert (len(ledger.looks), {look.model for look in ledger.looks}) == (PROGRAMS * EACH, wanted)


def test_no_answer_of_a_size_is_lost(place):
    (place / "data").mkdir()
    folder = add_two_sizes(place / "data", 6)
    files = sorted(folder.rglob("*.nii.gz"))
    at_once(*(lambda path=path: answer_voxel_sizes(folder, "pixdim", [path]) for path in files))
    assert read_answers(folder) == {path.relative_to(folder).as_posix(): "pixdim" for path in files}


def test_answers_about_different_structures_are_joined_though_each_was_asked_before_the_others_came(place):
    folder = add_volumes(place / "data")
    one, other = find_cases(folder), find_cases(folder)
    at_once(lambda: declare_missing(one, "disc", case_ids=["a"]), lambda: declare_absent(other, "cord"))
    after = find_cases(folder)
    assert [(case.annotated, case.unsaid) for case in after.cases] == [({1}, set()), ({1, 2}, {2})]
    known = declare_absent(one, "disc", case_ids=["b"])  # this program has not read what the other one wrote
    assert [(case.annotated, case.unsaid) for case in known.cases] == [({1}, set()), ({1, 2}, set())]
    assert known.cases == find_cases(folder).cases


def test_corrections_of_two_programs_are_all_kept(place):
    folder = add_volumes(place / "data")
    corrections = [corrected(place, folder, case_id, into=f"kit {case_id}") for case_id in ("a", "b")]
    at_once(*(lambda one=one: keep_correction(one, place / "new") for one in corrections))
    found = find_cases(place / "new")
    assert sorted(row.case_id for row in read_kept_corrections(place / "new")) == ["a", "b"]
    assert {case.case_id.partition("_")[0] for case in found.cases} == {"a", "b"}
    for case in found.cases:
        assert (read_case(case, found.structures)[1].voxels == 2).sum() == 4 * case.slices[1] - 4 * case.slices[0]


def test_labels_that_came_meanwhile_are_not_replaced_unasked(place, monkeypatch):
    folder = add_volumes(place / "data")
    mine = corrected(place, folder, "a", into="kit")
    theirs = corrected(place, folder, "a", into="kit2", value=1)
    monkeypatch.setattr("autoseg.data.corrections.keep.find_standing", lambda *_, **__: None)  # they were not there
    keep_correction(theirs, place / "new", checked="all")
    with pytest.raises(DataError, match=r"a has other labels by now: .*a\.nii\.gz"):
        keep_corrections([mine], place / "new", checked="all")
    assert len(read_kept_corrections(place / "new")) == 1
    keep_corrections([mine], place / "new", checked="all", replace=True)
    assert len(read_kept_corrections(place / "new")) == 2


# --- what cannot be joined is told, and what is there stays


def test_structures_that_another_program_named_meanwhile_stay(place):
    folder = add_volumes(place / "data")
    (folder / "structures.csv").unlink()
    one, other = find_cases(folder), find_cases(folder)
    keep_names(one)
    kept = (folder / "structures.csv").read_bytes()
    with pytest.raises(OutdatedError, match=r"structures\.csv was changed by another program"):
        name_structures(other, build_table(list_namings(other)))
    with pytest.raises(OutdatedError, match="say it once more"):
        declare_absent(other, "label 1")
    assert (folder / "structures.csv").read_bytes() == kept
    assert not (folder / "annotated.csv").exists()
    declare_absent(keep_names(find_cases(folder)), "label 1")  # one's own writing is no other program's


def test_a_case_is_not_mended_twice_in_two_ways(place):
    seen = (relabel("leg", {5: 1}),)
    add_repairs(place, seen, seen=())
    add_repairs(place, [relabel("arm", {1: 2, 2: 1}), leave_out("leg")], seen=seen)
    with pytest.raises(OutdatedError, match=r"labels of arm are mended .* not kept: values are renamed"):
        add_repairs(place, [leave_out("foot"), relabel("arm", {1: 2, 2: 1, 3: 4})], seen=seen)
    # What another program has said too, or what does no harm beside it, is no contradiction.
    add_repairs(place, [relabel("arm", {1: 2, 2: 1}), relabel("foot", {3: 1}), leave_out("arm")], seen=seen)
    kept = (*seen, relabel("arm", {1: 2, 2: 1}), leave_out("leg"), relabel("foot", {3: 1}), leave_out("arm"))
    assert read_repairs(place) == kept
    undo_repairs(place, [leave_out("leg"), leave_out("never kept")])
    assert leave_out("leg") not in read_repairs(place)


def test_patients_set_aside_by_another_program_are_not_replaced_unseen(place):
    freeze_test_subjects(place, ["p1"], instead_of=())
    with pytest.raises(OutdatedError, match="1 patient by now"):
        freeze_test_subjects(place, ["p2"], instead_of=())
    assert freeze_test_subjects(place, ["p1"], instead_of=()).subjects == ("p1",)  # both chose the same
    assert freeze_test_subjects(place, ["p2"], instead_of=["p1"]).subjects == ("p2",)
    assert freeze_test_subjects(place, ["p3"]).subjects == ("p3",)
