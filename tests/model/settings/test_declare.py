"""Every setting as it is declared: what lies outside its limits or is of another kind is refused in words."""

import json
import math
import pydoc
from typing import get_args, get_origin

import numpy as np
import pytest

from autoseg.cli.parser import PLANNED, build_parser
from autoseg.errors import SettingsError
from autoseg.model.networks.build import KINDS
from autoseg.model.settings.settings import (
    NETWORK_NAMES,
    Settings,
    group_kinds,
    settings_from_dict,
    settings_to_dict,
)
from autoseg.model.settings.text import all_settings, say_value, show_value, value_of

# The limits, written down a second time so that none moves unseen: an interval, and the settings that have it.
INTERVALS = {
    "[1, ∞)": "epochs batch_size plateau_epochs patience print_checkpoint save_checkpoint validate_every "
    "validate_slices preprocess.clahe_limit",
    "[0, 1]": "oversampling preprocess.crop_anywhere volume.flips augmentation.shift loss.missed_weight",
    "(0, 1)": "milestones drop_factor",
    "[0, 1)": "warmup_fraction momentum average_decay network.dropout",
    "(0, ∞)": "gradient_clip loss.overlap_until preprocess.crop_by_site",
    "(0, 10)": "learning_rate finetune.new_learning_rate",
    "[0, 10]": "weight_decay loss.focal_gamma",
    "(0, 43200]": "minutes",
    f"[0, {2**63 - 1}]": "seed",
    "(0, 20]": "preprocess.spacing_mm",
    "[32, 4096]": "preprocess.input_shape",
    "[0, 100]": "preprocess.clip_percentiles augmentation.brightness augmentation.noise",
    "[1, 2000]": "preprocess.crop_mm volume.crop_mm",
    "[16, 4096]": "preprocess.crop_shape",
    "[0, 0.5]": "preprocess.crop_shift",
    "[0, 8]": "preprocess.neighbours",
    "(0, 50]": "volume.spacing_mm",
    "[1, 1024]": "volume.patch_size",
    "[0, 0.95)": "volume.overlap",
    "[1, 2048]": "network.filters",
    "[1, 4]": "network.strides",
    "[0, 3]": "postprocess.erosions",
    "[0, 180]": "augmentation.rotation_deg",
    "[0.1, 10]": "augmentation.scaling augmentation.zoom",
    "[0.1, 1]": "augmentation.crop",
    "[0.01, 100]": "augmentation.contrast augmentation.gamma",
    "[0, 1000]": "loss.overlap_weight loss.pixel_weight loss.late_pixel_weight",
    "(0, 1000]": "loss.structure_weight",
    "(0, 10000]": "finetune.rates",
    "(0, 1000000)": "finetune.phases",
    "(-∞, ∞)": "volume.landmarks",
}


def interval(setting):
    low = f"({setting.above}" if setting.above is not None else f"[{setting.at_least}"
    high = f"{setting.below})" if setting.below is not None else f"{setting.at_most}]"
    return f"{low}, {high}".replace("[None", "(-∞").replace("None]", "∞)")


def with_number(kind, number):
    """Give a value of this type, with this number at every place that a number has."""
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        kinds = kinds[:1] * 3 if kinds[-1] is ... else kinds
        return tuple("tail" if inner is str else with_number(inner, number) for inner in kinds)
    return number


def wrong(setting):
    """Give values that must be refused: beyond each end, and of other kinds."""
    kind, values = setting.kind, [object(), {"a": 1}, *([] if setting.may_be_none else [None])]
    if setting.choices or kind is bool:
        return [*values, "maybe", 7, math.nan, (1, 2), *([] if kind is bool else [True])]
    if get_origin(kind) is tuple:
        values += [3, True, *([] if get_args(kind) == (str, ...) else ["tail", with_number(kind, True)])]
        values += [(1,) * 9] if ... not in get_args(kind) else []
    elif kind is str:
        values += [5, True]
    else:
        values += ["8", "no", True, False, (1, 2)]
    if get_args(kind) == (str, ...) or kind is str:
        return values
    ends = [setting.above, setting.below]
    ends += [None if end is None else end + step for end, step in ((setting.at_least, -1), (setting.at_most, 1))]
    ends += [math.nan, *([1.5, math.inf] if "int" in str(kind) else [])]
    return values + [with_number(kind, end) for end in ends if end is not None]


def test_what_is_beyond_the_limits_or_of_another_kind_is_refused_with_field_value_and_remedy():
    kinds, count = {"": Settings, **group_kinds()}, 0
    for name, setting in all_settings().items():
        for value in wrong(setting):
            with pytest.raises(SettingsError) as raised:
                kinds[name.rpartition(".")[0]](**{setting.short: value})
            assert str(raised.value) == f"{setting.short} is {value!r}; give {setting.wanted}.", name
            assert raised.value.setting == name
            count += 1
    assert count > 850


