"""A folder to correct labels in: images, labels, names and colours for ITK-SNAP, 3D Slicer and FSLeyes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autoseg.data.corrections.fine_grid import fine_affine, upsample_image, upsample_labels
from autoseg.errors import DataError, GeometryError, LabelError, ReadError
from autoseg.files.atomic import whole_file, whole_folder
from autoseg.files.colours import FSLEYES_NAME, ITKSNAP_NAME, SLICER_NAME, write_label_colours
from autoseg.files.file_names import safe_name, unique_names
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.records import write_record
from autoseg.files.sources import name_without_ending
from autoseg.files.tables import read_structures, write_structures
from autoseg.files.text_files import read_json
from autoseg.image.geometry import Affine, check_affine
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.words import name_some

# --- what to do with a folder of labels to correct, in the words of the three programs

RECORD = "correction.json"
AS_WRITTEN = "as_written"

# What to open and how to save, step by step; {image} and {labels} are names of files.
STEPS: dict[str, tuple[str, ...]] = {
    "ITK-SNAP": (
        "Open the image: File, Open Main Image, {image}.",
        "Open the labels: Segmentation, Open Segmentation, {labels}.",
        f"Names and colours: Segmentation, Import Label Descriptions, {ITKSNAP_NAME}.",
        "Save: Segmentation, Save Segmentation Image, as NIfTI, under the same name: {labels}.",
    ),
    "3D Slicer": (
        f"Drop {SLICER_NAME} on the window, then {{image}}.",
        f'Add {{labels}} with Add Data: description "Segmentation", and under Options the colour table '
        f"{SLICER_NAME.partition('.')[0]}.",
        'Save from the module Segmentations, "Export to files": NIfTI, with the image as reference and with "Use '
        "color table values\", under the same name: {labels}. Slicer's own format .seg.nrrd is not read.",
    ),
    "FSLeyes": (
        "Open {image}, then {labels} (File, Add from file).",
        f'Choose the overlay type "Label image" for the labels, and load {FSLEYES_NAME} as lookup table.',
        "Correct in edit mode (Tools, Edit mode), and save the overlay under the same name: {labels}.",
    ),
}
RULES = (
    "Do not give the labels other numbers, and do not crop or resample: the labels must keep the grid of the "
    f"image. Leave the folder {AS_WRITTEN} and the file {RECORD} as they are: they tell later what was changed."
)


NUMBERS = (
    "Slices have the numbers that autoseg's tables give them: the first slice of a file is 1, as in ITK-SNAP. "
    "FSLeyes and 3D Slicer count voxels from 0."
)


def steps(program: str, *, image: str, labels: str) -> tuple[str, ...]:
    """Give what to do in a program, step by step, with the names of the files.

    Examples
    --------
    >>> steps("FSLeyes", image="a_image.nii.gz", labels="a_labels.nii.gz")[0]
    'Open a_image.nii.gz, then a_labels.nii.gz (File, Add from file).'
    """
    return tuple(step.format(image=image, labels=labels) for step in STEPS[program])


def guide() -> str:
    """Give the text of the folder's READ_ME.txt."""
    lines = [
        "Labels to correct",
        "=================",
        "",
        "For each image there are two files: ..._image.nii.gz, the image, and ..._labels.nii.gz, the labels. Open",
        "both, correct the labels, and save them under the same name, in the same place.",
    ]
    for program in STEPS:
        lines += ["", program]
        found = steps(program, image="..._image.nii.gz", labels="..._labels.nii.gz")
        lines += [f"  {number}. {step}" for number, step in enumerate(found, start=1)]
    return "\n".join([*lines, "", RULES, "", NUMBERS, ""])


# --- grids whose axes are at right angles, the only ones that programs for correcting labels show

# Directions of the axes that differ from right angles by less are straight to every program.
STRAIGHT = 1e-5


def straight_affine(affine: Affine, shape: Sequence[int]) -> Affine:
    """Give the nearest affine whose axes are at right angles, with the same middle of the volume.

    Steps of rows and columns keep their lengths; slices are as far apart as along their normal. Where the axes
    are at right angles already, the affine itself is given.

    Examples
    --------
    A gantry tilted by 45 degrees:

    >>> from autoseg.image.geometry import affine_from_spacing
    >>> tilted = affine_from_spacing((4, 1, 1)).copy()
    >>> tilted[1, 0] = 4
    >>> straight_affine(tilted, (3, 9, 9))[:3, :3].round(6).tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [4.0, 0.0, 0.0]]
    """
    steps = affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    directions = steps / lengths
    if np.abs(directions.T @ directions - np.eye(3)).max() <= STRAIGHT:
        return affine
    normal = np.cross(directions[:, 1], directions[:, 2])
    normal *= np.sign(normal @ directions[:, 0]) / np.linalg.norm(normal)
    # Rows and columns that are not at right angles either meet half-way.
    first, second = directions[:, 1], directions[:, 2]
    both, apart = first + second, first - second
    both, apart = both / np.linalg.norm(both), apart / np.linalg.norm(apart)
    straight = np.stack([normal, (both + apart) / np.sqrt(2), (both - apart) / np.sqrt(2)], axis=1)
    lengths[0] = abs(normal @ steps[:, 0])
    result = np.eye(4)
    result[:3, :3] = straight * lengths + 0.0  # turns -0.0 into 0.0
    middle = (np.array(shape) - 1) / 2
    result[:3, 3] = affine[:3, :3] @ middle + affine[:3, 3] - result[:3, :3] @ middle
    return check_affine(result)


