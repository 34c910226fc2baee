"""Reading DICOM: slices per second beside plain pydicom, and a large folder to its series table.

    python benchmarks/reading.py [--slices 200] [--rounds 7] [--files 2000]
    python benchmarks/reading.py --zoo FOLDER    a table of everything below FOLDER, read or refused

The folders are made from the sample: its slices again and again. Readers take turns on the same files, which
are in the disk's cache, so that the ratio is of one and the same moment. The folder for the table is ten
series; it is opened in a process of its own, because a process never forgets its peak memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from folder import make_folder, peak_mib


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def read_by_pydicom(folder: Path) -> object:
    """What a script of one's own does: no check, no order, no millimetres."""
    import numpy as np
    import pydicom

    return np.stack([pydicom.dcmread(path).pixel_array for path in sorted(folder.iterdir())])


def seconds_of_readers(slices: int, rounds: int) -> dict[str, list[float]]:
    """Give the seconds of each reader, which take turns on a folder of so many slices."""
    from autoseg.files.dicom.series import find_series, read_series

    warnings.simplefilter("ignore")  # pydicom's, of the publisher's UIDs with leading zeros
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder, slices)
        readers = {
            "pydicom in a loop": lambda: read_by_pydicom(folder),
            "read_series": lambda: read_series(series),
            "find_series and read_series": lambda: read_series(find_series(folder).series[0]),
        }
        series = find_series(folder).series[0]
        times: dict[str, list[float]] = {reader: [] for reader in readers}
        for number in range(rounds + 1):
            for reader, function in readers.items():
                took = timed(function)
                if number:  # the first round fills caches
                    times[reader].append(took)
    return times


def compare(slices: int, rounds: int) -> None:
    times = seconds_of_readers(slices, rounds)
    plain = times["pydicom in a loop"]
    for reader, took in times.items():
        ratio = statistics.median(p / t for p, t in zip(plain, took, strict=True))
        rate = slices / statistics.median(took)
        print(f"{reader}: {rate:.0f} slices/s, {ratio:.2f} times as fast as pydicom in a loop", flush=True)


def make_many(folder: Path, count: int) -> None:
    """Write ten series, each in a folder of its own."""
    import pydicom

    warnings.simplefilter("ignore")
    for number in range(10):
        part = folder / f"series {number}"
        part.mkdir()
        make_folder(part, count // 10)
        for path in part.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.SeriesInstanceUID = f"1.2.3.{number + 1}"
            dataset.save_as(path)


def open_folder(folder: Path) -> dict[str, float]:
    from autoseg.files.dicom.series import find_series
    from autoseg.files.dicom.table import series_table, thumbnail

    result = {"peak before MiB": peak_mib()}
    start = time.perf_counter()
    found = find_series(folder)
    result["headers s"] = time.perf_counter() - start
    start = time.perf_counter()
    result["series"] = len(series_table(found))
    result["table s"] = time.perf_counter() - start
    start = time.perf_counter()
    for series in found.series:
        thumbnail(series)
    result["thumbnails s"] = time.perf_counter() - start
    result["peak MiB"] = peak_mib()
    return result


def show_folders(root: Path) -> None:
    import pandas as pd

    from autoseg.errors import AutosegError
    from autoseg.files.dicom.series import find_series, read_series
    from autoseg.files.dicom.table import series_table

    pd.set_option("display.width", 250, "display.max_columns", 20, "display.max_colwidth", 60)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        try:
            found = find_series(folder)
        except AutosegError as error:
            print(f"\n{folder.name}: {error}")
            continue
        table = series_table(found)
        read = []
        for series in found.series:
            try:
                read.append(", ".join("×".join(map(str, image.shape)) for image in read_series(series)))
            except AutosegError as error:
                read.append(f"refused: {error}")
        print(f"\n{folder.name}: {len(found.series)} series, {len(found.skipped)} file(s) left alone")
        print(table.drop(columns="notes").assign(read=read).to_string(index=False, na_rep="?"))
        for name, notes in zip(table["case_id"], table["notes"], strict=True):
            print(f"  {name}: {notes}" if notes else "", end="\n" if notes else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.zoo:
        show_folders(chosen.zoo)
    elif chosen.folder:
        print(json.dumps(open_folder(chosen.folder)))
    else:
        compare(chosen.slices, chosen.rounds)
        with tempfile.TemporaryDirectory() as folder:
            make_many(Path(folder), chosen.files)
            command = [sys.executable, __file__, "--folder", folder]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        values = json.loads(output.splitlines()[-1])
        print(f"{chosen.files} files: " + ", ".join(f"{key} {value:.2f}" for key, value in values.items()))


if __name__ == "__main__":
    main()
