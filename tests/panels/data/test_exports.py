"""Images and labels for other programs, at a click in the panel of the data."""

import json

import pytest
from discs import STRUCTURES, make_pair

from autoseg.data.cases import find_cases
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures
from autoseg.panels.data.exports import ExportsPanel
from autoseg.panels.parts.style import notice


@pytest.fixture
def panel(tmp_path):
    panel = ExportsPanel()
    panel.write_nnunet()  # nothing is chosen yet: nothing happens
    folder = tmp_path / "discs"
    for number in range(5):
        for kind, one in zip(("images", "labels"), make_pair(number, size=(16, 16)), strict=True):
            write_nifti(folder / kind / f"p{number}.nii.gz", one)
    write_structures(folder / "structures.csv", STRUCTURES)
    panel.show(find_cases(folder))
    return panel


def test_nnunet_gets_a_folder_beside_the_data_and_never_over_an_earlier_one(panel, tmp_path):
    for name in ("discs_nnunet", "discs_nnunet_2"):
        panel.nnunet_button.click()
        panel.wait(60)
        assert panel.value == tmp_path / name
        assert f"Written to {tmp_path / name}" in panel.message.value
        assert "splits_final.json belongs into" in panel.message.value
        described = json.loads((tmp_path / name / "Dataset501_discs" / "dataset.json").read_text(encoding="utf-8"))
        assert described["numTraining"] == len(panel._cases.cases)
    assert not panel.nnunet_button.disabled
    links = [row.children[0] for row in panel.written.children]
    assert [link.name for link in links] == ["discs_nnunet.zip", "discs_nnunet_2.zip"]
    assert links[0].make().startswith(b"PK")


def test_images_that_are_left_out_are_no_success(panel, tmp_path):
    names = ",".join(one.name for one in STRUCTURES)
    rows = [f"case_id,{names}", "p0,1,0", *(f"p{number},1,1" for number in range(1, 5))]
    (tmp_path / "discs" / "annotated.csv").write_text("\n".join(rows), encoding="utf-8")
    panel.show(find_cases(tmp_path / "discs"))
    panel.nnunet_button.click()
    panel.wait(60)
    assert "1 case left out" in panel.message.value
    assert notice("", "warning").partition(";")[0] in panel.message.value  # the colour of its edge


def test_bids_asks_for_the_contrast_where_names_do_not_tell_it(panel, tmp_path):
    panel.bids_button.click()
    panel.wait(60)
    assert "Say for each channel" in panel.message.value
    assert panel.value is None
    assert not (tmp_path / "discs_bids").exists()
    panel.contrast.value = "T2w"
    panel.bids_button.click()
    panel.wait(60)
    assert panel.value == tmp_path / "discs_bids"
    assert (tmp_path / "discs_bids" / "participants.tsv").is_file()
    assert len(list((tmp_path / "discs_bids").glob("sub-*/anat/*_T2w.nii.gz"))) == len(panel._cases.cases)


@pytest.mark.parametrize("what", ["nnunet", "bids"])
def test_stopped_nothing_is_left_of_it_and_how_far_it_is_was_told(panel, tmp_path, monkeypatch, what):
    told = []

    def stop_at_the_second(share):
        told.append((share, panel.message.value, panel.stop_button.disabled))
        if len(told) == 2:
            panel.stop_button.click()

    monkeypatch.setattr(panel, "progress", stop_at_the_second)
    panel.contrast.value = "T2w"
    getattr(panel, f"{what}_button").click()
    panel.wait(60)
    assert [share for share, *_ in told] == [0, 1 / 5, None]
    assert "Writing image 1 of 5" in told[1][1]
    assert not told[1][2]
    assert "Stopped. Nothing was written." in panel.message.value
    assert [path.name for path in tmp_path.iterdir()] == ["discs"]
    assert (panel.value, panel.stop_button.disabled, panel.nnunet_button.disabled) == (None, True, False)
