"""Walking through folders: what is hidden is passed over, links to folders are followed, but not in circles."""

import pytest

from autoseg.files.sources import walk


@pytest.fixture
def folder(tmp_path):
    for name in ("data/p1/a.txt", "elsewhere/p2/b.txt", "elsewhere/p2/inner/c.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "data"


def walked(folder):
    files, skipped = walk(folder)
    return [path.relative_to(folder).as_posix() for path in files], [file.path.name for file in skipped]


def test_a_link_to_a_folder_elsewhere_is_followed(folder):
    (folder / "p2").symlink_to(folder.parent / "elsewhere" / "p2")
    assert walked(folder) == (["p1/a.txt", "p2/b.txt", "p2/inner/c.txt"], [])


def test_a_link_that_leads_back_or_around_is_not(folder):
    (folder / "p1" / "loop").symlink_to(folder)
    (folder / "here").symlink_to(folder / "p1")
    (folder / "above").symlink_to(folder.parent)
    (folder / "p2").symlink_to(folder.parent / "elsewhere" / "p2")
    (folder.parent / "elsewhere" / "p2" / "back").symlink_to(folder.parent / "elsewhere" / "p2")
    files, skipped = walked(folder)
    assert files == ["p1/a.txt", "p2/b.txt", "p2/inner/c.txt"]
    assert sorted(skipped) == ["above", "back", "here", "loop"]


@pytest.mark.parametrize("names", [("a_inner", "b_whole"), ("b_inner", "a_whole"), ("one", "other")])
def test_no_file_is_there_twice(folder, names):
    inside = folder.parent / "elsewhere" / "p2"
    (folder / names[0]).symlink_to(inside / ("inner" if "inner" in names[0] else ""))
    (folder / names[1]).symlink_to(inside)
    files, _ = walk(folder)
    assert sorted(path.name for path in files) == ["a.txt", "b.txt", "c.txt"]


def test_a_link_to_nothing_is_named(folder):
    (folder / "gone").symlink_to(folder / "nowhere")
    assert walked(folder) == (["p1/a.txt"], ["gone"])


def test_a_file_in_place_of_a_folder_is_the_only_one(folder):
    assert walk(folder / "p1" / "a.txt") == ([folder / "p1" / "a.txt"], [])
