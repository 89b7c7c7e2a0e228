"""README.md of an archive: what a recipient must know to read it, in plain words and from public values only."""

from __future__ import annotations

from collections.abc import Mapping

from synthrelease.archive.columns import LABELS_FILE, columns
from synthrelease.dicom.findings import finding_code
from synthrelease.dicom.image import ImageClass, highest_level
from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.layout import FileKind, path_of, place_of
from synthrelease.dicom.release.notes import ACCEPTED
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.values import patient_id

_IMAGE_CLASSES: Mapping[ImageClass, str] = {
    ImageClass.DX: "Digital X-Ray Image, For Presentation",
    ImageClass.CT: "CT Image, single slices",
    ImageClass.MR: "MR Image, single slices",
    ImageClass.MG: "Digital Mammography X-Ray Image, For Presentation",
    ImageClass.SC: "Secondary Capture Image",
}
_PACKED: Mapping[Compression, str] = {
    Compression.NONE: "not compressed",
    Compression.RLE: "RLE",
    Compression.JPEG_LS: "JPEG-LS, lossless",
    Compression.JPEG_2000: "JPEG 2000, lossless",
}
_DECODERS: Mapping[Compression, str] = {
    Compression.JPEG_LS: "To decode them, pydicom and highdicom need `pyjpegls`.\n",
    Compression.JPEG_2000: "To decode them, pydicom and highdicom need `pylibjpeg` and `pylibjpeg-openjpeg`.\n",
}


def recipients_readme(settings: ArchiveSettings, labels: Mapping[str, int]) -> str:
    """What a recipient must know, from public values only.

    Args:
        settings: What all files share.
        labels: Number of images by class name.

    Returns:
        Markdown, without any date but the release's.
    """
    parts = [
        _opening(settings, sum(labels.values())),
        _files(settings),
        _classes(labels),
        _guided(settings),
        _marks(settings),
        _reading(settings),
        _clients(settings),
        _CHECKING,
    ]
    return "\n".join(part for part in parts if part)


_CHECKING = """\
## Checking

`manifest-sha256.txt` names every other file here with its SHA-256. In the folder where it lies (in a sealed release
that is the folder above this one):

```sh
sha256sum -c --quiet manifest-sha256.txt
```
"""


def _opening(settings: ArchiveSettings, images: int) -> str:
    several = ""
    if settings.images_per_patient > 1:
        several = (
            f"A patient has up to {settings.images_per_patient} images. They were drawn one by one: they share a class "
            "and a patient number, but no anatomy.\n"
        )
    return f"""\
# {settings.release_name}: a synthetic image archive

Every image was made by {settings.software} {settings.software_version}. None was acquired from a patient, and none is
for clinical use.
{several}
| | |
|---|---|
| images | {images}, of {settings.patients} synthetic patients |
| image class | {_IMAGE_CLASSES[settings.image_class]} |
| pixels | {settings.rows} rows x {settings.columns} columns, {settings.bits} bit, {_values(settings)} |
| pixel spacing | {settings.spacing_mm[0]:.10g} mm between rows, {settings.spacing_mm[1]:.10g} mm between columns |
| masks | {_mask_form(settings)} |
| segments | {_listed(settings.segments)} |
| reports | {"one an image, TID 1500" if settings.reports else "none"} |
| licence | {_cell(settings.license)} |
"""


def _values(settings: ArchiveSettings) -> str:
    stored = f"0 to {highest_level(settings.bits)}"
    if settings.value_range is None:
        return f"{stored}; a grey scale without a unit"
    low, high = settings.value_range
    return f"{stored}; rescaled they are Hounsfield units from {low:g} to {high:g}"


def _mask_form(settings: ArchiveSettings) -> str:
    if not settings.segments:
        return "none"
    form = {
        MaskKind.BINARY: "DICOM Segmentation, BINARY",
        MaskKind.LABELMAP: "DICOM Label Map Segmentation",
    }[settings.mask_kind]
    number = "one file a segment" if settings.one_file_per_segment else "one file an image, all segments in it"
    return f"{form}, {_PACKED[settings.mask_compression]}, {number}"


def _files(settings: ArchiveSettings) -> str:
    rows = [(path_of(place_of(1, settings), settings), f"image 1 of patient {patient_id(1, settings)}")]
    for part in range(settings.mask_files):
        shown = f"its mask of `{settings.segments[part]}`" if settings.one_file_per_segment else "its masks"
        rows.append((path_of(place_of(1, settings, FileKind.MASK, part), settings), shown))
    if settings.reports:
        rows.append((path_of(place_of(1, settings, FileKind.REPORT), settings), "its report, which states the class"))
    if settings.images_per_patient > 1 and settings.images > 1:
        rows.append((path_of(place_of(2, settings), settings), "image 2 of the same patient"))
    rows += [
        (LABELS_FILE, "one row an image"),
        ("croissant.json", f"what the files and the columns of {LABELS_FILE} are, for programs (Croissant 1.0)"),
        ("manifest-sha256.txt", "the SHA-256 of every other file"),
    ]
    table = "\n".join(f"| `{where}` | {what} |" for where, what in rows)
    names = "\n".join(f"| `{column.name}` | {column.description} |" for column in columns(settings))
    return f"""\
## Files

| where | what |
|---|---|
{table}

Columns of `{LABELS_FILE}`:

| column | what |
|---|---|
{names}
"""


