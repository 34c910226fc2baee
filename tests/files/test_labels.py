"""Label files: exactly the labels that were drawn, or an error that says why not."""

import io
import struct

import cv2
import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from autoseg.errors import LabelError, ReadError
from autoseg.files.labels import read_label_file, read_label_volume
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.pictures.labels import COSINES, block_radius, nearest_levels
from autoseg.files.pictures.pictures import JpegPlanes, write_palette_png
from autoseg.image.structures import Structure

LABELS = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
NAMED = (Structure(1, "psoas"), Structure(2, "disc"))
TWO_LEVELS = (Structure(255, "muscle"),)
THREE_LEVELS = (Structure(127, "cavity"), Structure(255, "myocardium"))

COLOUR = st.tuples(*[st.integers(0, 255)] * 3).filter(any) | st.integers(1, 255).map(lambda grey: (grey,) * 3)


def save(path, pixels, **options):
    PillowImage.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def in_colour(labels, structures):
    palette = np.zeros((256, 3), np.uint8)
    for structure in structures:
        palette[structure.label] = structure.rgb
    return palette[labels]


class TestNpy:
    @pytest.mark.parametrize("dtype", ["u1", "i1", "i8", ">u2", "f4", "f8"])
    def test_any_whole_numbers(self, tmp_path, dtype):
        np.save(tmp_path / "a.npy", LABELS.astype(dtype))
        read = read_label_file(tmp_path / "a.npy")
        assert read.dtype.kind in "iu"
        np.testing.assert_array_equal(read, LABELS[None])

    def test_a_mask_is_0_and_1(self, tmp_path):
        np.save(tmp_path / "a.npy", LABELS > 0)
        read = read_label_file(tmp_path / "a.npy")
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read[0], [[0, 1, 1], [1, 1, 0]])

    def test_several_slices(self, tmp_path):
        np.save(tmp_path / "a.npy", np.asfortranarray(np.stack([LABELS, LABELS * 0, LABELS])))
        read = read_label_file(tmp_path / "a.npy")
        assert read.shape == (3, 2, 3)
        np.testing.assert_array_equal(read[2], LABELS)

    @pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e30])
    def test_numbers_that_are_not_whole(self, tmp_path, value):
        voxels = LABELS.astype(float)
        voxels[0, 0] = value
        np.save(tmp_path / "a.npy", voxels)
        with pytest.raises(LabelError, match=r"a\.npy.*not whole.*on 1 pixels.*uint8"):
            read_label_file(tmp_path / "a.npy")

    @pytest.mark.parametrize(
        ("voxels", "words"),
        [
            (np.zeros(5, int), r"shape \(5,\)"),
            (np.zeros((1, 2, 3, 4), int), r"shape \(1, 2, 3, 4\)"),
            (np.array([["a", "b"]]), "not whole numbers"),
            (np.zeros((2, 2), complex), "complex128"),
        ],
    )
    def test_arrays_of_another_kind(self, tmp_path, voxels, words):
        np.save(tmp_path / "a.npy", voxels)
        with pytest.raises(LabelError, match=words):
            read_label_file(tmp_path / "a.npy")

    def test_a_pickle_is_never_opened(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (tmp_path.joinpath("exploded").touch, ())

        np.save(tmp_path / "bomb.npy", np.array([Bomb()]), allow_pickle=True)
        with pytest.raises(ReadError, match=r"bomb\.npy.*pickles.*numpy\.save"):
            read_label_file(tmp_path / "bomb.npy")
        assert not (tmp_path / "exploded").exists()

    @pytest.mark.parametrize("keep", [0, 5, 60, 130])
    def test_a_part_of_a_file(self, tmp_path, keep):
        np.save(tmp_path / "a.npy", LABELS)
        (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:keep])
        with pytest.raises(ReadError, match="cannot be read"):
            read_label_file(tmp_path / "a.npy")

    def test_an_npz_under_a_false_name(self, tmp_path):
        np.savez(tmp_path / "a.npz", LABELS)
        with pytest.raises(ReadError, match="cannot be read"):
            read_label_file((tmp_path / "a.npz").rename(tmp_path / "a.npy"))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ReadError, match=r"a\.npy does not exist"):
            read_label_file(tmp_path / "a.npy")


