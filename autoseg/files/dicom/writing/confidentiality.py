"""What tells of a patient in a DICOM object, taken away as PS3.15 Annex E has it: rules for one object.

`confidentiality.csv` is its table E.1-1 (2026c, Basic Profile), made by `benchmarks/confidentiality.py` from the
package dicom-anonymizer (Kitware, BSD-3-Clause). The actions: X remove, Z empty, D put something meaningless,
U another UID. Where the standard leaves a choice, what images need to stay valid is emptied and the rest removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import UID

from autoseg.files.dicom.records import PYDICOM_ERRORS, text_of
from autoseg.files.dicom.writing.parts import code_item
from autoseg.files.tables import read_rows

TABLE = Path(__file__).with_name("confidentiality.csv")
# What a description may say: words of imaging and of the body. All others are taken out of it.
PLAIN_WORDS = Path(__file__).with_name("plain_words.txt")
EDITION = "DICOM PS3.15 2026c"
Dates = Literal["shifted", "removed"]
STANDARD = "1.2.840.10008."  # UIDs that name a class, an encoding or a list of codes, and nobody's object
# Column "Retain Patient Characteristics" of the table; ages from 90 years on are one.
CHARACTERISTICS = (
    *("PatientAge", "PatientSex", "PatientSexNeutered", "PatientSize", "PatientWeight", "PregnancyStatus"),
)
OLDEST = 90
# Of the column "Clean Descriptors" those by which a person tells series and structures apart.
DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName", "ROIName", "StructureSetLabel")
# The table knows no names of segments; they are free text as those of outlines are.
CLEANED_ALWAYS = ("SegmentLabel", "SegmentDescription")
OF_STRUCTURES = ("ROIName", *CLEANED_ALWAYS)
# Removing this one would leave segmentations and enhanced images without what they must have.
NEEDED = ("DeviceSerialNumber",)
# What is D as a whole, and whose parts have rules of their own in the table.
WALKED = ("ContentSequence", "VerifyingObserverSequence")
TEXT = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
DUMMY = "REMOVED"
LEAST_LETTERS = 4


@dataclass(frozen=True)
class Profile:
    """Which options of the Basic Profile are chosen.

    Dates are `shifted`, all of a patient by the same days, or removed; `descriptions` are kept as far as they are
    words of imaging; `characteristics` keeps age (90 and more are 90), sex, size, weight and pregnancy.
    """

    dates: Dates = "shifted"
    descriptions: bool = False
    characteristics: bool = False

    @property
    def methods(self) -> tuple[Any, ...]:
        """The coded options (PS3.16 CID 7050)."""
        of = codes.CID7050
        chosen = [of.BasicApplicationConfidentialityProfile, of.CleanStructuredContentOption]
        if self.dates == "shifted":
            chosen.append(of.RetainLongitudinalTemporalInformationModifiedDatesOption)
        chosen += [of.CleanDescriptorsOption] if self.descriptions else []
        chosen += [of.RetainPatientCharacteristicsOption] if self.characteristics else []
        return tuple(chosen)


@dataclass(frozen=True)
class StandIn:
    """What stands for a patient: a code, by how many days dates move, and another UID for each."""

    code: str
    days: int
    uid_of: Callable[[str], str] = field(repr=False)


class Done(NamedTuple):
    """What was done to an attribute."""

    tag: str
    keyword: str
    what: str


REMOVED, EMPTIED, REPLACED, NEW_UID = "removed", "emptied", "replaced", "another UID"
MOVED, CLEANED, PRIVATE, IDENTITY = "date moved", "cleaned", "removed (private)", "replaced: it named the patient"


def deidentify(dataset: FileDataset, who: StandIn, profile: Profile) -> frozenset[Done]:
    """Take from an object what tells of its patient, in place, and give what was done; pixels stay as they are."""
    known = _identity(dataset)
    done: set[Done] = set()
    _walk(dataset, _Rules(who, profile, done))
    for holder, element in _texts(dataset):
        if _names(element, known) and element.keyword not in ("PatientID", "PatientName"):
            done.add(_done(element.tag, IDENTITY))
            holder[element.tag].value = _number_of(holder) if element.keyword in OF_STRUCTURES else DUMMY
    dataset.PatientID, dataset.PatientName = who.code, who.code
    dataset.PatientBirthDate = ""
    dataset.PatientSex = text_of(dataset, "PatientSex")
    dataset.PatientIdentityRemoved = "YES"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if profile.dates == "shifted" else "REMOVED"
    dataset.DeidentificationMethod = ["autoseg", f"{EDITION}, Basic Profile"]
    dataset.DeidentificationMethodCodeSequence = [code_item(code) for code in profile.methods]
    meta = dataset.file_meta
    for tag in list(meta.keys()):
        if tag.element not in (0x0002, 0x0003, 0x0010):  # class, instance and encoding of what follows
            del meta[tag]
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.preamble = b"\0" * 128
    return frozenset(done)


def burnt_in(dataset: Dataset) -> str:
    """Say why text may be burnt into the pixels; "" where nothing in the header tells of it."""
    said = text_of(dataset, "BurnedInAnnotation").upper()
    if said == "YES":
        return "says itself that text is burnt into its pixels"
    kind = text_of(dataset, "SOPClassUID")
    is_capture = kind.startswith("1.2.840.10008.5.1.4.1.1.7") or bool(text_of(dataset, "ConversionType"))
    if said != "NO" and (
        is_capture or text_of(dataset, "Modality") in ("US", "IVUS", "ES", "XC", "OT", "SC", "DG")
    ):
        what = "a picture of a screen" if is_capture else f"an image of kind {text_of(dataset, 'Modality')}"
        return f"is {what}, into whose pixels text is often burnt, and does not say that there is none"
    return ""


# --- one attribute after the other


@dataclass(frozen=True)
class _Rules:
    who: StandIn
    profile: Profile
    done: set[Done]
    all_text: bool = False  # whatever stands in it says who a person is

    def within(self, *, all_text: bool) -> _Rules:
        return _Rules(self.who, self.profile, self.done, self.all_text or all_text)


@cache
def _table() -> dict[str, str]:
    return {row["tag"]: row["action"] for _, row in read_rows(TABLE)[1]}


def action_of(tag: BaseTag) -> str:
    """Give what the table has for an attribute, "" where it has none.

    Examples
    --------
    >>> from pydicom.tag import Tag
    >>> [action_of(Tag(one)) for one in ("PatientName", "StudyInstanceUID", 0x60023000, "Rows")]
    ['Z', 'U', 'X', '']
    """
    group, element = f"{tag.group:04X}", f"{tag.element:04X}"
    for words in (f"{group},{element}", f"{group[:2]}xx,{element}", f"{group[:2]}xx,xxxx"):
        if words in _table() and (words[:4] == group or tag.group % 2 == 0):
            return _table()[words]
    return ""


def _walk(dataset: Dataset, rules: _Rules) -> None:
    for tag in list(dataset.keys()):
        if tag.is_private:
            del dataset[tag]
            rules.done.add(Done("private", "", PRIVATE))
            continue
        try:
            element = dataset[tag]
        except PYDICOM_ERRORS:  # nobody knows what it holds
            del dataset[tag]
            rules.done.add(_done(tag, REMOVED))
            continue
        if element.VR == "SQ":
            _sequence(dataset, element, rules)
        else:
            _value(dataset, element, rules)


def _sequence(dataset: Dataset, element: DataElement, rules: _Rules) -> None:
    action = action_of(element.tag)
    if action in ("", "X/Z/U*", "D"):  # references are right by their new UIDs; parts have rules of their own
        is_of_person = action == "D" and element.keyword not in WALKED
        for item in element.value or ():
            _walk(item, rules.within(all_text=is_of_person))
        return
    _take(dataset, element, action, rules)


def _value(dataset: Dataset, element: DataElement, rules: _Rules) -> None:
    action, profile, keyword = action_of(element.tag), rules.profile, element.keyword
    if element.VR == "UI":
        _other_uid(element, action, rules)
    elif element.VR in ("DA", "DT", "TM") and element.tag.group != 0x0010 and (action or element.VR != "TM"):
        if profile.dates == "shifted":
            _move(element, rules)
        else:
            _take(dataset, element, action or "Z", rules)
    elif profile.characteristics and keyword in CHARACTERISTICS:
        if keyword == "PatientAge" and (text := text_of(dataset, keyword)).endswith("Y") and text[:-1].isdecimal():
            element.value = f"{min(int(text[:-1]), OLDEST):03d}Y"
    elif (keyword in DESCRIPTIONS and profile.descriptions) or keyword in CLEANED_ALWAYS:
        before = str(element.value or "")
        element.value = clean_words(before) or _number_of(dataset)
        if element.value != before:
            rules.done.add(_done(element.tag, CLEANED))
    elif keyword == "ROIName":  # by which its outlines are told from the others
        element.value = _number_of(dataset)
        rules.done.add(_done(element.tag, REPLACED))
    elif action:
        _take(dataset, element, action, rules)
    elif element.VR == "UN":  # a newer attribute, or a damaged one: nobody knows what it holds
        _take(dataset, element, "X", rules)
    elif element.VR == "PN":
        _take(dataset, element, "Z", rules)
    elif rules.all_text and element.VR in TEXT:
        _take(dataset, element, "D", rules)


def _take(dataset: Dataset, element: DataElement, action: str, rules: _Rules) -> None:
    """Remove, empty or replace."""
    if action == "X/Z/D":  # an empty sequence is none, where it may be missing
        action = "X" if element.VR == "SQ" and text_of(dataset, "Modality") != "SR" else "Z"
    if action == "D" or element.keyword in NEEDED:
        element.value = _dummy(element.VR)
        what = REPLACED
    elif action in ("Z", "Z/D", "X/Z"):
        element.value = [] if element.VR == "SQ" else ""
        what = EMPTIED
    else:
        del dataset[element.tag]
        what = REMOVED
    rules.done.add(_done(element.tag, what))


def _dummy(kind: str) -> Any:
    texts = {"AS": "000Y", "DA": "19000101", "DT": "19000101000000", "TM": "000000", "DS": "0", "IS": "0"}
    if kind in texts:
        return texts[kind]
    if kind == "UR":
        return "http://removed.invalid"
    return (
        0
        if kind in ("FL", "FD", "SL", "SS", "UL", "US", "SV", "UV")
        else DUMMY
        if kind in (*TEXT, "CS")
        else b"\0\0"
    )


def _other_uid(element: DataElement, action: str, rules: _Rules) -> None:
    if element.keyword == "CodingSchemeUID" and not action:
        return
    values = [element.value] if isinstance(element.value, str) else list(element.value or ())
    new = [value if not value or value.startswith(STANDARD) else rules.who.uid_of(str(value)) for value in values]
    if new != values:
        element.value = [UID(one) for one in new] if len(new) > 1 else UID(new[0])
        rules.done.add(_done(element.tag, NEW_UID))


def _move(element: DataElement, rules: _Rules) -> None:
    """Move a date by the patient's days; what is none is emptied. Times of the day stay."""
    if element.VR == "TM":
        return
    values = [str(value) for value in (element.value if element.VM > 1 else [element.value]) if value]
    moved = [_moved(value, rules.who.days) for value in values]
    if moved:
        element.value = moved if len(moved) > 1 else moved[0]
        rules.done.add(_done(element.tag, MOVED if all(moved) else EMPTIED))


