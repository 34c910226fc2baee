"""Entries of a person's own: read as they are typed, and written so that they are read the same."""

import pytest

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison.own_entries import EXAMPLE, entry_line, read_entries
from autoseg.model.settings.settings import Settings
from autoseg.training.plan import change_settings
from autoseg.training.recipes import recipe

BASE = change_settings(Settings(minutes=2.0), {"batch_size": 6, "preprocess.spacing_mm": 1.5})


def test_each_begins_with_what_all_share_and_changes_what_it_says():
    entries = read_entries([EXAMPLE, "", "  two stages : network.filters = 16, 32; patience=none  "], BASE)
    assert entries == {
        "small batches": change_settings(BASE, {"batch_size": 4, "learning_rate": 0.001}),
        "two stages": change_settings(BASE, {"network.filters": (16, 32)}),
    }


def test_a_recipe_is_begun_with_and_what_is_typed_for_one_counts_last():
    shared = {"batch_size": 3, "seed": 7}
    (found,) = read_entries(["by IoU: recipe=unext loss.overlap=iou batch_size=9"], BASE, shared=shared).values()
    wanted = {"seed": 7, "loss.overlap": "iou", "batch_size": 9}
    assert found == change_settings(recipe("unext", base=BASE), wanted)


def test_minutes_and_epochs_take_each_others_place():
    (found,) = read_entries(["longer: epochs=9"], BASE).values()
    assert (found.epochs, found.minutes) == (9, None)


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 2, "network.filters": (8, 16, 32), "patience": 5},
        {"epochs": 4, "minutes": None, "loss.overlap_until": float("inf"), "loss.pixel": "none"},
        {
            "preprocess.crop_mm": (80.0, 96.0),
            "preprocess.crop_by_site": (("site 1", 50.0, 40.0), ("b", 30.0, 30.0)),
        },
        {"finetune.frozen": (), "loss.structure_weight": None, "loss.per_sample": True},
    ],
)
def test_what_is_written_is_read_the_same(values):
    settings = change_settings(recipe("resunet", base=BASE), values)
    assert read_entries([entry_line("mine", settings, BASE)], BASE) == {"mine": settings}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["small batches"], "is no entry. Give a name and at least one setting, as in 'small batches:"),
        ([": batch_size=4"], "is no entry"),
        (["small:"], "is no entry"),
        (["unet: batch_size=4"], "The name 'unet' is taken"),
        (["a: batch_size=4", "a: batch_size=8"], "The name 'a' is taken"),
        (["a with 4 subjects: batch_size=4"], "is taken"),
        (["a: batchsize=4"], "no setting 'batchsize'. Did you mean batch_size?"),
        (["a: batch_size=0"], "batch_size is 0"),
        (["a: recipe=unetx"], "no recipe 'unetx'"),
    ],
)
def test_what_cannot_be_is_said(lines, words):
    with pytest.raises(SettingsError, match=words):
        read_entries(lines, BASE)
    with pytest.raises(DataError, match="file name"):
        read_entries(["a/b: batch_size=4"], BASE)
