"""A record of what autoseg gives, to prove that a change of its insides changed no number.

    python benchmarks/golden.py write FILE.json [--only SECTION ...]
    python benchmarks/golden.py compare FILE.json [--only SECTION ...]

`write` computes everything and keeps it; `compare` computes it anew, prints each entry that differs and ends with
1 if there is one. Only public names and the command line are used, so that modules may move. Everything runs on one
thread of the processor, with fixed seeds and numbers of epochs, and is then the same to the last bit; compare on
the machine, and with the packages, that wrote. What follows the clock is left out: dates, times, speeds, free
memory.
Long columns and voxels stand as a digest, beside what a person can read. Sentences stand in entries of their own,
"words: …", so that a changed wording is not taken for a changed number. `--shared` are the real images; what needs
them is passed over where they are not.
"""

import argparse
import contextlib
import hashlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

# Before torch, numpy or OpenCV are imported, here and in the command line's processes.
os.environ.update(OMP_WAIT_POLICY="PASSIVE", MPLBACKEND="Agg", CUDA_VISIBLE_DEVICES="", COLUMNS="120")
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel
import numpy as np
import pandas as pd
import PIL.Image
import torch
from model_fixtures import EXPECTED, FOLDER, ROOT, images_of, predicted, resumed_split
from tube_files import write_tubes

import autoseg
from autoseg import (
    AugmentationSettings,
    LossSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
)

SAMPLE = ROOT / "data" / "sample"
# Columns and keys that follow the clock or the installed versions ("trainings" are digests of files with times);
# and "ended_by", which says as a value what "ended" beside it has always said in words.
CLOCK = re.compile(
    r"second|elapsed|ms_per|peak_memory|\bdate\b|_date$|versions?$|made_with|^autoseg$|^trainings$|^written|^time$|_state$"
    r"|^ended_by$",
    re.I,
)
STAYS = {"measurement_version", "format_version", "series_date"}
WORDS = {
    "problem",
    "cause",
    "remedy",
    "note",
    "notes",
    "reason",
    "words",
    "reasons",
    "verdict",
    "title",
    "remedies",
}
# What the names of sentences end in that may tell how fast something was.
OF_SPEED = ("verdict", "verdict.txt", "notes")
DATE = re.compile(r"\d{4}-\d\d-\d\d[T_ ]?(\d\d[:.-]?\d\d([:.-]?\d\d)?)?(\+\d\d:\d\d)?(_\d+)?")
TINY = Settings(
    epochs=2,
    batch_size=8,
    learning_rate=1e-2,
    average_decay=0.8,
    precision="float32",
    network=NetworkSettings(filters=(4, 8, 16)),
    preprocess=PreprocessSettings(spacing_mm=5.0),
)
VOLUMES = replace(
    TINY,
    batch_size=2,
    spatial_dims=3,
    network=NetworkSettings(filters=(4, 8)),
    preprocess=PreprocessSettings(),
    volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), patch_size=(24, 24, 16)),
    augmentation=AugmentationSettings.off(),
)
CROPPED = replace(VOLUMES, volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(30.0, 30.0)))
FINDER = replace(
    TINY,
    epochs=6,
    network=NetworkSettings(name="dilated", filters=(16, 16, 16)),
    preprocess=PreprocessSettings(spacing_mm=2.0),
    volume=VolumeSettings(orientation="IAR", spacing_mm=(4.0, 2.0, 2.0)),
    augmentation=AugmentationSettings.off(),
)
ALL_VARIED = AugmentationSettings(
    flip_probability=0.5, flip_rows_probability=0.3, quarter_turn_probability=0.5, crop_probability=0.5
)
# What is learnt from the heart's slices for an epoch or two, beside TINY.
VARIANTS: dict[str, dict[str, Any]] = {
    "tversky": {"loss": LossSettings(overlap="tversky", pixel="none", overlap_until=math.inf)},
    "iou and bce": {"loss": LossSettings(overlap="iou", pixel="bce", structure_weight=None)},
    "focal": {"loss": LossSettings(pixel="focal", squared=True, background=True, per_sample=True)},
    "sgd": {"optimizer": "sgd", "schedule": "plateau", "plateau_epochs": 1, "weight_decay": 3e-5, "epochs": 3},
    "adam": {"optimizer": "adam", "schedule": "multistep", "best_by": "loss"},
    "polynomial": {"schedule": "polynomial", "oversampling": 0.5, "best_by": "iou"},
    "constant": {"schedule": "constant", "validate_every": 2, "patience": 1, "epochs": 3},
    "erosion": {"watch_erosion": True, "seed": 3},
    "bfloat16": {"precision": "bfloat16"},
    "no augmentation": {"augmentation": AugmentationSettings.off()},
    "manual augmentation": {"augmentation": AugmentationSettings.manual()},
    "all augmentation": {"augmentation": ALL_VARIED},
    "clahe": {"preprocess": PreprocessSettings(spacing_mm=6.0, clahe=True)},
    "resized": {"preprocess": PreprocessSettings(input_shape=(48, 64))},
    "crop": {"preprocess": PreprocessSettings(spacing_mm=4.0, crop_mm=(100.0, 120.0))},
    "crop, whole": {"preprocess": PreprocessSettings(spacing_mm=4.0, crop_mm=(96.0, 96.0), find_region="whole")},
    "crop of pixels": {"preprocess": PreprocessSettings(input_shape=(64, 64), crop_shape=(32, 48))},
    "batch norm": {"network": NetworkSettings(filters=(4, 8, 16), norm="batch", dropout=0.2)},
    "deep supervision": {"network": NetworkSettings(filters=(4, 8, 16), deep_supervision=True)},
    "strides": {"network": NetworkSettings(filters=(4, 8, 16), strides=((2, 2), (2, 1)))},
    "resunet": {"network": NetworkSettings(name="resunet", filters=(4, 8, 16))},
    "shallow": {"network": NetworkSettings(name="shallow", filters=(8,) * 6)},
    "unext": {"network": NetworkSettings(name="unext", filters=(8, 8, 16, 16, 16))},
    "pyramid": {"network": NetworkSettings(name="pyramid", filters=(4, 4, 8, 8, 8))},
    "maskdino": {
        "network": NetworkSettings(name="maskdino", filters=(4, 4, 8, 8)),
        "preprocess": PreprocessSettings(spacing_mm=9.0),
        "epochs": 1,
    },
}
VOLUME_VARIANTS: dict[str, dict[str, Any]] = {
    "patches": {"augmentation": AugmentationSettings()},
    "landmarks": {
        "volume": replace(VOLUMES.volume, standardise="landmarks", flips=(0.5, 0.0, 0.5), orientation="LPS"),
    },
    "resunet": {"network": NetworkSettings(name="resunet", filters=(4, 8), strides=((2, 2, 1),))},
    "shallow": {"network": NetworkSettings(name="shallow", filters=(4,) * 6)},
}
# Labelled sets of the shared data, with what each needs to be found.
SETS = (
    "brain-lgg-flair-tiff",
    "brain-lgg-more-tiff",
    "cardiac-sunnybrook-dicom",
    "cord-gm-t2star-bids",
    "cord-multirater-tracts",
    "cord-sct-testing",
    "cord-sct-testing/t1",
    "cord-sct-testing/t2",
    "cord-sct-testing/t2s",
    "cord-sct-testing/mt",
    "ct-mr-totalsegmentator-dicom",
    "dicom-seg-rtstruct",
    "dicom-seg-rtstruct/rtstruct-rt-utils",
    "dicom-seg-rtstruct/highdicom-small",
    "dicom-seg-rtstruct/dcmqi-24x38x3",
    "dicom-seg-rtstruct/dcmqi-liver-ct",
    "dicom-zoo",
    "hippocampus-msd",
    "lumbar-muscle-myosegmentum",
    "lumbar-spider-sagittal-png",
    "spine-sagittal-discs-npy",
)
PLANNED = ("hippocampus-msd", "cord-gm-t2star-bids", "lumbar-muscle-myosegmentum", "spine-sagittal-discs-npy")


