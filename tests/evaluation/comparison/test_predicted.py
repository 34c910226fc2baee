"""Labels of another program in a comparison: scored on the same folds, by the same numbers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from comparisons import learn_at_once
from discs import STRUCTURES, make_case, make_pair, patch_reading, quick_settings

from autoseg.cli import main
from autoseg.data.cases import CaseFolder
from autoseg.data.nnunet import names_of, numbers_of
from autoseg.errors import DataError, LabelError
from autoseg.evaluation.comparison import compare, predicted, read_comparison
from autoseg.evaluation.comparison.predicted import add_predictions
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.scores import score_slices
from autoseg.measurement.summary import summarise
from autoseg.model.settings.settings import NetworkSettings

CASES = tuple(make_case(number) for number in range(4))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch_reading(patch)
        learn_at_once(patch, epoch_s=0)
        patch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)
        folder = tmp_path_factory.mktemp("compared") / "c"
        yield compare(CASES, STRUCTURES, entries(), folder=folder, folds=2)


def entries():
    return {"unet": quick_settings(epochs=1, network=NetworkSettings("unet", filters=(4, 8)))}


@pytest.fixture
def study(compared, tmp_path, monkeypatch):
    """Give the images, a comparison of them, and what "nnU-Net" drew: all as drawn, a row higher."""
    patch_reading(monkeypatch)
    learn_at_once(monkeypatch, epoch_s=0)
    for module in ("run", "predicted"):
        monkeypatch.setattr(f"autoseg.evaluation.comparison.{module}.write_pictures", lambda comparison: None)
    shutil.copytree(compared.folder, tmp_path / "c")
    place = tmp_path / "results"
    for number, fold in enumerate(compared.runs["unet"].folds):
        for case_id in sorted({score.case_id for score in fold.scores}):
            path = place / f"fold_{number}" / "validation" / f"{case_id}.nii.gz"
            write_nifti(path, drawn(case_id, numbers_of(STRUCTURES)[1]))
    found = CaseFolder(tmp_path, CASES, STRUCTURES)
    return found, tmp_path / "c", place


def drawn(case_id, number):
    """Give what the other program drew, in its own numbers."""
    _, reference = make_pair(int(case_id.removeprefix("case")))
    table = np.zeros(256, np.uint8)
    for label, new in number.items():
        table[label] = new
    own = tuple(Structure(new, f"number {new}") for new in number.values())
    return LabelMap(np.roll(table[reference.voxels], -1, axis=1), reference.affine, own)


def test_it_is_scored_on_the_same_folds_and_stays_when_the_comparison_goes_on(study):
    found, folder, place = study
    result = add_predictions(found, folder, place, name="nnU-Net")
    pairs = [(make_pair(n)[1], drawn(f"case{n}", {1: 1, 5: 5})) for n in range(4)]
    wanted = summarise(
        [score for reference, one in pairs for score in score_slices(reference, moved(one, reference))]
    )
    table = result.table.set_index(["entry", "structure"])
    for row in wanted.itertuples():
        assert table.loc[("nnU-Net", row.name), "dice"] == pytest.approx(row.dice)
        assert table.loc[("nnU-Net", row.name), "area_bias_percent"] == pytest.approx(0, abs=1)
    assert set(result.differences["entry"]) | set(result.differences["other"]) == {"unet", "nnU-Net"}
    assert "nnU-Net" in result.verdict
    assert sorted(result.worst[0].predicted) == ["nnU-Net", "unet"]
    again = compare(CASES, STRUCTURES, entries(), folder=folder, folds=2)
    assert again.table.equals(result.table)
    assert again.is_finished


def moved(one, reference):
    return LabelMap(one.voxels, one.affine, reference.structures, source=reference.source)


def test_numbers_are_those_of_the_data_set_that_it_learnt_from(study):
    found, folder, place = study
    names = {one.label: one.name for one in STRUCTURES}
    shutil.rmtree(place)
    for number in range(4):
        write_nifti(place / f"case{number}.nii.gz", drawn(f"case{number}", {1: 2, 5: 1}))
    labels = {"background": 0, names[1]: 2, names[5]: 1}
    (place / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    result = add_predictions(found, folder, place, name="other")
    assert (result.table[result.table["entry"] == "other"]["dice"] > 0.8).all()
    doubt = "does not tell whether each was drawn by a network that had not learnt"
    assert any(doubt in note for note in result.notes)
    assert read_comparison(folder).table.equals(result.table)
    again = compare(CASES, STRUCTURES, entries(), folder=folder, folds=2)
    assert any(doubt in note for note in again.notes)


def test_no_two_cases_share_a_file_also_where_one_was_not_exported(tmp_path, monkeypatch):
    one, other = (replace(case, case_id=name) for case, name in zip(CASES, ("a b", "a_b"), strict=False))
    monkeypatch.setattr(predicted, "exported_cases", lambda found: [other])
    names = predicted._Files(tmp_path, CaseFolder(tmp_path, (one, other), STRUCTURES), STRUCTURES).names
    assert names["a_b"] == names_of([other])["a_b"] != names["a b"]


def test_labels_that_were_interpolated_are_refused(study):
    found, folder, place = study
    path = next(iter((place / "fold_0" / "validation").iterdir()))
    label_map = drawn(path.name.removesuffix(".nii.gz"), {1: 1, 5: 2})
    write_nifti(path, Image(label_map.voxels * np.float32(0.75), label_map.affine))
    with pytest.raises(LabelError, match="numbers that are not whole"):
        add_predictions(found, folder, place, name="nnU-Net")
    assert "nnU-Net" not in read_comparison(folder).runs


def test_what_does_not_belong_together_is_refused_and_changes_nothing(study, capsys, monkeypatch):
    found, folder, place = study
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(DataError, match="is a network of this comparison"):
        add_predictions(found, folder, place, name="unet")
    first = next(iter((place / "fold_0" / "validation").iterdir()))
    first.rename(place / "fold_1" / "validation" / first.name)
    monkeypatch.setattr("autoseg.cli.options.find", lambda chosen: found)
    arguments = ["add-predictions", "data", "--to", str(folder), "--predicted", str(place), "--name", "nnU-Net"]
    assert main(arguments) == 1
    assert "no file for 1 case of fold 1" in capsys.readouterr().err
    (place / "fold_1" / "validation" / first.name).rename(first)
    label_map = drawn(first.name.removesuffix(".nii.gz"), {1: 1, 5: 2})
    write_nifti(first, LabelMap(label_map.voxels[:, :-1], label_map.affine, label_map.structures))
    with pytest.raises(LabelError, match="another grid than its image"):
        add_predictions(found, folder, place, name="nnU-Net")
    write_nifti(first, drawn(first.name.removesuffix(".nii.gz"), {1: 1, 5: 9}))
    with pytest.raises(LabelError, match="holds 9, for which no structure stands"):
        add_predictions(found, folder, place, name="nnU-Net")
    assert sorted(path.name for path in folder.iterdir()) == before
