"""What all tests share: a quiet environment, the data's places, and markers that skip with a word."""

import os

# Before torch and matplotlib are first imported, which may be while tests are collected.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core of its own
    os.environ["OMP_NUM_THREADS"] = "1"

import gc
import importlib.util
import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

# MONAI brings jsonschema, which would build grammars of addresses for two seconds; nobody here asks for them.
sys.modules.setdefault("rfc3987_syntax", None)

ROOT = Path(__file__).resolve().parents[1]
LONGEST = (
    "test_notebooks",
    "tests/browser",
    "test_checks",
    "cli/test_cli",
    "test_comparison.py",
    "tests/training",
    "tests/prediction",
)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nobody asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give a file's tests to one worker, and all of the browser's: what they share is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "browser" if "tests/browser/" in file else file

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep Python from looking through all that is imported and collected for what can go: it stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first, so that both workers end at about the same time.
    items.sort(key=lambda item: next((n for n, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))
    for marker, missing in (("gpu", _missing_gpu), ("browser", _missing_browser)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        word = missing() if marked else ""
        for item in marked if word else ():
            item.add_marker(pytest.mark.skip(reason=word))


@pytest.fixture(autouse=True, scope="module")
def _names_are_forgotten() -> Iterator[None]:
    """Let sentences of the next file name its own files: what codes stand for is the whole program's."""
    yield
    if codes := sys.modules.get("autoseg.data.codes"):
        codes._WORDS.clear()
        codes._LONGEST_FIRST.clear()


def _missing_gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else "no CUDA device here"


def _missing_browser() -> str:
    if importlib.util.find_spec("playwright") is None:
        return "the package playwright is not installed"
    return "" if chromium_path() else "no Chromium here (Debian: apt-get install chromium)"


def chromium_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    return path


@pytest.fixture(scope="session", autouse=True)
def cheap_guesses():
    """Let new fingerprints be made at once; what a guess truly costs has a test of its own."""
    from autoseg.data import digests

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "COST", (16, 8, 1))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's own cache out of what is tested; this one is not there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOSEG_CACHE", str(tmp_path_factory.mktemp("cache") / "none"))
        yield


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Give a real PACS (`orthanc.Orthanc`) that knows this computer; emptied by `archive`."""
    import orthanc

    if word := orthanc.missing_orthanc()[1]:
        pytest.skip(word)
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


@pytest.fixture
def archive(orthanc: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Give an Orthanc with nothing in it, whose password is in a keyring of this test alone."""
    from orthanc import own_keyring

    monkeypatch.setenv("AUTOSEG_CONNECTIONS", str(tmp_path / "own" / "connections.json"))
    own_keyring(monkeypatch, orthanc)
    orthanc.empty()
    return orthanc


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared data are not on this machine ({folder})")
    return folder


@pytest.fixture(scope="session")
def sample() -> Path:
    folder = ROOT / "data" / "sample"
    if not any(folder.glob("*")):
        pytest.skip(f"the sample data are not there yet ({folder})")
    return folder


@pytest.fixture(scope="session")
def small_sample(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with four slices of each patient to learn from, for what must only be gone through."""
    place = tmp_path_factory.mktemp("small") / "data" / "sample"
    shutil.copytree(sample, place)
    train = place / "train"
    names = sorted(path.stem for path in (train / "dicoms").iterdir())
    kept = {name for _, own in groupby(names, key=lambda name: name.split("_")[0]) for name in list(own)[7:11]}
    for path in [*(train / "dicoms").iterdir(), *(train / "labels").iterdir()]:
        if path.stem not in kept:
            path.unlink()
    head, *rows = (train / "annotated.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [row for row in rows if row.split(",")[0] in kept]
    (train / "annotated.csv").write_text(head + "".join(rows), encoding="utf-8")
    return place
