"""Names and colours as ITK-SNAP, 3D Slicer and FSLeyes read them: their readers, rebuilt from what they do."""

import re

import numpy as np
import pytest
from hostile import HOSTILE

from autoseg.errors import OutputError
from autoseg.files.colours import fsleyes_text, itksnap_text, slicer_text, write_label_colours
from autoseg.image.structures import Structure

STRUCTURES = (
    Structure(1, "psoas left", colour=(255, 0, 0)),
    Structure(7, 'disc "L4/5"', colour=(0, 128, 255)),
    Structure(255, "Rückenmark", colour=(1, 2, 3)),
)


def read_itksnap(text):
    """As ITK-SNAP reads it: numbers by blanks, then the name between quotation marks."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            numbers, _, rest = line.partition('"')
            index, red, green, blue, alpha, visible, mesh = map(float, numbers.split())
            found[int(index)] = (rest.partition('"')[0], (red, green, blue), alpha, visible, mesh)
    return found


def read_slicer(text):
    """As 3D Slicer reads it: six words a line, underscores become blanks."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            index, name, *rgba = line.split(" ")
            red, green, blue, alpha = map(float, rgba)
            found[int(index)] = (name.replace("_", " "), (red, green, blue), alpha)
    return found


def read_fsleyes(path):
    """As FSLeyes reads it: numpy for the numbers, then the lines again for the names, by their order."""
    with path.open(encoding="utf-8") as file:
        numbers = np.genfromtxt(
            file,
            usecols=(0, 1, 2, 3),
            dtype={"formats": (int, float, float, float), "names": ("label", "r", "g", "b")},
        )
        assert len(numbers) >= 2  # numpy gives a single line no length
        file.seek(0)
        names = [line.split(None, 4)[4].strip() for line in file]
    return {
        int(row["label"]): (name, tuple(round(255 * row[c]) for c in "rgb"))
        for row, name in zip(numbers, names, strict=True)
    }


def test_itksnap_reads_every_name_and_colour():
    found = read_itksnap(itksnap_text(STRUCTURES))
    assert found[0] == ("Clear Label", (0, 0, 0), 0, 0, 0)
    assert found[1] == ("psoas left", (255, 0, 0), 1, 1, 1)
    # A name cannot hold the mark that ends it.
    assert found[7][0] == "disc 'L4/5'"
    assert found[255][:2] == ("Rückenmark", (1, 2, 3))


def test_slicer_reads_every_name_and_colour():
    text = slicer_text(STRUCTURES)
    assert text.startswith("# Color table file")
    found = read_slicer(text)
    assert found[0] == ("Background", (0, 0, 0), 0)
    assert found[1] == ("psoas left", (255, 0, 0), 255)
    assert found[255][0] == "Rückenmark"


def test_fsleyes_reads_every_name_and_colour_also_of_a_single_structure(tmp_path):
    _, _, path = write_label_colours(tmp_path, STRUCTURES)
    found = read_fsleyes(path)
    assert found == {
        1: ("psoas left", (255, 0, 0)),
        7: ('disc "L4/5"', (0, 128, 255)),
        255: ("Rückenmark", (1, 2, 3)),
    }
    for only in (Structure(1, "cord"), Structure(255, "cord")):
        _, _, path = write_label_colours(tmp_path, [only])
        found = read_fsleyes(path)
        assert found.pop(only.label) == ("cord", only.rgb)
        assert [name for name, _ in found.values()] == ["not used"]


def test_fsleyes_tells_the_kind_of_file_by_its_second_line():
    lines = fsleyes_text([Structure(1, "cord")]).splitlines()
    assert all(re.fullmatch(r"\d+( \d\.\d{5}){3} .+", line) for line in lines)
    assert len(lines) == 2


def test_files_are_in_the_order_of_labels_and_nothing_is_written_without_structures(tmp_path):
    paths = write_label_colours(tmp_path / "colours", STRUCTURES[::-1])
    assert [path.name for path in paths] == ["labels_itksnap.txt", "labels_slicer.ctbl", "labels_fsleyes.lut"]
    assert [line.split()[0] for line in paths[2].read_text(encoding="utf-8").splitlines()] == ["1", "7", "255"]
    with pytest.raises(OutputError, match="no structure"):
        write_label_colours(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.strip()], ids=ascii)
def test_a_hostile_name_disturbs_no_other_line(tmp_path, name):
    structures = (Structure(1, name, colour=(255, 0, 0)), Structure(2, "psoas", colour=(0, 0, 255)))
    texts = [path.read_bytes().decode("utf-8") for path in write_label_colours(tmp_path, structures)]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", "".join(texts))
    assert max(len(line) for text in texts for line in text.splitlines()) < 300
    itksnap, slicer, fsleyes = read_itksnap(texts[0]), read_slicer(texts[1]), texts[2].splitlines()
    assert sorted(itksnap) == [0, 1, 2]
    assert itksnap[2][0] == "psoas"
    assert sorted(slicer) == [0, 1, 2]
    assert slicer[2][0] == "psoas"
    assert [line.split(" ")[0] for line in fsleyes] == ["1", "2"]
    assert fsleyes[1] == "2 0.00000 0.00000 1.00000 psoas"
