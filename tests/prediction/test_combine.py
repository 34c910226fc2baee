"""Two models along one volume: where each counts, what lies between, and what is said of the join."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import STRUCTURES, untrained_model

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.model.networks import build_network
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import NetworkSettings, Settings, VolumeSettings
from autoseg.prediction import predict
from autoseg.prediction.combine import JoinAt, combine, heights_mm, plan_join

# The body runs along slices, rows or columns, to the head or to the feet.
UPWARD = affine_from_spacing((4.0, 0.5, 0.8), (-10, -20, 100.0))
DOWNWARD = affine_from_axes(
    position_mm=(0, 0, 136.0),
    orientation=(1, 0, 0, 0, 1, 0),
    pixel_spacing_mm=(0.5, 0.8),
    slice_step_mm=(0, 0, -4.0),
)
SAGITTAL = affine_from_axes(
    position_mm=(-20, -60, 136.0),
    orientation=(0, 1, 0, 0, 0, -1),
    pixel_spacing_mm=(4.0, 0.8),
    slice_step_mm=(3, 0, 0),
)
LYING = affine_from_axes(
    position_mm=(-20, -60, 136.0),
    orientation=(0, 0, -1, 0, 1, 0),
    pixel_spacing_mm=(0.8, 4.0),
    slice_step_mm=(3, 0, 0),
)
# Ten places along the body at z = 100, 104 … 136 mm in each.
GRIDS = {
    "slices up": (UPWARD, (10, 6, 7), 0, range(10)),
    "slices down": (DOWNWARD, (10, 6, 7), 0, range(9, -1, -1)),
    "rows": (SAGITTAL, (6, 10, 7), 1, range(9, -1, -1)),
    "columns": (LYING, (6, 7, 10), 2, range(9, -1, -1)),
}


def make_image(affine, shape, **source):
    return Image(
        np.zeros(shape, np.float32),
        affine,
        source=Source(
            **{"case_id": "spine", "spacing_source": "header", "slice_spacing_source": "header", **source}
        ),
    )


def along(axis, order, values, shape):
    """Lay ten values, from the feet to the head, along an axis of a volume."""
    laid = np.empty(10)
    laid[list(order)] = values
    sizes = [1, 1, 1]
    sizes[axis] = 10
    return np.broadcast_to(laid.reshape(sizes), shape)


UPPER, LOWER = untrained_model(), replace(untrained_model(), name="lumbar")


@pytest.fixture
def known(monkeypatch):
    """Let each model answer with probabilities that are known: a function of the model's name and the slices."""
    answers = {}

    def answer(models, image, how):
        for start in range(0, image.shape[0], 4):
            chosen = slice(start, min(start + 4, image.shape[0]))
            yield chosen, answers[models[0].name](image)[chosen].astype(np.float32)

    monkeypatch.setattr("autoseg.prediction.combine.predict_probabilities", answer)
    return answers


def constant(*probabilities):
    """Give the same probabilities of background and structures everywhere."""
    return lambda image: np.tile(
        np.array(probabilities).reshape(1, -1, 1, 1), (image.shape[0], 1, *image.shape[1:])
    )


@pytest.mark.parametrize("name", GRIDS)
def test_heights_are_found_along_whichever_axis_the_body_runs(name):
    affine, shape, axis, order = GRIDS[name]
    found, heights = heights_mm(make_image(affine, shape))
    assert found == axis
    assert heights[list(order)] == pytest.approx(100 + 4 * np.arange(10))


@pytest.mark.parametrize("name", GRIDS)
def test_each_side_comes_from_its_model_and_the_overlap_is_blended_linearly(known, name):
    affine, shape, axis, order = GRIDS[name]
    image = make_image(affine, shape)
    # The upper model is sure of the cavity by 0.8, the lower one of the myocardium by 0.7.
    known["heart"], known["lumbar"] = constant(0.2, 0.8, 0.0), constant(0.3, 0.0, 0.7)
    # Blended over 16 mm around 118: shares 1/16 + … at 112, 116, 120, 124; more than 7/15 is the upper's.
    both = combine(UPPER, LOWER, image, at_mm=118, blend_mm=16)
    shares = [0, 0, 0, 2 / 16, 6 / 16, 10 / 16, 14 / 16, 1, 1, 1]
    assert np.array(both.join.upper_shares)[list(order)] == pytest.approx(shares)
    labels = np.where(0.8 * np.array(shares) > 0.7 * (1 - np.array(shares)), 1, 2)
    assert labels.tolist() == [2, 2, 2, 2, 2, 1, 1, 1, 1, 1]
    assert np.array_equal(both.label_map.voxels, along(axis, order, labels, shape))
    # Without blending the join parts them sharply; a place on the join is the upper model's.
    sharp = combine(UPPER, LOWER, image, at_mm=112)
    assert np.array_equal(sharp.label_map.voxels, along(axis, order, [2, 2, 2, 1, 1, 1, 1, 1, 1, 1], shape))
    assert sharp.label_map.same_grid(image)


