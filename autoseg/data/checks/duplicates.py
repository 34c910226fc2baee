"""The same image twice, and the same person under two names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.checks.facts import Cohort, Facts
from autoseg.data.checks.finding import Finding
from autoseg.data.duplicates import NEARLY_THE_SAME, shown_slices
from autoseg.data.pairing.names import names_alike
from autoseg.errors import private
from autoseg.files.dicom.headers import is_stand_in
from autoseg.words import counted, have, name_private

# What visits of one person are called at the end of a name: Ses2, visit-1, _run2, timepoint 3, baseline, follow-up.
VISIT = re.compile(
    r"[-_ .]?(?:(?:ses|session|visit|scan|run|tp|timepoint|time|exam|v|t)[-_ .]?\d+"
    r"|pre|post|baseline|follow[-_ .]?up\d*|re(?:scan|test|peat))$",
    re.IGNORECASE,
)
# Rows of the table of likenesses that are computed at once.
AT_ONCE = 1024
# From this share of an image's slices on, likeness is hardly chance.
MOST_SLICES_ALIKE = 0.5
# Smaller drawings can be equal by chance.
FEWEST_PIXELS = 200


def check_subjects(cohort: Cohort) -> Iterator[Finding]:
    """Find cohorts of one subject, subjects without an ID, and names that may be one person's."""
    subjects = sorted({case.subject_id for case in cohort.cases})
    if len(subjects) == 1:
        yield Finding(
            "warning",
            "",
            cohort.folder,
            f"Every case is of one patient ({private(subjects[0])}): nothing can be set aside, "
            "so it stays unknown how well a model does on another person.",
            "Add cases of other patients. Patients are told apart by the PatientID in the DICOM files.",
            kind="one subject",
        )
    nameless = [subject for subject in subjects if is_stand_in(subject)]
    if nameless:
        yield Finding(
            "warning",
            "",
            cohort.folder,
            f"{len(nameless)} of {counted(len(subjects), 'patient')} {have(len(nameless))} no PatientID: "
            "each study is taken as one person (each folder, where the study has no UID either): "
            f"{name_private(nameless)}. If one person has two studies here, validation would see "
            "a person who was trained on.",
            "Write a PatientID into the DICOM files, a code and not a name, the same in all studies of a person; "
            "or keep one study of each person.",
            kind="nameless",
        )
    for names in _alike([subject for subject in subjects if not is_stand_in(subject)]):
        yield Finding(
            "warning",
            "",
            cohort.folder,
            f"{name_private(names)} have almost the same name: are they one person?",
            "If they are, give them one name (a PatientID, or one in subjects.csv): otherwise validation may see a "
            "person who was trained on.",
            kind="subjects",
            cause="Two visits of one person, or a name that was written in two ways.",
            cases=tuple(case.case_id for case in cohort.cases if case.subject_id in names),
        )


def _alike(subjects: Sequence[str]) -> list[list[str]]:
    """Group subjects whose names differ only in a visit, capitals, separators or leading zeros."""
    groups = list(names_alike({subject: subject for subject in subjects}).values())
    stems: dict[str, list[str]] = defaultdict(list)
    for subject in subjects:
        stems[VISIT.sub("", subject).casefold() or subject].append(subject)
    # A stem without a number names a group ("patient"), not a person.
    groups += [names for stem, names in stems.items() if len(names) > 1 and re.search(r"\d", stem)]
    return [sorted(names) for names in {tuple(sorted(group)) for group in groups}]


def check_duplicates(cohort: Cohort) -> Iterator[Finding]:
    """Find images whose pixels are identical or that look alike, and studies that stand under two subjects."""
    identical: dict[str, list[Facts]] = defaultdict(list)
    for fact in cohort.facts:
        identical[fact.likeness.digest].append(fact)
    for facts in identical.values():
        if len(facts) > 1:
            yield _identical(facts)
    told = {subjects for facts in identical.values() if len(subjects := _subjects(facts)) > 1}
    shared = _with_a_slice_in_common(cohort.facts, told)
    yield from map(_in_common, shared)
    told |= {_subjects(facts) for facts in shared}
    alike = {
        pair: found
        for pair, found in _nearly_identical(cohort.facts).items()
        if not any(_subjects(pair) <= known for known in told)
    }
    for group in _groups(alike):
        yield _alike_on(group, {pair: found for pair, found in alike.items() if pair[0] in group})
    yield from _same_drawings(cohort, identical.values())
    yield from _shared_studies(cohort)


