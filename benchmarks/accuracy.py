"""Held-out Dice against nnU-Net's own 2-D recipe: same machine, same subjects, same minutes.

    python benchmarks/accuracy.py [--data ../shared/data/hippocampus-msd] [--minutes 5] [--parts 1 2 5 10]
    python benchmarks/accuracy.py --alone --dims 3 --splits ../shared/hippocampus66_splits.json --minutes 5.18

The subjects of the folder (its `images` and `labels`) are split by `k_folds` (or by `--splits`, a JSON list of
{"train": [...], "val": [...]} as nnU-Net has it) and the first fold is taken. nnU-Net learns from the fold's
training and validation subjects for the minutes of the budget. Ours learns with the plan's settings, no number
typed, for the budget and for its 2nd, 5th and 10th part, and chooses its epoch on the validation subjects. Both
predict the test subjects with all that is their own, and both are scored by the same code on the images' own grids.
The peer gets an environment of its own outside the repository (`--peer`); where it cannot be made, the benchmark
says so and ends. `--alone` leaves the peer out, `--dims` has the plan take slices or volumes. Run it on a quiet
machine.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import nibabel
import numpy as np

from autoseg.data.cases import CaseFolder, find_cases
from autoseg.data.split import Split, k_folds
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.scores import score_volume
from autoseg.model.settings.settings import Settings
from autoseg.prediction import predict
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.plan import plan_settings
from autoseg.training.training import train

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "hippocampus-msd"
PEER = Path(tempfile.gettempdir()) / "autoseg-peer-nnunet"
SCRIPT = Path(__file__).parent / "peers" / "nnunet_2d.py"
NAME = "Dataset001_peer"


def make_peer(place: Path) -> Path | None:
    """Give the Python of the peer's environment, made if it is not there; None where that fails."""
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"Making the peer's environment in {place} …", flush=True)
        venv.create(place, with_pip=True)
    pinned = place / "constraints.txt"
    pinned.write_text("torch==2.13.0\n")
    for wanted in ("torch==2.13.0", "nnunetv2==2.8.1"):
        done = subprocess.run([python, "-m", "pip", "install", "-q", "-c", pinned, wanted], check=False)
        if done.returncode:
            print(f"nnU-Net cannot be installed here ({wanted} failed), so nothing is compared.")
            return None
    return python


def copy_pairs(folder: Path) -> Path:
    """Copy the images that have a label, and the labels that have an image, into a temporary folder."""
    clean = Path(tempfile.mkdtemp(prefix="autoseg_accuracy_"))
    images, labels = ({path.name for path in (folder / side).iterdir()} for side in ("images", "labels"))
    for side in ("images", "labels"):
        (clean / side).mkdir()
        for name in sorted(images & labels):
            shutil.copy(folder / side / name, clean / side / name)
    return clean


def choose_split(found: CaseFolder, splits: Path | None) -> Split:
    """Give the first fold."""
    if splits is None:
        return k_folds(found.cases, folds=5, seed=0)[0]
    fold = json.loads(splits.read_text())[0]
    train_cases = [case for case in found.cases if case.case_id in set(fold["train"])]
    test = tuple(case for case in found.cases if case.case_id in set(fold["val"]))
    # Every eighth validates.
    validation = tuple(train_cases[::8])
    return Split(tuple(case for case in train_cases if case not in validation), validation, test)


def write_peer_data(root: Path, split: Split, structures) -> None:
    """Write the cases in nnU-Net's layout."""
    raw = root / "raw" / NAME
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / name).mkdir(parents=True)
    for case in (*split.training, *split.validation, *split.test):
        image, labels = read_reference(case, structures)
        if len(image.channels) > 1 or not all(labels.is_annotated(s.label) for s in structures):
            sys.exit(f"{case.case_id}: the peer needs images of one channel on which every structure was drawn.")
        testing = case in split.test
        write_nifti(raw / ("imagesTs" if testing else "imagesTr") / f"{case.case_id}_0000.nii.gz", image)
        if not testing:
            write_nifti(raw / "labelsTr" / f"{case.case_id}.nii.gz", labels)
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, **{s.name: k for k, s in enumerate(structures, start=1)}},
        "numTraining": len(split.training) + len(split.validation),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(content))


