"""Folds, entries, patients on workers: the results of one after the other, whoever is killed, stopped or gone."""

import gc
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import dask
import discs
import distributed
import errands
import pandas as pd
import pytest
import torch
from folders import write_cohort
from untrained import untrained_model

from autoseg.cli.options import workers_of
from autoseg.cli.parser import build_parser
from autoseg.data import codes
from autoseg.errors import ClusterError, SettingsError, Told, private
from autoseg.evaluation.comparison import compare
from autoseg.evaluation.comparison import run as comparing
from autoseg.evaluation.crossvalidation import cross_validate, read_model
from autoseg.evaluation.crossvalidation import run as running
from autoseg.evaluation.crossvalidation.beside import FoldJob, _named
from autoseg.model.device import cluster as clusters
from autoseg.model.device.cluster import Team, Workers, local_cluster, team
from autoseg.model.model import model_digest
from autoseg.model.settings.settings import NetworkSettings
from autoseg.prediction import cohort as cohorts
from autoseg.prediction.run import RunRequest, mean_of
from autoseg.training.events import Note


class Cluster(NamedTuple):
    workers: Workers
    end: Callable[[], None]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two processes with a key of codes, and certificates where Dask's own settings have them, as on a cluster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # one for each worker
    with ExitStack() as running:
        running.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 1}))  # of one piece
        patch = running.enter_context(pytest.MonkeyPatch.context())
        patch.setenv(codes.KEY, str(tmp_path_factory.mktemp("shared") / "own" / "key.csv"))
        address, security = running.enter_context(local_cluster(2))
        torch.set_num_threads(1)
        mine = security.get_tls_config_for_role("client")
        tls = {"ca-file": mine["ca_file"], "client.cert": mine["cert"], "client.key": mine["key"]}
        with dask.config.set({f"distributed.comm.tls.{name}": value for name, value in tls.items()}):
            yield Cluster(Workers(scheduler=address), running.close)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return errands.write_discs(tmp_path_factory.mktemp("discs"))


def run(found, folder, workers=None, folds=2, tell=None):
    settings = discs.quick_settings(epochs=2, network=NetworkSettings(filters=(4, 8)))
    return cross_validate(
        found.cases, found.structures, settings, folder=folder, folds=folds, workers=workers, tell=tell
    )


def test_pieces_come_with_what_they_told_and_errors_stay_with_their_piece(cluster, tmp_path):
    heard = []
    with team(cluster.workers, tmp_path) as them:
        asked = {"hear": lambda item, event: heard.append((item, event)), "again": pytest.fail}
        done = list(them.do(errands.double, 2, [1, 3, 5], **asked))
    assert sorted(heard) == [(1, "doing 1"), (3, "doing 3"), (5, "doing 5")]
    assert {one.item: one.result for one in done} == {1: 2, 3: None, 5: 10}
    with pytest.raises(ValueError, match="three is refused"):
        next(one for one in done if one.item == 3).get()


def test_workers_share_the_threads_and_a_piece_that_ends_them_all_ends_only_itself(cluster, tmp_path):
    asked = {"hear": lambda *_: None, "again": lambda _: None}
    with team(cluster.workers, tmp_path) as them:
        assert [done.get() for done in them.do(errands.threads, None, [1, 2], **asked)] == [(1, "1")] * 2
        (done,) = them.do(errands.die, None, ["fold 1"], **asked)
        with pytest.raises(ClusterError, match=r"Each of 2 workers .*\(fold 1\)\. Mostly their memory"):
            done.get()
        assert [done.get() for done in them.do(errands.double, 2, [2], **asked)] == [4]


def test_who_is_stopped_hears_of_it(cluster, tmp_path):
    asked = {"hear": pytest.fail, "again": pytest.fail}
    with team(cluster.workers, tmp_path) as them:
        begun = tmp_path / "begun_1"
        with pytest.raises(KeyboardInterrupt):
            list(them.do(errands.wait, tmp_path, [1], should_stop=begun.exists, **asked))
        end = time.monotonic() + 60
        while not (tmp_path / "stopped_1").exists():
            assert time.monotonic() < end, "it was not told"
            time.sleep(0.02)


def refused(workers, tmp_path):
    with team(workers, tmp_path) as them:
        list(them.do(errands.double, 2, [1], hear=pytest.fail, again=pytest.fail))


def test_other_versions_or_folders_are_refused(cluster, tmp_path, monkeypatch):
    here = clusters._versions()
    with monkeypatch.context() as patch:
        patch.setattr(clusters, "_versions", lambda: {**here, "torch": "1.0"})
        with pytest.raises(
            ClusterError, match=rf"has .*torch {here['torch']}.*there are .*torch 1\.0.*Install the"
        ):
            refused(cluster.workers, tmp_path)
    real = Team.__init__
    monkeypatch.setattr(Team, "__init__", lambda self, *own: real(self, *own[:2], tmp_path / "gone" / "x", ""))
    with pytest.raises(ClusterError, match=r"does not see the folder .*gone\. Images and results must lie"):
        refused(cluster.workers, tmp_path)


