"""Make the models that come with autoseg, and measure whether one learnt on all their images is a better start.

    python benchmarks/box.py learn --into /tmp/box         folds and models: hours on one thread
    python benchmarks/box.py ship --into /tmp/box          measure, and copy those that are good enough into autoseg
    python benchmarks/box.py base --into /tmp/box          each set begun from a base of the others, or photographs

Every set may be given away, and is learnt from as it is: hearts from `data/sample/train` (not the sample's test
patient, from whom nobody has learnt here), spines and cords from `../shared/data`. The network is
EfficientNet-lite0 without its deepest stage, which knows photographs and makes files of 4 MB. Nothing is planned by
the computer's speed, one thread learns, and epochs are counted, so that any computer makes about the same models.
Each model learns from all patients of its set and keeps the last epoch: what it is worth is measured by folds, in
which twins of it segment patients whom they never saw. What is done is kept, fold by fold, and not done again.

A base learns two sets at once, structures of the one not drawn in the other, on slices brought to one size. Then
the third set is learnt with its own settings for few steps: from photographs, and from the base.
"""

import argparse
import json
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch
from PIL import Image

from autoseg.data.cases import CaseFolder, Reading, find_cases, read_case
from autoseg.data.split import Split, k_folds, split_cases
from autoseg.errors import ModelFileError
from autoseg.evaluation.calibrate import calibrate_by_folds
from autoseg.evaluation.crossvalidation import cross_validate
from autoseg.measurement.scores import score_slices
from autoseg.measurement.summary import summarise
from autoseg.model.model import TrainedModel, find_model, load_model, save_model
from autoseg.model.settings.settings import Settings
from autoseg.model.shipped import box_path
from autoseg.prediction import predict
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.plan import change_settings
from autoseg.training.save import train_and_save
from autoseg.training.training import train
from autoseg.training.trust import with_offsets

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
NETWORK = {"network.name": "efficientnet", "network.filters": (16, 24, 40, 80), "batch_size": 4}
# What a model's main structure, the first of its set, must reach in folds to be given to anybody.
GOOD_ENOUGH = 0.7


@dataclass(frozen=True)
class Set:
    """Images that may be given away, and how a model learns them.

    `names` replace those of structures in files. Of cases in `drawn` only these slices are taken, counted from 1.
    """

    name: str
    folder: str
    epochs: int
    fold_epochs: int
    folds: int
    source: str
    settings: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)
    drawn: dict = field(default_factory=dict)


SETS = (
    Set(
        "heart",
        "sample",
        24,
        24,
        4,
        "Sunnybrook Cardiac Data, 4 patients, public domain (CC0 1.0). Credit: Radau et al., The MIDAS Journal "
        "2009, hdl.handle.net/10380/3070",
        {"preprocess.spacing_mm": 2.5},
    ),
    Set(
        "cord",
        "cord-gm-t2star-bids",
        60,
        60,
        4,
        "Spinal Cord Gray Matter Imaging Challenge 2018, 4 patients, public domain (CC0 1.0). Credit: "
        "github.com/sct-pipeline/gm-challenge-data",
        {
            # With crops of 60 mm at 0.5 mm grey matter was not found at all (Dice 0.000).
            "preprocess.spacing_mm": 0.3,
            "preprocess.crop_mm": (32.0, 32.0),
            "learning_rate": 0.001,
            "augmentation.rotation_deg": 20.0,
            "augmentation.flip_probability": 0.5,
        },
        {"seg-manual": "cord", "gmseg-manual": "grey matter"},
        # Nobody drew on its last six slices, on which cord can be seen (but for one stray pixel on slice 18).
        {"sub-9604_run-1_T2starw": "1-14"},
    ),
    Set(
        "lumbar spine",
        "lumbar-spider-sagittal-png",
        28,
        28,
        3,
        "SPIDER, 10 patients, CC BY 4.0 (creativecommons.org/licenses/by/4.0), resampled to PNG. Credit: van der "
        "Graaf et al., Scientific Data 11:264, 2024, doi 10.1038/s41597-024-03090-w",
        {"preprocess.input_shape": (192, 160), "augmentation.rotation_deg": 20.0},
        {"label 29": "disc", "label 76": "vertebra", "label 150": "canal"},
    ),
)
# The base's, and those of a set that is learnt from it or from photographs for few steps.
BASE_SHAPE, BASE_EPOCHS, SHORT_STEPS, FOLDS_OF_STARTS = (144, 128), 8, 80, (1, 2)


