"""Numbers in place of patients' IDs, in names and in running text."""

from folders import made_up_case

from autoseg.data.cases import Pseudonyms

NUMBERS = {"SCD0000101": "patient 1", "5": "patient 2", "Anna": "patient 3"}
CASES = [made_up_case("SCD0000101", 48), made_up_case("5", 12), made_up_case("Anna", 1)]


def test_ids_in_a_text_and_in_a_path():
    hidden = Pseudonyms(NUMBERS, CASES)
    text = hidden.hide("/data/labels/SCD0000101_48.png and Anna_1 have 5 values; SCD00001011 is somebody else.")
    assert text == "/data/labels/patient 1_48.png and patient 3_1 have 5 values; SCD00001011 is somebody else."


def test_a_short_id_is_hidden_in_names_and_numbers_stay():
    hidden = Pseudonyms(NUMBERS, CASES)
    assert hidden.within("5_12.png", "5") == "patient 2_12.png"
    assert hidden.hide("5_12 has 5 of 5 structures") == "patient 2_12 has 5 of 5 structures"
    assert hidden.of("5") == "patient 2"
    assert hidden.of("nobody known") == "patient"


def test_a_name_without_the_id_is_told_by_the_number_before_it():
    hidden = Pseudonyms(NUMBERS, CASES)
    assert hidden.name("IM0001", "Anna") == "patient 3: IM0001"
    assert hidden.within("IM0001", "Anna") == "IM0001"
    assert hidden.cases["Anna_1"] == "patient 3_1"


def test_a_session_right_behind_the_id():
    assert Pseudonyms({"sub-97": "patient 1"}).hide("sub-97Ses1_T2w, sub-970") == "patient 1Ses1_T2w, sub-970"


def test_signs_in_an_id_are_taken_as_they_are():
    hidden = Pseudonyms({"A+B(1)": "patient 1"})
    assert hidden.hide("A+B(1)_2") == "patient 1_2"
    assert Pseudonyms({}).hide("nothing to hide") == "nothing to hide"
