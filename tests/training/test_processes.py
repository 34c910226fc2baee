"""Two processes learn what one learns from the same batches; torchrun starts them once for all tests here."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from discs import STRUCTURES, make_split
from run_processes import PLAIN, SETTINGS, learn, learn_all, read_made_up

from autoseg.errors import SettingsError
from autoseg.model.dataset import build
from autoseg.model.settings.settings import NetworkSettings, Settings
from autoseg.training import training
from autoseg.training.checkpoint import read_checkpoint
from autoseg.training.inputs import Inputs
from autoseg.training.processes import ALONE, Processes, alone, check_shareable, current_processes, join_processes

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Give what one process learnt, what two did, how their start ended, and their folder."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "read_case", read_made_up)
        by_one = learn_all(one)
        (one / "left_resume.pt").rename(two / "there_resume.pt")
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        paths = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
        ended = subprocess.run(
            [*start, str(TESTS / "run_processes.py"), str(two)],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert (two / "found.pt").exists(), ended.stderr
        yield by_one, torch.load(two / "found.pt", weights_only=True), ended, two


def differ_by(one, other):
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one)


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_learn_what_one_does(learnt, name):
    by_one, by_two, _, _ = learnt
    assert differ_by(by_one[name]["weights"], by_two[name]["weights"]) < 1e-5
    for (loss, dice), (same_loss, same_dice) in zip(by_one[name]["rows"], by_two[name]["rows"], strict=True):
        assert same_loss == pytest.approx(loss, abs=1e-5)
        assert same_dice == pytest.approx(dice, abs=1e-6)


def test_two_processes_share_a_validation_and_find_what_one_finds_to_the_bit(learnt):
    by_one, by_two, _, _ = learnt
    assert by_two["still"] == by_one["still"]
    (loss, dice, iou, eroded), *_ = by_one["still"]["rows"]
    assert loss > 0
    assert None not in (*dice, *iou)
    assert len(eroded[0]) == 4
    assert "on 4 of 6 slices; on all of them" in by_one["still"]["notes"][-1]
    for one, two in zip(by_one["plain"]["validated"], by_two["plain"]["validated"], strict=True):
        assert two[0] == pytest.approx(one[0], abs=1e-5)


def test_a_process_that_reads_another_pixel_is_found(monkeypatch):
    noted = []
    monkeypatch.setattr(Processes, "check_same", lambda own, network, facts: noted.append(repr(list(facts))))
    work = training._Work(make_split([0], [3]), PLAIN, STRUCTURES, None, Inputs(), None, digests=False)
    for voxel in (0, 0, 1, 2):
        monkeypatch.setattr(build, "read_case", partial(read_changed, voxel=voxel))
        training._prepare(work, Processes(1, 2))
    assert noted[0] == noted[1]
    assert len(set(noted)) == 3


def read_changed(case, structures, *, voxel):
    image, label_map = read_made_up(case, structures)
    image.voxels[0, 0, 0] += 1e-3 * voxel
    return image, label_map


def test_what_is_compared_depends_on_what_was_learnt(learnt):
    by_one = learnt[0]
    assert differ_by(by_one["plain"]["weights"], by_one["focal"]["weights"]) > 1e-3


def test_a_training_goes_on_with_another_number_of_processes(learnt):
    by_one, by_two, _, folder = learnt
    assert differ_by(by_one["plain"]["weights"], by_two["resumed"]) < 1e-5
    again = learn(PLAIN, steps=3, resume=read_checkpoint(folder / "left_resume.pt"))
    assert differ_by(by_one["plain"]["weights"], again.weights) < 1e-5


def test_what_needs_the_whole_batch_is_refused_in_words():
    with pytest.raises(SettingsError, match=r"normalises over the slices of a batch.* without torchrun"):
        check_shareable(Settings(epochs=1), torch.nn.Sequential(torch.nn.BatchNorm2d(3)))
    queries = Settings(epochs=1, network=NetworkSettings(name="maskdino"))
    with pytest.raises(SettingsError, match="matches its queries within a batch"):
        check_shareable(queries, torch.nn.Sequential())
    check_shareable(Settings(epochs=1), torch.nn.Sequential(torch.nn.InstanceNorm2d(3)))


def test_what_fails_in_one_process_ends_all_in_words(learnt):
    ended = learnt[2]
    assert ended.returncode != 0
    assert "autoseg: The file of case 13 is damaged." in ended.stderr
    assert "raise DataError" not in ended.stderr  # a traceback of ours; torchrun adds one of its own


def test_one_process_is_alone_and_adds_up_nothing():
    values = torch.ones(2)
    with join_processes() as processes:
        assert processes is ALONE is current_processes()
    assert ALONE.add(values) is values is alone(values)
    assert ALONE.tell(0.5, 2) == (0.5, 2)
