"""Drawing in a folder to correct in: areas to the pixel, undo bit for bit, others untouched, files that stay."""

import hashlib
import json

import numpy as np
import pytest
from kills import kill_everywhere

from autoseg.data.corrections.drawing import RECORD, Drawing, read_sessions
from autoseg.data.corrections.keep import keep_correction
from autoseg.data.corrections.kit import AS_WRITTEN, read_kit, write_kit
from autoseg.data.corrections.read import read_corrections
from autoseg.data.corrections.strokes import between, brushed, holes_filled, inside, largest_piece, smoothed
from autoseg.errors import DataError, OutputError, ReadError
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas

PSOAS, CORD, GREY = Structure(1, "psoas"), Structure(2, "cord", includes=(3,)), Structure(3, "grey matter")
# Whole points at a distance of 2.5 or less, of which a brush of 5 pixels is made.
DISC_OF_5 = 21


def oblique():
    """Give slices that lean by 30 degrees, with pixels of 0.5 × 0.8 mm, and a gantry that is tilted as well."""
    affine = affine_from_spacing((4.0, 0.5, 0.8), (-12.0, 30.0, -101.0)).copy()
    turn = np.eye(4)
    turn[:3, :3] = [[0.75**0.5, -0.5, 0], [0.5, 0.75**0.5, 0], [0, 0, 1]]
    affine = turn @ affine
    affine[:3, 0] += [0.0, 1.0, 0.0]
    return affine


def result(affine, *, shape=(7, 20, 24), **source):
    labels = np.zeros(shape, np.uint8)
    labels[:, 12:18, 2:8] = 2
    labels[:, 14:16, 4:6] = 3
    labels[2, 2:5, 15:20] = 1
    source = Source("leg", "P1", spacing_source="header", slice_spacing_source="header", **source)
    voxels = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)
    image = Image(voxels, affine, source=source)
    return image, LabelMap(labels, affine, (PSOAS, CORD, GREY), source=source)


@pytest.fixture
def square():
    return result(affine_from_spacing((4.0, 1.0, 1.0)))


def drawing_of(folder, *results, by="AB", **more):
    kit = read_kit(folder) if folder.exists() else write_kit(folder, results)
    return Drawing(kit, results, by=by, **more)


def areas(drawing, image=0):
    return {(row.slice_index, row.name): row.area_mm2 for row in measure_areas(drawing.label_map(image))}


def test_a_brush_covers_what_its_disc_covers():
    disc = brushed((11, 11), [(5, 5)], size=5)
    rows, columns = np.indices((11, 11))
    assert np.array_equal(disc, (rows - 5) ** 2 + (columns - 5) ** 2 <= 2.5**2)
    assert disc.sum() == DISC_OF_5
    assert brushed((11, 11), [(5, 5)], size=1).sum() == 1
    # Pixels twice as high as wide: 5 in the middle row, 3 above and below.
    assert brushed((11, 11), [(5, 5)], size=5, aspect=2.0).sum(axis=1).tolist() == [0, 0, 0, 0, 3, 5, 3, 0, 0, 0, 0]
    # Along a way every disc is covered, and what lies between; beyond the edge nothing.
    way = brushed((11, 30), [(5, 4), (5, 20)], size=5)
    assert way.sum() == DISC_OF_5 + 16 * 5
    assert brushed((11, 11), [(0, 0)], size=5).sum() == 8
    assert not brushed((11, 11), [(-9, 40)], size=5).any()
    assert not brushed((11, 11), [], size=5).any()


def test_a_polygon_covers_the_pixels_whose_middle_is_inside():
    assert inside((9, 9), [(0.5, 0.5), (0.5, 4.5), (3.5, 4.5), (3.5, 0.5)]).sum() == 3 * 4
    left, right = [(1, 1), (1, 4), (6, 4), (6, 1)], [(1, 4), (1, 8), (6, 8), (6, 4)]
    both = inside((9, 9), left), inside((9, 9), right)
    assert not (both[0] & both[1]).any()
    assert (both[0] | both[1]).sum() == 5 * 7
    assert inside((4, 4), [(-9, -9), (-9, 9), (9, 9), (9, -9)]).all()
    with pytest.raises(DataError, match="three corners"):
        inside((9, 9), [(1, 1), (2, 2)])


