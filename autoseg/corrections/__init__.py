"""Labels out to ITK-SNAP, 3D Slicer and FSLeyes, corrected by hand, and back to learn from."""

from autoseg.corrections.changes import Change, changes_by_structure, changes_table, find_changes
from autoseg.corrections.fine_grid import downsample_labels, fine_affine, upsample_image, upsample_labels
from autoseg.corrections.keep import keep_correction
from autoseg.corrections.kit import Kit, KitCase, read_kit, write_kit
from autoseg.corrections.place import whole_cases
from autoseg.corrections.read import Correction, read_correction, read_corrections
from autoseg.files.correction_table import KeptCorrection, read_kept_corrections

__all__ = [
    "Change",
    "Correction",
    "KeptCorrection",
    "Kit",
    "KitCase",
    "changes_by_structure",
    "changes_table",
    "downsample_labels",
    "find_changes",
    "fine_affine",
    "keep_correction",
    "read_correction",
    "read_corrections",
    "read_kept_corrections",
    "read_kit",
    "upsample_image",
    "upsample_labels",
    "whole_cases",
    "write_kit",
]
