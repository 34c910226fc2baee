import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from autoseg.data.pairing.pairs import pair_files
from autoseg.errors import DataError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def found(folder, **options):
    pairing = pair_files(folder, unlabelled=options.pop("unlabelled", "refuse"), **options)
    return {
        pair.case_id: ([f.path.name for f in pair.images], [(f.path.name, f.token, f.rater) for f in pair.labels])
        for pair in pairing.pairs
    }


def test_images_and_masks_of_the_same_name(tmp_path):
    touch(
        tmp_path,
        "images/5_slice10.png",
        "images/5_slice2.png",
        "masks/5_slice2.png",
        "masks/5_slice10.png",
        "README.md",
    )
    pairs = found(tmp_path)
    assert list(pairs) == ["5_slice2", "5_slice10"]
    assert pairs["5_slice10"] == (["5_slice10.png"], [("5_slice10.png", "", "")])


def test_another_ending_and_the_shorter_name_is_not_the_longer_ones(tmp_path):
    touch(tmp_path, "images/1.png", "images/11.png", "masks/1.npy", "masks/11.npy")
    assert found(tmp_path)["1"][1] == [("1.npy", "", "")]


def test_a_suffix_beside_the_image_in_patients_folders(tmp_path):
    names = [f"TCGA_CS_4941_1/TCGA_CS_4941_1_{k}" for k in (1, 2, 11)]
    touch(tmp_path, *(f"{name}.tif" for name in names), *(f"{name}_mask.tif" for name in names))
    pairing = pair_files(tmp_path, unlabelled="refuse")
    assert {pair.subject_id for pair in pairing.pairs} == {"TCGA_CS_4941"}
    assert [pair.labels[0].path.name for pair in pairing.pairs] == [f"{Path(name).name}_mask.tif" for name in names]
    assert "'_mask'" in pairing.pairs[0].rule


def test_raters_sites_and_levels(tmp_path):
    for site, subject in (("site1", "sc01"), ("site2", "sc01")):
        stem = f"{site}-{subject}"
        touch(
            tmp_path,
            f"{stem}-image.nii.gz",
            *(f"{stem}-mask-r{k}.nii.gz" for k in (1, 2, 3, 4)),
            f"{stem}-levels.txt",
        )
    pairing = pair_files(tmp_path, unlabelled="refuse")
    assert [pair.subject_id for pair in pairing.pairs] == ["site1-sc01", "site2-sc01"]
    assert [label.rater for label in pairing.pairs[0].labels] == ["r1", "r2", "r3", "r4"]
    assert pairing.pairs[1].site == "site2"
    assert pairing.pairs[1].levels_path.name == "site2-sc01-levels.txt"


def test_bids_derivatives_with_a_file_a_structure(tmp_path):
    touch(
        tmp_path,
        *(f"sub-{s}/anat/sub-{s}_T2starw.nii.gz" for s in ("1", "2")),
        *(
            f"derivatives/labels/sub-{s}/anat/sub-{s}_T2starw_{t}seg-manual.nii.gz"
            for s in ("1", "2")
            for t in ("", "gm")
        ),
        "participants.tsv",
        "dataset_description.json",
    )
    pairs = found(tmp_path)
    assert [token for _, token, _ in pairs["sub-1_T2starw"][1]] == ["gmseg-manual", "seg-manual"]


def test_words_in_common_where_no_name_begins_the_other(tmp_path):
    touch(tmp_path, "images/T1_fat_img_L2-L5.nii.gz", "images/T1_water_img_L2-L5.nii.gz")
    touch(tmp_path, "labels/T1_fat_manual_label_L2-L5.nii.gz", "labels/T1_water_manual_label_L2-L5.nii.gz")
    assert found(tmp_path)["T1_fat_img_L2-L5"][1][0][0] == "T1_fat_manual_label_L2-L5.nii.gz"