def main() -> None:
    """Make what is asked for and is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("learn", "ship", "base"))
    parser.add_argument("--into", type=Path, required=True, help="a folder for folds and models, gone on with")
    parser.add_argument("--shared", type=Path, default=SHARED, help="where the sets lie")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in SETS], metavar="SET")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    sets = [one for one in SETS if chosen.only is None or one.name in chosen.only]
    if chosen.what == "base":
        leave_out(sets, chosen.shared, chosen.into)
        return
    for one in sets:
        path = learn(one, chosen.shared, chosen.into)
        if chosen.what == "ship":
            ship(one, path, chosen.shared, chosen.into)
    print(f"Seconds of the processor: {time.process_time():.0f}", flush=True)


def tell(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def find(one: Set, shared: Path, into: Path) -> CaseFolder:
    """Find the cases of a set, with its structures named as a model shall name them."""
    folder = ROOT / "data" / "sample" / "train" if one.folder == "sample" else shared / one.folder
    if one.drawn:
        folder = mark_drawn(one, folder, into / f"{one.name}_images")
    found = find_cases(folder, unlabelled="skip")
    structures = [replace(each, name=one.names.get(each.name, each.name)) for each in found.structures]
    return replace(found, structures=tuple(structures))


def mark_drawn(one: Set, folder: Path, copy: Path) -> Path:
    """Copy a set and say there on which slices somebody drew, as a user says it."""
    if not copy.exists():
        shutil.copytree(folder, copy)
    found = find_cases(folder, unlabelled="skip")
    rows = [["case_id", "slices", *(each.name for each in found.structures)]]
    rows += [
        [case.case_id, one.drawn.get(case.case_id, ""), *("1" for _ in found.structures)] for case in found.cases
    ]
    (copy / "annotated.csv").write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return copy


def settings_of(one: Set, epochs: int) -> Settings:
    """Give the settings of a set."""
    return change_settings(Settings(), {**NETWORK, **one.settings, "epochs": epochs, "validate_every": 4})


def learn(one: Set, shared: Path, into: Path) -> Path:
    """Learn the folds of a set, and the model from all its patients."""
    found = find(one, shared, into)
    result = cross_validate(
        found.cases,
        found.structures,
        settings_of(one, one.fold_epochs),
        folder=into / f"{one.name}_folds",
        name=one.name,
        folds=one.folds,
        tell=tell,
    )
    tell(f"{one.name}\n{result.summary.to_string()}")
    try:
        return find_model(into, one.name)
    except ModelFileError:
        split = split_cases(found.cases, validation_subjects=())
        settings = settings_of(one, one.epochs)
        return train_and_save(split, settings, structures=found.structures, name=one.name, folder=into, tell=tell)[
            1
        ]


def ship(one: Set, path: Path, shared: Path, into: Path) -> None:
    """Let twins measure a model, and copy it into autoseg if its main structure is good enough."""
    found = find(one, shared, into)
    calibrate_by_folds(path, found.cases, found.structures, folds_from=into / f"{one.name}_folds", tell=tell)
    model = load_model(path)
    dice = model.trust.profile.dice
    names = [structure.name for structure in model.structures]
    tell(f"{one.name}, by folds, all pixels: {dict(zip(names, dice, strict=True))}")
    if (dice[0] or 0) < GOOD_ENOUGH:
        tell(f"{one.name} is not given away: {names[0]} has a Dice of {dice[0]}, less than {GOOD_ENOUGH}.")
        return
    place = save_model(replace(model, origin={**model.origin, "sources": [one.source]}), box_path(one.name))
    tell(f"{place}: {place.stat().st_size / 1e6:.1f} MB\n{load_model(place)!r}")


# --- whether a model learnt on all sets but one is a better start for that one than photographs


def leave_out(sets: list[Set], shared: Path, into: Path) -> None:
    """Learn each set for few steps from photographs and from a base of the others, in pairs; print the table."""
    kept = into / "starts.jsonl"
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    for number in FOLDS_OF_STARTS:
        for one in sets:
            found = find(one, shared, into)
            split = k_folds(found.cases, folds=one.folds, seed=0)[number - 1]
            for start in ("photographs", "base"):
                key = {"set": one.name, "fold": number, "start": start}
                if any(key.items() <= row.items() for row in rows):
                    continue
                base = None if start == "photographs" else base_without(one, shared, into)
                rows.append(key | short(one, found, split, base))
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                tell(json.dumps(rows[-1]))
    for one in sets:
        for start in ("photographs", "base"):
            own = [row["structures"] for row in rows if (row["set"], row["start"]) == (one.name, start)]
            for name in own[0] if own else ():
                dice, error = (np.mean([row[name][k] for row in own]) for k in ("dice", "area_error_percent"))
                tell(f"{one.name:14}{start:13}{len(own)} folds  {name:13} Dice {dice:.3f}, area {error:+.1f} %")


def short(one: Set, found: CaseFolder, split: Split, base: TrainedModel | None) -> dict:
    """Learn for `SHORT_STEPS` with the set's own settings, all of the network, and score the fold's subjects."""
    slices = sum(read_case(case, found.structures)[1].shape[0] for case in split.training)
    epochs = max(1, round(SHORT_STEPS / np.ceil(slices / NETWORK["batch_size"])))
    settings = change_settings(settings_of(one, epochs), {"validate_every": epochs, "finetune.frozen": ()})
    start = time.process_time()
    model = train(split, settings, structures=found.structures, base=base)
    seconds = time.process_time() - start
    model = with_offsets(model, split)
    scores = []
    for case in split.test:
        image, reference = read_reference(case, found.structures)
        scores += score_slices(reference, predict(model, image))
    measured = {
        str(row.name): {"dice": row.dice, "area_error_percent": row.total_area_error_percent}
        for row in summarise(scores).itertuples()
    }
    return {"epochs": epochs, "slices": slices, "cpu_s": round(seconds, 1), "structures": measured}


def base_without(left_out: Set, shared: Path, into: Path) -> TrainedModel:
    """Give what was learnt on all other sets together; learn it where that was not done."""
    name = f"without {left_out.name}"
    try:
        return load_model(find_model(into, name))
    except ModelFileError:
        found = put_together([one for one in SETS if one != left_out], shared, into, into / f"{name}_data")
    settings = {**NETWORK, "preprocess.input_shape": BASE_SHAPE, "epochs": BASE_EPOCHS}
    split = split_cases(found.cases, validation_subjects=())
    learnt = train_and_save(
        split,
        change_settings(Settings(), settings),
        structures=found.structures,
        name=name,
        folder=into,
        tell=tell,
    )
    return learnt[0]


def put_together(sets: list[Set], shared: Path, into: Path, folder: Path) -> CaseFolder:
    """Write the slices of sets as pictures into one folder, with a table of what was drawn on which."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    names, subjects = ["background"], {}
    drawn: dict[str, list[str]] = {}
    for one in sets:
        found = find(one, shared, into)
        names += [structure.name for structure in found.structures]
        places = {structure.label: names.index(structure.name) for structure in found.structures}
        table = np.array([places.get(label, 0) for label in range(256)], dtype=np.uint8)
        for case in found.cases:
            image, labels = read_case(case, found.structures)
            own = [s.name for s in found.structures if labels.is_annotated(s.label)]
            voxels = image.voxels if image.voxels.ndim == 3 else image.voxels[0]
            for number, slice_ in enumerate(voxels):
                low, high = np.percentile(slice_, (0.5, 99.5))
                grey = np.clip((slice_ - low) / max(high - low, 1e-6), 0, 1)
                name = f"{one.name.replace(' ', '-')}-{case.case_id}-{number}"
                Image.fromarray((255 * grey).astype(np.uint8)).save(folder / "images" / f"{name}.png")
                Image.fromarray(table[labels.voxels[number]]).save(folder / "labels" / f"{name}.png")
                drawn[name], subjects[name] = own, f"{one.name} {case.subject_id}"
    rows = [",".join(["case_id", *names[1:]])]
    rows += [",".join([case, *("1" if name in own else "0" for name in names[1:])]) for case, own in drawn.items()]
    (folder / "annotated.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["label,name"] + [f"{label},{name}" for label, name in enumerate(names) if label]
    (folder / "structures.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = find_cases(folder, reading=Reading(single_pictures=True))
    cases = tuple(replace(case, subject_id=subjects[case.case_id]) for case in found.cases)
    return replace(found, cases=cases)


if __name__ == "__main__":
    main()
