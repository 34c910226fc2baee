"""Small pictures: square, in true proportions, of the slice with most labels."""

import io

import numpy as np
from folders import add_subject, change_label
from PIL import Image as Picture

from autoseg.data.cases import find_cases
from autoseg.report.figures.thumbnails import SIDE, draw_thumbnail

NAMES = {1: "psoas", 2: "disc", 3: "fat"}


def drawn(cases, index=None):
    return np.asarray(Picture.open(io.BytesIO(draw_thumbnail(cases.cases[0], cases.structures, index))))[..., :3]


def coloured(picture):
    return (picture.max(axis=-1).astype(int) - picture.min(axis=-1) > 20).mean()


def test_it_is_square_with_the_structures_in_their_colours(tmp_path):
    add_subject(tmp_path, "Anna", slices=1)
    picture = drawn(find_cases(tmp_path, structures=NAMES))
    assert picture.shape == (SIDE, SIDE, 3)
    labels = np.load(tmp_path / "labels" / "Anna_01.npy")
    rows, columns = labels.shape[-2:]
    shown = (labels > 0).mean() * min(rows, columns) / max(rows, columns)
    assert abs(coloured(picture) - shown) < 0.04


def test_an_image_whose_labels_do_not_fit_is_shown_alone_and_an_unreadable_one_not_at_all(tmp_path):
    add_subject(tmp_path, "Anna", slices=1)
    cases = find_cases(tmp_path, structures=NAMES)
    change_label(tmp_path, "Anna_01", lambda labels: labels[:-3])
    picture = drawn(cases)
    assert coloured(picture) == 0
    assert picture.any()
    (tmp_path / "dicoms" / "Anna_01.dcm").write_bytes(b"no image")
    assert draw_thumbnail(cases.cases[0], cases.structures) is None
