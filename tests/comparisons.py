"""Made-up comparisons: asked for, learnt at once, or with scores by subject as they are wanted."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch
from discs import STRUCTURES as DISCS
from discs import make_case, make_pair, patch_reading, quick_settings

from autoseg.evaluation.comparison import Comparison, ComparisonRequest, SideBySide
from autoseg.evaluation.comparison.compared import State, put_together
from autoseg.evaluation.comparison.forecast import forecast_of
from autoseg.evaluation.comparison.scenarios import scenarios_of
from autoseg.evaluation.comparison.tables import COLUMNS, DIFFERENCES
from autoseg.evaluation.crossvalidation import FoldCost, FoldResult, Scenario, gather
from autoseg.image.structures import Structure
from autoseg.measurement.scores import PixelScore, Score, accuracy_ratios, overlap_ratios
from autoseg.model.ended import Ended
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import NetworkSettings, Settings, settings_to_dict
from autoseg.panels.comparison import running
from autoseg.panels.parts.background import Kernel

STRUCTURES = (Structure(1, "core"), Structure(5, "ring"))
PIXELS, SLICE = 1000, 4096


def make_score(subject, structure, dice, *, more=0, calibrated=True):
    """Give the score of a slice with about this Dice; `more` pixels are predicted than drawn."""
    predicted = PIXELS + more
    overlap = round(dice * (PIXELS + predicted) / 2)
    area = {"reference_mm2": float(PIXELS), "predicted_mm2": float(predicted), "area_error_mm2": float(more)}
    return Score(
        case_id=f"case of {subject}",
        subject_id=subject,
        slice_index=0,
        level="",
        label=structure.label,
        name=structure.name,
        **overlap_ratios(PIXELS, predicted, overlap),
        **accuracy_ratios(PIXELS, predicted, overlap, SLICE),
        hd95_mm=3.0 if calibrated else None,
        nsd=0.9 if calibrated else None,
        nsd_tolerance_mm=1.0,
        mean_distance_mm=1.0 if calibrated else None,
        reference_pixels=PIXELS,
        predicted_pixels=predicted,
        overlap_pixels=overlap,
        slice_pixels=SLICE,
        area_error_percent=100 * more / PIXELS,
        **(area if calibrated else dict.fromkeys(area)),
    )


def make_folds(dice, *, structures=STRUCTURES[:1], cost=None, folds=2, more=0, calibrated=True):
    """Give the folds of an entry from the Dice of its subjects, which take turns in the folds."""
    found = []
    for number in range(1, folds + 1):
        own = [(k, value) for k, value in enumerate(dice) if k % folds == number - 1 and value is not None]
        scores = [
            make_score(f"subject{k}", s, value, more=more, calibrated=calibrated)
            for k, value in own
            for s in structures
        ]
        pixels = [
            PixelScore(f"case of subject{k}", f"subject{k}", SLICE, SLICE - 100, SLICE - PIXELS) for k, _ in own
        ]
        costs = FoldCost(**(cost or {}))
        found.append(FoldResult(number, Path(f"fold_{number}"), tuple(scores), (), "", costs, tuple(pixels)))
    return found


def make_comparison(entries, *, folder=Path("nowhere"), folds=2, failed=None, derived=None, notes=(), learnt=None):
    """Give a comparison from the folds of each entry; a forecast if it is known from how many each has learnt."""
    proper = tuple(entry for entry in entries if entry not in (derived or {}))
    state = State(proper, folds, STRUCTURES, derived or {}, failed or {}, notes, learnt=learnt or {})
    return put_together(folder, state, entries)


def forecast_folds(*, patients=12, folds=3, structures=STRUCTURES[:1], better=0.6):
    """Give the folds of U-Nets that learnt from 2, 4 and 8 patients and 16, and from how many each did.

    Their errors are lower by the factor `better` from size to size.
    """
    entries, learnt = {}, {}
    for step, size in enumerate((2, 4, 8, 16)):
        name = "unet" if size == 16 else f"unet with {size} subjects"
        # Half of the patients are harder than the others; errors of the area are as many pixels as of the Dice.
        errors = [0.2 * better**step * (1.2 if k % 2 else 0.8) for k in range(patients)]
        found = [
            make_folds(
                [1 - error if k == place else None for k, error in enumerate(errors)],
                structures=structures,
                folds=folds,
                more=-round(PIXELS * errors[place]),
            )
            for place in range(patients)
        ]
        entries[name] = [
            replace(
                same[0],
                scores=tuple(score for fold in same for score in fold.scores),
                pixels=tuple(pixels for fold in same for pixels in fold.pixels),
            )
            for same in zip(*found, strict=True)
        ]
        learnt[name] = float(size)
    return entries, learnt


def make_forecast(entries, learnt):
    """Give the forecast of these folds, without all other tables of a comparison."""
    return forecast_of({name: gather(Path("nowhere") / name, own) for name, own in entries.items()}, learnt)


# --- asked for, learnt and shown by panels

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
    """Let comparisons read made-up cases and learn at once, and have a turn and a registry of their own.

    Give what holds trainings (`learn_at_once`).
    """
    patch_reading(monkeypatch)
    holds = learn_at_once(monkeypatch)
    # The panels draw their own; test_comparison.py looks at the files.
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)
    monkeypatch.setattr("autoseg.panels.parts.background.turn_file", lambda: folder / "turn.lock")
    monkeypatch.setattr(running, "COMPARISONS", Kernel())
    for name, value in {"GLANCE_S": 0.02, "SLOWLY_EVERY_S": 0.02, "SLOWLY_SHARE": 1.0}.items():
        monkeypatch.setattr(f"autoseg.panels.parts.follows_work.{name}", value)
    return holds


def learn_at_once(monkeypatch, *, epoch_s=0.01):
    """Let comparisons train in no time: networks with random weights, whose epochs are told one after the other.

    Give a dict that holds trainings: one of the name "unet_fold1" waits after so many epochs until it is let go.
    """
    holds = {}

    def train(split, settings, *, structures, name, on_epoch, should_stop, **_):
        network = build_network(
            settings.network, in_channels=1, out_channels=len(structures) + 1, spatial_dims=settings.spatial_dims
        )
        model = TrainedModel(name, settings, structures, ("image",), network.state_dict(), best_epoch=1)
        epochs, ended = settings.epochs or 2, Ended.COMPLETE
        for n in range(1, epochs + 1):
            time.sleep(epoch_s)
            while n > holds.get(name, n) and not should_stop():
                time.sleep(0.005)
            if should_stop is not None and should_stop():
                ended = Ended.STOPPED
                break
            row = EpochResult(n, 1 / n, 1e-3, n * epoch_s, (epochs - n) * epoch_s, 0.5, n / (n + 1), (0.5, None))
            model = replace(model, history=(*model.history, row))
            on_epoch(row, model, model)
        return replace(model, origin={"ended_by": ended.value, "ended": ended.value})

    torch.manual_seed(0)
    monkeypatch.setattr("autoseg.evaluation.crossvalidation.run.train", train)
    return holds


def make_request(folder, patients=4, folds=2, epochs=2, names=("unet", "resunet"), **changes):
    """Ask for a comparison of small networks on discs; `minutes` in place of epochs, if they are given."""
    minutes = changes.pop("minutes", None)
    cases = tuple(make_case(number) for number in range(patients))
    time = {"epochs": epochs if minutes is None else None, "minutes": minutes}
    entries = {
        name: Scenario(quick_settings(**time, network=NetworkSettings(name=name, filters=(8, 16, 32))))
        for name in names
    }
    named = {"entries": entries, "folder": folder / "discs_comparison", "folds": folds} | changes
    return ComparisonRequest(cases, DISCS, **named)


def make_scenarios(folder, base, names=("original", "from scratch", "all parts"), *, patients=4, **changes):
    """Ask for a comparison of scenarios of fine-tuning a model."""
    time = {"minutes": changes.pop("minutes")} if "minutes" in changes else {"epochs": 1}
    entries = scenarios_of(base, DISCS, names, changes=time)
    request = make_request(folder, patients, entries=entries, **changes)
    return replace(request, folder=folder / "scenarios_comparison")


def known_comparison(folder, **changes):
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
        image = replace(image, source=replace(image.source, first_slice=8))
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
        "structures": DISCS,
    }
    return Comparison(**(named | changes))


def begin(request, *, derived=(), **time):
    """Write what `compare` keeps of a comparison, with one finished training."""
    place = request.folder / next(iter(request.entries)) / "fold_1"
    place.mkdir(parents=True)
    (place / "fold.json").write_text("{}")
    state = {
        "entries": list(request.entries),
        "folds": request.folds,
        "structures": [asdict(one) for one in DISCS],
        "derived": dict.fromkeys(derived, ""),
        "failed": {},
        "notes": [],
        "base": settings_to_dict(replace(Settings(), **time)),
    }
    (request.folder / "comparison.json").write_text(json.dumps(state))
