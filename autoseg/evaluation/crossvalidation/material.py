"""What a cross-validation was made of, beyond its folds: what was found and left out, why its settings are so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoseg.data.cases import Case, CaseFolder
from autoseg.data.checks import Finding
from autoseg.errors import ModelFileError, ReadError, SettingsError
from autoseg.files.records import write_record
from autoseg.model.device import find_computer
from autoseg.model.settings.text import show_value
from autoseg.model.stored.values import read_fields
from autoseg.training.plan import Plan, describe_fingerprint, hide_ids
from autoseg.words import counted

STUDY = "study.json"


@dataclass(frozen=True)
class TwoWays:
    """A sentence as it is, and without patients' IDs and names of files."""

    words: str
    without_ids: str

    def say(self, *, show_ids: bool) -> str:
        """Give the sentence, with IDs or without."""
        return self.words if show_ids else self.without_ids


@dataclass(frozen=True)
class Reason:
    """A planned setting: its name, its value as it is typed, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Material:
    """What a cross-validation was made of; what nobody asked for is empty.

    `cases` are case_id and subject_id of all that were found, in their order; `aside` those subjects who are kept
    for a last test, `known` those whom the model that it begins from has seen. `left_alone` has a sentence a file,
    `findings` what the check of the data said, `rules` how it is known whose an image is, with how often.
    `drawn` are structures with the number of images on which they were drawn, `readers` the number of people who
    drew with the number of images, `joined` how several became one. `choices` are the plan's, `images` says what
    they are like, `computer` what learnt.
    """

    date: str = ""
    cases: tuple[tuple[str, str], ...] = ()
    aside: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    left_alone: tuple[TwoWays, ...] = ()
    findings: tuple[TwoWays, ...] = ()
    rules: tuple[tuple[str, int], ...] = ()
    drawn: tuple[tuple[str, int], ...] = ()
    readers: tuple[tuple[int, int], ...] = ()
    joined: str = ""
    choices: tuple[Reason, ...] = ()
    images: str = ""
    computer: str = ""


def describe_material(found: CaseFolder, findings: Sequence[Finding] = (), plan: Plan | None = None) -> Material:
    """Put down what was found in a folder, what a check said of it, and what was planned for it."""
    hidden = hide_ids(found.cases, found.folder)
    left = [one for one in found.skipped if not one.hidden]
    computer = find_computer()
    fingerprint = None if plan is None else plan.fingerprint
    return Material(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        cases=tuple((case.case_id, case.subject_id) for case in found.cases),
        left_alone=tuple(
            TwoWays(f"{one.path.name}: {one.reason}", f"{one.path.suffix or 'a folder'}: {hidden.hide(one.reason)}")
            for one in left
        ),
        findings=tuple(
            TwoWays(f"{kind}: {words}", f"{kind}: {hidden.hide(words)}")
            for kind, words in ((one.severity, one.problem) for one in findings)
        ),
        rules=tuple(Counter(hidden.hide(case.subject_rule) for case in found.cases if case.subject_rule).items()),
        drawn=tuple((one.name, sum(case.is_drawn(one.label) for case in found.cases)) for one in found.structures),
        readers=tuple(sorted(Counter(map(_readers, found.cases)).items())),
        joined=_joined(found.cases),
        choices=() if plan is None else tuple(map(_reason, plan.choices)),
        images="" if fingerprint is None else describe_fingerprint(fingerprint),
        computer=f"{computer.machine.partition(' (')[0]}; {computer.learner.partition(' (')[0]}",
    )


def write_material(
    folder: Path, material: Material | None, *, aside: Collection[str], known: Collection[str]
) -> None:
    """Keep it beside the folds; reasons that were kept before stay where it has none, for a plan is made once."""
    if material is None:
        return
    try:
        before = read_material(folder)
    except ReadError:  # it is written anew
        before = None
    if before is not None and not material.choices:
        material = replace(material, choices=before.choices, images=before.images)
    own = {"aside": sorted(aside), "known": sorted(known)}
    write_record(folder / STUDY, {"format": "autoseg study", "version": 1, **asdict(material), **own})


def read_material(folder: Path) -> Material | None:
    """Read what is kept beside folds, of a comparison's entry beside all entries; None where nothing is."""
    path = next((place / STUDY for place in (folder, folder.parent) if (place / STUDY).is_file()), None)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping) or content.get("format") != "autoseg study":
            raise ValueError("it is none")
        kept: dict[str, Any] = {name: content[name] for name in Material.__dataclass_fields__ if name in content}
        return read_fields(Material, kept, "the material")
    except (OSError, ValueError, TypeError, KeyError, RecursionError, ModelFileError, SettingsError) as error:
        raise ReadError(
            f"{path} cannot be read as what a cross-validation was made of ({error}). Move it away and start the "
            "cross-validation again: its finished folds are not learnt anew."
        ) from error


def _readers(case: Case) -> int:
    return max(1, len({file.rater for file in case.labels}))


def _joined(cases: Sequence[Case]) -> str:
    several = [case.reading for case in cases if _readers(case) > 1]
    if not several:
        return ""
    one = several[0]
    words = {
        "majority": f"what {one.agreeing or 'more than half'} of them drew",
        "staple": "a weighing of them by their agreement (STAPLE)",
        "mean": "the share of them who drew it",
    }
    return words[one.raters]


def _reason(choice: Any) -> Reason:
    value = (
        counted(len(choice.value), "patient") if choice.name == "validation_subjects" else show_value(choice.value)
    )
    return Reason(choice.name, value or "none", choice.reason)
