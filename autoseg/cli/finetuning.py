"""The command that brings a trained model to other images, in several ways side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoseg.evaluation.comparison import Comparison


def finetune(chosen: argparse.Namespace) -> None:
    """Cross-validate a model as it is, fine-tuned and from scratch on the same folds, and say what is best."""
    from autoseg.cli.comparing import place_of, print_result, run
    from autoseg.cli.learning import base_of, tell_findings
    from autoseg.cli.options import find
    from autoseg.evaluation.comparison import EntryName
    from autoseg.evaluation.comparison.scenarios import SCENARIOS, scenarios_of
    from autoseg.evaluation.comparison.tables import per_subject_table
    from autoseg.evaluation.crossvalidation import describe_material
    from autoseg.model.settings.text import read_assignments
    from autoseg.training.keeping.alone import folds_alone

    base = base_of(chosen)
    if base is None:
        raise AssertionError("the parser asks for a base")

    def show(result: Comparison) -> None:
        table = per_subject_table(result.subjects)
        if len(table):
            print(table.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep="–"))
        print_result(result)

    with folds_alone(place_of(chosen)):  # before minutes of reading
        found = find(chosen)
        material = describe_material(found, tell_findings(found))
        minutes = None if chosen.epochs is not None else chosen.minutes
        shared = {"seed": chosen.seed, "minutes": minutes, "epochs": chosen.epochs}
        changes = shared | read_assignments(chosen.changes or ())
        entries = scenarios_of(
            base, found.structures, chosen.scenarios or (), changes=changes, subjects=chosen.subjects
        )
        for stem in dict.fromkeys(EntryName.read(name).stem for name in entries):
            print(f"{stem}: {SCENARIOS[stem].words}")
        run(chosen, found, entries, show, material=material)