def test_the_limits_are_these_and_closed_ends_are_taken():
    expected = {name: limits for limits, names in INTERVALS.items() for name in names.split()}
    expected |= {name: "[0, 1]" for name in all_settings() if name.endswith("_probability")}
    numeric = {n: s for n, s in all_settings().items() if "number" in s.wanted and not s.choices}
    assert {name: interval(setting) for name, setting in numeric.items()} == expected
    for setting in numeric.values():
        for end in (setting.at_least, setting.at_most):
            value = None if end is None else with_number(setting.kind, end)
            assert setting.check(value if end is not None else setting.default) is not None or end is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("learning_rate", 0.0, "learning_rate is 0.0; give a number above 0, below 10."),
        ("batch_size", True, "batch_size is True; give a whole number from 1."),
        ("seed", 1.5, "seed is 1.5; give a whole number from 0 to 9223372036854775807."),
        ("patience", 2.5, "patience is 2.5; give a whole number from 1, or None."),
        ("watch_erosion", "no", "watch_erosion is 'no'; give True or False."),
        ("best_by", "luck", "best_by is 'luck'; give dice, iou, loss or last."),
        ("preprocess.spacing_mm", 0, "spacing_mm is 0; give a number above 0, at most 20, in mm, or None."),
        (
            "preprocess.crop_mm",
            (40, 0),
            "crop_mm is (40, 0); give (rows, columns), numbers from 1 to 2000, in mm, or None.",
        ),
        ("augmentation.gamma", (2, 1), "gamma is (2, 1); give two numbers from 0.01 to 100, the smaller first."),
        ("volume.flips", (0, 0), "flips is (0, 0); give three numbers from 0 to 1."),
    ],
)
def test_the_sentences_read_well(name, value, words):
    with pytest.raises(SettingsError) as raised:
        all_settings()[name].check(value)
    assert str(raised.value) == words


def test_every_setting_and_every_group_has_a_plain_name_that_nothing_else_beside_it_has():
    groups = {name: kind.title for name, kind in group_kinds().items()}
    assert all(groups.values())
    assert len({*groups.values()}) == len(groups)
    named = [(setting.name.rpartition(".")[0], setting.label) for setting in all_settings().values()]
    assert [name for name, one in all_settings().items() if not one.title or "_" in one.title] == []
    assert sorted({*named}) == sorted(named)
    # A form's column of labels is so wide.
    assert [label for _, label in named if len(label) > 33] == []


def test_choices_are_called_in_words_where_their_values_are_names_of_code():
    for name, setting in all_settings().items():
        assert {*setting.called} <= {*setting.choices}, name
        said = [say_value(name, choice) for choice in setting.choices]
        assert len({*said}) == len(said)
        assert [words for words in said if "_" in words] == [], name
    assert {*NETWORK_NAMES} == {*KINDS} == {*all_settings()["network.name"].choices}
    assert all(kind.title == NETWORK_NAMES[name] for name, kind in KINDS.items())


def test_a_group_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="has to be a group of settings"):
        Settings(network={"name": "unet"})


def test_numbers_of_json_and_numpy_are_taken_as_what_they_mean():
    old = settings_to_dict(Settings())
    old |= {"epochs": 8.0, "seed": np.int64(3), "learning_rate": np.float32(0.5), "watch_erosion": np.bool_(True)}
    old["network"] |= {"filters": [8.0, 16.0], "strides": [[2, 2.0]]}
    old["preprocess"] |= {"spacing_mm": 2, "clip_percentiles": [1, 99]}
    old["volume"] |= {"spacing_mm": np.array([1.0, 1.0, 2.0])}
    read = settings_from_dict(old)
    json.dumps(settings_to_dict(read))
    assert (read.epochs, read.seed, read.learning_rate, read.watch_erosion) == (8, 3, 0.5, True)
    assert (read.network.filters, read.network.strides) == ((8, 16), ((2, 2),))
    assert all(type(value) is int for value in (read.epochs, read.seed, *read.network.filters))
    assert (read.preprocess.spacing_mm, read.preprocess.clip_percentiles) == (2, (1, 99))
    assert read.volume.spacing_mm == (1.0, 1.0, 2.0)


def test_help_shows_every_setting_with_what_it_does_and_takes():
    for kind in (Settings, *group_kinds().values()):
        shown = " ".join(pydoc.plain(pydoc.render_doc(kind)).replace("|", " ").split())
        for setting in kind.declared.values():
            assert len(setting.words) > 10, setting.name
            words = " ".join(setting.words.split())
            assert f"{setting.short} : {setting.wanted}; default {setting.default!r} {words}" in shown


def test_form_command_line_and_text_agree_with_the_declaration(capsys):
    from autoseg.cli import main
    from autoseg.panels.parts.settings_form import SettingsForm

    fields = SettingsForm(Settings(), lambda: None).fields
    assert list(fields) == list(all_settings())
    assert main(["settings"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        build_parser().parse_args(["train", "--help"])
    offered = " ".join(capsys.readouterr().out.split())
    for name, setting in all_settings().items():
        usual = show_value(value_of(Settings(), name))
        assert fields[name].tooltip == f"{name}: {setting.told}"
        assert fields[name].description == setting.label
        assert f"{name}={usual or 'none'} {setting.title}. {setting.told}" in printed
        if setting.option:
            assert f"--{setting.short.replace('_', '-')} " in offered
            assert f"{setting.title}. {setting.words} " in offered
            assert f"(default: {'planned' if name in PLANNED else usual or 'none'})" in offered
