"""The names of entries: read as they were written, whatever they are."""

import pytest

from autoseg.evaluation.comparison.entries import EXACT, EntryName, title_of, variant_of

NAMES = (
    "unet",
    "unet, mirrored copies",
    "fine-tuned with 1 subject",
    "fine-tuned with 4 subjects, exact centreline",
)
ODD = (
    "a, b, c",
    "a,b",
    "with 4 subjects",
    "a with 1 subjects",
    "a with 4 subject",
    "a, ",
    ", a",
    "",
    "a with many",
)


@pytest.mark.parametrize("name", [*NAMES, *ODD])
def test_every_name_is_read_as_it_was_written(name):
    assert str(EntryName.read(name)) == name


def test_the_parts_of_a_name_are_known():
    assert EntryName.read(NAMES[3]) == EntryName("fine-tuned", 4, EXACT)
    assert EntryName.read("a with 1 subjects").subjects is None
    assert variant_of("own way with 2 subjects", EXACT) == "own way with 2 subjects, exact centreline"


def test_networks_and_recipes_have_titles_and_others_their_names():
    assert [title_of(name) for name in NAMES[:2]] == ["U-Net", "U-Net, mirrored copies"]
    assert title_of("my own, too") == "my own, too"
