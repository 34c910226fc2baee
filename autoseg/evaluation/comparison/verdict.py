"""What a comparison says, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from autoseg.evaluation.comparison.entries import title_of
from autoseg.evaluation.comparison.tables import MEAN
from autoseg.measurement.statistics import smallest_p
from autoseg.words import counted

# Below, a difference is called more than chance.
CHANCE = 0.05
# An entry is called faster from so many times the speed on.
FASTER = 1.25
# With a mean Dice below that, no entry has learnt what it should.
LITTLE = 0.5
# A lead below that is none, but a rounding.
LEVEL = 1e-9


def give_verdict(table: pd.DataFrame, differences: pd.DataFrame, learnt: Sequence[str]) -> str:
    """Say in a sentence which entry is best for these data, and whether that is more than chance."""
    rows: dict[str, dict[Any, Any]] = {
        str(row["entry"]): row
        for row in table.to_dict("records")
        if row["structure"] == MEAN and row["entry"] in learnt and not math.isnan(row["dice"])
    }
    if not rows:
        return "Nothing was scored, so nothing can be compared."
    order = order_of(table, differences, learnt)
    warning = ""
    if not has_learnt(table, learnt):
        warning = " None has learnt enough to be used: let them learn longer, or draw more, and compare again."
    return f"{_sentence(rows, order, table, differences)}{warning}"


def has_learnt(table: pd.DataFrame, learnt: Sequence[str]) -> bool:
    """Tell whether the mean Dice of any entry that learnt is such that it can be used."""
    means = table[(table["structure"] == MEAN) & table["entry"].isin(learnt)] if len(table) else table
    return bool(len(means)) and bool(means["dice"].max() >= LITTLE)


def _sentence(
    rows: Mapping[str, Mapping[Any, Any]], order: Sequence[str], table: pd.DataFrame, differences: pd.DataFrame
) -> str:
    """Say which is best, by how much, and whether that is more than chance."""
    best = rows[order[0]]
    structures = len(table[(table["entry"] == order[0]) & (table["structure"] != MEAN)])
    over = f" over {structures} structures" if structures > 1 else ""
    if len(order) == 1:
        return (
            f"Only {title_of(order[0])} was scored: mean Dice {best['dice']:.3f}{over}, of "
            f"{counted(int(best['n_subjects']), 'patient')}. There is nothing to compare it with."
        )
    pairs = _pairs_with(order[0], order[1:], differences)
    runner_up = pairs[order[1]]
    names = f"{title_of(order[0])} and {title_of(order[1])}"
    if not runner_up["n_subjects"]:
        return f"No patient was scored by both {names}, so it cannot be said which is better."
    if runner_up["lead"] < LEVEL:
        equal = f"On these data {names} are equally good: mean Dice {best['dice']:.3f}{over}"
        return f"{equal}{_faster(rows, pairs, order[0])}."
    lead = f"{runner_up['lead']:.3f}" if runner_up["lead"] >= 0.0005 else "less than 0.001"
    sentence = (
        f"On these data {title_of(order[0])} is best: mean Dice {best['dice']:.3f}{over}, {lead} ahead of "
        f"{title_of(order[1])}{_chance(runner_up, len(pairs))}"
    )
    return f"{sentence}{_faster(rows, pairs, order[0])}."


def order_of(table: pd.DataFrame, differences: pd.DataFrame, learnt: Sequence[str]) -> list[str]:
    """Give the entries that learnt and have a score, ranked as `differences_table` does, the best first."""
    means = table[(table["structure"] == MEAN) & table["entry"].isin(learnt)].dropna(subset=["dice"])
    known = [str(entry) for entry in means.sort_values("dice", ascending=False, kind="stable")["entry"]]
    pairs = differences[differences["structure"] == MEAN]
    pairs = pairs[pairs["entry"].isin(known) & pairs["other"].isin(known)]
    ranked = dict.fromkeys(str(name) for pair in zip(pairs["entry"], pairs["other"], strict=True) for name in pair)
    return list(ranked) or known


def _chance(pair: Mapping[str, Any], rivals: int) -> str:
    """Say whether a lead is more than chance."""
    n = int(pair["n_subjects"])
    least = min(1.0, rivals * smallest_p(n))
    if least >= CHANCE:
        among = f" and {rivals} rivals" if rivals > 1 else ""
        who = f"{counted(n, 'patient')}{among}"
        return f"; with {who} even a difference in all of them could be chance (p ≥ {_number(least)})"
    if pair["p_corrected"] < CHANCE:
        return f", which is more than chance (p {_is(pair['p_corrected'])})"
    return f", which may be chance (p {_is(pair['p_corrected'])})"


def _faster(rows: Mapping[str, Mapping[Any, Any]], pairs: Mapping[str, Mapping[str, Any]], best: str) -> str:
    """Name the fastest that cannot be told from the best, if it is faster."""
    alike = [
        entry
        for entry, pair in pairs.items()
        if pair["low"] <= 0 and not pair["p_corrected"] < CHANCE  # an interval that is not known is no claim
    ]
    for column, word, unit in (("ms_per_slice", "segments", "ms a slice"), ("training_seconds", "learns", "s")):
        times = {entry: rows[entry][column] for entry in (best, *alike)}
        faster = [entry for entry in alike if 0 < times[entry] * FASTER <= times[best]]
        if faster:
            found = min(faster, key=lambda entry: times[entry])
            return (
                f"; {title_of(found)}, {pairs[found]['lead']:.3f} behind, cannot be told from it and {word} "
                f"{times[best] / times[found]:.1f} times as fast ({times[found]:.3g} instead of "
                f"{times[best]:.3g} {unit})"
            )
    return ""


def _pairs_with(best: str, rivals: Sequence[str], differences: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Give the lead of the best over each rival, whichever stands first in the table."""
    found = {}
    for row in differences[differences["structure"] == MEAN].to_dict("records"):
        names = (row["entry"], row["other"])
        if best not in names:
            continue
        rival, sign = (names[1], 1) if names[0] == best else (names[0], -1)
        ends = [sign * row[f"dice_difference_{end}"] for end in ("low", "high")]
        if rival in rivals:
            found[str(rival)] = {
                "lead": sign * row["dice_difference"],
                "low": min(ends),
                "n_subjects": row["n_subjects"],
                "p_corrected": row["p_corrected"],
            }
    return found


def gain_note(entry: str, base: str, table: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Say what was gained by a mean over models or copies, by exact centrelines, or without outliers.

    What it costs is said where it takes longer.
    """
    pair = _pairs_with(entry, [base], differences).get(base)
    if pair is None:
        return ""
    rows = {row["entry"]: row for row in table.to_dict("records") if row["structure"] == MEAN}
    gain = f"{pair['lead']:+.3f}".replace("-", "−") if abs(pair["lead"]) >= 0.0005 else "the same"
    share = rows[entry]["ms_per_slice"] / rows[base]["ms_per_slice"]
    cost = f", for {share:.1f} times the time a slice" if share >= FASTER else ""
    name = title_of(entry)
    return f"{name[0].upper()}{name[1:]}: Dice {gain} beside {title_of(base)}{cost}."


def _is(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {_number(p)}"


def _number(p: float) -> str:
    return f"{p:.2g}" if p < 0.01 else f"{p:.2f}"