def test_half_way_between_two_discs_lies_the_mean_one():
    small, large = (brushed((41, 41), [(20, 20)], size=size) for size in (11, 31))
    middle = between(small, large, 0.5)
    rows, columns = np.indices((41, 41))
    distance = np.hypot(rows - 20, columns - 20)
    assert middle[distance <= 9.5].all()
    assert not middle[distance >= 11.5].any()
    assert np.array_equal(between(small, large, 0.0), small)
    assert np.array_equal(between(small, large, 1.0), large)
    # A square that moves by a pixel keeps its area on the way.
    squares = [inside((20, 20), [(5, left), (5, left + 8), (13, left + 8), (13, left)]) for left in (4, 5)]
    assert [between(*squares, share).sum() for share in (0.25, 0.5, 0.75)] == [64, 64, 64]
    whole = np.ones((5, 5), np.bool_)
    assert between(whole, whole, 0.5).all()
    with pytest.raises(DataError, match="missing on one"):
        between(small, np.zeros_like(small), 0.5)


def test_the_largest_piece_touches_by_corners():
    mask = np.zeros((6, 6), np.bool_)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = mask[5, 4] = mask[5, 5] = True
    assert np.argwhere(largest_piece(mask)).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not largest_piece(np.zeros((3, 3), np.bool_)).any()


def test_smoothing_rounds_and_keeps_the_area():
    disc, everywhere = brushed((61, 61), [(30, 30)], size=41), np.ones((61, 61), np.bool_)
    jagged = disc.copy()
    jagged[::2] = brushed((61, 61), [(30, 30)], size=45)[::2]
    round_one = smoothed(jagged, everywhere)
    assert abs(int(round_one.sum()) - int(jagged.sum())) <= 3  # pixels that are alike come together
    edges = [(np.diff(one.astype(int), axis=0) != 0).sum() for one in (round_one, jagged)]
    assert edges[0] < edges[1] / 2
    # The disc as it was, but for a few pixels; an outline blurred and cut at one half would lose some of its edge.
    assert (smoothed(disc, everywhere) ^ disc).sum() < 0.02 * disc.sum()
    assert np.array_equal(round_one, round_one[::-1, ::-1])  # no side is preferred
    # Rows that are four times as high as wide are blurred by a quarter as many: there the teeth are large.
    high = smoothed(jagged, everywhere, aspect=4.0)
    assert (high ^ jagged).sum() < 0.3 * (round_one ^ jagged).sum()
    # At the edge of the slice nothing is lost, and what is not free stays.
    half = np.zeros((20, 20), np.bool_)
    half[:, :7] = True
    assert np.array_equal(smoothed(half, np.ones_like(half)), half)
    assert np.array_equal(smoothed(jagged, disc), jagged)
    assert not smoothed(np.zeros_like(half), half).any()


def test_holes_are_filled_and_bays_are_not():
    ring = np.ones((7, 7), np.bool_)
    ring[2:5, 2:5] = False
    assert holes_filled(ring).all()
    ring[3, 5:] = False
    assert np.array_equal(holes_filled(ring), ring)


@pytest.mark.parametrize("affine", [affine_from_spacing((4.0, 1.0, 1.0)), oblique()], ids=["square", "oblique"])
def test_a_painted_disc_gives_its_area_to_the_pixel(tmp_path, affine):
    image, labels = result(affine)
    drawing = drawing_of(tmp_path / "kit", (image, labels))
    before = areas(drawing)
    assert drawing.brush((0, 4), 1, [(6, 18)], size=5) == [(0, 4)]
    _, row_mm, column_mm = image.spacing_mm
    pixels = brushed((20, 24), [(6, 18)], size=5, aspect=row_mm / column_mm).sum()
    assert pixels == (DISC_OF_5 if row_mm == column_mm else 33)
    now = areas(drawing)
    assert now.pop((4, "psoas")) == pytest.approx(pixels * row_mm * column_mm, rel=1e-12)
    before.pop((4, "psoas"))
    assert now == before
    drawing.save()
    # What is read back lies on the image's own grid, bit for bit, and tells the same area.
    (correction,) = read_corrections(drawing.kit.folder, by="AB")
    assert np.array_equal(correction.label_map.voxels, drawing.label_map(0).voxels)
    assert np.allclose(correction.label_map.affine, affine)
    (change,) = correction.changes
    assert (change.slice, change.name) == (5, "psoas")
    assert change.added_mm2 == pytest.approx(pixels * row_mm * column_mm)


