"""A training whose cases lie in the cache is, bit for bit, one in memory; what goes wrong is made good."""

import os
from dataclasses import fields, replace
from threading import Barrier, Thread

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair, quick_settings

from autoseg.data.cases import find_cases
from autoseg.data.split import Split
from autoseg.errors import DataError
from autoseg.files.cache import ENTRIES, set_limit
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    VolumeSettings,
)
from autoseg.training.holding import NOT_OF_SLICES, NOT_OF_VOLUMES, hold_cases
from autoseg.training.inputs import Inputs
from autoseg.training.training import train

SLICES = quick_settings(
    epochs=2, preprocess=PreprocessSettings(spacing_mm=3.0), network=NetworkSettings(filters=(4, 8))
)
VOLUMES = replace(
    SLICES,
    spatial_dims=3,
    batch_size=2,
    volume=VolumeSettings(spacing_mm=(4.0, 4.0, 4.0), patch_size=(16, 16, 8)),
    augmentation=AugmentationSettings.volumes(),
)
KINDS = {
    "slices": SLICES,
    "neighbours, not planned": replace(SLICES, preprocess=PreprocessSettings(neighbours=1)),
    "crops, made small": replace(
        SLICES, oversampling=0.5, preprocess=PreprocessSettings(spacing_mm=6.0, crop_mm=(72.0, 72.0))
    ),
    "volumes": VOLUMES,
    "as a whole": replace(SLICES, preprocess=PreprocessSettings(spacing_mm=3.0, normalise="image")),
    "landmarks": replace(VOLUMES, volume=replace(VOLUMES.volume, spacing_mm=None, standardise="landmarks")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four patients, one with a larger image, one on which one structure was not drawn."""
    folder = tmp_path_factory.mktemp("cases")
    for number in range(4):
        size, spacing = ((72, 60), (8.0, 1.5, 1.5)) if number == 2 else ((64, 64), (8.0, 1.5, 1.2))
        drawn = frozenset({1}) if number == 1 else None
        image, labels = make_pair(number, size=size, spacing=spacing, slices=3, annotated=drawn)
        write_nifti(folder / "images" / f"p{number}.nii", image)
        write_nifti(folder / "labels" / f"p{number}.nii", labels)
    write_structures(folder / "structures.csv", STRUCTURES)
    (folder / "annotated.csv").write_text("case_id,core,ring\np0,1,1\np1,1,0\np2,1,1\np3,1,1\n", encoding="utf-8")
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def split_of(folder):
    cases = find_cases(folder).cases
    assert [case.case_id for case in cases] == ["p0", "p1", "p2", "p3"]
    return Split(cases[:3], cases[3:], ())


def learn(folder, settings, most_bytes=0, **options):
    """Train; give the model, what stands for its data, and what was told."""
    told, kept = [], []
    model = train(
        split_of(folder),
        settings,
        structures=STRUCTURES,
        inputs=Inputs(most_bytes=most_bytes, tell=told.append),
        on_checkpoint=lambda take, _: kept.append(take()),
        **options,
    )
    return model, kept[-1], told


def assert_same(one, other):
    (model, checkpoint, _), (model2, checkpoint2, _) = one, other
    assert model.weights.keys() == model2.weights.keys()
    assert all(torch.equal(model.weights[name], model2.weights[name]) for name in model.weights)
    scores = [[(r.training_loss, r.validation_loss, r.dice, r.iou) for r in m.history] for m in (model, model2)]
    assert scores[0] == scores[1]
    assert model.settings == model2.settings
    assert model.origin["fingerprint"] == model2.origin["fingerprint"]
    for side in ("training", "validation"):
        sides = [getattr(own, side) for own in (checkpoint, checkpoint2)]
        assert sides[0].voxels_digest == sides[1].voxels_digest != ""
        assert [sides[0].slices, sides[0].cases] == [sides[1].slices, sides[1].cases]


def entries(cache):
    return sorted(path for path in (cache / ENTRIES).rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_weights_and_scores_and_the_next_start_reads_nothing(kind, folder, cache, monkeypatch):
    settings = KINDS[kind]
    in_memory = learn(folder, settings, most_bytes=np.inf)
    assert not cache.exists()
    assert in_memory[2] == []
    first = learn(folder, settings)
    assert_same(first, in_memory)
    assert "kept in the cache" in first[2][0]
    assert len(entries(cache)) == 8
    if kind != "landmarks":  # they are learnt anew, from all voxels
        monkeypatch.setattr("autoseg.model.dataset.build.read_case", None)
    again = learn(folder, settings, most_bytes=np.inf)
    assert_same(again, in_memory)
    assert again[2] == ["The pixels of 4 images are in the cache. " + first[2][-1].split("cache. ")[1]]


def test_no_name_and_no_id_is_in_the_cache(folder, cache):
    learn(folder, SLICES)
    for path in (path for path in cache.rglob("*") if path.is_file()):
        assert b"p1" not in path.name.encode() + path.read_bytes()[:2000]
        assert str(folder).encode() not in path.read_bytes()


def test_damage_and_loss_in_the_middle_are_made_good(folder, cache):
    wanted = learn(folder, replace(SLICES, epochs=3), most_bytes=np.inf)

    def spoil(result, best, last):
        for number, path in enumerate(entries(cache)):
            if number % 2:
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:-3])

    assert_same(learn(folder, replace(SLICES, epochs=3), on_epoch=spoil), wanted)
    for path in entries(cache):  # rows that the next program has not looked at yet
        content = bytearray(path.read_bytes())
        content[-9] ^= 255
        path.write_bytes(content)
    assert_same(learn(folder, replace(SLICES, epochs=3)), wanted)


def test_a_program_that_ends_while_it_reads_has_not_read_in_vain(folder, cache, monkeypatch):
    from autoseg.model.dataset import build

    real, read = build.read_case, []

    def until_the_third(case, structures):
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(case.case_id)
        return real(case, structures)

    monkeypatch.setattr(build, "read_case", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        learn(folder, SLICES)
    assert len(entries(cache)) == 4
    monkeypatch.setattr(build, "read_case", lambda *case: read.append(case[0].case_id) or real(*case))
    learned = learn(folder, SLICES)
    assert read == ["p0", "p1", "p0", "p2", "p3"], "the first is read to see how large they are"
    monkeypatch.setattr(build, "read_case", real)
    monkeypatch.setenv("AUTOSEG_CACHE", str(cache / "none"))
    assert_same(learned, learn(folder, SLICES, most_bytes=np.inf))


def test_another_file_or_setting_is_read_anew(folder, cache, tmp_path):
    learn(folder, SLICES)
    assert len(entries(cache)) == 8
    learn(folder, replace(SLICES, epochs=1, augmentation=AugmentationSettings.off()))
    assert len(entries(cache)) == 8
    learn(folder, replace(SLICES, preprocess=PreprocessSettings(spacing_mm=3.0, clip_percentiles=(2, 98))))
    assert len(entries(cache)) == 12
    path = folder / "labels" / "p0.nii"
    before, status = path.read_bytes(), path.stat()
    try:
        _, labels = make_pair(0, slices=3, spacing=(8.0, 1.5, 1.2))
        write_nifti(path, replace(labels, voxels=np.roll(labels.voxels, 3, axis=2)))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        changed = learn(folder, SLICES)
        assert len(entries(cache)) == 14
    finally:
        path.write_bytes(before)
    assert changed[1].training.voxels_digest != learn(folder, SLICES)[1].training.voxels_digest


def test_settings_that_do_not_shape_what_is_kept_are_known_by_name():
    assert {field.name for field in fields(PreprocessSettings)} > NOT_OF_SLICES
    assert {field.name for field in fields(VolumeSettings)} > NOT_OF_VOLUMES


def test_files_that_change_while_they_are_learnt_from_end_it(folder, cache):
    def change(result, best, last):
        image, _ = make_pair(7, slices=3, spacing=(8.0, 1.5, 1.2))
        write_nifti(path, image)
        for entry in entries(cache):
            entry.unlink()

    path = folder / "images" / "p1.nii"
    before = path.read_bytes()
    try:
        with pytest.raises(DataError, match="were changed while it was learnt from"):
            learn(folder, SLICES, on_epoch=change)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("planned", [True, False])
def test_where_there_is_no_room_it_learns_in_memory_and_says_so(planned, folder, cache):
    settings = SLICES if planned else replace(SLICES, preprocess=PreprocessSettings())
    wanted = learn(folder, settings, most_bytes=np.inf)
    cache.mkdir()
    for limit in (1e-6, 2.5e-4):  # before anything is kept; in the middle
        set_limit(cache, limit)
        found = learn(folder, settings)
        assert_same(found, wanted)
        assert any("kept in memory instead of the cache: The cache" in words for words in found[2]), found[2]
    with pytest.warns(UserWarning, match="in memory instead of the cache"):
        train(split_of(folder), settings, structures=STRUCTURES, inputs=Inputs(most_bytes=0))


def test_two_at_once_keep_the_same(folder, cache):
    together, found = Barrier(2), [None, None]

    def work(number):
        together.wait()
        found[number] = hold_cases(split_of(folder), SLICES, STRUCTURES, Inputs(most_bytes=0)).ready(SLICES)

    threads = [Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    network = torch.nn.Identity()
    one, other = (held.samples(SLICES, network) for held in found)
    everything = torch.arange(len(one))
    assert torch.equal(one.images[everything], other.images[everything])
    assert torch.equal(one.labels[everything], other.labels[everything])
    assert len(entries(cache)) == 8


def test_a_resumed_training_takes_what_lies_in_the_cache_for_the_same_data(folder, cache):
    wanted = learn(folder, replace(SLICES, epochs=3), most_bytes=np.inf)
    kept = []
    train(
        split_of(folder),
        replace(SLICES, epochs=3),
        structures=STRUCTURES,
        on_epoch=lambda result, *_: result.epoch == 1,
        on_checkpoint=lambda take, _: kept.append(take()),
    )
    assert_same(learn(folder, SLICES, resume=kept[-1]), wanted)


def test_parts_of_images_are_told_of_where_brightness_is_that_of_the_whole(folder, cache):
    told = []
    split = split_of(folder)
    parts = replace(split, training=(replace(split.training[0], slices=(0, 2)), *split.training[1:]))
    for cases, normalise in ((split, "image"), (parts, "slice"), (parts, "image")):
        settings = replace(SLICES, preprocess=PreprocessSettings(spacing_mm=3.0, normalise=normalise))
        hold_cases(cases, settings, STRUCTURES, Inputs(tell=told.append))
    (words,) = told
    assert "1 image only a part" in words
    assert "normalise = slice" in words
