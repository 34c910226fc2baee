"""The cache of arrays: whole or not there, noticed where it is damaged, bounded, cleared, safe beside others."""

import os

import numpy as np
import pytest
from kills import fail_everywhere, kill_everywhere

from autoseg.errors import OutputError
from autoseg.files import cache as module
from autoseg.files.atomic import held
from autoseg.files.cache import (
    ENTRIES,
    USING,
    DamagedError,
    cache_folder,
    clear,
    limit_of,
    open_cache,
    set_limit,
    size_of,
)

KEYS = [f"{number:02d}" + 62 * "a" for number in range(9)]


def rows(number=0, size=200):
    return {
        "images": np.random.default_rng(number).normal(size=(3, 2, size)).astype(np.float32),
        "labels": np.full((3, size), number, np.uint8),
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_what_was_kept_is_found_row_by_row_also_by_the_next_program(folder):
    kept, about = rows(), {"region": [[1.5, 2.5], [3.0, 4.0]]}
    open_cache(folder).put(KEYS[0], about, kept)
    entry = open_cache(folder).find(KEYS[0])
    assert entry.about == about
    assert entry.shape("images") == (3, 2, 200)
    for name, array in kept.items():
        for number in (2, 0):
            np.testing.assert_array_equal(entry.row(name, number), array[number])
            assert entry.row(name, number).dtype == array.dtype
    assert open_cache(folder).find(KEYS[1]) is None
    assert "patient" in (folder / "READ_ME.txt").read_text(encoding="utf-8").lower()


def test_damage_is_noticed_wherever_it_is(folder):
    cache = open_cache(folder)
    path = cache.put(KEYS[0], {"a": 1}, rows()).path
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1
        path.write_bytes(spoilt)
        entry = cache.find(KEYS[0])
        if entry is None:  # the head was not what it was: such a file goes at once
            assert not path.exists()
            continue
        with pytest.raises(DamagedError):
            [entry.row(name, number) for name in ("images", "labels") for number in range(3)]
    for length in (0, 10, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert cache.find(KEYS[0]) is None
    path.write_bytes(whole)
    entry = cache.find(KEYS[0])
    path.unlink()
    with pytest.raises(DamagedError):
        entry.row("images", 0)


def test_killed_or_refused_at_any_moment_it_is_there_or_not(folder):
    cache = open_cache(folder)
    cache.put(KEYS[0], {}, rows())

    def look():
        # A part of a file that a killed program left is no entry.
        found = [cache.find(key) for key in KEYS[:2]]
        return [entry is not None and entry.row("labels", 1)[0] for entry in found]

    def put():
        cache.put(KEYS[1], {}, rows(1))

    # Without the lock, which would be one of a program that works on.
    for ends in (kill_everywhere, fail_everywhere):
        survey = ends(folder / ENTRIES, put, look, then=put)
        assert survey, survey.wrong
        assert survey.moments >= 3


def test_what_a_killed_program_left_goes_later(folder):
    cache = open_cache(folder)
    path = cache.put(KEYS[0], {}, rows()).path
    left = path.with_name(f"{path.name}-0123abcd.new")
    left.write_bytes(b"half")
    before = size_of(folder)
    os.utime(left, (1e9, 1e9))
    assert size_of(folder) == before - 4
    assert not left.exists()


@pytest.fixture
def size(tmp_path):
    """The bytes of one entry."""
    return open_cache(tmp_path / "other").put(KEYS[0], {}, rows()).path.stat().st_size


def test_the_limit_lets_go_what_was_used_longest_ago(folder, size):
    set_limit(folder, 3.5 * size / 1e9)
    cache = open_cache(folder)
    for number in range(3):
        cache.put(KEYS[number], {}, rows(number))
        os.utime(cache._path(KEYS[number]), (1e9 + number, 1e9 + number))
    assert cache.find(KEYS[0]) is not None  # used now
    used = cache.put(KEYS[3], {}, rows(3))
    assert [cache._path(key).exists() for key in KEYS[:4]] == [True, False, True, True]
    assert size_of(folder) <= limit_of(folder)
    with pytest.raises(OutputError, match=r"is full .* --limit-gb"):
        cache.put(KEYS[4], {}, {"labels": np.zeros((3, 4 * size), np.uint8)})
    assert used.path.exists()


def test_nothing_goes_while_another_program_works_with_it(folder, size):
    set_limit(folder, 1.5 * size / 1e9)
    cache = open_cache(folder)
    cache.put(KEYS[0], {}, rows())
    with held(folder / USING / "0123456789ab", "busy"):
        with pytest.raises(OutputError, match="another training works with it"):
            cache.put(KEYS[1], {}, rows(1))
        with pytest.raises(OutputError, match="Wait until it is done"):
            clear(folder)
    assert cache.find(KEYS[0]) is not None
    with pytest.raises(OutputError, match="Wait until it is done"):
        clear(folder)  # this program's own training
    del cache
    assert not (folder / USING).exists(), "its lock goes with the last entry"
    assert clear(folder) == size


def test_clear_deletes_what_is_its_own_and_nothing_else(folder, size):
    open_cache(folder).put(KEYS[0], {}, rows())
    others = [folder / ENTRIES / KEYS[0][:2] / "notes.txt", folder / "mine.txt", folder / ENTRIES / "x" / KEYS[0]]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")
    assert clear(folder) == size
    assert size_of(folder) == 0
    assert all(path.exists() for path in others)
    assert clear(folder / "nowhere") == 0


def test_too_much_is_refused_before_it_is_made(folder):
    cache = open_cache(folder)
    set_limit(folder, 2)
    cache.check_room(1.9e9)
    with pytest.raises(OutputError, match=r"may take 2.0 GB, and 2.1 GB would be needed"):
        cache.check_room(2.1e9)
    set_limit(folder, 9e5)
    with pytest.raises(OutputError, match="AUTOSEG_CACHE names another folder"):
        cache.check_room(8e14)
    with pytest.raises(OutputError, match="above 0"):
        set_limit(folder, 0)


def test_half_of_the_disk_where_nobody_set_a_limit(folder, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda _: 1000)
    assert limit_of(folder) == 500
    monkeypatch.setattr(module, "free_bytes", lambda _: None)
    assert limit_of(folder) == float("inf")


def test_a_folder_that_cannot_be_used_is_a_sentence(folder):
    folder.write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be used for the cache"):
        open_cache(folder)


@pytest.mark.parametrize(
    ("system", "variable", "wanted"),
    [("win32", "LOCALAPPDATA", "x/autoseg/cache"), ("linux", "XDG_CACHE_HOME", "x/autoseg")],
)
def test_each_system_has_its_place_for_caches(system, variable, wanted, monkeypatch):
    monkeypatch.delenv("AUTOSEG_CACHE", raising=False)
    monkeypatch.setattr(module.sys, "platform", system)
    monkeypatch.setenv(variable, "x")
    assert cache_folder().as_posix() == wanted
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "autoseg")
    monkeypatch.setenv("AUTOSEG_CACHE", "elsewhere")
    assert cache_folder().name == "elsewhere"
