"""The private archive: DICOM, tables and phantoms in; a patient-disjoint, memory-mapped pixel store out."""