def test_blending_finds_what_neither_model_finds_alone(known):
    """Probabilities are mixed, not labels: half of each may be most probable though neither was sure."""
    image = make_image(UPWARD, (10, 6, 7))
    known["heart"], known["lumbar"] = constant(0.5, 0.05, 0.45), constant(0.05, 0.5, 0.45)
    both = combine(UPPER, LOWER, image, at_mm=118, blend_mm=400)
    assert (both.label_map.voxels[4:6] == 2).all()


def test_structures_are_matched_by_name_whatever_their_order_and_labels(known):
    image = make_image(UPWARD, (10, 6, 7))
    swapped = replace(LOWER, structures=(Structure(5, "Myocardium"), Structure(9, "cavity")))
    known["heart"], known["lumbar"] = constant(0.1, 0.9, 0.0), constant(0.1, 0.0, 0.9)
    both = combine(UPPER, swapped, image, at_mm=118)
    # The cavity everywhere: the lower model's second structure.
    assert (both.label_map.voxels == 1).all()
    assert both.label_map.structures == STRUCTURES
    assert [jump.jump_mm2 for jump in both.jumps] == [0, 0]
    assert len(both.notes) == 1


def test_a_jump_at_the_join_is_measured_across_the_body_and_said(known):
    def disc(count):
        def answer(image):
            probabilities = constant(0.9, 0.1, 0.0)(image).copy()
            probabilities[:count, :2] = np.array([0.1, 0.9]).reshape(1, 2, 1, 1)
            return probabilities

        return answer

    # Sagittal slices 3 mm apart with columns of 0.8 mm: on a section the upper structure has 4 × 7 voxels.
    affine, shape, _, _ = GRIDS["rows"]
    known["heart"], known["lumbar"] = disc(4), disc(2)
    both = combine(UPPER, LOWER, make_image(affine, shape), at_mm=118)
    cavity, myocardium = both.jumps
    assert (cavity.upper_mm2, cavity.lower_mm2) == pytest.approx((4 * 7 * 2.4, 2 * 7 * 2.4))
    assert cavity.jump_mm2 == pytest.approx(33.6)
    assert myocardium.jump_mm2 == 0
    assert "a jump of +33.6 mm²" in both.notes[1]
    assert len(both.notes) == 2
    assert "z = 118.0 mm: rows 1 to 5 come from heart alone, rows 6 to 10 from lumbar alone" in both.notes[0]


def test_the_join_can_be_a_slice_or_a_level():
    levels = ["T11", "T11", "T10", "T10", "T9", "", "T8", "T8", "T7", "T7"]
    places = tuple(SliceSource(Path(f"{n}.dcm"), level=level) for n, level in enumerate(levels))
    image = make_image(UPWARD, (10, 6, 7), slices=places)
    # The faces between slices lie half-way.
    assert plan_join(image, JoinAt(at_slice=3)).at_mm == pytest.approx(110)
    assert plan_join(image, JoinAt(at_slice=3)).upper_shares == (0, 0, 0, 1, 1, 1, 1, 1, 1, 1)
    assert plan_join(image, JoinAt(at_level="t9")).at_mm == pytest.approx(114)
    downward = make_image(DOWNWARD, (10, 6, 7), slices=places)
    assert plan_join(downward, JoinAt(at_slice=3)).upper_shares == (1, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    assert plan_join(downward, JoinAt(at_level="T9")).at_mm == pytest.approx(118)
    with pytest.raises(DataError, match=r"no slice of the level .L1.\. Its levels: T11, T10, T9, T8, T7"):
        plan_join(image, JoinAt(at_level="L1"))
    with pytest.raises(DataError, match="slices 1 to 10, and no slice 11"):
        plan_join(image, JoinAt(at_slice=10))
    with pytest.raises(DataError, match=r"runs along its rows.*at_mm"):
        plan_join(make_image(SAGITTAL, (6, 10, 7)), JoinAt(at_slice=3))


def test_an_oblique_stack_is_joined_between_slices():
    """Slices tilted by 30 degrees: each comes from one model as a whole, by the height of its middle."""
    tilt = np.radians(30)
    affine = affine_from_axes(
        position_mm=(0, 0, 0),
        orientation=(1, 0, 0, 0, np.cos(tilt), np.sin(tilt)),
        pixel_spacing_mm=(1, 1),
        slice_step_mm=5 * np.array([0, -np.sin(tilt), np.cos(tilt)]),
    )
    axis, heights = heights_mm(make_image(affine, (8, 21, 9)))
    assert axis == 0
    assert heights == pytest.approx(10 * np.sin(tilt) + 5 * np.cos(tilt) * np.arange(8))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({}, "Say once where"),
        ({"at_mm": 118, "at_slice": 3}, "Say once where"),
        ({"at_mm": 97.0}, r"reaches from z = 98\.0 to 138\.0 mm, and the models would meet at 97\.0"),
        ({"at_mm": float("nan")}, "would meet at nan"),
        ({"at_mm": 118, "blend_mm": -1}, "blend_mm is -1"),
        ({"at_mm": 118, "blend_mm": float("inf")}, "blend_mm is inf"),
    ],
)
def test_a_join_that_cannot_be_is_refused(where, words):
    with pytest.raises(DataError, match=words):
        plan_join(make_image(UPWARD, (10, 6, 7)), JoinAt(**where))


