"""What files tell of an image, and what is drawn on it, in plain numbers."""

import numpy as np
import pytest

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.trust.facts import ImageFacts, drawings_of, facts_of, structure_facts

VOXELS = np.zeros((3, 20, 40), dtype=np.uint8)


def test_sizes_and_plane_are_told_where_the_header_has_them():
    source = Source(spacing_source="header", slice_spacing_source="header", modality="MR")
    found = facts_of(Image(VOXELS, affine_from_spacing((5.0, 2.0, 0.5)), source=source))
    assert (found.pixel_mm, found.field_mm, found.slice_mm) == ((2.0, 0.5), (40.0, 20.0), 5.0)
    assert np.abs(found.normal).tolist() == [0.0, 0.0, 1.0]
    assert found.modality == "MR"


def test_what_is_not_known_is_not_told():
    assert facts_of(Image(VOXELS)) == ImageFacts()
    typed = facts_of(Image(VOXELS, affine_from_spacing((5.0, 2.0, 0.5)), source=Source(spacing_source="typed")))
    assert typed.pixel_mm == (2.0, 0.5)
    assert typed.slice_mm is None
    assert typed.normal is None


@pytest.mark.parametrize("in_mm", [True, False])
def test_size_place_and_pieces_of_a_structure(in_mm):
    voxels = VOXELS.copy()
    voxels[1, 2:6, 0:10] = 3
    voxels[2, 2:6, 0:10] = 3
    voxels[2, 12:16, 30:40] = 3
    voxels[2, 19, 20] = 3  # a speck is no piece
    labels = LabelMap(voxels, affine_from_spacing((5.0, 2.0, 0.5)), (Structure(3, "disc"),))
    one, two = drawings_of(labels, 3, in_mm=in_mm)
    assert one.area == pytest.approx(40.0 if in_mm else 0.05)
    assert (one.row, one.column) == pytest.approx((-12.0, -7.5) if in_mm else (-0.3, -0.375))
    assert (one.pieces, two.pieces) == (1, 2)
    facts = structure_facts(3, [one, two], in_mm=in_mm)
    assert facts.pieces == (1, 2)
    assert facts.area[0] == pytest.approx(one.area)
    assert drawings_of(labels, 4, in_mm=in_mm) == []