def test_a_folder_a_case(tmp_path):
    touch(
        tmp_path,
        *(f"p{k}/{name}.nii.gz" for k in (1, 2) for name in ("ct", "segmentations/liver", "segmentations/spleen")),
    )
    pairs = found(tmp_path)
    assert [token for _, token, _ in pairs["p2_ct"][1]] == ["liver", "spleen"]


def test_channels_in_files_of_their_own(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    assert found(tmp_path) == {"a": (["a_0000.nii.gz", "a_0001.nii.gz"], [("a.nii.gz", "", "")])}
    other = touch(tmp_path / "b", "x_T1w.nii", "x_T2w.nii", "x_mask.nii")
    assert found(other, channels=("T2w", "T1w"))["x"][0] == ["x_T2w.nii", "x_T1w.nii"]


def test_a_missing_channel_is_named(tmp_path):
    touch(tmp_path, "x_T1w.nii", "y_T1w.nii", "y_T2w.nii", "x_mask.nii", "y_mask.nii")
    with pytest.raises(DataError, match=r"x: T1w.*channels"):
        found(tmp_path, channels=("T1w", "T2w"))


def test_only_the_wanted_structures(tmp_path):
    touch(tmp_path, "t2s.nii", "t2s_seg.nii", "t2s_seg-deep.nii", "t2s_gmseg.nii")
    pairing = pair_files(tmp_path, unlabelled="refuse", tokens=("seg", "gmseg"))
    assert {file.token for file in pairing.pairs[0].labels} == {"seg", "gmseg"}
    assert "seg-deep" in pairing.skipped[0].reason


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("images/a.png", "labels/b.png"), "b.png belongs to no image"),
        (("images/a.png", "images/b.png", "labels/a.png"), r"1 image \(images/b.png\).*leave-out-unlabelled"),
        (("p1/images/a.png", "p2/images/a.png", "labels/a.png"), "could belong to"),
        (("images/a.png", "images/b.png"), "no label file"),
        (("labels/a.png",), "dicoms"),
        (("images/a.png", "labels/a.png", "labels/a.npy"), "Both .*Keep one"),
    ],
)
def test_what_cannot_be_paired_is_said(tmp_path, names, words):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=words):
        found(tmp_path)


def test_an_image_without_label_may_be_left_out(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.png", "labels/a.png")
    pairing = pair_files(tmp_path, unlabelled="skip")
    assert [pair.case_id for pair in pairing.pairs] == ["a"]
    assert [(s.path.name, s.reason) for s in pairing.skipped] == [("b.png", "an image without a label file")]


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,4}([_-][a-z0-9]{1,4}){0,2}", fullmatch=True)
WORDS = re.compile(r"seg|mask|label|image|img|scan|lesion|annot|levels?|read|licen")


@settings(max_examples=60, deadline=None)
@given(
    names=st.sets(NAMES.filter(lambda name: not WORDS.search(name)), min_size=1, max_size=6),
    suffix=st.sampled_from(["_mask", "-mask", "_seg", "-seg", "_label"]),
)
def test_every_image_gets_its_own_label_whatever_the_names(tmp_path_factory, names, suffix):
    """A label's name is its image's and a suffix; however names begin one another, pairs are right."""
    folder = touch(
        tmp_path_factory.mktemp("names"), *(f"{n}.nii" for n in names), *(f"{n}{suffix}.nii" for n in names)
    )
    pairing = pair_files(folder, unlabelled="refuse")
    assert {pair.images[0].path.stem: pair.labels[0].path.stem for pair in pairing.pairs} == {
        n: n + suffix for n in names
    }


def test_names_with_spaces_and_umlauts(tmp_path):
    for name in ("Bein über Knie 1", "Bein über Knie 2"):
        for part in ("images", "labels"):
            (tmp_path / part).mkdir(exist_ok=True)
            PillowImage.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / part / f"{name}.png")
    assert list(found(tmp_path)) == ["Bein über Knie 1", "Bein über Knie 2"]
