"""Write the pages of a report as DICOM pictures (secondary capture), for archives that show nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage, generate_uid

from autoseg.errors import OutputError
from autoseg.files.dicom.records import quiet, read_dataset
from autoseg.files.dicom.writing.origin import Origin
from autoseg.files.dicom.writing.parts import MANUFACTURER, PRODUCT, Algorithm, save


def write_captures(
    paths: Sequence[Path],
    origins: Sequence[Origin],
    pages: Sequence[npt.NDArray[np.uint8]],
    algorithm: Algorithm,
    segmentations: Sequence[Dataset] = (),
) -> None:
    """Write pages, each (rows, columns, 3), as one series of pictures, and read them back.

    `origins` are the images that the pages tell of, all of one patient and study, and `segmentations` what was
    found on them; each page refers to all of them.

    Raises
    ------
    OutputError
        If a page or what it refers to reads back differently.
    """
    now, series = datetime.now(), generate_uid()
    for number, (path, page) in enumerate(zip(paths, pages, strict=True), start=1):
        with quiet():
            dataset = FileDataset(str(path), {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            origins[0].describe(dataset)
            dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = origins[0].header.StudyInstanceUID, series
            dataset.Modality, dataset.ConversionType = "OT", "WSD"
            dataset.SeriesNumber, dataset.InstanceNumber = 9004, number
            dataset.SeriesDescription = f"autoseg: report{algorithm.warning}"
            dataset.Manufacturer = dataset.SecondaryCaptureDeviceManufacturer = MANUFACTURER
            dataset.ManufacturerModelName = dataset.SecondaryCaptureDeviceManufacturerModelName = PRODUCT
            dataset.SoftwareVersions = dataset.SecondaryCaptureDeviceSoftwareVersions = algorithm.version[:64]
            dataset.ImageType, dataset.PatientOrientation, dataset.Laterality = ["DERIVED", "SECONDARY"], "", ""
            dataset.ContentDate = dataset.DateOfSecondaryCapture = dataset.InstanceCreationDate = f"{now:%Y%m%d}"
            dataset.ContentTime = dataset.TimeOfSecondaryCapture = dataset.InstanceCreationTime = f"{now:%H%M%S}"
            dataset.BurnedInAnnotation, dataset.LossyImageCompression = "YES", "00"
            dataset.ImageComments = f"Page {number} of {len(pages)}"
            _refer(dataset, origins, segmentations)
            dataset.Rows, dataset.Columns = page.shape[:2]
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
            dataset.PixelData = page.tobytes()
            dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
            for origin in origins:
                origin.put_back(dataset)
        save(path, dataset)
        _check(path, origins, page, segmentations)


def _refer(dataset: Dataset, origins: Sequence[Origin], segmentations: Sequence[Dataset]) -> None:
    """Name the instances that the page tells of, the segmentations beside them, and the series of all."""
    series = dict[str, Dataset]()

    def item_of(uid: str, kind: str, instance: str) -> Dataset:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = kind, instance
        if uid not in series:
            series[uid] = Dataset()
            series[uid].SeriesInstanceUID, series[uid].ReferencedInstanceSequence = uid, []
        series[uid].ReferencedInstanceSequence.append(item)
        return item

    dataset.SourceImageSequence = [
        item_of(str(origin.header.SeriesInstanceUID), kind, instance)
        for origin in origins
        for kind, instance in dict.fromkeys((one.sop_class, one.sop_uid) for one in origin.references)
    ]
    if segmentations:
        dataset.ReferencedImageSequence = [
            item_of(str(one.SeriesInstanceUID), str(one.SOPClassUID), str(one.SOPInstanceUID))
            for one in segmentations
        ]
    dataset.ReferencedSeriesSequence = list(series.values())


def _check(
    path: Path, origins: Sequence[Origin], page: npt.NDArray[np.uint8], segmentations: Sequence[Dataset]
) -> None:
    with quiet():
        found = read_dataset(path)
        items = [*found.SourceImageSequence, *found.get("ReferencedImageSequence", ())]
        named = {str(one.ReferencedSOPInstanceUID) for one in items}
        meant = {origin.real.get(one.sop_uid, one.sop_uid) for origin in origins for one in origin.references}
        meant |= {str(one.SOPInstanceUID) for one in segmentations}
        if named != meant or not np.array_equal(found.pixel_array, page):
            raise OutputError(f"{path.name} reads back differently than it was written; it was not saved.")
