"""How a model fits other images is told before anything is learnt, and learning then does what was told."""

from dataclasses import replace

import pytest
import torch
from bases import make_base, patch_looking
from discs import STRUCTURES, make_case, make_pair, make_split, patch_reading

from autoseg.errors import DataError, GeometryError
from autoseg.image.structures import Structure
from autoseg.training.finetuning import check_fit, settings_from_base
from autoseg.training.training import train

CASES = [make_case(number) for number in range(5)]


def test_whoever_taught_or_validated_it_is_known(monkeypatch):
    patch_looking(monkeypatch, spacing=(8.0, 3.0, 3.0))
    fit = check_fit(make_base(taught_by=("subject1", "subject3", "somebody else")), CASES, STRUCTURES)
    assert fit.known == {"subject1", "subject3"}
    assert fit.subjects == ("subject0", "subject2", "subject4")
    assert fit.unknown == fit.notes == ()  # the discs are as it knows them


def test_structures_and_channels_that_do_not_fit_are_named(monkeypatch):
    patch_looking(monkeypatch, spacing=(8.0, 3.0, 3.0))
    base = make_base(structures=(STRUCTURES[0], Structure(7, "liver")), channels=("t2",))
    fit = check_fit(base, CASES, STRUCTURES)
    assert fit.unknown == ("ring",)
    told = " ".join(fit.notes)
    for words in (
        "New, so its answer is learnt from the start: ring",
        "No longer learnt: liver",
        "image takes the",
    ):
        assert words in told


def test_what_is_told_is_what_the_training_then_notes(monkeypatch):
    patch_looking(monkeypatch)
    patch_reading(monkeypatch)
    base = make_base(structures=(STRUCTURES[0], Structure(7, "liver")))
    told = check_fit(base, CASES, STRUCTURES).notes
    settings = settings_from_base(base, epochs=1)
    model = train(make_split([0], [1]), settings, structures=STRUCTURES, base=base)
    assert [note for note in told if note.startswith("Structures")] == [
        note for note in model.origin["notes"] if note.startswith("Structures")
    ]


@pytest.mark.parametrize(
    ("own", "seen", "words", "is_lost"),
    [
        (1.5, 3.0, "pixels of 1.5 mm; the model sees pixels of 3 mm", True),
        (4.0, 3.0, "pixels of 4 mm; the model sees pixels of 3 mm", False),
        (2.9, 3.0, "", False),
    ],
)
def test_pixels_of_another_size_are_told(monkeypatch, own, seen, words, is_lost):
    patch_looking(monkeypatch, spacing=(8.0, own, own))
    base = make_base()
    settings = settings_from_base(base, **{"preprocess.spacing_mm": seen})
    told = " ".join(check_fit(base, CASES, STRUCTURES, settings).notes)
    assert words in told
    assert bool(told) == bool(words)
    assert ("is lost" in told) == is_lost


def test_voxels_are_told_along_the_model_s_own_axes(monkeypatch):
    # Rows are 1.5 mm apart from front to back, columns 2 mm from left to right, slices 8 mm from feet to head.
    patch_looking(monkeypatch, spacing=(8.0, 1.5, 2.0), slices=6)
    (note,) = check_fit(make_base(dims=3), CASES, STRUCTURES).notes
    assert "voxels of 2 × 1.5 × 8 mm; the model sees voxels of 3 × 3 × 8 mm" in note


def test_a_single_slice_is_no_volume(monkeypatch):
    patch_looking(monkeypatch, slices=1)
    with pytest.raises(DataError, match="has a single slice, and a model that sees volumes"):
        check_fit(make_base(dims=3), CASES, STRUCTURES)
    with pytest.raises(DataError, match="no images"):
        check_fit(make_base(), [], STRUCTURES)


def test_a_model_that_counts_in_millimetres_needs_them(monkeypatch):
    def read(case, structures):
        image, labels = make_pair(0)
        return replace(image, affine=None, source=replace(image.source, spacing_source="none")), labels

    monkeypatch.setattr("autoseg.training.finetuning.fit.read_case", read)
    with pytest.raises(GeometryError, match="pixel spacing"):
        check_fit(make_base(), CASES, STRUCTURES)
    settings = settings_from_base(
        make_base(), **{"preprocess.spacing_mm": None, "preprocess.input_shape": (32, 32)}
    )
    assert "pixels of" not in " ".join(check_fit(make_base(), CASES, STRUCTURES, settings).notes)


def test_random_numbers_of_a_training_beside_it_are_left_alone(monkeypatch):
    patch_looking(monkeypatch)
    base = make_base()
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    check_fit(base, CASES, STRUCTURES)
    assert torch.rand(1) == wanted