# --- how things are written down


def digest(values: Any) -> str:
    """Give 16 hexadecimal digits of an array (its shape, kind and bytes), of bytes, or of what JSON can hold."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().contiguous()
        values = values.view(torch.uint8).numpy() if values.dtype == torch.bfloat16 else values.numpy()
    if isinstance(values, np.ndarray):
        values = np.ascontiguousarray(values)
        return hashlib.sha256(f"{values.shape} {values.dtype} ".encode() + values.tobytes()).hexdigest()[:16]
    if not isinstance(values, bytes):
        values = json.dumps(values, sort_keys=True, ensure_ascii=False).encode("utf-8", errors="replace")
    return hashlib.sha256(values).hexdigest()[:16]


def arrays(values: np.ndarray) -> dict[str, Any]:
    """Give a digest of an array, and a few numbers that a person can compare."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    total = float(finite.astype(np.float64).sum()) if values.dtype.kind in "fiub" else None
    return {"sha": digest(values), "shape": list(values.shape), "dtype": str(values.dtype), "sum": total}


def short(value: Any) -> Any:
    """Give long lists within a value as a digest and their beginning."""
    if isinstance(value, dict):
        return {key: short(one) for key, one in value.items()}
    if isinstance(value, list) and len(value) > 20:
        return {"sha": digest(value), "count": len(value), "first": value[:2]}
    return value


def without_speed(text: str) -> str:
    """Give the clauses of a text, but for those that tell what took how long."""
    parts = [part.strip(" ;.") for part in re.split(r"; |(?<=\.) ", text)]
    return "; ".join(part for part in parts if part and not re.search(r"\d times (as|the time)|seconds?\b", part))


