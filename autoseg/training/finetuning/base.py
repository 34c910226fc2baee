"""The model that a fine-tuning begins from: its settings, whom it has seen, and whether it can be gone on from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoseg.data.cases import Case
from autoseg.data.digests import known_subjects
from autoseg.data.split import Shown, Split, split_cases, subjects_of, what_lacks
from autoseg.errors import DataError, SettingsError
from autoseg.model.model import TrainedModel, model_digest, sources_of
from autoseg.model.settings.settings import FineTuneSettings, Settings
from autoseg.training.plan import change_settings
from autoseg.words import name_private


def settings_from_base(model: TrainedModel, **changes: object) -> Settings:
    """Give settings to fine-tune a model with.

    How images are prepared, the network, the augmentation and the loss are the model's. The rest is what was found
    best on volumes of the lumbosacral cord: learning rate 0.00001, five images at once, and the rate halved after
    10 epochs without a better validation; what of the network rests, `finetune` says. A model that was trained by
    SGD goes on with AdamW, because such steps are far too short for SGD.

    Parameters
    ----------
    model : TrainedModel
    **changes : object
        Settings that are to be others, by their names as `plan.change_settings` takes them: `epochs=40`,
        `**{"finetune.frozen": (), "preprocess.spacing_mm": 0.5}`. By default 100 epochs.

    Raises
    ------
    SettingsError
        If a name is unknown or a value cannot work.
    """
    own = model.settings
    # Learning rates of fine-tuning are AdamW's.
    by_adamw: dict[str, Any] = {"optimizer": "adamw"} if own.optimizer in ("sgd", "muon") else {}
    if own.optimizer == "sgd":
        by_adamw["weight_decay"] = Settings().weight_decay
    start = replace(
        own,
        epochs=None,
        minutes=None,
        batch_size=5,
        learning_rate=1e-5,
        schedule="plateau",
        plateau_epochs=10,
        drop_factor=0.5,
        best_by="dice" if own.best_by == "last" else own.best_by,
        finetune=FineTuneSettings(),
        **by_adamw,
    )
    if changes.get("minutes") is not None:
        changes.setdefault("epochs", None)
    return change_settings(start, changes)


def split_for_base(
    model: TrainedModel,
    cases: Sequence[Case],
    *,
    validation_subjects: Collection[str] | None = None,
    test_subjects: Collection[str] = (),
    seed: int = 0,
    facts: Mapping[str, Shown] | None = None,
) -> Split:
    """Split cases as `split_cases` does, but draw validation subjects among those that a model has not learnt from.

    The others, whom it knows, are learnt from again. `facts` are as there.

    Raises
    ------
    DataError
        As `split_cases` does, and if the model has learnt from everybody here.
    """
    known = _subjects(cases, learnt_from(model)) - set(test_subjects)
    if validation_subjects is not None or not known:
        return split_cases(
            cases, validation_subjects=validation_subjects, test_subjects=test_subjects, seed=seed, facts=facts
        )
    strangers = [case for case in cases if case.subject_id not in known]
    if not set(subjects_of(strangers)) - set(test_subjects):
        raise DataError(
            f"The base model {model.name!r} has learnt from every patient here, so nobody is left to validate on "
            "honestly. Add images of other patients, or train without a base model."
        )
    split = split_cases(strangers, test_subjects=test_subjects, seed=seed, facts=facts)
    again = tuple(case for case in cases if case.subject_id in known)
    if not split.validation:
        # One stranger alone validates, since others can be learnt from.
        split = replace(split, training=again, validation=split.training)
    else:
        split = replace(split, training=(*split.training, *again))
    return replace(split, notes=what_lacks(split, facts))


def learnt_from(model: TrainedModel) -> frozenset[str]:
    """Give the fingerprints of whom a model, or one that it went on from, has learnt from.

    Of model files of earlier versions also those of whom it was validated on, which were not told apart.
    """
    return frozenset(model.origin.get("learnt_fingerprints", model.origin.get("subject_fingerprints", ())))


def has_seen(model: TrainedModel) -> frozenset[str]:
    """Give the fingerprints of whom a model, one that it went on from, or its finder, has learnt or validated on.

    Of a model that learnt without outliers, the finder knows these all the same.
    """
    own = frozenset(model.origin.get("subject_fingerprints", ()))
    return own if model.finder is None else own | has_seen(model.finder)


def check_base(model: TrainedModel, split: Split, settings: Settings) -> None:
    """See that a model can be gone on from, and that the scores to come will be honest."""
    _check_kind(model, settings)
    told = f"The base model {model.name!r}"
    known = sorted(_subjects(split.validation, learnt_from(model)))
    if known:
        raise DataError(
            f"{told} has learnt from {name_private(known)}, who validate here: the validation would be too "
            "good, and would choose the wrong epoch. Move them to training, or validate on others."
        )
    known = sorted(_subjects(split.test, has_seen(model)))
    if known:
        raise DataError(
            f"{told} has learnt from {name_private(known)}, or was validated on them, and they are for the test: a "
            "test would say nothing of a new person. Leave them out, or begin from a model that does not know them."
        )


def knows_validation(model: TrainedModel, split: Split) -> list[str]:
    """Say where validation subjects have chosen some of the base, though it did not learn from them.

    Without their names: the model's file keeps the note.
    """
    known, of = len(_subjects(split.validation, has_seen(model))), len(subjects_of(split.validation))
    if not known:
        return []
    whom = "this validation patient" if of == 1 else f"{known} of these {of} validation patients"
    them = "it" if known == 1 else "them"
    return [
        f"The base model {model.name!r} was validated on {whom}, too: it did not learn from {them}, but "
        f"some of it was chosen by {them}, such as its epoch, so that the score may be a little too good."
    ]


def describe_base(model: TrainedModel, new: Sequence[str]) -> dict[str, Any]:
    """Give what a fine-tuned model keeps of its base, as plain values without names of patients."""
    before = model.origin.get("base")
    return {
        "name": model.name,
        "digest": model_digest(model),
        "structures": [structure.name for structure in model.structures],
        "channels": list(model.channels),
        "subject_fingerprints": sorted(has_seen(model)),
        "learnt_fingerprints": sorted(learnt_from(model)),
        "new": list(new),
        "sources": list(sources_of(model)),
        "base": None if before is None else {key: before.get(key) for key in ("name", "digest", "base")},
    }


def _check_kind(model: TrainedModel, settings: Settings) -> None:
    own = model.settings
    remedy = "Take the settings from it, or begin from another model."
    if own.spatial_dims != settings.spatial_dims:
        raise SettingsError(
            f"spatial_dims is {settings.spatial_dims} and the base model {model.name!r} was trained with "
            f"{own.spatial_dims}: filters of slices and of volumes do not fit each other. {remedy}"
        )
    if own.network.name != settings.network.name:
        raise SettingsError(
            f"network.name is {settings.network.name!r} and the base model {model.name!r} is a "
            f"{own.network.name!r}, whose weights it cannot take. {remedy}"
        )


def _subjects(cases: Sequence[Case], fingerprints: Collection[str]) -> frozenset[str]:
    return known_subjects({case.subject_id for case in cases}, fingerprints)
