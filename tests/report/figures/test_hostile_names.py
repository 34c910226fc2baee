"""Names in figures are words: no formula, no error, no warning of a missing sign, no picture without end."""

import io
from dataclasses import replace

import numpy as np
import pytest
from comparisons import make_comparison, make_folds
from discs import make_pair
from hostile import HOSTILE, LETTERS, MATHTEXT
from matplotlib.image import imread
from matplotlib.lines import Line2D

from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.measurement.scores import score_slices
from autoseg.measurement.summary import pool_subjects
from autoseg.report.figures import show_areas, show_comparison, show_history, show_overlays, show_subject_scores
from autoseg.report.figures.layout import NotebookFigure, add_legend, as_label, beside_axis, shown

STRUCTURES = tuple(Structure(n, name) for n, name in enumerate((*MATHTEXT, *LETTERS), start=1))


def size_of(figure, **how):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50, **how)
    return imread(io.BytesIO(buffer.getvalue())).shape[:2]


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 12))
def test_every_name_can_stand_everywhere(start):
    names = HOSTILE[start : start + 12]
    figure = NotebookFigure(figsize=(40, 30), layout="constrained")
    axes = figure.subplots(3, 4).ravel()
    for ax, name in zip(axes, names, strict=False):
        ax.set_title(name)
        ax.set(xlabel=name, ylabel=name)
        ax.set_xticks([0, 1], [beside_axis(name), "b"])
        ax.annotate(name, (0, 0))
        ax.plot([0, 1], label=as_label(name))
    figure.suptitle(names[0])
    add_legend(figure, [Structure(n, name) for n, name in enumerate(names, start=1)], [Line2D([], [], label="")])
    tall, wide = size_of(figure)
    assert wide == 2000
    assert 1500 <= tall < 2000  # titles that were folded have got more room
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert words == [*map(shown, names), ""]


def test_words_are_shown_as_they_are_but_for_what_cannot_be_seen():
    assert shown("psoas müsculus – ² µ 5$ and 3$") == "psoas müsculus – ² µ 5$ and 3$"
    assert shown("a\x00b\x1b\u202ec\ud800\nd") == "abc\nd"
    assert shown("\U0001f9ff") == "\u25a1"
    assert shown("x" * 10_000) == "x" * 89 + "…"
    assert len(shown("\n" * 10_000).splitlines()) <= 15


def renamed(label_map):
    """Give labels whose structures have hostile names."""
    names = {1: MATHTEXT[0], 5: "x" * 10_000}
    structures = tuple(replace(s, name=names[s.label]) for s in label_map.structures)
    return replace(label_map, structures=structures, source=replace(label_map.source, case_id=MATHTEXT[1]))


def test_the_figures_take_hostile_names():
    image, labels = make_pair(1)
    image, labels = replace(image, source=replace(image.source, case_id=MATHTEXT[1])), renamed(labels)
    scores = score_slices(labels, labels)
    for figure in (
        show_overlays(image, labels),
        show_areas(measure_areas(labels, image=image)),
        show_subject_scores(pool_subjects(scores)),
    ):
        assert max(size_of(figure)) < 1000


def test_a_structure_that_begins_with_an_underscore_is_in_the_legend():
    rows = [
        {"epoch": n, "training_loss": 1.0, "validation_dice": 0.5, "dice__psoas": 0.5, "dice_$x": 0.4}
        for n in (1, 2)
    ]
    figure = show_history(rows)
    size_of(figure)
    words = [t.get_text() for ax in figure.axes if ax.get_legend() for t in ax.get_legend().get_texts()]
    assert "_psoas" in words
    assert "$x" in words


def test_a_comparison_with_long_names_fits_its_picture():
    dice = (0.5, 0.6, 0.7, 0.8)
    runs = {name: make_folds(dice) for name in ("a" * 10_000, r"$\frac$", "_b")}
    figure = show_comparison(make_comparison(runs))
    rows, columns = size_of(figure, bbox_inches="tight")
    assert np.all(np.array([rows, columns]) < 1500)
