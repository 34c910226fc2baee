"""A cohort of synthetic patients: seconds per patient, memory, a kill in the middle, added patients, what failed.

    python benchmarks/cohort.py [--patients 1000] [--pixels 64] [--slices 20]

One patient in a hundred (at least five) is broken, each in another way. The cohort is run in a process of its own,
which is killed when half of it is done; the same call goes on, and once more with five patients added. The
benchmark fails where a patient was done twice, a broken one has a result, a sound one has none, or the table lacks
a row. The model is small and has fresh weights: what is measured is all around it.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
BROKEN = ("truncated", "no pixels", "no spacing", "no image", "empty")
ADDED = 5


def make_patient(folder: Path, number: int, *, pixels: int, slices: int) -> None:
    """Write one patient's series of slices."""
    import pydicom

    from autoseg.files.dicom.phantoms import Phantom, write_phantom

    places = tuple(4.0 * place for place in range(slices))
    spacing = (128 / pixels, 128 / pixels)
    phantom = Phantom(f"p{number}", rows=pixels, columns=pixels, pixel_spacing_mm=spacing, places_mm=places)
    for path in write_phantom(folder, phantom):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = f"id-{number}"
        dataset.save_as(path)


def spoil(folder: Path, how: str) -> None:
    """Break a patient's files."""
    import pydicom
    from pydicom.uid import BasicTextSRStorage

    for path in sorted(folder.iterdir()):
        if how == "truncated":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            continue
        if how == "empty":
            path.unlink()
            continue
        dataset = pydicom.dcmread(path)
        if how == "no spacing":
            del dataset.PixelSpacing
        else:
            del dataset.PixelData
        if how == "no image":
            dataset.Modality, dataset.SOPClassUID = "SR", BasicTextSRStorage
            dataset.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
        dataset.save_as(path)


def memory_mib() -> tuple[float, float]:
    """Give what this process holds now, and the most that it held (as folder.py)."""
    import psutil
    from folder import peak_mib

    return psutil.Process().memory_info().rss / 2**20, peak_mib()


def work(cohort: Path, output: Path) -> None:
    """Run the cohort in this process; print a line of JSON for each patient, and one for the end."""
    import torch

    from autoseg.image.structures import Structure
    from autoseg.model.model import TrainedModel
    from autoseg.model.networks import build_network
    from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
    from autoseg.prediction.cohort import CohortProgress, segment_cohort
    from autoseg.prediction.run import RunRequest, mean_of

    torch.manual_seed(0)
    network = NetworkSettings(filters=(4, 8, 16))
    settings = Settings(network=network, preprocess=PreprocessSettings(spacing_mm=2.0))
    weights = build_network(network, in_channels=1, out_channels=3).state_dict()
    structures = (Structure(1, "cavity"), Structure(2, "myocardium"))
    model = TrainedModel("small", settings, structures, ("image",), weights)
    started = time.perf_counter()

    def tell(progress: CohortProgress) -> None:
        if progress.result is not None:
            now, most = memory_mib()
            done = {"number": progress.number, "is_earlier": progress.is_earlier, "now": now, "most": most}
            print(json.dumps({**done, "seconds": time.perf_counter() - started}), flush=True)

    found = segment_cohort(RunRequest(mean_of(model, look=False), cohort), output, on_progress=tell)
    written = time.perf_counter() - started
    now, most = memory_mib()
    end = {"segmented": found.segmented, "earlier": found.earlier, "folder": str(found.folder)}
    print(json.dumps({**end, "elapsed": written, "now": now, "most": most}), flush=True)


def run(cohort: Path, output: Path, *, kill_at: int = 0) -> list[dict]:
    """Run the cohort in a process of its own and give what it told; it is killed at patient `kill_at`."""
    command = [sys.executable, __file__, "--work", str(cohort), str(output)]
    told = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("{"):
                told.append(json.loads(line))
                if kill_at and told[-1].get("number") == kill_at:
                    process.kill()
                    return told
    if process.returncode:
        raise SystemExit("The cohort failed.")
    return told


