"""Small sound files of every format that autoseg reads, ways to spoil them at random, and who reads them.

A file is cut off, bytes are changed, blocks repeated or emptied; what has fields (DICOM, NIfTI, CSV, JSON, a model)
also gets odd values in some of them. `attack.py` lets them be read.
"""

import copy
import csv
import gzip
import io
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import tifffile
import torch
from PIL import Image as PillowImage
from pydicom.multival import MultiValue

from autoseg.data.repairs import read_repairs
from autoseg.data.test_subjects import read_ledger
from autoseg.errors import AutosegError
from autoseg.files.dicom.phantoms import PHANTOMS, write_phantom
from autoseg.files.dicom.series import find_series, read_series
from autoseg.files.labels import read_binary_file, read_drawn_object, read_label_file, read_label_volume
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.pictures.images import read_picture_image
from autoseg.files.tables import read_annotated, read_kept_corrections, read_structures, read_subjects
from autoseg.files.text_files import read_contour_file, read_levels
from autoseg.image.structures import Structure
from autoseg.measurement.morphometry.tables import read_arc_tables
from autoseg.model.centreline.curve import read_centreline
from autoseg.model.model import TrainedModel, load_model, save_model
from autoseg.model.model_list import list_models
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
from autoseg.training.checkpoint import find_unfinished

STRUCTURES = (Structure(1, "psoas"), Structure(2, "disc"))
ODD_TEXTS = (
    "",
    " ",
    "-1",
    "0",
    "nan",
    "inf",
    "1e400",
    "ä\u0000",
    "1,5",
    "99999999999999999999",
    "=1+1",
    "x" * 5000,
    "1-",
    "\ufeff",
)
ODD_VALUES = (
    None,
    "",
    "x",
    -1,
    0,
    1.5,
    float("nan"),
    float("inf"),
    10**30,
    [],
    {},
    [None],
    True,
    "nan",
    ["x"],
    (1, 2),
)
ODD_NUMBERS = (0, -1, 1, 255, 65535, 2**31 - 1, -(2**31), 1e-30, 1e30, float("nan"), float("inf"))

Random = random.Random


@dataclass
class Kind:
    """Sound files by name, how fields of one are spoilt (besides its bytes), and who reads it."""

    files: dict[str, bytes] = field(default_factory=dict)
    spoil: Callable[[bytes, Random], bytes] | None = None
    read: Callable[[Path], object] = str


# --- sound files, and odd values in their fields


def dicom(folder: Path) -> Kind:
    files = {}
    for number, phantom in enumerate(PHANTOMS):
        path = write_phantom(folder / str(number), phantom)[0]
        files[f"{phantom.name}.dcm"] = path.read_bytes()
    return Kind(files, spoil_dicom, read_dicom)


def spoil_dicom(data: bytes, rng: Random) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    elements = [element for element in dataset.iterall() if element.keyword]
    for element in rng.sample(elements, min(len(elements), rng.randint(1, 3))):
        change = rng.randrange(4)
        if change == 0 and element.tag in dataset:
            del dataset[element.tag]
        elif change == 1 and isinstance(element.value, MultiValue) and len(element.value):
            element.value = list(element.value)[: rng.randrange(len(element.value) + 1)]
        elif element.VR in ("DS", "IS"):
            element.value = str(rng.choice(ODD_NUMBERS))[:12]
        elif element.VR in ("US", "SS", "UL", "SL", "FD", "FL"):
            element.value = rng.choice((0, 1, 2, 7, 255, 32767))
        elif element.VR == "SQ":
            element.value = []
        elif element.VR not in ("OB", "OW", "OB or OW"):
            element.value = rng.choice(ODD_TEXTS)[:16]
    target = io.BytesIO()
    dataset.save_as(target)
    return target.getvalue()


def read_dicom(path: Path) -> None:
    attempts(
        lambda: [read_series(series) for series in find_series(path.parent).series],
        lambda: read_drawn_object(path),
    )


