"""Attack autoseg in every way in which it may lose, leak or run something, and count what it survives.

    python benchmarks/attack.py [--seconds 240] [--seed 0] [--keep FOLDER] [--only KIND ...]

The autoseg on the path is attacked (PYTHONPATH chooses another). Damaged and hostile files are read, each in a
process of its own, which may take so much time and memory and no more. A reader may read what is damaged or refuse
it by an `AutosegError`; a damaged model or checkpoint must be refused. Commands are killed at every moment at which
they touch a folder (tests/kills.py), two programs write at once, patient IDs are looked for in what leaves, and
guessed from a model. One line a kind: how often it was tried, how often survived; below, each failure once, with a
file that shows it if they are kept. The exit status is 1 if there is any. Needs Linux.
"""

import argparse
import contextlib
import csv
import gzip
import hashlib
import inspect
import io
import itertools
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import openpyxl
import pydicom
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import hostile_files
from kills import kill_everywhere
from spoilt_files import FORMATS, Random, spoilt

from autoseg.cli import main as command
from autoseg.data.cases import find_cases, read_case
from autoseg.data.repairs import add_repair, leave_out, read_repairs, transform
from autoseg.data.test_subjects import freeze_test_subjects, read_ledger, record_look
from autoseg.errors import AutosegError
from autoseg.evaluation.crossvalidation.fold import read_fold
from autoseg.files.atomic import whole_file
from autoseg.files.dicom.phantoms import PHANTOMS, write_phantom
from autoseg.model.model import TrainedModel, describe_origin, load_model
from autoseg.model.model_list import list_models
from autoseg.training.checkpoint import find_unfinished, read_checkpoint

MEGABYTE = 2**20
# What a hostile file may take: seconds of the processor, and memory beside what is loaded already.
MOST_CPU_S = 2.0
MOST_MEMORY = 500 * MEGABYTE
# How many random ones a child reads, if it lives so long.
AT_ONCE = 25
# What ends a trial: seconds on the clock, and memory.
TOO_LONG_S = 10
SLOW_S = 60  # where the processor's seconds are counted, on a computer that does other things too
TOO_MUCH = 3000 * MEGABYTE
SAME = "with the same values"
QUICK = (
    *("--set", "network.filters=4 8", "--batch-size", "2", "--input-shape", "32", "32", "--augmentation", "off"),
    *("--save-checkpoint", "1", "--validate-every", "1"),
)
IDS = ("PAT-4711", "Zxqwv-0815", "2718281828")


@dataclass
class Tally:
    """What came of one kind: tried, survived, and each failure with how often it was and what shows it."""

    tried: int = 0
    survived: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    keep: Path | None = None

    def tell(self, failure: str, example: Path | str = "") -> None:
        """Count one trial; `failure` is "" where it was survived."""
        self.tried += 1
        self.survived += not failure
        if failure:
            self.failures[failure] += 1
            if failure not in self.examples:
                self.examples[failure] = self._kept(example)

    def _kept(self, example: Path | str) -> str:
        if isinstance(example, str) or self.keep is None or not example.is_file():
            return example if isinstance(example, str) else example.name
        self.keep.mkdir(parents=True, exist_ok=True)
        place = self.keep / f"{len(list(self.keep.iterdir())):03d}_{example.name}"
        shutil.copy(example, place)
        return str(place)


@dataclass
class World:
    """Sound things that are attacked: a folder of cases, models, an unfinished training, a patient."""

    place: Path
    data: Path
    model: Path
    checkpoint: Path
    patient: Path
    dicom: bytes
    rng: Random
    until: float = 0.0

    def is_time(self) -> bool:
        return time.monotonic() < self.until

    def fresh(self) -> Path:
        """Give an empty folder."""
        return Path(tempfile.mkdtemp(dir=self.place))

    def copy_of_data(self) -> Path:
        folder = self.fresh() / "train"
        shutil.copytree(self.data, folder)
        return folder


# --- a trial: a process of its own


def trial(work: Callable[[], str], *, seconds: float = TOO_LONG_S, cpu_s: float = 0, memory: int = TOO_MUCH) -> str:
    """Let `work` run in a child; give what it says was wrong, or what the child died of; "" if all was well."""
    return trials([work], seconds=seconds, cpu_s=cpu_s, memory=memory)[0]