def write_nifti(path: Path, grid: Image | LabelMap) -> None:
    """Write voxels with their spacing; where they lie in the patient does not matter here."""
    spacing = grid.spacing_mm if grid.affine is not None else (1.0, 1.0, 1.0)
    voxels = grid.voxels.astype(np.uint8 if isinstance(grid, LabelMap) else np.float32)
    # nnU-Net cuts its 2-D slices across the axis with the largest spacing, by equal spacing the first one of these.
    nibabel.save(nibabel.Nifti1Image(voxels.T, np.diag([*spacing[::-1], 1.0])), path)


def score(split: Split, structures, answer) -> dict[str, float]:
    """Give the mean Dice of each structure over the test volumes, and the mean of those."""
    dice: dict[str, list[float]] = {s.name: [] for s in structures}
    for case in split.test:
        image, reference = read_reference(case, structures)
        for row in score_volume(reference, answer(case, image)):
            dice[row.name].append(row.dice)
    means = {name: float(np.mean(values)) for name, values in dice.items()}
    return {**means, "mean": float(np.mean(list(means.values())))}


def peer_answer(root: Path, structures):
    """Give a function that reads the peer's prediction of a case."""

    def answer(case, image: Image) -> LabelMap:
        classes = np.asarray(nibabel.load(root / "predicted" / f"{case.case_id}.nii.gz").dataobj).T.astype(np.uint8)
        table = np.array([0, *(s.label for s in structures)], dtype=np.uint8)
        return LabelMap(table[classes], image.affine, tuple(structures), source=image.source)

    return answer


def learn(split: Split, found: CaseFolder, settings: Settings) -> tuple[dict[str, float], float]:
    """Train ours, predict and score; give the scores and the seconds of prediction."""
    model = train(split, settings, structures=found.structures)
    seconds = 0.0

    def answer(case, image: Image) -> LabelMap:
        nonlocal seconds
        start = time.monotonic()
        result = predict(model, image)
        seconds += time.monotonic() - start
        return result

    return score(split, found.structures, answer), seconds


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--splits", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--parts", type=float, nargs="*", default=[1, 2, 5, 10])
    parser.add_argument("--dims", type=int, choices=(2, 3))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", type=Path, default=PEER)
    parser.add_argument("--alone", action="store_true")
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        sys.exit(f"There is no folder {chosen.data}; give one with --data.")
    found = find_cases(copy_pairs(chosen.data))
    split = choose_split(found, chosen.splits)
    print(f"{len(split.training)} + {len(split.validation)} cases to learn from, {len(split.test)} to test on.")
    rows: list[tuple[str, float, dict[str, float], float]] = []
    for part in chosen.parts:
        minutes = chosen.minutes / part
        plan = plan_settings(
            found,
            minutes=minutes,
            seed=chosen.seed,
            test_subjects={case.subject_id for case in split.test},
            spatial_dims=chosen.dims,
        )
        scores, seconds = learn(split, found, plan.settings)
        rows.append(("autoseg", minutes, scores, seconds))
        print_row(rows[-1])
    python = None if chosen.alone else make_peer(chosen.peer)
    if python is None:
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_peer_data(root, split, found.structures)
        with (root / "log.txt").open("w") as log:
            for words in (["prepare"], ["train", str(60 * chosen.minutes)]):
                done = subprocess.run([python, SCRIPT, root, *words], stdout=log, stderr=log, check=False)
                if done.returncode:
                    sys.exit("nnU-Net failed:\n" + (root / "log.txt").read_text()[-3000:])
        report = json.loads((root / "report.json").read_text())
        scores = score(split, found.structures, peer_answer(root, found.structures))
        rows.append(("nnU-Net 2-D", report["learnt_s"] / 60, scores, report["prediction_s"]))
    print_row(rows[-1])
    print(f"nnU-Net: {report}")
    reached = [minutes for name, minutes, own, _ in rows[:-1] if own["mean"] >= scores["mean"]]
    if reached:
        part = rows[-1][1] / min(reached)
        print(
            f"Its Dice of {scores['mean']:.3f} was reached in {min(reached):g} minutes, 1/{part:.0f} of its time."
        )
    else:
        print(f"Its Dice of {scores['mean']:.3f} was not reached.")


def print_row(row: tuple[str, float, dict[str, float], float]) -> None:
    """Print a line of the table."""
    name, minutes, scores, seconds = row
    each = ", ".join(f"{key} {value:.3f}" for key, value in scores.items())
    print(f"{name:12} {minutes:5.2f} min: Dice {each}; predicted in {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
