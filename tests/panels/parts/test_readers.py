"""A model beside several readers, on the page."""

import io

import pandas as pd
from two_readers import draw_patients, write_folds

from autoseg.evaluation.second_reader import read_beside_folds, read_readers
from autoseg.panels.parts.readers import SecondReader


def test_sentence_table_and_files(tmp_path):
    (tmp_path / "data").mkdir()
    found = draw_patients(tmp_path / "data")
    write_folds(found, tmp_path / "m_folds")
    shown = SecondReader()
    assert shown.children == ()
    shown.show(read_beside_folds(found, tmp_path / "m_folds").readings)
    assert "by no more than they differ from each other cannot be told from 6 patients" in shown.words.value
    assert shown.table.value.count("autoseg-in-light") == 1
    assert "r1, model" in shown.table.value
    shown.one_reader.value = True
    assert "two readings of the reader" in shown.words.value
    shown.margin.value = "lots"
    assert "not understood" in shown.words.value
    shown.margin.value = "20 %"
    files = {button.name: pd.read_csv(io.BytesIO(button.make())) for button in shown.downloads}
    assert files["readers_verdicts.csv"]["margin"].tolist() == [12.5]
    assert files["readers.csv"]["second"].tolist() == ["model", "model", "r2"]
    shown.show(())
    assert shown.children == ()


def test_without_a_model_there_is_a_table_and_nothing_to_judge(tmp_path):
    shown = SecondReader()
    shown.show(read_readers(draw_patients(tmp_path, 2)).readings)
    assert "r1, r2" in shown.table.value
    assert shown.margin not in [one for row in shown.children for one in getattr(row, "children", ())]
