import io
import sys
from dataclasses import replace
from itertools import pairwise
from subprocess import run

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.overlay import hex_colour, overlay_rgb
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.report.figures import (
    show_animation,
    show_areas,
    show_batch,
    show_cases,
    show_erosions,
    show_history,
    show_overlays,
)
from autoseg.report.figures.layout import DARK_GROUND
from autoseg.report.figures.slices import pair_pictures

STRUCTURES = (Structure(1, "cavity", colour=(255, 0, 0)), Structure(2, "wall", colour=(0, 0, 255)))
SOURCE = Source(case_id="heart", spacing_source="header", slice_spacing_source="header")


def pair(slices=4, *, spacing=(8.0, 2.0, 1.0), source=SOURCE):
    affine = affine_from_spacing(spacing)
    voxels = np.zeros((slices, 30, 40), np.uint8)
    voxels[1:, 5:15, 5:20] = 2
    voxels[1:, 8:12, 8:16] = 1
    image = Image(np.random.default_rng(1).normal(100, 10, voxels.shape), affine, source=source)
    return image, LabelMap(voxels, affine, STRUCTURES, source=source)


def legend_names(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def drawn(figure):
    """The picture as it is saved; also makes matplotlib lay everything out."""
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    return png


def test_a_batch_shows_each_slice_in_the_structures_colours():
    image, labels = pair()
    figure = show_batch(image.voxels, labels.voxels, STRUCTURES, columns=3, titles=list("abcd"))
    assert titles(figure) == list("abcd")
    assert legend_names(figure) == ["cavity", "wall"]
    shown = np.asarray(figure.axes[1].images[0].get_array())
    expected = overlay_rgb(image.voxels[1], labels.voxels[1], STRUCTURES, scale=(13, 13))
    np.testing.assert_array_equal(shown, expected)
    assert [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()] == [(1, 0, 0), (0, 0, 1)]
    drawn(figure)


def test_a_batch_that_does_not_fit_is_refused():
    image, labels = pair()
    with pytest.raises(DataError, match="one shape"):
        show_batch(image.voxels, labels.voxels[:2], STRUCTURES)
    with pytest.raises(DataError, match="3 titles"):
        show_batch(image.voxels, labels.voxels, STRUCTURES, titles=list("abc"))
    with pytest.raises(DataError, match="nothing to show"):
        show_batch(image.voxels[:0], labels.voxels[:0], STRUCTURES)


def test_a_batch_stands_beside_its_originals():
    image, labels = pair()
    brighter = image.voxels * 3 + 500
    figure = show_batch(
        brighter, labels.voxels, STRUCTURES, originals=(image.voxels, labels.voxels), titles=list("abcd"), opacity=0
    )
    assert titles(figure) == [f"{name}  as drawn | as varied" for name in "abcd"]
    shown = np.asarray(figure.axes[1].images[0].get_array())
    window = np.percentile(image.voxels[1], (0.5, 99.5))
    before, after = (
        overlay_rgb(voxels, labels.voxels[1], STRUCTURES, opacity=0, window=tuple(window), scale=(6, 6))
        for voxels in (image.voxels[1], brighter[1])
    )
    np.testing.assert_array_equal(shown[:, :240], before)
    np.testing.assert_array_equal(shown[:, -240:], after)  # its brightness is seen
    assert np.median(shown[:, -240:]) == 255
    assert legend_names(figure) == ["cavity", "wall"]
    drawn(figure)
    pngs = pair_pictures(brighter, labels.voxels, STRUCTURES, (image.voxels, labels.voxels), opacity=0)
    assert len(pngs) == 4
    np.testing.assert_array_equal(imread(io.BytesIO(pngs[1]))[..., :3], shown / np.float32(255))


def test_originals_may_be_larger_than_crops():
    image, labels = pair()
    crop = (slice(None), slice(4, 20), slice(4, 20))
    originals = (image.voxels, labels.voxels)
    figure = show_batch(image.voxels[crop], labels.voxels[crop], STRUCTURES, originals=originals)
    assert len(figure.axes) == 4
    with pytest.raises(DataError, match="one shape"):
        show_batch(image.voxels, labels.voxels, STRUCTURES, originals=(image.voxels[:2], labels.voxels[:2]))


def test_a_case_is_shown_where_most_is_labelled():
    image, labels = pair()
    voxels = labels.voxels.copy()
    voxels[3, 20:25] = 2
    figure = show_cases([(image, replace(labels, voxels=voxels)), (image, None)])
    assert titles(figure) == ["heart\nslice 4 of 4", "heart\nslice 3 of 4"]
    assert legend_names(figure) == ["cavity", "wall"]
    drawn(figure)


def test_titles_lie_within_the_figure():
    image, labels = pair(spacing=(8.0, 1.0, 1.0))
    figure = show_cases([(image, labels)] * 3)
    drawn(figure)
    for ax in figure.axes:
        box = ax.title.get_window_extent()
        assert box.y1 <= figure.bbox.height
        assert box.y0 >= ax.get_window_extent().y1


def test_titles_do_not_run_into_each_other():
    image, labels = pair(spacing=(8.0, 3.0, 1.0))  # narrow pictures, close together
    long = replace(image, source=replace(SOURCE, case_id="a heart whose name is as long as three pictures"))
    figure = show_cases([(long, labels)] * 3)
    drawn(figure)
    boxes = [ax.title.get_window_extent() for ax in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert titles(figure)[0].replace("\n", " ") == f"{long.source.case_id} slice 2 of 4"
    assert boxes[0].y1 <= figure.bbox.height


def test_a_dark_page_gets_dark_grounds_and_the_same_pictures():
    image, labels = pair()
    overlays = show_overlays(image, labels, reference=labels)
    areas = show_areas(measure_areas(labels), structures=STRUCTURES)
    for figure in (overlays, areas):
        colours = {text.get_color() for text in figure.findobj(Text)}
        dark = imread(io.BytesIO(figure.pngs()[1]))[..., :3]
        assert dark[0, 0] == pytest.approx(DARK_GROUND, abs=0.01)
        assert imread(io.BytesIO(drawn(figure)))[0, 0] == pytest.approx(1)
        assert {text.get_color() for text in figure.findobj(Text)} == colours
    light, dark = (imread(io.BytesIO(png))[..., :3] for png in overlays.pngs())
    for ax in overlays.axes:  # in the same place in both
        box = ax.images[0].get_window_extent()
        rows = slice(len(light) - int(box.y1) + 2, len(light) - int(box.y0) - 2)
        inside = (rows, slice(int(box.x0) + 2, int(box.x1) - 2))
        assert light[inside].size > 1000
        np.testing.assert_array_equal(light[inside], dark[inside])
    assert dark.max() == 1  # the white outline upon a picture stays white; words are grey
    # A deep blue would be lost on the ground, and is lighter.
    dark = imread(io.BytesIO(areas.pngs()[1]))[..., :3]
    blue = dark[(dark[..., 2] > 0.9) & (dark[..., 0] < 0.6)]
    assert len(blue)
    assert blue.max(axis=0) @ [0.3, 0.59, 0.11] > 0.3


def test_overlays_show_labelled_slices_with_position_and_reference():
    image, labels = pair()
    reference = replace(labels, voxels=np.roll(labels.voxels, 2, axis=2))
    figure = show_overlays(image, labels, reference=reference)
    assert titles(figure) == ["slice 2, 8.0 mm", "slice 3, 16.0 mm", "slice 4, 24.0 mm"]
    assert legend_names(figure) == ["cavity", "wall", "reference"]
    assert all(ax.get_aspect() == 2.0 for ax in figure.axes)
    # The outline of the reference's cavity runs between its pixels and the next.
    vertices = np.concatenate([path.vertices for path in figure.axes[0].collections[0].get_paths()])
    assert (vertices[:, 0].min(), vertices[:, 0].max()) == (9.5, 17.5)
    assert (vertices[:, 1].min(), vertices[:, 1].max()) == (7.5, 11.5)
    drawn(figure)


def test_a_structure_that_was_not_drawn_gets_no_outline():
    image, labels = pair()
    reference = replace(labels, annotated=frozenset({1}))
    assert len(show_overlays(image, labels, reference=reference).axes[0].collections) == 1
    assert len(show_overlays(image, labels).axes[0].collections) == 0


def test_the_outline_is_closed_at_the_border_of_the_image():
    image, labels = pair(1)
    voxels = np.zeros_like(labels.voxels)
    voxels[0, :3, :4] = 1
    edge = replace(labels, voxels=voxels)
    (path,) = show_overlays(image, edge, reference=edge).axes[0].collections[0].get_paths()
    assert path.vertices[0].tolist() == path.vertices[-1].tolist()
    assert path.vertices.min() == -0.5


def test_slices_can_be_chosen_and_an_uncalibrated_image_has_no_positions():
    image, labels = (replace(grid, affine=None) for grid in pair())
    assert titles(show_overlays(image, labels, slices=[0, 3])) == ["slice 1", "slice 4"]


def test_labels_of_another_shape_are_refused():
    image, labels = pair()
    other = pair(2)[1]
    for arguments in ({"label_map": other}, {"label_map": labels, "reference": other}):
        with pytest.raises(DataError, match="do not fit"):
            show_overlays(image, **arguments)


def history():
    return [
        {"epoch": 1, "training_loss": 1.0, "validation_loss": None, "validation_dice": None, "dice_wall": None},
        {"epoch": 2, "training_loss": 0.6, "validation_loss": 0.7, "validation_dice": 0.9, "dice_wall": 0.8},
        {"epoch": 3, "training_loss": 0.4, "validation_loss": 0.8, "validation_dice": 0.7, "dice_wall": 0.6},
    ]


def curves(ax):
    return {line.get_label(): line for line in ax.lines}


def test_the_history_has_loss_and_dice_with_the_best_epoch():
    rows = [row | {"dice_cavity": row["validation_dice"]} for row in history()]
    figure = show_history(rows, structures=STRUCTURES)
    losses, scores = figure.axes
    assert curves(losses)["training loss"].get_ydata().tolist() == [1.0, 0.6, 0.4]
    assert curves(losses)["validation loss"].get_xdata().tolist() == [2, 3]
    assert list(curves(scores)) == ["wall", "cavity", "mean", "kept epoch 2"]
    assert curves(scores)["wall"].get_color() == hex_colour(STRUCTURES[1].rgb)
    assert list(curves(losses)["kept epoch 2"].get_xdata()) == [2, 2]
    drawn(figure)


def test_where_the_iou_chose_it_is_drawn_and_its_title_says_so():
    rows = [
        row | {"validation_iou": iou, "iou_wall": iou, "training_iou_wall": 0.3, "iou_wall_eroded_0": 0.1}
        for row, iou in zip(history(), (None, 0.4, 0.5), strict=True)
    ]
    figure = show_history(rows, structures=STRUCTURES, best_by="iou")
    _, dice, iou = figure.axes
    assert [ax.get_title() for ax in figure.axes] == [
        "Loss",
        "Dice on validation patients",
        "IoU on validation patients, which chose the epoch",
    ]
    assert list(curves(iou)) == ["wall", "on training batches", "kept epoch 3"]
    assert curves(iou)["wall"].get_ydata().tolist() == [0.4, 0.5]
    assert "kept epoch 3" in curves(dice)
    # The same rows by Dice and by loss: the second epoch is the best.
    by_dice, by_loss = (show_history(rows, best_by=one) for one in ("dice", "loss"))
    assert by_dice.axes[1].get_title().endswith(", which chose the epoch")
    assert by_loss.axes[0].get_title() == "Loss, which chose the epoch"
    for figure in (by_dice, by_loss):
        assert len(figure.axes) == 2
        assert "kept epoch 2" in curves(figure.axes[0])


def test_where_the_last_epoch_is_kept_nothing_chose_it():
    figure = show_history(history(), structures=STRUCTURES, best_by="last")
    assert not any("chose" in ax.get_title() for ax in figure.axes)
    assert "kept epoch 3" in curves(figure.axes[0])


def test_the_epoch_that_was_kept_is_the_best_even_from_a_csv(tmp_path):
    rows = [row | {"is_best": row["epoch"] == 3} for row in history()]
    pd.DataFrame(rows).to_csv(tmp_path / "history.csv", index=False)
    for table in (rows, pd.read_csv(tmp_path / "history.csv")):
        assert "kept epoch 3" in curves(show_history(table).axes[0])


def test_a_history_without_validation_shows_the_training_loss():
    figure = show_history([{"epoch": 1, "training_loss": 1.0, "validation_dice": None}])
    assert list(curves(figure.axes[0])) == ["training loss"]
    assert figure.axes[1].get_title() == "Dice on training batches"
    drawn(figure)


def test_an_empty_history_is_explained():
    with pytest.raises(DataError, match="at least one epoch"):
        show_history([])


def test_areas_run_along_the_position_with_flags_marked():
    image, labels = pair(5)
    voxels = labels.voxels.copy()
    voxels[3] = 0
    rows = measure_areas(replace(labels, voxels=voxels), image=image)
    figure = show_areas(rows, structures=STRUCTURES)
    (ax,) = figure.axes
    cavity = curves(ax)["cavity"]
    assert cavity.get_xdata().tolist() == [0.0, 8.0, 16.0, 24.0, 32.0]
    assert cavity.get_ydata().tolist() == [0.0, 64.0, 64.0, 0.0, 64.0]
    assert cavity.get_color() == "#ff0000"
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [line.get_xdata().tolist() for line in crosses] == [[24.0], [24.0]]
    assert legend_names(figure) == ["cavity", "wall", "flagged"]
    drawn(figure)


def test_an_area_that_is_cut_off_has_an_arrow_in_place_of_a_cross():
    rows = [
        replace(row, touches_edge=row.slice == 3, flags="touches edge" * (row.slice == 3))
        for row in measure_areas(pair(5)[1])
    ]
    figure = show_areas(rows, structures=STRUCTURES)
    marked = {line.get_marker(): line.get_xdata().tolist() for line in figure.axes[0].lines[:3]}
    assert (marked["x"], marked["^"]) == ([], [16.0])
    assert legend_names(figure) == ["cavity", "wall", "at least (cut off)"]


def test_intervals_are_bars_and_the_word_of_a_light_stands_above_its_panel():
    rows = []
    for name, light in (("a", "red"), ("b", "amber"), ("c", "green")):
        own = measure_areas(pair(source=replace(SOURCE, case_id=name))[1])
        rows += [
            replace(r, suitability=light, area_low_mm2=r.area - 1, area_high_mm2=r.area + 9, interval_level=0.9)
            for r in own
        ]
    figure = show_areas(rows, structures=STRUCTURES)
    for ax, name, words in zip(figure.axes, "abc", ("RED: not suited", "AMBER: look twice", ""), strict=True):
        assert ax.get_title().strip() == name
        assert [text.get_text().startswith(words) for text in ax.texts] == ([True] if words else [])
        cavity, wall = ax.collections
        area = curves(ax)["cavity"]
        bars = [(at, high - low) for (at, low), (_, high) in cavity.get_segments()]
        assert bars == [(at, pytest.approx(10)) for at in area.get_xdata()]
        assert wall.get_colors()[0, :3].tolist() == [0, 0, 1]
    assert legend_names(figure) == ["cavity", "wall", "90 % interval"]
    drawn(figure)


def test_areas_of_several_cases_have_a_panel_each_and_one_legend():
    other = replace(SOURCE, case_id="other", slice_spacing_source="none")
    rows = measure_areas(replace(pair()[1], annotated=frozenset({1}))) + measure_areas(pair(source=other)[1])
    figure = show_areas(rows)
    assert titles(figure) == ["heart", "other"]
    assert figure.axes[0].get_xlabel() == "slice"
    assert legend_names(figure) == ["cavity", "wall"]
    with pytest.raises(DataError, match="no measurement"):
        show_areas([])


def single_slices(subject, positions, series="1.2"):
    rows = []
    for place, position in enumerate(positions):
        name = f"{subject}_{place}"
        source = replace(SOURCE, case_id=name, subject_id=subject, series_uid=series)
        labels = pair(slices=2)[1]
        affine = affine_from_spacing((8.0, 2.0, 1.0), (0.0, 0.0, position))
        rows += measure_areas(replace(labels, voxels=labels.voxels[1:], affine=affine, source=source))
    return rows


def test_slices_that_are_images_of_their_own_share_a_line_and_name_no_patient():
    rows = single_slices("ID4711", (16.0, 0.0, 8.0)) + single_slices("ID4712", (0.0, 8.0))
    figure = show_areas(rows)
    assert titles(figure) == ["patient 1", "patient 2"]
    cavity = curves(figure.axes[0])["cavity"]
    assert cavity.get_xdata().tolist() == [0.0, 8.0, 16.0]
    assert cavity.get_linestyle() == "-"
    assert titles(show_areas(rows, show_ids=True)) == ["ID4711", "ID4712"]


def test_time_points_in_one_panel_are_points_without_a_line():
    figure = show_areas(single_slices("p", (0.0, 8.0, 0.0, 8.0)))
    assert curves(figure.axes[0])["cavity"].get_linestyle() == "None"


def test_many_images_are_cut_to_what_can_be_read():
    rows = [
        row
        for number in range(5)
        for row in measure_areas(pair(source=replace(SOURCE, case_id=f"heart {number}"))[1])
    ]
    figure = show_areas(rows, most=3)
    assert titles(figure) == ["heart 0", "heart 1", "heart 2"]
    assert "first 3 of 5 images" in figure.get_suptitle()


def test_the_animation_shows_each_slice_as_a_jpeg(tmp_path):
    image, labels = pair()
    animation = show_animation([image, image], [labels, None], frame_ms=100)
    assert len(animation.jpegs) == 8
    assert all(jpeg.startswith(b"\xff\xd8") for jpeg in animation.jpegs)
    assert "cavity" in animation._repr_html_()
    assert show_animation(image, labels, max_frames=2).captions == (
        "heart: slice 1 of 4, 0.0 mm",
        "heart: slice 4 of 4, 24.0 mm",
    )
    assert animation.save_gif(tmp_path / "a.gif").is_file()


def test_figures_leave_pyplot_alone():
    code = "import sys, autoseg.report.figures; print('matplotlib.pyplot' in sys.modules)"
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_erosions_have_a_panel_a_structure_and_a_line_for_each():
    rows = [
        {
            "epoch": epoch,
            **{f"iou_{name}_eroded_{n}": epoch / 5 - n / 20 for name in ("wall", "cavity") for n in range(4)},
        }
        for epoch in (1, 2, 3)
    ]
    figure = show_erosions([{"epoch": 0}, *rows])
    assert [ax.get_title() for ax in figure.axes] == ["wall", "cavity"]
    lines = curves(figure.axes[1])
    assert list(lines) == ["as predicted", "1 erosion", "2 erosions", "3 erosions"]
    assert lines["2 erosions"].get_xdata().tolist() == [1, 2, 3]
    assert lines["2 erosions"].get_ydata() == pytest.approx([0.1, 0.3, 0.5])
    drawn(figure)
    with pytest.raises(DataError, match="--set watch_erosion=yes"):
        show_erosions(history())
