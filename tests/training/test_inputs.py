from dataclasses import replace

import numpy as np
import pytest
from tubes import STRUCTURES, make_tube, patch_tubes, tube_cases

from autoseg.data.digests import Seal, describe_side
from autoseg.data.split import Split
from autoseg.errors import DataError
from autoseg.model.centreline import Centreline, from_labels
from autoseg.model.settings.settings import AugmentationSettings, NetworkSettings, Settings, VolumeSettings
from autoseg.training.inputs import Inputs
from autoseg.training.training import train

SEAL = Seal.new()


def test_without_centrelines_the_fingerprints_are_those_of_the_cases():
    cases, pairs = tube_cases(1, 2), [make_tube(1), make_tube(2)]
    assert Inputs().describe(cases, pairs, SEAL) == describe_side(cases, pairs, SEAL)
    lines = {f"tube{k}": from_labels(make_tube(k)[1]) for k in (1, 2)}
    marked = Inputs(lines).describe(cases, pairs, SEAL)
    assert marked == replace(describe_side(cases, pairs, SEAL), voxels_digest=marked.voxels_digest)
    assert marked == Inputs(lines).describe(cases[::-1], pairs[::-1], SEAL)
    assert marked.voxels_digest != describe_side(cases, pairs, SEAL).voxels_digest


def test_a_training_does_not_go_on_around_other_centrelines(monkeypatch):
    patch_tubes(monkeypatch)
    lines = {f"tube{k}": from_labels(make_tube(k)[1]) for k in (1, 2)}
    settings = Settings(
        epochs=2,
        precision="float32",
        spatial_dims=3,
        network=NetworkSettings(filters=(4, 8)),
        volume=VolumeSettings(spacing_mm=(1.5, 1.5, 4.0), crop_mm=(18.0, 18.0)),
        augmentation=AugmentationSettings.off(),
    )
    kept, split = [], Split(training=tube_cases(1, 2))
    train(
        split,
        settings,
        structures=STRUCTURES,
        inputs=Inputs(lines),
        on_epoch=lambda result, best, last: result.epoch == 1,
        on_checkpoint=lambda make, stopped: kept.append(make()),
    )
    again = train(split, settings, structures=STRUCTURES, inputs=Inputs(lines), resume=kept[0])
    assert len(again.history) == 2
    moved = {key: Centreline(line.points_mm + np.array([3, 0, 0]), line.source) for key, line in lines.items()}
    with pytest.raises(DataError):
        train(split, settings, structures=STRUCTURES, inputs=Inputs(moved), resume=kept[0])
