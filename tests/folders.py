"""Training folders of phantoms, for the tests of cases, checks and splits."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom

from autoseg.data.cases import Case, find_cases, read_case
from autoseg.data.corrections.kit import write_kit
from autoseg.data.corrections.read import Correction, read_correction
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.sources import ImageFile, LabelFile
from autoseg.files.tables import write_structures
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure

PHANTOM = {"rows": 40, "columns": 48, "pixel_spacing_mm": (2.0, 1.5)}
LABEL_VALUES = (1, 2, 3)


def edit(path, **attributes):
    """Change attributes of a DICOM file; None deletes one."""
    dataset = pydicom.dcmread(path)
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def write_patient(folder, patient_id, first_mm=0.0):
    """Write two small DICOM slices of a patient."""
    shown = Phantom("p", **PHANTOM, places_mm=(first_mm, first_mm + 4))
    for path in write_phantom(folder, shown):
        edit(path, PatientID=patient_id)


def write_cohort(folder):
    """Write four patients, the second of whom is broken."""
    for number in (1, 2, 10, 3):
        write_patient(folder / f"p{number}", f"id-{number}")
    for path in (folder / "p2").iterdir():
        path.write_bytes(b"broken")
    return folder


def add_subject(folder: Path, subject: str, slices: int = 2, **phantom) -> list[str]:
    """Add slices `<subject>_01.dcm` on with labels `<subject>_01.npy`, which are the phantom's own shapes."""
    places = tuple(4.0 * number for number in range(slices))
    shown = Phantom(subject, places_mm=places, **{**PHANTOM, **phantom})
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    names = []
    for number, path in enumerate(write_phantom(folder / "dicoms" / subject, shown), start=1):
        names.append(f"{subject}_{number:02d}")
        edit(path, PatientID=subject)
        path.rename(folder / "dicoms" / f"{names[-1]}.dcm")
        np.save(folder / "labels" / f"{names[-1]}.npy", shown.label_picture(places[number - 1]))
    (folder / "dicoms" / subject).rmdir()
    return names


def change_label(folder: Path, name: str, change) -> None:
    """Replace a label file's array by `change(array)`."""
    path = folder / "labels" / f"{name}.npy"
    np.save(path, change(np.load(path)))


def add_volumes(folder: Path) -> Path:
    """Write two small NIfTI volumes, a and b, with labels of a cord and a disc."""
    rng = np.random.default_rng(0)
    affine = affine_from_spacing((4.0, 1.0, 1.0))
    structures = (Structure(1, "cord"), Structure(2, "disc"))
    for name in ("a", "b"):
        image = Image(rng.normal(0, 9, (5, 12, 14)).astype(np.float32), affine)
        labels = np.zeros((5, 12, 14), np.uint8)
        labels[:, 3:7, 3:8] = 1
        write_nifti(folder / "images" / f"{name}.nii.gz", image)
        write_nifti(folder / "labels" / f"{name}.nii.gz", LabelMap(labels, affine, structures))
    write_structures(folder / "structures.csv", structures)
    return folder


def corrected(place: Path, folder: Path, case_id: str = "a", *, into: str = "kit", value: int = 2) -> Correction:
    """Write a case of `add_volumes` for correction, draw a square on two slices, and read it back."""
    found = find_cases(folder)
    results = [read_case(case, found.structures) for case in found.cases if case.case_id == case_id]
    kit = write_kit(place / into, results)
    path = kit.folder / f"{case_id}_labels.nii.gz"
    picture = nibabel.load(path)
    voxels = np.asarray(picture.dataobj).copy()
    voxels[-2:, -2:, 1:3] = value
    nibabel.save(nibabel.Nifti1Image(voxels, picture.affine), path)
    return read_correction(kit.folder, by="AB", date="2026-03-01T10:00:00")


def write_stack(path: Path, first_mm: float = 0.0, count: int = 6) -> None:
    """Write axial slices of noise, 5 mm apart from `first_mm` on, as NIfTI."""
    voxels = np.random.default_rng(count).normal(100, 30, (count, 40, 40)).astype(np.float32)
    write_nifti(path, Image(voxels, affine_from_spacing((5.0, 2.0, 2.0), (0, 0, first_mm))))


def add_stacks(folder: Path) -> Path:
    """Write a patient's two small stacks, a of three slices and b of four."""
    write_stack(folder / "a.nii.gz", count=3)
    write_stack(folder / "b.nii.gz", count=4)
    return folder


def write_table(folder: Path, name: str, *rows: str) -> None:
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")


def made_up_case(subject: str, number: int = 1, annotated=None) -> Case:
    """Give a case without files."""
    name = f"{subject}_{number}"
    drawn = None if annotated is None else frozenset(annotated)
    image, label = ImageFile(Path(f"{name}.dcm"), 0), LabelFile(Path(f"{name}.png"))
    return Case(name, subject, (image,), (label,), drawn)


def add_two_sizes(folder: Path, count: int = 3) -> Path:
    """Write volumes with a rectangle of 12 × 10 pixels of 0.5 mm, whose sform a program has set to 1 mm."""
    for number in range(count):
        labels = np.zeros((40, 40, 4), np.uint8)
        labels[10:22, 15:25] = 1
        image = np.random.default_rng(number).normal(100, 20, labels.shape).astype(np.float32)
        for kind, array in (("images", image), ("labels", labels)):
            (folder / kind).mkdir(exist_ok=True)
            picture = nibabel.Nifti1Image(array, None)
            picture.header.set_qform(np.diag([0.5, 0.5, 4, 1.0]), code=1)
            picture.header.set_sform(np.eye(4), code=2)
            nibabel.save(picture, folder / kind / f"p{number}.nii.gz")
    return folder


def add_shares(folder: Path, count: int = 3) -> Path:
    """Write pictures with probabilities in place of labels: 120 pixels of 1, then 20 of 0.6 and 20 of 0.3."""
    for number in range(count):
        labels = np.zeros((48, 40), np.float32)
        for rows, share in (((10, 22), 1), ((22, 24), 0.6), ((24, 26), 0.3)):
            labels[slice(*rows), 5:15] = share
        for kind in ("images", "masks"):
            (folder / kind).mkdir(exist_ok=True)
        np.save(folder / "images" / f"p{number}.npy", np.random.default_rng(number).integers(0, 255, labels.shape))
        np.save(folder / "masks" / f"p{number}.npy", labels)
    return folder
