"""A volume segmented and brought back: every voxel in its place, right areas, bounded memory, clear errors."""

import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from autoseg.errors import DataError, GeometryError, SettingsError
from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.model.model import TrainedModel
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
    VolumeSettings,
)
from autoseg.prediction import predict, predict_probabilities
from autoseg.prediction.ensemble import COPIES, Inference
from autoseg.prediction.volumes import VolumeRun

SIDES = (Structure(4, "left lobe", side="left"), Structure(7, "right lobe", side="right"))


class Reader(nn.Module):
    """A network that takes each voxel for the class whose level is nearest to its intensity."""

    def __init__(self, levels):
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels, dtype=torch.float32))

    def forward(self, images):
        return -40 * (images - self.levels[:, None, None, None]).abs()


def _model(patch, *, spacing=(1.0, 1.0, 1.0), structures=SIDES, channels=("image",), **volume):
    settings = Settings(
        spatial_dims=3,
        preprocess=PreprocessSettings(clip_percentiles=(0.0, 100.0)),
        network=NetworkSettings(filters=(4, 8)),
        volume=VolumeSettings(spacing_mm=spacing, patch_size=patch, **volume),
        augmentation=AugmentationSettings(rotation_deg=20),
    )
    torch.manual_seed(0)
    classes = len(structures) + 1
    weights = build_network(settings.network, in_channels=len(channels), out_channels=classes, spatial_dims=3)
    return TrainedModel("lobes", settings, structures, channels, weights.state_dict())


def _reading(monkeypatch, image):
    """Let models read structures off an image whose voxels are 0, 1 and 2."""
    flat = image.voxels.astype(np.float64)
    levels = (np.arange(3) - flat.mean()) / flat.std()
    monkeypatch.setattr(TrainedModel, "build", lambda self: Reader(levels).eval())


def _image(voxels, affine, **source):
    known = {"case_id": "scan", "spacing_source": "header", "slice_spacing_source": "header", **source}
    return Image(voxels, affine, source=Source(**known))


AFFINES = {
    "axial": affine_from_spacing((1.0, 1.0, 1.0), (-10.0, 5.0, 33.0)),
    "sagittal": affine_from_axes(
        position_mm=(-20, 0, 40), orientation=(0, 1, 0, 0, 0, -1), pixel_spacing_mm=(1, 1), slice_step_mm=(1, 0, 0)
    ),
    "coronal, tilted": affine_from_axes(
        position_mm=(-20, 0, 40),
        orientation=(0.96, 0.28, 0, 0, 0, -1),
        pixel_spacing_mm=(1, 1),
        slice_step_mm=(-0.28, 0.96, 0),
    ),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize(
    ("code", "shape", "patch"), [("RPI", (11, 20, 17), (8, 8, 8)), ("SAL", (6, 5, 9), (8, 12, 8))]
)
def test_every_voxel_comes_back_to_its_place(monkeypatch, affine, code, shape, patch):
    voxels = np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)
    image = _image(voxels, affine)
    _reading(monkeypatch, image)
    for copies in ("none", "left-right", "mirrored"):
        model = _model(
            patch, orientation=code, flips=(0.5, 0.5, 0.5), structures=(Structure(4, "a"), Structure(7, "b"))
        )
        found = predict(model, image, copies=copies, batch_size=4)
        np.testing.assert_array_equal(found.voxels, np.array([0, 4, 7])[voxels.astype(int)])
        assert found.same_grid(image)


def test_areas_of_sagittal_slices_are_right(monkeypatch):
    """A tilted cylinder on sagittal slices of 4 mm, seen by a network at 1 mm with axes of its own."""
    spacing = (4.0, 0.75, 0.5)
    affine = affine_from_axes(
        position_mm=(-20, 0, 40),
        orientation=(0, 1, 0, 0, 0, -1),
        pixel_spacing_mm=spacing[1:],
        slice_step_mm=(spacing[0], 0, 0),
    )
    rows, columns = np.mgrid[:80, :120]
    voxels = np.zeros((10, 80, 120), np.float32)
    wanted = []
    for k in range(10):  # a disc whose radius grows from slice to slice
        radius = 8.0 + k / 2
        voxels[k][np.hypot((rows - 40.3) * spacing[1], (columns - 60.1) * spacing[2]) <= radius] = 1
        wanted.append(np.pi * radius**2)
    image = _image(voxels, affine)
    monkeypatch.setattr(
        TrainedModel, "build", lambda self: Reader((np.arange(3) - voxels.mean()) / voxels.std()).eval()
    )
    model = _model((32, 32, 32), structures=(Structure(1, "cyst"), Structure(2, "none")))
    found = measure_areas(predict(model, image))
    areas = [row.area_mm2 for row in found if row.label == 1]
    assert areas == pytest.approx(wanted, rel=0.02)
    assert {row.label: row.area_mm2 for row in found if row.label == 2 and row.area_mm2} == {}


@pytest.mark.parametrize("copies", ["left-right", "mirrored"])
def test_copies_are_the_mean_over_mirrored_volumes(copies):
    """Against mirroring the image by hand: one window, so that nothing else differs."""
    voxels = np.random.default_rng(0).normal(size=(8, 12, 16)).astype(np.float32)
    image, model = _image(voxels, AFFINES["axial"]), _model((16, 12, 8), flips=(0.5, 0.5, 0.0))

    def probabilities(voxels, copies="none"):
        parts = predict_probabilities(model, _image(voxels, AFFINES["axial"]), Inference(copies, batch_size=3))
        return np.concatenate([part for _, part in parts])

    # Axial slices: columns run to the left, rows to the back. Mirrored once, left and right change places.
    mean = np.mean(
        [
            np.flip(
                probabilities(np.flip(voxels, axes).copy())[:, [0, 2, 1] if len(axes) == 1 else [0, 1, 2]], shown
            )
            for axes, shown in [((), ()), ((2,), (3,)), ((1,), (2,)), ((1, 2), (2, 3))][: len(COPIES[copies])]
        ],
        axis=0,
    )
    np.testing.assert_allclose(probabilities(voxels, copies), mean, atol=2e-3)
    assert np.abs(mean - probabilities(image.voxels)).max() > 0.01