def test_without_millimetres_there_is_no_height():
    with pytest.raises(GeometryError, match="no pixel spacing"):
        plan_join(make_image(None, (10, 6, 7)), JoinAt(at_mm=118))
    slices = tuple(SliceSource(Path(f"{n}.dcm")) for n in range(10))
    with pytest.raises(GeometryError, match="distance between its slices is unknown"):
        plan_join(make_image(UPWARD, (10, 6, 7), slices=slices, slice_spacing_source="none"), JoinAt(at_mm=118))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"structures": (STRUCTURES[0],)}, "'lumbar' has no structure 'myocardium'"),
        ({"structures": (*STRUCTURES, Structure(3, "fat"))}, "'heart' has no structure 'fat'"),
        ({"structures": (Structure(1, "cavity", includes=(2,)), STRUCTURES[1])}, "includes other structures"),
        ({"structures": (Structure(1, "cavity", side="left"), STRUCTURES[1])}, "another side"),
        ({"channels": ("T1w",)}, "channels image and T1w"),
        ({"origin": {"plane": "sagittal"}}, "axial and on sagittal"),
    ],
)
def test_models_that_do_not_fit_are_named(changes, words):
    upper = replace(UPPER, origin={"plane": "axial"}) if "origin" in changes else UPPER
    with pytest.raises(DataError, match=f"'heart' and 'lumbar' cannot be combined: .*{words}"):
        combine(upper, replace(LOWER, **changes), make_image(UPWARD, (10, 6, 7)), at_mm=118)


# --- with networks, not made-up answers


def volume_model(name, seed):
    """A small network of volumes that never learnt anything."""
    network = NetworkSettings(filters=(4, 8))
    settings = Settings(
        network=network,
        spatial_dims=3,
        volume=VolumeSettings(spacing_mm=(3.0, 3.0, 3.0), patch_size=(16, 16, 16)),
    )
    torch.manual_seed(seed)
    built = build_network(network, in_channels=1, out_channels=3, spatial_dims=3)
    return replace(UPPER, name=name, settings=settings, weights=built.state_dict())


def noise(affine, shape):
    rng = np.random.default_rng(5)
    image = make_image(affine, shape)
    return replace(image, voxels=rng.normal(100, 30, shape).astype(np.float32))


@pytest.mark.parametrize("name", ["slices down", "rows"])
@pytest.mark.parametrize("dims", [2, 3])
def test_beyond_the_overlap_every_voxel_is_what_its_model_gives_alone(name, dims):
    affine, shape, axis, order = GRIDS[name]
    shape = tuple(n if k == axis else 4 * n for k, n in enumerate(shape))
    image = noise(affine, shape)
    if dims == 2:
        torch.manual_seed(11)
        other = build_network(UPPER.settings.network, in_channels=1, out_channels=3).state_dict()
        upper = replace(UPPER, postprocess=(StructurePostprocess(erosions=1), StructurePostprocess()))
        lower = replace(
            LOWER, weights=other, postprocess=(StructurePostprocess(0.3), StructurePostprocess(fill_holes=True))
        )
    else:
        upper, lower = volume_model("heart", 1), volume_model("lumbar", 2)
    both = combine(upper, lower, image, at_mm=118, blend_mm=8)
    above = along(axis, order, [0] * 6 + [1] * 4, shape) == 1
    below = along(axis, order, [1] * 4 + [0] * 6, shape) == 1
    alone = [predict(model, image).voxels for model in (upper, lower)]
    assert len(np.unique(alone[0])) > 1
    assert (alone[0] != alone[1]).any()
    assert np.array_equal(both.label_map.voxels[above], alone[0][above])
    assert np.array_equal(both.label_map.voxels[below], alone[1][below])
    assert ("clean cavity, myocardium in different ways" in both.notes[-1]) == (dims == 2)


def test_a_slice_model_and_a_volume_model_go_together():
    image = noise(UPWARD, (10, 32, 32))
    volume = volume_model("lumbar", 2)
    both = combine(UPPER, volume, image, at_slice=5)
    assert np.array_equal(both.label_map.voxels[5:], predict(UPPER, image).voxels[5:])
    assert np.array_equal(both.label_map.voxels[:5], predict(volume, image).voxels[:5])
