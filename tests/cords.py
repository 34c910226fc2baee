"""Tubes of known size in voxels: straight and tilted, tapering, bent, elliptical; and a lumbosacral cord."""

import numpy as np

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, SliceSource, Source
from autoseg.image.structures import Structure

CORD = (Structure(1, "cord"),)


def grid(spacing_mm, half_mm):
    """Give an affine, and the points (3, slices, rows, columns) of a box of twice `half_mm` (x, y, z)."""
    spacing, half = np.array(spacing_mm, float), np.array(half_mm, float)[::-1]
    counts = np.round(2 * half / spacing).astype(int) + 1
    # Off the lattice's own symmetry, which would make every section err alike.
    origin = -(counts - 1) / 2 * spacing + [0.0, 0.13 * spacing[1], 0.29 * spacing[2]]
    affine = affine_from_spacing(spacing, origin[::-1])
    index = np.indices(counts).reshape(3, -1)
    points = affine[:3, :3] @ index + affine[:3, 3:]
    return affine, points.reshape(3, *counts)


def label_map(mask, affine, *, structures=CORD, levels=None, shares=None, **source):
    """Give a mask (or labels) as a label map whose millimetres are known."""
    known = {"spacing_source": "header", "slice_spacing_source": "header", **source}
    if levels is not None:
        known["slices"] = tuple(SliceSource("cord.nii.gz", level=level) for level in levels)
    return LabelMap(mask.astype(np.uint8), affine, structures, source=Source(**known), shares=shares)


def cylinder(points, direction, radii_mm, *, angle_deg=0.0):
    """Give an elliptical cylinder through the origin; `angle_deg` turns its first axis from left to back."""
    direction = np.array(direction, float) / np.linalg.norm(direction)
    left = np.array([1.0, 0, 0]) - direction[0] * direction
    left /= np.linalg.norm(left)
    back = np.cross(direction, left)
    turn = np.radians(angle_deg)
    first = np.cos(turn) * left + np.sin(turn) * back
    second = np.cross(direction, first)
    return (np.tensordot(first, points, 1) / radii_mm[0]) ** 2 + (
        np.tensordot(second, points, 1) / radii_mm[1]
    ) ** 2 <= 1


def tilt(degrees, azimuth_deg=0.0):
    """Give a direction that is tilted from the head towards the left (and by the azimuth towards the back)."""
    angle, azimuth = np.radians([degrees, azimuth_deg])
    return [np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle)]


def cord_radius_mm(above_tip_mm):
    """Give the radius of a made-up lumbosacral cord: a cone of 25 mm, then a swelling whose middle is 40 mm up."""
    above = np.asarray(above_tip_mm, float)
    body = 3.6 + 0.9 * np.exp(-(((above - 40) / 14) ** 2))
    return np.where(above < 0, 0.0, body * np.clip(above / 25, 0, 1) ** 0.5)


def lumbosacral_cord(*, tip_z_mm=-40.0, spacing_mm=(1.0, 0.3, 0.3), half_mm=(8, 8, 50), scale=1.0):
    affine, points = grid(spacing_mm, half_mm)
    radius = scale * cord_radius_mm(points[2] - tip_z_mm)
    return (np.hypot(points[0], points[1]) <= radius) & (radius > 0), affine
