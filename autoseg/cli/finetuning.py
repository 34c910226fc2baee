"""The command that brings a trained model to other images, in several ways side by side."""

from __future__ import annotations

import argparse


def finetune(chosen: argparse.Namespace) -> None:
    """Cross-validate a model as it is, fine-tuned and from scratch on the same folds, and say what is best."""
    from autoseg import comparison
    from autoseg.cli.comparing import print_result
    from autoseg.cli.data import find
    from autoseg.cli.learning import base_of, check_found, stop_at_interrupt, tell
    from autoseg.comparison.per_subject import per_subject_table
    from autoseg.comparison.scenarios import WAYS, scenarios_of
    from autoseg.ledger import read_ledger
    from autoseg.settings_text import read_assignments

    base = base_of(chosen)
    if base is None:
        raise AssertionError("the parser asks for a base")
    found = check_found(find(chosen))
    ledger = read_ledger(found.folder)
    entries = scenarios_of(
        base,
        found.structures,
        names=chosen.scenarios or (),
        minutes=None if chosen.epochs is not None else chosen.minutes,
        epochs=chosen.epochs,
        seed=chosen.seed,
        changes=read_assignments(chosen.changes or ()),
    )
    for name in entries:
        print(f"{name}: {WAYS[name].words if name in WAYS else WORDS[name]}")
    seconds = comparison.estimate_seconds(entries, chosen.folds)
    if seconds is not None:
        print(f"Learning takes about {max(1, round(seconds / 60))} minutes in all, less what is finished already.")
    with stop_at_interrupt() as should_stop:
        result = comparison.compare(
            found.cases,
            found.structures,
            entries,
            folder=chosen.output / f"{chosen.name}_comparison",
            folds=chosen.folds,
            test_subjects=ledger.subjects if ledger else (),
            tell=tell,
            should_stop=should_stop,
        )
    table = per_subject_table(result.subjects)
    if len(table):
        print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="–"))
    print_result(result)
    if not result.is_finished and should_stop():
        raise KeyboardInterrupt


WORDS = {
    "original": "The model as it is, without learning anything here.",
    "from scratch": "The same network, learnt from these images alone.",
}
