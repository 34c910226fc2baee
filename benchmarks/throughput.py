"""Images a second in training and slices a second in prediction, against the same loop done plainly.

    python benchmarks/throughput.py [--size 256] [--pairs 5]

Both sides run the project's own loop (fused augmentation, network, loss, AdamW, running average) on the
same slices and the same network. "plain" is what one would write first: float32, channels first, torch's
InstanceNorm2d and LeakyReLU, the system's own memory management. The two alternate in processes of their
own, and the ratio is taken pair by pair. Run it on a quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def measure(variant: str, size: int, batch_size: int, steps: int) -> dict[str, float]:
    """Measure one variant in this process: images per second in training and in prediction."""
    import numpy as np
    import torch
    from torch.nn import functional

    from autoseg import prediction
    from autoseg.data.digests import Seal
    from autoseg.image.geometry import affine_from_spacing
    from autoseg.image.image import Image, LabelMap, Source
    from autoseg.image.structures import Structure
    from autoseg.model import device
    from autoseg.model.dataset import build_slices
    from autoseg.model.model import TrainedModel
    from autoseg.model.networks import build_network, layers
    from autoseg.model.settings.settings import PreprocessSettings, Settings
    from autoseg.training import step as training_state

    if variant == "plain":

        def torch_norm(self, features):
            normal = functional.instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)
            return functional.leaky_relu(normal, layers.SLOPE, inplace=True)

        layers.InstanceNormLeakyReLU.forward = torch_norm
        layers._has_onednn = lambda: False  # torch chooses how it convolves
        device.choice.LAYOUTS[4] = torch.contiguous_format
        sys.modules["autoseg.prediction.predict"].keep_freed_memory = lambda: None
    else:
        device.keep_freed_memory()
    torch.manual_seed(0)
    settings = Settings(
        batch_size=batch_size,
        preprocess=PreprocessSettings(spacing_mm=1.0),
        precision="float32" if variant == "plain" else "auto",
    )
    rng = np.random.default_rng(0)
    voxels = rng.normal(100, 30, (4 * batch_size, size, size)).astype(np.float32)
    labels = rng.integers(0, 3, voxels.shape).astype(np.uint8)
    structures = (Structure(1, "a"), Structure(2, "b"))
    affine, source = affine_from_spacing((5, 1, 1)), Source(spacing_source="header")
    image, label_map = Image(voxels, affine, source=source), LabelMap(labels, affine, structures)
    slices = build_slices([(image, label_map)], settings.preprocess, stride=32)
    network = build_network(settings.network, in_channels=1, out_channels=3)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    on = device.choose_device()
    slices, generator, seconds = slices.to(on), torch.Generator().manual_seed(0), []
    network = device.with_layout(network, on)
    material = training_state.Material(settings, ("image",), network, slices, (), sides=((), ()), seal=Seal.new())
    step = training_state.Step(material, structures)
    for count in range(steps + 2):
        start = time.perf_counter()
        indices = torch.randint(len(slices), (batch_size,), generator=generator)
        batch = slices.sample(indices, augmentation=settings.augmentation, generator=generator)
        float(step.learn(batch, 1e-3, 0.0))
        if count >= 2:
            seconds.append(time.perf_counter() - start)
    model = TrainedModel("speed", settings, structures, ("image",), weights)
    result = {"training": batch_size / statistics.median(seconds)}
    # Areas are reported in float32 unless the user asks for the faster format.
    for name, precision in (("prediction", "float32"), ("fast prediction", settings.precision)):
        prediction.predict(model, Image(voxels[:batch_size], affine), precision=precision)
        start = time.perf_counter()
        prediction.predict(model, image, precision=precision)
        result[name] = len(voxels) / (time.perf_counter() - start)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of a slice")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12, help="timed training steps in each process")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--variant", choices=("autoseg", "plain"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.variant:
        print(json.dumps(measure(chosen.variant, chosen.size, chosen.batch_size, chosen.steps)))
        return
    passed_on = [f"--size={chosen.size}", f"--batch-size={chosen.batch_size}", f"--steps={chosen.steps}"]
    pairs = []
    for number in range(chosen.pairs):
        pair = {}
        for variant in ("autoseg", "plain"):
            command = [sys.executable, __file__, *passed_on, "--variant", variant]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            pair[variant] = json.loads(output.splitlines()[-1])
        pairs.append(pair)
        print(f"pair {number + 1}: {pair}", flush=True)
    for what in ("training", "prediction", "fast prediction"):
        ours, plain = (statistics.median(p[v][what] for p in pairs) for v in ("autoseg", "plain"))
        ratios = sorted(p["autoseg"][what] / p["plain"][what] for p in pairs)
        print(
            f"{what}, {chosen.size} x {chosen.size}, batch {chosen.batch_size}: autoseg {ours:.1f} slices/s, "
            f"plain {plain:.1f}; ratio median {statistics.median(ratios):.2f} "
            f"(from {ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
