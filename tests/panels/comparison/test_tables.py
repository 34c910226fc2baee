"""The tables of a comparison: the best first, plain titles, units, intervals."""

import math
from pathlib import Path

from comparisons import known_comparison

from autoseg.evaluation.crossvalidation import CrossValidation, FoldResult
from autoseg.panels.comparison.tables import (
    best_entry,
    centrelines_html,
    cost_table,
    differences_html,
    quality_table,
)
from autoseg.training.finder import CentrelineScore


def test_the_best_stands_first_with_its_interval_and_units(tmp_path):
    words = quality_table(known_comparison(tmp_path))
    assert words.index("ResUNet") < words.index(">U-Net")
    for part in (">0.871<", "[0.800, 0.930]", ">0.812<", ">2.5<", "Outline error, mm", "4 patients"):
        assert part in words
    assert 'title="Overlap with the reference' in words
    assert "Right pixels" not in words  # nothing is known of it
    assert "+" not in quality_table(known_comparison(tmp_path), "ring").split("<tbody>")[1]
    assert "−17.5" in quality_table(known_comparison(tmp_path), "ring")


def test_what_it_costs_has_plain_numbers(tmp_path):
    words = cost_table(known_comparison(tmp_path))
    for part in (">5.16<", ">1.25<", ">120<", ">12.3<", "Segmenting, ms a slice", "Parameters, million"):
        assert part in words
    # Of a column all have the decimals that the smallest needs.
    comparison = known_comparison(tmp_path)
    comparison.table.loc[comparison.table["entry"] == "unet", "training_seconds"] = 7.5
    words = cost_table(comparison)
    assert ">7.50<" in words
    assert ">120.40<" in words


def test_differences_say_how_likely_chance_is(tmp_path):
    comparison = known_comparison(tmp_path)
    words = differences_html(comparison)
    for part in ("ResUNet − U-Net", "+0.059", "[−0.010, +0.120]", ">0.062<"):
        assert part in words
    comparison.differences["p_corrected"] = math.nan
    assert ">0.031<" in differences_html(comparison)
    comparison.differences["p"] = 0.0002
    assert "&lt; 0.001" in differences_html(comparison)


def test_the_best_is_that_with_the_highest_dice_of_those_asked_for(tmp_path):
    comparison = known_comparison(tmp_path)
    assert best_entry(comparison, among=("unet", "resunet")) == "resunet"
    assert best_entry(comparison, among=("unet",)) == "unet"
    comparison.table["dice"] = math.nan
    assert best_entry(comparison, among=("unet", "resunet")) is None


def test_how_well_centrelines_were_found_is_told_but_not_of_exact_ones(tmp_path):
    def run(*means):
        scores = [CentrelineScore("c", "s", "found", mean, 2, 3 * mean, 0, 0, mean / 10, 0) for mean in means]
        folds = [FoldResult(n, Path(), (), (), centrelines=(score,)) for n, score in enumerate(scores)]
        return CrossValidation(Path(), tuple(folds), (), None)

    runs = {
        "all parts": run(1.0, 2.0),
        "new tail": run(1.0, 2.0),
        "all parts, exact centreline": run(0.0),
        "original": run(),
    }
    words = centrelines_html(known_comparison(tmp_path, runs=runs), kind="scenario")
    for part in (">all parts, new tail<", ">2<", ">1.5<", ">6.0<", ">15.0<"):
        assert part in words
    assert "exact" not in words
    assert "original" not in words
    assert centrelines_html(known_comparison(tmp_path)) == ""