def trials(
    works: Sequence[Callable[[], str]], *, seconds: float = TOO_LONG_S, cpu_s: float = 0, memory: int = TOO_MUCH
) -> list[str]:
    """Let several run one after the other, in one child as long as it lives; each may take so many seconds."""
    answers: list[str] = []
    while len(answers) < len(works):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with contextlib.suppress(BaseException):
                for work in works[len(answers) :]:
                    said = _in_child(work, cpu_s, memory)
                    os.write(writing, json.dumps(said[:500]).encode() + b"\n")
            os._exit(0)
        os.close(writing)
        answers += _answers(child, reading, len(works) - len(answers), seconds)
    slow = f"more than {cpu_s:g} s of the processor"
    return [slow if said == "died of SIGXCPU" else said for said in answers]


def _answers(child: int, reading: int, wanted: int, seconds: float) -> list[str]:
    """Give the answers of a child, and for the one that it died of what that was."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    answers: list[str] = []
    with os.fdopen(reading, "rb") as pipe:
        while len(answers) < wanted:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            line = pipe.readline()
            signal.setitimer(signal.ITIMER_REAL, 0)
            if not line.endswith(b"\n"):
                break
            answers.append(json.loads(line))
    _, status = os.waitpid(child, 0)
    if len(answers) < wanted:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        died = f"died of {signal.Signals(number).name}" if number else "ended without a word"
        answers.append(f"{seconds:g} s and more" if number == signal.SIGKILL else died)
    return answers


def _in_child(work: Callable[[], str], cpu_s: float, memory: int) -> str:
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    os.close(quiet)
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if cpu_s:  # a whole number of seconds: what is between is seen below
        last = math.ceil(time.process_time() + cpu_s)
        resource.setrlimit(resource.RLIMIT_CPU, (last, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (virtual + TOO_MUCH, resource.RLIM_INFINITY))
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said = work()
    except AutosegError as error:
        said = f"{type(error).__name__} in {_place_of(error)}"
    except BaseException as error:
        said = f"{type(error).__name__} in {_place_of(error)}: {str(error)[:80]}"
    used_s = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if not said and cpu_s and used_s > cpu_s:
        said = f"more than {cpu_s:g} s of the processor"
    if not said and grown > memory:
        said = f"more than {memory // MEGABYTE} MB"
    return said


def _place_of(error: BaseException) -> str:
    """Give where in the package an error came out; without a line, which differs between versions."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "autoseg/" in frame.filename]
    return f"{frames[-1].filename.rpartition('autoseg/')[2]} {frames[-1].name}" if frames else "another library"


def run(*words: object) -> tuple[int, str]:
    """Run a command in this process; give its exit code and all that it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = command([str(word) for word in words])
        except SystemExit as error:  # of argparse
            code = int(error.code or 0)
    return code, said.getvalue()


def must(*words: object) -> None:
    """Run a command that must go well."""
    code, said = run(*words)
    if code:
        raise RuntimeError(f"{words[0]}: {said[-200:]}")


# --- the world


def make_world(place: Path, rng: Random) -> World:
    data = make_data(place / "train")
    models = place / "models"
    must("check", data)
    must("train", data, "--name", "sound", "--epochs", "2", "--output", models, *QUICK)
    checkpoint = place / "sound_resume.pt"
    patient = data / "images" / "p0.nii.gz"
    must("predict", models / "sound_2.pt", patient, "--output", place / "warm")
    with training(data, place / "other", "unfinished") as child:
        wait_for(lambda: (place / "other" / "unfinished_resume.pt").exists(), child)
    shutil.copy(place / "other" / "unfinished_resume.pt", checkpoint)
    read_checkpoint(checkpoint)
    dicom = write_phantom(place / "phantom", PHANTOMS[0])[0].read_bytes()
    return World(place, data, models / "sound_2.pt", checkpoint, patient, dicom, rng)


def make_data(folder: Path, count: int = 3) -> Path:
    """Write cases p0, p1 …: two structures on four slices."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        labels = np.zeros((24, 24, 4), np.uint8)
        labels[4 + number : 14, 6:14, :], labels[14:20, 6:14, 1:] = 1, 2
        voxels = (rng.normal(0, 5, labels.shape) + labels * 60.0).astype(np.int16)
        for part, array in (("images", voxels), ("labels", labels)):
            image = nibabel.Nifti1Image(array, np.diag([-1.5, -1.5, 4.0, 1.0]))
            nibabel.save(image, folder / part / f"p{number}.nii.gz")
    (folder / "structures.csv").write_text("label,name,colour,side,includes\n1,psoas,#e69f00,,\n2,disc,#56b4e9,,\n")
    return folder


