"""A study's report: its numbers are those of the tables, it names nobody unasked, and an author can paste it."""

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
from comparisons import make_folds
from discs import STRUCTURES, quick_settings
from folders import add_subject

from autoseg.data.cases import find_cases
from autoseg.data.checks import check_cases
from autoseg.errors import DataError, ReadError
from autoseg.evaluation.crossvalidation import describe_material, read_material, write_material
from autoseg.evaluation.crossvalidation.fold import plain_settings, write_fold
from autoseg.evaluation.crossvalidation.material import STUDY, Material, Reason, TwoWays
from autoseg.evaluation.study import read_study, report_study
from autoseg.evaluation.study.claim import ITEMS
from autoseg.evaluation.study.document import claim_items
from autoseg.evaluation.study.methods import methods
from autoseg.model.settings.settings import PreprocessSettings, VolumeSettings
from autoseg.report.pages.document import Facts, Grid, Heading, Points, Words
from autoseg.report.pages.html import to_page
from autoseg.report.score_files import write_results

DICE = (0.9, 0.92, 0.91, 0.93, 0.9, 0.3)
MATERIAL = Material(
    date="2026-12-02T08:00:00+00:00",
    cases=tuple((f"case of subject{number}", f"subject{number}") for number in range(8)),
    aside=("subject6",),
    known=("subject7",),
    left_alone=(TwoWays("subject1_old.png: no label", ".png: no label"),) * 2,
    findings=(TwoWays("warning: subject2 is turned", "warning: patient 3 is turned"),),
    drawn=(("core", 7),),
    readers=((1, 6), (3, 2)),
    joined="what more than half of them drew",
    choices=(Reason("batch_size", "4", "Small images: few at once."), Reason("epochs", "9", "Nobody took it.")),
    computer="Linux, 2 processor cores; the processor",
)


def write_folds(folder, *, dice=DICE, folds=2, material=MATERIAL, calibrated=True, settings=None, **made_from):
    """Write a finished cross-validation whose folds validate on each other's first subject."""
    found = make_folds(dice, structures=STRUCTURES, folds=folds, cost={"parameters": 2e6, "epochs": 4}, more=50)
    for fold in found:
        tested = [score.case_id for score in fold.pixels]
        others = [score.case_id for one in found for score in one.pixels if score.case_id not in tested]
        scores = fold.scores
        if not calibrated:
            unknown = dict.fromkeys(("reference_mm2", "predicted_mm2", "area_error_mm2", "hd95_mm", "nsd"))
            scores = tuple(replace(score, **unknown) for score in scores)
        sides = {"training": others[1:], "validation": others[:1], "test": tested}
        made = {
            "settings": plain_settings(settings or quick_settings()),
            "choose_post": False,
            "structures": [asdict(one) for one in STRUCTURES],
            **{side: dict.fromkeys(cases, "digest") for side, cases in sides.items()},
            **made_from,
        }
        write_fold(replace(fold, folder=folder / f"fold_{fold.number}", scores=scores), made, predicted={})
    write_material(folder, material, aside=MATERIAL.aside, known=MATERIAL.known)
    return folder


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    return write_folds(tmp_path_factory.mktemp("study") / "discs_folds")


@pytest.fixture(scope="module")
def document(folds):
    return report_study(read_study(folds))


def grids(document):
    """Give the rows of a document's tables by caption, each by its first cell."""
    tables = [block for block in document.blocks if isinstance(block, Grid)]
    return {table.caption: {row[0]: row[1:] for row in table.rows} for table in tables}


def words_of(document):
    found = [block.words for block in document.blocks if isinstance(block, Words)]
    found += [line for block in document.blocks if isinstance(block, Points) for line in block.lines]
    return "\n".join(
        found + [words for block in document.blocks if isinstance(block, Facts) for _, words in block.rows]
    )


def test_the_numbers_are_those_of_the_tables_beside_the_folds(folds, document, tmp_path):
    study = read_study(folds)
    write_results(tmp_path / "results.csv", study.run.scores)
    summary = pd.read_csv(tmp_path / "results_summary.csv").set_index("name")
    tables = grids(document)
    for name in ("core", "ring"):
        row = summary.loc[name]
        scores = tables["Means over patients; in brackets the 95 % interval over patients (bootstrap)"][name]
        assert scores[1] == f"{row.dice:.3f} [{row.dice_low:.3f} to {row.dice_high:.3f}]"
        areas = tables["Areas, predicted − drawn"][name]
        assert areas[:2] == ("1,000", "1,050")
        assert areas[2] == "50.0 [50.0 to 50.0]"
    worst = next(iter(tables["Patients with the lowest Dice, the worst first; ▼ an outlier"].items()))
    assert worst[0] == "subject5 ▼"
    assert worst[1][0] == f"{pd.read_csv(tmp_path / 'results.csv').dice.min():.3f}"


