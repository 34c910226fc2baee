"""Write a folder of cases as a BIDS data set: images with what is known of them beside, labels as a derivative."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autoseg.data.cases import Case, CaseFolder, read_case
from autoseg.data.codes import is_without_ids
from autoseg.data.test_subjects import read_ledger
from autoseg.errors import DataError, Told, private
from autoseg.files.atomic import whole_file, whole_folder
from autoseg.files.file_names import unique_names
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.records import write_record
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure

VERSION = "1.10.0"  # of BIDS
# What images of anatomy are called by their contrast in BIDS, and what names of channels say.
SUFFIXES = {
    "T2starw": r"t2[-_ ]?(star|\*)w?",
    "FLAIR": r"flair",
    "T1w": r"t1[-_ ]?w?|mprage",
    "T2w": r"t2[-_ ]?w?",
    "PDw": r"pd[-_ ]?w?",
    **{
        "T1map": r"t1[-_ ]?map",
        "T2map": r"t2[-_ ]?map",
        "PDT2": r"pdt2",
        "angio": r"angio|mra|tof",
        "UNIT1": r"unit1",
    },
}
README = """\
Images and labels that were written by autoseg from a folder of its own, each image on its own grid. Labels lie in
derivatives/labels; what their numbers mean stands in desc-manual_dseg.tsv there. A structure that lies inside
another has its own number alone: what a structure includes is told in desc-manual_dseg.json. What was not drawn on
an image is missing and not absent: StructuresDrawn beside a label says what was.
"""


def write_bids(
    found: CaseFolder,
    target: Path,
    *,
    suffixes: Sequence[str] = (),
    on_case: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write images as a raw BIDS data set, and labels in `derivatives/labels` with `desc-manual_dseg.tsv`.

    Images keep their grid and their intensities, labels their numbers. What several cases of a person are become
    runs. Who was set aside for a last test is told in `participants.tsv`.

    Parameters
    ----------
    found : CaseFolder
    target : Path
        A new folder.
    suffixes : sequence of str
        What the contrast of each channel is called in BIDS ("T2w"); by default what the channels' names say.
    on_case : callable, optional
        Told before each case how many are written, and of how many. What it raises ends the writing; nothing of the
        folder is left then.

    Returns
    -------
    tuple of str
        What the reader should know.

    Raises
    ------
    DataError
        If it is not known what the images are called in BIDS, or BIDS has no place for them.
    GeometryError
        If the size of an image's pixels is unknown.
    """
    runs = Counter(case.subject_id for case in found.cases)
    subjects = list(runs)
    # Names of BIDS are letters and digits alone.
    names = unique_names([re.sub(r"[^A-Za-z0-9]", "", one) or "unnamed" for one in subjects], joint="x")
    named = dict(zip(subjects, names, strict=True))
    done: Counter[str] = Counter()
    notes: list[str] = []
    with whole_folder(Path(target)) as temporary:
        labels = temporary / "derivatives" / "labels"
        for place, case in enumerate(found.cases):
            if on_case is not None:
                on_case(place, len(found.cases))
            image, label_map = read_case(case, found.structures)
            if image.source.modality == "CT":
                raise DataError(
                    "BIDS has no place for CT. Write the images for nnU-Net, which takes all (on the command line "
                    "--nnunet), or choose others."
                )
            done[case.subject_id] += 1
            subject = f"sub-{named[case.subject_id]}"
            run = f"_run-{done[case.subject_id]:02d}" if runs[case.subject_id] > 1 else ""
            written = _write_image(temporary / subject / "anat", subject, run, image, suffixes)
            stem = f"{subject}{run}_desc-manual_dseg"
            write_nifti(labels / subject / "anat" / f"{stem}.nii.gz", label_map)
            sources = [f"bids:raw:{subject}/anat/{name}" for name in written]
            write_record(labels / subject / "anat" / f"{stem}.json", _of_labels(case, label_map, sources))
            if image.source.slice_spacing_source == "none" and image.shape[0] > 1:
                where = private(case.case_id)
                notes.append(Told(f"{where}: the distance of its slices is not known; 1 mm stands there."))
        ledger = read_ledger(found.folder)
        aside = set(ledger.subjects if ledger else ())
        _write_tables(temporary, labels, found.structures, {named[one]: one in aside for one in subjects})
    if not is_without_ids(found.folder):
        notes.append(
            "Names of files and participants.tsv have the patients' IDs. 'Without patient IDs' (on the command "
            "line --without-ids) puts codes in their place."
        )
    return tuple(notes)


