"""Structure sets on their images: contours in millimetres become pixels, at any angle, or the reason is said."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from structure_sets import contour, the_image, write_rtstruct

from autoseg.errors import GeometryError, LabelError, ReadError
from autoseg.files.dicom.rtstruct import labels_on, read_structure_set
from autoseg.files.dicom.series import find_series, read_series
from autoseg.image.contours import contour_area, fill_contour, fill_contours
from autoseg.words import GraveNote

SQUARE = np.array([(4.3, 5.2), (4.3, 15.2), (12.3, 15.2), (12.3, 5.2)])  # row, column; 80 pixels
HOLE = 8 + (SQUARE - 8) / 3
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def read_on(path, image):
    return labels_on(read_structure_set(path), image)


class TestPhantoms:
    @pytest.mark.parametrize("references", [True, False], ids=["by instance", "by position"])
    @pytest.mark.parametrize(
        "geometry", [{}, {"orientation": OBLIQUE}, {"shear": 0.3}, {"multiframe": True}], ids=str
    )
    def test_contours_come_to_their_slices_as_pixels(self, tmp_path, geometry, references):
        image = the_image(tmp_path / "ct", **geometry)
        regions = [
            [
                contour(image, 2, SQUARE, references=references),
                contour(image, 0, SQUARE + 3, references=references),
            ],
            [contour(image, 1, points, references=references) for points in (HOLE, SQUARE)],
        ]
        found, notes = read_on(write_rtstruct(tmp_path / "rt.dcm", image, regions), image)
        nothing = np.zeros((20, 24), bool)
        shape = (20, 24)
        np.testing.assert_array_equal(
            found[1], [fill_contour(SQUARE + 3, shape), nothing, fill_contour(SQUARE, shape)]
        )
        np.testing.assert_array_equal(found[2], [nothing, fill_contours([SQUARE, HOLE], shape), nothing])
        assert found[1].sum() == 160
        assert notes == ("Contours of roi 2 lie within others on slice 2: these are holes.",)

    def test_names_colours_and_regions_without_contours(self, tmp_path):
        image = the_image(tmp_path / "ct")
        structure_set = read_structure_set(
            write_rtstruct(tmp_path / "rt.dcm", image, [[contour(image, 0, SQUARE)], []])
        )
        first, second = structure_set.rois
        assert (first.number, first.name, first.colour) == (1, "roi 1", (10, 20, 30))
        assert second.contours == ()
        assert structure_set.series_uids == (image.source.series_uid,)
        assert structure_set.sop_uids == {source.sop_uid for source in image.source.slices}
        found, _ = labels_on(structure_set, image)
        assert set(found) == {1}  # of the second nothing is known

    def test_a_file_without_preamble_and_meta_is_read(self, tmp_path):
        image = the_image(tmp_path / "ct")
        path = write_rtstruct(tmp_path / "rt.dcm", image, [[contour(image, 0, SQUARE)]])
        meta = pydicom.dcmread(path).file_meta
        path.write_bytes(path.read_bytes()[144 + meta.FileMetaInformationGroupLength :])
        assert read_on(path, image)[0][1].sum() == 80

    def test_what_encloses_no_area_is_counted(self, tmp_path):
        image = the_image(tmp_path / "ct")
        contours = [
            contour(image, 0, SQUARE),
            contour(image, 0, SQUARE[:1], kind="POINT"),
            contour(image, 1, SQUARE, kind="OPEN_PLANAR"),
            contour(image, 1, SQUARE[:2]),
        ]
        found, notes = read_on(write_rtstruct(tmp_path / "rt.dcm", image, [contours]), image)
        assert found[1].sum(axis=(1, 2)).tolist() == [80, 0, 0]
        assert [note.split("(")[1].split(")")[0] for note in notes] == [
            "CLOSED_PLANAR of fewer than three points", "OPEN_PLANAR", "POINT",
        ]  # fmt: skip

    def test_a_contour_that_is_there_twice_does_not_cancel_itself_out(self, tmp_path):
        image = the_image(tmp_path / "ct")
        twice = [contour(image, 0, SQUARE), contour(image, 0, SQUARE)]
        found, notes = read_on(write_rtstruct(tmp_path / "rt.dcm", image, [twice]), image)
        assert found[1].sum() == 80
        assert "1 contour drawn twice, taken once" in notes[0]

    def test_pieces_that_overlap_are_one_area_and_said(self, tmp_path):
        image = the_image(tmp_path / "ct")
        pieces = [SQUARE, SQUARE + np.array([4, 5])]  # 80 pixels each, 4 × 5 of them common
        contours = [contour(image, place, piece) for place in (0, 2) for piece in pieces]
        found, notes = read_on(write_rtstruct(tmp_path / "rt.dcm", image, [contours]), image)
        assert found[1].sum(axis=(1, 2)).tolist() == [140, 0, 140]
        assert notes[0].startswith("Contours of roi 1 overlap partly on slices 1 3: everything inside")
        assert isinstance(notes[0], GraveNote)

    def test_what_the_file_calls_exclusive_is_left_out_where_it_is_shared(self, tmp_path):
        image = the_image(tmp_path / "ct")
        pieces = [
            contour(image, 0, piece, kind="CLOSEDPLANAR_XOR") for piece in (SQUARE, SQUARE + np.array([4, 5]))
        ]
        found, notes = read_on(write_rtstruct(tmp_path / "rt.dcm", image, [pieces]), image)
        assert found[1].sum() == 80 + 80 - 2 * 20
        assert "only what lies inside one of them" in notes[0]


class TestFaults:
    def test_contours_on_slices_that_are_not_there_are_counted(self, tmp_path):
        image = the_image(tmp_path / "ct")
        contours = [
            contour(image, 0, SQUARE),
            contour(image, 1, SQUARE),
            contour(image, 2, SQUARE, references=False),
        ]
        path = write_rtstruct(tmp_path / "rt.dcm", image, [contours])
        part = replace(image, voxels=image.voxels[:1], source=replace(image.source, slices=image.source.slices[:1]))
        found, notes = read_on(path, part)
        assert found[1].sum() == 80
        assert notes == ("2 of 3 contours lie on slices that are not in this image.",)

    def test_a_reference_to_another_instance_is_not_overruled_by_the_position(self, tmp_path):
        image = the_image(tmp_path / "ct")
        contours = [contour(image, 0, SQUARE), contour(image, 1, SQUARE, references="1.2.3.4.5")]
        found, notes = read_on(write_rtstruct(tmp_path / "rt.dcm", image, [contours]), image)
        assert found[1].sum(axis=(1, 2)).tolist() == [80, 0, 0]
        assert "1 of 2" in notes[0]

    def test_another_image_is_refused_and_both_are_named(self, tmp_path):
        image, other = the_image(tmp_path / "ct"), the_image(tmp_path / "other", name="other")
        path = write_rtstruct(tmp_path / "rt.dcm", image, [[contour(image, 0, SQUARE)]])
        with pytest.raises(LabelError) as caught:
            read_on(path, other)
        for text in ("rt.dcm", image.source.series_uid, "other", other.source.series_uid):
            assert text in str(caught.value)

    @pytest.mark.parametrize("lift", [0.7, [0.0, 0.0, 0.3, 0.3]], ids=["off its slice", "tilted"])
    def test_a_contour_off_its_plane_is_refused(self, tmp_path, lift):
        image = the_image(tmp_path / "ct")
        path = write_rtstruct(tmp_path / "rt.dcm", image, [[contour(image, 0, SQUARE, lift=lift)]])
        with pytest.raises(
            LabelError, match=r"rt\.dcm: a contour of 'roi 1' does not lie in the plane of slice 1 "
        ):
            read_on(path, image)

    def test_millimetres_need_an_affine(self, tmp_path):
        image = the_image(tmp_path / "ct")
        path = write_rtstruct(tmp_path / "rt.dcm", image, [[contour(image, 0, SQUARE)]])
        with pytest.raises(GeometryError, match="field of view"):
            read_on(path, replace(image, affine=None))

    def test_coordinates_that_are_no_points_are_refused(self, tmp_path):
        image = the_image(tmp_path / "ct")
        broken = contour(image, 0, SQUARE)
        broken.ContourData = list(broken.ContourData)[:-1]
        with pytest.raises(ReadError, match=r"rt\.dcm: a contour of region 1 has ContourData"):
            read_structure_set(write_rtstruct(tmp_path / "rt.dcm", image, [[broken]]))

    def test_other_files_are_refused(self, tmp_path):
        image = the_image(tmp_path / "ct")
        (tmp_path / "a text.dcm").write_text("no DICOM at all " * 20)
        for path in (tmp_path / "a text.dcm", tmp_path / "missing.dcm", image.source.slices[0].path):
            with pytest.raises(ReadError, match="structure set"):
                read_structure_set(path)

    def test_a_file_cut_off_before_its_contours_is_refused(self, tmp_path):
        image = the_image(tmp_path / "ct")
        path = write_rtstruct(
            tmp_path / "rt.dcm", image, [[contour(image, 0, SQUARE)]], change=lambda d: d.pop("ROIContourSequence")
        )
        with pytest.raises(ReadError, match=r"rt\.dcm names no region with contours: it is empty or cut off"):
            read_structure_set(path)

    def test_a_damaged_header_is_refused(self, tmp_path):
        image = the_image(tmp_path / "ct")
        path = write_rtstruct(
            tmp_path / "rt.dcm", image, [[]], change=lambda d: d.ROIContourSequence[0].pop("ReferencedROINumber")
        )
        with pytest.raises(ReadError, match="header of this structure set is damaged"):
            read_structure_set(path)


class TestRealFiles:
    @pytest.fixture
    def folder(self, shared_data):
        return shared_data / "dicom-seg-rtstruct"

    @pytest.fixture
    def image(self, folder):
        (series,) = find_series(folder / "rtstruct-rt-utils" / "mock_data").series
        (image,) = read_series(series)
        return image

    def test_a_square_with_a_hole(self, folder, image):
        path = folder / "rtstruct-rt-utils" / "mock_data" / "rt.dcm"
        found, notes = read_on(path, image)
        (roi,) = read_structure_set(path).rois
        outer, inner = ((one.points_mm[:, 1::-1] + 125) / 0.488281 for one in roi.contours)
        np.testing.assert_array_equal(found[1][0], fill_contours([outer, inner], (512, 512)))
        assert not found[1][1].any()
        # Both lie along the pixels' borders, where a whole side counts or does not.
        assert found[1].sum() == pytest.approx(contour_area(outer) - contour_area(inner), rel=0.03)
        assert [note.split(" on ")[1] for note in notes] == ["slice 1: these are holes."]

    @pytest.mark.parametrize("name", ["invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"])
    def test_dangling_references_are_said_and_the_rest_is_drawn(self, folder, image, name):
        structure_set = read_structure_set(folder / "rtstruct-rt-utils" / "mock_data" / name)
        found, notes = labels_on(structure_set, image)
        assert notes == ("4 of 12 contours lie on slices that are not in this image.",)
        for roi in structure_set.rois:
            on_top, middle, bottom = (contour_area(one.points_mm[:, :2]) / image.pixel_mm2 for one in roi.contours)
            assert on_top > 0
            assert found[roi.number].sum(axis=(1, 2)) == pytest.approx([bottom, middle], abs=1)

    def test_a_structure_set_without_meta_and_without_images(self, folder, image):
        structure_set = read_structure_set(folder / "rtstruct-pydicom" / "rtstruct.dcm")
        assert [(roi.name, len(roi.contours)) for roi in structure_set.rois] == [
            ("patient", 3), ("Isocenter 1", 0), ("Isocenter 2", 0),
        ]  # fmt: skip
        assert structure_set.notes == ("2 contours without an area (POINT): not drawn.",)
        with pytest.raises(LabelError, match=r"rtstruct\.dcm was drawn on series"):
            labels_on(structure_set, image)

    def test_oblique_slices(self, folder, tmp_path):
        # Three files of three studies, which makes them three images.
        for series in find_series(folder / "rtstruct-rt-utils" / "oriented_data").series:
            (image,) = read_series(series)
            drawn = [[contour(image, 0, 2 * SQUARE)], [contour(image, 0, 2 * SQUARE, references=False)]]
            found, _ = read_on(write_rtstruct(tmp_path / "rt.dcm", image, drawn), image)
            for mask in found.values():
                np.testing.assert_array_equal(mask, [fill_contour(2 * SQUARE, (50, 100))])


def test_more_contours_over_each_other_than_anybody_draws_are_refused(tmp_path):
    image = the_image(tmp_path / "image")
    square = np.array([(4, 4), (4, 12), (12, 12), (12, 4)], dtype=float)
    apart = [contour(image, 0, square / 8 + (row, column)) for row in range(0, 18, 2) for column in range(0, 22, 2)]
    around = contour(image, 0, square * 2 - 8)
    drawn = write_rtstruct(tmp_path / "a.dcm", image, [[around, *apart]])
    assert read_on(drawn, image)  # many islands in one contour are no fault
    over = [contour(image, 0, square + 0.01 * number) for number in range(120)]
    with pytest.raises(LabelError, match="120 contours of 'roi 1' lie on slice 1, and 7,140 pairs"):
        read_on(write_rtstruct(tmp_path / "b.dcm", image, [over]), image)
