"""What a start that knows pictures is worth: networks in pairs, on the same folds, for the same time.

    python benchmarks/pretrained.py FOLDER [--minutes 1 3 10] [--seeds 5] [--fold 1] [--crop-mm 60 60]
    python benchmarks/pretrained.py FOLDER --everyone          nobody is kept apart to choose the epoch by
    python benchmarks/pretrained.py FOLDER --cpu-minutes 1 3     where the machine is not quiet

Every network learns with the plan's settings for the folder, no number typed, from the same subjects of a fold
(`k_folds`, as in a cross-validation), chooses its epoch on the same others, gets its offsets, and is scored on the
fold's subjects: Dice (mean over subjects), pooled Dice, and the summed area against the drawn one, structure by
structure. With `--minutes` each learns for that time, everything counted; run that on a quiet machine. With
`--cpu-minutes` a step of each network is timed first, in seconds of one processor thread, and each learns for as
many epochs as that time suffices for, so that a busy machine changes the duration and hardly the result. Lines are
JSON in `--output`, to which a later run adds and from which it goes on; the table is made of all of them.
"""

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch

from autoseg.data.cases import CaseFolder, find_cases
from autoseg.data.split import Split, k_folds
from autoseg.evaluation.comparison.own_entries import read_entries
from autoseg.measurement.scores import score_slices
from autoseg.measurement.summary import summarise
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.prediction import predict
from autoseg.training import step as training_step
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.plan import change_settings, plan_settings
from autoseg.training.recipes import recipe
from autoseg.training.training import train
from autoseg.training.trust import with_offsets

# As "efficientnet", without what it knows of photographs.
RANDOM = "efficientnet, random start"
# Validated about so often, where epochs are counted: an epoch of few slices is short.
VALIDATIONS = 8
TIMED_STEPS = 6


def entry(name: str, base: Settings) -> Settings:
    """Give the settings of a recipe, or of an entry as `autoseg compare --entry` takes it."""
    if name == RANDOM:
        return recipe("efficientnet", base=base)
    return next(iter(read_entries([name], base).values())) if ":" in name else recipe(name, base=base)


def time_step(split: Split, settings: Settings, structures) -> tuple[float, int]:
    """Give the processor's seconds of a step on one thread, and how many steps an epoch has."""
    material = training_step.read_material(split, settings, structures, None, digests=False)
    step, generator, seconds = training_step.Step(material, structures), torch.Generator().manual_seed(0), []
    count = len(material.slices)
    for _ in range(TIMED_STEPS):
        indices = torch.randint(count, (settings.batch_size,), generator=generator)
        start = time.process_time()
        batch = material.slices.sample(indices, augmentation=settings.augmentation, generator=generator)
        float(step.learn(batch, 1e-3, 0.0))
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:]), math.ceil(count / settings.batch_size)


