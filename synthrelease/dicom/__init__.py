"""DICOM objects as values: images, segmentations and the codes that name what a mask shows."""