def nifti(folder: Path) -> Kind:
    labels = np.zeros((12, 10, 6), np.uint8)
    labels[3:8, 2:7, 1:5] = 1
    labels[3:5, 2:7, 1:5] = 2
    files = {}
    for ending in (".nii", ".nii.gz"):
        for name, voxels in (
            ("integer", labels),
            ("float", labels.astype(np.float32)),
            ("time", np.stack([labels] * 2, -1)),
        ):
            image = nibabel.Nifti1Image(voxels, np.diag([-0.5, -0.5, 3.0, 1.0]))
            nibabel.save(image, folder / f"sound{ending}")
            files[f"{name}{ending}"] = (folder / f"sound{ending}").read_bytes()
    return Kind(files, spoil_nifti, read_nifti)


# Offsets in the header (byte, format): dim, datatype, bitpix, pixdim, vox_offset, slope, intercept, codes, affines.
NIFTI_FIELDS = [
    (0, "i"),
    (70, "h"),
    (72, "h"),
    (108, "f"),
    (112, "f"),
    (116, "f"),
    (123, "B"),
    (252, "h"),
    (254, "h"),
]
NIFTI_FIELDS += [(40 + 2 * i, "h") for i in range(8)] + [(76 + 4 * i, "f") for i in range(8)]
NIFTI_FIELDS += [(256 + 4 * i, "f") for i in range(18)] + [(344, "4s")]


def spoil_nifti(data: bytes, rng: Random) -> bytes:
    packed = data[:2] == b"\x1f\x8b"
    raw = bytearray(gzip.decompress(data) if packed else data)
    for place, kind in rng.sample(NIFTI_FIELDS, rng.randint(1, 3)):
        value = rng.choice(ODD_NUMBERS)
        if kind == "4s":
            new = rng.choice((b"n+1\0", b"ni1\0", b"n+2\0", b"\0\0\0\0"))
        elif kind == "f":
            new = struct.pack("<f", value if abs(value) < 1e38 or value != value else float("inf"))
        else:
            low, high = {"h": (-32768, 32767), "i": (-(2**31), 2**31 - 1), "B": (0, 255)}[kind]
            new = struct.pack(f"<{kind}", int(min(max(value if value == value else 0, low), high)))
        raw[place : place + len(new)] = new
    return gzip.compress(bytes(raw)) if packed else bytes(raw)


def read_nifti(path: Path) -> None:
    attempts(
        lambda: [read_label_volume(path, image) for image in read_nifti_image(path)],
        lambda: read_binary_file(path),
    )


def pictures(folder: Path) -> Kind:
    labels = np.zeros((24, 32), np.uint8)
    labels[5:15, 8:20], labels[15:20, 8:20] = 1, 2
    palette = PillowImage.fromarray(labels, "P")
    palette.putpalette([0, 0, 0, 230, 159, 0, 86, 180, 233])
    colours = np.stack([labels * 80, labels * 40, labels * 10], axis=-1)
    files = {}
    for name, image in (
        ("grey", PillowImage.fromarray(labels)),
        ("palette", palette),
        ("colour", PillowImage.fromarray(colours)),
    ):
        target = io.BytesIO()
        image.save(target, "PNG")
        files[f"{name}.png"] = target.getvalue()
    target = io.BytesIO()
    PillowImage.fromarray(labels * 100).save(target, "JPEG", quality=95)
    files["grey.jpg"] = target.getvalue()
    for name, array, more in (
        ("packed", labels, {"compression": "zlib"}),
        ("wide", labels.astype(np.uint16) * 300, {}),
        ("pages", np.stack([labels] * 3), {}),
        ("float", labels.astype(np.float32), {}),
    ):
        target = io.BytesIO()
        tifffile.imwrite(target, array, photometric="minisblack", **more)
        files[f"{name}.tif"] = target.getvalue()
    for name, array in (
        ("bytes", labels),
        ("floats", labels / 2),
        ("stack", np.stack([labels] * 2)),
        ("truth", labels > 0),
    ):
        target = io.BytesIO()
        np.save(target, array)
        files[f"{name}.npy"] = target.getvalue()
    return Kind(files, spoil_npy, read_picture_file)


