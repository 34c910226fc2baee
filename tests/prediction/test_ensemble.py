"""Models that go together, what they share, and what a mean over them costs."""

from dataclasses import replace

import pytest
from untrained import STRUCTURES, untrained_model

from autoseg.errors import DataError, SettingsError
from autoseg.image.structures import Structure
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import AugmentationSettings, PreprocessSettings, Settings, VolumeSettings
from autoseg.prediction.ensemble import (
    as_models,
    class_order,
    ensemble_name,
    runs_per_slice,
    shared_postprocess,
    unseen_note,
)

MODEL = untrained_model()


def _with(structures, **changes):
    return replace(MODEL, name="other", structures=tuple(structures), **changes)


def test_one_is_a_mean_of_one_and_none_is_refused():
    assert as_models(MODEL) == as_models([MODEL]) == (MODEL,)
    with pytest.raises(DataError, match="no model to segment with"):
        as_models([])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (_with(STRUCTURES[:1]), "'other' has no structure with label 2, which is 'myocardium' in 'heart'"),
        (
            _with([*STRUCTURES, Structure(3, "fat")]),
            "'heart' has no structure with label 3, which is 'fat' in 'other'",
        ),
        (
            _with([STRUCTURES[0], Structure(2, "wall")]),
            "label 2 is 'myocardium' in the one and 'wall' in the other",
        ),
        (_with([STRUCTURES[0], Structure(2, "myocardium", side="left")]), "'myocardium' differs in 'side'"),
        (_with([Structure(1, "cavity", includes=(2,)), STRUCTURES[1]]), "'cavity' differs in 'includes'"),
        (_with(STRUCTURES, channels=("T1",)), "channels image and T1"),
    ],
)
def test_what_cannot_be_averaged_is_named(other, words):
    with pytest.raises(DataError, match=f"'heart' and 'other' cannot be averaged: .*{words}"):
        as_models([MODEL, other])


def test_models_of_other_planes_are_refused_and_an_unknown_plane_is_not():
    axial, sagittal = (replace(MODEL, origin={"plane": plane}) for plane in ("axial", "sagittal"))
    with pytest.raises(DataError, match="trained on axial and on sagittal slices"):
        as_models([axial, sagittal])
    assert len(as_models([axial, MODEL])) == 2


def test_structures_may_come_in_any_order_and_colour():
    other = _with([Structure(2, "myocardium", colour=(1, 2, 3)), STRUCTURES[0]])
    assert as_models([MODEL, other]) == (MODEL, other)
    assert class_order(other, MODEL) == [0, 2, 1]
    assert class_order(MODEL, MODEL) == [0, 1, 2]


def test_only_cleaning_that_all_share_is_done():
    whole, eroded = StructurePostprocess(largest_component=True), StructurePostprocess(erosions=1)
    one = replace(MODEL, postprocess=(whole, eroded))
    assert shared_postprocess([one]) == ((whole, eroded), ())
    # In another order of structures, and with another rule for the second.
    other = _with(STRUCTURES[::-1], postprocess=(StructurePostprocess(), whole))
    assert shared_postprocess([one, other]) == ((whole, StructurePostprocess()), ("myocardium",))
    assert shared_postprocess([one, MODEL]) == ((), ("cavity", "myocardium"))
    assert shared_postprocess([MODEL, MODEL]) == ((), ())


def test_the_name_tells_models_and_copies():
    other = _with(STRUCTURES)
    assert ensemble_name(MODEL) == "heart"
    assert ensemble_name([MODEL, other]) == "heart + other"
    assert ensemble_name([MODEL, other], "turned") == "heart + other, turned copies"


def test_runs_are_counted():
    cropped = replace(MODEL, settings=Settings(preprocess=PreprocessSettings(crop_mm=(50, 50))))
    whole = replace(
        MODEL, settings=Settings(preprocess=PreprocessSettings(crop_shape=(50, 50), find_region="whole"))
    )
    assert runs_per_slice(MODEL) == 1
    assert runs_per_slice(MODEL, "mirrored") == 4
    assert runs_per_slice([MODEL, MODEL, MODEL], "both") == 24
    assert runs_per_slice([cropped, whole], "turned") == 9  # one looks for its region first
    with pytest.raises(SettingsError, match="copies is 'some'"):
        runs_per_slice(MODEL, "some")


def test_copies_that_a_model_never_met_are_said():
    little = replace(MODEL, name="little", settings=Settings(augmentation=AugmentationSettings(rotation_deg=20)))
    assert unseen_note([MODEL, little], "none") == unseen_note(MODEL, "turned") == ""
    assert "'heart' never met mirrored copies" in unseen_note(MODEL, "mirrored")
    assert "Choose turned copies." in unseen_note(MODEL, "mirrored")
    words = unseen_note([MODEL, little], "turned")
    assert words.startswith("'little' never met turned copies")
    assert words.endswith("Choose no copies.")


def test_of_models_that_see_volumes_their_own_mirrors_count():
    settings = Settings(spatial_dims=3, volume=VolumeSettings(flips=(0.5, 0, 0)))
    little = replace(settings, augmentation=AugmentationSettings(rotation_deg=20))
    assert unseen_note(replace(MODEL, settings=little), "left-right") == ""
    assert unseen_note(replace(MODEL, settings=little), "mirrored").endswith("Choose left-right copies.")
    assert unseen_note(replace(MODEL, settings=settings), "mirrored") == ""
    assert "never met turned copies" in unseen_note(replace(MODEL, settings=settings), "turned")
