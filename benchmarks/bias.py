"""Where areas that are off on average come from: a fold learnt again with one thing changed.

    python benchmarks/bias.py FOLDS DATA [--fold 1] [--epochs N] [--only NAME …]

FOLDS is a folder of `autoseg crossvalidate` (with `fold_1` …), DATA what it was given. Every variant learns from
the fold's own training subjects, with its seed and a fixed number of epochs, and answers on them and on those
of its test, by whom nothing was chosen. For each structure the table has, in percent of what was drawn: how far its
pixels are off where each takes its most probable class ("count"), and how far the sum of its probabilities is, as
far as they are not tiny ("sum"); then how far the count lies from the sum ("rule"), and the Dice of all pixels. "±"
is the standard error over subjects. "rule" is what taking the most probable class costs by itself; it needs no
reference and varies little between subjects, so that variants can be compared after one fold.
"""

import argparse
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np

from autoseg.data.cases import Case, find_cases
from autoseg.data.split import Split
from autoseg.evaluation.crossvalidation.fold import read_content, read_fold, read_model
from autoseg.model.settings.settings import Settings
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.training import train
from autoseg.training.trust.offsets import Answered, answer
from autoseg.training.validation import class_members


def variants(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Give the settings of each variant."""
    yield "as it was", settings
    yield "no average of weights", replace(settings, average_decay=0.0)
    yield (
        "no late cross-entropy",
        replace(
            settings, loss=replace(settings.loss, overlap_until=1.0, late_pixel_weight=settings.loss.pixel_weight)
        ),
    )
    yield "Dice alone", replace(settings, loss=replace(settings.loss, pixel="none", overlap_until=math.inf))
    yield "cross-entropy alone", replace(settings, loss=replace(settings.loss, overlap="none"))
    if settings.spatial_dims == 3:
        finer = tuple(0.75 * size for size in settings.volume.spacing_mm or ())
        yield "finer grid (× 0.75)", replace(settings, volume=replace(settings.volume, spacing_mm=finer or None))
    elif settings.preprocess.spacing_mm is not None:
        finer_mm = 0.75 * settings.preprocess.spacing_mm
        yield "finer grid (× 0.75)", replace(settings, preprocess=replace(settings.preprocess, spacing_mm=finer_mm))
    yield (
        "no augmentation of shape",
        replace(
            settings,
            augmentation=replace(
                settings.augmentation,
                rotation_probability=0,
                scaling_probability=0,
                zoom_probability=0,
                crop_probability=0,
            ),
        ),
    )


def per_subject(answered: Sequence[Answered], members: np.ndarray, k: int) -> np.ndarray:
    """Give (subjects, 4) pixels of a structure: both, counted, drawn, and the sum of probabilities."""
    own, found = members[k], dict[str, np.ndarray]()
    for one in answered:
        if one.drawn[k]:
            counted, drawn = own[one.unsure.argmax(1)], own[one.truth]
            both = one.sure[own][:, own].sum() + (counted & drawn).sum()
            values = [both, one.sure[own].sum() + counted.sum(), one.reference[k], one.expected[k]]
            found[one.subject_id] = found.get(one.subject_id, np.zeros(4)) + values
    return np.stack([values for values in found.values() if values[2] > 0])


def ratio(above: np.ndarray, below: np.ndarray) -> str:
    """Give by how many percent a sum over subjects is off, and the standard error of this."""
    value = above.sum() / below.sum()
    scatter = (above - value * below) / below.mean()
    error = np.sqrt((scatter**2).sum() / max(1, len(above) - 1) / len(above))
    return f"{100 * (value - 1):+6.1f} ±{100 * error:4.1f}"


def main() -> None:
    """Learn each variant, and print its lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folds", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="default: as many as the fold had")
    parser.add_argument("--only", nargs="*", help="names of variants")
    chosen = parser.parse_args()
    place = chosen.folds / f"fold_{chosen.fold}"
    model, made_from = read_model(read_fold(place, chosen.fold)), read_content(place)["made_from"]
    by_id = {case.case_id: case for case in find_cases(chosen.data, unlabelled="skip").cases}
    sides = {
        side: tuple(by_id[case_id] for case_id in made_from[side]) for side in ("training", "validation", "test")
    }
    epochs = chosen.epochs or max(one.epoch for one in model.history)
    settings = replace(model.settings, epochs=epochs, minutes=None)
    members = class_members(model.structures, len(model.structures)).numpy()
    print(f"{place}, {epochs} epochs\n{'':26}{'':20}{'count':>14}{'sum':>14}{'rule':>14}{'Dice':>8}", flush=True)
    for name, changed in variants(settings):
        if chosen.only and name not in chosen.only:
            continue
        split = Split(sides["training"], sides["validation"], ())
        learnt = train(split, changed, structures=model.structures, name="bias")
        for side, cases in (("known", sides["training"][:20]), ("new", sides["test"])):
            answered = [ask(learnt, case, members) for case in cases]
            for k, structure in enumerate(model.structures):
                both, counted, drawn, expected = per_subject(answered, members, k).T
                dice = 2 * both.sum() / (counted + drawn).sum()
                print(
                    f"{name:26}{side:6}{structure.name:14}{ratio(counted, drawn):>14}{ratio(expected, drawn):>14}"
                    f"{ratio(counted, expected):>14}{dice:8.3f}",
                    flush=True,
                )


def ask(model, case: Case, members: np.ndarray) -> Answered:
    """Give what a model answers on a case."""
    image, reference = read_reference(case, model.structures)
    return answer(replace(model, offsets=()), image, reference, members, is_validation=False)


if __name__ == "__main__":
    main()