def test_structures_are_drawn_with_what_they_include_and_others_stay(tmp_path, square):
    drawing = drawing_of(tmp_path / "kit", square)
    place, now = (0, 2), drawing.label_map(0).voxels
    # A cord painted over itself keeps its grey matter.
    assert drawing.brush(place, 2, [(14, 4)], size=3) == []
    # The eraser of another structure leaves it alone.
    assert drawing.brush(place, 1, [(14, 4)], size=9, erase=True) == []
    # Grey matter that is taken away is cord, cord that is taken away nothing, with the grey matter in it.
    drawing.brush(place, 3, [(14, 4)], size=1, erase=True)
    assert now[2, 14, 4] == 2
    drawing.brush(place, 2, [(15, 5)], size=1, erase=True)
    assert now[2, 15, 5] == 0
    # What is painted belongs to who was painted.
    drawing.brush(place, 1, [(12, 2)], size=1)
    assert now[2, 12, 2] == 1
    others = np.delete(now, 2, axis=0)
    assert np.array_equal(others, np.delete(square[1].voxels, 2, axis=0))
    assert (now[2] != square[1].voxels[2]).sum() == 3


def test_drawing_may_be_kept_to_a_range_of_grey_values(tmp_path, square):
    image, labels = square
    drawing = drawing_of(tmp_path / "kit", square)
    place, grey, now = (0, 4), image.voxels[4], drawing.label_map(0).voxels
    under = brushed((20, 24), [(6, 14)], size=9)
    wanted = under & (grey >= 200) & (grey <= 600)
    assert 10 < wanted.sum() < under.sum() - 10
    low, high = float(grey[wanted].min()), float(grey[wanted].max())  # both belong to the range
    drawing.brush(place, 1, [(6, 14)], size=9, within=(low, high))
    assert np.array_equal(now[4] == 1, wanted)
    drawing.brush(place, 1, [(6, 14)], size=9, erase=True, within=(low, 400.0))
    assert np.array_equal(now[4] == 1, wanted & (grey > 400))
    corners = [(-0.5, -0.5), (-0.5, 11.5), (19.5, 11.5), (19.5, -0.5)]
    drawing.undo()
    drawing.undo()
    drawing.polygon(place, 2, corners, within=(500.0, 1e9))
    bright = (grey >= 500) & (np.arange(24) < 12)
    assert np.array_equal(now[4] == 2, (bright & (labels.voxels[4] == 0)) | (labels.voxels[4] == 2))
    # A voxel without a number lies in no range.
    voxels = image.voxels.astype(np.float32)
    voxels[4, 6, 14] = np.nan
    other = drawing_of(tmp_path / "other", (Image(voxels, image.affine, source=image.source), labels))
    other.brush(place, 1, [(6, 14)], size=3, within=(-1e9, 1e9))
    assert (other.label_map(0).voxels[4] == 1).sum() == 8


def test_a_structure_is_smoothed_and_filled_and_others_keep_their_pixels(tmp_path, square):
    drawing = drawing_of(tmp_path / "kit", square)
    place, now = (0, 2), drawing.label_map(0).voxels
    drawing.brush(place, 2, [(9, 4), (11, 4)], size=1)  # a spike on the cord, and grey matter that reaches its edge
    drawing.brush(place, 3, [(17, 7)], size=1)
    before = now.copy()
    assert drawing.smooth(place, 2) == [place]
    assert now[2, 9, 4] == 0
    assert np.array_equal(now == 3, before == 3)
    assert np.array_equal(now == 1, before == 1)
    assert abs(int((now[2] == 2).sum()) - int((before[2] == 2).sum())) <= 2
    assert np.array_equal(np.delete(now, 2, axis=0), np.delete(before, 2, axis=0))
    drawing.undo()
    assert np.array_equal(now, before)
    # What is smoothed inside another gives to it and takes from it, and from nothing else.
    drawing.smooth(place, 3)
    assert np.array_equal(now[2] > 1, before[2] > 1)
    drawing.undo()
    # A ring of psoas around a pixel of cord and one of nothing.
    drawing.polygon(place, 1, [(4.5, 3.5), (4.5, 8.5), (9.5, 8.5), (9.5, 3.5)])
    drawing.brush(place, 1, [(7, 6)], size=3, erase=True)
    drawing.brush(place, 2, [(7, 6)], size=1)
    drawing.fill_holes(place, 1)
    assert now[2, 7, 6] == 2
    assert (now[2, 5:10, 4:9] == 1).sum() == 24