def _write_image(folder: Path, subject: str, run: str, image: Image, suffixes: Sequence[str]) -> list[str]:
    """Write the channels of an image with a sidecar each, and give the names of their files."""
    called = suffixes_of(image.channels, suffixes)
    alike, names = Counter(called), []
    for place, (channel, suffix) in enumerate(zip(image.channels, called, strict=True)):
        acquisition = f"_acq-{re.sub(r'[^A-Za-z0-9]', '', channel) or place}" if alike[suffix] > 1 else ""
        stem = f"{subject}{acquisition}{run}_{suffix}"
        own = replace(image, voxels=image.channel_voxels[place], channels=("image",))
        write_nifti(folder / f"{stem}.nii.gz", own)
        write_record(folder / f"{stem}.json", _of_image(image, channel))
        names.append(f"{stem}.nii.gz")
    return names


def suffixes_of(channels: Sequence[str], given: Sequence[str] = ()) -> tuple[str, ...]:
    """Give what BIDS calls the contrast of each channel.

    Examples
    --------
    >>> suffixes_of(("T2w", "mprage")), suffixes_of(("image",), ("PDw",))
    (('T2w', 'T1w'), ('PDw',))
    """
    if given:
        unknown = [one for one in given if one not in SUFFIXES]
        if unknown or len(given) != len(channels):
            raise DataError(
                f"The images have the channels {', '.join(channels)}, and their contrasts are given as "
                f"{' '.join(given)}. Give one of {', '.join(SUFFIXES)} for each."
            )
        return tuple(given)
    found = [
        next((suffix for suffix, names in SUFFIXES.items() if re.fullmatch(names, channel.lower())), "")
        for channel in channels
    ]
    if not all(found):
        raise DataError(
            f"BIDS names images by their contrast, and the channels {', '.join(channels)} do not tell it. Say for "
            f"each channel (on the command line by --suffix) which it is: {', '.join(SUFFIXES)}."
        )
    return tuple(found)


def _of_image(image: Image, channel: str) -> dict[str, Any]:
    taken = image.source.acquisition
    seconds = {"RepetitionTime": taken.repetition_ms, "EchoTime": taken.echo_ms}
    return {
        **({"Modality": image.source.modality} if image.source.modality else {}),
        **({"ScanningSequence": taken.sequence.replace("\\", "_")} if taken.sequence else {}),
        **{name: round(value / 1000, 6) for name, value in seconds.items() if value is not None},
        "Channel": channel,
    }


def _of_labels(case: Case, label_map: LabelMap, sources: Sequence[str]) -> dict[str, Any]:
    drawn = [one.name for one in label_map.structures if label_map.is_annotated(one.label)]
    return {"SpatialReference": "orig", "Sources": list(sources), "StructuresDrawn": drawn}


def _write_tables(
    folder: Path, labels: Path, structures: Sequence[Structure], participants: dict[str, bool]
) -> None:
    by = {"GeneratedBy": [{"Name": "autoseg", "Version": _version()}]}
    raw = {"Name": "Images written by autoseg", "BIDSVersion": VERSION, "DatasetType": "raw", **by}
    write_record(folder / "dataset_description.json", raw)
    of_labels = {"Name": "Labels written by autoseg", "BIDSVersion": VERSION, "DatasetType": "derivative", **by}
    write_record(labels / "dataset_description.json", {**of_labels, "DatasetLinks": {"raw": "../.."}})
    rows = [("participant_id", "set_aside")]
    rows += [(f"sub-{name}", "yes" if aside else "no") for name, aside in participants.items()]
    _write_tsv(folder / "participants.tsv", rows)
    levels = {"yes": "kept for a last test; in no fold", "no": "to learn from"}
    told = {"Description": "whether autoseg keeps this participant for a last test", "Levels": levels}
    write_record(folder / "participants.json", {"set_aside": told})
    names = {one.label: one.name for one in structures}
    colours = [(one, "#{:02x}{:02x}{:02x}".format(*one.rgb)) for one in structures]
    cells = [(str(one.label), one.name, colour) for one, colour in colours]
    _write_tsv(labels / "desc-manual_dseg.tsv", [("index", "name", "color"), *cells])
    inside = {one.name: [names[label] for label in one.includes] for one in structures if one.includes}
    write_record(labels / "desc-manual_dseg.json", {"StructuresIncluded": inside})
    for place in (folder, labels):
        with whole_file(place / "README") as temporary:
            temporary.write_text(README, encoding="utf-8", newline="\n")


def _write_tsv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    lines = ["\t".join(re.sub(r"[\t\r\n]+", " ", cell) for cell in row) for row in rows]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def _version() -> str:
    try:
        return version("autoseg")
    except PackageNotFoundError:
        return "unknown"
