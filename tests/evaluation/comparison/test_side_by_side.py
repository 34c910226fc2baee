"""Slices that a comparison keeps have the numbers that people know, those kept before there were any too."""

import json

import numpy as np

from autoseg.evaluation.comparison.side_by_side import KEPT, read_side_by_side, write_side_by_side
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.report.kept_slices import SideBySide


def test_a_slice_of_a_part_is_kept_with_its_number_and_an_earlier_file_is_read(tmp_path):
    affine = affine_from_spacing((4.0, 1.0, 1.0))
    part = Image(np.zeros((3, 8, 8), np.uint8), affine, source=Source("p_s004-006", first_slice=4))
    labels = LabelMap(np.ones((3, 8, 8), np.uint8), affine, (Structure(1, "disc"),), source=part.source)
    drawn = labels.one_slice(1)
    write_side_by_side(
        tmp_path, [SideBySide("p_s004-006", 1, 1, part.one_slice(1), drawn, {"unet": drawn}, {"unet": 1.0})]
    )
    (one,) = read_side_by_side(tmp_path, ["unet"])
    assert (one.slice, one.slice_index) == (5, 1)
    with np.load(tmp_path / KEPT) as kept:
        arrays = dict(kept)
    told = json.loads(str(arrays["told"]))
    del told[0]["slice"]
    np.savez_compressed(tmp_path / KEPT, **(arrays | {"told": np.array(json.dumps(told))}))
    (one,) = read_side_by_side(tmp_path, ["unet"])
    assert one.slice == 2  # all that an earlier file tells is the place