def _moved(text: str, days: int) -> str:
    """Move a date or a moment by so many days.

    Examples
    --------
    >>> _moved("20240301", -1), _moved("20240301101500.25+0100", -366), _moved("20120000", 3)
    ('20240229', '20230301101500.25+0100', '')
    """
    digits = re.sub(r"^(\d{4})[.-](\d{2})[.-](\d{2})", r"\1\2\3", text.strip())
    try:
        day = datetime.strptime(digits[:8], "%Y%m%d") + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{day:%Y%m%d}".zfill(8) + digits[8:]


def _number_of(dataset: Dataset) -> str:
    """Give what to call a structure whose name says too much, or anything else."""
    number = text_of(dataset, "ROINumber") or text_of(dataset, "SegmentNumber")
    return f"structure {number}" if number else DUMMY


def clean_words(text: str) -> str:
    """Leave in a text the words of imaging and of the body, with short numbers.

    Examples
    --------
    >>> clean_words("T2 tse sag 3mm Müller, 4711"), clean_words("kidney_left"), clean_words("Anna 12.03.1950")
    ('T2 tse sag 3mm', 'kidney_left', '')
    >>> clean_words("EPI- (Dr. Bauer)"), clean_words("T1 (pre), Anna")
    ('EPI', 'T1 (pre)')
    """
    parts = re.findall(r"[^\W_]+|[\W_]+", text)
    kept = [part for part in parts if not part[0].isalnum() or _is_plain(part)]
    if not any(part[0].isalnum() and not part.isdecimal() for part in kept):
        return ""
    words = re.sub(r"[(\[{][\W_]*[)\]}]", "", "".join(kept))  # what stood in the brackets is gone
    return " ".join(re.sub(r"^[\W_]+|[^\w)\]}]+$|_+$", "", words).split())


