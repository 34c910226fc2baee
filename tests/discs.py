"""Made-up cases that a small network learns within seconds: a bright disc in a grey ring, on noise."""

from pathlib import Path

import numpy as np

from autoseg.data.cases import Case
from autoseg.data.split import Split
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.sources import ImageFile, LabelFile
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.settings.settings import AugmentationSettings, NetworkSettings, PreprocessSettings, Settings

STRUCTURES = (Structure(1, "core"), Structure(5, "ring"))


def make_pair(number, *, spacing=(8.0, 1.5, 1.5), size=(64, 64), slices=2, annotated=None):
    """Give one (Image, LabelMap); `number` seeds it and names the case and its subject."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[: size[0], : size[1]]
    voxels = rng.normal(0, 8, (slices, *size)).astype(np.float32)
    labels = np.zeros((slices, *size), dtype=np.uint8)
    for index in range(slices):
        centre = np.array(size) / 2 + rng.uniform(-6, 6, 2)
        distance = np.hypot((rows - centre[0]) * spacing[1], (columns - centre[1]) * spacing[2])
        core, ring = rng.uniform(9, 13), rng.uniform(17, 21)
        labels[index][distance <= ring] = 5
        labels[index][distance <= core] = 1
        voxels[index] += np.choose(np.searchsorted([1, 5], labels[index], side="right"), [0, 100, 50])
    source = Source(
        case_id=f"case{number}",
        subject_id=f"subject{number}",
        spacing_source="header",
        slice_spacing_source="header",
    )
    affine = affine_from_spacing(spacing)
    if annotated is not None:
        labels[~np.isin(labels, list(annotated))] = 0
    return (
        Image(voxels, affine, source=source),
        LabelMap(labels, affine, STRUCTURES, annotated=annotated, source=source),
    )


def write_unlabelled(folder):
    """Write three patients of three slices each, as NIfTI files without labels."""
    for number in range(3):
        image, _ = make_pair(number, slices=3, size=(32, 32), spacing=(8.0, 3.0, 3.0))
        write_nifti(folder / f"p{number}_scan.nii.gz", image)
    return folder


def make_case(number):
    """Give a Case whose files do not exist; `patch_reading` answers for them."""
    return Case(
        case_id=f"case{number}",
        subject_id=f"subject{number}",
        images=(ImageFile(Path(f"case{number}.dcm"), 0),),
        labels=(LabelFile(Path(f"case{number}.png")),),
        annotated=None,
    )


def make_split(training, validation=()):
    """Give a Split of made-up cases."""
    return Split(training=tuple(map(make_case, training)), validation=tuple(map(make_case, validation)), test=())


def patch_reading(monkeypatch, **arguments):
    """Let the training read made-up pairs instead of files."""
    monkeypatch.setattr(
        "autoseg.model.dataset.build.read_case",
        lambda case, structures: make_pair(int(case.case_id.removeprefix("case")), **arguments),
    )
    # Before each fold it would look through all that the tests hold, which takes longer than the fold.
    monkeypatch.setattr("autoseg.evaluation.crossvalidation.cost._hand_back", lambda: None)


def quick_settings(**changes):
    """Give settings of a small network that learns the discs in a few epochs."""
    defaults = {
        "epochs": 4,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "average_decay": 0.8,
        "preprocess": PreprocessSettings(spacing_mm=3.0),
        "network": NetworkSettings(filters=(8, 16, 32)),
        "augmentation": AugmentationSettings(rotation_deg=30.0),
        "precision": "float32",
    }
    return Settings(**{**defaults, **changes})
