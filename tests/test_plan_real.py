"""On every real set with labels the plan stands without a typed number, and a network can learn by it."""

import json
import shutil

import pytest
import torch

from autoseg.cases import find_cases
from autoseg.dataset import preview_slices, sample_batch
from autoseg.device import Computer
from autoseg.neighbours import network_channels
from autoseg.networks import build_network, learn
from autoseg.plan import plan_settings, spread_cases

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
# Folder: reading options, and how many neighbours on either side are seen with a slice.
SETS = {
    "sample": ({}, 0),
    "lumbar-spider-sagittal-png": ({}, 0),
    "spine-sagittal-discs-npy": ({}, 0),
    "brain-lgg-flair-tiff": ({}, 0),
    "hippocampus-msd": ({"unlabelled": "skip"}, 1),
    "cord-gm-t2star-bids": ({"unlabelled": "skip"}, 0),
    "lumbar-muscle-myosegmentum": ({}, 0),
    "dicom-seg-rtstruct/dcmqi-liver-ct": ({"unlabelled": "skip"}, 0),
    "dicom-seg-rtstruct/rtstruct-rt-utils/mock_data": ({"unlabelled": "skip"}, 0),
    "cardiac-sunnybrook-dicom": ({"unlabelled": "skip"}, 0),
    "ct-mr-totalsegmentator-dicom": ({"unlabelled": "skip"}, 1),
    "cord-sct-testing": ({}, 1),
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
    assert settings.preprocess.neighbours == SETS[name][1]
    assert all(choice.reason.rstrip().endswith(".") for choice in plan.choices)
    ids = {case.subject_id for case in cases.cases if len(case.subject_id) > 4}
    assert not any(subject in choice.reason for subject in ids for choice in plan.choices)
    assert (data.images, data.subjects) == (len(cases.cases), len({case.subject_id for case in cases.cases}))
    for structure in data.structures:
        assert 0 <= structure.pixels <= 0.6
        assert structure.pixels <= structure.slices <= 1
    assert any(structure.contrast is not None for structure in data.structures)
    few = spread_cases(cases.cases, 3)
    slices = preview_slices(few, settings, structures=cases.structures)
    assert 32 <= min(slices.frame) <= max(slices.frame) <= 512
    batch = sample_batch(
        slices,
        torch.arange(min(2, len(slices))),
        augmentation=settings.augmentation,
        generator=torch.Generator().manual_seed(0),
    )
    channels = network_channels(slices.images.shape[1], slices.neighbours)
    network = build_network(settings.network, in_channels=channels, out_channels=len(cases.structures) + 1)
    with torch.no_grad():
        answer = learn(network, batch.images, batch.labels, batch.drawn)
    assert answer.logits.shape == (len(batch.images), len(cases.structures) + 1, *slices.frame)
    assert answer.logits.isfinite().all()
