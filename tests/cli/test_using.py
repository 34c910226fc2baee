"""Several models and copies on the command line; what one model does is in test_cli.py."""

from dataclasses import replace

import pytest
from tubes import cropping, make_tube
from untrained import untrained_model

from autoseg.cli import main
from autoseg.cli.options import load_models
from autoseg.errors import DataError, ModelFileError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.model.centreline import clicked, read_centreline, write_centreline
from autoseg.model.model import save_model


@pytest.fixture
def models(tmp_path):
    """A folder with two models of the same structures, "heart" and "fold"."""
    folder = tmp_path / "models"
    folder.mkdir()
    save_model(untrained_model(), folder)
    save_model(replace(untrained_model(spacing_mm=8.0), name="fold"), folder)
    return folder


def test_further_models_go_by_name_or_by_file(models):
    first = models / "heart_0.pt"
    assert [model.name for model in load_models(first, [])] == ["heart"]
    for further in ("fold", str(models / "fold_0.pt")):
        assert [model.name for model in load_models(first, [further])] == ["heart", "fold"]
    for again in ("heart", str(first)):
        with pytest.raises(DataError, match=r"heart_0\.pt is given twice"):
            load_models(first, [again])
    with pytest.raises(ModelFileError, match="no model named 'knee'"):
        load_models(first, ["knee"])


def test_predict_takes_the_mean_and_says_of_what(models, sample, tmp_path, capsys):
    command = ["predict", str(models / "heart_0.pt"), str(sample / "test" / "dicoms"), "--series", "series-5"]
    command += ["--output", str(tmp_path / "out")]
    assert main([*command, "--model", "fold", "--copies", "turned"]) == 0
    shown = capsys.readouterr().out
    assert "Segmented with the mean of heart + fold, turned copies" in shown
    (run,) = (tmp_path / "out").iterdir()
    assert run.name.startswith("heart_+_fold_turned_copies_")
    assert main(command) == 0
    assert "mean of" not in capsys.readouterr().out


def test_models_that_do_not_go_together_are_a_sentence(models, sample, tmp_path, capsys):
    save_model(replace(untrained_model(channels=("a", "b")), name="two"), models)
    command = ["predict", str(models / "heart_0.pt"), str(sample / "test" / "dicoms"), "--model", "two"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 1
    assert "cannot be averaged" in capsys.readouterr().err


def test_a_clicked_centreline_is_given_by_its_image(models, tmp_path, capsys):
    for number in (7, 8):
        write_nifti(tmp_path / "in" / f"tube{number}.nii.gz", make_tube(number)[0])
    path = save_model(cropping(finder=False), models)
    line = write_centreline(clicked([(0.0, 0.0, -40.0), (0.0, 0.0, 40.0)]), tmp_path / "line.csv")
    given = [words for number in (7, 8) for words in ("--centreline", f"tube{number}={line}")]
    command = ["predict", str(path), str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main([*command, *given]) == 0
    (run,) = (tmp_path / "out").iterdir()
    assert read_centreline(run / "centrelines" / "tube8.csv").clicks_mm == read_centreline(line).clicks_mm
    assert main([*command, "--centreline", str(line)]) == 1
    assert "say of which image it is, as ID=CSV" in capsys.readouterr().err
