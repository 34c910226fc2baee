"""With the switch no byte that any command writes tells whose images they were; without it they do."""

import base64
import gzip
import io
import json
import re
import zipfile
import zlib
from contextlib import suppress
from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from untrained import STRUCTURES, untrained_model

from autoseg.cli import main
from autoseg.data.codes import KEY
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.sources import WITHOUT_IDS
from autoseg.files.tables import write_structures
from autoseg.model.model import find_model, save_model

SHOWN = {"rows": 40, "columns": 48, "pixel_spacing_mm": (2.0, 1.5)}
PLACES = (0.0, 4.0, 8.0)
# Parts of words that can be nothing else; each patient has all of them.
WORDS = ("quax", "zenzi", "zyxid", "19470413", "1947-04-13", "20030917", "2003-09-17", "7788995544")


def drawn(shown, place):
    """Give the labels that the model knows too."""
    labels = shown.label_picture(place)
    return np.where(labels > 2, 0, labels).astype(np.uint8)


def write_series(folder, number, name="quaxfile", *, labels=None):
    """Write slices of a patient whose every name and number gives them away."""
    shown = Phantom(f"zenzi{number}", places_mm=PLACES, **{**SHOWN, "rows": 40 + 2 * number})
    paths = write_phantom(folder / "phantom", shown)
    (folder / "phantom").rename(folder / f"quaxmann_{number}") if labels is None else None
    paths = [folder / f"quaxmann_{number}" / path.name for path in paths] if labels is None else paths
    for index, path in enumerate(paths, start=1):
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.PatientName = f"zyxid{number}", "Quaxmann^Zenzi"
        dataset.PatientBirthDate, dataset.StudyDate = "19470413", "20030917"
        dataset.SeriesDescription, dataset.StudyDescription = "of Zenzi Q", "Quaxmann's back"
        dataset.ImageComments = "told by Zenzi"
        for level, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
            setattr(dataset, keyword, f"1.2.826.7788995544.{number}.{level}.{index if level == 2 else 0}")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        own = f"{name}{number}_{index}"
        dataset.save_as(path.parent / f"{own}.dcm")
        path.unlink()
        if labels is not None:
            np.save(labels / f"{own}.npy", drawn(shown, PLACES[index - 1]))
            (folder / "phantom" / f"{own}.dcm").rename(folder / f"{own}.dcm")
    if labels is not None:
        (folder / "phantom").rmdir()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give a patient, a folder to learn from, one of NIfTI, and models; the same for all runs."""
    place = tmp_path_factory.mktemp("with_ids")
    patient, learn, volumes = (place / name for name in ("quaxmann_zenzi", "zenzi_study", "zenzi_nifti"))
    write_series(patient, 1)
    (patient / "zenzi_letter.txt").write_text("no image")
    (patient / "letter.zenzi").write_text("no image")
    last = patient / "quaxmann_1" / "quaxfile1_3.dcm"
    last.rename(last.with_name("CT.1.2.quaxmann.zenzi"))
    damaged = patient / "quaxmann_1" / "quaxbroken.dcm"
    damaged.write_bytes((patient / "quaxmann_1" / "quaxfile1_1.dcm").read_bytes()[:-900])
    (learn / "labels").mkdir(parents=True)
    for number in (2, 3, 4, 5):
        write_series(learn / "dicoms", number, labels=learn / "labels")
    write_structures(learn / "structures.csv", STRUCTURES)
    for part in ("images", "labels"):
        (volumes / part).mkdir(parents=True)
        for number in (6, 7):
            voxels = drawn(Phantom("z", places_mm=PLACES, **SHOWN), 0.0).T[..., None].repeat(3, 2)
            kept = voxels.astype(np.uint8) if part == "labels" else (voxels * 90 + number).astype(np.int16)
            image = nibabel.Nifti1Image(kept, np.diag([1.5, 2, 4, 1]))
            for field in ("descrip", "db_name", "aux_file", "intent_name"):
                image.header[field] = b"Quaxmann"
            nibabel.save(image, volumes / part / f"zenzi-zyxid{number}.nii.gz")
    write_structures(volumes / "structures.csv", STRUCTURES)
    (place / "models").mkdir()
    save_model(untrained_model(), place / "models")
    save_model(replace(untrained_model(spacing_mm=8.0), name="fold"), place / "models")
    models = tuple(find_model(place / "models", name) for name in ("heart", "fold"))
    return patient, learn, volumes, models


def run_all(made, out, capsys, *, switch):
    """Run every command that writes or prints, without the switch those that are quick; give what was printed."""
    patient, learn, volumes, (heart, fold) = made
    more = ["--without-ids"] if switch else []
    quick = ["--epochs", "1", "--set", "network.filters=4,8", "--set", "preprocess.spacing_mm=6", "--folds", "2"]
    said = []

    def run(*words, fails=False):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert bool(code) == fails, (words, captured)
        said.append(captured.out + captured.err)

    run("series", patient, "--picture", out / "series.png", *more)
    run("predict", heart, patient, "--output", out / "runs")
    run("predict", heart, patient, "--series", "nobody", "--output", out / "runs", fails=True)
    run("measure", learn, "--output", out / "measured", *more)
    run("measure", volumes, "--output", out / "measured_nifti", *more)
    run("check", learn, "--pictures", out / "findings.png", *more)
    run("correct", "write", volumes, "--output", out / "kit_of_labels", "--finer", "2", *more)
    if not switch:
        return "\n".join(said)
    run("predict", heart, volumes / "images", "--output", out / "runs")
    run("predict", heart, learn / "dicoms", "--output", out / "runs", "--reference", learn)
    run("combine", heart, fold, patient, "--at-slice", "2", "--output", out / "combined")
    run("raters", learn, fails=True)
    case, subject = first_names(out / "measured_nifti")[0], first_names(out / "measured")[1]
    run("morphometry", volumes, "--output", out / "along", "--picture", out / "along.png", "--case", case)
    run("correct", "write", patient, "--model", heart, "--output", out / "kit")
    (kept,) = (name for name in (out / "kit").iterdir() if name.name.endswith("_labels.nii.gz"))
    run("correct", "read", out / "kit", "--by", "AB", "--file", kept)
    run("crossvalidate", learn, *quick, "--output", out / "folds")
    run("compare", learn, "--networks", "unet", *quick, "--output", out / "compared")
    run("train", learn, "--name", "new", *quick[:-2], "--test-subject", subject, "--output", out / "trained")
    run("score", find_model(out / "trained", "new"), learn, "--output", out / "scores")
    return "\n".join(said)


def first_names(folder):
    row = pd.read_csv(folder / "measurements.csv", dtype=str).iloc[0]
    return row["case_id"], row["subject_id"]


def everything_in(data, depth=0):
    """Give the bytes of a file, and what is packed in it."""
    yield data
    if depth > 4:
        return
    if data[:2] == b"\x1f\x8b":
        yield from everything_in(gzip.decompress(data), depth + 1)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                yield info.filename.encode() + info.comment
                yield from everything_in(archive.read(info), depth + 1)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        for kind, length in ((b"zTXt", 1), (b"iTXt", 1)):
            for found in re.finditer(kind, data):
                for start in range(found.end(), min(len(data), found.end() + 120) * length):
                    try:
                        yield zlib.decompressobj().decompress(data[start:])
                    except zlib.error:
                        continue
    for text in re.findall(rb"[A-Za-z0-9+/]{64,}={0,2}", data) if len(data) < 3e6 else ():
        yield base64.b64decode(text[: len(text) // 4 * 4])
    if data[:1] in b"{[":
        with suppress(ValueError):
            yield json.dumps(json.loads(data), ensure_ascii=False).encode()


def leaks(out, said, picture_words):
    """Give each place with a word that tells who it was."""
    found = []
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        found += [f"name {name}: {word}" for word in WORDS if word in name.lower()]
        if path.is_file():
            for data in everything_in(path.read_bytes()):
                low = data.lower() + data.replace(b"\0", b"").lower()
                found += [f"{name}: {word}" for word in WORDS if word.encode() in low]
    found += [f"said: {line.strip()}" for line in said.splitlines() if any(word in line.lower() for word in WORDS)]
    found += [f"picture: {text}" for text in picture_words if any(word in text.lower() for word in WORDS)]
    return list(dict.fromkeys(found))


@pytest.fixture
def drawn_words(monkeypatch):
    """Give every text that is drawn into a picture, as pixels cannot be searched."""
    import matplotlib.text
    from PIL import ImageDraw

    words, set_text, text = [], matplotlib.text.Text.set_text, ImageDraw.ImageDraw.text

    def note_text(self, s):
        words.append(str(s))
        return set_text(self, s)

    def note_drawn(self, xy, s, *rest, **more):
        words.append(str(s))
        return text(self, xy, s, *rest, **more)

    monkeypatch.setattr(matplotlib.text.Text, "set_text", note_text)
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note_drawn)
    return words


@pytest.mark.parametrize("switch", [False, True])
def test_nothing_that_leaves_tells_who_it_was(made, tmp_path, capsys, monkeypatch, drawn_words, switch):
    monkeypatch.setenv(KEY, str(tmp_path / "own" / "key.csv"))
    out = tmp_path / "out"
    out.mkdir()
    said = run_all(made, out, capsys, switch=switch)
    found = leaks(out, said, drawn_words)
    if not switch:
        kinds = {place.partition(": ")[0].partition(" ")[0].partition("/")[0] for place in found}
        assert kinds >= {"name", "said", "picture", "runs", "measured", "measured_nifti", "kit_of_labels"}
        assert len(found) > 100
        return
    assert not found
    assert len(list(out.rglob("*"))) > 200
    assert (made[0] / WITHOUT_IDS).is_file()
