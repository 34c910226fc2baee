"""Time and peak memory of reading and segmenting a folder, up to 1,000 slices; both should grow linearly.

    python benchmarks/folder.py [--slices 250 500 1000]

The folder is made from the sample: its slices again and again as one long series. Each size runs in a
process of its own, because a process never forgets its peak memory. The model has fresh weights, which
take the same time as trained ones.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "test" / "dicoms"


def make_folder(folder: Path, count: int) -> None:
    """Write `count` slices as one series, 1 mm apart."""
    import warnings

    import pydicom

    warnings.simplefilter("ignore")  # the publisher's UIDs have components with leading zeros
    originals = [pydicom.dcmread(path) for path in sorted(SAMPLE.iterdir())]
    for number in range(count):
        dataset = originals[number % len(originals)]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [0, 0, number]
        dataset.SeriesInstanceUID = "1.2.3.4"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
        dataset.InstanceNumber = number + 1
        dataset.save_as(folder / f"{number:05d}.dcm")


def peak_mib() -> float:
    import psutil

    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(folder: Path) -> dict[str, float]:
    import torch

    from autoseg.files.dicom.series import find_series, read_series
    from autoseg.image.structures import Structure
    from autoseg.measurement.areas import measure_areas
    from autoseg.model.model import TrainedModel
    from autoseg.model.networks import build_network
    from autoseg.model.settings.settings import PreprocessSettings, Settings
    from autoseg.prediction import predict

    torch.manual_seed(0)
    settings = Settings(preprocess=PreprocessSettings(spacing_mm=2.75))
    network = build_network(settings.network, in_channels=1, out_channels=3)
    structures = (Structure(1, "cavity"), Structure(2, "myocardium"))
    model = TrainedModel("folder", settings, structures, ("image",), network.state_dict())
    result = {"peak before MiB": peak_mib()}
    start = time.perf_counter()
    found = find_series(folder)
    result["find s"] = time.perf_counter() - start
    start = time.perf_counter()
    (image,) = read_series(found.series[0])
    result["read s"] = time.perf_counter() - start
    start = time.perf_counter()
    label_map = predict(model, image)
    result["predict s"] = time.perf_counter() - start
    start = time.perf_counter()
    measure_areas(label_map, image=image)
    result["measure s"] = time.perf_counter() - start
    result["peak MiB"] = peak_mib()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.folder:
        print(json.dumps(measure(chosen.folder)))
        return
    for count in chosen.slices:
        with tempfile.TemporaryDirectory() as folder:
            make_folder(Path(folder), count)
            command = [sys.executable, __file__, "--folder", folder]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        values = json.loads(output.splitlines()[-1])
        print(f"{count} slices: " + ", ".join(f"{key} {value:.1f}" for key, value in values.items()), flush=True)


if __name__ == "__main__":
    main()
