"""Model files of each kind, made once (`benchmarks/old_models.py`), and what each must predict for ever."""

import json
from pathlib import Path

import numpy as np
from tube_files import write_tubes

import autoseg

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "fixtures" / "models"
EXPECTED, LABELS = FOLDER / "expected.json", FOLDER / "expected_labels.npz"
HEARTS = ("SCD0000301_020", "SCD0000301_040", "SCD0000301_047", "SCD0000301_060")
TUBE = 9


def expected() -> dict[str, dict]:
    """Give what is recorded of each file: what it "sees", "areas_mm2", "points_mm" of a finder."""
    return json.loads(EXPECTED.read_text(encoding="utf-8"))


def expected_labels(name: str) -> np.ndarray:
    with np.load(LABELS) as kept:
        return kept[name]


def images_of(sees: str, work: Path) -> list[autoseg.Image]:
    """Give the fixed images: four slices of a heart of the sample, or a tube that is written into `work`."""
    if sees == "hearts":
        found = autoseg.find_cases(ROOT / "data" / "sample" / "test")
        cases = [case for case in found.cases if case.case_id in HEARTS]
    else:
        found = autoseg.find_cases(write_tubes(work / "tube", TUBE))
        cases = list(found.cases)
    return [autoseg.read_case(case, found.structures)[0] for case in cases]


def predicted(model: object, images: list[autoseg.Image]) -> tuple[np.ndarray, dict[str, float]]:
    """Give the label maps, one after the other, and the summed area of each structure in mm²."""
    maps, areas = [], {}
    for image in images:
        label_map = autoseg.predict(model, image)
        maps.append(np.asarray(label_map.voxels, dtype=np.uint8))
        for row in autoseg.measure_areas(label_map, image=image):
            areas[row.name] = areas.get(row.name, 0.0) + row.area_mm2
    return np.concatenate(maps), areas


def resumed_split() -> tuple[object, object]:
    """Give the cases and the split from which `unfinished_resume.pt` learns."""
    found = autoseg.find_cases(ROOT / "data" / "sample" / "train")
    cases = [case for case in found.cases if case.subject_id in ("SCD0000101", "SCD0000501")]
    return found, autoseg.split_cases(cases, validation_subjects=["SCD0000501"])
