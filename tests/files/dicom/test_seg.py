"""DICOM segmentations on their images: phantoms for every way of storing them, and real files of several makers."""

import gzip
import re
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from autoseg.errors import AutosegError, LabelError, ReadError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.seg import labels_on, read_segmentation
from autoseg.files.dicom.series import find_series, read_series
from autoseg.image.contours import combine_masks

ROWS, COLUMNS = 10, 12
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def item(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, [value] if isinstance(value, Dataset) else value)
    return dataset


def code(value, meaning, scheme="SCT"):
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def the_image(folder, name="test", **phantom):
    options = {
        "rows": ROWS,
        "columns": COLUMNS,
        "pixel_spacing_mm": (1.5, 1.25),
        "places_mm": (8.0, 0.0, 4.0),
        **phantom,
    }
    write_phantom(folder, Phantom(name, **options))
    (image,) = (image for series in find_series(folder).series for image in read_series(series))
    return image


def masks(*labels, slices=3):
    """One random mask of (slices, rows, columns) a label, not empty on any slice."""
    rng = np.random.default_rng(5)
    return {label: rng.random((slices, ROWS, COLUMNS)) < 0.4 for label in labels}


def frame_of(image, place, segment, *, references=True):
    """The functional groups of a frame drawn on one slice of an image."""
    source = image.source.slices[place]
    header = pydicom.dcmread(source.path, stop_before_pixels=True)
    plane = header.PerFrameFunctionalGroupsSequence[source.frame] if "NumberOfFrames" in header else None
    position = plane.PlanePositionSequence[0] if plane else header
    group = item(PlanePositionSequence=item(ImagePositionPatient=position.ImagePositionPatient))
    if segment is not None:
        group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=segment)]
    if references:
        reference = item(ReferencedSOPInstanceUID=source.sop_uid)
        if plane:
            reference.ReferencedFrameNumber = source.frame + 1
        group.DerivationImageSequence = [item(SourceImageSequence=reference)]
    return group


