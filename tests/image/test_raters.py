"""Several raters: votes, STAPLE, soft labels, and how far they agree."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import LabelError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.raters import combine_raters, rater_agreement, staple
from autoseg.image.structures import Structure

CORD, GREY, OTHER = Structure(1, "cord", includes=(2,)), Structure(2, "grey matter"), Structure(3, "csf")
AFFINE = affine_from_spacing((3, 0.5, 0.5))


def label_map(row, structures=(CORD, GREY, OTHER), annotated=None, affine=AFFINE):
    """One slice of one row."""
    return LabelMap(np.array([[row]], np.uint8), affine, structures, annotated, Source(case_id="case 7"))


def row(combined):
    return combined.voxels[0, 0].tolist()


class TestMajority:
    def test_more_than_half(self):
        raters = [
            label_map([3, 3, 3, 0]),
            label_map([3, 3, 0, 0]),
            label_map([3, 0, 0, 0]),
            label_map([3, 3, 0, 0]),
        ]
        assert row(combine_raters(raters)) == [3, 3, 0, 0]
        assert row(combine_raters(raters[:2])) == [3, 3, 0, 0]

    @pytest.mark.parametrize(
        ("agreeing", "expected"), [(1, [3, 3, 3]), (2, [3, 3, 0]), (3, [3, 3, 0]), (4, [3, 0, 0])]
    )
    def test_the_wanted_number(self, agreeing, expected):
        raters = [label_map([3, 3, 3]), label_map([3, 3, 0]), label_map([3, 0, 0]), label_map([3, 3, 0])]
        assert row(combine_raters(raters, agreeing=agreeing)) == expected

    def test_a_structure_within_another_takes_its_voxels_and_counts_for_it(self):
        raters = [label_map([2, 2, 1, 1]), label_map([2, 1, 2, 1]), label_map([2, 1, 1, 0])]
        assert row(combine_raters(raters)) == [2, 1, 1, 1]
        # Two of three say grey matter, and the third says nothing of the cord.
        assert row(combine_raters([label_map([2]), label_map([2]), label_map([0])])) == [2]
        # Grey, white and nothing: a cord by two votes, and grey matter by one.
        assert row(combine_raters([label_map([2]), label_map([1]), label_map([0])])) == [1]

    def test_of_several_claims_the_stronger_one_counts_then_the_first(self):
        raters = [label_map([1, 1]), label_map([3, 3]), label_map([3, 0])]
        assert row(combine_raters(raters, agreeing=1)) == [3, 1]

    def test_only_who_drew_a_structure_counts(self):
        drew_cord = label_map([1, 1, 0], annotated={1})
        raters = [drew_cord, drew_cord, label_map([2, 0, 3], annotated={2, 3})]
        combined = combine_raters(raters)
        assert row(combined) == [2, 1, 3]
        assert combined.annotated == {1, 2, 3}
        assert combine_raters([drew_cord, drew_cord]).annotated == {1}

    def test_too_few_raters_for_the_wanted_number_is_an_error(self):
        raters = [label_map([1, 1], annotated={1}), label_map([1, 3])]
        with pytest.raises(
            LabelError, match=r"case 7: 1 of 2 raters drew 'grey matter', so 2 cannot agree.* 1 or fewer"
        ):
            combine_raters(raters, agreeing=2)

    def test_structures_that_only_some_raters_have(self):
        combined = combine_raters([label_map([3, 0], (OTHER,)), label_map([3, 5], (OTHER, Structure(5, "nerve")))])
        assert [structure.label for structure in combined.structures] == [3, 5]
        assert row(combined) == [3, 5]
        assert combined.affine is not None


class TestMean:
    def test_shares_of_raters_add_up(self):
        raters = [
            label_map([2, 2, 1, 0]),
            label_map([2, 1, 1, 3]),
            label_map([2, 1, 0, 3]),
            label_map([2, 1, 0, 0]),
        ]
        combined = combine_raters(raters, rule="mean")
        assert row(combined) == [2, 1, 0, 0]
        np.testing.assert_allclose(combined.shares[:, 0, 0], [[0, 0.75, 0.5, 0], [1, 0.25, 0, 0], [0, 0, 0, 0.5]])

    def test_who_drew_the_cord_only_says_nothing_of_the_grey_matter(self):
        raters = [label_map([1, 1], annotated={1}), label_map([2, 1])]
        np.testing.assert_allclose(combine_raters(raters, rule="mean").shares[:, 0, 0], [[0, 1], [1, 0], [0, 0]])

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=5))
    def test_shares_are_shares(self, rows):
        raters = [label_map(values) for values in rows]
        combined = combine_raters(raters, rule="mean")
        for index, structure in enumerate(combined.structures):
            alone = np.mean([rater.voxels == structure.label for rater in raters], axis=0)
            np.testing.assert_allclose(combined.shares[index], alone, atol=1e-6)
        assert combined.shares.sum(axis=0).max() <= 1 + 1e-6


class TestStaple:
    def simulated(self, sensitivity, specificity, *, share=0.3, count=40_000):
        rng = np.random.default_rng(3)
        truth = rng.random(count) < share
        masks = [
            np.where(truth, rng.random(count) < p, rng.random(count) >= q)
            for p, q in zip(sensitivity, specificity, strict=True)
        ]
        return truth, masks

    def test_sensitivity_and_specificity_are_found(self):
        sensitivity, specificity = [0.95, 0.8, 0.65, 0.9, 0.75], [0.99, 0.9, 0.97, 0.85, 0.95]
        truth, masks = self.simulated(sensitivity, specificity)
        found = staple(masks)
        np.testing.assert_allclose(found.sensitivity, sensitivity, atol=0.015)
        np.testing.assert_allclose(found.specificity, specificity, atol=0.015)
        assert ((found.probability >= 0.5) == truth).mean() > 0.97

    def test_it_beats_the_majority_where_one_rater_is_good(self):
        truth, masks = self.simulated([0.99, 0.6, 0.6, 0.6], [0.99, 0.7, 0.7, 0.7])
        majority = np.sum(masks, axis=0) > 2
        estimate = staple(masks).probability >= 0.5
        assert (estimate != truth).mean() < 0.02 < (majority != truth).mean()

    def test_background_around_changes_nothing(self):
        _, masks = self.simulated([0.9, 0.8, 0.7], [0.9, 0.9, 0.9], count=900)
        small = [mask.reshape(1, 30, 30) for mask in masks]
        large = [np.pad(mask, ((1, 2), (20, 30), (40, 7))) for mask in small]
        np.testing.assert_allclose(staple(large).probability[1:2, 20:50, 40:70], staple(small).probability)
        np.testing.assert_allclose(staple(large).specificity, staple(small).specificity)

    @pytest.mark.parametrize("value", [False, True])
    def test_raters_who_agree_are_perfect(self, value):
        mask = np.full((1, 4, 4), value)
        found = staple([mask, mask, mask])
        np.testing.assert_array_equal(found.probability, mask)
        np.testing.assert_array_equal(found.sensitivity, 1)
        np.testing.assert_array_equal(found.specificity, 1)

    def test_one_rater_is_believed(self):
        mask = np.array([True, False, True])
        np.testing.assert_allclose(staple([mask]).probability, mask, atol=1e-3)

    def test_label_maps_are_combined(self):
        raters = [label_map([0, 2, 2, 1, 1, 0]), label_map([0, 2, 2, 1, 1, 0]), label_map([3, 2, 1, 1, 0, 0])]
        combined = combine_raters(raters, rule="staple")
        assert row(combined) == [0, 2, 2, 1, 1, 0]
        assert combined.shares is None

    def test_masks_of_several_shapes_are_refused(self):
        with pytest.raises(LabelError, match="one shape"):
            staple([np.ones(3, bool), np.ones(4, bool)])


class TestRefusals:
    def test_grids_and_names_must_be_the_same(self):
        with pytest.raises(LabelError, match="different grids"):
            combine_raters([label_map([1]), label_map([1], affine=affine_from_spacing((3, 0.5, 0.6)))])
        with pytest.raises(LabelError, match="'csf' for one rater and 'nerve' for another"):
            combine_raters([label_map([3], (OTHER,)), label_map([3], (Structure(3, "nerve"),))])
        with pytest.raises(LabelError, match="one for each rater"):
            combine_raters([])

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"rule": "best"}, "'best'; choose majority, staple or mean"),
            ({"agreeing": 0}, "agreeing is 0 with the rule 'majority'; give 1 or more"),
            ({"rule": "staple", "agreeing": 2}, "agreeing is 2 with the rule 'staple'.*none with staple"),
        ],
    )
    def test_rules_that_cannot_be(self, options, words):
        with pytest.raises(LabelError, match=words):
            combine_raters([label_map([1])], **options)

    def test_every_rater_has_a_name_of_its_own(self):
        for names in (["a"], ["a", "a"]):
            with pytest.raises(LabelError, match="a name of its own"):
                rater_agreement([label_map([1]), label_map([1])], names)


class TestAgreement:
    def test_by_hand(self):
        voxels = np.zeros((3, 2, 2, 3), np.uint8)  # raters, slices, rows, columns
        voxels[0, 0], voxels[1, 0, :, :2], voxels[2, 0, 0] = 3, 3, 3
        voxels[0, 1, 0], voxels[1, 1, 0] = 3, 3
        raters = [LabelMap(array, AFFINE, (OTHER,)) for array in voxels]
        table = rater_agreement(raters, ["x", "y", "z"])
        assert table.columns.tolist() == [
            "label",
            "name",
            "rater_1",
            "rater_2",
            "slices",
            "dice",
            "area_cv_percent",
        ]
        assert table[["rater_1", "rater_2"]].to_numpy().tolist() == [
            ["x", "y"],
            ["x", "z"],
            ["y", "z"],
            ["all", ""],
        ]
        dice = [2 * 7 / 16, 2 * 3 / 12, 2 * 2 / 10]
        np.testing.assert_allclose(table.dice, [*dice, np.mean(dice)])
        cv = [np.std(areas, ddof=1) / np.mean(areas) for areas in ((6, 4), (3, 3), (6, 4, 3), (3, 3, 0))]
        np.testing.assert_allclose(table.area_cv_percent[0], 50 * (cv[0] + cv[1]))
        np.testing.assert_allclose(table.area_cv_percent[3], 50 * (cv[2] + cv[3]))
        assert table.slices.tolist() == [2, 2, 2, 2]

    def test_a_structure_counts_with_what_it_includes(self):
        table = rater_agreement([label_map([2, 1, 0]), label_map([1, 1, 0])], ["x", "y"])
        assert table.query("name == 'cord'").dice.tolist() == [1, 1]
        assert table.query("name == 'grey matter'").dice.tolist() == [0, 0]

    def test_nothing_drawn_is_no_agreement(self):
        table = rater_agreement([label_map([1]), label_map([1], annotated={1})], ["x", "y"])
        assert table.name.unique().tolist() == ["cord"]
        table = rater_agreement([label_map([0]), label_map([0])], ["x", "y"])
        assert table.slices.tolist() == [0] * 6
        assert table.dice.isna().all()
        assert table.area_cv_percent.isna().all()


class TestCordTracts:
    """Five raters, three tracts, five slices; a second session of all but charles."""

    structures = (Structure(1, "csl", side="left"), Structure(2, "csr", side="right"), Structure(3, "dc"))
    names = ("benjamin", "charles", "julien", "simon", "tanguy")

    def read(self, shared_data, name, session=""):
        folder = shared_data / "cord-multirater-tracts" / "manual_masks" / name
        voxels = np.zeros((5, 120, 120), np.uint8)
        for structure in self.structures:
            mask = np.asarray(nibabel.load(folder / f"manual_{structure.name}{session}.nii.gz").dataobj).T > 0
            voxels[mask] = structure.label
        return LabelMap(voxels, affine_from_spacing((1, 0.5, 0.5)), self.structures)

    def test_raters_disagree_as_described(self, shared_data):
        raters = [self.read(shared_data, name) for name in self.names]
        assert raters[1].mask(2).sum(axis=(1, 2)).astype(bool).tolist() == [True, False, True, True, True]
        table = rater_agreement(raters, self.names)
        assert len(table) == 3 * (10 + 1)
        whole = table[table.rater_1 == "all"].set_index("name")
        np.testing.assert_allclose(whole.dice, [0.527, 0.489, 0.618], atol=0.001)
        assert whole.area_cv_percent.between(20, 45).all()

    def test_one_map_of_five(self, shared_data):
        raters = [self.read(shared_data, name) for name in self.names]
        pairs = rater_agreement(raters, self.names).query("rater_1 == 'all'").dice.to_numpy()
        for rule in ("majority", "staple"):
            combined = combine_raters(raters, rule=rule)
            tables = [rater_agreement([rater, combined], ["a", "b"]).query("rater_1 == 'all'") for rater in raters]
            # The middle of several raters is nearer to each than they are to one another.
            assert (np.mean([table.dice for table in tables], axis=0) > pairs + 0.1).all()
        shares = combine_raters(raters, rule="mean").shares
        np.testing.assert_allclose(np.unique(shares), np.arange(6) / 5, atol=1e-6)

    def test_a_rater_agrees_better_with_himself(self, shared_data):
        pairs = rater_agreement([self.read(shared_data, name) for name in self.names], self.names).dice.mean()
        repeats = [
            rater_agreement([self.read(shared_data, name), self.read(shared_data, name, "_2")], ["first", "second"])
            for name in self.names
            if name != "charles"
        ]
        assert np.mean([table.dice.mean() for table in repeats]) > pairs + 0.05
