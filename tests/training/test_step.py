"""What a training holds at its start; its steps are tested with the loop (test_training.py)."""

from autoseg.data.cases import find_cases
from autoseg.data.split import split_cases
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings
from autoseg.training.step import read_material


def test_a_model_remembers_the_kind_of_images_that_it_learnt_from(sample):
    found = find_cases(sample / "train")
    some = [case for case in found.cases if case.subject_id in ("SCD0000101", "SCD0000201")]
    settings = Settings(
        epochs=1, preprocess=PreprocessSettings(spacing_mm=9.0), network=NetworkSettings(filters=(4, 8))
    )
    material = read_material(split_cases(some or found.cases), settings, found.structures, None, digests=False)
    assert material.modalities == ("MR",)
    assert material.untrained("heart", found.structures).origin["modalities"] == ["MR"]
