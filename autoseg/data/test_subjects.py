"""Test subjects, frozen once for all, and how often they were looked at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from autoseg.data.codes import Known, codes_of, is_without_ids, original
from autoseg.errors import DataError, OutdatedError, ReadError, private
from autoseg.files.atomic import one_step, settle
from autoseg.files.records import write_record
from autoseg.files.text_files import read_json
from autoseg.words import counted

FILE = "test_subjects.json"


@dataclass(frozen=True)
class Look:
    """One time that a model was scored on the test subjects: the date (ISO, UTC), the model's name and its digest.

    The digest (`autoseg.model.model.model_digest`) is empty in ledgers of earlier versions.
    """

    date: str
    model: str
    digest: str = ""


@dataclass(frozen=True)
class Ledger:
    """The subjects that are kept for a last test, since when, and every look at them.

    `subjects` are named as in the data beside which the ledger lies, or by codes where those stand for patients;
    sorted.
    """

    subjects: tuple[str, ...]
    frozen: str
    looks: tuple[Look, ...] = ()

    @property
    def note(self) -> str:
        """A sentence for beside the test's scores: how often these subjects were looked at."""
        count = len(self.looks)
        many = len(self.subjects)
        since = f"{many} patient{'s are' if many > 1 else ' is'} set aside for a last test, frozen since "
        since += self.frozen[:10]
        if count <= 1:
            return f"{since}. {('Nobody has looked at the scores yet', 'The scores were looked at once')[count]}."
        models = ", ".join(dict.fromkeys(look.model for look in self.looks))
        return (
            f"{since}. The scores were looked at {count} times ({models}). "
            "The best of several looks is too good: report the first, or all."
        )


def read_ledger(folder: Path) -> Ledger | None:
    """Read the ledger of a data folder; None if no test subjects are frozen there.

    Raises
    ------
    ReadError
        If `test_subjects.json` is no ledger.
    """
    path = Path(folder) / FILE
    settle(path.parent)
    if not path.exists():
        return None
    try:
        content = read_json(path)
        return Ledger(
            subjects=_called_in(folder, [str(subject) for subject in content["subjects"]]),
            frozen=str(content["frozen"]),
            looks=tuple(
                Look(str(look["date"]), str(look["model"]), str(look.get("digest", "")))
                for look in content["looks"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReadError(
            f"{path} cannot be read as the list of frozen test patients ({error}). Get it back from a backup; "
            "without it nobody knows which patients were kept for the test."
        ) from error


def freeze_test_subjects(
    folder: Path, subjects: Collection[str], *, instead_of: Collection[str] | None = None
) -> Ledger:
    """Write down which subjects are kept for the last test; with the first look at them they are so for good.

    Parameters
    ----------
    folder : Path
        The data folder; `test_subjects.json` is written into it.
    subjects : collection of str
        As they are called in the data; one at least.
    instead_of : collection of str, optional
        Those that were set aside when somebody looked last, none at all perhaps; if another program has set others
        aside since, they are not replaced. By default whoever is set aside is.

    Returns
    -------
    Ledger
        The one that was there already if it names the same subjects. Others that nobody has looked at yet are
        replaced: a slip of the pen must not last for ever.

    Raises
    ------
    DataError
        If none is named, or others are frozen already and were looked at.
    OutdatedError
        If others than `instead_of` are set aside by now.
    OutputError
        If it cannot be written.
    """
    named = {subjects} if isinstance(subjects, str) else set(subjects)
    wanted = _called_in(folder, {original(subject) for subject in named} if is_without_ids(folder) else named)
    if not wanted:
        raise DataError("No test patient is named. Name one at least; more make the test more certain.")
    with one_step(folder):
        ledger = read_ledger(folder)
        if ledger is not None and ledger.subjects == wanted:
            return ledger
        if ledger is not None and ledger.looks:
            raise DataError(
                f"The test patients of {folder} are frozen since {ledger.frozen[:10]}: "
                f"{', '.join(map(private, ledger.subjects))}. They were looked at "
                f"{counted(len(ledger.looks), 'time')} and cannot become {', '.join(map(private, wanted))}: "
                "whoever changes them after a look picks those on whom the model happens to do well. Use these; "
                "for another question with other patients copy the data to another folder."
            )
        there = ledger.subjects if ledger is not None else ()
        if instead_of is not None and set(there) != set(instead_of):
            raise OutdatedError(
                f"Another program has set patients aside in {folder} meanwhile: {counted(len(there), 'patient')} "
                "by now. They were not replaced. Look at them, then choose once more."
            )
        return _write(folder, Ledger(wanted, _now()))


def record_look(folder: Path, model_name: str, digest: str = "") -> Ledger:
    """Count one look at the test subjects; call it before the scores are shown."""
    with one_step(folder):
        ledger = read_ledger(folder)
        if ledger is None:
            raise DataError(
                f"No test patients are frozen in {folder}. Set some aside first: under 'Set patients aside for a "
                "last test' in 1_train, or with train --test-subject on the command line."
            )
        return _write(folder, replace(ledger, looks=(*ledger.looks, Look(_now(), model_name, digest))))


def _called_in(folder: Path, subjects: Collection[str]) -> tuple[str, ...]:
    """Give subjects as `find_cases` calls them, sorted: by their codes where the folder is without patient IDs."""
    if is_without_ids(folder):
        codes = codes_of(map(Known, subjects))
        subjects = [codes[Known(subject)] for subject in subjects]
    return tuple(sorted(subjects))


def _write(folder: Path, ledger: Ledger) -> Ledger:
    own = map(original, ledger.subjects) if is_without_ids(folder) else ledger.subjects
    write_record(Path(folder) / FILE, asdict(replace(ledger, subjects=tuple(sorted(own)))), indent=2)
    return ledger


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
