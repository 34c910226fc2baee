"""How descriptions lie around their mean, and what of a profile can be read."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from autoseg.model.trust import Profile, Trust, trust_from_dict, trust_to_dict
from autoseg.model.trust.facts import ImageFacts
from autoseg.model.trust.profile import as_plain, fit_likeness
from autoseg.model.trust.turned import CHANGES, LAYOUT, Ways, changed, evidence, fit_turned


def people(count, *, seed=0, size=40, spread=0.3, slices=5, mean=0.0):
    rng = np.random.default_rng(seed)
    return [[mean + rng.normal(0, spread, size) + rng.normal(0, spread / 2, (slices, size))] for _ in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5, 10, 60])
def test_people_of_the_same_kind_are_near_and_others_are_far(count):
    likeness = fit_likeness("layout", people(count))
    own = [likeness.distance(images[0]) for images in people(40, seed=1)]
    others = [likeness.distance(images[0]) for images in people(40, seed=2, mean=2.0)]
    assert np.mean(np.array(own) > 1.25) <= 0.05
    assert min(others) > 1.5


def test_a_direction_in_which_they_vary_counts_less_than_one_in_which_they_do_not():
    rng = np.random.default_rng(0)
    along, across = np.zeros(20), np.zeros(20)
    along[:10], across[10:] = 1, 1
    subjects = [[rng.normal(0, 0.05, (4, 20)) + rng.normal(0, 3) * along] for _ in range(12)]
    likeness = fit_likeness("network", subjects)
    assert likeness.distance(np.array([4 * across])) > 3 * likeness.distance(np.array([4 * along]))


def test_one_patient_is_enough_to_see_what_is_far():
    likeness = fit_likeness("texture", people(1))
    assert likeness.distance(people(1)[0][0]) < 1
    assert likeness.distance(people(1)[0][0] + 5) > 1.5


def test_the_layout_of_a_changed_picture_follows_from_that_of_the_picture():
    import torch

    from autoseg.prediction.appearance import _layout  # the numbers themselves are tested there

    rng = np.random.default_rng(0)
    picture = torch.tensor(rng.normal(size=(2, 1, 48, 48)).cumsum(2).cumsum(3), dtype=torch.float32)
    ways = {
        "upside down": picture.flip(2), "mirrored": picture.flip(3), "half turn": picture.flip(2, 3),
        "inverted": -picture,
    }  # fmt: skip
    assert set(ways) == set(CHANGES)
    for change, turned in ways.items():
        expected = _layout(turned).numpy()
        got = changed(_layout(picture).numpy(), change)
        away = np.abs(expected - got).mean() / np.abs(expected - _layout(picture).numpy()).mean()
        assert away < 0.15, change  # edges are counted between pixels, so a few fall into another cell


def ways(layout, rng, *, tells=1.0):
    """Give an image whose network features are 0 as it is, and lie `tells` away once it is changed."""
    numbers = rng.normal(0, 0.3, (len(layout), 24))
    return Ways(layout, numbers, {change: numbers + tells for change in CHANGES})


def lopsided(count, *, tells=1.0, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.random.default_rng(99).normal(size=LAYOUT)
    return [[ways(kind + rng.normal(0, 0.3, (3, LAYOUT)), rng, tells=tells)] for _ in range(count)]


def test_only_changes_that_are_told_apart_are_kept():
    rng = np.random.default_rng(0)
    assert set(fit_turned(lopsided(4))) == set(CHANGES)
    kind = rng.normal(size=LAYOUT)
    even = kind + changed(kind[None], "mirrored")[0]
    alike = [[ways(even + rng.normal(0, 0.3, (3, LAYOUT)), rng, tells=0.0)] for _ in range(4)]
    assert "mirrored" not in fit_turned(alike)
    assert fit_turned(lopsided(1)) == {}


def test_what_few_patients_have_in_common_may_be_chance():
    rng = np.random.default_rng(1)
    kind = 0.25 * rng.normal(size=LAYOUT)
    people = [[ways(kind + rng.normal(0, 0.3, (3, LAYOUT)), rng, tells=0.1)] for _ in range(24)]
    assert fit_turned(people[:3]) == {}
    assert set(fit_turned(people)) == set(CHANGES)


@pytest.mark.parametrize("count", [4, 10])
def test_a_changed_image_has_more_evidence_than_hardly_any_patient_and_the_network_adds_to_it(count):
    patients = lopsided(count)
    bounds = fit_turned(patients)
    layout = fit_likeness("layout", [[one.layout for one in some] for some in patients])
    network = fit_likeness("network", [[one.network for one in some] for some in patients])
    for (new,) in lopsided(8, seed=5):
        found = evidence(layout, network, new)
        assert all(found[change] < bound for change, bound in bounds.items())
        for change in CHANGES:  # each undoes itself
            features = {other: new.network if other == change else new.network + 3 for other in CHANGES}
            other = Ways(changed(new.layout, change), new.changed[change], features)
            told = evidence(layout, network, other)[change]
            assert told > bounds[change]
            assert told == pytest.approx(-found[change], abs=1e-6)
            blind = replace(other, changed={one: other.network for one in CHANGES})
            assert evidence(layout, network, blind)[change] < told


def profile(**changes):
    values = {
        "subjects": 3,
        "validated": 1,
        "window": (10, 12),
        "images": as_plain([ImageFacts(pixel_mm=(1.0, 1.0), modality="MR")]),
        "likenesses": as_plain([fit_likeness("layout", people(3))]),
        "dice": (0.9, None),
        "area_error": (0.05, None),
    }
    return Profile(**{**values, **changes})


def test_a_profile_is_plain_values_that_come_back():
    trust = Trust(profile=profile())
    assert trust_from_dict(trust_to_dict(trust)) == trust


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subjects": -1}, "counts no patients"),
        ({"validated": 7}, "counts no patients"),
        ({"images": ()}, "counts no patients"),
        ({"window": (0, 3)}, "counts no patients"),
        ({"window": "wide"}, "in place of its window"),
        ({"images": ({"pixel_mm": "small"},)}, "in place of its pixel mm"),
        ({"images": ({"name": "Miller"},)}, "an image of its profile is not described"),
        ({"structures": ({"label": 1},)}, "a part of a structure of its profile is missing"),
        ({"likenesses": ({"part": "layout"},)}, "a part of a part of its profile is missing"),
        ({"dice": (float("nan"),)}, "scores that are no numbers"),
        ({"turned": {"upside down": "yes"}}, "in place of its turned"),
    ],
)
def test_what_cannot_be_is_refused_in_words(changes, words):
    values = {**asdict(profile()), **changes}
    with pytest.raises(ValueError, match=words):
        trust_from_dict({"profile": values})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mean": (1.0,)}, "numbers are missing"),
        ({"rest": 0.0}, "not above 0"),
        ({"usual": -1.0}, "not above 0"),
        ({"spread": ()}, "numbers are missing"),
    ],
)
def test_a_likeness_holds_together(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(fit_likeness("layout", people(3)), **changes)
