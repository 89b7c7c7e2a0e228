"""The short README that travels with an archive."""

from __future__ import annotations

from collections.abc import Mapping

from synthrelease.archive.patient import ArchiveSettings

_TEXT = """\
# {release}: a synthetic image archive

{patients} synthetic patients, one image each. Every image was made by {software} {version}.
None was acquired from a patient, and none is for clinical use.

| where | what |
|---|---|
| `DICOM/P000001/S0000001/I0000001` | image of patient SYN-000001: Digital X-Ray Image, For Presentation, 12 bit |
{mask_row}| `labels.csv` | one row an image: file, sop_instance_uid, patient_id, label, mask_file |

Labels: {labels}.
{segments}
## How to tell these files from real ones

Each file says Synthetic Data (0008,001C) = YES, names {software} as Synthesizing Equipment and has Content
Qualification = RESEARCH. Patient ID, its issuer (`{issuer}`), Patient Name and the clinical trial attributes are
invented; so are all UIDs and the one date, {date}. Header scrubbers that delete what they do not know may remove
the first mark: keep this folder together, or keep that attribute.

## Reading

```python
import pydicom
image = pydicom.dcmread("DICOM/P000001/S0000001/I0000001")
pixels = image.pixel_array            # 0..4095
```
{read_masks}"""

_READ_MASKS = """
```python
import highdicom
masks = highdicom.seg.segread("DICOM/P000001/S0000001/M0000001")
planes = masks.get_pixels_by_source_instance([image.SOPInstanceUID])   # (1, rows, columns, segments)
```

Every segmentation holds every segment, an absent one as an empty frame. Segments may overlap.
SimpleITK and GDCM do not read a segmentation of several segments in one plane; highdicom, dcmqi (3D Slicer) and
OHIF do. `storescu` needs `-R` to send segmentations.
"""


def recipients_readme(settings: ArchiveSettings, labels: Mapping[str, int]) -> str:
    """What a recipient must know, from public values only.

    Args:
        settings: What all files share.
        labels: Number of images by class name.

    Returns:
        Markdown, without any date but the release's.
    """
    names = ", ".join(f"`{name}`" for name in settings.segments)
    mask_row = "| `DICOM/P000001/S0000001/M0000001` | its masks: DICOM Segmentation, BINARY |\n"
    return _TEXT.format(
        release=settings.release_name,
        patients=sum(labels.values()),
        software=settings.software,
        version=settings.software_version,
        issuer=settings.issuer,
        date=settings.study_date,
        labels=", ".join(f"{name} ({count})" for name, count in labels.items()),
        mask_row=mask_row if settings.segments else "",
        segments=f"Segments: {names}.\n" if settings.segments else "There are no masks.\n",
        read_masks=_READ_MASKS if settings.segments else "",
    )