def test_undo_and_redo_are_bit_for_bit_without_end(tmp_path, square):
    drawing = drawing_of(tmp_path / "kit", square)
    random, seen = np.random.default_rng(4), [drawing.label_map(0).voxels.copy()]
    for number in range(60):
        place, label = (0, int(random.integers(7))), int(random.integers(1, 4))
        points = [tuple(point) for point in random.integers(-3, 27, (3, 2)).tolist()]
        if number % 7 == 6:
            touched = drawing.smooth(place, label)
        elif number % 3:
            touched = drawing.brush(place, label, points, size=number % 9 + 1, erase=number % 2 == 0)
        else:
            touched = drawing.polygon(place, label, points, erase=number % 2 == 0)
        if touched:
            seen.append(drawing.label_map(0).voxels.copy())
    assert len(seen) > 30
    for before in seen[-2::-1]:
        drawing.undo()
        assert np.array_equal(drawing.label_map(0).voxels, before)
    assert not drawing.can_undo
    assert drawing.undo() == []
    assert np.array_equal(drawing.label_map(0).voxels, square[1].voxels)
    for after in seen[1:]:
        drawing.redo()
        assert np.array_equal(drawing.label_map(0).voxels, after)
    assert drawing.redo() == []
    drawing.undo()
    drawing.brush((0, 0), 1, [(3, 3)], size=3)
    assert not drawing.can_redo  # another way was taken


def test_slices_between_two_corrected_ones_are_filled(tmp_path, square):
    drawing = drawing_of(tmp_path / "kit", square)
    with pytest.raises(DataError, match="First correct psoas on two slices"):
        drawing.fill_between((0, 3), 1)
    drawing.brush((0, 1), 1, [(7, 12)], size=5)
    drawing.brush((0, 5), 1, [(7, 12)], size=9)
    before = drawing.label_map(0).voxels.copy()
    assert drawing.fill_between((0, 5), 1) == [(0, 2), (0, 3), (0, 4)]
    now = drawing.label_map(0).voxels
    sizes = [(now[index] == 1).sum() for index in range(1, 6)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] < sizes[4]
    assert np.array_equal(now[[0, 1, 5, 6]], before[[0, 1, 5, 6]])
    assert np.array_equal(now > 1, before > 1)  # other structures
    assert now[2, 2:5, 18:20].max() == 0  # what the model had there is not what was drawn
    drawing.undo()
    assert np.array_equal(drawing.label_map(0).voxels, before)


def test_a_slice_is_copied_cleaned_and_restored(tmp_path, square):
    drawing = drawing_of(tmp_path / "kit", square)
    now = drawing.label_map(0).voxels
    drawing.brush((0, 3), 2, [(3, 17)], size=1)
    drawing.copy((0, 3), 1, -1)
    wanted = square[1].voxels[2] == 1
    assert np.array_equal(now[3] == 1, wanted & (now[3] != 2))
    drawing.brush((0, 3), 1, [(18, 20)], size=1)
    drawing.keep_largest((0, 3), 1)
    assert now[3, 18, 20] == 0
    assert (now[3] == 1).sum() == wanted.sum() - 1
    drawing.restore((0, 3))
    assert not drawing.is_changed((0, 3))
    with pytest.raises(DataError, match="no slice on that side"):
        drawing.copy((0, 0), 1, -1)


