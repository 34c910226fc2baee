"""How a network that finds centrelines sees a volume: axial slices of coarse pixels, and what it learns there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.centreline.from_labels import from_labels, structure_mask
from autoseg.model.preprocessing.volume_grids import VolumeGrid, axes_of, check_volume, grid_of, to_network
from autoseg.model.settings.settings import VolumeSettings

# The axes of an axial view: slices from the feet, rows from the front, columns from the right.
AXIAL = "IAR"
CENTRELINE = Structure(1, "centreline")
# Standard deviation of the blob that stands for the middle on a slice.
BLOB_MM = 3.0
# Of slices to look at.
FINEST_MM, CLOSEST_MM = 0.5, 1.0


def axial_grid(image: Image | LabelMap, settings: VolumeSettings) -> VolumeGrid:
    """Give how an image lies on axial slices.

    Their distance and pixels are those of `settings.spacing_mm` (slices, rows, columns), but slices that are
    further apart stay as they are.
    """
    check_volume(image)
    if settings.spacing_mm is None:
        raise DataError("The finder's grid is not chosen: give volume.spacing_mm.")
    (along, *_), _ = axes_of(image.calibrated_affine, AXIAL)
    step, row, column = settings.spacing_mm
    spacing = (max(step, image.spacing_mm[along]), row, column)
    return grid_of(image, replace(settings, orientation=AXIAL, spacing_mm=spacing))


def axial_view(image: Image, settings: VolumeSettings) -> Image:
    """Bring an image to axial slices; it keeps its place in the patient."""
    grid = axial_grid(image, settings)
    voxels = torch.from_numpy(np.ascontiguousarray(image.channel_voxels, dtype=np.float32))
    source = replace(image.source, slices=(), slice_spacing_source="header")
    affine = grid.affine(image.calibrated_affine)
    return Image(to_network(voxels, grid).numpy(), affine, image.channels, source)


def view_to_click(image: Image) -> Image:
    """Give an image on axial slices on which a person can look and click.

    Where its own slices are axial they stay as they are, with their numbers. Other slices are brought to pixels as
    fine as the image's finest, but not finer than FINEST_MM, and slices no closer than CLOSEST_MM.
    """
    check_volume(image)
    axes, flipped = axes_of(image.calibrated_affine, AXIAL)
    if axes == (0, 1, 2) and not any(flipped):
        return image
    own = image.spacing_mm
    if axes[0] == 0:
        row, column = own[axes[1]], own[axes[2]]
        return axial_view(image, VolumeSettings(spacing_mm=(own[0], row, column)))
    finest = max(FINEST_MM, min(own))
    return axial_view(image, VolumeSettings(spacing_mm=(CLOSEST_MM, finest, finest)))


def axial_target(
    label_map: LabelMap,
    settings: VolumeSettings,
    labels: Collection[int] | None = None,
    *,
    blob_mm: float = BLOB_MM,
) -> LabelMap:
    """Give what a finder learns: on each axial slice a blob about the middle of the structures.

    The blob is Gaussian, 1 in the middle, given as a rater's share; the label itself is where it is above a half.
    Slices beyond the structure's end have none. Where none of the structures was drawn, nothing is known.
    """
    grid = axial_grid(label_map, settings)
    affine = grid.affine(label_map.calibrated_affine)
    shares = np.zeros((1, *grid.network), dtype=np.float32)
    mask = structure_mask(label_map, labels)
    if mask is not None and mask.any():
        line = from_labels(label_map, labels)
        places = line.on_slices(affine, grid.network[0])
        index = np.column_stack([np.arange(len(places)), places, np.ones(len(places))])
        heights = index @ affine[2]
        for number in np.flatnonzero((heights >= line.begins_mm) & (heights <= line.ends_mm)):
            row, column = (
                np.exp(-0.5 * ((np.arange(n) - place) * mm / blob_mm) ** 2)
                for n, place, mm in zip(grid.network[1:], places[number], grid.spacing_mm[1:], strict=True)
            )
            shares[0, number] = row[:, None] * column
    drawn = frozenset({CENTRELINE.label}) if mask is not None else frozenset()
    source = replace(label_map.source, slices=(), slice_spacing_source="header")
    voxels = (shares[0] > 0.5).astype(np.uint8)
    return LabelMap(voxels, affine, (CENTRELINE,), annotated=drawn, source=source, shares=shares)
