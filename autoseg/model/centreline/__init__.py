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