OTHER_KEY = r"would take the codes of patients from .*key\.csv, which is not the key .*AUTOSEG_PATIENT_KEY.*A copy"


def test_workers_with_another_key_of_patient_codes_are_refused(cluster, found, tmp_path, monkeypatch):
    """Otherwise a patient would get two codes, and a model forget whom it has seen."""
    study, own = write_cohort(tmp_path / "study"), tmp_path / "home" / "key.csv"
    codes.keep_without_ids(study)
    request = RunRequest(mean_of(untrained_model(), look=False), study)
    coded = replace(found, cases=[replace(case, is_coded=True) for case in found.cases])

    asked = {"hear": lambda *_: None, "again": pytest.fail}

    def double():
        with team(cluster.workers, tmp_path, is_coded=True) as them:
            return [done.get() for done in them.do(errands.double, 2, [1], **asked)]

    def refused(*work):
        for one in work or [double]:
            with pytest.raises(ClusterError, match=OTHER_KEY):
                one()

    def compared():
        entries = {"small": discs.quick_settings(epochs=1)}
        how = {"folder": tmp_path / "compared", "folds": 2, "workers": cluster.workers}
        return compare(coded.cases, coded.structures, entries, **how)

    assert double() == [2]
    shared = codes.key_path()
    with monkeypatch.context() as patch:
        patch.setenv(codes.KEY, str(own))
        codes.codes_of([codes.Known("anna")])
        refused(
            double,
            lambda: run(coded, tmp_path / "folds", cluster.workers),
            compared,
            lambda: segment(request, tmp_path / "out", cluster.workers),
        )
        shutil.copytree(own.parent, shared.parent, dirs_exist_ok=True)  # a copy would go its own way
        refused()
        shutil.rmtree(shared.parent)
        refused()
        patch.setenv(codes.KEY, str(shared.with_name("another.csv")))  # in the same folder
        refused()
        assert not list(own.parent.glob(".*")), list(own.parent.glob(".*"))
    cohort, _ = segment(request, tmp_path / "out", cluster.workers)
    assert cohort.segmented == 3
    assert {codes.original(path.name) for path in (cohort.folder / "runs").iterdir()} == {"id-1", "id-3", "id-10"}


def test_results_are_the_same_also_where_a_worker_is_killed_in_the_middle(cluster, found, tmp_path, monkeypatch):
    alone = run(found, tmp_path / "alone")
    monkeypatch.setattr(running, "begin_fold", errands.kill_once)
    lines = []
    beside = run(found, tmp_path / "beside", cluster.workers, tell=lines.append)
    assert (tmp_path / "beside" / errands.MARK).exists()
    assert [fold.scores for fold in beside.folds] == [fold.scores for fold in alone.folds]
    digests = [[model_digest(read_model(fold)) for fold in one.folds] for one in (alone, beside)]
    assert digests[0] == digests[1]
    table = [(tmp_path / name / "results.csv").read_bytes() for name in ("alone", "beside")]
    assert table[0] == table[1]
    assert lines[0].startswith(f"2 workers at {cluster.workers.scheduler}")
    again = lines.index("Whoever was at fold 2 of model is gone; it begins again, with what was kept.")
    begins = [number for number, line in enumerate(lines) if line.startswith("Fold 2 of 2: training")]
    assert begins[0] < again < begins[1]
    assert "Fold 2: It was begun before, and goes on after epoch 1." in lines[again:]
    epochs = [sum(line.startswith(f"Fold 2: Epoch {epoch}") for line in lines[again:]) for epoch in (1, 2)]
    assert epochs == [0, 1]
    assert not list((tmp_path / "beside").glob("*.pt"))
    assert not list((tmp_path / "beside").glob(".workers-*"))
    monkeypatch.undo()
    lines.clear()
    again = run(found, tmp_path / "beside", Workers(scheduler="tcp://127.0.0.1:1"), tell=lines.append)
    assert again.scores == beside.scores
    assert sum("finished before" in line for line in lines) == 2


def test_entries_are_scored_the_same_and_one_that_fails_stops_no_other(cluster, found, tmp_path, monkeypatch):
    small = discs.quick_settings(epochs=1, network=NetworkSettings(filters=(4, 8)))
    entries = {"small": small, "wide": replace(small, network=NetworkSettings(filters=(6, 12)))}

    def run(name, **asked):
        return compare(
            found.cases, found.structures, entries, folder=tmp_path / name, folds=2, together=True, **asked
        )

    alone, lines = run("alone"), []
    monkeypatch.setattr(comparing, "_begin_fold", errands.fail_in_wide)
    first = run("beside", workers=cluster.workers, tell=lines.append)
    assert first.table["entry"].unique().tolist() == ["small"]
    assert sum("wide failed, and the others go on. wide is too wide" in line for line in lines) == 1
    monkeypatch.undo()
    lines.clear()
    beside = run("beside", workers=cluster.workers, tell=lines.append)
    assert not [line for line in lines if "small" in line and "Epoch" in line]  # finished before
    pd.testing.assert_frame_equal(beside.subjects, alone.subjects)
    assert [sum("beside each other" in note for note in one.notes) for one in (alone, first, beside)] == [0, 1, 1]
    # Times of then stay in the table.
    assert [note for note in run("beside").notes if "beside each other" in note]
    assert set(beside.runs) == {"small", "wide", "all together"}


