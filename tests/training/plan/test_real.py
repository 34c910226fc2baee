"""On every real set with labels the plan stands without a typed number, and a network can learn by it."""

import json
import shutil

import pytest
import torch

from autoseg.data.cases import find_cases
from autoseg.model.dataset import preview_slices
from autoseg.model.device import Computer
from autoseg.model.networks import build_network, learn
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.training.plan import plan_settings, spread_cases

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")

# Folder: files to copy, under another name, where a folder holds more than one set of labels.
CHOSEN = {
    "cardiac-sunnybrook-dicom": {"dicoms": "dicoms", "labels_png": "labels"},
    "ct-mr-totalsegmentator-dicom": {
        "example_ct_sm.nii.gz": "images/ct.nii.gz",
        "example_seg.nii.gz": "labels/ct.nii.gz",
    },
    "cord-sct-testing": {
        "t2/t2.nii.gz": "images/a.nii.gz",
        "t2/t2_seg-manual.nii.gz": "labels/a.nii.gz",
        "t1/t1w.nii.gz": "images/b.nii.gz",
        "t1/t1w_seg-manual.nii.gz": "labels/b.nii.gz",
    },
}
# Folder: reading options, and how many neighbours on either side are seen with a slice, or that volumes are seen.
VOLUMES = -1
SETS = {
    "sample": ({}, 0),
    "lumbar-spider-sagittal-png": ({}, 0),
    "spine-sagittal-discs-npy": ({}, 0),
    "brain-lgg-flair-tiff": ({}, 0),
    "hippocampus-msd": ({"unlabelled": "skip"}, VOLUMES),
    "cord-gm-t2star-bids": ({"unlabelled": "skip"}, 0),
    "lumbar-muscle-myosegmentum": ({}, 0),
    "dicom-seg-rtstruct/dcmqi-liver-ct": ({"unlabelled": "skip"}, 0),
    "dicom-seg-rtstruct/rtstruct-rt-utils/mock_data": ({"unlabelled": "skip"}, 0),
    "cardiac-sunnybrook-dicom": ({"unlabelled": "skip"}, 0),
    "ct-mr-totalsegmentator-dicom": ({"unlabelled": "skip"}, VOLUMES),
    "cord-sct-testing": ({}, VOLUMES),
}


def found_cases(name, request, folder):
    options, _ = SETS[name]
    if name == "sample":
        return find_cases(request.getfixturevalue("sample") / "train")
    source = request.getfixturevalue("shared_data") / name
    if not source.is_dir():
        pytest.skip(f"the set {name} is not on this machine")
    for place, copy in CHOSEN.get(name, {}).items():
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        if (source / place).is_dir():
            shutil.copytree(source / place, folder / copy)
        else:
            shutil.copy(source / place, folder / copy)
    if name.startswith("ct-mr"):  # too many values to be structures, unless they have names
        named = json.loads((source / "labels_total_ct.json").read_text())
        options = {**options, "structures": {int(label): words for label, words in named.items()}}
    return find_cases(folder if name in CHOSEN else source, **options)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_planned_and_a_network_takes_a_batch(name, request, tmp_path):
    cases = found_cases(name, request, tmp_path)
    plan = plan_settings(cases, computer=LAPTOP)
    settings, data = plan.settings, plan.fingerprint
    assert settings.minutes == 5
    seen = SETS[name][1]
    assert settings.spatial_dims == (3 if seen == VOLUMES else 2)
    assert settings.preprocess.neighbours == max(0, seen)
    assert all(choice.reason.rstrip().endswith(".") for choice in plan.choices)
    ids = {case.subject_id for case in cases.cases if len(case.subject_id) > 4}
    assert not any(subject in choice.reason for subject in ids for choice in plan.choices)
    assert (data.images, data.subjects) == (len(cases.cases), len({case.subject_id for case in cases.cases}))
    for structure in data.structures:
        assert 0 <= structure.pixels <= 0.6
        assert structure.pixels <= structure.slices <= 1
    assert any(structure.contrast is not None for structure in data.structures)
    few = spread_cases(cases.cases, 3)
    samples = preview_slices(few, settings, structures=cases.structures)
    channels = len(samples.samples.volumes[0].image) if seen == VOLUMES else samples.images.shape[1]
    samples = samples.samples if seen == VOLUMES else samples
    size = samples.seen_size
    assert size == settings.volume.patch_size or (seen != VOLUMES and 32 <= min(size) <= max(size) <= 512)
    batch = samples.sample(
        torch.arange(min(2, len(samples))),
        augmentation=settings.augmentation,
        generator=torch.Generator().manual_seed(0),
    )
    network = build_network(
        settings.network,
        in_channels=network_channels(channels, settings.preprocess.neighbours),
        out_channels=len(cases.structures) + 1,
        spatial_dims=settings.spatial_dims,
    )
    with torch.no_grad():
        answer = learn(network, batch.images, batch.labels, batch.drawn)
    assert answer.logits.shape == (len(batch.images), len(cases.structures) + 1, *size)
    assert answer.logits.isfinite().all()


def test_on_the_hippocampus_all_that_is_planned_for_volumes_has_a_reason(request, tmp_path):
    cases = found_cases("hippocampus-msd", request, tmp_path)
    plan = plan_settings(cases, computer=LAPTOP)
    volume = plan.settings.volume
    assert volume.spacing_mm == (1.0, 1.0, 1.0)
    assert volume.patch_size == (40, 56, 40)  # of 31 to 43, 40 to 59 and 24 to 47 voxels: the typical ones
    assert plan.settings.network.strides == ((2, 2, 2),) * 3
    reasons = {choice.name: choice.reason for choice in plan.choices}
    assert "1.0 times as long as wide" in reasons["spatial_dims"]
    assert "36 × 51 × 35 voxels" in reasons["volume.patch_size"]
