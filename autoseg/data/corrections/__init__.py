"""Labels out to ITK-SNAP, 3D Slicer and FSLeyes, corrected by hand, and back to learn from."""

from autoseg.data.corrections.fine_grid import downsample_labels, fine_affine, upsample_image, upsample_labels
from autoseg.data.corrections.keep import keep_correction
from autoseg.data.corrections.kit import (
    RULES,
    STEPS,
    Kit,
    KitCase,
    find_kits,
    further_files,
    read_kit,
    steps,
    write_kit,
)
from autoseg.data.corrections.place import corrected_image, whole_cases
from autoseg.data.corrections.read import (
    Change,
    Correction,
    changes_by_structure,
    changes_table,
    compare_structures,
    find_changes,
    most_changed,
    read_correction,
    read_corrections,
    say_date,
)
from autoseg.data.corrections.status import Keeping, Standing, find_standing, keep_corrections
from autoseg.files.tables import KeptCorrection, read_kept_corrections

__all__ = [
    "RULES",
    "STEPS",
    "Change",
    "Correction",
    "Keeping",
    "KeptCorrection",
    "Kit",
    "KitCase",
    "Standing",
    "changes_by_structure",
    "changes_table",
    "compare_structures",
    "corrected_image",
    "downsample_labels",
    "find_changes",
    "find_kits",
    "find_standing",
    "fine_affine",
    "further_files",
    "keep_correction",
    "keep_corrections",
    "most_changed",
    "read_correction",
    "read_corrections",
    "read_kept_corrections",
    "read_kit",
    "say_date",
    "steps",
    "upsample_image",
    "upsample_labels",
    "whole_cases",
    "write_kit",
]
