"""Structure sets made up for tests: contours on the slices of a phantom, written as DICOM."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.series import find_series, read_series


def item(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, [value] if isinstance(value, Dataset) else value)
    return dataset


def the_image(folder, name="test", **phantom):
    options = {"rows": 20, "columns": 24, "pixel_spacing_mm": (1.5, 1.25), "places_mm": (8.0, 0.0, 4.0), **phantom}
    write_phantom(folder, Phantom(name, **options))
    (image,) = (image for series in find_series(folder).series for image in read_series(series))
    return image


def contour(image, place, points, *, references=True, kind="CLOSED_PLANAR", lift=0.0):
    """A contour on one slice; `lift` in slices moves points off it, one value or one a point."""
    index = np.c_[np.broadcast_to(place + np.asarray(lift), len(points)), points, np.ones(len(points))]
    mm = (index @ image.affine.T)[:, :3]
    drawn = item(ContourGeometricType=kind, NumberOfContourPoints=len(points))
    drawn.ContourData = [f"{value:.8g}" for value in mm.ravel()]
    if references:
        uid = references if isinstance(references, str) else image.source.slices[place].sop_uid
        drawn.ContourImageSequence = [item(ReferencedSOPInstanceUID=uid)]
    return drawn


def write_rtstruct(path, image, regions, *, names=None, listed=True, change=None):
    """Write a structure set; `regions` are lists of contours, numbered from 1 and called "roi 1" or as named."""
    names = names or [f"roi {n}" for n in range(1, len(regions) + 1)]
    dataset = item(SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3", SOPInstanceUID="1.2.3.9", Modality="RTSTRUCT")
    dataset.StructureSetROISequence = [item(ROINumber=n, ROIName=name) for n, name in enumerate(names, start=1)]
    dataset.ROIContourSequence = []
    for number, contours in enumerate(regions, start=1):
        region = item(ReferencedROINumber=number, ROIDisplayColor=[10 * number, 20, 30])
        region.ContourSequence = contours
        dataset.ROIContourSequence.append(region)
    if listed:
        uids = dict.fromkeys(source.sop_uid for source in image.source.slices)
        series = item(SeriesInstanceUID=image.source.series_uid)
        series.ContourImageSequence = [item(ReferencedSOPInstanceUID=uid) for uid in uids]
        dataset.ReferencedFrameOfReferenceSequence = [
            item(RTReferencedStudySequence=item(RTReferencedSeriesSequence=series))
        ]
    if change:
        change(dataset)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path