def _classes(labels: Mapping[str, int]) -> str:
    rows = []
    for name, images in labels.items():
        code = finding_code(name)
        shown = f"{code.value} ({code.scheme_designator}, {code.meaning})" if code else "none"
        rows.append(f"| `{name}` | {images} | {shown} |")
    table = "\n".join(rows)
    return f"""\
## Classes

The class of an image is the one that the generator was told to draw; nobody read the images. How many images a class
has was chosen for this archive and tells nothing about how common it is.

| class | images | code |
|---|---|---|
{table}
"""


def _guided(settings: ArchiveSettings) -> str:
    """What the numbers told of each image are worth; only where they tell who was accepted."""
    if all(note.name != ACCEPTED for note in settings.notes):
        return ""
    return f"""\
An image was steered until a classifier, the guide, saw its class. The guide's probabilities stand in `{LABELS_FILE}`; a
row with `{ACCEPTED}` = 0 is an image in which the guide did not see what it was asked for: its class is a wish. A class is
what a classifier said, never a diagnosis. An archive restricted to accepted rows is `row["{ACCEPTED}"] == "1"`.
"""


def _marks(settings: ArchiveSettings) -> str:
    return f"""\
## How to tell these files from real ones

Each file says Synthetic Data (0008,001C) = YES, names {settings.software} as Synthesizing Equipment and has Content
Qualification = RESEARCH. Patient ID, its issuer (`{settings.issuer}`), Patient Name and the clinical trial attributes
are invented; so are all UIDs and the one date, {settings.study_date}. Tools that clean headers may delete attributes
that they do not know, the first mark among them: keep it, or keep this folder together.

No two images lie in one space: each has a series and a frame of reference of its own, so a viewer shows them one by one
and not as a volume.
"""


def _reading(settings: ArchiveSettings) -> str:
    return f"""\
## Reading

```python
import csv
import pydicom

with open("{LABELS_FILE}", newline="") as stream:
    row = next(csv.DictReader(stream))      # the first image; row["label"] is its class
image = pydicom.dcmread(row["file"])
pixels = image.pixel_array                  # (rows, columns), 0 to {highest_level(settings.bits)}
```
{_reading_masks(settings) if settings.segments else ""}{_READING_REPORTS if settings.reports else ""}"""


def _reading_masks(settings: ArchiveSettings) -> str:
    if settings.one_file_per_segment:
        shown, note = (
            "each (1, rows, columns, 1)",
            "Every segment has its file, also where it is absent from the image.",
        )
    else:
        shown, note = "(1, rows, columns, segments)", "Every file holds every segment, an absent one as an empty plane."
    if settings.mask_kind is MaskKind.BINARY or settings.one_file_per_segment:
        overlap = "Segments may overlap."
    else:
        overlap = "Segments do not overlap: where they would, the one named later in the table above was kept."
    code = (
        """\
masks = [highdicom.seg.segread(name) for name in row["mask_file"].split()]
planes = [mask.get_pixels_by_source_instance([image.SOPInstanceUID]) for mask in masks]   # SHAPE
"""
        if settings.one_file_per_segment
        else """\
masks = highdicom.seg.segread(row["mask_file"])
planes = masks.get_pixels_by_source_instance([image.SOPInstanceUID])   # SHAPE
"""
    ).replace("SHAPE", shown)
    return f"""
```python
import highdicom

{code}```

{note} {overlap}
{_DECODERS.get(settings.mask_compression, "")}"""


_READING_REPORTS = """
```python
import highdicom

report = highdicom.sr.srread(row["report_file"])
group = report.content.get_image_measurement_groups()[0]
word, code = group.tracking_identifier, group.finding_type   # the code is None for a class without one
```
"""

_BINARY_CLIENTS = """\
* highdicom, 3D Slicer (through dcmqi) and OHIF open BINARY masks.
"""
_LABELMAP_CLIENTS = """\
* Label maps are new, and few programs know them. highdicom and dcmqi read them. OHIF shows them with names and colours
  shifted by one. DCMTK does not send them; SimpleITK and GDCM do not read them.
"""
_JPEG_2000_CLIENTS = """\
* Masks compressed by JPEG 2000 are not rendered by Orthanc and not sent by DCMTK.
"""
_ODD_PLANE = """\
* Orthanc cannot hand out single planes of these masks, since rows x columns is no multiple of 8; it serves whole files.
"""
_SHARED_PLANE = """\
* SimpleITK and GDCM do not read a file in which several segments share one plane. They read archives that are written
  with one file a segment; ask for one, or use highdicom.
"""
_OWN_FILES = """\
* One file a segment is the form that SimpleITK and GDCM read too.
"""
_SENDING = """\
* `storescu` sends segmentations only with `-R`: `storescu -R +sd +r HOST PORT DICOM`.
"""


def _clients(settings: ArchiveSettings) -> str:
    """What is known of other programs; only for archives with masks, since everything reads the images."""
    if not settings.segments:
        return ""
    labelmap = settings.mask_kind is MaskKind.LABELMAP
    notes = [_LABELMAP_CLIENTS if labelmap else _BINARY_CLIENTS]
    if settings.mask_compression is Compression.JPEG_2000:
        notes.append(_JPEG_2000_CLIENTS)
    elif not labelmap and settings.rows * settings.columns % 8:
        notes.append(_ODD_PLANE)
    if not labelmap and len(settings.segments) > 1:
        notes.append(_OWN_FILES if settings.one_file_per_segment else _SHARED_PLANE)
    notes.append(_SENDING)
    return f"""\
## Other programs

Tried with highdicom 0.28.2, dcmqi 1.5.7, OHIF 3.13.2, SimpleITK 2.5.7, Orthanc 1.10.1 and DCMTK 3.6.7; others may differ.

{"".join(notes)}"""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _cell(text: str) -> str:
    """A text of the policy as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
