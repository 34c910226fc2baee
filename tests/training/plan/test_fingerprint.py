"""The fingerprint: numbers that can be worked out by hand, and words that follow them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_pair

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.training.plan import contrast_words, describe_fingerprint, fingerprint_of, measure_fingerprint

BOX = (Structure(3, "box"), Structure(4, "bean", includes=(3,)))


def boxes(inside, outside, *, channels=1, spread=2.0, annotated=None, slices=4):
    """Give slices of 40 × 40 with a square of 12 × 12 on the first two, and alternating values about two means."""
    flip = np.where(np.indices((slices, 40, 40)).sum(0) % 2, spread, -spread)
    labels = np.zeros((slices, 40, 40), np.uint8)
    labels[:2, 10:22, 14:26] = 3
    voxels = np.stack([flip + np.where(labels == 3, inside * c, outside * c) for c in range(1, channels + 1)])
    affine = affine_from_spacing((4.0, 2.0, 2.0))
    source = Source(slice_spacing_source="header", subject_id="Mustermann")
    image = Image(voxels if channels > 1 else voxels[0], affine, tuple("abc"[:channels]), source)
    return image, LabelMap(labels, affine, BOX, annotated=annotated, source=source)


def facts(pairs, structures=BOX):
    return {s.name: s for s in fingerprint_of(pairs, structures).structures}


def test_parts_sizes_and_distances_are_counted():
    found = fingerprint_of([boxes(10, 0), boxes(10, 0, slices=2)], BOX)
    box = found.structures[0]
    assert box.pixels == pytest.approx(2 * 2 * 144 / (6 * 1600))
    assert box.slices == found.with_structure == pytest.approx(4 / 6)
    assert box.width == pytest.approx(24, abs=2)
    assert (found.unit, found.pixel, found.rows, found.columns) == ("mm", 2.0, 40, 40)
    assert (found.slices, found.slice_distance_mm, found.single_slices) == (3.0, 4.0, 0.0)
    assert (found.subjects, found.images, found.looked_at) == (1, 2, 2)


@pytest.mark.parametrize(("inside", "outside", "contrast"), [(10, 4, 3.0), (4, 10, -3.0), (5, 5, 0.0)])
def test_contrast_is_the_difference_of_means_over_the_spread(inside, outside, contrast):
    # Half of the pixels lie 2 above the mean and half 2 below: a standard deviation of 2 on both sides.
    assert facts([boxes(inside, outside)])["box"].contrast == pytest.approx(contrast, abs=0.05)


def test_the_channel_that_shows_it_best_counts_and_gaps_in_an_image_do_not():
    image, label_map = boxes(10, 4, channels=3)
    assert facts([(image, label_map)])["box"].contrast == pytest.approx(9, abs=0.1)
    voxels = image.voxels.copy()
    voxels[:, 0, 12, 16], voxels[:, 0, 9, 16] = -np.inf, np.nan
    assert facts([(replace(image, voxels=voxels), label_map)])["box"].contrast == pytest.approx(9, abs=0.1)


def test_a_thin_long_structure_is_compared_with_what_lies_beside_it():
    # 300 pixels long, so that it is looked at in steps; far away everything is bright.
    voxels, labels = np.full((1, 400, 400), 900.0), np.zeros((1, 400, 400), np.uint8)
    voxels[:, :, 180:220] = np.random.default_rng(0).normal(100, 0.5, (1, 400, 40))
    labels[:, 50:350, 196:204] = 3
    voxels[labels == 3] += 20
    contrast = facts([(Image(voxels), LabelMap(labels, structures=BOX))])["box"].contrast
    assert contrast == pytest.approx(40, abs=2)


def test_what_was_not_drawn_is_not_counted_and_what_is_inside_is():
    first, second = boxes(10, 0), boxes(10, 0, annotated={4})
    assert facts([first, second])["box"].slices == 0.5
    assert facts([first])["bean"].pixels == facts([first])["box"].pixels  # the box lies inside the bean
    never = facts([boxes(10, 0, annotated=frozenset())])["box"]
    assert (never.width, never.contrast, never.pixels, never.slices) == (None, None, 0, 0)


def test_constant_images_and_tiny_structures_have_no_contrast():
    assert facts([boxes(10, 0, spread=0)])["box"].contrast is None
    image, label_map = boxes(10, 0)
    voxels = label_map.voxels * 0
    voxels[0, 5, 5] = 3
    assert facts([(image, replace(label_map, voxels=voxels))])["box"].contrast is None


def test_without_millimetres_lengths_are_in_pixels_and_a_mixture_has_no_fingerprint():
    pair = boxes(10, 0)
    bare = replace(pair[0], affine=None), replace(pair[1], affine=None)
    found = fingerprint_of([bare], BOX)
    assert (found.unit, found.pixel, found.slice_distance_mm) == ("pixels", 1.0, None)
    assert "pixel size unknown" in describe_fingerprint(found)
    assert fingerprint_of([pair, bare], BOX) is None


def test_a_slice_distance_that_is_only_a_placeholder_is_unknown():
    image, label_map = boxes(10, 0)
    pair = replace(image, source=replace(image.source, slice_spacing_source="none")), label_map
    assert fingerprint_of([pair], BOX).slice_distance_mm is None


def test_it_is_plain_and_names_nobody():
    found = fingerprint_of([boxes(10, 0)], BOX)
    written = json.dumps(found.as_dict())
    assert "Mustermann" not in written
    assert json.loads(written)["structures"][0]["name"] == "box"
    assert json.loads(written) == found.as_dict()


def test_words_say_how_many_and_how_far_apart():
    pairs = [make_pair(0, slices=1), make_pair(1, slices=1)]
    words = describe_fingerprint(measure_fingerprint(pairs, STRUCTURES, {}, subjects=1, images=9))
    assert (
        "9 images of 1 patient (the labels of 2 counted, 2 images looked at), about 9 slices of typically" in words
    )
    assert "Each image is a single slice; 100% of the slices show a structure." in words
    words = describe_fingerprint(fingerprint_of([boxes(10, 0)], BOX))
    assert "An image has about 4 slices, 4 mm apart; 50% of the slices show a structure." in words


@pytest.mark.parametrize(
    ("contrast", "words"),
    [
        (2.0, "clearly brighter"),
        (-1.2, "darker (1.2"),
        (-0.46, "a little darker (0.5"),
        (0.44, "hardly differs (0.4"),
    ],
)
def test_contrast_in_words(contrast, words):
    assert contrast_words(contrast).startswith(words)
