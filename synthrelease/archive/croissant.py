"""croissant.json: what the archive is, in the vocabulary that data-set catalogues and loaders read.

Croissant 1.0 (MLCommons) with its vocabulary for responsible AI. The document names three things: the files
(labels.csv by its digest, the DICOM files by pattern), the classes as an enumeration with their codes, and every
column of labels.csv. It is a function of public settings: no clock, no path, no address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from synthrelease.archive.columns import LABELS_FILE, columns
from synthrelease.dicom.findings import finding_code
from synthrelease.dicom.release.notes import ACCEPTED
from synthrelease.dicom.release.settings import ArchiveSettings

# The context of the specification, word for word: mlcroissant compares it.
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# One text and no list: mlcroissant up to 1.0.17 refuses the list that would name the RAI vocabulary as well.
_CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_TEXT, _INTEGER = "sc:Text", "sc:Integer"
_GUIDED = (
    "; a classifier steered it and says in the column 'accepted' whether it saw the class, which is then a classifier's "
    "word and no diagnosis"
)
_TYPES: Mapping[str, str] = {"text": _TEXT, "integer": _INTEGER, "number": "sc:Float"}


def croissant_json(settings: ArchiveSettings, labels: Mapping[str, int], files: Mapping[str, str]) -> bytes:
    """The document, as UTF-8 JSON.

    Args:
        settings: What all files share.
        labels: Number of images by class name, in the classes' order.
        files: SHA-256 of files by path; labels.csv is the one looked up.

    Returns:
        The same bytes for the same arguments.

    Raises:
        KeyError: No digest of labels.csv is given.

    Source: Croissant format specification 1.0; Croissant RAI 1.0.
    """
    date = f"{settings.study_date[:4]}-{settings.study_date[4:6]}-{settings.study_date[6:]}"
    document = {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": settings.release_name,
        "description": _description(settings, sum(labels.values())),
        "license": settings.license,
        "creator": {"@type": "sc:Organization", "name": settings.software},
        "datePublished": date,
        "version": "1.0.0" + (f"+{settings.edition[:12]}" if settings.edition.isalnum() else ""),
        "inLanguage": "en",
        "keywords": ["synthetic data", "medical imaging", "DICOM", settings.image_class.value, settings.body_part],
        "citeAs": _citation(settings),
        **_responsible_ai(settings),
        "distribution": _distribution(settings, files[LABELS_FILE]),
        "recordSet": [_classes(labels), _images(settings)],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _description(settings: ArchiveSettings, images: int) -> str:
    masks = f" Masks: {', '.join(settings.segments)}." if settings.segments else ""
    return (
        f"{images} synthetic medical images as DICOM ({settings.image_class.value}), made by "
        f"{settings.software} {settings.software_version}. None was acquired from a patient; none is for clinical use. "
        f"Classes: {', '.join(settings.classes)}.{masks}"
    )


def _citation(settings: ArchiveSettings) -> str:
    key = "".join(letter if letter.isalnum() else "_" for letter in settings.release_name)
    return (
        f"@misc{{{key}, title = {{{settings.release_name}: a synthetic medical image archive}}, "
        f"author = {{{{{settings.software}}}}}, year = {{{settings.study_date[:4]}}}, "
        f"note = {{Made by {settings.software} {settings.software_version}}}}}"
    )


def _responsible_ai(settings: ArchiveSettings) -> dict[str, Any]:
    """Where the data come from and what they are not for (Croissant RAI)."""
    return {
        "rai:dataCollection": (
            "Nothing was collected for this archive. Every image was drawn from a generative model by "
            f"{settings.software} {settings.software_version}; headers, identifiers and dates were written from a template."
        ),
        "rai:dataCollectionType": "Synthetic",
        "rai:dataAnnotationProtocol": (
            "The class of an image is the one that the model was told to draw"
            + ("; its masks were drawn by the model together with the image" if settings.segments else "")
            + (_GUIDED if any(note.name == ACCEPTED for note in settings.notes) else "")
            + ". Nobody read the images."
        ),
        "rai:machineAnnotationTools": f"{settings.software} {settings.software_version}",
        "rai:dataBiases": (
            "The number of images of a class was chosen for the release. It says nothing about how common a class is. "
            "The model repeats what its training images over- and under-represent."
        ),
        "rai:dataLimitations": [
            "Not for clinical use: no image shows a person.",
            "Images of one synthetic patient share a class and no anatomy; no two images lie in one space.",
            "How far the images are from real ones is stated in the release's report.",
        ],
        "rai:personalSensitiveInformation": (
            "Patient names, identifiers, UIDs and dates are invented. What the release claims about the privacy of the "
            "patients behind the model stands in its statement; see TERMS.md and STATEMENT.txt of the release."
        ),
    }


def _distribution(settings: ArchiveSettings, labels_sha256: str) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": LABELS_FILE,
            "name": LABELS_FILE,
            "description": "One row an image.",
            "contentUrl": LABELS_FILE,
            "encodingFormat": "text/csv",
            "sha256": labels_sha256,
        },
        _file_set("images", "I", f"Images, {settings.image_class.value}, one a file."),
    ]
    if settings.segments:
        files.append(_file_set("masks", "M", "Masks of the images, DICOM Segmentation."))
    if settings.reports:
        files.append(_file_set("reports", "R", "Classes of the images, DICOM structured reports (TID 1500)."))
    return files


def _file_set(name: str, letter: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": "application/dicom",
        "includes": f"DICOM/*/*/{letter}*",
    }


def _classes(labels: Mapping[str, int]) -> dict[str, Any]:
    """The classes as an enumeration; a class without a code has empty code fields."""
    rows = []
    for label, images in labels.items():
        code = finding_code(label)
        rows.append(
            {
                "classes/name": label,
                "classes/code": code.value if code else "",
                "classes/scheme": code.scheme_designator if code else "",
                "classes/meaning": code.meaning if code else "",
                "classes/images": images,
            }
        )
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes that an image can have.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/name"},
        "field": [
            _field("classes/name", "the class, as labels.csv spells it"),
            _field("classes/code", "its code"),
            _field("classes/scheme", "the code's DICOM coding scheme: SCT is SNOMED CT, DCM is DICOM"),
            _field("classes/meaning", "what the code means"),
            _field("classes/images", "number of images of the class", _INTEGER),
        ],
        "data": rows,
    }


def _images(settings: ArchiveSettings) -> dict[str, Any]:
    """One record an image: the rows of labels.csv."""
    fields = []
    for column in columns(settings):
        field = _field(f"labels/{column.name}", column.description, _TYPES[column.kind])
        field["source"] = {"fileObject": {"@id": LABELS_FILE}, "extract": {"column": column.name}}
        if column.name == "label":
            field["references"] = {"field": {"@id": "classes/name"}}
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "description": f"The rows of {LABELS_FILE}, one an image.",
        "key": {"@id": "labels/file"},
        "field": fields,
    }


def _field(identifier: str, description: str, data_type: str = _TEXT) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": identifier.rpartition("/")[2],
        "description": description,
        "dataType": data_type,
    }
