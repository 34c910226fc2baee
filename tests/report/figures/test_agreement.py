import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure
from autoseg.measurement.scores import score_slices
from autoseg.measurement.summary import pool_subjects
from autoseg.report.figures import show_bland_altman, show_subject_scores

AFFINE = affine_from_spacing((8.0, 2.0, 1.0))
STRUCTURES = (Structure(1, "cavity", colour=(255, 0, 0)), Structure(2, "wall", colour=(0, 0, 255)))


def scores_of(*counts, affine=AFFINE):
    """Score one subject a pair of pixel counts (reference, predicted) of the cavity; the wall is always 4."""
    found = []
    for number, pair in enumerate(counts):
        source = Source(case_id=f"case{number}", subject_id=f"S{number}")
        maps = []
        for count in pair:
            voxels = np.zeros((1, 2, 60), np.uint8)
            voxels[0, 0, :count], voxels[0, 1, :4] = 1, 2
            maps.append(LabelMap(voxels, affine, STRUCTURES, source=source))
        found += score_slices(*maps)
    return found


COUNTS = ((10, 12), (20, 20), (30, 34), (40, 42))


def texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_bland_altman_draws_each_slice_the_bias_and_the_limits():
    figure = show_bland_altman(scores_of(*COUNTS), STRUCTURES)
    assert figure._repr_png_().startswith(b"\x89PNG")
    cavity, wall = figure.axes
    dots, zero, bias, lower, upper = cavity.lines
    assert np.asarray(dots.get_xdata()).tolist() == [22.0, 40.0, 64.0, 82.0]
    assert np.asarray(dots.get_ydata()).tolist() == [4.0, 0.0, 8.0, 4.0]
    assert dots.get_color() == hex_colour((255, 0, 0))
    heights = [np.asarray(line.get_ydata())[0] for line in (zero, bias, lower, upper)]
    half = 1.96 * 2 * np.sqrt(8 / 3)
    assert heights == pytest.approx([0, 4, 4 - half, 4 + half])
    assert "(mm²)" in cavity.get_xlabel()
    assert "(mm²)" in cavity.get_ylabel()
    assert cavity.get_title().startswith("cavity\nbias +4.0, limits -2.4 to +10.4 mm²\n4 slices of 4 patients")
    assert wall.get_title().startswith("wall\nbias +0")
    assert texts(figure) == ["bias", "95 % limits"]


def test_bland_altman_of_one_slice_has_no_limits():
    cavity = show_bland_altman(scores_of((10, 12)), STRUCTURES[:1]).axes[0]
    assert len(cavity.lines) == 3
    assert cavity.get_title() == "cavity\nbias +4.00 mm²\n1 slice of 1 patient"


def test_bland_altman_needs_millimetres():
    with pytest.raises(DataError, match="pixel size is known"):
        show_bland_altman(scores_of(*COUNTS, affine=None))


def test_every_subject_has_a_dot_and_the_worst_a_name():
    subjects = pool_subjects(scores_of(*COUNTS))
    figure = show_subject_scores(subjects, STRUCTURES)
    assert figure._repr_png_().startswith(b"\x89PNG")
    (ax,) = figure.axes
    assert np.asarray(ax.lines[0].get_ydata()).tolist() == pytest.approx([2 * r / (r + p) for r, p in COUNTS])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["cavity\nn = 4", "wall\nn = 4"]
    assert [text.get_text() for text in ax.texts] == ["S0", "S0"]
    assert ax.get_ylim()[0] == 0


def test_an_interval_is_promised_only_over_three_subjects():
    for counts, word in ((COUNTS, "mean, 95 % interval"), (COUNTS[:2], "mean")):
        assert texts(show_subject_scores(pool_subjects(scores_of(*counts)))) == ["patient", word]


def test_one_structure_can_be_chosen_and_no_score_is_said():
    figure = show_subject_scores(pool_subjects(scores_of(*COUNTS)), STRUCTURES[1:])
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["wall\nn = 4"]
    with pytest.raises(DataError, match="no Dice to draw"):
        show_subject_scores([])
