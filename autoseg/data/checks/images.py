"""Grids and intensities: labels on another grid than their image, odd spacings and ranges, broken pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from autoseg.data.cases import Case
from autoseg.data.cases.read import level_numbers, read_whole_image
from autoseg.data.checks.edges import fit_edges
from autoseg.data.checks.facts import Cohort, Facts, LabelledImage, usual
from autoseg.data.checks.finding import Finding
from autoseg.data.repairs import SYMMETRIES, transform, turn_slices
from autoseg.errors import AutosegError, private
from autoseg.files.text_files import read_levels, unfitting_levels
from autoseg.image.geometry import same_grid, spacing_from_affine
from autoseg.words import counted, have, name_private, name_some, say_number

# Ratio of the largest to the smallest pixel length.
UNLIKE_SPACING = 1.5
# Ratio of an image's range of intensities to that of the others.
UNLIKE_RANGE = 10
# A cohort in which more images than this differ is a mixture; fewer are the odd ones out.
MIXTURE = 0.1


def check_grid(labelled: LabelledImage) -> Iterator[Finding]:
    """Find labels that have another shape, spacing or orientation than their image."""
    case, image, voxels = labelled.case, labelled.image, labelled.voxels
    if voxels.shape != image.shape:
        symmetry = _fitting_turn(labelled)
        yield Finding(
            "error",
            case.case_id,
            case.label_path,
            f"{private(case.label_path)} has {_shape(voxels.shape)} (slices, rows, columns), but "
            f"{private(case.image_path)} has {_shape(image.shape)}.",
            "Save the label on the image's own grid."
            + (f" It fits the image if it is {SYMMETRIES[symmetry]}." if symmetry else ""),
            kind="shape",
            cause="Rows and columns were exchanged when the label was saved."
            if symmetry
            else "The label was drawn on a resized, cropped or other image.",
            repairs=(transform(case.case_id, symmetry),) if symmetry else (),
        )
    elif labelled.label_affine is not None and image.affine is not None:
        if same_grid((voxels.shape, labelled.label_affine), (image.shape, image.affine)):
            return
        own, others = (spacing_from_affine(affine) for affine in (labelled.label_affine, image.affine))
        own_axes, axes = [
            affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
            for affine in (labelled.label_affine, image.affine)
        ]
        differs = []
        if not np.allclose(own, others, rtol=1e-3):
            differs.append(f"a spacing of {_mm(own)} where the image has {_mm(others)}")
        if not np.allclose(own_axes, axes, atol=1e-2):
            differs.append("axes that point elsewhere")
        apart = float(np.linalg.norm(labelled.label_affine[:3, 3] - image.affine[:3, 3]))
        differs = differs or [f"its first voxel {apart:.3g} mm away"]
        yield Finding(
            "warning",
            case.case_id,
            case.label_path,
            f"{private(case.label_path)} has the same shape as {private(case.image_path)}, but "
            f"{' and '.join(differs)}.",
            "Look whether the label lies on its structure, voxel by voxel; then save it with the image's geometry.",
            kind="grid",
            cause="A program saved the label without the image's geometry, or it belongs to another image.",
        )


def _fitting_turn(labelled: LabelledImage) -> str:
    """Give the symmetry that makes a label of exchanged shape follow its image's edges best, or nothing."""
    slices, rows, columns = labelled.image.shape
    if rows == columns or labelled.voxels.shape != (slices, columns, rows):
        return ""
    grey, scores = labelled.image.channel_voxels[0], {}
    labels = np.unique(labelled.voxels, return_inverse=True)[1].reshape(labelled.voxels.shape)
    for symmetry in ("transpose", "transpose_180", "rotate_90", "rotate_270"):
        turned = turn_slices(labels, symmetry)
        fit = fit_edges(grey, turned, drawn=np.flatnonzero(turned.any(axis=(1, 2))).tolist())
        if fit is not None:
            scores[symmetry] = fit.as_it_is
    return max(scores, key=lambda name: scores[name]) if scores else ""


