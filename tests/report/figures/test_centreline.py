import numpy as np
import pytest
from tubes import make_tube, tube_middle

from autoseg.errors import DataError
from autoseg.model.centreline import Centreline, clicked, from_labels
from autoseg.report.figures import show_centrelines


def test_curves_are_drawn_where_they_lie_and_named():
    image, labels = make_tube(3)
    exact = from_labels(labels)
    moved = Centreline(exact.points_mm + np.array([4, 0, 0]), "automatic")
    figure = show_centrelines(image, {"exact": exact, "automatic": moved}, labels, crop_mm=(20.0, 30.0))
    side, front = figure.axes
    one, other = (line for line in front.lines if len(line.get_xdata()) == 24 and line.get_linewidth() == 1.6)
    assert other.get_xdata() - one.get_xdata() == pytest.approx(4)
    heights = one.get_ydata()
    expected = tube_middle(3, heights - 46)[:, 0] + 29.25
    assert np.abs(one.get_xdata() - expected)[5:-5].max() < 1
    marks = [line for line in side.lines if len(line.get_xdata()) == 2]
    assert [line.get_ydata()[0] - 46 for line in marks] == pytest.approx([-34, 34], abs=2.1)
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert names == {"cord", "exact", "automatic", "crop"}
    figure.canvas.draw()


def test_clicks_are_dots_on_their_curve():
    image, _ = make_tube(3)
    heights = np.array([-30.0, 2.0, 26.0])
    line = clicked(np.column_stack([tube_middle(3, heights), heights]))
    for axis, ax in enumerate(show_centrelines(image, {"clicked": line}).axes):
        (dots,) = (shown for shown in ax.lines if shown.get_marker() == "o")
        # Rows (front to back) are y, columns x; the first pixel's middle lies at -29.25 mm, the lowest at -46.
        assert dots.get_xdata() == pytest.approx(tube_middle(3, heights)[:, 1 - axis] + 29.25)
        assert dots.get_ydata() == pytest.approx(heights + 46)


def test_the_number_of_curves_is_limited():
    image, labels = make_tube(3)
    with pytest.raises(DataError, match="0 centrelines were given; this figure shows 1 to 4"):
        show_centrelines(image, {})
    with pytest.raises(DataError, match="5 centrelines"):
        show_centrelines(image, {str(k): from_labels(labels) for k in range(5)})
