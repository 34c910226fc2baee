"""Centrelines of elongated structures: the curve, where it comes from, and the crop around it.

Finding one on a new image is `autoseg.prediction.find_centreline`; training what finds it is `autoseg.finder`.
"""

from autoseg.centreline.crop import Crop, plan_crop
from autoseg.centreline.curve import Centreline, clicked, read_centreline, write_centreline
from autoseg.centreline.from_labels import from_labels, structure_mask
from autoseg.centreline.path import find_path, longest_run, refine_path
from autoseg.centreline.smoothing import smooth
from autoseg.centreline.view import AXIAL, CENTRELINE, axial_grid, axial_target, axial_view

__all__ = [
    "AXIAL",
    "CENTRELINE",
    "Centreline",
    "Crop",
    "axial_grid",
    "axial_target",
    "axial_view",
    "clicked",
    "find_path",
    "from_labels",
    "longest_run",
    "plan_crop",
    "read_centreline",
    "refine_path",
    "smooth",
    "structure_mask",
    "write_centreline",
]
