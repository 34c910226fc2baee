"""Centrelines of elongated structures: the curve, where it comes from, and the crop around it.

Finding one on a new image is `autoseg.prediction.find_centreline`; training what finds it is
`autoseg.training.finder`.
"""

from autoseg.model.centreline.clicks import (
    ChosenCurves,
    add_click,
    check_on,
    crop_sizes,
    place_on,
    places_along,
    point_on,
    slices_outside,
)
from autoseg.model.centreline.crop import Crop, plan_crop
from autoseg.model.centreline.curve import Centreline, Point, clicked, read_centreline, write_centreline
from autoseg.model.centreline.from_labels import from_labels, smooth, structure_mask
from autoseg.model.centreline.path import find_path, longest_run, refine_path
from autoseg.model.centreline.view import AXIAL, CENTRELINE, axial_grid, axial_target, axial_view, view_to_click

__all__ = [
    "AXIAL",
    "CENTRELINE",
    "Centreline",
    "ChosenCurves",
    "Crop",
    "Point",
    "add_click",
    "axial_grid",
    "axial_target",
    "axial_view",
    "check_on",
    "clicked",
    "crop_sizes",
    "find_path",
    "from_labels",
    "longest_run",
    "place_on",
    "places_along",
    "plan_crop",
    "point_on",
    "read_centreline",
    "refine_path",
    "slices_outside",
    "smooth",
    "structure_mask",
    "view_to_click",
    "write_centreline",
]
