"""The card of a model, beside its file: what it learnt from, how well it does, and its limits, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from autoseg.files.atomic import one_step, whole_file
from autoseg.model.identity import model_record
from autoseg.model.model import TrainedModel, autoseg_version, save_model
from autoseg.model.model_list import facts_of
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import all_settings, say_value, value_of
from autoseg.words import counted, say_number, seen

ENDING = "_MODEL_CARD.md"
# What no program knows; what an author wrote there stays when the card is written anew.
AUTHOR = {
    "Intended use": "for which patients, images and question, and for which not",
    "Licence of the weights": "for instance CC BY 4.0",
    "Data": "where they are from, their licence, ethics and consent",
    "Who drew the labels": "how many people, their experience, the program",
    "Authors and contact": "",
    "To be cited as": "",
}
_FIELD = re.compile(r"- \*\*(?P<name>[^*]+):\*\* ?(?P<words>.*)")
TO_FILL = "_to be filled in by the author_"
LIMITS = (
    "Research software and no medical device: look at every outline before its number is used.",
    "Images of another machine, plane, sequence or region than those above are not what it learnt from; the light "
    "(green, amber, red) of each new image says so where the model knows what it learnt from.",
    "Scores above are of the patients named there. On patients of another hospital they can be lower.",
)


def card_path(path: Path) -> Path:
    """Give the place of the card of a model's file.

    Examples
    --------
    >>> card_path(Path("trained_model/psoas_40.pt")).name
    'psoas_40_MODEL_CARD.md'
    """
    return path.with_name(f"{path.stem}{ENDING}")


def write_card(model: TrainedModel, path: Path) -> Path:
    """Write the card of a model beside its file `path`, whole or not at all; what its author filled in stays."""
    target = card_path(Path(path))
    words = describe_model(model, read_filled(target))
    with whole_file(target) as temporary:
        temporary.write_text(words, encoding="utf-8", newline="\n")
    return target


def save_with_card(model: TrainedModel, path: Path) -> Path:
    """Write a model to the file `path`, and its card beside it: both whole, or none of them."""
    with one_step(Path(path).parent):
        save_model(model, path)
        write_card(model, path)
    return Path(path)


def read_filled(path: Path) -> dict[str, str]:
    """Give what an author filled in on a card, by the name of the field; nothing where there is no card."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = (_FIELD.fullmatch(line.rstrip()) for line in lines)
    filled = {match["name"]: match["words"] for match in found if match and match["name"] in AUTHOR}
    return {name: words for name, words in filled.items() if words and not words.startswith(TO_FILL)}


def describe_model(model: TrainedModel, filled: Mapping[str, str] | None = None) -> str:
    """Give the card of a model in Markdown: numbers that name nobody, and fields for its author (`filled`)."""
    record = model_record(model)
    lines = [f"# Model card: {_cell(model.name)}", ""]
    lines += ["Written by autoseg from the model's file, and written anew with it.", ""]
    lines += _table(("", ""), facts_of(model))
    lines += ["## What it learnt from", "", *_table(("", ""), _material(model))]
    lines += ["## How well it does", "", *_scores(model)]
    lines += ["## Settings that differ from the usual ones", "", *_settings(model)]
    lines += ["## Limits", "", *(f"- {line}" for line in LIMITS), ""]
    lines += ["## From the author", ""]
    for name, hint in AUTHOR.items():
        words = (filled or {}).get(name) or f"{TO_FILL}{f': {hint}' if hint else ''}"
        lines.append(f"- **{name}:** {words}")
    versions = ", ".join(f"{what} {number}" for what, number in record["versions"].items())
    lines += ["", "## By what it is told from others", ""]
    digests = [("Digest", record["digest"]), ("Digest of its settings", record["settings_digest"])]
    digests += [("Learnt with", versions), ("Card written by", f"autoseg {autoseg_version()}")]
    return "\n".join([*lines, *_table(("", ""), [row for row in digests if row[1]])]).rstrip() + "\n"