def check_broken(fact: Facts) -> Iterator[Finding]:
    """Find images with NaN or infinite pixels."""
    if fact.broken:
        yield Finding(
            "error",
            fact.case_id,
            fact.case.image_path,
            f"{private(fact.case.image_path)} has {counted(fact.broken, 'pixel')} with no number (NaN) or an "
            "infinite one.",
            "Export the image again, or set these pixels to 0 in a copy.",
            kind="broken",
            cause="A quotient map divided by 0, or an export failed.",
            slice_index=fact.best_slice,
        )


def check_spacing(cohort: Cohort) -> Iterator[Finding]:
    """Find images without pixel spacing, and pixels that differ much in size."""
    unknown = [fact.case_id for fact in cohort.facts if fact.affine is None]
    if unknown:
        yield Finding(
            "warning",
            unknown[0] if len(unknown) == 1 else "",
            cohort.folder,
            f"{len(unknown)} of {counted(len(cohort.facts), 'image')} {have(len(unknown))} no pixel spacing "
            f"in the header: {name_private(unknown)}. Nothing on them can be measured in mm or mm².",
            "If you know how large the pixels are, type it: under 'How to read the files' in the notebook, with "
            "--pixel-spacing-mm on the command line. A model can also be trained as it is, on a fixed number of "
            "pixels, which is planned for you (on the command line --input-shape ROWS COLUMNS). "
            "To measure areas later, type the field of view in mm.",
            kind="uncalibrated",
            cause="The file format has none, or it was lost in a conversion.",
            cases=tuple(unknown),
        )
    known = [(spacing_from_affine(fact.affine)[1:], fact.case) for fact in cohort.facts if fact.affine is not None]
    if not known:
        return
    smallest = min(known, key=lambda item: min(item[0]))
    largest = max(known, key=lambda item: max(item[0]))
    if max(largest[0]) > UNLIKE_SPACING * min(smallest[0]):
        lengths = np.array([spacing for spacing, _ in known])
        ratio = lengths / np.median(lengths, axis=0)
        odd = ((ratio > UNLIKE_SPACING**0.5) | (ratio < UNLIKE_SPACING**-0.5)).any(axis=1)
        yield Finding(
            "warning",
            "",
            cohort.folder,
            f"Pixels differ in size from {min(smallest[0]):.3g} mm ({private(smallest[1].case_id)}, of "
            f"{private(smallest[1].subject_id)}) to {max(largest[0]):.3g} mm ({private(largest[1].case_id)}, of "
            f"{private(largest[1].subject_id)}).",
            "Check that all series are of one kind. Train at a spacing in mm, not on a fixed number of pixels.",
            kind="spacing",
            cause="Series of several kinds or scanners, or a wrong header.",
            cases=tuple(case.case_id for (_, case), is_odd in zip(known, odd, strict=True) if is_odd),
        )


def check_channels(cohort: Cohort) -> Iterator[Finding]:
    """Find images and channels that have one value throughout, and channels that are one and the same."""
    for whole in (True, False):
        flat = [fact for fact in cohort.facts if fact.constant and (len(fact.constant) == fact.channels) == whole]
        if flat:
            named = [private(fact.case_id) + ("" if whole else f" ({', '.join(fact.constant)})") for fact in flat]
            show = f"{'shows' if len(flat) == 1 else 'show'} nothing"
            yield Finding(
                "warning" if whole else "note",
                flat[0].case_id if len(flat) == 1 else "",
                flat[0].case.image_path,
                f"{counted(len(flat), 'image')} of {len(cohort.facts)} {show}{'' if whole else ' in a channel'}: "
                f"one value on every pixel ({name_some(named)}).",
                "Export them again, or leave them out: nothing can be learnt from them, and nothing found on them."
                if whole
                else "Look whether a sequence is missing there; at the end of a stack there may be nothing to see.",
                kind="constant",
                cause="An export failed, a sequence is missing, or the image was masked away.",
                cases=tuple(fact.case_id for fact in flat),
            )
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fact in cohort.facts:
        for pair in fact.equal:
            alike[pair].append(fact.case_id)
    for (one, other), ids in alike.items():
        every = len(ids) == len(cohort.facts)
        yield Finding(
            "warning" if every else "note",
            ids[0] if len(ids) == 1 else "",
            cohort.folder,
            f"{one} and {other} are the same pixel by pixel on {'all' if every else len(ids)} of "
            f"{len(cohort.facts)} "
            f"images{'' if every else f' ({name_private(ids)})'}.",
            "Name only one of them under 'How to read the files' (on the command line --channels): the second "
            "one tells "
            "nothing and costs time."
            if every
            else "If a sequence is missing there and the other was put in its place, all is well, but the "
            "model learns "
            "that both may be the same.",
            kind="channels",
            cause="One sequence was exported twice, or put in the place of a missing one.",
            cases=tuple(ids),
        )