SAVED_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
KIND = "autoseg labels to correct"
# An autoseg that knows no images without millimetres refuses folders with such images by the number.
VERSION, WITHOUT_MM = 1, 2


@dataclass(frozen=True, eq=False)
class KitCase:
    """One image of a folder to correct labels in.

    `name` begins its files' names. `shape` and `affine` are the image's own grid, to which corrections come back;
    the files lie on `file_affine`, finer by `factor` in the plane of the slices. Both affines are None where the
    image has no millimetres: its files say nothing of a place then. `annotated` are the labels that
    had been drawn (or predicted) when the folder was written. Where it `is_coded`, codes stand for patient and
    image (`autoseg.data.codes`). `suitability` is the light of an image that a model segmented ("green", "amber" or
    "red"; "" where nobody knows), with its `reasons`.
    """

    case_id: str
    subject_id: str
    name: str
    shape: tuple[int, int, int]
    affine: Affine | None
    file_affine: Affine | None
    factor: int
    channels: tuple[str, ...]
    annotated: frozenset[int]
    is_coded: bool = False
    suitability: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def labels_name(self) -> str:
        """Name of the label file."""
        return f"{self.name}_labels.nii.gz"

    @property
    def image_names(self) -> tuple[str, ...]:
        """Names of the image files, one a channel."""
        if len(self.channels) == 1:
            return (f"{self.name}_image.nii.gz",)
        return tuple(f"{self.name}_image_{word}.nii.gz" for word in channel_words(self.channels))

    @property
    def file_shape(self) -> tuple[int, int, int]:
        """Shape of the files: slices, rows, columns."""
        slices, rows, columns = self.shape
        return slices, rows * self.factor, columns * self.factor

    @property
    def keeps_grid(self) -> bool:
        """Whether the files lie on the image's own grid."""
        if self.affine is None or self.file_affine is None:
            return self.factor == 1
        return self.factor == 1 and np.array_equal(self.affine, self.file_affine)


@dataclass(frozen=True)
class Kit:
    """A folder to correct labels in, as `write_kit` wrote it. `model` is what drew the labels, or empty."""

    folder: Path
    cases: tuple[KitCase, ...]
    structures: tuple[Structure, ...]
    model: str
    written: str
    notes: tuple[str, ...] = ()


