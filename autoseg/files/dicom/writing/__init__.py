"""Results as DICOM objects for an archive: segmentation, structure set, measurement report; each read back."""
