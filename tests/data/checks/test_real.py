"""The label doctor on real data: the known fault is found, clean cases are left alone, a small benchmark passes."""

import importlib.util
import sys
from collections import Counter

import numpy as np
import pytest

from autoseg.data.cases import find_cases
from autoseg.data.checks import check_cases, check_images
from autoseg.image.structures import Structure


@pytest.fixture(scope="module")
def doctor():
    """The benchmark as a module."""
    from conftest import ROOT

    specification = importlib.util.spec_from_file_location("doctor_benchmark", ROOT / "benchmarks" / "doctor.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # its dataclasses look themselves up
    specification.loader.exec_module(module)
    return module


def test_the_outer_contours_beside_the_heart_are_found(doctor, shared_data):
    folder = shared_data / "cardiac-sunnybrook-dicom"
    displaced = {path.stem for path in folder.glob("labels_npy/SCD0000501/*.npy") if (np.load(path) == 2).any()}
    real = doctor.cardiac(shared_data, leave_out="")
    (finding,) = [f for f in check_images(real.cases, real.structures) if f.kind == "apart"]
    assert set(finding.cases) == {f"SCD0000501_{int(stem):03d}" for stem in displaced}
    assert "cavity and myocardium lie beside each other" in finding.problem


def test_lesions_have_no_false_alarm(doctor, shared_data):
    """Glioma on single slices, seen on one of three contrasts: most masks are empty, and none is misplaced."""
    import tifffile

    cases = []
    for path in sorted((shared_data / "brain-lgg-flair-tiff").rglob("*_mask.tif")):
        flair = tifffile.imread(path.with_name(path.name.replace("_mask", "")))[..., 1]
        cases.append(
            doctor.labelled(path.stem, path.parent.name, flair[None], (tifffile.imread(path)[None] > 0) * 1)
        )
    findings = check_images(cases, (Structure(1, "glioma"),))
    assert {finding.kind for finding in findings} == {"uncalibrated", "empty", "absent", "range"}


def test_faults_in_real_slices_are_found(doctor, shared_data):
    counts, clean, false, said = doctor.measure(doctor.discs(shared_data), cases=1, seed=1)
    assert clean >= 5
    assert false == 0, said
    total = Counter()
    for count in counts.values():
        total.update(injected=count.injected, found=count.found)
    assert len(counts) >= 12
    assert total["found"] >= 0.9 * total["injected"], said


def test_sides_in_real_volumes_are_always_found(doctor, shared_data):
    for make in (doctor.muscle_slices, doctor.muscles):
        real = make(shared_data)
        faulty = [doctor.sides_swapped(case, real, None) for case in real.cases[::7]]
        for case in faulty:
            others = [other for other in real.cases if other.case.case_id != case.case.case_id]
            found = [f for f in check_images([case, *others[:6]], real.structures) if f.kind == "sides"]
            assert [finding.case_id for finding in found] == [case.case.case_id]


def test_two_contrasts_of_one_person_under_two_names_are_found(shared_data):
    """Fat and water images of TUM01 carry the same labels; their names do not tell that they are one person."""
    findings = check_cases(find_cases(shared_data / "lumbar-muscle-myosegmentum"))
    (finding,) = [finding for finding in findings if finding.kind == "drawings"]
    assert len(finding.cases) == 2
    assert "subjects.csv" in finding.remedy