def write_kit(
    folder: Path,
    results: Sequence[tuple[Image, LabelMap]],
    *,
    model_name: str = "",
    models: Sequence[Mapping[str, Any]] = (),
    suitability: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    factor: int = 1,
    method: Literal["cubic", "linear"] = "cubic",
) -> Kit:
    """Write images and labels to a new folder in which they can be corrected with ITK-SNAP, 3D Slicer or FSLeyes.

    Files are NIfTI in the patient's coordinates, sform and qform equal, named after the case (`Source.case_id`,
    which is free of patient names). A sheared grid (a tilted gantry) cannot be said by a qform and is refused by
    programs that are built on ITK: its files lie on a straight grid with the same voxels, which a note says;
    corrections come back voxel by voxel. Files of an image without millimetres are marked as such.

    Parameters
    ----------
    folder : Path
        Must not exist.
    results : sequence of (Image, LabelMap)
        As `Run.results` or `read_case` give them; each label map on its image's grid, all with the same structures.
    model_name : str
        What drew the labels; empty where a person did.
    models : sequence of mapping
        What tells each of the models from others of its name, kept in the folder's record.
    suitability : mapping by case_id, optional
        The light of each image ("red") and its reasons, kept there too; notes tell of images that are not green.
    factor : int
        How many times finer the slices become for the hand (3: each pixel becomes nine), 1 to 8.
    method : {"cubic", "linear"}
        How the image is made finer. Labels keep their outlines.

    Returns
    -------
    Kit

    Raises
    ------
    DataError, LabelError
        If there is nothing to correct, or structures or grids differ.
    GeometryError
        If millimetres are known and the distance between slices is not.
    OutputError
        If the folder exists or cannot be written; nothing is left behind then.
    """
    folder = Path(folder)
    if not results:
        raise DataError(f"There are no labels to write to {folder}. Choose a folder with images.")
    structures = _shared_structures([labels for _, labels in results])
    apart = [part for pair in results for part in pictures_apart(*pair)]
    known = suitability or {}
    lights = [known.get(case_id, ("", ())) for case_id, _, _ in apart]
    results = [(image, label_map) for _, image, label_map in apart]
    cases, notes = _plan_cases(results, factor)
    cases = [_with_light(case, *light) for case, light in zip(cases, lights, strict=True)]
    notes += [
        f"{case.name}: {case.suitability.upper()}. {' '.join(case.reasons)}"
        for case in cases
        if case.suitability not in ("", "green")
    ]
    with whole_folder(folder) as temporary:
        for case, (image, label_map) in zip(cases, results, strict=True):
            _write_case(temporary, case, image, label_map, method)
        write_label_colours(temporary, structures)
        write_structures(temporary / "structures.csv", structures)
        words = "\n".join([guide(), *notes]) + "\n"
        (temporary / "READ_ME.txt").write_text(words, encoding="utf-8", errors="replace")
        written = datetime.now().astimezone().isoformat(timespec="seconds")
        record = {
            "kind": KIND,
            "version": VERSION if all(case.affine is not None for case in cases) else WITHOUT_MM,
            "model": model_name,
            "models": list(models),
            "written": written,
            "notes": notes,
            "cases": [_as_plain(case) for case in cases],
        }
        write_record(temporary / RECORD, record, indent=2)
    return Kit(folder, tuple(cases), structures, model_name, written, tuple(notes))


def read_kit(folder: Path) -> Kit:
    """Read what `write_kit` noted in a folder."""
    folder = Path(folder)
    path = folder / RECORD
    try:
        record = read_json(path)
        if record["kind"] != KIND or record["version"] not in (VERSION, WITHOUT_MM):
            raise ReadError(f"{path} was written by another program or a newer autoseg.")
        cases = tuple(_from_plain(plain) for plain in record["cases"])
        model, written, notes = record["model"], record["written"], tuple(record["notes"])
    except FileNotFoundError as error:
        raise ReadError(
            f"{folder} has no {RECORD}, so it is no folder that autoseg wrote for correcting. Choose the folder in "
            "which the labels were corrected (“Correct the outlines” in 2_test makes one, or autoseg correct "
            "write)."
        ) from error
    except (OSError, ValueError, LookupError, TypeError, GeometryError) as error:
        raise ReadError(f"{path} cannot be read ({error}). Take it from a copy of the folder.") from error
    return Kit(folder, cases, read_structures(folder / "structures.csv").structures, model, written, notes)