def tell_of(name: str, told: list[dict]) -> None:
    """Print the time and the memory of a call along its patients."""
    print(f"{name}:")
    patients = [one for one in told if "number" in one]
    step = max(1, len(patients) // 10)
    for before, one in zip([None, *patients[step - 1 :: step]], patients[step - 1 :: step], strict=False):
        count = one["number"] - (before["number"] if before else 0)
        seconds = one["seconds"] - (before["seconds"] if before else 0.0)
        print(
            f"  patient {one['number']:5d}: {seconds / count:6.2f} s per patient since the line before, "
            f"memory {one['now']:.0f} MiB, at most {one['most']:.0f} MiB"
        )
    end = told[-1]
    if "segmented" in end:
        tables = end["elapsed"] - patients[-1]["seconds"]
        print(
            f"  {end['segmented']} segmented, {end['earlier']} of before, {end['elapsed']:.1f} s in all, "
            f"{tables:.1f} s of them for the tables; at most {end['most']:.0f} MiB"
        )
    sys.stdout.flush()


def check(folder: Path, broken: dict[str, str], *, count: int, slices: int) -> None:
    """Compare what was written with what was made; print what failed and why."""
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    failed = {row["folder"]: row["why"] for row in rows if row["result"] == "failed"}
    runs = [path.name for path in (folder / "runs").iterdir() if path.is_dir() and path.name[0] != "."]
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        of_runs = Counter(row["run"] for row in reader)
    print("What failed:")
    for name, why in failed.items():
        print(f"  {name} ({broken.get(name, 'sound')}): {why}")
    print(f"{len(rows)} patients, {len(runs)} runs, {sum(of_runs.values())} rows in measurements.csv")
    wrong = [
        *(f"{name} ({how}) has a result" for name, how in broken.items() if name not in failed),
        *(f"{name} failed" for name in failed if name not in broken),
        *(f"{name} was done twice" for name in runs if "_" in name),
        *(f"{name} has {rows} rows" for name, rows in of_runs.items() if rows != 2 * slices),
    ]
    if len(rows) != count or len(of_runs) != count - len(failed) or len(runs) != len(of_runs):
        wrong.append(f"{len(rows)} patients are told, {len(of_runs)} are in the table and {len(runs)} have a run")
    if wrong:
        raise SystemExit("; ".join(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--work", type=Path, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(*chosen.work)
        return
    with tempfile.TemporaryDirectory() as temporary:
        cohort, output = Path(temporary) / "cohort", Path(temporary) / "out"
        count = chosen.patients
        every = count // max(count // 100, len(BROKEN))
        broken = {}
        started = time.perf_counter()
        for number in range(1, count + ADDED + 1):
            place = Path(temporary) / "later" if number > count else cohort
            make_patient(place / f"p{number}", number, pixels=chosen.pixels, slices=chosen.slices)
            if number <= count and number % every == 0:
                broken[f"p{number}"] = BROKEN[number // every % len(BROKEN)]
                spoil(cohort / f"p{number}", broken[f"p{number}"])
        print(f"{count} patients made in {time.perf_counter() - started:.0f} s", flush=True)
        tell_of("Until it was killed", run(cohort, output, kill_at=count // 2))
        told = run(cohort, output)
        tell_of("The same call again", told)
        check(Path(told[-1]["folder"]), broken, count=count, slices=chosen.slices)
        for path in sorted((Path(temporary) / "later").iterdir()):
            path.rename(cohort / path.name)
        told = run(cohort, output)
        tell_of(f"With {ADDED} patients added", told)
        if told[-1]["segmented"] != ADDED:
            raise SystemExit(f"{told[-1]['segmented']} were segmented.")
        check(Path(told[-1]["folder"]), broken, count=count + ADDED, slices=chosen.slices)


if __name__ == "__main__":
    main()
