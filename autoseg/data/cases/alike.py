"""Names of structures in the files of several patients that look alike: taken for one, and said."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from autoseg.data.cases.case import Alike, Case
from autoseg.errors import AutosegError
from autoseg.files.labels import marked_names
from autoseg.image.structures import Structure, plain_name


def look_alikes(cases: Sequence[Case], known: Mapping[str, int]) -> dict[str, str]:
    """Give the names in the files that count as another name, because they look like it.

    That is one of the `known` names, of which a person has said which label they are; without any the one that most
    cases use. A known name, and one that looks like those of several labels, stays itself.
    """
    using = Counter(name for names in _names_by_case(cases).values() for name in names)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in using:
        groups[plain_name(name)].append(name)
    said: dict[str, list[str]] = defaultdict(list)
    for name in known:
        said[plain_name(name)].append(name)
    found: dict[str, str] = {}
    for plain, names in groups.items():
        # Of names that are used equally often, the one that comes first.
        candidates = said[plain] if known else sorted(names, key=lambda name: -using[name])[:1]
        if candidates and len({known.get(name) for name in candidates}) == 1:
            found |= {name: candidates[0] for name in names if name not in candidates}
    return found


def tell_alike(
    cases: Sequence[Case], alike: Mapping[str, str], labels: Mapping[str, int], structures: Sequence[Structure]
) -> tuple[Alike, ...]:
    """Tell of each structure by which names that look alike it goes, and in whose files.

    `labels` are those of names that count; a structure that is left out is not told of.
    """
    names_of = {structure.label: structure.name for structure in structures}
    in_files = _names_by_case(cases)
    others: dict[int, list[str]] = defaultdict(list)
    for other, name in alike.items():
        if labels.get(name) in names_of:
            others[labels[name]].append(other)
    told = []
    for label, names in sorted(others.items()):
        every = {*names, *(alike[name] for name in names)}
        has = {case_id: every & found for case_id, found in in_files.items() if found & set(names)}
        both = tuple(case_id for case_id, found in has.items() if len(found) > 1)
        told.append(Alike(label, names_of[label], tuple(names), tuple(has), both))
    return tuple(told)


def _names_by_case(cases: Sequence[Case]) -> dict[str, set[str]]:
    """Give the names in the files of each case; a file that cannot be read is for others to refuse."""
    found: dict[str, set[str]] = {}
    for case in cases:
        names = found.setdefault(case.case_id, set())
        for file in case.labels:
            try:
                names.update(marked_names(file) if file.binary else ())
            except AutosegError:
                continue
    return found