class TestPng:
    def test_grey_values_are_labels(self, tmp_path):
        read = read_label_file(save(tmp_path / "a.PNG", LABELS))
        np.testing.assert_array_equal(read, LABELS[None])

    def test_sixteen_bits(self, tmp_path):
        read = read_label_file(save(tmp_path / "a.png", LABELS.astype(np.uint16) * 300))
        np.testing.assert_array_equal(read, LABELS.astype(int)[None] * 300)

    def test_a_mask_of_one_bit(self, tmp_path):
        PillowImage.fromarray(LABELS > 0).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.png")[0], LABELS > 0)

    @pytest.mark.parametrize("structures", [None, NAMED])
    def test_indices_are_labels(self, tmp_path, structures):
        write_palette_png(tmp_path / "a.png", LABELS, NAMED)
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.png", structures), LABELS[None])

    def test_indices_that_contradict_their_colours(self, tmp_path):
        write_palette_png(tmp_path / "a.png", LABELS, (Structure(1, "a", (9, 9, 9)), Structure(2, "b")))
        swapped = (Structure(1, "psoas"), Structure(2, "disc", (9, 9, 9)))
        with pytest.raises(LabelError, match="index 1 is shown as #090909, the colour of label 2"):
            read_label_file(tmp_path / "a.png", swapped)

    def test_autosegs_own_picture_of_more_structures_than_colours(self, tmp_path):
        structures = tuple(Structure(label, f"s{label}") for label in range(1, 46))
        assert structures[0].rgb == structures[21].rgb
        labels = np.arange(46, dtype=np.uint8).reshape(2, 23)
        write_palette_png(tmp_path / "a.png", labels, structures)
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.png", structures)[0], labels)
        with pytest.raises(LabelError, match="index 1 is shown as #e69f00, the colour of label 22"):
            read_label_file(tmp_path / "a.png", structures[21:22])

    def test_black_on_white_with_a_palette_is_not_inverted_silently(self, tmp_path):
        image = PillowImage.fromarray(LABELS % 2)
        image.putpalette([255, 255, 255, 0, 0, 0])
        image.save(tmp_path / "a.png")
        with pytest.raises(LabelError, match="index 1 is shown as #000000"):
            read_label_file(tmp_path / "a.png")

    def test_a_palette_that_is_black_throughout_says_nothing(self, tmp_path):
        image = PillowImage.fromarray(LABELS)
        image.putpalette([0] * 9)
        image.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.png", NAMED)[0], LABELS)

    def test_colours_are_labels(self, tmp_path):
        path = save(tmp_path / "a.png", in_colour(LABELS, NAMED))
        np.testing.assert_array_equal(read_label_file(path, NAMED), LABELS[None])

    def test_transparent_is_background(self, tmp_path):
        pixels = np.dstack([in_colour(LABELS, NAMED), np.full(LABELS.shape, 255, np.uint8)])
        pixels[LABELS == 0] = (255, 255, 255, 0)
        np.testing.assert_array_equal(read_label_file(save(tmp_path / "a.png", pixels), NAMED)[0], LABELS)

    def test_half_transparent_is_in_doubt(self, tmp_path):
        pixels = np.dstack([in_colour(LABELS, NAMED), np.full(LABELS.shape, 255, np.uint8)])
        pixels[0, :2, 3] = 128
        with pytest.raises(LabelError, match="2 half transparent pixels"):
            read_label_file(save(tmp_path / "a.png", pixels), NAMED)

    def test_colours_of_sixteen_bits_are_refused_and_grey_ones_read(self, tmp_path):
        cv2.imwrite(str(tmp_path / "grey.png"), np.dstack([LABELS.astype(np.uint16) * 300] * 3))
        np.testing.assert_array_equal(read_label_file(tmp_path / "grey.png")[0], LABELS.astype(int) * 300)
        cv2.imwrite(str(tmp_path / "a.png"), np.arange(18, dtype=np.uint16).reshape(2, 3, 3))
        with pytest.raises(LabelError, match="3 channels of 16 bit"):
            read_label_file(tmp_path / "a.png", NAMED)

    def test_grey_saved_in_three_channels(self, tmp_path):
        path = save(tmp_path / "a.png", np.dstack([LABELS] * 3))
        np.testing.assert_array_equal(read_label_file(path)[0], LABELS)
        np.testing.assert_array_equal(read_label_file(path, NAMED)[0], LABELS)

    def test_grey_with_alpha(self, tmp_path):
        opaque = np.full(LABELS.shape, 255, np.uint8)
        PillowImage.fromarray(np.dstack([LABELS, opaque])).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.png", NAMED)[0], LABELS)

    def test_unknown_colours_are_counted(self, tmp_path):
        pixels = in_colour(LABELS, NAMED)
        pixels[0] = (1, 2, 3)
        with pytest.raises(LabelError, match=r"#010203 \(3 pixels\).*#e69f00.*structures\.csv.*anti-aliasing"):
            read_label_file(save(tmp_path / "a.png", pixels), NAMED)
        with pytest.raises(LabelError, match=r"3 colours"):
            read_label_file(tmp_path / "a.png")

    @pytest.mark.parametrize("colour", [(9, 9, 9), (0, 0, 0)])
    def test_a_colour_for_two_is_refused(self, tmp_path, colour):
        structures = (Structure(1, "a", (9, 9, 9)), Structure(2, "b", colour))
        with pytest.raises(LabelError, match="share the colour"):
            read_label_file(save(tmp_path / "a.png", in_colour(LABELS, NAMED)), structures)

    def test_real_grey_levels(self, shared_data):
        path = next((shared_data / "lumbar-spider-sagittal-png" / "masks").glob("*.png"))
        assert set(np.unique(read_label_file(path))) <= {0, 29, 76, 150}


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"a\.bmp is no label file.*\.npy, \.png"):
        read_label_file(tmp_path / "a.bmp")


