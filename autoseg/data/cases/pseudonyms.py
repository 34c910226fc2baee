"""Numbers in place of patients' IDs, for screens that others can see."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from autoseg.data.cases.case import Case
from autoseg.data.pairing.names import is_kind_folder
from autoseg.errors import Told
from autoseg.files.sources import SkippedFile

# In running text a shorter ID could be any number or word ("3 of 96 files"); where an ID is marked as one, none is
# too short.
LEAST_LETTERS = 4
UNKNOWN = "…"
# Tables beside the data, whose names are always the same.
TABLES = (".csv", ".json")


class Pseudonyms:
    """What stands for patients, their images and files where no ID shall be seen; each is hidden whole.

    `numbers` are by subject_id, for instance "patient 1" (`plan.number_subjects`). `cases` has what an image is
    called, by case_id: "patient 1 (image 3)". In the folder `root` every other file is hidden too, but for tables.

    Examples
    --------
    >>> from autoseg.errors import private
    >>> hidden = Pseudonyms({"SCD0000101": "patient 1", "7": "patient 2"})
    >>> hidden.hide(Told(f"The subjects {private('7')} and {private('SCD0000101')} share 7 slices."))
    'The subjects patient 2 and patient 1 share 7 slices.'
    >>> hidden.hide("/data/7/a.png is damaged; SCD0000101_048 has 7 values.")
    'a file of patient 2 is damaged; patient 1 has 7 values.'
    """

    def __init__(self, numbers: Mapping[str, str], cases: Sequence[Case] = (), *, root: Path | None = None) -> None:
        self._numbers = dict(numbers)
        self._roots = () if root is None else tuple({str(root), str(root.absolute())})
        every = _any_of(self._numbers)
        self._every = re.compile(every) if every else None
        images, place = Counter(case.subject_id for case in cases), Counter[str]()
        self.cases: dict[str, str] = {}
        for case in cases:
            who = self.of(case.subject_id)
            place[case.subject_id] += 1
            several = images[case.subject_id] > 1
            self.cases[case.case_id] = f"{who} (image {place[case.subject_id]})" if several else who
        self._files = self._name_files(cases)
        self._folders = self._name_folders(cases)
        # What is long enough to be found in a text.
        self._known = self._files | {name: who for name, who in self.cases.items() if _is_found(name)}
        long = _any_of(subject for subject in self._numbers if len(subject) >= LEAST_LETTERS)
        # With the rest of the name or path that it is a part of.
        self._long = rf"(?:\w[\w.+/\\-]*)?{long}[\w+/\\-]*(?:\.\w+)*" if long else ""

    def of(self, subject_id: str) -> str:
        """Give the number of a patient; "patient" for one that is unknown."""
        return self._numbers.get(subject_id, "patient")

    def name(self, own: str) -> str:
        """Give what stands for a patient, an image, a file or a folder, by its ID or name."""
        known = self.cases.get(own) or self._numbers.get(own) or self._known.get(own)
        return known or self._path(own) or UNKNOWN

    def hide(self, text: str) -> str:
        """Give a text without IDs and names: those that are marked, and in what else it says those that are found.

        An ID of fewer than four letters and digits that nobody marked is only found in a path.
        """
        return text.named(self.name, self._search) if isinstance(text, Told) else self._search(text)

    def left_alone(self, files: Sequence[SkippedFile]) -> list[str]:
        """Say why files were left alone, without their names: nobody knows whose they are."""
        reasons = Counter(f"{file.path.suffix or 'a folder'}: {self.hide(file.reason)}" for file in files)
        return [f"{count} × {reason}" for reason, count in reasons.items()]

    # --- what is found where nothing is marked

    def _search(self, text: str) -> str:
        names = sorted((name for name in self._known if name in text), key=len, reverse=True)
        folders = sorted(
            (folder for folder in (*self._folders, *self._roots) if folder in text), key=len, reverse=True
        )
        patterns = [rf"(?<![\w/\\])(?:{'|'.join(map(_whole, names))})"] if names else []
        patterns += [rf"(?<![\w/\\])(?:{'|'.join(map(re.escape, folders))}){_FURTHER}"] if folders else []
        patterns += [rf"(?<![\w/\\.])(?:~|\.\.?|[A-Za-z]:)?{_FURTHER}"]
        patterns += [self._long] if self._long else []
        return re.sub("|".join(patterns), lambda match: self._found(match[0]), text)

    def _found(self, words: str) -> str:
        if words in self._known:
            return self._known[words]
        if "/" in words or "\\" in words:
            bare = words.rstrip(".")
            return (self._known.get(bare) or self._path(bare) or bare) + words[len(bare) :]
        return self._whose(words) or words

    def _path(self, path: str) -> str:
        """Name a path of a patient; "" of one that tells nothing."""
        if "/" not in path and "\\" not in path:
            return self._whose(path)
        inside = next(
            (self._folders[one] for one in (path, *map(str, Path(path).parents)) if one in self._folders), ""
        )
        what = "file" if Path(path).suffix else "file or folder"
        root = next((root for root in self._roots if path.startswith(root)), None)
        if root is not None and all(map(_is_plain, Path(path[len(root) :].lstrip("/\\")).parts)):
            return ""
        who = inside or self._whose(path)
        return f"a {what} of {who}" if who else "" if root is None else f"a {what} of this folder"

    def _whose(self, name: str) -> str:
        found = self._every.search(name) if self._every else None
        return "" if found is None else self.of(found[0])

    # --- what cases' files and folders are called

    def _name_files(self, cases: Sequence[Case]) -> dict[str, str]:
        owners: dict[tuple[Path, str], dict[str, str]] = {}
        for case in cases:
            paths: dict[str, list[Path]] = {
                "image": [path for image in case.images for path in (image.path, *image.others)],
                "label": [label.path for label in case.labels],
                "level": [case.levels_path] if case.levels_path else [],
            }
            for what, files in paths.items():
                for path in files:
                    owners.setdefault((path, what), {})[case.case_id] = case.subject_id
        named: dict[str, str] = {}
        by_name: dict[str, str] = {}
        for (path, what), of in owners.items():
            people = set(of.values())
            whose = self.cases[next(iter(of))] if len(of) == 1 else self.of(*people) if len(people) == 1 else ""
            words = f"the {what} file of {whose}" if whose else f"one of the {what} files"
            named |= dict.fromkeys({str(path), path.as_posix(), str(path.absolute())}, words)
            if "." in path.name:
                by_name[path.name] = words if by_name.get(path.name, words) == words else "a file"
        return by_name | named

    def _name_folders(self, cases: Sequence[Case]) -> dict[str, str]:
        """Name the folders in which everything is of one patient, if there are others elsewhere."""
        owners: dict[Path, set[str]] = {}
        for case in cases:
            for path in (*(image.path for image in case.images), *(label.path for label in case.labels)):
                for folder in path.parents:
                    owners.setdefault(folder, set()).add(case.subject_id)
        alone = {folder: of for folder, of in owners.items() if len(of) == 1 and len(self._numbers) > 1}
        return {
            text: self.of(*of) for folder, of in alone.items() for text in {str(folder), str(folder.absolute())}
        }


def _is_plain(part: str) -> bool:
    return is_kind_folder(part) or Path(part).suffix in TABLES


# What a path goes on with.
_FURTHER = r"[/\\][^\s:;,'\"()<>|]*"


def _is_found(name: str) -> bool:
    """Tell whether the name of a case can be no other word or number of a sentence."""
    return len(name) >= LEAST_LETTERS and not name.isalpha() and (not name.isdecimal() or len(name) > LEAST_LETTERS)


def _whole(name: str) -> str:
    return re.escape(name) + (r"(?![A-Za-z0-9])" if name[-1:].isalnum() else "")


def _any_of(subjects: Iterable[str]) -> str:
    longest_first = sorted(filter(None, subjects), key=len, reverse=True)
    every = "|".join(re.escape(subject) + _end(subject) for subject in longest_first)
    return rf"(?<![A-Za-z0-9])(?:{every})" if every else ""


def _end(subject: str) -> str:
    """Tell what may not follow: a session often stands right behind a number (sub-9709Ses1)."""
    return r"(?!\d)" if len(subject) >= LEAST_LETTERS and subject[-1].isdigit() else r"(?![A-Za-z0-9])"
