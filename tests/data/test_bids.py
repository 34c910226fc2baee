"""A folder as a BIDS data set: the same voxels and numbers, and what is known of them beside."""

import json

import numpy as np
import pytest

from autoseg.cli import main
from autoseg.data.bids import suffixes_of
from autoseg.data.test_subjects import freeze_test_subjects
from autoseg.errors import DataError
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure

CORD = (Structure(3, "grey matter"), Structure(7, "cord", includes=(3,)))


@pytest.fixture
def folder(tmp_path):
    """Two people with a cord each, one of whom came twice."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("p_1-a", "p_1-b", "q2")):
        voxels = np.zeros((3, 12, 10 + number), np.uint8)
        voxels[:, 3:9, 2:8], voxels[:, 5:7, 3:5] = 7, 3
        affine = affine_from_spacing((3.0, 0.75, 0.625))
        image = Image(random.integers(-100, 900, voxels.shape).astype(np.int16), affine)
        write_nifti(tmp_path / "data" / "dicoms" / f"{name}.nii.gz", image)
        write_nifti(tmp_path / "data" / "labels" / f"{name}.nii.gz", LabelMap(voxels, affine, CORD))
    (tmp_path / "data" / "structures.csv").write_text("label,name,includes\n3,grey matter,\n7,cord,3\n", "utf-8")
    rows = "case_id,subject_id\np_1-a,p_1\np_1-b,p_1\nq2,q2\n"
    (tmp_path / "data" / "subjects.csv").write_text(rows, "utf-8")
    return tmp_path / "data"


def json_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_images_labels_and_tables_lie_where_bids_has_them(folder, tmp_path, capsys):
    freeze_test_subjects(folder, ["q2"])
    target = tmp_path / "bids"
    assert main(["export", str(folder), "--bids", str(target), "--suffix", "T2w"]) == 0
    assert "--without-ids" in capsys.readouterr().out
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    stems = ("sub-p1/anat/sub-p1_run-01", "sub-p1/anat/sub-p1_run-02", "sub-q2/anat/sub-q2")
    raw = {f"{stem}_T2w.{end}" for stem in stems for end in ("nii.gz", "json")}
    drawn = {f"derivatives/labels/{stem}_desc-manual_dseg.{end}" for stem in stems for end in ("nii.gz", "json")}
    tables = {"desc-manual_dseg.tsv", "desc-manual_dseg.json", "dataset_description.json", "README"}
    others = {"README", "dataset_description.json", "participants.tsv", "participants.json"}
    assert files == raw | drawn | others | {f"derivatives/labels/{name}" for name in tables}
    for stem, name in zip(stems, ("p_1-a", "p_1-b", "q2"), strict=True):
        for made, own in (
            (target / f"{stem}_T2w.nii.gz", folder / "dicoms" / f"{name}.nii.gz"),
            (
                target / "derivatives" / "labels" / f"{stem}_desc-manual_dseg.nii.gz",
                folder / "labels" / f"{name}.nii.gz",
            ),
        ):
            (voxels, affine), (wanted, wanted_affine) = read_nifti(made), read_nifti(own)
            np.testing.assert_array_equal(voxels, wanted)
            np.testing.assert_allclose(affine, wanted_affine, atol=1e-6)
    labels = target / "derivatives" / "labels"
    assert (labels / "desc-manual_dseg.tsv").read_text(encoding="utf-8").splitlines()[:2] == [
        "index\tname\tcolor",
        "3\tgrey matter\t#009e73",
    ]
    assert json_of(labels / "desc-manual_dseg.json") == {"StructuresIncluded": {"cord": ["grey matter"]}}
    assert json_of(labels / f"{stems[2]}_desc-manual_dseg.json")["StructuresDrawn"] == ["grey matter", "cord"]
    assert json_of(labels / "dataset_description.json")["DatasetType"] == "derivative"
    assert (target / "participants.tsv").read_text(encoding="utf-8").splitlines()[1:] == [
        "sub-p1\tno",
        "sub-q2\tyes",
    ]


def test_a_contrast_that_nobody_knows_is_asked_for(folder, tmp_path):
    with pytest.raises(DataError, match="the channels image do not tell it"):
        suffixes_of(("image",))
    with pytest.raises(DataError, match="given as heart"):
        suffixes_of(("image",), ("heart",))
    assert main(["export", str(folder), "--bids", str(tmp_path / "bids")]) == 1
    assert not (tmp_path / "bids").exists()
