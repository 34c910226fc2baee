"""What is said of a series: localisers, and series that are none."""

import pydicom
import pytest

from autoseg.files.dicom.phantoms import AXIAL, CORONAL, SAGITTAL, Phantom, write_phantom
from autoseg.files.dicom.series import find_series


def write(folder, *, planes=(AXIAL,), slices=3, **attributes):
    for number, orientation in enumerate(planes):
        places = tuple(4.0 * place for place in range(slices))
        shown = Phantom("loc", rows=24, columns=24, places_mm=places, orientation=orientation)
        for path in write_phantom(folder / str(number), shown):
            dataset = pydicom.dcmread(path)
            dataset.SOPInstanceUID = f"1.2.3.{number}.{path.stem}"
            for keyword, value in attributes.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)
    return find_series(folder).series


def is_localiser(series):
    return ["localiser" in " ".join(part.notes) for part in series]


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"SeriesDescription": "3-plane Localizer"},
        {"SeriesDescription": "SURVEY"},
        {"SeriesDescription": "Topogramm 0.6"},
    ],
)
def test_a_localiser_is_known_by_its_header(tmp_path, attributes):
    series = write(tmp_path, **attributes)
    assert is_localiser(series) == [True]
    assert "hardly to measure on" in " ".join(series[0].notes)
    assert series[0].refusal == "", "it can be read all the same"


def test_three_planes_in_one_small_series_are_a_localiser(tmp_path):
    series = write(tmp_path, planes=(AXIAL, SAGITTAL, CORONAL))
    assert is_localiser(series) == [True] * 3
    assert "9 slices in 3 orientations" in " ".join(series[0].notes)


@pytest.mark.parametrize(
    ("planes", "slices"), [((AXIAL,), 3), ((AXIAL, SAGITTAL), 3), ((AXIAL, SAGITTAL, CORONAL), 12)]
)
def test_other_series_are_not(tmp_path, planes, slices):
    assert is_localiser(write(tmp_path, planes=planes, slices=slices)) == [False] * len(planes)


def test_real_localisers_and_turning_projections(shared_data):
    found = find_series(shared_data / "dicom-zoo" / "dicomdir").series
    kinds = {series.description: "localiser" in " ".join(series.notes) for series in found}
    assert {name for name, known in kinds.items() if known} == {"Scout", "FAST LOCALIZER", "T/S/C RF FAST PILOT"}
    assert "ANGIO Projected from   C" in kinds