@contextlib.contextmanager
def training(data: Path, output: Path, name: str, *more: str) -> Iterator[int]:
    """Train for long in a child; it is killed at the end of the block."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        code = 1
        with contextlib.suppress(BaseException):
            words = ("train", data, "--name", name, "--epochs", "2000", "--output", output, *QUICK, *more)
            code = command([str(word) for word in words])
        os._exit(code)
    try:
        yield child
    finally:
        if is_alive(child):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def is_alive(child: int) -> bool:
    """Tell whether a child is still there; one that has ended is not there any more."""
    try:
        return os.waitpid(child, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def wait_for(condition: Callable[[], bool], child: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or not is_alive(child):
            raise RuntimeError("a training that should have begun did not")
        time.sleep(0.05)


# --- damaged files


def damaged(name: str) -> Callable[[World, Tally], None]:
    """Give the attack on the readers of one format."""

    def attack(world: World, tally: Tally) -> None:
        kind = FORMATS[name](world.fresh())
        while world.is_time():
            paths = [spoilt(kind, world.rng, world.fresh()) for _ in range(AT_ONCE)]
            works = [lambda path=path: read_or_refuse(lambda: kind.read(path)) for path in paths]
            for path, said in zip(paths, trials(works), strict=True):
                tally.tell(said, path)
                shutil.rmtree(path.parent)

    return attack


def read_or_refuse(read: Callable[[], object]) -> str:
    with contextlib.suppress(AutosegError):
        read()
    return ""


def must_refuse(read: Callable[[], object]) -> str:
    try:
        read()
    except AutosegError:
        return ""
    return "accepted"


def damage(data: bytes, rng: Random) -> tuple[str, bytes]:
    """Flip a bit, lose, empty or exchange blocks, or cut a file off, as a disk or a network does."""
    changed, size = bytearray(data), rng.choice((1, 64, 512, 4096))
    place, other = (rng.randrange(max(len(data) - size, 1)) for _ in range(2))
    what = rng.choice(("bit", "bit", "bit", "zeros", "lost", "exchanged", "repeated", "cut off"))
    if what == "bit":
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif what == "zeros":
        changed[place : place + size] = bytes(size)
    elif what == "lost":
        del changed[place : place + size]
    elif what == "exchanged":
        one, two = data[place : place + size], data[other : other + size]
        changed[place : place + size], changed[other : other + size] = two, one
    elif what == "repeated":
        changed[place + size : place + size] = data[place : place + size]
    else:
        del changed[rng.randrange(len(data)) :]
    return what, bytes(changed)


def damaged_model(world: World, tally: Tally) -> None:
    sound = load_model(world.model)
    damaged_tensors(world, tally, world.model, lambda path: f"accepted, {_unlike(load_model(path), sound)}")


def damaged_checkpoint(world: World, tally: Tally) -> None:
    sound = read_checkpoint(world.checkpoint).last
    read = lambda path: f"accepted, {_unlike(read_checkpoint(path).last, sound)}"  # noqa: E731
    damaged_tensors(world, tally, world.checkpoint, read)


def damaged_old_model(world: World, tally: Tally) -> None:
    """Damage a model file without digests, of which a byte that means nothing may be another."""
    path, sound = world.fresh() / "old_1.pt", load_model(world.model)
    path.write_bytes(hostile_files.saved(hostile_files.content_of(world.model.read_bytes())))

    def read(path: Path) -> str:
        said = _unlike(load_model(path), sound)
        return "" if said == SAME else f"accepted, {said}"

    damaged_tensors(world, tally, path, read)


def damaged_tensors(world: World, tally: Tally, sound: Path, read: Callable[[Path], str]) -> None:
    data = sound.read_bytes()
    while world.is_time():
        damages = [damage(data, world.rng) for _ in range(AT_ONCE)]
        paths = [world.fresh() / sound.name for _ in damages]
        for path, (_, changed) in zip(paths, damages, strict=True):
            path.write_bytes(changed)
        works = [lambda path=path: _read_damaged(path, read) for path in paths]
        for path, (what, changed), said in zip(paths, damages, trials(works), strict=True):
            if changed != data:
                tally.tell(said and f"{what}: {said}", path)
            shutil.rmtree(path.parent)


def _read_damaged(path: Path, read: Callable[[Path], str]) -> str:
    try:
        return read(path)
    except AutosegError:
        return ""


def _unlike(model: TrainedModel, sound: TrainedModel) -> str:
    if any(not torch.equal(value, sound.weights[name]) for name, value in model.weights.items()):
        return "with OTHER WEIGHTS"
    own, theirs = ((one.settings, one.structures, one.channels, one.history) for one in (model, sound))
    return SAME if own == theirs else "with OTHER SETTINGS"


# --- hostile files


def hostile_models(world: World, tally: Tally) -> None:
    marker = world.fresh() / "code_was_run"
    by_hand = list(hostile_files.models(world.model.read_bytes(), marker))
    odd = [one for one in by_hand if not one.refused]
    world.rng.shuffle(odd)
    for hostile in [one for one in by_hand if one.refused] + odd:
        if not world.is_time():
            break
        folder = world.fresh()
        shutil.copy(world.model, folder / "sound_2.pt")
        path = folder / "hostile_1.pt"
        hostile.make(path)
        work = lambda folder=folder, path=path, one=hostile: _hostile_model(world, folder, path, one.refused)  # noqa: E731
        said = trial(work, seconds=SLOW_S, cpu_s=MOST_CPU_S, memory=MOST_MEMORY)
        if marker.exists():
            marker.unlink()
            said = "CODE WAS RUN"
        tally.tell(said and f"{_plain_words(said)} ({_family(hostile.name)})", path)
        shutil.rmtree(folder)


def _hostile_model(world: World, folder: Path, path: Path, refused: bool) -> str:
    listed = {entry.path.name: entry.problem for entry in list_models(folder)}
    if listed.get("sound_2.pt") != "":
        return "the sound model is not listed"
    find_unfinished(folder)
    if path.name not in listed or path.is_dir():
        return ""
    said = (must_refuse if refused else read_or_refuse)(lambda: load_model(path))
    if said:
        return said
    code, words = run("predict", path, world.patient, "--output", folder / "out")
    words.encode()  # what a console cannot show
    return "" if code == 0 and not refused else _refusal(code, words)


def _plain_words(said: str) -> str:
    """Leave out what differs from one odd value to the next."""
    return re.sub(r"\w+ found$", "another found", said)


def _family(name: str) -> str:
    return re.sub(r" is .*", " of another kind", name)


def hostile_images(world: World, tally: Tally) -> None:
    by_hand = list(hostile_files.images(world.dicom))
    world.rng.shuffle(by_hand)
    for hostile in by_hand:
        if not world.is_time():
            break
        folder = world.fresh()
        patient = folder / "patient" / hostile.name
        patient.parent.mkdir()
        hostile.make(patient)

        def predicted(path: Path = patient) -> str:
            code, said = run("predict", world.model, path.parent, "--output", path.parents[1] / "out")
            return "" if code in (0, 1) else said[-100:]

        def as_label(path: Path = patient) -> str:
            cases = make_data(path.parents[1] / "train", 1)
            (cases / "labels" / "p0.nii.gz").unlink()
            shutil.copy(path, cases / "labels" / f"p0{path.name[path.name.index('.') :]}")
            code, said = run("check", cases)
            return "" if code in (0, 1) else said[-100:]

        no_label = hostile.name.endswith(".dcm")
        for what, work in (("an image", predicted), *(() if no_label else (("a label", as_label),))):
            said = trial(work, seconds=SLOW_S, cpu_s=MOST_CPU_S, memory=MOST_MEMORY)
            tally.tell(said and f"{said} ({hostile.name} as {what})", hostile.name)
        shutil.rmtree(folder)


def hostile_names(world: World, tally: Tally) -> None:
    trials_ = [
        (name, where) for name in hostile_files.NAMES for where in (as_structure, as_patient_id, as_file, as_model)
    ]
    world.rng.shuffle(trials_)
    for name, where in trials_:
        if not world.is_time():
            break
        folder = world.fresh()
        said = trial(lambda where=where, name=name, folder=folder: where(world, folder, name), seconds=SLOW_S)
        said = said or _outside(folder)
        tally.tell(said and f"{said} ({where.__name__})", ascii(name))
        shutil.rmtree(folder)
        for stray in world.place.glob("*evil*"):
            shutil.rmtree(stray, ignore_errors=True)


def as_structure(world: World, folder: Path, name: str) -> str:
    data = make_data(folder / "train", 2)
    with (data / "structures.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["label", "name", "colour"], [1, name, "#e69f00"], [2, "disc", "#56b4e9"]])
    code, said = run("measure", data, "--output", folder / "out")
    run("check", data, "--pictures", folder / "pictures.png")
    return _formulas(folder / "out") if code == 0 else _refusal(code, said)


def as_patient_id(world: World, folder: Path, name: str) -> str:
    (folder / "scan").mkdir()
    dataset = pydicom.dcmread(io.BytesIO(world.dicom))
    dataset.PatientID = dataset.SeriesDescription = name[:64]
    dataset.save_as(folder / "scan" / "a.dcm")
    code, said = run("predict", world.model, folder / "scan", "--output", folder / "out")
    return _formulas(folder / "out") if code == 0 else _refusal(code, said)


def as_file(world: World, folder: Path, name: str) -> str:
    place = folder / "scan" / f"{name.replace('/', '_')[:200]}.nii.gz"
    place.parent.mkdir()
    shutil.copy(world.patient, place)
    code, said = run("predict", world.model, place, "--output", folder / "out")
    return _formulas(folder / "out") if code == 0 else _refusal(code, said)


def as_model(world: World, folder: Path, name: str) -> str:
    content = hostile_files.content_of(world.model.read_bytes())
    content["name"] = content["structures"][0]["name"] = name
    (folder / "model_1.pt").write_bytes(hostile_files.saved(content))
    code, said = run("predict", folder / "model_1.pt", world.patient, "--output", folder / "out")
    return _formulas(folder / "out") if code == 0 else _refusal(code, said)


PLACES = (as_structure, as_patient_id, as_file, as_model)


def _refusal(code: int, said: str) -> str:
    return "" if code == 1 and said.strip() else f"exit code {code}: {said[-100:]}"


def _formulas(folder: Path) -> str:
    """Look for cells that a spreadsheet would compute."""
    for path in sorted(folder.rglob("*.csv")):
        with path.open(newline="", encoding="utf-8-sig") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not re.fullmatch(r"[+-]?[\d.eE+-]+", cell):
                    return f"a formula in {path.name}"
    for path in sorted(folder.rglob("*.xlsx")):
        for sheet in openpyxl.load_workbook(path):
            if any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row):
                return f"a formula in {path.name}"
    return ""


def _outside(folder: Path) -> str:
    known = {"train", "out", "scan", "pictures.png", "model_1.pt"}
    strange = [path.name for path in folder.iterdir() if path.name not in known]
    strange += [path.name for path in folder.parent.glob("*evil*")]
    return f"written outside its folder: {strange[0]}" if strange else ""


# --- killed at every moment


def kills(world: World, tally: Tally) -> None:
    for name, scene in SCENES.items():
        folder = world.fresh()
        if not world.is_time():
            print(f"No time for {name}: give more --seconds.", file=sys.stderr)
            break

        def work(scene: Callable[..., tuple] = scene, folder: Path = folder) -> str:
            place, action, look, then = scene(world, folder)
            survey = kill_everywhere(place, action, look, then=then)
            (folder / "survey.json").write_text(json.dumps([survey.moments, survey.wrong]))
            return ""

        said = trial(work, seconds=180)
        if said:
            tally.tell(f"{name}: {said}")
            continue
        moments, wrong = json.loads((folder / "survey.json").read_text())
        # What is wrong at one moment is one failure.
        first = [next(some) for _, some in itertools.groupby(wrong, key=lambda words: words.partition(": ")[0])]
        for words in first:
            tally.tell(f"{name}: {_plain(words)}", words)
        for _ in range(moments - len(first)):
            tally.tell("")


def _plain(words: str) -> str:
    """Leave out the moment, and names that differ from run to run."""
    words = words.partition(": ")[2]
    return re.sub(r"\.unfinished-\S+", ".unfinished-…", re.sub(r"/tmp/\S+", "…", words))[:110]


def killed_correction(world: World, folder: Path) -> tuple:
    data, kit = world.copy_of_data(), folder / "kit"
    must("correct", "write", data, "--output", kit, "--case", "p0")
    image = nibabel.load(kit / "p0_labels.nii.gz")
    voxels = np.asarray(image.dataobj).copy()
    voxels[3:6, 3:6, 2] = 2
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine, image.header), kit / "p0_labels.nii.gz")
    action = lambda: must("correct", "read", kit, "--by", "AB", "--into", data, "--checked", "3")  # noqa: E731
    return data, action, lambda: drawn(data), lambda: must("check", data)


def drawn(data: Path) -> dict[str, str]:
    """Give what counts as drawn, and where."""
    found = find_cases(data)
    seen = {}
    for case in found.cases:
        labels = read_case(case, found.structures)[1]
        digest = hashlib.sha256(labels.voxels.tobytes()).hexdigest()[:8]
        seen[case.case_id] = f"{digest} {sorted(case.annotated or ())} {case.slices}"
    return seen


def killed_repair(world: World, folder: Path) -> tuple:
    data = world.copy_of_data()
    add_repair(data, transform("p1", rows=1))
    look = lambda: {str(repair): repair.date for repair in read_repairs(data)}  # noqa: E731
    return data, lambda: add_repair(data, leave_out("p0")), look, lambda: must("check", data)


def killed_look(world: World, folder: Path) -> tuple:
    data = world.copy_of_data()
    freeze_test_subjects(data, ["p1"])
    record_look(data, "first")
    look = lambda: {look.model: look.date for look in read_ledger(data).looks}  # noqa: E731
    return data, lambda: record_look(data, "second"), look, lambda: must("check", data)


def killed_run(world: World, folder: Path) -> tuple:
    output = folder / "out"
    action = lambda: must("predict", world.model, world.patient, "--output", output)  # noqa: E731

    def look() -> dict[str, int]:
        paths = [path for path in output.rglob("*") if path.is_file()] if output.exists() else []
        mine = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(output).parts)]
        return {str(path.relative_to(output)): path.stat().st_size for path in mine}

    return output, action, look, lambda: next_write(output)


def killed_save(world: World, folder: Path) -> tuple:
    output = folder / "models"
    action = lambda: must("train", world.data, "--name", "new", "--epochs", "2", "--output", output, *QUICK)  # noqa: E731
    return output, action, lambda: trained(output), lambda: next_write(output)


def trained(output: Path) -> str:
    """Say whether a model, its history and what it takes to go on belong together."""
    if not output.exists():
        return "nothing"
    entries, unfinished = list_models(output), find_unfinished(output)
    problems = [row.problem for row in (*entries, *unfinished) if row.problem]
    if problems:
        return problems[0]
    history = output / "new_history.csv"
    rows = len(history.read_text().splitlines()) - 1 if history.exists() else 0
    epochs = {e.epochs for e in entries if not e.path.stem.endswith("_best")} | {u.epochs_done for u in unfinished}
    if not entries and not unfinished and not rows:
        return "nothing"
    return "something whole" if epochs == {rows} else f"history of {rows} epochs, files of {sorted(epochs)}"


def killed_fold(world: World, folder: Path) -> tuple:
    output = folder / "cv"
    words = ("crossvalidate", world.data, "--folds", "3", "--epochs", "1", "--output", output, *QUICK)

    def look() -> str:
        folds = sorted(path for path in output.rglob("fold_*") if path.is_dir()) if output.exists() else []
        folds = [path for path in folds if not any(part.startswith(".") for part in path.relative_to(output).parts)]
        for number, path in enumerate(folds, 1):
            read_fold(path, number)
        return "whole folds" if folds else "nothing"

    then = lambda: [next_write(place) for place in (output, *output.glob("*_folds"))]  # noqa: E731
    return output, lambda: must(*words), look, then


def next_write(folder: Path) -> None:
    """Write and remove a small file, as the next command does."""
    with whole_file(folder / "next.txt") as temporary:
        temporary.write_text("x")
    (folder / "next.txt").unlink()


SCENES = {
    "correct read": killed_correction,
    "a repair": killed_repair,
    "a look": killed_look,
    "a run": killed_run,
    "a training": killed_save,
    "folds": killed_fold,
}

# --- two at once


def two_at_once(world: World, tally: Tally) -> None:
    for what, one, count in (("repairs", _repair, _repairs), ("looks", _look, _looks)):
        data = world.copy_of_data()
        freeze_test_subjects(data, ["p1"])
        said = _both(lambda who, data=data, one=one: [one(data, who, number) for number in range(25)])
        kept = count(data)
        for number in range(50):
            tally.tell("" if number < kept else f"{what}: lost ({said})" if said else f"{what}: lost")
    tally.tell(two_trainings(world))


def _repair(data: Path, who: int, number: int) -> None:
    add_repair(data, transform(f"p{who}", rows=number + 1))


def _repairs(data: Path) -> int:
    return len(read_repairs(data))


def _look(data: Path, who: int, number: int) -> None:
    record_look(data, f"model{who}_{number}")


def _looks(data: Path) -> int:
    ledger = read_ledger(data)
    return len(ledger.looks) if ledger else 0


def _both(work: Callable[[int], object]) -> str:
    children = []
    for who in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                work(who)
                code = 0
            os._exit(code)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    return f"{sum(map(bool, codes))} of 2 programs failed" if any(codes) else ""


def two_trainings(world: World) -> str:
    """Begin a training whose name another one has, which must be told and delete nothing."""
    output = world.fresh() / "models"
    resume = output / "twice_resume.pt"
    with training(world.data, output, "twice") as first:
        wait_for(resume.exists, first)
        with training(world.data, output, "twice") as second:
            end = time.monotonic() + 15
            while time.monotonic() < end and (alive := is_alive(second)):
                time.sleep(0.1)
        if alive:
            return "two trainings of one name learn, and write the same files"
        if not is_alive(first):
            return "the first training died of the second"
        if not resume.exists():
            return "the second training deleted the first one's checkpoint"
    return trial(lambda: "" if read_checkpoint(resume) else "unreadable")


# --- patients


def patient_ids(world: World, tally: Tally) -> None:
    """Look for patient IDs in what commands print and write with --without-ids."""
    for words in ("series", "check", "measure", "predict", "correct write", "train", "crossvalidate"):
        scan = world.fresh() / f"scans_{IDS[1]}"
        for part in ("dicoms", "labels"):
            (scan / part).mkdir(parents=True)
        for number, who in enumerate(IDS):
            _write_patient(world, scan, number, who)
        tally.tell(trial(lambda words=words, scan=scan: _leaked(world, words, scan), seconds=SLOW_S), words)


def _write_patient(world: World, scan: Path, number: int, who: str) -> None:
    """Write one slice, named by the patient's ID, and its label."""
    dataset = pydicom.dcmread(io.BytesIO(world.dicom))
    dataset.PatientID = dataset.PatientName = who
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, pydicom.uid.generate_uid())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pixels = bytearray(dataset.PixelData)
    for place in range(2 * number, len(pixels), 2 * len(IDS)):  # nobody has another's pixels
        pixels[place] ^= 3
    dataset.PixelData = bytes(pixels)
    dataset.save_as(scan / "dicoms" / f"{who}_1.dcm")
    labels = np.zeros((int(dataset.Rows), int(dataset.Columns)), np.uint8)
    labels[4 : 9 + number, 4 : 9 + number] = 1
    np.save(scan / "labels" / f"{who}_1.npy", labels)


