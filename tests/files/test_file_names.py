"""Whatever a patient, a file or a model is called becomes a file's name on every system, in its own folder."""

import re
import unicodedata

import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis.strategies import lists, text

from autoseg.files.file_names import safe_name, unique_names


def is_taken_everywhere(name):
    assert name
    assert len((name + "_2.nii.gz").encode()) < 255
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f\x7f]|[. ]$|^[.~]', name)
    # "COM¹.txt" is a device to Windows as well.
    assert not re.fullmatch(r"(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])(\..*)?", name, re.IGNORECASE)
    return True


@pytest.mark.parametrize(
    "name", [*HOSTILE, "腰" * 200, "\U00020000" * 200, "com¹", "LPT9.a.b", "a" * 99 + ".b"], ids=ascii
)
def test_a_hostile_name_becomes_a_file_in_its_own_folder(tmp_path, name):
    safe = safe_name(name)
    assert is_taken_everywhere(safe)
    (tmp_path / f"{safe}.nii.gz").write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == [f"{safe}.nii.gz"]
    assert safe_name(safe) == safe


@given(text(max_size=150))
def test_any_name_does(name):
    assert is_taken_everywhere(safe_name(name))


@given(lists(text(alphabet="aAàÀ\u0300ßs\u017f\u0130\u0131K\u212a", max_size=3), max_size=6))
def test_no_two_names_are_one_file_anywhere(names):
    unique = unique_names(names)
    for kind in ("NFC", "NFD"):
        alike = [unicodedata.normalize(kind, name).casefold() for name in unique]
        assert len(set(alike)) == len(names)
