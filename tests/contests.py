"""Small comparisons in the background, for the tests of their panels: made-up discs, quick networks."""

import json
from dataclasses import asdict, replace

import pandas as pd
from discs import STRUCTURES, make_case, make_pair, patch_reading, quick_settings

from autoseg.data.cases import CaseFolder
from autoseg.evaluation.comparison import Comparison, SideBySide
from autoseg.evaluation.comparison.scenarios import scenarios_of
from autoseg.evaluation.comparison.tables import COLUMNS, DIFFERENCES
from autoseg.model.settings.settings import NetworkSettings, Settings, settings_to_dict
from autoseg.panels.comparison import contest as running
from autoseg.panels.parts.values import Contest

ROWS = (
    {"entry": "unet", "title": "U-Net", "dice": 0.812, "dice_low": 0.71, "dice_high": 0.9, "hd95_mm": 3.25},
    {"entry": "resunet", "title": "ResUNet", "dice": 0.871, "dice_low": 0.8, "dice_high": 0.93, "hd95_mm": 2.5},
)
COST = {"parameters": 5_155_412, "multiply_adds": 1.25e9, "training_seconds": 120.4, "ms_per_slice": 12.345}
PAIR = {
    "entry": "resunet",
    "other": "unet",
    "n_subjects": 4,
    "dice_difference": 0.059,
    "dice_difference_low": -0.01,
    "dice_difference_high": 0.12,
    "p": 0.0312,
    "p_corrected": 0.0624,
}


def alone(monkeypatch, folder):
    """Let comparisons read made-up cases, and have a turn and a registry of their own."""
    patch_reading(monkeypatch)
    # The panels draw their own; test_comparison.py looks at the files.
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)
    monkeypatch.setattr("autoseg.panels.parts.background.turn_file", lambda: folder / "turn.lock")
    monkeypatch.setattr(running, "_COMPARISONS", {})


def make_contest(folder, patients=4, folds=2, epochs=2, names=("unet", "resunet"), **changes):
    cases = CaseFolder(folder, tuple(make_case(number) for number in range(patients)), STRUCTURES)
    entries = {
        name: quick_settings(epochs=epochs, network=NetworkSettings(name=name, filters=(8, 16, 32)))
        for name in names
    }
    named = {"name": "discs", "folder": folder / "discs_comparison"} | changes
    return Contest(cases, entries, folds, **named)


def make_ways(folder, base, names=("original", "from scratch", "all parts"), *, patients=4, **changes):
    """Give a contest of ways to fine-tune a model."""
    entries = scenarios_of(base, STRUCTURES, names=names, epochs=1)
    place = folder / "ways_comparison"
    return replace(make_contest(folder, patients), entries=entries, folder=place, what="way", **changes)


def make_comparison(folder, **changes):
    """Give a comparison with known numbers and two slices."""
    rows = [
        row | COST | {"structure": name, "label": label, "n_subjects": 4, "area_bias_percent": -3.5 * label}
        for row in ROWS
        for label, name in ((1, "core"), (5, "ring"), (0, "mean"))
    ]
    pairs = [PAIR | {"structure": name} for name in ("mean", "core", "ring")]
    slices = []
    for number in (3, 1):
        image, reference = make_pair(number)
        predicted = {"unet": reference.one_slice(0), "resunet": reference.one_slice(0)}
        slices.append(
            SideBySide(
                case_id=f"case of subject{number}",
                number=number + 1,
                slice_index=7,
                image=image.one_slice(0),
                reference=reference.one_slice(0),
                predicted=predicted,
                dice={"unet": 0.25, "resunet": 0.75},
            )
        )
    named = {
        "folder": folder,
        "runs": {},
        "table": pd.DataFrame(rows, columns=COLUMNS),
        "differences": pd.DataFrame(pairs, columns=DIFFERENCES),
        "verdict": "ResUNet is best, but not for subject2.",
        "notes": ("A note on subject1.",),
        "worst": tuple(slices),
        "structures": STRUCTURES,
    }
    return Comparison(**(named | changes))


def begin(contest, *, derived=(), **time):
    """Write what `compare` keeps of a comparison, with one finished training."""
    place = contest.folder / next(iter(contest.entries)) / "fold_1"
    place.mkdir(parents=True)
    (place / "fold.json").write_text("{}")
    state = {
        "entries": list(contest.entries),
        "folds": contest.folds,
        "structures": [asdict(one) for one in STRUCTURES],
        "derived": dict.fromkeys(derived, ""),
        "failed": {},
        "notes": [],
        "base": settings_to_dict(replace(Settings(), **time)),
    }
    (contest.folder / "comparison.json").write_text(json.dumps(state))