class TestTiff:
    def test_pages_are_slices(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.stack([LABELS, LABELS * 0, LABELS]), photometric="minisblack")
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.tif"), [LABELS, LABELS * 0, LABELS])

    def test_colours_are_labels(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.TIFF", in_colour(LABELS, NAMED), photometric="rgb")
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.TIFF", NAMED), LABELS[None])

    def test_floats_are_labels_if_they_are_whole(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(np.float32))
        np.testing.assert_array_equal(read_label_file(tmp_path / "a.tif"), LABELS[None])
        tifffile.imwrite(tmp_path / "b.tif", LABELS / np.float32(2))
        with pytest.raises(LabelError, match=r"b\.tif.*not whole"):
            read_label_file(tmp_path / "b.tif")

    def test_a_jpeg_inside_is_refused(self, tmp_path):
        PillowImage.fromarray(random_labels(1, 1) * np.uint8(255)).save(tmp_path / "a.tif", compression="jpeg")
        with pytest.raises(LabelError, match=r"a\.tif is a TIFF compressed as JPEG"):
            read_label_file(tmp_path / "a.tif", TWO_LEVELS)

    def test_more_channels_than_colours_are_no_labels(self, tmp_path):
        five = np.arange(30, dtype=np.uint8).reshape(2, 3, 5)
        tifffile.imwrite(tmp_path / "a.tif", five, photometric="minisblack", planarconfig="contig")
        with pytest.raises(LabelError, match="5 channels of 8 bit"):
            read_label_file(tmp_path / "a.tif", NAMED)

    def test_real_masks_are_0_and_255(self, shared_data):
        paths = sorted((shared_data / "brain-lgg-flair-tiff").rglob("*_mask.tif"))
        if not paths:
            pytest.skip("the glioma slices are not on this machine")
        assert {value for path in paths for value in np.unique(read_label_file(path))} == {0, 255}


class TestNifti:
    def nifti(self, path, array, affine=None, slope=None):
        affine = np.diag([0.5, 0.5, 3.0, 1.0]) if affine is None else affine
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
        if slope is not None:
            data = bytearray(path.read_bytes())
            struct.pack_into("<ff", data, 112, slope, 0)
            path.write_bytes(data)
        return path

    @pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
    def test_labels_lie_as_images_do(self, tmp_path, dtype):
        array = np.random.default_rng(0).integers(0, 4, (3, 4, 5)).astype(dtype)
        path = self.nifti(tmp_path / "a.nii.gz", array)
        (image,) = read_nifti_image(path)
        read = read_label_file(path)
        assert read.dtype.kind in "iu"
        np.testing.assert_array_equal(read, image.voxels)
        (image,) = read_nifti_image(path, slice_axis="coronal")
        np.testing.assert_array_equal(read_label_file(path, slice_axis="coronal"), image.voxels)

    def test_what_scaling_rounds_is_put_right_and_nothing_more(self, tmp_path):
        slope = np.float32(4) / 30001
        stored = np.round(np.arange(5) / slope).astype(np.int16).reshape(1, 1, 5)
        read = read_label_file(self.nifti(tmp_path / "a.nii", stored, slope=slope))
        np.testing.assert_array_equal(read.ravel(), range(5))
        with pytest.raises(LabelError, match="not whole"):
            read_label_file(self.nifti(tmp_path / "b.nii", stored, slope=slope * 0.99))
        with pytest.raises(LabelError, match="not whole"):
            read_label_file(self.nifti(tmp_path / "c.nii", np.full((2, 2, 2), 1.001)))

    def test_four_axes_are_no_labels(self, tmp_path):
        path = self.nifti(tmp_path / "four.nii", np.zeros((2, 3, 4, 5), np.uint8))
        for read in (read_label_file, read_label_volume):
            with pytest.raises(LabelError, match=r"four\.nii has the shape \(2, 3, 4, 5\).*three axes"):
                read(path)

    def test_a_volume_comes_with_its_place(self, tmp_path):
        path = self.nifti(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8))
        voxels, affine = read_label_volume(path)
        assert voxels.shape == (5, 4, 3)
        np.testing.assert_allclose(affine, read_nifti_image(path)[0].affine)
        np.save(tmp_path / "a.npy", LABELS)
        assert read_label_volume(tmp_path / "a.npy")[1] is None


