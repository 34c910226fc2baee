"""How values are written: one structure by several numbers or colours, and what files leave open."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from autoseg.data.cases import Case, CaseFolder
from autoseg.data.cases.naming import unnamed
from autoseg.data.cases.palettes import compare_palettes, in_words
from autoseg.data.checks.facts import Cohort, Facts
from autoseg.data.checks.finding import Finding
from autoseg.data.repairs import relabel, settle
from autoseg.errors import TwoSizesError, UnclearLabelsError, private
from autoseg.files.nifti.sizes import in_mm
from autoseg.files.pictures.pictures import Colour
from autoseg.image.calibration import area_effect_percent
from autoseg.words import counted, name_private

# What programs write for "marked" in a mask of 8 or 16 bits.
FULL = (255, 65535)
# So many files must write a structure in a way before another way is taken for a slip.
SEVERAL = 2
# By how much values that were stretched to 255 or 65535 may be off.
ROUNDED = 1
# Two values that are stretched lie at least so far apart.
STRETCHED = 8


# --- one structure by several numbers


def check_encodings(cohort: Cohort) -> Iterator[Finding]:
    """Find structures that have one number in some files and another in others, such as 1 and 255.

    Only values that nobody has named are looked at.
    """
    case_values = cohort.facts[0].case.values if cohort.facts else ()
    in_files = {label: value for value, label in case_values if isinstance(value, int)}
    value_of = {s.label: in_files.get(s.label, s.label) for s in cohort.structures}
    if any(s.name != unnamed(value_of[s.label]) or s.includes for s in cohort.structures):
        return
    values = sorted(value_of.values())
    stretched = _stretched(values)
    if not stretched:
        return
    label_of = {value: label for label, value in value_of.items()}
    groups: dict[bool, list[Facts]] = {False: [], True: []}
    for fact in cohort.facts:
        mine = {value_of[label] in stretched for label in fact.values if label in value_of}
        if len(mine) > 1:
            return  # both in one file: they are two structures
        for is_stretched in mine:
            groups[is_stretched].append(fact)
    if not all(groups.values()):
        return
    to_stretched = len(groups[True]) > len(groups[False])
    names = {label_of[full]: label_of.get(place, place) for full, place in stretched.items()}
    names = {plain: full for full, plain in names.items()} if to_stretched else names
    odd, others = groups[not to_stretched], groups[to_stretched]
    pairs = ", ".join(f"{place} and {full}" for full, place in stretched.items())
    yield Finding(
        "warning",
        odd[0].case_id if len(odd) == 1 else "",
        odd[0].case.label_path,
        f"The label files write one structure in two ways, most likely ({pairs}): "
        f"{counted(len(others), 'file')} in "
        f"one, {counted(len(odd), 'file')} in the other ({name_private(fact.case_id for fact in odd)}).",
        "If they are one structure, keep the repair; if they are two, name both in structures.csv.",
        kind="encoding",
        cause="Two programs, or two versions of one: a mask is saved as 0 and 1, or stretched to 255 or 65535.",
        cases=tuple(fact.case_id for fact in odd),
        repairs=tuple(relabel(fact.case_id, {v: names[v] for v in fact.values if v in names}) for fact in odd)
        if len(others) >= SEVERAL
        else (),
    )


def _stretched(values: Sequence[int]) -> dict[int, int]:
    """Give which values are others stretched to the full range (255: 1, or 127: 1 and 255: 2), if any are."""
    for full in FULL:
        for count in range(1, len(values)):
            steps = {value: k for value in values for k in range(1, count + 1) if _is_step(value, k, count, full)}
            plain = [value for value in values if value not in steps]
            if steps and plain and max(plain) <= count and len(set(steps.values())) == len(steps) == count:
                return steps
    return {}


def _is_step(value: int, place: int, count: int, full: int) -> bool:
    return value > count * STRETCHED and abs(value - place * full / count) <= ROUNDED


# --- palettes whose indices change their colours


def check_palettes(case_folder: CaseFolder) -> Iterator[Finding]:
    """Find indices of palettes that have one colour in some label files and another in others."""
    cases, folder = case_folder.cases, case_folder.folder
    label_of = {value: label for value, label in case_folder.values if isinstance(value, int)}
    found = compare_palettes(cases, () if label_of else case_folder.structures)
    if not found.changed:
        return
    concerned = tuple(
        dict.fromkeys(i for colours in found.changed.values() for ids in colours.values() for i in ids)
    )
    names = {structure.label: structure.name for structure in case_folder.structures}
    names = {index: names.get(label, "") for index, label in label_of.items()} or names
    if found.colours_decide:
        taken = ", ".join(
            f"#{red:02x}{green:02x}{blue:02x} is {names[index]}"
            for (red, green, blue), index in found.index_of.items()
            if names.get(index)
        )
        yield Finding(
            "warning",
            "",
            folder,
            f"The palettes of the label pictures differ: {in_words(found.changed)}. The same colour was taken "
            "as the "
            f"same structure in all of them ({taken}).",
            "Look at a picture of each kind. If the numbers hold and the colours mean nothing, save the labels "
            "as grey "
            "values without a palette.",
            kind="palette",
            cause="A program numbered the colours anew in each file.",
            cases=concerned,
        )
        return
    repairs = []
    if found.colours_return:
        # What a repair renames it renames on all slices of a stack.
        named = {case.case_id: [found.names(file) for file in case.labels] for case in cases}
        by_case = {
            case_id: some[0] for case_id, some in named.items() if some and all(one == some[0] for one in some)
        }
        repairs = [
            relabel(case_id, {old: new for old, new in renamed.items() if old != new})
            for case_id, renamed in by_case.items()
            if renamed
        ]
        several = len(repairs) >= SEVERAL
    else:
        free = (number for number in range(1, 256) if number not in {i for one in found.used.values() for i in one})
        number_of: dict[Colour, int] = {}
        renamed_of: dict[str, dict[int, int]] = defaultdict(dict)
        several = True
        for index, colours in found.changed.items():
            usual = Counter({colour: len(ids) for colour, ids in colours.items()}).most_common(1)[0][0]
            several &= all(len(ids) >= SEVERAL for ids in colours.values())
            # Where the slices of one stack differ, no repair of the whole stack mends them.
            mixed = [i for i, count in Counter(i for ids in colours.values() for i in ids).items() if count > 1]
            for colour, ids in colours.items():
                for case_id in ids if colour != usual else ():
                    if case_id in mixed:
                        continue
                    if colour not in number_of:
                        number_of[colour] = next(free, 0)
                    renamed_of[case_id][index] = number_of[colour]
        repairs = [
            relabel(case_id, renamed) for case_id, renamed in renamed_of.items() if 0 not in renamed.values()
        ]
    yield Finding(
        "warning" if several else "note",
        "",
        folder,
        f"The palettes of the label pictures differ: {in_words(found.changed)}. The numbers were believed.",
        "If a colour is a structure, keep the repair: it goes by the colours. If the colours mean nothing, all "
        "is well.",
        kind="palette",
        cause="A program chose the colours of each file anew, or numbered them anew.",
        cases=concerned,
        repairs=tuple(repairs) if several else (),
    )


# --- what label files leave open, and headers that contradict themselves: one question for all files of a kind


def ask_of_labels(unclear: Sequence[tuple[Case, UnclearLabelsError]]) -> Iterator[Finding]:
    """Ask how label files that leave something open are to be taken."""
    ways: dict[str, list[tuple[Case, UnclearLabelsError]]] = defaultdict(list)
    for case, error in unclear:
        ways[error.way].append((case, error))
    for way, found in ways.items():
        cases = [case for case, _ in found]
        pixels = sum(error.pixels for _, error in found)
        first = max(found, key=lambda one: one[1].pixels)
        where = f" ({first[1].pixels:,} of them on {private(first[0].case_id)})" if len(found) > 1 else ""
        shown = f" For instance: {first[1]}" if len(found) > 1 else f" {first[1]}"
        blurred = way == "nearest"
        yield Finding(
            "error",
            cases[0].case_id if len(cases) == 1 else "",
            first[0].label_path,
            (
                f"{counted(len(found), 'label file')} in JPEG with {counted(pixels, 'pixel')} in doubt{where}."
                if blurred
                else f"{counted(len(found), 'label file')} with probabilities in place of labels: "
                f"{counted(pixels, 'pixel')} between 0 and 1{where}."
            )
            + shown,
            "Best are the labels as they were drawn, as PNG, NPY or NIfTI. If there are none any more, keep "
            "the repair: "
            "each pixel in doubt gets the value that it is most like, so that outlines are uncertain by about "
            "a pixel."
            if blurred
            else "Keep the repair to count pixels from a share of 0.5 on, or give another share. A share "
            "changes the "
            "area: the smaller it is, the larger the structure.",
            kind="blurred" if blurred else "shares",
            cause="A JPEG blurs values along every outline."
            if blurred
            else "A network's probabilities, a mask that was resized, or the mean of several raters.",
            cases=tuple(case.case_id for case in cases),
            repairs=tuple(settle(case.case_id, way) for case in cases),
        )


def ask_of_sizes(contradictions: Sequence[tuple[Case, TwoSizesError]]) -> Iterator[Finding]:
    """Ask which size of a voxel holds, once for all files that give the same two."""
    kinds: dict[tuple[str, str], list[tuple[Case, TwoSizesError]]] = defaultdict(list)
    for case, error in contradictions:
        kinds[in_mm(error.sform_mm), in_mm(error.pixdim_mm)].append((case, error))
    for (by_sform, by_pixdim), found in kinds.items():
        cases = [case for case, _ in found]
        error = found[0][1]
        effect = area_effect_percent(error.sform_mm[:2], error.pixdim_mm[:2])
        more = (
            f" An area across the third axis is {abs(effect):.0f} % {'larger' if effect > 0 else 'smaller'} by the "
        )
        yield Finding(
            "error",
            cases[0].case_id if len(cases) == 1 else "",
            error.path,
            f"The header of {counted(len(found), 'image')} gives two sizes of a voxel: {by_sform} by its sform and "
            f"{by_pixdim} by its pixdim ({name_private(case.case_id for case in cases)})."
            + (f"{more}first." if round(effect) else ""),
            "Look into the protocol, or into the DICOM files that the images were made from, and say which "
            "holds: in "
            "the notebook with the buttons here, on the command line with --voxel-sizes sform or --voxel-sizes "
            "pixdim. "
            "It is kept beside the data.",
            kind="sizes",
            cause="A program changed the one and not the other, or reset the sform.",
            cases=tuple(case.case_id for case in cases),
        )
