"""Batches to look at: of volumes the middle slices, the right way up."""

from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_pair, make_split, quick_settings

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.model.dataset import preview, preview_batch, preview_slices
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    VolumeSettings,
)

CASES = make_split([0, 1, 2])


def settings(**volume):
    return quick_settings(
        spatial_dims=3,
        preprocess=PreprocessSettings(),
        network=NetworkSettings(filters=(4, 8)),
        volume=VolumeSettings(**volume),
        augmentation=AugmentationSettings.volumes(),
    )


@pytest.fixture
def reading(monkeypatch):
    """Give a function that lets cases be read as made-up pairs."""

    def install(make):
        monkeypatch.setattr(
            "autoseg.model.dataset.build.read_case", lambda case, _: make(int(case.case_id.removeprefix("case")))
        )

    return install


def marked(axes=(0, 1, 2), size=(8, 12, 10)):
    """Give a pair whose voxels tell where they lie: 100 × left + 10 × back + head, in whole voxels.

    `axes` are the patient's axes (x left, y back, z head) of slices, rows and columns, here z, y and x at first.
    """
    head, back, left = np.indices(size)
    voxels = (100 * left + 10 * back + head).astype(np.float32)
    labels = ((left >= 4) & (back >= 5)).astype(np.uint8)
    affine = affine_from_spacing((1.0, 1.0, 1.0))[:, [*axes, 3]]
    source = Source("case0", "subject0", spacing_source="header", slice_spacing_source="header")
    image = Image(np.ascontiguousarray(voxels.transpose(axes)), affine, source=source)
    return image, LabelMap(np.ascontiguousarray(labels.transpose(axes)), affine, STRUCTURES, source=source)


def original_of(pair, reading, **volume):
    reading(lambda _: pair)
    kept = settings(**volume)
    samples = preview_slices(make_split([0]).training, kept, structures=STRUCTURES)
    return preview_batch(samples, None, structures=STRUCTURES), samples


@pytest.mark.parametrize("code", ["RPI", "LAS", "SRA", "AIL"])
@pytest.mark.parametrize(
    ("axes", "rows", "columns"),
    [
        ((0, 1, 2), (0, 10, 0), (100, 0, 0)),  # axial: rows to the back, columns to the left
        ((1, 0, 2), (0, 0, -1), (100, 0, 0)),  # coronal: rows to the feet, columns to the left
        ((2, 0, 1), (0, 0, -1), (0, 10, 0)),  # sagittal: rows to the feet, columns to the back
    ],
)
def test_the_middle_slice_lies_as_radiologists_see_it_whatever_the_axes(code, axes, rows, columns, reading):
    pair = marked(axes)
    (images, labels), samples = original_of(pair, reading, orientation=code)
    (picture,), (drawn,) = images, labels
    assert samples.samples.settings.orientation == code
    # Standardised intensities keep the marks' proportions: their steps tell the directions.
    along_rows, along_columns = np.median(np.diff(picture, axis=0)), np.median(np.diff(picture, axis=1))
    assert np.sign(along_rows) == np.sign(sum(rows))
    assert np.sign(along_columns) == np.sign(sum(columns))
    assert along_rows / along_columns == pytest.approx(sum(rows) / sum(columns), rel=0.02)
    middle = pair[0].voxels[pair[0].shape[0] // 2]
    assert all(n >= m for n, m in zip(picture.shape, middle.shape, strict=True))
    assert (drawn > 0).any()
    assert set(np.unique(drawn)) <= {0, 1}


def test_labels_lie_on_their_slice_and_originals_beside_the_varied_are_the_same(reading):
    reading(lambda number: make_pair(number, slices=12, size=(24, 24), spacing=(3, 3, 3)))
    own = settings(spacing_mm=(3.0, 3.0, 3.0))
    samples = preview_slices(CASES.training, own, structures=STRUCTURES)
    how = {"structures": STRUCTURES, "seed": 5, "count": 3}
    images, labels = preview_batch(samples, None, **how)
    assert images.shape == labels.shape
    assert len(images) == 3
    for image, drawn in zip(images, labels, strict=True):
        assert image[drawn == 1].mean() > image[drawn == 5].mean() > image[drawn == 0].mean()
    varied, moved = preview_batch(samples, own.augmentation, **how)
    assert varied.shape == images.shape
    assert not np.array_equal(varied, images)
    still, same = preview_batch(samples, AugmentationSettings.off(), **how)
    assert np.allclose(still, images, atol=1e-5)
    assert np.array_equal(same, labels)
    assert set(np.unique(moved)) <= {0, 1, 5}
    again = preview(CASES, replace(own, seed=5), structures=STRUCTURES, count=3)
    assert np.array_equal(again[0], varied)


def test_batches_go_through_all_patches(reading):
    reading(lambda number: make_pair(number, slices=20, size=(24, 24), spacing=(3, 3, 3)))
    own = settings(spacing_mm=(3.0, 3.0, 3.0), patch_size=(24, 24, 8))
    samples = preview_slices(CASES.training, own, structures=STRUCTURES)
    assert len(samples) == 3 * 4
    seen = [preview_batch(samples, None, structures=STRUCTURES, count=4, batch=n)[0] for n in range(3)]
    assert len({picture.tobytes() for batch in seen for picture in batch}) == 12