class TestValues:
    def test_other_values_become_labels(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[0, 29, 76], [150, 29, 0]]))
        path = save(tmp_path / "a.png", np.array([[0, 29, 76], [150, 29, 0]], np.uint8))
        rgb = save(tmp_path / "rgb.png", np.dstack([np.array([[0, 29, 76], [150, 29, 0]], np.uint8)] * 3))
        for file in (path, rgb, tmp_path / "a.npy"):
            read = read_label_file(file, NAMED, values={29: 1, 76: 2, 150: 0})
            np.testing.assert_array_equal(read, [[[0, 1, 2], [0, 1, 0]]])
            with pytest.raises(LabelError, match=r"stand for no structure: 150 \(1 pixels\).*column values"):
                read_label_file(file, NAMED, values={29: 1, 76: 2})

    def test_colours_are_the_structures_and_need_no_values(self, tmp_path):
        path = save(tmp_path / "a.png", in_colour(LABELS, NAMED))
        np.testing.assert_array_equal(read_label_file(path, NAMED, values={29: 1})[0], LABELS)

    def test_the_levels_of_a_jpeg_are_the_files_values(self, tmp_path):
        labels = random_labels(4, 1)
        path = save(tmp_path / "a.jpg", labels * np.uint8(255), quality=90)
        np.testing.assert_array_equal(read_label_file(path, NAMED, values={255: 1})[0], labels)
        with pytest.raises(LabelError, match="in doubt"):
            read_label_file(path, NAMED, values={200: 1})

    def test_real_grey_levels_become_three_labels(self, shared_data):
        for path in sorted((shared_data / "lumbar-spider-sagittal-png" / "masks").glob("*.png"))[::10]:
            raw = read_label_file(path)
            read = read_label_file(path, values={29: 1, 76: 2, 150: 3})
            assert read.dtype == np.uint8
            for value, label in ((0, 0), (29, 1), (76, 2), (150, 3)):
                np.testing.assert_array_equal(raw == value, read == label)


