"""Pictures: what is written is what is read, and nothing is scaled, turned or converted on the way."""

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from autoseg.errors import DataError, LabelError, OutputError, ReadError
from autoseg.files.pictures.pictures import read_jpeg_planes, read_picture, write_gif, write_jpg, write_palette_png
from autoseg.image.structures import Structure

STRUCTURES = (Structure(1, "psoas"), Structure(2, "disc"), Structure(200, "fat", colour=(1, 2, 3)))
LABELS = np.array([[0, 1, 2], [200, 0, 1]], dtype=np.uint8)


def save(path, pixels, mode=None, **options):
    image = PillowImage.fromarray(np.asarray(pixels))
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def test_a_palette_png_holds_the_labels_and_shows_the_colours(tmp_path):
    path = tmp_path / "new folder" / "a.png"
    write_palette_png(path, LABELS, STRUCTURES)
    picture = read_picture(path)
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.pixels, LABELS)
    assert [tuple(picture.palette[s.label]) for s in STRUCTURES] == [s.rgb for s in STRUCTURES]
    assert not picture.palette[0].any()
    shown = np.asarray(PillowImage.open(path).convert("RGB"))
    assert tuple(shown[1, 0]) == (1, 2, 3)


def test_a_palette_png_has_eight_bits_however_few_the_structures(tmp_path):
    write_palette_png(tmp_path / "a.png", LABELS % 2, STRUCTURES[:1])
    assert (tmp_path / "a.png").read_bytes()[24:26] == bytes([8, 3])


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.uint16])
def test_a_palette_png_takes_any_integers(tmp_path, dtype):
    write_palette_png(tmp_path / "a.png", (LABELS == 1).astype(dtype), STRUCTURES)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, LABELS == 1)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS + 1, r"labels 3, 201 without a name"),
        (LABELS.astype(np.int64) + 256, "without a name"),
        (LABELS.astype(np.float32), "one slice of integers"),
        (LABELS[None], r"shape \(1, 2, 3\)"),
    ],
)
def test_a_palette_png_with_unknown_labels_is_not_written(tmp_path, labels, words):
    with pytest.raises(LabelError, match=words):
        write_palette_png(tmp_path / "a.png", labels, STRUCTURES)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        write_palette_png(tmp_path / "file" / "a.png", LABELS, STRUCTURES)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_png_of_few_bits_is_not_stretched(tmp_path, bits):
    # Pillow writes no grey PNG of 2 or 4 bits, so this one is put together by hand.
    import struct
    import zlib

    values = np.arange(8).reshape(2, 4) % 2**bits
    rows = []
    for row in values:
        text = "".join(format(value, f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(b"\0" + int(text, 2).to_bytes(len(text) // 8, "big"))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 2, bits, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b""))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, values)


def test_sixteen_bits_stay_sixteen(tmp_path):
    values = np.array([[0, 300], [65535, 1]], dtype=np.uint16)
    pixels = read_picture(save(tmp_path / "a.png", values)).pixels
    np.testing.assert_array_equal(pixels, values)


def test_a_jpeg_is_known_by_its_content(tmp_path):
    path = save(tmp_path / "really.png", np.zeros((9, 9), np.uint8), format="JPEG")
    assert read_picture(path).is_jpeg
    assert not read_picture(save(tmp_path / "b.png", LABELS)).is_jpeg


def test_a_picture_that_asks_to_be_turned_is_refused(tmp_path):
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.jpg", np.zeros((8, 16, 3), np.uint8), exif=exif)
    with pytest.raises(ReadError, match=r"a\.jpg asks to be shown turned"):
        read_picture(path)


def test_an_animation_is_refused(tmp_path):
    frame = PillowImage.fromarray(LABELS)
    frame.save(tmp_path / "a.png", save_all=True, append_images=[PillowImage.fromarray(LABELS + 1)])
    with pytest.raises(ReadError, match="animation"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_picture_is_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ReadError, match=r"bad\.png cannot be read"):
        read_picture(tmp_path / "bad.png")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_half_a_file_is_refused(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = save(tmp_path / f"half.{kind}", noise)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ReadError, match=f"half.{kind} cannot be read"):
        read_picture(path)


def test_pixels_that_do_not_fit_their_check_sum_are_refused(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((8, 8), np.uint8), compress_level=0)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 30] = 7
    path.write_bytes(data)
    with pytest.raises(ReadError, match=r"a\.png cannot be read"):
        read_picture(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ReadError, match=r"nowhere\.png does not exist"):
        read_picture(tmp_path / "nowhere.png")


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_of_sixteen_bits_stay_sixteen(tmp_path, alpha):
    colours = np.array([[[300, 65535, 0], [1, 2, 3]]], dtype=np.uint16)
    if alpha:
        colours = np.dstack([colours, np.full((1, 2), 65535, np.uint16)])
    # OpenCV counts blue, green, red.
    assert cv2.imwrite(str(tmp_path / "a.png"), colours[..., [2, 1, 0, 3][: colours.shape[-1]]])
    picture = read_picture(tmp_path / "a.png")
    assert picture.pixels.dtype == np.uint16
    assert picture.has_alpha == alpha
    np.testing.assert_array_equal(picture.pixels, colours)


def test_half_a_file_of_sixteen_bits_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 2**16, (64, 64, 3), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / "half.png"), noise)
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:9000])
    with pytest.raises(ReadError, match=r"half\.png cannot be read"):
        read_picture(tmp_path / "half.png")


