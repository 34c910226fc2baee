"""Make the model files of tests/fixtures/models, one of each kind, and write down what each predicts.

    python benchmarks/old_models.py [--output tests/fixtures/models]

Not to be run again without need: the files stand for what users have, so a newer autoseg must read those that an
older one wrote. A new kind of model file gets a file of its own (`--only NAME`), beside the old ones. Everything is
tiny and learns for seconds on one processor core.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from model_fixtures import ROOT, images_of, predicted, resumed_split
from tube_files import write_tubes

import autoseg
from autoseg import AugmentationSettings, NetworkSettings, PreprocessSettings, Settings, VolumeSettings

TINY = Settings(
    epochs=60,
    batch_size=4,
    learning_rate=1e-2,
    average_decay=0.8,
    precision="float32",
    network=NetworkSettings(filters=(8, 16, 24)),
    preprocess=PreprocessSettings(spacing_mm=4.0),
    augmentation=AugmentationSettings.manual(),
)
VOLUMES = replace(
    TINY,
    epochs=40,
    batch_size=1,
    learning_rate=2e-2,
    spatial_dims=3,
    network=NetworkSettings(filters=(4, 8)),
    preprocess=PreprocessSettings(),
    volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), patch_size=(24, 24, 16)),
    augmentation=AugmentationSettings.off(),
)
FINDER = replace(
    TINY,
    epochs=10,
    network=NetworkSettings(name="dilated", filters=(16, 16, 16)),
    preprocess=PreprocessSettings(spacing_mm=2.0),
    volume=VolumeSettings(orientation="IAR", spacing_mm=(4.0, 2.0, 2.0)),
    augmentation=AugmentationSettings.off(),
)
# Name of the setting in the files of version 1, by today's.
FORMER = {
    "overlap_weight": "dice_weight",
    "pixel_weight": "cross_entropy_weight",
    "overlap_until": "dice_until",
    "late_pixel_weight": "late_cross_entropy_weight",
}
NETWORKS = {
    "resunet": (8, 16, 24),
    "shallow": (12,) * 6,
    "unext": (8, 8, 16, 16, 16),
    "pyramid": (4, 4, 8, 8, 8),
    "maskdino": (4, 4, 8, 8),
}


class Maker:
    """Trains each kind in a folder for what is in between."""

    def __init__(self, work: Path, output: Path) -> None:
        self.work, self.output = work, output
        self.hearts = autoseg.find_cases(ROOT / "data" / "sample" / "train")
        self.tubes = autoseg.find_cases(write_tubes(work / "tubes", 1, 2, 3, 4))
        self.split = autoseg.split_cases(
            [case for case in self.hearts.cases if case.subject_id != "SCD0000501"],
            validation_subjects=["SCD0000401"],
        )
        self.tube_split = autoseg.split_cases(self.tubes.cases, validation_subjects=["sub-4"])

    def heart(self, name: str, settings: Settings, **more) -> None:
        split = more.pop("split", self.split)
        _, path = autoseg.train_and_save(
            split, settings, structures=self.hearts.structures, name=name, folder=self.work, **more
        )
        shutil.copy(path, self.output / f"{name}.pt")

    def tube(self, name: str, settings: Settings, **more) -> None:
        _, path = autoseg.train_and_save(
            self.tube_split, settings, structures=self.tubes.structures, name=name, folder=self.work, **more
        )
        shutil.copy(path, self.output / f"{name}.pt")

    def finder(self) -> None:
        model = autoseg.train_finder(self.tube_split, self.tubes.structures, FINDER)
        autoseg.save_model(model, self.output / "finder.pt")

    def fine_tuned(self) -> None:
        base = autoseg.load_model(self.output / "unet.pt")
        cases = [case for case in self.hearts.cases if case.subject_id in ("SCD0000401", "SCD0000501")]
        self.heart(
            "finetuned",
            autoseg.settings_from_base(base, epochs=3, learning_rate=1e-3),
            split=autoseg.split_for_base(base, cases, validation_subjects=["SCD0000401"]),
            base=base,
        )

    def version_1(self) -> None:
        """Give the U-Net as the first version wrote it: no post-processing, fewer scores, older names."""
        content = torch.load(self.output / "unet.pt", weights_only=True)
        content["format_version"], content["name"] = 1, "version_1"
        del content["postprocess"], content["finder"]
        loss = {FORMER.get(name, name): value for name, value in content["settings"]["loss"].items()}
        content["settings"]["loss"] = {name: value for name, value in loss.items() if name in FORMER.values()}
        kept = (
            *("epoch", "training_loss", "learning_rate", "elapsed_s", "seconds_left"),
            *("validation_loss", "validation_dice", "dice", "is_best"),
        )
        content["history"] = [{name: row[name] for name in kept} for row in content["history"]]
        for name in ("finetune", "volume"):
            del content["settings"][name]
        torch.save(content, self.output / "version_1.pt")

    def unfinished(self) -> None:
        found, split = resumed_split()
        settings = replace(TINY, epochs=3, batch_size=8, network=NetworkSettings(filters=(4, 8)))
        given = {"structures": found.structures, "name": "unfinished", "folder": self.work}
        autoseg.train_and_save(split, settings, on_epoch=lambda result, best, last: result.epoch == 2, **given)
        shutil.copy(self.work / "unfinished_resume.pt", self.output)

    def kinds(self) -> dict[str, Callable[[], None]]:
        """Give what makes each file, by its name; some need those before."""
        near = replace(TINY, preprocess=PreprocessSettings(spacing_mm=2.0, neighbours=1))
        regions = replace(TINY, preprocess=PreprocessSettings(spacing_mm=3.0, crop_mm=(120.0, 120.0)))
        resized = replace(TINY, preprocess=PreprocessSettings(input_shape=(64, 64), clahe=True))
        cropped = replace(VOLUMES, volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(30.0, 30.0)))
        turned = replace(VOLUMES.volume, standardise="landmarks", flips=(0.5, 0.0, 0.5), orientation="LPS")
        patches = replace(VOLUMES, epochs=6, volume=turned)
        return {
            "unet": lambda: self.heart("unet", TINY),
            "version_1": self.version_1,
            "finetuned": self.fine_tuned,
            "crop_2d": lambda: self.heart("crop_2d", regions, choose_post=True),
            "resized": lambda: self.heart("resized", resized),
            "neighbours": lambda: self.tube("neighbours", near),
            "crop_3d": lambda: self.tube("crop_3d", cropped, finder=FINDER),
            "patches_3d": lambda: self.tube("patches_3d", patches),
            "finder": self.finder,
            "unfinished_resume": self.unfinished,
            **{name: self._network(name, filters) for name, filters in NETWORKS.items()},
        }

    def _network(self, name: str, filters: tuple[int, ...]) -> Callable[[], None]:
        settings = replace(
            TINY,
            epochs=10 if name == "maskdino" else 40,
            network=NetworkSettings(name=name, filters=filters),
            preprocess=PreprocessSettings(spacing_mm=8.0 if name == "maskdino" else 4.0),
        )
        return lambda: self.heart(name, settings)


def describe(name: str, output: Path, work: Path) -> tuple[dict, np.ndarray | None]:
    """Give what a file predicts: for the JSON, and its label maps."""
    if name == "unfinished_resume":
        found, split = resumed_split()
        shutil.copy(output / f"{name}.pt", work)
        model, _ = autoseg.train_and_save(
            split, TINY, structures=found.structures, name="unfinished", folder=work, resume=True
        )
        return {"training_loss": [result.training_loss for result in model.history]}, None
    model = autoseg.load_model(output / f"{name}.pt")
    sees = "hearts" if model.structures[0].name == "cavity" else "tube"
    images = images_of(sees, work)
    if name == "finder":
        line = autoseg.find_centreline(model, images[0])
        return {"sees": sees, "points_mm": np.asarray(line.points_mm).tolist()}, None
    labels, areas = predicted(model, images)
    pixel = float(np.prod(images[0].spacing_mm[1:]))
    return {"sees": sees, "repr": repr(model), "pixel_mm2": pixel, "areas_mm2": areas}, labels


def main() -> None:
    """Make the files that were asked for, and write down what all of them predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "tests" / "fixtures" / "models")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="make these; the others stay as they are")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        kinds = Maker(work, chosen.output).kinds()
        for name in kinds if chosen.only is None else chosen.only:
            kinds[name]()
            size = (chosen.output / f"{name}.pt").stat().st_size
            print(f"{name}: {size / 1000:.0f} kB", flush=True)
        described = {name: describe(name, chosen.output, work) for name in kinds}
    text = json.dumps({name: facts for name, (facts, _) in described.items()}, indent=1)
    (chosen.output / "expected.json").write_text(text + "\n", encoding="utf-8")
    maps = {name: labels for name, (_, labels) in described.items() if labels is not None}
    np.savez_compressed(chosen.output / "expected_labels.npz", **maps)
    for name, (facts, _) in described.items():
        print(name, facts.get("areas_mm2", ""))


if __name__ == "__main__":
    main()