def test_who_was_found_left_out_learnt_from_and_scored_adds_up(document):
    tables = grids(document)
    assert tables["Flow of patients and images"] == {
        "Found, with labels": ("8", "8"),
        "– Set aside for a last test": ("1", "1"),
        "– Known to the model begun from": ("1", "1"),
        "In the folds": ("6", "6"),
        "Segmented, each once": ("6", "6"),
        "Scored": ("6", "6"),
    }
    assert tables["Patients (images) of each fold"]["2"] == ("2 (2)", "1 (1)", "3 (3)")
    assert tables["The reference"]["core"][0] == "7"
    words = words_of(document)
    assert "2 × subject1_old.png: no label" in words
    assert "warning: subject2 is turned" in words
    assert "2 images 3 readers drew" in words
    assert "1 of 6 patients did unusually badly" in words
    settings = tables["All others are as usual"]
    assert settings["Images at once (batch)"] == ("4", "Small images: few at once.", "batch_size")
    assert settings["Learning rate (step size)"] == ("0.01", "as a person or a recipe said", "learning_rate")
    assert "Nobody took it." not in str(settings)  # another value was taken than the planned one


def test_without_ids_nobody_is_named_in_words_and_pictures(folds, monkeypatch):
    drawn = []
    real = report_study.__globals__["show_subject_scores"]
    monkeypatch.setitem(
        report_study.__globals__,
        "show_subject_scores",
        lambda scores, *rest: drawn.extend(scores) or real(scores, *rest),
    )
    content = to_page(report_study(read_study(folds), show_ids=False))
    assert "subject1" not in content
    assert "subject5" not in content
    assert "patient 6 ▼" in content
    assert "2 × .png: no label" in content
    assert "warning: patient 3 is turned" in content
    assert {score.subject_id for score in drawn} == {f"patient {number}" for number in range(1, 7)}


def test_pictures_say_in_words_what_they_show_and_names_stay_words(document):
    page = to_page(replace(document, title="<b>x</b>"))
    assert "<b>x" not in page
    assert page.count("<img") == 2
    assert "Bland–Altman plots of the areas. Bias and limits: core 50.0" in page
    assert 'alt=""' not in page


def test_the_outline_has_every_part_once(document):
    headings = [block.words for block in document.blocks if isinstance(block, Heading)]
    assert headings[:3] == ["Patients and images", "Labels and readers", "Split"]
    assert headings[-3:] == ["Methods, to be pasted", "CLAIM 2024", "How it was made"]
    assert len(set(headings)) == len(headings)


def test_methods_say_what_the_settings_say(folds, tmp_path):
    told = dict(methods(read_study(folds)))
    assert "(seed 0) into 2 folds" in told["Split"]
    assert (
        "2 patients taught the network, 1 patient chose the epoch, and 3 patients were segmented" in told["Split"]
    )
    assert "pixels of 3 mm" in told["Preprocessing"]
    assert "A 2-D U-Net with 8, 16 and 32 filters" in told["Network"]
    assert "2.00 million parameters" in told["Network"]
    assert "turns by up to 30°" in told["Augmentation"]
    assert "peak learning rate of 0.01" in told["Training"]
    assert "batches of 4; 4 epochs in each fold" in told["Training"]
    assert "Linux, 2 processor cores" in told["Software and hardware"]
    assert "Hausdorff" in told["Measures"]
    volume = VolumeSettings(spacing_mm=(1.25, 1.0, 1.0), patch_size=(32, 32, 16))
    three = quick_settings(
        spatial_dims=3, volume=volume, best_by="last", preprocess=PreprocessSettings(), epochs=None, minutes=2.5
    )
    other = write_folds(tmp_path / "b", settings=three, calibrated=False, material=None, **{"base model": "abc"})
    told = dict(methods(read_study(other)))
    assert "resampled to 1.25 × 1 × 1 mm" in told["Preprocessing"]
    assert "patches of 32 × 32 × 16 voxels, which overlap by 50 %" in told["Network"]
    assert "began from a trained model (digest abc) and was fine-tuned" in told["Network"]
    assert "were only watched" in told["Split"]
    assert "2.5 minutes (4 epochs)" in told["Training"]
    assert "the last epoch was kept" in told["Training"]
    assert "Hausdorff" not in told["Measures"]