def check_range(cohort: Cohort) -> Iterator[Finding]:
    """Find images whose range of intensities is ten times that of the others, or a tenth, or nothing."""
    widths = np.array([fact.range[1] - fact.range[0] for fact in cohort.facts])
    if not len(widths) or not (widths > 0).any():
        return
    middle, _ = usual(widths[widths > 0])
    ratios = widths / float(middle)
    odd = np.flatnonzero((ratios > UNLIKE_RANGE) | (ratios < 1 / UNLIKE_RANGE)).tolist()
    odd = [i for i in odd if widths[i] or not cohort.facts[i].constant]  # the others are told already
    if len(widths) == 2 and widths.min() > 0 and widths.max() > UNLIKE_RANGE * widths.min():
        odd = [0, 1]  # of two, nobody knows which is the usual one
    if odd:
        facts = [cohort.facts[i] for i in odd]
        listed = [
            f"{private(fact.case_id)} ({say_number(fact.range[0])} to {say_number(fact.range[1])})"
            for fact in facts
        ]
        mixed = len(odd) > max(2, MIXTURE * len(widths))
        yield Finding(
            "note" if mixed else "warning",
            facts[0].case_id if len(odd) == 1 else "",
            cohort.folder,
            f"{len(odd)} of {counted(len(widths), 'image')} {have(len(odd))} another range of "
            f"intensities than most (which span about {say_number(float(middle))}): {name_some(listed)}.",
            "Each image is scaled by itself before training, so a factor does no harm. Look whether these images "
            "are of the same kind as the others.",
            kind="range",
            cause="Another scanner, an export without rescale slope, 8 bits instead of 16, or an empty image.",
            cases=tuple(fact.case_id for fact in facts),
        )


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _mm(spacing: tuple[float, ...]) -> str:
    return " × ".join(f"{length:.4g}" for length in spacing) + " mm"


# --- level files that do not fit their images


def check_levels(cases: Sequence[Case]) -> Iterator[Finding]:
    """Compare the slices that a level file names with those of the image."""
    for path in dict.fromkeys(case.levels_path for case in cases):
        mine = [case for case in cases if case.levels_path == path]
        if path is None:
            continue
        try:
            levels = read_levels(path)
            # Of the whole stack, as the file is, whatever part of it is learnt from.
            frames = {number for case in mine for number in level_numbers(read_whole_image(case))}
        except AutosegError as error:
            remedy = "Correct the file, or remove it if levels are not needed."
            yield Finding("error", mine[0].case_id, path, str(error), remedy, kind="levels")
            continue
        if set(levels) != frames:
            yield Finding(
                "warning",
                mine[0].case_id,
                path,
                unfitting_levels(path, levels, frames, f"the image of {private(mine[0].case_id)}"),
                "Check that slices are counted in the order of the image file, each once, with - where there is no "
                "level.",
                kind="levels",
                cause="Slices were cut off after the levels were assigned, or the file belongs to another image.",
            )
