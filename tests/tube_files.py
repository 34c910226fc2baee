"""Made-up volumes as NIfTI files: a bent bright tube with a core, beside a darker decoy; no package is asked."""

from pathlib import Path

import nibabel
import numpy as np

SIZE, SPACING = (24, 40, 40), (4.0, 1.5, 1.5)  # slices, rows, columns
STRUCTURES_CSV = "label,name,colour,side\n1,cord,#e69f00,\n2,core,#56b4e9,\n"


def tube_voxels(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Give an image and its labels, both (slices, rows, columns); `number` seeds them. Whole numbers only."""
    rng = np.random.default_rng(100 + number)
    phase, lean = rng.integers(0, 60) / 10, rng.integers(-8, 9, 2) / 100
    z, y, x = (
        (index - (count - 1) / 2) * mm for index, count, mm in zip(np.indices(SIZE), SIZE, SPACING, strict=True)
    )
    across = np.hypot(
        x - 6 * np.sin(z / 18 + phase) - lean[0] * z, y - 5 * np.cos(z / 22 + phase) - lean[1] * z
    ).round(6)
    labels = ((across <= 6) & (np.abs(z) <= 34)).astype(np.uint8)
    labels[(across <= 3) & (np.abs(z) <= 34)] = 2
    decoy = np.hypot(x - 18, y + 18).round(6) <= 5
    noise = rng.integers(-15, 16, SIZE)
    image = 100 * (labels == 1) + 160 * (labels == 2) + 55 * decoy + noise + 200
    return image.astype(np.int16), labels


def write_tubes(folder: Path, *numbers: int) -> Path:
    """Write a folder of images and labels with these tubes, a subject each."""
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    affine[:3, 3] = [(SIZE[2] - 1) * 0.75, (SIZE[1] - 1) * 0.75, -(SIZE[0] - 1) * 2.0]
    for number in numbers:
        for kind, voxels in zip(("images", "labels"), tube_voxels(number), strict=True):
            path = folder / kind / f"sub-{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.nifti1.Nifti1Image(voxels.transpose(2, 1, 0), affine), path)
    (folder / "structures.csv").write_text(STRUCTURES_CSV, encoding="utf-8")
    return folder