def segment(request, output, workers=None, on_progress=None):
    found = cohorts.segment_cohort(request, output, workers=workers, on_progress=on_progress)
    tables = [(found.folder / name).read_bytes() for name in ("measurements.csv", "patients.csv", "report.csv")]
    return found, tables


def test_patients_have_the_same_areas_also_where_one_is_broken_and_a_worker_lost(cluster, tmp_path, monkeypatch):
    request = RunRequest(mean_of(untrained_model(), look=False), write_cohort(tmp_path / "study"))
    _, alone = segment(request, tmp_path / "alone")
    out = tmp_path / "beside"
    asked = {"workers": cluster.workers, "on_progress": lambda at: at.run is not None}
    assert cohorts.segment_cohort(request, out, **asked).is_stopped
    monkeypatch.setattr(cohorts, "_do", errands.patient_killed_once)
    heard = []
    found, beside = segment(request, out, cluster.workers, heard.append)
    assert beside == alone
    assert (found.folder / errands.MARK).exists()
    assert any(at.note.endswith("is gone; it begins again.") for at in heard)
    assert (found.is_stopped, found.earlier + found.segmented) == (False, 3)
    assert {path.name for path in (found.folder / "runs").iterdir()} == {"p1", "p3", "p10"}  # none is there twice
    assert found.results[0].folder == "p2"
    assert max(at.share for at in heard) == 1


def test_a_scheduler_that_is_gone_is_said_and_finished_folds_are_kept(cluster, found, tmp_path, monkeypatch):
    """The last of those with workers, for it ends them."""
    monkeypatch.setattr(running, "begin_fold", errands.first_only)

    def end_after_first(line):
        if line.startswith("Fold 1: core: Dice"):
            cluster.end()

    words = r"tls://.* is gone\. What is finished is kept: start it again"
    with pytest.raises(ClusterError, match=words):
        run(found, tmp_path, cluster.workers, tell=end_after_first)
    assert [path.name for path in tmp_path.glob("fold_?")] == ["fold_1"]
    monkeypatch.undo()
    lines = []
    assert len(run(found, tmp_path, tell=lines.append).folds) == 2
    assert [sum(word in line for line in lines) for word in ("finished before", "Epoch 2 of 2")] == [1, 1]


# --- without workers


def test_what_is_missing_or_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "LONGEST_WAIT_S", 0.1)
    with pytest.raises(
        ClusterError, match=r"The scheduler tcp://127\.0\.0\.1:1 does not answer.*Check that it runs"
    ):
        refused(Workers(scheduler="tcp://127.0.0.1:1"), tmp_path)
    with pytest.raises(ClusterError, match=r"gone\.json does not answer .*no such file"):
        refused(Workers(scheduler=str(tmp_path / "gone.json")), tmp_path)
    with pytest.raises(ClusterError, match=r"does not answer \(unknown address scheme 'http'"):
        refused(Workers(scheduler="http://127.0.0.1:1"), tmp_path)
    clients = [one for one in gc.get_objects() if isinstance(one, distributed.Client)]
    assert {one.status for one in clients} <= {"closed"}  # else the end of the program waits for them
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ClusterError, match=r"distributed, which is not installed.*autoseg\[cluster\].*one after the"
    ):
        refused(Workers(2), tmp_path)


def test_who_works_is_typed_one_way():
    def typed(*more):
        return workers_of(build_parser().parse_args(["crossvalidate", "folder", *more]))

    assert typed() is None
    assert typed("--workers", "3") == Workers(3)
    assert typed("--scheduler", "tls://a:1") == Workers(scheduler="tls://a:1")
    for wrong in (("--workers", "0"), ("--workers", "2", "--scheduler", "tls://a:1")):
        with pytest.raises(SettingsError, match=r"give 1 or more|not both"):
            typed(*wrong)


def test_each_worker_of_this_computer_has_a_gpu_of_its_own(monkeypatch):
    class Asked(Exception):
        pass

    def ask(workers, **_):
        raise Asked([one["options"]["env"]["CUDA_VISIBLE_DEVICES"] for one in workers.values()])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed, "SpecCluster", ask)
    for seen, given in (("", [0, 1]), ("3,5", ["3", "5"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
        with pytest.raises(Asked) as asked, local_cluster(2):
            pass
        assert asked.value.args == (given,)
    with pytest.raises(SettingsError, match="has 2 GPUs, and each worker needs one of its own"), local_cluster(3):
        pass


def test_lines_name_the_fold_and_keep_what_is_private():
    event = _named(Note(Told(f"  of {private('ann')}")), FoldJob("unet", 2), several=True)
    assert str(event) == "Fold 2, unet: of ann"
    assert event.words.named(lambda name: "patient 1") == "Fold 2, unet: of patient 1"