class Record:
    """The entries, by name; paths and dates are taken out of every text."""

    def __init__(self, work: Path, shared: Path) -> None:
        self.entries: dict[str, Any] = {}
        self.work, self.shared = work, shared
        places = {str(work.resolve()): "<work>", str(work): "<work>", str(shared): "<shared>", str(ROOT): "<root>"}
        self.places = sorted(places.items(), key=lambda row: -len(row[0]))

    def scrub(self, text: str) -> str:
        for place, word in self.places:
            text = text.replace(place, word)
        return DATE.sub("<date>", text)

    def plain(self, value: Any) -> Any:
        """Give any value as JSON has it, without what follows the clock."""
        if is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in fields(value)}
        if isinstance(value, dict):
            return {str(k): self.plain(v) for k, v in value.items() if str(k) in STAYS or not CLOCK.search(str(k))}
        if isinstance(value, torch.Tensor | np.ndarray):
            return digest(value)
        if isinstance(value, pd.DataFrame):
            return value.to_csv(float_format="%.17g")
        if isinstance(value, frozenset | set):
            return sorted(map(str, value))
        if isinstance(value, list | tuple):
            return [self.plain(one) for one in value]
        if isinstance(value, float | np.floating):
            return repr(float(value))
        if isinstance(value, int | np.integer | bool | type(None)):
            return value if not isinstance(value, np.integer) else int(value)
        return self.scrub(str(value))

    def put(self, name: str, value: Any) -> None:
        assert name not in self.entries, f"{name} is there twice"
        self.entries[name] = self.plain(value)

    def words(self, name: str, text: str | Iterable[str]) -> None:
        lines = text.splitlines() if isinstance(text, str) else list(text)
        self.put(
            f"words: {name}",
            [without_speed(line.rstrip()) if name.endswith(OF_SPEED) else line.rstrip() for line in lines],
        )

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Keep a table: its shape, and an entry for each column."""
        self.csv(name, table.to_csv(index=False, float_format="%.17g"))

    def csv(self, name: str, text: str) -> None:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        kept = [c for c in table.columns if c in STAYS or not CLOCK.search(c)]
        self.put(f"{name}: shape", {"rows": len(table), "columns": kept})
        for column in kept:
            values = [self.scrub(value) for value in table[column]]
            if column in WORDS:
                self.words(f"{name}: {column}", values)
                continue
            facts: dict[str, Any] = {"sha": digest(values), "first": values[:6]}
            numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").dropna()
            if len(numbers):
                facts["sum"] = float(numbers.astype(float).sum())
            self.put(f"{name}: {column}", facts)

    def model(self, name: str, model: Any) -> None:
        """Keep all of a trained model: weights, history, settings, origin, and its finder."""
        weights = {key: digest(value) for key, value in sorted(model.weights.items())}
        first = {key: float(value.double().sum()) for key, value in sorted(model.weights.items())[:3]}
        self.put(f"{name}: weights", {"sha": digest(weights), "count": len(weights), "first sums": first})
        for what in ("training_loss", "validation_loss", "validation_dice", "learning_rate"):
            self.put(f"{name}: {what}", [getattr(row, what) for row in model.history])
        self.put(f"{name}: history", digest(self.plain(list(model.history))))
        facts = ("name", "settings", "structures", "channels", "best_epoch", "origin", "postprocess")
        self.put(f"{name}: facts", {fact: getattr(model, fact) for fact in facts})
        if model.finder is not None:
            self.model(f"{name}: finder", model.finder)

    def labels(self, name: str, label_map: Any, image: Any = None) -> None:
        """Keep a label map: its voxels, and the summed area of each structure."""
        voxels = np.asarray(label_map.voxels).astype(np.uint8)
        counts = {
            int(value): int(count) for value, count in zip(*np.unique(voxels, return_counts=True), strict=True)
        }
        areas: dict[str, float] = {}
        if image is not None and image.affine is not None:
            for row in autoseg.measure_areas(label_map, image=image):
                areas[row.name] = areas.get(row.name, 0.0) + row.area_mm2
        self.put(name, {"sha": digest(voxels), "shape": list(voxels.shape), "voxels": counts, "areas mm²": areas})

    def folder(self, name: str, folder: Path, *, without: Sequence[str] = (), pictures: bool = True) -> None:
        """Keep every file of a folder by what it holds; `without` are endings of names."""
        paths = sorted(
            path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(tuple(without))
        )
        self.put(f"{name}: files", [path.relative_to(folder).as_posix() for path in paths])
        shown: dict[str, Any] = {}
        for path in paths:
            place = f"{name}: {path.relative_to(folder).as_posix()}"
            if path.suffix in (".png", ".jpg", ".gif"):
                if pictures:
                    shown[path.relative_to(folder).as_posix()] = picture(path)
            else:
                self._file(place, path)
        if shown:
            self.put(f"{name}: pictures", {"sha": digest(shown), "count": len(shown), **dict([*shown.items()][:5])})

    def _file(self, name: str, path: Path) -> None:
        if path.suffix == ".csv" and not (text := path.read_text(encoding="utf-8-sig")).startswith("#"):
            self.csv(name, text)
        elif path.suffix == ".json":
            self.put(name, short(self.plain(json.loads(path.read_text(encoding="utf-8")))))
        elif path.suffix == ".xlsx":
            for sheet, table in pd.read_excel(path, sheet_name=None, dtype=str).items():
                if "what" in table:
                    table = table[~table["what"].isin(["written", "autoseg"])]
                self.table(f"{name}: {sheet}", table)
        elif path.suffix == ".npz":
            with np.load(path) as kept:
                self.put(name, {key: arrays(kept[key]) for key in sorted(kept)})
        elif path.suffix == ".pt":
            content = torch.load(path, map_location="cpu", weights_only=True)
            self.put(name, {key: digest(self.plain({key: value})) for key, value in content.items()})
        elif path.name.endswith((".nii", ".nii.gz")):
            volume = nibabel.load(path)
            affine = np.asarray(volume.affine).round(9).tolist()
            self.put(name, {**arrays(np.asarray(volume.dataobj)), "affine": affine})
        else:
            self.words(name, path.read_text(encoding="utf-8-sig", errors="replace"))

    def tried(self, name: str, what: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
        """Give what a call gives; an error of autoseg's is written down, and gives None."""
        try:
            return what(*given, **named)
        except autoseg.AutosegError as error:
            self.put(f"{name}: error", type(error).__name__)
            self.words(f"{name}: error", str(error))
            return None

    def command(self, name: str, *arguments: object, keep: bool = True) -> None:
        """Run a command of autoseg; keep its exit code, and with `keep` what it printed."""
        command = [sys.executable, "-W", "ignore", "-m", "autoseg", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.work,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.put(f"{name}: exit code", done.returncode)
        if done.returncode:
            print(f"{name}: {done.stdout[-1000:]}{done.stderr[-2000:]}", file=sys.stderr)
        if keep:
            self.words(f"{name}: printed", done.stdout + done.stderr)


def picture(path: Path) -> str:
    """Give a digest of a picture's pixels, all frames."""
    with PIL.Image.open(path) as opened:
        frames = []
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            frames.append(digest(np.asarray(opened if opened.mode == "P" else opened.convert("RGBA"))))
    return digest(frames)


# --- the sections


def hearts() -> Any:
    return autoseg.find_cases(SAMPLE / "train")


def tubes(record: Record, *numbers: int) -> Any:
    numbers = numbers or (1, 2, 3, 4)
    return autoseg.find_cases(write_tubes(record.work / f"tubes_{numbers[0]}", *numbers))


def few_hearts() -> tuple[Any, Any]:
    """Give every second slice of two hearts, one of them to validate on."""
    found = hearts()
    cases = [case for case in found.cases if case.subject_id in ("SCD0000101", "SCD0000401")][::2]
    return found, autoseg.split_cases(cases, validation_subjects=["SCD0000401"])


def heart_images() -> list[Any]:
    found = autoseg.find_cases(SAMPLE / "test")
    return [autoseg.read_case(case, found.structures)[0] for case in found.cases[1:12:5]]


def learn(record: Record, name: str, split: Any, found: Any, settings: Settings, **more: Any) -> Any:
    """Train with `train_and_save`, keep the model and what it tells; give it."""
    told: list[str] = []
    model, path = autoseg.train_and_save(
        split,
        settings,
        structures=found.structures,
        name=name,
        folder=record.work / "models",
        tell=told.append,
        **more,
    )
    record.model(f"training/{name}", model)
    record.put(f"training/{name}: file", path.name)
    record.words(f"training/{name}: told", [re.sub(r"[,;] [^,;]*(left|min| s)\b.*", "", line) for line in told])
    return model


def trainings(record: Record) -> None:
    """Train the four kinds on the sample and on tubes, stop and resume, and predict."""
    found = hearts()
    split = autoseg.split_cases(
        [case for case in found.cases if case.subject_id != "SCD0000501"], validation_subjects=["SCD0000401"]
    )
    record.put("training/sides", {side: [c.case_id for c in cases] for side, cases in sides_of(split).items()})
    base = learn(record, "partial", split, found, replace(TINY, epochs=3), choose_post=True)
    for number, image in enumerate(heart_images()):
        record.labels(f"training/partial: prediction {number}", autoseg.predict(base, image), image)
        turned = autoseg.predict(base, image, copies="both")
        record.labels(f"training/partial: prediction {number} of copies", turned, image)

    cases = [case for case in found.cases if case.subject_id in ("SCD0000401", "SCD0000501")]
    fine = autoseg.settings_from_base(base, epochs=2, learning_rate=1e-3)
    record.words("training/fit", autoseg.check_fit(base, cases, found.structures, fine).notes)
    known = autoseg.split_for_base(base, cases, validation_subjects=["SCD0000401"])
    tuned = learn(record, "finetuned", known, found, fine, base=base)
    phased = autoseg.change_settings(
        autoseg.settings_from_base(base, epochs=3, learning_rate=1e-3),
        {
            "finetune.phases": (("contraction+bottleneck", 1e-3, 1), ("none", 1e-4, 2)),
            "finetune.rates": (("contraction", 0.1),),
            "finetune.replaced": ("tail",),
        },
    )
    learn(record, "phases", known, found, phased, base=base)
    image = heart_images()[0]
    record.labels("training/mean of two: prediction", autoseg.predict([base, tuned], image), image)

    volumes = tubes(record)
    split = autoseg.split_cases(volumes.cases, validation_subjects=["sub-4"])
    image, reference = autoseg.read_case(volumes.cases[3], volumes.structures)
    near = replace(TINY, epochs=3, preprocess=PreprocessSettings(spacing_mm=2.0, neighbours=1))
    model = learn(record, "neighbours", split, volumes, near)
    record.labels("training/neighbours: prediction", autoseg.predict(model, image), image)
    model = learn(record, "crop", split, volumes, replace(CROPPED, epochs=3), finder=FINDER)
    record.labels("training/crop: prediction", autoseg.predict(model, image), image)
    line = autoseg.find_centreline(model.finder, image)
    record.put("training/crop: centreline", line)
    drawn = autoseg.clicked(np.asarray(line.points_mm)[::4])
    record.labels("training/crop: prediction along a line", autoseg.predict(model, image, centreline=drawn), image)
    score = autoseg.score_centreline(line, reference, settings=model.settings.volume)
    record.table("training/crop: centreline score", autoseg.centreline_table([score]))
    record.folder("training/crop: centrelines", record.work / "models" / "crop_centrelines", without=[".pt"])
    resume(record)


def resume(record: Record) -> None:
    """Stop after the second epoch and go on: the same as in one go."""
    found, split = resumed_split()
    settings = replace(TINY, epochs=3, network=NetworkSettings(filters=(4, 8)))
    learn(record, "at once", split, found, settings)
    learn(record, "stopped", split, found, settings, on_epoch=lambda result, best, last: result.epoch == 2)
    rows = autoseg.find_unfinished(record.work / "models")
    record.put("training/unfinished", [(row.name, row.path.name, row.epochs_done, row.best_dice) for row in rows])
    record._file("training/unfinished: file", rows[0].path)
    model, _ = autoseg.train_and_save(
        split, settings, structures=found.structures, name="stopped", folder=record.work / "models", resume=True
    )
    record.model("training/resumed", model)


def sides_of(split: Any) -> dict[str, Any]:
    return {side: getattr(split, side) for side in ("training", "validation", "test")}


def variants(record: Record) -> None:
    """Train every network, loss, optimiser, schedule and way of preparing images for a moment."""
    found, split = few_hearts()
    image = heart_images()[0]
    for name, changes in VARIANTS.items():
        settings = replace(TINY, **changes)
        model = autoseg.train(split, settings, structures=found.structures, name="variant")
        record.model(f"variant/{name}", model)
        record.labels(f"variant/{name}: prediction", autoseg.predict(model, image), image)
        record.words(
            f"variant/{name}: epoch",
            autoseg.format_epoch(
                replace(model.history[-1], elapsed_s=1.0, seconds_left=1.0), found.structures, settings=settings
            ),
        )
        batch = autoseg.preview(split, settings, structures=found.structures, count=4)
        record.put(f"variant/{name}: preview", batch)
    volumes = tubes(record)
    split = autoseg.split_cases(volumes.cases[:3], validation_subjects=["sub-3"])
    image, _ = autoseg.read_case(volumes.cases[2], volumes.structures)
    for name, changes in VOLUME_VARIANTS.items():
        settings = replace(VOLUMES, **changes)
        model = autoseg.train(split, settings, structures=volumes.structures, name="variant")
        record.model(f"variant/3-D {name}", model)
        record.labels(f"variant/3-D {name}: prediction", autoseg.predict(model, image), image)
        record.put(f"variant/3-D {name}: preview", autoseg.preview(split, settings, structures=volumes.structures))
        record.put(f"variant/3-D {name}: wise copies", autoseg.wise_copies(settings.augmentation, settings.volume))


def quick_model(record: Record) -> Any:
    """Give a U-Net of the sample's hearts that finds something."""
    path = FOLDER / "unet.pt"
    assert path.is_file(), "make the files of tests/fixtures/models first"
    return autoseg.load_model(path)


def runs(record: Record) -> None:
    """Segment folders, measure, compare with an expert, and write every table."""
    model, test = quick_model(record), SAMPLE / "test"
    other = autoseg.load_model(FOLDER / "resunet.pt")
    out = record.work / "predictions"
    run = autoseg.segment_folder(model, test / "dicoms", output=out)
    record.folder("run/one model", run.folder)
    record.words("run/one model: notes", run.notes)
    record.table("run/one model: areas", run.areas)
    record.words("run/explained", [autoseg.explain_area(row, model.structures) for row in run.measurements[::7]])
    run_of_two = autoseg.segment_folder([model, other], test / "dicoms", output=out, copies="turned")
    record.folder("run/two models and copies", run_of_two.folder, pictures=False)
    record.put("run/runs per slice", autoseg.runs_per_slice([model, other], "turned"))

    comparison = autoseg.compare_with_expert(run, test)
    record.table("run/expert: table", autoseg.comparison_table(comparison.slices))
    record.table("run/expert: slices", autoseg.scores_table(comparison.slices))
    record.table("run/expert: subjects", autoseg.scores_table(comparison.subjects))
    record.put("run/expert: places", comparison.places)
    record.table("run/expert: summary", autoseg.summarise(comparison.slices))
    (record.work / "results").mkdir()
    autoseg.write_results(record.work / "results" / "results.csv", comparison.slices)
    record.folder("run/results", record.work / "results")

    found = hearts()
    split = autoseg.split_cases(found.cases, validation_subjects=["SCD0000401", "SCD0000201"])
    appraisal = autoseg.appraise(model, split)
    record.table("run/appraisal", autoseg.appraisal_table(appraisal))
    record.words("run/appraisal: notes", appraisal.notes)
    record.table("run/appraisal: summary", appraisal.summary)
    advice = autoseg.advise(model, appraisal, findings=autoseg.check_cases(found))
    record.words("run/advice", autoseg.advice_text(advice))

    volume, crop = write_tubes(record.work / "patients", 7, 8) / "images", autoseg.load_model(FOLDER / "crop_3d.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = autoseg.segment_folder(crop, volume, output=out)
        record.folder("run/crop in 3-D", run.folder, pictures=False)
        lines = autoseg.find_patient_centrelines(crop, volume)
        record.put("run/centrelines", [(one.image.source.case_id, one.automatic) for one in lines])
        near = autoseg.load_model(FOLDER / "neighbours.pt")
        joined = autoseg.combine_folder(near, crop, volume, output=out, at_mm=0.0, blend_mm=12.0)
        record.folder("run/combined", joined.folder, pictures=False)
    corrections(record, model, volume, near)
    calibrated(record, model)


def corrections(record: Record, model: Any, volume: Path, near: Any) -> None:
    """Write a folder to correct, correct a voxel block, read it again."""
    kit = autoseg.segment_to_correct(near, volume, record.work / "kit", factor=2)
    record.put("run/kit", {"cases": kit.cases, "structures": kit.structures, "notes": kit.notes})
    files = sorted(path for path in kit.folder.rglob("*.nii.gz"))
    record.put("run/kit: files", [path.relative_to(kit.folder).as_posix() for path in files])
    for path in files:
        record._file(f"run/kit: {path.relative_to(kit.folder).as_posix()}", path)
    labels = next(path for path in files if "sub-7" in path.name and "label" in path.as_posix())
    drawn = nibabel.load(labels)
    voxels = np.asarray(drawn.dataobj).copy()
    voxels[30:40, 30:40, 10:13] = 1
    nibabel.save(nibabel.nifti1.Nifti1Image(voxels, drawn.affine, drawn.header), labels)
    correction = record.tried(
        "run/correction", autoseg.read_correction, kit.folder, by="A. Reader", case_id=kit.cases[0].case_id
    )
    if correction is not None:
        record.labels("run/correction", correction.label_map)
        record.put("run/correction: slices", correction.changed_slices)
        record.table("run/correction: changes", autoseg.compare_structures(correction.before, correction.label_map))


def calibrated(record: Record, model: Any) -> None:
    """Segment pictures without millimetres, whose field of view is typed."""
    folder = record.work / "pictures"
    folder.mkdir()
    image = heart_images()[0]
    values = np.asarray(image.voxels)[0].astype(float)
    grey = (255 * (values - values.min()) / (values.max() - values.min())).astype(np.uint8)
    PIL.Image.fromarray(grey).save(folder / "slice_1.png")
    output = record.work / "predictions"
    run = record.tried("run/pictures", autoseg.segment_folder, model, folder, output=output, field_of_view_mm=330.0)
    if run is not None:
        record.folder("run/pictures", run.folder, pictures=False)


def morphometry(record: Record) -> None:
    """Measure tubes, and the lumbar muscles where they are, along their own curve."""
    found = tubes(record)
    maps = [autoseg.read_case(case, found.structures)[1] for case in found.cases]
    for along in ("auto", "slices"):
        measured = record.tried(f"morphometry/{along}", autoseg.measure_morphometry, maps, along=along)
        if measured is None:
            continue
        record.table(f"morphometry/{along}: sections", autoseg.sections_table(measured))
        record.table(f"morphometry/{along}: arc", arc := autoseg.arc_table(measured, step_mm=2.0))
        record.table(f"morphometry/{along}: band", autoseg.cohort_band(arc, name="cord"))
        place = record.tried(
            f"morphometry/{along}: enlargement",
            autoseg.locate_enlargement,
            arc[arc["case_id"] == "sub-1"],
            name="cord",
        )
        record.put(f"morphometry/{along}: enlargement", place)
        autoseg.write_morphometry(record.work / f"morphometry_{along}", measured)
        record.folder(f"morphometry/{along}: files", record.work / f"morphometry_{along}")
    record.command("morphometry/command", "morphometry", found.folder, "--output", record.work / "along")
    record.folder("morphometry/command", record.work / "along")
    muscles = record.shared / "lumbar-muscle-myosegmentum"
    if muscles.is_dir():
        found = autoseg.find_cases(muscles)
        maps = [autoseg.read_case(found.cases[0], found.structures)[1]]
        measured = record.tried("morphometry/muscles", autoseg.measure_morphometry, maps)
        if measured is not None:
            record.table("morphometry/muscles: sections", autoseg.sections_table(measured))
            record.table("morphometry/muscles: arc", autoseg.arc_table(measured))


def comparisons(record: Record) -> None:
    """Compare networks, cross-validate, and fine-tune in several ways, by the command line and by functions."""
    data = record.work / "hearts"
    shutil.copytree(SAMPLE / "train", data)
    for path in [*data.glob("dicoms/*"), *data.glob("labels/*")]:
        if int(path.stem.rpartition("_")[2]) % 3:
            path.unlink()
    kept = {path.stem for path in data.glob("labels/*")}
    drawn = (data / "annotated.csv").read_text(encoding="utf-8").splitlines()
    chosen = [line for line in drawn[1:] if line.split(",")[0] in kept]
    (data / "annotated.csv").write_text("\n".join([drawn[0], *chosen]) + "\n", encoding="utf-8")
    models = record.work / "comparisons"
    typed = [
        *("--set", "preprocess.spacing_mm=6", "--set", "batch_size=8", "--set", "precision=float32"),
        *("--set", "augmentation.rotation_deg=20", "--set", "learning_rate=0.01", "--set", "average_decay=0.8"),
    ]
    common = ["--folds", 2, "--epochs", 2, "--output", models, *typed]
    record.command(
        "comparison/compare",
        "compare",
        data,
        "--networks",
        "unet",
        "resunet",
        *common,
        "--set",
        "network.filters=4,8,16",
        "--together",
        "--try-copies",
        "mirrored",
        keep=False,
    )
    record.folder("comparison/compare", models / "networks_comparison", pictures=False, without=[".pt"])
    result = autoseg.read_comparison(models / "networks_comparison")
    record.table("comparison/compare read again", result.table)
    record.words("comparison/verdict", result.verdict)
    record.command(
        "comparison/crossvalidate", "crossvalidate", data, *common, "--set", "network.filters=4,8,16", keep=False
    )
    record.folder("comparison/crossvalidate", models / "model_folds", pictures=False, without=[".pt"])
    shutil.copy(FOLDER / "neighbours.pt", models / "neighbours_3.pt")
    record.command(
        "comparison/finetune",
        "finetune",
        tubes(record, 11, 12, 13).folder,
        "--base",
        models / "neighbours_3.pt",
        "--folds",
        2,
        "--epochs",
        1,
        "--output",
        models,
        "--scenarios",
        "original",
        "fine-tuned",
        keep=False,
    )
    record.folder("comparison/finetune", models / "finetuned_comparison", pictures=False, without=[".pt"])

    found = tubes(record)
    place = record.work / "volumes"
    entries = {"cropped": CROPPED, "whole": replace(VOLUMES, augmentation=AugmentationSettings.off())}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = autoseg.compare(
            found.cases, found.structures, entries, folder=place, folds=2, finder=FINDER, exact=True
        )
    record.put("comparison/volumes: finished", result.is_finished)
    record.words("comparison/volumes: notes", [note for note in result.notes if "second" not in note])
    record.folder("comparison/volumes", place, pictures=False, without=[".pt"])


def checks(record: Record) -> None:
    """Check every labelled set, and the sample with faults that were put in."""
    places = {"sample": SAMPLE / "train", "sample test": SAMPLE / "test", "faulty": faulty(record)}
    hearts_again = record.shared / "cardiac-sunnybrook-dicom"
    if hearts_again.is_dir():
        for kind in ("labels_npy", "contourfiles"):
            place = record.work / f"cardiac_{kind}"
            shutil.copytree(hearts_again / "dicoms", place / "dicoms")
            shutil.copytree(hearts_again / kind, place / {"labels_npy": "labels"}.get(kind, "contours"))
            places[f"cardiac {kind}"] = place
    places |= {name: record.shared / name for name in SETS if (record.shared / name).is_dir()}
    for name, place in places.items():
        found = record.tried(f"check/{name}", autoseg.find_cases, place, unlabelled="skip")
        if found is None:
            continue
        record.table(f"check/{name}: pairs", autoseg.pairs_table(found))
        record.put(f"check/{name}: structures", (found.structures, found.values))
        record.put(f"check/{name}: left alone", digest(record.plain(sorted(map(str, found.skipped)))))
        record.words(f"check/{name}: notes", found.notes)
        seen = record.tried(f"check/{name}", autoseg.examine_cases, found)
        if seen is None:
            continue
        record.table(f"check/{name}", autoseg.findings_table(seen.findings))
        facts = ("severity", "kind", "case_id", "cases", "slice_index", "label", "repairs")
        record.put(
            f"check/{name}: findings", [{fact: getattr(one, fact) for fact in facts} for one in seen.findings]
        )
        record.put(f"check/{name}: counts", seen.counts)
    record.command("check/command", "check", SAMPLE / "train")


def faulty(record: Record) -> Path:
    """Copy the sample and spoil a label each way: mirrored, turned, shifted, exchanged, smeared, doubled."""
    place = record.work / "faulty"
    shutil.copytree(SAMPLE / "train", place)
    paths = sorted((place / "labels").glob("*.png"))
    full = [path for path in paths if len(np.unique(np.asarray(PIL.Image.open(path)))) == 3]
    ways: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda a: a[:, ::-1],
        lambda a: np.rot90(a),
        lambda a: np.roll(a, 40, axis=1),
        lambda a: np.array([0, 2, 1], dtype=np.uint8)[a],
        lambda a: a.T,
        lambda a: np.where(np.roll(a, 1, 0) != a, np.minimum(1, a + np.roll(a, 1, 0)), a).astype(np.uint8),
        lambda a: np.zeros_like(a),
        lambda a: a * 5,
    ]
    for path, way in zip(full[::3], ways, strict=False):
        PIL.Image.fromarray(np.ascontiguousarray(way(np.asarray(PIL.Image.open(path)))).astype(np.uint8)).save(path)
    return place


def reading(record: Record) -> None:
    """Read every case and every series: voxels, grids, tables."""
    zoo = record.shared / "dicom-zoo"
    folders = [SAMPLE / "test" / "dicoms", *(sorted(path for path in zoo.glob("*") if path.is_dir()))]
    for folder in folders:
        name = f"series/{folder.name}"
        found = record.tried(name, autoseg.find_series, folder)
        if found is None:
            continue
        record.table(name, autoseg.series_table(found))
        record.put(f"{name}: left alone", [(path.path.name, path.reason) for path in found.skipped])
        for number, series in enumerate(found.series):
            if len(series.slices) > 200:
                continue
            images = record.tried(f"{name}: {number}", autoseg.read_series, series)
            for part, image in enumerate(images or ()):
                place = f"{name}: {number}.{part}"
                record.put(place, arrays(np.asarray(image.voxels)) | {"affine": affine_of(image)})
                record.put(
                    f"{place}: source",
                    {
                        "id": image.source.case_id,
                        "spacing": image.source.spacing_source,
                        "channels": image.channels,
                    },
                )
    sets = {"sample": SAMPLE / "train"} | {name: record.shared / name for name in SETS if "more" not in name}
    for name, place in sets.items():
        if not place.is_dir():
            continue
        try:
            found = autoseg.find_cases(place, unlabelled="skip")
        except autoseg.AutosegError:  # told by the section of checks
            continue
        facts = []
        for case in found.cases:
            pair = record.tried(f"read/{name}: {case.case_id}", autoseg.read_case, case, found.structures)
            if pair is not None:
                image, labels = pair
                facts.append(
                    [
                        case.case_id,
                        case.subject_id,
                        digest(np.asarray(image.voxels)),
                        affine_of(image),
                        digest(np.asarray(labels.voxels).astype(np.int64)),
                        record.plain(labels.annotated),
                    ]
                )
        record.put(f"read/{name}", {"sha": digest(facts), "count": len(facts), "first": facts[:3]})
        folds = record.tried(f"folds/{name}", autoseg.k_folds, found.cases, folds=3)
        record.put(f"folds/{name}", [[case.case_id for case in fold.test] for fold in folds or ()])
        split = record.tried(f"split/{name}", autoseg.split_cases, found.cases)
        record.put(f"split/{name}", [case.case_id for case in split.validation] if split else None)


def affine_of(image: Any) -> list[list[float]] | None:
    return None if image.affine is None else np.asarray(image.affine).round(9).tolist()


def measuring(record: Record) -> None:
    """Measure drawn labels: areas, measurements, levels, patients."""
    places = {"sample": SAMPLE / "train"} | {
        name: record.shared / name for name in ("cord-gm-t2star-bids", "cord-sct-testing/t2s", "hippocampus-msd")
    }
    for name, place in places.items():
        if not place.is_dir():
            continue
        found = autoseg.find_cases(place, unlabelled="skip")
        rows = record.tried(f"measure/{name}", autoseg.measure_labels, found)
        for what in ("areas", "measurements", "levels", "patients") if rows else ():
            record.table(f"measure/{name}: {what}", getattr(autoseg, f"{what}_table")(rows))
    record.command("measure/command", "measure", SAMPLE / "test", "--output", record.work / "measured")
    record.folder("measure/command", record.work / "measured")


def plans(record: Record) -> None:
    """Plan for every set on a computer that is made up; settings of recipes."""
    computer = replace(
        autoseg.find_computer(),
        device="cpu",
        device_name="made up",
        memory_gib=16.0,
        device_memory_gib=None,
        cores=4,
        precision="float32",
        advice="",
        free_gib=8.0,
        device_free_gib=None,
        pixels_per_second=None,
    )
    places = {"sample": SAMPLE / "train", "tubes": tubes(record).folder}
    places |= {name: record.shared / name for name in PLANNED if (record.shared / name).is_dir()}
    for name, place in places.items():
        found = autoseg.find_cases(place, unlabelled="skip")
        for dims in (2, 3) if name in ("tubes", "hippocampus-msd", "cord-gm-t2star-bids") else (2,):
            for length in ({"minutes": 10.0}, {"epochs": 50}):
                label = f"plan/{name} {dims}-D {next(iter(length))}"
                plan = record.tried(
                    label, autoseg.plan_settings, found, **length, computer=computer, spatial_dims=dims
                )
                if plan is not None:
                    record.put(f"{label}: settings", plan.settings)
                    record.put(f"{label}: validation", plan.validation_subjects)
                    record.put(f"{label}: fingerprint", digest(record.plain(plan.fingerprint)))
                    record.words(f"{label}: reasons", [f"{one.name}: {one.reason}" for one in plan.choices])
    names = record_recipes()
    record.put("recipes", names)
    for name in names:
        record.put(f"recipe/{name}", autoseg.recipe(name))
    record.put("settings", Settings())
    record.command("settings/command", "settings")


def record_recipes() -> list[str]:
    """Give the recipes' names, which the message about an unknown one lists."""
    try:
        autoseg.recipe("no such recipe")
    except autoseg.AutosegError as error:
        return str(error).partition("Known: ")[2].rstrip(".").split(", ")
    return []


def commands(record: Record) -> None:
    """What the command line prints: the self-test, a prediction beside the expert's, help, errors."""
    record.command("command/selftest", "selftest")
    record.command(
        "command/predict",
        "predict",
        FOLDER / "unet.pt",
        SAMPLE / "test" / "dicoms",
        "--output",
        record.work / "predicted",
        "--reference",
        SAMPLE / "test",
    )
    record.command("command/series", "series", SAMPLE / "test" / "dicoms")
    record.command("command/help", "--help")
    for name in ("check", "train", "compare", "finetune", "predict", "correct", "combine"):
        record.command(f"command/{name} help", name, "--help")
    record.command(
        "command/train",
        "train",
        SAMPLE / "train",
        "--name",
        "typed",
        "--epochs",
        1,
        "--spacing-mm",
        8,
        "--output",
        record.work / "typed",
        "--set",
        "network.filters=4,8",
        "--set",
        "precision=float32",
        keep=False,
    )
    record.model("command/train: model", autoseg.load_model(record.work / "typed" / "typed_1.pt"))
    table = autoseg.models_table(autoseg.list_models(record.work / "typed"))
    record.table("command/train: list", table)


def fixtures(record: Record) -> None:
    """Load the model files of tests/fixtures and predict."""
    for name, kept in json.loads(EXPECTED.read_text(encoding="utf-8")).items():
        if name == "unfinished_resume":
            place = record.work / "unfinished"
            place.mkdir()
            shutil.copy(FOLDER / f"{name}.pt", place)
            found, split = resumed_split()
            model, _ = autoseg.train_and_save(
                split, TINY, structures=found.structures, name="unfinished", folder=place, resume=True
            )
            record.model(f"fixture/{name}", model)
            continue
        model = autoseg.load_model(FOLDER / f"{name}.pt")
        record.model(f"fixture/{name}", model)
        images = images_of(kept["sees"], record.work)
        if name == "finder":
            record.put(f"fixture/{name}: centreline", autoseg.find_centreline(model, images[0]))
            continue
        labels, areas = predicted(model, images)
        record.put(f"fixture/{name}: labels", {**arrays(labels), "areas mm²": areas})


def figures(record: Record) -> None:
    """Draw figures, and keep their pixels."""
    model, found = quick_model(record), hearts()
    with contextlib.redirect_stderr(io.StringIO()):
        run = autoseg.segment_folder(model, SAMPLE / "test" / "dicoms", output=record.work / "drawn")
        scored = autoseg.compare_with_expert(run, SAMPLE / "test")
        image, labels = run.results[0]
        volumes = tubes(record)
        maps = [autoseg.read_case(case, volumes.structures)[1] for case in volumes.cases[:3]]
        arc = autoseg.arc_table(autoseg.measure_morphometry(maps))
        line = autoseg.clicked([[0, 0, -30], [2, 1, 0], [0, 3, 30]])
        tube = autoseg.read_case(volumes.cases[0], volumes.structures)
        history = [
            {key: 1.0 if CLOCK.search(key) else value for key, value in row.items()}
            for row in autoseg.history_rows(model)
        ]
        drawings: dict[str, Callable[[], Any]] = {
            "areas": lambda: autoseg.show_areas(run.measurements, structures=model.structures),
            "bland altman": lambda: autoseg.show_bland_altman(scored.slices, model.structures),
            "subject scores": lambda: autoseg.show_subject_scores(scored.subjects, model.structures),
            "overlays": lambda: autoseg.show_overlays(image, labels),
            "history": lambda: autoseg.show_history(history, structures=model.structures),
            "findings": lambda: autoseg.show_findings(autoseg.check_cases(found), found),
            "morphometry": lambda: autoseg.show_morphometry(
                arc[arc["case_id"] == "sub-1"], structures=volumes.structures
            ),
            "series": lambda: autoseg.show_series(SAMPLE / "test" / "dicoms"),
            "centrelines": lambda: autoseg.show_centrelines(
                tube[0], {"typed": line}, tube[1], crop_mm=(20.0, 20.0)
            ),
        }
        for name, draw in drawings.items():
            path = record.work / "figure.png"
            drawn = record.tried(f"figure/{name}", draw)
            if drawn is not None:
                drawn.savefig(path, dpi=60)
                record.put(f"figure/{name}", picture(path))


SECTIONS: dict[str, Callable[[Record], None]] = {
    "trainings": trainings,
    "variants": variants,
    "fixtures": fixtures,
    "runs": runs,
    "figures": figures,
    "morphometry": morphometry,
    "comparisons": comparisons,
    "reading": reading,
    "checks": checks,
    "measuring": measuring,
    "plans": plans,
    "commands": commands,
}


def compute(shared: Path, only: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Give the entries of each section."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {}
    for name in only:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="golden_") as folder:
            record = Record(Path(folder), shared)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                SECTIONS[name](record)
        found[name] = record.entries
        print(f"{name}: {len(record.entries)} entries, {time.monotonic() - start:.0f} s", flush=True)
    return found


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Give a line for each entry that is another, or is there once only."""
    lines = []
    for name in dict.fromkeys([*before, *now]):
        if name not in now:
            lines.append(f"{name}: is gone")
        elif name not in before:
            lines.append(f"{name}: is new")
        elif as_text(before[name]) != as_text(now[name]):
            lines.append(f"{name}:\n{apart(before[name], now[name])}")
    return lines


def apart(before: Any, now: Any, place: str = "") -> str:
    """Show where two values part."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in dict.fromkeys([*before, *now]) if as_text(before.get(key)) != as_text(now.get(key))]
        return "\n".join(apart(before.get(key), now.get(key), f"{place}.{key}") for key in keys[:12])
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(k, a, b) for k, (a, b) in enumerate(zip(before, now, strict=True)) if as_text(a) != as_text(b)]
        return "\n".join(apart(a, b, f"{place}[{k}]") for k, a, b in pairs[:12])
    return f"    {place or 'value'}\n        was {as_text(before)[:600]}\n        is  {as_text(now)[:600]}"


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def main() -> None:
    """Write the record, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data", help="real images")
    chosen = parser.parse_args()
    print(f"autoseg in {Path(autoseg.__file__).parent}, torch {torch.__version__}", flush=True)
    before = json.loads(chosen.file.read_text(encoding="utf-8")) if chosen.what == "compare" else {}
    start = time.monotonic()
    found = compute(chosen.shared.resolve(), chosen.only)
    # As a file gives it back.
    found = json.loads(json.dumps(found))
    print(f"{sum(map(len, found.values()))} entries in {(time.monotonic() - start) / 60:.1f} minutes")
    if chosen.what == "write":
        chosen.file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    lines = [f"{name} | {line}" for name in chosen.only for line in differences(before.get(name, {}), found[name])]
    wordings = [line for line in lines if "| words: " in line]
    for title, some in (("numbers", [line for line in lines if line not in wordings]), ("wordings", wordings)):
        print(f"\n{len(some)} entries of {title} differ", *some, sep="\n")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