def test_folds_of_an_earlier_version_say_what_was_not_kept(tmp_path):
    study = read_study(write_folds(tmp_path, material=None, calibrated=False))
    document = report_study(study)
    words = words_of(document)
    assert "was not kept beside these folds" in words
    assert "no pixel size" in words
    assert grids(document)["Flow of patients and images"]["Scored"] == ("6", "6")
    assert claim_items(study)[35][0] == "in part"


def test_a_structure_that_was_never_found_and_a_missing_fold_are_told(tmp_path):
    folder = write_folds(tmp_path, folds=3)
    content = json.loads((folder / "fold_1" / "fold.json").read_text(encoding="utf-8"))
    for score in content["scores"]:
        if score["name"] == "ring":
            score |= {"predicted_pixels": 0, "predicted_mm2": 0.0, "dice": 0.0, "overlap_pixels": 0}
    (folder / "fold_1" / "fold.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "fold_3" / "fold.json").unlink()
    (folder / "fold_3").rename(tmp_path / "gone")
    document = report_study(read_study(folder))
    words = words_of(document)
    assert "found on none of their slices: 2." in words
    assert "ring of subject0 (1 slice)" in words
    assert "No fold that is here scored 2 images" in words
    assert grids(document)["Slices on which a structure was missed or invented"]["ring"][1] == "2 (50.0 %)"


def test_every_item_of_the_checklist_stands_there_with_its_state(folds, document):
    assert list(ITEMS) == list(range(1, 45))
    table = grids(document)["Items"]
    assert {row[1] for row in table.values()} == {"filled", "in part", "author"}
    assert table["19"][1:] == ("filled", "Split")
    assert table["18"][1] == "in part"  # several readers drew
    assert table["44"][1:] == ("author", "")
    assert all(number in ITEMS for number in claim_items(read_study(folds)))


def test_folds_of_two_kinds_and_none_are_refused(tmp_path):
    write_folds(tmp_path / "a", material=None)
    write_folds(tmp_path / "b", material=None, settings=quick_settings(learning_rate=0.5))
    (tmp_path / "b" / "fold_2").rename(tmp_path / "a" / "fold_3")
    with pytest.raises(DataError, match="different settings"):
        read_study(tmp_path / "a")
    with pytest.raises(DataError, match="holds no folds"):
        read_study(tmp_path)


# --- what is kept beside the folds


def test_what_was_found_is_kept_with_and_without_ids(tmp_path):
    folder = tmp_path / "data"
    for subject in ("Miller", "Smith", "Jones"):
        add_subject(folder, subject)
    (name,) = [path.stem for path in (folder / "labels").glob("Jones*")][:1]
    (folder / "labels" / f"{name}.npy").unlink()
    (folder / "labels" / "Smith_notes.txt").write_text("no label")
    found = find_cases(folder, unlabelled="skip")
    material = describe_material(found, check_cases(found))
    write_material(tmp_path, material, aside=["Jones"], known=())
    kept = read_material(tmp_path)
    assert kept == replace(material, aside=("Jones",))
    assert kept.cases[0] == (found.cases[0].case_id, found.cases[0].subject_id)
    assert kept.readers == ((1, len(found.cases)),)
    assert dict(kept.drawn) == {one.name: len(found.cases) for one in found.structures}
    assert any(name in one.words for one in kept.left_alone)
    assert all(
        who not in one.without_ids
        for one in kept.left_alone + kept.findings
        for who in ("Miller", "Smith", "Jones")
    )


def test_a_plans_reasons_stay_where_nothing_is_planned_anew(tmp_path):
    write_material(tmp_path, MATERIAL, aside=(), known=())
    write_material(tmp_path, replace(MATERIAL, choices=(), computer="another"), aside=(), known=())
    kept = read_material(tmp_path)
    assert kept.choices == MATERIAL.choices
    assert kept.computer == "another"


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "autoseg study", "cases": [["a", 3]]}'])
def test_a_damaged_record_is_told_with_its_remedy(content, tmp_path):
    (tmp_path / STUDY).write_text(content, encoding="utf-8")
    with pytest.raises(ReadError, match=r"study\.json cannot be read.*Move it away"):
        read_material(tmp_path)


def test_of_a_comparisons_entry_it_lies_beside_all_entries(tmp_path):
    write_material(tmp_path, MATERIAL, aside=(), known=())
    assert read_material(tmp_path / "unet").choices == MATERIAL.choices
    assert read_material(tmp_path / "unet" / "fold_1") is None
