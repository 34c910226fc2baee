"""What stands for people, images and labels: the same for the same, whatever their order, and never a name."""

import time
from dataclasses import replace

import numpy as np
import pytest
from discs import make_case, make_pair

from autoseg.data.digests import Seal, Side, describe_side, known_subjects, subject_pseudonym

SEAL = Seal.new()


def side(numbers, **changes):
    return describe_side([make_case(n) for n in numbers], [make_pair(n, **changes) for n in numbers], SEAL)


def test_a_subject_is_not_named():
    assert subject_pseudonym("Miller^Anna") == subject_pseudonym("Miller^Anna")
    assert subject_pseudonym("Miller^Anna") != subject_pseudonym("Miller^Ann")
    assert len(subject_pseudonym("Miller^Anna")) == 12
    assert known_subjects(["a\udcff"], [subject_pseudonym("a\udcff")]) == {"a\udcff"}  # a name not in UTF-8


def test_what_is_sealed_is_recognised_in_every_file_and_is_the_same_in_no_two():
    """Of 10,000 IDs of a hospital's format, all that an open digest stands for are found within a second."""
    ids = [f"MZ2024-{number:04d}" for number in range(10_000)]
    mine = [ids[17], ids[4711]]
    lying_open = list(map(subject_pseudonym, mine))
    assert known_subjects(ids, lying_open) == set(mine)
    first, second = (Seal.new().close(lying_open) for _ in range(2))
    assert not {*first} & {*second}
    kept = str((first, second))
    assert not any(subject_pseudonym(one) in kept for one in ids)
    assert known_subjects(ids[4700:4720], (*first, *second)) == {ids[4711]}
    assert known_subjects(["MZ2024-10000"], first) == frozenset()


def test_a_guess_costs_32_mib_and_time():
    """A digest of 10,000 IDs took 10 ms; one guess takes about as long as 60,000 of them, on any computer."""
    seal = Seal("00ff")
    assert 128 * seal.n * seal.r == 2**25
    plain = min(seconds_of(lambda: [subject_pseudonym(str(number)) for number in range(200)]) for _ in range(5))
    guess = min(seconds_of(lambda seed=seed: Seal(f"{seed:04x}").close(["a"])) for seed in range(3))
    assert guess > 5_000 * plain / 200


def seconds_of(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_what_an_earlier_version_left_open_is_sealed_and_compared():
    """A checkpoint of an earlier version has the plain digests; sealed, they are those of today."""
    before = Side(1, 1, 6, (subject_pseudonym("subject1"),), side([1]).names_digest, "x")
    found = before.sealed(SEAL)
    assert found.subject_fingerprints == side([1]).subject_fingerprints
    assert found.sealed(Seal.new()) == found


def test_names_cannot_be_guessed_from_their_digest():
    one, other = (describe_side([make_case(1)], [make_pair(1)], seal) for seal in (SEAL, Seal.new()))
    assert one.names_digest != other.names_digest
    assert one.names_digest.startswith("scrypt$")
    assert one.voxels_digest == other.voxels_digest


@pytest.mark.parametrize(
    "kept", ["scrypt$9$8$1$00$ab", "scrypt$1073741824$8$1$00$ab", "md5$16$8$1$00$a", "scrypt$16"]
)
def test_a_fingerprint_that_cannot_be_or_would_fill_the_memory_is_refused(kept):
    with pytest.raises(ValueError, match=r"fingerprint|unpack"):
        Seal.of(kept)


def test_the_numbers_are_those_of_the_cases():
    found = side([1, 2, 3], slices=4)
    assert (found.cases, found.subjects, found.slices) == (3, 3, 12)
    assert str(found) == "3 cases of 3 patients with 12 slices"
    assert describe_side([], [], SEAL) == Side()


def test_the_order_does_not_matter_and_everything_else_does():
    found = side([1, 2])
    assert side([2, 1]) == found
    assert side([1, 3]).names_digest != found.names_digest
    for change in ({"spacing": (8.0, 1.5, 1.6)}, {"annotated": frozenset({1})}):
        other = side([1, 2], **change)
        assert other.names_digest == found.names_digest
        assert other.voxels_digest != found.voxels_digest


def test_checkpoints_keep_the_names_of_their_format():
    found = side([1, 2])
    stored = found.stored()
    assert list(stored) == ["cases", "subjects", "slices", "subject_prints", "names_print", "voxels_print"]
    assert Side.read({**stored, "subject_prints": list(stored["subject_prints"])}) == found


def test_one_pixel_of_a_label_is_seen():
    image, label_map = make_pair(1)
    voxels = np.array(label_map.voxels)
    voxels[0, 0, 0] = 1
    changed = describe_side([make_case(1)], [(image, replace(label_map, voxels=voxels))], SEAL)
    assert changed.voxels_digest != side([1]).voxels_digest


def test_rounding_of_millimetres_is_not():
    assert side([1], spacing=(8.0, 1.5, 1.5 + 1e-13)) == side([1])


def test_an_image_without_millimetres_has_a_digest():
    image, label_map = make_pair(1)
    bare = replace(image, affine=None, source=replace(image.source, spacing_source="none"))
    found = describe_side([make_case(1)], [(bare, replace(label_map, affine=None))], SEAL)
    assert found.voxels_digest not in ("", side([1]).voxels_digest)
