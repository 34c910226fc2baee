"""Files made by hand to run code, to fill the memory, to stall a reader or to hide others; for `attack.py`."""

import copy
import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import torch
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless
from spoilt_files import ODD_VALUES

GIGABYTE = 10**9
MEGABYTE = 10**6
SURROGATE = "caf\udce9"

# Names that a spreadsheet, a page, a figure, a shell or a file system may take for more than a name.
NAMES = (
    '=cmd|"/c calc"!A1',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    '=HYPERLINK("http://evil.example")',
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    r"$\frac{1}{$",
    "$x^{$",
    r"\input{x}",
    "../../evil",
    "..",
    "a/b\\c",
    "C:\\evil",
    "CON",
    "x" * 300,
    "name\nsecond line",
    "\u202eflat",
    "%s%n{0}",
    "'; rm -rf x; '",
)


@dataclass(frozen=True)
class Hostile:
    """One file by hand: `make(path)` writes it; `refused` tells that it must not be loaded."""

    name: str
    make: Callable[[Path], object]
    refused: bool = True


# --- models


def models(sound: bytes, marker: Path) -> Iterator[Hostile]:
    """Give model files; `marker` is there afterwards if code in one was run."""
    content = content_of(sound)
    yield from _with_code(sound, marker)
    yield from _bombs(sound, content)
    yield from _no_files()
    for key in [None, *content]:
        for value in ODD_VALUES:
            yield Hostile(f"{key} is {value!r:.20}", _saved(_changed(content, key, value)), refused=False)
    for key in ("name", "channels", "origin", "structures"):
        yield Hostile(f"a lone surrogate in {key}", _saved(_renamed(content, key)), refused=False)
    weights, first = content["weights"], next(iter(content["weights"]))
    for word, value in (
        ("no number", torch.full_like(weights[first], float("nan"))),
        ("infinite", torch.full_like(weights[first], float("inf"))),
        ("of another shape", weights[first][:1]),
        ("complex", weights[first].to(torch.complex64)),
        ("sparse", weights[first].to_sparse()),
        ("a list", weights[first].tolist()),
        ("a string", "weights"),
    ):
        yield Hostile(f"weights are {word}", _saved({**content, "weights": {**weights, first: value}}))
    fewer = {name: value for name, value in weights.items() if name != first}
    yield Hostile("weights are missing", _saved({**content, "weights": fewer}))
    yield Hostile("weights too many", _saved({**content, "weights": {**weights, "more": weights[first]}}))


