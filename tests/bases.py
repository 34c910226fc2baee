"""Made-up models to begin a fine-tuning from, with random weights, and who has taught them."""

import torch
from discs import STRUCTURES, make_pair

from autoseg.data.digests import subject_pseudonym
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
)

SMALL = NetworkSettings(filters=(4, 8))


def make_base(*, taught_by=(), structures=STRUCTURES, channels=("image",), dims=2, crop_mm=None, **changes):
    """Give a small model that knows the discs; `taught_by` are subjects."""
    settings = Settings(
        epochs=1,
        learning_rate=1e-2,
        network=SMALL,
        preprocess=PreprocessSettings(spacing_mm=3.0),
        volume=VolumeSettings(spacing_mm=(3.0, 3.0, 8.0), patch_size=(16, 16, 4), crop_mm=crop_mm),
        augmentation=AugmentationSettings.off(),
        precision="float32",
        spatial_dims=dims,
    )
    torch.manual_seed(5)
    network = build_network(
        SMALL, in_channels=len(channels), out_channels=len(structures) + 1, spatial_dims=settings.spatial_dims
    )
    prints = [subject_pseudonym(subject) for subject in taught_by]
    origin = {"subject_fingerprints": prints, "learnt_fingerprints": prints, "training_subjects": len(prints)}
    named = {"name": "neck", "origin": origin} | changes
    return TrainedModel(
        settings=settings, structures=structures, channels=channels, weights=network.state_dict(), **named
    )


def patch_looking(monkeypatch, **arguments):
    """Let what looks at the images read made-up discs."""
    monkeypatch.setattr(
        "autoseg.training.finetuning.fit.read_case",
        lambda case, structures: make_pair(int(case.case_id.removeprefix("case")), **arguments),
    )