def measure(name: str, found: CaseFolder, split: Split, settings: Settings, cpu_minutes: float | None) -> dict:
    """Let one network learn and score it on the fold's subjects."""
    begin = training_step.begin
    if name == RANDOM:
        training_step.begin = lambda network: ""
    try:
        row: dict[str, object] = {}
        if cpu_minutes is not None:
            torch.set_num_threads(1)
            seconds, per_epoch = time_step(split, settings, found.structures)
            epochs = max(1, round(60 * cpu_minutes / (seconds * per_epoch)))
            every = max(1, epochs // VALIDATIONS)
            settings = change_settings(settings, {"minutes": None, "epochs": epochs, "validate_every": every})
            row = {"cpu_ms_per_step": round(1000 * seconds, 1), "steps": epochs * per_epoch}
        start, cpu = time.perf_counter(), time.process_time()
        ended: list[TrainedModel] = []

        def keep(_: object, __: object, last: TrainedModel) -> None:
            ended[:] = [last]

        model = train(split, settings, structures=found.structures, on_epoch=keep)
        row |= {"wall_s": round(time.perf_counter() - start, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    finally:
        training_step.begin = begin
    start = time.process_time()
    row["structures"] = score(model, split, found)
    row["predicted_cpu_s"] = round(time.process_time() - start, 1)
    row |= {"epochs": len(model.history), "best_epoch": model.best_epoch}
    row["validation"] = [one.validation_dice for one in model.history]
    if model.best_epoch < len(model.history):
        row["structures_of_last"] = score(ended[-1], split, found)
    return row


def score(model: TrainedModel, split: Split, found: CaseFolder) -> dict[str, dict[str, float]]:
    """Score a model with its offsets on the fold's subjects, structure by structure."""
    model, scores = with_offsets(model, split), []
    for case in split.test:
        image, reference = read_reference(case, found.structures)
        scores += score_slices(reference, predict(model, image))
    kept = ("dice", "dice_pooled", "total_area_error_percent")
    return {
        str(one.name): {key: round(float(getattr(one, key)), 4) for key in kept}
        for one in summarise(scores).itertuples()
    }


def show(rows: list[dict]) -> None:
    """Print a line for each time and network: means over folds and seeds, and of how many."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        name = row["network"] + " (learns from all)" * row.get("everyone", False)
        groups.setdefault((row["folder"], row["minutes"], name), []).append(row)
    print(f"\n{'':14}{'minutes':>8} {'network':30}{'runs':>5}{'CPU ms/step':>12}{'steps':>7}  Dice (area error)")
    for (folder, minutes, network), own in sorted(groups.items()):
        names = list(own[0]["structures"])
        words = [
            f"{one} {_mean(own, one, 'dice'):.3f} ({_mean(own, one, 'total_area_error_percent'):+.1f} %)"
            for one in names
        ]
        mean = statistics.mean(_mean(own, one, "dice") for one in names)
        step = statistics.median(row.get("cpu_ms_per_step", math.nan) for row in own)
        steps = statistics.median(row.get("steps", math.nan) for row in own)
        print(
            f"{folder[:13]:14}{minutes:8g} {network[:29]:30}{len(own):5}{step:12.0f}{steps:7.0f}  mean {mean:.3f}; "
            + ", ".join(words)
        )


def _mean(rows: list[dict], structure: str, key: str) -> float:
    values = [row["structures"][structure][key] for row in rows if structure in row["structures"]]
    known = [value for value in values if not math.isnan(value)]
    return statistics.mean(known) if known else math.nan


def main() -> None:
    """Measure whatever the output does not have yet, in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, nargs="*", default=[1.0, 3.0, 10.0])
    length.add_argument("--cpu-minutes", type=float, nargs="*")
    parser.add_argument("--networks", nargs="*", default=["unet", "efficientnet", RANDOM])
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--fold", type=int, nargs="*", default=[1], help="which of them, from 1 on")
    parser.add_argument("--crop-mm", type=float, nargs=2)
    parser.add_argument("--spacing-mm", type=float)
    parser.add_argument("--input-shape", type=int, nargs=2)
    parser.add_argument("--everyone", action="store_true", help="learn from those too by whom the epoch is chosen")
    parser.add_argument("--output", type=Path, default=Path("pretrained.jsonl"))
    chosen = parser.parse_args()
    rows = [json.loads(line) for line in chosen.output.read_text().splitlines()] if chosen.output.exists() else []
    if chosen.folder is not None:
        rows += learn_all(chosen, rows)
    show(rows)


def learn_all(chosen: argparse.Namespace, before: list[dict]) -> list[dict]:
    """Measure every time, fold, seed and network, the networks side by side; keep each as it is done."""
    found = find_cases(chosen.folder, unlabelled="skip")
    typed = {f"preprocess.{name}": getattr(chosen, name) for name in ("crop_mm", "spacing_mm", "input_shape")}
    typed = {name: tuple(v) if isinstance(v, list) else v for name, v in typed.items() if v is not None}
    rows: list[dict] = []
    for minutes in chosen.cpu_minutes or chosen.minutes:
        for seed in range(chosen.seeds):
            splits = k_folds(found.cases, folds=chosen.folds, seed=1)
            for number in chosen.fold:
                split = splits[number - 1]
                given = change_settings(Settings(), typed)
                reserved = {case.subject_id for case in split.test}
                plan = plan_settings(
                    found,
                    minutes=minutes,
                    seed=seed,
                    test_subjects=reserved,
                    spatial_dims=2,
                    given=given,
                    typed=typed,
                )
                for name in chosen.networks:
                    key = {
                        "folder": chosen.folder.name,
                        "by": "cpu" if chosen.cpu_minutes else "clock",
                        "minutes": minutes,
                        "seed": seed,
                        "fold": number,
                        "network": name,
                        "typed": sorted(typed),
                        "everyone": chosen.everyone,
                    }
                    if any(key.items() <= row.items() for row in before):
                        continue
                    settings = entry(name, plan.settings)
                    if chosen.everyone:
                        split = Split(training=split.training + split.validation, test=split.test)
                    cpu_minutes = minutes if chosen.cpu_minutes else None
                    row = key | measure(name, found, split, settings, cpu_minutes)
                    with chosen.output.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(json.dumps(row), flush=True)
                    rows.append(row)
    return rows


if __name__ == "__main__":
    main()
