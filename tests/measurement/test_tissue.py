"""Brightness and fat within structures, on phantoms whose fractions are known."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.tissue import FatChannels, fat_threshold, join_tissue, measure_tissue, tissue_table

AFFINE = affine_from_spacing((4.0, 1.0, 1.0))
FRACTIONS = (0.0, 0.1, 0.25, 0.5, 1.0)


def phantom(fractions=FRACTIONS, *, signal=800.0, noise=0.0, names=("water", "fat")):
    """Give squares of 400 pixels of these fat fractions on two of three slices, in a signal that varies."""
    rng = np.random.default_rng(1)
    labels = np.zeros((3, 24, 24 * len(fractions)), np.uint8)
    share = np.zeros(labels.shape)
    for number, fraction in enumerate(fractions):
        where = np.s_[:2, 2:22, 24 * number + 2 : 24 * number + 22]
        labels[where], share[where] = number + 1, fraction
    whole = signal * (1 + 0.3 * np.sin(np.arange(labels.shape[2]) / 9))  # a coil that is nearer to one side
    channels = np.stack([whole * (1 - share), whole * share]) + noise * rng.normal(size=(2, *labels.shape))
    structures = tuple(Structure(n + 1, f"muscle {n}") for n in range(len(fractions)))
    source = Source("leg", "7", spacing_source="header", slice_spacing_source="header")
    image = Image(np.abs(channels).astype(np.float32), AFFINE, channels=names, source=source)
    return LabelMap(labels, AFFINE, structures, source=source), image


def test_the_fat_fraction_of_a_phantom_is_that_it_was_made_of():
    found = measure_tissue(*phantom())
    whole = [row for row in found.fat if row.slice is None]
    assert [row.fat_fraction_percent for row in whole] == pytest.approx([100 * f for f in FRACTIONS], abs=1e-3)
    assert [row.sd_fat_fraction_percent for row in whole] == pytest.approx([0] * 5, abs=1e-3)
    assert [row.pixel_count for row in whole] == [800] * 5
    assert [row.slice for row in found.fat[:3]] == [1, 2, None]
    # With noise: pixel by pixel it is wider, and on average the same, but at the ends, where noise adds to nothing.
    noisy = [row.fat_fraction_percent for row in measure_tissue(*phantom(noise=20.0)).fat if row.slice is None]
    assert noisy[1:4] == pytest.approx([10, 25, 50], abs=0.5)
    assert noisy[0] < 3
    assert noisy[4] > 97


def test_water_and_fat_are_told_by_name_or_typed():
    label_map, image = phantom((0.25,), names=("echo 1", "echo 2"))
    assert measure_tissue(label_map, image).fat == ()
    typed = measure_tissue(label_map, image, FatChannels("echo 1", "echo 2")).fat
    assert typed[-1].fat_fraction_percent == pytest.approx(25, abs=1e-3)
    turned = measure_tissue(label_map, image, FatChannels("echo 2", "echo 1"))
    assert turned.fat[-1].fat_fraction_percent == pytest.approx(75, abs=1e-3)
    assert "Look whether the two are exchanged" in turned.notes[0]
    with pytest.raises(DataError, match="no channel 'water'; it has echo 1 and echo 2"):
        measure_tissue(label_map, image, FatChannels("water", "echo 2"))
    with pytest.raises(DataError, match="needs both"):
        FatChannels(water="echo 1")


def test_every_channel_has_its_mean_and_percentiles_on_each_slice_and_together():
    voxels = np.zeros((2, 2, 6, 6))
    voxels[0, 0, 1:5, 1:5] = np.arange(16).reshape(4, 4)
    voxels[0, 1, 1:5, 1:5] = 100.0
    voxels[1] = -1000.0
    voxels[1, 0, 1, 1] = np.nan
    labels = np.zeros((2, 6, 6), np.uint8)
    labels[:, 1:5, 1:5] = 1
    image = Image(voxels, AFFINE, channels=("T1", "CT"), source=Source("a"))
    drawn = LabelMap(labels, AFFINE, (Structure(1, "disc"), Structure(2, "nothing")), source=Source("a"))
    table = tissue_table(measure_tissue(drawn, image).intensities).set_index(["channel", "slice"])
    assert len(table) == 6  # what is on no slice has no row
    first = table.loc[("T1", 1)]
    assert first[["mean_intensity", "median_intensity", "p5_intensity", "p95_intensity"]].tolist() == [
        7.5, 7.5, 0.75, 14.25,
    ]  # fmt: skip
    assert first["sd_intensity"] == pytest.approx(np.arange(16).std(ddof=1))
    whole = table[table.index.get_level_values("slice").isna()]
    assert whole["mean_intensity"].tolist() == [53.75, -1000.0]
    assert whole["pixel_count"].tolist() == [32, 31]
    assert tissue_table(()).empty


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_the_estimate_counts_the_brighter_kind(share):
    rng = np.random.default_rng(3)
    label_map, image = phantom((0.0,))
    is_fat = rng.random(image.shape) < share
    voxels = np.where(is_fat, 400, 150) + rng.normal(0, 40, image.shape)
    image = replace(image, voxels=voxels, channels=("T2",))
    found = measure_tissue(label_map, image, FatChannels(estimate="T2"))
    row = found.estimates[-1]
    true = 100 * is_fat[label_map.mask(1)].mean()
    assert (row.slice, row.channel, row.pixel_count) == (None, "T2", 800)
    assert row.fat_share_estimate_percent == pytest.approx(true, abs=1)
    assert 200 < row.threshold_intensity < 350
    assert found.fat == ()


def test_pixels_of_one_kind_have_no_estimate():
    label_map, image = phantom((0.0,))
    rng = np.random.default_rng(4)
    for voxels in (rng.normal(150, 40, image.shape), rng.gamma(4, 40, image.shape), np.ones(image.shape)):
        found = measure_tissue(
            label_map, replace(image, voxels=voxels, channels=("T2",)), FatChannels(estimate="T2")
        )
        assert found.estimates == ()
        assert "not of two kinds" in found.notes[0]
    assert fat_threshold([1.0, 2.0]) is None
    assert len(join_tissue([found, found]).notes) == 2


def test_lumbar_muscles_of_a_healthy_person_are_lean(shared_data):
    """Erector spinae and multifidus of one healthy adult, L2 to L5; two scans' worth of arrays on one grid."""
    folder = shared_data / "lumbar-muscle-myosegmentum"

    def read(name):
        return np.asarray(nibabel.load(next(folder.rglob(name))).dataobj).T

    image = Image(
        np.stack([read("*water_img_img_L2-L5.nii.gz"), read("*fat_img_img_L2-L5.nii.gz")]), AFFINE, ("water", "fat")
    )
    names = ("erector spinae right", "multifidus right", "multifidus left", "erector spinae left")
    drawn = read("*fat_manual*.nii.gz").astype(np.uint8)
    label_map = LabelMap(drawn, AFFINE, tuple(Structure(n, name) for n, name in enumerate(names, start=1)))
    found = measure_tissue(label_map, image, FatChannels(estimate="fat"))
    percent = [row.fat_fraction_percent for row in found.fat if row.slice is None]
    assert 8 < min(percent) < max(percent) < 20
    assert abs(percent[0] - percent[3]) < 3 > abs(percent[1] - percent[2])
    assert found.estimates == ()  # so little fat in between is no second kind of pixels
