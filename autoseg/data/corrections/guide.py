"""What to do with a folder of labels to correct, in the words of the three programs."""

from __future__ import annotations

from autoseg.files.colours import FSLEYES_NAME, ITKSNAP_NAME, SLICER_NAME

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
    return "\n".join([*lines, "", RULES, ""])
