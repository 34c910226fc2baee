"""`autoseg finetune` on files: every subject once in each scenario, and the table of them."""

import pandas as pd
import pytest
from discs import STRUCTURES, make_pair

from autoseg.cli import main
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures


def _write(place, subjects, *, brighter=1):
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
    for number, name in enumerate(subjects, start=len(place.name)):
        image, labels = make_pair(number, size=(32, 32), slices=4)
        write_nifti(place / "images" / f"{name}.nii.gz", image)
        write_nifti(place / "labels" / f"{name}.nii.gz", labels)
    write_structures(place / "structures.csv", STRUCTURES)
    return str(place)


def test_a_model_is_brought_to_other_images_and_every_subject_is_scored_once(tmp_path, capsys):
    here, there = _write(tmp_path / "here", "abc"), _write(tmp_path / "over-there", "wxyz")
    output = str(tmp_path / "models")
    small = ["--set", "network.filters=4,8"]
    assert main(["train", here, "--epochs", "2", "--name", "known", "--output", output, *small]) == 0
    command = ["finetune", there, "--base", "known", "--folds", "2", "--epochs", "1", "--output", output]
    command += ["--scenarios", "original", "from scratch", "own rates"]
    capsys.readouterr()
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "original: The model as it is" in shown
    place = tmp_path / "models" / "finetuned_comparison"
    table = pd.read_csv(place / "per_subject.csv")
    assert table["subject_id"].tolist() == ["w", "x", "y", "z", "minimum", "maximum", "mean", "median"]
    assert table.columns.tolist() == ["subject_id", "original", "from scratch", "own rates", "outlier"]
    for entry in ("original", "own rates"):
        assert table[entry][6] == pytest.approx(table[entry][:4].mean())
        assert f"{table[entry][6]:.3f}" in shown
    # Called again, nothing is learnt anew.
    assert main(command) == 0
    assert capsys.readouterr().out.count("finished before") == 6


def test_a_base_that_is_not_there_is_said(tmp_path, capsys):
    there = _write(tmp_path / "there", "wxyz")
    assert main(["finetune", there, "--base", "nobody", "--output", str(tmp_path)]) == 1
    assert "nobody" in capsys.readouterr().err
