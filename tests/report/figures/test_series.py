"""Thumbnails of series side by side."""

import matplotlib.pyplot as plt
import pydicom

from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.series import find_series
from autoseg.report.figures import show_series


def write(folder, uid, description, kind=("ORIGINAL", "PRIMARY", "M")):
    shown = Phantom("leg", rows=40, columns=36, pixel_spacing_mm=(2.0, 1.0), places_mm=(0.0, 4.0, 8.0))
    for path in write_phantom(folder, shown):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SeriesDescription, dataset.ImageType = uid, description, list(kind)
        dataset.save_as(path)


def test_each_series_has_its_picture_or_the_reason_why_it_has_none(tmp_path):
    write(tmp_path / "a", "1.2.3", "T1 axial")
    write(tmp_path / "b", "1.2.4", "a description that is much longer than what there is room for")
    write(tmp_path / "c", "1.2.5", "EPI", kind=("ORIGINAL", "PRIMARY", "MOSAIC"))
    figure = show_series(find_series(tmp_path), columns=2)
    first, second, refused = figure.axes
    assert first.get_title() == "series-1\nT1 axial\nMR 40 × 36, 3 slices\naxial"
    assert second.get_title().splitlines()[1].endswith("…")
    assert first.images[0].get_array().shape == (40, 36)
    assert first.get_aspect() == 2.0
    assert not refused.images
    assert "Siemens mosaic" in refused.texts[0].get_text().replace("\n", " ")
    assert plt.get_fignums() == [], "pyplot keeps no figure in memory"


def test_a_file_that_cannot_be_decoded_is_said_in_its_panel(tmp_path):
    write(tmp_path, "1.2.3", "T1")
    found = find_series(tmp_path)
    (tmp_path / "2.dcm").unlink()
    (panel,) = show_series(found).axes
    assert "2.dcm" in panel.texts[0].get_text().replace("\n", "")