def _leaked(world: World, words: str, scan: Path) -> str:
    output = scan.parent / "out"
    given: dict[str, tuple[object, ...]] = {
        "series": ("series", scan / "dicoms"),
        "check": ("check", scan),
        "measure": ("measure", scan, "--output", output),
        "predict": ("predict", world.model, scan / "dicoms", "--output", output),
        "correct write": ("correct", "write", scan, "--output", output),
        "train": ("train", scan, "--epochs", "1", "--output", output, *QUICK),
        "crossvalidate": ("crossvalidate", scan, "--folds", "3", "--epochs", "1", "--output", output, *QUICK),
    }
    code, said = run(*given[words], "--without-ids")
    if code == 2:
        return "there is no such switch"
    if code or not said.strip():
        return f"{words}: exit code {code} {said[-150:]}"
    place = str(scan.parent)
    found = [f"{words}: printed" for who in IDS if who in said.replace(place, "")]
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        found += [f"{words}: in the name of a {path.suffix} file" for who in IDS if who in name]
        if path.is_file():
            found += [
                f"{words}: in {path.name}" for who in IDS if any(who.encode() in data for data in _texts(path))
            ]
    return found[0] if found else ""


def _texts(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if zipfile.is_zipfile(path):
        yield from hostile_files.members(data).values()


def guessed_patients(world: World, tally: Tally) -> None:
    """Guess the patient IDs of six digits that a model knows, on one core, as long as this kind lasts."""
    people = {f"{world.rng.randrange(10**6):06d}" for _ in range(20)}
    more = {}
    if "seal" in inspect.signature(describe_origin).parameters:
        from autoseg.data.digests import Seal

        more["seal"] = Seal.new()
    prints = set(describe_origin(sorted(people), [], 60, **more)["subject_fingerprints"])
    found: dict[str, int] = {}
    for number in range(10**6):
        if not world.is_time() or len(found) == len(people):
            break
        guess = f"{number:06d}"
        if prints & {fingerprint_as(sample, guess) for sample in list(prints)[:1]}:
            found[guess] = number
    guesses = f"{number:,}"
    for who in people:
        tally.tell("found by guessing" if who in found else "", f"{guesses} guesses")


def fingerprint_as(sample: str, guess: str) -> str:
    """Give the fingerprint of a guess, as anybody can who has read autoseg, with the salt of the sample."""
    lies_open = hashlib.sha256(f"autoseg subject {guess}".encode()).hexdigest()[:12]
    if "$" not in sample:
        return lies_open
    n, r, p, salt, key = sample.split("$")[1:]
    cost = {"n": int(n), "r": int(r), "p": int(p), "maxmem": 2**29, "dklen": len(key) // 2}
    closed = hashlib.scrypt(lies_open.encode(), salt=bytes.fromhex(salt), **cost).hex()
    return f"{sample.rpartition('$')[0]}${closed}"


# Each with its share of the time; what it leaves of it goes to those behind.
KINDS: dict[str, tuple[Callable[[World, Tally], None], int]] = {
    "kills": (kills, 8),
    "two at once": (two_at_once, 2),
    "patient IDs": (patient_ids, 1),
    "hostile models": (hostile_models, 4),
    "hostile images": (hostile_images, 8),
    "hostile names": (hostile_names, 3),
    **{name: (damaged(name), 1) for name in FORMATS},
    "damaged model": (damaged_model, 3),
    "damaged checkpoint": (damaged_checkpoint, 3),
    "damaged old model": (damaged_old_model, 2),
    "guessed IDs": (guessed_patients, 1),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240, help="in all, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=tuple(KINDS), default=tuple(KINDS), metavar="KIND")
    parser.add_argument("--keep", type=Path, help="folder for a file of each failure")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # threads do not live on in a child
    began, tallies = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as temporary:
        world = make_world(Path(temporary), random.Random(chosen.seed))
        wanted = [name for name in KINDS if name in chosen.only]
        for number, name in enumerate(wanted):
            now = time.monotonic()
            shares = [KINDS[other][1] for other in wanted[number:]]
            world.until = now + max(chosen.seconds - (now - began), 0) * shares[0] / sum(shares)
            world.rng = random.Random(f"{chosen.seed} {name}")
            tally = tallies[name] = Tally(keep=chosen.keep)
            KINDS[name][0](world, tally)
            took = time.monotonic() - now
            print(f"{name}: {tally.survived} of {tally.tried}, {took:.0f} s", file=sys.stderr, flush=True)
    print_table(tallies)
    return int(any(tally.failures for tally in tallies.values()))


def print_table(tallies: dict[str, Tally]) -> None:
    print("| kind | tried | survived |\n|---|---|---|")
    for name in KINDS:
        if name in tallies:
            print(f"| {name} | {tallies[name].tried:,} | {tallies[name].survived:,} |")
    for name, tally in tallies.items():
        for failure, count in tally.failures.most_common():
            print(f"\n{name}: {count} × {failure}\n    {tally.examples[failure]}")


if __name__ == "__main__":
    sys.exit(main())
