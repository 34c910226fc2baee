"""Reading and writing files: the only place that knows DICOM, NIfTI and picture formats."""
