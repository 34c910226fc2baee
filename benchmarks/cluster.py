"""Folds and patients on workers of this computer, two processes for one training, and what more workers would do.

    python benchmarks/cluster.py [--workers 2] [--pairs 3] [--patients 24] [--only folds cohort processes]

Everything is made up and small, and done in pairs: alone and beside each other take turns, ratios are taken pair by
pair, and their median is shown; the start of the workers is in it, as a user waits for it. Efficiency is how often
faster, divided by the workers. Alone, a work has all of the computer's threads, beside each other workers share
them: that is what one has without them. `processes` is one training by `torchrun` with as many processes,
against one process: seconds of a step by its own clock.

For 1 to 64 workers a schedule is simulated from what was measured: each patient's own time alone (again and again,
until there are as many as `--simulated`), what only the first process does for a patient (finding it, its rows in
the tables), and what giving out a piece of work costs. It knows nothing of a shared disk or network, for which real
clusters wait. Take a quiet machine.
"""

import argparse
import csv
import heapq
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch
from cohort import make_patient
from large_data import write_scans

from autoseg.data.cases import find_cases
from autoseg.evaluation.crossvalidation import cross_validate
from autoseg.image.structures import Structure
from autoseg.model.device.cluster import Desk, Workers, team
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
from autoseg.prediction.cohort import CohortProgress, segment_cohort
from autoseg.prediction.run import RunRequest, mean_of

PIECES = 200
COUNTS = (1, 2, 4, 8, 16, 32, 64)
SCANS, SIDE, EPOCHS = 4, 128, 4
NETWORK = NetworkSettings(filters=(8, 16, 32))
PARTS = ("folds", "cohort", "processes")


def simulate(times: Sequence[float], workers: int, give_out: float) -> float:
    """Give the seconds until all pieces are done: whoever is free gets the next, and one is given out at a time.

    Two workers do pieces of 3, 1, 1 and 1 seconds in 3. Where giving one out takes a second, 64 workers do pieces
    of a second no sooner than one worker does.

    Examples
    --------
    >>> simulate([3, 1, 1, 1], 2, 0), simulate([3, 1, 1, 1], 1, 0), simulate([1, 1, 1], 64, 1)
    (3.0, 6.0, 3.0)
    """
    free, ready, end = [0.0] * workers, 0.0, 0.0
    for seconds in times:
        begin = max(heapq.heappop(free), ready)
        ready = begin + give_out
        heapq.heappush(free, begin + seconds)
        end = max(end, begin + seconds)
    return end


def in_pairs(
    name: str, pairs: int, workers: int, alone: Callable[[int], float], beside: Callable[[int], float]
) -> None:
    """Time both in turn, each first in every second pair, and print a line."""
    one, several = [], []
    for number in range(pairs):
        for work, kept in ((alone, one), (beside, several))[:: 1 if number % 2 == 0 else -1]:
            kept.append(work(number))
    ratio = statistics.median(a / b for a, b in zip(one, several, strict=True))
    print(
        f"{name:44}{statistics.median(one):9.2f} s{statistics.median(several):9.2f} s{ratio:7.2f} x"
        f"{ratio / workers:6.0%}   ({pairs} pairs)",
        flush=True,
    )


def fold_times(folder: Path, pairs: int, workers: Workers) -> None:
    """As many folds as workers, learnt and scored."""
    write_scans(folder / "train", SCANS * 100, SIDE)
    found = find_cases(folder / "train")
    settings = Settings(epochs=EPOCHS, network=NETWORK, preprocess=PreprocessSettings(spacing_mm=2.0))
    folds = min(workers.count or 1, SCANS)

    def run(name: str, by: Workers | None) -> float:
        start = time.perf_counter()
        cross_validate(found.cases, found.structures, settings, folder=folder / name, folds=folds, workers=by)
        return time.perf_counter() - start

    what = f"{folds} folds of {SCANS * 100} slices, {EPOCHS} epochs"
    alone, beside = (lambda n: run(f"one_{n}", None)), (lambda n: run(f"several_{n}", workers))
    in_pairs(what, pairs, folds, alone, beside)
    scores = [(folder / name / "results_slices.csv").read_bytes() for name in ("one_0", "several_0")]
    print(f"  scores of all slices: {'equal' if scores[0] == scores[1] else 'not equal byte for byte'}")


@dataclass(frozen=True)
class Costs:
    """Seconds of each patient alone, of the first process for one patient, and of giving one out."""

    patients: tuple[float, ...]
    first: float
    give_out: float


