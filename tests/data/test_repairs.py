"""Repairs: pure on pixels, kept in one table beside the data, undone by removing their row."""

import csv
import datetime
import pickle

import numpy as np
import pytest

from autoseg.data.repairs import (
    SYMMETRIES,
    Repair,
    add_repair,
    apply_repairs,
    clear,
    find_kept_runs,
    is_left_out,
    leave_out,
    leave_out_slices,
    read_repairs,
    relabel,
    shift_slices,
    transform,
    turn_slices,
    undo_repair,
)
from autoseg.errors import DataError, ReadError

LABELS = np.array([[[1, 2, 0], [0, 3, 0]], [[0, 0, 0], [4, 0, 0]]], dtype=np.uint8)
BACK = {"rotate_90": "rotate_270", "rotate_270": "rotate_90"}


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_each_symmetry_has_its_way_back_and_keeps_every_pixel(symmetry):
    turned = apply_repairs(LABELS, [transform("a", symmetry)])
    assert np.array_equal(np.bincount(turned.ravel()), np.bincount(LABELS.ravel()))
    back = apply_repairs(turned, [transform("a", BACK.get(symmetry, symmetry))])
    np.testing.assert_array_equal(back, LABELS)


def test_the_eight_symmetries_are_eight():
    square = np.arange(9).reshape(1, 3, 3)
    assert len({turn_slices(square, symmetry).tobytes() for symmetry in SYMMETRIES}) == 8


def test_what_each_symmetry_does_is_what_its_words_say():
    square = np.array([[[1, 2], [3, 4]]])
    expected = {
        "mirror_columns": [[2, 1], [4, 3]],
        "mirror_rows": [[3, 4], [1, 2]],
        "rotate_90": [[2, 4], [1, 3]],
        "transpose": [[1, 3], [2, 4]],
        "transpose_180": [[4, 2], [3, 1]],
    }
    for symmetry, result in expected.items():
        assert turn_slices(square, symmetry)[0].tolist() == result


def test_a_shift_loses_what_leaves_and_brings_background():
    assert shift_slices(LABELS, (1, -1))[0].tolist() == [[0, 0, 0], [2, 0, 0]]
    assert not shift_slices(LABELS, (7, 0)).any()


def test_values_are_renamed_all_at_once():
    assert apply_repairs(LABELS, [relabel("a", {1: 2, 2: 1, 3: 0})])[0].tolist() == [[2, 1, 0], [0, 0, 0]]
    assert apply_repairs(LABELS, [relabel("a", {1: 300})]).max() == 300
    assert apply_repairs(LABELS.astype(np.int16) * -1, [relabel("a", {-4: 9})])[1, 1, 0] == 9


def test_the_user_s_array_stays_as_it_is():
    before = LABELS.copy()
    result = apply_repairs(LABELS, [clear("a", 1), transform("a", "mirror_rows", rows=1), leave_out("a")])
    np.testing.assert_array_equal(LABELS, before)
    assert not (result == 1).any()
    apply_repairs(LABELS, [])[0, 0, 0] = 9
    np.testing.assert_array_equal(LABELS, before)


def test_they_are_kept_and_undone(tmp_path):
    repairs = [
        relabel("leg, 7", {1: 2, 2: 1}),
        transform("leg 8", "rotate_90", rows=-3),
        clear("ä", 4),
        leave_out("x"),
        leave_out_slices("x", [0, 1, 4], of=6),
    ]
    assert read_repairs(tmp_path) == ()
    for repair in repairs:
        kept = add_repair(tmp_path, repair)
    assert kept == read_repairs(tmp_path) == tuple(repairs)
    assert undo_repair(tmp_path, repairs[1]) == (repairs[0], *repairs[2:]) == read_repairs(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["repairs.csv"]


def test_the_table_can_be_read_by_a_person(tmp_path):
    add_repair(tmp_path, Repair("leg", "relabel", (("1", "2"), ("2", "1")), reason="sides were swapped"))
    with (tmp_path / "repairs.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    today = datetime.date.today().isoformat()
    assert row == {
        "case_id": "leg",
        "kind": "relabel",
        "arguments": "1=2; 2=1",
        "reason": "sides were swapped",
        "date": today,
    }


def test_a_table_saved_by_a_spreadsheet(tmp_path):
    (tmp_path / "repairs.csv").write_bytes(b"\xef\xbb\xbfcase_id;kind;arguments\r\nleg;clear;label=3\r\n")
    assert read_repairs(tmp_path) == (clear("leg", 3),)


def test_the_same_repair_twice_and_one_that_is_not_there(tmp_path):
    add_repair(tmp_path, clear("leg", 3))
    with pytest.raises(DataError, match=r"already.*applied twice"):
        add_repair(tmp_path, clear("leg", 3))
    with pytest.raises(DataError, match=r"no such repair of leg \(label 4 is removed\)"):
        undo_repair(tmp_path, clear("leg", 4))


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("polish", (), "unknown. Known: transform"),
        ("clear", (("label", "one"),), "numbers are whole"),
        ("clear", (), "takes label"),
        ("relabel", (), "takes values, as 1=2; 2=1"),
        ("relabel", (("1", "x"),), "numbers are whole"),
        ("transform", (("symmetry", "inside_out"), ("rows", "0"), ("columns", "0")), "mirror_rows"),
        ("leave_out", (("label", "1"),), "takes nothing"),
        ("leave_out_slices", (("slices", "2 to 3"), ("of", "9")), "give them as 1-3 7, counted from 1"),
        ("leave_out_slices", (("slices", "2-3"), ("of", "all")), "numbers are whole"),
    ],
)
def test_what_is_no_repair_is_refused(tmp_path, kind, arguments, words):
    with pytest.raises(DataError, match=words):
        Repair("leg", kind, arguments)
    row = "; ".join(f"{name}={value}" for name, value in arguments)
    (tmp_path / "repairs.csv").write_text(f"case_id,kind,arguments\nleg,{kind},{row}\n", encoding="utf-8")
    with pytest.raises(ReadError, match=rf"repairs\.csv, row 2: .*{words}"):
        read_repairs(tmp_path)


def test_who_is_left_out():
    assert is_left_out("a", [clear("a", 1), leave_out("a")])
    assert not is_left_out("a", [clear("a", 1), leave_out("b")])


def test_what_is_left_of_a_stack_and_of_a_part_of_it():
    repair = Repair("a", "leave_out_slices", (("slices", "7 1-2 9-10"), ("of", "10")))  # as a person may write it
    assert find_kept_runs(repair, None) == [(2, 6), (7, 8)]
    assert find_kept_runs(repair, (0, 4)) == [(2, 4)]
    assert find_kept_runs(repair, (3, 6)) == [(3, 6)]
    assert find_kept_runs(repair, (8, 10)) == []


def test_words():
    assert leave_out_slices("a", [2, 3, 4], of=9).words == "slices 3-5 of 9 are left out"
    assert leave_out_slices("a", [2], of=9).words == "slice 3 of 9 is left out"
    assert transform("a", "mirror_rows", rows=2, columns=-1).words == (
        "the labels are mirrored top to bottom, then moved 2 pixels down and 1 pixel to the left"
    )
    assert transform("a").words == "the labels are left as they are"
    assert relabel("a", {2: 1}).words == "values are renamed: 2 becomes 1"


def test_they_can_go_to_another_process():
    repair = transform("a", "transpose", rows=1)
    assert pickle.loads(pickle.dumps(repair)) == repair
