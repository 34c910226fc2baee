"""nnU-Net's own 2-D recipe for a time budget; run by the Python of the peer's environment (`accuracy.py` does).

    python nnunet_2d.py ROOT prepare
    python nnunet_2d.py ROOT train SECONDS

ROOT holds raw/Dataset001_peer in nnU-Net's layout. Changed against the recipe, all in its favour: the polynomial
learning rate falls over the time budget instead of over 1,000 epochs, no time is spent on validation, and start-up
and preprocessing are not counted. As by itself it learns in float32 on a processor, takes the last weights, and
predicts with mirrored copies.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

import torch


def pretend_torchvision() -> None:
    """Declare the compiled operators of torchvision, which do not load with a processor-only torch."""
    from importlib.util import find_spec

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    library = torch.library.Library("torchvision", "DEF")
    names: set[str] = set()
    for path in Path(spec.origin).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8", errors="ignore")
        names |= set(re.findall(r"torchvision::(\w+)", text))
        names |= set(re.findall(r"torch\.ops\.torchvision\.(\w+)", text))
        names |= set(re.findall(r"register_meta\(\"(\w+)\"", text))
    for name in sorted(names):
        library.define(f"{name}(Tensor a) -> Tensor")
    globals()["_library"] = library  # or its definitions go with it


def prepare() -> None:
    """Look at the data, plan and preprocess, as nnU-Net does."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    extract_fingerprints([1], num_processes=2)
    plan_experiments([1])
    preprocess([1], configurations=("2d",), num_processes=(2,))


def train(root: Path, seconds: float) -> None:
    """Learn for so many seconds, keep the last weights, predict the test images and say what it took."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    (folder,) = (root / "preprocessed").iterdir()
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    dataset = json.loads((root / "raw" / folder.name / "dataset.json").read_text())
    torch.set_num_threads(os.cpu_count() or 1)
    plans["continue_training"] = False
    trainer = nnUNetTrainer(plans, "2d", "all", dataset, torch.device("cpu"))
    trainer.on_train_start()
    torch.set_num_threads(os.cpu_count() or 1)
    next(trainer.dataloader_train)
    trainer.network.train()
    start, steps = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < seconds:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - elapsed / seconds) ** 0.9
        loss = trainer.train_step(next(trainer.dataloader_train))["loss"]
        steps += 1
        if steps == 1 or steps % 50 == 0:
            print(f"step {steps}, {elapsed:.0f} s, loss {float(loss):.3f}", flush=True)
    learnt_s = time.monotonic() - start
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    trainer.dataloader_train._finish()
    trainer.dataloader_val._finish()
    predictor = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, ("all",), "checkpoint_final.pth")
    torch.set_num_threads(os.cpu_count() or 1)
    (root / "predicted").mkdir(exist_ok=True)
    start = time.monotonic()
    predictor.predict_from_files_sequential(
        str(root / "raw" / folder.name / "imagesTs"), str(root / "predicted"), overwrite=True
    )
    report = {
        "steps": steps,
        "batch_size": trainer.batch_size,
        "patch_size": list(trainer.configuration_manager.patch_size),
        "learnt_s": learnt_s,
        "prediction_s": time.monotonic() - start,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
    }
    (root / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    for variable, name in (
        ("nnUNet_raw", "raw"),
        ("nnUNet_preprocessed", "preprocessed"),
        ("nnUNet_results", "results"),
    ):
        os.environ[variable] = str(place / name)
    os.environ.setdefault("nnUNet_n_proc_DA", "2")
    os.environ.setdefault("nnUNet_compile", "f")
    pretend_torchvision()
    prepare() if sys.argv[2] == "prepare" else train(place, float(sys.argv[3]))
