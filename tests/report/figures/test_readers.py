"""Limits of agreement, drawn."""

import pytest
from matplotlib.colors import to_hex

from autoseg.errors import DataError
from autoseg.measurement.readers import MODEL, Reading, agree
from autoseg.report.figures import show_limits
from autoseg.report.figures.readers import OF_MODEL


def test_the_models_pairs_have_another_colour_and_end_at_their_limits():
    pixels = [{"r1": 10, "r2": 12 + n, MODEL: 11} for n in range(3)]
    pairs = agree([Reading("c", f"p{n}", 1, 1, "a$b", 1.0, own, {}) for n, own in enumerate(pixels)])
    figure = show_limits(pairs)
    (ax,) = figure.axes
    bars = [line for line in ax.lines if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2]
    assert [to_hex(bar.get_color()) == OF_MODEL for bar in bars] == [True, True, False]
    assert list(bars[2].get_xdata()) == [pairs[2].slice_low, pairs[2].slice_high]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["r1, model", "r2, model", "r1, r2"]
    assert figure._repr_png_()


def test_one_patient_has_a_bias_and_no_limits_and_nothing_is_refused():
    figure = show_limits(agree([Reading("c", "p", 1, 1, "a", 1.0, {"r1": 1, "r2": 2}, {})]))
    assert len(figure.axes[0].lines) == 2  # the line at 0, the bias
    with pytest.raises(DataError, match="no pair"):
        show_limits([])
