"""One table: what work takes here and with a peer, and how far it is from what the machine itself can do.

    python benchmarks/table.py [--minutes 5] [--data ../shared/data] [--only reading areas]

Gathers what the other benchmarks measure in pairs: learning and predicting beside the multi-scale pyramid as
published (`networks.py`) and beside the same network done plainly (`throughput.py`), volumes beside MONAI's sliding
window (`volumes.py`), reading DICOM beside pydicom (`reading.py`), and resampling, areas and contours beside scipy
and OpenCV. Ours and the peer take turns, in processes of their own; another round begins only
where it would end within the minutes. Ratios are taken pair by pair, and their median is shown.

The limit is what the arithmetic or the traffic with the memory would take at the machine's own best, whichever is
longer: the largest matrix product in that number format, and a triad (a = b + s · c) over arrays that no cache
holds. Of a network the multiply-adds are counted (three times as many where it learns), of all else the bytes that
are read and written once. A work without either has none. What was not run is named below. Run it on a quiet
machine; OMP_NUM_THREADS=1 measures one core, the machine's best as well.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import networks
import reading
import throughput
import volumes

SIZE, BATCH, STEPS = 256, 8, 3
Found = dict[str, float]


@dataclass(frozen=True)
class Work:
    """A line of the table: the keys of its milliseconds, ours and the peer's, in what parts give.

    `operations` or `bytes` is the key of what one piece of work needs at the least.
    """

    name: str
    peer: str
    ours: str
    theirs: str
    operations: str = ""
    bytes: str = ""


WORKS = (
    Work("learning, a slice as planned", "published pyramid", "planned training", "published training", "learns"),
    Work("predicting, a slice as planned", "published pyramid", "planned", "published", "predicts"),
    Work("learning, a slice", "same network, plainly", "step", "plain step", "step learns"),
    Work("predicting, a slice", "same network, plainly", "slice", "plain slice", "step predicts"),
    Work("predicting a hippocampus", "MONAI, same network", "volume", "plain volume", "volume predicts"),
    Work("reading a DICOM slice", "pydicom in a loop", "read", "pydicom", bytes="read bytes"),
    Work("resampling a volume", "scipy.ndimage.zoom", "resampled", "scipy", bytes="resampled bytes"),
    Work("measuring areas, a slice", "scipy.ndimage", "areas", "counted", bytes="areas bytes"),
    Work("filling a contour, exactly", "cv2.fillPoly, rounding", "filled", "opencv", bytes="filled bytes"),
)
NOT_RUN = {
    "accuracy.py": "Dice and prediction beside nnU-Net after the same minutes (it learns for minutes)",
    "published.py": "how soon the published pyramid's Dice is reached (an hour)",
    "pretrained.py": "a start that knows photographs (minutes a set)",
    "large_data.py": "data larger than the memory",
    "folder.py": "time and memory of a folder of 1,000 slices",
    "viewer.py": "how soon the viewer shows a slice",
    "cluster.py": "folds, patients and one training on several processes beside one",
}
# What others measured the network in; nothing here needs them.
ENGINES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


# --- what the machine can do


def machine() -> Found:
    """Measure the triad in bytes a second and the matrix product in operations a second, by format."""
    import torch

    b, c = torch.ones(2**25), torch.ones(2**25)
    a = torch.empty_like(b)
    seconds = best(lambda: torch.add(b, c, alpha=2.0, out=a))
    found = {"bytes/s": 3 * a.nbytes / seconds, "threads": float(torch.get_num_threads())}
    for name in ("float32", "bfloat16"):
        size = 512
        while True:  # until the product is large enough for its time to be its arithmetic's
            one, other = (torch.rand(size, size).to(getattr(torch, name)) for _ in range(2))
            seconds = best(lambda one=one, other=other: one @ other)
            if seconds > 0.1 or size >= 4096:
                break
            size *= 2
        found[name] = 2 * size**3 / seconds
    return found


def best(work: Callable[[], object], times: int = 5) -> float:
    """Give the fewest seconds of some tries, after one that warms up."""
    work()
    return min(timed(work) for _ in range(times))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- parts, each in a process of its own: milliseconds of each piece of work, ours and the peer's


def planned(data: Path) -> Found:
    found = networks.measure(networks.PLANNED, SIZE, STEPS)
    operations = 2 * found["multiply_adds"]
    return {
        "planned training": 1000 * found["training"],
        "planned": 1000 * found["prediction"],
        "predicts": operations,
        "learns": 3 * operations,
        "bfloat16": _learns_in_bfloat16(),
    }


def _learns_in_bfloat16() -> float:
    import torch

    from autoseg.model import device

    return float(device.choose_precision("auto", device.choose_device()) == torch.bfloat16)


def published(data: Path) -> Found:
    found = networks.measure(networks.PUBLISHED, SIZE, STEPS)
    return {"published training": 1000 * found["training"], "published": 1000 * found["prediction"]}


def ours_in_steps(data: Path) -> Found:
    from autoseg.model.networks import build_network
    from autoseg.model.networks.cost import count_cost
    from autoseg.model.settings.settings import NetworkSettings

    found = throughput.measure("autoseg", SIZE, BATCH, STEPS)
    network = build_network(NetworkSettings(), in_channels=1, out_channels=3)
    operations = 2 * count_cost(network, (1, SIZE, SIZE)).multiply_adds
    return {
        "step": 1000 / found["training"],
        "slice": 1000 / found["prediction"],
        "step predicts": operations,
        "step learns": 3 * operations,
    }


def plain_in_steps(data: Path) -> Found:
    found = throughput.measure("plain", SIZE, BATCH, STEPS)
    return {"plain step": 1000 / found["training"], "plain slice": 1000 / found["prediction"]}


def our_volume(data: Path) -> Found:
    from autoseg.model.networks.cost import count_cost

    found = volumes.measure("ours", "hippocampus", data)
    patch = volumes.KINDS["hippocampus"][3]
    once = count_cost(volumes._model("hippocampus").build(), (1, *patch)).multiply_adds
    return {"volume": 1000 * found["seconds"], "volume predicts": 2 * once * found["windows"]}


def plain_volume(data: Path) -> Found:
    return {"plain volume": 1000 * volumes.measure("plain", "hippocampus", data)["seconds"]}


def read(data: Path) -> Found:
    slices = 60
    seconds = reading.seconds_of_readers(slices, rounds=3)
    each = {name: 1000 * statistics.median(took) / slices for name, took in seconds.items()}
    return {
        "read": each["find_series and read_series"],
        "pydicom": each["pydicom in a loop"],
        "read bytes": 2.0 * SIZE * SIZE * 2,
    }


def resampled(data: Path) -> Found:
    import numpy as np
    import torch
    from scipy import ndimage

    from autoseg.model.preprocessing.volume_grids import VolumeGrid, to_network

    native, network = (60, 200, 200), (75, 250, 250)
    voxels = np.random.default_rng(0).normal(size=native).astype(np.float32)
    grid = VolumeGrid((0, 1, 2), (False, False, False), native, network, (1.0, 1.0, 1.0))
    given, zoom = torch.from_numpy(voxels)[None], [n / m for n, m in zip(network, native, strict=True)]
    ours = best(lambda: to_network(given, grid), 3)
    theirs = best(lambda: ndimage.zoom(voxels, zoom, order=1, grid_mode=True, mode="nearest"), 2)
    moved = 4.0 * (voxels.size + np.prod(network))
    return {"resampled": 1000 * ours, "scipy": 1000 * theirs, "resampled bytes": float(moved)}


def areas(data: Path) -> Found:
    import numpy as np
    from scipy import ndimage

    from autoseg.image.geometry import affine_from_spacing
    from autoseg.image.image import LabelMap
    from autoseg.image.structures import Structure
    from autoseg.measurement.areas import measure_areas

    rows, columns = np.mgrid[:SIZE, :SIZE]
    voxels = np.zeros((20, SIZE, SIZE), dtype=np.uint8)
    for number in range(1, 7):
        voxels[:, (rows - 40 * number) ** 2 + (columns - 40 * number) ** 2 < 15**2] = number
    structures = tuple(Structure(k, f"structure {k}") for k in range(1, 7))
    label_map = LabelMap(voxels, affine_from_spacing((5.0, 1.0, 1.0)), structures)

    def theirs() -> None:
        """Pixels and pieces, which ours tells as well, beside all that it flags."""
        for one in voxels:
            ndimage.sum_labels(one > 0, one, range(1, 7))
            for number in range(1, 7):
                ndimage.label(one == number)

    return {
        "areas": 1000 * best(lambda: measure_areas(label_map), 3) / len(voxels),
        "counted": 1000 * best(theirs, 3) / len(voxels),
        "areas bytes": float(SIZE * SIZE),
    }


def filled(data: Path) -> Found:
    import numpy as np
    from contours import fill_opencv

    from autoseg.image.contours import fill_contour

    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    outline, shape = 256 + 200 * np.stack([np.cos(angle), np.sin(angle)], axis=1), (512, 512)
    return {
        "filled": 1000 * best(lambda: fill_contour(outline, shape), 10),
        "opencv": 1000 * best(lambda: fill_opencv(outline, shape), 10),
        "filled bytes": float(shape[0] * shape[1]),
    }


PARTS: dict[str, Callable[[Path], Found]] = {
    "planned": planned,
    "published": published,
    "steps": ours_in_steps,
    "plain steps": plain_in_steps,
    "volume": our_volume,
    "plain volume": plain_volume,
    "reading": read,
    "resampling": resampled,
    "areas": areas,
    "contours": filled,
}


# --- the table


def measure(parts: Sequence[str], data: Path, minutes: float) -> tuple[list[Found], dict[str, str]]:
    """Give what each round found, and the parts that failed, with the last words they said."""
    rounds, failed, start = list[Found](), dict[str, str](), time.monotonic()
    while True:
        began, found = time.monotonic(), Found()
        for name in parts:
            if name in failed:
                continue
            command = [sys.executable, __file__, "--data", str(data), "--part", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                failed[name] = (done.stderr.strip().splitlines() or ["no word"])[-1]
            else:
                found |= json.loads(done.stdout.splitlines()[-1])
        rounds.append(found)
        took, so_far = time.monotonic() - began, time.monotonic() - start
        print(f"Round {len(rounds)} took {took:.0f} s.", flush=True)
        if so_far + took > 60 * minutes:
            return rounds, failed


def line(work: Work, rounds: Sequence[Found], best_of: Mapping[str, float]) -> str | None:
    """Give a line of the table; None where it was not measured on both sides."""
    both = [one for one in rounds if work.ours in one and work.theirs in one]
    if not both:
        return None
    ours, theirs = (statistics.median(one[key] for one in both) for key in (work.ours, work.theirs))
    ratio = statistics.median(one[work.theirs] / one[work.ours] for one in both)
    where, least = "bandwidth", 0.0
    if work.operations:
        # Areas are predicted in float32; learning has the format that the processor has units for.
        learns = work.operations.endswith("learns")
        where = "bfloat16" if learns and both[0].get("bfloat16") else "float32"
        least = 1000 * both[0][work.operations] / best_of[where]
    elif work.bytes:
        least = 1000 * both[0][work.bytes] / best_of["bytes/s"]
    return (
        f"{work.name:31}{ours:10.3g}{work.peer:>25}{theirs:10.3g}{ratio:8.2f}"
        f"{where:>11}{least:10.3g}{100 * least / ours:8.1f} %"
    )


def not_there() -> list[str]:
    """Name the peers that are not on this computer, and what this script does not run."""
    from accuracy import PEER

    lines = [
        f"{title}: not installed." for name, title in ENGINES.items() if importlib.util.find_spec(name) is None
    ]
    lines += [
        f"{title}: installed, and not run: nothing here uses it."
        for name, title in ENGINES.items()
        if importlib.util.find_spec(name) is not None
    ]
    state = "there, and not run" if PEER.exists() else "not there"
    lines.append(f"nnU-Net ({PEER}): {state}; accuracy.py makes its environment and learns with it.")
    return lines + [f"{name}: not run: {what}." for name, what in NOT_RUN.items()]


def main() -> None:
    """Measure the machine and all parts in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="no round begins that would end later")
    parser.add_argument("--data", type=Path, default=volumes.DATA)
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps(PARTS[chosen.part](chosen.data)))
        return
    before = machine()
    rounds, failed = measure(chosen.only, chosen.data, chosen.minutes)
    after = machine()
    # Another program at one of the two times hides what the machine can do.
    best_of = {key: max(before[key], after[key]) for key in before}
    print(
        f"{best_of['threads']:.0f} thread(s): {best_of['bytes/s'] / 1e9:.1f} GB/s, "
        f"{best_of['float32'] / 1e9:.3g} Gflop/s in float32, {best_of['bfloat16'] / 1e9:.3g} in bfloat16",
        flush=True,
    )
    print(
        f"\n{'milliseconds':31}{'ours':>10}{'peer':>25}{'theirs':>10}{'ratio':>8}"
        f"{'limit':>11}{'of it':>10}  reached"
    )
    lines = {work.name: line(work, rounds, best_of) for work in WORKS}
    print("\n".join(text for text in lines.values() if text is not None))
    print("\nNot in the table:")
    for name, text in lines.items():
        if text is None:
            print(f"  {name}: one side or both were not measured.")
    for name, words in failed.items():
        print(f"  {name} failed: {words}")
    for words in not_there():
        print(f"  {words}")


if __name__ == "__main__":
    main()
