"""Where a correction goes in a folder of cases: onto the labels of a case, or as a new one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case, CaseFolder, read_case, read_case_image
from autoseg.data.corrections.kit import AS_WRITTEN, channel_words
from autoseg.data.corrections.read import Correction
from autoseg.data.pairing.names import IMAGE_WORD
from autoseg.errors import DataError, OutputError
from autoseg.files.nifti.images import lay_out
from autoseg.files.nifti.volumes import nifti_header, read_nifti
from autoseg.files.sources import VOLUME_ENDINGS, ending
from autoseg.image.geometry import Affine
from autoseg.image.image import Image
from autoseg.image.orientation import Arrangement, arrangement_onto

PART = re.compile(r"_s\d{3,}-\d{3,}$")
ELSEWHERE = "Keep the correction in a new folder."


@dataclass(frozen=True, eq=False)
class Place:
    """Where a correction goes: the case's name and files, and how the correction's slices become the case's.

    `earlier` are the labels that stand there, on the case's own axes; None for a new case, whose images are written
    to `image_paths`. `annotated` is what the case's files themselves tell of what was drawn.
    """

    case_id: str
    label_path: Path
    image_paths: tuple[Path, ...]
    arrangement: Arrangement
    shape: tuple[int, int, int]
    affine: Affine
    earlier: npt.NDArray[np.integer] | None = None
    annotated: frozenset[int] | None = None

    def own_slices(self, slices: Sequence[int]) -> tuple[int, ...] | None:
        """Give slices of the correction as slices of the case; None if the case's lie in another plane."""
        if self.arrangement.axes[0] != 0:
            return None
        last = self.shape[0] - 1
        return tuple(sorted(last - n if self.arrangement.flipped[0] else n for n in slices))


def whole_cases(found: CaseFolder) -> tuple[Case, ...]:
    """Give the cases of a folder with all their slices, also where only some count as drawn.

    To correct them once more; what was drawn on any of the slices counts as drawn.
    """
    whole: dict[tuple[Path, str], Case] = {}
    for case in found.cases:
        known = frozenset(s.label for s in found.structures) if case.annotated is None else case.annotated
        case_id = case.case_id if case.slices is None else PART.sub("", case.case_id)
        key = (case.image_path, case_id)
        before = (whole[key].annotated or frozenset()) if key in whole else frozenset()
        whole[key] = replace(case, case_id=case_id, slices=None, part_repairs=(), annotated=known | before)
    return tuple(whole.values())


def find_place(correction: Correction, folder: Path, found: CaseFolder | None) -> Place:
    """Find the case of the folder that was corrected, or choose the files of a new one."""
    return (_existing(correction, found) if found else None) or _new(correction, folder, found)


def _existing(correction: Correction, found: CaseFolder) -> Place | None:
    """Find the case with this image; its name tells where to look, and the image itself whether it is the one."""
    name = re.compile(rf"{re.escape(_new_name(correction))}(_\d+)?")
    own = correction.case
    for case in whole_cases(found):
        if case.case_id != own.case_id and not name.fullmatch(case.case_id):
            continue
        image = read_case_image(case)
        arrangement = _arrangement(correction, image.affine, image.shape)
        if arrangement is not None and image.affine is not None and _is_image(correction, image, arrangement):
            return _on_labels(case, image, arrangement, found)
        if case.case_id == own.case_id and case.subject_id == own.subject_id:
            what = "lies on another grid than" if arrangement is None else "has other intensities than"
            raise DataError(
                f"The image of {case.case_id} in {found.folder} ({image!r}) {what} the one that was corrected "
                f"({correction.label_map!r}). {ELSEWHERE}"
            )
    return None


def _on_labels(case: Case, image: Image, arrangement: Arrangement, found: CaseFolder) -> Place:
    """Give the place of a case's own label file, if a correction can go there."""
    parts = [part for part in found.cases if part.image_path == case.image_path]
    if len(case.labels) != 1 or case.labels[0].binary or ending(case.label_path) not in VOLUME_ENDINGS:
        further = " and further files" if len(case.labels) > 1 else ""
        raise DataError(
            f"The labels of {case.case_id} in {found.folder} are {case.label_path.name}{further}, and only a "
            f"single NIfTI file with the values of all structures is replaced by a correction. {ELSEWHERE}"
        )
    if case.repairs or any(part.part_repairs for part in parts):
        raise DataError(
            f"repairs.csv in {found.folder} mends the labels of {case.case_id} and would mend the corrected ones "
            "again. Remove its rows first, if the corrected file holds what they mend."
        )
    return Place(
        case_id=case.case_id,
        label_path=case.label_path,
        image_paths=(),
        arrangement=arrangement,
        shape=image.shape,
        affine=image.calibrated_affine,
        earlier=read_case(case, found.structures)[1].voxels,
        annotated=parts[0].annotated,
    )