class _Call:
    """What runs a function with arguments when it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def _with_code(sound: bytes, marker: Path) -> Iterator[Hostile]:
    for name, call in (
        ("os.system", _Call(os.system, f"touch '{marker}'")),
        ("exec", _Call(exec, f"open({str(marker)!r}, 'w')")),
        ("open", _Call(open, str(marker), "w")),
        ("torch.load", _Call(torch.load, str(marker.with_name("other.pt")))),
        ("torch.save", _Call(torch.save, {}, str(marker))),
        ("Path.touch", _Call(Path.touch, marker)),
    ):
        plain = pickle.dumps(call)
        yield Hostile(f"a pickle that calls {name}", lambda path, data=plain: path.write_bytes(data))
        yield Hostile(
            f"data.pkl calls {name}", lambda path, data=plain: path.write_bytes(_with_pickle(sound, data))
        )
        inside = pickle.dumps({"format": "autoseg model", "format_version": 2, "weights": call})
        yield Hostile(f"weights call {name}", lambda path, data=inside: path.write_bytes(_with_pickle(sound, data)))


def _bombs(sound: bytes, content: dict) -> Iterator[Hostile]:
    wide = _changed(content, "settings", None)
    wide["settings"] = copy.deepcopy(content["settings"])
    for place in (wide["settings"], *(v for v in wide["settings"].values() if isinstance(v, dict))):
        if "filters" in place:
            place["filters"] = [2048, 4096, 8192, 8192]
    yield Hostile("settings of a network of gigabytes", _saved(wide))
    many = {**content, "structures": [dict(content["structures"][0], label=k, name=f"s{k}") for k in range(1, 256)]}
    yield Hostile("weights of two structures for 255", _saved(many))
    huge = torch.zeros(1).expand(2 * GIGABYTE)
    yield Hostile("one number expanded to 8 GB", _saved({**content, "weights": {"huge": huge}}))
    first = next(iter(content["weights"]))
    yield Hostile("weights expanded", _saved({**content, "weights": {**content["weights"], first: huge}}))
    yield Hostile("a member of 600 MB, packed", lambda path: path.write_bytes(_inflated(sound, 600 * MEGABYTE)))
    data = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    yield Hostile("lists within lists", lambda path: path.write_bytes(_with_pickle(sound, data)))
    memo = b"\x80\x02" + b"(" + b"]" + b"".join(b"(ll" for _ in range(10)) + b"l."
    yield Hostile("a pickle of nonsense", lambda path: path.write_bytes(_with_pickle(sound, memo)))
    claims = b"\x80\x02X" + struct.pack("<I", 2**31 - 1) + b"x."
    yield Hostile("a text that claims 2 GB", lambda path: path.write_bytes(_with_pickle(sound, claims)))
    counted = b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x."
    yield Hostile("a text that claims all memory", lambda path: path.write_bytes(_with_pickle(sound, counted)))
    rows = {**content, "history": [dict(content["history"][0]) for _ in range(100_000)]}
    yield Hostile("a history of 100,000 epochs", _saved(rows), refused=False)


def _no_files() -> Iterator[Hostile]:
    yield Hostile("a folder", lambda path: path.mkdir())
    yield Hostile("empty", lambda path: path.touch())
    yield Hostile("text", lambda path: path.write_text("no model"))
    yield Hostile("an empty zip", lambda path: zipfile.ZipFile(path, "w").close())
    yield Hostile("a link to nothing", lambda path: path.symlink_to("nothing"))
    yield Hostile("a link to itself", lambda path: path.symlink_to(path.name))
    yield Hostile("a pipe", os.mkfifo)
    if os.geteuid() != 0:
        yield Hostile("no rights to read", lambda path: (path.touch(), path.chmod(0)))


def content_of(model: bytes) -> dict:
    """Give the values of a sound model file."""
    return torch.load(io.BytesIO(model), weights_only=True)


def saved(content: object) -> bytes:
    """Give a file of these values, as torch alone writes it: without digests, as an early autoseg did."""
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def _saved(content: object) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(saved(content))


def _changed(content: dict, key: str | None, value: object) -> object:
    return value if key is None else {**content, key: value}


def _renamed(content: dict, key: str) -> dict:
    content = copy.deepcopy(content)
    value = content[key]
    if key == "structures":
        value[0]["name"] = SURROGATE
    elif isinstance(value, dict):
        value[SURROGATE] = SURROGATE
    else:
        content[key] = SURROGATE if isinstance(value, str) else [SURROGATE, *value[1:]]
    return content


def members(data: bytes) -> dict[str, bytes]:
    """Give what lies in an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _with_pickle(sound: bytes, data: bytes) -> bytes:
    return _archive({n: data if n.endswith("data.pkl") else content for n, content in members(sound).items()})


