"""Seconds and memory for one volume's prediction, against the same network under MONAI's sliding window.

    python benchmarks/volumes.py [--data ../shared/data] [--rounds 5] [--volumes hippocampus cord large]

Three volumes: a hippocampus that one window holds, a spinal cord at 0.5 mm in windows of 64 × 64 × 48, and noise
of 512 × 512 × 300 voxels. Where the data are not there, noise of their size takes their place: the time does not
depend on what is seen. "ours" is `predict` as areas are reported, in float32, from the image in memory to labels on
its own grid; "fast" the same in the faster format. "plain" is what one would write first: the same standardised
volume, weights, windows, overlap and Gaussian weights in `monai.inferers.sliding_window_inference`, in float32 with
channels first, torch's own normalisation, and the answer brought back as a whole. Every run has a process of its
own; they take turns, and ratios are taken round by round. The large volume is for the memory: it is predicted once,
with few filters and windows of 96, by ours alone, and must stay below 6 GiB. Run it on a quiet machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = {
    "hippocampus": "hippocampus-msd/images/hippocampus_001.nii.gz",
    "cord": "cord-sct-testing/t2/t2.nii.gz",
}
# Shape and spacing of the noise, spacing and windows of the network, its filters.
KINDS = {
    "hippocampus": ((35, 51, 35), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (40, 56, 40), (32, 64, 128, 256)),
    "cord": ((60, 200, 200), (0.8, 0.5, 0.5), (0.5, 0.5, 0.5), (64, 64, 48), (32, 64, 128, 256)),
    "large": ((300, 512, 512), (1.0, 0.7, 0.7), (0.7, 0.7, 1.0), (96, 96, 96), (8, 16, 32)),
}
CLASSES = 3
GIB = 2**30


def measure(variant: str, kind: str, data: Path, slices: int | None = None) -> dict[str, float]:
    """Measure one variant in this process: seconds of the second prediction, and the most memory in use, in GiB."""
    import torch

    from autoseg.model import device

    if variant == "plain":
        _make_plain()
    torch.manual_seed(0)
    image, model = _image(kind, data, slices), _model(kind)
    before = _resident()
    run = _plain if variant == "plain" else _ours
    if kind != "large":
        run(model, image, "auto" if variant == "fast" else "float32")
    start = time.perf_counter()
    with Peak() as peak:
        labels = run(model, image, "auto" if variant == "fast" else "float32")
    seconds = time.perf_counter() - start
    _, network, patch = _seen(model, image)
    assert labels.shape == image.shape
    return {
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "grown_gib": (peak.most - before) / GIB,
        "voxels": float(torch.tensor(network).prod()),
        "windows": float(
            torch.tensor([len(_starts(n, one)) for n, one in zip(network, patch, strict=True)]).prod()
        ),
        "bfloat16": float(device.choose_precision("auto", device.choose_device()) == torch.bfloat16),
    }


class Peak:
    """Watches how much memory this process has in use, every 5 ms."""

    def __enter__(self) -> "Peak":
        self.most, self._over = _resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, _resident())


def _resident() -> int:
    import psutil

    return psutil.Process().memory_info().rss


def _image(kind: str, data: Path, slices: int | None):
    import numpy as np

    from autoseg.files.nifti.images import read_nifti_image
    from autoseg.image.geometry import affine_from_spacing
    from autoseg.image.image import Image, Source

    if kind in FILES and (data / FILES[kind]).exists():
        return read_nifti_image(data / FILES[kind])[0]
    shape, spacing, *_ = KINDS[kind]
    voxels = np.random.default_rng(0).integers(0, 1000, (slices or shape[0], *shape[1:]), dtype=np.int16)
    return Image(voxels, affine_from_spacing(spacing), source=Source(case_id=kind, spacing_source="header"))


def _model(kind: str):
    from autoseg.image.structures import Structure
    from autoseg.model.model import TrainedModel
    from autoseg.model.networks import build_network
    from autoseg.model.settings.settings import NetworkSettings, Settings, VolumeSettings

    _, _, spacing, patch, filters = KINDS[kind]
    settings = Settings(
        spatial_dims=3,
        volume=VolumeSettings(spacing_mm=spacing, patch_size=patch),
        network=NetworkSettings(filters=filters),
    )
    network = build_network(settings.network, in_channels=1, out_channels=CLASSES, spatial_dims=3)
    structures = tuple(Structure(k, f"structure {k}") for k in range(1, CLASSES))
    return TrainedModel(kind, settings, structures, ("image",), network.state_dict())


def _seen(model, image):
    from autoseg.model.preprocessing.volume_grids import grid_of

    grid, patch = grid_of(image, model.settings.volume), model.settings.volume.patch_size
    return grid, tuple(max(n, one) for n, one in zip(grid.network, patch, strict=True)), patch


def _starts(size: int, window: int) -> list[int]:
    from autoseg.model.preprocessing.sliding_window import window_starts

    return window_starts(size, window, 0.5)


def _ours(model, image, precision: str):
    from autoseg.prediction import predict

    return predict(model, image, precision=precision)


def _make_plain() -> None:
    from torch.nn import functional

    from autoseg.model.networks import layers

    def torch_norm(self, features, shortcut=None):
        normal = functional.instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)
        return functional.leaky_relu(normal, layers.SLOPE, inplace=True)

    layers.InstanceNormLeakyReLU.forward = torch_norm
    layers._has_onednn = lambda: False  # torch chooses how it convolves


def _plain(model, image, precision: str):
    import numpy as np
    import torch
    from monai.inferers import sliding_window_inference
    from torch.nn import functional

    from autoseg.image.image import LabelMap
    from autoseg.model.dataset import store_image

    network, (grid, _, patch) = model.build().eval(), _seen(model, image)
    with torch.inference_mode():
        volume = store_image(image, grid, model.settings)[None]
        logits = sliding_window_inference(volume, patch, 1, network, overlap=0.5, mode="gaussian")
        flipped = logits.flip([2 + k for k, flip in enumerate(grid.flipped) if flip])
        turned = flipped.permute(0, 1, *(2 + grid.axes.index(axis) for axis in range(3)))
        native = functional.interpolate(turned, grid.native, mode="trilinear").argmax(1)[0]
    voxels = np.ascontiguousarray(native.numpy().astype(np.uint8))
    return LabelMap(voxels, image.affine, model.structures, source=image.source)


def _child(variant: str, kind: str, data: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--data", str(data), "--variant", variant, "--volumes", kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(done.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--volumes", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    parser.add_argument("--slices", type=int, help="of the noise, in place of 300")
    parser.add_argument("--variant", choices=("ours", "fast", "plain"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.variant:
        print(json.dumps(measure(chosen.variant, chosen.volumes[0], chosen.data, chosen.slices)))
        return
    for kind in chosen.volumes:
        if kind == "large":
            found = _child("ours", kind, chosen.data)
            print(f"large: {found['seconds']:.0f} s, at most {found['peak_gib']:.2f} GiB in use (limit 6)")
            continue
        rounds = []
        for _ in range(chosen.rounds):
            rounds.append({variant: _child(variant, kind, chosen.data) for variant in ("ours", "plain", "fast")})
        windows = int(rounds[0]["ours"]["windows"])
        print(f"{kind}: {windows} window(s), {rounds[0]['ours']['voxels'] / 1e6:.2f} million voxels")
        for variant in ("plain", "ours", "fast"):
            seconds = statistics.median(one[variant]["seconds"] for one in rounds)
            ratios = sorted(one["plain"]["seconds"] / one[variant]["seconds"] for one in rounds)
            peak = statistics.median(one[variant]["peak_gib"] for one in rounds)
            grown = statistics.median(one[variant]["grown_gib"] for one in rounds)
            print(
                f"  {variant:6} {seconds:.2f} s, {statistics.median(ratios):.2f} times as fast as plain "
                f"(from {ratios[0]:.2f} to {ratios[-1]:.2f}); at most {peak:.2f} GiB in use, "
                f"{grown:.2f} of it for the prediction",
                flush=True,
            )


if __name__ == "__main__":
    main()
