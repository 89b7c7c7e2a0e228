"""The synthetic archive: its UIDs, its DICOM files and the folder that holds them."""