def read_own_images(correction: Correction) -> list[npt.NDArray[np.generic]]:
    """Read the image that was corrected, on its own grid, channel by channel."""
    case = correction.case
    folder = correction.kit.folder / ("" if case.keeps_grid else AS_WRITTEN)
    channels = []
    for name in case.image_names:
        voxels, _ = read_nifti(folder / name)
        if voxels.shape != case.shape:
            raise OutputError(
                f"{folder / name} is not the image that was written with the labels. Take it from a copy."
            )
        channels.append(voxels)
    return channels


def corrected_image(correction: Correction) -> Image:
    """Read the image that was corrected, where it lies in the patient."""
    case = correction.case
    channels = read_own_images(correction)
    voxels = channels[0] if len(channels) == 1 else np.stack(channels)
    source = replace(correction.label_map.source, slices=(), spacing_source="header", slice_spacing_source="header")
    return Image(voxels, case.affine, case.channels, source)


def _is_image(correction: Correction, image: Image, arrangement: Arrangement) -> bool:
    """Tell whether an image of the folder is the one that was corrected: two patients may lie on one grid."""
    own = [arrangement.apply(voxels) for voxels in read_own_images(correction)]
    if len(own) != len(image.channel_voxels):
        return False
    return all(
        np.allclose(mine.astype(np.float64), theirs.astype(np.float64), rtol=1e-5, equal_nan=True)
        for mine, theirs in zip(own, image.channel_voxels, strict=True)
    )


def _new(correction: Correction, folder: Path, found: CaseFolder | None) -> Place:
    if found is not None and not ((folder / "images").is_dir() and (folder / "labels").is_dir()):
        raise DataError(
            f"{folder} has no case {correction.case.case_id}, and keeps its images in another way than as NIfTI in "
            f"'images' and 'labels'. {ELSEWHERE}"
        )
    case = correction.case
    taken = {one.case_id for one in found.cases} | {one.case_id for one in whole_cases(found)} if found else set()
    first = _new_name(correction)
    # Series of two patients are often called alike.
    names = (first if number == 1 else f"{first}_{number}" for number in range(1, 1000))
    name = next(name for name in names if name not in taken)
    endings = [f"_{word}" for word in channel_words(case.channels)] if len(case.channels) > 1 else [""]
    images = tuple(folder / "images" / f"{name}{end}.nii.gz" for end in endings)
    label = folder / "labels" / f"{name}.nii.gz"
    for path in (*images, label):
        if path.exists():
            raise OutputError(f"{path} is there already and belongs to another case. {ELSEWHERE}")
    arrangement = _arrangement_when_read(correction)
    shape, affine = arrangement.shape(case.shape), arrangement.affine(case.affine, case.shape)
    return Place(name, label, images, arrangement, shape, affine)


def _new_name(correction: Correction) -> str:
    """Give the name that a new case has when it is read: without a word such as _image at its end."""
    return IMAGE_WORD.sub("", correction.case.name) or correction.case.name


def _arrangement(correction: Correction, affine: Affine | None, shape: tuple[int, ...]) -> Arrangement | None:
    case = correction.case
    return None if affine is None else arrangement_onto(case.affine, case.shape, affine, shape)


def _arrangement_when_read(correction: Correction) -> Arrangement:
    """Give how the correction's axes become those of the image once it is read from its NIfTI file."""
    case = correction.case
    path = correction.kit.folder / ("" if case.keeps_grid else AS_WRITTEN) / case.image_names[0]
    header = nifti_header(path)
    layout, affine = lay_out(header)
    found = _arrangement(correction, affine, layout.shape(header.shape))
    if found is None:
        raise OutputError(f"{path} is not the image that was written with the labels. Take it from a copy.")
    return found