def cohort_times(folder: Path, pairs: int, workers: Workers, count: int) -> Costs:
    """Patients of 20 slices, segmented and measured."""
    for number in range(1, count + 1):
        make_patient(folder / "patients" / f"p{number}", number, pixels=64, slices=20)
    torch.manual_seed(0)
    settings = Settings(network=NETWORK, preprocess=PreprocessSettings(spacing_mm=2.0))
    weights = build_network(NETWORK, in_channels=1, out_channels=3).state_dict()
    structures = (Structure(1, "cavity"), Structure(2, "myocardium"))
    model = TrainedModel("small", settings, structures, ("image",), weights)
    request = RunRequest(mean_of(model, look=False), folder / "patients")
    times: list[float] = []
    rest: list[float] = []

    def run(name: str, by: Workers | None) -> float:
        stamps: dict[int, list[float]] = {}

        def hear(at: CohortProgress) -> None:
            stamps.setdefault(at.number, []).append(time.perf_counter())

        start = time.perf_counter()
        segment_cohort(request, folder / name, on_progress=hear if by is None else None, workers=by)
        elapsed = time.perf_counter() - start
        if by is None:
            own = [some[-1] - some[0] for some in stamps.values()]
            times.extend(own)
            rest.append((elapsed - sum(own)) / count)
        return elapsed

    what = f"{count} patients of 20 slices"
    alone, beside = (lambda n: run(f"one_{n}", None)), (lambda n: run(f"several_{n}", workers))
    in_pairs(what, pairs, workers.count or 1, alone, beside)
    tables = []
    for name in ("one_0", "several_0"):
        with next((folder / name).rglob("*_patients/measurements.csv")).open(encoding="utf-8") as file:
            rows = csv.DictReader(file)
            tables.append(sorted((row["run"], row["slice"], row["label"], row["area_mm2"]) for row in rows))
    print(f"  areas: {'equal' if tables[0] == tables[1] else 'DIFFERENT'}")
    with team(workers, folder) as them:

        def do(pieces: int) -> float:
            start = time.perf_counter()
            for done in them.do(nothing, None, range(pieces), hear=lambda *_: None, again=lambda _: None):
                done.get()
            return time.perf_counter() - start

        do(workers.count or 1)  # they load autoseg
        give_out = do(PIECES) / PIECES
    return Costs(tuple(times), statistics.median(rest), give_out)


def nothing(shared: None, item: int, desk: Desk) -> None:
    """Do a piece of work that takes no time."""


def tell_simulated(costs: Costs, count: int) -> None:
    """Print what more workers would do, and what they would wait for."""
    print(
        f"\nA patient takes {statistics.median(costs.patients):.2f} s alone, {1000 * costs.first:.1f} ms of the "
        f"first process;\ngiving one out at most {1000 * costs.give_out:.1f} ms (waiting for its end is in it).\n"
        f"Simulated, {count} patients:\nworkers  seconds  patients/hour  efficiency  most of it"
    )
    drawn = list(islice(cycle(costs.patients), count))
    alone = sum(drawn) + costs.first * count
    for number in COUNTS:
        work = simulate(drawn, number, costs.give_out)
        total = work + costs.first * count
        parts = {
            "segmenting": sum(drawn) / number,
            "the first process: finding patients, joining tables": costs.first * count,
            "giving out, and waiting for the last": work - sum(drawn) / number,
        }
        most = max(parts, key=lambda name: parts[name])
        rate, efficiency = 3600 * count / total, alone / total / number
        print(f"{number:7d}{total:9.0f}{rate:15,.0f}{efficiency:12.0%}  {most} ({parts[most] / total:.0%})")


def process_times(folder: Path, pairs: int, workers: int) -> None:
    """One training by one process, and by several that share each batch."""
    write_scans(folder / "train", SCANS * 100, SIDE)

    def run(name: str, processes: int) -> float:
        import pandas as pd

        torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"] if processes > 1 else []
        start = [sys.executable, *torchrun, "-m", "autoseg"]
        asked = ["--epochs", str(EPOCHS), "--validate-every", "100", "--spacing-mm", "2", "--name", name]
        asked += ["--set", "network.name=unet", "--set", "network.filters=16,32,64"]
        command = [*start, "train", str(folder / "train"), *asked, "--output", str(folder / "models")]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        history = pd.read_csv(next((folder / "models").glob(f"{name}*_history.csv")))
        return float(history["elapsed_s"].diff().median())  # without the first epoch, which loads and warms up

    what = f"an epoch by {workers} processes (torchrun, gloo)"
    in_pairs(what, pairs, workers, lambda n: run(f"one{n}", 1), lambda n: run(f"several{n}", workers))


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--simulated", type=int, default=1000, help="patients of the simulated cohort")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    chosen = parser.parse_args()
    workers = Workers(chosen.workers)
    print(f"{'':44}{'alone':>11}{'beside':>11}{'ratio':>9}{'eff.':>6}")
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in PARTS}
        if "folds" in chosen.only:
            fold_times(folders["folds"], chosen.pairs, workers)
        if "processes" in chosen.only:
            process_times(folders["processes"], chosen.pairs, chosen.workers)
        if "cohort" in chosen.only:
            costs = cohort_times(folders["cohort"], chosen.pairs, workers, chosen.patients)
            tell_simulated(costs, chosen.simulated)


if __name__ == "__main__":
    main()
