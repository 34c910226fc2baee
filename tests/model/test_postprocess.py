"""Cleaning a prediction: known shapes, nested structures, and a choice that recovers a known fault."""

import numpy as np
import pytest
from scipy import ndimage

from autoseg.errors import DataError, SettingsError
from autoseg.image.image import LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.postprocess import StructurePostprocess as Post
from autoseg.model.postprocess import choose_classes, choose_postprocess, clean_labels

ONE = (Structure(3, "muscle"),)
NESTED = (Structure(1, "grey matter"), Structure(2, "cord", includes=(1,)))


def label_map(voxels, structures=ONE, subject="p", annotated=None):
    voxels = np.asarray(voxels)
    voxels = voxels[None] if voxels.ndim == 2 else voxels
    return LabelMap(voxels, structures=structures, annotated=annotated, source=Source(subject_id=subject))


def square(half, size=24):
    voxels = np.zeros((size, size), dtype=np.uint8)
    middle = size // 2
    voxels[middle - half : middle + half, middle - half : middle + half] = 3
    return voxels


def test_nothing_is_done_without_a_wish():
    before = label_map(square(5))
    for post in ((), (Post(),), (Post(threshold=0.7),)):
        assert np.array_equal(clean_labels(before, post).voxels, before.voxels)
    probabilities = np.random.default_rng(0).dirichlet((1, 1, 1), (2, 5, 6)).transpose(0, 3, 1, 2)
    for post in ((), (Post(), Post(erosions=2))):
        assert np.array_equal(choose_classes(probabilities, post), probabilities.argmax(1))


def test_the_first_of_the_most_probable_classes_is_taken():
    # Few steps of probability, so that several classes are often equally probable.
    probabilities = np.random.default_rng(0).integers(0, 4, (3, 5, 20, 30)).astype(np.float32)
    assert np.array_equal(choose_classes(probabilities, ()), probabilities.argmax(1))


def test_a_threshold_takes_away_and_adds():
    probabilities = np.array([[0.55, 0.45, 0.0], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.65, 0.0, 0.35]])
    probabilities = probabilities.T[None, :, None]

    def classes(*post):
        found = choose_classes(probabilities, post)
        assert found.dtype == np.uint8
        return found.ravel().tolist()

    assert classes(Post(), Post()) == [0, 1, 2, 0]
    assert classes(Post(0.4), Post()) == [1, 1, 2, 0]
    assert classes(Post(0.6), Post()) == [0, 2, 2, 0]  # what falls away goes to the next likely
    assert classes(Post(), Post(0.8)) == [0, 1, 1, 0]
    assert classes(Post(), Post(0.3)) == [0, 1, 2, 2]  # only over the background, not over the first


def test_erosion_takes_layers_off_but_not_at_the_image_edge():
    whole = label_map(square(5))
    assert [int((clean_labels(whole, (Post(erosions=n),)).voxels > 0).sum()) for n in range(4)] == [
        100,
        64,
        36,
        16,
    ]
    cut = np.zeros((10, 10), dtype=np.uint8)
    cut[:, :6] = 3
    assert clean_labels(label_map(cut), (Post(erosions=2),)).voxels[0, 0].tolist() == [3] * 4 + [0] * 6


def test_slices_are_cleaned_one_by_one():
    voxels = np.stack([square(5), np.zeros((24, 24), dtype=np.uint8), square(2)])
    voxels[0, 0, 0] = voxels[2, 20:22, 20:22] = 3
    cleaned = clean_labels(label_map(voxels), (Post(largest_component=True),)).voxels
    assert np.array_equal(cleaned, np.stack([square(5), voxels[1], square(2)]))
    # In each direction but the plane's, nothing is eroded: the slices above and below are empty.
    eroded = clean_labels(label_map(voxels), (Post(erosions=1),)).voxels
    assert np.array_equal(eroded[0] > 0, ndimage.binary_erosion(voxels[0] > 0))


def test_pieces_that_touch_at_a_corner_are_one():
    voxels = np.zeros((6, 6), dtype=np.uint8)
    voxels[0, 0] = voxels[1, 1] = voxels[4, 4] = 3
    assert (clean_labels(label_map(voxels), (Post(largest_component=True),)).voxels > 0).sum() == 2


def test_holes_are_filled_with_background_only():
    structures = (*ONE, Structure(4, "bone"))
    voxels = square(5)
    voxels[10, 10], voxels[13, 13] = 0, 4
    filled = clean_labels(label_map(voxels, structures), (Post(fill_holes=True), Post())).voxels[0]
    assert filled[10, 10] == 3
    assert filled[13, 13] == 4


def nested():
    """A cord of 16 x 16 pixels with grey matter of 6 x 6 in it."""
    voxels = np.where(square(8) > 0, 2, 0).astype(np.uint8)
    voxels[9:15, 9:15] = 1
    return voxels


