"""More slices than the memory holds: how much memory, how long to begin, and how fast beside learning in memory.

    python benchmarks/large_data.py [--slices 20000] [--size 512] [--folder FOLDER] [--steps 60] [--pairs 3]

Made-up scans are written to FOLDER (a temporary one by default; 20,000 slices of 512 × 512 take 16 GB there, and
26 GB in the cache beside them). Then the project's own training runs in processes of their own: twice with pixels
in the cache, where the second start reads no file, and with as many scans as fit in memory. Memory is the peak of a
whole process, the network's included. Speed is taken in pairs, cache and memory in turn: take a quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

SLICES_OF_SCAN = 100
# What the network sees of the widest image, where nobody chooses.
SEEN = 192


def write_scans(folder: Path, slices: int, size: int) -> None:
    """Write scans of noise with a bright disc each, and its label."""
    import numpy as np

    from autoseg.files.nifti.volumes import write_nifti
    from autoseg.files.tables import write_structures
    from autoseg.image.geometry import affine_from_spacing
    from autoseg.image.image import Image, LabelMap
    from autoseg.image.structures import Structure

    structures, affine = (Structure(1, "disc"),), affine_from_spacing((5.0, 1.0, 1.0))
    rng, rows = np.random.default_rng(0), np.arange(size)
    noise = rng.integers(0, 60, (size + SLICES_OF_SCAN, size), dtype=np.int16)
    for number in range(-(-slices // SLICES_OF_SCAN)):
        if (folder / "labels" / f"p{number:04d}.nii").exists():
            continue
        count = min(SLICES_OF_SCAN, slices - number * SLICES_OF_SCAN)
        row, column, radius = (
            rng.uniform(0.3, 0.7) * size,
            rng.uniform(0.3, 0.7) * size,
            rng.uniform(0.1, 0.2) * size,
        )
        disc = np.hypot(rows[:, None] - row, rows - column) < radius
        voxels = np.stack([noise[place : place + size] + 80 * disc for place in range(count)]).astype(np.int16)
        labels = np.broadcast_to(disc, voxels.shape).astype(np.uint8)
        write_nifti(folder / "images" / f"p{number:04d}.nii", Image(voxels, affine))
        write_nifti(folder / "labels" / f"p{number:04d}.nii", LabelMap(labels, affine, structures))
    write_structures(folder / "structures.csv", structures)


def learn(folder: Path, size: int, steps: int, scans: int, where: str) -> dict[str, float]:
    """Take some steps of a training in this process; give seconds to the first, slices a second, and GiB."""
    from autoseg.data.cases import find_cases
    from autoseg.data.split import Split
    from autoseg.model.settings.settings import PreprocessSettings, Settings
    from autoseg.training.inputs import Inputs
    from autoseg.training.training import train

    settings = Settings(epochs=1000, batch_size=8, preprocess=PreprocessSettings(spacing_mm=max(1.0, size / SEEN)))
    found, times = find_cases(folder), [time.perf_counter()]

    def should_stop() -> bool:
        times.append(time.perf_counter())
        return len(times) > steps + 1

    train(
        Split(training=found.cases[1:scans], validation=found.cases[:1], test=()),
        settings,
        structures=found.structures,
        should_stop=should_stop,
        inputs=Inputs(most_bytes=0 if where == "cache" else float("inf")),
    )
    of_steps = [later - earlier for earlier, later in pairwise(times[1:])]
    return {
        "start": times[1] - times[0],
        # The mean, as a step that waits for the disk counts.
        "speed": settings.batch_size / statistics.mean(of_steps[2:]),
        "memory": peak_bytes() / 2**30,
    }


def peak_bytes() -> int:
    """Give the most memory that this process has had."""
    import psutil

    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(*arguments: object) -> dict[str, float]:
    """Do the same in a process of its own."""
    command = [sys.executable, __file__, "--learn", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Write the scans, learn from them, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--memory-gb", type=float, default=6.0, help="what the scans in memory may take")
    parser.add_argument("--learn", nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.learn:
        folder, *numbers, where = chosen.learn
        print(json.dumps(learn(Path(folder), *map(int, numbers), where)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        os.environ["AUTOSEG_CACHE"] = str(folder / "cache")
        write_scans(folder / "scans", chosen.slices, chosen.size)
        scans = -(-chosen.slices // SLICES_OF_SCAN)
        # 3 bytes of a pixel as it is read, and twice 8 as slices are put together.
        fit = int(chosen.memory_gb * 1e9 / (19 * SLICES_OF_SCAN * chosen.size**2))
        own = folder / "scans", chosen.size, chosen.steps
        rows = {"first start": run(*own, scans, "cache"), "next start": run(*own, scans, "cache")}
        ratios = []
        for number in range(chosen.pairs):
            os.environ["AUTOSEG_CACHE"] = str(folder / "none")
            rows["in memory"] = run(*own, max(2, min(scans, fit)), "memory")
            os.environ["AUTOSEG_CACHE"] = str(folder / "cache")
            rows["cache"] = run(*own, scans, "cache")
            ratios.append(rows["cache"]["speed"] / rows["in memory"]["speed"])
            print(f"pair {number + 1}: {ratios[-1]:.3f} of the speed in memory", flush=True)
        print(f"{chosen.slices} slices of {chosen.size} × {chosen.size} pixels; in memory {min(scans, fit)} scans")
        print(f"{'':12} {'s to the first step':>20} {'slices/s':>10} {'GiB':>6}")
        for name, row in rows.items():
            print(f"{name:12} {row['start']:20.1f} {row['speed']:10.2f} {row['memory']:6.2f}")
        print(f"speed with the cache: {statistics.median(ratios):.3f} of that in memory (median of {chosen.pairs})")


if __name__ == "__main__":
    main()
