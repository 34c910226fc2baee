"""What other programs' own checks say of what `autoseg export` writes: nnU-Net's and the BIDS validator.

    python benchmarks/exchange.py [FOLDER] [--suffix T1w]

FOLDER holds images and labels (default: ten hippocampi of ../shared/data). Each program gets an environment of its
own in the system's temporary folder, made at the first time (two minutes); one that cannot be had is skipped with
a word.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from accuracy import DATA, PEER, make_peer

from autoseg.cli import main as autoseg

CHECK = Path(__file__).parent / "peers" / "nnunet_check.py"
BIDS = Path(tempfile.gettempdir()) / "autoseg-peer-bids"
FEW = 10


def few_of(folder: Path, place: Path) -> Path:
    """Copy some images with their labels."""
    names = sorted({path.name for path in (folder / "images").iterdir()} & set(os.listdir(folder / "labels")))
    for side in ("images", "labels"):
        (place / side).mkdir(parents=True)
        for name in names[:FEW]:
            shutil.copy(folder / side / name, place / side / name)
    return place


def nnunet_says(folder: Path) -> str:
    """Give what nnU-Net's check of a raw data set says."""
    python = make_peer(PEER)
    if python is None:
        return "skipped: nnU-Net cannot be installed here"
    done = subprocess.run([python, CHECK, folder], capture_output=True, text=True, check=False)
    return "no error" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1]


def bids_says(folder: Path) -> str:
    """Give the errors that the BIDS validator finds."""
    binaries = BIDS / ("Scripts" if os.name == "nt" else "bin")
    validator = shutil.which("bids-validator-deno", path=str(binaries))
    if validator is None:
        venv.create(BIDS, with_pip=True)
        done = subprocess.run(
            [binaries / "python", "-m", "pip", "install", "-q", "bids-validator-deno"], check=False
        )
        validator = shutil.which("bids-validator-deno", path=str(binaries))
        if done.returncode or validator is None:
            return "skipped: the BIDS validator cannot be installed here"
    done = subprocess.run([validator, folder], capture_output=True, text=True, encoding="utf-8", check=False)
    errors = re.findall(r"\[ERROR\]\S* (\w+)", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr))
    if errors or done.returncode:
        return f"errors: {', '.join(errors) or done.stderr[-200:]}"
    return "no error"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--suffix", default="T1w")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autoseg_exchange_") as temporary:
        place = Path(temporary)
        if chosen.folder is None and not DATA.is_dir():
            sys.exit(f"{DATA} is not there. Give a folder of images and labels.")
        folder = chosen.folder or few_of(DATA, place / "data")
        raw, bids = place / "raw" / "Dataset001_exchange", place / "bids"
        if autoseg(["export", str(folder), "--nnunet", str(raw)]):
            sys.exit("Nothing could be written for nnU-Net.")
        if autoseg(["export", str(folder), "--bids", str(bids), "--suffix", chosen.suffix]):
            sys.exit("Nothing could be written as BIDS.")
        print(f"nnU-Net's check of its raw data set: {nnunet_says(raw)}")
        print(f"BIDS validator, images: {bids_says(bids)}")
        print(f"BIDS validator, labels: {bids_says(bids / 'derivatives' / 'labels')}")


if __name__ == "__main__":
    main()
