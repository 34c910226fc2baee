"""Slices at one position: every volume whole and unmixed, whatever the header offers to tell them apart."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.series import find_series, read_series
from autoseg.words import GraveNote

POSITIONS, VOLUMES = 4, 3


def write(folder, change, *, positions=POSITIONS, volumes=VOLUMES, lost=()):
    """Write volume v (from 0) with the value 100 (v + 1) everywhere, in files that are named without any order.

    `change(dataset, position, volume)` sets what the header tells; `lost` are (position, volume) without a file.
    """
    places = tuple(4.0 * position for position in range(positions))
    shape = Phantom("cine", rows=8, columns=8, places_mm=places, moments=volumes, origin_mm=(0.0, 0.0, 0.0))
    files = write_phantom(folder, shape)
    for number, path in enumerate(files):
        volume, position = divmod(number, positions)
        dataset = pydicom.dcmread(path)
        path.unlink()
        if (position, volume) in lost:
            continue
        del dataset.TriggerTime
        dataset.PixelData = np.full((8, 8), 100 * (volume + 1), np.uint16).tobytes()
        dataset.InstanceNumber = 1
        change(dataset, position, volume)
        dataset.save_as(folder / f"{number * 37 % 101:03d}.dcm")


def read(folder):
    """Give each image's name with the values of its slices, and the series' notes."""
    (series,) = find_series(folder).series
    values = {
        image.source.case_id.removeprefix("series-1"): image.voxels.max(axis=(1, 2)).tolist()
        for image in read_series(series)
    }
    return values, series.notes


WHOLE = {f"_t0{volume + 1}": [100 * (volume + 1)] * POSITIONS for volume in range(VOLUMES)}


def acquisition_odd_once(dataset, position, volume):
    dataset.AcquisitionNumber = 19 if (position, volume) == (1, 2) else 22
    dataset.InstanceNumber = 1 + volume * POSITIONS + position


def other_heart_rates(dataset, position, volume):
    dataset.TriggerTime = 12 + round(volume * (40 + 2.5 * position), 1)


def temporal(dataset, position, volume):
    dataset.TemporalPositionIdentifier = volume + 1
    dataset.TriggerTime = 1000 - 7 * position - 300 * volume


def gradients_under_a_trigger_that_wanders(dataset, position, volume):
    dataset.TriggerTime = (position * 613 + volume * 271) % 977
    dataset.DiffusionBValue = (0.0, 800.0, 800.0)[volume]
    if volume:
        dataset.DiffusionGradientOrientation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]][2 - volume]


def echoes(dataset, position, volume):
    dataset.EchoTime = 4.6 * (volume + 1)
    dataset.AcquisitionNumber = position


def content_times(dataset, position, volume):
    dataset.ContentTime = f"{101500 + 10 * volume + position}.25"


def acquisition_times_around_the_position(dataset, position, volume):
    dataset.AcquisitionTime = f"{101500 + 10 * position + volume}"


def instance_of_volumes(dataset, position, volume):
    dataset.InstanceNumber = 1 + volume * POSITIONS + (0, 2, 1, 3)[position]


def instance_of_positions(dataset, position, volume):
    dataset.InstanceNumber = 1 + position * VOLUMES + volume


def empty_frame_groups(dataset, position, volume):
    other_heart_rates(dataset, position, volume)
    dataset.PerFrameFunctionalGroupsSequence = Sequence([Dataset()])


TELLING = [
    acquisition_odd_once,
    other_heart_rates,
    temporal,
    gradients_under_a_trigger_that_wanders,
    echoes,
    content_times,
    acquisition_times_around_the_position,
    instance_of_volumes,
    instance_of_positions,
    empty_frame_groups,
]


@pytest.mark.parametrize("change", TELLING)
def test_every_volume_is_whole_and_unmixed(tmp_path, change):
    write(tmp_path, change)
    values, notes = read(tmp_path)
    assert values == WHOLE
    assert not any(isinstance(note, GraveNote) for note in notes)


@pytest.mark.parametrize("change", [c for c in TELLING if c is not acquisition_times_around_the_position])
def test_a_lost_slice_leaves_a_gap_in_its_own_volume_and_is_named(tmp_path, change):
    write(tmp_path, change, lost=[(2, 1)])
    values, notes = read(tmp_path)
    hurt = next(name for name, found in values.items() if 200 in found)
    stack = hurt.removesuffix("_part1")
    assert all(len(set(found)) == 1 for found in values.values())
    assert sorted(len(found) for found in values.values()) == [1, 2, 4, 4]
    assert f"{stack} lacks 1 slice of 4: at 8 mm." in notes


def test_every_position_may_have_lost_another_slice(tmp_path):
    write(tmp_path, temporal, volumes=4, lost=[(position, position) for position in range(POSITIONS)])
    values, notes = read(tmp_path)
    assert all(len(set(found)) == 1 for found in values.values())
    assert [n for n in notes if "lacks" in n] == [
        f"_t0{place + 1} lacks 1 slice of 4: at {4 * place} mm." for place in range(POSITIONS)
    ]


def test_phases_that_jitter_are_told_where_several_are_lost(tmp_path):
    lost = [(0, 3), (1, 0), (3, 11)]

    def jittering(dataset, position, volume):
        dataset.TriggerTime = round(10 + volume * (35 + 2 * position) + (position * 7 + volume * 3) % 5)

    write(tmp_path, jittering, volumes=12, lost=lost)
    values, notes = read(tmp_path)
    assert all(len(set(found)) == 1 for found in values.values())
    assert sum("lacks 1 slice of 4" in note for note in notes) == 3
    assert "_t01 lacks 1 slice of 4: at 4 mm." in notes


def test_what_nothing_tells_apart_is_counted_and_said_in_sight(tmp_path):
    write(tmp_path, lambda dataset, position, volume: None)
    values, notes = read(tmp_path)
    assert [len(found) for found in values.values()] == [POSITIONS] * VOLUMES
    (grave,) = [note for note in notes if isinstance(note, GraveNote)]
    assert "does not tell which slices belong together" in grave
    assert "_t01, the next in _t02" in grave


def test_numbers_that_fit_neither_volumes_nor_positions_are_doubted(tmp_path):
    shuffled = np.random.default_rng(3).permutation(POSITIONS * VOLUMES) + 1

    def change(dataset, position, volume):
        dataset.InstanceNumber = int(shuffled[position * VOLUMES + volume])

    write(tmp_path, change)
    assert any(isinstance(note, GraveNote) for note in read(tmp_path)[1])


def siemens(dataset, part):
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "MPRI"[part], "ND"]


def philips(dataset, part):
    kinds = (("M_FFE", "M"), ("PHASE MAP", "P"), ("R_FFE", "R"), ("I_FFE", "I"))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", *kinds[part], "FFE"]


def ge(dataset, part):
    block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x2F, "SS", part)


def enhanced(dataset, part):
    dataset.ComplexImageComponent = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")[part]


@pytest.mark.parametrize("kind", [siemens, philips, ge, enhanced])
def test_the_parts_of_a_complex_image_are_images_of_their_own(tmp_path, kind):
    write(tmp_path, lambda dataset, _, volume: kind(dataset, volume), volumes=4)
    values, notes = read(tmp_path)
    names = ("magnitude", "phase", "real", "imaginary")
    assert values == {f"_{name}": [100 * (n + 1)] * POSITIONS for n, name in enumerate(names)}
    assert "It holds magnitude, phase, real and imaginary images: read as images of their own" in notes[0]


def test_magnitude_and_phase_of_a_cine_have_their_own_time_points(tmp_path):
    def change(dataset, position, volume):
        siemens(dataset, volume % 2)
        dataset.TriggerTime = 30 * (volume // 2) + position

    write(tmp_path, change, volumes=6)
    values, _ = read(tmp_path)
    assert values == {
        f"_{name}_t0{time + 1}": [100 * (2 * time + part + 1)] * POSITIONS
        for part, name in enumerate(("magnitude", "phase"))
        for time in range(3)
    }


def test_one_kind_alone_is_not_named(tmp_path):
    write(tmp_path, lambda dataset, *_: siemens(dataset, 0), volumes=1)
    assert list(read(tmp_path)[0]) == [""]
