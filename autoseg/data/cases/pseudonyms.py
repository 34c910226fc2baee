"""Numbers in place of patients' IDs, for screens that others can see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from autoseg.data.cases.case import Case

# In running text a shorter ID could be any number or word ("3 of 96 files").
LEAST_LETTERS = 4


class Pseudonyms:
    """What stands for patients and their images where no ID shall be seen.

    `numbers` are by subject_id, for instance "patient 1" (`plan.number_subjects`). Names of files and cases keep
    what does not stand for the patient: `SCD0000101_048` reads `patient 1_048`.

    Examples
    --------
    >>> hidden = Pseudonyms({"SCD0000101": "patient 1", "7": "patient 2"})
    >>> hidden.hide("SCD0000101_048 has 7 values.")
    'patient 1_048 has 7 values.'
    >>> hidden.name("7_t2_slice3.png", "7")
    'patient 2_t2_slice3.png'
    """

    def __init__(self, numbers: Mapping[str, str], cases: Sequence[Case] = ()) -> None:
        self._numbers = dict(numbers)
        own = {subject: _pattern([subject]) for subject in self._numbers}
        self._own = own
        self.cases = {case.case_id: self.name(case.case_id, case.subject_id) for case in cases}
        known = {subject: shown for subject, shown in self._numbers.items() if len(subject) >= LEAST_LETTERS}
        for case in cases:
            # Where the ID is too short to be found in a text, the name that it is a part of may be long enough.
            pattern = own.get(case.subject_id)
            if case.subject_id not in known and pattern and pattern.search(case.case_id):
                known[case.case_id] = self.cases[case.case_id]
        self._known = {words: shown for words, shown in known.items() if len(words) >= LEAST_LETTERS}
        self._in_text = _pattern(self._known)

    def of(self, subject_id: str) -> str:
        """Give the number of a patient; "patient" for one that is unknown."""
        return self._numbers.get(subject_id, "patient")

    def within(self, name: str, subject_id: str) -> str:
        """Give the name of a patient's file or case with the number in place of the ID, where the ID is in it."""
        own = self._own.get(subject_id)
        return own.sub(lambda _: self.of(subject_id), name) if own else name

    def name(self, name: str, subject_id: str) -> str:
        """Give the name of a patient's file or case without the ID; the number stands before it if not in it."""
        shown = self.within(name, subject_id)
        return shown if shown != name else f"{self.of(subject_id)}: {name}"

    def hide(self, text: str) -> str:
        """Put numbers in place of the IDs in a text.

        An ID of fewer than four letters and digits stays: in a text it could be any number.
        """
        return self._in_text.sub(lambda match: self._known[match[0]], text) if self._in_text else text


def _pattern(words: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, words), key=len, reverse=True)
    every = "|".join(re.escape(word) + _end(word) for word in longest_first)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{every})") if every else None


def _end(word: str) -> str:
    """Tell what may not follow: a session often stands right behind a number (sub-9709Ses1)."""
    return r"(?!\d)" if len(word) >= LEAST_LETTERS and word[-1].isdigit() else r"(?![A-Za-z0-9])"
