"""Images from pictures: channels are sequences and no colours, and pixels have no size."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from autoseg.errors import GeometryError, ReadError
from autoseg.files.pictures.images import read_picture_image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
SEQUENCES = ("pre", "FLAIR", "post")


def save(path, pixels, **options):
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", **options)
    elif pixels.dtype == np.uint16 and pixels.ndim == 3:
        cv2.imwrite(str(path), pixels[..., ::-1])
    else:
        PillowImage.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_grey_slice(tmp_path, name, dtype):
    image = read_picture_image(save(tmp_path / name, GREY.astype(dtype) * 3))
    assert (image.shape, image.channels, image.voxels.dtype) == ((1, 20, 24), ("image",), dtype)
    np.testing.assert_array_equal(image.voxels[0], GREY.astype(dtype) * 3)
    assert image.affine is None
    assert (image.source.case_id, image.source.spacing_source) == ("a", "none")
    with pytest.raises(GeometryError, match="no pixel spacing"):
        _ = image.pixel_mm2


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, SEQUENCES])
def test_three_channels_stay_three(tmp_path, name, dtype, channels):
    image = read_picture_image(save(tmp_path / name, RGB.astype(dtype) * 3), channels=channels)
    assert image.channels == (channels or ("channel 1", "channel 2", "channel 3"))
    assert image.shape == (1, 20, 24)
    np.testing.assert_array_equal(image.voxels[:, 0], np.moveaxis(RGB.astype(dtype) * 3, -1, 0))


def test_a_jpeg_is_near(tmp_path):
    smooth = cv2.GaussianBlur(RGB, (0, 0), 4)
    image = read_picture_image(save(tmp_path / "a.jpg", smooth, quality=98, subsampling=0))
    assert np.abs(image.voxels[:, 0].astype(int) - np.moveaxis(smooth, -1, 0)).max() < 10
    grey = read_picture_image(save(tmp_path / "b.JPG", GREY))
    assert (grey.channels, grey.voxels.shape) == (("image",), (1, 20, 24))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.jpg"])
def test_grey_in_three_channels_is_one_unless_three_are_wanted(tmp_path, name):
    path = save(tmp_path / name, np.dstack([GREY] * 3))
    for channels in (None, ("T2",)):
        image = read_picture_image(path, channels=channels)
        assert image.channels == (channels or ("image",))
        assert image.voxels.shape == (1, 20, 24)
    three = read_picture_image(path, channels=SEQUENCES)
    assert three.voxels.shape == (3, 1, 20, 24)
    np.testing.assert_array_equal(three.voxels[0], image.voxels)


def test_opaque_alpha_is_dropped_and_other_alpha_refused(tmp_path):
    alpha = np.full(GREY.shape, 255, np.uint8)
    for number, pixels in enumerate((np.dstack([GREY, alpha]), np.dstack([GREY, GREY, GREY, alpha]))):
        image = read_picture_image(save(tmp_path / f"{number}.png", pixels))
        np.testing.assert_array_equal(image.voxels, GREY[None])
    coloured = save(tmp_path / "c.png", np.dstack([RGB, alpha]))
    assert read_picture_image(coloured).voxels.shape == (3, 1, 20, 24)
    alpha[0, 0] = 0
    with pytest.raises(ReadError, match=r"d\.png is transparent in parts"):
        read_picture_image(save(tmp_path / "d.png", np.dstack([RGB, alpha])))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_indices_are_shown_in_their_colours(tmp_path, name):
    image = PillowImage.fromarray(GREY % 2)
    image.putpalette([10, 10, 10, 200, 200, 200])
    image.save(tmp_path / name)
    np.testing.assert_array_equal(read_picture_image(tmp_path / name).voxels[0], np.where(GREY % 2, 200, 10))
    image.putpalette([10, 10, 10, 200, 100, 0])
    image.save(tmp_path / name)
    assert read_picture_image(tmp_path / name).voxels.max(axis=(1, 2, 3)).tolist() == [200, 100, 10]


def test_pages_are_slices(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, GREY + 1, GREY + 2]), photometric="minisblack")
    image = read_picture_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.voxels, [GREY, GREY + 1, GREY + 2])
    assert [source.frame for source in image.source.slices] == [0, 1, 2]
    tifffile.imwrite(tmp_path / "b.tif", np.stack([RGB, RGB]), photometric="rgb")
    assert read_picture_image(tmp_path / "b.tif").voxels.shape == (3, 2, 20, 24)


def test_the_resolution_of_a_print_is_not_believed(tmp_path):
    PillowImage.fromarray(GREY).save(tmp_path / "a.png", dpi=(72, 72))
    PillowImage.fromarray(GREY).save(tmp_path / "a.jpg", dpi=(300, 300))
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(20, 20), resolutionunit="CENTIMETER")
    for name in ("a.png", "a.jpg", "a.tif"):
        assert read_picture_image(tmp_path / name).affine is None


@pytest.mark.parametrize(
    ("shape", "voxels"),
    [
        ((20, 24), (1, 20, 24)),
        ((5, 20, 24), (5, 20, 24)),
        ((2, 20, 24), (2, 20, 24)),
        ((20, 24, 2), (2, 1, 20, 24)),
        ((5, 20, 24, 3), (3, 5, 20, 24)),
        ((3, 5, 20, 24), (3, 5, 20, 24)),
        ((1, 5, 20, 24), (5, 20, 24)),
        ((5, 20, 24, 1), None),
        ((9, 5, 20, 24), None),
        ((1, 1, 1, 20, 24), None),
        ((20,), None),
    ],
)
def test_axes_of_arrays(tmp_path, shape, voxels):
    path = save(tmp_path / "a.npy", np.random.default_rng(1).random(shape))
    if voxels is None:
        with pytest.raises(ReadError, match=r"a\.npy (holds|has)"):
            read_picture_image(path)
    else:
        assert read_picture_image(path).voxels.shape == voxels


@pytest.mark.parametrize("array", [np.array([["a"]]), np.zeros((2, 2), complex)])
def test_arrays_without_numbers_are_refused(tmp_path, array):
    with pytest.raises(ReadError, match=r"a\.npy holds"):
        read_picture_image(save(tmp_path / "a.npy", array))


def test_another_number_of_channels_is_refused(tmp_path):
    with pytest.raises(ReadError, match=r"a\.png has 1 channel, but 3 are expected \(pre, FLAIR, post\)"):
        read_picture_image(save(tmp_path / "a.png", GREY), channels=SEQUENCES)
    with pytest.raises(ReadError, match=r"b\.png has 3 channels, but 1 are expected"):
        read_picture_image(save(tmp_path / "b.png", RGB), channels=("T2",))


def test_a_picture_to_be_shown_turned_is_refused(tmp_path):
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    with pytest.raises(ReadError, match="asks to be shown turned"):
        read_picture_image(save(tmp_path / "a.jpg", GREY, exif=exif))


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"a\.bmp is no picture that autoseg reads.*\.png.*\.npy"):
        read_picture_image(tmp_path / "a.bmp")


def test_real_lumbar_slices_have_one_channel_whatever_their_mode(shared_data):
    paths = sorted((shared_data / "lumbar-spider-sagittal-png" / "images").glob("*.png"))
    assert len(paths) == 50
    modes = set()
    for path in paths[::7] + [path for path in paths if path.name.startswith("209_")]:
        image = read_picture_image(path)
        assert (image.voxels.shape, image.voxels.dtype) == ((1, 640, 512), np.uint8)
        with PillowImage.open(path) as picture:
            modes.add(picture.mode)
            np.testing.assert_array_equal(image.voxels[0], np.asarray(picture.convert("L")))
    assert modes == {"L", "RGBA"}


def test_real_gliomas_have_three_sequences_even_where_one_stands_for_all(shared_data):
    paths = sorted((shared_data / "brain-lgg-flair-tiff").rglob("TCGA_*.tif"))
    images = [path for path in paths if not path.stem.endswith("_mask")]
    if not images:
        pytest.skip("the glioma slices are not on this machine")
    filled = next(path for path in images if "HT_A616" in path.name)
    assert len(read_picture_image(filled).channels) == 1
    for path in [filled, *images[::20]]:
        assert read_picture_image(path, channels=SEQUENCES).voxels.shape == (3, 1, 256, 256)
