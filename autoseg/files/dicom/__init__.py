"""DICOM: series grouped into images, pixels decoded, segmentation objects, contours, and phantoms to test with."""