def test_npy_and_png_of_the_same_slice_agree(shared_data):
    folder = shared_data / "cardiac-sunnybrook-dicom"
    paths = sorted(folder.glob("labels_npy/*/*.npy"))
    assert len(paths) == 96
    for path in paths[::10]:
        png = folder / "labels_png" / path.parent.name / f"{path.stem}.png"
        np.testing.assert_array_equal(read_label_file(path), read_label_file(png))


def random_labels(seed, count):
    """Discs, dots and noise: what a coder can hide is tried on purpose."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(rng.integers(1, 50, 2), np.uint8)
    rows, columns = np.indices(labels.shape)
    for label in rng.integers(0, count + 1, rng.integers(0, 5)):
        centre, radius = rng.uniform(0, 50, 2), rng.uniform(1, 15)
        labels[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2] = label
    noisy = rng.random(labels.shape) < rng.choice([0, 0.002, 0.05, 0.5])
    labels[noisy] = rng.integers(0, count + 1, int(noisy.sum()))
    return labels


def heart(shared_data):
    folder = shared_data / "cardiac-sunnybrook-dicom" / "labels_png"
    return [read_label_file(path)[0] for path in sorted(folder.glob("*/*.png"))[::12]]


def read_or_refuse(path, structures):
    """Give what was read, or None if the file was refused with a reason or a clash of colours."""
    try:
        return read_label_file(path, structures)[0]
    except LabelError as error:
        if "PNG or NPY" in str(error) or "share the colour" in str(error):
            return None
        raise


class TestJpeg:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        seed=st.integers(0, 2**32 - 1),
        quality=st.integers(1, 100),
        levels=st.lists(st.integers(1, 255), min_size=1, max_size=3, unique=True),
        colours=st.lists(COLOUR, min_size=3, max_size=3, unique=True),
        in_colours=st.booleans(),
        by=st.sampled_from(["pillow", "progressive", "opencv"]),
    )
    def test_never_a_wrong_label(self, tmp_path, seed, quality, levels, colours, in_colours, by):
        structures = tuple(
            Structure(level, f"s{level}", colour) for level, colour in zip(levels, colours, strict=False)
        )
        labels = np.array([0, *levels], np.uint8)[random_labels(seed, len(levels))]
        pixels = in_colour(labels, structures) if in_colours else labels
        path = tmp_path / "a.jpg"
        if by == "opencv":
            flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
            if in_colours:
                flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
            assert cv2.imwrite(str(path), pixels[..., ::-1] if in_colours else pixels, flags)
        else:
            save(path, pixels, quality=quality, subsampling=0, progressive=by == "progressive")
        read = read_or_refuse(path, structures)
        if read is not None:
            np.testing.assert_array_equal(read, labels)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(seed=st.integers(0, 2**32 - 1), first=st.integers(5, 95), second=st.integers(60, 100))
    def test_a_file_saved_twice_is_not_trusted_more_than_it_deserves(self, tmp_path, seed, first, second):
        once = io.BytesIO()
        labels = random_labels(seed, 1) * np.uint8(255)
        # Noise of single pixels can vanish without a trace in the first file, which nothing later can tell.
        labels = cv2.medianBlur(cv2.copyMakeBorder(labels, 4, 4, 4, 4, cv2.BORDER_CONSTANT), 5)
        PillowImage.fromarray(labels).save(once, "JPEG", quality=first)
        with PillowImage.open(once) as again:
            again.save(tmp_path / "a.jpg", quality=second)
        read = read_or_refuse(tmp_path / "a.jpg", TWO_LEVELS)
        if read is not None:
            np.testing.assert_array_equal(read, labels)

    @pytest.mark.parametrize(
        ("structures", "quality", "is_read"),
        [
            (TWO_LEVELS, 50, False),
            (TWO_LEVELS, 75, True),
            (TWO_LEVELS, 95, True),
            (THREE_LEVELS, 75, False),
            (THREE_LEVELS, 90, True),
            (NAMED, 100, False),
        ],
    )
    def test_real_labels_as_grey_levels(self, tmp_path, shared_data, structures, quality, is_read):
        levels = np.array([0, *[structure.label for structure in structures]], np.uint8)
        for labels in heart(shared_data):
            pixels = levels[np.minimum(labels, len(structures))]
            read = read_or_refuse(save(tmp_path / "a.jpg", pixels, quality=quality), structures)
            assert (read is not None) == is_read
            if is_read:
                np.testing.assert_array_equal(read, pixels)

    @pytest.mark.parametrize(("quality", "is_read"), [(75, False), (95, True), (100, True)])
    def test_real_labels_in_colour(self, tmp_path, shared_data, quality, is_read):
        for labels in heart(shared_data):
            path = save(tmp_path / "a.jpg", in_colour(labels, NAMED), quality=quality, subsampling=0)
            read = read_or_refuse(path, NAMED)
            assert (read is not None) == is_read
            if is_read:
                np.testing.assert_array_equal(read, labels)

    def test_colours_at_half_resolution_are_refused(self, tmp_path):
        path = save(tmp_path / "a.jpg", in_colour(LABELS, NAMED), quality=100, subsampling=2)
        with pytest.raises(LabelError, match=r"lower resolution.*4:2:0.*PNG or NPY"):
            read_label_file(path, NAMED)

    def test_grey_saved_in_three_channels(self, tmp_path):
        labels = random_labels(4, 1) * np.uint8(255)
        path = save(tmp_path / "a.jpg", np.dstack([labels] * 3), quality=95)
        np.testing.assert_array_equal(read_label_file(path, TWO_LEVELS)[0], labels)

    def test_smoothed_edges_are_refused(self, tmp_path):
        labels = np.zeros((40, 40), np.uint8)
        cv2.circle(labels, (20, 20), 12, 255, -1, cv2.LINE_AA)
        assert len(np.unique(labels)) > 2
        with pytest.raises(LabelError, match=r"pixels could carry another label.*values in doubt: \d+"):
            read_label_file(save(tmp_path / "a.jpg", labels, quality=98), TWO_LEVELS)

    def test_a_level_without_a_name_is_refused(self, tmp_path):
        labels = np.zeros((40, 40), np.uint8)
        labels[8:16, 8:16] = 255
        labels[24:32, 24:32] = 200
        with pytest.raises(LabelError, match=r"64 pixels .*values in doubt: 200 \(64 pixels\)"):
            read_label_file(save(tmp_path / "a.jpg", labels, quality=95), TWO_LEVELS)

    def test_a_single_pixel_cannot_vanish(self, tmp_path):
        labels = np.zeros((16, 16), np.uint8)
        labels[5, 6] = 255
        for quality in range(1, 101):
            read = read_or_refuse(save(tmp_path / "a.jpg", labels, quality=quality), TWO_LEVELS)
            assert read is None or np.array_equal(read, labels), quality

    def test_without_names_nothing_says_which_levels_there_are(self, tmp_path):
        with pytest.raises(LabelError, match=r"a\.jpg is a JPEG.*structures\.csv.*PNG or NPY"):
            read_label_file(save(tmp_path / "a.jpg", LABELS))

    def test_a_jpeg_that_is_called_png_is_treated_as_one(self, tmp_path):
        path = save(tmp_path / "a.png", LABELS * 100, format="JPEG", quality=50)
        with pytest.raises(LabelError, match="is a JPEG"):
            read_label_file(path, (Structure(100, "a"), Structure(200, "b")))

    def test_the_transform_is_orthonormal_and_the_radius_is_parsevals(self):
        np.testing.assert_allclose(COSINES @ COSINES.T, np.eye(8), atol=1e-12)
        flat = JpegPlanes(np.zeros((1, 8, 8)), np.full((1, 8, 8), 10.0))
        # Sixty-four coefficients, each wrong by at most 0.75 of 10, and 6 for rounding to whole grey levels.
        assert block_radius(flat) == pytest.approx(8 * 7.5 + 6)

    def test_a_flat_block_is_in_doubt_as_soon_as_the_radius_reaches_the_next_level(self):
        jpeg = JpegPlanes(np.zeros((1, 8, 8)), np.full((1, 8, 8), 10.0))
        for level, doubt in ((66.5, False), (65.5, True)):
            nearest, doubtful = nearest_levels(jpeg, np.array([[0.0], [level]]))
            assert not nearest.any()
            assert (doubtful == doubt).all()
