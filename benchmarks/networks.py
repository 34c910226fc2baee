"""How fast each network learns and predicts, and the default path against the multi-scale pyramid as published.

    python benchmarks/networks.py [--rounds 3] [--size 256]

All see the same slices of `--size` pixels with 6 structures. The five networks run through the project's own loop
(fused augmentation, bfloat16 where the processor has it, channels last, batches of 8) and through `predict`, from
the image to labels on its own grid, in float32 as areas are reported and in the faster format. "as planned" is the
U-Net with pixels of the plan's size for the sample's images, which have as many: what a user gets who changes
nothing. "as published" is the pyramid in float32, channels first, learning from batches of 5 and predicting one
slice at a time, nothing counted but the network, its loss and Adam. Every measurement has a process of its own;
they take turns, and the table has the medians. Run it on a quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "train"
PUBLISHED, PLANNED = "pyramid as published", "U-Net as planned"
NAMES = ("unet", "resunet", "unext", "pyramid", "maskdino", PLANNED, PUBLISHED)
STRUCTURES = 6


def measure(variant: str, size: int, steps: int) -> dict[str, float]:
    """Measure one variant in this process: seconds a training image, and seconds a predicted slice."""
    import torch

    torch.manual_seed(0)
    return _published(size, steps) if variant == PUBLISHED else _ours(variant, size, steps)


def _ours(variant: str, size: int, steps: int) -> dict[str, float]:
    import numpy as np
    import torch

    from autoseg import prediction
    from autoseg.data.digests import Seal
    from autoseg.image.geometry import affine_from_spacing
    from autoseg.image.image import Image, LabelMap, Source
    from autoseg.image.structures import Structure
    from autoseg.model import device
    from autoseg.model.dataset import build_slices
    from autoseg.model.model import TrainedModel
    from autoseg.model.networks import build_network
    from autoseg.model.networks.cost import count_cost
    from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
    from autoseg.training import step as training_state

    device.keep_freed_memory()
    pixel = _planned_factor() if variant == PLANNED else 1.0
    settings = Settings(
        batch_size=8,
        preprocess=PreprocessSettings(spacing_mm=pixel),
        network=NetworkSettings(name="unet" if variant == PLANNED else variant),
    )
    rng = np.random.default_rng(0)
    voxels = rng.normal(100, 30, (32, size, size)).astype(np.float32)
    structures = tuple(Structure(k, f"structure {k}") for k in range(1, STRUCTURES + 1))
    # Blocks, so that shapes have a middle and edges as anatomy has.
    blocks = rng.integers(0, STRUCTURES + 1, (32, size // 32, size // 32)).astype(np.uint8)
    labels = blocks.repeat(32, axis=1).repeat(32, axis=2)
    affine = affine_from_spacing((5, 1, 1))
    image, label_map = (
        Image(voxels, affine, source=Source(spacing_source="header")),
        LabelMap(labels, affine, structures),
    )
    network = build_network(settings.network, in_channels=1, out_channels=STRUCTURES + 1)
    on = device.choose_device()
    slices = build_slices([(image, label_map)], settings.preprocess, stride=int(network.stride)).to(on)
    cost = count_cost(network, (1, *slices.frame))
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    material = training_state.Material(
        settings, ("image",), device.with_layout(network, on), slices, (), sides=((), ()), seal=Seal.new()
    )
    step, generator, seconds = training_state.Step(material, structures), torch.Generator().manual_seed(0), []
    for count in range(steps + 2):
        start = time.perf_counter()
        indices = torch.randint(len(slices), (settings.batch_size,), generator=generator)
        batch = slices.sample(indices, augmentation=settings.augmentation, generator=generator)
        float(step.learn(batch, 1e-3, 0.0))
        if count >= 2:
            seconds.append(time.perf_counter() - start)
    result = {
        "training": statistics.median(seconds) / settings.batch_size,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
    }
    model = TrainedModel("speed", settings, structures, ("image",), weights)
    for name, precision in (("prediction", "float32"), ("fast prediction", "auto")):
        prediction.predict(model, Image(voxels[:8], affine), precision=precision)
        start = time.perf_counter()
        prediction.predict(model, image, precision=precision)
        result[name] = (time.perf_counter() - start) / len(voxels)
    return result


def _planned_factor() -> float:
    """Give how many of the sample's own pixels the plan's are long."""
    from autoseg.data.cases import find_cases, read_case
    from autoseg.training.plan import plan_settings

    found = find_cases(SAMPLE)
    image, _ = read_case(found.cases[0], found.structures)
    spacing = plan_settings(found).settings.preprocess.spacing_mm or image.spacing_mm[1]
    return max(1.0, float(spacing / image.spacing_mm[1]))


def _published(size: int, steps: int) -> dict[str, float]:
    import torch

    from autoseg.model.networks import build_network
    from autoseg.model.networks.cost import count_cost
    from autoseg.model.settings.settings import NetworkSettings

    network = build_network(NetworkSettings(name="pyramid"), in_channels=1, out_channels=STRUCTURES + 1)
    cost = count_cost(network, (1, size, size))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images = torch.randn(5, 1, size, size)
    target = torch.nn.functional.one_hot(torch.randint(0, STRUCTURES + 1, (5, size, size)), STRUCTURES + 1)
    target = target.permute(0, 3, 1, 2).float().contiguous()
    drawn, seconds, slices_s = torch.ones(5, STRUCTURES, dtype=torch.bool), [], []
    network.train()
    for count in range(steps + 2):
        start = time.perf_counter()
        outputs = network.learn(images, target.argmax(1), drawn)
        loss = torch.zeros(())
        for logits in (outputs.logits, *outputs.others):
            probability = logits.softmax(1)
            overlap = (probability * target).sum((0, 2, 3))
            total = (probability.square() + target).sum((0, 2, 3))
            loss = loss + 1 - (2 * overlap / total)[1:].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if count >= 2:
            seconds.append((time.perf_counter() - start) / len(images))
    network.eval()
    with torch.inference_mode():
        for count in range(steps + 2):
            start = time.perf_counter()
            network(images[:1]).argmax(1)
            if count >= 2:
                slices_s.append(time.perf_counter() - start)
    prediction = statistics.median(slices_s)
    return {
        "training": statistics.median(seconds),
        "prediction": prediction,
        "fast prediction": prediction,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
    }


def main() -> None:
    """Measure all in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of a slice, a multiple of 32")
    parser.add_argument("--steps", type=int, default=6, help="timed training steps in each process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--variant", choices=NAMES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.variant:
        print(json.dumps(measure(chosen.variant, chosen.size, chosen.steps)))
        return
    passed_on = [f"--size={chosen.size}", f"--steps={chosen.steps}"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen.only}
    for number in range(chosen.rounds):
        for name, results in found.items():
            command = [sys.executable, __file__, *passed_on, "--variant", name]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
        print(f"round {number + 1} of {chosen.rounds} done", flush=True)
    print(f"\nSlices of {chosen.size} × {chosen.size}, {STRUCTURES} structures; medians of {chosen.rounds} rounds")
    print(
        f"{'':22}{'parameters':>12}{'G mult-adds':>13}{'train ms/image':>16}{'images/s':>10}"
        f"{'predict ms/slice':>18}{'fast':>8}"
    )
    for name, results in found.items():
        middle = {key: statistics.median(row[key] for row in results) for key in results[0]}
        print(
            f"{name:22}{middle['parameters'] / 1e6:10.2f} M{middle['multiply_adds'] / 1e9:13.2f}"
            f"{1000 * middle['training']:16.1f}{1 / middle['training']:10.1f}"
            f"{1000 * middle['prediction']:18.1f}{1000 * middle['fast prediction']:8.1f}"
        )
    if PUBLISHED in found:
        for name, results in found.items():
            ratios = {
                what: statistics.median(
                    theirs[what] / own[what] for own, theirs in zip(results, found[PUBLISHED], strict=True)
                )
                for what in ("training", "prediction", "fast prediction")
            }
            words = ", ".join(f"{what} {ratio:.1f}" for what, ratio in ratios.items())
            print(f"{name}: times the throughput of the {PUBLISHED}: {words}")


if __name__ == "__main__":
    main()
