"""By what a model is told from every other, also from one of its name: digests of what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autoseg.model.model import TrainedModel, model_digest
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import Settings, settings_to_dict


def settings_digest(settings: Settings) -> str:
    """Give 16 hexadecimal digits that no other settings have."""
    return plain_digest(settings_to_dict(settings))


def model_record(model: TrainedModel, used: Sequence[StructurePostprocess] | None = None) -> dict[str, Any]:
    """Give a model's name and digests, when and with which versions it was trained, and how its labels are cleaned.

    `used` is the post-processing in place of its own.
    """
    cleaned = model.postprocess if used is None else used
    words = {s.name: post.words for s, post in zip(model.structures, cleaned, strict=False) if post.steps}
    return {
        "name": model.name,
        "digest": model_digest(model),
        "settings_digest": settings_digest(model.settings),
        "postprocess_digest": plain_digest([asdict(post) for post in cleaned]),
        "postprocess": words,
        "best_epoch": model.best_epoch,
        "trained": model.origin.get("date", ""),
        "versions": dict(model.origin.get("versions", {})),
    }


def plain_digest(values: object) -> str:
    """Give 16 hexadecimal digits that no other plain values have."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
