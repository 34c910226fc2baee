"""Comparisons killed at every moment of what they write, finders and folds that are made anew among it."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from comparisons import known_comparison, make_score
from discs import STRUCTURES, make_split
from kills import kill_everywhere
from untrained import untrained_model

from autoseg.data.split import Split
from autoseg.evaluation.comparison import run
from autoseg.evaluation.comparison.derived import Derived
from autoseg.evaluation.crossvalidation import settle_folds
from autoseg.evaluation.crossvalidation.fold import FoldResult, write_fold
from autoseg.report.score_files import write_results
from autoseg.training.finder import folds


@pytest.fixture(autouse=True)
def no_plug_is_pulled(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)


def seen(folder):
    """What lies in a folder, by the names and what is in them, once what was left is settled."""
    settle_folds(folder)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def killed(folder, action):
    """Kill an action everywhere; next comes the action once more, tried once on each state that was left."""
    known = []

    def again():
        state = seen(folder)
        if state not in known:
            known.append(state)
            action()

    return kill_everywhere(folder, action, lambda: seen(folder), then=again)


def test_tables_and_pictures_are_of_one_state(tmp_path, monkeypatch):
    def picture(comparison):
        words = comparison.verdict
        return SimpleNamespace(savefig=lambda path, **_: path.write_text(words, encoding="utf-8"))

    monkeypatch.setattr(run, "PICTURES", {"comparison.png": picture, "side_by_side.png": picture})
    folder = tmp_path / "discs_comparison"
    running = run._Running.__new__(run._Running)
    running.folder, running.request = folder, SimpleNamespace(cases=(), structures=STRUCTURES)
    monkeypatch.setattr(run, "choose_slices", lambda *_: known.worst)
    monkeypatch.setattr(run._Running, "_so_far", lambda _: known)
    running.state = run.State((), 2, STRUCTURES)
    known = known_comparison(folder, is_finished=True)
    running.conclude()
    (folder / "centrelines.csv").write_text("of another time", encoding="utf-8")
    known = replace(known, verdict="UNet is best.", table=known.table.assign(dice=0.5), worst=known.worst[:1])
    running.state = replace(running.state, notes=("It was stopped.",))
    survey = killed(folder, running.conclude)
    assert survey, survey


def test_the_tables_of_an_evaluation_are_of_one_state(tmp_path):
    folder = tmp_path / "discs_folds"
    scores = [make_score(f"subject{number}", STRUCTURES[0], 0.8) for number in (1, 2)]
    write_results(folder / "results.csv", [replace(score, level="L1") for score in scores])
    assert (folder / "results_levels.csv").is_file()
    survey = killed(folder, lambda: write_results(folder / "results.csv", scores[:1]))
    assert survey, survey


def test_a_fold_that_is_made_of_other_trainings_stays_until_it_is_made_again(tmp_path, monkeypatch):
    place = tmp_path / "mean" / "fold_1"
    found = SimpleNamespace(
        scores=(), volumes=(), pixels=(), centrelines=(), predicted={}, ms_per_slice=1.0, image=None
    )
    monkeypatch.setattr("autoseg.evaluation.comparison.derived.score_fold", lambda *_, **__: found)
    monkeypatch.setattr("autoseg.evaluation.comparison.derived.read_model", lambda _: None)
    split = Split((), (), ())
    plan = SimpleNamespace(made_from=lambda _: {}, folds=SimpleNamespace(splits=[split], structures=STRUCTURES))
    derived = Derived("mean", "", {"unet": plan}, tmp_path, "none")
    member = FoldResult(1, tmp_path / "unet" / "fold_1", (), ())
    write_fold(member, {"of": "the first"}, predicted={})
    derived.make(1, [member])
    (member.folder / "fold.json").write_text('{"of": "the second"}', encoding="utf-8")
    survey = killed(place.parent, lambda: derived.make(1, [member]))
    assert survey, survey


def test_folds_that_follow_from_others_go_together(tmp_path, monkeypatch):
    plan = SimpleNamespace(
        folder=tmp_path / "entry",
        place=lambda number: tmp_path / "entry" / f"fold_{number}",
        made_from=lambda number: {"outliers": "now", "fold": number},
        folds=SimpleNamespace(splits=[None] * 3),
    )
    for number, outliers in ((1, "now"), (2, "before"), (3, "before")):
        made_from = {"outliers": outliers, "fold": number}
        write_fold(FoldResult(number, plan.place(number), (), ()), made_from, predicted={})
    monkeypatch.setattr(run, "run_fold", lambda plan, number: None)
    survey = killed(plan.folder, lambda: run._fold_of_others(plan, 1))
    assert survey, survey
    assert {name.split("/")[0] for name in seen(plan.folder)} == {
        "fold_1",
        "fold_2",
        "fold_3",
    }


def test_a_finder_of_something_else_stays_until_the_new_one_is_there(tmp_path, monkeypatch):
    model = untrained_model()
    monkeypatch.setattr(folds, "train_finder", lambda *_, **__: model)
    own = tmp_path / "discs_centrelines" / "fold_1"

    def make(settings):
        search = folds._Search(STRUCTURES, settings, None, lambda _: None, None)
        return search.in_fold(replace(make_split([1]), test=()), own, {})

    make(model.settings)
    survey = killed(own.parent, lambda: make(replace(model.settings, seed=7)))
    assert survey, survey