@cache
def _plain_words() -> frozenset[str]:
    return frozenset(PLAIN_WORDS.read_text(encoding="utf-8").split())


def _is_plain(word: str) -> bool:
    letters = re.sub(r"\d+", "", word).casefold()
    digits = re.sub(r"\D+", "", word)
    return word.casefold() in _plain_words() or (len(digits) <= 2 and (not letters or letters in _plain_words()))


# --- what is known of the patient, looked for once more in all that is left


def _identity(dataset: Dataset) -> frozenset[str]:
    """Give names, numbers and addresses of the people around an object, in small letters."""
    found: set[str] = set()
    for _, element in _texts(dataset):
        is_one = element.VR == "PN" or element.keyword in (
            *("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "InstitutionName", "StationName"),
            *("PatientAddress", "PatientTelephoneNumbers", "DeviceSerialNumber"),
        )
        for text in _words(element) if is_one else ():
            found |= {text, *re.split(r"[\^=\s,]+", text)} if element.VR == "PN" else {text}
    return frozenset(one for one in found if len(one) >= LEAST_LETTERS)


def _texts(dataset: Dataset) -> Iterator[tuple[Dataset, DataElement]]:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except PYDICOM_ERRORS:
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _texts(item)
        elif element.VR in (*TEXT, "CS"):
            yield dataset, element


def _words(element: DataElement) -> list[str]:
    values = element.value if element.VM > 1 else [element.value]
    return [str(value).strip().casefold() for value in values or () if value]


def _names(element: DataElement, known: frozenset[str]) -> bool:
    text = " ".join(word for word in _words(element) if word != DUMMY.casefold())
    return any(re.search(rf"(?<![^\W_]){re.escape(one)}(?![^\W_])", text) for one in known if one in text)


def _done(tag: BaseTag, what: str) -> Done:
    return Done(f"({tag.group:04X},{tag.element:04X})", keyword_for_tag(tag), what)
