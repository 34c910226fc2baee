"""Made-up patients for the label doctor: a body with two kidneys and a spine, each patient a little different."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom

from autoseg.data.cases import Case
from autoseg.data.checks import LabelledImage
from autoseg.files.sources import ImageFile, LabelFile
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, Source
from autoseg.image.structures import Structure

STRUCTURES = (Structure(1, "kidney left"), Structure(2, "kidney right"), Structure(3, "spine"))
SIZE = (72, 88)


def patient(number, *, slices=1, subject=None, calibrated=True, place=0):
    """Give one LabelledImage; columns run to the patient's left, so that the left kidney lies on the right.

    `number` seeds it and names the case and its subject; `place` moves it along the body in slices.
    """
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    # No two people are alike, however much their kidneys are.
    uneven = zoom(rng.normal(0, 18, (6, 8)), (12, 11), order=3)
    voxels = rng.normal(0, 4, (slices, *SIZE)) + uneven
    labels = np.zeros((slices, *SIZE), dtype=np.uint8)
    middle = np.array([34, 43]) + rng.uniform(-2, 2, 2)
    size = rng.uniform(0.92, 1.08)
    for index in range(slices):
        scale = size * (1 - 0.25 * abs(index - (slices - 1) / 2) / max(slices, 1))

        def ellipse(row, column, half_rows, half_columns, scale=scale):
            return (
                ((rows - middle[0] - row) / half_rows) ** 2 + ((columns - middle[1] - column) / half_columns) ** 2
            ) <= (scale**2)

        voxels[index] += 60 * ellipse(0, 0, 31, 40, scale=1.0)
        # A vessel before the spine and a liver on one side, which are not drawn: no body is its own mirror image.
        voxels[index] += 50 * ellipse(-12, -20, 9, 14) + 90 * ellipse(-4, 3, 3, 3)
        for label, brightness, shape in (
            (1, 90, ellipse(4, 22, 11, 8)),
            (2, 90, ellipse(7, -21, 10, 7)),
            (3, -45, ellipse(16, 1, 9, 10)),
        ):
            voxels[index] += brightness * shape
            labels[index][shape] = label
    affine = affine_from_spacing((5.0, 1.5, 1.5), (0.0, 0.0, 5.0 * place)) if calibrated else None
    name, subject = f"case{number}", subject or f"subject{number}"
    image = Image(voxels.astype(np.float32), affine, source=Source(case_id=name, subject_id=subject))
    case = Case(name, subject, (ImageFile(Path(f"{name}.dcm")),), (LabelFile(Path(f"{name}.png")),))
    return LabelledImage(case, image, labels)


def cohort(count=8, **arguments):
    """Give several patients."""
    return [patient(number, **arguments) for number in range(1, count + 1)]


def with_labels(labelled, change):
    """Give the same image with `change(labels)`."""
    return replace(labelled, voxels=np.ascontiguousarray(change(labelled.voxels.copy())))


def with_voxels(labelled, change):
    """Give the same labels with `change(intensities)`."""
    return replace(labelled, image=replace(labelled.image, voxels=change(labelled.image.voxels.copy())))


def renamed(**values):
    """Give a change of labels: renamed(a1=2, a2=1) exchanges 1 and 2."""
    table = np.arange(256, dtype=np.uint8)
    for old, new in values.items():
        table[int(old[1:])] = new
    return lambda labels: table[labels]


def of_kind(findings, kind):
    """Give the findings of one kind."""
    return [finding for finding in findings if finding.kind == kind]