def _with_a_slice_in_common(facts: Sequence[Facts], told: Collection[frozenset[str]]) -> list[list[Facts]]:
    """Give groups of cases of several subjects that share the very pixels of a slice."""
    owners: dict[str, list[Facts]] = defaultdict(list)
    for fact in facts:
        for digest in fact.likeness.slice_digests:
            owners[digest].append(fact)
    pairs = [
        (owning[0], other)
        for owning in owners.values()
        for other in owning[1:]
        if owning[0].case.subject_id != other.case.subject_id
    ]
    return _groups([pair for pair in pairs if not any(_subjects(pair) <= known for known in told)])


def _groups(pairs: Iterable[tuple[Facts, Facts]]) -> list[list[Facts]]:
    """Put together what is connected by pairs, in the order in which it was seen."""
    group_of: dict[Facts, list[Facts]] = {}
    for one, other in pairs:
        first, second = group_of.setdefault(one, [one]), group_of.setdefault(other, [other])
        if first is not second:
            first += second
            group_of.update(dict.fromkeys(second, first))
    return list({id(group): group for group in group_of.values()}.values())


def _same_drawings(cohort: Cohort, identical: Iterable[Sequence[Facts]]) -> Iterator[Finding]:
    """Find labels that are equal pixel by pixel under several subjects: another contrast of one person."""
    told = {_subjects(facts) for facts in identical if len(facts) > 1}
    drawings: dict[tuple[object, ...], list[Facts]] = defaultdict(list)
    for fact in cohort.facts:
        if fact.counts.sum() >= FEWEST_PIXELS:
            # Sizes and centres on every slice: two drawings by hand never share all of them.
            drawings[fact.shape, fact.values, fact.counts.tobytes(), fact.centres.tobytes()].append(fact)
    for facts in drawings.values():
        subjects = sorted(_subjects(facts))
        if len(subjects) > 1 and frozenset(subjects) not in told:
            yield Finding(
                "warning",
                facts[0].case_id,
                facts[0].case.label_path,
                f"The labels of {name_private(fact.case_id for fact in facts)} are equal in every pixel, "
                f"and are of {name_private(subjects)}.",
                "If they are one person, write so into subjects.csv (case_id, subject_id), or validation would see "
                "what was trained on. If not, one of the label files is a copy by mistake.",
                kind="drawings",
                cause="One drawing was used for two contrasts of a person.",
                cases=tuple(fact.case_id for fact in facts),
            )


def _subjects(facts: Iterable[Facts]) -> frozenset[str]:
    return frozenset(fact.case.subject_id for fact in facts)


@dataclass(eq=False)
class _Likeness:
    """How alike two cases are, and the slices of each of their subjects that have a like one, of all shown."""

    correlation: float
    slices: dict[str, set[int]]
    shown: dict[str, int]

    @property
    def share(self) -> float:
        """The share of the slices of the subject with fewer that have a like one."""
        return min((of, len(self.slices[subject]) / of) for subject, of in self.shown.items())[1]


def _alike_on(facts: Sequence[Facts], pairs: Mapping[tuple[Facts, Facts], _Likeness]) -> Finding:
    (one, two), most = max(pairs.items(), key=lambda item: (item[1].share, item[1].correlation))
    copies = most.share >= MOST_SLICES_ALIKE
    slices = len(most.slices[one.case.subject_id])
    what = "is one slice" if slices == 1 else f"are {slices} slices"
    named = "" if len(facts) == 2 else f" The group: {name_private(fact.case_id for fact in facts)}."
    return Finding(
        "warning" if copies else "note",
        facts[0].case_id if len(facts) == 1 else "",
        one.case.image_path,
        f"{len(facts)} images of {len(_subjects(facts))} patients look alike: on {private(one.case_id)} (of "
        f"{private(one.case.subject_id)}) and {private(two.case_id)} (of {private(two.case.subject_id)}) "
        f"there {what} of nearly the "
        "same look "
        f"(correlation {most.correlation:.4f}).{named}",
        "Look at them. If they show one person, say so in subjects.csv (case_id, subject_id) or keep one; else "
        "validation would see what was trained on. If they are two people, all is well.",
        kind="twins",
        cause="An image that was saved a second time in another way and under another name."
        if copies
        else "Slices with little on them, such as the top of a head, look alike in two people.",
        cases=tuple(dict.fromkeys([one.case_id, two.case_id, *(fact.case_id for fact in facts)])),
    )