def spoil_npy(data: bytes, rng: Random) -> bytes:
    """Change the header of an array, which tells its type and shape as text; other pictures lose a number."""
    if data[:6] != b"\x93NUMPY":
        place = rng.randrange(min(len(data), 120))
        return data[:place] + struct.pack("<I", rng.choice((0, 1, 2**16, 2**32 - 1))) + data[place + 4 :]
    old = data[10:].split(b"\n")[0]
    new = old.replace(
        rng.choice((b"(24, 32)", b"|u1", b"<f8", b"False", b"descr", b"24")),
        rng.choice(
            (
                b"(-1, 32)",
                b"(99999999, 9999)",
                b"|O8",
                b"<c16",
                b"True",
                b"x",
                b"(24,)",
                b"()",
                b"<M8[s]",
                b"|V3",
                b"<U7",
            )
        ),
    )[: len(old)]
    return data[:10] + new.ljust(len(old)) + data[10 + len(old) :]


def read_picture_file(path: Path) -> None:
    attempts(
        lambda: read_picture_image(path),
        lambda: read_label_file(path, STRUCTURES),
        lambda: read_label_file(path, STRUCTURES, values={0: 0, 1: 1, 2: 2}),
        lambda: read_binary_file(path),
    )


TABLES = {
    "structures.csv": "label,name,colour,side,includes,values\n1,psoas,#e69f00,left,,1\n2,disc,,,1,2 200\n",
    "annotated.csv": "case_id,psoas,disc,slices\na,1,0,\nb,?,1,4-9\nb,1,1,10-12\n",
    "subjects.csv": "case_id,subject_id\na,p1\nb,p2\n",
    "repairs.csv": "case_id,kind,arguments,reason,date\na,relabel,1=2; 2=1,swapped,2025-03-31\n"
    "b,transform,symmetry=none; rows=3; columns=-2,,\nc,clear,label=1,,\nd,leave_out,,,\n",
    "corrections.csv": "case_id,by,date,label_file,earlier_file,checked,changed,structures,added_mm2,removed_mm2,"
    "note\n"
    "a,AB,2025-03-31T14:05:00,labels/a.nii,,all,3,psoas,1.0,2.0,\n",
    "test_subjects.json": json.dumps(
        {
            "subjects": ["p1"],
            "frozen": "2025-03-31T14:05:00",
            "looks": [{"date": "2025-04-01T10:00:00", "model": "m"}],
        }
    ),
    "a-levels.txt": "slice#, level\n0, 2\n1, 2/3\n2, 3\n3, -\n",
    "contour.txt": "10.5 20.5\n12.5 20.5\n12.0 30.0\n10.0 28.0\n",
    "centreline.csv": "x_left_mm,y_back_mm,z_head_mm,begins_mm,ends_mm,source\n"
    "0.0,1.0,10.0,,,clicked\n1.0,2.0,20.0,,,clicked\n",
    "morphometry_arc.csv": "case_id,subject_id,name,arc_mm,area_mm2,level\na,p1,cord,0,50,C2\na,p1,cord,1,51,C3\n",
}


def tables(folder: Path) -> Kind:
    return Kind({name: text.encode() for name, text in TABLES.items()}, spoil_table, read_table)


def spoil_table(data: bytes, rng: Random) -> bytes:
    text = data.decode()
    if text.startswith("{"):
        return json.dumps(spoil_values(json.loads(text), rng), default=str).encode()
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(rng.randint(1, 3)):
        row = rng.choice(rows)
        change = rng.randrange(5)
        if change == 0 and row:
            del row[rng.randrange(len(row))]
        elif change == 1:
            row.append(rng.choice(ODD_TEXTS))
        elif change == 2:
            rows.insert(rng.randrange(len(rows)), list(row))
        elif row:
            row[rng.randrange(len(row))] = rng.choice(ODD_TEXTS)
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue().encode(
        rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), errors="replace"
    )


