"""Findings on the page: mended, left out, answered and undone by clicks."""

import errno

import nibabel
import numpy as np
import pytest
from folders import add_shares, add_subject, add_two_sizes, add_volumes, change_label
from kills import watching
from structure_sets import contour, the_image, write_rtstruct

from autoseg.data.cases import Pseudonyms, declare_absent, find_cases, read_case
from autoseg.data.checks import Finding, check_cases
from autoseg.data.repairs import add_repairs, clear, leave_out, leave_out_slices, read_repairs, relabel, settle
from autoseg.files.nifti.sizes import read_answers
from autoseg.panels.data import findings as module
from autoseg.panels.data.findings import FindingsPanel

NAMES = {1: "psoas", 2: "disc", 3: "fat"}


@pytest.fixture
def folder(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
    return tmp_path


def found(folder):
    return find_cases(folder, structures=NAMES)


def shown(folder, findings=None, told=None, **options):
    panel = FindingsPanel(None if told is None else lambda: told.append(1))
    cases = found(folder)
    panel.show(cases, check_cases(cases) if findings is None else findings, **options)
    panel.wait(60)
    return panel


def finding_of(folder, case_id="Anna_01", severity="warning", **changes):
    given = {"problem": f"{case_id} is odd.", "remedy": "Mend it.", "kind": "sides"} | changes
    return Finding(severity, case_id, folder / "labels" / f"{case_id}.npy", **given)


def row_of(panel, kind):
    (row,) = [row for row in panel.rows if row.finding.kind == kind]
    return row


def answer(panel, kind, words):
    row_of(panel, kind).press(words)
    panel.use()


def test_a_fault_is_mended_and_the_repair_undone(folder):
    change_label(folder, "Anna_01", lambda labels: np.where(labels == 3, 9, labels))
    told = []
    panel = shown(folder, told=told)
    answer(panel, "values", "Mend: values are renamed: 9 becomes 3")
    assert read_repairs(folder) == (relabel("Anna_01", {9: 3}),)
    assert told == [1]
    assert "own files stay" in panel.message.value
    panel = shown(folder, told=told)
    assert not any(row.finding.kind == "values" for row in panel.rows)
    undo = panel.made.children[1].children[0]
    assert "9 becomes 3" in undo.tooltip
    undo.click()
    assert read_repairs(folder) == ()
    assert told == [1, 1]


def test_a_case_is_left_out(folder):
    panel = shown(folder, [finding_of(folder)])
    answer(panel, "sides", "Leave this image out")
    assert read_repairs(folder) == (leave_out("Anna_01"),)
    assert len(found(folder).cases) == 3


def test_of_two_cases_each_can_be_left_out_of_more_one_is_chosen(folder):
    two = finding_of(folder, "", problem="Alike.", cases=("Anna_01", "Bert_02"), kind="twins")
    three = finding_of(folder, "", problem="Odd.", cases=("Anna_01", "Anna_02", "Bert_02"), kind="gap")
    panel = shown(folder, [two, three])
    answer(panel, "twins", "Leave Bert_02 out")
    row = row_of(panel, "gap")
    row.several.value = row.several.options[2][1]
    panel.use()
    assert read_repairs(folder) == (leave_out("Bert_02"), leave_out("Anna_02"))
    row.several.value = row.several.options[-1][1]
    panel.use()  # those that are left out already are passed over
    assert len(read_repairs(folder)) == 3


def test_the_question_is_answered_once_and_the_answer_taken_back(folder):
    for name in ("Anna_01", "Bert_01"):
        change_label(folder, name, lambda labels: np.where(labels == 2, 0, labels))
    panel = shown(folder)
    answer(panel, "absent", "It was not drawn there")
    assert [case.annotated for case in found(folder).cases] == [{1, 3}, {1, 2, 3}] * 2
    cases = found(folder)
    panel.show(cases, check_cases(cases))
    assert not any(row.finding.kind == "absent" for row in panel.rows)
    panel.made.children[1].children[0].click()
    panel.show(found(folder), check_cases(found(folder)))
    answer(panel, "absent", "It really is not there")
    assert not any(finding.kind == "absent" for finding in check_cases(found(folder)))
    assert all(case.annotated == {1, 2, 3} for case in found(folder).cases)


def test_undrawn_slices_are_asked_of_their_patient_only(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject, slices=3)
        change_label(tmp_path, f"{subject}_02", lambda labels: np.where(labels == 3, 0, labels))
    panel = shown(tmp_path)
    rows = [row for row in panel.rows if row.finding.kind == "gap"]
    assert [row.finding.cases for row in rows] == [("Anna_02",), ("Bert_02",)]
    rows[0].press("It was not drawn there")
    panel.use()
    drawn = {case.case_id: case.is_drawn(3) for case in found(tmp_path).cases}
    assert [case_id for case_id, is_drawn in drawn.items() if not is_drawn] == ["Anna_02"]
    assert [f.cases for f in check_cases(found(tmp_path)) if f.kind == "gap"] == [("Bert_02",)]
    panel.show(found(tmp_path), check_cases(found(tmp_path)))
    answer(panel, "gap", "It really is not there")
    assert not any(f.kind == "gap" for f in check_cases(found(tmp_path)))
    assert [case.case_id for case in found(tmp_path).cases if not case.is_drawn(3)] == ["Anna_02"]


def test_slices_of_a_volume_that_nobody_drew_are_left_out_and_come_back(tmp_path):
    folder = add_volumes(tmp_path)
    for name, missing in (("a", [3, 4]), ("b", [2])):
        path = folder / "labels" / f"{name}.nii.gz"
        picture = nibabel.load(path)
        voxels = np.asarray(picture.dataobj).copy()
        voxels[..., missing] = 0
        nibabel.save(nibabel.Nifti1Image(voxels, picture.affine), path)
    panel, before = FindingsPanel(), find_cases(folder).cases
    panel.show(find_cases(folder), check_cases(find_cases(folder)))
    (row,) = [row for row in panel.rows if row.finding.kind == "gap"]
    row.press("Not drawn there: leave these slices out")
    panel.use()
    add_repairs(folder, [leave_out_slices("a", [3, 4], of=5)], seen=())
    found = find_cases(folder)
    assert [(one.case_id, one.slices) for one in found.cases] == [
        ("a", (0, 3)),
        ("b_s001-002", (0, 2)),
        ("b_s004-005", (3, 5)),
    ]
    assert [read_case(one, found.structures)[1].mask(1).any(axis=(1, 2)).all() for one in found.cases] == [True] * 3
    assert "leaves out slices of 2 cases" in " ".join(found.notes)
    panel = FindingsPanel()  # of another day
    panel.show(found, check_cases(found))
    assert not any(row.finding.kind == "gap" for row in panel.rows)
    # Another file in its place is not cut by what was said of the one before.
    former = {path: path.read_bytes() for path in folder.glob("*/a.nii.gz")}
    for path in former:
        picture = nibabel.load(path)
        longer = np.concatenate([np.asarray(picture.dataobj)] * 2, axis=2)
        nibabel.save(nibabel.Nifti1Image(longer, picture.affine), path)
    told = " ".join(one.problem for one in check_cases(find_cases(folder)) if one.severity == "error")
    assert "leaves out slices of a as of 5 slices, and it has 10: another file" in told
    for path, content in former.items():
        path.write_bytes(content)
    undo = [line.children[0] for line in panel.made.children[1:3]]
    assert [one.tooltip.partition(" (")[0] for one in undo] == [
        "Undo: b: slice 3 of 5 is left out",
        "Undo: a: slices 4-5 of 5 are left out",
    ]
    undo[0].click()
    found = declare_absent(find_cases(folder), "disc")  # what lacks slices at its end is a case like any other
    assert [(one.case_id, one.slices) for one in found.cases] == [("a", (0, 3)), ("b", None)]
    (folder / "annotated.csv").unlink()
    undo[1].click()
    assert find_cases(folder).cases == before


def test_a_structure_that_nobody_drew_is_left_out(folder):
    (folder / "structures.csv").write_text("label,name\n1,psoas\n2,disc\n3,fat\n4,nerve\n")
    panel = FindingsPanel()
    cases = find_cases(folder)
    panel.show(cases, check_cases(cases))
    answer(panel, "never", "Leave nerve out")
    assert [s.name for s in find_cases(folder).structures] == ["psoas", "disc", "fat"]


def test_the_worst_come_first_and_those_of_one_kind_together(folder):
    given = [
        finding_of(folder, severity=s, kind=k)
        for s, k in (("note", "a"), ("error", "b"), ("warning", "c"), ("error", "b"))
    ]
    panel = shown(folder, given)
    assert [row.finding.kind for row in panel.rows] == ["b", "b", "c", "a"]
    assert "2 errors, 1 warning, 1 note. Errors must be mended" in panel.overview.value
    assert "Nothing is wrong" in shown(folder, []).overview.value


def test_of_hundreds_a_few_are_shown_and_more_on_demand(folder):
    given = [finding_of(folder, kind=f"kind{n % 8}", problem=f"Problem {n}.") for n in range(240)]
    panel = shown(folder, given)
    assert len(panel.rows) == module.MOST_ROWS
    more = [child for child in panel.list.children if getattr(child, "description", "").startswith("Show")]
    assert len(more) == 8
    assert more[0].description == "Show 20 more of 25"
    more[0].click()
    assert len(panel.rows) == module.MOST_ROWS + 20
    panel.wait(60)
    assert all("<img" in row.thumbnail.value for row in panel.rows)


def test_the_same_is_answered_to_all_and_the_folder_read_once(folder):
    names, told = ("Anna_01", "Anna_02", "Bert_01"), []
    given = [finding_of(folder, name, repairs=(clear(name, 1),)) for name in names]
    given.append(finding_of(folder, "Bert_02", kind="empty"))
    panel = shown(folder, given, told=told)
    assert panel.bars[0].button.disabled
    (box,) = [child for child in panel.list.children if type(child).__name__ == "HBox"]
    assert [one.description for one in box.children[1:]] == ["Mend as proposed", "Leave these images out"]
    box.children[1].click()
    assert [row.chosen[0].kind for row in panel.rows[:3]] == ["mend"] * 3
    row_of(panel, "empty").press("Leave this image out")
    assert panel.bars[0].button.description == "Use 4 answers"
    assert (read_repairs(folder), told) == ((), [])  # nothing is kept yet
    panel.bars[0].button.click()
    assert read_repairs(folder) == (*(clear(name, 1) for name in names), leave_out("Bert_02"))
    assert told == [1]
    panel = shown(folder, given)
    panel.made.children[-1].click()
    assert read_repairs(folder) == ()


def test_answers_stay_chosen_while_ids_are_shown_and_also_beyond_what_is_unfolded(folder):
    given = [finding_of(folder, problem=f"Problem {n}.") for n in range(module.MOST_OF_ONE_KIND + 1)]
    panel = shown(folder, given)
    (box,) = [child for child in panel.list.children if type(child).__name__ == "HBox"]
    box.children[1].click()
    assert len(panel.chosen) == len(given)
    panel.show(found(folder), given)
    panel.list.children[-1].click()
    assert [len(row.chosen) for row in panel.rows] == [1] * len(given)
    panel.show(found(folder), list(given))  # read again
    assert panel.chosen == ()


def test_a_picture_in_little_shows_the_slice_and_the_large_one_is_drawn_when_asked_for(folder):
    unreadable = finding_of(folder, kind="unreadable")
    panel = shown(folder, [finding_of(folder), finding_of(folder, kind="names"), unreadable])
    assert [("<img" in row.thumbnail.value, row.can_be_drawn) for row in panel.rows] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert panel.rows[0].picture.value == ""
    panel.rows[0].unfold.value = True
    assert "<img" in panel.rows[0].picture.value


def test_ids_are_hidden_where_names_are_given(folder):
    names = Pseudonyms({"Anna": "patient 1", "Bert": "patient 2"}, found(folder).cases)
    two = finding_of(
        folder, "", problem="Anna_01 and Bert_02 are alike.", cases=("Anna_01", "Bert_02"), kind="twins"
    )
    panel = shown(folder, [two], names=names)
    page = (
        panel.rows[0].words.value
        + panel.rows[0].thumbnail.value
        + str([c.description for c in panel.rows[0].controls])
    )
    assert "Anna" not in page
    assert "patient 2 (image 2)" in page


def test_a_folder_that_cannot_be_written_to_is_a_sentence(folder):
    def refuse(event, path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    told = []
    panel = shown(folder, [finding_of(folder, repairs=(clear("Anna_01", 1),))], told=told)
    with watching(folder, refuse):
        answer(panel, "sides", "Mend")
    assert "could not be written: Permission denied" in panel.message.value
    assert "Traceback" not in panel.message.value
    assert told == []


def test_buttons_wait_while_the_folder_is_read_again(folder):
    panel = shown(folder, [finding_of(folder, repairs=(clear("Anna_01", 1),))])
    panel.lock(True)
    assert all(control.disabled for control in panel.rows[0].controls)
    assert panel.bars[0].button.disabled
    panel.lock(False)
    assert not any(control.disabled for control in panel.rows[0].controls)


def test_before_a_folder_is_chosen():
    panel = FindingsPanel()
    panel.mend([clear("a", 1)])
    assert "No folder is chosen yet" in panel.message.value


def test_names_that_look_alike_are_answered_with_one_button(tmp_path):
    for patient, name in (("p1", "Psoas left"), ("p2", "psoas_LEFT")):
        image = the_image(tmp_path / "dicoms" / patient, patient)
        outline = np.array([(3.5, 1.5), (3.5, 11.5), (15.5, 11.5), (15.5, 1.5)])
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_rtstruct(tmp_path / "labels" / f"{patient}.dcm", image, [[contour(image, 0, outline)]], names=[name])
    told = []
    panel = FindingsPanel(lambda: told.append(1))
    cases = find_cases(tmp_path)
    panel.show(cases, check_cases(cases))
    panel.wait(60)
    answer(panel, "names", "They are all Psoas left")
    assert told == [1]
    assert "structures.csv" in panel.message.value
    assert not [finding for finding in check_cases(find_cases(tmp_path)) if finding.kind == "names"]


def test_which_size_of_a_voxel_holds_is_a_click_and_can_be_taken_back(tmp_path):
    folder, told = add_two_sizes(tmp_path), []

    def opened():
        panel = FindingsPanel(lambda: told.append(1))
        cases = find_cases(folder)
        panel.show(cases, check_cases(cases))
        panel.wait(60)
        return panel

    answer(opened(), "sizes", "The pixdim holds")
    assert set(read_answers(folder).values()) == {"pixdim"}
    assert told == [1]
    panel = opened()
    assert not any(row.finding.kind == "sizes" for row in panel.rows)
    panel.made.children[1].children[0].click()
    assert read_answers(folder) == {}
    assert row_of(opened(), "sizes")


def test_the_share_from_which_a_pixel_counts_is_typed(tmp_path):
    folder = add_shares(tmp_path)
    panel, cases = FindingsPanel(), find_cases(folder)
    panel.show(cases, check_cases(cases))
    panel.wait(60)
    row = row_of(panel, "shares")
    row.share.value = 0.3
    row.press("Count pixels from this share on")
    panel.use()
    assert read_repairs(folder) == tuple(settle(f"p{n}", "threshold", threshold=0.3) for n in range(3))


def test_what_another_notebook_mended_is_not_mended_again(folder):
    told = []
    findings = [finding_of(folder, repairs=(relabel("Anna_01", {1: 2, 2: 1}),))]
    panel = shown(folder, findings, told=told)
    theirs = relabel("Anna_01", {1: 3, 3: 1})
    shown(folder).mend([theirs])
    answer(panel, "sides", "Mend")
    assert "Another program has changed in" in panel.message.value
    assert read_repairs(folder) == (theirs,)
    assert told == [1]
    panel = shown(folder, findings, told=told)
    answer(panel, "sides", "Mend")  # seen, and still wanted
    assert read_repairs(folder) == (theirs, relabel("Anna_01", {1: 2, 2: 1}))
    panel.undo([theirs, leave_out("Anna_01")])
    panel.mend([clear("Anna_01", 3)])  # one's own changes are no other program's
    assert len(read_repairs(folder)) == 2
    assert told == [1, 1, 1, 1]


def test_answers_of_two_notebooks_stand_together(folder):
    for subject in ("Anna", "Bert"):
        change_label(folder, f"{subject}_01", lambda labels: np.where(labels > 1, 0, labels))
    one, other = shown(folder), shown(folder)
    one.answer("disc", drawn_everywhere=False)
    other.answer("fat", drawn_everywhere=True)
    assert [case.annotated for case in found(folder).cases] == [{1, 3}, {1, 2, 3}] * 2
    assert all(case.unsaid == {1} for case in found(folder).cases)
    one.answer("fat", drawn_everywhere=False)
    other.answer("fat", drawn_everywhere=None)
    assert "that answer was not taken back" in other.message.value
    assert [case.annotated for case in found(folder).cases] == [{1}, {1, 2, 3}] * 2
    for panel, answers in ((other, []), (one, ["disc", "fat"])):
        panel.show(found(folder), [])
        undone = [child.children[0].tooltip for child in panel.made.children[1:]]
        assert [words.partition(" said of ")[2].partition(",")[0] for words in undone] == answers
    one.answer("fat", drawn_everywhere=None)
    assert [case.unsaid for case in found(folder).cases] == [{1, 3}] * 4