def write_seg(path, image, frames, *, kind="BINARY", segments=(1, 2), change=None, listed=True):
    """Write a segmentation; `frames` are (functional groups, pixels)."""
    affine = image.affine
    axes = affine[:3, 2], affine[:3, 1]
    shared = item(
        PlaneOrientationSequence=item(
            ImageOrientationPatient=[f"{v:.8g}" for axis in axes for v in axis / np.linalg.norm(axis)]
        ),
        PixelMeasuresSequence=item(PixelSpacing=[f"{np.linalg.norm(axis):.8g}" for axis in axes[::-1]]),
    )
    pixels = np.stack([pixels for _, pixels in frames]).astype(np.uint8)
    bits = 1 if kind == "BINARY" else 8
    uid = "1.2.840.10008.5.1.4.1.1.66.7" if kind == "LABELMAP" else "1.2.840.10008.5.1.4.1.1.66.4"
    dataset = item(
        SOPClassUID=uid, SOPInstanceUID=generate_uid(), Modality="SEG", SegmentationType=kind,
        SharedFunctionalGroupsSequence=shared, NumberOfFrames=len(frames), Rows=pixels.shape[1],
        Columns=pixels.shape[2], SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=bits,
        BitsStored=bits, HighBit=bits - 1, PixelRepresentation=0,
    )  # fmt: skip
    dataset.PerFrameFunctionalGroupsSequence = [groups for groups, _ in frames]
    dataset.SegmentSequence = [item(SegmentNumber=n, SegmentLabel=f"muscle {n}") for n in segments]
    if kind == "FRACTIONAL":
        dataset.MaximumFractionalValue = 200
    if listed:
        instances = item(SeriesInstanceUID=image.source.series_uid)
        instances.ReferencedInstanceSequence = [
            item(ReferencedSOPInstanceUID=uid) for uid in dict.fromkeys(s.sop_uid for s in image.source.slices)
        ]
        dataset.ReferencedSeriesSequence = [instances]
    data = np.packbits(pixels.ravel(), bitorder="little") if bits == 1 else pixels
    dataset.PixelData = data.tobytes() + b"\0" * (data.size % 2)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if change:
        change(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path


def read_on(path, image):
    return labels_on(read_segmentation(path), image)


class TestPhantoms:
    @pytest.mark.parametrize("references", [True, False], ids=["by instance", "by position"])
    @pytest.mark.parametrize(
        "geometry", [{}, {"orientation": OBLIQUE}, {"shear": 0.3}, {"multiframe": True}], ids=str
    )
    def test_frames_in_any_order_come_to_their_slices(self, tmp_path, geometry, references):
        image = the_image(tmp_path / "ct", **geometry)
        drawn = masks(1, 2)
        frames = [
            (frame_of(image, place, label, references=references), drawn[label][place])
            for label, place in ((2, 1), (1, 2), (2, 0), (1, 0))
        ]
        found, notes = read_on(write_seg(tmp_path / "seg.dcm", image, frames), image)
        drawn[1][1] = drawn[2][2] = False
        for label, mask in drawn.items():
            np.testing.assert_array_equal(found[label], mask)
        assert notes == ()

    def test_overlapping_segments_stay_whole(self, tmp_path):
        image = the_image(tmp_path / "ct")
        drawn = {1: np.zeros(image.shape, bool), 2: np.zeros(image.shape, bool)}
        drawn[1][0, 2:6], drawn[2][0, 4:8] = True, True
        frames = [(frame_of(image, 0, label), mask[0]) for label, mask in drawn.items()]
        found, _ = read_on(write_seg(tmp_path / "seg.dcm", image, frames), image)
        assert {label: mask.sum() for label, mask in found.items()} == {1: 48, 2: 48}
        voxels, overlaps = combine_masks(found, (2, 1))
        assert overlaps == {(2, 1): 24}
        assert np.bincount(voxels.ravel())[1:].tolist() == [48, 24]

    def test_fractions_count_from_one_half(self, tmp_path):
        image = the_image(tmp_path / "ct")
        shares = np.zeros((ROWS, COLUMNS))
        shares[1], shares[2], shares[3] = 200, 100, 99
        path = write_seg(tmp_path / "seg.dcm", image, [(frame_of(image, 1, 1), shares)], kind="FRACTIONAL")
        found, notes = read_on(path, image)
        assert found[1].sum(axis=(0, 2)).tolist() == [0, 12, 12] + [0] * 7
        assert "at least 0.5" in notes[0]

    def test_a_label_map_holds_all_segments_in_a_frame(self, tmp_path):
        image = the_image(tmp_path / "ct")
        labels = np.random.default_rng(0).integers(0, 4, (2, ROWS, COLUMNS))

        def change(dataset):
            dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [code("125040", "Background", "DCM")]

        frames = [(frame_of(image, place, None), labels[place - 1]) for place in (1, 2)]
        path = write_seg(tmp_path / "seg.dcm", image, frames, kind="LABELMAP", segments=(0, 1, 3), change=change)
        found, _ = read_on(path, image)
        assert set(found) == {1, 3}
        for label, mask in found.items():
            np.testing.assert_array_equal(mask, [np.zeros((ROWS, COLUMNS)), *(labels == label)])

    def test_name_colour_and_side(self, tmp_path):
        image = the_image(tmp_path / "ct")

        def change(dataset):
            first, second, third = dataset.SegmentSequence
            first.RecommendedDisplayCIELabValue = [34885, 53485, 50171]  # sRGB red in PCS-values
            kind = code("68455001", "Psoas")
            kind.SegmentedPropertyTypeModifierCodeSequence = [code("7771000", "Left")]
            first.SegmentedPropertyTypeCodeSequence = [kind]
            region = code("T-1", "Muscle", "SRT")
            region.AnatomicRegionModifierSequence = [code("G-A100", "Right", "SRT")]
            second.AnatomicRegionSequence = [region]
            del third.SegmentLabel

        frames = [(frame_of(image, 0, 1), np.ones((ROWS, COLUMNS)))]
        path = write_seg(tmp_path / "seg.dcm", image, frames, segments=(1, 2, 3), change=change)
        first, second, third = read_segmentation(path).segments
        assert (first.number, first.name, first.side) == (1, "muscle 1", "left")
        np.testing.assert_allclose(first.colour, (255, 0, 0), atol=3)
        assert (second.side, second.colour) == ("right", None)
        assert third.name == "segment 3"

    def test_a_smaller_frame_on_the_same_pixels_is_put_in_its_place(self, tmp_path):
        image = the_image(tmp_path / "ct", orientation=OBLIQUE)
        groups = frame_of(image, 2, 1)
        corner = image.affine @ [2, 3, 4, 1]
        groups.PlanePositionSequence[0].ImagePositionPatient = [f"{value:.8g}" for value in corner[:3]]
        found, _ = read_on(write_seg(tmp_path / "seg.dcm", image, [(groups, np.ones((5, 6)))]), image)
        expected = np.zeros(image.shape, bool)
        expected[2, 3:8, 4:10] = True
        np.testing.assert_array_equal(found[1], expected)

    @pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
    def test_what_highdicom_writes(self, tmp_path, kind):
        highdicom = pytest.importorskip("highdicom")
        image = the_image(tmp_path / "ct")
        voxels = np.random.default_rng(1).integers(0, 3, image.shape).astype(np.uint8)
        sources = [pydicom.dcmread(source.path) for source in image.source.slices]
        for source in sources:
            source.FrameOfReferenceUID = "1.2.3"
            for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
                setattr(source, keyword, source.get(keyword))
            for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName"):
                setattr(source, keyword, source.get(keyword))
        kidney = highdicom.sr.CodedConcept("64033007", "SCT", "Kidney")
        descriptions = [
            highdicom.seg.SegmentDescription(n, name, kidney, kidney, "MANUAL") for n, name in ((1, "a"), (2, "b"))
        ]
        highdicom.seg.Segmentation(
            sources,
            voxels,
            kind,
            descriptions,
            generate_uid(),
            1,
            generate_uid(),
            1,
            "maker",
            "model",
            "1",
            "serial",
        ).save_as(tmp_path / "seg.dcm")
        found, _ = read_on(tmp_path / "seg.dcm", image)
        np.testing.assert_array_equal(combine_masks(found, (1, 2))[0], voxels)


class TestFaults:
    def one(self, tmp_path, change=None, **options):
        image = the_image(tmp_path / "ct")
        frames = [(frame_of(image, place, 1), np.ones((ROWS, COLUMNS))) for place in (0, 1)]
        return image, write_seg(tmp_path / "seg.dcm", image, frames, change=change, **options)

    def test_another_image_is_refused_and_both_are_named(self, tmp_path):
        image, path = self.one(tmp_path)
        other = the_image(tmp_path / "other", name="other")
        with pytest.raises(LabelError) as caught:
            read_on(path, other)
        for text in ("seg.dcm", image.source.series_uid, "other", other.source.series_uid):
            assert text in str(caught.value)

    def test_part_of_the_stack_gets_its_frames_and_a_note(self, tmp_path):
        image, path = self.one(tmp_path)
        part = replace(image, voxels=image.voxels[:1], source=replace(image.source, slices=image.source.slices[:1]))
        found, notes = read_on(path, part)
        assert found[1].all()
        assert notes == ("1 of 2 frames belong to slices that are not in this image.",)

    def test_an_image_without_instances_is_matched_by_position_only(self, tmp_path):
        image, path = self.one(tmp_path)
        bare = replace(image, source=replace(image.source, slices=()))
        assert read_on(path, bare)[0][1].sum(axis=(1, 2)).tolist() == [120, 120, 0]
        moved = image.affine.copy()
        moved[:3, 3] += 1.3 * moved[:3, 0]
        with pytest.raises(LabelError, match="nothing in it lies on a slice"):
            read_on(path, replace(bare, affine=moved))

    def test_an_image_without_geometry_is_matched_by_instance_only(self, tmp_path):
        image, path = self.one(tmp_path)
        assert read_on(path, replace(image, affine=None))[0][1].sum() == 240

    @pytest.mark.parametrize("axis", [1, 2])
    def test_pixels_beside_the_image_s_are_refused(self, tmp_path, axis):
        image, path = self.one(tmp_path)
        moved = image.affine.copy()
        moved[:3, 3] += 0.4 * moved[:3, axis]
        with pytest.raises(LabelError, match=r"seg.dcm .*10 × 12.* up to 0\.4 pixels.*own grid"):
            read_on(path, replace(image, affine=moved))

    def test_a_mirrored_grid_is_refused(self, tmp_path):
        def change(dataset):
            plane = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
            plane.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]

        image, path = self.one(tmp_path, change)
        with pytest.raises(LabelError, match="does not stretch"):
            read_on(path, image)

    def test_a_typed_pixel_size_does_not_matter(self, tmp_path):
        _, path = self.one(tmp_path)
        (image,) = read_series(find_series(tmp_path / "ct").series[0], pixel_spacing_mm=(1.6, 1.3))
        assert read_on(path, image)[0][1].sum() == 240

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda d: d.PerFrameFunctionalGroupsSequence.pop(), r"2 frames but says of 1"),
            (lambda d: setattr(d, "SegmentationType", "ODD"), "SegmentationType is ODD"),
            (lambda d: d.PerFrameFunctionalGroupsSequence[0].pop("SegmentIdentificationSequence"), "which segment"),
            (lambda d: d.pop("Rows"), "header of this segmentation is damaged"),
            (lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"), "but MR Image Storage"),
        ],
    )
    def test_damaged_headers_are_refused_in_words(self, tmp_path, change, text):
        _, path = self.one(tmp_path, change)
        with pytest.raises(ReadError, match=text):
            read_segmentation(path)

    def test_cut_off_pixels_are_refused(self, tmp_path):
        image, path = self.one(tmp_path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-10])
        with pytest.raises(ReadError, match=r"seg\.dcm"):
            read_on(path, image)
        _, path = self.one(tmp_path, lambda d: setattr(d, "PixelData", d.PixelData[:16]))
        with pytest.raises(ReadError, match="cannot be decoded: there are fewer than the header announces"):
            read_on(path, image)

    def test_a_file_without_preamble_and_meta_is_read(self, tmp_path):
        image, path = self.one(tmp_path)
        meta = pydicom.dcmread(path).file_meta
        path.write_bytes(path.read_bytes()[144 + meta.FileMetaInformationGroupLength :])
        assert read_on(path, image)[0][1].sum() == 240

    def test_other_files_are_refused(self, tmp_path):
        (tmp_path / "a text.dcm").write_text("no DICOM at all " * 20)
        (tmp_path / "empty.dcm").touch()
        for name in ("a text.dcm", "empty.dcm", "missing.dcm", "."):
            with pytest.raises(ReadError, match="DICOM segmentation"):
                read_segmentation(tmp_path / name)