def test_an_outer_structure_is_cleaned_with_what_it_includes():
    before = label_map(nested(), NESTED)
    cleaned = clean_labels(before, (Post(), Post(erosions=1)))
    assert cleaned.mask(2).sum() == 14 * 14  # no hole where the grey matter is
    assert cleaned.mask(1).sum() == 36


def test_what_an_inner_structure_loses_falls_to_the_outer():
    before = label_map(nested(), NESTED)
    cleaned = clean_labels(before, (Post(erosions=1), Post()))
    assert cleaned.mask(1).sum() == 16
    assert cleaned.mask(2).sum() == 16 * 16
    holed = nested()
    holed[11, 11], holed[12, 12] = 2, 0
    filled = clean_labels(label_map(holed, NESTED), (Post(fill_holes=True), Post()))
    assert filled.mask(1).sum() == 36


def soft(labels, sharpness=3.0, bias=0.0):
    """Give probabilities (1, 2, rows, columns) whose most probable class is the mask, or larger with a bias."""
    inside = labels > 0
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    probability = 1 / (1 + np.exp(-(distance - np.sign(distance) * 0.5 + bias) / sharpness))
    return np.stack([1 - probability, probability])[None]


def test_the_choice_removes_stray_pieces():
    pairs = []
    for subject in ("a", "b"):
        probabilities = soft(square(5))
        probabilities[0, :, 1:3, 1:3] = [[[0.1]], [[0.9]]]
        pairs.append((label_map(square(5), subject=subject), probabilities))
    choice = choose_postprocess(iter(pairs))
    assert choice.post == (Post(largest_component=True),)
    table = choice.table()
    assert len(table) == 5 * 4 * 2 * 2
    row = table[table["is_chosen"]].iloc[0]
    assert (row["dice"], row["iou"], row["n"]) == (1, 1, 2)
    plain = table[(table["erosions"] == 0) & ~table["largest_component"] & ~table["fill_holes"]]
    assert plain[plain["threshold"].isna()]["dice"].iloc[0] == pytest.approx(2 * 100 / (100 + 104))
    assert plain[plain["threshold"].isna()]["area_error_percent"].iloc[0] == pytest.approx(4)
    pairs = [(reference, probabilities) for reference, probabilities in pairs]
    classes = choose_classes(pairs[0][1], choice.post)
    cleaned = clean_labels(label_map(np.where(classes > 0, 3, 0)), choice.post)
    assert np.array_equal(cleaned.voxels, pairs[0][0].voxels)


def test_the_choice_erodes_what_is_drawn_too_large():
    (post,) = choose_postprocess([(label_map(square(5)), soft(square(7), sharpness=0.1))]).post
    assert post == Post(erosions=2)


def test_a_threshold_moves_an_edge_that_is_unsure():
    (post,) = choose_postprocess([(label_map(square(6)), soft(square(6), bias=-1.0))]).post
    assert post.threshold in (0.3, 0.4)


def test_a_perfect_prediction_is_left_alone():
    (post,) = choose_postprocess([(label_map(square(6)), soft(square(6)))]).post
    assert post == Post()


def test_pieces_of_one_subject_are_pooled_and_undrawn_structures_not_counted():
    structures = (*ONE, Structure(4, "bone"))
    probabilities = np.concatenate([soft(square(6)), np.zeros((1, 1, 24, 24))], axis=1)
    pairs = [
        (label_map(square(6), structures, annotated={3}), probabilities),
        (label_map(square(6), structures, annotated={3}), probabilities),
    ]
    choice = choose_postprocess(pairs)
    assert choice.post == (Post(), Post())
    assert set(choice.table().query("name == 'muscle'")["n"]) == {1}
    assert set(choice.table().query("name == 'bone'")["n"]) == {0}


def test_a_structure_with_others_inside_is_scored_with_them():
    probabilities = np.stack([nested() == 0, nested() == 1, nested() == 2])[None].astype(float)
    table = choose_postprocess([(label_map(nested(), NESTED), probabilities)]).table()
    cord = table[table["name"] == "cord"]
    assert cord["threshold"].isna().all()  # below it, its edge would fall to the grey matter
    assert cord["dice"].max() == 1


def test_what_cannot_work_is_said():
    with pytest.raises(SettingsError, match="erosions is 4"):
        Post(erosions=4)
    with pytest.raises(SettingsError, match="threshold is 1"):
        Post(threshold=1.0)
    with pytest.raises(DataError, match="2 post-processing"):
        clean_labels(label_map(square(3)), (Post(), Post()))
    with pytest.raises(DataError, match="no validation patient"):
        choose_postprocess([])
    with pytest.raises(DataError, match=r"shape \(1, 2, 3, 3\)"):
        choose_postprocess([(label_map(square(3)), np.zeros((1, 2, 3, 3)))])
