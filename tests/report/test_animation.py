import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.report.animation import Animation, caption_scenes, choose_scenes, draw_scenes


def scene(case_id, slices, size=(20, 30), *, spacing_source="header"):
    source = Source(case_id=case_id, slice_spacing_source=spacing_source)
    affine = affine_from_spacing((5.0, 1.0, 1.0))
    image = Image(np.random.default_rng(0).normal(size=(slices, *size)), affine, source=source)
    voxels = np.zeros((slices, *size), np.uint8)
    voxels[:, 5:9, 5:9] = 1
    return image, LabelMap(voxels, affine, (Structure(1, "<b>wall</b>"),), source=source)


def animation(*, frame_ms=120, case_id="</script>"):
    image, labels = scene(case_id, 3)
    scenes = choose_scenes(image, labels, max_frames=10)
    return Animation((b"one", b"two", b"three"), caption_scenes(scenes), scenes, frame_ms)


def test_the_page_holds_every_frame_and_caption():
    page = animation(case_id="heart")._repr_html_()
    frames = json.loads(re.search(r"const frames = (\[.*?\]), captions", page)[1])
    assert [base64.b64decode(frame) for frame in frames] == [b"one", b"two", b"three"]
    assert "heart: slice 3 of 3, 10.0 mm" in page
    assert re.search(r"setInterval\(.*?120\)", page)
    assert 'max="2"' in page
    assert "http" not in page  # nothing is fetched


def test_names_cannot_break_the_page():
    page = animation()._repr_html_()
    assert page.count("</script>") == 1
    assert "<b>wall" not in page
    assert "&lt;b&gt;wall" in page


def test_several_players_live_in_one_page():
    player = animation()
    ids = [re.search(r'<div id="([^"]+)"', player._repr_html_())[1] for _ in range(2)]
    assert ids[0] != ids[1]
    page = player._repr_html_()
    (own,) = re.findall(r'getElementById\("([^"]+)"\)', page)
    assert page.count(own) == 2


def test_frames_are_chosen_evenly_over_all_images():
    images, maps = zip(scene("a", 6), scene("b", 3), strict=True)
    scenes = choose_scenes(images, maps, max_frames=5)
    assert [slices for _, _, slices in scenes] == [(0, 2, 4), (0, 2)]
    assert [s for _, _, s in choose_scenes(images, maps, max_frames=99)] == [tuple(range(6)), tuple(range(3))]


def test_frames_of_several_sizes_have_one_shape():
    images, maps = zip(scene("a", 2), scene("b", 1, size=(40, 10)), strict=True)
    frames = draw_scenes(choose_scenes(images, maps, max_frames=9), least=40)
    assert [frame.shape for frame in frames] == [(40, 30, 3)] * 3


def test_a_position_that_is_not_known_is_not_shown():
    image, labels = scene("a", 1, spacing_source="none")
    assert caption_scenes(choose_scenes(image, labels, max_frames=1)) == ("a: slice 1 of 1, 0.0 mm",)
    untold = replace(image, source=replace(image.source, is_placed=False))
    assert caption_scenes(choose_scenes(untold, labels, max_frames=1)) == ("a: slice 1 of 1",)


def test_the_gif_has_the_frames_and_their_time(tmp_path):
    path = animation().save_gif(tmp_path / "slices.gif")
    with PillowImage.open(path) as picture:
        assert (picture.n_frames, picture.info["duration"]) == (3, 120)


def test_images_and_labels_must_fit():
    image, labels = scene("a", 2)
    with pytest.raises(DataError, match=r"2 images, 1 label map"):
        choose_scenes([image, image], [labels], max_frames=5)
    with pytest.raises(DataError, match="0 frame"):
        choose_scenes(image, labels, max_frames=0)
    with pytest.raises(DataError, match="do not fit"):
        draw_scenes(choose_scenes(image, scene("b", 2, size=(9, 9))[1], max_frames=2))
    with pytest.raises(DataError, match="5 ms"):
        animation(frame_ms=5)
