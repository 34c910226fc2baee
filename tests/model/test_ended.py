"""How a training ended: told by a value in new files, and by the sentences of old ones."""

import pytest

from autoseg.model.ended import Ended, ended_by, read_origin

SENTENCES = {
    "all epochs or minutes were used": Ended.COMPLETE,
    "it was stopped": Ended.STOPPED,
    "the loss became NaN in epoch 7": Ended.NOT_A_NUMBER,
    "there was no better validation Dice in 2 epochs": Ended.PATIENCE,
    "there was no lower validation loss in 1 validation": Ended.PATIENCE,
    "no better dice in 5 epochs": Ended.PATIENCE,
    "it ended early": Ended.FAILED,
    "the moon was full": Ended.OTHER,
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_sentences_of_old_files_are_known(sentence):
    origin = read_origin({"ended": sentence, "plane": "axial"})
    assert ended_by(origin) is SENTENCES[sentence]
    assert (origin["ended"], origin["plane"]) == (sentence, "axial")


def test_a_value_counts_more_than_its_sentence_and_an_unknown_one_is_other():
    assert ended_by(read_origin({"ended": "Schluss", "ended_by": "patience"})) is Ended.PATIENCE
    assert ended_by({"ended_by": "of a later version"}) is Ended.OTHER
    assert ended_by({"ended_by": ["damaged"]}) is Ended.OTHER


@pytest.mark.parametrize("origin", [{}, {"ended": ""}])
def test_an_unfinished_training_has_not_ended(origin):
    assert ended_by(read_origin(origin)) is None
