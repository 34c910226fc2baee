import numpy as np
import pytest

from autoseg.files.pictures.banners import Banner, with_banner

RED = Banner(("this image does not suit the model", "not suited", "RED"), (176, 0, 32), (255, 255, 255), frame=True)


@pytest.mark.parametrize("wide", [24, 40, 90, 320, 900])
@pytest.mark.parametrize("frame", [True, False])
def test_the_picture_stands_whole_below_words_that_fit(wide, frame):
    picture = np.random.default_rng(wide).integers(0, 255, (48, wide, 3), dtype=np.uint8)
    shown = with_banner(picture, Banner(RED.words, RED.ground, RED.ink, frame=frame))
    side = 4 if frame else 0
    assert shown.shape[1] == wide + 2 * side
    strip = shown[: shown.shape[0] - 48 - side]
    inside = shown[len(strip) : len(strip) + 48, side : side + wide]
    np.testing.assert_array_equal(inside, picture)
    # In small letters no pixel is wholly of their colour.
    assert np.abs(strip.astype(int) - RED.ground).max() > 100
    # No letter is cut off by an edge.
    for edge in (strip[0], strip[-1], strip[:, 0], strip[:, -1]):
        assert (edge == RED.ground).all()
    if frame:
        assert (shown[-4:] == RED.ground).all()
        assert (shown[:, :4] == RED.ground).all()