def _in_common(facts: Sequence[Facts]) -> Finding:
    return Finding(
        "error",
        "",
        facts[0].case.image_path,
        f"The images of {name_private(fact.case_id for fact in facts)} share slices with identical pixels, "
        f"and are of {name_private(sorted(_subjects(facts)))}.",
        "Say in subjects.csv (case_id, subject_id) that they are one patient, or keep one of them; else validation "
        "would see what was trained on.",
        kind="twins",
        cause="A part of one image was saved under another name.",
        cases=tuple(fact.case_id for fact in facts),
    )


def _identical(facts: Sequence[Facts]) -> Finding:
    cases = [fact.case for fact in facts]
    subjects = sorted({case.subject_id for case in cases})
    across = f", and are of {name_private(subjects)}" if len(subjects) > 1 else ""
    return Finding(
        "error" if across else "warning",
        cases[0].case_id,
        cases[0].image_path,
        f"The images of {name_private(case.case_id for case in cases)} have identical pixels{across}.",
        "Keep one of them" + (", or validation would see what was trained on." if across else "."),
        kind="twins",
        cause="A file was copied under another name.",
        cases=tuple(case.case_id for case in cases),
    )


def _shared_studies(cohort: Cohort) -> Iterator[Finding]:
    studies: dict[str, list[Facts]] = defaultdict(list)
    for fact in cohort.facts:
        for uid in fact.likeness.uids:
            studies[uid].append(fact)
    told: set[tuple[str, ...]] = set()
    for facts in studies.values():
        subjects = tuple(sorted({fact.case.subject_id for fact in facts}))
        if len(subjects) > 1 and subjects not in told:
            told.add(subjects)
            yield Finding(
                "error",
                "",
                cohort.folder,
                f"{name_private(subjects)} share a DICOM study or series: they are one person.",
                "Give them one PatientID.",
                kind="subjects",
                cause="The PatientID was changed in a part of the files.",
                cases=tuple(fact.case_id for fact in facts),
            )


def _nearly_identical(facts: Sequence[Facts]) -> dict[tuple[Facts, Facts], _Likeness]:
    """Give pairs of cases of different subjects that show nearly the same slice, and how alike they are."""
    shown = [shown_slices(fact.likeness, fact.range[1] - fact.range[0]) for fact in facts]
    table = np.concatenate(shown) if shown else np.zeros((0, 1), np.float32)
    owner = np.repeat(np.arange(len(facts)), [len(pictures) for pictures in shown])
    subjects = [fact.case.subject_id for fact in facts]
    count = Counter[str]()
    for subject, pictures in zip(subjects, shown, strict=True):
        count[subject] += len(pictures)
    alike: dict[frozenset[str], dict[str, set[int]]] = {}
    found: dict[tuple[Facts, Facts], _Likeness] = {}
    for start in range(0, len(table), AT_ONCE):
        likeness = table[start : start + AT_ONCE] @ table[start:].T
        rows, columns = np.nonzero(likeness >= NEARLY_THE_SAME)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            (one, first), (two, second) = sorted((int(owner[start + at]), start + at) for at in (row, column))
            if subjects[one] != subjects[two]:
                pair = facts[one], facts[two]
                both = subjects[one], subjects[two]
                slices = alike.setdefault(frozenset(both), {subject: set() for subject in both})
                new = _Likeness(0.0, slices, {subject: count[subject] for subject in both})
                known = found.setdefault(pair, new)
                known.correlation = max(known.correlation, float(likeness[row, column]))
                slices[subjects[one]].add(first)
                slices[subjects[two]].add(second)
    return found