def _material(model: TrainedModel) -> list[tuple[str, str]]:
    origin, profile = model.origin, model.trust.profile
    rows = [
        ("Patients learnt from", str(origin.get("training_subjects", "not recorded"))),
        ("Patients validated on", str(origin.get("validation_subjects", "not recorded"))),
        ("Machines", ", ".join(origin.get("modalities", ()))),
    ]
    if profile is not None:
        images = profile.image_facts
        rows += [
            ("Size of a pixel", _range((mm for one in images for mm in one.pixel_mm or ()), "mm")),
            ("Distance of the slices", _range((one.slice_mm for one in images), "mm")),
            ("Field of view", _range((mm for one in images for mm in one.field_mm or ()), "mm")),
            ("MR sequences (DICOM's words)", ", ".join(sorted({one.sequence for one in images if one.sequence}))),
            ("Repetition time", _range((one.repetition_ms for one in images), "ms")),
            ("Echo time", _range((one.echo_ms for one in images), "ms")),
        ]
        names = {structure.label: structure.name for structure in model.structures}
        for one in profile.structure_facts:
            low, high = (say_number(end, 4) if one.in_mm else f"{100 * end:.2g} %" for end in one.area)
            unit = " mm² on a slice" if one.in_mm else " of a slice"
            rows.append((f"Areas of {names.get(one.label, one.label)}", f"{low} to {high}{unit}"))
    base = origin.get("base")
    if base:
        rows.append(("Fine-tuned from", str(base.get("name", "another model"))))
    return [row for row in rows if row[1]]


def _range(numbers: Iterable[float | None], unit: str) -> str:
    known = [number for number in numbers if number is not None]
    if not known:
        return ""
    ends = dict.fromkeys((say_number(min(known)), say_number(max(known))))
    return f"{' to '.join(ends)} {unit}"


def _scores(model: TrainedModel) -> list[str]:
    """Give Dice and errors of areas of each structure, and how often intervals held."""
    best = next((row for row in model.history if row.epoch == model.best_epoch), None)
    profile, known = model.trust.profile, model.trust.calibration
    held = {} if known is None else dict(zip(known.structures, known.coverage, strict=True))
    rows = []
    for place, structure in enumerate(model.structures):
        dice = [
            of[place] if place < len(of) else None
            for of in (best.dice if best else (), profile.dice if profile else ())
        ]
        error = profile.area_error[place] if profile and place < len(profile.area_error) else None
        rows.append(
            (
                structure.name,
                *("–" if one is None else f"{one:.3f}" for one in dice),
                "–" if error is None else f"{100 * error:.1f} %",
                "–" if held.get(structure.name) is None else f"{100 * (held[structure.name] or 0):.0f} %",
            )
        )
    people = counted(int(model.origin.get("validation_subjects") or 0), "patient")
    level = "" if known is None else f" of {100 * known.level:.0f} %"
    head = ("Structure", "Dice, best epoch", "Dice, all pixels", "Area error (median)", f"Intervals{level} held")
    lines = [f"On {people} that it did not learn from, who chose its best epoch ({model.best_epoch}).", ""]
    lines += _table(head, rows)
    lines += [known.words if known is not None else "No intervals: it was not calibrated.", ""]
    return lines


def _settings(model: TrainedModel) -> list[str]:
    usual = Settings()
    rows = []
    for name, setting in all_settings().items():
        value = value_of(model.settings, name)
        if value != value_of(usual, name):
            rows.append((setting.label, say_value(name, value), setting.words, name))
    return _table(("Setting", "Value", "What it means", "Code name"), rows) if rows else ["None.", ""]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [*(f"| {' | '.join(map(_cell, line))} |" for line in lines), ""]


def _cell(words: str) -> str:
    """Give words as they stand in a cell: no name in them becomes a part of the page."""
    plain = " ".join(seen(str(words)).split())
    return re.sub(r"([\\|`*_<>\[\]#])", r"\\\1", plain) if plain.strip("-") else plain
