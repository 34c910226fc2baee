"""Structures written by other numbers in other files, and files that leave something open: asked and mended."""

import nibabel
import numpy as np
import pytest
from folders import add_shares
from PIL import Image as PillowImage

from autoseg.data.cases import find_cases, list_namings, read_case
from autoseg.data.checks import check_cases
from autoseg.data.repairs import add_repair, read_repairs, settle
from autoseg.errors import DataError, UnclearLabelsError

LARGE, SMALL = 120, 36


def drawing(large=1, small=0, dtype=np.uint8):
    labels = np.zeros((48, 40), dtype)
    labels[10:22, 5:15] = large
    labels[30:36, 25:31] = small
    return labels


def write(folder, name, labels, ending="png", **options):
    """Write an image of noise, and labels as a picture or as an array."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(exist_ok=True)
    seed = int.from_bytes(name.encode(), "little") % 2**32
    noise = np.random.default_rng(seed).integers(0, 255, labels.shape[:2])
    PillowImage.fromarray(noise.astype(np.uint8)).save(folder / "images" / f"{name}.png")
    path = folder / "masks" / f"{name}.{ending}"
    if ending == "npy":
        np.save(path, labels)
    else:
        PillowImage.fromarray(labels).save(path, **options)


def sizes(folder):
    found = find_cases(folder)
    maps = [read_case(case, found.structures)[1] for case in found.cases]
    return [{s.name: int(one.mask(s.label).sum()) for s in found.structures} for one in maps]


def of_kind(folder, kind):
    return [finding for finding in check_cases(find_cases(folder)) if finding.kind == kind]


class TestLargeValues:
    @pytest.mark.parametrize("values", [(65535,), (25700, 51400), (1, 65535), (300, 1000)])
    def test_few_values_of_16_bits_are_structures(self, tmp_path, values):
        for name in "abc":
            write(tmp_path, name, drawing(values[0], values[-1] if len(values) > 1 else 0, np.uint16))
        expected = dict(zip([f"label {value}" for value in values], (LARGE, SMALL), strict=False))
        assert sizes(tmp_path) == [expected] * 3
        found = find_cases(tmp_path)
        assert all(s.label < 256 for s in found.structures)
        assert {naming.value for naming in list_namings(found)} == set(values)
        assert not [finding for finding in check_cases(found) if finding.severity == "error"]

    def test_a_small_value_keeps_its_number(self, tmp_path):
        write(tmp_path, "a", drawing(2, 700, np.uint16))
        found = find_cases(tmp_path)
        assert [(s.label, s.name) for s in found.structures] == [(1, "label 700"), (2, "label 2")]
        assert any("value 700 of the label files is kept as label 1" in note for note in found.notes)

    @pytest.mark.parametrize("labels", [drawing(-1, 1, np.int16), np.arange(1920).reshape(48, 40)])
    def test_what_is_hardly_a_structure_is_refused(self, tmp_path, labels):
        write(tmp_path, "a", labels, "npy")
        with pytest.raises(Exception, match="hardly all structures"):
            find_cases(tmp_path)


class TestOneByTwoNumbers:
    @pytest.mark.parametrize("full", [255, 65535])
    def test_1_in_some_files_and_255_in_others_are_offered_as_one(self, tmp_path, full):
        for number in range(5):
            write(tmp_path, f"p{number}", drawing(1 if number < 3 else full, dtype=np.uint16))
        (finding,) = of_kind(tmp_path, "encoding")
        assert (finding.severity, finding.cases) == ("warning", ("p3", "p4"))
        assert f"1 and {full}" in finding.problem
        for repair in finding.repairs:
            add_repair(tmp_path, repair)
        assert sizes(tmp_path) == [{"label 1": LARGE}] * 5
        assert of_kind(tmp_path, "encoding") == []

    def test_the_rarer_way_is_mended(self, tmp_path):
        for number in range(5):
            write(tmp_path, f"p{number}", drawing(1 if number < 2 else 255))
        (finding,) = of_kind(tmp_path, "encoding")
        assert finding.cases == ("p0", "p1")
        for repair in finding.repairs:
            add_repair(tmp_path, repair)
        assert sizes(tmp_path) == [{"label 255": LARGE}] * 5

    def test_two_structures_stretched_to_the_full_range(self, tmp_path):
        for number in range(5):
            write(tmp_path, f"p{number}", drawing(*((1, 2) if number < 3 else (127, 255))))
        (finding,) = of_kind(tmp_path, "encoding")
        for repair in finding.repairs:
            add_repair(tmp_path, repair)
        assert sizes(tmp_path) == [{"label 1": LARGE, "label 2": SMALL}] * 5

    @pytest.mark.parametrize(
        "files", [[(1, 255)] * 3, [(1, 0), (2, 0), (1, 0)], [(1, 0), (1, 255)], [(255, 0)] * 3, [(1, 0), (100, 0)]]
    )
    def test_what_may_be_two_structures_is_not_taken_for_one(self, tmp_path, files):
        for number, values in enumerate(files):
            write(tmp_path, f"p{number}", drawing(*values))
        assert of_kind(tmp_path, "encoding") == []

    def test_a_single_case_gives_no_repair_and_named_structures_no_question(self, tmp_path):
        write(tmp_path, "a", drawing(1))
        write(tmp_path, "b", drawing(255))
        (finding,) = of_kind(tmp_path, "encoding")
        assert finding.repairs == ()
        (tmp_path / "structures.csv").write_text("label,name\n1,psoas\n255,disc\n", encoding="utf-8")
        assert of_kind(tmp_path, "encoding") == []


class TestShares:
    """Masks of 0 to 1."""

    @pytest.fixture
    def folder(self, tmp_path):
        return add_shares(tmp_path)

    def test_the_check_asks_once_for_all(self, folder):
        (finding,) = of_kind(folder, "shares")
        assert (finding.severity, finding.cases) == ("error", ("p0", "p1", "p2"))
        assert "3 label files with probabilities" in finding.problem
        assert "120 pixels between 0 and 1" in finding.problem
        assert "160 from 0.25 on, 140 from 0.5 on, 120 from 0.75 on" in finding.problem

    @pytest.mark.parametrize(("threshold", "pixels"), [(0.5, LARGE + 20), (0.25, LARGE + 40), (0.7, LARGE)])
    def test_an_answer_is_kept_and_read(self, folder, threshold, pixels):
        for name in ("p0", "p1", "p2"):
            add_repair(folder, settle(name, "threshold", threshold=threshold))
        assert read_repairs(folder)[0].words == f"pixels with a share of {threshold:g} or more are the structure"
        assert sizes(folder) == [{"label 1": pixels}] * 3
        assert not [finding for finding in check_cases(find_cases(folder)) if finding.severity == "error"]

    @pytest.mark.parametrize("threshold", [0.0, 1.5, -0.5])
    def test_a_share_lies_between_0_and_1(self, threshold):
        with pytest.raises(DataError, match=r"give one as 0\.5"):
            settle("a", "threshold", threshold=threshold)

    def test_numbers_that_are_no_shares_stay_refused(self, tmp_path):
        write(tmp_path, "a", drawing(3.5, 1.0, np.float32), "npy")
        with pytest.raises(Exception, match="not whole"):
            find_cases(tmp_path)


def test_labels_that_were_stored_as_multiples_of_a_step_are_whole(tmp_path):
    """Floats saved with a header of 8 bits: 1 comes back as 0.988."""
    labels = np.zeros((20, 30, 3), np.float64)
    for label in range(1, 8):
        labels[2:8, 3 * label : 3 * label + 2] = label
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    picture = nibabel.Nifti1Image(labels, np.diag([0.5, 0.5, 4, 1]))
    picture.set_data_dtype(np.uint8)
    nibabel.save(picture, tmp_path / "labels" / "a.nii.gz")
    noise = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(noise, np.diag([0.5, 0.5, 4, 1])), tmp_path / "images" / "a.nii.gz")
    stored = nibabel.load(tmp_path / "labels" / "a.nii.gz").get_fdata()
    assert abs(stored[labels == 1][0] - 1) > 0.005
    assert sizes(tmp_path) == [{f"label {label}": 36 for label in range(1, 8)}]


class TestJpeg:
    @pytest.fixture
    def folder(self, tmp_path):
        """Rectangles of 127 and 255, blurred by strong compression."""
        for number in range(3):
            labels = np.zeros((120, 120), np.uint8)
            labels[13:61, 11 + number : 70] = 255
            labels[70:101, 43:97] = 127
            write(tmp_path, f"p{number}", labels, "jpg", quality=60)
        return tmp_path

    def test_a_few_levels_are_structures_and_the_doubt_is_offered_as_a_repair(self, folder):
        found = find_cases(folder)
        grey, white = (s.label for s in found.structures)
        assert abs(grey - 127) <= 2  # as the file shows it
        assert white == 255
        assert [naming.value for naming in list_namings(found)] == [grey, white]
        (finding,) = [finding for finding in check_cases(found) if finding.severity == "error"]
        assert (finding.kind, finding.cases) == ("blurred", ("p0", "p1", "p2"))
        with pytest.raises(UnclearLabelsError, match="autoseg check") as error:
            read_case(found.cases[0], found.structures)
        assert error.value.pixels > 0
        assert f"{error.value.pixels:,}" in finding.problem or "pixels in doubt" in finding.problem

    def test_kept_the_drawing_comes_back_but_for_its_outline(self, folder):
        (finding,) = of_kind(folder, "blurred")
        for repair in finding.repairs:
            add_repair(folder, repair)
        for number, one in enumerate(sizes(folder)):
            grey, white = one.values()
            assert white == pytest.approx(48 * (59 - number), rel=0.01)
            assert grey == pytest.approx(31 * 54, rel=0.01)
        assert of_kind(folder, "blurred") == []

    def test_a_photograph_is_no_label(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 255, (80, 80)).astype(np.uint8)
        write(tmp_path, "a", noise, "jpg", quality=60)
        with pytest.raises(Exception, match="nothing says which values"):
            find_cases(tmp_path)

    def test_a_level_that_has_no_name_is_no_doubt_but_refused(self, folder):
        (folder / "structures.csv").write_text("label,name\n255,muscle\n", encoding="utf-8")
        assert of_kind(folder, "blurred") == []
        assert len(of_kind(folder, "unreadable")) == 3
