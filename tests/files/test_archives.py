"""A folder as a zip."""

import io
import zipfile

import pytest

from autoseg.errors import OutputError, ReadError
from autoseg.files.archives import files_of, zip_folder
from autoseg.words import size_words


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    (folder / "labels").mkdir(parents=True)
    (folder / "areas.csv").write_text("1,2\n" * 1000)
    (folder / "labels" / "é.png").write_bytes(b"\x89PNG" * 100)
    (folder / ".hidden").write_text("not this")
    return folder


def test_a_zip_unpacks_to_a_folder_of_the_same_name(folder):
    with zipfile.ZipFile(io.BytesIO(zip_folder(folder))) as archive:
        assert archive.namelist() == ["run/areas.csv", "run/labels/é.png"]
        assert archive.read("run/areas.csv") == (folder / "areas.csv").read_bytes()
        assert archive.getinfo("run/areas.csv").compress_type == zipfile.ZIP_DEFLATED
        assert archive.getinfo("run/labels/é.png").compress_type == zipfile.ZIP_STORED


def test_a_folder_that_is_too_large_is_told_with_both_sizes(folder):
    with pytest.raises(OutputError, match=r"holds 4 kB, more than the 2 kB"):
        zip_folder(folder, most_bytes=2000)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ReadError, match="not there any more"):
        files_of(tmp_path / "gone")


def test_sizes_in_words():
    assert [size_words(n) for n in (0, 999, 999_400, 999_600, 2_000_000_000)] == [
        "1 kB", "1 kB", "999 kB", "1.0 MB", "2.0 GB",
    ]  # fmt: skip
