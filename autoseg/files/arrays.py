"""Plain NumPy arrays from files, and the whole numbers in them."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError, ReadError

# Programs that store 3 as a multiple of something give back 2.99998.
ROUNDED = 0.005


def read_npy(path: Path) -> npt.NDArray[np.generic]:
    """Read the one array of an .npy file; a pickle is never opened."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except (OSError, ValueError, EOFError, MemoryError, OverflowError, SyntaxError, TokenError) as error:
        raise ReadError(
            f"{path} cannot be read as a plain NumPy array ({error}). Arrays of objects (pickles) can "
            "run programs and are never opened. Save the array again with numpy.save(path, array)."
        ) from error
    if not array.size:
        raise ReadError(f"{path} is empty: its shape is {array.shape}. Save it again.")
    return array


def whole_numbers(path: Path, voxels: npt.NDArray[Any], *, rounded: bool = False) -> npt.NDArray[np.integer]:
    """Give integers as they are, booleans as 0 and 1, and floats if they are whole; LabelError otherwise.

    `rounded` says that the file scales its values, so that whole numbers may be off by `ROUNDED`.
    """
    if voxels.dtype.kind == "b":
        return voxels.astype(np.uint8)
    if voxels.dtype.kind in "iu":
        return voxels
    if voxels.dtype.kind != "f":
        raise LabelError(f"{path} holds {voxels.dtype} and not whole numbers. Save the labels as uint8.")
    with np.errstate(invalid="ignore"):
        whole = np.round(voxels)
        broken = ~(np.abs(voxels - whole) <= (ROUNDED if rounded else 0)) | (np.abs(voxels) > 2**31)
    if broken.any():
        raise LabelError(
            f"{path} holds numbers that are not whole, for instance {voxels[broken].ravel()[:5].tolist()} on "
            f"{int(broken.sum())} pixels; are these probabilities, or resized? Save the labels as uint8."
        )
    is_small = whole.size and whole.min() >= 0 and whole.max() <= 255
    return whole.astype(np.uint8 if is_small else np.int64)
