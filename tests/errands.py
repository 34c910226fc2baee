"""What workers do in the tests: named functions of a module, which they can import."""

import os
import time
from dataclasses import replace
from pathlib import Path

import discs
import torch

from autoseg.data.cases import find_cases
from autoseg.errors import DataError
from autoseg.evaluation.comparison.run import _begin_fold
from autoseg.evaluation.crossvalidation import begun
from autoseg.evaluation.crossvalidation.run import begin_fold
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures
from autoseg.prediction.cohort import _do as do_patient

MARK = "killed"


def write_discs(folder: Path, count: int = 4):
    """Write made-up discs as NIfTI files, two slices a subject, and give the folder's cases."""
    for number in range(count):
        image, labels = discs.make_pair(number, size=(48, 48))
        write_nifti(folder / "images" / f"case{number}.nii.gz", image)
        write_nifti(folder / "labels" / f"case{number}.nii.gz", labels)
    write_structures(folder / "structures.csv", discs.STRUCTURES)
    return find_cases(folder)


def kill_once(plan, number):
    """End the process in epoch 2 of fold 2, the first time; the epoch before it is kept."""
    mark = plan.folder / MARK
    begun.LEAST_UNSAVED_S, begun.TIMES_AS_LONG = 0.0, 0
    if number != 2 or mark.exists():
        return begin_fold(plan, number)

    def die(event):
        plan.on_event(event)
        if "Epoch 2" in str(event):
            mark.touch()
            time.sleep(0.2)  # what was told leaves the process
            os._exit(9)

    return begin_fold(replace(plan, on_event=die), number)


def fail_in_wide(plan, number):
    """Do a fold of a comparison, but none of the entry "wide"."""
    if plan.name == "wide":
        raise DataError("wide is too wide.")
    return _begin_fold(plan, number)


def patient_killed_once(shared, turn, desk):
    """End the process when the third patient is on the disk and nobody was told, the first time."""
    result, mark = do_patient(shared, turn, desk), shared.folder / MARK
    if turn.number == 3 and not mark.exists():
        mark.touch()
        time.sleep(0.2)  # what was told leaves the process
        os._exit(9)
    return result


def first_only(plan, number):
    """Do the first fold, and wait in all others."""
    while number > 1 and not plan.should_stop():
        time.sleep(0.02)
    return begin_fold(plan, number)


def die(shared, item, desk):
    """End the process."""
    desk.tell(f"doing {item}")
    os._exit(9)


def threads(shared, item, desk):
    """Give how many threads torch and others have here."""
    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def wait(folder, item, desk):
    """Begin, wait until it should stop, and leave a mark of that."""
    (folder / f"begun_{item}").touch()
    while not desk.should_stop():
        time.sleep(0.02)
    (folder / f"stopped_{item}").touch()
    raise KeyboardInterrupt


def double(shared, item, desk):
    """Tell of it, and give a number twice; refuse 3."""
    desk.tell(f"doing {item}")
    if item == 3:
        raise ValueError("three is refused")
    return shared * item