def read_nrrd(path):
    header, data = path.read_bytes().split(b"\n\n", 1)
    sizes = [int(size) for size in re.search(rb"sizes: (.*)", header)[1].split()]
    data = gzip.decompress(data) if b"encoding: gzip" in header else data
    return np.frombuffer(data, "<i2").reshape(sizes[::-1])


def images_in(folder):
    return [image for series in find_series(folder).series for image in read_series(series)]


class TestRealFiles:
    @pytest.fixture
    def folder(self, shared_data):
        return shared_data / "dicom-seg-rtstruct"

    @pytest.fixture
    def liver_ct(self, folder):
        (image,) = images_in(folder / "dcmqi-liver-ct" / "ct-3slice")
        return image

    def test_masks_are_those_of_the_nrrd_files(self, folder, liver_ct):
        liver = folder / "dcmqi-liver-ct"
        (tiny,) = images_in(folder / "dcmqi-24x38x3" / "image")
        found, _ = read_on(liver / "liver.dcm", liver_ct)
        np.testing.assert_array_equal(found[1], read_nrrd(liver / "liver_seg.nrrd") == 1)
        found, _ = read_on(folder / "dcmqi-24x38x3" / "seg" / "label.seg", tiny)
        np.testing.assert_array_equal(found[1], read_nrrd(folder / "dcmqi-24x38x3" / "nrrd" / "label.nrrd") == 1)
        for name in ("noppv", "ppv5"):
            found, _ = read_on(liver / f"sparse-labelmap-{name}.dcm", tiny)
            reference = read_nrrd(liver / f"sparse_labelmap_{name}_seg.nrrd")
            assert found[1].any()
            np.testing.assert_array_equal(found[1], reference == 1)
        found, _ = read_on(liver / "partial_overlaps.dcm", liver_ct)
        parts = [read_nrrd(liver / f"partial_overlaps-{number}.nrrd") for number in (1, 2, 3)]
        for label, mask in found.items():
            assert mask.any()
            np.testing.assert_array_equal(mask, np.any([part == label for part in parts], axis=0))

    def test_every_encoding_of_the_liver_is_the_same_or_refused(self, folder, liver_ct):
        expected, _ = read_on(folder / "dcmqi-liver-ct" / "liver.dcm", liver_ct)
        refused = {}
        for path in sorted((folder / "liver-seg-encodings").iterdir()):
            try:
                found, _ = read_on(path, liver_ct)
            except ReadError as error:
                refused[path.name] = str(error)
            else:
                np.testing.assert_array_equal(found[1], expected[1])
        # What the decoders of today cannot do, later ones may.
        assert all(re.search("_(rle|deflate).dcm", name) for name in refused)
        for text in refused.values():
            assert re.search(r"\((RLE Lossless|1\.2\.840\.10008\.1\.2\.8\.1|Deflated.*)\) cannot be decoded", text)

    def test_every_other_file_lies_on_its_image_or_says_why_not(self, folder, liver_ct):
        small = folder / "highdicom-small"
        (single,) = (image for image in images_in(small) if image.shape == (1, 128, 128))
        _, stack = images_in(small / "source-ct-77654033-CT2")
        pixels = {}
        for path in sorted(small.glob("seg_*.dcm")):
            image = single if "single_frame" in path.name else stack
            found, _ = read_on(path, image)
            pixels[path.stem.removeprefix("seg_image_ct_")] = [int(mask.sum()) for mask in found.values()]
        whole = [127 + 256 + 255]
        assert pixels == {
            "binary": whole, "binary_fractional": whole, "true_fractional": whole, "binary_overlap": [48, 12],
            "binary_single_frame": [1832],
        }  # fmt: skip
        with pytest.raises(
            LabelError, match=r"seg_13frames_other_patient.dcm was drawn on series 1\.3\.6.*ct-3slice"
        ):
            read_on(folder / "dcmqi-liver-ct" / "seg_13frames_other_patient.dcm", liver_ct)
        # The same slices as one multi-frame file are other instances.
        (enhanced,) = images_in(folder / "dcmqi-24x38x3" / "multiframe")
        with pytest.raises(AutosegError, match="Choose the labels of this image"):
            read_on(folder / "dcmqi-24x38x3" / "seg" / "label.seg", enhanced)
