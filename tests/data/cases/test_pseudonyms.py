"""Numbers in place of patients' IDs, in names and in running text."""

import pickle
from dataclasses import replace
from pathlib import Path

from folders import made_up_case

from autoseg.data.cases import Pseudonyms
from autoseg.errors import DataError, Told, private
from autoseg.files.sources import SkippedFile
from autoseg.words import in_words, name_private

NUMBERS = {"SCD0000101": "patient 1", "5": "patient 2", "Anna": "patient 3"}
CASES = [made_up_case("SCD0000101", 48), made_up_case("5", 12), made_up_case("Anna", 1)]


def test_ids_in_a_text_and_in_a_path():
    hidden = Pseudonyms(NUMBERS, CASES)
    text = hidden.hide("/data/labels/SCD0000101_48.png and Anna_1 have 5 values; SCD00001011 is somebody else.")
    assert text == "a file of patient 1 and patient 3 have 5 values; SCD00001011 is somebody else."
    assert hidden.hide("labels/SCD0000101_48.png is damaged.") == "a file of patient 1 is damaged."
    assert (
        hidden.hide("C:\\data\\5\\a.dcm and /data/5. So")
        == "a file of patient 2 and a file or folder of patient 2. So"
    )
    assert hidden.hide("5/12, train/validation, 1/5") == "5/12, train/validation, 1/5"


def test_the_files_of_a_case_are_told_by_what_they_are():
    hidden = Pseudonyms(NUMBERS, CASES)
    assert hidden.hide("Anna_1.png has 12 x 5, but Anna_1.dcm has 5 x 5.") == (
        "the label file of patient 3 has 12 x 5, but the image file of patient 3 has 5 x 5."
    )
    twice = Pseudonyms(NUMBERS, [*CASES, made_up_case("Anna", 2)])
    assert twice.hide("Anna_2 is odd") == "patient 3 (image 2) is odd"
    assert twice.hide("Anna_2.png is odd") == "the label file of patient 3 (image 2) is odd"


def test_a_short_id_is_hidden_where_it_is_marked_or_in_a_name_and_numbers_stay():
    hidden = Pseudonyms(NUMBERS, CASES)
    assert hidden.hide("5_12 has 5 of 5 structures") == "patient 2 has 5 of 5 structures"
    marked = Told(f"The subjects {name_private(['5', 'Anna'])} share 5 slices.")
    assert marked == "The subjects 5, Anna share 5 slices."
    assert hidden.hide(marked) == "The subjects patient 2, patient 3 share 5 slices."
    error = DataError(f"No case belongs to {private('5')} or {private('somebody')}.")
    assert hidden.hide(str(error)) == "No case belongs to patient 2 or …."
    assert (hidden.of("5"), hidden.of("nobody known")) == ("patient 2", "patient")


def test_a_name_without_the_id_is_hidden_too():
    """Who named the files may have put a name into them that no ID tells."""
    case = replace(made_up_case("Anna"), case_id="Miller_t2")
    assert Pseudonyms(NUMBERS, [case]).hide("Miller_t2 is odd.") == "patient 3 is odd."


def test_a_session_right_behind_the_id():
    assert Pseudonyms({"sub-97": "patient 1"}).hide("sub-97Ses1_T2w, sub-970") == "patient 1, sub-970"


def test_signs_in_an_id_are_taken_as_they_are():
    hidden = Pseudonyms({"A+B(1)": "patient 1"})
    assert hidden.hide("A+B(1)_2") == "patient 1"
    assert Pseudonyms({}).hide("nothing to hide") == "nothing to hide"


def test_of_a_folder_that_could_not_be_read_nothing_but_tables_is_named():
    hidden = Pseudonyms({}, root=Path("/my scans/train"))
    assert hidden.hide("/my scans/train/dicoms/Anna/1.dcm is damaged; see /my scans/train/labels.") == (
        "a file of this folder is damaged; see /my scans/train/labels."
    )
    assert hidden.hide("/my scans/train/subjects.csv, row 2") == "/my scans/train/subjects.csv, row 2"
    assert hidden.hide(Told(in_words(["Anna_1.png"], "label file"))) == "There is 1 label file (…)"


def test_what_was_left_alone_is_counted_by_its_reason():
    left = [SkippedFile(Path(f"Z{n}.dcm"), "no label of SCD0000101") for n in range(3)]
    assert Pseudonyms(NUMBERS).left_alone(left) == ["3 × .dcm: no label of patient 1"]


def test_a_sentence_knows_its_names_after_pickling():
    told = pickle.loads(pickle.dumps(Told(f"{private('5')} is 5")))
    assert told.named(lambda _: "x") == "x is 5"
    assert str(told).named(str.upper) == "5 is 5"