def find_kits(folder: Path) -> tuple[Path, ...]:
    """Find the folders to correct labels in, in a folder and two floors below it; the one written last comes first.

    Nothing is found in a folder that is not there.
    """
    records = [path for floor in ("", "*/", "*/*/") for path in Path(folder).glob(f"{floor}{RECORD}")]
    whole = [path for path in records if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return tuple(path.parent for path in sorted(whole, key=lambda path: (-path.stat().st_mtime, str(path))))


def further_files(kit: Kit) -> tuple[Path, ...]:
    """Give label files that somebody saved in the folder under names of their own, the last one first."""
    written = {name for case in kit.cases for name in (*case.image_names, case.labels_name)}
    found = [path for path in kit.folder.glob("*") if path.name.lower().endswith(SAVED_ENDINGS)]
    return tuple(sorted((p for p in found if p.name not in written), key=lambda p: (-p.stat().st_mtime, str(p))))


def channel_words(channels: Sequence[str]) -> list[str]:
    """Give the channels' names as ends of file names."""
    return unique_names([safe_name(channel).replace("_", "-") for channel in channels])


def _shared_structures(label_maps: Sequence[LabelMap]) -> tuple[Structure, ...]:
    first = label_maps[0].structures
    for other in label_maps[1:]:
        if other.structures != first:
            raise LabelError(
                f"{label_maps[0].source.name} and {other.source.name} have other structures. Write a folder for "
                "each."
            )
    if not first:
        raise LabelError(f"{label_maps[0].source.name} has no structures, so there is nothing to correct.")
    return first


def pictures_apart(image: Image, label_map: LabelMap) -> list[tuple[str, Image, LabelMap]]:
    """Give the slices of a stack of pictures one by one, by their files' names; else the image as it is.

    A file of several slices tells how far they lie apart, and of pictures nobody knows. The image's own case_id
    comes in front.
    """
    whole = image.source.case_id
    paths = [place.path for place in image.source.slices]
    if image.source.slice_spacing_source != "none" or len(set(paths)) < 2:
        return [(whole, image, label_map)]
    names = [name_without_ending((place.origin or place).path) for place in image.source.slices]
    if any(place.origin for place in image.source.slices):  # codes stand for the files
        names = [f"{whole}_s{image.slice_number(index):03d}" for index in range(len(paths))]
    parts = []
    for index, name in enumerate(names):
        one, labels = image.one_slice(index), label_map.one_slice(index)
        source = replace(one.source, case_id=name, first_slice=1)
        parts.append((whole, replace(one, source=source), replace(labels, source=source)))
    return parts


def _plan_cases(results: Sequence[tuple[Image, LabelMap]], factor: int) -> tuple[list[KitCase], list[str]]:
    names = unique_names([safe_name(image.source.case_id) for image, _ in results])
    cases, notes = [], []
    for (image, label_map), name in zip(results, names, strict=True):
        affine = image.affine
        if label_map.affine is not None and not label_map.same_grid(image):
            raise LabelError(f"{image.source.name}: the labels {label_map!r} do not lie on the image {image!r}.")
        label_map.on_grid_of(image)
        if (
            affine is not None
            and image.shape[0] > 1
            and image.source.slice_spacing_source == "none"
            and image.source.slices
        ):
            raise GeometryError(
                f"{image.source.name}: the distance between its slices is unknown, and a file would have to invent "
                "it. Correct such slices one by one, each as a file of its own."
            )
        straight = None if affine is None else straight_affine(affine, image.shape)
        if straight is not affine:
            notes.append(
                f"{name}: the slices of this image are tilted against each other's stack (gantry tilt). Programs "
                "for correcting cannot show that, so the files lie on a straight grid: voxels are the same, "
                "distances across slices look different. Corrections come back to the right place."
            )
        cases.append(
            KitCase(
                case_id=image.source.case_id,
                subject_id=image.source.subject_id,
                name=name,
                shape=image.shape,
                affine=affine,
                file_affine=straight if straight is None or factor == 1 else fine_affine(straight, factor),
                factor=factor,
                channels=image.channels,
                annotated=frozenset(label_map.annotated or ()),
                is_coded=any(place.origin for place in image.source.slices),
            )
        )
    silent = [case.name for case in cases if case.affine is None]
    if silent:
        notes.append(
            f"The file of {name_some(silent, 3)} does not tell the size of a pixel, so areas are counted in "
            "pixels. Other programs take a pixel for 1 mm: what they measure there is not in millimetres."
        )
    return cases, notes


def _with_light(case: KitCase, light: str, reasons: Sequence[str]) -> KitCase:
    return replace(case, suitability=light, reasons=tuple(reasons))


def _write_case(folder: Path, case: KitCase, image: Image, label_map: LabelMap, method: Any) -> None:
    files, labels = image, replace(label_map, shares=None)
    if case.factor > 1:
        files, labels = upsample_image(image, case.factor, method=method), upsample_labels(label_map, case.factor)
    for name, voxels in zip(case.image_names, files.channel_voxels, strict=True):
        write_nifti(folder / name, Image(voxels, case.file_affine), may_lack_mm=True)
    labels = replace(labels, affine=case.file_affine)
    written = write_nifti(folder / case.labels_name, labels, may_lack_mm=True)
    with whole_file(folder / AS_WRITTEN / case.labels_name) as temporary:
        shutil.copyfile(written, temporary)
    if not case.keeps_grid:
        for name, voxels in zip(case.image_names, image.channel_voxels, strict=True):
            write_nifti(folder / AS_WRITTEN / name, Image(voxels, case.affine), may_lack_mm=True)


def _as_plain(case: KitCase) -> dict[str, Any]:
    return vars(case) | {
        "affine": None if case.affine is None else case.affine.tolist(),
        "file_affine": None if case.file_affine is None else case.file_affine.tolist(),
        "annotated": sorted(case.annotated),
    }


def _from_plain(plain: dict[str, Any]) -> KitCase:
    slices, rows, columns = plain["shape"]
    affine, file_affine = (
        None if plain[name] is None else check_affine(np.array(plain[name])) for name in ("affine", "file_affine")
    )
    return KitCase(
        case_id=str(plain["case_id"]),
        subject_id=str(plain["subject_id"]),
        name=str(plain["name"]),
        shape=(int(slices), int(rows), int(columns)),
        affine=affine,
        file_affine=file_affine,
        factor=int(plain["factor"]),
        channels=tuple(map(str, plain["channels"])),
        annotated=frozenset(map(int, plain["annotated"])),
        is_coded=bool(plain.get("is_coded")),
        suitability=str(plain.get("suitability", "")),
        reasons=tuple(map(str, plain.get("reasons", ()))),
    )
