"""The worst slices: what stands above them, what is drawn, and no name where none is wanted."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from discs import make_pair

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.scores import score_slices
from autoseg.report.figures import show_worst
from autoseg.report.figures.slices import show_slice_scored
from autoseg.report.kept_slices import slice_title


@dataclass(frozen=True)
class One:
    score: object
    number: int
    image: Image
    reference: LabelMap
    predicted: LabelMap


@dataclass(frozen=True)
class Some:
    worst: tuple[One, ...]


def made(change, *, label=1, affine=True):
    image, reference = make_pair(7, slices=1)
    if not affine:
        image, reference = replace(image, affine=None), replace(reference, affine=None)
    predicted = replace(reference, voxels=change(reference.voxels.copy()))
    (score,) = [one for one in score_slices(reference, predicted) if one.label == label]
    return One(score, 3, image, reference, predicted)


def without_core(voxels):
    return np.where(voxels == 1, 5, voxels)


def test_the_title_names_case_slice_structure_dice_and_both_areas():
    one = made(lambda voxels: np.roll(voxels, 6, axis=2))
    score = one.score
    assert slice_title(one) == (
        "case7, slice 1",
        f"core: Dice {score.dice:.2f}",
        f"{score.predicted_mm2:,.0f} mm² (drawn: {score.reference_mm2:,.0f} mm²)",
    )
    assert "mm²" in show_worst(Some((one,))).axes[0].get_title()


def test_missed_and_invented_are_called_so():
    missed = made(without_core)
    assert slice_title(missed)[1] == "core: missed"
    invented = replace(
        missed,
        reference=missed.predicted,
        predicted=missed.reference,
        score=replace(missed.score, reference_pixels=0, predicted_pixels=missed.score.reference_pixels),
    )
    assert slice_title(invented)[1] == "core: predicted, but not drawn here"


def test_without_millimetres_the_pixels_are_given():
    one = made(without_core, affine=False)
    assert slice_title(one)[2] == f"0 pixels (drawn: {one.score.reference_pixels:,})"


def test_names_are_left_out_where_wanted():
    one = made(without_core)
    assert slice_title(one, names=False)[0] == "image 3, slice 1"
    figure = show_worst(Some((one, one)), names=False)
    assert "case7" not in "".join(ax.get_title() for ax in figure.axes)


def test_the_reference_is_a_dashed_outline_and_the_legend_says_so():
    figure = show_worst(Some((made(without_core),)))
    (ax,) = figure.axes
    outlines = [line for line in ax.collections if len(line.get_paths())]
    assert len(outlines) == 2  # core and ring
    assert all(np.allclose(line.get_edgecolor()[0][:3], 1) for line in outlines)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["core", "ring", "drawn"]


def test_a_structure_is_enlarged_and_stays_in_view():
    one = made(lambda voxels: np.roll(voxels, 4, axis=1))
    (ax,) = show_worst(Some((one,))).axes
    there = (one.reference.mask(1) | one.predicted.mask(1))[0]
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    (bottom, top), (left, right) = ax.get_ylim(), ax.get_xlim()
    assert top <= rows[0] < rows[-1] <= bottom
    assert left <= columns[0] < columns[-1] <= right
    assert -0.5 <= left < right <= 63.5
    assert right - left < 64


def test_only_so_many_are_drawn():
    assert len(show_worst(Some((made(without_core),) * 5), most=2).axes) == 2


def test_no_scored_slice_is_a_sentence():
    with pytest.raises(DataError, match="No slice was scored"):
        show_worst(Some(()))


def test_a_scored_slice_is_shown_as_it_is_as_drawn_and_as_predicted():
    one = made(without_core)
    figure = show_slice_scored(one)
    assert [ax.get_title() for ax in figure.axes] == ["image", "drawn", "predicted"]
    image, drawn, predicted = (ax.images[0].get_array() for ax in figure.axes)
    grey = (image == image[..., :1]).all(axis=-1)
    assert grey.all()
    inside = np.kron(one.reference.voxels[0] == 1, np.ones((image.shape[0] // one.image.shape[1],) * 2, bool))
    core, ring = (np.array(s.rgb) for s in one.reference.structures)

    def nearer(picture, colour, other):
        # Filled with an opacity of 0.45: what is left without the grey below is the colour.
        middle = (
            picture[inside].astype(float).mean(axis=0) - 0.55 * image[inside].astype(float).mean(axis=0)
        ) / 0.45
        return np.abs(middle - colour).sum() < np.abs(middle - other).sum()

    assert nearer(drawn, core, ring)
    assert nearer(predicted, ring, core)
    assert "case7, slice 1 · core: missed" in figure.get_suptitle()
