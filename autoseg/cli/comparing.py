"""The commands that put networks side by side, and one network with few patients and with more."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from autoseg.data.cases import CaseFolder
    from autoseg.evaluation.comparison import Comparison
    from autoseg.evaluation.crossvalidation import Scenario
    from autoseg.model.settings.settings import Settings

UNKNOWN = "–"


def compare(chosen: argparse.Namespace) -> None:
    """Cross-validate networks and recipes on the same folds, and say which is best for these data."""
    from autoseg.cli.learning import tell_findings
    from autoseg.cli.options import find
    from autoseg.data.test_subjects import read_ledger
    from autoseg.evaluation.comparison.own_entries import read_entries
    from autoseg.evaluation.crossvalidation import describe_material
    from autoseg.model.settings.settings import Settings
    from autoseg.model.settings.text import read_assignments
    from autoseg.training.keeping.alone import folds_alone
    from autoseg.training.recipes import recipe

    for name in chosen.networks or ():  # what is misspelt is said before the images are read
        recipe(name)
    read_entries(chosen.entries or (), Settings(), shared=read_assignments(chosen.changes or ()))
    with folds_alone(place_of(chosen)):  # before minutes of reading
        found = find(chosen)
        material = describe_material(found, tell_findings(found))
        ledger = read_ledger(found.folder)
        if ledger:
            print(f"{ledger.note} They are in no fold.")
        base = base_of(chosen, found, place_of(chosen))
        also = {"copies": chosen.copies, "try_copies": chosen.try_copies, "together": chosen.together, "base": base}
        run(chosen, found, entries_of(chosen, base), print_result, material=material, **also)


def add_files(chosen: argparse.Namespace) -> None:
    """Score labels of another program on the folds of a comparison, and show all again."""
    from autoseg.cli import options
    from autoseg.evaluation.comparison.predicted import add_predictions

    print_result(add_predictions(options.find(chosen), chosen.to, chosen.predicted, name=chosen.name))


def forecast(chosen: argparse.Namespace) -> None:
    """Learn from few patients and from more on the same folds, and say what still more would do."""
    from autoseg.cli.learning import check_found
    from autoseg.cli.options import find
    from autoseg.data.test_subjects import read_ledger
    from autoseg.evaluation.comparison.forecast import forecast_entries
    from autoseg.model.settings.settings import Settings
    from autoseg.model.settings.text import read_assignments
    from autoseg.training.keeping.alone import folds_alone
    from autoseg.training.plan import change_settings
    from autoseg.training.recipes import recipe

    if chosen.network is not None:  # what is misspelt is said before the images are read
        recipe(chosen.network)
    with folds_alone(place_of(chosen)):  # before minutes of reading
        found = check_found(find(chosen))
        ledger = read_ledger(found.folder)
        if ledger:
            print(f"{ledger.note} They are in no fold.")
        asked = {
            "folds": chosen.folds,
            "test_subjects": ledger.subjects if ledger else (),
            "sizes": chosen.sizes,
        }
        if chosen.in_all is not None:
            few = Settings(minutes=1.0, epochs=None, seed=chosen.seed)
            count = len(forecast_entries(few, found.cases, "model", **asked))
            chosen.minutes = chosen.in_all / (count * chosen.folds)
            print(f"Each of {count} × {chosen.folds} trainings learns for {chosen.minutes:.3g} minutes.")
        base = base_of(chosen, found, place_of(chosen))
        stem = chosen.network or base.network.name
        settings = change_settings(recipe(stem, base=base), read_assignments(chosen.changes or ()))
        entries = forecast_entries(settings, found.cases, stem, **asked)
        run(chosen, found, entries, print_forecast, base=base, few_by_fold=True)


def place_of(chosen: argparse.Namespace) -> Path:
    """Give the folder of the comparison that is asked for."""
    from autoseg.evaluation.comparison.request import ENDING

    place: Path = chosen.output / f"{chosen.name}{ENDING}"
    return place


def run(
    chosen: argparse.Namespace,
    found: CaseFolder,
    entries: Mapping[str, Settings | Scenario],
    show: Callable[[Comparison], None],
    **also: Any,
) -> None:
    """Say how long it will take, compare, and show what it gave; `also` are further fields of the request."""
    from autoseg.cli.learning import finder_of, stop_at_interrupt, tell
    from autoseg.cli.options import workers_of
    from autoseg.data.test_subjects import read_ledger
    from autoseg.evaluation.comparison import ComparisonRequest, run_comparison
    from autoseg.evaluation.crossvalidation import Scenario, speaking

    ledger = read_ledger(found.folder)
    request = ComparisonRequest(
        found.cases,
        found.structures,
        {name: Scenario.of(one) for name, one in entries.items()},
        place_of(chosen),
        folds=chosen.folds,
        test_subjects=ledger.subjects if ledger else (),
        exact=chosen.exact,
        without_outliers=chosen.without_outliers,
        finder=finder_of(chosen),
        workers=workers_of(chosen),
        **also,
    )
    if request.seconds is not None:
        seconds = request.seconds
        long = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
        print(f"Learning takes about {long} in all, less what is finished already.")
    with stop_at_interrupt() as should_stop:
        result = run_comparison(request, speaking(tell), should_stop)
    show(result)
    if not result.is_finished and should_stop():
        raise KeyboardInterrupt


def base_of(chosen: argparse.Namespace, found: CaseFolder, place: Path) -> Settings:
    """Give what the comparison in that folder was begun with, if it had the same time; else the plan's settings."""
    from autoseg.evaluation.comparison import earlier_base
    from autoseg.model.settings.settings import Settings
    from autoseg.training.plan import plan_comparison

    minutes = chosen.minutes if chosen.epochs is None else None
    earlier = earlier_base(place, Settings(minutes=minutes, epochs=chosen.epochs, seed=chosen.seed))
    return earlier or plan_comparison(found, minutes=minutes, epochs=chosen.epochs, seed=chosen.seed).settings


