"""Label pictures with a palette: the same colour is the same structure, and mere decoration stays so."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from autoseg.data.cases import find_cases, read_case
from autoseg.data.checks import check_cases
from autoseg.data.repairs import add_repair
from autoseg.files.tables import write_structures
from autoseg.image.structures import Structure

GREEN, RED, BLUE = (0, 200, 0), (200, 0, 0), (0, 0, 200)
LARGE, SMALL = 120, 36


def drawing(large, small):
    labels = np.zeros((40, 40), np.uint8)
    labels[10:22, 5:15] = large
    labels[25:31, 25:31] = small
    return labels


def write(folder, name, labels, palette):
    """Write an image of noise and its labels, with the colours of the indices."""
    colours = np.zeros((256, 3), np.uint8)
    for index, colour in palette.items():
        colours[index] = colour
    for kind in ("images", "masks"):
        (folder / kind).mkdir(exist_ok=True)
    seed = int.from_bytes(name.encode(), "little") % 2**32
    noise = np.random.default_rng(seed).integers(0, 255, labels.shape)
    PillowImage.fromarray(noise.astype(np.uint8)).save(folder / "images" / f"{name}.png")
    picture = PillowImage.fromarray(labels)
    picture.putpalette(colours.ravel().tolist())
    picture.save(folder / "masks" / f"{name}.png")


def sizes(found):
    """Give the pixels of each structure by its colour, on every case."""
    result = []
    for case in found.cases:
        _, label_map = read_case(case, found.structures)
        result.append({s.rgb: int(label_map.mask(s.label).sum()) for s in found.structures})
    return result


@pytest.fixture
def swapped(tmp_path):
    """In odd files the large structure is index 1, in even ones index 2; it is green in all."""
    for number in range(1, 7):
        large, small = (1, 2) if number % 2 else (2, 1)
        write(tmp_path, f"pat{number}", drawing(large, small), {large: GREEN, small: RED})
    return tmp_path


def palette_findings(found):
    return [finding for finding in check_cases(found) if finding.kind == "palette"]


def test_the_same_colour_is_the_same_structure(swapped):
    found = find_cases(swapped)
    assert sizes(found) == [{GREEN: LARGE, RED: SMALL}] * 6
    assert any("palettes of the label pictures differ" in note for note in found.notes)
    (finding,) = palette_findings(found)
    assert finding.severity == "warning"
    assert "index 1 is #00c800 on pat1, pat3, pat5 and #c80000 on pat2, pat4, pat6" in finding.problem
    assert "#00c800 is label 1" in finding.problem


def test_colours_that_a_table_names_say_which_is_which(swapped):
    write_structures(swapped / "structures.csv", (Structure(1, "disc", RED), Structure(2, "psoas", GREEN)))
    found = find_cases(swapped)
    assert {s.name: s.rgb for s in found.structures} == {"disc": RED, "psoas": GREEN}
    assert sizes(found) == [{RED: SMALL, GREEN: LARGE}] * 6


def test_names_without_colours_go_by_the_files_that_agree_most(swapped):
    write(swapped, "pat7", drawing(2, 1), {2: GREEN, 1: RED})
    write_structures(swapped / "structures.csv", (Structure(1, "disc"), Structure(2, "psoas")))
    found = find_cases(swapped)
    assert {s.name: s.rgb for s in found.structures} == {"disc": RED, "psoas": GREEN}
    assert sizes(found) == [{RED: SMALL, GREEN: LARGE}] * 7


def test_values_of_the_table_are_the_usual_indices(swapped):
    (swapped / "structures.csv").write_text("label,name,values\n5,psoas,1\n6,disc,2\n", encoding="utf-8")
    found = find_cases(swapped)
    assert [list(one.values()) for one in sizes(found)] == [[LARGE, SMALL]] * 6


def test_a_background_that_is_not_index_0_in_every_file(tmp_path):
    write(tmp_path, "a", drawing(1, 2), {1: GREEN, 2: RED})
    write(tmp_path, "b", drawing(1, 2), {1: GREEN, 2: RED})
    moved = np.choose(drawing(1, 2), [2, 0, 1]).astype(np.uint8)
    write(tmp_path, "c", moved, {0: GREEN, 1: RED})
    assert sizes(find_cases(tmp_path)) == [{GREEN: LARGE, RED: SMALL}] * 3


def test_one_palette_for_all_files_is_no_matter(tmp_path):
    for name in "abc":
        write(tmp_path, name, drawing(1, 2), {1: (128, 0, 0), 2: (0, 128, 0)})
    found = find_cases(tmp_path)
    assert [list(one.values()) for one in sizes(found)] == [[LARGE, SMALL]] * 3
    assert palette_findings(found) == []


def test_files_that_show_other_structures_of_one_palette_agree(tmp_path):
    palette = {1: GREEN, 2: RED}
    write(tmp_path, "a", drawing(1, 1), palette)
    write(tmp_path, "b", drawing(2, 2), palette | {1: BLUE})  # the colour of an index that does not occur
    found = find_cases(tmp_path)
    assert [list(one.values()) for one in sizes(found)] == [[LARGE + SMALL, 0], [0, LARGE + SMALL]]
    assert palette_findings(found) == []


def test_greys_of_each_file_are_numbers(tmp_path):
    for name, step in (("a", 1), ("b", 100), ("c", 60)):
        write(tmp_path, name, drawing(1, 2), {1: (step,) * 3, 2: (2 * step,) * 3})
    found = find_cases(tmp_path)
    assert [list(one.values()) for one in sizes(found)] == [[LARGE, SMALL]] * 3
    assert [finding.severity for finding in palette_findings(found)] == ["note"]


def test_colours_that_never_return_are_decoration_and_no_repair_goes_by_them(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abcd":
        write(tmp_path, name, drawing(1, 2), {1: tuple(rng.integers(1, 255, 3)), 2: tuple(rng.integers(1, 255, 3))})
    found = find_cases(tmp_path)
    assert [list(one.values()) for one in sizes(found)] == [[LARGE, SMALL]] * 4
    (finding,) = palette_findings(found)
    assert (finding.severity, finding.repairs) == ("note", ())


def test_one_index_with_two_colours_in_several_files_each_is_asked_about(tmp_path):
    for number in range(5):
        write(tmp_path, f"p{number}", drawing(1, 0), {1: GREEN if number < 3 else RED})
    found = find_cases(tmp_path)
    assert [list(one.values()) for one in sizes(found)] == [[LARGE]] * 5
    (finding,) = palette_findings(found)
    assert (finding.severity, [repair.case_id for repair in finding.repairs]) == ("warning", ["p3", "p4"])
    for repair in finding.repairs:
        add_repair(tmp_path, repair)
    found = find_cases(tmp_path)
    assert [list(one.values()) for one in sizes(found)] == [[LARGE, 0]] * 3 + [[0, LARGE]] * 2
    assert palette_findings(found) == []