def test_what_was_saved_is_there_after_a_kill_and_the_original_stays(tmp_path, square):
    folder, clock = tmp_path / "kit", iter([0.0, 30.0, 1000.0, 1001.0])
    drawing = drawing_of(folder, square, clock=lambda: next(clock))
    original = (folder / AS_WRITTEN / "leg_labels.nii.gz").read_bytes()
    drawing.brush((0, 4), 1, [(6, 18)], size=5)
    drawing.save()
    drawing.brush((0, 4), 1, [(9, 18)], size=5)
    drawing.save()
    drawn = drawing.label_map(0).voxels.copy()
    drawing.brush((0, 4), 1, [(1, 1)], size=5)  # killed before it is saved
    again = drawing_of(folder, square, by="CD")
    assert np.array_equal(again.label_map(0).voxels, drawn)
    assert again.is_changed((0, 4))
    assert not again.can_undo
    assert (folder / AS_WRITTEN / "leg_labels.nii.gz").read_bytes() == original
    (session,) = read_sessions(folder)
    # Half a minute, and of a long pause a minute.
    assert (session.by, session.strokes, session.minutes) == ("AB", 2, 1.5)
    assert session.begun <= session.saved
    again.restore((0, 4))
    again.save()
    assert [one.by for one in read_sessions(folder)] == ["AB", "CD"]
    assert np.array_equal(read_nifti(folder / "leg_labels.nii.gz")[0], square[1].voxels)


def test_what_another_program_saved_is_not_written_over(tmp_path, square):
    drawing = drawing_of(tmp_path / "kit", square)
    drawing.brush((0, 4), 1, [(6, 18)], size=5)
    path = tmp_path / "kit" / "leg_labels.nii.gz"
    write_nifti(path, LabelMap(np.ones((7, 20, 24), np.uint8), square[1].affine, (PSOAS,)))
    held = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(OutputError, match="saved by another program"):
        drawing.save()
    assert hashlib.sha256(path.read_bytes()).digest() == held


def test_pictures_without_a_distance_are_drawn_in_one_by_one(tmp_path):
    files = tuple(SliceSource(tmp_path / f"slice_{number}.png") for number in range(7))
    image, labels = result(affine_from_spacing((1.0, 0.5, 0.5)), slices=files)
    source = Source("leg", "P1", spacing_source="typed", slice_spacing_source="none", slices=files)
    pair = (
        Image(image.voxels, image.affine, source=source),
        LabelMap(labels.voxels, image.affine, labels.structures, source=source),
    )
    drawing = drawing_of(tmp_path / "kit", pair)
    drawing.brush((0, 5), 1, [(6, 18)], size=5)
    drawing.save()
    changed = [one for one in read_corrections(tmp_path / "kit", by="AB") if one.is_changed]
    assert [one.case.case_id for one in changed] == ["slice_5"]
    assert changed[0].changes[0].added_mm2 == DISC_OF_5 * 0.25


def test_who_draws_where_must_be_known(tmp_path, square):
    with pytest.raises(ReadError, match="Say who corrects"):
        drawing_of(tmp_path / "kit", square, by=" ")
    with pytest.raises(DataError, match="was not written from leg"):
        drawing_of(tmp_path / "kit", result(square[0].affine, shape=(5, 20, 24)))
    fine = write_kit(tmp_path / "fine", [square], factor=3)
    with pytest.raises(DataError, match="finer than the images"):
        Drawing(fine, [square], by="AB")
    (tmp_path / "kit" / RECORD).write_text(json.dumps({"sessions": [{"by": "AB"}]}), encoding="utf-8")
    with pytest.raises(ReadError, match=RECORD):
        drawing_of(tmp_path / "kit", square)


