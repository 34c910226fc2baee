"""Made-up volumes with a bent bright tube beside a darker decoy, for tests of centrelines and what follows them."""

from pathlib import Path

import numpy as np

from autoseg.data.cases import Case
from autoseg.files.sources import ImageFile, LabelFile
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.centreline import CENTRELINE
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
)

STRUCTURES = (Structure(1, "cord"),)
SIZE, SPACING = (24, 40, 40), (4.0, 1.5, 1.5)


def tube_middle(number, z):
    """Where the tube of a case runs: (x, y) at heights z in mm."""
    rng = np.random.default_rng(number)
    phase, lean = rng.uniform(0, 6), rng.uniform(-0.08, 0.08, 2)
    return np.stack([6 * np.sin(z / 18 + phase) + lean[0] * z, 5 * np.cos(z / 22 + phase) + lean[1] * z], axis=-1)


def make_tube(number):
    """Give one (Image, LabelMap): a tube of 5 mm radius that ends within the image, in noise; `number` seeds it."""
    rng = np.random.default_rng(100 + number)
    affine = affine_from_spacing(
        SPACING, [-(n - 1) * mm / 2 for n, mm in zip(SIZE[::-1], SPACING[::-1], strict=True)]
    )
    z, y, x = np.moveaxis(np.moveaxis(np.indices(SIZE), 0, -1) @ affine[:3, :3].T + affine[:3, 3], -1, 0)[::-1]
    mx, my = np.moveaxis(tube_middle(number, z), -1, 0)
    labels = ((np.hypot(x - mx, y - my) <= 5) & (np.abs(z) <= 34)).astype(np.uint8)
    decoy = np.hypot(x - 18, y + 18) <= 5
    voxels = rng.normal(0, 10, SIZE) + 100 * labels + 55 * decoy
    source = Source(
        case_id=f"tube{number}", subject_id=f"s{number}", spacing_source="header", slice_spacing_source="header"
    )
    return Image(voxels.astype(np.float32), affine, source=source), LabelMap(
        labels, affine, STRUCTURES, source=source
    )


def tube_cases(*numbers):
    """Give cases whose files do not exist; `patch_tubes` answers for them."""
    return tuple(
        Case(
            case_id=f"tube{number}",
            subject_id=f"s{number}",
            images=(ImageFile(Path(f"tube{number}.nii")),),
            labels=(LabelFile(Path(f"tube{number}_seg.nii")),),
            annotated=None,
        )
        for number in numbers
    )


def patch_tubes(monkeypatch):
    """Let reading give made-up tubes instead of files."""
    monkeypatch.setattr(
        "autoseg.model.dataset.build.read_case",
        lambda case, structures: make_tube(int(case.case_id.removeprefix("tube"))),
    )


def cropping(*, finder=True, crop_mm=(22.5, 18.0), **changes):
    """A model that sees a crop and never learnt; its finder is answered for by `found`."""
    settings = Settings(
        spatial_dims=3,
        preprocess=PreprocessSettings(clip_percentiles=(0.0, 100.0)),
        network=NetworkSettings(filters=(4, 8)),
        volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), patch_size=(16, 12, 24), crop_mm=crop_mm),
        augmentation=AugmentationSettings.off(),
    )
    weights = build_network(settings.network, in_channels=1, out_channels=2, spatial_dims=3).state_dict()
    own = TrainedModel("finder", Settings(), (CENTRELINE,), ("image",), {}) if finder else None
    return TrainedModel("cord", settings, STRUCTURES, ("image",), weights, finder=own, **changes)