def _archive(files: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", packing, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def _inflated(sound: bytes, size: int) -> bytes:
    """Give the file with its first storage replaced by zeros, packed."""
    files = members(sound)
    name = next(n for n in files if "/data/" in n)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for other, content in files.items():
            if other != name:
                archive.writestr(other, content)
        with archive.open(name, "w", force_zip64=True) as member:
            for _ in range(size // MEGABYTE):
                member.write(bytes(MEGABYTE))
    return target.getvalue()


# --- images that claim or become more than they are


def images(dicom: bytes) -> Iterator[Hostile]:
    """Give images; the names end as such files do."""
    for frames in (1000, 10**6, 2**31 - 1):
        yield Hostile(f"frames_{frames}.dcm", _dicom(dicom, NumberOfFrames=str(frames)))
    yield Hostile("rows.dcm", _dicom(dicom, Rows=65535, Columns=65535))
    yield Hostile("rle.dcm", lambda path: _write_rle(dicom, path, 30_000))
    yield Hostile("rle_frames.dcm", lambda path: _write_rle(dicom, path, None))
    yield Hostile("deflated.dcm", lambda path: _write_deflated(dicom, path))
    small = np.zeros((4, 4, 4), np.uint8)
    yield Hostile("gz_of_1e9_voxels.nii.gz", lambda path: _write_gz(path, _nifti((1000, 1000, 1000)), GIGABYTE))
    yield Hostile("gz_with_more_behind.nii.gz", lambda path: _write_gz(path, _nifti((4, 4, 4)), GIGABYTE))
    far = _nifti((4, 4, 4), offset=float(GIGABYTE))
    yield Hostile("gz_far_offset.nii.gz", lambda path: _write_gz(path, far, GIGABYTE + 64))
    for kind, code in (("u1", 2), ("f8", 64), ("c16", 1792)):
        data = _nifti((1000, 1000, 1000), code) + bytes(4096)
        yield Hostile(f"claims_1e9_{kind}.nii", lambda path, data=data: path.write_bytes(data))
    many = _nifti((32767, 32767, 32767, 32767)) + small.tobytes()
    yield Hostile("claims_32767_everywhere.nii", lambda path: path.write_bytes(many))
    yield Hostile("just_under.png", lambda path: path.write_bytes(_png(13_000, 13_000)))
    yield Hostile("just_under_colour.png", lambda path: path.write_bytes(_png(13_000, 13_000, channels=3)))
    yield Hostile("wide.png", lambda path: path.write_bytes(_png(170_000, 1000)))
    yield Hostile("claims.png", lambda path: path.write_bytes(_png(60_000, 60_000, rows=1)))
    yield Hostile("claims.npy", lambda path: path.write_bytes(_npy((10**5, 10**5)) + bytes(100)))
    yield Hostile("sparse.npy", lambda path: _write_sparse(path, _npy((4 * 10**4, 10**5)), 4 * GIGABYTE))
    yield Hostile("packed.tif", lambda path: _write_tiff(path, 30_000, packed=True))
    yield Hostile("claims.tif", lambda path: _write_tiff(path, 60_000, packed=False))


def _dicom(data: bytes, **values: object) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        dataset = pydicom.dcmread(io.BytesIO(data))
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)

    return write


def _write_rle(data: bytes, path: Path, side: int | None) -> None:
    """Write a picture of zeros, a hundredth of its size; or a million frames, of which there is one."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    if side is None:
        dataset.NumberOfFrames, pixels = "1000000", int(dataset.Rows) * int(dataset.Columns)
    else:
        dataset.Rows = dataset.Columns = side
        pixels = side * side
    segments = dataset.BitsAllocated // 8
    run = b"\x81\x00" * (pixels // 128 + 1)  # 128 zeros in two bytes
    offsets = [64 + k * len(run) for k in range(segments)]
    header = struct.pack("<16I", segments, *offsets, *[0] * (15 - segments))
    dataset.PixelData = encapsulate([header + run * segments])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.save_as(path)


def _write_deflated(data: bytes, path: Path) -> None:
    """Write a header that becomes a gigabyte when it is inflated."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    target = io.BytesIO()
    dataset.save_as(target)
    plain = target.getvalue()
    meta_length = 132 + 12 + struct.unpack("<I", plain[140:144])[0]
    inflated = zlib.decompress(plain[meta_length:], -15)
    more = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, GIGABYTE)
    # Group 8 comes first, and what is private next.
    cut = inflated.find(struct.pack("<HH", 0x0010, 0x0010))
    path.write_bytes(plain[:meta_length] + _deflated(inflated[:cut] + more, GIGABYTE, inflated[cut:]))


def _nifti(shape: tuple[int, ...], code: int = 2, offset: float = 352.0) -> bytes:
    header = bytearray(352)
    bits = {2: 8, 64: 64, 1792: 128}[code]
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, offset)
    struct.pack_into("<hh", header, 252, 0, 1)
    for row, place in enumerate((280, 296, 312)):
        struct.pack_into("<4f", header, place, *[float(column == row) for column in range(4)])
    header[344:348] = b"n+1\0"
    return bytes(header)


def _write_gz(path: Path, front: bytes, zeros: int) -> None:
    check = _over_zeros(zlib.crc32, zlib.crc32(front), zeros)
    size = struct.pack("<II", check, (len(front) + zeros) % 2**32)
    path.write_bytes(b"\x1f\x8b\x08" + bytes(6) + b"\xff" + _deflated(front, zeros) + size)


def _deflated(front: bytes, zeros: int, end: bytes = b"") -> bytes:
    """Deflate something with many zeros behind; each megabyte of them becomes the same bytes, made once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = packer.compress(front) + packer.flush(zlib.Z_FULL_FLUSH)
    one = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(zeros % MEGABYTE) + end) + packer.flush()
    return begin + one * (zeros // MEGABYTE) + rest


def _over_zeros(check: Callable[[bytes, int], int], value: int, zeros: int) -> int:
    one = bytes(MEGABYTE)
    for _ in range(zeros // MEGABYTE):
        value = check(one, value)
    return check(bytes(zeros % MEGABYTE), value)


def _zlib_zeros(zeros: int) -> bytes:
    return b"\x78\x01" + _deflated(b"", zeros) + struct.pack(">I", _over_zeros(zlib.adler32, 1, zeros))


def _png(width: int, height: int, *, channels: int = 1, rows: int | None = None) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = _zlib_zeros((height if rows is None else rows) * (1 + width * channels))
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _npy(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _write_sparse(path: Path, front: bytes, size: int) -> None:
    """Write a file whose zeros take no room on the disk."""
    with path.open("wb") as file:
        file.write(front)
        file.truncate(len(front) + size)


def _write_tiff(path: Path, side: int, *, packed: bool) -> None:
    pixels = _zlib_zeros(side * side if packed else side)
    tags = (
        *((256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 0)),
        *((277, 3, 1), (278, 4, side), (279, 4, len(pixels))),
    )
    place = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 1, place if tag == 273 else value) for tag, kind, value in tags
    )
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels)
