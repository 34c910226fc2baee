"""Which settings of the loss are taken, and which are refused with a word that helps."""

import itertools
import math
from dataclasses import replace

import pytest

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import LossSettings, Settings, settings_from_dict, settings_to_dict

WHOLE = {"overlap_until": math.inf}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"overlap": "jaccard"}, ["overlap is 'jaccard'", "dice, iou, tversky or none"]),
        ({"pixel": "entropy"}, ["pixel is 'entropy'", "cross_entropy, bce, focal or none"]),
        ({"overlap_weight": -1}, ["overlap_weight is -1", "0 to 1000"]),
        ({"pixel_weight": math.nan}, ["pixel_weight is nan"]),
        ({"structure_weight": 0}, ["structure_weight is 0", "above 0", "None"]),
        ({"structure_weight": 2000}, ["structure_weight is 2000"]),
        ({"focal_gamma": 11}, ["focal_gamma is 11", "0 to 10"]),
        ({"missed_weight": 1.2}, ["missed_weight is 1.2"]),
        ({"overlap": "tversky", "missed_weight": 1.0}, ["missed_weight is 1.0", "everything"]),
        ({"overlap": "tversky", "missed_weight": 0.0}, ["missed_weight is 0.0", "nothing"]),
        ({"overlap": "tversky", "squared": True}, ["squared", "tversky", "leave one of them out"]),
        ({"squared": "no"}, ["squared is 'no'", "True or False"]),
        ({"per_sample": 1}, ["per_sample is 1"]),
        ({"background": None}, ["background is None"]),
        ({"overlap_until": 0}, ["overlap_until is 0"]),
        ({"pixel": "none"}, ["pixel is none", "overlap_until is 0.6", "fade out", "overlap_until = inf"]),
        ({"late_pixel_weight": 0}, ["late_pixel_weight is 0", "overlap_until is 0.6", "fade out"]),
        ({"overlap": "none", "pixel": "none", **WHOLE}, ["weight 0", "nothing is learnt"]),
        ({"overlap": "none", "pixel_weight": 0}, ["overlap is 'none'", "pixel_weight 0"]),
        ({"pixel": "none", "overlap_weight": 0, **WHOLE}, ["overlap_weight 0", "pixel 'none'"]),
    ],
)
def test_what_cannot_work_is_refused_with_its_value_and_a_remedy(values, words):
    with pytest.raises(SettingsError) as raised:
        LossSettings(**values)
    assert [word for word in words if word not in str(raised.value)] == []


def test_what_is_left_out_cannot_fade():
    assert LossSettings(overlap="none", late_pixel_weight=0).pixel_weight == 1
    assert LossSettings(overlap="none").overlap_until == 0.6


def test_every_pair_of_parts_can_be_had():
    overlaps, pixels = ("dice", "iou", "tversky", "none"), ("cross_entropy", "bce", "focal", "none")
    pairs = [pair for pair in itertools.product(overlaps, pixels) if pair != ("none", "none")]
    assert len({LossSettings(overlap=overlap, pixel=pixel, **WHOLE) for overlap, pixel in pairs}) == 15


def test_settings_come_back_whole():
    loss = LossSettings(
        overlap="iou", pixel="bce", structure_weight=None, background=True, per_sample=True, **WHOLE
    )
    settings = replace(Settings(), loss=loss)
    assert settings_from_dict(settings_to_dict(settings)) == settings


def test_names_of_earlier_model_files_are_understood():
    read = settings_from_dict({"loss": {"dice_weight": 0.5, "dice_until": 0.4, "late_cross_entropy_weight": 7.0}})
    assert read.loss == LossSettings(overlap_weight=0.5, overlap_until=0.4, late_pixel_weight=7.0)