def test_what_was_filled_between_is_kept_as_labels_once_somebody_drew_on_it(tmp_path, square):
    """Also in the folder of a run: what is kept are the slices that were drawn on, and those that are named."""
    drawing = drawing_of(tmp_path / "kit", square)
    for index in (1, 4):
        drawing.polygon((0, index), 1, [(2, 2), (2, 8), (8, 8), (8, 2)])
    assert drawing.fill_between((0, 2), 1) == [(0, 2), (0, 3)]
    drawing.save()
    (correction,) = read_corrections(tmp_path / "kit", by="AB")
    assert correction.changed_slices == (1, 2, 3, 4)
    row = keep_correction(correction, tmp_path / "cases")
    assert (row.checked, row.changed) == ("2 5", "2 5")
    kept = read_nifti(tmp_path / "cases" / row.label_file)[0]
    assert (kept[1] == 1).sum() > 0
    assert (kept[3] == 1).sum() == 0
    drawing.brush((0, 3), 1, [(4, 4)], size=1, erase=True)
    drawing.save()
    (correction,) = read_corrections(tmp_path / "kit", by="AB")
    assert keep_correction(correction, tmp_path / "more").checked == "2 4-5"
    assert keep_correction(correction, tmp_path / "named", checked="2-5").checked == "2-5"


def test_undo_takes_what_was_said_of_slices_along(tmp_path, square):
    """What was filled or called right is no label of a person's once the stroke that it was of is taken back."""
    box = [(2, 2), (2, 8), (8, 8), (8, 2)]
    drawing = drawing_of(tmp_path / "kit", square)
    for index in (3, 5):
        drawing.polygon((0, index), 1, box)
    drawing.fill_between((0, 4), 1)
    drawing.brush((0, 4), 1, [(4, 4)], size=3, erase=True)
    assert (0, 4) in drawing.looked_at
    drawing.undo()
    assert drawing.looked_at == {(0, 3), (0, 5)}  # filled again, with nobody's look
    drawing.undo()
    drawing.redo()
    assert drawing.looked_at == {(0, 3), (0, 5)}
    drawing.redo()
    assert (0, 4) in drawing.looked_at

    # An outline that was called right and is taken back is not right, but gone.
    drawing.polygon((0, 6), 1, box)
    drawing.call_right((0, 6))
    drawing.undo()
    assert (0, 6) not in drawing.looked_at

    # A hand's outline of one structure counts again once a filled one of another is taken back.
    beside = [(14, 12), (14, 18), (18, 18), (18, 12)]
    drawing.polygon((0, 1), 1, box)
    drawing.call_right((0, 1))
    for index in (0, 2):
        drawing.polygon((0, index), 2, beside)
    assert drawing.fill_between((0, 1), 2) == [(0, 1)]
    assert (0, 1) not in drawing.looked_at
    drawing.undo()
    assert (0, 1) in drawing.looked_at
    assert drawing.is_called_right((0, 1))


def test_outlines_of_before_are_not_filled_over(tmp_path, square):
    box = [(2, 14), (2, 20), (6, 20), (6, 14)]
    drawing = drawing_of(tmp_path / "kit", square, before=[(0, 2), (0, 4)])
    own = drawing.label_map(0).voxels[2].copy()
    for index in (1, 6):
        drawing.polygon((0, index), 1, box)
    # The third slice shows the psoas since before; the fifth does not.
    assert drawing.fill_between((0, 5), 1) == [(0, 3), (0, 4), (0, 5)]
    np.testing.assert_array_equal(drawing.label_map(0).voxels[2], own)


def test_two_pages_do_not_write_over_what_the_other_said(tmp_path, square):
    one = drawing_of(tmp_path / "kit", square)
    other = drawing_of(tmp_path / "kit", square, by="CD")
    one.call_right((0, 1))
    one.save()
    other.call_right((0, 2))
    with pytest.raises(OutputError, match=rf"{RECORD} was saved by another"):
        other.save()
    again = drawing_of(tmp_path / "kit", square)
    assert again.looked_at == {(0, 1)}


def test_a_kill_while_a_stroke_is_saved_leaves_labels_and_record_that_belong_together(tmp_path, square):
    drawing = drawing_of(tmp_path / "kit", square)
    drawing.polygon((0, 1), 1, [(2, 2), (2, 8), (8, 8), (8, 2)])

    def look():
        again = drawing_of(tmp_path / "kit", square)
        return {
            "looked_at": again.looked_at,
            "changed": again.changed,
            "sessions": len(read_sessions(again.kit.folder)),
        }

    survey = kill_everywhere(tmp_path / "kit", drawing.save, look)
    assert survey, survey.wrong
    assert survey.moments > 5