def test_text_in_a_png_does_not_matter(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "leg")
    np.testing.assert_array_equal(read_picture(save(tmp_path / "a.png", LABELS, pnginfo=info)).pixels, LABELS)


def test_planes_of_a_jpeg(tmp_path):
    red = np.zeros((8, 16, 3), np.uint8)
    red[..., 0] = 255
    full = read_jpeg_planes(save(tmp_path / "a.jpg", red, quality=100, subsampling=0))
    assert full.planes.shape == (3, 8, 16)
    np.testing.assert_allclose(full.planes[:, 0, 0], (76, 85, 255), atol=1)
    assert full.colour_at_full_resolution
    assert full.steps.max() == 1
    assert not read_jpeg_planes(save(tmp_path / "b.jpg", red, subsampling=2)).colour_at_full_resolution
    grey = read_jpeg_planes(save(tmp_path / "c.jpg", red[..., 0], quality=50))
    assert grey.planes.shape == (1, 8, 16)
    # The standard luminance table at quality 50 begins like this, row by row (ITU-T T.81, table K.1).
    assert grey.steps[0, :2, :3].tolist() == [[16, 11, 10], [12, 12, 14]]


def test_a_jpeg_of_four_inks_is_refused(tmp_path):
    path = save(tmp_path / "a.jpg", np.zeros((8, 8, 3), np.uint8), mode="CMYK")
    with pytest.raises(ReadError, match="unusual way"):
        read_jpeg_planes(path)


def test_a_jpg_looks_like_what_was_given(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (40, 64, 3))
    write_jpg(tmp_path / "a.jpg", ramp)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.is_jpeg
    assert np.abs(picture.pixels.astype(int) - ramp).max() < 10


def test_a_gif_has_every_frame_and_its_time(tmp_path):
    frames = [np.full((20, 30, 3), level, dtype=np.uint8) for level in (0, 120, 250)]
    write_gif(tmp_path / "a.gif", frames, 120)
    with PillowImage.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3
        assert gif.info["loop"] == 0
        for number, frame in enumerate(frames):
            gif.seek(number)
            assert gif.info["duration"] == 120
            assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - frame).max() <= 4


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)],
        [np.zeros((4, 4), np.uint8)],
        [np.zeros((4, 4, 3), np.float32)],
    ],
)
def test_frames_that_are_no_animation_are_refused(tmp_path, frames):
    with pytest.raises(DataError, match=r"a\.gif"):
        write_gif(tmp_path / "a.gif", frames, 100)
    assert list(tmp_path.iterdir()) == []
