"""The card beside a model's file: numbers without names, kept fields of the author, never half written."""

import os
from dataclasses import replace

import pytest
from kills import fail_everywhere
from untrained import made_up_model

from autoseg.image.structures import Structure
from autoseg.model.card import card_path, describe_model, read_filled, save_with_card, write_card
from autoseg.model.model import describe_origin, load_model, model_digest
from autoseg.model.trust import Calibration, Profile, Trust

PROFILE = Profile(
    **{"subjects": 11, "validated": 2, "window": (16, 16), "dice": (0.912, None), "area_error": (0.043, None)},
    images=({"pixel_mm": (0.7, 0.7), "slice_mm": 4.0, "modality": "MR"}, {"pixel_mm": (0.9, 0.9)}),
    structures=(
        {"label": 1, "in_mm": True, "area": (90.0, 1210.0), "row": (0, 1), "column": (0, 1), "pieces": (1, 1)},
    ),
)
KNOWN = Calibration("folds", "2026-03-02", 11, "mm²", ("psoas", "gracilis"), (), 0.9, (0.93, None))


@pytest.fixture
def model():
    return replace(made_up_model(), trust=Trust(PROFILE, None, KNOWN))


def test_a_card_stands_beside_every_saved_model(model, tmp_path):
    path = save_with_card(model, tmp_path / "thigh_3.pt")
    words = card_path(path).read_text(encoding="utf-8")
    assert card_path(path).name == "thigh_3_MODEL_CARD.md"
    for line in (
        "# Model card: thigh",
        "| Patients learnt from | 9 |",
        "| Size of a pixel | 0.7 to 0.9 mm |",
        "| Areas of psoas | 90 to 1,210 mm² on a slice |",
        "| psoas | 0.200 | 0.912 | 4.3 % | 93 % |",
        "Intervals of 90 % rest on the errors on 11 patients",
        "| Pixel size, mm | 0.75 |",
        "| preprocess.spacing\\_mm |",
        f"| Digest | {model_digest(model)} |",
        "- **Licence of the weights:** _to be filled in by the author_: for instance CC BY 4.0",
    ):
        assert line in words, line


def test_what_the_author_filled_in_stays(model, tmp_path):
    path = save_with_card(model, tmp_path / "thigh_3.pt")
    card = card_path(path)
    words = card.read_text(encoding="utf-8")
    words = words.replace(
        "weights:** _to be filled in by the author_: for instance CC BY 4.0", "weights:** CC0 1.0"
    )
    card.write_text(words, encoding="utf-8")
    assert read_filled(card) == {"Licence of the weights": "CC0 1.0"}
    save_with_card(replace(load_model(path), best_epoch=3), path)
    assert "- **Licence of the weights:** CC0 1.0" in card.read_text(encoding="utf-8")
    assert "best epoch (3)" in card.read_text(encoding="utf-8")


def test_a_card_names_no_patient_and_a_name_is_no_part_of_the_page(model):
    origin = describe_origin(["Miller", "P123456"], ["Smith"], 40)
    odd = (Structure(1, "a|b\n# c"), Structure(2, "<i>gracilis"))
    words = describe_model(replace(model, origin={**model.origin, **origin}, structures=odd))
    for name in ("Miller", "P123456", "Smith", *origin["subject_fingerprints"]):
        assert name not in words
    assert "| a\\|b \\# c |" in words
    assert "\\<i\\>gracilis" in words
    lines = [line for line in words.splitlines() if line.startswith("#")]
    assert len(lines) == 7


def test_model_and_card_are_written_together_or_not_at_all(model, tmp_path):
    path = tmp_path / "thigh_3.pt"
    save_with_card(model, path)
    better = replace(model, best_epoch=3)

    def look(folder):
        text = (folder / "thigh_3_MODEL_CARD.md").read_text(encoding="utf-8")
        return load_model(folder / "thigh_3.pt").best_epoch, "best epoch (3)" in text, sorted(os.listdir(folder))

    before = look(tmp_path)
    assert before[:2] == (2, False)
    fail_everywhere(tmp_path, lambda: save_with_card(better, path), lambda: look(tmp_path))
    write_card(better, path)
    assert look(tmp_path)[1]