def test_half_precision_changes_hardly_a_voxel():
    """Probabilities are kept as float16: they differ by 0.0003, and labels where two classes are as alike."""
    voxels = np.random.default_rng(0).normal(size=(24, 24, 24)).astype(np.float32)
    image, model = _image(voxels, AFFINES["axial"]), _model((24, 24, 24))
    found = np.concatenate([part for _, part in predict_probabilities(model, image)])
    run = VolumeRun(model, image, Inference())
    with torch.inference_mode():
        volume = (voxels - voxels.mean()) / voxels.std()
        seen = torch.from_numpy(volume).permute(2, 1, 0).flip(1)[None, None].contiguous()
        exact = run.network(seen).softmax(1)[0].flip(2).permute(3, 0, 2, 1).numpy()
    np.testing.assert_allclose(found, exact, atol=3e-4)
    # Of a network that never learnt, whose probabilities are all nearly alike.
    differ = found.argmax(1) != exact.argmax(1)
    assert differ.mean() < 3e-3
    top = np.sort(exact, axis=1)
    assert (top[:, -1] - top[:, -2])[differ].max(initial=0) < 6e-4


def test_patches_larger_than_the_volume_see_its_edge_repeated(monkeypatch):
    sizes = []

    class Watching(Reader):
        def forward(self, images):
            sizes.append(tuple(images.shape[2:]))
            assert float(images[0, 0, 0].std()) > 0  # the outermost plane is not empty
            return super().forward(images)

    voxels = np.random.default_rng(0).integers(0, 3, (4, 6, 5)).astype(np.float32)
    monkeypatch.setattr(TrainedModel, "build", lambda self: Watching([-1.2, 0, 1.2]).eval())
    predict(_model((16, 16, 16)), _image(voxels, AFFINES["axial"]))
    assert sizes == [(16, 16, 16)]


# --- bad input


def test_one_slice_is_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"scan has a single slice.*whole series"):
        predict(_model((8, 8, 8)), _image(np.zeros((1, 9, 9)), AFFINES["axial"]))


def test_no_spacing_is_refused():
    with pytest.raises(GeometryError, match="no pixel spacing"):
        predict(_model((8, 8, 8)), Image(np.zeros((3, 9, 9))))


def test_a_voxel_that_is_no_number_is_refused():
    voxels = np.zeros((4, 9, 9))
    voxels[2, 3, 4] = np.nan
    with pytest.raises(DataError, match="scan holds NaN or infinite intensities in 1 of 324 voxels"):
        predict(_model((8, 8, 8)), _image(voxels, AFFINES["axial"]))


def test_other_channels_are_refused():
    with pytest.raises(DataError, match=r"scan has 1 channel.*'lobes' was trained on 2"):
        predict(_model((8, 8, 8), channels=("t1", "t2")), _image(np.zeros((4, 9, 9)), AFFINES["axial"]))


def test_quarter_turns_are_of_slices():
    with (
        pytest.warns(UserWarning, match="never met turned copies"),
        pytest.raises(
            SettingsError, match="'turned', which are of slices; of volumes choose left-right or mirrored"
        ),
    ):
        predict(_model((8, 8, 8)), _image(np.zeros((4, 9, 9)), AFFINES["axial"]), copies="turned")


def test_too_little_memory_is_said_before_anything_is_tried(monkeypatch):
    class Free:
        available = 2**20

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    with pytest.raises(
        DataError,
        match=r"100 × 100 × 40 voxels.*need .* GiB of memory and 0\.0 GiB are free.*larger volume",
    ):
        predict(_model((8, 8, 8)), _image(np.zeros((40, 100, 100)), AFFINES["axial"]))


# --- memory


# A network that needs nothing itself, so that what the way to and fro needs is seen.
MEASURE = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
from test_volumes import AFFINES, Reader, _image, _model
from autoseg.model.model import TrainedModel
from autoseg.prediction import predict
from autoseg.image.structures import Structure

slices, classes = int(sys.argv[1]), 8
TrainedModel.build = lambda self: Reader(np.linspace(-1, 3, classes)).eval()
structures = tuple(Structure(k, f"s{{k}}") for k in range(1, classes))
voxels = np.zeros((slices, 192, 192), dtype=np.int16)
voxels[::2] = 1
predict(_model((32, 32, 32), structures=structures, overlap=0.0), _image(voxels, AFFINES["axial"]), batch_size=4)
# Not resource.getrusage, which begins with what the process had that started this one.
(line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) * 1024)
"""


def _used(slices):
    """Give the most memory that a process has in use that segments so many slices of 192 × 192, in bytes."""
    command = [sys.executable, "-c", MEASURE.format(tests=os.path.dirname(__file__)), str(slices)]
    # One thread and one arena: what the allocator keeps for others depends on how busy the computer is.
    alone = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=alone).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the highest memory")
def test_memory_grows_by_few_bytes_a_voxel():
    """With 8 classes: 16 bytes of probabilities, and what one image needs. All logits at once would be 32 more.

    A volume of 512 × 512 × 300 has 79 million voxels: it needs less than 3 GiB, and less with fewer classes.
    """
    grown = (_used(416) - _used(32)) / (384 * 192**2)
    assert 16 < grown < 40
    assert grown * 512 * 512 * 300 < 3 * 2**30