def read_table(path: Path) -> None:
    readers = {
        "structures.csv": read_structures,
        "annotated.csv": lambda path: read_annotated(path, STRUCTURES),
        "subjects.csv": read_subjects,
        "repairs.csv": lambda path: read_repairs(path.parent),
        "corrections.csv": lambda path: read_kept_corrections(path.parent),
        "test_subjects.json": lambda path: read_ledger(path.parent),
        "a-levels.txt": read_levels,
        "contour.txt": read_contour_file,
        "centreline.csv": read_centreline,
        "morphometry_arc.csv": lambda path: read_arc_tables([path]),
    }
    readers[path.name](path)


def models(folder: Path) -> Kind:
    torch.manual_seed(0)
    settings = Settings(network=NetworkSettings(filters=(4, 8)), preprocess=PreprocessSettings(spacing_mm=1.0))
    weights = build_network(settings.network, in_channels=1, out_channels=3).state_dict()
    model = TrainedModel("heart", settings, STRUCTURES, ("image",), weights)
    path = save_model(model, folder / "heart_1.pt")
    return Kind({"heart_1.pt": path.read_bytes(), "heart_resume.pt": path.read_bytes()}, spoil_model, read_model)


def spoil_model(data: bytes, rng: Random) -> bytes:
    content = torch.load(io.BytesIO(data), weights_only=True)
    for _ in range(rng.randint(1, 2)):
        content = spoil_values(content, rng)
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def read_model(path: Path) -> None:
    list_models(path.parent)
    find_unfinished(path.parent)
    load_model(path)


def spoil_values(content: object, rng: Random) -> object:
    """Change one value somewhere inside dictionaries and lists."""
    content = copy.deepcopy(content)
    inside = content
    while isinstance(inside, dict | list) and inside:
        key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        child = inside[key]
        if not isinstance(child, dict | list) or not child or rng.random() < 0.3:
            if rng.random() < 0.2:
                del inside[key]
            else:
                inside[key] = copy.deepcopy(rng.choice(ODD_VALUES))
            return content
        inside = child
    return rng.choice(ODD_VALUES)


# --- spoiling bytes


def spoil_bytes(data: bytes, rng: Random) -> bytes:
    if len(data) < 4:
        return bytes(rng.randrange(256) for _ in range(20))
    change = rng.randrange(5)
    if change == 0:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    # Headers lie in front.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 600)
    place = rng.randrange(reach)
    length = min(rng.randint(1, 64), len(data) - place)
    if change == 1:
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(reach)] = rng.randrange(256)
    elif change == 2:
        changed[place : place + length] = bytes(length)
    elif change == 3:
        del changed[place : place + length]
    else:
        changed[place:place] = changed[place : place + length]
    return bytes(changed)


# --- reading


def attempts(*readers: Callable[[], object]) -> None:
    """Let several read; raise what is no error of autoseg's own, or one of those where every reader refuses."""
    refused: list[AutosegError] = []
    for reader in readers:
        try:
            reader()
        except AutosegError as error:
            refused.append(error)
    if len(refused) == len(readers):
        raise refused[0]


FORMATS = {"dicom": dicom, "nifti": nifti, "pictures": pictures, "tables": tables, "models": models}


def spoilt(kind: Kind, rng: Random, folder: Path) -> Path:
    """Spoil one of the files, once or twice, and write it."""
    name = rng.choice(list(kind.files))
    data = kind.files[name]
    for _ in range(rng.randint(1, 2)):
        try:
            data = kind.spoil(data, rng) if kind.spoil and rng.random() < 0.6 else spoil_bytes(data, rng)
        except Exception:  # a value that its own library does not write, or bytes that are spoilt already
            data = spoil_bytes(data, rng)
    path = folder / name.replace(" ", "_")
    path.write_bytes(data)
    return path
