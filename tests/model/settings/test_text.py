"""Settings as text: what is shown can be read back, what was typed is read or refused in plain words."""

import pytest

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import FineTuneSettings, NetworkSettings, PreprocessSettings, Settings
from autoseg.model.settings.text import all_settings, parse_value, read_assignments, show_value, value_of
from autoseg.training.plan import change_settings


def test_a_site_without_its_sizes_is_refused():
    hint = tuple[tuple[str, float, float], ...]
    assert parse_value("crop_by_site", "a, 1, 2; b, 3, 4", hint) == (("a", 1.0, 2.0), ("b", 3.0, 4.0))
    with pytest.raises(SettingsError, match="crop_by_site is 'a, 1'; give"):
        parse_value("crop_by_site", "a, 1", hint)


def test_every_setting_can_be_typed_as_it_is_shown():
    settings = Settings(
        epochs=7,
        optimizer="sgd",
        gradient_clip=float("inf"),
        milestones=(0.25, 0.5),
        preprocess=PreprocessSettings(crop_mm=(80.5, 90), crop_by_site=(("site 1", 60.0, 70.5),), clahe=True),
        network=NetworkSettings(name="resunet", filters=(8, 16, 32), norm="batch", deep_supervision=True),
        finetune=FineTuneSettings(
            frozen=(), replaced=("tail", "bottleneck"), rates=(("tail", 10.0),), phases=(("none", 1e-4, 3.0),)
        ),
    )
    typed = [f"{name}={show_value(value_of(settings, name))}" for name in all_settings()]
    assert change_settings(Settings(), read_assignments(typed)) == settings


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["network.deep_supervision=yes"], {"network.deep_supervision": True}),
        (["watch_erosion=False"], {"watch_erosion": False}),
        (["patience = 5"], {"patience": 5}),
        (["patience=None"], {"patience": None}),
        (["preprocess.spacing_mm="], {"preprocess.spacing_mm": None}),
        (["preprocess.spacing_mm=1,5"], {"preprocess.spacing_mm": 1.5}),
        (["preprocess.input_shape=256×192"], {"preprocess.input_shape": (256, 192)}),
        (["gradient_clip=inf"], {"gradient_clip": float("inf")}),
        (["finetune.frozen=contraction, bottleneck"], {"finetune.frozen": ("contraction", "bottleneck")}),
        (["finetune.frozen=none"], {"finetune.frozen": ()}),
        (["finetune.frozen="], {"finetune.frozen": ()}),
        (["finetune.rates=tail, 10; bottleneck, 0.1"], {"finetune.rates": (("tail", 10.0), ("bottleneck", 0.1))}),
        (
            ["finetune.phases=contraction+bottleneck, 1e-4, 10; none, 1e-5, 30"],
            {"finetune.phases": (("contraction+bottleneck", 1e-4, 10.0), ("none", 1e-5, 30.0))},
        ),
        (["batch_size=2", "batch_size=4"], {"batch_size": 4}),
        (["minutes=3"], {"minutes": 3.0, "epochs": None}),
        (["epochs=3"], {"minutes": None, "epochs": 3}),
        (["epochs=3", "minutes=2"], {"minutes": 2.0, "epochs": 3}),
        ([], {}),
    ],
)
def test_what_was_typed_is_read(typed, expected):
    assert read_assignments(typed) == expected


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("network.name", "'network.name' does not set anything; give NAME=VALUE"),
        ("=3", "does not set anything"),
        ("norm=batch", r"no setting 'norm'. Did you mean network.norm\?"),
        ("batchsize=3", r"Did you mean batch_size"),
        ("network=unet", r"Did you mean network.name or network.filters"),
        ("xyzzy=3", "Known: epochs, minutes, batch_size"),
        (
            "network.name=resnet",
            "'network.name=resnet': name is 'resnet'; give unet, resunet, shallow, unext, efficientnet",
        ),
        ("watch_erosion=maybe", "watch_erosion is 'maybe'; give True or False"),
        ("batch_size=2.5", "batch_size is '2.5'; give a whole number"),
        ("learning_rate=fast", "give a number"),
        ("learning_rate=none", "give a number"),
        ("learning_rate=0", "learning_rate is 0.0; give a number above 0, below 10."),
        ("augmentation.zoom=2", "zoom is '2'; give two numbers from 0.1 to 10, the smaller first"),
        ("network.filters=8, a", "filters is 'a'; give a whole number from 1 to 2048"),
    ],
)
def test_what_cannot_be_read_is_refused(typed, words):
    with pytest.raises(SettingsError, match=words):
        read_assignments([typed])