def entries_of(chosen: argparse.Namespace, base: Settings) -> dict[str, Settings]:
    """Give the settings of each network, recipe and own entry that was asked for, made from the plan's."""
    from autoseg.evaluation.comparison.own_entries import read_entries
    from autoseg.model.networks import USUAL_NETWORKS
    from autoseg.model.settings.text import read_assignments
    from autoseg.training.plan import change_settings
    from autoseg.training.recipes import recipe

    typed = read_assignments(chosen.changes or ())
    own = read_entries(chosen.entries or (), base, shared=typed)
    names = chosen.networks or ([] if own else list(USUAL_NETWORKS))
    return {name: change_settings(recipe(name, base=base), typed) for name in names} | own


def print_result(result: Comparison) -> None:
    """Print what a comparison gave: the table, the notes, the verdict, and where things lie."""
    if len(result.table):
        print(short_table(result.table).to_string(index=False))
    for note in result.notes:
        print(f"Note: {note}")
    print(result.verdict)
    what = ": results.csv, subjects.csv, differences.csv, and pictures" if len(result.table) else ""
    print(f"Saved in {result.folder}{what}.")


def print_forecast(result: Comparison) -> None:
    """Print what more patients would do: the table, the notes, the sentence, and where things lie."""
    from autoseg.words import say_number

    if result.forecast is not None and len(result.forecast.table):
        table = result.forecast.table.drop(columns=["n_patients", "note"])
        print(table.to_string(index=False, float_format=say_number, na_rep=UNKNOWN))
    for note in result.notes:
        print(f"Note: {note}")
    print(result.verdict)
    print(f"Saved in {result.folder}: forecast.csv, forecast.png, and what every comparison has.")


def short_table(table: pd.DataFrame) -> pd.DataFrame:
    """Give what fits on a screen of a comparison's table, as text, the best mean Dice first."""
    import pandas as pd

    from autoseg.evaluation.comparison import MEAN

    rows: list[dict[Any, Any]] = table.to_dict("records")
    means = {row["entry"]: row for row in rows if row["structure"] == MEAN}
    order = sorted(means, key=lambda entry: -means[entry]["dice"])
    ordered = sorted(rows, key=lambda row: order.index(row["entry"]))
    return pd.DataFrame([_shown(row, is_mean=row["structure"] == MEAN) for row in ordered])


def _shown(row: Mapping[Any, Any], *, is_mean: bool) -> dict[str, str]:
    cost = {
        "ms/slice": _number(row["ms_per_slice"], 1),
        "learning s": _number(row["training_seconds"], 0),
        "M parameters": _number(row["parameters"] / 1e6, 2),
        "G multiply-adds": _number(row["multiply_adds"] / 1e9, 2),
        "peak MiB": _number(row["peak_memory_mib"], 0),
    }
    ends = [_number(row[f"dice_{end}"], 3) for end in ("low", "high")]
    return {
        "network": row["title"],
        "structure": row["structure"],
        "Dice": _number(row["dice"], 3),
        "95 %": UNKNOWN if UNKNOWN in ends else f"{ends[0]} to {ends[1]}",
        "IoU": _number(row["iou"], 3),
        "HD95 mm": _number(row["hd95_mm"], 1),
        "area bias mm²": _number(row["area_bias_mm2"], 0),
        "area bias %": _number(row["area_bias_percent"], 1),
        "right pixels %": _number(100 * row["pixel_accuracy"], 2),
        "empty answer %": _number(100 * row["baseline_accuracy"], 2),
        **{name: value if is_mean else "" for name, value in cost.items()},
    }


def _number(value: float, digits: int) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")
