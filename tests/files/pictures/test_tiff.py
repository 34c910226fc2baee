"""TIFF files: pages, samples and palettes come as they were stored."""

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from autoseg.errors import ReadError
from autoseg.files.pictures.tiff import read_tiff

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)


def pixels(path):
    return np.stack([picture.pixels for picture in read_tiff(path)])


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_any_numbers(tmp_path, dtype, byteorder):
    array = (GREY * 3).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder)
    read = pixels(tmp_path / "a.tif")
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array[None])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("array", [GREY, GREY.astype(np.uint16) * 200, RGB], ids=["8 bit", "16 bit", "colours"])
def test_compressed_pages(tmp_path, compression, array):
    first, second = PillowImage.fromarray(array), PillowImage.fromarray(array[::-1].copy())
    first.save(tmp_path / "a.tif", compression=compression, save_all=True, append_images=[second])
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), [array, array[::-1]])
    assert not any(picture.is_jpeg or picture.has_alpha for picture in read_tiff(tmp_path / "a.tif"))


def test_a_jpeg_inside_is_said(tmp_path):
    PillowImage.fromarray(GREY // 100 * 50).save(tmp_path / "a.tif", compression="jpeg")
    (picture,) = read_tiff(tmp_path / "a.tif")
    assert picture.is_jpeg
    assert picture.pixels.shape == GREY.shape


@pytest.mark.parametrize(
    ("axes", "shape"), [("ZYX", (5, 6, 7)), ("CYX", (3, 6, 7)), ("ZCYX", (5, 3, 6, 7)), ("TYX", (5, 6, 7))]
)
def test_stacks_of_imagej(tmp_path, axes, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": axes})
    expected = np.moveaxis(array, axes.index("C"), -1) if "C" in axes else array
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), expected if axes[0] in "ZT" else expected[None])


def test_stacks_of_ome(tmp_path):
    array = np.arange(2 * 5 * 6 * 7).reshape(2, 5, 6, 7).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata={"axes": "CZYX"})
    np.testing.assert_array_equal(pixels(tmp_path / "a.ome.tif"), np.moveaxis(array, 0, -1))


def test_time_points_beside_slices_are_refused(tmp_path):
    array = np.zeros((2, 5, 6, 7), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ReadError, match=r"a\.tif has more axes.*TZYX.*one file for each time point"):
        read_tiff(tmp_path / "a.tif")


def test_planes_beside_each_other_are_samples(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), RGB[None])


@pytest.mark.parametrize(
    ("extra", "is_alpha"), [("unassalpha", True), ("assocalpha", True), ("unspecified", False)]
)
def test_opacity_is_told_from_a_fourth_channel(tmp_path, extra, is_alpha):
    four = np.dstack([RGB, GREY])
    tifffile.imwrite(tmp_path / "a.tif", four, photometric="rgb", extrasamples=[extra])
    (picture,) = read_tiff(tmp_path / "a.tif")
    assert picture.has_alpha == is_alpha
    np.testing.assert_array_equal(picture.pixels, four)


def test_indices_and_their_colours(tmp_path):
    image = PillowImage.fromarray(GREY % 3)
    image.putpalette([0, 0, 0, 230, 159, 0, 86, 180, 233])
    image.save(tmp_path / "a.tif")
    (picture,) = read_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, GREY % 3)
    assert picture.palette[:3].tolist() == [[0, 0, 0], [230, 159, 0], [86, 180, 233]]


def test_one_bit_a_pixel(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY > 99, photometric="minisblack")
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), (GREY > 99)[None])
    PillowImage.fromarray(GREY > 99).save(tmp_path / "b.tif", compression="group4")
    np.testing.assert_array_equal(pixels(tmp_path / "b.tif"), (GREY > 99)[None])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"photometric": "miniswhite"}, "stores white as 0"),
        ({"extratags": [(274, "H", 1, 6, True)]}, "asks to be shown turned or mirrored"),
    ],
)
def test_what_leaves_open_how_it_is_meant_is_refused(tmp_path, options, words):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
    with pytest.raises(ReadError, match=rf"a\.tif {words}"):
        read_tiff(tmp_path / "a.tif")


def test_pages_of_several_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY)
        file.write(GREY[:5])
    with pytest.raises(ReadError, match=r"a\.tif holds several pictures of different kinds.*\(5, 24\), \(20, 24\)"):
        read_tiff(tmp_path / "a.tif")


def test_colours_of_sixteen_bits_are_not_halved(tmp_path):
    deep = RGB.astype(np.uint16) * 257 - 3
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", compression="zlib")
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), deep[None])


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_part_of_a_file_is_refused(tmp_path, share, compression):
    path = tmp_path / "part.tif"
    tifffile.imwrite(path, np.stack([GREY] * 40), compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ReadError, match=r"part\.tif (is cut off|cannot be read)"):
        read_tiff(path)


def test_a_part_of_an_imagej_stack_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((50, 30, 30), np.uint16), imagej=True)
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:50000])
    with pytest.raises(ReadError, match=r"a\.tif (is cut off|cannot be read)"):
        read_tiff(tmp_path / "a.tif")


def test_other_files_are_named(tmp_path):
    PillowImage.fromarray(GREY).save(tmp_path / "a.tif", format="PNG")
    with pytest.raises(ReadError, match=r"a\.tif cannot be read as a TIFF"):
        read_tiff(tmp_path / "a.tif")
    with pytest.raises(ReadError, match=r"nowhere\.tif does not exist"):
        read_tiff(tmp_path / "nowhere.tif")
