"""Models that come with autoseg: found by name below one's own, never written to, with credit, score and limits."""

import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from untrained import made_up_model

from autoseg.cli.options import load_models
from autoseg.data.cases import find_cases
from autoseg.data.digests import known_subjects
from autoseg.errors import ModelFileError, OutputError
from autoseg.evaluation.calibrate import calibrate_by_folds
from autoseg.model import shipped
from autoseg.model.model import (
    can_be_guessed,
    find_named_model,
    load_model,
    save_model,
    sources_of,
    write_sealed,
)
from autoseg.model.model_list import list_shipped
from autoseg.model.settings.settings import Settings
from autoseg.model.shipped import check_not_shipped, find_shipped, is_shipped, shipped_files
from autoseg.model.trust import Profile, Trust
from autoseg.model.trust.facts import ImageFacts
from autoseg.prediction.run import segment_folder
from autoseg.training.finetuning.base import describe_base

ROOT = Path(__file__).resolve().parents[2]
# What of all files together may be given away.
MOST_BYTES, MOST_BYTES_OF_ALL, GOOD_ENOUGH = 5e6, 20e6, 0.7
SOURCE = "A public set, 4 patients, CC BY 4.0. Credit: Somebody 2024"


def made_by_folds():
    """Give a model that nobody validated, and whose twins were scored."""
    image = asdict(ImageFacts(pixel_mm=(1.0, 1.0)))
    profile = Profile(4, 4, (16, 16), images=(image,), dice=(0.9, 0.6), area_error=(0.1, None), by_folds=True)
    rows = tuple(replace(row, validation_dice=None, dice=()) for row in made_up_model().history)
    origin = {"training_subjects": 4, "validation_subjects": 0, "training_slices": 60, "sources": [SOURCE]}
    return made_up_model("heart", history=rows, origin=origin, trust=Trust(profile=profile))


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A box with one model, in place of what comes with autoseg."""
    monkeypatch.setattr(shipped, "BOX", tmp_path / "box")
    shipped.BOX.mkdir()
    save_model(made_by_folds(), shipped.box_path("heart"))
    return shipped.BOX


def test_it_is_listed_with_its_score_by_folds_how_few_patients_and_whom_to_credit(box):
    (entry,) = list_shipped()
    assert entry.line.startswith("heart.pt — comes with autoseg, 4 patients — Dice 0.75, ")
    facts = dict(entry.facts)
    assert facts["Validation score"] == (
        "Dice 0.75 on 4 patients, each segmented by a twin of it that never saw it (psoas 0.90, gracilis 0.60)"
    )
    assert facts["Public data"] == SOURCE
    assert "comes with autoseg" in facts["File"]


def test_a_name_alone_is_enough_on_the_command_line(box, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert [model.name for model in load_models(Path("heart"), ())] == ["heart"]
    with pytest.raises(ModelFileError, match="liver"):
        load_models(Path("liver"), ())


def test_ones_own_model_of_the_name_goes_first(box, tmp_path):
    own = tmp_path / "trained_model"
    assert find_named_model(own, "heart") == box / "heart.pt"
    own.mkdir()
    path = save_model(made_up_model("heart"), own)
    assert find_named_model(own, "heart") == path
    with pytest.raises(ModelFileError, match=r"'liver'.*With autoseg come: heart"):
        find_named_model(own, "liver")
    assert find_shipped("liver") is None
    assert (is_shipped(box / "heart.pt"), is_shipped(path)) == (True, False)


def test_it_is_never_written_anew(box):
    before = (box / "heart.pt").read_bytes()
    for write in (write_sealed, lambda path: calibrate_by_folds(path, [], [])):
        with pytest.raises(OutputError, match=r"comes with autoseg and is never changed\. Copy it"):
            write(box / "heart.pt")
    assert (box / "heart.pt").read_bytes() == before
    check_not_shipped(box.parent / "heart_3.pt")


def test_what_begins_from_it_keeps_the_credit(box, tmp_path):
    base = load_model(box / "heart.pt")
    tuned = made_up_model("knee", origin={"training_subjects": 9, "base": describe_base(base, ())})
    assert sources_of(load_model(save_model(tuned, tmp_path))) == (SOURCE,)
    again = made_up_model("hip", origin={"base": describe_base(tuned, ())})
    assert sources_of(again) == (SOURCE,)
    assert sources_of(made_up_model()) == ()


@pytest.mark.parametrize("origin", [{"sources": 5}, {"base": {"sources": [5]}}, {"base": {"sources": 5}}])
def test_sources_that_are_none_are_told_in_words(origin, tmp_path):
    with pytest.raises(ModelFileError, match="in place of the sources"):
        load_model(save_model(made_up_model(origin=origin), tmp_path))


# --- those that are really there


def test_what_comes_with_autoseg_is_in_git_and_in_the_package_and_small():
    files = shipped_files()
    sizes = [path.stat().st_size for path in files]
    assert sorted(shipped.BOX.glob("*.pt")) == sorted(files)
    assert max(sizes) <= MOST_BYTES
    assert sum(sizes) <= MOST_BYTES_OF_ALL
    readme = (shipped.BOX / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+\.pt)`", readme)) == {path.name for path in files}
    if (ROOT / ".git").exists():
        names = [path.relative_to(ROOT).as_posix() for path in files]
        ignored = subprocess.run(
            ["git", "check-ignore", "--no-index", *names], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ignored.stdout == ""


@pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
def test_each_tells_what_it_is_worth_and_names_nobody(path):
    model = load_model(path)
    profile = model.trust.profile
    assert model.name == path.stem.replace("_", " ")
    assert profile.by_folds
    assert profile.validated == profile.subjects == model.origin["training_subjects"]
    assert profile.dice[0] >= GOOD_ENOUGH
    assert model.trust.calibration.patients == profile.subjects
    (source,) = sources_of(model)
    assert f"{profile.subjects} patients" in source
    assert "CC0 1.0" in source or "CC BY 4.0" in source
    assert not can_be_guessed(model)
    content = path.read_bytes()
    assert [name for name in (b"SCD0", b"sub-9", b"/tmp", b"t2_SPACE") if name in content] == []
    assert model.settings.minutes is None  # made by epochs: any computer makes it
    assert model.settings != Settings()


def test_the_heart_does_not_know_the_samples_test_patient_and_segments_it(sample, tmp_path):
    model = load_model(find_shipped("heart"))
    kept = model.origin["subject_fingerprints"]
    test, taught = find_cases(sample / "test"), find_cases(sample / "train")
    assert known_subjects({case.subject_id for case in test.cases}, kept) == frozenset()
    patients = {case.subject_id for case in taught.cases}
    assert known_subjects(patients, kept) == patients
    run = segment_folder(model, sample / "test" / "dicoms", output=tmp_path)
    assert {one.light for one in run.suitability.values()} == {"amber"}
    assert all("4 patients of public data alone" in " ".join(one.reasons) for one in run.suitability.values())
    areas = [one.area_mm2 for one in run.measurements if one.name == "cavity"]
    assert len(areas) == 20
    assert min(areas) > 0
